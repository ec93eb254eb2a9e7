//! Saving, finding, updating and deleting.

use std::collections::BTreeSet;
use std::time::SystemTime;

use service_registry::{
    HealthUpdate, Problem, Protocol, Provider, RegistryStore, Result, Revision, ServiceInfo,
    ServiceRegistration, ServiceStatus, StoreError, StoreStats,
};

use crate::support::{
    assert_refused, at, by_key, keys, malformed_keys, observe, pod, report_health, sorted_keys,
    version,
};

pub fn a_new_store_is_empty(store: &impl RegistryStore) {
    assert_eq!(store.get_all_services(), Ok(vec![]));
    assert_eq!(store.get_services_by_name("db"), Ok(vec![]));
    assert_eq!(store.get_subscribers("db"), Ok(vec![]));
    assert_eq!(store.get_subscriber_services("db"), Ok(vec![]));
    assert_eq!(store.stats(), Ok(StoreStats::default()));
    assert_eq!(store.revision(), Revision::ZERO);
    assert_eq!(store.ping(), Ok(()));
}

pub fn a_saved_record_is_found_in_every_way(store: &impl RegistryStore) {
    let saved = version("db", "pod-1", 3)
        .with_health(ServiceStatus::Unhealthy, at(5))
        .unwrap();
    store.save_service(saved.clone()).unwrap();

    let found = store.get_service("db:pod-1").unwrap();
    assert_eq!(found, saved);
    assert_eq!(found.registration(), saved.registration());
    assert_eq!(found.key(), "db:pod-1");
    assert_eq!(found.status(), ServiceStatus::Unhealthy);
    assert_eq!(found.last_health_check(), Some(at(5)));
    assert_eq!(found.registered_at(), at(3));
    assert_eq!(store.get_services_by_name("db"), Ok(vec![saved.clone()]));
    assert_eq!(store.get_all_services(), Ok(vec![saved.clone()]));
    assert_eq!(
        store.with_service("db:pod-1", ServiceInfo::clone),
        Ok(saved)
    );
    assert_eq!(store.stats(), Ok(StoreStats::new(1, 0)));
}

pub fn saving_again_replaces_the_whole_record(store: &impl RegistryStore) {
    let first = version("db", "pod-1", 1)
        .with_health(ServiceStatus::Healthy, at(5))
        .unwrap();
    store.save_service(first).unwrap();
    let second = ServiceInfo::new(ServiceRegistration {
        service_name: "db".into(),
        pod_name: "pod-1".into(),
        providers: vec![Provider {
            protocol: Protocol::Gtp,
            host: "2001:db8::1".parse().unwrap(),
            port: 2152,
        }],
        ..Default::default()
    })
    .unwrap()
    .with_registered_at(at(2))
    .unwrap();
    store.save_service(second.clone()).unwrap();

    let found = store.get_service("db:pod-1").unwrap();
    assert_eq!(found, second);
    assert_eq!(found.health_check_url(), "");
    assert_eq!(found.status(), ServiceStatus::Unknown);
    assert_eq!(found.last_health_check(), None);
    assert_eq!(store.get_services_by_name("db"), Ok(vec![second.clone()]));
    assert_eq!(store.get_all_services(), Ok(vec![second]));
    assert_eq!(store.stats(), Ok(StoreStats::new(1, 0)));
}

pub fn saving_leaves_subscriptions_as_they_are(store: &impl RegistryStore) {
    store.add_subscription("web:pod-1", "db").unwrap();
    store.save_service(pod("web", "pod-1")).unwrap();
    store.save_service(version("web", "pod-1", 2)).unwrap();
    assert_eq!(store.get_subscribers("db").unwrap(), ["web:pod-1"]);

    // The subscriptions in a record do not subscribe it.
    let mut asking = version("web", "pod-1", 3).registration().clone();
    asking.subscriptions = vec!["cache".into()];
    store
        .save_service(ServiceInfo::new(asking).unwrap())
        .unwrap();
    assert_eq!(store.get_subscribers("cache"), Ok(vec![]));
    assert_eq!(store.stats(), Ok(StoreStats::new(1, 1)));
}

pub fn a_missing_key_is_not_found_and_named(store: &impl RegistryStore) {
    store.save_service(pod("db", "pod-1")).unwrap();
    store.save_service(pod("db", "gone")).unwrap();
    store.delete_service("db:gone").unwrap();
    store.add_subscription("web:pod-1", "db").unwrap();
    let before = observe(store, &["db"]);

    let missing = [
        "db:pod-2",
        "db:gone",
        "DB:pod-1",
        "db:pod",
        "db:pod-1:",
        "web:pod-1",
        "é:ü",
    ];
    let status = ServiceStatus::Healthy;
    for key in missing {
        let not_found = StoreError::NotFound(key.into());
        assert_eq!(store.get_service(key), Err(not_found.clone()));
        assert_eq!(store.find_service(key), Ok(None));
        assert_eq!(store.contains_service(key), Ok(false));
        assert_eq!(store.delete_service(key), Err(not_found.clone()));
        assert_eq!(
            store.update_health_status(key, status, at(1)),
            Err(not_found.clone())
        );
        assert_eq!(store.take_service(key), Err(not_found.clone()));
        let called = store.with_service(key, |_| panic!("called without a record"));
        assert_eq!(called, Err::<(), _>(not_found.clone()));
        let visited = store.visit_service(key, &mut |_| panic!("called without a record"));
        assert_eq!(visited, Err(not_found.clone()));

        let message = not_found.to_string();
        assert!(message.contains(&format!("{key:?}")), "{message}");
        assert_eq!(observe(store, &["db"]), before, "after asking for {key:?}");
    }
}

pub fn what_cannot_be_a_key_is_refused_and_says_why(store: &impl RegistryStore) {
    store.save_service(pod("db", "pod-1")).unwrap();
    let before = observe(store, &[]);
    let status = ServiceStatus::Healthy;
    for (key, problem) in malformed_keys() {
        let refused = |answer: Result<()>| assert_refused(answer, "key", &key, &problem);
        refused(store.get_service(&key).map(drop));
        refused(store.find_service(&key).map(drop));
        refused(store.contains_service(&key).map(drop));
        refused(store.delete_service(&key));
        refused(store.update_health_status(&key, status, at(1)).map(drop));
        refused(store.take_service(&key).map(drop));
        refused(store.with_service(&key, |_| panic!("called without a record")));
        refused(store.visit_service(&key, &mut |_| panic!("called without a record")));
        assert_eq!(observe(store, &[]), before);
    }
    // The error is short, however long the key is.
    let error = store.get_service(&"x".repeat(10 << 20)).unwrap_err();
    assert!(format!("{error} {error:?}").len() < 500);
}

pub fn finding_is_getting_for_what_may_be_missing(store: &impl RegistryStore) {
    assert_eq!(store.find_service("db:pod-1"), Ok(None));
    let saved = pod("db", "pod-1");
    store.save_service(saved.clone()).unwrap();
    assert_eq!(store.find_service("db:pod-1"), Ok(Some(saved)));
    assert_eq!(store.contains_service("db:pod-1"), Ok(true));
    store.delete_service("db:pod-1").unwrap();
    assert_eq!(store.contains_service("db:pod-1"), Ok(false));
}

pub fn a_deleted_record_is_gone_in_every_way(store: &impl RegistryStore) {
    store.save_service(pod("db", "pod-1")).unwrap();
    store.save_service(pod("db", "pod-2")).unwrap();
    store.delete_service("db:pod-1").unwrap();

    assert!(store.get_service("db:pod-1").is_err());
    let left = store.get_services_by_name("db").unwrap();
    assert_eq!(keys(&left), ["db:pod-2"]);
    assert_eq!(keys(&store.get_all_services().unwrap()), ["db:pod-2"]);
    assert_eq!(store.stats(), Ok(StoreStats::new(1, 0)));

    store.delete_service("db:pod-2").unwrap();
    assert_eq!(store.get_services_by_name("db"), Ok(vec![]));
    assert_eq!(store.get_all_services(), Ok(vec![]));
    assert_eq!(store.stats(), Ok(StoreStats::default()));
}

pub fn a_deleted_record_can_be_saved_again(store: &impl RegistryStore) {
    for round in 0..3 {
        let saved = version("db", "pod-1", round);
        store.save_service(saved.clone()).unwrap();
        assert_eq!(store.get_service("db:pod-1"), Ok(saved.clone()));
        assert_eq!(store.get_services_by_name("db"), Ok(vec![saved]));
        store.delete_service("db:pod-1").unwrap();
        assert_eq!(observe(store, &[]).services.len(), 0);
    }
}

pub fn deleting_leaves_subscriptions_alone(store: &impl RegistryStore) {
    store.save_service(pod("web", "pod-1")).unwrap();
    store.add_subscription("web:pod-1", "db").unwrap();
    store.delete_service("web:pod-1").unwrap();
    assert_eq!(store.get_subscribers("db").unwrap(), ["web:pod-1"]);
    assert_eq!(store.get_subscriber_services("db"), Ok(vec![]));
    assert_eq!(store.stats(), Ok(StoreStats::new(0, 1)));
}

pub fn a_name_finds_its_pods_and_no_others(store: &impl RegistryStore) {
    for (service, name) in [
        ("user", "pod-1"),
        ("user", "pod-2"),
        ("user-service", "pod-1"),
        ("use", "pod-1"),
        ("User", "pod-1"),
        ("user-", "pod-1"),
    ] {
        store.save_service(pod(service, name)).unwrap();
    }
    let found = store.get_services_by_name("user").unwrap();
    assert_eq!(sorted_keys(&found), ["user:pod-1", "user:pod-2"]);
    for nobody in ["", ":", "user:pod-1", "us", "user:", "*", "pod-1"] {
        assert_eq!(store.get_services_by_name(nobody), Ok(vec![]), "{nobody:?}");
    }
    observe(store, &[]);
}

pub fn a_health_update_changes_health_and_nothing_else(store: &impl RegistryStore) {
    let saved = version("db", "pod-1", 4);
    store.save_service(saved.clone()).unwrap();
    store.save_service(pod("db", "pod-2")).unwrap();
    for (status, moment) in [
        (ServiceStatus::Healthy, at(10)),
        (ServiceStatus::Unhealthy, at(11)),
        (ServiceStatus::Unknown, at(12)),
        (ServiceStatus::Draining, at(12)),
        (ServiceStatus::Healthy, at(13)),
    ] {
        store
            .update_health_status("db:pod-1", status, moment)
            .unwrap();
        let found = store.get_service("db:pod-1").unwrap();
        assert_eq!(found, saved.with_health(status, moment).unwrap());
        assert_eq!(found.registered_at(), at(4));
        let by_name = by_key(store.get_services_by_name("db").unwrap());
        assert_eq!(by_name["db:pod-1"], found);
        assert_eq!(by_name["db:pod-2"], pod("db", "pod-2"));
    }
    observe(store, &[]);
}

pub fn a_health_update_copies_no_registration(store: &impl RegistryStore) {
    let saved = pod("db", "pod-1");
    store.save_service(saved.clone()).unwrap();
    store
        .update_health_status("db:pod-1", ServiceStatus::Healthy, at(1))
        .unwrap();
    report_health(store, "db:pod-1", ServiceStatus::Unhealthy, at(2));
    let mut batch = service_registry::Batch::new();
    batch.update_health_status("db:pod-1", ServiceStatus::Unknown, at(3));
    store.commit(batch).unwrap();

    let same = |info: &ServiceInfo| std::ptr::eq(info.registration(), saved.registration());
    assert!(same(&store.get_service("db:pod-1").unwrap()));
    assert!(same(&store.get_services_by_name("db").unwrap()[0]));
    assert!(same(&store.get_all_services().unwrap()[0]));
    assert!(store.with_service("db:pod-1", same).unwrap());
}

pub fn a_health_update_answers_with_the_status_before(store: &impl RegistryStore) {
    use ServiceStatus::{Draining, Healthy, Unhealthy, Unknown};
    store.save_service(pod("db", "pod-1")).unwrap();
    let report = |status, moment| report_health(store, "db:pod-1", status, at(moment));
    assert_eq!(report(Healthy, 1), Unknown);
    assert_eq!(report(Healthy, 2), Healthy);
    assert_eq!(report(Draining, 3), Healthy);
    assert_eq!(report(Unhealthy, 3), Draining);
    assert_eq!(report(Unknown, 4), Unhealthy);
    let found = store.get_service("db:pod-1").unwrap();
    assert_eq!(
        found,
        pod("db", "pod-1").with_health(Unknown, at(4)).unwrap()
    );
}

pub fn health_that_is_late_changes_nothing_and_says_so(store: &impl RegistryStore) {
    use ServiceStatus::{Healthy, Unhealthy};
    store.save_service(pod("db", "pod-1")).unwrap();
    report_health(store, "db:pod-1", Healthy, at(100));
    let before = (
        observe(store, &[]),
        store.get_service("db:pod-1").unwrap().revision(),
    );
    let nanosecond = std::time::Duration::from_nanos(1);
    for late in [at(50), at(100) - nanosecond, SystemTime::UNIX_EPOCH] {
        let answer = store.update_health_status("db:pod-1", Unhealthy, late);
        assert_eq!(answer, Ok(HealthUpdate::Late { current: Healthy }));
        assert!(!answer.unwrap().is_applied());
        // Nor in a batch, and the batch continues.
        let mut batch = service_registry::Batch::new();
        batch.update_health_status("db:pod-1", Unhealthy, late);
        store.commit(batch).unwrap();
        let record = store.get_service("db:pod-1").unwrap();
        assert_eq!((observe(store, &[]), record.revision()), before);
    }
    let mut batch = service_registry::Batch::new();
    batch
        .update_health_status("db:pod-1", Unhealthy, at(99))
        .save_service(pod("db", "pod-2"));
    store.commit(batch).unwrap();
    assert_eq!(store.stats(), Ok(StoreStats::new(2, 0)));
    assert_eq!(store.get_service("db:pod-1").unwrap().status(), Healthy);
    // An equal time applies.
    assert_eq!(
        report_health(store, "db:pod-1", Unhealthy, at(100)),
        Healthy
    );
    assert_eq!(store.get_service("db:pod-1").unwrap().status(), Unhealthy);
}

pub fn a_time_that_no_dump_can_tell_is_refused(store: &impl RegistryStore) {
    use std::time::Duration;
    store.save_service(pod("db", "pod-1")).unwrap();
    let before = observe(store, &[]);
    let after_9999 = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_800);
    let last = after_9999 - Duration::from_nanos(1);
    let status = ServiceStatus::Healthy;
    for (outside, value) in [
        (
            SystemTime::UNIX_EPOCH - Duration::from_secs(1),
            "-1.000000000 s",
        ),
        (after_9999, "253402300800.000000000 s"),
    ] {
        let refused = |answer, field| assert_refused(answer, field, value, &Problem::OutOfTime);
        let updated = store.update_health_status("db:pod-1", status, outside);
        refused(updated.map(drop), "checked_at");
        let mut batch = service_registry::Batch::new();
        batch.update_health_status("db:pod-1", status, outside);
        match store.commit(batch) {
            Err(StoreError::BatchRejected { source, .. }) => refused(Err(*source), "checked_at"),
            other => panic!("not rejected: {other:?}"),
        }
        let record = pod("db", "pod-1");
        refused(record.with_health(status, outside).map(drop), "checked_at");
        let registered = record.with_registered_at(outside);
        refused(registered.map(drop), "registered_at");
        assert_eq!(observe(store, &[]), before);
    }
    assert!(store.update_health_status("db:pod-1", status, last).is_ok());
    let found = store.get_service("db:pod-1").unwrap();
    assert_eq!(found.last_health_check(), Some(last));
}

pub fn taking_a_service_takes_its_subscriptions(store: &impl RegistryStore) {
    let saved = pod("web", "pod-1")
        .with_health(ServiceStatus::Healthy, at(3))
        .unwrap();
    store.save_service(saved.clone()).unwrap();
    for group in ["db", "cache"] {
        store.add_subscription("web:pod-1", group).unwrap();
        store.add_subscription("web:pod-2", group).unwrap();
    }
    assert_eq!(store.take_service("web:pod-1"), Ok(saved));

    let left = observe(store, &["db", "cache"]);
    assert!(left.services.is_empty());
    assert_eq!(left.groups["db"], ["web:pod-2"]);
    assert_eq!(left.groups["cache"], ["web:pod-2"]);
}

pub fn taking_what_is_not_there_leaves_its_subscriptions(store: &impl RegistryStore) {
    store.add_subscription("web:pod-1", "db").unwrap();
    let before = observe(store, &["db"]);
    assert_eq!(
        store.take_service("web:pod-1"),
        Err(StoreError::NotFound("web:pod-1".into()))
    );
    assert_eq!(observe(store, &["db"]), before);
}

pub fn a_read_closure_is_called_once_and_may_move_things(store: &impl RegistryStore) {
    store.save_service(pod("db", "pod-1")).unwrap();
    let moved_in = vec![String::from("text")];
    let out = store.with_service("db:pod-1", move |info| {
        let mut texts = moved_in;
        texts.push(info.pod_name().to_owned());
        texts
    });
    assert_eq!(out, Ok(vec!["text".into(), "pod-1".into()]));

    let mut calls = 0;
    store
        .visit_service("db:pod-1", &mut |info| {
            calls += 1;
            assert_eq!(info.key(), "db:pod-1");
        })
        .unwrap();
    assert_eq!(calls, 1);
}

pub fn clear_empties_and_leaves_a_store_to_work_with(store: &impl RegistryStore) {
    for n in 0..100 {
        store.save_service(pod("db", &n.to_string())).unwrap();
        store.add_subscription(&format!("web:{n}"), "db").unwrap();
    }
    store.clear().unwrap();
    let empty = observe(store, &["db"]);
    assert!(empty.services.is_empty() && empty.groups.is_empty());
    assert_eq!(store.get_services_by_name("db"), Ok(vec![]));
    assert!(store.get_service("db:7").is_err());

    store.save_service(pod("db", "7")).unwrap();
    store.add_subscription("web:9", "db").unwrap();
    store.add_subscription("web:1", "db").unwrap();
    assert_eq!(store.get_subscribers("db").unwrap(), ["web:9", "web:1"]);
    assert_eq!(store.stats(), Ok(StoreStats::new(1, 2)));
    store.remove_all_subscriptions("web:9").unwrap();
    store.delete_service("db:7").unwrap();
    assert_eq!(observe(store, &["db"]).groups["db"], ["web:1"]);
}

pub fn stats_follow_every_operation(store: &impl RegistryStore) {
    let stats = |services, subscriptions| {
        let expected = StoreStats::new(services, subscriptions);
        assert_eq!(store.stats(), Ok(expected));
    };
    stats(0, 0);
    store.save_service(pod("db", "1")).unwrap();
    stats(1, 0);
    store.save_service(version("db", "1", 2)).unwrap();
    stats(1, 0);
    store.add_subscription("db:1", "g").unwrap();
    stats(1, 1);
    store.add_subscription("db:1", "g").unwrap();
    stats(1, 1);
    store.add_subscription("db:1", "h").unwrap();
    store.add_subscription("db:2", "g").unwrap();
    stats(1, 3);
    store
        .update_health_status("db:1", ServiceStatus::Healthy, at(1))
        .unwrap();
    stats(1, 3);
    store.remove_subscription("db:1", "nobody").unwrap();
    stats(1, 3);
    store.remove_subscription("db:1", "h").unwrap();
    stats(1, 2);
    store.delete_service("db:1").unwrap();
    stats(0, 2);
    store.remove_all_subscriptions("db:1").unwrap();
    stats(0, 1);
    store.clear().unwrap();
    stats(0, 0);
}

pub fn thousands_of_pods_come_and_go(store: &impl RegistryStore) {
    const PODS: u64 = 6_000;
    const NAMES: u64 = 40;
    let name = |n: u64| format!("service-{}", n % NAMES);
    let key = |n: u64| format!("{}:{n}", name(n));
    for n in 0..PODS {
        store.save_service(pod(&name(n), &n.to_string())).unwrap();
    }
    for n in (0..PODS).step_by(2) {
        store.delete_service(&key(n)).unwrap();
    }
    for n in (1..PODS).step_by(2) {
        let status = ServiceStatus::Healthy;
        store.update_health_status(&key(n), status, at(n)).unwrap();
    }
    let left = observe(store, &[]);
    let expected: BTreeSet<String> = (1..PODS).step_by(2).map(key).collect();
    assert_eq!(
        left.services.keys().cloned().collect::<BTreeSet<_>>(),
        expected
    );
    for n in (1..PODS).step_by(2) {
        assert_eq!(left.services[&key(n)].last_health_check(), Some(at(n)));
    }
    for n in (1..PODS).step_by(2) {
        store.delete_service(&key(n)).unwrap();
    }
    assert!(observe(store, &[]).services.is_empty());
    for n in 0..NAMES {
        assert_eq!(store.get_services_by_name(&name(n)), Ok(vec![]));
    }
    assert_eq!(store.revision().as_u64(), PODS + PODS / 2 + PODS);
}
