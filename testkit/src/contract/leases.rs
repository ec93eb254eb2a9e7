//! `Leases` over every store, with a clock that the tests set.

// The test sets the clock.
#![allow(clippy::unchecked_time_subtraction)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime};

use service_registry::changes::{Difference, Event, Selection};
use service_registry::leases::{Lease, LeaseLost, LeaseOptions, Leases, Sweep};
use service_registry::{
    Batch, Cause, MemoryStore, Registry, RegistryStore, ServiceInfo, ServiceRegistration,
    ServiceStatus, StoreError, StoreStats,
};

use crate::support::{keys, registration, sorted_keys};

pub const SECOND: Duration = Duration::from_secs(1);
pub const NANO: Duration = Duration::from_nanos(1);
pub const TTL: Duration = Duration::from_secs(30);
pub const HOLD: Duration = Duration::from_secs(600);
pub const WINDOW: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// A clock that only moves when the test sets it.
#[derive(Clone)]
pub struct Clock {
    begin: Instant,
    passed: Arc<AtomicU64>,
}

impl Clock {
    pub fn new() -> Clock {
        Clock {
            begin: Instant::now(),
            passed: Arc::default(),
        }
    }

    pub fn now(&self) -> Instant {
        self.begin + Duration::from_nanos(self.passed.load(SeqCst))
    }

    pub fn pass(&self, time: Duration) {
        let nanos = time.as_nanos().try_into().unwrap();
        self.passed.fetch_add(nanos, SeqCst);
    }

    pub fn leases<S: RegistryStore>(&self, store: S, options: LeaseOptions) -> Leases<S> {
        let clock = self.clone();
        Leases::with_clock(Registry::new(store), options, move || clock.now()).unwrap()
    }
}

/// Returns options without a guard.
pub fn unguarded() -> LeaseOptions {
    LeaseOptions {
        hold: Duration::ZERO,
        ..LeaseOptions::default()
    }
}

pub fn guarded() -> LeaseOptions {
    LeaseOptions {
        percent_of_name: 50,
        percent_of_all: 100,
        window: WINDOW,
        hold: HOLD,
    }
}

pub fn held(sweep: &Sweep) -> Vec<&str> {
    let mut held: Vec<&str> = sweep.withheld.iter().map(|key| &**key).collect();
    held.sort_unstable();
    held
}

pub fn web(pod: &str) -> ServiceRegistration {
    registration("web", pod, &[])
}

/// Registers `web:0`, `web:1` and so on, all at the same moment.
pub fn register<S: RegistryStore>(leases: &Leases<S>, pods: usize) -> Vec<Lease> {
    let register = |pod: usize| leases.register(web(&pod.to_string()), TTL).unwrap();
    (0..pods).map(register).collect()
}

pub fn pods(store: &impl RegistryStore) -> usize {
    store.stats().unwrap().services
}

pub fn status(store: &impl RegistryStore, key: &str) -> ServiceStatus {
    store.get_service(key).unwrap().status()
}

pub fn gone(sweep: &Sweep) -> Vec<&str> {
    sorted_keys(&sweep.expired)
}

pub fn a_lease_ends_after_its_time_and_not_before(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, unguarded());
    let lease = leases.register(web("1"), TTL).unwrap();
    assert_eq!((lease.key(), lease.ttl()), (&"web:1".parse().unwrap(), TTL));
    clock.pass(TTL - NANO);
    assert_eq!(leases.sweep(clock.now()).unwrap().expired, []);
    assert!(store.contains_service("web:1").unwrap());
    // Exactly at the end: `<` instead of `<=` would keep it.
    clock.pass(NANO);
    let sweep = leases.sweep(clock.now()).unwrap();
    assert_eq!(gone(&sweep), ["web:1"]);
    assert_eq!((sweep.withheld.len(), sweep.next), (0, None));
    assert!(!store.contains_service("web:1").unwrap());
    assert_eq!(leases.renew(&lease), Err(LeaseLost));
    assert_eq!(leases.sweep(clock.now()).unwrap(), Sweep::default());
    assert_eq!((leases.stats().leases, leases.stats().expired), (0, 1));
}

/// Guards against a lease that ends after twice its time, because each look extends it.
pub fn a_renewed_lease_ends_a_time_after_its_last_renewal(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, unguarded());
    let lease = leases.register(web("1"), TTL).unwrap();
    clock.pass(TTL - SECOND);
    leases.renew(&lease).unwrap();
    let end = clock.now() + TTL;
    while clock.now() + SECOND < end {
        clock.pass(SECOND);
        assert_eq!(gone(&leases.sweep(clock.now()).unwrap()), [""; 0]);
    }
    let sweep = leases.sweep(end - NANO).unwrap();
    assert_eq!((gone(&sweep).len(), sweep.next), (0, Some(end)));
    assert_eq!(gone(&leases.sweep(end).unwrap()), ["web:1"]);
}

pub fn a_renewal_is_nothing_that_the_store_notices(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, unguarded());
    let lease = leases.register(web("1"), TTL).unwrap();
    let before = (store.revision(), store.get_service("web:1").unwrap());
    let mut watch = store.watch(Selection::All).unwrap();
    watch.recv().unwrap();
    for _ in 0..100 {
        clock.pass(SECOND);
        leases.renew(&lease).unwrap();
        leases.sweep(clock.now()).unwrap();
    }
    let after = (store.revision(), store.get_service("web:1").unwrap());
    assert_eq!(before, after);
    assert_eq!(watch.try_recv(), Ok(None));
}

pub fn a_renewal_comes_before_a_sweep_or_too_late(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, unguarded());
    let lease = leases.register(web("1"), TTL).unwrap();
    // Late, but no sweep has seen it yet.
    clock.pass(TTL);
    assert_eq!(leases.renew(&lease), Ok(()));
    assert_eq!(leases.sweep(clock.now()).unwrap().expired, []);
    clock.pass(TTL);
    assert_eq!(gone(&leases.sweep(clock.now()).unwrap()), ["web:1"]);
    assert_eq!(leases.renew(&lease), Err(LeaseLost));
    // A sweep with an earlier time does not bring it back either.
    clock.pass(TTL);
    assert_eq!(leases.renew(&lease), Err(LeaseLost));
    leases.sweep(clock.now() - TTL).unwrap();
    assert!(!store.contains_service("web:1").unwrap());
}

pub fn an_old_incarnation_does_nothing_to_its_successor(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, unguarded());
    let old = leases.register(web("1"), TTL).unwrap();
    let kept = old.clone();
    clock.pass(TTL - SECOND);
    let new = leases.register(web("1"), TTL).unwrap();
    assert!(old.incarnation() < new.incarnation());
    assert_eq!(leases.renew(&old), Err(LeaseLost));
    // Its time has come, but the pod has a new incarnation.
    clock.pass(SECOND);
    assert_eq!(leases.sweep(clock.now()).unwrap().expired, []);
    assert_eq!(leases.revoke(old), Ok(None));
    assert!(store.contains_service("web:1").unwrap());
    assert_eq!(leases.renew(&new), Ok(()));
    // A late renewal of the old lease postpones nothing.
    clock.pass(TTL - NANO);
    assert_eq!(leases.renew(&kept), Err(LeaseLost));
    assert_eq!(leases.sweep(clock.now()).unwrap().expired, []);
    clock.pass(NANO);
    assert_eq!(gone(&leases.sweep(clock.now()).unwrap()), ["web:1"]);
    assert_eq!(leases.stats().leases, 0);
}

pub fn the_shortest_and_the_longest_times_to_live_work(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, unguarded());
    let none = leases.register(web("none"), Duration::ZERO).unwrap();
    let nano = leases.register(web("nano"), NANO).unwrap();
    let ever = leases.register(web("ever"), Duration::MAX).unwrap();
    let long = leases.register(web("long"), 1_000_000 * HOUR).unwrap();
    assert_eq!(pods(store), 4);
    assert_eq!(gone(&leases.sweep(clock.now()).unwrap()), ["web:none"]);
    clock.pass(NANO);
    assert_eq!(gone(&leases.sweep(clock.now()).unwrap()), ["web:nano"]);
    assert_eq!(leases.renew(&none), Err(LeaseLost));
    assert_eq!(leases.renew(&nano), Err(LeaseLost));
    leases.renew(&ever).unwrap();
    let end = clock.now() + 1_000_000 * HOUR - NANO;
    assert_eq!(leases.sweep(end - NANO).unwrap().next, Some(end));
    clock.pass(2_000_000 * HOUR);
    let sweep = leases.sweep(clock.now()).unwrap();
    assert_eq!((gone(&sweep), sweep.next), (vec!["web:long"], None));
    assert_eq!(leases.renew(&long), Err(LeaseLost));
    // Beyond the range of the clock.
    let end = clock.now().checked_add(Duration::from_secs(1 << 62));
    if let Some(end) = end {
        assert_eq!(leases.sweep(end).unwrap().expired, []);
    }
    assert_eq!(leases.renew(&ever), Ok(()));
    assert_eq!(leases.revoke(ever).unwrap().unwrap().key(), "web:ever");
    // A time before the first lease.
    let sweep = leases.sweep(clock.begin - SECOND).unwrap();
    assert_eq!(sweep, Sweep::default());
}

/// Only records have the time of the system, and sweeps do not read it.
pub fn a_wall_clock_that_jumps_moves_no_lease(store: &impl RegistryStore) {
    let now = SystemTime::now();
    for jumped in [now - HOUR, now + HOUR] {
        store.clear().unwrap();
        let clock = Clock::new();
        let leases = clock.leases(store, guarded());
        let service = ServiceInfo::new(web("1")).unwrap();
        let service = service.with_registered_at(jumped).unwrap();
        store
            .commit(Batch::new().register_service(service).take())
            .unwrap();
        let service = store.get_service("web:1").unwrap();
        let lease = leases.grant(&service, TTL).unwrap();
        store
            .update_health_status("web:1", ServiceStatus::Healthy, jumped)
            .unwrap();
        clock.pass(TTL - NANO);
        assert_eq!(held(&leases.sweep(clock.now()).unwrap()), [""; 0]);
        clock.pass(NANO);
        // Withheld, as the last pod of its name: the status shows it, whatever the clock says ...
        assert_eq!(held(&leases.sweep(clock.now()).unwrap()), ["web:1"]);
        assert_eq!(status(store, "web:1"), ServiceStatus::Unknown);
        // ... and the next check applies as well.
        leases.renew(&lease).unwrap();
        let checked = jumped + NANO;
        store
            .update_health_status("web:1", ServiceStatus::Healthy, checked)
            .unwrap();
        assert_eq!(status(store, "web:1"), ServiceStatus::Healthy);
        clock.pass(TTL);
        leases.sweep(clock.now()).unwrap();
        clock.pass(HOLD - NANO);
        assert_eq!(gone(&leases.sweep(clock.now()).unwrap()), [""; 0]);
        clock.pass(NANO);
        assert_eq!(gone(&leases.sweep(clock.now()).unwrap()), ["web:1"]);
    }
}

pub fn what_expires_goes_in_one_commit(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, unguarded());
    for pod in ["1", "2", "3"] {
        let _ = leases.register(registration("web", pod, &["db"]), TTL);
    }
    store.add_subscription("web:1", "cache").unwrap();
    leases.registry().register(web("unleased")).unwrap();
    let before = store.revision();
    let mut watch = store.watch(Selection::service("web")).unwrap();
    watch.recv().unwrap();
    clock.pass(TTL);
    let sweep = leases.sweep(clock.now()).unwrap();
    assert_eq!(gone(&sweep), ["web:1", "web:2", "web:3"]);
    assert_eq!(store.revision(), before.next());
    assert_eq!(store.stats(), Ok(StoreStats::new(1, 0)));
    let Ok(Some(Event::Changes { changes, .. })) = watch.try_recv_commit() else {
        panic!("a watch tells of it");
    };
    assert_eq!(changes.len(), 3);
    for change in changes {
        assert!(matches!(
            change,
            Difference::Removed {
                cause: Cause::Expired,
                ..
            }
        ));
    }
}

pub fn a_pod_that_others_removed_has_lost_its_lease(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, unguarded());
    let registry = leases.registry();
    // The first sweep, which reads everything, finds it, and so does a later one.
    for round in 0..3 {
        let removed = leases.register(web("removed"), TTL).unwrap();
        let anew = leases.register(web("anew"), TTL).unwrap();
        let both = leases.register(web("both"), TTL).unwrap();
        let kept = leases.register(web("kept"), TTL).unwrap();
        if round == 1 {
            leases.sweep(clock.now()).unwrap();
        }
        registry.unregister("web", "removed").unwrap();
        registry.register(web("anew")).unwrap();
        registry.unregister("web", "both").unwrap();
        registry.register(web("both")).unwrap();
        registry
            .update_health_status("web:kept", ServiceStatus::Healthy)
            .unwrap();
        leases.sweep(clock.now()).unwrap();
        for lease in [&removed, &anew, &both] {
            assert_eq!(leases.renew(lease), Err(LeaseLost), "{lease:?}");
        }
        assert_eq!(leases.renew(&kept), Ok(()));
        assert_eq!(leases.stats().leases, 1);
        // Pods that others have registered have no lease, and stay.
        clock.pass(TTL);
        assert_eq!(gone(&leases.sweep(clock.now()).unwrap()), ["web:kept"]);
        assert_eq!(pods(store), 2);
        if round == 2 {
            let lease = leases.register(web("anew"), TTL).unwrap();
            store.clear().unwrap();
            leases.sweep(clock.now()).unwrap();
            assert_eq!(leases.renew(&lease), Err(LeaseLost));
        }
    }
}

pub fn a_registered_pod_is_given_a_lease(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, unguarded());
    let first = leases.registry().register(web("1")).unwrap();
    let lease = leases.grant(&first, TTL).unwrap();
    leases.sweep(clock.now()).unwrap();
    assert_eq!(leases.renew(&lease), Ok(()));
    let again = leases.grant(&first, 2 * TTL).unwrap();
    assert_eq!(leases.renew(&lease), Err(LeaseLost));
    assert_eq!(leases.renew(&again), Ok(()));
    assert_eq!(leases.find("web:1").unwrap().ttl(), 2 * TTL);
    assert_eq!(leases.stats().leases, 1);
    clock.pass(TTL);
    assert_eq!(leases.sweep(clock.now()).unwrap().expired, []);
    // A removed pod gets no lease, and neither does an earlier incarnation.
    let second = leases.registry().register(web("1")).unwrap();
    let late = leases.grant(&first, TTL).unwrap();
    assert_eq!(leases.renew(&late), Err(LeaseLost));
    assert!(leases.grant(&second, TTL).is_ok());
    leases.registry().unregister("web", "1").unwrap();
    let none = leases.grant(&second, TTL).unwrap();
    assert_eq!(leases.renew(&none), Err(LeaseLost));
    assert!(leases.find("web:1").is_none());
    assert_eq!(leases.stats().leases, 0);
}

/// A record of an earlier store may have any incarnation.
pub fn a_record_of_another_life_takes_no_lease(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, unguarded());
    let before = Registry::new(MemoryStore::new());
    for pod in 0..50 {
        before.register(web(&pod.to_string())).unwrap();
    }
    let of_before = before.register(web("1")).unwrap();
    let lease = leases.register(web("1"), TTL).unwrap();
    assert!(of_before.incarnation() > lease.incarnation());
    let late = leases.grant(&of_before, TTL).unwrap();
    assert_eq!(leases.renew(&late), Err(LeaseLost));
    assert_eq!(leases.renew(&lease), Ok(()));
    assert_eq!(leases.stats().leases, 1);
    clock.pass(TTL);
    assert_eq!(gone(&leases.sweep(clock.now()).unwrap()), ["web:1"]);
}

pub fn a_restored_pod_is_granted_its_whole_time(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, unguarded());
    let lease = leases.register(web("1"), TTL).unwrap();
    clock.pass(TTL - SECOND);
    let mut batch = Batch::new();
    batch.replace_all(store.get_all_services().unwrap(), Vec::new());
    store.commit(batch).unwrap();
    // A restored record has a new incarnation, and no lease.
    assert_eq!(leases.sweep(clock.now()).unwrap().expired, []);
    assert_eq!(leases.renew(&lease), Err(LeaseLost));
    assert_eq!(leases.stats().leases, 0);
    for service in store.get_all_services().unwrap() {
        let granted = leases.grant(&service, TTL).unwrap();
        assert_eq!(leases.renew(&granted), Ok(()));
    }
    clock.pass(TTL - NANO);
    assert_eq!(leases.sweep(clock.now()).unwrap().expired, []);
    clock.pass(NANO);
    assert_eq!(gone(&leases.sweep(clock.now()).unwrap()), ["web:1"]);
}

pub fn leases_of_others_are_refused(store: &impl RegistryStore) {
    let clock = Clock::new();
    let (one, other) = (
        clock.leases(store, unguarded()),
        clock.leases(store, unguarded()),
    );
    let lease = one.register(web("1"), TTL).unwrap();
    assert_eq!(other.renew(&lease), Err(LeaseLost));
    assert_eq!(other.revoke(lease.clone()), Ok(None));
    assert_eq!(one.clone().renew(&lease), Ok(()));
    assert_eq!(keys(&[one.revoke(lease).unwrap().unwrap()]), ["web:1"]);
}

pub fn a_revoked_lease_is_lost(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, unguarded());
    let lease = leases
        .register(registration("web", "1", &["db"]), TTL)
        .unwrap();
    let mut watch = store.watch(Selection::pod("web:1")).unwrap();
    watch.recv().unwrap();
    let last = store.get_service("web:1").unwrap();
    assert_eq!(leases.revoke(lease.clone()), Ok(Some(last.clone())));
    assert_eq!(leases.renew(&lease), Err(LeaseLost));
    assert_eq!(leases.revoke(lease), Ok(None));
    assert_eq!(store.stats(), Ok(StoreStats::default()));
    let Ok(Some(Event::Changes { changes, .. })) = watch.try_recv() else {
        panic!("a watch tells of it");
    };
    assert_eq!(changes, [Difference::removed(last, Cause::Deleted)]);
}

pub fn a_refused_registration_has_no_lease(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, unguarded());
    assert!(leases.register(registration("", "1", &[]), TTL).is_err());
    assert_eq!(leases.stats().leases, 0);
    let lease = leases.register(web("1"), TTL).unwrap();
    store.close().unwrap();
    let closed = Some(StoreError::Closed);
    assert_eq!(leases.register(web("2"), TTL).err(), closed);
    assert_eq!(leases.sweep(clock.now()).err(), closed);
    assert_eq!(leases.revoke(lease.clone()).err(), closed);
    let new = Leases::new(Registry::new(store), unguarded());
    assert_eq!(new.err(), closed);
    // The lease itself does not notice.
    assert_eq!(leases.renew(&lease), Ok(()));
}
