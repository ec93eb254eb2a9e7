//! Loom models of the guarantees of leases to threads, and broken twins that loom rejects.

use std::sync::Arc;
#[cfg(feature = "thread-safe")]
use std::time::{Duration, Instant};

use loom::thread;

use super::LeaseLost;
use super::slot::Slot;
#[cfg(feature = "thread-safe")]
use super::{Lease, LeaseOptions, Leases};
use crate::model::key::ServiceKey;
use crate::model::revision::Revision;
#[cfg(feature = "thread-safe")]
use crate::{Registry, RegistryStore, ServiceRegistration, ThreadSafeMemoryStore as Store};

const TTL: u64 = 10;

type Renew = fn(&Slot, u64) -> Result<(), LeaseLost>;
type Expire = fn(&Slot, u64) -> bool;

/// A renewal meets a sweep that finds the lease due. One of them wins, and a second renewal
/// gets the same result as the first or a later one in their order.
fn renewal_against_sweep(renew: Renew, expire: Expire) {
    loom::model(move || {
        let key = ServiceKey::new("web", "1").unwrap();
        let slot = Arc::new(Slot::new(key, Revision::from(1), 0, TTL, 0));
        let renewing = thread::spawn({
            let slot = slot.clone();
            move || [renew(&slot, TTL), renew(&slot, TTL + 1)]
        });
        let has_expired = expire(&slot, TTL);
        let renewals = renewing.join().unwrap();
        assert!(renewals[0].is_ok() || renewals[1].is_err(), "both have won");
        assert_eq!(slot.is_lost(), has_expired, "both have won");
        assert_eq!(renewals[1].is_err(), has_expired, "both have won");
    });
}

#[test]
fn models_of_a_renewal_and_a_sweep_one_wins() {
    renewal_against_sweep(Slot::renew, Slot::expire);
}

#[test]
#[should_panic(expected = "both have won")]
fn models_twin_a_sweep_that_checks_and_then_ends_the_lease_is_rejected() {
    renewal_against_sweep(Slot::renew, Slot::expire_in_two_steps);
}

#[test]
#[should_panic(expected = "both have won")]
fn models_twin_a_renewal_that_checks_and_then_stores_is_rejected() {
    renewal_against_sweep(Slot::renew_in_two_steps, Slot::expire);
}

/// A pod is registered with a lease while another thread removes it and a sweep processes the
/// removal. After the next sweep the lease is valid exactly if the pod is registered.
#[cfg(feature = "thread-safe")]
fn registering_against_removal(register: fn(&Leases<&'static Store>) -> Lease) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(move || {
        let start = Instant::now();
        // A failing model cannot drop the store.
        let store: &'static Store = Box::leak(Box::default());
        let registry = Registry::new(store);
        let leases = Leases::with_clock(registry, LeaseOptions::default(), move || start);
        let leases = leases.unwrap();
        let registering = thread::spawn({
            let leases = leases.clone();
            move || register(&leases)
        });
        leases.registry().unregister("web", "1").unwrap();
        leases.sweep(start).unwrap();
        let lease = registering.join().unwrap();
        leases.sweep(start).unwrap();
        let is_there = store.contains_service("web:1").unwrap();
        assert_eq!(leases.renew(&lease).is_ok(), is_there, "a lease of nobody");
    });
}

#[test]
#[cfg(feature = "thread-safe")]
fn models_a_lease_is_lost_with_its_pod() {
    fn register(leases: &Leases<&'static Store>) -> Lease {
        let web = ServiceRegistration::new("web", "1");
        leases.register(web, Duration::MAX).unwrap()
    }
    registering_against_removal(register);
}

#[test]
#[should_panic(expected = "a lease of nobody")]
#[cfg(feature = "thread-safe")]
fn models_twin_a_registration_that_trusts_sweeps_to_see_its_removal_is_rejected() {
    fn register(leases: &Leases<&'static Store>) -> Lease {
        let web = ServiceRegistration::new("web", "1");
        let service = leases.registry().register(web).unwrap();
        Lease(leases.inner.insert(&service, Duration::MAX).0)
    }
    registering_against_removal(register);
}
