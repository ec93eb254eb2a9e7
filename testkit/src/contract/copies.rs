//! Answers are copies: changing them does not change the store.

use service_registry::{Batch, RegistryStore, ServiceInfo, ServiceStatus};

use crate::support::{at, observe, pod, registration, version};

pub fn nothing_done_to_an_answer_reaches_the_store(store: &impl RegistryStore) {
    for n in ["1", "2", "3"] {
        store.save_service(pod("db", n)).unwrap();
        store.add_subscription(&format!("db:{n}"), "g").unwrap();
    }
    let before = observe(store, &["g"]);

    let mut all = store.get_all_services().unwrap();
    all[0] = version("db", "1", 99);
    all.reverse();
    all.truncate(1);
    let mut named = store.get_services_by_name("db").unwrap();
    for info in &mut named {
        *info = info
            .with_health(ServiceStatus::Unhealthy, at(99))
            .unwrap()
            .with_registered_at(at(99))
            .unwrap();
    }
    named.clear();
    let mut subscribers = store.get_subscribers("g").unwrap();
    subscribers.swap(0, 2);
    subscribers.pop();
    let mut services = store.get_subscriber_services("g").unwrap();
    services.drain(..2);
    let mut one = store.get_service("db:1").unwrap();
    let mut registration = one.registration().clone();
    registration.providers.clear();
    registration.health_check_url = "http://elsewhere".into();
    one = ServiceInfo::new(registration).unwrap();
    drop(one);
    let mut kept = store.with_service("db:2", ServiceInfo::clone).unwrap();
    kept = kept.with_health(ServiceStatus::Healthy, at(98)).unwrap();
    store
        .visit_service("db:3", &mut |info| {
            kept = info.clone().with_registered_at(at(97)).unwrap();
        })
        .unwrap();
    drop(kept);

    assert_eq!(observe(store, &["g"]), before);
}

pub fn no_caller_sees_what_another_does_to_its_answer(store: &impl RegistryStore) {
    store.save_service(pod("db", "1")).unwrap();
    let mut mine = store.get_services_by_name("db").unwrap();
    let yours = store.get_services_by_name("db").unwrap();
    mine[0] = mine[0]
        .with_health(ServiceStatus::Unhealthy, at(1))
        .unwrap();
    assert_eq!(yours, [pod("db", "1")]);
    drop(mine);
    assert_eq!(yours, [pod("db", "1")]);
    assert_eq!(store.get_service("db:1"), Ok(pod("db", "1")));
}

pub fn nothing_done_to_what_was_saved_reaches_the_store(store: &impl RegistryStore) {
    let mut asked = registration("db", "1", &["g"]);
    let mut info = ServiceInfo::new(asked.clone())
        .unwrap()
        .with_registered_at(at(0))
        .unwrap();
    let saved = info.clone();
    store.save_service(info.clone()).unwrap();
    let mut key = String::from("web:1");
    let mut group = String::from("db");
    store.add_subscription(&key, &group).unwrap();
    let before = observe(store, &["db", "g"]);

    asked.providers.clear();
    info = info.with_health(ServiceStatus::Healthy, at(5)).unwrap();
    assert_ne!(info, saved);
    key.clear();
    group.push('x');
    assert_eq!(observe(store, &["db", "g"]), before);
    assert_eq!(store.get_service("db:1"), Ok(saved));
}

pub fn an_answer_stays_as_it_was_given(store: &impl RegistryStore) {
    for n in ["1", "2"] {
        store.save_service(pod("db", n)).unwrap();
        store.add_subscription(&format!("db:{n}"), "g").unwrap();
    }
    let one = store.get_service("db:1").unwrap();
    let borrowed = store.with_service("db:1", ServiceInfo::clone).unwrap();
    let all = crate::support::by_key(store.get_all_services().unwrap());
    let named = crate::support::by_key(store.get_services_by_name("db").unwrap());
    let subscribers = store.get_subscribers("g").unwrap();
    let services = store.get_subscriber_services("g").unwrap();

    // Every kind of change to a record and to a group.
    store
        .update_health_status("db:1", ServiceStatus::Healthy, at(1))
        .unwrap();
    let mut batch = Batch::new();
    batch
        .update_health_status("db:1", ServiceStatus::Unhealthy, at(2))
        .remove_all_subscriptions("db:1");
    store.commit(batch).unwrap();
    store.save_service(version("db", "1", 9)).unwrap();
    store.add_subscription("db:3", "g").unwrap();
    store.take_service("db:1").unwrap();
    store.clear().unwrap();
    store.close().unwrap();

    assert_eq!(one, pod("db", "1"));
    assert_eq!(borrowed, one);
    for records in [&all, &named] {
        assert_eq!(records["db:1"], pod("db", "1"));
        assert_eq!(records["db:2"], pod("db", "2"));
    }
    assert_eq!(subscribers, ["db:1", "db:2"]);
    assert_eq!(services, [pod("db", "1"), pod("db", "2")]);
}

pub fn answers_outlive_their_store<S: RegistryStore>(make: impl Fn() -> S) {
    let store = make();
    store.save_service(pod("db", "1")).unwrap();
    store.add_subscription("db:1", "g").unwrap();
    let all = store.get_all_services().unwrap();
    let subscribers = store.get_subscribers("g").unwrap();
    drop(store);
    assert_eq!(all, [pod("db", "1")]);
    assert_eq!(subscribers, ["db:1"]);
}

pub fn stores_share_nothing<S: RegistryStore>(make: impl Fn() -> S) {
    let (one, other) = (make(), make());
    let info = pod("db", "1");
    one.save_service(info.clone()).unwrap();
    one.add_subscription("db:1", "g").unwrap();
    assert!(observe(&other, &["g"]).services.is_empty());
    other.save_service(info).unwrap();
    one.update_health_status("db:1", ServiceStatus::Healthy, at(1))
        .unwrap();
    assert_eq!(other.get_service("db:1"), Ok(pod("db", "1")));
    one.clear().unwrap();
    one.close().unwrap();
    assert_eq!(other.get_service("db:1"), Ok(pod("db", "1")));
    assert_eq!(other.revision().as_u64(), 1);
}
