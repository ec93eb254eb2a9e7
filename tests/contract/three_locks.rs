//! A store that locks every index by itself, as a first attempt would, and the tests that notice.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, RwLock};

use service_registry::{
    Batch, Change, DynView, MemoryStore, RegistryStore, Result, Revision, ServiceInfo, ServiceKey,
    StoreStats,
};

use super::logged::pause;
use crate::support::failing::must_fail;
use crate::{shared, whole};

struct ThreeLocks {
    /// Which side of a subscription is written first.
    group_first: bool,
    groups: RwLock<HashMap<String, Vec<ServiceKey>>>,
    subscribers: RwLock<HashMap<ServiceKey, BTreeSet<String>>>,
    rest: Mutex<MemoryStore>,
}

fn three_locks(group_first: bool) -> ThreeLocks {
    ThreeLocks {
        group_first,
        groups: RwLock::default(),
        subscribers: RwLock::default(),
        rest: Mutex::default(),
    }
}

impl ThreeLocks {
    fn add_to_group(&self, key: &ServiceKey, service_group: &str) {
        let mut groups = self.groups.write().unwrap();
        let group = groups.entry(service_group.into()).or_default();
        if !group.contains(key) {
            group.push(key.clone());
        }
    }

    fn add_to_subscriber(&self, key: ServiceKey, service_group: &str) {
        let mut subscribers = self.subscribers.write().unwrap();
        let groups = subscribers.entry(key).or_default();
        groups.insert(service_group.into());
    }
}

impl RegistryStore for ThreeLocks {
    fn take_service(&self, key: &str) -> Result<ServiceInfo> {
        let taken = self.get_service(key)?;
        self.delete_service(key)?;
        self.remove_all_subscriptions(key)?;
        Ok(taken)
    }
    fn add_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
        let key: ServiceKey = subscriber_key.parse()?;
        if self.group_first {
            self.add_to_group(&key, service_group);
            pause();
            self.add_to_subscriber(key, service_group);
        } else {
            self.add_to_subscriber(key.clone(), service_group);
            pause();
            self.add_to_group(&key, service_group);
        }
        Ok(())
    }
    fn remove_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
        if let Some(group) = self.groups.write().unwrap().get_mut(service_group) {
            group.retain(|key| *key != subscriber_key);
        }
        let mut subscribers = self.subscribers.write().unwrap();
        if let Some(groups) = subscribers.get_mut(subscriber_key) {
            groups.remove(service_group);
        }
        Ok(())
    }
    fn remove_all_subscriptions(&self, subscriber_key: &str) -> Result<()> {
        let removed = self.subscribers.write().unwrap().remove(subscriber_key);
        pause();
        for name in removed.unwrap_or_default() {
            let mut groups = self.groups.write().unwrap();
            if let Some(group) = groups.get_mut(&name) {
                group.retain(|key| *key != subscriber_key);
            }
        }
        Ok(())
    }
    fn get_subscribers(&self, service_group: &str) -> Result<Vec<ServiceKey>> {
        let groups = self.groups.read().unwrap();
        Ok(groups.get(service_group).cloned().unwrap_or_default())
    }
    fn get_subscriber_services(&self, service_group: &str) -> Result<Vec<ServiceInfo>> {
        let subscribers = self.get_subscribers(service_group)?;
        let rest = self.rest.lock().unwrap();
        let services = subscribers
            .iter()
            .filter_map(|key| rest.get_service(key).ok());
        Ok(services.collect())
    }
    fn commit(&self, batch: Batch) -> Result<Revision> {
        for change in batch {
            match change {
                Change::SaveService(info) | Change::RegisterService(info) => {
                    self.save_service(info)?;
                }
                Change::DeleteService { key } => self.delete_service(&key)?,
                Change::AddSubscription {
                    subscriber_key,
                    service_group,
                } => self.add_subscription(&subscriber_key, &service_group)?,
                Change::RemoveAllSubscriptions { subscriber_key } => {
                    self.remove_all_subscriptions(&subscriber_key)?;
                }
                other => panic!("not used here: {other:?}"),
            }
        }
        Ok(self.revision())
    }
    fn clear(&self) -> Result<()> {
        self.groups.write().unwrap().clear();
        self.subscribers.write().unwrap().clear();
        self.rest.lock().unwrap().clear()
    }
    fn stats(&self) -> Result<StoreStats> {
        let groups = self.subscribers.read().unwrap();
        let subscriptions = groups.values().map(BTreeSet::len).sum();
        let services = self.rest.lock().unwrap().stats()?.services;
        Ok(StoreStats::new(services, subscriptions))
    }

    fn visit_view(&self, _: &mut dyn FnMut(&dyn DynView)) -> Result<()> {
        unimplemented!("not used here: `rest` has no subscriptions")
    }

    forward_required!(self => *self.rest.lock().unwrap(); except take_service, add_subscription,
        remove_subscription, remove_all_subscriptions, get_subscribers, get_subscriber_services,
        commit, commit_changes, clear, stats, visit_view);
}

#[test]
fn an_orphan_of_a_group() {
    must_fail(|| shared::adding_races_with_removing_all(&three_locks(false)));
}

#[test]
fn an_orphan_of_a_subscriber() {
    must_fail(|| shared::adding_races_with_removing(&three_locks(true)));
}

#[test]
fn a_subscription_of_a_pod_that_left() {
    must_fail(|| shared::adding_races_with_unregistering(&three_locks(false)));
}

#[test]
fn a_registration_in_three_steps() {
    must_fail(|| whole::no_reader_sees_half_a_registration(&three_locks(true)));
}
