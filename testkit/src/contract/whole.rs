//! Readers beside writers see whole commits, and never miss a pod that exists.
//!
//! A single call checks a claim about one moment: two calls are two moments, and a commit between
//! them proves nothing.

use std::collections::BTreeSet;

use service_registry::{
    Batch, Registry, RegistryStore, RegistryView, ServiceInfo, ServiceStatus, StoreError,
    StoreStats,
};

use crate::support::race::race;
use crate::support::{KEY, at, fill_store, observe, pod, registration, report_health, version};

// --- never missing

/// Checks that every read finds `db:1`, which is subscribed to `g` among others, exactly once while
/// `write` replaces it.
fn never_missing<S: RegistryStore + Sync>(store: &S, write: impl Fn(usize) + Sync) {
    for n in 1..=8 {
        store.save_service(pod("db", &n.to_string())).unwrap();
        store.add_subscription(&format!("db:{n}"), "g").unwrap();
    }
    let once = |records: Vec<ServiceInfo>, what: &str| {
        let n = records.iter().filter(|info| *info.key() == "db:1").count();
        assert_eq!(n, 1, "a registered pod was missing from or twice in {what}");
    };
    let by_key = |_| {
        let found = store.get_service("db:1").map(|info| info.key().to_string());
        assert_eq!(found.as_deref(), Ok("db:1"), "a registered pod was missing");
        let found = store.with_service("db:1", |info| *info.key() == "db:1");
        assert_eq!(found, Ok(true), "a registered pod was missing");
        let found = store.visit_service("db:1", &mut |info| assert_eq!(info.key(), "db:1"));
        assert_eq!(found, Ok(()), "a registered pod was missing");
    };
    let in_scans = |_| {
        once(store.get_services_by_name("db").unwrap(), "by name");
        once(store.get_all_services().unwrap(), "all");
        once(
            store.get_subscriber_services("g").unwrap(),
            "subscriber services",
        );
        let subscribers = store.get_subscribers("g").unwrap();
        assert!(
            subscribers.iter().any(|key| *key == "db:1"),
            "a subscriber was missing"
        );
    };
    race(1_000, &[&write], &[&by_key, &in_scans]);
}

pub fn a_pod_is_never_missing_while_it_is_saved<S: RegistryStore + Sync>(store: &S) {
    never_missing(store, |n| {
        store.save_service(version("db", "1", n as u64)).unwrap();
    });
}

pub fn a_pod_is_never_missing_while_its_health_is_updated<S: RegistryStore + Sync>(store: &S) {
    never_missing(store, |n| {
        let moment = at(n as u64);
        store
            .update_health_status("db:1", ServiceStatus::Healthy, moment)
            .unwrap();
        let before = report_health(store, "db:1", ServiceStatus::Unhealthy, moment);
        assert_eq!(before, ServiceStatus::Healthy);
    });
}

pub fn a_pod_is_never_missing_while_a_batch_replaces_it<S: RegistryStore + Sync>(store: &S) {
    never_missing(store, |n| {
        let mut batch = Batch::new();
        batch
            .delete_service("db:1")
            .remove_all_subscriptions("db:1")
            .save_service(version("db", "1", n as u64))
            .add_subscription("db:1", "g");
        store.commit(batch).unwrap();
    });
}

pub fn a_pod_is_never_missing_while_it_registers_anew<S: RegistryStore + Sync>(store: &S) {
    let registry = Registry::new(store);
    never_missing(store, |n| {
        let also = ["g", ["x", "y"][n % 2]];
        registry.register(registration("db", "1", &also)).unwrap();
    });
}

pub fn a_pod_is_never_missing_while_others_come_and_go<S: RegistryStore + Sync>(store: &S) {
    // Many other pods, so that tables grow and shrink.
    never_missing(store, |n| {
        let turn = n % 200;
        let key = format!("db:other-{}", turn % 100);
        if turn < 100 {
            store
                .save_service(pod("db", &format!("other-{turn}")))
                .unwrap();
            store.add_subscription(&key, "g").unwrap();
        } else {
            // The race may end in the middle of these 200 turns, but always begins at their start.
            store.delete_service(&key).unwrap();
            store.remove_all_subscriptions(&key).unwrap();
        }
    });
}

// --- whole commits

pub fn no_reader_sees_half_a_registration<S: RegistryStore + Sync>(store: &S) {
    let registry = Registry::new(store);
    // A pod subscribes to the group of its version and to one more: always two groups.
    let register = |service: &str, round: usize| {
        let own = ["even", "odd"][round % 2];
        registry
            .register(registration(service, "1", &[own, "both"]))
            .unwrap();
    };
    let replaces = |round| register("replaced", round);
    let comes_and_goes = |round| {
        register("guest", round / 2);
        if round % 2 == 1 {
            let gone = registry.unregister("guest", "1").unwrap();
            assert!(gone.is_some());
        }
    };
    // Each record names the groups with which it was registered.
    let groups = |_| {
        for (group, other) in [("even", "odd"), ("odd", "even")] {
            for info in store.get_subscriber_services(group).unwrap() {
                assert_eq!(
                    info.subscriptions()[0],
                    group,
                    "half a registration: a record that asks for {other} among those of {group}"
                );
            }
        }
    };
    // Each pod has two subscriptions, and there are no others.
    let counts = |_| {
        let stats = store.stats().unwrap();
        assert_eq!(
            stats.subscriptions,
            2 * stats.services,
            "half a registration: {stats:?}"
        );
    };
    race(1_000, &[&replaces, &comes_and_goes], &[&groups, &counts]);
}

pub fn a_view_is_of_one_state_beside_writers<S: RegistryStore + Sync>(store: &S) {
    // Pods come and go, each with its subscription.
    let write = |service: &str, round: usize| {
        let name = (round % 8).to_string();
        let key = format!("{service}:{name}");
        let mut batch = Batch::new();
        if round % 16 < 8 {
            batch
                .save_service(pod(service, &name))
                .add_subscription(&key, "g");
        } else {
            batch.remove_all_subscriptions(&key).delete_service(&key);
        }
        store.commit(batch).unwrap();
    };
    let read = |_| {
        let asked = store.with_view(|view| {
            let subscribers: Vec<_> = view.subscribers("g").collect();
            for key in &subscribers {
                assert!(view.get(key).is_some(), "{key} came, or went, in two steps");
            }
            let of_name = |service| view.services_by_name(service).count();
            let counted = of_name("a") + of_name("b");
            assert_eq!(counted, subscribers.len());
            assert_eq!(counted, view.services().count());
            assert_eq!(view.stats(), StoreStats::new(counted, counted));
        });
        asked.unwrap();
    };
    race(
        500,
        &[&|round| write("a", round), &|round| write("b", round)],
        &[&read, &read],
    );
}

pub fn a_scan_sees_whole_commits<S: RegistryStore + Sync>(store: &S) {
    const PODS: usize = 20;
    let names: Vec<String> = (0..PODS).map(|n| n.to_string()).collect();
    let sweep = |round: usize| {
        let mut batch = Batch::new();
        for name in &names {
            let info = pod("db", name)
                .with_health(ServiceStatus::Healthy, at(round as u64))
                .unwrap();
            batch.save_service(info);
        }
        batch
    };
    let mut first = sweep(0);
    for name in &names {
        first.add_subscription(&format!("db:{name}"), "g");
    }
    store.commit(first).unwrap();

    let write = |round: usize| {
        if round.is_multiple_of(2) {
            store.commit(sweep(round)).unwrap();
        } else {
            let mut batch = Batch::new();
            for name in &names {
                let key = format!("db:{name}");
                batch.update_health_status(&key, ServiceStatus::Healthy, at(round as u64));
            }
            store.commit(batch).unwrap();
        }
    };
    let whole = |records: Vec<ServiceInfo>| {
        assert_eq!(records.len(), PODS, "a scan missed pods");
        let moments: BTreeSet<_> = records.iter().map(ServiceInfo::last_health_check).collect();
        assert_eq!(moments.len(), 1, "a scan saw half a commit: {moments:?}");
    };
    let read = |round: usize| match round % 3 {
        0 => whole(store.get_all_services().unwrap()),
        1 => whole(store.get_services_by_name("db").unwrap()),
        _ => whole(store.get_subscriber_services("g").unwrap()),
    };
    race(500, &[&write], &[&read, &read]);
}

pub fn a_pod_that_moves_is_in_one_place<S: RegistryStore + Sync>(store: &S) {
    store.save_service(pod("db", "0")).unwrap();
    store.add_subscription("db:0", "0").unwrap();
    store.add_subscription("db:0", "g").unwrap();
    // From pod to pod and from group to group, which have separate indexes.
    let write = |round: usize| {
        let [from, to] = [round % 5, (round + 1) % 5].map(|n| n.to_string());
        let (leaving, coming) = (format!("db:{from}"), format!("db:{to}"));
        let mut batch = Batch::new();
        batch
            .delete_service(&leaving)
            .remove_subscription(&leaving, "g")
            .save_service(pod("db", &to))
            .add_subscription(&coming, &to)
            .add_subscription(&coming, "g")
            .remove_all_subscriptions(&leaving);
        store.commit(batch).unwrap();
    };
    let one = |n: usize, what: &str| assert_eq!(n, 1, "half a commit in {what}");
    let read = |_| {
        one(store.get_all_services().unwrap().len(), "all");
        one(store.get_services_by_name("db").unwrap().len(), "by name");
        one(store.get_subscribers("g").unwrap().len(), "subscribers");
        let services = store.get_subscriber_services("g").unwrap();
        one(services.len(), "subscriber services");
        assert_eq!(store.stats(), Ok(StoreStats::new(1, 2)), "half a commit");
    };
    race(1_000, &[&write], &[&read, &read]);
}

pub fn a_rejected_batch_is_never_seen<S: RegistryStore + Sync>(store: &S) {
    fill_store(store);
    let before = observe(store, &["g", "h", "new"]);
    let stats = store.stats().unwrap();
    let write = |round: usize| {
        let mut batch = Batch::new();
        batch
            .save_service(pod("db", "ghost"))
            .add_subscription("db:ghost", "g")
            .save_service(version("db", "pod-1", round as u64 + 1))
            .remove_all_subscriptions("web:pod-1")
            .delete_service("db:pod-2")
            .delete_service("db:pod-2");
        let rejected = store.commit(batch);
        assert!(matches!(
            rejected,
            Err(StoreError::BatchRejected { index: 5, .. })
        ));
    };
    let read = |_| {
        assert!(
            store.get_service("db:ghost").is_err(),
            "a rejected batch was seen"
        );
        assert_eq!(store.get_service(KEY).as_ref(), Ok(&before.services[KEY]));
        assert!(
            store.get_service("db:pod-2").is_ok(),
            "a rejected batch was seen"
        );
        assert_eq!(store.get_all_services().unwrap().len(), 2);
        assert_eq!(store.get_subscribers("g").unwrap(), [KEY, "web:pod-1"]);
        assert_eq!(store.stats(), Ok(stats));
        assert_eq!(store.revision().as_u64(), before.revision);
    };
    race(500, &[&write], &[&read, &read]);
    assert_eq!(observe(store, &["g", "h", "new"]), before);
}

pub fn clear_is_one_step<S: RegistryStore + Sync>(store: &S) {
    const PODS: usize = 50;
    let write = |_| {
        let mut batch = Batch::new();
        for n in 0..PODS {
            batch
                .save_service(pod("db", &n.to_string()))
                .add_subscription(&format!("db:{n}"), "g");
        }
        store.commit(batch).unwrap();
        store.clear().unwrap();
    };
    let all_or_none = |n: usize| assert!(n == 0 || n == PODS, "half of a clear: {n}");
    let read = |_| {
        all_or_none(store.get_all_services().unwrap().len());
        all_or_none(store.get_services_by_name("db").unwrap().len());
        all_or_none(store.get_subscribers("g").unwrap().len());
        all_or_none(store.get_subscriber_services("g").unwrap().len());
        let stats = store.stats().unwrap();
        all_or_none(stats.services);
        assert_eq!(stats.services, stats.subscriptions);
    };
    race(200, &[&write], &[&read, &read]);
}
