//! Runs the contract of a store against the registry over `dashmap`: it fails exactly the tests of
//! the promises that its row in `who.json` does not make.

mod adapter;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use service_registry_testkit::support::failing::{must_fail, must_hang, panic_message};
use service_registry_testkit::{tests_of, within_patience};

use self::adapter::Adapter;
use crate::contender::find;
use crate::model::Promises;

/// A promise of the row, and how its tests fail if it is not made.
struct Promise {
    /// The field of the row.
    name: &'static str,
    is_made: fn(&Promises) -> bool,
    /// Whether those tests hang instead of failing.
    hang: bool,
    /// A test that needs several promises is listed under the first.
    tests: &'static [&'static str],
}

/// The promises of the row, each with the tests that need it. Tests that are not listed need none
/// of them, and must pass.
const ROW: &[Promise] = &[
    Promise {
        name: "batch",
        is_made: |row| row.batch == "atomic",
        hang: false,
        // A registration and a `clear` are several changes as well. So is replacing a source or
        // everything, which this registry cannot do. Each change of a batch has its own revision.
        tests: &[
            "batches::a_batch_applies_every_kind_of_change_in_order",
            "batches::later_changes_build_on_earlier_ones",
            "batches::the_first_change_that_fails_is_named",
            "batches::malformed_changes_reject_a_batch_and_say_why",
            "batches::the_last_of_a_thousand_changes_undoes_them_all",
            "batches::a_rejected_batch_does_not_spoil_the_next",
            "batches::a_batch_may_be_empty_or_built_in_every_way",
            "conditions::a_requirement_that_does_not_hold_rejects_the_batch",
            "conditions::requirements_are_judged_against_the_state_before_the_batch",
            "conditions::what_does_not_hold_is_left_out_and_the_rest_is_done",
            "conditions::nobody_saves_over_another_source",
            "conditions::a_source_is_replaced_by_what_it_has",
            "conditions::replacing_a_source_keeps_what_was_observed_here",
            "conditions::a_key_of_another_source_rejects_or_is_skipped",
            "conditions::what_is_skipped_is_told_to_who_commits",
            "conditions::a_source_is_replaced_in_the_order_of_the_batch",
            "conditions::a_list_that_contradicts_itself_is_refused",
            "conditions::an_older_list_of_a_source_is_refused",
            "conditions::a_registry_replaces_a_source",
            "restoring::what_is_replaced_is_what_was_given",
            "restoring::replacing_everything_is_one_commit",
            "restoring::what_everything_cannot_be_replaced_by_is_refused",
            "restoring::everything_is_replaced_in_the_order_of_the_batch",
            "views::a_view_behind_dyn_is_of_one_state",
            "revisions::a_record_has_the_revision_of_its_last_change",
            "revisions::an_incarnation_begins_where_a_key_is_registered",
            "revisions::a_failure_keeps_the_revision",
            "revisions::a_batch_grows_the_revision_by_one_at_most",
            "registry::registering_is_one_commit",
            "registry::registering_answers_with_the_stamped_record",
            "registry::a_closed_registry_says_so",
            "shared::three_thousand_operations_end_in_the_exact_state",
            "shared::every_commit_has_a_revision_of_its_own",
            "shared::a_pod_registered_by_thirty_threads_is_of_one_piece",
            "whole::a_pod_is_never_missing_while_a_batch_replaces_it",
            "whole::a_pod_is_never_missing_while_it_registers_anew",
            "whole::no_reader_sees_half_a_registration",
            "whole::a_pod_that_moves_is_in_one_place",
            "whole::a_rejected_batch_is_never_seen",
            "whole::clear_is_one_step",
            "order::a_state_lies_between_the_revisions_around_it",
        ],
    },
    Promise {
        name: "scan",
        is_made: |row| row.scan == "consistent",
        hang: false,
        tests: &[
            "whole::a_scan_sees_whole_commits",
            "whole::a_view_is_of_one_state_beside_writers",
        ],
    },
    Promise {
        name: "indexes_agree",
        is_made: |row| row.indexes_agree,
        hang: false,
        tests: &[
            "services::a_name_finds_its_pods_and_no_others",
            "services::thousands_of_pods_come_and_go",
            "shared::adding_races_with_removing_all",
            "shared::adding_races_with_removing",
            "shared::adding_races_with_unregistering",
            "shared::the_last_to_leave_meets_the_first_to_come",
        ],
    },
    Promise {
        name: "never_missing",
        is_made: |row| row.never_missing,
        hang: false,
        tests: &[
            "whole::a_pod_is_never_missing_while_it_is_saved",
            "whole::a_pod_is_never_missing_while_its_health_is_updated",
            "whole::a_pod_is_never_missing_while_others_come_and_go",
        ],
    },
    Promise {
        name: "linearizable",
        is_made: |row| row.linearizable,
        hang: false,
        tests: &[
            "shared::three_thousand_writes_of_one_pod_lose_none",
            "shared::one_thread_of_thirty_is_told_that_the_status_changed",
            "shared::one_thread_of_thirty_takes_a_pod_away",
            "shared::thirty_threads_fill_one_group",
            "order::a_write_that_returned_is_seen_by_every_read",
            "order::revisions_never_go_backwards",
        ],
    },
    Promise {
        name: "caveat",
        is_made: |row| !row.caveat.contains("a call from inside a read can deadlock"),
        hang: true,
        tests: &[
            "closures::close_from_inside_a_closure_is_done_or_refused",
            "closures::a_write_from_inside_is_seen_from_inside",
            "closures::a_refusal_inside_is_over_when_the_closure_is",
            "closures::a_closure_works_through_dyn",
            "closures::a_call_from_inside_a_closure_is_done_or_refused",
            "shared::a_call_from_inside_passes_a_waiting_writer",
        ],
    },
];

#[test]
fn it_fails_where_its_row_says_so_with_a_panic_of_others() {
    let contender = find("dashmap-registry").unwrap();
    let row = contender.info.promises.as_ref().expect("the row of its promises");
    assert_eq!(row.snapshot, "no", "the tests of snapshots are not asked for");
    let mut of = BTreeMap::new();
    for promise in ROW {
        for test in promise.tests {
            assert!(of.insert(*test, promise).is_none(), "{test} stands there twice");
        }
    }
    let all = tests_of!(Adapter::new(); shared);
    let known: BTreeSet<&str> = all.iter().map(|(name, _)| *name).collect();
    let unknown: Vec<_> = of.keys().filter(|name| !known.contains(**name)).collect();
    assert!(unknown.is_empty(), "no tests: {unknown:?}");

    let mut wrong = Vec::new();
    for (name, test) in all {
        let broken = of.get(name).filter(|promise| !(promise.is_made)(row));
        let ended = catch_unwind(AssertUnwindSafe(|| match broken {
            None => within_patience(test),
            Some(promise) if promise.hang => must_hang(test),
            Some(_) => must_fail(test),
        }));
        if let Err(panic) = ended {
            let expected = broken.map_or("", |promise| promise.name);
            wrong.push(format!("{name}, broken promise {expected:?}: {}", panic_message(panic)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
