//! The tables that change in place, of [`MemoryStore`] (and so of `WorkerStore`) and of
//! `ThreadSafeMemoryStore`.
//!
//! [`MemoryStore`]: crate::MemoryStore

use std::sync::Arc;

use super::in_place::InPlace;
use super::services::Services;
use super::subscriptions::Subscriptions;
use super::write::{Before, ClearTables, Put, WriteTables};
use super::{RegistryView, StoreStats};
use crate::hash::RandomState;
use crate::model::error::{Result, StoreError};
use crate::model::key::ServiceKey;
use crate::model::record::{Effect, ServiceInfo};
use crate::model::revision::Revision;
use crate::model::status::{HealthUpdate, ServiceStatus};
use crate::model::time::Moment;

/// The mutable tables: services by key and by name, subscribers by group, and groups by
/// subscriber.
pub(crate) struct Tables {
    services: Services,
    pub(super) subscriptions: Subscriptions<InPlace>,
    revision: Revision,
    pub(super) dirty: bool,
}

impl Default for Tables {
    fn default() -> Tables {
        let hasher = RandomState::default();
        Tables {
            services: Services::new(&hasher),
            subscriptions: Subscriptions::new(&hasher),
            revision: Revision::ZERO,
            dirty: false,
        }
    }
}

impl WriteTables for Tables {
    fn record(&self, key: &str) -> Option<&ServiceInfo> {
        self.services.get(key)
    }

    fn each_record(&self, visit: impl FnMut(&ServiceInfo)) {
        self.services.iter().for_each(visit);
    }

    fn each_subscription(&self, visit: impl FnMut(&ServiceKey, &Arc<str>)) {
        self.subscriptions.each(visit);
    }

    fn current(&self) -> Revision {
        self.revision
    }

    fn put_record(&mut self, mut service: ServiceInfo, how: Put) -> Result<Before> {
        let revision = self.next_revision();
        let before = if let Some(known) = self.services.get_mut(service.key()) {
            if !how.stamp(&mut service, Some(known), revision)? {
                return Ok(Before::Same);
            }
            Before::Other(std::mem::replace(known, service))
        } else {
            how.stamp(&mut service, None, revision)?;
            self.services.insert(service);
            Before::Absent
        };
        self.dirty = true;
        Ok(before)
    }

    fn delete(&mut self, key: &str) -> Option<ServiceInfo> {
        let removed = self.services.remove(key)?;
        self.dirty = true;
        Some(removed)
    }

    #[inline]
    fn set_health(
        &mut self,
        key: &str,
        status: ServiceStatus,
        checked_at: Moment,
        see: impl FnOnce(&ServiceInfo),
    ) -> Option<HealthUpdate> {
        let revision = self.next_revision();
        let known = self.services.get_mut(key)?;
        let effect = known.effect(status, checked_at);
        let answer = known.answer(effect);
        if effect == Effect::Some {
            see(known);
            known.set_health(status, checked_at, revision);
            self.dirty = true;
        }
        Some(answer)
    }

    fn subscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool {
        let added = self.subscriptions.add(subscriber_key, service_group);
        self.dirty |= added.is_some();
        added.is_some()
    }

    fn unsubscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool {
        let removed = self.subscriptions.remove(subscriber_key, service_group);
        self.dirty |= removed.is_some();
        removed.is_some()
    }

    fn unsubscribe_all(&mut self, subscriber_key: &str) -> Vec<Arc<str>> {
        let removed = self.subscriptions.remove_all(subscriber_key);
        let groups: Vec<_> = removed.map(|(group, ..)| group).collect();
        self.dirty |= !groups.is_empty();
        groups
    }

    #[inline]
    fn settle(&mut self) -> Revision {
        if self.dirty {
            self.revision = self.revision.next();
            self.dirty = false;
        }
        self.revision
    }
}

impl ClearTables for Tables {
    fn clear(&mut self) -> impl Sized + use<> {
        (self.stats() != StoreStats::default()).then(|| {
            let mut empty = Tables {
                revision: self.revision,
                dirty: true,
                ..Tables::default()
            };
            empty.subscriptions.continue_numbers(&self.subscriptions);
            std::mem::replace(self, empty)
        })
    }
}

impl RegistryView for Tables {
    fn revision(&self) -> Revision {
        self.revision
    }

    #[inline]
    fn get(&self, key: &str) -> Option<&ServiceInfo> {
        self.services.get(key)
    }

    fn services(&self) -> impl Iterator<Item = &ServiceInfo> {
        self.services.iter()
    }

    fn services_by_name<'a>(
        &'a self,
        service_name: &str,
    ) -> impl Iterator<Item = &'a ServiceInfo> + use<'a> {
        self.services.by_name(service_name)
    }

    fn subscribers<'a>(
        &'a self,
        service_group: &str,
    ) -> impl Iterator<Item = &'a ServiceKey> + use<'a> {
        self.subscriptions.of_group(service_group)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.services.names()
    }

    fn groups(&self) -> impl Iterator<Item = &str> {
        self.subscriptions.groups()
    }

    fn stats(&self) -> StoreStats {
        StoreStats {
            services: self.services.len(),
            subscriptions: self.subscriptions.count(),
        }
    }
}

/// The tables of an open store, or the last revision of a closed one.
#[allow(clippy::large_enum_variant)] // there is one for each store
pub(crate) enum StoreState {
    Open(Tables),
    Closed(Revision),
}

impl Default for StoreState {
    fn default() -> StoreState {
        StoreState::Open(Tables::default())
    }
}

impl StoreState {
    #[inline]
    pub(crate) fn tables(&self) -> Result<&Tables> {
        match self {
            StoreState::Open(tables) => Ok(tables),
            StoreState::Closed(_) => Err(StoreError::Closed),
        }
    }

    /// Returns the tables for changes.
    #[inline]
    pub(crate) fn tables_mut(&mut self) -> Result<&mut Tables> {
        match self {
            StoreState::Open(tables) => Ok(tables),
            StoreState::Closed(_) => Err(StoreError::Closed),
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        match self {
            StoreState::Open(tables) => tables.revision(),
            StoreState::Closed(last) => *last,
        }
    }

    /// Closes the store, and returns its contents, so that they can be dropped outside a lock.
    pub(crate) fn close(&mut self) -> StoreState {
        let last = self.revision();
        std::mem::replace(self, StoreState::Closed(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher;

    impl Tables {
        /// Returns the hash of one string in each table.
        fn hashes(&self) -> [u64; 3] {
            let [groups, subscribers] = self.subscriptions.hashers();
            [self.services.hasher(), groups, subscribers].map(|hasher| hasher.hash_one("a:1"))
        }
    }

    #[test]
    fn tables_of_one_store_share_a_seed_that_no_other_has() {
        let mut tables = Tables::default();
        let [seeded, groups, subscribers] = tables.hashes();
        assert_eq!((groups, subscribers), (seeded, seeded));
        assert_ne!(Tables::default().hashes()[0], seeded);
        // Cleared tables are new tables.
        tables.subscribe("a:1", "g");
        drop(tables.clear());
        assert_ne!(tables.hashes()[0], seeded);
    }
}
