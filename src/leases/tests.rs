//! Tests of what a sweep examines.

use std::time::{Duration, Instant};

use super::{LeaseOptions, Leases};
use crate::model::batch::Batch;
use crate::model::record::ServiceInfo;
use crate::model::registration::ServiceRegistration;
use crate::registry::Registry;
use crate::store::MemoryStore;

const TTL: Duration = Duration::from_secs(30);
const PODS: usize = 20_000;

/// Creates leases of an empty store, with a clock that stands still.
fn leases_at(start: Instant) -> Leases<MemoryStore> {
    let registry = Registry::new(MemoryStore::new());
    Leases::with_clock(registry, LeaseOptions::default(), move || start).unwrap()
}

/// Creates such leases for a store that the test also uses itself, and removes pods at once.
fn leases_without_hold(store: &MemoryStore, start: Instant) -> Leases<&MemoryStore> {
    let options = LeaseOptions {
        hold: Duration::ZERO,
        ..LeaseOptions::default()
    };
    Leases::with_clock(Registry::new(store), options, move || start).unwrap()
}

#[test]
fn a_sweep_examines_what_is_due_and_nothing_else() {
    let start = Instant::now();
    let leases = leases_at(start);
    let mut batch = Batch::new();
    for pod in 0..PODS {
        let registration = ServiceRegistration::new("web", pod.to_string());
        batch.register_service(ServiceInfo::new(registration).unwrap());
    }
    leases.registry().commit(batch).unwrap();
    let ttl = |pod| if pod % 100 == 0 { TTL } else { 100 * TTL };
    let kept: Vec<_> = (0..PODS)
        .map(|pod| {
            let service = leases.registry().get_service(&format!("web:{pod}"));
            leases.grant(&service.unwrap(), ttl(pod)).unwrap()
        })
        .collect();
    let examined = |now| {
        let before = leases.inner.table().examined;
        let sweep = leases.sweep(now).unwrap();
        (leases.inner.table().examined - before, sweep.expired.len())
    };
    assert_eq!(examined(start), (0, 0));
    // Renewals do not add examinations, no matter how many.
    for _ in 0..10 {
        for lease in &kept {
            leases.renew(lease).unwrap();
        }
    }
    assert_eq!(examined(start + Duration::from_secs(29)), (0, 0));
    // The clock of the renewals stands still, so these leases are due.
    assert_eq!(examined(start + TTL), (PODS / 100, PODS / 100));
    assert_eq!(examined(start + TTL), (0, 0));
}

/// A renewed lease is examined once in its time to live, no matter how often a sweep runs.
#[test]
fn a_renewed_lease_is_examined_once_in_its_time() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    let (start, passed) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let now = {
        let passed = passed.clone();
        move || start + Duration::from_secs(passed.load(Relaxed))
    };
    let registry = Registry::new(MemoryStore::new());
    let leases = Leases::with_clock(registry, LeaseOptions::default(), now.clone()).unwrap();
    let lease = leases.register(ServiceRegistration::new("web", "1"), TTL);
    let lease = lease.unwrap();
    for second in 1..=300 {
        passed.store(second, Relaxed);
        leases.renew(&lease).unwrap();
        assert_eq!(leases.sweep(now()).unwrap().expired.len(), 0);
    }
    // At 30 s, at 59 or 60 s, ...
    assert!((10..=11).contains(&leases.inner.table().examined));
}

/// If the store fails, it keeps the pod. The lease is lost, and the next sweep removes the pod.
#[test]
fn a_removal_that_fails_is_tried_again() {
    use crate::store::RegistryStore;
    let start = Instant::now();
    let store = MemoryStore::new();
    let leases = leases_without_hold(&store, start);
    let registration = ServiceRegistration::new("web", "1");
    let lease = leases.register(registration, TTL).unwrap();
    // The sweep reads the state, even though `MemoryStore` provides it inside a closure.
    leases.sweep(start).unwrap();
    let inside = store.with_service("web:1", |_| leases.sweep(start + TTL));
    assert_eq!(inside, Ok(Err(crate::StoreError::Reentrant)));
    assert!(leases.renew(&lease).is_err());
    assert!(store.contains_service("web:1").unwrap());
    assert_eq!(leases.stats().expired, 0);
    let sweep = leases.sweep(start + TTL).unwrap();
    assert_eq!(sweep.expired.len(), 1);
    assert_eq!((leases.stats().leases, leases.stats().expired), (0, 1));
}

/// No matter how leases come and go, each is in the queue once.
#[test]
fn a_lease_leaves_nothing_in_the_queue() {
    let start = Instant::now();
    let leases = leases_at(start);
    let register = |pod: &str, ttl| {
        let registration = ServiceRegistration::new("web", pod);
        leases.register(registration, ttl).unwrap()
    };
    let lengths = || {
        let table = leases.inner.table();
        (table.len(), table.queue_len())
    };
    // Inserted again with the same end and another end, by itself and next to others.
    let first = register("1", TTL);
    let again = register("1", TTL);
    let _other = register("1", 2 * TTL);
    let _beside = register("2", TTL);
    assert_eq!(lengths(), (2, 2));
    leases.revoke(first).unwrap();
    leases.revoke(again).unwrap();
    assert_eq!(lengths(), (2, 2));
    // Registered again while it was withheld: the queue has only the new lease.
    assert_eq!(leases.sweep(start + TTL).unwrap().expired.len(), 1);
    assert_eq!(leases.sweep(start + 2 * TTL).unwrap().withheld.len(), 1);
    assert_eq!(lengths(), (1, 0));
    let anew = register("1", 4 * TTL);
    assert_eq!(leases.sweep(start + 2 * TTL).unwrap().withheld.len(), 0);
    assert_eq!(lengths(), (1, 1));
    leases.revoke(anew).unwrap();
    assert_eq!(lengths(), (0, 0));
}

/// The decision about a pod whose removal failed does not apply to the pod that replaced it.
#[test]
fn a_pod_that_came_after_a_removal_that_failed_stays() {
    use crate::store::RegistryStore;
    let start = Instant::now();
    let store = MemoryStore::new();
    let leases = leases_without_hold(&store, start);
    let registration = ServiceRegistration::new("web", "1");
    let _lost = leases.register(registration.clone(), TTL).unwrap();
    leases.sweep(start).unwrap();
    let inside = store.with_service("web:1", |_| leases.sweep(start + TTL));
    assert_eq!(inside, Ok(Err(crate::StoreError::Reentrant)));
    let lease = leases.register(registration, 2 * TTL).unwrap();
    assert_eq!(leases.sweep(start + TTL).unwrap().expired, []);
    assert_eq!(leases.renew(&lease), Ok(()));
    assert!(store.contains_service("web:1").unwrap());
}

/// The later end is not mistaken for the one that has passed.
#[test]
fn a_renewal_after_an_examination_shows() {
    let start = Instant::now();
    let leases = leases_at(start);
    let web = ServiceRegistration::new("web", "1");
    let lease = leases.register(web, TTL).unwrap();
    let now = lease.0.ends();
    let mut due = Vec::new();
    assert!(!leases.inner.table().take_due(now, &mut due));
    let [(slot, ended)] = &due[..] else {
        panic!("{due:?}");
    };
    assert_eq!(slot.renew(now), Ok(()));
    assert_ne!(slot.ends(), *ended);
}

/// A name without pods and recent expirations takes no memory.
#[test]
fn the_guard_forgets_names() {
    let start = Instant::now();
    let leases = leases_at(start);
    let names = || {
        leases.sweep(start).unwrap();
        leases.inner.sweeper.lock().unwrap().guard.names()
    };
    let register = |name: &str| {
        let registration = ServiceRegistration::new(name, "1");
        leases.registry().register(registration).unwrap()
    };
    assert_eq!(names(), 0);
    register("one");
    register("two");
    assert_eq!(names(), 2);
    leases.registry().unregister("two", "1").unwrap();
    assert_eq!(names(), 1);
    // Delivered as a state.
    let other = ServiceInfo::new(ServiceRegistration::new("other", "1")).unwrap();
    let mut batch = Batch::new();
    batch.replace_all(vec![other], vec![]);
    leases.registry().commit(batch).unwrap();
    assert_eq!(names(), 1);
}
