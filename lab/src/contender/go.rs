//! The design of a registry in Go: one lock, a map of records, and a list of subscribers for each
//! group. It has no index of names: finding the pods of a name scans all records.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use service_registry::{Batch, Change, Revision, ServiceInfo, ServiceKey, ServiceStatus};

use crate::subject::{Handle, NewPod, Subject};

/// The registry.
pub struct GoRegistry(RwLock<Tables>);

struct Tables {
    services: HashMap<ServiceKey, ServiceInfo, FixedState>,
    groups: HashMap<String, Vec<ServiceKey>, FixedState>,
}

impl GoRegistry {
    #[inline]
    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<ServiceInfo> {
        self.read().services.values().cloned().collect()
    }
}

impl Tables {
    #[inline]
    fn update(&mut self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        let known = self.services.get_mut(key);
        known.is_some_and(|known| known.with_health(status, at).map(|fresh| *known = fresh).is_ok())
    }

    fn subscribe(&mut self, subscriber: &str, group: &str) -> bool {
        let Ok(key) = subscriber.parse() else {
            return false;
        };
        let group = self.groups.entry_ref(group).or_default();
        let new = !group.contains(&key);
        if new {
            group.push(key);
        }
        new
    }

    fn unsubscribe(&mut self, subscriber: &str, group: &str) -> bool {
        let Some(group) = self.groups.get_mut(group) else {
            return false;
        };
        let place = group.iter().position(|key| *key == *subscriber);
        place.map(|place| group.remove(place)).is_some()
    }

    fn change(&mut self, change: Change) -> bool {
        match change {
            Change::SaveService(info) => {
                self.services.insert(info.key().clone(), info);
                true
            }
            Change::DeleteService { key } => self.services.remove(&*key).is_some(),
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
        }
    }
}

impl Subject for GoRegistry {
    type Handle<'a> = &'a GoRegistry;

    fn create(seed: u64) -> GoRegistry {
        GoRegistry(RwLock::new(Tables {
            services: HashMap::with_hasher(FixedState::with_seed(seed)),
            groups: HashMap::with_hasher(FixedState::with_seed(seed)),
        }))
    }

    fn handle(&self) -> &GoRegistry {
        self
    }
}

impl Handle for &GoRegistry {
    #[inline]
    fn with(&mut self, key: &str) -> Option<ServiceStatus> {
        self.read().services.get(key).map(ServiceInfo::status)
    }

    #[inline]
    fn get(&mut self, key: &str) -> bool {
        let found = self.read().services.get(key).cloned();
        found.is_some()
    }

    fn checked_at(&mut self, key: &str) -> Option<SystemTime> {
        self.read().services.get(key)?.last_health_check()
    }

    #[inline]
    fn update(&mut self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        self.write().update(key, status, at)
    }

    #[inline]
    fn insert(&mut self, pod: &NewPod) -> bool {
        let (key, info) = (pod.info.key().clone(), pod.info.clone());
        self.write().services.insert(key, info).is_none()
    }

    #[inline]
    fn remove(&mut self, key: &str) -> bool {
        let removed = self.write().services.remove(key);
        removed.is_some()
    }

    fn pods(&mut self) -> usize {
        self.read().services.len()
    }

    #[inline]
    fn replace(&mut self, info: ServiceInfo) -> bool {
        let before = self.write().services.insert(info.key().clone(), info);
        before.is_some()
    }

    fn by_name(&mut self, name: &str) -> usize {
        let named = |info: &&ServiceInfo| info.service_name() == name;
        let found: Vec<_> = self.read().services.values().filter(named).cloned().collect();
        found.len()
    }

    fn subscribers(&mut self, group: &str) -> usize {
        let found = self.read().groups.get(group).cloned();
        found.map_or(0, |keys| keys.len())
    }

    fn subscribe(&mut self, subscriber: &str, group: &str) -> bool {
        self.write().subscribe(subscriber, group)
    }

    fn unsubscribe(&mut self, subscriber: &str, group: &str) -> bool {
        self.write().unsubscribe(subscriber, group)
    }

    fn scan(&mut self) -> usize {
        self.all().len()
    }

    fn commit(&mut self, batch: Batch) -> bool {
        let mut tables = self.write();
        // This registry has no revisions.
        let find = |key: &str| tables.services.get(key);
        let is_good = batch.check(Revision::ZERO, find).is_ok();
        is_good && batch.into_iter().all(|change| tables.change(change))
    }

    fn hold(&mut self) -> Box<dyn std::any::Any> {
        Box::new(self.all())
    }
}
