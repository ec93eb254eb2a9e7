//! [`Dash`]: `dashmap`, a hash map in shards, each behind a lock.

use std::collections::BTreeMap;
use std::sync::Mutex;

use ::dashmap::DashMap;
use ::dashmap::mapref::entry::Entry;

use super::outside::prelude::*;

type Map<K, V> = DashMap<K, V, RandomState>;

/// Four maps. What stands in two of them is changed under the lock of the one
/// that comes first: names under the record, groups under the subscriber. So
/// writers keep their order without a lock of all, and a name finds exactly the
/// pods whose keys do.
///
/// A reader must not hold the second lock while it takes the first; it copies
/// the keys of a name or a group out, lets go, and looks each up.
#[derive(Default)]
pub struct Dash {
    services: Map<ServiceKey, ServiceInfo>,
    names: Map<Arc<str>, Vec<ServiceKey>>,
    subscribers: Map<ServiceKey, BTreeMap<Arc<str>, u64>>,
    groups: Map<Arc<str>, BTreeMap<u64, ServiceKey>>,
    counters: Counters,
    /// Lets batches have their turns one after the other, so that one cannot
    /// remove what another has found. It does not stop single changes.
    batches: Mutex<()>,
}

impl Contender for Dash {
    const ABOUT: About = About {
        name: "dashmap",
        id: "dashmap",
        about: "DashMap: shards, each a hash map behind a reader-writer lock",
        own_thread: false,
        kind: Kind::Outside,
        crate_name: Some("dashmap"),
        promises: Promises {
            readers: "shared lock of a shard",
            writers: "exclusive lock of a shard",
            batch: Batching::OneByOne,
            scan: Scans::Weak,
            indexes_agree: true,
            never_missing: true,
            snapshot: "no",
            linearizable: true,
            caveat: "a change of a batch whose pod another thread removes meanwhile is left out; \
                     stats and revision follow a change; a call from inside a read closure can \
                     deadlock",
        },
    };
}

impl Outside for Dash {
    type View = Dash;
    type Turn<'a> = Turn<'a, Dash, ()>;

    #[inline]
    fn read<R>(&self, read: impl FnOnce(&Dash) -> R) -> Result<R> {
        self.counters.check_open()?;
        Ok(read(self))
    }

    #[inline]
    fn write<R>(
        &self,
        write: impl FnOnce(&mut Turn<'_, Dash, ()>) -> Result<(R, bool)>,
    ) -> Result<(R, Revision)> {
        self.counters.check_open()?;
        let (answer, changed) = write(&mut Turn::new(self, &self.batches))?;
        Ok((answer, self.counters.settle(changed)))
    }

    fn current_revision(&self) -> Revision {
        self.counters.revision()
    }

    fn shut(&self) {
        self.counters.close();
        Turn::new(self, &self.batches).clear();
    }
}

impl_outside!(Dash);

impl Dash {
    /// The records under some keys that were copied out of an index.
    fn records(&self, keys: Option<impl IntoIterator<Item = ServiceKey>>) -> Vec<ServiceInfo> {
        let keys = keys.into_iter().flatten();
        keys.filter_map(|key| self.visit(&key, ServiceInfo::clone))
            .collect()
    }

    /// Takes a pod out of its name, under the lock of its record.
    fn unlist(&self, service: &ServiceInfo) {
        let name = service.service_name();
        if let Some(mut pods) = self.names.get_mut(name) {
            pods.retain(|key| key != service.key());
        }
        self.names.remove_if(name, |_, pods| pods.is_empty());
        self.counters.services_removed(1);
    }

    /// Takes a subscriber out of a group, under the lock of the subscriber.
    fn leave(&self, service_group: &str, number: u64) {
        if let Some(mut group) = self.groups.get_mut(service_group) {
            group.remove(&number);
        }
        self.groups
            .remove_if(service_group, |_, group| group.is_empty());
        self.counters.subscriptions_removed(1);
    }
}

impl Reads for Dash {
    #[inline]
    fn visit<R>(&self, key: &str, read: impl FnOnce(&ServiceInfo) -> R) -> Option<R> {
        self.services.get(key).map(|record| read(&record))
    }

    fn named(&self, service_name: &str) -> Vec<ServiceInfo> {
        self.records(self.names.get(service_name).map(|pods| pods.clone()))
    }

    fn all(&self) -> Vec<ServiceInfo> {
        let mut all = Vec::with_capacity(self.counters.stats().services);
        all.extend(self.services.iter().map(|record| record.clone()));
        all
    }

    fn subscribers(&self, service_group: &str) -> Vec<ServiceKey> {
        let group = self.groups.get(service_group);
        group.map_or_else(Vec::new, |group| group.values().cloned().collect())
    }

    fn subscriber_services(&self, service_group: &str) -> Vec<ServiceInfo> {
        self.records(Some(self.subscribers(service_group)))
    }

    fn stats(&self) -> StoreStats {
        self.counters.stats()
    }
}

impl Writes for Turn<'_, Dash, ()> {
    fn begin_batch(&mut self) {
        self.alone();
    }

    fn is_registered(&self, key: &str) -> bool {
        self.store.services.contains_key(key)
    }

    fn save(&mut self, service: ServiceInfo) -> bool {
        match self.store.services.entry(service.key().clone()) {
            Entry::Occupied(known) if *known.get() == service => return false,
            Entry::Occupied(mut known) => {
                known.insert(service);
            }
            Entry::Vacant(place) => {
                let key = service.key().clone();
                let name = service.service_name();
                if let Some(mut pods) = self.store.names.get_mut(name) {
                    pods.push(key);
                } else {
                    self.store.names.entry(name.into()).or_default().push(key);
                }
                self.store.counters.service_added();
                place.insert(service);
            }
        }
        true
    }

    fn delete(&mut self, key: &str) -> Option<ServiceInfo> {
        let unlist = |_: &ServiceKey, service: &ServiceInfo| {
            self.store.unlist(service);
            true
        };
        let removed = self.store.services.remove_if(key, unlist);
        removed.map(|(_, service)| service)
    }

    #[inline]
    fn set_health(
        &mut self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Option<(ServiceStatus, bool)> {
        let mut known = self.store.services.get_mut(key)?;
        let before = known.status();
        Some((
            before,
            super::outside::set_health(&mut known, status, checked_at),
        ))
    }

    fn subscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool {
        let Dash {
            subscribers,
            groups,
            counters,
            ..
        } = self.store;
        let mut own = match subscribers.get_mut(subscriber_key) {
            Some(own) => own,
            None => subscribers
                .entry(super::outside::checked(subscriber_key))
                .or_default(),
        };
        if own.contains_key(service_group) {
            return false;
        }
        let mut group = match groups.get_mut(service_group) {
            Some(group) => group,
            None => groups.entry(service_group.into()).or_default(),
        };
        // Whoever holds a number is in the group, so the next is a new one.
        let number = group.last_key_value().map_or(0, |(last, _)| last + 1);
        group.insert(number, own.key().clone());
        own.insert(group.key().clone(), number);
        counters.subscriptions_added(1);
        true
    }

    fn unsubscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool {
        let Some(mut own) = self.store.subscribers.get_mut(subscriber_key) else {
            return false;
        };
        let Some(number) = own.remove(service_group) else {
            return false;
        };
        self.store.leave(service_group, number);
        drop(own);
        let subscribers = &self.store.subscribers;
        subscribers.remove_if(subscriber_key, |_, own| own.is_empty());
        true
    }

    fn unsubscribe_all(&mut self, subscriber_key: &str) -> bool {
        let mut changed = false;
        self.store.subscribers.remove_if(subscriber_key, |_, own| {
            for (group, number) in own {
                self.store.leave(group, *number);
                changed = true;
            }
            true
        });
        changed
    }

    fn clear(&mut self) -> bool {
        let mut changed = false;
        self.store.services.retain(|_, service| {
            self.store.unlist(service);
            changed = true;
            false
        });
        self.store.subscribers.retain(|_, own| {
            for (group, number) in own {
                self.store.leave(group, *number);
                changed = true;
            }
            false
        });
        changed
    }
}
