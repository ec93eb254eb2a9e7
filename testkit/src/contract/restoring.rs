//! Replacing the whole content of a store, as restoring a dump does.

use service_registry::changes::{Event, Reason, Selection, Subscription};
use service_registry::{
    Batch, Expected, Problem, RegistryStore, ServiceInfo, ServiceStatus, StoreError, StoreStats,
};

use crate::support::{GROUPS, at, fill_store, key, keys, observe, pod, revision, version};

fn side(subscriber: &str, group: &str) -> Subscription {
    Subscription::new(key(subscriber), group)
}

fn all(services: Vec<ServiceInfo>, subscriptions: Vec<Subscription>) -> Batch {
    Batch::new().replace_all(services, subscriptions).take()
}

/// Returns records of two sources and of none, healthy, draining and unknown, and subscribers that
/// are not registered, in no alphabetical order.
fn others() -> (Vec<ServiceInfo>, Vec<Subscription>) {
    let draining = pod("web", "pod-1").with_health(ServiceStatus::Draining, at(7));
    let services = vec![
        // A known key, now of another source.
        version("db", "pod-1", 3).with_source("etcd").unwrap(),
        draining.unwrap().with_source("file").unwrap(),
        pod("api", "pod-1"),
    ];
    let subscriptions = vec![
        side("web:pod-1", "new"),
        side("nobody:1", "new"),
        side("db:pod-1", "new"),
        // A known subscription.
        side("db:pod-1", "g"),
    ];
    (services, subscriptions)
}

pub fn what_is_replaced_is_what_was_given(store: &impl RegistryStore) {
    fill_store(store);
    let theirs = pod("cache", "pod-1").with_source("kubernetes").unwrap();
    store.save_service(theirs).unwrap();
    let (services, subscriptions) = others();
    let at = store.commit(all(services.clone(), subscriptions)).unwrap();
    let state = observe(store, GROUPS);
    let names: Vec<&str> = state.services.keys().map(String::as_str).collect();
    assert_eq!(names, ["api:pod-1", "db:pod-1", "web:pod-1"]);
    for service in services {
        let found = store.get_service(service.key()).unwrap();
        assert_eq!(found, service);
        assert_eq!((found.revision(), found.incarnation()), (at, at));
    }
    let groups: Vec<(&str, &[String])> = state
        .groups
        .iter()
        .map(|(group, of)| (&**group, &**of))
        .collect();
    let new = ["web:pod-1", "nobody:1", "db:pod-1"].map(String::from);
    let g = ["db:pod-1".to_string()];
    assert_eq!(groups, [("g", &g[..]), ("new", &new[..])]);
    // The store continues from there.
    store.take_service("db:pod-1").unwrap();
    assert_eq!(
        store.get_subscribers("new"),
        Ok(vec![key("web:pod-1"), key("nobody:1")])
    );
    assert_eq!(keys(&store.get_services_by_name("db").unwrap()), [""; 0]);
}

pub fn replacing_everything_is_one_commit(store: &impl RegistryStore) {
    assert_eq!(store.commit(all(vec![], vec![])), Ok(revision(0)));
    let (services, subscriptions) = others();
    let batch = all(services, subscriptions);
    assert_eq!(store.commit(batch.clone()), Ok(revision(1)));
    // Every record is registered anew.
    assert_eq!(store.commit(batch), Ok(revision(2)));
    let found = store.get_service("api:pod-1").unwrap();
    assert_eq!(found.incarnation(), revision(2));
    assert_eq!(store.commit(all(vec![], vec![])), Ok(revision(3)));
    assert_eq!(store.stats(), Ok(StoreStats::default()));
    assert_eq!(store.commit(all(vec![], vec![])), Ok(revision(3)));
}

pub fn what_everything_cannot_be_replaced_by_is_refused(store: &impl RegistryStore) {
    fill_store(store);
    let before = observe(store, GROUPS);
    let twice = vec![pod("a", "1"), pod("a", "2"), version("a", "1", 2)];
    let no_group = vec![side("a:1", "g"), side("a:1", "a:1")];
    for (batch, field, problem) in [
        (all(twice, vec![]), "services[2]", Problem::Repeated),
        (
            all(vec![pod("a", "1")], no_group),
            "subscriptions[1].group",
            Problem::Colon { at: 1 },
        ),
    ] {
        match store.commit(batch) {
            Err(StoreError::BatchRejected {
                index: 0,
                operation: "replace_all",
                source,
            }) => match *source {
                StoreError::Invalid(invalid) => {
                    assert_eq!((invalid.field(), invalid.problem()), (field, &problem));
                }
                other => panic!("{other}"),
            },
            other => panic!("{other:?}"),
        }
        assert_eq!(observe(store, GROUPS), before);
    }
}

pub fn everything_is_replaced_in_the_order_of_the_batch(store: &impl RegistryStore) {
    fill_store(store);
    let mut batch = Batch::new();
    batch
        .save_service(pod("goes", "1"))
        .require("db:pod-1", Expected::Present)
        .replace_all(vec![pod("stays", "1"), pod("stays", "2")], vec![])
        .delete_service("stays:2")
        .add_subscription("stays:1", "g")
        // It existed before the batch, but `replace_all` has removed it, so this does nothing.
        .remove_if(
            "db:pod-1",
            Expected::Present,
            service_registry::Cause::Expired,
        );
    store.commit(batch).unwrap();
    assert_eq!(keys(&store.get_all_services().unwrap()), ["stays:1"]);
    assert_eq!(store.get_subscribers("g"), Ok(vec![key("stays:1")]));
    let mut gone = all(vec![], vec![]);
    gone.delete_service("stays:1");
    let refused = store.commit(gone);
    assert!(
        matches!(refused, Err(StoreError::BatchRejected { index: 1, .. })),
        "{refused:?}"
    );
    assert!(store.contains_service("stays:1").unwrap());
}

pub fn a_watch_is_told_the_state_that_replaces_everything<S: RegistryStore>(make: impl Fn() -> S) {
    let store = make();
    fill_store(&store);
    let selections = [
        Selection::All,
        Selection::service("web"),
        Selection::group("new"),
        // Empty before and after.
        Selection::service("elsewhere"),
    ];
    let mut watches = selections.map(|selection| store.watch(selection).unwrap());
    for watch in &mut watches {
        assert!(matches!(watch.recv(), Ok(Event::State { .. })));
    }
    let cursors = watches
        .each_ref()
        .map(service_registry::changes::Watch::cursor);
    let (services, subscriptions) = others();
    let at = store.commit(all(services, subscriptions)).unwrap();
    let told = [(3, 4), (1, 0), (0, 3), (0, 0)];
    let expect = |event: Event, (records, sides): (usize, usize)| match event {
        Event::State {
            revision,
            services,
            subscriptions,
            reason: Reason::Restored,
            ..
        } => {
            assert_eq!(revision, at);
            assert_eq!((services.len(), subscriptions.len()), (records, sides));
        }
        other => panic!("{other:?}"),
    };
    for (watch, told) in watches.iter_mut().zip(told) {
        expect(watch.try_recv().unwrap().expect("a state"), told);
        assert_eq!(watch.try_recv(), Ok(None));
    }
    for ((watch, cursor), told) in watches.iter().zip(cursors).zip(told) {
        let again = store.watch_from(watch.selection().clone(), cursor);
        expect(again.unwrap().recv().unwrap(), told);
    }
    // Later changes arrive as usual, also after a later cursor.
    let cursor = watches[0].cursor();
    store.save_service(pod("web", "pod-2")).unwrap();
    let mut again = store.watch_from(Selection::All, cursor).unwrap();
    for watch in [&mut again].into_iter().chain(&mut watches[..2]) {
        assert!(matches!(watch.recv(), Ok(Event::Changes { .. })));
    }
    assert_eq!(watches[3].try_recv(), Ok(None));
}
