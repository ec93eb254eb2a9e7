//! [`InPlace`], the standard maps as subscriptions need them.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::Hash;

use hashbrown::HashMap;

use super::subscriptions::{HashedMap, Maps, SortedMap};
use crate::hash::RandomState;

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
