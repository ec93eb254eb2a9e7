//! Leases whose pods others register, remove or replace between two steps of a lease operation.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use service_registry::changes::Difference;
use service_registry::leases::{LeaseLost, LeaseOptions};
use service_registry::{
    Batch, Registry, RegistryStore, Result, Revision, ServiceInfo, ServiceRegistration,
    ServiceStatus, delegate_store,
};

use crate::leases::{Clock, unguarded};
use crate::support::{pod, registration, sorted_keys};

const TTL: Duration = Duration::from_secs(30);

type OneShot<'a> = RefCell<Option<Box<dyn FnOnce() + 'a>>>;

/// A store that runs a closure once, before or after a commit, as another thread might.
struct InterruptedStore<'a, S> {
    store: &'a S,
    /// Runs before the next `commit_changes`: a sweep or a `revoke` has decided, but not committed.
    before: OneShot<'a>,
    /// Runs after the next `commit`: a pod is registered, and has no lease yet.
    after: OneShot<'a>,
}

fn call(once: &OneShot<'_>) {
    // Taken out before the call, which calls the store again.
    let work = once.borrow_mut().take();
    if let Some(work) = work {
        work();
    }
}

impl<'a, S: RegistryStore> InterruptedStore<'a, S> {
    fn new(store: &'a S) -> Rc<InterruptedStore<'a, S>> {
        Rc::new(InterruptedStore {
            store,
            before: RefCell::default(),
            after: RefCell::default(),
        })
    }

    fn before(&self, work: impl FnOnce() + 'a) {
        *self.before.borrow_mut() = Some(Box::new(work));
    }

    fn after(&self, work: impl FnOnce() + 'a) {
        *self.after.borrow_mut() = Some(Box::new(work));
    }
}

impl<S: RegistryStore> RegistryStore for InterruptedStore<'_, S> {
    fn commit(&self, batch: Batch) -> Result<Revision> {
        let answer = self.store.commit(batch);
        call(&self.after);
        answer
    }

    fn commit_changes(&self, batch: Batch) -> Result<(Revision, Vec<Difference>)> {
        call(&self.before);
        self.store.commit_changes(batch)
    }

    delegate_store!(self => self.store; except commit, commit_changes);
}

fn web(pod: &str) -> ServiceRegistration {
    registration("web", pod, &[])
}

/// Returns options under which half of all pods may expire, and half of a name.
fn guarded() -> LeaseOptions {
    LeaseOptions::default()
}

/// Registers `web:1` anew without a lease, and returns its record.
fn anew(store: &impl RegistryStore) -> ServiceInfo {
    let registry = Registry::new(store);
    registry.register(web("1")).unwrap();
    registry
        .update_health_status("web:1", ServiceStatus::Healthy)
        .unwrap();
    registry.get_service("web:1").unwrap()
}

/// A sweep or a `revoke` has decided about the earlier incarnation of the pod.
pub fn who_registers_anew_in_between_is_let_alone(store: &impl RegistryStore) {
    let overtaken = InterruptedStore::new(store);
    for options in [unguarded(), guarded()] {
        let clock = Clock::new();
        let leases = clock.leases(overtaken.clone(), options);
        let lease = leases.register(web("1"), TTL).unwrap();
        // A status for the old pod would not be late for the new one.
        let ahead = SystemTime::now() + Duration::from_secs(3_600);
        let healthy = ServiceStatus::Healthy;
        store.update_health_status("web:1", healthy, ahead).unwrap();
        clock.pass(TTL);
        overtaken.before(|| drop(anew(store)));
        let sweep = leases.sweep(clock.now()).unwrap();
        assert_eq!(sweep.expired, []);
        let found = store.get_service("web:1").unwrap();
        assert!(found.incarnation() > lease.incarnation());
        assert_eq!(found.status(), healthy);
        // The next sweep knows of it.
        let sweep = leases.sweep(clock.now()).unwrap();
        assert_eq!((sweep.expired, sweep.withheld), (vec![], vec![]));
        assert_eq!(leases.renew(&lease), Err(LeaseLost));
        assert_eq!(store.get_service("web:1"), Ok(found));

        let lease = leases.register(web("1"), TTL).unwrap();
        overtaken.before(|| drop(anew(store)));
        assert_eq!(leases.revoke(lease), Ok(None));
        assert!(store.contains_service("web:1").unwrap());
        assert_eq!(leases.stats().leases, 0);
    }
}

/// No later sweep will receive its removal.
pub fn who_is_gone_before_its_lease_comes_has_lost_it(store: &impl RegistryStore) {
    let overtaken = InterruptedStore::new(store);
    let clock = Clock::new();
    let leases = clock.leases(overtaken.clone(), unguarded());
    // The first sweep receives the state, later ones the changes.
    for round in 0..3 {
        let (own, now) = (leases.clone(), clock.now());
        overtaken.after(move || {
            if round == 2 {
                anew(store);
            } else {
                store.take_service("web:1").unwrap();
            }
            own.sweep(now).unwrap();
        });
        let lease = leases.register(web("1"), TTL).unwrap();
        assert_eq!(leases.renew(&lease), Err(LeaseLost), "round {round}");
        assert_eq!(leases.stats().leases, 0);
    }
}

/// If two threads register one after the other, the first may add its lease later.
pub fn the_lease_of_a_later_registration_stays(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, unguarded());
    let first = leases.registry().register(web("1")).unwrap();
    let second = leases.registry().register(web("1")).unwrap();
    let kept = leases.grant(&second, TTL).unwrap();
    let late = leases.grant(&first, TTL).unwrap();
    assert_eq!(leases.renew(&late), Err(LeaseLost));
    assert_eq!(leases.renew(&kept), Ok(()));
    assert_eq!(leases.stats().leases, 1);
}

/// Pods that a batch has replaced do not count as expired; those that expired before still count.
pub fn the_guard_counts_what_replaced_everything(store: &impl RegistryStore) {
    let by_name = LeaseOptions {
        percent_of_all: 100,
        ..guarded()
    };
    let by_all = LeaseOptions {
        percent_of_name: 100,
        ..guarded()
    };
    for options in [by_name, by_all] {
        store.clear().unwrap();
        let clock = Clock::new();
        let leases = clock.leases(store, options);
        for (pod, ttl) in [("1", TTL), ("2", TTL), ("3", 2 * TTL), ("4", 2 * TTL)] {
            let _kept = leases.register(web(pod), ttl).unwrap();
        }
        clock.pass(TTL);
        assert_eq!(leases.sweep(clock.now()).unwrap().expired.len(), 2);

        let others = ["a", "b", "c", "d"];
        let records = others.map(|name| pod("web", name)).into();
        store
            .commit(Batch::new().replace_all(records, vec![]).take())
            .unwrap();
        let ttls = [TTL / 3, TTL / 2, 10 * TTL, 10 * TTL];
        for (name, ttl) in others.into_iter().zip(ttls) {
            let found = store.get_service(&format!("web:{name}")).unwrap();
            let _kept = leases.grant(&found, ttl).unwrap();
        }
        // Three of six are not more than half ...
        clock.pass(TTL / 3);
        let sweep = leases.sweep(clock.now()).unwrap();
        assert_eq!(sorted_keys(&sweep.expired), ["web:a"]);
        // ... and the fourth is one too many.
        clock.pass(TTL / 3);
        let sweep = leases.sweep(clock.now()).unwrap();
        assert_eq!((sweep.expired, sweep.withheld.len()), (vec![], 1));
        // A minute later the earlier ones no longer count, and it expires.
        clock.pass(2 * TTL);
        let sweep = leases.sweep(clock.now()).unwrap();
        assert_eq!(sorted_keys(&sweep.expired), ["web:b"]);
        assert_eq!(leases.stats().leases, 2);
    }
}

/// A withheld pod is marked once. After that its checks decide its status, whether or not it
/// renews.
pub fn what_a_check_finds_of_a_withheld_pod_stands(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, guarded());
    let _silent = leases.register(web("1"), TTL).unwrap();
    let status = |found| {
        let registry = leases.registry();
        registry.update_health_status("web:1", found).unwrap();
        leases.sweep(clock.now()).unwrap();
        store.get_service("web:1").unwrap().status()
    };
    let healthy = ServiceStatus::Healthy;
    assert_eq!(status(healthy), healthy);
    clock.pass(TTL);
    assert_eq!(status(healthy), ServiceStatus::Unknown);
    assert_eq!(leases.stats().withheld, 1);
    assert_eq!(status(healthy), healthy);
    assert_eq!(leases.stats().withheld, 1);
}
