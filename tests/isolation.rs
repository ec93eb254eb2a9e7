//! Snapshot isolation: whatever happens to a store, a view of it shows one state,
//! which some commits have led to and no half of any.
//!
//! Databases name what must not happen. The names here are those of Berenson et
//! al., *A Critique of ANSI SQL Isolation Levels* (1995; P0 to P4, A5A, A5B), and
//! Adya, *Weak Consistency* (1999; G0, G1a, G1b). A transaction that reads is a
//! view; one that writes is a batch, which reads nothing.
//!
//! Writers churn, and keep some rule with every commit; readers take views, hold
//! them until the store has moved on, and look for the rule. Each test runs for
//! every store in `testkit/src/support/views.rs`, and for twins of one that break a promise
//! each, where it has to fail.
//!
//! A batch does not remember what its writer has read. Two ways prevent a lost update and write
//! skew (A5B): conditions (`require`, `require_unchanged_since`), or a token. With a token, each
//! batch that must not run beside another deletes one record, under the name that its view showed,
//! and saves the next one: of the batches that read the same state, one is committed, and the
//! others fail as a whole. The tests here use the token.

// A build with fewer stores uses less of this file.
#![cfg_attr(
    not(any(feature = "snapshot", feature = "versioned")),
    allow(dead_code, unused_imports, unused_macros)
)]

#[macro_use]
mod support;
#[path = "isolation/lost.rs"]
mod lost;
#[path = "isolation/reads.rs"]
mod reads;
#[path = "isolation/skew.rs"]
mod skew;
#[path = "isolation/viewer.rs"]
mod viewer;
#[path = "isolation/views.rs"]
mod views;

use lost::{
    no_swap_is_lost, no_update_is_lost_to_a_health_update,
    no_update_is_lost_where_batches_take_a_token, no_write_skew_where_batches_take_a_token,
    write_skew_is_possible_where_batches_share_nothing,
};
use reads::{no_aborted_read, no_dirty_write, no_fuzzy_read, no_intermediate_read, no_phantom};
use skew::{no_half_registration, no_read_skew, the_sum_of_all_accounts_stays};
use views::{
    indexes_agree, views_are_ordered, views_do_not_disturb_each_other, views_outlive_the_writers,
};

// --- the stores

macro_rules! isolated {
    ($make:expr; $($test:ident)+; from make: $($several:ident)+) => {
        $(
            #[test]
            fn $test() {
                let store = || $make;
                crate::support::within(crate::support::PATIENCE, move || crate::$test(&store()));
            }
        )+
        $(
            #[test]
            fn $several() {
                crate::support::within(crate::support::PATIENCE, || crate::$several(|| $make));
            }
        )+
    };
}

macro_rules! isolation {
    ($make:expr) => {
        isolated! {
            $make;
            no_dirty_write
            no_aborted_read
            no_intermediate_read
            no_fuzzy_read
            no_phantom
            no_read_skew
            the_sum_of_all_accounts_stays
            no_half_registration
            no_update_is_lost_to_a_health_update
            no_swap_is_lost
            no_update_is_lost_where_batches_take_a_token
            no_write_skew_where_batches_take_a_token
            write_skew_is_possible_where_batches_share_nothing
            views_are_ordered
            views_do_not_disturb_each_other
            indexes_agree;
            from make:
            views_outlive_the_writers
        }
    };
}

macro_rules! viewed {
    ($feature:literal $module:ident $store:ident $snapshot:ident $reader:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            isolation!(service_registry::$store::new());
        }
    };
}

viewed_stores!(viewed);

// --- the tests can fail

#[cfg(feature = "snapshot")]
mod unbroken {
    isolation!(crate::support::twin::twin(
        crate::support::twin::Fault::None
    ));
}

#[cfg(feature = "snapshot")]
mod broken {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use crate::support::twin::{Fault, Twin, twin};
    use crate::support::{PATIENCE, within};

    /// A broken store may be lucky; so it goes on until it is noticed.
    fn notices(fault: Fault, test: impl Fn() + Send + 'static) {
        within(4 * PATIENCE, move || {
            for _ in 0..200 {
                if catch_unwind(AssertUnwindSafe(&test)).is_err() {
                    return;
                }
            }
            panic!("{fault:?} was not noticed");
        });
    }

    macro_rules! noticed {
        ($($name:ident: $fault:ident by $test:ident;)+) => {$(
            #[test]
            fn $name() {
                let test: fn(&Twin) = crate::$test;
                notices(Fault::$fault, move || test(&twin(Fault::$fault)));
            }
        )+};
    }

    noticed! {
        a_dirty_write: BatchesShowHalfDone by no_dirty_write;
        an_aborted_read: RejectedBatchesShow by no_aborted_read;
        an_intermediate_read: BatchesShowHalfDone by no_intermediate_read;
        a_fuzzy_read: ReadsAnew by no_fuzzy_read;
        a_phantom_under_a_key: ReadsAnew by no_phantom;
        a_phantom_among_all: ScansAnew by no_phantom;
        a_phantom_of_a_name: NamesAnew by no_phantom;
        a_phantom_of_a_group: GroupsAnew by no_phantom;
        read_skew_of_a_view: ReadsAnew by no_read_skew;
        read_skew_of_two_names: NamesAnew by no_read_skew;
        read_skew_of_a_commit: BatchesShowHalfDone by no_read_skew;
        money_made_by_a_commit: BatchesShowHalfDone by the_sum_of_all_accounts_stays;
        half_a_registration_in_a_view: TwoMoments by no_half_registration;
        half_a_registration_of_a_commit: BatchesShowHalfDone by no_half_registration;
        a_lost_update: LostUpdate by no_update_is_lost_to_a_health_update;
        a_lost_swap: SwapInTwoSteps by no_swap_is_lost;
        a_lost_update_despite_a_token:
            ChecksBeforeItsTurn by no_update_is_lost_where_batches_take_a_token;
        write_skew_despite_a_token:
            ChecksBeforeItsTurn by no_write_skew_where_batches_take_a_token;
        a_revision_of_a_later_state: LateRevision by views_are_ordered;
        a_reader_that_goes_back: ReaderGoesBack by views_are_ordered;
        a_reader_that_is_late: LateReader by views_are_ordered;
        a_view_that_changes: ReadsAnew by views_do_not_disturb_each_other;
        names_of_a_later_moment: LateNames by indexes_agree;
        counts_of_a_later_moment: LateStats by indexes_agree;
        groups_of_a_later_moment: TwoMoments by indexes_agree;
    }

    #[test]
    fn a_view_that_ends_with_its_store() {
        let fault = Fault::EndsWithItsStore;
        notices(fault, move || {
            crate::views_outlive_the_writers(|| twin(fault));
        });
    }
}
