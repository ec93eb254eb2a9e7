//! `Registry` over every store.

use std::time::{Duration, SystemTime};

use service_registry::{
    Problem, Registry, RegistryStore, ServiceInfo, ServiceRegistration, ServiceStatus, StoreError,
    StoreStats,
};

use crate::support::{assert_refused, keys, observe, registration, revision};

const GROUPS: &[&str] = &["db", "cache", "queue"];

pub fn registering_answers_with_what_is_stored(store: &impl RegistryStore) {
    let registry = Registry::new(store);
    let asked = registration("web", "1", &["db", "cache"]);
    let before = SystemTime::now();
    let answer = registry.register(asked.clone()).unwrap();
    let after = SystemTime::now();

    assert_eq!(answer.registration(), &asked);
    assert_eq!(answer.status(), ServiceStatus::Unknown);
    assert_eq!(answer.last_health_check(), None);
    assert!((before..=after).contains(&answer.registered_at()));
    assert_eq!(registry.get_service("web:1"), Ok(answer.clone()));
    let seen = observe(store, GROUPS);
    assert_eq!(seen.services["web:1"], answer);
    assert_eq!(seen.groups["db"], ["web:1"]);
    assert_eq!(seen.groups["cache"], ["web:1"]);
    assert_eq!(seen.groups.len(), 2);
}

pub fn registering_is_one_commit(store: &impl RegistryStore) {
    let registry = Registry::new(store);
    registry
        .register(registration("web", "1", &["db", "cache"]))
        .unwrap();
    assert_eq!(registry.revision().as_u64(), 1);
    registry
        .register(registration("web", "1", &["queue"]))
        .unwrap();
    assert_eq!(registry.revision().as_u64(), 2);
    registry.unregister("web", "1").unwrap();
    assert_eq!(registry.revision().as_u64(), 3);
}

pub fn registering_anew_replaces_record_and_subscriptions(store: &impl RegistryStore) {
    let registry = Registry::new(store);
    registry
        .register(registration("web", "1", &["db", "cache"]))
        .unwrap();
    registry
        .register(registration("web", "2", &["db", "cache"]))
        .unwrap();
    // Subscribed separately, and replaced all the same.
    store.add_subscription("web:1", "queue").unwrap();
    registry
        .update_health_status("web:1", ServiceStatus::Healthy)
        .unwrap();

    let mut again = registration("web", "1", &["cache", "new"]);
    again.providers.clear();
    let answer = registry.register(again.clone()).unwrap();
    assert_eq!(answer.status(), ServiceStatus::Unknown);
    assert_eq!(answer.last_health_check(), None);
    assert_eq!(answer.registration(), &again);
    let seen = observe(store, &["db", "cache", "queue", "new"]);
    assert_eq!(seen.services.len(), 2);
    assert_eq!(seen.services["web:1"], answer);
    assert_eq!(seen.groups["db"], ["web:2"]);
    assert_eq!(seen.groups["new"], ["web:1"]);
    // Its old subscription was replaced by a new one, which came last.
    assert_eq!(seen.groups["cache"], ["web:2", "web:1"]);
    assert_eq!(seen.groups.get("queue"), None);

    registry.register(registration("web", "1", &[])).unwrap();
    let seen = observe(store, &["db", "cache", "queue", "new"]);
    assert_eq!(seen.groups["cache"], ["web:2"]);
    assert_eq!(registry.stats(), Ok(StoreStats::new(2, 2)));
}

pub fn a_group_named_twice_is_one_subscription(store: &impl RegistryStore) {
    let registry = Registry::new(store);
    registry
        .register(registration("web", "1", &["db", "cache", "db", "db"]))
        .unwrap();
    assert_eq!(registry.stats(), Ok(StoreStats::new(1, 2)));
    assert_eq!(registry.get_subscribers("db").unwrap(), ["web:1"]);
    registry.unregister("web", "1").unwrap();
    assert_eq!(registry.stats(), Ok(StoreStats::default()));
}

pub fn a_bad_registration_leaves_everything_as_it_was(store: &impl RegistryStore) {
    let registry = Registry::new(store);
    registry
        .register(registration("web", "1", &["db"]))
        .unwrap();
    let before = observe(store, GROUPS);
    let empty = Problem::Empty;
    let refuse = |registration: ServiceRegistration, field, value, problem| {
        assert_refused(registry.register(registration), field, value, problem);
        assert_eq!(observe(store, GROUPS), before);
    };
    refuse(ServiceRegistration::default(), "service_name", "", &empty);
    refuse(
        registration("", "1", &["cache"]),
        "service_name",
        "",
        &empty,
    );
    refuse(registration("web", "", &["cache"]), "pod_name", "", &empty);
    refuse(
        registration("w:b", "1", &["cache"]),
        "service_name",
        "w:b",
        &Problem::Colon { at: 1 },
    );
    refuse(
        registration("web", "1", &["cache", ""]),
        "subscriptions[1]",
        "",
        &empty,
    );
}

pub fn unregistering_answers_with_what_was_removed(store: &impl RegistryStore) {
    let registry = Registry::new(store);
    registry
        .register(registration("web", "1", &["db", "cache"]))
        .unwrap();
    registry
        .register(registration("web", "2", &["db"]))
        .unwrap();
    registry
        .update_health_status("web:1", ServiceStatus::Unhealthy)
        .unwrap();
    let last = registry.get_service("web:1").unwrap();

    assert_eq!(registry.unregister("web", "1"), Ok(Some(last)));
    assert!(registry.get_service("web:1").is_err());
    let left = observe(store, GROUPS);
    assert_eq!(left.groups["db"], ["web:2"]);
    assert_eq!(left.groups.len(), 1);
    assert_eq!(registry.unregister("web", "1"), Ok(None));
    assert_eq!(observe(store, GROUPS), left);
}

pub fn unregistering_who_is_not_there_changes_nothing(store: &impl RegistryStore) {
    let registry = Registry::new(store);
    store.add_subscription("web:1", "db").unwrap();
    let before = observe(store, GROUPS);
    assert_eq!(registry.unregister("web", "1"), Ok(None));
    assert_eq!(registry.unregister("never", "1"), Ok(None));
    assert_eq!(observe(store, GROUPS), before);

    let empty = Problem::Empty;
    assert_refused(registry.unregister("", "1"), "service_name", "", &empty);
    assert_refused(registry.unregister("web", ""), "pod_name", "", &empty);
    let colon = Problem::Colon { at: 3 };
    assert_refused(
        registry.unregister("web:1", "1"),
        "service_name",
        "web:1",
        &colon,
    );
    assert_eq!(observe(store, GROUPS), before);
}

pub fn a_pod_with_colons_in_its_name_unregisters(store: &impl RegistryStore) {
    let registry = Registry::new(store);
    registry
        .register(registration("web", "1:a", &["db"]))
        .unwrap();
    registry
        .register(registration("web", "1", &["db"]))
        .unwrap();
    let gone = registry.unregister("web", "1:a").unwrap().unwrap();
    assert_eq!(gone.key(), "web:1:a");
    assert_eq!(registry.get_subscribers("db").unwrap(), ["web:1"]);
}

pub fn a_health_report_says_whether_the_status_changed(store: &impl RegistryStore) {
    use ServiceStatus::{Healthy, Unhealthy, Unknown};
    let registry = Registry::new(store);
    registry.register(registration("web", "1", &[])).unwrap();
    for (status, changed) in [
        (Unknown, false),
        (Healthy, true),
        (Healthy, false),
        (Unhealthy, true),
        (Unhealthy, false),
        (Unknown, true),
        (Healthy, true),
    ] {
        let before = SystemTime::now();
        assert_eq!(registry.update_health_status("web:1", status), Ok(changed));
        let found = registry.get_service("web:1").unwrap();
        assert_eq!(found.status(), status);
        // The time of the check is stored, whether or not the status changed.
        let checked = found.last_health_check().unwrap();
        assert!((before..=SystemTime::now()).contains(&checked));
    }
    assert_eq!(
        registry.update_health_status("web:2", Healthy),
        Err(StoreError::NotFound("web:2".into()))
    );
}

pub fn a_clock_that_steps_back_freezes_nobody(store: &impl RegistryStore) {
    use ServiceStatus::{Healthy, Unhealthy};
    let registry = Registry::new(store);
    registry.register(registration("web", "1", &[])).unwrap();
    let ahead = SystemTime::now() + Duration::from_secs(3_600);
    store.update_health_status("web:1", Healthy, ahead).unwrap();
    assert_eq!(registry.update_health_status("web:1", Unhealthy), Ok(true));
    let found = registry.get_service("web:1").unwrap();
    assert_eq!(found.status(), Unhealthy);
    assert_eq!(found.last_health_check(), Some(ahead));
}

pub fn registering_answers_with_the_stamped_record(store: &impl RegistryStore) {
    let registry = Registry::new(store);
    registry.register(registration("db", "1", &[])).unwrap();
    for at in [2, 3] {
        let answer = registry
            .register(registration("web", "1", &["db"]))
            .unwrap();
        let found = registry.get_service("web:1").unwrap();
        assert_eq!(answer.revision(), revision(at));
        assert_eq!(answer.incarnation(), revision(at));
        assert_eq!(found.revision(), revision(at));
        assert_eq!(found.incarnation(), revision(at));
    }
    registry
        .update_health_status("web:1", ServiceStatus::Healthy)
        .unwrap();
    let found = registry.get_service("web:1").unwrap();
    assert_eq!(
        (found.revision(), found.incarnation()),
        (revision(4), revision(3))
    );
}

pub fn the_reads_are_those_of_the_store(store: &impl RegistryStore) {
    let registry = Registry::new(store);
    registry
        .register(registration("web", "1", &["db"]))
        .unwrap();
    registry.register(registration("db", "1", &[])).unwrap();
    let web = store.get_service("web:1").unwrap();
    assert_eq!(registry.get_service("web:1"), Ok(web.clone()));
    assert_eq!(
        registry.with_service("web:1", ServiceInfo::clone),
        Ok(web.clone())
    );
    assert_eq!(registry.find_service("web:1"), Ok(Some(web.clone())));
    assert_eq!(registry.contains_service("web:9"), Ok(false));
    assert_eq!(registry.get_services_by_name("web"), Ok(vec![web.clone()]));
    assert_eq!(registry.get_all_services().unwrap().len(), 2);
    assert_eq!(registry.get_subscribers("db").unwrap(), ["web:1"]);
    assert_eq!(registry.get_subscriber_services("db"), Ok(vec![web]));
    assert_eq!(registry.stats(), store.stats());
    assert_eq!(registry.revision(), store.revision());
    assert_eq!(registry.store().stats(), store.stats());
    assert_eq!(
        registry.get_service("web:9"),
        Err(StoreError::NotFound("web:9".into()))
    );
}

pub fn registries_over_one_store_see_the_same(store: &impl RegistryStore) {
    let (one, other) = (Registry::new(store), Registry::new(store));
    one.register(registration("web", "1", &["db"])).unwrap();
    assert_eq!(
        keys(&other.get_subscriber_services("db").unwrap()),
        ["web:1"]
    );
    other.unregister("web", "1").unwrap();
    assert_eq!(one.stats(), Ok(StoreStats::default()));
}

pub fn a_registry_gives_its_store_back<S: RegistryStore>(make: impl Fn() -> S) {
    let registry = Registry::new(make());
    registry
        .register(registration("web", "1", &["db"]))
        .unwrap();
    let store = registry.into_store();
    assert_eq!(store.stats(), Ok(StoreStats::new(1, 1)));
}

pub fn a_closed_registry_says_so(store: &impl RegistryStore) {
    let registry = Registry::new(store);
    registry
        .register(registration("web", "1", &["db"]))
        .unwrap();
    registry.close().unwrap();
    let closed = StoreError::Closed;
    assert_eq!(
        registry.register(registration("web", "2", &[])),
        Err(closed.clone())
    );
    assert_eq!(registry.unregister("web", "1"), Err(closed.clone()));
    assert_eq!(registry.unregister("web", "9"), Err(closed.clone()));
    assert_eq!(
        registry.update_health_status("web:1", ServiceStatus::Healthy),
        Err(closed.clone())
    );
    assert_eq!(registry.get_service("web:1"), Err(closed.clone()));
    assert_eq!(registry.stats(), Err(closed));
    assert_eq!(registry.revision().as_u64(), 1);
}
