//! Proof that the suite can fail: stores that break one promise each, and the
//! test that has to notice.

#[path = "broken/fault.rs"]
mod fault;
#[path = "broken/logged.rs"]
mod logged;
#[path = "broken/store.rs"]
mod store;
#[path = "three_locks.rs"]
mod three_locks;

use crate::support::failing::{must_fail, must_hang};
use crate::{
    batches, closing, closures, conditions, law, order, registry, restoring, revisions, services,
    shared, subscriptions, watches, whole,
};

pub(crate) use fault::Fault;
pub(crate) use store::broken;

macro_rules! noticed {
    ($must:ident: $($name:ident: $fault:ident by $module:ident::$test:ident;)+) => {$(
        #[test]
        fn $name() {
            $must(|| $module::$test(&broken(Fault::$fault)));
        }
    )+};
    ($must:ident, from make: $($name:ident: $fault:ident by $module:ident::$test:ident;)+) => {$(
        #[test]
        fn $name() {
            $must(|| $module::$test(|| broken(Fault::$fault)));
        }
    )+};
}

noticed! { must_fail:
    deleting_subscriptions: DeleteTakesSubscriptions by services::deleting_leaves_subscriptions_alone;
    a_wrong_order: SubscribersAreSorted by subscriptions::subscribers_stand_in_the_order_of_subscription;
    a_second_subscription: SecondSubscriptionCounts by revisions::what_changes_nothing_keeps_the_revision;
    a_record_half_replaced: SaveKeepsHealth by services::saving_again_replaces_the_whole_record;
    a_copied_registration: UpdateCopiesRegistration by services::a_health_update_copies_no_registration;
    a_revision_for_nothing: EqualSaveCounts by revisions::an_equal_record_keeps_the_revision;
    half_a_batch: BatchStopsHalfWay by batches::the_last_of_a_thousand_changes_undoes_them_all;
    a_revision_per_change: BatchCountsChanges by revisions::a_batch_grows_the_revision_by_one_at_most;
    changes_that_do_not_see_each_other: BatchChecksAgainstTheStoreOnly by batches::later_changes_build_on_earlier_ones;
    the_wrong_change_blamed: WrongIndex by batches::the_first_change_that_fails_is_named;
    subscriptions_that_stay: RegisteringKeepsSubscriptions by registry::registering_anew_replaces_record_and_subscriptions;
    revisions_from_the_start: ClearRestartsRevision by revisions::clear_counts_on;
    subscriptions_left_behind: TakeLeavesSubscriptions by registry::unregistering_answers_with_what_was_removed;
    answers_after_close: AnswersAfterClose by closing::a_closed_store_says_so_before_anything_else;
    malformed_keys: AcceptsMalformedKeys by subscriptions::a_malformed_subscriber_is_refused_and_says_why;
    an_error_without_the_key: MissingIsNamedWrongly by services::a_missing_key_is_not_found_and_named;
    two_visits: VisitsTwice by services::a_read_closure_is_called_once_and_may_move_things;
    health_that_goes_back: TakesLateHealth by services::health_that_is_late_changes_nothing_and_says_so;
    stale_answers: StaleReads by services::a_health_update_changes_health_and_nothing_else;
    an_answer_lost: AnswersAfterClose by closing::all_calls_after_close_are_refused;

    a_gap_while_saving: SaveDeletesFirst by whole::a_pod_is_never_missing_while_it_is_saved;
    a_gap_while_updating: UpdateDeletesFirst by whole::a_pod_is_never_missing_while_its_health_is_updated;
    a_gap_in_a_batch: TornCommit by whole::a_pod_is_never_missing_while_a_batch_replaces_it;
    a_gap_while_registering: TornCommit by whole::a_pod_is_never_missing_while_it_registers_anew;
    half_a_registration: TornCommit by whole::no_reader_sees_half_a_registration;
    half_an_unregistration: TornTake by whole::no_reader_sees_half_a_registration;
    a_commit_in_two_scans: TornCommit by whole::a_scan_sees_whole_commits;
    a_view_in_two_steps: TornView by whole::a_view_is_of_one_state_beside_writers;
    a_scan_in_two_steps: TornScan by whole::a_scan_sees_whole_commits;
    a_pod_in_two_places: TornCommit by whole::a_pod_that_moves_is_in_one_place;
    half_a_clear: TornClear by whole::clear_is_one_step;
    a_rejected_batch_in_sight: BatchStopsHalfWay by whole::a_rejected_batch_is_never_seen;
    two_told_of_one_change: SwapInTwoSteps by shared::one_thread_of_thirty_is_told_that_the_status_changed;
    a_lost_swap: SwapInTwoSteps by shared::three_thousand_writes_of_one_pod_lose_none;
    two_who_took_one_pod: TornTake by shared::one_thread_of_thirty_takes_a_pod_away;
    a_pod_of_two_pieces: TornCommit by shared::a_pod_registered_by_thirty_threads_is_of_one_piece;
    a_revision_for_two: TornCommit by shared::every_commit_has_a_revision_of_its_own;
    a_lost_subscription: LosesSubscriptions by shared::thirty_threads_fill_one_group;
    a_subscription_lost_at_the_door: LosesSubscriptions by shared::the_last_to_leave_meets_the_first_to_come;
    lost_revisions: LosesRevisions by shared::three_thousand_operations_end_in_the_exact_state;
    a_stale_read: StaleReads by order::a_write_that_returned_is_seen_by_every_read;
    a_revision_that_goes_backwards: RevisionGoesBackwards by order::revisions_never_go_backwards;
    a_revision_ahead_of_its_state: RevisionRunsAhead by order::a_state_lies_between_the_revisions_around_it;

    a_requirement_ignored: RequirementsAreIgnored by conditions::a_requirement_that_does_not_hold_rejects_the_batch;
    a_store_that_changed_unasked: RequirementsAreIgnored by conditions::a_store_that_has_changed_since_rejects_the_batch;
    an_order_turned_round: RestoresBackwards by restoring::what_is_replaced_is_what_was_given;
    an_older_list: RequirementsAreIgnored by conditions::an_older_list_of_a_source_is_refused;
    conditions_judged_in_turn: ConditionsAreJudgedInTurn by conditions::requirements_are_judged_against_the_state_before_the_batch;
    a_successor_removed: RemovesWhateverIsThere by conditions::what_does_not_hold_is_left_out_and_the_rest_is_done;
    a_foreign_key_passed_over: ForeignKeysAreSkipped by conditions::a_key_of_another_source_rejects_or_is_skipped;
    what_a_source_no_longer_has: SourcesOnlyGrow by conditions::a_source_is_replaced_by_what_it_has;

    changes_told_too_soon: TellsTooSoon by watches::watches_of_many_threads_miss_nothing;
    changes_lost_among_threads: LosesChanges by watches::watches_of_many_threads_miss_nothing;
    an_answer_of_steps: AnswersStepByStep by law::what_a_commit_answers_leads_from_one_state_to_the_next;
    a_skipped_record_untold: SkipsInSilence by conditions::what_is_skipped_is_told_to_who_commits;
    skipped_records_untold: SkipsInSilence by law::what_a_commit_answers_leads_from_one_state_to_the_next;
    a_relist_without_a_removal: SourcesOnlyGrow by watches::what_a_source_no_longer_has_is_removed_even_unread;
    everybody_woken: TellsEverybody by watches::who_watches_other_names_sleeps_on;
}

noticed! { must_fail, from make:
    a_state_untold: RestoresInSilence by restoring::a_watch_is_told_the_state_that_replaces_everything;
    an_accepted_write_lost: CloseForgetsWhatItAccepted by shared::closing_among_thirty_threads_hangs_nobody;
    a_change_lost: LosesChanges by law::what_is_applied_is_the_state_of_that_revision;
    a_change_told_twice: TellsTwice by law::what_is_applied_is_the_state_of_that_revision;
    a_time_told: TellsOfTimes by law::what_is_applied_is_the_state_of_that_revision;
    a_selection_ignored: TellsEverybody by law::what_is_applied_is_the_state_of_that_revision;
}

noticed! { must_hang:
    a_call_from_inside: HoldsItsLockInClosures by closures::a_write_from_inside_is_seen_from_inside;
    a_reader_beside_a_closure: HoldsItsLockInClosures by shared::every_thread_has_closures_of_its_own;
    a_call_past_a_waiting_writer: HoldsItsLockInClosures by shared::a_call_from_inside_passes_a_waiting_writer;
}

noticed! { must_hang:
    a_watch_without_an_end: LeavesWatchesAsleep by watches::a_closed_store_ends_its_watches;
}

noticed! { must_hang, from make:
    calls_from_inside: HoldsItsLockInClosures by closures::a_call_from_inside_a_closure_is_done_or_refused;
}
