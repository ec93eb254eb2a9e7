//! The lists of tests: the names of all promises.
//!
//! Each list macro passes its tests to another macro, by default `tests`. That macro turns them
//! into tests or into data.

/// Generates tests from generic functions, which take a store or, after `from make`, a function
/// that creates stores. Each test runs under a watchdog, so that a deadlock is a failure.
#[macro_export]
#[doc(hidden)]
macro_rules! tests {
    ($make:expr => $($module:ident {
        $($test:ident)* $(; from make: $($several:ident)+)?
    })+) => {$(
        mod $module {
            $(
                #[test]
                fn $test() {
                    $crate::within_patience(|| $crate::$module::$test(&$make));
                }
            )*
            $($(
                #[test]
                fn $several() {
                    $crate::within_patience(|| $crate::$module::$several(|| $make));
                }
            )+)?
        }
    )+};
}

/// Generates an array of names and functions from the same list.
#[macro_export]
#[doc(hidden)]
macro_rules! listed {
    ($make:expr => $($module:ident {
        $($test:ident)* $(; from make: $($several:ident)+)?
    })+) => {[$(
        $((
            concat!(stringify!($module), "::", stringify!($test)),
            (|| $crate::$module::$test(&$make)) as fn(),
        ),)*
        $($((
            concat!(stringify!($module), "::", stringify!($several)),
            (|| $crate::$module::$several(|| $make)) as fn(),
        ),)+)?
    )+]};
}

/// The promises of every store.
#[macro_export]
#[doc(hidden)]
macro_rules! every_store {
    ($make:expr) => {
        $crate::every_store! { [$crate::tests] $make }
    };
    ([$($with:tt)*] $make:expr) => {
        $($with)*! { $make =>
            services {
                a_new_store_is_empty
                a_saved_record_is_found_in_every_way
                saving_again_replaces_the_whole_record
                saving_leaves_subscriptions_as_they_are
                a_missing_key_is_not_found_and_named
                what_cannot_be_a_key_is_refused_and_says_why
                finding_is_getting_for_what_may_be_missing
                a_deleted_record_is_gone_in_every_way
                a_deleted_record_can_be_saved_again
                deleting_leaves_subscriptions_alone
                a_name_finds_its_pods_and_no_others
                a_health_update_changes_health_and_nothing_else
                a_health_update_copies_no_registration
                a_health_update_answers_with_the_status_before
                health_that_is_late_changes_nothing_and_says_so
                a_time_that_no_dump_can_tell_is_refused
                taking_a_service_takes_its_subscriptions
                taking_what_is_not_there_leaves_its_subscriptions
                a_read_closure_is_called_once_and_may_move_things
                clear_empties_and_leaves_a_store_to_work_with
                stats_follow_every_operation
                thousands_of_pods_come_and_go
            }
            subscriptions {
                subscribing_twice_is_one_subscription
                a_subscriber_need_not_be_registered
                removing_what_is_not_there_is_fine
                a_group_that_nobody_subscribes_to_is_empty
                subscribers_stand_in_the_order_of_subscription
                who_leaves_and_comes_back_stands_last
                each_group_has_an_order_of_its_own
                subscriber_services_skips_who_is_not_registered
                removing_all_touches_one_subscriber_only
                a_thousand_subscribers_keep_their_order
                pairs_whose_texts_join_alike_are_different
                groups_services_and_keys_do_not_mix
                a_malformed_subscriber_is_refused_and_says_why
                an_empty_or_too_long_group_is_refused_and_says_why
            }
            names {
                a_pod_name_may_hold_colons
                every_unicode_name_is_a_name
                the_longest_names_work_everywhere
                one_byte_more_is_refused_before_it_reaches_a_store
                a_group_that_no_service_can_match_is_refused
            }
            copies {
                nothing_done_to_an_answer_reaches_the_store
                no_caller_sees_what_another_does_to_its_answer
                nothing_done_to_what_was_saved_reaches_the_store
                an_answer_stays_as_it_was_given;
                from make:
                answers_outlive_their_store
                stores_share_nothing
            }
            batches {
                a_batch_applies_every_kind_of_change_in_order
                later_changes_build_on_earlier_ones
                the_first_change_that_fails_is_named
                malformed_changes_reject_a_batch_and_say_why
                the_last_of_a_thousand_changes_undoes_them_all
                a_rejected_batch_does_not_spoil_the_next
                subscriptions_of_a_batch_stand_in_its_order
                a_batch_may_be_empty_or_built_in_every_way
                registering_by_hand_works_as_a_batch
            }
            revisions {
                a_new_store_is_at_revision_zero
                every_change_grows_the_revision_by_one
                a_change_of_any_one_field_is_a_change
                an_equal_record_keeps_the_revision
                a_record_has_the_revision_of_its_last_change
                an_incarnation_begins_where_a_key_is_registered
                a_repeated_health_report_keeps_the_revision
                what_changes_nothing_keeps_the_revision
                reads_keep_the_revision
                a_failure_keeps_the_revision
                a_batch_grows_the_revision_by_one_at_most
                clear_counts_on
                the_last_revision_outlives_the_store
            }
            conditions {
                a_requirement_that_holds_lets_the_batch_through
                a_requirement_that_does_not_hold_rejects_the_batch
                requirements_are_judged_against_the_state_before_the_batch
                a_store_that_has_changed_since_rejects_the_batch
                what_is_removed_if_takes_its_subscriptions
                what_does_not_hold_is_left_out_and_the_rest_is_done
                health_is_updated_if
                nobody_saves_over_another_source
                a_source_is_replaced_by_what_it_has
                replacing_a_source_keeps_what_was_observed_here
                a_key_of_another_source_rejects_or_is_skipped
                what_is_skipped_is_told_to_who_commits
                a_source_is_replaced_in_the_order_of_the_batch
                a_list_that_contradicts_itself_is_refused
                an_older_list_of_a_source_is_refused
                a_registry_replaces_a_source
                a_malformed_condition_rejects_the_batch
            }
            restoring {
                what_is_replaced_is_what_was_given
                replacing_everything_is_one_commit
                what_everything_cannot_be_replaced_by_is_refused
                everything_is_replaced_in_the_order_of_the_batch
            }
            registry {
                registering_answers_with_what_is_stored
                registering_is_one_commit
                registering_anew_replaces_record_and_subscriptions
                a_group_named_twice_is_one_subscription
                a_bad_registration_leaves_everything_as_it_was
                unregistering_answers_with_what_was_removed
                unregistering_who_is_not_there_changes_nothing
                a_pod_with_colons_in_its_name_unregisters
                a_health_report_says_whether_the_status_changed
                a_clock_that_steps_back_freezes_nobody
                registering_answers_with_the_stamped_record
                the_reads_are_those_of_the_store
                registries_over_one_store_see_the_same
                a_closed_registry_says_so;
                from make:
                a_registry_gives_its_store_back
            }
            closures {
                a_panic_in_a_closure_leaves_the_store_usable
                a_panic_with_a_hook_leaves_the_store_usable
                close_from_inside_a_closure_is_done_or_refused
                a_write_from_inside_is_seen_from_inside
                the_revision_can_be_asked_from_inside
                a_refusal_inside_is_over_when_the_closure_is
                a_closure_works_through_dyn;
                from make:
                a_call_from_inside_a_closure_is_done_or_refused
                a_closure_may_use_other_stores
                closures_of_a_hundred_stores_nest
            }
            views {
                a_view_behind_dyn_is_of_one_state
            }
            closing {
                all_calls_after_close_are_refused
                a_closed_store_says_so_before_anything_else
                closing_again_is_fine
                an_empty_store_closes;
                from make:
                every_call_succeeds_until_close_and_is_refused_after
            }
        }
    };
}

/// The further promises of a store that reports changes: every store of this crate.
#[macro_export]
#[doc(hidden)]
macro_rules! watched_store {
    ($make:expr) => {
        $crate::watched_store! { [$crate::tests] $make }
    };
    ([$($with:tt)*] $make:expr) => {
        $($with)*! { $make =>
            law {
                what_a_commit_answers_leads_from_one_state_to_the_next;
                from make:
                what_is_applied_is_the_state_of_that_revision
            }
            watched_restoring {
                ;
                from make:
                a_watch_is_told_the_state_that_replaces_everything
            }
            watches {
                a_call_from_inside_a_view_is_done_or_refused
                a_newer_time_by_itself_is_no_difference
                a_removal_is_told_with_its_cause
                what_is_skipped_is_told_to_no_watch
                what_came_and_went_unseen_shows_nothing
                a_key_that_is_made_again_is_a_change
                what_a_source_no_longer_has_is_removed_even_unread
                who_falls_behind_is_told_the_state_and_holds_up_nobody
                a_closed_store_ends_its_watches
                a_watch_from_inside_a_closure_is_begun_or_refused
                who_watches_other_names_sleeps_on;
                from make:
                a_cursor_goes_on_or_begins_anew
                a_store_that_is_dropped_ends_its_watches
            }
            leases {
                a_lease_ends_after_its_time_and_not_before
                a_renewed_lease_ends_a_time_after_its_last_renewal
                a_renewal_is_nothing_that_the_store_notices
                a_renewal_comes_before_a_sweep_or_too_late
                an_old_incarnation_does_nothing_to_its_successor
                the_shortest_and_the_longest_times_to_live_work
                a_wall_clock_that_jumps_moves_no_lease
                what_expires_goes_in_one_commit
                a_pod_that_others_removed_has_lost_its_lease
                a_registered_pod_is_given_a_lease
                a_record_of_another_life_takes_no_lease
                a_restored_pod_is_granted_its_whole_time
                leases_of_others_are_refused
                a_revoked_lease_is_lost
                a_refused_registration_has_no_lease
            }
            guarding {
                everything_silent_is_withheld_and_goes_after_its_time
                who_falls_silent_one_by_one_is_withheld
                the_guard_forgets_who_left_long_ago
                who_renews_while_withheld_stays
                the_last_pod_of_a_name_is_withheld_and_goes
                an_explicit_removal_of_the_last_pod_shows_as_empty
            }
            overtaken {
                who_registers_anew_in_between_is_let_alone
                who_is_gone_before_its_lease_comes_has_lost_it
                the_lease_of_a_later_registration_stays
                the_guard_counts_what_replaced_everything
                what_a_check_finds_of_a_withheld_pod_stands
            }
        }
    };
}

/// The same promises, with several threads.
#[macro_export]
#[doc(hidden)]
macro_rules! shared_watched_store {
    ($make:expr) => {
        $crate::shared_watched_store! { [$crate::tests] $make }
    };
    ([$($with:tt)*] $make:expr) => {
        $($with)*! { $make =>
            threads_that_watch {
                watches_of_many_threads_miss_nothing
                a_sleeper_is_woken_by_a_change_and_by_the_end;
                from make:
                wakers_that_panic_or_call_the_store_harm_nobody
                wakers_that_leave_a_panic_of_others_harm_nobody
            }
            leasing {
                of_a_renewal_and_a_sweep_one_wins
                who_renews_while_a_sweep_looks_ends_later
                a_renewal_waits_neither_for_sweeps_nor_for_the_store
                a_lease_is_lost_exactly_where_its_pod_is_another;
                from make:
                a_thread_sweeps_until_its_handle_is_dropped
            }
        }
    };
}

/// The further promises of a store that threads can share.
#[macro_export]
#[doc(hidden)]
macro_rules! shared_store {
    ($make:expr) => {
        $crate::shared_store! { [$crate::tests] $make }
    };
    ([$($with:tt)*] $make:expr) => {
        $($with)*! { $make =>
            shared {
                three_thousand_operations_end_in_the_exact_state
                three_thousand_writes_of_one_pod_lose_none
                every_commit_has_a_revision_of_its_own
                one_thread_of_thirty_is_told_that_the_status_changed
                one_thread_of_thirty_takes_a_pod_away
                a_pod_registered_by_thirty_threads_is_of_one_piece
                adding_races_with_removing_all
                adding_races_with_removing
                adding_races_with_unregistering
                thirty_threads_fill_one_group
                the_last_to_leave_meets_the_first_to_come
                panics_in_many_threads_leave_the_store_usable
                a_call_from_inside_passes_a_waiting_writer
                every_thread_has_closures_of_its_own;
                from make:
                closing_among_thirty_threads_hangs_nobody
                thirty_threads_may_close_at_once
                a_store_works_while_a_thread_ends
                a_store_may_move_between_threads
            }
            whole {
                a_pod_is_never_missing_while_it_is_saved
                a_pod_is_never_missing_while_its_health_is_updated
                a_pod_is_never_missing_while_a_batch_replaces_it
                a_pod_is_never_missing_while_it_registers_anew
                a_pod_is_never_missing_while_others_come_and_go
                no_reader_sees_half_a_registration
                a_view_is_of_one_state_beside_writers
                a_scan_sees_whole_commits
                a_pod_that_moves_is_in_one_place
                a_rejected_batch_is_never_seen
                clear_is_one_step
            }
            order {
                a_write_that_returned_is_seen_by_every_read
                a_state_lies_between_the_revisions_around_it
                revisions_never_go_backwards
            }
        }
    };
}

/// The further promises of a store with snapshots.
#[macro_export]
#[doc(hidden)]
macro_rules! snapshot_store {
    ($make:expr) => {
        $crate::snapshot_store! { [$crate::tests] $make }
    };
    ([$($with:tt)*] $make:expr) => {
        $($with)*! { $make =>
            snapshots {
                a_snapshot_of_a_new_store_is_empty
                a_snapshot_is_what_the_store_is
                a_view_answers_like_the_store
                a_snapshot_never_changes
                a_large_snapshot_stays_while_the_store_shrinks
                close_leaves_snapshots
                a_kept_snapshot_holds_up_nobody
                every_snapshot_is_of_one_moment
                a_snapshot_is_as_new_as_what_returned
                snapshots_can_be_shared_and_sent;
                from make:
                snapshots_outlive_their_store
            }
        }
    };
}

/// The further promises of a store with snapshots that reports changes.
#[macro_export]
#[doc(hidden)]
macro_rules! watched_snapshot_store {
    ($make:expr) => {
        $crate::watched_snapshot_store! { [$crate::tests] $make }
    };
    ([$($with:tt)*] $make:expr) => {
        $($with)*! { $make =>
            differences {
                ;
                from make:
                views_tell_what_changed_between_them
                views_tell_of_a_subscription_that_began_again
            }
        }
    };
}

/// The further promises of this crate's stores with reader handles.
#[macro_export]
#[doc(hidden)]
macro_rules! reader_store {
    ($make:expr) => {
        $crate::tests! { $make =>
            readers {
                a_reader_shows_what_the_store_is
                a_reader_reads_like_the_store
                writing_from_inside_a_reader_closure_works
                close_ends_readers
                a_kept_view_of_a_reader_holds_up_nobody
                every_view_of_a_reader_is_of_one_moment
                a_reader_never_goes_backwards;
                from make:
                readers_outlive_their_store
                readers_race_with_the_end_of_their_store
            }
        }
    };
}

/// Tests each store with logs of several sizes.
#[macro_export]
#[doc(hidden)]
macro_rules! with_logs {
    ($make:expr) => {
        #[test]
        fn who_falls_behind_at_random_has_the_state_of_that_revision() {
            $crate::within_patience(|| {
                $crate::law::who_falls_behind_at_random_has_the_state_of_that_revision($make);
            });
        }
    };
}
