//! What every store has to do with its tables, written once.
//!
//! [`WriteTables`] is the list of changes that tables can undergo; on top of it
//! stand the batches. [`Tables`] are the mutable tables of [`MemoryStore`]
//! (and so of `WorkerStore`) and of `ThreadSafeMemoryStore`; `SnapshotStore` has
//! persistent ones of its own. [`impl_registry_store!`] writes the methods of
//! `RegistryStore` for a store that can `read` and `write` such tables.
//!
//! [`MemoryStore`]: crate::MemoryStore

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::Hash;
use std::time::SystemTime;

use hashbrown::HashMap;

use super::services::Services;
use super::subscriptions::{HashedMap, Maps, SortedMap, Subscriptions};
use super::{RegistryView, StoreStats};
use crate::batch::{Batch, Change, Revision};
use crate::error::{Result, StoreError};
use crate::hash::RandomState;
use crate::service::{ServiceInfo, ServiceKey, ServiceStatus};

/// Tables that can be changed. They remember that something has changed until
/// [`settle`](WriteTables::settle) ends the commit.
///
/// Keys and groups have been checked by the caller.
pub(crate) trait WriteTables {
    fn is_registered(&self, key: &str) -> bool;
    fn save(&mut self, service: ServiceInfo);
    fn delete(&mut self, key: &str) -> Option<ServiceInfo>;
    fn set_health(
        &mut self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Option<ServiceStatus>;
    fn subscribe(&mut self, subscriber_key: &str, service_group: &str);
    fn unsubscribe(&mut self, subscriber_key: &str, service_group: &str);
    fn unsubscribe_all(&mut self, subscriber_key: &str);
    /// Removes everything, and hands it out to be dropped outside of a lock.
    fn clear(&mut self) -> impl Sized + use<Self>;

    /// Ends a commit: grows the revision if something has changed.
    fn settle(&mut self) -> Revision;

    /// Applies one change of a batch that has been checked.
    fn apply(&mut self, change: Change) {
        match change {
            Change::SaveService(service) => self.save(service),
            Change::DeleteService { key } => {
                self.delete(&key);
            }
            Change::UpdateHealthStatus {
                key,
                status,
                checked_at,
            } => {
                self.set_health(&key, status, checked_at);
            }
            Change::AddSubscription {
                subscriber_key,
                service_group,
            } => self.subscribe(&subscriber_key, &service_group),
            Change::RemoveSubscription {
                subscriber_key,
                service_group,
            } => self.unsubscribe(&subscriber_key, &service_group),
            Change::RemoveAllSubscriptions { subscriber_key } => {
                self.unsubscribe_all(&subscriber_key);
            }
        }
    }

    /// Applies a batch, or nothing of it.
    fn apply_batch(&mut self, batch: Batch) -> Result<()> {
        batch.check(|key| self.is_registered(key))?;
        for change in batch {
            self.apply(change);
        }
        Ok(())
    }
}

/// Writes `impl RegistryStore` for a store with the inherent methods
///
/// ```text
/// fn read<R>(&self, read: impl FnOnce(&Tables) -> R) -> Result<R>;
/// fn read_foreign<R>(&self, read: impl FnOnce(&Tables) -> R) -> Result<R>;
/// fn write<R>(&self, write: impl FnOnce(&mut Tables) -> Result<R>) -> Result<R>;
/// fn commit_write(&self, write: impl FnOnce(&mut Tables) -> Result<()>) -> Result<Revision>;
/// fn current_revision(&self) -> Revision;
/// fn close_tables(&self) -> Result<()>;
/// ```
///
/// of which `read_foreign` runs a closure of the caller, who may call the store
/// again, and `write` makes one commit of what its closure does, or none if the
/// closure fails, having changed nothing.
macro_rules! impl_registry_store {
    ($store:ty) => {
        impl RegistryStore for $store {
            fn save_service(&self, service: ServiceInfo) -> Result<()> {
                self.write(|tables| {
                    tables.save(service);
                    Ok(())
                })
            }

            #[inline]
            fn get_service(&self, key: &str) -> Result<ServiceInfo> {
                self.read(|tables| tables.get(key).cloned())?
                    .ok_or_else(|| StoreError::not_found(key))
            }

            fn get_services_by_name(&self, service_name: &str) -> Result<Vec<ServiceInfo>> {
                self.read(|tables| clone_all(tables.services_by_name(service_name)))
            }

            fn get_all_services(&self) -> Result<Vec<ServiceInfo>> {
                self.read(|tables| clone_all(tables.services()))
            }

            fn delete_service(&self, key: &str) -> Result<()> {
                self.write(|tables| match tables.delete(key) {
                    Some(_) => Ok(()),
                    None => Err(StoreError::not_found(key)),
                })
            }

            fn update_health_status(
                &self,
                key: &str,
                status: ServiceStatus,
                checked_at: SystemTime,
            ) -> Result<()> {
                self.swap_health_status(key, status, checked_at).map(drop)
            }

            fn add_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
                self.write(|tables| {
                    check_subscription(subscriber_key, service_group)?;
                    tables.subscribe(subscriber_key, service_group);
                    Ok(())
                })
            }

            fn remove_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
                self.write(|tables| {
                    check_subscription(subscriber_key, service_group)?;
                    tables.unsubscribe(subscriber_key, service_group);
                    Ok(())
                })
            }

            fn remove_all_subscriptions(&self, subscriber_key: &str) -> Result<()> {
                self.write(|tables| {
                    check_subscriber(subscriber_key)?;
                    tables.unsubscribe_all(subscriber_key);
                    Ok(())
                })
            }

            fn get_subscribers(&self, service_group: &str) -> Result<Vec<ServiceKey>> {
                self.read(|tables| tables.subscribers(service_group).cloned().collect())
            }

            fn get_subscriber_services(&self, service_group: &str) -> Result<Vec<ServiceInfo>> {
                self.read(|tables| clone_all(tables.subscriber_services(service_group)))
            }

            fn commit(&self, batch: Batch) -> Result<Revision> {
                self.commit_write(|tables| tables.apply_batch(batch))
            }

            fn revision(&self) -> Revision {
                self.current_revision()
            }

            #[inline]
            fn swap_health_status(
                &self,
                key: &str,
                status: ServiceStatus,
                checked_at: SystemTime,
            ) -> Result<ServiceStatus> {
                self.write(|tables| {
                    tables
                        .set_health(key, status, checked_at)
                        .ok_or_else(|| StoreError::not_found(key))
                })
            }

            fn take_service(&self, key: &str) -> Result<ServiceInfo> {
                self.write(|tables| match tables.delete(key) {
                    Some(taken) => {
                        tables.unsubscribe_all(key);
                        Ok(taken)
                    }
                    None => Err(StoreError::not_found(key)),
                })
            }

            fn clear(&self) -> Result<()> {
                let cleared = self.write(|tables| Ok(tables.clear()))?;
                drop(cleared);
                Ok(())
            }

            fn stats(&self) -> Result<StoreStats> {
                self.read(|tables| tables.stats())
            }

            fn ping(&self) -> Result<()> {
                self.read(|_| ())
            }

            fn close(&self) -> Result<()> {
                self.close_tables()
            }

            #[inline]
            fn with_service<R>(&self, key: &str, read: impl FnOnce(&ServiceInfo) -> R) -> Result<R>
            where
                Self: Sized,
            {
                self.read_foreign(|tables| tables.get(key).map(read))?
                    .ok_or_else(|| StoreError::not_found(key))
            }

            fn visit_service(&self, key: &str, visit: &mut dyn FnMut(&ServiceInfo)) -> Result<()> {
                self.with_service(key, visit)
            }
        }
    };
}

/// What [`impl_registry_store!`] names.
pub(crate) mod prelude {
    pub(crate) use super::WriteTables;
    pub(crate) use crate::batch::{Batch, Revision, check_subscriber, check_subscription};
    pub(crate) use crate::error::{Result, StoreError};
    pub(crate) use crate::service::{ServiceInfo, ServiceKey, ServiceStatus};
    pub(crate) use crate::store::collect::clone_all;
    pub(crate) use crate::store::{RegistryStore, RegistryView, StoreStats};
    pub(crate) use std::time::SystemTime;
}

/// The mutable tables: services by key and by name, subscribers by group and
/// groups by subscriber.
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
    fn is_registered(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    fn save(&mut self, service: ServiceInfo) {
        match self.services.get_mut(service.key()) {
            Some(known) if *known == service => return,
            Some(known) => *known = service,
            None => self.services.insert(service),
        }
        self.dirty = true;
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
        checked_at: SystemTime,
    ) -> Option<ServiceStatus> {
        let known = self.services.get_mut(key)?;
        let before = known.status();
        self.dirty |= known.set_health(status, checked_at);
        Some(before)
    }

    fn subscribe(&mut self, subscriber_key: &str, service_group: &str) {
        let added = self.subscriptions.add(subscriber_key, service_group);
        self.dirty |= added.is_some();
    }

    fn unsubscribe(&mut self, subscriber_key: &str, service_group: &str) {
        let removed = self.subscriptions.remove(subscriber_key, service_group);
        self.dirty |= removed.is_some();
    }

    fn unsubscribe_all(&mut self, subscriber_key: &str) {
        let removed = self.subscriptions.remove_all(subscriber_key).count();
        self.dirty |= removed > 0;
    }

    fn clear(&mut self) -> impl Sized + use<> {
        (self.stats() != StoreStats::default()).then(|| {
            let empty = Tables {
                revision: self.revision,
                dirty: true,
                ..Tables::default()
            };
            std::mem::replace(self, empty)
        })
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

    fn stats(&self) -> StoreStats {
        StoreStats {
            services: self.services.len(),
            subscriptions: self.subscriptions.count(),
        }
    }
}

/// Maps that change in place.
pub(crate) enum InPlace {}

impl Maps for InPlace {
    type Hashed<K: Clone + Eq + Hash + Borrow<str>, V: Clone + Default> =
        HashMap<K, V, RandomState>;
    type Sorted<K: Clone + Ord, V: Clone> = BTreeMap<K, V>;
}

impl<K: Eq + Hash + Borrow<str>, V: Default> HashedMap<K, V> for HashMap<K, V, RandomState> {
    fn new(hasher: RandomState) -> Self {
        HashMap::with_hasher(hasher)
    }

    #[cfg(test)]
    fn hasher(&self) -> &RandomState {
        self.hasher()
    }

    fn get_entry(&self, key: &str) -> Option<(&K, &V)> {
        self.get_key_value(key)
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        self.get_mut(key)
    }

    fn entry_or_default(&mut self, key: K) -> &mut V {
        self.entry(key).or_default()
    }

    fn remove(&mut self, key: &str) -> Option<V> {
        let removed = self.remove(key);
        if self.capacity() > 16 && self.len() < self.capacity() / 8 {
            self.shrink_to(self.len() * 2);
        }
        removed
    }
}

impl<K: Ord, V> SortedMap<K, V> for BTreeMap<K, V> {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn insert(&mut self, key: K, value: V) {
        self.insert(key, value);
    }

    fn values<'a>(&'a self) -> impl Iterator<Item = &'a V>
    where
        K: 'a,
        V: 'a,
    {
        self.values()
    }

    fn into_entries(self) -> impl Iterator<Item = (K, V)> {
        self.into_iter()
    }

    fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.contains_key(key)
    }

    fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.remove(key)
    }
}

/// Tables, until the store is closed; the last revision afterwards.
#[allow(clippy::large_enum_variant)] // there is one for each store
pub(crate) enum State {
    Open(Tables),
    Closed(Revision),
}

impl Default for State {
    fn default() -> State {
        State::Open(Tables::default())
    }
}

impl State {
    #[inline]
    pub(crate) fn tables(&self) -> Result<&Tables> {
        match self {
            State::Open(tables) => Ok(tables),
            State::Closed(_) => Err(StoreError::Closed),
        }
    }

    /// Makes one commit of what `write` does.
    #[inline]
    pub(crate) fn write<R>(
        &mut self,
        write: impl FnOnce(&mut Tables) -> Result<R>,
    ) -> Result<(R, Revision)> {
        match self {
            State::Open(tables) => {
                let answer = write(tables)?;
                Ok((answer, tables.settle()))
            }
            State::Closed(_) => Err(StoreError::Closed),
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        match self {
            State::Open(tables) => tables.revision(),
            State::Closed(last) => *last,
        }
    }

    /// Closes, and hands out what was held, so that it can be dropped outside
    /// a lock.
    pub(crate) fn close(&mut self) -> State {
        let last = self.revision();
        std::mem::replace(self, State::Closed(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher;

    impl Tables {
        /// What each table makes of one text.
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
        // Cleared tables are new ones.
        tables.subscribe("a:1", "g");
        drop(tables.clear());
        assert_ne!(tables.hashes()[0], seeded);
    }
}
