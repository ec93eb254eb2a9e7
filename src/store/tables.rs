//! The tables of most stores, and the methods of all of them.
//!
//! [`Tables`] are the mutable tables of [`MemoryStore`]
//! (and so of `WorkerStore`) and of `ThreadSafeMemoryStore`; `SnapshotStore` has
//! persistent ones of its own. [`impl_registry_store!`] writes the methods of
//! `RegistryStore` for a store that can `read` and `write` such tables.
//!
//! [`MemoryStore`]: crate::MemoryStore

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;

use hashbrown::HashMap;

use super::services::Services;
use super::subscriptions::{HashedMap, Maps, SortedMap, Subscriptions};
use super::write::{Before, ClearTables, Put, WriteTables};
use super::{RegistryView, StoreStats};
use crate::hash::RandomState;
use crate::model::error::{Result, StoreError};
use crate::model::key::ServiceKey;
use crate::model::record::{Effect, ServiceInfo};
use crate::model::revision::Revision;
use crate::model::status::{HealthUpdate, ServiceStatus};
use crate::model::time::Moment;

/// Writes `impl RegistryStore` for a store with the inherent methods
///
/// ```text
/// fn read<R>(&self, read: impl FnOnce(&Tables) -> R) -> Result<R>;
/// fn read_foreign<R>(&self, read: impl FnOnce(&Tables) -> R) -> Result<R>;
/// fn write<R, A>(
///     &self,
///     is_asked: bool,
///     write: impl FnOnce(&mut Noted<'_, Tables>) -> Result<R>,
///     finish: impl FnOnce(Written<R>) -> A,
/// ) -> Result<A>;
/// fn begin_watch(&self, selection: Selection, from: Option<Cursor>) -> Result<Watch>;
/// fn current_revision(&self) -> Revision;
/// fn own_upkeep(&self) -> Result<Upkeep>;
/// fn close_tables(&self) -> Result<()>;
/// ```
///
/// of which `read_foreign` runs a closure of the caller, who may call the store
/// again, and `write` makes one commit of what its closure does, or none if the
/// closure fails, having changed nothing; it hands `finish` the differences if it is
/// asked for them. (`finish` is called within, since a large answer of two functions
/// would be copied.)
macro_rules! impl_registry_store {
    ($store:ty) => {
        impl RegistryStore for $store {
            fn save_service(&self, service: ServiceInfo) -> Result<()> {
                self.write(false, |tables| tables.put_record(service, Put::Save), drop)
            }

            #[inline]
            fn get_service(&self, key: &str) -> Result<ServiceInfo> {
                self.read(|tables| tables.get(key).cloned())?
                    .ok_or_else(|| missing(key))
            }

            #[inline]
            fn find_service(&self, key: &str) -> Result<Option<ServiceInfo>> {
                let found = self.read(|tables| tables.get(key).cloned())?;
                if found.is_none() {
                    check_key("key", key)?;
                }
                Ok(found)
            }

            #[inline]
            fn contains_service(&self, key: &str) -> Result<bool> {
                let found = self.read(|tables| tables.get(key).is_some())?;
                if !found {
                    check_key("key", key)?;
                }
                Ok(found)
            }

            fn get_services_by_name(&self, service_name: &str) -> Result<Vec<ServiceInfo>> {
                self.read(|tables| clone_all(tables.services_by_name(service_name)))
            }

            fn get_all_services(&self) -> Result<Vec<ServiceInfo>> {
                self.read(|tables| clone_all(tables.services()))
            }

            fn delete_service(&self, key: &str) -> Result<()> {
                self.write(
                    false,
                    |tables| match tables.delete(key) {
                        Some(_) => Ok(()),
                        None => Err(missing(key)),
                    },
                    drop,
                )
            }

            #[inline]
            fn update_health_status(
                &self,
                key: &str,
                status: ServiceStatus,
                checked_at: SystemTime,
            ) -> Result<HealthUpdate> {
                self.write(
                    false,
                    |tables| {
                        let checked_at = Moment::new("checked_at", checked_at)?;
                        tables
                            .set_health(key, status, checked_at, |_| ())
                            .ok_or_else(|| missing(key))
                    },
                    |written| written.answer,
                )
            }

            fn add_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
                self.write(
                    false,
                    |tables| {
                        check_subscription(subscriber_key, service_group)?;
                        tables.subscribe(subscriber_key, service_group);
                        Ok(())
                    },
                    drop,
                )
            }

            fn remove_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
                self.write(
                    false,
                    |tables| {
                        check_subscription(subscriber_key, service_group)?;
                        tables.unsubscribe(subscriber_key, service_group);
                        Ok(())
                    },
                    drop,
                )
            }

            fn remove_all_subscriptions(&self, subscriber_key: &str) -> Result<()> {
                self.write(
                    false,
                    |tables| {
                        check_subscriber(subscriber_key)?;
                        tables.unsubscribe_all(subscriber_key);
                        Ok(())
                    },
                    drop,
                )
            }

            fn get_subscribers(&self, service_group: &str) -> Result<Vec<ServiceKey>> {
                self.read(|tables| tables.subscribers(service_group).cloned().collect())
            }

            fn get_subscriber_services(&self, service_group: &str) -> Result<Vec<ServiceInfo>> {
                self.read(|tables| clone_all(tables.subscriber_services(service_group)))
            }

            fn commit(&self, batch: Batch) -> Result<Revision> {
                self.write(
                    false,
                    |tables| tables.apply_batch(batch),
                    |written| written.revision,
                )
            }

            fn commit_changes(&self, batch: Batch) -> Result<(Revision, Vec<Difference>)> {
                self.write(
                    true,
                    |tables| tables.apply_batch(batch),
                    |written| (written.revision, written.changes),
                )
            }

            fn watch(&self, selection: Selection) -> Result<Watch> {
                self.begin_watch(selection, None)
            }

            fn watch_from(&self, selection: Selection, cursor: Cursor) -> Result<Watch> {
                self.begin_watch(selection, Some(cursor))
            }

            fn revision(&self) -> Revision {
                self.current_revision()
            }

            fn take_service(&self, key: &str) -> Result<ServiceInfo> {
                self.write(
                    false,
                    |tables| tables.take(key, Cause::Deleted).ok_or_else(|| missing(key)),
                    |written| written.answer,
                )
            }

            fn clear(&self) -> Result<()> {
                self.write(false, |tables| Ok(tables.clear()), drop)
            }

            fn stats(&self) -> Result<StoreStats> {
                self.read(|tables| tables.stats())
            }

            fn upkeep(&self) -> Result<Upkeep> {
                self.read(|_| ())?;
                self.own_upkeep()
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
                    .ok_or_else(|| missing(key))
            }

            fn visit_service(&self, key: &str, visit: &mut dyn FnMut(&ServiceInfo)) -> Result<()> {
                self.with_service(key, visit)
            }

            fn with_view<R>(&self, read: impl FnOnce(&dyn DynView) -> R) -> Result<R>
            where
                Self: Sized,
            {
                self.read_foreign(|tables| read(tables))
            }

            fn visit_view(&self, visit: &mut dyn FnMut(&dyn DynView)) -> Result<()> {
                self.read_foreign(|tables| visit(tables))
            }
        }
    };
}

/// What [`impl_registry_store!`] names.
pub(crate) mod prelude {
    pub(crate) use crate::changes::{
        Cursor, Difference, LogOptions, Selection, State as Selected, Watch,
    };
    pub(crate) use crate::model::batch::Batch;
    pub(crate) use crate::model::cause::Cause;
    pub(crate) use crate::model::error::{Result, StoreError};
    pub(crate) use crate::model::key::ServiceKey;
    pub(crate) use crate::model::key::{check_key, check_subscriber, check_subscription, missing};
    pub(crate) use crate::model::record::ServiceInfo;
    pub(crate) use crate::model::revision::Revision;
    pub(crate) use crate::model::status::HealthUpdate;
    pub(crate) use crate::model::status::ServiceStatus;
    pub(crate) use crate::model::time::Moment;
    pub(crate) use crate::model::upkeep::Upkeep;
    pub(crate) use crate::store::collect::clone_all;
    pub(crate) use crate::store::noted::{Nobody, Noted, Tell, Telling, Written, aside};
    pub(crate) use crate::store::view::state_of;
    pub(crate) use crate::store::write::{Put, WriteTables};
    pub(crate) use crate::store::{DynView, RegistryStore, RegistryView, StoreStats};
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
    fn record(&self, key: &str) -> Option<&ServiceInfo> {
        self.services.get(key)
    }

    fn each_record(&self, look: impl FnMut(&ServiceInfo)) {
        self.services.iter().for_each(look);
    }

    fn each_subscription(&self, look: impl FnMut(&ServiceKey, &Arc<str>)) {
        self.subscriptions.each(look);
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
            empty.subscriptions.count_on(&self.subscriptions);
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

    fn entries<'a>(&'a self) -> impl Iterator<Item = (&'a K, &'a V)>
    where
        K: 'a,
        V: 'a,
    {
        self.iter()
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

    #[cfg(feature = "snapshot")]
    fn entries<'a>(&'a self) -> impl Iterator<Item = (&'a K, &'a V)>
    where
        K: 'a,
        V: 'a,
    {
        self.iter()
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

    /// The tables, to be changed.
    #[inline]
    pub(crate) fn tables_mut(&mut self) -> Result<&mut Tables> {
        match self {
            State::Open(tables) => Ok(tables),
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
