//! One map.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use equivalent::Equivalent;

use crate::handle::{Engine, Handle, LENGTHS, RandomState, Shared, hash_of, note_length, publish};
use crate::map_view::{MapReader, MapSnapshot, PinnedMap};
use crate::raw::{Map, Position, Turn};
use crate::twin::{self, Twin};

/// A concurrent hash map of which consistent snapshots can be taken in O(1).
///
/// All methods take `&self`: share it by reference, in an `Arc` or in a `static`. Whoever reads takes no
/// lock and waits for nobody; whoever writes waits for other writers of the same domain.
///
/// There are four ways to read:
///
/// | | for | costs | holds up meanwhile |
/// | --- | --- | --- | --- |
/// | [`get`](Self::get), [`with`](Self::with) | one question | a pin each | |
/// | [`pinned`](Self::pinned) | many questions in a row | one pin | the freeing of all that is replaced |
/// | [`reader`](Self::reader) | a thread that reads a lot | a comparison, unless something was written | what it can see |
/// | [`snapshot`](Self::snapshot) | answers that stay, on any thread | registering, once | what it can see |
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
/// # Code of a caller's
///
/// `Hash`, `Clone` and closures run when nobody's turn is taken; so do `Drop`s, of keys and values alike,
/// sometime later on whichever thread frees, one after the other: what can be freed since a `Drop` has
/// written is freed after it, and not within it. (Where each `Drop` puts another value of its kind, that never
/// ends.) `Eq` runs in the domain's turn, too: there it may read
/// every map, and write to maps of other domains; one that writes to its own domain panics. One that waits
/// for a lock whose holder writes to the same domain waits for ever, and so do two of two domains that
/// write to each other's.
///
/// Where any of them panics, that goes on to whoever has called, and the map shows what it showed before; but
/// a `Drop` runs when the change has been published. Whoever reads without a view may be the one who frees, and meet such a
/// panic of another's value.
///
/// # The end of a map
///
/// Dropping a map is a commit, from which on it is empty. What was in it is freed at once, or with the last
/// view or snapshot from before: each of those keeps all of it. So snapshots that are values in a map of
/// their own domain keep that map for good, and themselves, unless it is [cleared](Self::clear) before it is dropped. A map that is
/// dropped by an `Eq` which its domain asks goes with the domain.
pub struct VersionedMap<K, V, S = RandomState> {
    handle: Handle,
    map: Map<K, V>,
    hasher: S,
}

/// What is to be done with a key, as [`VersionedMap::compute`] is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<V> {
    /// Nothing.
    Keep,
    /// It gets this value.
    Insert(V),
    /// It is removed.
    Remove,
}

impl<K, V> VersionedMap<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// An empty map, in a domain of its own.
    pub fn new() -> VersionedMap<K, V> {
        VersionedMap::with_hasher(RandomState::default())
    }

    /// An empty map with [room](Self::reserve) for so many keys, in a domain of its own.
    ///
    /// # Panics
    ///
    /// As for [`reserve`](Self::reserve).
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

    /// The map, for whoever has a view or a commit of a domain.
    ///
    /// # Panics
    ///
    /// If that is another one.
    #[inline]
    pub(crate) fn in_domain(&self, engine: &Arc<Engine>) -> Map<K, V> {
        assert!(
            Arc::ptr_eq(self.handle.engine(), engine),
            "the map is of another domain"
        );
        self.map
    }

    /// Its hasher.
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
    /// An empty map with a hasher of its own, in a domain of its own.
    pub fn with_hasher(hasher: S) -> VersionedMap<K, V, S> {
        let handle = Handle::new();
        let map = handle.add();
        VersionedMap::of(handle, map, hasher)
    }

    /// Makes room for so many keys more, so that the table does not grow while they come. O(keys).
    /// A removal that leaves it almost empty gives the room back.
    ///
    /// # Panics
    ///
    /// If no memory could hold so many; then nothing has happened.
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

    /// A clone of the value under a key. O(1). It is cloned while the thread is pinned.
    // As a function of its own it would cost a fifth of a read.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        V: Clone,
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let value = self.with(key, V::clone);
        self.handle.engine().come_by();
        value
    }

    /// Calls `read` with the value under a key, if there is one, and answers what it answers. O(1), and
    /// clones nothing. It frees nothing either: a signal handler may call it, after its thread's first
    /// read, if the key's `Hash` and `Eq` and `read` may run there.
    #[allow(clippy::inline_always)] // as for `get`
    #[inline(always)]
    pub fn with<Q, R>(&self, key: &Q, read: impl FnOnce(&V) -> R) -> Option<R>
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let hash = self.hash(key);
        let pinned = self.handle.engine().pin();
        // Nothing is freed here: a signal handler may ask.
        pinned.get(self.map, hash, key).map(read)
    }

    /// Whether a key is there. O(1).
    #[inline]
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let is_there = self.with(key, |_| ()).is_some();
        self.handle.engine().come_by();
        is_there
    }

    /// How many keys there are. O(1).
    pub fn len(&self) -> usize {
        let view = self.handle.engine().pin();
        let length = view.get(LENGTHS, hash_of(self.map.number()), &self.map.number());
        length.copied().unwrap_or(0)
    }

    /// Whether there are none. O(1).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The present state, for a thread that asks several questions in a row and then lets go of it:
    /// the cheapest consistent view. O(1), allocates nothing.
    ///
    /// While it is held, nothing that is replaced in the domain is freed, nor in any other that the thread reads
    /// meanwhile: see [`Pinned`](crate::Pinned).
    #[inline]
    #[must_use]
    pub fn pinned(&self) -> PinnedMap<'_, K, V, S> {
        PinnedMap::new(self.handle.engine(), self.map, &self.hasher)
    }

    /// The present state, for as long as one likes. O(1); allocates nothing, but for more snapshots
    /// at once than there have been before.
    #[must_use]
    pub fn snapshot(&self) -> MapSnapshot<K, V, S>
    where
        S: Clone,
    {
        let state = self.handle.engine().register();
        MapSnapshot::new(state, self.map, self.hasher.clone())
    }

    /// A handle for a thread that reads a lot: a snapshot that moves on by itself, so that a read
    /// costs little more than the look-up. O(1).
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
        turn.find_first(self.map, hash, key)
    }

    /// Puts a value where a key was looked for; answers with the key where it was not needed.
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

    /// Puts a value under a key; answers whether the key was new. O(1): where the table grows, a part of that is done with
    /// each key.
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

    /// Removes a key; answers whether it was there. O(1) on average.
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

    /// Has `decide` look at the value under a key, when nobody's turn is taken, and takes the turn;
    /// again, where the key was changed meanwhile. Nothing, where it is to be kept.
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
            // Held until the versions have been compared: meanwhile no other one has this address.
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
            if is_same || twin::is(Twin::Uncompared) {
                return Some((turn, position, decided));
            }
            let is_lie = turn.published() == view.revision();
            drop(turn);
            if is_lie {
                // Nothing has been written since, and another key was equal to this one.
                return None;
            }
        }
    }

    /// Puts what `update` makes of the value under a key in its place; answers whether there was one.
    ///
    /// `update` runs when nobody's turn is taken, and again where the key was changed meanwhile.
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

    /// Does with a key what `change` says when it has seen its value; answers whether that was
    /// something else than to keep it.
    ///
    /// `change` runs when nobody's turn is taken, and again where the key was changed meanwhile.
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

    /// Puts a value under a key that is not there; answers whether it was not. Where it was, key and
    /// value are dropped.
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

    /// Puts a value in the place of one that is equal to `known`; answers whether there was one.
    ///
    /// They are compared when nobody's turn is taken.
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

    /// Removes each key for which `keep` says no. Looks at the keys of the present state; a
    /// commit for each that is removed. O(keys).
    ///
    /// `keep` runs when nobody's turn is taken, and again where the key was changed meanwhile. Where all
    /// have to go at once, [`Commit::publish_if_unchanged_since`](crate::Commit::publish_if_unchanged_since)
    /// does that.
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

    /// Removes all keys; answers whether there were any. O(keys).
    pub fn clear(&self) -> bool {
        let map = self.map.number();
        let mut turn = self.handle.turn();
        if turn.len(map) == 0 {
            return false;
        }
        turn.entry(LENGTHS, hash_of(map), &map).insert(map, 0);
        // Last: whoever sees the new table sees the whole commit.
        let cleared = turn.clear_maps(&[map]);
        publish(turn);
        drop(cleared);
        true
    }
}

impl<K, V, S> Drop for VersionedMap<K, V, S> {
    /// A commit: see "The end of a map" above.
    fn drop(&mut self) {
        let engine = self.handle.engine();
        if cfg!(loom) && std::thread::panicking() {
            return;
        }
        if engine.is_asking() {
            // The turn is taken. The map goes with its domain.
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
        engine.tidy_up();
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
