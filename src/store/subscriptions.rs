//! Subscriptions by group and by subscriber, written once for tables that change in place and
//! for persistent tables.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;

#[cfg(feature = "snapshot")]
use super::differ::subscriptions;
#[cfg(feature = "snapshot")]
use crate::changes::Difference;
use crate::hash::RandomState;
use crate::model::key::ServiceKey;

/// A family of map types.
pub(crate) trait Maps {
    /// A hash map.
    type Hashed<K: Clone + Eq + Hash + Borrow<str>, V: Clone + Default>: HashedMap<K, V>;
    /// A map that is sorted by key.
    type Sorted<K: Clone + Ord, V: Clone>: SortedMap<K, V> + Clone + Default;
}

pub(crate) trait HashedMap<K, V> {
    fn new(hasher: RandomState) -> Self;
    #[cfg(test)]
    fn hasher(&self) -> &RandomState;
    /// Returns whether both are known to share everything.
    #[cfg(feature = "snapshot")]
    fn same(&self, _other: &Self) -> bool {
        false
    }
    fn get_entry(&self, key: &str) -> Option<(&K, &V)>;
    fn entries<'a>(&'a self) -> impl Iterator<Item = (&'a K, &'a V)>
    where
        K: 'a,
        V: 'a;
    fn get_mut(&mut self, key: &str) -> Option<&mut V>;
    fn entry_or_default(&mut self, key: K) -> &mut V;
    fn remove(&mut self, key: &str) -> Option<V>;
}

pub(crate) trait SortedMap<K, V> {
    fn is_empty(&self) -> bool;
    /// See [`HashedMap::same`].
    #[cfg(feature = "snapshot")]
    fn same(&self, _other: &Self) -> bool {
        false
    }
    #[cfg(feature = "snapshot")]
    fn entries<'a>(&'a self) -> impl Iterator<Item = (&'a K, &'a V)>
    where
        K: 'a,
        V: 'a;
    fn insert(&mut self, key: K, value: V);
    fn values<'a>(&'a self) -> impl Iterator<Item = &'a V>
    where
        K: 'a,
        V: 'a;
    fn into_entries(self) -> impl Iterator<Item = (K, V)>;
    fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>;
    fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>;
}

/// The subscribers of each group, and the groups of each subscriber.
///
/// Each subscription has a number, and numbers only grow. A group sorted by number is therefore
/// in the order of subscription. A subscriber knows its numbers, so it can leave each of its
/// groups in O(log *s*), no matter how many others stay.
pub(crate) struct Subscriptions<M: Maps> {
    groups: M::Hashed<Arc<str>, Group<M>>,
    subscribers: M::Hashed<ServiceKey, M::Sorted<Arc<str>, u64>>,
    next: u64,
    count: usize,
}

type Group<M> = <M as Maps>::Sorted<u64, ServiceKey>;

impl<M: Maps> Subscriptions<M> {
    pub(crate) fn new(hasher: &RandomState) -> Subscriptions<M> {
        Subscriptions {
            groups: HashedMap::new(hasher.clone()),
            subscribers: HashedMap::new(hasher.clone()),
            next: 0,
            count: 0,
        }
    }

    /// Returns the hashers of both tables.
    #[cfg(test)]
    pub(crate) fn hashers(&self) -> [&RandomState; 2] {
        [self.groups.hasher(), self.subscribers.hasher()]
    }

    /// Returns the number of pairs of a subscriber and a group.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Iterates over the groups that have subscribers.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.entries().map(|(group, _)| &**group)
    }

    /// Calls `visit` with the subscribers of every group, in the order of subscription.
    pub(crate) fn each(&self, mut visit: impl FnMut(&ServiceKey, &Arc<str>)) {
        for (group, subscribers) in self.groups.entries() {
            for subscriber in subscribers.values() {
                visit(subscriber, group);
            }
        }
    }

    /// Continues the numbers of `before`.
    pub(crate) fn continue_numbers(&mut self, before: &Subscriptions<M>) {
        self.next = before.next;
    }

    /// Iterates over the subscribers of a group, in the order of subscription.
    pub(crate) fn of_group<'a>(
        &'a self,
        service_group: &str,
    ) -> impl Iterator<Item = &'a ServiceKey> + use<'a, M> {
        let group = self.groups.get_entry(service_group);
        group.into_iter().flat_map(|(_, group)| group.values())
    }

    /// Adds the differences from an older state of the same maps. O(groups), plus the
    /// subscribers of the groups that differ.
    #[cfg(feature = "snapshot")]
    pub(crate) fn changes_since(&self, older: &Subscriptions<M>, changes: &mut Vec<Difference>) {
        if self.groups.same(&older.groups) {
            return;
        }
        let numbered = |group: &'_ Group<M>| {
            let entries = group.entries();
            entries
                .map(|(number, key)| (*number, key.clone()))
                .collect::<Vec<_>>()
        };
        let mut begun = Vec::new();
        let mut differ = |group: &str, before: Option<&Group<M>>, after: Option<&Group<M>>| {
            let [before, after] = [before, after].map(|side| side.map_or_else(Vec::new, numbered));
            subscriptions(group, &before, &after, changes, &mut begun);
        };
        for (group, after) in self.groups.entries() {
            let before = older.groups.get_entry(group).map(|(_, before)| before);
            if !before.is_some_and(|before| before.same(after)) {
                differ(group, before, Some(after));
            }
        }
        for (group, before) in older.groups.entries() {
            if self.groups.get_entry(group).is_none() {
                differ(group, Some(before), None);
            }
        }
        changes.append(&mut begun);
    }

    /// Adds a subscription, whose subscriber and group have been checked. Returns its number
    /// and its subscriber if it is new.
    pub(crate) fn add(
        &mut self,
        subscriber_key: &str,
        service_group: &str,
    ) -> Option<(u64, ServiceKey)> {
        let key = match self.subscribers.get_entry(subscriber_key) {
            Some((_, groups)) if groups.contains(service_group) => return None,
            Some((key, _)) => key.clone(),
            None => subscriber_key
                .parse()
                .expect("the store checks a subscriber key before it passes it on"),
        };
        let group = match self.groups.get_entry(service_group) {
            Some((group, _)) => group.clone(),
            None => service_group.into(),
        };
        let number = self.next;
        self.next += 1;
        self.count += 1;
        self.groups
            .entry_or_default(group.clone())
            .insert(number, key.clone());
        self.subscribers
            .entry_or_default(key.clone())
            .insert(group, number);
        Some((number, key))
    }

    /// Removes a subscription. Returns its number and its subscriber if there was one.
    pub(crate) fn remove(
        &mut self,
        subscriber_key: &str,
        service_group: &str,
    ) -> Option<(u64, ServiceKey)> {
        // Checked first, because mutable access to an entry of a persistent map copies its
        // path.
        let (_, groups) = self.subscribers.get_entry(subscriber_key)?;
        groups.contains(service_group).then_some(())?;
        let groups = self.subscribers.get_mut(subscriber_key)?;
        let number = groups.remove(service_group)?;
        if groups.is_empty() {
            self.subscribers.remove(subscriber_key);
        }
        let subscriber = self.remove_from_group(service_group, number)?;
        Some((number, subscriber))
    }

    /// Removes all subscriptions of a subscriber. Yields the group, the number and the
    /// subscriber of each while it is removed.
    pub(crate) fn remove_all(
        &mut self,
        subscriber_key: &str,
    ) -> impl Iterator<Item = (Arc<str>, u64, ServiceKey)> {
        let groups = self.subscribers.remove(subscriber_key);
        let groups = groups.into_iter().flat_map(SortedMap::into_entries);
        groups.filter_map(|(group, number)| {
            let subscriber = self.remove_from_group(&group, number)?;
            Some((group, number, subscriber))
        })
    }

    /// Removes the subscription with this number from its group.
    fn remove_from_group(&mut self, service_group: &str, number: u64) -> Option<ServiceKey> {
        let subscribers = self.groups.get_mut(service_group)?;
        let subscriber = subscribers.remove(&number)?;
        self.count -= 1;
        if subscribers.is_empty() {
            self.groups.remove(service_group);
        }
        Some(subscriber)
    }
}

impl<M: Maps> Clone for Subscriptions<M>
where
    M::Hashed<Arc<str>, Group<M>>: Clone,
    M::Hashed<ServiceKey, M::Sorted<Arc<str>, u64>>: Clone,
{
    fn clone(&self) -> Self {
        Subscriptions {
            groups: self.groups.clone(),
            subscribers: self.subscribers.clone(),
            ..*self
        }
    }
}
