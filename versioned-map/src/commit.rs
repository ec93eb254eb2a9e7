//! Several changes, in several maps, that become visible at once.

use std::any::Any;
use std::fmt;
use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::handle::{Handle, Shared, note_length, publish};
use crate::map::VersionedMap;
use crate::raw::{Map, Position, Turn};

/// A set of changes that become visible at once, or not at all.
///
/// A commit collects changes, and hashes their keys; only [`publish`](Self::publish) takes the
/// domain's writer lock. Dropped instead, the commit changes nothing. Of several changes of one
/// key, the last one counts. A commit does not show its changes: read from a view what they depend
/// on, and let [`publish_if_unchanged_since`](Self::publish_if_unchanged_since) check that it still
/// holds.
///
/// A commit borrows the domain, but none of the maps. It ignores the changes of a map that is
/// dropped before it is published.
///
/// ```
/// use versioned_map::{Domain, VersionedMap};
///
/// let domain = Domain::new();
/// let accounts: VersionedMap<&str, u64> = domain.map();
/// accounts.insert("a", 10);
/// accounts.insert("b", 0);
/// let revision = loop {
///     let before = domain.snapshot();
///     let of = |name| *before.get(&accounts, name).unwrap();
///     let mut commit = domain.commit();
///     commit.insert(&accounts, "a", of("a") - 10);
///     commit.insert(&accounts, "b", of("b") + 10);
///     match commit.publish_if_unchanged_since(before.revision()) {
///         Ok(revision) => break revision,
///         Err(_) => continue,
///     }
/// };
/// assert_eq!((accounts.get("a"), accounts.get("b")), (Some(0), Some(10)));
/// assert_eq!(domain.revision(), revision);
/// ```
#[must_use = "a commit that is not published has done nothing"]
pub struct Commit<'d> {
    handle: &'d Handle,
    /// The changes of each map, in the order of the maps' first changes.
    maps: Vec<Box<dyn Changes>>,
}

/// The changes of one map.
trait Changes: Any + Send {
    fn map(&self) -> u32;
    /// Finds the positions of the keys; `None` if the map has been dropped. Of the caller's code,
    /// only `Eq` runs here.
    fn find(&self, turn: &mut Turn<'_, Shared>) -> Option<Vec<Position>>;
    /// Returns how many of the keys are new.
    fn new_keys(&self, positions: &[Position]) -> usize;
    /// Makes the changes at the found positions. None of the caller's code runs here.
    fn put(&mut self, turn: &mut Turn<'_, Shared>, positions: Vec<Position>);
    /// Returns how many keys are changed.
    fn count(&self) -> usize;
}

struct Of<K, V> {
    map: Map<K, V>,
    /// Whether the map is cleared before the changes.
    clears: bool,
    changes: Vec<Change<K, V>>,
    /// The index of each key in `changes`.
    places: HashTable<usize>,
    /// Keys that were not needed, dropped after the writer lock is released.
    left: Vec<K>,
}

struct Change<K, V> {
    hash: u64,
    key: K,
    value: Option<V>,
}

impl<K, V> Of<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Records a change. Drops the earlier change that it replaces.
    fn note(&mut self, hash: u64, key: K, value: Option<V>) {
        let changes = &mut self.changes;
        let place = self
            .places
            .entry(hash, |at| changes[*at].key == key, |at| changes[*at].hash);
        match place {
            Entry::Occupied(place) => changes[*place.get()].value = value,
            Entry::Vacant(place) => {
                place.insert(changes.len());
                changes.push(Change { hash, key, value });
            }
        }
    }
}

impl<K, V> Changes for Of<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn map(&self) -> u32 {
        self.map.number()
    }

    fn find(&self, turn: &mut Turn<'_, Shared>) -> Option<Vec<Position>> {
        if !turn.has(self.map.number()) {
            return None;
        }
        let changes = self.changes.iter();
        let positions =
            changes.map(|Change { hash, key, .. }| turn.find_before_writing(self.map, *hash, key));
        Some(positions.collect())
    }

    fn new_keys(&self, positions: &[Position]) -> usize {
        let changes = self.changes.iter().zip(positions);
        let new =
            changes.filter(|(change, position)| change.value.is_some() && position.is_vacant());
        new.count()
    }

    fn put(&mut self, turn: &mut Turn<'_, Shared>, positions: Vec<Position>) {
        let map = self.map.number();
        let before = turn.len(map);
        if self.clears {
            turn.remove_all_keys(map);
        }
        self.left.reserve(self.changes.len());
        for (Change { key, value, .. }, mut position) in self.changes.drain(..).zip(positions) {
            // An `Eq` that lies may have found the same key for two changes.
            turn.refresh_position(map, &mut position);
            match value {
                Some(value) if position.is_vacant() => {
                    turn.add_key(self.map, &position, key, value);
                }
                Some(value) => {
                    turn.replace(self.map, &position, Some(value));
                    self.left.push(key);
                }
                None => {
                    if position.version().is_some() {
                        turn.replace(self.map, &position, None);
                    }
                    self.left.push(key);
                }
            }
        }
        if turn.len(map) != before {
            note_length(turn, map);
        }
    }

    fn count(&self) -> usize {
        self.changes.len()
    }
}

impl<'d> Commit<'d> {
    pub(crate) fn new(handle: &'d Handle) -> Commit<'d> {
        Commit {
            handle,
            maps: Vec::new(),
        }
    }

    fn of<K, V, S>(&mut self, map: &VersionedMap<K, V, S>) -> &mut Of<K, V>
    where
        K: Hash + Eq + Send + Sync + 'static,
        V: Send + Sync + 'static,
    {
        let map = map.in_domain(self.handle.engine());
        let place = self.maps.iter().rposition(|of| of.map() == map.number());
        let place = place.unwrap_or_else(|| {
            self.maps.push(Box::new(Of {
                map,
                clears: false,
                changes: Vec::new(),
                places: HashTable::new(),
                left: Vec::new(),
            }));
            self.maps.len() - 1
        });
        let of: &mut dyn Any = &mut *self.maps[place];
        of.downcast_mut()
            .expect("a map has one type of keys and values")
    }

    /// Inserts a value under a key.
    ///
    /// # Panics
    ///
    /// Panics if the map belongs to another domain.
    pub fn insert<K, V, S>(&mut self, map: &VersionedMap<K, V, S>, key: K, value: V) -> &mut Self
    where
        K: Hash + Eq + Send + Sync + 'static,
        V: Send + Sync + 'static,
        S: BuildHasher,
    {
        let hash = map.hash(&key);
        self.of(map).note(hash, key, Some(value));
        self
    }

    /// Removes a key, if it is present when the commit is published. The commit keeps an owned key.
    ///
    /// # Panics
    ///
    /// Panics if the map belongs to another domain.
    pub fn remove<K, V, S>(&mut self, map: &VersionedMap<K, V, S>, key: impl Into<K>) -> &mut Self
    where
        K: Hash + Eq + Send + Sync + 'static,
        V: Send + Sync + 'static,
        S: BuildHasher,
    {
        let key = key.into();
        let hash = map.hash(&key);
        self.of(map).note(hash, key, None);
        self
    }

    /// Removes all keys of a map, and discards the earlier changes of this commit to it. O(keys).
    ///
    /// # Panics
    ///
    /// Panics if the map belongs to another domain.
    pub fn clear<K, V, S>(&mut self, map: &VersionedMap<K, V, S>) -> &mut Self
    where
        K: Hash + Eq + Send + Sync + 'static,
        V: Send + Sync + 'static,
    {
        let of = self.of(map);
        of.clears = true;
        of.places.clear();
        of.changes.clear();
        self
    }

    /// Publishes the changes, all at once. Returns the revision that shows them, or the present one
    /// if nothing changed. Waits for other writers.
    ///
    /// # Panics
    ///
    /// Panics if a key's `Eq` panics; then nothing has happened. Panics if the `Drop` of a replaced
    /// value panics; then the commit has been published.
    pub fn publish(self) -> u64 {
        let turn = self.handle.turn();
        self.publish_in(turn)
    }

    /// Publishes the changes if nothing has been published in this domain since `revision`, the
    /// revision of the view from which the caller has read. Otherwise nothing happens, and the
    /// commit is given back. If all commits that depend on reads take those reads from views and
    /// publish this way, the result is as if they ran one after the other, each reading the newest
    /// state.
    ///
    /// # Errors
    ///
    /// Returns the commit if `revision` is not the newest revision any more.
    ///
    /// # Panics
    ///
    /// Panics as [`publish`](Self::publish) does.
    pub fn publish_if_unchanged_since(self, revision: u64) -> Result<u64, Commit<'d>> {
        let turn = self.handle.turn();
        if turn.published() != revision {
            drop(turn);
            return Err(self);
        }
        Ok(self.publish_in(turn))
    }

    fn publish_in(mut self, mut turn: Turn<'_, Shared>) -> u64 {
        let positions = self.maps.iter().map(|of| of.find(&mut turn));
        let positions: Vec<Option<Vec<Position>>> = positions.collect();
        let maps = self.maps.iter().zip(&positions);
        turn.reserve(
            maps.filter_map(|(of, positions)| Some((of.map(), of.new_keys(positions.as_ref()?)))),
        );
        for (of, positions) in self.maps.iter_mut().zip(positions) {
            if let Some(positions) = positions {
                of.put(&mut turn, positions);
            }
        }
        // The rest of the commit is dropped after the turn.
        publish(turn)
    }
}

impl fmt::Debug for Commit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes: usize = self.maps.iter().map(|of| of.count()).sum();
        f.debug_struct("Commit")
            .field("maps", &self.maps.len())
            .field("changes", &changes)
            .finish_non_exhaustive()
    }
}

impl<K, V, S> Extend<(K, V)> for &VersionedMap<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher,
{
    /// Inserts all items in one commit.
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, items: I) {
        let mut commit = Commit::new(self.handle());
        for (key, value) in items {
            commit.insert(self, key, value);
        }
        commit.publish();
    }
}

impl<K, V, S> Extend<(K, V)> for VersionedMap<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher,
{
    /// Inserts all items in one commit.
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, items: I) {
        (&*self).extend(items);
    }
}

impl<K, V, S> FromIterator<(K, V)> for VersionedMap<K, V, S>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Default,
{
    /// Collects into a map in its own domain.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(items: I) -> VersionedMap<K, V, S> {
        let mut map = VersionedMap::default();
        map.extend(items);
        map
    }
}
