//! `VersionedStore` shares the default collector of `crossbeam-epoch` with everything else in
//! the process: what others do with it, and for how long its memory waits.

#![cfg(feature = "versioned")]
#![cfg(not(shuttle))]

#[path = "support/heap/mod.rs"]
mod heap;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, SystemTime};

use heap::counts;
use heap::ledger::{self, mark, number};
use service_registry::changes::{Event, Selection};
use service_registry::{
    RegistryStore, RegistryView, ServiceInfo, ServiceRegistration, ServiceStatus, StoreError,
    VersionedStore,
};

fn marked(pod: usize) -> ServiceInfo {
    ServiceInfo::new(mark(ServiceRegistration {
        service_name: "n".into(),
        pod_name: format!("p{pod}"),
        ..ServiceRegistration::default()
    }))
    .unwrap()
}

/// Keeps other tests of this process away, and leaves them no function that panics.
fn alone() -> impl Sized {
    struct Alone<T>(T);
    impl<T> Drop for Alone<T> {
        fn drop(&mut self) {
            let flush = || (0..100).for_each(|_| crossbeam_epoch::pin().flush());
            while catch_unwind(flush).is_err() {}
        }
    }
    Alone(heap::alone())
}

// --- functions of others that panic

/// Functions of others that use stores do not run inside of each other: on a stack of 128 KiB
/// there is room for some forty levels.
#[test]
fn functions_of_others_that_use_stores_do_not_pile_up_on_one_stack() {
    let _alone = alone();
    let store = std::sync::Arc::new(VersionedStore::new());
    store.save_service(marked(0)).unwrap();
    beside_a_view(&store, || {
        for at in 0..4_000 {
            let store = store.clone();
            crossbeam_epoch::pin().defer(move || match at % 3 {
                0 => store.save_service(marked(0)).unwrap(),
                1 => store.clear().unwrap(),
                _ => {
                    let gone = VersionedStore::new();
                    gone.save_service(marked(0)).unwrap();
                    let view = gone.snapshot();
                    drop((gone, view));
                }
            });
        }
    });
    let small = thread::Builder::new().stack_size(128 << 10).spawn(|| {
        for _ in 0..20_000 {
            crossbeam_epoch::pin().flush();
        }
    });
    small.unwrap().join().unwrap();
}

/// A second function that panics, while the first one's panic unwinds through the store, does
/// not end the process.
#[test]
fn two_panics_of_others_are_one_panic() {
    let _alone = alone();
    for bombs in 2..5 {
        for way in 0..3 {
            let store = VersionedStore::new();
            (0..200).for_each(|pod| store.save_service(marked(pod)).unwrap());
            let view = store.snapshot();
            (0..200).for_each(|pod| store.save_service(marked(pod)).unwrap());
            let guard = crossbeam_epoch::pin();
            for _ in 0..bombs {
                guard.defer(|| panic!("a function of somebody else's"));
                (0..64).for_each(|_| guard.defer(|| ()));
            }
            drop(guard);
            let _ = catch_unwind(|| crossbeam_epoch::pin().flush());
            let _ = catch_unwind(AssertUnwindSafe(|| match way {
                0 => store.close().unwrap(),
                1 => store.clear().unwrap(),
                _ => drop(store),
            }));
            assert_eq!(view.services().count(), 200);
        }
    }
}

/// Has the next first pin of a thread run a function that panics.
fn plant() {
    drop(crossbeam_epoch::pin());
    let guard = crossbeam_epoch::pin();
    guard.defer(|| panic!("a function of somebody else's"));
    guard.flush();
}

/// Whether a thread of its own panics in this.
fn panics(work: impl FnOnce() + Send) -> bool {
    thread::scope(|threads| threads.spawn(work).join().is_err())
}

/// What a view shows stays alive while a write panics beside it, and comes to its end, at most,
/// once.
fn a_view_outlives_a_panic_in(write: fn(&VersionedStore)) {
    let _alone = alone();
    let book = ledger::open();
    let store = VersionedStore::new();
    (0..5).for_each(|pod| store.save_service(marked(pod)).unwrap());
    plant();
    let view = store.pinned();
    let shown: Vec<usize> = view.services().map(number).collect();
    assert_eq!(shown.len(), 5);
    assert!(panics(|| write(&store)), "the function was not run");
    let alive = book.alive();
    assert!(
        shown.iter().all(|number| alive.contains(number)),
        "what a view shows was freed"
    );
    // Looks at all of it, for the sanitizer.
    assert_eq!(view.services().map(number).count(), 5);
    assert!(shown.contains(&number(view.get("n:p3").unwrap())));
    drop(view);
    drop(store);
    book.check_deaths();
}

#[test]
fn a_view_outlives_a_panic_of_others_while_the_store_is_cleared() {
    a_view_outlives_a_panic_in(|store| store.clear().unwrap());
}

#[test]
fn a_view_outlives_a_panic_of_others_while_the_store_is_closed() {
    a_view_outlives_a_panic_in(|store| store.close().unwrap());
}

#[test]
fn a_view_outlives_a_panic_of_others_while_the_store_grows() {
    a_view_outlives_a_panic_in(|store| {
        (5..20).for_each(|pod| store.save_service(marked(pod)).unwrap());
    });
}

#[test]
fn a_view_outlives_a_panic_of_others_while_its_records_are_replaced() {
    a_view_outlives_a_panic_in(|store| {
        (0..1_000).for_each(|n| store.save_service(marked(n % 5)).unwrap());
    });
}

/// A watch that sleeps is told that the store is closed, whoever's function panics meanwhile.
#[test]
fn a_panic_of_others_leaves_no_watch_asleep() {
    let _alone = alone();
    let ends: [fn(VersionedStore); 3] = [
        |store| store.close().unwrap(),
        drop,
        // Closed by the panic, as far as the next one to write can see.
        |store| {
            let grows = || (5..40).for_each(|pod| store.save_service(marked(pod)).unwrap());
            assert!(catch_unwind(AssertUnwindSafe(grows)).is_err());
            assert!(store.watch(Selection::All).is_err());
            std::mem::forget(store);
            panic!("as the others");
        },
    ];
    for end in ends {
        let store = VersionedStore::new();
        let view = store.snapshot();
        let mut watch = store.watch(Selection::All).unwrap();
        watch.recv().unwrap();
        (0..200).for_each(|pod| store.save_service(marked(pod)).unwrap());
        plant();
        assert!(panics(move || end(store)), "the function was not run");
        assert!(matches!(watch.try_recv(), Ok(Some(Event::Changes { .. }))));
        assert_eq!(watch.try_recv(), Err(StoreError::Closed));
        drop(view);
    }
}

/// A panic leaves the store as it was, and what waited comes back all the same.
#[test]
fn a_store_goes_on_after_a_panic_of_others() {
    let _alone = alone();
    let book = ledger::open();
    let store = VersionedStore::new();
    (0..100).for_each(|pod| store.save_service(marked(pod)).unwrap());
    for round in 0..20 {
        plant();
        panics(|| match round % 4 {
            0 => (0..300).for_each(|pod| store.save_service(marked(pod)).unwrap()),
            1 => store.clear().unwrap(),
            2 => drop(store.snapshot()),
            _ => drop(store.reader().view().services().count()),
        });
    }
    (0..100).for_each(|pod| store.save_service(marked(pod)).unwrap());
    assert!(store.get_all_services().unwrap().len() >= 100);
    let view = store.pinned();
    let (before, _) = (counts::live(), book.alive());
    update(&store, 1, 100_000);
    drop(view);
    reads(&store, 400_000);
    assert!(counts::live() - before < counts::NOISE * 4);
}

/// A handle that was about to move on when somebody else's function panicked shows a state that
/// is kept for it.
#[test]
fn a_handle_that_could_not_move_on_shows_what_is_kept_for_it() {
    let _alone = alone();
    let store = VersionedStore::new();
    store.save_service(marked(0)).unwrap();
    let mut handle = store.reader();
    let shown = handle.view().clone();
    let number_shown = number(shown.get("n:p0").unwrap());
    store.save_service(marked(0)).unwrap();
    plant();
    let panicked = thread::scope(|threads| {
        let moved = threads.spawn(|| {
            catch_unwind(AssertUnwindSafe(|| {
                drop(handle.view().get("n:p0").cloned());
            }))
        });
        moved.join().unwrap().is_err()
    });
    assert!(panicked, "the function was not run");
    update(&store, 0, 1_000);
    assert_eq!(number(shown.get("n:p0").unwrap()), number_shown);
    let newest = handle.view().get("n:p0").unwrap();
    assert_eq!(newest.status(), ServiceStatus::Healthy);
}

// --- memory that waits

fn update(store: &VersionedStore, pod: usize, times: u64) {
    static MOMENT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    for _ in 0..times {
        let moment = MOMENT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let moment = SystemTime::UNIX_EPOCH + Duration::from_nanos(moment);
        store
            .update_health_status(&format!("n:p{pod}"), ServiceStatus::Healthy, moment)
            .unwrap();
    }
}

fn reads(store: &VersionedStore, times: usize) {
    for _ in 0..times {
        let _ = store.with_service("n:p0", |_| ());
    }
}

/// Calls `work` while another thread holds a view of the store, which then lets go of it, and
/// ends.
fn beside_a_view(store: &VersionedStore, work: impl FnOnce()) {
    thread::scope(|threads| {
        let (tell, told) = channel();
        let (end, ended) = channel::<()>();
        threads.spawn(move || {
            let view = store.pinned();
            tell.send(()).unwrap();
            let _ = ended.recv();
            drop(view);
        });
        told.recv().unwrap();
        work();
        drop(end);
    });
}

/// Calls `work` on a thread that is never pinned again, and does not end, beside a view that
/// another thread holds and then lets go of. Nothing but reads, of another store, has to bring
/// back all that `work` has replaced.
fn comes_back_to_readers(book: &ledger::Marked, store: &VersionedStore, work: fn(&VersionedStore)) {
    thread::scope(|threads| {
        let (tell, told) = channel();
        let (end, ended) = channel::<()>();
        beside_a_view(store, || {
            threads.spawn(move || {
                work(store);
                tell.send(()).unwrap();
                let _ = ended.recv();
            });
            told.recv().unwrap();
        });
        let other = VersionedStore::new();
        reads(&other, 200_000);
        let left = book.alive().len();
        drop(end);
        assert_eq!(left, 0, "memory did not come back");
    });
}

#[test]
fn what_is_cleared_beside_a_view_comes_back_when_it_has_gone() {
    let _alone = alone();
    let book = ledger::open();
    let store = VersionedStore::new();
    (0..10_000).for_each(|pod| store.save_service(marked(pod)).unwrap());
    comes_back_to_readers(&book, &store, |store| store.clear().unwrap());
}

#[test]
fn what_is_closed_beside_a_view_comes_back_when_it_has_gone() {
    let _alone = alone();
    let book = ledger::open();
    let store = VersionedStore::new();
    (0..10_000).for_each(|pod| store.save_service(marked(pod)).unwrap());
    comes_back_to_readers(&book, &store, |store| store.close().unwrap());
}

/// Nobody is left who would drive the collector on behalf of a store that has gone.
#[test]
fn the_last_view_of_a_store_that_has_gone_leaves_nothing() {
    let _alone = alone();
    let book = ledger::open();
    let store = VersionedStore::new();
    (0..10_000).for_each(|pod| store.save_service(marked(pod)).unwrap());
    let view = store.snapshot();
    drop(store);
    assert_eq!(view.services().count(), 10_000);
    drop(view);
    assert_eq!(book.alive().len(), 0, "memory stays with the collector");
}

#[test]
fn a_store_that_is_dropped_in_the_middle_of_its_work_leaves_nothing() {
    let _alone = alone();
    let book = ledger::open();
    let store = VersionedStore::new();
    (0..10_000).for_each(|at| store.save_service(marked(at % 100)).unwrap());
    drop(store);
    assert_eq!(book.alive().len(), 0, "memory stays with the collector");
}

/// What the collector runs for one store does not run what it has for the next one: a thread
/// with a small stack sees to thousands of them.
#[test]
fn what_waits_for_many_stores_does_not_pile_up_on_one_stack() {
    let _alone = alone();
    let book = ledger::open();
    let stores: Vec<VersionedStore> = (0..3_000).map(|_| VersionedStore::new()).collect();
    for store in &stores {
        (0..2).for_each(|pod| store.save_service(marked(pod)).unwrap());
    }
    beside_a_view(&stores[0], || {
        for store in &stores {
            store.clear().unwrap();
        }
    });
    let small = thread::Builder::new().stack_size(128 << 10).spawn(|| {
        for _ in 0..100_000 {
            crossbeam_epoch::pin().flush();
        }
    });
    small.unwrap().join().unwrap();
    assert_eq!(book.alive().len(), 0, "memory did not come back");
}

/// The bytes that `updates` of one record leave beside a view, and how many more there are
/// after `then` than before them.
fn debt_after(
    updates: u64,
    then: impl FnOnce(VersionedStore) -> Option<VersionedStore>,
) -> (i64, i64) {
    let store = VersionedStore::new();
    store.save_service(marked(0)).unwrap();
    update(&store, 0, 1_000);
    let before = counts::live();
    let view = store.pinned();
    update(&store, 0, updates);
    drop(view);
    let debt = counts::live() - before;
    let _store = then(store);
    (debt, counts::live() - before)
}

/// What `VersionedStore` says of its memory: 32 go for each that comes.
#[test]
fn what_waited_for_a_view_is_gone_after_commits_in_proportion() {
    let _alone = alone();
    let (debt, half) = debt_after(50_000, |store| {
        update(&store, 0, 50_000 / 31 / 2 + 800);
        Some(store)
    });
    assert!(debt > 50_000 * 64, "nothing waited");
    assert!(half < debt * 6 / 10, "{half} of {debt} bytes are left");
    let (_, left) = debt_after(50_000, |store| {
        update(&store, 0, 50_000 / 31 + 2_000);
        Some(store)
    });
    assert!(left < 1_000 * 128, "{left} of {debt} bytes are left");
}

#[test]
fn what_waited_for_a_view_comes_back_to_a_store_that_is_only_read() {
    let _alone = alone();
    let (debt, left) = debt_after(50_000, |store| {
        reads(&store, 200_000);
        Some(store)
    });
    assert!(left < 1_000 * 128, "{left} of {debt} bytes are left");
}

#[test]
fn a_store_that_is_dropped_leaves_nothing_with_the_collector() {
    let _alone = alone();
    let (debt, left) = debt_after(50_000, |store| {
        // Most of it is with the collector.
        update(&store, 0, 1_000);
        drop(store);
        None
    });
    // The bags that the collector's queue is made of are its own.
    assert!(left < debt / 10, "{left} of {debt} bytes are left");
}
