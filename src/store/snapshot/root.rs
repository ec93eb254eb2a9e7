//! One state of a [`SnapshotStore`](super::SnapshotStore): persistent maps under one root.
//!
//! A clone of a root shares everything. A change in it first copies the path from the changed
//! place up to the root. A root that readers can see therefore never changes, and all its
//! indexes belong to one state.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use imbl::shared_ptr::DefaultSharedPtr;
use imbl::{GenericHashMap, GenericOrdMap};

use super::trie::{Trie, TrieEntry};
use crate::changes::Difference;
use crate::hash::RandomState;
use crate::model::error::Result;
use crate::model::key::ServiceKey;
use crate::model::record::{Effect, ServiceInfo};
use crate::model::revision::Revision;
use crate::model::status::{HealthUpdate, ServiceStatus};
use crate::model::time::Moment;
use crate::store::differ::record;
use crate::store::subscriptions::{HashedMap, Maps, SortedMap, Subscriptions};
use crate::store::write::{Before, ClearTables, Put, WriteTables};
use crate::store::{RegistryView, StoreStats};

type ImHashMap<K, V> = GenericHashMap<K, V, RandomState, DefaultSharedPtr>;
type ImOrdMap<K, V> = GenericOrdMap<K, V, DefaultSharedPtr>;

#[derive(Clone)]
pub(crate) struct Root {
    /// The number of the store.
    store: u64,
    hasher: RandomState,
    services: Trie<Arc<HashedService>>,
    names: ImHashMap<Arc<str>, PodList>,
    subscriptions: Subscriptions<Persistent>,
    revision: Revision,
    dirty: bool,
    closed: bool,
}

/// An entry in the trie of services.
struct HashedService {
    hash: u64,
    key: ServiceKey,
    info: ServiceInfo,
}

impl TrieEntry for Arc<HashedService> {
    #[inline]
    fn hash(&self) -> u64 {
        self.hash
    }

    #[inline]
    fn key(&self) -> &str {
        &self.key
    }

    fn same(&self, other: &Arc<HashedService>) -> bool {
        Arc::ptr_eq(self, other)
    }

    fn touch(&self) {
        std::hint::black_box(Arc::strong_count(self));
    }
}

/// The pods of one name, with their hashes. With its hash, a pod is found among the services
/// without reading a single character.
#[derive(Clone)]
enum PodList {
    /// A list, which is fast to iterate over and copied as a whole.
    Few(Arc<[HashedPod]>),
    /// A map, of which a change copies only a part.
    Many(ImHashMap<ServiceKey, u64>),
}

/// The maximum length of a list of pods.
const MAX_LISTED: usize = 32;

#[derive(Clone)]
struct HashedPod {
    hash: u64,
    key: ServiceKey,
}

impl Default for PodList {
    fn default() -> PodList {
        PodList::Few(Arc::default())
    }
}

impl PodList {
    fn add(&mut self, pod: HashedPod, hasher: &RandomState) {
        match self {
            PodList::Few(few) if few.len() < MAX_LISTED => {
                *few = few.iter().cloned().chain([pod]).collect();
            }
            PodList::Few(few) => {
                let mut many = ImHashMap::with_hasher(hasher.clone());
                for pod in few.iter().cloned().chain([pod]) {
                    many.insert(pod.key, pod.hash);
                }
                *self = PodList::Many(many);
            }
            PodList::Many(many) => {
                many.insert(pod.key, pod.hash);
            }
        }
    }

    /// Removes a pod and returns whether any are left.
    fn remove(&mut self, key: &ServiceKey) -> bool {
        match self {
            PodList::Few(few) => {
                let others = few.iter().filter(|pod| !pod.key.same(key));
                *few = others.cloned().collect();
                !few.is_empty()
            }
            PodList::Many(many) => {
                many.remove(&**key);
                // Half of the limit, so that a name whose size varies around it is not
                // converted each time.
                if many.len() <= MAX_LISTED / 2 {
                    let pods = many.iter().map(|(key, &hash)| HashedPod {
                        hash,
                        key: key.clone(),
                    });
                    *self = PodList::Few(pods.collect());
                }
                true
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (u64, &ServiceKey)> {
        let (few, many) = match self {
            PodList::Few(few) => (Some(few.iter()), None),
            PodList::Many(many) => (None, Some(many.iter())),
        };
        let few = few.into_iter().flatten().map(|pod| (pod.hash, &pod.key));
        few.chain(many.into_iter().flatten().map(|(key, &hash)| (hash, key)))
    }
}

impl Default for Root {
    fn default() -> Root {
        let hasher = RandomState::default();
        Root {
            store: 0,
            services: Trie::default(),
            names: ImHashMap::with_hasher(hasher.clone()),
            subscriptions: Subscriptions::new(&hasher),
            hasher,
            revision: Revision::ZERO,
            dirty: false,
            closed: false,
        }
    }
}

impl Root {
    /// Creates the first root of a store.
    pub(super) fn of(store: u64) -> Root {
        Root {
            store,
            ..Root::default()
        }
    }

    /// Creates the root of a closed store.
    pub(super) fn closed(last: Revision, store: u64) -> Root {
        Root {
            store,
            revision: last,
            closed: true,
            ..Root::default()
        }
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn is_same_store(&self, other: &Root) -> bool {
        self.store == other.store
    }

    /// Returns the differences from an older root. O(differences · log *n*) if neither table
    /// was rebuilt in between, plus O(groups) if a subscription has changed.
    pub(super) fn changes_since(&self, older: &Root) -> Vec<Difference> {
        let mut changes = Vec::new();
        let is_alike = self.hasher.hash_one(0) == older.hasher.hash_one(0);
        let mut visit = |before: Option<&Arc<HashedService>>,
                         after: Option<&Arc<HashedService>>| {
            let info = |known: &'_ Arc<HashedService>| known.info.clone();
            let (before, after) = (before.map(info), after.map(info));
            changes.extend(record(before.as_ref(), after.as_ref()));
        };
        if !is_alike || !self.services.each_difference(&older.services, &mut visit) {
            for after in self.services.iter() {
                visit(older.find(&after.key), Some(after));
            }
            for before in older.services.iter() {
                if self.find(&before.key).is_none() {
                    visit(Some(before), None);
                }
            }
        }
        self.subscriptions
            .changes_since(&older.subscriptions, &mut changes);
        changes
    }

    #[inline]
    fn find(&self, key: &str) -> Option<&Arc<HashedService>> {
        let hash = self.hasher.hash_one(key);
        self.services.find(hash, |known| &*known.key == key)
    }
}

impl WriteTables for Root {
    fn record(&self, key: &str) -> Option<&ServiceInfo> {
        self.get(key)
    }

    fn each_record(&self, visit: impl FnMut(&ServiceInfo)) {
        self.services().for_each(visit);
    }

    fn each_subscription(&self, visit: impl FnMut(&ServiceKey, &Arc<str>)) {
        self.subscriptions.each(visit);
    }

    fn current(&self) -> Revision {
        self.revision
    }

    fn put_record(&mut self, mut service: ServiceInfo, how: Put) -> Result<Before> {
        let known = self.find(service.key());
        let info = known.map(|known| &known.info);
        if !how.stamp(&mut service, info, self.next_revision())? {
            return Ok(Before::Same);
        }
        let (hash, key, before) = if let Some(known) = known {
            let before = Before::Other(known.info.clone());
            (known.hash, known.key.clone(), before)
        } else {
            let hash = self.hasher.hash_one(service.key());
            let key = service.key().clone();
            let pod = HashedPod {
                hash,
                key: key.clone(),
            };
            if let Some(pods) = self.names.get_mut(service.service_name()) {
                pods.add(pod, &self.hasher);
            } else {
                let pods = PodList::Few(Arc::new([pod]));
                self.names.insert(service.service_name().into(), pods);
            }
            (hash, key, Before::Absent)
        };
        self.dirty = true;
        self.services.insert(Arc::new(HashedService {
            hash,
            key,
            info: service,
        }));
        Ok(before)
    }

    fn delete(&mut self, key: &str) -> Option<ServiceInfo> {
        let removed = self.services.remove(self.hasher.hash_one(key), key)?;
        self.dirty = true;
        let name = removed.info.service_name();
        let left = self
            .names
            .get_mut(name)
            .map(|pods| pods.remove(&removed.key));
        debug_assert!(left.is_some(), "a registered pod stands under its name");
        if left == Some(false) {
            self.names.remove(name);
        }
        Some(removed.info.clone())
    }

    fn set_health(
        &mut self,
        key: &str,
        status: ServiceStatus,
        checked_at: Moment,
        see: impl FnOnce(&ServiceInfo),
    ) -> Option<HealthUpdate> {
        let known = self.find(key)?;
        let effect = known.info.effect(status, checked_at);
        let answer = known.info.answer(effect);
        if effect == Effect::Some {
            see(&known.info);
            let mut info = known.info.clone();
            info.set_health(status, checked_at, self.next_revision());
            let updated = HashedService {
                hash: known.hash,
                key: known.key.clone(),
                info,
            };
            self.services.insert(Arc::new(updated));
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

    fn settle(&mut self) -> Revision {
        if self.dirty {
            self.revision = self.revision.next();
            self.dirty = false;
        }
        self.revision
    }
}

impl ClearTables for Root {
    fn clear(&mut self) -> impl Sized + use<> {
        (self.stats() != StoreStats::default()).then(|| {
            let mut empty = Root {
                store: self.store,
                revision: self.revision,
                dirty: true,
                ..Root::default()
            };
            empty.subscriptions.continue_numbers(&self.subscriptions);
            std::mem::replace(self, empty)
        })
    }
}

impl RegistryView for Root {
    fn revision(&self) -> Revision {
        self.revision
    }

    #[inline]
    fn get(&self, key: &str) -> Option<&ServiceInfo> {
        self.find(key).map(|known| &known.info)
    }

    fn services(&self) -> impl Iterator<Item = &ServiceInfo> {
        self.services.iter().map(|known| &known.info)
    }

    fn services_by_name<'a>(
        &'a self,
        service_name: &str,
    ) -> impl Iterator<Item = &'a ServiceInfo> + use<'a> {
        let pods = self.names.get(service_name);
        pods.into_iter().flat_map(PodList::iter).map(|(hash, key)| {
            let known = self.services.find(hash, |known| known.key.same(key));
            &known
                .expect("a pod that stands under its name is registered")
                .info
        })
    }

    fn subscribers<'a>(
        &'a self,
        service_group: &str,
    ) -> impl Iterator<Item = &'a ServiceKey> + use<'a> {
        self.subscriptions.of_group(service_group)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|name| &**name)
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

/// Maps whose clones share everything.
pub(super) enum Persistent {}

impl Maps for Persistent {
    type Hashed<K: Clone + Eq + Hash + Borrow<str>, V: Clone + Default> = ImHashMap<K, V>;
    type Sorted<K: Clone + Ord, V: Clone> = ImOrdMap<K, V>;
}

impl<K: Clone + Eq + Hash + Borrow<str>, V: Clone + Default> HashedMap<K, V> for ImHashMap<K, V> {
    fn new(hasher: RandomState) -> Self {
        ImHashMap::with_hasher(hasher)
    }

    #[cfg(test)]
    fn hasher(&self) -> &RandomState {
        self.hasher()
    }

    fn same(&self, other: &Self) -> bool {
        self.ptr_eq(other)
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
        self.remove(key)
    }
}

impl<K: Clone + Ord, V: Clone> SortedMap<K, V> for ImOrdMap<K, V> {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn insert(&mut self, key: K, value: V) {
        self.insert(key, value);
    }

    fn same(&self, other: &Self) -> bool {
        self.ptr_eq(other)
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServiceRegistration;

    impl Root {
        /// Returns the hash of one string in each table.
        fn hashes(&self) -> [u64; 4] {
            let [groups, subscribers] = self.subscriptions.hashers();
            let hashers = [&self.hasher, self.names.hasher(), groups, subscribers];
            hashers.map(|hasher| hasher.hash_one("a:1"))
        }
    }

    #[test]
    fn tables_of_one_root_share_a_seed_that_no_other_has() {
        let mut root = Root::default();
        let [seeded, ..] = root.hashes();
        assert_eq!(root.hashes(), [seeded; 4]);
        assert_ne!(Root::default().hashes()[0], seeded);
        // The pods of a name share it too, once there are many.
        for pod in 0..=MAX_LISTED {
            let registration = ServiceRegistration {
                service_name: "a".into(),
                pod_name: pod.to_string(),
                ..Default::default()
            };
            let put = root.put_record(ServiceInfo::new(registration).unwrap(), Put::Save);
            assert!(put.is_ok());
        }
        let Some(PodList::Many(many)) = root.names.get("a") else {
            panic!("a name of many pods has a map of them");
        };
        assert_eq!(many.hasher().hash_one("a:1"), seeded);
        // Cleared tables are new tables.
        drop(root.clear());
        assert_ne!(root.hashes()[0], seeded);
    }
}
