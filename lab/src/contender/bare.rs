//! Bare maps from a key to a [`Pod`], which every thread uses through a plain reference.
//!
//! Each map is used in the way that is best for it.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use concread::hashmap::HashMapWriteTxn;
use crossbeam_skiplist::SkipMap;
use dashmap::DashMap;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;
use scc::HashIndex;
use scc::hash_index::OccupiedEntry;
use service_registry::ServiceStatus;

use crate::subject::{FollowFuture, Handle, NewPod, Pod, Subject};

/// The hasher of all maps, with the seed of the run.
pub type Hasher = FixedState;
/// The key of a pod.
pub type Key = Arc<str>;

/// The operations of a map, each on one key.
pub trait Map: Send + Sync + Sized + 'static {
    /// Creates an empty map.
    fn empty(hasher: Hasher) -> Self;

    /// Calls `read` with the pod in place.
    fn read<R>(&self, key: &str, read: impl Fn(&Pod) -> R) -> Option<R>;

    /// Sets the health of a pod. Returns whether it was there.
    fn update(&self, key: &str, status: ServiceStatus, at: SystemTime) -> bool;

    /// Inserts a pod. Returns whether it is new.
    fn put(&self, key: Key, pod: Pod) -> bool;

    /// Removes a pod. Returns whether it was there.
    fn take(&self, key: &str) -> bool;

    /// Returns the number of pods.
    fn count(&self) -> usize;

    /// Follows a name, as [`Subject::follow`] does.
    fn follow(&self, name: &str, on_change: Box<dyn FnMut() + Send>) -> Option<FollowFuture> {
        let _ = (name, on_change);
        None
    }
}

impl<M: Map> Subject for M {
    type Handle<'a> = &'a M;

    fn create(seed: u64) -> M {
        M::empty(Hasher::with_seed(seed))
    }

    fn handle(&self) -> &M {
        self
    }

    fn follow(&self, name: &str, on_change: Box<dyn FnMut() + Send>) -> Option<FollowFuture> {
        Map::follow(self, name, on_change)
    }
}

impl<M: Map> Handle for &M {
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
    fn insert(&mut self, new: &NewPod) -> bool {
        self.put(new.key.clone(), new.pod.clone())
    }

    #[inline]
    fn remove(&mut self, key: &str) -> bool {
        self.take(key)
    }

    fn pods(&mut self) -> usize {
        self.count()
    }
}

/// Implements [`Map`] for a type from an expression for each method, in their order.
macro_rules! map {
    (
        $name:ident,
        empty: |$hasher:pat_param| $empty:expr,
        read: |$reads:ident, $read_key:ident, $read:ident| $reading:expr,
        update: |$updates:ident, $update_key:ident, $status:ident, $at:ident| $update:expr,
        put: |$puts:ident, $put_key:ident, $pod:ident| $put:expr,
        take: |$takes:ident, $take_key:ident| $take:expr,
        count: |$counts:ident| $count:expr,
    ) => {
        impl Map for $name {
            fn empty($hasher: Hasher) -> $name {
                $empty
            }

            #[inline]
            fn read<R>(&self, $read_key: &str, $read: impl Fn(&Pod) -> R) -> Option<R> {
                let $reads = self;
                $reading
            }

            #[inline]
            fn update(&self, $update_key: &str, $status: ServiceStatus, $at: SystemTime) -> bool {
                let $updates = self;
                $update
            }

            #[inline]
            fn put(&self, $put_key: Key, $pod: Pod) -> bool {
                let $puts = self;
                $put
            }

            #[inline]
            fn take(&self, $take_key: &str) -> bool {
                let $takes = self;
                $take
            }

            fn count(&self) -> usize {
                let $counts = self;
                $count
            }
        }
    };
}

/// A hash map behind a reader-writer lock.
pub struct LockedMap(RwLock<HashMap<Key, Pod, Hasher>>);

impl LockedMap {
    #[inline]
    pub(super) fn write(&self) -> RwLockWriteGuard<'_, HashMap<Key, Pod, Hasher>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

map! {
    LockedMap,
    empty: |hasher| LockedMap(RwLock::new(HashMap::with_hasher(hasher))),
    read: |map, key, read| {
        map.0.read().unwrap_or_else(PoisonError::into_inner).get(key).map(read)
    },
    update: |map, key, status, at| {
        map.write().get_mut(key).map(|pod| pod.set_health(status, at)).is_some()
    },
    put: |map, key, pod| {
        let known = map.write().insert(key, pod);
        known.is_none()
    },
    take: |map, key| {
        let known = map.write().remove(key);
        known.is_some()
    },
    count: |map| map.0.read().unwrap_or_else(PoisonError::into_inner).len(),
}

/// `dashmap`: shards, each a hash map behind a lock.
pub type Dash = DashMap<Key, Pod, Hasher>;

map! {
    Dash,
    empty: |hasher| DashMap::with_hasher(hasher),
    read: |map, key, read| map.get(key).map(|pod| read(&pod)),
    update: |map, key, status, at| {
        map.get_mut(key).map(|mut pod| pod.set_health(status, at)).is_some()
    },
    put: |map, key, pod| map.insert(key, pod).is_none(),
    take: |map, key| map.remove(key).is_some(),
    count: |map| map.len(),
}

/// `papaya`: a hash map without locks. Each operation takes a guard, as an incoming request
/// would.
pub type Papaya = papaya::HashMap<Key, Pod, Hasher>;

map! {
    Papaya,
    empty: |hasher| papaya::HashMap::with_hasher(hasher),
    read: |map, key, read| map.pin().get(key).map(read),
    // This is faster than papaya's own `update`: entries that `update` has created are read twice
    // as slowly as those that `insert` has created from a clone.
    update: |map, key, status, at| {
        let map = map.pin();
        let known = map.get_key_value(key);
        known.is_some_and(|(key, pod)| {
            map.insert(key.clone(), pod.with_health(status, at)).is_some()
        })
    },
    put: |map, key, pod| map.pin().insert(key, pod).is_none(),
    take: |map, key| map.pin().remove(key).is_some(),
    count: |map| map.len(),
}

/// `scc::HashIndex`: readers take no lock, writers lock a bucket.
pub type SccIndex = HashIndex<Key, Pod, Hasher>;

map! {
    SccIndex,
    empty: |hasher| HashIndex::with_hasher(hasher),
    // A reader without a lock can miss a value that is being replaced, so a reader that finds
    // nothing looks again under the lock.
    read: |map, key, read| {
        let found = map.peek_with(key, |_, pod| read(pod));
        found.or_else(|| map.read_sync(key, |_, pod| read(pod)))
    },
    // Updates the entry, without a second look-up of the key.
    update: |map, key, status, at| {
        let update = |mut entry: OccupiedEntry<'_, _, Pod, _>| {
            let pod = entry.get().with_health(status, at);
            entry.update(pod);
        };
        map.get_sync(key).map(update).is_some()
    },
    put: |map, key, pod| map.insert_sync(key, pod).is_ok(),
    take: |map, key| map.remove_sync(key),
    count: |map| map.len(),
}

/// `scc::HashMap`: readers and writers lock a bucket.
pub type SccMap = scc::HashMap<Key, Pod, Hasher>;

map! {
    SccMap,
    empty: |hasher| scc::HashMap::with_hasher(hasher),
    read: |map, key, read| map.read_sync(key, |_, pod| read(pod)),
    update: |map, key, status, at| {
        map.update_sync(key, |_, pod| pod.set_health(status, at)).is_some()
    },
    put: |map, key, pod| map.insert_sync(key, pod).is_ok(),
    take: |map, key| map.remove_sync(key).is_some(),
    count: |map| map.len(),
}

/// `crossbeam-skiplist`: an ordered map without locks.
pub type SkipListMap = SkipMap<Key, Pod>;

map! {
    SkipListMap,
    empty: |_| SkipMap::new(),
    read: |map, key, read| map.get(key).map(|entry| read(entry.value())),
    // Inserts the pod again. A reader can miss it at that moment, so this is measured on one thread
    // only.
    update: |map, key, status, at| {
        let known = map.get(key);
        let known = known.map(|known| (known.key().clone(), known.value().with_health(status, at)));
        known.map(|(key, pod)| map.insert(key, pod)).is_some()
    },
    put: |map, key, pod| {
        let known = map.contains_key(&*key);
        map.insert(key, pod);
        !known
    },
    take: |map, key| map.remove(key).is_some(),
    count: |map| map.len(),
}

type ImblMap = GenericHashMap<Key, Pod, Hasher, DefaultSharedPtr>;

/// `imbl::HashMap` behind an `ArcSwap`, with a lock for writers: readers load a pointer, a writer
/// changes a clone.
pub struct PersistentMap(ArcSwap<ImblMap>, Mutex<()>);

impl PersistentMap {
    #[inline]
    fn change<R>(&self, change: impl FnOnce(&mut ImblMap) -> R) -> R {
        let _turn = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let mut map = ImblMap::clone(&self.0.load());
        let answer = change(&mut map);
        self.0.store(Arc::new(map));
        answer
    }
}

map! {
    PersistentMap,
    empty: |hasher| {
        PersistentMap(ArcSwap::from_pointee(ImblMap::with_hasher(hasher)), Mutex::new(()))
    },
    read: |map, key, read| map.0.load().get(key).map(read),
    update: |map, key, status, at| {
        map.change(|map| map.get_mut(key).map(|pod| pod.set_health(status, at)).is_some())
    },
    put: |map, key, pod| map.change(|map| map.insert(key, pod).is_none()),
    take: |map, key| map.change(|map| map.remove(key).is_some()),
    count: |map| map.0.load().len(),
}

/// `concread`: a tree of buckets with a transaction for each reader and writer. It hashes
/// with the same hasher, but chooses the seed itself.
pub struct Concread(concread::hashmap::HashMap<Key, Pod>);

impl Concread {
    #[inline]
    fn change<R>(&self, change: impl FnOnce(&mut HashMapWriteTxn<'_, Key, Pod>) -> R) -> R {
        let mut turn = self.0.write();
        let answer = change(&mut turn);
        turn.commit();
        answer
    }
}

map! {
    Concread,
    empty: |_| Concread(concread::hashmap::HashMap::new()),
    read: |map, key, read| map.0.read().get(key).map(read),
    // It takes an owned key, which has to be made.
    update: |map, key, status, at| map.change(|turn| {
        turn.get_mut(&key.into()).map(|pod| pod.set_health(status, at)).is_some()
    }),
    put: |map, key, pod| map.change(|turn| turn.insert(key, pod).is_none()),
    take: |map, key| map.change(|turn| turn.remove(&key.into()).is_some()),
    count: |map| map.0.read().len(),
}
