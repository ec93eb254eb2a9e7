//! Names of every shape: unicode, `:` in a pod name, the maximum length.

use service_registry::{
    Batch, MAX_NAME_LEN, Problem, RegistryStore, ServiceInfo, ServiceKey, ServiceStatus, StoreStats,
};

use crate::support::{assert_refused, at, keys, observe, pod, registration};

pub fn a_pod_name_may_hold_colons(store: &impl RegistryStore) {
    let names = ["7", "7:", "7:x", ":7", ":", "::", "db:7"];
    for name in names {
        store.save_service(pod("db", name)).unwrap();
    }
    assert_eq!(store.stats(), Ok(StoreStats::new(names.len(), 0)));
    for name in names {
        let key = format!("db:{name}");
        let found = store.get_service(&key).unwrap();
        assert_eq!((found.service_name(), found.pod_name()), ("db", name));
        assert_eq!(
            (found.key().service_name(), found.key().pod_name()),
            ("db", name)
        );
        store.add_subscription(&key, "g").unwrap();
    }
    assert_eq!(store.get_services_by_name("db").unwrap().len(), names.len());
    for nobody in ["db:", "db:7", "db::", ""] {
        assert_eq!(store.get_services_by_name(nobody), Ok(vec![]));
    }
    let subscribed = observe(store, &["g"]).groups["g"].clone();
    assert_eq!(subscribed, names.map(|name| format!("db:{name}")));
    store.take_service("db:7:").unwrap();
    assert_eq!(store.stats(), Ok(StoreStats::new(6, 6)));
    observe(store, &["g"]);
}

pub fn every_unicode_name_is_a_name(store: &impl RegistryStore) {
    let names = [
        "é",
        // Looks the same, but is another text.
        "e\u{301}",
        "É",
        "ユーザー",
        "👩‍🚀",
        "\u{200b}",
        "\u{feff}",
        "a b",
        "a",
        "\u{10ffff}",
        "ş",
        "：",
    ];
    for service in names {
        for name in names {
            store.save_service(pod(service, name)).unwrap();
        }
        store
            .add_subscription(&format!("s:{service}"), service)
            .unwrap();
    }
    let n = names.len();
    assert_eq!(store.stats(), Ok(StoreStats::new(n * n, n)));
    let seen = observe(store, &names);
    for service in names {
        assert_eq!(store.get_services_by_name(service).unwrap().len(), n);
        assert_eq!(seen.groups[service], [format!("s:{service}")]);
        store.delete_service(&format!("{service}:é")).unwrap();
        store
            .update_health_status(&format!("{service}:a"), ServiceStatus::Healthy, at(1))
            .unwrap();
    }
    assert_eq!(observe(store, &names).services.len(), n * n - n);
}

pub fn the_longest_names_work_everywhere(store: &impl RegistryStore) {
    // Lengths are in bytes: these have the maximum with fewer characters.
    let service = format!("{}s-", "ü".repeat(MAX_NAME_LEN / 2 - 1));
    let name = "p".repeat(MAX_NAME_LEN);
    let group = "g".repeat(MAX_NAME_LEN);
    let twin = format!("{}q", &name[1..]);
    assert_eq!((service.len(), name.len()), (MAX_NAME_LEN, MAX_NAME_LEN));

    store.save_service(pod(&service, &name)).unwrap();
    store.save_service(pod(&service, &twin)).unwrap();
    let key = format!("{service}:{name}");
    store.add_subscription(&key, &group).unwrap();
    store
        .update_health_status(&key, ServiceStatus::Healthy, at(1))
        .unwrap();

    let found = store.get_service(&key).unwrap();
    assert_eq!(
        (found.service_name(), found.pod_name()),
        (&*service, &*name)
    );
    assert_eq!(found.status(), ServiceStatus::Healthy);
    assert_eq!(store.get_services_by_name(&service).unwrap().len(), 2);
    assert_eq!(
        keys(&store.get_subscriber_services(&group).unwrap()),
        [&key]
    );
    observe(store, &[&group]);
    store.remove_subscription(&key, &group).unwrap();
    store.take_service(&key).unwrap();
    store.delete_service(&format!("{service}:{twin}")).unwrap();
    assert_eq!(store.stats(), Ok(StoreStats::default()));
}

pub fn one_byte_more_is_refused_before_it_reaches_a_store(store: &impl RegistryStore) {
    let long = "n".repeat(MAX_NAME_LEN + 1);
    let too_long = Problem::TooLong {
        len: MAX_NAME_LEN + 1,
        max: MAX_NAME_LEN,
    };
    let new = ServiceInfo::new;
    assert_refused(
        new(registration(&long, "p", &[])),
        "service_name",
        &long,
        &too_long,
    );
    assert_refused(
        new(registration("s", &long, &[])),
        "pod_name",
        &long,
        &too_long,
    );
    assert_refused(
        new(registration("s", "p", &["fine", &long])),
        "subscriptions[1]",
        &long,
        &too_long,
    );
    assert_refused(
        ServiceKey::new(&long, "p"),
        "service_name",
        &long,
        &too_long,
    );
    assert_refused(ServiceKey::new("s", &long), "pod_name", &long, &too_long);
    // Bytes, not characters.
    let wide = format!("{}-", "ü".repeat(MAX_NAME_LEN / 2));
    assert_refused(
        new(registration(&wide, "p", &[])),
        "service_name",
        &wide,
        &too_long,
    );
    // Scans for such names find nothing.
    assert_eq!(store.get_services_by_name(&long), Ok(vec![]));
    assert_eq!(store.get_subscribers(&long), Ok(vec![]));
    let mut batch = Batch::new();
    batch.add_subscription("a:1", &long);
    assert!(store.commit(batch).is_err());
}

pub fn a_group_that_no_service_can_match_is_refused(store: &impl RegistryStore) {
    for group in ["s:pod-1", ":", "s:"] {
        let colon = Problem::Colon {
            at: group.find(':').unwrap(),
        };
        let refuse = |answer| assert_refused(answer, "service group", group, &colon);
        refuse(store.add_subscription("web:1", group));
        refuse(store.remove_subscription("web:1", group));
        // Asking for its subscribers is no error: there are none.
        assert_eq!(store.get_subscribers(group), Ok(vec![]));
    }
    assert_eq!(store.stats(), Ok(StoreStats::default()));
}
