//! Proof that the ledger and the tests can fail: stores in which one thing is
//! wrong, and deaths that must not be.
//!
//! What is leaked on purpose stays where a sanitizer finds it, see
//! `ledger::keep_for_ever`.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use service_registry::{Batch, MemoryStore, RegistryStore, Result, Revision, ServiceInfo};

use crate::heap::alone;
use crate::heap::ledger::{self, Ledger, keep_for_ever, mark};
use crate::support::registration;
use crate::{marked, records, threads};

// --- the ledger itself

fn noticed(check: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(check)).is_err()
}

#[test]
fn the_ledger_notices_a_leak_a_double_free_and_a_death_too_early() {
    let ledger = Ledger::<8>::new();
    let book = ledger.open();
    let numbers = [ledger.born(), ledger.born()];
    book.check(&numbers.into(), "both live");
    assert!(noticed(|| book.check_all_died("a leak")));
    assert!(noticed(|| book.check(&[numbers[0]].into(), "a leak of one")));
    ledger.died(numbers[0]);
    assert!(noticed(|| book.check(&numbers.into(), "died too early")));
    ledger.died(numbers[1]);
    book.check_all_died("in peace");
    ledger.died(numbers[1]);
    assert!(noticed(|| book.check_deaths()));
    // Who was never born cannot die, nor can a number that nobody has.
    let book = ledger.open();
    ledger.died(5);
    assert!(noticed(|| book.check_deaths()));
    let book = ledger.open();
    ledger.died(800);
    assert!(noticed(|| book.check_deaths()));
    assert!(noticed(|| ledger.open().check_all_died("nothing at all")));
}

#[test]
fn the_allocator_keeps_the_ledger() {
    let _alone = alone();
    let book = ledger::open();
    let record = marked("a", "1");
    let number = ledger::number(&record);
    let copy = record.clone();
    drop(record);
    book.check(&[number].into(), "a clone shares its payload");
    drop(copy);
    book.check_all_died("gone");

    // A copy of the payload dies a second time.
    let book = ledger::open();
    let payload = mark(registration("a", "1", &[]));
    drop(payload.clone());
    drop(payload);
    assert!(noticed(|| book.check_deaths()));

    // A payload that changes its size is still the payload.
    let book = ledger::open();
    let mut payload = mark(registration("a", "1", &[])).notification_url;
    payload.push_str("and more");
    assert!(payload.starts_with("a payload of the ledger, number "));
    book.check_all_died("moved");
}

// --- stores

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// Every tenth record that is saved lives for ever.
    Leaks,
    /// What is replaced or removed lives until the store is closed or dropped.
    FreesLate,
    /// A registration is copied when it is saved.
    Copies,
    /// The records of a closed store live until the store is dropped.
    KeepsOnClose,
    /// The records of a rejected batch live for ever.
    KeepsRejected,
    /// A closure that panics keeps its record for ever.
    KeepsAfterPanic,
    /// Every thread leaves something behind.
    KeepsForThreads,
}

struct Faulty {
    inner: Mutex<MemoryStore>,
    fault: Fault,
    late: Mutex<Vec<ServiceInfo>>,
    saved: Mutex<usize>,
    seen: Mutex<HashSet<ThreadId>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Faulty {
    fn new(fault: Fault) -> Faulty {
        Faulty {
            inner: Mutex::default(),
            fault,
            late: Mutex::default(),
            saved: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, MemoryStore> {
        if self.fault == Fault::KeepsForThreads {
            lock(&self.seen).insert(thread::current().id());
        }
        lock(&self.inner)
    }

    /// Before a write.
    fn writing(&self) -> MutexGuard<'_, MemoryStore> {
        let inner = self.inner();
        if self.fault == Fault::FreesLate {
            lock(&self.late).extend(inner.get_all_services().unwrap_or_default());
        }
        inner
    }
}

impl RegistryStore for Faulty {
    fn save_service(&self, service: ServiceInfo) -> Result<()> {
        let saved = {
            let mut saved = lock(&self.saved);
            *saved += 1;
            *saved
        };
        match self.fault {
            Fault::Leaks if saved % 10 == 0 => keep_for_ever(service.clone()),
            Fault::Copies => {
                let copy = ServiceInfo::new(service.registration().clone())?;
                return self.writing().save_service(copy);
            }
            _ => {}
        }
        self.writing().save_service(service)
    }
    fn revision(&self) -> Revision {
        self.inner().revision()
    }
    fn commit(&self, batch: Batch) -> Result<Revision> {
        let brought = batch.clone();
        let answer = self.writing().commit(batch);
        if self.fault == Fault::KeepsRejected && answer.is_err() {
            for change in brought {
                if let service_registry::Change::SaveService(info) = change {
                    keep_for_ever(info);
                }
            }
        }
        answer
    }
    fn close(&self) -> Result<()> {
        let inner = self.writing();
        lock(&self.late).clear();
        if self.fault == Fault::KeepsOnClose {
            lock(&self.late).extend(inner.get_all_services().unwrap_or_default());
        }
        inner.close()
    }

    fn visit_service(&self, key: &str, visit: &mut dyn FnMut(&ServiceInfo)) -> Result<()> {
        struct Keep(ServiceInfo);
        impl Drop for Keep {
            fn drop(&mut self) {
                if thread::panicking() {
                    keep_for_ever(self.0.clone());
                }
            }
        }
        let found = self.get_service(key)?;
        if self.fault == Fault::KeepsAfterPanic {
            let found = Keep(found);
            visit(&found.0);
        } else {
            visit(&found);
        }
        Ok(())
    }

    forward_required!(reads self => *self.inner());
    forward_required!(writes self => *self.writing(); except save_service, close);
}

type Test = (&'static str, fn(Fault));

macro_rules! tests_of {
    ($($module:ident { $($test:ident)+ })+) => {
        &[$($((stringify!($test), |fault| $module::$test(|| Faulty::new(fault)))),+),+]
    };
}

/// Every test of records and threads.
const ALL: &[Test] = tests_of! {
    records {
        each_operation_frees_what_it_replaces
        a_rejected_batch_frees_what_it_brought
        answers_keep_their_records_and_no_others
        clearing_frees_every_record
        closing_frees_every_record
        dropping_a_store_frees_every_record
        churn_drops_every_record_once
        a_panic_in_a_closure_loses_no_record
    }
    threads {
        churn_of_many_threads_drops_every_record_once
        a_store_closed_under_churn_frees_every_record
        a_reader_inside_a_closure_keeps_its_record
        threads_that_panic_mid_read_leave_nothing
        threads_that_read_while_they_end_leave_nothing
        ten_thousand_short_lived_threads_leave_nothing
    }
};

/// Each test notices a fault that it is there for, and none where there is none.
fn notice(fault: Fault, expected: &[&str]) {
    let _alone = alone();
    for (name, test) in ALL {
        let is_costly = name.starts_with("ten_thousand");
        if expected.contains(name) || (fault == Fault::None && !is_costly) {
            let noticed = noticed(|| test(fault));
            assert_eq!(noticed, fault != Fault::None, "{name}, with {fault:?}");
        }
    }
    let known = |name: &&str| ALL.iter().any(|(known, _)| known == name);
    assert!(expected.iter().all(known), "{expected:?}");
}

#[test]
fn a_store_without_a_fault_passes() {
    notice(Fault::None, &[]);
}

#[test]
fn a_store_that_leaks_records_is_noticed() {
    notice(
        Fault::Leaks,
        &[
            "each_operation_frees_what_it_replaces",
            "answers_keep_their_records_and_no_others",
            "clearing_frees_every_record",
            "closing_frees_every_record",
            "dropping_a_store_frees_every_record",
            "churn_drops_every_record_once",
            "a_panic_in_a_closure_loses_no_record",
            "churn_of_many_threads_drops_every_record_once",
            "a_store_closed_under_churn_frees_every_record",
            "threads_that_read_while_they_end_leave_nothing",
        ],
    );
}

#[test]
fn a_store_that_frees_late_is_noticed() {
    notice(
        Fault::FreesLate,
        &[
            "each_operation_frees_what_it_replaces",
            "answers_keep_their_records_and_no_others",
            "clearing_frees_every_record",
            "churn_drops_every_record_once",
            "a_panic_in_a_closure_loses_no_record",
            "churn_of_many_threads_drops_every_record_once",
            "a_reader_inside_a_closure_keeps_its_record",
            "threads_that_panic_mid_read_leave_nothing",
            "threads_that_read_while_they_end_leave_nothing",
        ],
    );
}

#[test]
fn a_store_that_copies_records_is_noticed() {
    notice(
        Fault::Copies,
        &[
            "each_operation_frees_what_it_replaces",
            "churn_drops_every_record_once",
            "churn_of_many_threads_drops_every_record_once",
        ],
    );
}

#[test]
fn a_store_that_keeps_records_when_it_is_closed_is_noticed() {
    notice(
        Fault::KeepsOnClose,
        &[
            "closing_frees_every_record",
            "churn_drops_every_record_once",
            "a_store_closed_under_churn_frees_every_record",
        ],
    );
}

#[test]
fn a_store_that_keeps_a_rejected_batch_is_noticed() {
    notice(
        Fault::KeepsRejected,
        &[
            "a_rejected_batch_frees_what_it_brought",
            "churn_drops_every_record_once",
            "churn_of_many_threads_drops_every_record_once",
        ],
    );
}

#[test]
fn a_store_that_loses_records_to_panics_is_noticed() {
    notice(
        Fault::KeepsAfterPanic,
        &[
            "a_panic_in_a_closure_loses_no_record",
            "a_reader_inside_a_closure_keeps_its_record",
            "threads_that_panic_mid_read_leave_nothing",
        ],
    );
}

#[test]
fn a_store_that_keeps_something_of_every_thread_is_noticed() {
    notice(
        Fault::KeepsForThreads,
        &["ten_thousand_short_lived_threads_leave_nothing"],
    );
}

// --- views

#[cfg(feature = "snapshot")]
mod views {
    use std::sync::Arc;

    use service_registry::{
        RegistryView, ServiceKey, Snapshot, SnapshotReader, SnapshotStore, Snapshots, StoreStats,
    };

    use super::{alone, noticed, *};
    use crate::kept;
    use crate::support::views::Views;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Fault {
        None,
        /// A view keeps every state that came before it.
        KeepsHistory,
        /// A view that is dropped lives on in the store.
        KeepsViews,
        /// A view shows what is there now.
        ShowsTheNewest,
    }

    struct History {
        _state: Snapshot,
        _before: Option<Arc<History>>,
    }

    struct Faulty {
        inner: Arc<SnapshotStore>,
        fault: Fault,
        history: Mutex<Option<Arc<History>>>,
        kept: Mutex<Vec<Snapshot>>,
    }

    #[derive(Clone)]
    struct View {
        shows: Arc<dyn Fn() -> Snapshot + Send + Sync>,
        /// What `get` borrows from.
        taken: Snapshot,
        _history: Option<Arc<History>>,
    }

    impl View {
        fn of(taken: Snapshot) -> View {
            let shown = taken.clone();
            View {
                shows: Arc::new(move || shown.clone()),
                taken,
                _history: None,
            }
        }
    }

    impl std::fmt::Debug for View {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.taken.fmt(f)
        }
    }

    struct Reader {
        inner: SnapshotReader,
        view: View,
    }

    impl Faulty {
        fn new(fault: Fault) -> Faulty {
            Faulty {
                inner: Arc::default(),
                fault,
                history: Mutex::default(),
                kept: Mutex::default(),
            }
        }

        fn inner(&self) -> &SnapshotStore {
            if self.fault == Fault::KeepsHistory {
                let mut history = lock(&self.history);
                let before = history.take();
                *history = Some(Arc::new(History {
                    _state: self.inner.snapshot(),
                    _before: before,
                }));
            }
            &self.inner
        }
    }

    impl RegistryStore for Faulty {
        forward_required!(self => self.inner());
    }

    impl RegistryView for View {
        fn revision(&self) -> Revision {
            (self.shows)().revision()
        }
        fn get(&self, key: &str) -> Option<&ServiceInfo> {
            self.taken.get(key)
        }
        fn services(&self) -> impl Iterator<Item = &ServiceInfo> {
            let keys: HashSet<_> = (self.shows)().services().map(ledger::number).collect();
            let shown = move |info: &&ServiceInfo| keys.contains(&ledger::number(info));
            self.taken.services().filter(shown)
        }
        fn services_by_name<'a>(
            &'a self,
            service_name: &str,
        ) -> impl Iterator<Item = &'a ServiceInfo> + use<'a> {
            self.taken.services_by_name(service_name)
        }
        fn subscribers<'a>(
            &'a self,
            service_group: &str,
        ) -> impl Iterator<Item = &'a ServiceKey> + use<'a> {
            self.taken.subscribers(service_group)
        }
        fn names(&self) -> impl Iterator<Item = &str> {
            self.taken.names()
        }
        fn groups(&self) -> impl Iterator<Item = &str> {
            self.taken.groups()
        }
        fn stats(&self) -> StoreStats {
            (self.shows)().stats()
        }
    }

    impl Snapshots for Faulty {
        type Snapshot = View;

        fn snapshot(&self) -> View {
            let taken = self.inner().snapshot();
            if self.fault == Fault::KeepsViews {
                lock(&self.kept).push(taken.clone());
            }
            let shows: Arc<dyn Fn() -> Snapshot + Send + Sync> =
                if self.fault == Fault::ShowsTheNewest {
                    let inner = self.inner.clone();
                    Arc::new(move || inner.snapshot())
                } else {
                    let taken = taken.clone();
                    Arc::new(move || taken.clone())
                };
            View {
                shows,
                taken,
                _history: lock(&self.history).clone(),
            }
        }
    }

    impl Views for Faulty {
        type Reader = Reader;

        fn reader(&self) -> Reader {
            let mut inner = self.inner().reader();
            let view = View::of(inner.view().clone());
            Reader { inner, view }
        }
        fn view(reader: &mut Reader) -> &View {
            reader.view = View::of(reader.inner.view().clone());
            &reader.view
        }
        fn read<R>(
            reader: &mut Reader,
            key: &str,
            read: impl FnOnce(&ServiceInfo) -> R,
        ) -> Result<R> {
            reader.inner.with_service(key, read)
        }
    }

    type Test = (&'static str, fn(Fault));

    const ALL: &[Test] = tests_of! {
        kept {
            a_view_keeps_what_it_shows_and_nothing_more
            a_handle_keeps_what_it_showed_and_nothing_more
            many_views_keep_what_they_show_in_any_order
            views_outlive_their_store_and_keep_what_they_show
            views_held_and_released_under_churn_lose_nothing
        }
    };

    #[test]
    fn views_with_a_fault_are_noticed() {
        let _alone = alone();
        for (name, test) in ALL {
            assert!(!noticed(|| test(Fault::None)), "{name}, without a fault");
            for (fault, misses) in [
                (Fault::KeepsHistory, &[][..]),
                // Those views go with the store; and a handle is not among them.
                (
                    Fault::KeepsViews,
                    &[
                        "a_handle_keeps_what_it_showed_and_nothing_more",
                        "views_outlive_their_store_and_keep_what_they_show",
                    ],
                ),
                (
                    Fault::ShowsTheNewest,
                    &["a_handle_keeps_what_it_showed_and_nothing_more"],
                ),
            ] {
                let expected = !misses.contains(name);
                assert_eq!(noticed(|| test(fault)), expected, "{name}, with {fault:?}");
            }
        }
    }
}

/// Loses a record for good, so that a run of this alone under a sanitizer with leak
/// detection must fail, and shows that it looks.
#[test]
#[ignore = "leaks on purpose, for a sanitizer to notice"]
fn a_lost_record_is_reported_by_the_sanitizer() {
    std::mem::forget(marked("lost", "1"));
}
