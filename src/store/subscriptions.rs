//! Who is subscribed to what, from both sides; written once for tables that
//! change in place and for persistent ones.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;

use crate::hash::RandomState;
use crate::model::key::ServiceKey;

/// A family of maps.
pub(crate) trait Maps {
    /// A hash map.
    type Hashed<K: Clone + Eq + Hash + Borrow<str>, V: Clone + Default>: HashedMap<K, V>;
    /// A map in the order of its keys.
    type Sorted<K: Clone + Ord, V: Clone>: SortedMap<K, V> + Clone + Default;
}

pub(crate) trait HashedMap<K, V> {
    fn new(hasher: RandomState) -> Self;
    #[cfg(test)]
    fn hasher(&self) -> &RandomState;
    fn keys<'a>(&'a self) -> impl Iterator<Item = &'a K>
    where
        K: 'a,
        V: 'a;
    fn get_entry(&self, key: &str) -> Option<(&K, &V)>;
    fn get_mut(&mut self, key: &str) -> Option<&mut V>;
    fn entry_or_default(&mut self, key: K) -> &mut V;
    fn remove(&mut self, key: &str) -> Option<V>;
}

pub(crate) trait SortedMap<K, V> {
    fn is_empty(&self) -> bool;
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
/// Each subscription has a number, and numbers only grow: a group sorted by
/// number is in the order of subscription, and a subscriber that knows its
/// numbers can leave each of its groups in O(log *s*), however many stay.
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

    /// The hashers of both tables.
    #[cfg(test)]
    pub(crate) fn hashers(&self) -> [&RandomState; 2] {
        [self.groups.hasher(), self.subscribers.hasher()]
    }

    /// How many pairs of a subscriber and a group there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The groups that have subscribers.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(|group| &**group)
    }

    /// The subscribers of a group, in the order of subscription.
    pub(crate) fn of_group<'a>(
        &'a self,
        service_group: &str,
    ) -> impl Iterator<Item = &'a ServiceKey> + use<'a, M> {
        let group = self.groups.get_entry(service_group);
        group.into_iter().flat_map(|(_, group)| group.values())
    }

    /// Adds a subscription, whose sides have been checked; answers with its
    /// number and its subscriber if it is new.
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

    /// Removes a subscription; answers with its number and its subscriber if
    /// there was one.
    pub(crate) fn remove(
        &mut self,
        subscriber_key: &str,
        service_group: &str,
    ) -> Option<(u64, ServiceKey)> {
        // Asked first: in a persistent map, reaching for an entry copies its path.
        let (_, groups) = self.subscribers.get_entry(subscriber_key)?;
        groups.contains(service_group).then_some(())?;
        let groups = self.subscribers.get_mut(subscriber_key)?;
        let number = groups.remove(service_group)?;
        if groups.is_empty() {
            self.subscribers.remove(subscriber_key);
        }
        let subscriber = self.leave(service_group, number)?;
        Some((number, subscriber))
    }

    /// Removes all subscriptions of a subscriber; answers with the group, the
    /// number and the subscriber of each as it goes.
    pub(crate) fn remove_all(
        &mut self,
        subscriber_key: &str,
    ) -> impl Iterator<Item = (Arc<str>, u64, ServiceKey)> {
        let groups = self.subscribers.remove(subscriber_key);
        let groups = groups.into_iter().flat_map(SortedMap::into_entries);
        groups.filter_map(|(group, number)| {
            let subscriber = self.leave(&group, number)?;
            Some((group, number, subscriber))
        })
    }

    /// Takes the subscription with this number out of its group.
    fn leave(&mut self, service_group: &str, number: u64) -> Option<ServiceKey> {
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
