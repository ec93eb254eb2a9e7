//! A registry over `dashmap`, with an index of names and both sides of the subscriptions.
//!
//! An entry in two maps is changed under the lock of the first one: names under the record, groups
//! under the subscriber. So a name finds exactly the pods whose keys are registered. A reader must
//! not hold the second lock while it takes the first; it copies the keys, releases the lock, and
//! looks each up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::FixedState;
use service_registry::{Batch, Change, ServiceInfo, ServiceKey, ServiceStatus};

use crate::subject::{Handle, NewPod, Subject};

#[cfg(test)]
mod contract;

type Map<K, V> = DashMap<K, V, FixedState>;

/// The registry.
pub struct DashRegistry {
    services: Map<ServiceKey, ServiceInfo>,
    names: Map<Arc<str>, Vec<ServiceKey>>,
    /// The groups of a subscriber, and its number there.
    subscribers: Map<ServiceKey, BTreeMap<Arc<str>, u64>>,
    /// The subscribers of a group, in the order of subscription.
    groups: Map<Arc<str>, BTreeMap<u64, ServiceKey>>,
}

impl DashRegistry {
    fn all(&self) -> Vec<ServiceInfo> {
        let mut all = Vec::with_capacity(self.services.len());
        all.extend(self.services.iter().map(|info| info.clone()));
        all
    }

    /// Replaces the record under a key by what `make` returns for it, if anything. Returns whether
    /// the key is new.
    #[inline]
    fn put(
        &self,
        key: ServiceKey,
        make: impl FnOnce(Option<&ServiceInfo>) -> Option<ServiceInfo>,
    ) -> bool {
        match self.services.entry(key) {
            Entry::Occupied(mut known) => {
                if let Some(info) = make(Some(known.get())) {
                    known.insert(info);
                }
                false
            }
            Entry::Vacant(place) => {
                let Some(info) = make(None) else { return false };
                let key = info.key().clone();
                if let Some(mut pods) = self.names.get_mut(info.service_name()) {
                    pods.push(key);
                } else {
                    self.names.entry(info.service_name().into()).or_default().push(key);
                }
                place.insert(info);
                true
            }
        }
    }

    /// Saves a record. Returns whether its key is new.
    #[inline]
    fn save(&self, info: ServiceInfo) -> bool {
        self.put(info.key().clone(), |_| Some(info))
    }

    /// Removes the record under a key if `is_wanted` returns true for it.
    #[inline]
    fn take_if(
        &self,
        key: &str,
        is_wanted: impl FnOnce(&ServiceInfo) -> bool,
    ) -> Option<ServiceInfo> {
        let unlist = |key: &ServiceKey, info: &ServiceInfo| {
            if !is_wanted(info) {
                return false;
            }
            let name = info.service_name();
            if let Some(mut pods) = self.names.get_mut(name) {
                pods.retain(|pod| pod != key);
            }
            self.names.remove_if(name, |_, pods| pods.is_empty());
            true
        };
        self.services.remove_if(key, unlist).map(|(_, info)| info)
    }

    fn named(&self, name: &str) -> Vec<ServiceInfo> {
        let keys = self.names.get(name).map(|pods| pods.clone()).unwrap_or_default();
        let record = |key: &ServiceKey| self.services.get(key).map(|info| info.clone());
        keys.iter().filter_map(record).collect()
    }

    fn members(&self, group: &str) -> Vec<ServiceKey> {
        let members = self.groups.get(group);
        members.map_or_else(Vec::new, |own| own.values().cloned().collect())
    }
}

impl Subject for DashRegistry {
    type Handle<'a> = &'a DashRegistry;

    fn create(seed: u64) -> DashRegistry {
        let hasher = FixedState::with_seed(seed);
        DashRegistry {
            services: Map::with_hasher(hasher.clone()),
            names: Map::with_hasher(hasher.clone()),
            subscribers: Map::with_hasher(hasher.clone()),
            groups: Map::with_hasher(hasher),
        }
    }

    fn handle(&self) -> &DashRegistry {
        self
    }
}

impl Handle for &DashRegistry {
    #[inline]
    fn with(&mut self, key: &str) -> Option<ServiceStatus> {
        self.services.get(key).map(|info| info.status())
    }

    #[inline]
    fn get(&mut self, key: &str) -> bool {
        let found = self.services.get(key).map(|info| info.clone());
        found.is_some()
    }

    fn checked_at(&mut self, key: &str) -> Option<SystemTime> {
        self.services.get(key)?.last_health_check()
    }

    #[inline]
    fn update(&mut self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        let known = self.services.get_mut(key);
        known.is_some_and(|mut known| {
            known.with_health(status, at).map(|fresh| *known = fresh).is_ok()
        })
    }

    #[inline]
    fn insert(&mut self, pod: &NewPod) -> bool {
        self.save(pod.info.clone())
    }

    #[inline]
    fn remove(&mut self, key: &str) -> bool {
        self.take_if(key, |_| true).is_some()
    }

    fn pods(&mut self) -> usize {
        self.services.len()
    }

    #[inline]
    fn replace(&mut self, info: ServiceInfo) -> bool {
        !self.save(info)
    }

    fn by_name(&mut self, name: &str) -> usize {
        self.named(name).len()
    }

    fn subscribers(&mut self, group: &str) -> usize {
        self.members(group).len()
    }

    fn subscribe(&mut self, subscriber: &str, group: &str) -> bool {
        let mut own = match self.subscribers.get_mut(subscriber) {
            Some(own) => own,
            None => match subscriber.parse() {
                Ok(key) => self.subscribers.entry(key).or_default(),
                Err(_) => return false,
            },
        };
        if own.contains_key(group) {
            return false;
        }
        let mut members = match self.groups.get_mut(group) {
            Some(members) => members,
            None => self.groups.entry(group.into()).or_default(),
        };
        // Only members have numbers, so the number after the last is free.
        let number = members.last_key_value().map_or(0, |(last, _)| last + 1);
        members.insert(number, own.key().clone());
        own.insert(members.key().clone(), number);
        true
    }

    fn unsubscribe(&mut self, subscriber: &str, group: &str) -> bool {
        let Some(mut own) = self.subscribers.get_mut(subscriber) else {
            return false;
        };
        let Some(number) = own.remove(group) else {
            return false;
        };
        if let Some(mut members) = self.groups.get_mut(group) {
            members.remove(&number);
        }
        self.groups.remove_if(group, |_, members| members.is_empty());
        drop(own);
        self.subscribers.remove_if(subscriber, |_, own| own.is_empty());
        true
    }

    fn scan(&mut self) -> usize {
        self.all().len()
    }

    fn commit(&mut self, batch: Batch) -> bool {
        batch.into_iter().all(|change| match change {
            Change::SaveService(info) => {
                self.save(info);
                true
            }
            Change::DeleteService { key } => self.remove(&key),
            Change::UpdateHealthStatus { key, status, checked_at } => {
                self.update(&key, status, checked_at)
            }
            Change::AddSubscription { subscriber_key, service_group } => {
                self.subscribe(&subscriber_key, &service_group)
            }
            Change::RemoveSubscription { subscriber_key, service_group } => {
                self.unsubscribe(&subscriber_key, &service_group)
            }
            _ => false,
        })
    }

    fn hold(&mut self) -> Box<dyn std::any::Any> {
        Box::new(self.all())
    }
}
