//! For how long what a `VersionedStore` has replaced stays in memory, and who brings it back.

#![cfg(feature = "versioned")]
#![cfg(not(shuttle))]

#[path = "support/heap/mod.rs"]
mod heap;

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, SystemTime};

use heap::counts;
use heap::ledger::{self, mark};
use service_registry::{
    RegistryStore, RegistryView, ServiceInfo, ServiceRegistration, ServiceStatus, VersionedStore,
};

fn marked(pod: usize) -> ServiceInfo {
    ServiceInfo::new(mark(ServiceRegistration {
        service_name: "n".into(),
        pod_name: format!("p{pod}"),
        ..ServiceRegistration::default()
    }))
    .unwrap()
}

use heap::alone;

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
        assert!(store.contains_service("n:p0").is_ok());
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

/// Whoever holds the view brings back all that `work` has replaced beside it, when he lets go of
/// it, and nobody does anything afterwards.
fn comes_back_with_the_view(
    book: &ledger::PayloadScope,
    store: &VersionedStore,
    work: fn(&VersionedStore),
) {
    beside_a_view(store, || {
        work(store);
        assert!(!book.alive().is_empty(), "the view has lost what it shows");
    });
    assert_eq!(book.alive().len(), 0, "memory did not come back");
}

#[test]
fn what_is_cleared_beside_a_view_comes_back_when_it_has_gone() {
    let _alone = alone();
    let book = ledger::open();
    let store = VersionedStore::new();
    (0..10_000).for_each(|pod| store.save_service(marked(pod)).unwrap());
    comes_back_with_the_view(&book, &store, |store| store.clear().unwrap());
}

#[test]
fn what_is_closed_beside_a_view_comes_back_when_it_has_gone() {
    let _alone = alone();
    let book = ledger::open();
    let store = VersionedStore::new();
    (0..10_000).for_each(|pod| store.save_service(marked(pod)).unwrap());
    comes_back_with_the_view(&book, &store, |store| store.close().unwrap());
}

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
    assert_eq!(book.alive().len(), 0, "memory did not come back");
}

#[test]
fn a_store_that_is_dropped_in_the_middle_of_its_work_leaves_nothing() {
    let _alone = alone();
    let book = ledger::open();
    let store = VersionedStore::new();
    (0..10_000).for_each(|at| store.save_service(marked(at % 100)).unwrap());
    drop(store);
    assert_eq!(book.alive().len(), 0, "memory did not come back");
}

/// What one store waits for, the others do not.
#[test]
fn a_view_of_one_store_holds_up_no_other() {
    let _alone = alone();
    let book = ledger::open();
    let (store, other) = (VersionedStore::new(), VersionedStore::new());
    beside_a_view(&other, || {
        (0..10_000).for_each(|at| store.save_service(marked(at % 100)).unwrap());
        store.clear().unwrap();
        assert_eq!(
            book.alive().len(),
            0,
            "it waits for a view of another store"
        );
    });
}

/// Thousands of stores are cleared beside one view each, of a thread with a small stack.
#[test]
fn what_waits_for_many_stores_does_not_pile_up_on_one_stack() {
    let _alone = alone();
    let book = ledger::open();
    let stores: Vec<VersionedStore> = (0..3_000).map(|_| VersionedStore::new()).collect();
    for store in &stores {
        (0..2).for_each(|pod| store.save_service(marked(pod)).unwrap());
    }
    thread::scope(|threads| {
        let small = thread::Builder::new().stack_size(128 << 10);
        let work = || {
            let views: Vec<_> = stores.iter().map(VersionedStore::pinned).collect();
            let clear = || stores.iter().for_each(|store| store.clear().unwrap());
            threads.spawn(clear).join().unwrap();
            assert_eq!(book.alive().len(), 6_000);
            drop(views);
            // Those that went before the last have left nobody to see to their stores.
            for store in &stores {
                reads(store, 2);
            }
        };
        small.spawn_scoped(threads, work).unwrap();
    });
    assert_eq!(book.alive().len(), 0, "memory did not come back");
}

/// The bytes that `updates` of one record leave beside a reader who sees to nothing when he has read, and
/// how many more there are after `then` than before them.
fn debt_after(
    updates: u64,
    then: impl FnOnce(VersionedStore) -> Option<VersionedStore>,
) -> (i64, i64) {
    let store = VersionedStore::new();
    store.save_service(marked(0)).unwrap();
    update(&store, 0, 1_000);
    let before = counts::live();
    let read = store.with_service("n:p0", |_| update(&store, 0, updates));
    assert!(read.is_ok());
    let debt = counts::live() - before;
    let _store = then(store);
    (debt, counts::live() - before)
}

/// What `VersionedStore` says of its memory: 32 go for each that comes.
#[test]
fn what_waited_for_a_view_is_gone_after_commits_in_proportion() {
    let _alone = alone();
    let (debt, half) = debt_after(50_000, |store| {
        update(&store, 0, 50_000 / 31 / 2 + 2_100);
        Some(store)
    });
    assert!(debt > 50_000 * 64, "nothing waited");
    assert!(half < debt * 6 / 10, "{half} of {debt} bytes are left");
    let (_, left) = debt_after(50_000, |store| {
        update(&store, 0, 50_000 / 31 + 6_000);
        Some(store)
    });
    assert!(left < 4_096 * 128, "{left} of {debt} bytes are left");
}

/// Nobody does anything afterwards.
#[test]
fn what_waited_for_a_view_goes_with_it_where_nobody_commits() {
    let _alone = alone();
    let store = VersionedStore::new();
    store.save_service(marked(0)).unwrap();
    update(&store, 0, 1_000);
    let before = counts::live();
    let view = store.pinned();
    update(&store, 0, 50_000);
    let debt = counts::live() - before;
    drop(view);
    let left = counts::live() - before;
    assert!(
        debt > 50_000 * 64 && left < 1_000 * 128,
        "{left} of {debt} bytes are left"
    );
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
fn a_store_that_is_dropped_in_debt_leaves_nothing() {
    let _alone = alone();
    let (debt, left) = debt_after(50_000, |store| {
        update(&store, 0, 1_000);
        drop(store);
        None
    });
    assert!(left < debt / 100, "{left} of {debt} bytes are left");
}

// --- a record that is updated all the time

/// Fewer where it takes long.
const UPDATES: u64 = if cfg!(debug_assertions) {
    200_000
} else {
    1_000_000
};

/// How many bytes more there are at most while a record is updated, a thousand times between two of
/// `then`.
fn most_beside(store: &VersionedStore, mut then: impl FnMut(u64)) -> i64 {
    let (before, mut most) = (counts::live(), 0);
    for thousand in 0..UPDATES / 1_000 {
        then(thousand);
        update(store, 0, 1_000);
        most = most.max(counts::live() - before);
    }
    most
}

/// A thread that pins itself and leaves when it is told.
struct Pinning {
    orders: std::sync::mpsc::Sender<bool>,
    done: std::sync::mpsc::Receiver<()>,
}

impl Pinning {
    fn new<'s>(threads: &'s thread::Scope<'s, '_>, store: &'s VersionedStore) -> Pinning {
        let (orders, told) = channel::<bool>();
        let (tell, done) = channel();
        threads.spawn(move || {
            let mut view = None;
            for pins in &told {
                view = pins.then(|| store.pinned());
                tell.send(()).unwrap();
            }
            drop(view);
        });
        Pinning { orders, done }
    }

    fn is_to(&self, pin: bool) {
        self.orders.send(pin).unwrap();
        self.done.recv().unwrap();
    }
}

/// As the documents say: up to some thousand versions wait.
const FEW: i64 = 4_096 * 128;

/// There is always somebody pinned, and nobody for more than 2,000 updates.
#[test]
fn updates_of_one_record_leave_little_beside_readers_who_take_turns() {
    let _alone = alone();
    let store = VersionedStore::new();
    store.save_service(marked(0)).unwrap();
    update(&store, 0, 10_000);
    let most = thread::scope(|threads| {
        let readers: [Pinning; 2] = [(); 2].map(|()| Pinning::new(threads, &store));
        most_beside(&store, |turn| {
            let one = usize::from(turn % 2 == 0);
            readers[one].is_to(true);
            readers[1 - one].is_to(false);
        })
    });
    println!("beside readers who take turns: {most} bytes more at most");
    assert!(most < FEW, "{most} bytes more");
}

/// That is more than a snapshot leaves.
#[test]
fn updates_of_one_record_leave_little_beside_a_snapshot() {
    let _alone = alone();
    let store = VersionedStore::new();
    store.save_service(marked(0)).unwrap();
    update(&store, 0, 10_000);
    let view = store.snapshot();
    let most = most_beside(&store, |_| ());
    println!("beside a snapshot: {most} bytes more at most");
    assert!(most < FEW, "{most} bytes more");
    assert_eq!(view.services().count(), 1);
}

/// How the two above could fail.
#[test]
fn updates_of_one_record_beside_a_reader_who_stays_are_noticed() {
    let _alone = alone();
    let store = VersionedStore::new();
    store.save_service(marked(0)).unwrap();
    update(&store, 0, 10_000);
    let most = thread::scope(|threads| {
        let reader = Pinning::new(threads, &store);
        reader.is_to(true);
        most_beside(&store, |_| ())
    });
    assert!(most > 4 * FEW, "{most} bytes more");
}
