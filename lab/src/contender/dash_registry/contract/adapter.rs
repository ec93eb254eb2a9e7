//! The registry over `dashmap` as a `RegistryStore`, with its promises and no more.
//!
//! The adapter adds a counter of revisions, and a flag that the store is closed. It has no locks
//! other than those of the maps: it reads and changes one key under the lock of its shard, and
//! changes several keys one by one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use service_registry::changes::{Difference, fold};
use service_registry::{
    Batch, Cause, Change, DynView, Expected, HealthUpdate, RegistryStore, Result, Revision,
    ServiceInfo, ServiceKey, ServiceStatus, StoreError, StoreStats,
};
use service_registry_testkit::support::list_view::ListView;

use super::super::DashRegistry;
use crate::subject::{Handle as _, Subject as _};

pub(super) struct Adapter {
    registry: DashRegistry,
    revision: AtomicU64,
    is_closed: AtomicBool,
}

/// Returns the error for a key that was not found: the key is invalid, or missing.
fn missing(key: &str) -> StoreError {
    key.parse::<ServiceKey>().err().unwrap_or_else(|| StoreError::NotFound(key.into()))
}

/// Returns whether two records are equal except for the time of the last check and their stamps.
fn says_the_same(one: &ServiceInfo, two: &ServiceInfo) -> bool {
    one.status() == two.status()
        && one.registered_at() == two.registered_at()
        && one.registration() == two.registration()
}

impl Adapter {
    pub(super) fn new() -> Adapter {
        Adapter {
            registry: DashRegistry::create(7),
            revision: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
        }
    }

    fn open(&self) -> Result<&DashRegistry> {
        if self.is_closed.load(SeqCst) { Err(StoreError::Closed) } else { Ok(&self.registry) }
    }

    /// Returns the error for a key that was not found, or `Closed` if the store was closed
    /// meanwhile.
    fn missing(&self, key: &str) -> StoreError {
        self.open().err().unwrap_or_else(|| missing(key))
    }

    fn next(&self) -> Revision {
        Revision::from(self.revision.fetch_add(1, SeqCst) + 1)
    }

    /// Returns whether a change applies if the record under its key is `known`.
    fn judge(&self, change: &Change, known: Option<&ServiceInfo>) -> Result<bool> {
        let checked = Batch::from(change.clone()).check(self.revision(), |_| known);
        match checked {
            Ok(left_out) => Ok(left_out.is_empty()),
            Err(StoreError::BatchRejected { source, .. }) => Err(*source),
            Err(error) => Err(error),
        }
    }

    /// Applies one change, and returns the record that was there before.
    fn apply(
        &self,
        change: &Change,
        differences: &mut Vec<Difference>,
    ) -> Result<Option<ServiceInfo>> {
        let registry = &self.registry;
        match change {
            Change::SaveService(info) => self.put(change, info, false, differences),
            Change::RegisterService(info) => self.put(change, info, true, differences),
            Change::UpdateHealthStatus { key, status, checked_at }
            | Change::UpdateHealthIf { key, status, checked_at, .. } => {
                let Some(mut known) = registry.services.get_mut(&**key) else {
                    return self.judge(change, None).map(|_| None);
                };
                let before = known.clone();
                let is_late = before.last_health_check() > Some(*checked_at);
                let after = before.with_health(*status, *checked_at);
                if self.judge(change, Some(&before))? && !is_late && after.as_ref() != Ok(&before) {
                    let (next, mut stamp) = (self.next(), before.revision());
                    if before.status() != *status {
                        stamp = next;
                    }
                    *known = after?.stamped(stamp, before.incarnation());
                    if stamp == next {
                        differences.push(Difference::changed(before.clone(), known.clone()));
                    }
                }
                Ok(Some(before))
            }
            Change::DeleteService { key } => {
                self.take(change, key, Cause::Deleted, false, differences)
            }
            Change::RemoveIf { key, cause, .. } => {
                self.take(change, key, *cause, true, differences)
            }
            Change::AddSubscription { subscriber_key, service_group } => {
                self.judge(change, None)?;
                if (&mut &*registry).subscribe(subscriber_key, service_group) {
                    self.next();
                    let subscriber = subscriber_key.parse()?;
                    differences.push(Difference::subscribed(subscriber, service_group.clone()));
                }
                Ok(None)
            }
            Change::RemoveSubscription { subscriber_key, service_group } => {
                self.judge(change, None)?;
                if (&mut &*registry).unsubscribe(subscriber_key, service_group) {
                    self.next();
                    let subscriber = subscriber_key.parse()?;
                    differences.push(Difference::unsubscribed(subscriber, service_group.clone()));
                }
                Ok(None)
            }
            Change::RemoveAllSubscriptions { subscriber_key } => {
                self.judge(change, None)?;
                if self.unsubscribe_all(subscriber_key, differences) {
                    self.next();
                }
                Ok(None)
            }
            Change::Require { key, .. } => {
                let known = registry.services.get(&**key).map(|info| info.clone());
                self.judge(change, known.as_ref()).map(|_| None)
            }
            Change::RequireUnchangedSince { .. } => self.judge(change, None).map(|_| None),
            // The laboratory's registry does not accept them either.
            other => Err(StoreError::failed(format!("no {} here", other.operation()))),
        }
    }

    /// Saves a record, or registers it if `is_new`. Returns the record that was there before.
    fn put(
        &self,
        change: &Change,
        info: &ServiceInfo,
        is_new: bool,
        differences: &mut Vec<Difference>,
    ) -> Result<Option<ServiceInfo>> {
        let mut answer = Ok(None);
        self.registry.put(info.key().clone(), |known| {
            if let Err(error) = self.judge(change, known) {
                answer = Err(error);
                return None;
            }
            answer = Ok(known.cloned());
            let known = known.filter(|_| !is_new);
            if known == Some(info) {
                return None;
            }
            let next = self.next();
            let (revision, incarnation) = match known {
                Some(known) if says_the_same(known, info) => {
                    (known.revision(), known.incarnation())
                }
                Some(known) => (next, known.incarnation()),
                None => (next, next),
            };
            let after = info.clone().stamped(revision, incarnation);
            match &answer {
                _ if revision != next => {}
                Ok(Some(before)) => {
                    differences.push(Difference::changed(before.clone(), after.clone()));
                }
                _ => differences.push(Difference::Added(after.clone())),
            }
            Some(after)
        });
        answer
    }

    /// Removes a record, and with `with_subscriptions` also its subscriptions, under the lock of
    /// its shard.
    fn take(
        &self,
        change: &Change,
        key: &str,
        cause: Cause,
        with_subscriptions: bool,
        differences: &mut Vec<Difference>,
    ) -> Result<Option<ServiceInfo>> {
        let mut judged = None;
        let taken = self.registry.take_if(key, |info| {
            let is_wanted = self.judge(change, Some(info));
            let goes = is_wanted == Ok(true);
            judged = Some(is_wanted);
            if goes {
                self.next();
                differences.push(Difference::removed(info.clone(), cause));
                if with_subscriptions {
                    self.unsubscribe_all(key, differences);
                }
            }
            goes
        });
        judged.unwrap_or_else(|| self.judge(change, None))?;
        Ok(taken)
    }

    /// Ends all subscriptions of one key in one step. Returns whether there were any.
    fn unsubscribe_all(&self, key: &str, differences: &mut Vec<Difference>) -> bool {
        let DashRegistry { subscribers, groups, .. } = &self.registry;
        let ended = subscribers.remove_if(key, |key, own| {
            for (group, number) in own {
                if let Some(mut members) = groups.get_mut(group) {
                    members.remove(number);
                }
                groups.remove_if(group, |_, members| members.is_empty());
                differences.push(Difference::unsubscribed(key.clone(), group.clone()));
            }
            true
        });
        ended.is_some()
    }

    /// Removes everything, key by key. Returns whether there was anything.
    fn empty(&self) -> bool {
        let pods = self.registry.all();
        let mut is_changed = !pods.is_empty();
        for info in pods {
            self.registry.take_if(info.key(), |_| true);
        }
        let subscribers = self.registry.subscribers.iter().map(|own| own.key().clone());
        for key in subscribers.collect::<Vec<_>>() {
            is_changed |= self.unsubscribe_all(&key, &mut Vec::new());
        }
        is_changed
    }

    fn change(&self, change: &Change) -> Result<Option<ServiceInfo>> {
        self.open()?;
        self.apply(change, &mut Vec::new())
    }
}

impl RegistryStore for Adapter {
    fn save_service(&self, service: ServiceInfo) -> Result<()> {
        self.change(&Change::SaveService(service)).map(drop)
    }

    fn get_service(&self, key: &str) -> Result<ServiceInfo> {
        let found = self.open()?.services.get(key).map(|info| info.clone());
        found.ok_or_else(|| self.missing(key))
    }

    fn get_services_by_name(&self, service_name: &str) -> Result<Vec<ServiceInfo>> {
        Ok(self.open()?.named(service_name))
    }

    fn get_all_services(&self) -> Result<Vec<ServiceInfo>> {
        Ok(self.open()?.all())
    }

    fn delete_service(&self, key: &str) -> Result<()> {
        self.change(&Change::DeleteService { key: key.into() }).map(drop)
    }

    fn update_health_status(
        &self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Result<HealthUpdate> {
        let change = Change::UpdateHealthStatus { key: key.into(), status, checked_at };
        let met = self.change(&change)?.ok_or_else(|| self.missing(key))?;
        Ok(if met.last_health_check() > Some(checked_at) {
            HealthUpdate::Late { current: met.status() }
        } else {
            HealthUpdate::Applied { before: met.status() }
        })
    }

    fn add_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
        let change = Batch::new().add_subscription(subscriber_key, service_group).take();
        self.change(&change.changes()[0]).map(drop)
    }

    fn remove_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
        let change = Batch::new().remove_subscription(subscriber_key, service_group).take();
        self.change(&change.changes()[0]).map(drop)
    }

    fn remove_all_subscriptions(&self, subscriber_key: &str) -> Result<()> {
        let subscriber_key = subscriber_key.into();
        self.change(&Change::RemoveAllSubscriptions { subscriber_key }).map(drop)
    }

    fn get_subscribers(&self, service_group: &str) -> Result<Vec<ServiceKey>> {
        Ok(self.open()?.members(service_group))
    }

    fn get_subscriber_services(&self, service_group: &str) -> Result<Vec<ServiceInfo>> {
        let registry = self.open()?;
        let record = |key: &ServiceKey| registry.services.get(key).map(|info| info.clone());
        Ok(registry.members(service_group).iter().filter_map(record).collect())
    }

    fn commit(&self, batch: Batch) -> Result<Revision> {
        self.commit_changes(batch).map(|(revision, _)| revision)
    }

    fn commit_changes(&self, batch: Batch) -> Result<(Revision, Vec<Difference>)> {
        self.open()?;
        let mut differences = Vec::new();
        for (index, change) in batch.iter().enumerate() {
            if index > 0 {
                // It promises nothing about the time between two changes, so this lets others look.
                sleep(Duration::from_micros(20));
            }
            let operation = change.operation();
            self.apply(change, &mut differences).map_err(|error| StoreError::BatchRejected {
                index,
                operation,
                source: Box::new(error),
            })?;
        }
        Ok((self.revision(), fold(&differences)))
    }

    fn revision(&self) -> Revision {
        self.revision.load(SeqCst).into()
    }

    fn take_service(&self, key: &str) -> Result<ServiceInfo> {
        let (key, cause) = (key.into(), Cause::Deleted);
        let change = Change::RemoveIf { key, expected: Expected::Present, cause };
        let Change::RemoveIf { key, .. } = &change else { unreachable!() };
        self.change(&change)?.ok_or_else(|| self.missing(key))
    }

    fn clear(&self) -> Result<()> {
        self.open()?;
        if self.empty() {
            self.next();
        }
        Ok(())
    }

    fn stats(&self) -> Result<StoreStats> {
        let registry = self.open()?;
        let pairs = registry.subscribers.iter().map(|own| own.len()).sum();
        Ok(StoreStats::new(registry.services.len(), pairs))
    }

    fn ping(&self) -> Result<()> {
        self.open().map(drop)
    }

    fn close(&self) -> Result<()> {
        self.is_closed.store(true, SeqCst);
        self.empty();
        Ok(())
    }

    /// Calls `visit` under the lock of the shard, as [`Handle::with`](crate::subject::Handle::with)
    /// does.
    fn visit_service(&self, key: &str, visit: &mut dyn FnMut(&ServiceInfo)) -> Result<()> {
        let found = self.open()?.services.get(key);
        visit(&*found.ok_or_else(|| self.missing(key))?);
        Ok(())
    }

    fn visit_view(&self, visit: &mut dyn FnMut(&dyn DynView)) -> Result<()> {
        let registry = self.open()?;
        let groups = registry.groups.iter();
        // Each map is copied on its own, so the copies may be of different moments.
        visit(&ListView {
            revision: self.revision(),
            services: registry.all(),
            groups: groups
                .map(|members| (members.key().to_string(), members.values().cloned().collect()))
                .collect(),
        });
        Ok(())
    }
}
