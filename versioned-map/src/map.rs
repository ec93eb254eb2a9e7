//! One map.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use equivalent::Equivalent;

use crate::handle::{Engine, Handle, LENGTHS, RandomState, Shared, hash_of, note_length, publish};
use crate::map_view::{MapReader, MapSnapshot, PinnedMap};
use crate::raw::{Map, Position, Turn};
use crate::twin::{self, Twin};

/// A concurrent hash map with consistent snapshots in O(1).
///
/// All methods take `&self`: share the map by reference, in an `Arc` or in a `static`. Readers take
/// no lock and never wait; writers wait for other writers of the same domain.
///
/// There are four ways to read:
///
/// | | for | cost | delays meanwhile |
/// | --- | --- | --- | --- |
/// | [`get`](Self::get), [`with`](Self::with) | one question | one pin each | |
/// | [`pinned`](Self::pinned) | many questions in a row | one pin | the freeing of everything that is replaced |
/// | [`reader`](Self::reader) | a thread that reads a lot | one comparison, unless something was written | the freeing of what it can see |
/// | [`snapshot`](Self::snapshot) | answers that stay, on any thread | one registration | the freeing of what it can see |
///
/// ```
/// use versioned_map::VersionedMap;
///
/// let map = VersionedMap::new();
/// map.insert("a", 1);
/// let before = map.snapshot();
/// map.update("a", |a| a + 1);
/// map.insert("b", 3);
/// assert_eq!(before.iter().collect::<Vec<_>>(), [(&"a", &1)]);
/// assert_eq!(map.get("a"), Some(2));
/// assert_eq!(map.len(), 2);
/// ```
///
/// # The caller's code
///
/// `Hash`, `Clone` and closures run without the domain's writer lock. So do `Drop`s, of keys and
/// values alike, at some later time on the thread that frees, one after the other: what becomes
/// free because a `Drop` has written is freed after that `Drop`, not within it. (If each `Drop`
/// inserts another value of its kind, that never ends.) `Eq` also runs with the writer lock held.
/// There it may read every map, and write to maps of other domains; if it writes to its own domain,
/// it panics. If it waits for a lock whose holder writes to the same domain, it waits forever, and
/// so do two `Eq`s of two domains that write to each other's domain.
///
/// If any of them panics, the panic propagates to the caller, and the map is unchanged; but a
/// `Drop` runs after the change has been published. A thread that reads without a view may be the
/// one that frees, and so receive the panic of another thread's value.
///
/// # The end of a map
///
/// Dropping a map is a commit that empties it. Its content is freed at once, or with the last
/// earlier view or snapshot: each of those keeps all of it. So snapshots that are values in a map
/// of their own domain keep that map, and themselves, forever, unless the map is
/// [cleared](Self::clear) before it is dropped. A map that is dropped inside an `Eq` called by its
/// domain is freed with the domain.
pub struct VersionedMap<K, V, S = RandomState> {
    handle: Handle,
    map: Map<K, V>,
    hasher: S,
}

/// The change that the closure of [`VersionedMap::compute`] requests for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<V> {
    /// Leaves the key as it is.
    Keep,
    /// Inserts or replaces the value.
    Insert(V),
    /// Removes the key.
    Remove,
}

impl<K, V> VersionedMap<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Creates an empty map in its own domain.
    pub fn new() -> VersionedMap<K, V> {
        VersionedMap::with_hasher(RandomState::default())
    }

    /// Creates an empty map with [room](Self::reserve) for this many keys, in its own domain.
    ///
    /// # Panics
    ///
    /// Panics as [`reserve`](Self::reserve) does.
    pub fn with_capacity(capacity: usize) -> VersionedMap<K, V> {
        let map = VersionedMap::new();
        map.reserve(capacity);
        map
    }
}

impl<K, V, S> VersionedMap<K, V, S> {
    pub(crate) fn of(handle: Handle, map: Map<K, V>, hasher: S) -> VersionedMap<K, V, S> {
        VersionedMap {
            handle,
            map,
            hasher,
        }
    }

    /// Returns the map, for a view or a commit of the domain of `engine`.
    ///
    /// # Panics
    ///
    /// Panics if the map belongs to another domain.
    #[inline]
    pub(crate) fn in_domain(&self, engine: &Arc<Engine>) -> Map<K, V> {
        assert!(
            Arc::ptr_eq(self.handle.engine(), engine),
            "the map is of another domain"
        );
        self.map
    }

    /// Returns the hasher.
    pub fn hasher(&self) -> &S {
        &self.hasher
    }

    #[inline]
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl<K, V, S> VersionedMap<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher,
{
    /// Creates an empty map with the given hasher, in its own domain.
    pub fn with_hasher(hasher: S) -> VersionedMap<K, V, S> {
        let handle = Handle::new();
        let map = handle.add();
        VersionedMap::of(handle, map, hasher)
    }

    /// Reserves room for this many more keys, so that the table does not grow while they are
    /// inserted. O(keys). A removal that leaves the table almost empty gives the room back.
    ///
    /// # Panics
    ///
    /// Panics if no memory could hold so many; then nothing has changed.
    pub fn reserve(&self, additional: usize) {
        let mut turn = self.handle.turn();
        let is_possible = turn.make_room(self.map.number(), additional);
        publish(turn);
        // Not in the turn: a panic there closes the domain.
        assert!(is_possible, "capacity overflow");
    }

    #[inline]
    pub(crate) fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        self.hasher.hash_one(key)
    }

    // --- reading

    /// Returns a clone of the value under a key. O(1). The thread is pinned while it clones.
    // Inlined: a call would cost a fifth of a read.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        V: Clone,
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let value = self.with(key, V::clone);
        self.handle.engine().reclaim_some();
        value
    }

    /// Calls `read` with the value under a key, if there is one, and returns its answer. O(1), and
    /// clones nothing. It also frees nothing, so a signal handler may call it, after its thread's
    /// first read, if the key's `Hash` and `Eq` and `read` may run there.
    #[allow(clippy::inline_always)] // as for `get`
    #[inline(always)]
    pub fn with<Q, R>(&self, key: &Q, read: impl FnOnce(&V) -> R) -> Option<R>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let hash = self.hash(key);
        let pinned = self.handle.engine().pin();
        // Frees nothing: a signal handler may call this.
        pinned.get(self.map, hash, key).map(read)
    }

    /// Returns whether the map contains a key. O(1).
    #[inline]
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let is_there = self.with(key, |_| ()).is_some();
        self.handle.engine().reclaim_some();
        is_there
    }

    /// Returns the number of keys. O(1).
    pub fn len(&self) -> usize {
        let view = self.handle.engine().pin();
        let length = view.get(LENGTHS, hash_of(self.map.number()), &self.map.number());
        length.copied().unwrap_or(0)
    }

    /// Returns whether the map is empty. O(1).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a view of the present state, for several questions in a row on one thread: the
    /// cheapest consistent view. O(1), allocates nothing.
    ///
    /// While the view exists, nothing that is replaced in its domain is freed, nor in any other
    /// domain that the thread reads meanwhile: see [`Pinned`](crate::Pinned).
    #[inline]
    #[must_use]
    pub fn pinned(&self) -> PinnedMap<'_, K, V, S> {
        PinnedMap::new(self.handle.engine(), self.map, &self.hasher)
    }

    /// Returns a snapshot of the present state, which can be kept as long as you like. O(1);
    /// allocates only if there are more snapshots at once than ever before.
    #[must_use]
    pub fn snapshot(&self) -> MapSnapshot<K, V, S>
    where
        S: Clone,
    {
        let state = self.handle.engine().register();
        MapSnapshot::new(state, self.map, self.hasher.clone())
    }

    /// Returns a handle for a thread that reads a lot: a snapshot that moves on by itself, so that
    /// a read costs little more than the look-up. O(1).
    #[must_use]
    pub fn reader(&self) -> MapReader<K, V, S>
    where
        S: Clone,
    {
        MapReader::new(self.handle.clone(), self.snapshot())
    }

    // --- writing

    fn find<Q>(&self, turn: &mut Turn<'_, Shared>, hash: u64, key: &Q) -> Position
    where
        Q: Equivalent<K> + ?Sized,
    {
        turn.find_before_writing(self.map, hash, key)
    }

    /// Puts a value at a found position. Returns the key if it was not needed.
    fn put(&self, turn: &mut Turn<'_, Shared>, position: Position, key: K, value: V) -> Option<K> {
        let was_there = position.version().is_some();
        let left = if position.is_vacant() {
            turn.add_key(self.map, &position, key, value);
            None
        } else {
            turn.replace(self.map, &position, Some(value));
            Some(key)
        };
        if !was_there {
            note_length(turn, self.map.number());
        }
        left
    }

    fn take(&self, turn: &mut Turn<'_, Shared>, position: Position) {
        turn.replace(self.map, &position, None);
        note_length(turn, self.map.number());
    }

    /// Inserts a value under a key. Returns whether the key was new. O(1): while the table grows,
    /// each insertion does a part of that work.
    pub fn insert(&self, key: K, value: V) -> bool {
        let hash = self.hash(&key);
        let mut turn = self.handle.turn();
        let position = self.find(&mut turn, hash, &key);
        let is_new = position.version().is_none();
        let left = self.put(&mut turn, position, key, value);
        publish(turn);
        drop(left);
        is_new
    }

    /// Removes a key. Returns whether it was present. O(1) on average.
    pub fn remove<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let hash = self.hash(key);
        let mut turn = self.handle.turn();
        let position = self.find(&mut turn, hash, key);
        let was_there = position.version().is_some();
        if was_there {
            self.take(&mut turn, position);
        }
        publish(turn);
        was_there
    }

    /// Calls `decide` with the value under a key, without the writer lock, and then takes the lock;
    /// repeats this if the key was changed meanwhile. Returns `None` if the value is to be kept.
    #[allow(clippy::type_complexity)]
    fn decide<Q, T>(
        &self,
        hash: u64,
        key: &Q,
        mut decide: impl FnMut(Option<&V>) -> Change<T>,
    ) -> Option<(Turn<'_, Shared>, Position, Option<T>)>
    where
        Q: Equivalent<K> + ?Sized,
    {
        loop {
            // Held until the versions have been compared: meanwhile no other version has this
            // address.
            let view = self.handle.engine().pin();
            let seen = view.find(self.map, hash, key);
            let decided = match decide(seen.as_ref().map(|seen| seen.value)) {
                Change::Keep => return None,
                Change::Insert(value) => Some(value),
                Change::Remove => None,
            };
            let mut turn = self.handle.turn();
            let position = self.find(&mut turn, hash, key);
            let is_same = position.version() == seen.map(|seen| seen.version());
            if is_same || twin::is(Twin::UpdateNotCompared) {
                return Some((turn, position, decided));
            }
            let is_lie = turn.published() == view.revision();
            drop(turn);
            if is_lie {
                // No commit has come between: an `Eq` that lies has found another key equal to this
                // one.
                return None;
            }
        }
    }

    /// Replaces the value under a key by the result of `update`. Returns whether there was a value.
    ///
    /// `update` runs without the domain's writer lock, and again if the key was changed meanwhile.
    pub fn update<Q>(&self, key: &Q, mut update: impl FnMut(&V) -> V) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let decided = self.decide(self.hash(key), key, |known| match known {
            Some(known) => Change::Insert(update(known)),
            None => Change::Keep,
        });
        let Some((mut turn, position, value)) = decided else {
            return false;
        };
        turn.replace(self.map, &position, value);
        publish(turn);
        true
    }

    /// Calls `change` with the value under a key, and makes the change that it returns. Returns
    /// whether that was a change other than [`Change::Keep`].
    ///
    /// `change` runs without the domain's writer lock, and again if the key was changed meanwhile.
    ///
    /// ```
    /// use versioned_map::{Change, VersionedMap};
    ///
    /// let left: VersionedMap<&str, u32> = [("a", 2)].into_iter().collect();
    /// let take = |name| left.compute(name, |left| match left {
    ///     None => Change::Keep,
    ///     Some(1) => Change::Remove,
    ///     Some(left) => Change::Insert(left - 1),
    /// });
    /// assert!(take("a"));
    /// assert!(take("a"));
    /// assert!(!take("a"));
    /// ```
    pub fn compute(&self, key: K, change: impl FnMut(Option<&V>) -> Change<V>) -> bool {
        let decided = self.decide(self.hash(&key), &key, change);
        let Some((mut turn, position, value)) = decided else {
            return false;
        };
        let left = if let Some(value) = value {
            self.put(&mut turn, position, key, value)
        } else {
            if position.version().is_some() {
                self.take(&mut turn, position);
            }
            Some(key)
        };
        publish(turn);
        drop(left);
        true
    }

    /// Inserts a value if the key is absent. Returns whether it was. If it was present, drops the
    /// given key and value.
    pub fn try_insert(&self, key: K, value: V) -> bool {
        let hash = self.hash(&key);
        let mut turn = self.handle.turn();
        let position = self.find(&mut turn, hash, &key);
        if position.version().is_some() {
            drop(turn);
            return false;
        }
        let left = self.put(&mut turn, position, key, value);
        publish(turn);
        drop(left);
        true
    }

    /// Replaces a value that equals `known`. Returns whether there was one.
    ///
    /// The comparison runs without the domain's writer lock.
    pub fn compare_and_set<Q>(&self, key: &Q, known: &V, value: V) -> bool
    where
        V: PartialEq,
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let decided = self.decide(self.hash(key), key, |present| match present {
            Some(present) if present == known => Change::Insert(()),
            _ => Change::Keep,
        });
        let Some((mut turn, position, _)) = decided else {
            return false;
        };
        turn.replace(self.map, &position, Some(value));
        publish(turn);
        true
    }

    /// Removes each key for which `keep` returns `false`. Visits the keys of the present state, and
    /// makes one commit per removed key. O(keys).
    ///
    /// `keep` runs without the domain's writer lock, and again if the key was changed meanwhile. To
    /// remove all rejected keys in one commit, use
    /// [`Commit::publish_if_unchanged_since`](crate::Commit::publish_if_unchanged_since).
    ///
    /// ```
    /// use versioned_map::VersionedMap;
    ///
    /// let map: VersionedMap<u32, u32> = (0..10).map(|n| (n, n * n)).collect();
    /// map.retain(|_, square| square % 2 == 0);
    /// assert_eq!(map.len(), 5);
    /// ```
    pub fn retain(&self, mut keep: impl FnMut(&K, &V) -> bool) {
        let snapshot = self.domain().snapshot();
        for (key, _) in snapshot.iter(self) {
            let decided = self.decide(self.hash(key), key, |known| match known {
                Some(value) if !keep(key, value) => Change::<()>::Remove,
                _ => Change::Keep,
            });
            if let Some((mut turn, position, _)) = decided {
                self.take(&mut turn, position);
                publish(turn);
            }
        }
    }

    /// Removes all keys. Returns whether there were any. O(keys).
    pub fn clear(&self) -> bool {
        let map = self.map.number();
        let mut turn = self.handle.turn();
        if turn.len(map) == 0 {
            return false;
        }
        turn.entry(LENGTHS, hash_of(map), &map).insert(map, 0);
        // Last: a reader that sees the new table sees the whole commit.
        let cleared = turn.clear_maps(&[map]);
        publish(turn);
        drop(cleared);
        true
    }
}

impl<K, V, S> Drop for VersionedMap<K, V, S> {
    /// Makes a commit: see "The end of a map" above.
    fn drop(&mut self) {
        let engine = self.handle.engine();
        if cfg!(loom) && std::thread::panicking() {
            return;
        }
        if engine.is_comparing() {
            // The thread has the turn already. The map is freed with its domain.
            return;
        }
        let mut turn = engine.turn();
        if turn.is_closed() {
            return;
        }
        let map = self.map.number();
        turn.entry(LENGTHS, hash_of(map), &map).remove();
        turn.remove_map(map);
        turn.publish();
        drop(turn);
        engine.reclaim_now();
    }
}

impl<K, V, S> Default for VersionedMap<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Default,
{
    fn default() -> VersionedMap<K, V, S> {
        VersionedMap::with_hasher(S::default())
    }
}

impl<K, V, S> fmt::Debug for VersionedMap<K, V, S>
where
    K: Hash + Eq + Send + Sync + fmt::Debug + 'static,
    V: Send + Sync + fmt::Debug + 'static,
    S: BuildHasher,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pinned().fmt(f)
    }
}
