//! [`LeasesInner`], which all handles and sweeps of the same leases share.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::lease::Lease;
use super::slot::{NEVER, Nanos, Slot, nanos};
use super::sweeper::Sweeper;
use super::table::Table;
use crate::model::error::Result;
use crate::model::record::ServiceInfo;
use crate::model::revision::Revision;
use crate::registry::Registry;
use crate::store::RegistryStore;
use crate::sync::{Mutex, MutexGuard};

/// The state of [`Leases`](super::Leases).
pub(super) struct LeasesInner<S> {
    pub(super) registry: Registry<S>,
    /// Distinguishes these leases from others.
    pub(super) id: u64,
    pub(super) clock: Box<dyn Fn() -> Instant + Send + Sync>,
    pub(super) origin: Instant,
    /// Locked only briefly, and never while the store is called.
    pub(super) table: Mutex<Table>,
    /// Locked during a sweep.
    pub(super) sweeper: Mutex<Sweeper>,
}

impl<S: RegistryStore> LeasesInner<S> {
    /// Ignores poisoning: every change of the table is complete, so a panic between two changes
    /// leaves it valid.
    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn nanos(&self, time: Instant) -> Nanos {
        // `NEVER` is later than any time.
        nanos(time.saturating_duration_since(self.origin)).min(NEVER - 1)
    }

    pub(super) fn instant(&self, time: Nanos) -> Option<Instant> {
        let since = (time < NEVER).then_some(Duration::from_nanos(time))?;
        self.origin.checked_add(since)
    }

    pub(super) fn now(&self) -> Nanos {
        self.nanos((self.clock)())
    }

    /// Gives a lease to a registered pod.
    pub(super) fn add_lease(&self, service: &ServiceInfo, ttl: Duration) -> Result<Lease> {
        let (slot, is_passed) = self.insert(service, ttl);
        if is_passed {
            self.check(&slot)?;
        }
        Ok(Lease(slot))
    }

    /// Inserts a lease into the table. Also returns whether a sweep has already processed the
    /// revision of the pod. If so, no later sweep reports a removal that has already happened.
    pub(super) fn insert(&self, service: &ServiceInfo, ttl: Duration) -> (Arc<Slot>, bool) {
        let slot = Arc::new(self.slot(service, ttl));
        let mut table = self.table();
        table.insert(slot.clone());
        // At this revision itself the sweep saw the pod present, so `>` would be enough.
        let is_passed = table.seen >= slot.incarnation;
        (slot, is_passed)
    }

    pub(super) fn slot(&self, service: &ServiceInfo, ttl: Duration) -> Slot {
        let (key, incarnation) = (service.key().clone(), service.incarnation());
        Slot::new(key, incarnation, self.id, nanos(ttl), self.now())
    }

    pub(super) fn is_registered(&self, key: &str, incarnation: Revision) -> Result<bool> {
        let found = self.registry.find_service(key)?;
        Ok(found.is_some_and(|found| found.incarnation() == incarnation))
    }

    /// Removes a lease whose pod is not registered.
    fn check(&self, slot: &Arc<Slot>) -> Result<()> {
        if !self.is_registered(&slot.key, slot.incarnation)? {
            self.table().remove(slot);
        }
        Ok(())
    }
}
