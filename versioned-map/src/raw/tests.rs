//! Tests of internals: which threads take the lock, and the state after a panic under the lock.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::limits::{BACKLOG_THRESHOLD, MOST_PASSES, READER_SLOTS_PER_PASS};
use super::sample::{Closed, Item, Sample, State, Step, Store, View, apply};
use super::{Engine, Registered};

const POD: usize = 1;

fn stamp(view: &impl State, pod: usize) -> Option<u64> {
    view.item(pod).map(|item: &Item| item.shared.stamp)
}

/// Returns a store that keeps a version for the returned snapshot.
fn kept() -> (Store, Registered<Sample>) {
    let store = Store::new();
    store.commit(&[Step::Save(POD, 1)]).unwrap();
    let view = store.snapshot();
    store.commit(&[Step::Save(POD, 2)]).unwrap();
    let mut tries = 0;
    while store.engine.turn().keeps_nothing() {
        store.engine.reclaim_now();
        tries += 1;
        assert!(tries < 10, "nothing was kept");
    }
    (store, view)
}

#[test]
fn a_clone_whose_slot_stays_shared_takes_no_lock() {
    let (store, view) = kept();
    let other = view.clone();
    let turn = store.engine.turn();
    drop(other);
    assert!(!store.engine.is_reclamation_due(), "it tried to lock");
    // The last clone releases the kept version. It does not wait for the thread that has the lock,
    // and that thread does not do its work: the next thread that reads does.
    drop(view);
    assert!(store.engine.is_reclamation_due());
    drop(turn);
    assert!(!store.engine.turn().keeps_nothing());
    drop(store.pinned());
    assert!(store.engine.turn().keeps_nothing());
}

#[test]
fn a_snapshot_that_keeps_nothing_takes_no_lock() {
    let (store, view) = kept();
    let newest = store.snapshot();
    let turn = store.engine.turn();
    drop(newest);
    assert!(!store.engine.is_reclamation_due(), "it tried to lock");
    drop(turn);
    assert_eq!(stamp(&view, POD), Some(1));
}

/// The last of several snapshots of one revision frees what was kept for them, in any order in
/// which they are dropped.
#[test]
fn the_last_snapshot_of_a_revision_frees_what_was_kept_for_it() {
    for first in 0..3 {
        let (store, view) = kept();
        let mut views: Vec<_> = (0..2).map(|_| store.snapshot()).collect();
        views.push(view);
        store.commit(&[Step::Save(POD, 3)]).unwrap();
        store.engine.reclaim_now();
        drop(views.swap_remove(first));
        drop(views);
        assert!(store.engine.turn().keeps_nothing());
    }
}

/// A snapshot reports its departure, even if another thread has the lock of the list.
#[test]
fn what_was_kept_for_a_snapshot_is_freed_even_if_its_departure_could_not_be_noted() {
    let (store, view) = kept();
    let busy = store.engine.departed.keep_busy();
    drop(view);
    drop(busy);
    drop(store.snapshot());
    store.commit(&[Step::Save(2, 2)]).unwrap();
    store.engine.reclaim_now();
    assert!(store.engine.turn().keeps_nothing());
}

/// In any order, and for versions that one snapshot keeps or that many share.
#[test]
fn dropping_one_of_many_snapshots_does_not_scan_all_others() {
    const MANY: usize = 1_000;
    const SHARED: usize = 64;
    for order in 0..3 {
        let store = Store::new();
        for pod in 0..SHARED {
            store.commit(&[Step::Save(pod, 1)]).unwrap();
        }
        let mut views: Vec<_> = (0..MANY)
            .map(|number| {
                let own = SHARED + number;
                store.commit(&[Step::Save(own, 1)]).unwrap();
                let view = store.snapshot();
                store.commit(&[Step::Delete(own)]).unwrap();
                view
            })
            .collect();
        for pod in 0..SHARED {
            store.commit(&[Step::Save(pod, 2)]).unwrap();
        }
        store.engine.reclaim_now();
        match order {
            0 => {}
            1 => views.reverse(),
            _ => views.sort_by_key(|view| super::sample::scattered(view.revision())),
        }
        let before = store.engine.turn().snapshot_work();
        for (number, view) in views.into_iter().enumerate() {
            assert_eq!(stamp(&view, 0), Some(1));
            drop(view);
            let spent = store.engine.turn().snapshot_work() - before;
            let most = (number + 1) * ((3 + 2 * MOST_PASSES) * READER_SLOTS_PER_PASS + 32)
                + 16 * (SHARED + MANY);
            assert!(spent <= most, "{spent} for {} in order {order}", number + 1);
        }
        assert!(store.engine.turn().keeps_nothing());
    }
}

fn replace(store: &Store, times: usize) {
    for number in 0..times {
        store.commit(&[Step::Save(POD, number as u64)]).unwrap();
    }
}

/// Returns a view for which so many versions wait that reading threads are asked to reclaim when it
/// has been dropped.
fn with_backlog(store: &Store) -> View<'_> {
    let view = store.pinned();
    replace(store, 3 * BACKLOG_THRESHOLD);
    assert!(store.engine.turn().backlog() > 2 * BACKLOG_THRESHOLD);
    assert!(
        !store.engine.is_reclamation_due(),
        "there is nothing to do yet"
    );
    view
}

#[test]
fn what_waited_for_a_view_is_freed_with_it() {
    let store = Store::new();
    let view = with_backlog(&store);
    let other = store.pinned();
    drop(view);
    // The thread is still pinned.
    assert!(
        !store.engine.is_reclamation_due() && store.engine.turn().backlog() > 2 * BACKLOG_THRESHOLD
    );
    drop(other);
    for _ in 0..10 {
        drop(store.snapshot());
    }
    assert!(store.engine.turn().has_no_backlog());
    assert!(!store.engine.is_reclamation_due(), "it continues forever");
}

/// A thread that drops a view does not wait for the thread that has the lock.
#[test]
fn a_view_that_ends_waits_for_no_lock() {
    let store = Store::new();
    let view = with_backlog(&store);
    let turn = store.engine.turn();
    drop(view);
    drop(turn);
    assert!(store.engine.is_reclamation_due());
    for _ in 0..10 {
        assert!(stamp(&store.pinned(), POD).is_some());
    }
    assert!(store.engine.turn().has_no_backlog());
}

/// Cleared contents are freed completely, even if they are small.
#[test]
fn what_is_cleared_beside_a_view_is_freed_with_it() {
    let store = Store::new();
    replace(&store, 2);
    let view = store.pinned();
    store.clear().unwrap();
    assert!(!store.engine.turn().has_no_backlog());
    drop(view);
    assert!(store.engine.turn().has_no_backlog());
    replace(&store, 2);
    let view = store.pinned();
    store.close();
    drop(view);
    assert!(store.engine.turn().has_no_backlog());
}

#[test]
fn a_panic_under_the_lock_closes_the_store_and_publishes_nothing() {
    let (store, view) = kept();
    let before = store.pinned().revision();
    let broken = catch_unwind(AssertUnwindSafe(|| {
        let mut turn = store.engine.turn();
        apply(&mut turn, Step::Save(2, 1));
        apply(&mut turn, Step::Delete(POD));
        panic!("under the lock");
    }));
    assert!(broken.is_err());
    // Until another thread takes the lock, readers see the state from before.
    assert_eq!(store.pinned().revision(), before);
    assert_eq!(store.pinned().items().count(), 1);
    let late = store.snapshot();
    assert_eq!(store.commit(&[Step::Save(3, 1)]), Err(Closed));
    assert!(store.pinned().is_closed());
    assert_eq!(store.pinned().revision(), before);
    assert_eq!(store.snapshot().items().count(), 0);
    assert_eq!(stamp(&view, POD), Some(1));
    assert_eq!(stamp(&late, POD), Some(2));
    assert_eq!(late.items().count(), 1);
    store.close();
}

fn _is_shared_by_threads(engine: &Engine<Sample>) -> &(dyn Send + Sync) {
    engine
}
