//! Several changes that become visible at once, or not at all.

use service_registry::{
    Batch, Change, MAX_NAME_LEN, Problem, RegistryStore, ServiceStatus, StoreError, StoreStats,
};

use crate::support::{
    assert_refused, at, keys, malformed_keys, observe, pod, registration, revision, version,
};

/// Checks that a batch is rejected for its change `index`, and returns the reason.
#[track_caller]
fn rejected(store: &impl RegistryStore, batch: Batch, index: usize) -> StoreError {
    let expected = batch.changes()[index].operation();
    let error = store.commit(batch).expect_err("a change of it must fail");
    let message = error.to_string();
    assert!(message.contains(&format!("change {index} ")), "{message}");
    assert!(message.contains(expected), "{message}");
    match error {
        StoreError::BatchRejected {
            index: at,
            operation,
            source,
        } => {
            assert_eq!((at, operation), (index, expected));
            assert!(message.contains(&source.to_string()), "{message}");
            *source
        }
        other => panic!("not rejected as a batch: {other:?}"),
    }
}

fn not_found(key: &str) -> StoreError {
    StoreError::NotFound(key.into())
}

pub fn a_batch_applies_every_kind_of_change_in_order(store: &impl RegistryStore) {
    for n in ["1", "2", "3"] {
        store.save_service(pod("db", n)).unwrap();
        store.add_subscription(&format!("db:{n}"), "g").unwrap();
        store.add_subscription(&format!("db:{n}"), "h").unwrap();
    }
    let before = store.revision();
    let mut batch = Batch::new();
    batch
        .save_service(version("db", "1", 5))
        .save_service(pod("db", "4"))
        .delete_service("db:2")
        .update_health_status("db:3", ServiceStatus::Healthy, at(8))
        .add_subscription("db:4", "g")
        .remove_subscription("db:1", "g")
        .remove_all_subscriptions("db:2");
    assert_eq!(batch.len(), 7);
    assert_eq!(store.commit(batch), Ok(before.next()));

    let after = observe(store, &["g", "h"]);
    assert_eq!(after.services.len(), 3);
    assert_eq!(after.services["db:1"], version("db", "1", 5));
    assert_eq!(after.services["db:4"], pod("db", "4"));
    assert_eq!(
        after.services["db:3"],
        pod("db", "3")
            .with_health(ServiceStatus::Healthy, at(8))
            .unwrap()
    );
    assert_eq!(after.groups["g"], ["db:3", "db:4"]);
    assert_eq!(after.groups["h"], ["db:1", "db:3"]);
}

pub fn later_changes_build_on_earlier_ones(store: &impl RegistryStore) {
    store.save_service(pod("db", "old")).unwrap();
    let mut batch = Batch::new();
    batch
        // A subscription of a record that the batch itself adds.
        .save_service(pod("db", "new"))
        .update_health_status("db:new", ServiceStatus::Healthy, at(1))
        .save_service(pod("db", "brief"))
        .delete_service("db:brief")
        // Deleted, saved, deleted, saved, and another one.
        .delete_service("db:old")
        .save_service(version("db", "old", 1))
        .delete_service("db:old")
        .save_service(version("db", "old", 2))
        .save_service(version("db", "old", 3))
        .update_health_status("db:old", ServiceStatus::Unhealthy, at(2))
        .update_health_status("db:old", ServiceStatus::Healthy, at(3))
        .add_subscription("db:new", "g")
        .add_subscription("db:old", "g")
        .remove_all_subscriptions("db:new")
        .add_subscription("db:brief", "g")
        .add_subscription("db:new", "g")
        .remove_subscription("db:brief", "g");
    store.commit(batch).unwrap();

    let after = observe(store, &["g"]);
    assert_eq!(after.revision, 2);
    assert_eq!(after.services.len(), 2);
    assert_eq!(
        after.services["db:new"],
        pod("db", "new")
            .with_health(ServiceStatus::Healthy, at(1))
            .unwrap()
    );
    assert_eq!(
        after.services["db:old"],
        version("db", "old", 3)
            .with_health(ServiceStatus::Healthy, at(3))
            .unwrap()
    );
    assert_eq!(after.groups["g"], ["db:old", "db:new"]);
}

pub fn the_first_change_that_fails_is_named(store: &impl RegistryStore) {
    store.save_service(pod("db", "1")).unwrap();
    store.add_subscription("db:1", "g").unwrap();
    let before = observe(store, &["g", "h"]);
    let unchanged = || assert_eq!(observe(store, &["g", "h"]), before);

    let mut batch = Batch::new();
    batch.delete_service("db:missing");
    assert_eq!(rejected(store, batch, 0), not_found("db:missing"));
    unchanged();

    // Two of them fail; the first is named.
    let mut batch = Batch::new();
    batch
        .save_service(pod("db", "2"))
        .update_health_status("db:3", ServiceStatus::Healthy, at(1))
        .delete_service("db:4");
    assert_eq!(rejected(store, batch, 1), not_found("db:3"));
    unchanged();

    // The batch has removed it before.
    let mut batch = Batch::new();
    batch.delete_service("db:1").delete_service("db:1");
    assert_eq!(rejected(store, batch, 1), not_found("db:1"));
    unchanged();

    let mut batch = Batch::new();
    batch
        .add_subscription("db:2", "h")
        .delete_service("db:1")
        .update_health_status("db:1", ServiceStatus::Healthy, at(1));
    assert_eq!(rejected(store, batch, 2), not_found("db:1"));
    unchanged();

    // A later change does not help.
    let mut batch = Batch::new();
    batch
        .update_health_status("db:2", ServiceStatus::Healthy, at(1))
        .save_service(pod("db", "2"));
    assert_eq!(rejected(store, batch, 0), not_found("db:2"));
    unchanged();

    // A record that the batch saved and deleted again is missing as well.
    let mut batch = Batch::new();
    batch
        .save_service(pod("db", "2"))
        .delete_service("db:2")
        .delete_service("db:2");
    assert_eq!(rejected(store, batch, 2), not_found("db:2"));
    unchanged();
}

pub fn malformed_changes_reject_a_batch_and_say_why(store: &impl RegistryStore) {
    store.add_subscription("web:1", "g").unwrap();
    let before = observe(store, &["g", "h"]);
    for (key, problem) in malformed_keys() {
        let subscriber_key: Box<str> = key.as_str().into();
        for malformed in [
            Change::AddSubscription {
                subscriber_key: subscriber_key.clone(),
                service_group: "h".into(),
            },
            Change::RemoveSubscription {
                subscriber_key: subscriber_key.clone(),
                service_group: "g".into(),
            },
            Change::RemoveAllSubscriptions { subscriber_key },
        ] {
            let mut batch = Batch::new();
            batch
                .remove_all_subscriptions("web:1")
                .save_service(pod("db", "1"))
                .push(malformed);
            let source = rejected(store, batch, 2);
            assert_refused(Err::<(), _>(source), "subscriber key", &key, &problem);
            assert_eq!(observe(store, &["g", "h"]), before);
        }
    }
    let long = "x".repeat(MAX_NAME_LEN + 1);
    let too_long = Problem::TooLong {
        len: MAX_NAME_LEN + 1,
        max: MAX_NAME_LEN,
    };
    for (group, problem) in [
        ("", Problem::Empty),
        (&*long, too_long),
        ("s:pod", Problem::Colon { at: 1 }),
    ] {
        let mut batch = Batch::new();
        batch
            .add_subscription("web:2", "h")
            .add_subscription("web:1", group);
        let source = rejected(store, batch, 1);
        assert_refused(Err::<(), _>(source), "service group", group, &problem);
        let mut batch = Batch::new();
        batch
            .add_subscription("web:2", "h")
            .remove_subscription("web:1", group);
        let source = rejected(store, batch, 1);
        assert_refused(Err::<(), _>(source), "service group", group, &problem);
        assert_eq!(observe(store, &["g", "h"]), before);
    }
}

pub fn the_last_of_a_thousand_changes_undoes_them_all(store: &impl RegistryStore) {
    let groups = ["g", "h", "i"];
    for n in 0..300 {
        store
            .save_service(version("db", &n.to_string(), n))
            .unwrap();
        store
            .add_subscription(&format!("db:{n}"), if n % 2 == 0 { "g" } else { "h" })
            .unwrap();
    }
    let before = observe(store, &groups);

    let mut batch = Batch::with_capacity(1000);
    for n in 0..300_u64 {
        let key = format!("db:{n}");
        match n % 3 {
            0 => batch.delete_service(&key),
            1 => batch.save_service(version("db", &n.to_string(), 1000 + n)),
            _ => batch.update_health_status(&key, ServiceStatus::Healthy, at(n)),
        };
        match n % 4 {
            0 => batch.remove_all_subscriptions(&key),
            1 => batch.remove_subscription(&key, "h"),
            2 => batch.add_subscription(&key, "h"),
            _ => batch.add_subscription(&key, "i"),
        };
    }
    for n in 0..399 {
        batch.save_service(pod("cache", &n.to_string()));
    }
    batch.delete_service("cache:399");
    assert_eq!(batch.len(), 1000);

    assert_eq!(rejected(store, batch.clone(), 999), not_found("cache:399"));
    assert_eq!(observe(store, &groups), before);
    assert_eq!(store.get_services_by_name("cache"), Ok(vec![]));

    // Without the failing change, the same batch is one commit.
    let mended: Batch = batch.into_iter().take(999).collect();
    assert_eq!(store.commit(mended), Ok(revision(before.revision + 1)));
    let after = observe(store, &groups);
    assert_eq!(after.services.len(), 300 - 100 + 399);
    assert_eq!(after.revision, before.revision + 1);
}

pub fn a_rejected_batch_does_not_spoil_the_next(store: &impl RegistryStore) {
    for n in 0..50 {
        let name = n.to_string();
        let mut batch = Batch::new();
        batch
            .save_service(pod("db", &name))
            .add_subscription("web:1", "g")
            .delete_service("db:missing");
        rejected(store, batch, 2);
        let mut batch = Batch::new();
        batch
            .save_service(pod("db", &name))
            .add_subscription(&format!("db:{n}"), "g");
        assert_eq!(store.commit(batch), Ok(revision(n + 1)));
    }
    let after = observe(store, &["g"]);
    assert_eq!((after.services.len(), after.groups["g"].len()), (50, 50));
}

pub fn subscriptions_of_a_batch_stand_in_its_order(store: &impl RegistryStore) {
    let mut batch = Batch::new();
    for key in ["m:1", "a:1", "z:1", "a:1", "b:1"] {
        batch.add_subscription(key, "g");
    }
    store.commit(batch).unwrap();
    assert_eq!(
        store.get_subscribers("g").unwrap(),
        ["m:1", "a:1", "z:1", "b:1"]
    );
    let mut batch = Batch::new();
    batch
        .remove_all_subscriptions("m:1")
        .add_subscription("m:1", "g")
        .remove_subscription("z:1", "g");
    store.commit(batch).unwrap();
    assert_eq!(store.get_subscribers("g").unwrap(), ["a:1", "b:1", "m:1"]);
}

pub fn a_batch_may_be_empty_or_built_in_every_way(store: &impl RegistryStore) {
    assert_eq!(store.commit(Batch::new()), Ok(revision(0)));
    assert_eq!(store.commit(Batch::with_capacity(10)), Ok(revision(0)));
    assert_eq!(store.commit(Batch::default()), Ok(revision(0)));

    let mut batch: Batch = [Change::SaveService(pod("db", "1"))].into_iter().collect();
    batch.push(Change::AddSubscription {
        subscriber_key: "db:1".into(),
        service_group: "g".into(),
    });
    batch.extend([Change::UpdateHealthStatus {
        key: "db:1".into(),
        status: ServiceStatus::Healthy,
        checked_at: at(1),
    }]);
    // Built in one expression and from a list, and read back.
    let taken = Batch::new()
        .save_service(pod("db", "1"))
        .add_subscription("db:1", "g")
        .update_health_status("db:1", ServiceStatus::Healthy, at(1))
        .take();
    assert_eq!(taken, batch);
    let read: Vec<Change> = (&batch).into_iter().cloned().collect();
    assert_eq!(Batch::from(read), batch);
    assert_eq!(Batch::from([batch.changes()[0].clone()]).len(), 1);
    assert_eq!(Batch::from(batch.changes()[1].clone()).len(), 1);
    let again = batch.clone();
    assert_eq!(store.commit(batch), Ok(revision(1)));
    // A batch is a value: committing its clone repeats all changes.
    assert_eq!(store.commit(again), Ok(revision(2)));
    assert_eq!(store.stats(), Ok(StoreStats::new(1, 1)));
    assert_eq!(
        store.get_service("db:1").unwrap().status(),
        ServiceStatus::Healthy
    );
}

pub fn registering_by_hand_works_as_a_batch(store: &impl RegistryStore) {
    // What an application without `Registry` would write.
    let info = service_registry::ServiceInfo::new(registration("web", "1", &["db", "cache"]));
    let info = info.unwrap();
    for _ in 0..3 {
        let mut batch = Batch::new();
        batch
            .save_service(info.clone())
            .remove_all_subscriptions(info.key());
        for group in info.subscriptions() {
            batch.add_subscription(info.key(), group);
        }
        store.commit(batch).unwrap();
        let seen = observe(store, &["db", "cache"]);
        assert_eq!(seen.groups.len(), 2);
        assert_eq!(
            keys(&store.get_subscriber_services("db").unwrap()),
            ["web:1"]
        );
    }
}
