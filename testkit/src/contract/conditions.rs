//! Conditions of batches, conditional changes, and the sources of records.

use service_registry::changes::Difference;
use service_registry::{
    Batch, Cause, Condition, Conflict, Expected, Found, OnForeign, Problem, Registry,
    RegistryStore, ServiceInfo, ServiceStatus, StoreError,
};

use crate::support::{
    assert_refused, at, malformed_keys, observe, pod, registration, report_health, revision,
    sorted_keys, version,
};

const GROUPS: &[&str] = &["g", "h"];

/// Checks that a batch is rejected for its change `index` and changes nothing, and returns the
/// reason.
#[track_caller]
fn rejected(store: &impl RegistryStore, batch: Batch, index: usize) -> StoreError {
    let before = observe(store, GROUPS);
    let operation = batch.changes()[index].operation();
    let error = store.commit(batch).expect_err("it must be rejected");
    assert_eq!(observe(store, GROUPS), before);
    match error {
        StoreError::BatchRejected {
            index: at,
            operation: named,
            source,
        } => {
            assert_eq!((at, named), (index, operation));
            *source
        }
        other => panic!("not rejected: {other:?}"),
    }
}

#[track_caller]
fn conflict(error: StoreError) -> Conflict {
    match error {
        StoreError::Conflict(conflict) => *conflict,
        other => panic!("no conflict: {other:?}"),
    }
}

fn record(revision: u64, incarnation: u64, source: Option<&str>) -> Found {
    Found::Record {
        revision: revision.into(),
        incarnation: incarnation.into(),
        source: source.map(Box::from),
    }
}

fn of(source: &str, info: ServiceInfo) -> ServiceInfo {
    info.with_source(source).unwrap()
}

/// Fills a store with `db:1`, of incarnation 1 and revision 2, at revision 2.
fn set(store: &impl RegistryStore) {
    store.save_service(version("db", "1", 0)).unwrap();
    store.save_service(version("db", "1", 1)).unwrap();
}

pub fn a_requirement_that_holds_lets_the_batch_through(store: &impl RegistryStore) {
    set(store);
    let mut batch = Batch::new();
    batch
        .require("db:1", Expected::Present)
        .require("db:1", Expected::Revision(revision(2)))
        .require("db:1", Expected::Incarnation(revision(1)))
        .require("db:2", Expected::Absent)
        .require_unchanged_since(revision(2))
        .save_service(pod("db", "2"));
    assert_eq!(store.commit(batch), Ok(revision(3)));
    // A batch of conditions changes nothing.
    let batch = Batch::new().require("db:2", Expected::Present).take();
    assert_eq!(store.commit(batch), Ok(revision(3)));
}

pub fn a_requirement_that_does_not_hold_rejects_the_batch(store: &impl RegistryStore) {
    set(store);
    for (key, expected, found) in [
        ("db:1", Expected::Absent, record(2, 1, None)),
        ("db:1", Expected::Revision(revision(1)), record(2, 1, None)),
        (
            "db:1",
            Expected::Incarnation(revision(2)),
            record(2, 1, None),
        ),
        ("db:2", Expected::Present, Found::Absent),
        ("db:2", Expected::Revision(revision(0)), Found::Absent),
        ("db:2", Expected::Incarnation(revision(0)), Found::Absent),
    ] {
        let mut batch = Batch::new();
        batch.save_service(pod("web", "1")).require(key, expected);
        let conflict = conflict(rejected(store, batch, 1));
        let key: Box<str> = key.into();
        assert_eq!(conflict.condition(), &Condition::Expected { key, expected });
        assert_eq!(conflict.found(), &found);
        let message = conflict.to_string();
        assert!(
            message.contains("db:") && message.contains(&expected.to_string()),
            "{message}"
        );
    }
}

pub fn requirements_are_judged_against_the_state_before_the_batch(store: &impl RegistryStore) {
    set(store);
    let mut batch = Batch::new();
    batch
        .delete_service("db:1")
        .save_service(pod("db", "2"))
        .require("db:1", Expected::Revision(revision(2)))
        .require("db:2", Expected::Absent)
        .remove_if("db:2", Expected::Absent, Cause::Expired)
        .remove_if("db:1", Expected::Present, Cause::Expired);
    store.commit(batch).unwrap();
    // `db:2` was absent before the batch, so the batch has removed it again.
    assert!(observe(store, &[]).services.is_empty());
}

pub fn a_store_that_has_changed_since_rejects_the_batch(store: &impl RegistryStore) {
    set(store);
    for other in [0, 1, 3] {
        let mut batch = Batch::new();
        batch
            .require_unchanged_since(revision(other))
            .delete_service("db:1");
        let conflict = conflict(rejected(store, batch, 0));
        assert_eq!(
            conflict.condition(),
            &Condition::UnchangedSince(revision(other))
        );
        assert_eq!(conflict.found(), &Found::Revision(revision(2)));
    }
}

pub fn what_is_removed_if_takes_its_subscriptions(store: &impl RegistryStore) {
    set(store);
    store.add_subscription("db:1", "g").unwrap();
    store.add_subscription("db:2", "g").unwrap();
    let mut batch = Batch::new();
    batch.remove_if("db:1", Expected::Incarnation(revision(1)), Cause::Expired);
    store.commit(batch).unwrap();
    let left = observe(store, GROUPS);
    assert!(left.services.is_empty());
    assert_eq!(left.groups["g"], ["db:2"]);
}

pub fn what_does_not_hold_is_left_out_and_the_rest_is_done(store: &impl RegistryStore) {
    set(store);
    store.add_subscription("db:1", "g").unwrap();
    let mut batch = Batch::new();
    batch
        .remove_if("db:1", Expected::Incarnation(revision(2)), Cause::Expired)
        .remove_if("db:1", Expected::Revision(revision(1)), Cause::Expired)
        .remove_if("db:1", Expected::Absent, Cause::Expired)
        .remove_if("db:9", Expected::Present, Cause::Expired)
        .update_health_if("db:9", Expected::Present, ServiceStatus::Healthy, at(1))
        .update_health_if("db:9", Expected::Absent, ServiceStatus::Healthy, at(1));
    assert_eq!(
        store.commit(batch.clone()),
        Ok(revision(3)),
        "nothing to do"
    );
    batch.save_service(pod("db", "2"));
    assert_eq!(store.commit(batch), Ok(revision(4)));
    let left = observe(store, GROUPS);
    assert_eq!(left.services["db:1"], version("db", "1", 1));
    assert_eq!((left.services.len(), left.groups["g"].len()), (2, 1));
    // A pod that an earlier change has removed is no error either.
    let mut batch = Batch::new();
    batch
        .delete_service("db:1")
        .remove_if("db:1", Expected::Present, Cause::Expired)
        .update_health_if("db:1", Expected::Present, ServiceStatus::Healthy, at(1));
    store.commit(batch).unwrap();
    let left = observe(store, GROUPS);
    assert_eq!((left.services.len(), left.groups["g"].len()), (1, 1));
    // But later changes see the removal.
    let mut batch = Batch::new();
    batch
        .remove_if("db:2", Expected::Present, Cause::Expired)
        .delete_service("db:2");
    assert_eq!(
        rejected(store, batch, 1),
        StoreError::NotFound("db:2".into())
    );
}

pub fn health_is_updated_if(store: &impl RegistryStore) {
    set(store);
    let status = || store.get_service("db:1").unwrap().status();
    let mut batch = Batch::new();
    let other = Expected::Incarnation(revision(2));
    batch.update_health_if("db:1", other, ServiceStatus::Unhealthy, at(1));
    store.commit(batch).unwrap();
    assert_eq!(status(), ServiceStatus::Unknown);
    let mut batch = Batch::new();
    let same = Expected::Incarnation(revision(1));
    batch
        .update_health_if("db:1", same, ServiceStatus::Healthy, at(2))
        // A late check is late, with a condition as well.
        .update_health_if("db:1", same, ServiceStatus::Unhealthy, at(1));
    store.commit(batch).unwrap();
    assert_eq!(status(), ServiceStatus::Healthy);
}

pub fn nobody_saves_over_another_source(store: &impl RegistryStore) {
    let own = version("db", "own", 0);
    let etcd = of("etcd", version("db", "etcd", 0));
    store.save_service(own.clone()).unwrap();
    store.save_service(etcd.clone()).unwrap();
    let same = of("etcd", version("db", "etcd", 1));
    store.save_service(same.clone()).unwrap();
    assert_eq!(store.get_service("db:etcd"), Ok(same.clone()));
    assert_eq!(store.get_service("db:etcd").unwrap().source(), Some("etcd"));

    for (other, found) in [
        (
            of("file", version("db", "etcd", 2)),
            record(3, 2, Some("etcd")),
        ),
        (version("db", "etcd", 2), record(3, 2, Some("etcd"))),
        (of("etcd", version("db", "own", 2)), record(1, 1, None)),
    ] {
        let expected = Condition::Source {
            key: other.key().as_str().into(),
            source: other.source().map(Box::from),
        };
        let before = observe(store, &[]);
        let told = conflict(store.save_service(other.clone()).unwrap_err());
        assert_eq!((told.condition(), told.found()), (&expected, &found));
        assert_eq!(observe(store, &[]), before);
        let batch = Batch::new().save_service(other.clone()).take();
        assert_eq!(conflict(rejected(store, batch, 0)), told);
        let batch = Batch::new().register_service(other).take();
        assert_eq!(conflict(rejected(store, batch, 0)), told);
    }
    let told = Registry::new(store).register(registration("db", "etcd", &[]));
    assert!(matches!(
        told,
        Err(StoreError::BatchRejected { index: 0, .. })
    ));
    // A batch may delete it first, explicitly.
    let mut batch = Batch::new();
    batch
        .delete_service("db:etcd")
        .save_service(of("file", version("db", "etcd", 2)));
    store.commit(batch).unwrap();
    // Also within a batch.
    let mut batch = Batch::new();
    batch
        .save_service(of("etcd", pod("db", "new")))
        .save_service(of("file", pod("db", "new")));
    let told = conflict(rejected(store, batch, 1));
    assert_eq!(told.found(), &record(0, 0, Some("etcd")), "not committed");
    // A saved record does not keep the stamps that the caller has read.
    let known = store.get_service("db:etcd").unwrap();
    assert_ne!(known.revision(), revision(0));
    let mut batch = Batch::new();
    batch.save_service(known).save_service(pod("db", "etcd"));
    let told = conflict(rejected(store, batch, 1));
    assert_eq!(told.found(), &record(0, 0, Some("file")), "not committed");
    // Every source may update the health.
    report_health(store, "db:etcd", ServiceStatus::Healthy, at(1));
}

fn replace(
    store: &impl RegistryStore,
    services: Vec<ServiceInfo>,
    on_foreign: OnForeign,
) -> service_registry::Result<service_registry::Revision> {
    store.commit(
        Batch::new()
            .replace_source("etcd", services, on_foreign)
            .take(),
    )
}

pub fn a_source_is_replaced_by_what_it_has(store: &impl RegistryStore) {
    store.save_service(pod("local", "1")).unwrap();
    store.save_service(of("file", pod("file", "1"))).unwrap();
    let reject = OnForeign::Reject;
    let (one, two, three) = (pod("db", "1"), pod("db", "2"), pod("db", "3"));
    let list = vec![one.clone(), of("etcd", two.clone())];
    assert_eq!(replace(store, list.clone(), reject), Ok(revision(3)));
    assert_eq!(store.get_service("db:1"), Ok(of("etcd", one.clone())));
    assert_eq!(replace(store, list, reject), Ok(revision(3)), "equal");

    store.add_subscription("db:1", "g").unwrap();
    store.add_subscription("db:2", "g").unwrap();
    let changed = version("db", "2", 7);
    assert_eq!(
        replace(store, vec![three, changed.clone()], reject),
        Ok(revision(6))
    );
    let left = observe(store, GROUPS);
    let keys: Vec<&str> = left.services.keys().map(String::as_str).collect();
    assert_eq!(keys, ["db:2", "db:3", "file:1", "local:1"]);
    assert_eq!(left.services["db:2"], of("etcd", changed));
    assert_eq!(
        left.groups["g"],
        ["db:2"],
        "what goes takes its subscriptions"
    );
    let stamp = |key| {
        let found = store.get_service(key).unwrap();
        (found.revision().as_u64(), found.incarnation().as_u64())
    };
    assert_eq!((stamp("db:2"), stamp("db:3")), ((6, 3), (6, 6)));
    assert_eq!((stamp("local:1"), stamp("file:1")), ((1, 1), (2, 2)));

    assert_eq!(replace(store, vec![], reject), Ok(revision(7)));
    let all = store.get_all_services().unwrap();
    assert_eq!(sorted_keys(&all), ["file:1", "local:1"]);
    assert_eq!(replace(store, vec![], reject), Ok(revision(7)));
}

pub fn replacing_a_source_keeps_what_was_observed_here(store: &impl RegistryStore) {
    use ServiceStatus::{Healthy, Unhealthy};
    let reject = OnForeign::Reject;
    replace(store, vec![pod("db", "1"), pod("db", "2")], reject).unwrap();
    report_health(store, "db:1", Healthy, at(5));
    store.add_subscription("db:1", "g").unwrap();
    let before = store.revision();
    let list = vec![pod("db", "1"), pod("db", "2")];
    assert_eq!(replace(store, list, reject), Ok(before));
    // So does a list that was built again later.
    let anew = |name| pod("db", name).with_registered_at(at(7)).unwrap();
    let list = vec![anew("1"), anew("2")];
    assert_eq!(replace(store, list, reject), Ok(before));
    let found = store.get_service("db:1").unwrap();
    assert_eq!((found.registered_at(), found.status()), (at(0), Healthy));
    // A changed registration, with an older check.
    let older = version("db", "1", 1).with_health(Unhealthy, at(4)).unwrap();
    replace(store, vec![older, pod("db", "2")], reject).unwrap();
    let found = store.get_service("db:1").unwrap();
    let expected = version("db", "1", 1).with_health(Healthy, at(5)).unwrap();
    assert_eq!(found, of("etcd", expected));
    assert_eq!(store.get_subscribers("g").unwrap(), ["db:1"]);
    // The later check wins.
    let later = version("db", "1", 1).with_health(Unhealthy, at(6)).unwrap();
    replace(store, vec![later, pod("db", "2")], reject).unwrap();
    assert_eq!(store.get_service("db:1").unwrap().status(), Unhealthy);
}

pub fn a_key_of_another_source_rejects_or_is_skipped(store: &impl RegistryStore) {
    store.save_service(pod("db", "local")).unwrap();
    store.save_service(of("file", pod("db", "file"))).unwrap();
    for name in ["local", "file"] {
        let list = vec![pod("db", "1"), version("db", name, 7)];
        let mut batch = Batch::new();
        batch.replace_source("etcd", list.clone(), OnForeign::Reject);
        let told = conflict(rejected(store, batch, 0));
        let expected = Condition::Source {
            key: format!("db:{name}").into(),
            source: Some("etcd".into()),
        };
        assert_eq!(told.condition(), &expected);
        replace(store, list, OnForeign::Skip).unwrap();
        let left = observe(store, &[]).services;
        assert_eq!(left["db:local"], pod("db", "local"));
        assert_eq!(left["db:file"], of("file", pod("db", "file")));
        assert_eq!(left["db:1"], of("etcd", pod("db", "1")));
    }
}

pub fn what_is_skipped_is_told_to_who_commits(store: &impl RegistryStore) {
    let (local, file) = (pod("db", "local"), of("file", pod("db", "file")));
    store.save_service(local.clone()).unwrap();
    store.save_service(file.clone()).unwrap();
    let kept = |change: &Difference| match change {
        Difference::Skipped { kept, .. } => Some(kept.clone()),
        _ => None,
    };
    let registry = Registry::new(store);
    let replace = |names: &[&str]| {
        let list: Vec<_> = names
            .iter()
            .map(|name| registration("db", name, &[]))
            .collect();
        registry.replace_source("etcd", list, OnForeign::Skip)
    };

    let told = replace(&["local", "1", "file"]).unwrap();
    assert!(
        matches!(&told[0], Difference::Added(new) if &**new.key() == "db:1"),
        "{told:?}"
    );
    let skipped: Vec<_> = told[1..].iter().filter_map(kept).collect();
    assert_eq!(
        (told.len(), skipped),
        (3, vec![local.clone(), file.clone()])
    );

    // Everything is skipped, which is no change.
    let before = store.revision();
    let told = replace(&["local", "1"]).unwrap();
    assert_eq!(told.iter().map(kept).collect::<Vec<_>>(), [Some(local)]);
    assert_eq!(store.revision(), before);

    // A record of another source that the same batch adds, with changes before and after.
    let new = of("file", pod("db", "new"));
    let mut batch = Batch::new();
    batch
        .save_service(new.clone())
        .replace_source("etcd", vec![pod("db", "new")], OnForeign::Skip)
        .add_subscription("db:new", "g");
    let (revision, told) = store.commit_changes(batch).unwrap();
    assert_eq!(revision, before.next());
    let (skipped, changes) = told.split_last().unwrap();
    assert_eq!((changes.len(), kept(skipped)), (3, Some(new)));
    assert!(changes.iter().all(|change| kept(change).is_none()));
}

pub fn a_source_is_replaced_in_the_order_of_the_batch(store: &impl RegistryStore) {
    store.save_service(of("etcd", pod("db", "old"))).unwrap();
    // A removed record cannot be deleted again, and prevents nothing.
    let mut batch = Batch::new();
    batch
        .replace_source("etcd", vec![pod("db", "new")], OnForeign::Reject)
        .delete_service("db:old");
    let error = rejected(store, batch, 1);
    assert_eq!(error, StoreError::NotFound("db:old".into()));
    let mut batch = Batch::new();
    batch
        .save_service(of("etcd", pod("db", "brief")))
        .replace_source("etcd", vec![pod("db", "new")], OnForeign::Reject)
        .save_service(pod("db", "old"))
        .save_service(pod("db", "brief"))
        .delete_service("db:new");
    store.commit(batch).unwrap();
    let left = observe(store, &[]).services;
    assert_eq!(left.len(), 2);
    assert_eq!(left["db:old"], pod("db", "old"));
    assert_eq!(left["db:brief"], pod("db", "brief"));
    // The source owns the records that it has added.
    let mut batch = Batch::new();
    batch
        .replace_source("etcd", vec![pod("db", "new")], OnForeign::Reject)
        .save_service(version("db", "new", 1));
    conflict(rejected(store, batch, 1));
}

pub fn a_list_that_contradicts_itself_is_refused(store: &impl RegistryStore) {
    for (source, list, field, value, problem) in [
        ("", vec![], "source", "", Problem::Empty),
        (" x", vec![], "source", " x", Problem::Padded),
        (
            "etcd",
            vec![pod("db", "1"), version("db", "1", 1)],
            "services[1]",
            "db:1",
            Problem::Repeated,
        ),
        (
            "etcd",
            vec![pod("db", "1"), of("file", pod("db", "2"))],
            "services[1].source",
            "file",
            Problem::OtherSource,
        ),
    ] {
        let mut batch = Batch::new();
        batch.replace_source(source, list, OnForeign::Skip);
        let error = rejected(store, batch, 0);
        assert_refused(Err::<(), _>(error), field, value, &problem);
    }
}

/// Two writers of one source have read the same version; the later one must not overwrite the
/// newer list. The list has a record with its version.
pub fn an_older_list_of_a_source_is_refused(store: &impl RegistryStore) {
    const VERSION: &str = "source:etcd";
    let list = |of: u64| vec![version("source", "etcd", of), version("db", "1", of)];
    let publish = |of: u64, expected: Expected| {
        let mut batch = Batch::new();
        batch
            .require(VERSION, expected)
            .replace_source("etcd", list(of), OnForeign::Reject);
        batch
    };
    store.commit(publish(1, Expected::Absent)).unwrap();
    let looked_at = Expected::Revision(store.get_service(VERSION).unwrap().revision());
    store.commit(publish(3, looked_at)).unwrap();
    let told = conflict(rejected(store, publish(2, looked_at), 0));
    assert_eq!(told.found(), &record(2, 1, Some("etcd")));
    assert_eq!(
        store.get_service("db:1"),
        Ok(of("etcd", version("db", "1", 3)))
    );
}

pub fn a_registry_replaces_a_source(store: &impl RegistryStore) {
    let registry = Registry::new(store);
    let list = || [registration("db", "1", &[]), registration("db", "2", &[])];
    let replace = |list: Vec<_>| registry.replace_source("file", list, OnForeign::Reject);
    let added = replace(list().into()).unwrap();
    assert!(matches!(
        added[..],
        [Difference::Added(_), Difference::Added(_)]
    ));
    assert_eq!(store.revision(), revision(1));
    let before = observe(store, &[]);
    // Equal registrations are left alone, although they were built later.
    assert_eq!(replace(list().into()), Ok(Vec::new()));
    assert_eq!(observe(store, &[]), before);
    let replaced = replace(list()[..1].to_vec()).unwrap();
    let [Difference::Removed { last, cause, .. }] = &replaced[..] else {
        panic!("{replaced:?}");
    };
    assert_eq!((&**last.key(), *cause), ("db:2", Cause::Replaced));
    assert_eq!(registry.get_service("db:1").unwrap().source(), Some("file"));
    let bad = vec![registration("db", "3", &[]), registration("db", "", &[])];
    let field = "registrations[1].pod_name";
    assert_refused(replace(bad), field, "", &Problem::Empty);
    let batch = Batch::new()
        .remove_if("db:1", Expected::Present, Cause::Deleted)
        .take();
    assert_eq!(registry.commit(batch), Ok(revision(3)));
}

pub fn a_malformed_condition_rejects_the_batch(store: &impl RegistryStore) {
    for (key, problem) in malformed_keys() {
        let absent = Expected::Absent;
        for batch in [
            Batch::new().require(&key, absent).take(),
            Batch::new().remove_if(&key, absent, Cause::Expired).take(),
            Batch::new()
                .update_health_if(&key, absent, ServiceStatus::Healthy, at(1))
                .take(),
        ] {
            let error = rejected(store, batch, 0);
            assert_refused(Err::<(), _>(error), "key", &key, &problem);
        }
    }
}
