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
        store.engine.tidy_up();
        tries += 1;
        assert!(tries < 10, "nothing was kept");
    }
    (store, view)
}

#[test]
fn a_clone_whose_place_stays_shared_asks_for_no_lock() {
    let (store, view) = kept();
    let other = view.clone();
    let turn = store.engine.commit();
    drop(other);
    assert!(!store.engine.is_called(), "it wanted the lock");
    // The last one frees what was kept. Who has the lock is not waited for, and does not go on
    // for as long as others give back: whoever comes by next sees to it.
    drop(view);
    assert!(store.engine.is_called());
    drop(turn);
    assert!(!store.engine.commit().keeps_nothing());
    drop(store.pinned());
    assert!(store.engine.commit().keeps_nothing());
}

#[test]
fn a_snapshot_that_keeps_nothing_asks_for_no_lock() {
    let (store, view) = kept();
    let newest = store.snapshot();
    let turn = store.engine.commit();
    drop(newest);
    assert!(!store.engine.is_called(), "it wanted the lock");
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
        store.engine.tidy_up();
        drop(views.swap_remove(first));
        drop(views);
        assert!(store.engine.commit().keeps_nothing());
    }
}

fn replace(store: &VersionedStore, times: usize) {
    for number in 0..times {
        let url = number.to_string();
        store.save_service(pod("1", &url)).unwrap();
    }
}

/// A store with so much that waits for a view that whoever comes by is called, when it has gone.
fn in_debt(store: &VersionedStore) -> VersionedView<'_> {
    let view = store.pinned();
    replace(store, 3 * engine::DEBT);
    assert!(store.engine.commit().left() > 2 * engine::DEBT);
    assert!(!store.engine.is_called(), "there is nothing to do yet");
    view
}

#[test]
fn what_waited_for_a_view_goes_with_it() {
    let store = VersionedStore::new();
    let view = in_debt(&store);
    let other = store.pinned();
    drop(view);
    // The thread is pinned still.
    assert!(!store.engine.is_called() && store.engine.commit().left() > 2 * engine::DEBT);
    drop(other);
    for _ in 0..10 {
        drop(store.snapshot());
    }
    assert!(store.engine.commit().is_tidy());
    assert!(!store.engine.is_called(), "it goes on for ever");
}

/// Who has the lock is not waited for.
#[test]
fn a_view_that_ends_waits_for_no_lock() {
    let store = VersionedStore::new();
    let view = in_debt(&store);
    let turn = store.engine.commit();
    drop(view);
    drop(turn);
    assert!(store.engine.is_called());
    for _ in 0..10 {
        assert!(store.get_service("a:1").is_ok());
    }
    assert!(store.engine.commit().is_tidy());
}

/// A signal handler may call this, in the midst of the allocator.
#[test]
fn with_service_frees_nothing() {
    let store = VersionedStore::new();
    drop(in_debt(&store));
    let view = in_debt(&store);
    let turn = store.engine.commit();
    drop(view);
    drop(turn);
    let before = store.engine.commit().left();
    store.with_service("a:1", |_| ()).unwrap();
    assert!(store.engine.is_called());
    assert_eq!(store.engine.commit().left(), before);
}

/// What is cleared goes entirely, however little it is.
#[test]
fn what_is_cleared_beside_a_view_goes_with_it() {
    let store = VersionedStore::new();
    replace(&store, 2);
    let view = store.pinned();
    store.clear().unwrap();
    assert!(!store.engine.commit().is_tidy());
    drop(view);
    assert!(store.engine.commit().is_tidy());
    replace(&store, 2);
    let view = store.pinned();
    store.close().unwrap();
    drop(view);
    assert!(store.engine.commit().is_tidy());
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
