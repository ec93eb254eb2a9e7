//! Bare maps from a key to a [`Pod`], which every thread uses by a plain reference.
//!
//! Each is used in the way that is the best for it.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use crossbeam_skiplist::SkipMap;
use dashmap::DashMap;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;
use scc::HashIndex;
use scc::hash_index::OccupiedEntry;
use service_registry::ServiceStatus;

use crate::subject::{Hand, Newcomer, Pod, Shared, Subject};

/// The hasher of them all, with the seed of the run.
pub type Hasher = FixedState;
/// What they find a pod by.
pub type Key = Arc<str>;

/// What a map does, each time for one key.
pub trait Map: Send + Sync + Sized + 'static {
    /// An empty one.
    fn empty(hasher: Hasher) -> Self;

    /// Shows the pod to `read` in its place.
    fn read<R>(&self, key: &str, read: impl Fn(&Pod) -> R) -> Option<R>;

    /// Sets the health of a pod. Whether it was there.
    fn update(&self, key: &str, status: ServiceStatus, at: SystemTime) -> bool;

    /// Puts a pod in. Whether it was not there.
    fn put(&self, key: Key, pod: Pod) -> bool;

    /// Takes a pod out. Whether it was there.
    fn take(&self, key: &str) -> bool;

    /// How many pods there are.
    fn count(&self) -> usize;
}

impl<M: Map> Subject for M {
    type Hand<'a> = &'a M;

    fn create(seed: u64) -> M {
        M::empty(Hasher::with_seed(seed))
    }

    fn alone(&mut self) -> &M {
        self
    }
}

impl<M: Map> Shared for M {
    fn hand(&self) -> &M {
        self
    }
}

impl<M: Map> Hand for &M {
    #[inline]
    fn with(&mut self, key: &str) -> Option<ServiceStatus> {
        self.read(key, |pod| pod.status)
    }

    #[inline]
    fn get(&mut self, key: &str) -> bool {
        self.read(key, Pod::clone).is_some()
    }

    fn checked_at(&mut self, key: &str) -> Option<SystemTime> {
        self.read(key, |pod| pod.checked_at)
    }

    #[inline]
    fn update(&mut self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        M::update(*self, key, status, at)
    }

    #[inline]
    fn insert(&mut self, new: &Newcomer) -> bool {
        self.put(new.key.clone(), new.pod.clone())
    }

    #[inline]
    fn remove(&mut self, key: &str) -> bool {
        self.take(key)
    }

    fn len(&mut self) -> usize {
        self.count()
    }
}

/// A hash map behind a reader-writer lock.
pub type Locked = RwLock<HashMap<Key, Pod, Hasher>>;

impl Map for Locked {
    fn empty(hasher: Hasher) -> Self {
        RwLock::new(HashMap::with_hasher(hasher))
    }

    #[inline]
    fn read<R>(&self, key: &str, read: impl Fn(&Pod) -> R) -> Option<R> {
        RwLock::read(self).unwrap_or_else(PoisonError::into_inner).get(key).map(read)
    }

    #[inline]
    fn update(&self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        let mut map = self.write().unwrap_or_else(PoisonError::into_inner);
        map.get_mut(key).map(|pod| pod.set_health(status, at)).is_some()
    }

    #[inline]
    fn put(&self, key: Key, pod: Pod) -> bool {
        let known = self.write().unwrap_or_else(PoisonError::into_inner).insert(key, pod);
        known.is_none()
    }

    #[inline]
    fn take(&self, key: &str) -> bool {
        let known = self.write().unwrap_or_else(PoisonError::into_inner).remove(key);
        known.is_some()
    }

    fn count(&self) -> usize {
        RwLock::read(self).unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// `dashmap`: shards, each a hash map behind a lock.
pub type Dash = DashMap<Key, Pod, Hasher>;

impl Map for Dash {
    fn empty(hasher: Hasher) -> Self {
        DashMap::with_hasher(hasher)
    }

    #[inline]
    fn read<R>(&self, key: &str, read: impl Fn(&Pod) -> R) -> Option<R> {
        self.get(key).map(|pod| read(&pod))
    }

    #[inline]
    fn update(&self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        self.get_mut(key).map(|mut pod| pod.set_health(status, at)).is_some()
    }

    #[inline]
    fn put(&self, key: Key, pod: Pod) -> bool {
        self.insert(key, pod).is_none()
    }

    #[inline]
    fn take(&self, key: &str) -> bool {
        self.remove(key).is_some()
    }

    fn count(&self) -> usize {
        self.len()
    }
}

/// `papaya`: a hash map without locks. A guard is taken for each operation, as for each
/// request that comes in.
pub type Papaya = papaya::HashMap<Key, Pod, Hasher>;

impl Map for Papaya {
    fn empty(hasher: Hasher) -> Self {
        papaya::HashMap::with_hasher(hasher)
    }

    #[inline]
    fn read<R>(&self, key: &str, read: impl Fn(&Pod) -> R) -> Option<R> {
        self.pin().get(key).map(read)
    }

    /// Entries that its own `update` made are read twice as slowly as those that `insert` of
    /// a clone made, with the same values: this is the quicker way.
    #[inline]
    fn update(&self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        let map = self.pin();
        let known = map.get_key_value(key);
        known.is_some_and(|(key, pod)| {
            map.insert(key.clone(), pod.with_health(status, at)).is_some()
        })
    }

    #[inline]
    fn put(&self, key: Key, pod: Pod) -> bool {
        self.pin().insert(key, pod).is_none()
    }

    #[inline]
    fn take(&self, key: &str) -> bool {
        self.pin().remove(key).is_some()
    }

    fn count(&self) -> usize {
        self.len()
    }
}

/// `scc::HashIndex`: readers take no lock, writers one of a bucket.
pub type SccIndex = HashIndex<Key, Pod, Hasher>;

impl Map for SccIndex {
    fn empty(hasher: Hasher) -> Self {
        HashIndex::with_hasher(hasher)
    }

    /// A reader that takes no lock can miss a value that is replaced at that moment, so one
    /// that finds nothing looks again under the lock.
    #[inline]
    fn read<R>(&self, key: &str, read: impl Fn(&Pod) -> R) -> Option<R> {
        let found = self.peek_with(key, |_, pod| read(pod));
        found.or_else(|| self.read_sync(key, |_, pod| read(pod)))
    }

    /// In its entry, without a look at the key again.
    #[inline]
    fn update(&self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        let update = |mut entry: OccupiedEntry<'_, _, Pod, _>| {
            let pod = entry.get().with_health(status, at);
            entry.update(pod);
        };
        self.get_sync(key).map(update).is_some()
    }

    #[inline]
    fn put(&self, key: Key, pod: Pod) -> bool {
        self.insert_sync(key, pod).is_ok()
    }

    #[inline]
    fn take(&self, key: &str) -> bool {
        self.remove_sync(key)
    }

    fn count(&self) -> usize {
        self.len()
    }
}

/// `scc::HashMap`: readers and writers lock a bucket.
pub type SccMap = scc::HashMap<Key, Pod, Hasher>;

impl Map for SccMap {
    fn empty(hasher: Hasher) -> Self {
        scc::HashMap::with_hasher(hasher)
    }

    #[inline]
    fn read<R>(&self, key: &str, read: impl Fn(&Pod) -> R) -> Option<R> {
        self.read_sync(key, |_, pod| read(pod))
    }

    #[inline]
    fn update(&self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        self.update_sync(key, |_, pod| pod.set_health(status, at)).is_some()
    }

    #[inline]
    fn put(&self, key: Key, pod: Pod) -> bool {
        self.insert_sync(key, pod).is_ok()
    }

    #[inline]
    fn take(&self, key: &str) -> bool {
        self.remove_sync(key).is_some()
    }

    fn count(&self) -> usize {
        self.len()
    }
}

/// `crossbeam-skiplist`: an ordered map without locks.
pub type Skip = SkipMap<Key, Pod>;

impl Map for Skip {
    fn empty(_: Hasher) -> Self {
        SkipMap::new()
    }

    #[inline]
    fn read<R>(&self, key: &str, read: impl Fn(&Pod) -> R) -> Option<R> {
        self.get(key).map(|entry| read(entry.value()))
    }

    /// By inserting it again. A reader can miss it at that moment, so this is measured on one
    /// thread only.
    #[inline]
    fn update(&self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        let known = self.get(key);
        let known = known.map(|known| (known.key().clone(), known.value().with_health(status, at)));
        known.map(|(key, pod)| self.insert(key, pod)).is_some()
    }

    #[inline]
    fn put(&self, key: Key, pod: Pod) -> bool {
        let known = self.contains_key(&*key);
        self.insert(key, pod);
        !known
    }

    #[inline]
    fn take(&self, key: &str) -> bool {
        self.remove(key).is_some()
    }

    fn count(&self) -> usize {
        self.len()
    }
}

type ImblMap = GenericHashMap<Key, Pod, Hasher, DefaultSharedPtr>;

/// `imbl::HashMap` behind an `ArcSwap`, with a lock for its writers: readers load a pointer,
/// a writer changes a clone.
pub struct Persistent(ArcSwap<ImblMap>, Mutex<()>);

impl Persistent {
    #[inline]
    fn change<R>(&self, change: impl FnOnce(&mut ImblMap) -> R) -> R {
        let _turn = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let mut map = ImblMap::clone(&self.0.load());
        let answer = change(&mut map);
        self.0.store(Arc::new(map));
        answer
    }
}

impl Map for Persistent {
    fn empty(hasher: Hasher) -> Self {
        Persistent(ArcSwap::from_pointee(ImblMap::with_hasher(hasher)), Mutex::new(()))
    }

    #[inline]
    fn read<R>(&self, key: &str, read: impl Fn(&Pod) -> R) -> Option<R> {
        self.0.load().get(key).map(read)
    }

    #[inline]
    fn update(&self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        self.change(|map| map.get_mut(key).map(|pod| pod.set_health(status, at)).is_some())
    }

    #[inline]
    fn put(&self, key: Key, pod: Pod) -> bool {
        self.change(|map| map.insert(key, pod).is_none())
    }

    #[inline]
    fn take(&self, key: &str) -> bool {
        self.change(|map| map.remove(key).is_some())
    }

    fn count(&self) -> usize {
        self.0.load().len()
    }
}

/// `concread`: a tree of buckets with a transaction for each reader and writer. It hashes
/// with the same hasher, but chooses the seed itself.
pub type Concread = concread::hashmap::HashMap<Key, Pod>;

impl Map for Concread {
    fn empty(_: Hasher) -> Self {
        concread::hashmap::HashMap::new()
    }

    #[inline]
    fn read<R>(&self, key: &str, read: impl Fn(&Pod) -> R) -> Option<R> {
        Concread::read(self).get(key).map(read)
    }

    /// It takes an owned key, which has to be made.
    #[inline]
    fn update(&self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        let mut turn = self.write();
        let known = turn.get_mut(&key.into()).map(|pod| pod.set_health(status, at)).is_some();
        turn.commit();
        known
    }

    #[inline]
    fn put(&self, key: Key, pod: Pod) -> bool {
        let mut turn = self.write();
        let known = turn.insert(key, pod).is_some();
        turn.commit();
        !known
    }

    #[inline]
    fn take(&self, key: &str) -> bool {
        let mut turn = self.write();
        let known = turn.remove(&key.into()).is_some();
        turn.commit();
        known
    }

    fn count(&self) -> usize {
        Concread::read(self).len()
    }
}
