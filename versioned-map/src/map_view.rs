//! The views of one map: its state at one revision.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use equivalent::Equivalent;

use crate::handle::{Engine, Handle, LENGTHS, RandomState, Shared, hash_of};
use crate::raw::{self, Map, ReclaimAfterView, Registered};

/// The state of a [`VersionedMap`](crate::VersionedMap) at one revision, for the thread that pinned
/// it: a [`Pinned`](crate::Pinned) view of one map.
pub struct PinnedMap<'m, K, V, S> {
    state: raw::Pinned<'m, Shared>,
    map: Map<K, V>,
    hasher: &'m S,
    _after: ReclaimAfterView<'m, Shared>,
}

/// A state of a [`VersionedMap`](crate::VersionedMap) that stays: a [`Snapshot`](crate::Snapshot)
/// of one map.
///
/// ```
/// fn shared_by_threads<T: Send + Sync + 'static>() {}
/// shared_by_threads::<versioned_map::MapSnapshot<String, u64>>();
/// ```
#[derive(Clone)]
pub struct MapSnapshot<K, V, S = RandomState> {
    state: Registered<Shared>,
    map: Map<K, V>,
    hasher: S,
}

/// A handle for one thread that reads a [`VersionedMap`](crate::VersionedMap) often: a
/// [`Reader`](crate::Reader) of one map.
///
/// ```
/// use versioned_map::VersionedMap;
///
/// let map = VersionedMap::new();
/// let mut reader = map.reader();
/// map.insert("a", 1);
/// assert_eq!(reader.get("a"), Some(&1));
/// ```
pub struct MapReader<K, V, S = RandomState> {
    newest: MapSnapshot<K, V, S>,
    _handle: Handle,
}

/// Implements the questions that both states of a map answer.
macro_rules! impl_state_of_map {
    ($view:ident<$($lifetime:lifetime,)? K, V, S>) => {
        impl<$($lifetime,)? K, V, S> $view<$($lifetime,)? K, V, S>
        where
            K: Hash + Eq + Send + Sync + 'static,
            V: Send + Sync + 'static,
        {
            /// Returns the revision of the map's domain that the view shows.
            pub fn revision(&self) -> u64 {
                self.state.revision()
            }

            /// Returns the value under a key. O(1).
            #[inline]
            pub fn get<Q>(&self, key: &Q) -> Option<&V>
            where
                S: BuildHasher,
                Q: Hash + Equivalent<K> + ?Sized,
            {
                self.state.get(self.map, self.hasher.hash_one(key), key)
            }

            /// Returns whether the view contains a key. O(1).
            #[inline]
            pub fn contains_key<Q>(&self, key: &Q) -> bool
            where
                S: BuildHasher,
                Q: Hash + Equivalent<K> + ?Sized,
            {
                self.get(key).is_some()
            }

            /// Iterates over all keys and values, in no particular order.
            pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
                self.state.iter(self.map)
            }

            /// Iterates over all keys, in no particular order.
            pub fn keys(&self) -> impl Iterator<Item = &K> {
                self.iter().map(|(key, _)| key)
            }

            /// Iterates over all values, in no particular order.
            pub fn values(&self) -> impl Iterator<Item = &V> {
                self.iter().map(|(_, value)| value)
            }

            /// Returns the number of keys. O(1).
            pub fn len(&self) -> usize {
                let number = self.map.number();
                let length = self.state.get(LENGTHS, hash_of(number), &number);
                length.copied().unwrap_or(0)
            }

            /// Returns whether there are no keys. O(1).
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }
        }

        impl<$($lifetime,)? K, V, S> fmt::Debug for $view<$($lifetime,)? K, V, S>
        where
            K: Hash + Eq + Send + Sync + fmt::Debug + 'static,
            V: Send + Sync + fmt::Debug + 'static,
        {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_map().entries(self.iter()).finish()
            }
        }
    };
}

impl_state_of_map!(PinnedMap<'m, K, V, S>);
impl_state_of_map!(MapSnapshot<K, V, S>);

impl<'m, K, V, S> PinnedMap<'m, K, V, S> {
    #[inline]
    pub(crate) fn new(
        engine: &'m Arc<Engine>,
        map: Map<K, V>,
        hasher: &'m S,
    ) -> PinnedMap<'m, K, V, S> {
        PinnedMap {
            state: engine.pin(),
            map,
            hasher,
            _after: ReclaimAfterView::new(engine),
        }
    }
}

impl<K, V, S> MapSnapshot<K, V, S> {
    pub(crate) fn new(state: Registered<Shared>, map: Map<K, V>, hasher: S) -> Self {
        MapSnapshot { state, map, hasher }
    }
}

impl<K, V, S> MapReader<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher,
{
    pub(crate) fn new(handle: Handle, newest: MapSnapshot<K, V, S>) -> Self {
        MapReader {
            newest,
            _handle: handle,
        }
    }

    /// Returns the newest state, borrowed until the next call. O(1), plus the cost of freeing what
    /// only this reader kept.
    #[inline]
    pub fn view(&mut self) -> &MapSnapshot<K, V, S> {
        if !self.newest.state.is_newest() {
            self.newest.state.renew();
        }
        &self.newest
    }

    /// Returns the newest value under a key. O(1), plus the cost of [`view`](Self::view).
    #[inline]
    pub fn get<Q>(&mut self, key: &Q) -> Option<&V>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        self.view().get(key)
    }
}

impl<K, V, S> fmt::Debug for MapReader<K, V, S>
where
    K: Hash + Eq + Send + Sync + fmt::Debug + 'static,
    V: Send + Sync + fmt::Debug + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapReader")
            .field("viewed", &self.newest)
            .finish_non_exhaustive()
    }
}
