//! Stores with a fault, which have to be found.

use std::cell::Cell;
use std::time::SystemTime;

use service_registry::{
    Batch, MemoryStore, RegistryStore, Result, Revision, ServiceInfo, ServiceStatus, delegate_store,
};

use crate::against_each_other::{Odd, answer_alike};
use crate::against_model::run;
use crate::programs::Program;
use crate::support::faulty_log::{self, faulty_log_store};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// The last subscriber of a group cannot leave it.
    LastStays,
    /// A subscription is lost if it is made right after the subscriber was
    /// deleted, which came right after an update of its health.
    RareSequence,
    /// A batch that is rejected for its third change applies the first.
    HalfABatch,
}

/// A `MemoryStore` with a fault.
struct Faulty {
    inner: MemoryStore,
    fault: Fault,
    /// How far the rare sequence has come.
    sequence: Cell<u8>,
}

impl Faulty {
    fn new(fault: Fault) -> Faulty {
        Faulty {
            inner: MemoryStore::new(),
            fault,
            sequence: Cell::new(0),
        }
    }

    /// Notes a step of the sequence, and tells whether this completes it.
    fn comes(&self, step: u8) -> bool {
        let follows = step == 1 || self.sequence.get() + 1 == step;
        self.sequence.set(if follows { step } else { 0 });
        self.fault == Fault::RareSequence && follows && step == 3
    }
}

impl RegistryStore for Faulty {
    fn commit(&self, batch: Batch) -> Result<Revision> {
        let first = batch.changes().first().cloned();
        let committed = self.inner.commit(batch);
        if let Err(service_registry::StoreError::BatchRejected { index: 2, .. }) = &committed
            && self.fault == Fault::HalfABatch
        {
            let half: Batch = first.into_iter().collect();
            let _ = self.inner.commit(half);
        }
        committed
    }
    fn save_service(&self, service: ServiceInfo) -> Result<()> {
        self.comes(0);
        self.inner.save_service(service)
    }
    fn delete_service(&self, key: &str) -> Result<()> {
        let deleted = self.inner.delete_service(key);
        self.comes(if deleted.is_ok() { 2 } else { 0 });
        deleted
    }
    fn update_health_status(
        &self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Result<service_registry::HealthUpdate> {
        let updated = self.inner.update_health_status(key, status, checked_at);
        self.comes(u8::from(updated.is_ok()));
        updated
    }
    fn add_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
        if self.comes(3) {
            return Ok(());
        }
        self.inner.add_subscription(subscriber_key, service_group)
    }
    fn remove_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
        self.comes(0);
        if self.fault == Fault::LastStays && self.inner.get_subscribers(service_group)?.len() == 1 {
            return Ok(());
        }
        self.inner
            .remove_subscription(subscriber_key, service_group)
    }
    fn remove_all_subscriptions(&self, subscriber_key: &str) -> Result<()> {
        self.comes(0);
        self.inner.remove_all_subscriptions(subscriber_key)
    }

    delegate_store!(self => self.inner; except commit, commit_changes, save_service, delete_service,
        update_health_status, add_subscription, remove_subscription, remove_all_subscriptions);
}

#[test]
fn a_store_with_a_fault_is_found_by_the_model() {
    for fault in [Fault::LastStays, Fault::RareSequence, Fault::HalfABatch] {
        let (tries, _) = crate::found::<Program>(5_000, |program| {
            run("Faulty", &Faulty::new(fault), program, |_, _| ());
        });
        println!("{fault:?}: program {tries}");
    }
}

#[test]
fn a_store_with_a_fault_is_found_by_another_store() {
    // The rare sequence takes four names in a row that are accepted, and odd ones
    // seldom are.
    for fault in [Fault::LastStays, Fault::HalfABatch] {
        let (tries, _) = crate::found::<Odd>(5_000, |program| {
            let faulty = Faulty::new(fault);
            answer_alike("Faulty", &MemoryStore::new(), &faulty, &program.0);
        });
        println!("{fault:?}: program {tries}");
    }
}

#[test]
fn a_store_that_tells_late_is_found_by_its_watches() {
    for program in crate::drawn::<Program>(100) {
        let store = faulty_log_store(faulty_log::Fault::None);
        run("Teller", &store, &program, |_, _| ());
    }
    let (tries, said) = crate::found::<Program>(100, |program| {
        let store = faulty_log_store(faulty_log::Fault::TellsLate);
        run("Teller", &store, program, |_, _| ());
    });
    println!("program {tries}: {said}");
    let expected = "has nothing to tell at revision";
    assert!(said.contains(expected), "{said}");
}
