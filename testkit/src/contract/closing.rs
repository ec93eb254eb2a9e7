//! The end of a store.

use service_registry::{Batch, MAX_NAME_LEN, RegistryStore, ServiceStatus, StoreError};

use crate::support::{CALLS, at, fill_store, pod};

pub fn every_call_succeeds_until_close_and_is_refused_after<S: RegistryStore>(
    make: impl Fn() -> S,
) {
    for (name, call) in CALLS {
        let store = make();
        fill_store(&store);
        assert_eq!(call(&store), Ok(()), "{name}, open");
        store.close().unwrap();
        assert_eq!(call(&store), Err(StoreError::Closed), "{name}, closed");
    }
}

pub fn all_calls_after_close_are_refused(store: &impl RegistryStore) {
    fill_store(store);
    assert_eq!(store.close(), Ok(()));
    for _ in 0..2 {
        for (name, call) in CALLS {
            assert_eq!(call(store), Err(StoreError::Closed), "{name}");
        }
    }
    let called = store.with_service("db:pod-1", |_| panic!("called on a closed store"));
    assert_eq!(called, Err::<(), _>(StoreError::Closed));
    let visited = store.visit_service("db:pod-1", &mut |_| panic!("called on a closed store"));
    assert_eq!(visited, Err(StoreError::Closed));
}

pub fn a_closed_store_says_so_before_anything_else(store: &impl RegistryStore) {
    store.close().unwrap();
    // None of these would succeed on an open store either.
    let closed = StoreError::Closed;
    let healthy = ServiceStatus::Healthy;
    for key in ["", "x", "x:1"] {
        assert_eq!(store.get_service(key), Err(closed.clone()));
        assert_eq!(store.delete_service(key), Err(closed.clone()));
        assert_eq!(store.take_service(key), Err(closed.clone()));
        assert_eq!(
            store.update_health_status(key, healthy, at(1)),
            Err(closed.clone())
        );
        assert_eq!(store.find_service(key), Err(closed.clone()));
        assert_eq!(store.contains_service(key), Err(closed.clone()));
        let mut batch = Batch::new();
        batch.delete_service(key);
        assert_eq!(store.commit(batch), Err(closed.clone()));
    }
    let long = "x".repeat(MAX_NAME_LEN + 1);
    for (key, group) in [
        ("", "g"),
        ("x", "g"),
        (":1", "g"),
        ("x:1", ""),
        ("x:1", &long),
    ] {
        let mut batch = Batch::new();
        batch.add_subscription(key, group);
        assert_eq!(store.commit(batch), Err(closed.clone()));
        assert_eq!(
            store.add_subscription(key, group),
            Err(closed.clone()),
            "add_subscription({key:?}, a group of {} bytes)",
            group.len()
        );
        assert_eq!(store.remove_subscription(key, group), Err(closed.clone()));
        assert_eq!(store.remove_all_subscriptions(key), Err(closed.clone()));
    }
}

pub fn closing_again_is_fine(store: &impl RegistryStore) {
    fill_store(store);
    for _ in 0..3 {
        assert_eq!(store.close(), Ok(()));
        assert_eq!(store.ping(), Err(StoreError::Closed));
    }
}

pub fn an_empty_store_closes(store: &impl RegistryStore) {
    assert_eq!(store.close(), Ok(()));
    assert_eq!(store.save_service(pod("db", "1")), Err(StoreError::Closed));
}
