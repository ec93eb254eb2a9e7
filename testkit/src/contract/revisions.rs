//! Which commits grow the revision, and by how much.

use service_registry::{
    Batch, RegistryStore, Result, Revision, ServiceInfo, ServiceStatus, StoreError,
};

use crate::support::{
    CALLS, GROUPS, at, fill_store, observe, pod, registration, revision, version,
};

/// Runs `change` and checks by how much it grows the revision.
#[track_caller]
fn grows<T>(store: &impl RegistryStore, by: u64, change: impl FnOnce() -> Result<T>) -> T {
    let before = store.revision().as_u64();
    let answer = change();
    let after = store.revision().as_u64();
    assert_eq!(after - before, by, "grew by {}", after - before);
    match answer {
        Ok(answer) => answer,
        Err(error) => panic!("failed: {error}"),
    }
}

pub fn a_new_store_is_at_revision_zero(store: &impl RegistryStore) {
    assert_eq!(store.revision(), Revision::ZERO);
    assert_eq!(Revision::ZERO.as_u64(), 0);
}

pub fn every_change_grows_the_revision_by_one(store: &impl RegistryStore) {
    grows(store, 1, || store.save_service(pod("db", "1")));
    grows(store, 1, || store.save_service(pod("db", "2")));
    grows(store, 1, || store.save_service(version("db", "1", 1)));
    grows(store, 1, || {
        store.update_health_status("db:1", ServiceStatus::Healthy, at(1))
    });
    grows(store, 1, || {
        store.update_health_status("db:1", ServiceStatus::Unhealthy, at(1))
    });
    grows(store, 1, || store.add_subscription("db:1", "g"));
    grows(store, 1, || store.add_subscription("db:1", "h"));
    grows(store, 1, || store.add_subscription("db:2", "g"));
    grows(store, 1, || store.remove_subscription("db:1", "g"));
    grows(store, 1, || store.remove_all_subscriptions("db:1"));
    grows(store, 1, || store.take_service("db:2"));
    grows(store, 1, || store.delete_service("db:1"));
    grows(store, 1, || store.save_service(pod("db", "1")));
    grows(store, 1, || store.clear());
    assert_eq!(store.revision(), revision(14));
}

pub fn a_change_of_any_one_field_is_a_change(store: &impl RegistryStore) {
    let save = |info: ServiceInfo| store.save_service(info);
    let base = registration("db", "1", &["g"]);
    let info = |registration| {
        ServiceInfo::new(registration)
            .unwrap()
            .with_registered_at(at(0))
            .unwrap()
    };
    grows(store, 1, || save(info(base.clone())));
    grows(store, 0, || save(info(base.clone())));

    let mut other = base.clone();
    other.health_check_url.push('x');
    grows(store, 1, || save(info(other.clone())));
    other.notification_url.clear();
    grows(store, 1, || save(info(other.clone())));
    other.subscriptions.push("h".into());
    grows(store, 1, || save(info(other.clone())));
    other.providers[0].port += 1;
    grows(store, 1, || save(info(other.clone())));
    other.providers.clear();
    grows(store, 1, || save(info(other.clone())));
    other.zone.clear();
    grows(store, 1, || save(info(other.clone())));
    other.weight = 0;
    grows(store, 1, || save(info(other.clone())));
    other.metadata.insert("version".into(), "2".into());
    grows(store, 1, || save(info(other.clone())));
    other.metadata.clear();
    grows(store, 1, || save(info(other.clone())));
    let other = info(other);
    grows(store, 1, || {
        save(other.clone().with_registered_at(at(1)).unwrap())
    });
    grows(store, 1, || {
        save(other.with_health(ServiceStatus::Unknown, at(1)).unwrap())
    });
    grows(store, 1, || {
        save(other.with_health(ServiceStatus::Unknown, at(2)).unwrap())
    });
    grows(store, 1, || {
        save(other.with_health(ServiceStatus::Healthy, at(2)).unwrap())
    });
}

pub fn an_equal_record_keeps_the_revision(store: &impl RegistryStore) {
    let saved = version("db", "1", 4)
        .with_health(ServiceStatus::Healthy, at(9))
        .unwrap();
    store.save_service(saved.clone()).unwrap();
    let before = observe(store, &[]);
    // The same record, an equal new one, and the one that the store returned.
    grows(store, 0, || store.save_service(saved.clone()));
    let anew = version("db", "1", 4)
        .with_health(ServiceStatus::Healthy, at(9))
        .unwrap();
    assert!(!std::ptr::eq(anew.registration(), saved.registration()));
    grows(store, 0, || store.save_service(anew));
    let given = store.get_service("db:1").unwrap();
    grows(store, 0, || store.save_service(given));
    assert_eq!(observe(store, &[]), before);
}

/// Reads the revision and the incarnation of `db:1` in every way, and checks that all agree.
#[track_caller]
fn stamped(store: &impl RegistryStore, revision: u64, incarnation: u64) {
    let expected = (Revision::from(revision), Revision::from(incarnation));
    let stamp = |info: &ServiceInfo| (info.revision(), info.incarnation());
    assert_eq!(stamp(&store.get_service("db:1").unwrap()), expected);
    assert_eq!(store.with_service("db:1", stamp), Ok(expected));
    let by_name = store.get_services_by_name("db").unwrap();
    assert_eq!(by_name.iter().map(stamp).collect::<Vec<_>>(), [expected]);
    let all = store.get_all_services().unwrap();
    assert_eq!(all.iter().map(stamp).collect::<Vec<_>>(), [expected]);
}

pub fn a_record_has_the_revision_of_its_last_change(store: &impl RegistryStore) {
    let new = pod("db", "1");
    assert_eq!((new.revision(), new.incarnation()), Default::default());
    store.add_subscription("db:1", "g").unwrap();
    store.save_service(new.clone()).unwrap();
    stamped(store, 2, 2);
    // An equal record, and the stored one with its stamps.
    store.save_service(new).unwrap();
    store
        .save_service(store.get_service("db:1").unwrap())
        .unwrap();
    stamped(store, 2, 2);
    store.save_service(version("db", "1", 1)).unwrap();
    stamped(store, 3, 2);
    store.add_subscription("db:1", "h").unwrap();
    stamped(store, 3, 2);
    let report = |status, moment| {
        let updated = store.update_health_status("db:1", status, at(moment));
        assert!(updated.unwrap().is_applied());
    };
    report(ServiceStatus::Healthy, 1);
    stamped(store, 5, 2);
    // A newer time is a commit, but no change of the record.
    report(ServiceStatus::Healthy, 2);
    assert_eq!(store.revision(), revision(6));
    stamped(store, 5, 2);
    let newer = version("db", "1", 1).with_health(ServiceStatus::Healthy, at(3));
    store.save_service(newer.unwrap()).unwrap();
    assert_eq!(store.revision(), revision(7));
    stamped(store, 5, 2);
    report(ServiceStatus::Draining, 3);
    stamped(store, 8, 2);
    let mut batch = Batch::new();
    batch
        .add_subscription("db:1", "i")
        .update_health_status("db:1", ServiceStatus::Healthy, at(4))
        .update_health_status("db:1", ServiceStatus::Draining, at(5));
    store.commit(batch).unwrap();
    stamped(store, 9, 2);
}

pub fn an_incarnation_begins_where_a_key_is_registered(store: &impl RegistryStore) {
    let register = |info: ServiceInfo| {
        let batch = Batch::new().register_service(info).take();
        grows(store, 1, || store.commit(batch))
    };
    register(pod("db", "1"));
    stamped(store, 1, 1);
    // Also for an equal record.
    register(pod("db", "1"));
    stamped(store, 2, 2);
    store.save_service(version("db", "1", 1)).unwrap();
    stamped(store, 3, 2);
    register(version("db", "1", 2));
    stamped(store, 4, 4);
    store.delete_service("db:1").unwrap();
    store.save_service(version("db", "1", 2)).unwrap();
    stamped(store, 6, 6);
    // Removed and restored unchanged within one commit.
    let mut batch = Batch::new();
    batch
        .delete_service("db:1")
        .save_service(version("db", "1", 2));
    store.commit(batch).unwrap();
    stamped(store, 7, 7);
    store.clear().unwrap();
    store.save_service(version("db", "1", 2)).unwrap();
    stamped(store, 9, 9);
}

pub fn a_repeated_health_report_keeps_the_revision(store: &impl RegistryStore) {
    store.save_service(pod("db", "1")).unwrap();
    let report = |status, moment| store.update_health_status("db:1", status, at(moment));
    // The first report is a change, even if its status is the assumed one.
    grows(store, 1, || report(ServiceStatus::Unknown, 1));
    grows(store, 0, || report(ServiceStatus::Unknown, 1));
    grows(store, 1, || report(ServiceStatus::Unknown, 2));
    grows(store, 1, || report(ServiceStatus::Healthy, 2));
    grows(store, 0, || report(ServiceStatus::Healthy, 2));
    grows(store, 0, || report(ServiceStatus::Unhealthy, 1));
    let mut batch = Batch::new();
    batch.update_health_status("db:1", ServiceStatus::Healthy, at(2));
    grows(store, 0, || store.commit(batch));
}

pub fn what_changes_nothing_keeps_the_revision(store: &impl RegistryStore) {
    grows(store, 0, || store.clear());
    grows(store, 0, || store.remove_subscription("a:1", "g"));
    grows(store, 0, || store.remove_all_subscriptions("a:1"));
    store.add_subscription("a:1", "g").unwrap();
    grows(store, 0, || store.add_subscription("a:1", "g"));
    grows(store, 0, || store.remove_subscription("a:1", "h"));
    grows(store, 0, || store.remove_subscription("b:1", "g"));
    grows(store, 0, || store.remove_all_subscriptions("b:1"));
    grows(store, 1, || store.clear());
    grows(store, 0, || store.clear());
}

pub fn reads_keep_the_revision(store: &impl RegistryStore) {
    fill_store(store);
    let reads = CALLS.iter().filter(|(name, _)| {
        name.starts_with("get_")
            || [
                "find_service",
                "contains_service",
                "stats",
                "ping",
                "visit_service",
                "visit_view",
            ]
            .contains(name)
    });
    let before = observe(store, GROUPS);
    let mut n = 0;
    for (_, read) in reads {
        grows(store, 0, || read(store));
        n += 1;
    }
    assert_eq!(n, 11, "CALLS has other reads now");
    grows(store, 0, || store.with_service("db:pod-1", |_| ()));
    assert_eq!(observe(store, GROUPS), before);
}

pub fn a_failure_keeps_the_revision(store: &impl RegistryStore) {
    fill_store(store);
    let fails = |result: Result<()>| match result {
        Err(_) => Ok(()),
        Ok(()) => Err(StoreError::NotFound("a failure".into())),
    };
    grows(store, 0, || fails(store.delete_service("x:1")));
    grows(store, 0, || fails(store.take_service("x:1").map(drop)));
    grows(store, 0, || {
        let updated = store.update_health_status("x:1", ServiceStatus::Healthy, at(1));
        fails(updated.map(drop))
    });
    grows(store, 0, || fails(store.add_subscription("x", "g")));
    grows(store, 0, || fails(store.add_subscription("x:1", "")));
    let mut batch = Batch::new();
    batch.save_service(pod("x", "1")).delete_service("x:2");
    grows(store, 0, || fails(store.commit(batch).map(drop)));
}

pub fn a_batch_grows_the_revision_by_one_at_most(store: &impl RegistryStore) {
    let commit = |by, build: &dyn Fn(&mut Batch)| {
        let mut batch = Batch::new();
        build(&mut batch);
        let led_to = grows(store, by, || store.commit(batch));
        assert_eq!(led_to, store.revision(), "the answer of commit");
    };
    commit(1, &|batch| {
        for n in 0..100 {
            batch.save_service(pod("db", &n.to_string()));
        }
    });
    // Changes without an effect.
    commit(0, &|_| ());
    commit(0, &|batch| {
        batch
            .save_service(pod("db", "1"))
            .remove_subscription("db:1", "g")
            .remove_all_subscriptions("db:1");
    });
    // One change among many without an effect.
    commit(1, &|batch| {
        for n in 0..100 {
            batch.save_service(pod("db", &n.to_string()));
        }
        batch.add_subscription("db:1", "g");
    });
    // Each change has an effect, but together they restore the original state.
    commit(1, &|batch| {
        batch
            .add_subscription("db:2", "g")
            .remove_subscription("db:2", "g");
    });
    commit(1, &|batch| {
        batch.delete_service("db:1").save_service(pod("db", "1"));
    });
    commit(1, &|batch| {
        batch.save_service(pod("x", "1")).delete_service("x:1");
    });
    commit(1, &|batch| {
        batch
            .save_service(version("db", "1", 1))
            .save_service(pod("db", "1"));
    });
    commit(0, &|batch| {
        batch
            .add_subscription("db:1", "g")
            .save_service(pod("db", "1"))
            .save_service(pod("db", "2"));
    });
}

pub fn clear_counts_on(store: &impl RegistryStore) {
    fill_store(store);
    let before = store.revision();
    store.clear().unwrap();
    assert_eq!(store.revision(), before.next());
    store.save_service(pod("db", "1")).unwrap();
    assert_eq!(store.revision(), before.next().next());
}

pub fn the_last_revision_outlives_the_store(store: &impl RegistryStore) {
    fill_store(store);
    let last = store.revision();
    store.close().unwrap();
    assert_eq!(store.revision(), last);
    assert_eq!(store.save_service(pod("db", "9")), Err(StoreError::Closed));
    store.close().unwrap();
    assert_eq!(store.revision(), last);
}
