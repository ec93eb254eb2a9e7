//! The contenders from outside: what each is said to promise, it keeps, and what
//! it is said not to promise, it does not.
//!
//! On one thread all of them answer like the model, and pass the contract. What
//! threads may see is checked by the tests of the contract where a contender
//! promises it; where it does not, the same test is run until it fails. So a row
//! of the report's table of promises is neither flattery nor slander.
//!
//! The tests in `contract/` have their broken twins in `contract/broken.rs`;
//! those that are new here have theirs at the end of this file.

// A part of the contract is for stores that promise all of it.
#![allow(dead_code)]

#[macro_use]
mod support;

#[path = "contract/batches.rs"]
mod batches;
#[path = "contract/closing.rs"]
mod closing;
#[path = "contract/closures.rs"]
mod closures;
#[path = "contract/copies.rs"]
mod copies;
#[path = "contract/names.rs"]
mod names;
#[path = "contract/registry.rs"]
mod registry;
#[path = "contract/revisions.rs"]
mod revisions;
#[path = "contract/services.rs"]
mod services;
#[path = "contract/shared.rs"]
mod shared;
#[path = "contract/subscriptions.rs"]
mod subscriptions;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::SystemTime;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use service_registry::lab::contender::{
    self, About, Batching, Contender, Dash, Im15, Imbl, Kind, Papaya, Plain, Promises, Scans, Scc,
    Skip,
};
use service_registry::{
    Batch, MemoryStore, RegistryStore, Result, Revision, ServiceInfo, ServiceKey, ServiceStatus,
    StoreStats,
};
use support::failing::{must_fail, must_hang};
use support::model::{GROUPS, Model, any_operation, step};
use support::{PATIENCE, observe, within};

// --- the model

/// Random operations, all of them, errors included; then the store is closed,
/// and a few more follow.
fn every_answer_is_the_models<S: Contender>() {
    let config = ProptestConfig {
        cases: 100,
        // A failure prints its operations; there is no file of old ones.
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let some = (vec(any_operation(), 1..100), vec(any_operation(), 1..10));
    let ran = TestRunner::new(config).run(&some, |(open, closed)| {
        let (store, mut model) = (S::default(), Model::default());
        for (n, operation) in open.iter().enumerate() {
            step(&store, &mut model, operation);
            if n % 16 == 0 {
                assert_eq!(observe(&store, GROUPS), model.state());
            }
        }
        assert_eq!(observe(&store, GROUPS), model.state());
        store.close().unwrap();
        model.closed = true;
        for operation in &closed {
            step(&store, &mut model, operation);
        }
        Ok(())
    });
    if let Err(failure) = ran {
        panic!("{failure}");
    }
}

// --- what the contract does not ask in one piece

mod promises {
    //! What a contender may promise by itself, without the rest of the contract.

    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;
    use std::thread;

    use service_registry::{RegistryStore, ServiceInfo, ServiceStatus};

    use crate::support::late::Late;
    use crate::support::race::race;
    use crate::support::{at, keys, number, pod};

    fn moment(info: &ServiceInfo) -> u64 {
        info.last_health_check().map_or(0, number)
    }

    pub(crate) fn a_record_never_goes_back<S: RegistryStore + Sync>(store: &S) {
        store.save_service(pod("db", "1")).unwrap();
        store.add_subscription("db:1", "g").unwrap();
        // The number of the last write that has returned.
        let returned = AtomicU64::new(0);
        let write = |round: usize| {
            let n = round as u64 + 1;
            let status = ServiceStatus::Healthy;
            if round.is_multiple_of(2) {
                store.update_health_status("db:1", status, at(n)).unwrap();
            } else {
                let record = pod("db", "1").with_health(status, at(n)).unwrap();
                store.save_service(record).unwrap();
            }
            returned.store(n, SeqCst);
        };
        let reads: [&(dyn Fn() -> u64 + Sync); 5] = [
            &|| moment(&store.get_service("db:1").unwrap()),
            &|| store.with_service("db:1", moment).unwrap(),
            &|| moment(&store.get_services_by_name("db").unwrap()[0]),
            &|| moment(&store.get_all_services().unwrap()[0]),
            &|| moment(&store.get_subscriber_services("g").unwrap()[0]),
        ];
        thread_local! {
            // What this reader has seen.
            static SEEN: Cell<u64> = const { Cell::new(0) };
        }
        let read = |round: usize| {
            if round == 0 {
                SEEN.set(0);
            }
            let before = returned.load(SeqCst);
            let seen = reads[round % reads.len()]();
            assert!(
                seen >= before,
                "a stale read: {seen} after {before} had returned"
            );
            assert!(seen >= SEEN.get(), "a reader went back");
            SEEN.set(seen);
        };
        race(2_000, &[&write], &[&read, &read]);
    }

    /// Whether a thread that is ending panics when it asks a store, from a
    /// destructor that runs before, or from one that runs after that of what the
    /// store keeps for the thread.
    pub(crate) fn refused_at_the_end<S: RegistryStore + Send + Sync + 'static>(store: S) -> bool {
        thread_local! {
            static BEFORE: Late = const { Late::new() };
            static AFTER: Late = const { Late::new() };
        }
        let (store, panics) = (Arc::new(store), Arc::new(AtomicUsize::new(0)));
        store.save_service(pod("db", "1")).unwrap();
        let last_words = {
            let (store, panics) = (store.clone(), panics.clone());
            move || {
                let ask = || store.get_service("db:1").unwrap();
                if catch_unwind(AssertUnwindSafe(ask)).is_err() {
                    panics.fetch_add(1, SeqCst);
                }
            }
        };
        // The last to let go of the store must not be a thread that is ending.
        let (kept, store) = (store.clone(), store);
        thread::spawn(move || {
            BEFORE.with(|late| late.will(last_words.clone()));
            store.get_service("db:1").unwrap();
            AFTER.with(|late| late.will(last_words));
        })
        .join()
        .unwrap();
        drop(kept);
        panics.load(SeqCst) > 0
    }

    /// How many pods come, or leave: each once, so that what a reader has found
    /// out of one stays true.
    const PODS: usize = 5_000;

    fn place(n: usize) -> (String, String) {
        (format!("db-{}", n / 10), n.to_string())
    }

    fn listed(store: &impl RegistryStore, n: usize) -> bool {
        let (name, pod) = place(n);
        let found = store.get_services_by_name(&name).unwrap();
        keys(&found).contains(&&*format!("{name}:{pod}"))
    }

    fn registered(store: &impl RegistryStore, n: usize) -> bool {
        let (name, pod) = place(n);
        store.get_service(&format!("{name}:{pod}")).is_ok()
    }

    pub(crate) fn a_pod_that_comes_is_found_by_name_and_key<S: RegistryStore + Sync>(store: &S) {
        let coming = AtomicUsize::new(0);
        let write = |n: usize| {
            if n < PODS {
                coming.store(n, SeqCst);
                let (name, number) = place(n);
                store.save_service(pod(&name, &number)).unwrap();
            }
        };
        let read = |round: usize| {
            let n = coming.load(SeqCst);
            if round.is_multiple_of(2) && registered(store, n) {
                assert!(listed(store, n), "found by its key, and not by its name");
            } else if listed(store, n) {
                assert!(
                    registered(store, n),
                    "found by its name, and not by its key"
                );
            }
        };
        race(PODS, &[&write], &[&read, &read]);
    }

    pub(crate) fn a_pod_that_leaves_is_gone_by_name_and_key<S: RegistryStore + Sync>(store: &S) {
        for n in 0..PODS {
            let (name, number) = place(n);
            store.save_service(pod(&name, &number)).unwrap();
        }
        let leaving = AtomicUsize::new(0);
        let write = |n: usize| {
            if n < PODS {
                leaving.store(n, SeqCst);
                let (name, number) = place(n);
                store.delete_service(&format!("{name}:{number}")).unwrap();
            }
        };
        let read = |round: usize| {
            let n = leaving.load(SeqCst);
            if round.is_multiple_of(2) && !registered(store, n) {
                assert!(!listed(store, n), "gone by its key, and not by its name");
            } else if !listed(store, n) {
                assert!(
                    !registered(store, n),
                    "gone by its name, and not by its key"
                );
            }
        };
        race(PODS, &[&write], &[&read, &read]);
        assert_eq!(store.get_all_services().unwrap(), []);
    }

    pub(crate) fn a_scan_is_of_one_moment<S: RegistryStore + Sync>(store: &S) {
        // One pod after the other is written, round and round, and each write
        // has the next number: at any moment the numbers are so many in a row.
        const PODS: usize = 300;
        let write_number = |n: usize| {
            let key = format!("db:{}", n % PODS);
            let moment = at(n as u64 + 1);
            store
                .update_health_status(&key, ServiceStatus::Healthy, moment)
                .unwrap();
        };
        for n in 0..PODS {
            store.save_service(pod("db", &n.to_string())).unwrap();
            write_number(n);
        }
        let write = |round: usize| write_number(PODS + round);
        let read = |round: usize| {
            let seen = if round.is_multiple_of(2) {
                store.get_all_services().unwrap()
            } else {
                store.get_services_by_name("db").unwrap()
            };
            assert_eq!(seen.len(), PODS, "a scan missed pods");
            let first = seen.iter().map(moment).min().unwrap();
            let last = seen.iter().map(moment).max().unwrap();
            assert_eq!(
                last - first,
                PODS as u64 - 1,
                "a scan of more than one moment"
            );
        };
        race(2_000, &[&write], &[&read, &read]);
    }
}

// --- which tests are for whom

/// Makes tests of generic functions, which take a store or, behind `from make`,
/// a way to make stores. Each runs under a watchdog.
macro_rules! tests {
    ($store:ident => $($module:ident {
        $($test:ident)* $(; from make: $($several:ident)+)?
    })+) => {$(
        mod $module {
            $(
                #[test]
                fn $test() {
                    crate::within(crate::PATIENCE, || {
                        crate::$module::$test(&crate::$store::default());
                    });
                }
            )*
            $($(
                #[test]
                fn $several() {
                    crate::within(crate::PATIENCE, || {
                        crate::$module::$several(crate::$store::default);
                    });
                }
            )+)?
        }
    )+};
}

/// One thread: everything, but for calls from inside a read closure.
macro_rules! alone {
    ($store:ident) => {
        #[test]
        fn every_answer_is_the_models() {
            crate::within(
                crate::PATIENCE,
                crate::every_answer_is_the_models::<crate::$store>,
            );
        }

        tests! { $store =>
            services {
                a_new_store_is_empty
                a_saved_record_is_found_in_every_way
                saving_again_replaces_the_whole_record
                saving_leaves_subscriptions_as_they_are
                a_missing_key_is_not_found_and_named
                a_deleted_record_is_gone_in_every_way
                a_deleted_record_can_be_saved_again
                deleting_leaves_subscriptions_alone
                a_name_finds_its_pods_and_no_others
                a_health_update_changes_health_and_nothing_else
                a_health_update_copies_no_registration
                a_health_update_answers_with_the_status_before
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
            }
            copies {
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
            }
            revisions {
                a_new_store_is_at_revision_zero
                every_change_grows_the_revision_by_one
                an_equal_record_keeps_the_revision
                what_changes_nothing_keeps_the_revision
                a_failure_keeps_the_revision
                a_batch_grows_the_revision_by_one_at_most
                clear_counts_on
                the_last_revision_outlives_the_store
            }
            registry {
                registering_anew_replaces_record_and_subscriptions
                unregistering_answers_with_what_was_removed
                a_health_report_says_whether_the_status_changed
            }
            closing {
                all_calls_after_close_are_refused
                a_closed_store_says_so_before_anything_else
                closing_again_is_fine
            }
        }
    };
}

/// Threads: what every contender promises, since all say `linearizable`,
/// `never_missing` and `indexes_agree`.
macro_rules! together {
    ($store:ident) => {
        tests! { $store =>
            shared {
                three_thousand_operations_end_in_the_exact_state
                three_thousand_writes_of_one_pod_lose_none
                one_thread_of_thirty_is_told_that_the_status_changed
                one_thread_of_thirty_takes_a_pod_away
                a_pod_is_never_missing_while_it_is_saved
                a_pod_is_never_missing_while_its_health_is_updated
                a_pod_is_never_missing_while_others_come_and_go
                adding_races_with_removing_all
                adding_races_with_removing
                adding_races_with_unregistering
                thirty_threads_fill_one_group
                the_last_to_leave_meets_the_first_to_come
                revisions_never_go_backwards
                every_thread_has_closures_of_its_own;
                from make:
                thirty_threads_may_close_at_once
                a_store_may_move_between_threads
            }
            promises {
                a_record_never_goes_back
                a_pod_that_comes_is_found_by_name_and_key
                a_pod_that_leaves_is_gone_by_name_and_key
            }
        }

        #[test]
        fn it_promises_what_is_checked() {
            let promises = <crate::$store as crate::Contender>::ABOUT.promises;
            assert!(promises.linearizable && promises.never_missing && promises.indexes_agree);
        }
    };
}

/// Several changes at once, and scans of one moment.
macro_rules! whole {
    ($store:ident) => {
        mod several_changes {
            tests! { $store =>
                shared {
                    every_commit_has_a_revision_of_its_own
                    a_pod_registered_by_thirty_threads_is_of_one_piece
                    a_pod_is_never_missing_while_a_batch_replaces_it
                    a_pod_is_never_missing_while_it_registers_anew
                    no_reader_sees_half_a_registration
                    a_scan_sees_whole_commits
                    a_pod_that_moves_is_in_one_place
                    a_rejected_batch_is_never_seen
                    clear_is_one_step
                    a_write_that_returned_is_seen_by_every_read
                    a_state_lies_between_the_revisions_around_it;
                    from make:
                    closing_among_thirty_threads_hangs_nobody
                }
                promises {
                    a_scan_is_of_one_moment
                }
            }

            #[test]
            fn it_promises_what_is_checked() {
                let promises = <crate::$store as crate::Contender>::ABOUT.promises;
                assert_eq!(promises.batch, crate::Batching::Atomic);
                assert_eq!(promises.scan, crate::Scans::Consistent);
            }
        }
    };
}

/// The opposite: shown, not only said.
macro_rules! piece_by_piece {
    ($store:ident) => {
        mod several_changes {
            use crate::{must_fail, promises, shared, $store};

            #[test]
            fn a_reader_sees_half_a_batch() {
                must_fail(|| {
                    shared::a_scan_sees_whole_commits(&$store::default());
                });
            }

            #[test]
            fn a_reader_sees_half_a_registration() {
                must_fail(|| {
                    shared::no_reader_sees_half_a_registration(&$store::default());
                });
            }

            #[test]
            fn a_reader_sees_half_a_clear() {
                must_fail(|| {
                    shared::clear_is_one_step(&$store::default());
                });
            }

            #[test]
            fn a_scan_is_of_no_one_moment() {
                must_fail(|| {
                    promises::a_scan_is_of_one_moment(&$store::default());
                });
            }

            #[test]
            fn it_does_not_promise_what_it_does_not_keep() {
                let promises = <$store as crate::Contender>::ABOUT.promises;
                assert_eq!(promises.batch, crate::Batching::OneByOne);
                assert_eq!(promises.scan, crate::Scans::Weak);
            }
        }
    };
}

/// A closure that holds no lock may call the store.
macro_rules! open_closures {
    ($store:ident) => {
        tests! { $store =>
            closures {
                a_panic_in_a_closure_leaves_the_store_usable
                a_panic_with_a_hook_leaves_the_store_usable
                a_write_from_inside_is_seen_from_inside
                the_revision_can_be_asked_from_inside;
                from make:
                a_call_from_inside_a_closure_is_done_or_refused
            }
        }
    };
}

/// A closure that holds a lock must not; that it may panic is all.
macro_rules! locked_closures {
    ($store:ident) => {
        tests! { $store =>
            closures {
                a_panic_with_a_hook_leaves_the_store_usable
            }
        }

        #[test]
        fn a_call_from_inside_a_closure_hangs() {
            crate::must_hang(|| {
                crate::closures::a_write_from_inside_is_seen_from_inside(&crate::$store::default());
            });
        }
    };
}

/// A thread that is ending may still ask, from the destructor of a thread local.
macro_rules! until_the_end {
    ($store:ident) => {
        mod the_end_of_a_thread {
            tests! { $store =>
                shared {
                    ;
                    from make:
                    a_store_works_while_a_thread_ends
                }
            }
        }
    };
}

/// It may not: what the crate keeps for the thread is gone by then.
macro_rules! not_to_the_end {
    ($store:ident) => {
        #[test]
        fn a_thread_that_ends_must_not_ask() {
            let store = crate::$store::default();
            assert!(crate::promises::refused_at_the_end(store));
        }
    };
}

mod plain {
    alone!(Plain);
    together!(Plain);
    until_the_end!(Plain);
    whole!(Plain);
    locked_closures!(Plain);
}

mod dashmap {
    alone!(Dash);
    together!(Dash);
    until_the_end!(Dash);
    piece_by_piece!(Dash);
    locked_closures!(Dash);
}

mod papaya {
    alone!(Papaya);
    together!(Papaya);
    not_to_the_end!(Papaya);
    piece_by_piece!(Papaya);
    open_closures!(Papaya);
}

mod scc {
    alone!(Scc);
    together!(Scc);
    not_to_the_end!(Scc);
    piece_by_piece!(Scc);
    open_closures!(Scc);
}

mod skiplist {
    alone!(Skip);
    together!(Skip);
    until_the_end!(Skip);
    piece_by_piece!(Skip);
    open_closures!(Skip);
}

mod im_15 {
    alone!(Im15);
    together!(Im15);
    until_the_end!(Im15);
    whole!(Im15);
    open_closures!(Im15);
}

mod imbl {
    alone!(Imbl);
    together!(Imbl);
    until_the_end!(Imbl);
    whole!(Imbl);
    open_closures!(Imbl);
}

/// A contender from outside that is measured is also in this file.
#[test]
fn every_contender_from_outside_is_checked() {
    let outside: Vec<&str> = contender::all()
        .into_iter()
        .filter(|about| about.kind == Kind::Outside)
        .map(|about| about.id)
        .collect();
    let checked = [
        Plain::ABOUT,
        Dash::ABOUT,
        Papaya::ABOUT,
        Scc::ABOUT,
        Skip::ABOUT,
        Im15::ABOUT,
        Imbl::ABOUT,
    ];
    assert_eq!(outside, checked.map(|about| about.id));
}

#[test]
fn every_contender_has_a_name_and_says_what_it_promises() {
    let all = contender::all();
    let ids: BTreeSet<_> = all.iter().map(|about| about.id).collect();
    let names: BTreeSet<_> = all.iter().map(|about| about.name).collect();
    assert_eq!((ids.len(), names.len()), (all.len(), all.len()));
    for about in all {
        let says = about.promises;
        assert_eq!(says == Promises::NONE, !about.is_store(), "{}", about.id);
        assert!(!says.readers.is_empty() && !says.writers.is_empty());
        // The contract asks all of this of every store of the crate.
        if about.is_ours() {
            assert_eq!(says.batch, Batching::Atomic);
            assert_eq!(says.scan, Scans::Consistent);
            assert!(says.indexes_agree && says.never_missing && says.linearizable);
        }
    }
    assert_eq!(MemoryStore::ABOUT.kind, Kind::Ours);
    let about: About = contender::Floor::ABOUT;
    assert!(!about.is_ours() && !about.is_store());
}

// --- failures that have to happen

/// Two stores behind one interface, which are written one after the other:
/// one is asked by key, the other in every other way.
#[derive(Default)]
struct Apart {
    by_key: Mutex<MemoryStore>,
    rest: Mutex<MemoryStore>,
    /// Which of them is written first.
    key_first: bool,
}

impl Apart {
    fn rest(&self) -> MutexGuard<'_, MemoryStore> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self) -> MutexGuard<'_, MemoryStore> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn both<R>(&self, write: impl Fn(&MemoryStore) -> R) -> R {
        if self.key_first {
            write(&self.key());
            thread::yield_now();
            write(&self.rest())
        } else {
            write(&self.rest());
            thread::yield_now();
            write(&self.key())
        }
    }
}

impl RegistryStore for Apart {
    fn save_service(&self, service: ServiceInfo) -> Result<()> {
        self.both(|store| store.save_service(service.clone()))
    }
    fn get_service(&self, key: &str) -> Result<ServiceInfo> {
        self.key().get_service(key)
    }
    fn get_services_by_name(&self, service_name: &str) -> Result<Vec<ServiceInfo>> {
        self.rest().get_services_by_name(service_name)
    }
    fn get_all_services(&self) -> Result<Vec<ServiceInfo>> {
        self.rest().get_all_services()
    }
    fn delete_service(&self, key: &str) -> Result<()> {
        self.both(|store| store.delete_service(key))
    }
    fn update_health_status(
        &self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Result<service_registry::HealthUpdate> {
        self.both(|store| store.update_health_status(key, status, checked_at))
    }
    fn take_service(&self, key: &str) -> Result<ServiceInfo> {
        self.both(|store| store.take_service(key))
    }
    fn add_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
        self.rest().add_subscription(subscriber_key, service_group)
    }
    fn remove_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
        self.rest()
            .remove_subscription(subscriber_key, service_group)
    }
    fn remove_all_subscriptions(&self, subscriber_key: &str) -> Result<()> {
        self.rest().remove_all_subscriptions(subscriber_key)
    }
    fn get_subscribers(&self, service_group: &str) -> Result<Vec<ServiceKey>> {
        self.rest().get_subscribers(service_group)
    }
    fn get_subscriber_services(&self, service_group: &str) -> Result<Vec<ServiceInfo>> {
        self.rest().get_subscriber_services(service_group)
    }
    fn commit(&self, batch: Batch) -> Result<Revision> {
        self.both(|store| store.commit(batch.clone()))
    }
    fn revision(&self) -> Revision {
        self.rest().revision()
    }
    fn clear(&self) -> Result<()> {
        self.both(RegistryStore::clear)
    }
    fn stats(&self) -> Result<StoreStats> {
        self.rest().stats()
    }
    fn ping(&self) -> Result<()> {
        self.rest().ping()
    }
    fn close(&self) -> Result<()> {
        self.both(RegistryStore::close)
    }
}

fn apart(key_first: bool) -> Apart {
    Apart {
        key_first,
        ..Apart::default()
    }
}

#[test]
fn an_index_that_comes_late_is_noticed() {
    must_fail(|| promises::a_pod_that_comes_is_found_by_name_and_key(&apart(true)));
}

#[test]
fn an_index_that_comes_early_is_noticed() {
    must_fail(|| promises::a_pod_that_comes_is_found_by_name_and_key(&apart(false)));
}

#[test]
fn an_index_that_goes_late_is_noticed() {
    must_fail(|| promises::a_pod_that_leaves_is_gone_by_name_and_key(&apart(true)));
}

#[test]
fn an_index_that_goes_early_is_noticed() {
    must_fail(|| promises::a_pod_that_leaves_is_gone_by_name_and_key(&apart(false)));
}

#[test]
fn an_index_that_is_updated_late_is_noticed() {
    must_fail(|| promises::a_record_never_goes_back(&apart(true)));
}

/// What the cells of two contenders are for: their crates alone leave a gap in
/// which a reader finds nothing under a key that is being replaced.
mod gaps {
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering::SeqCst;

    use crossbeam_skiplist::SkipMap;
    use scc::HashIndex;
    use scc::hash_index::Entry;

    use crate::must_fail;
    use crate::support::race::race;

    #[test]
    fn hash_index_leaves_one_while_it_updates() {
        must_fail(|| {
            let (index, next) = (HashIndex::new(), AtomicU64::new(0));
            index.insert_sync(1, 0).unwrap();
            let write = |_| {
                if let Entry::Occupied(mut entry) = index.entry_sync(1) {
                    entry.update(next.fetch_add(1, SeqCst));
                }
            };
            let read = |_| assert!(index.peek_with(&1, |_, _| ()).is_some(), "a gap");
            race(2_000, &[&write], &[&read, &read]);
        });
    }

    #[test]
    fn skip_map_leaves_one_while_it_inserts() {
        must_fail(|| {
            let (map, next) = (SkipMap::new(), AtomicU64::new(0));
            map.insert(1, 0);
            let write = |_| {
                map.insert(1, next.fetch_add(1, SeqCst));
            };
            let read = |_| assert!(map.get(&1).is_some(), "a gap");
            race(2_000, &[&write], &[&read, &read]);
        });
    }
}

/// Our stores keep what is new here as well.
mod ours {
    use service_registry::{EvmapStore, SnapshotStore, ThreadSafeMemoryStore};

    macro_rules! keeps {
        ($($module:ident $store:ident)+) => {$(
            #[test]
            fn $module() {
                use crate::promises;
                promises::a_record_never_goes_back(&$store::new());
                promises::a_pod_that_comes_is_found_by_name_and_key(&$store::new());
                promises::a_pod_that_leaves_is_gone_by_name_and_key(&$store::new());
                promises::a_scan_is_of_one_moment(&$store::new());
                assert!(!promises::refused_at_the_end($store::new()));
            }
        )+};
    }

    keeps! {
        thread_safe ThreadSafeMemoryStore
        evmap EvmapStore
        snapshot SnapshotStore
    }
}
