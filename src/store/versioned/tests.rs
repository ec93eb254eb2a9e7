//! What cannot be seen from outside: who takes the lock, and what a panic under it leaves.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::model::registration::ServiceRegistration;

fn pod(name: &str, url: &str) -> ServiceInfo {
    ServiceInfo::new(ServiceRegistration {
        service_name: "a".into(),
        pod_name: name.into(),
        notification_url: url.into(),
        ..ServiceRegistration::default()
    })
    .unwrap()
}

/// A store that keeps a version for the snapshot.
fn kept() -> (VersionedStore, VersionedSnapshot) {
    let store = VersionedStore::new();
    store.save_service(pod("1", "old")).unwrap();
    let view = store.snapshot();
    store.save_service(pod("1", "new")).unwrap();
    let mut tries = 0;
    while store.engine.commit().keeps_nothing() {
        store.engine.tidy_up_after();
        tries += 1;
        assert!(tries < 10_000, "nothing was kept");
    }
    // The epoch has nothing to see to.
    while store.engine.is_waiting() {
        crossbeam_epoch::pin().flush();
    }
    (store, view)
}

#[test]
fn a_clone_whose_place_stays_shared_asks_for_no_lock() {
    let (store, view) = kept();
    let other = view.clone();
    let turn = store.engine.commit();
    drop(other);
    assert!(!store.engine.is_waiting(), "it wanted the lock");
    // The last one frees what was kept. Who has the lock is not waited for, and does not go on
    // for as long as others give back: the epoch sees to it.
    drop(view);
    assert!(store.engine.is_waiting());
    drop(turn);
    let mut pins = 0;
    while store.engine.is_waiting() {
        crossbeam_epoch::pin().flush();
        pins += 1;
        assert!(pins < 1_000_000, "the epoch was not asked");
    }
    assert!(store.engine.commit().keeps_nothing());
}

#[test]
fn a_snapshot_that_keeps_nothing_asks_for_no_lock() {
    let (store, view) = kept();
    let newest = store.snapshot();
    let turn = store.engine.commit();
    drop(newest);
    assert!(!store.engine.is_waiting(), "it wanted the lock");
    drop(turn);
    assert_eq!(view.get("a:1").unwrap().notification_url(), "old");
}

/// The last of several snapshots of one revision frees what was kept for them, in whatever
/// order they go.
#[test]
fn the_last_snapshot_of_a_revision_frees_what_was_kept_for_it() {
    for first in 0..3 {
        let (store, view) = kept();
        let mut views: Vec<_> = (0..2).map(|_| store.snapshot()).collect();
        views.push(view);
        store.save_service(pod("1", "newer")).unwrap();
        for _ in 0..100 {
            store.engine.tidy_up_after();
        }
        drop(views.swap_remove(first));
        drop(views);
        assert!(store.engine.commit().keeps_nothing());
    }
}

/// A function that lies in the epoch beside one that panics is lost. The store does not wait
/// for it for good.
#[test]
fn a_request_that_a_panic_of_others_has_lost_is_made_again() {
    let (store, view) = kept();
    let turn = store.engine.commit();
    let guard = crossbeam_epoch::pin();
    guard.defer(|| panic!("a function of somebody else's"));
    // It finds the lock taken, and asks in the bag of that function.
    drop(view);
    drop(guard);
    assert!(store.engine.is_waiting());
    drop(turn);
    for _ in 0..100 {
        let _ = catch_unwind(|| crossbeam_epoch::pin().flush());
    }
    if !store.engine.is_waiting() {
        // Another thread's functions came between: there is nothing to see.
        return;
    }
    for number in 0..20_000 {
        let url = number.to_string();
        let saved = catch_unwind(AssertUnwindSafe(|| store.save_service(pod("1", &url))));
        saved.expect("the function has been run").unwrap();
        if !store.engine.is_waiting() {
            return;
        }
    }
    panic!("the store waits for what was lost");
}

#[test]
fn a_panic_under_the_lock_closes_the_store_and_publishes_nothing() {
    let (store, view) = kept();
    let before = store.revision();
    let broken = catch_unwind(AssertUnwindSafe(|| {
        let mut commit = store.engine.commit();
        let _ = commit.put_record(pod("2", "half of a commit"), Put::Save);
        commit.delete("a:1");
        panic!("under the lock");
    }));
    assert!(broken.is_err());
    // Until somebody takes the lock, it is read as it was.
    assert_eq!(store.revision(), before);
    assert_eq!(store.get_all_services().unwrap().len(), 1);
    let late = store.snapshot();
    let refused = store.save_service(pod("3", "too late"));
    assert!(matches!(refused, Err(StoreError::Closed)));
    assert!(matches!(store.get_service("a:2"), Err(StoreError::Closed)));
    assert_eq!(store.revision(), before);
    assert_eq!(store.snapshot().services().count(), 0);
    assert_eq!(view.get("a:1").unwrap().notification_url(), "old");
    assert_eq!(late.get("a:1").unwrap().notification_url(), "new");
    assert_eq!(late.services().count(), 1);
    store.close().unwrap();
}
