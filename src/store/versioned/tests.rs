//! Tests of internals: which calls free memory, and the state after a panic under the lock.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::model::registration::ServiceRegistration;
use crate::store::write::WriteTables;

fn pod(name: &str, url: &str) -> ServiceInfo {
    ServiceInfo::new(ServiceRegistration {
        service_name: "a".into(),
        pod_name: name.into(),
        notification_url: url.into(),
        ..ServiceRegistration::default()
    })
    .unwrap()
}

/// A signal handler may call this while it interrupts the allocator.
#[test]
fn with_service_frees_nothing() {
    let store = VersionedStore::new();
    let view = store.pinned();
    for number in 0..30_000 {
        store.save_service(pod("1", &number.to_string())).unwrap();
    }
    let turn = store.engine.turn();
    drop(view);
    drop(turn);
    let before = store.engine.turn().backlog();
    assert!(before > 20_000);
    store.with_service("a:1", |_| ()).unwrap();
    assert!(store.engine.is_reclamation_due());
    assert_eq!(store.engine.turn().backlog(), before);
    // The version is unlinked, a period ends, and the version is freed.
    for _ in 0..4 {
        store.get_service("a:1").unwrap();
    }
    assert!(store.engine.turn().backlog() < before);
}

#[test]
fn a_panic_under_the_lock_closes_the_store_and_publishes_nothing() {
    let store = VersionedStore::new();
    store.save_service(pod("1", "old")).unwrap();
    let view = store.snapshot();
    store.save_service(pod("1", "new")).unwrap();
    let before = store.revision();
    let broken = catch_unwind(AssertUnwindSafe(|| {
        let mut commit = store.engine.turn();
        let _ = commit.put_record(pod("2", "half of a commit"), Put::Save);
        commit.delete("a:1");
        panic!("under the lock");
    }));
    assert!(broken.is_err());
    // Until another thread takes the lock, readers see the state from before.
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

#[test]
fn saves_that_share_a_registration_count_its_references() {
    let first = pod("1", "shared");
    let store = VersionedStore::new();
    store.save_service(first.clone()).unwrap();
    let save = |second: u64| {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second);
        let status = if second.is_multiple_of(2) {
            ServiceStatus::Healthy
        } else {
            ServiceStatus::Unhealthy
        };
        let service = store.get_service("a:1").unwrap();
        store
            .save_service(service.with_health(status, at).unwrap())
            .unwrap();
        at
    };
    // One reference here, and one in the store, however many versions there are.
    for second in 0..100 {
        save(second);
    }
    assert_eq!(first.touch(), 2);
    let shown = save(100);
    let view = store.snapshot();
    let mut views = Vec::new();
    for second in 101..5_000 {
        save(second);
        if second % 1_000 == 0 {
            views.push((second, store.snapshot()));
        }
    }
    // Another registration takes the place of the shared one.
    store.save_service(pod("1", "own")).unwrap();
    assert_eq!(view.get("a:1").unwrap().last_health_check(), Some(shown));
    for (second, view) in views {
        let service = view.get("a:1").unwrap();
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second);
        assert_eq!(service.last_health_check(), Some(at));
        assert!(service.shares_registration(&first));
    }
    drop(view);
    drop(store);
    assert_eq!(first.touch(), 1);
}
