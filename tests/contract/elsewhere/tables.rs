//! The tables of the store, and a turn of writing in them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::SystemTime;

use service_registry::changes::Difference;
use service_registry::{
    Batch, Cause, Change, RegistryView, Result, Revision, ServiceInfo, ServiceKey, ServiceStatus,
    StoreStats,
};

/// One state.
#[derive(Clone, Default)]
pub(super) struct Tables {
    pub(super) revision: Revision,
    pub(super) services: BTreeMap<ServiceKey, ServiceInfo>,
    /// No group is empty.
    pub(super) groups: BTreeMap<Arc<str>, Vec<ServiceKey>>,
}

/// A turn of writing.
pub(super) struct Transaction<'t> {
    pub(super) tables: &'t mut Tables,
    /// The revision that it leads to, if it changes something.
    pub(super) next: Revision,
    pub(super) changes: Vec<Difference>,
    /// A newer time of a check is no difference.
    pub(super) is_changed: bool,
    /// Whether the whole state was replaced, of which watches are told as a state.
    pub(super) is_restored: bool,
}

/// Whether both are equal, but for the time of the last check and their stamps.
fn says_the_same(one: &ServiceInfo, two: &ServiceInfo) -> bool {
    one.status() == two.status()
        && one.registered_at() == two.registered_at()
        && one.source() == two.source()
        && one.registration() == two.registration()
}

fn stamps(info: &ServiceInfo) -> (Revision, Revision) {
    (info.revision(), info.incarnation())
}

impl Transaction<'_> {
    pub(super) fn apply_all(&mut self, batch: Batch) -> Result<()> {
        let Tables {
            revision, services, ..
        } = &*self.tables;
        let left_out = batch.check(*revision, |key| services.get(key))?;
        for (at, change) in batch.into_iter().enumerate() {
            if !left_out.contains(&at) {
                self.apply(change);
            }
        }
        Ok(())
    }

    /// Applies a change that has been checked.
    fn apply(&mut self, change: Change) {
        match change {
            Change::SaveService(service) => self.save(service),
            Change::RegisterService(service) => {
                let service = service.stamped(self.next, self.next);
                self.put(service);
            }
            Change::DeleteService { key } => self.remove(&key, Cause::Deleted),
            Change::RemoveIf { key, cause, .. } => self.take(&key, cause),
            Change::UpdateHealthStatus {
                key,
                status,
                checked_at,
            }
            | Change::UpdateHealthIf {
                key,
                status,
                checked_at,
                ..
            } => self.set_health(&key, status, checked_at),
            Change::ReplaceSource {
                source, services, ..
            } => self.replace_source(&source, services),
            Change::ReplaceAll {
                services,
                subscriptions,
            } => {
                self.clear(Cause::Replaced);
                for service in services {
                    self.put(service.stamped(self.next, self.next));
                }
                for side in subscriptions {
                    self.subscribe(&side.subscriber, &side.group);
                }
                self.is_restored = true;
            }
            Change::AddSubscription {
                subscriber_key,
                service_group,
            } => self.subscribe(&subscriber_key, &service_group),
            Change::RemoveSubscription {
                subscriber_key,
                service_group,
            } => self.unsubscribe(&subscriber_key, &service_group),
            Change::RemoveAllSubscriptions { subscriber_key } => {
                self.unsubscribe_all(&subscriber_key);
            }
            // Judged before anything was applied.
            Change::Require { .. } | Change::RequireUnchangedSince { .. } => {}
            other => panic!("an unknown change: {other:?}"),
        }
    }

    fn known(&self, key: &str) -> Option<ServiceInfo> {
        self.tables.services.get(key).cloned()
    }

    /// Puts a record that has its stamps.
    fn put(&mut self, after: ServiceInfo) {
        match self.known(after.key()) {
            None => self.changes.push(Difference::Added(after.clone())),
            Some(before) => {
                let is_stamped_alike = stamps(&before) == stamps(&after);
                if is_stamped_alike && before == after {
                    return;
                }
                if !is_stamped_alike || !says_the_same(&before, &after) {
                    let changed = Difference::changed(before, after.clone());
                    self.changes.push(changed);
                }
            }
        }
        self.tables.services.insert(after.key().clone(), after);
        self.is_changed = true;
    }

    fn save(&mut self, service: ServiceInfo) {
        let (revision, incarnation) = match self.known(service.key()) {
            None => (self.next, self.next),
            Some(known) if says_the_same(&known, &service) => stamps(&known),
            Some(known) => (self.next, known.incarnation()),
        };
        self.put(service.stamped(revision, incarnation));
    }

    fn set_health(&mut self, key: &str, status: ServiceStatus, checked_at: SystemTime) {
        let Some(known) = self.known(key) else {
            return;
        };
        if known.last_health_check() > Some(checked_at) {
            return;
        }
        let revision = if known.status() == status {
            known.revision()
        } else {
            self.next
        };
        let reported = known.with_health(status, checked_at);
        let reported = reported.expect("the time has been checked");
        self.put(reported.stamped(revision, known.incarnation()));
    }

    fn remove(&mut self, key: &str, cause: Cause) {
        if let Some(last) = self.tables.services.remove(key) {
            self.changes.push(Difference::removed(last, cause));
            self.is_changed = true;
        }
    }

    /// Removes a record together with its subscriptions, if it is there.
    fn take(&mut self, key: &str, cause: Cause) {
        if self.tables.services.contains_key(key) {
            self.remove(key, cause);
            self.unsubscribe_all(key);
        }
    }

    fn replace_source(&mut self, source: &str, services: Vec<ServiceInfo>) {
        let kept: BTreeSet<&str> = services.iter().map(|info| &**info.key()).collect();
        let all = self.tables.services.values();
        let gone = all
            .filter(|known| known.source() == Some(source) && !kept.contains(&**known.key()))
            .map(|known| known.key().clone());
        for key in gone.collect::<Vec<_>>() {
            self.take(&key, Cause::Replaced);
        }
        for service in services {
            let mut service = service.with_source(source).expect("checked");
            if let Some(known) = self.known(service.key()) {
                if known.source() != Some(source) {
                    // The batch said that such a record is to be skipped.
                    self.changes.push(Difference::skipped(known));
                    continue;
                }
                if known.registration() == service.registration() {
                    let then = known.registered_at();
                    service = service.with_registered_at(then).expect("a store had it");
                }
                if let Some(then) = known.last_health_check()
                    && service.last_health_check() < Some(then)
                {
                    let health = service.with_health(known.status(), then);
                    service = health.expect("a store had it");
                }
            }
            self.save(service);
        }
    }

    fn subscribe(&mut self, subscriber: &str, group: &str) {
        let subscriber: ServiceKey = subscriber.parse().expect("checked");
        let of = self.tables.groups.entry(group.into()).or_default();
        if !of.contains(&subscriber) {
            of.push(subscriber.clone());
            self.changes.push(Difference::subscribed(subscriber, group));
            self.is_changed = true;
        }
    }

    fn unsubscribe(&mut self, subscriber: &str, group: &str) {
        let Some(of) = self.tables.groups.get_mut(group) else {
            return;
        };
        let Some(at) = of.iter().position(|key| *key == *subscriber) else {
            return;
        };
        let subscriber = of.remove(at);
        if of.is_empty() {
            self.tables.groups.remove(group);
        }
        let ended = Difference::unsubscribed(subscriber, group);
        self.changes.push(ended);
        self.is_changed = true;
    }

    fn unsubscribe_all(&mut self, subscriber: &str) {
        let groups: Vec<Arc<str>> = self.tables.groups.keys().cloned().collect();
        for group in groups {
            self.unsubscribe(subscriber, &group);
        }
    }

    pub(super) fn clear(&mut self, cause: Cause) {
        let keys: Vec<ServiceKey> = self.tables.services.keys().cloned().collect();
        for key in keys {
            self.remove(&key, cause);
        }
        let groups = std::mem::take(&mut self.tables.groups);
        for (group, subscribers) in groups {
            let ended = subscribers
                .into_iter()
                .map(|key| Difference::unsubscribed(key, group.clone()));
            self.changes.extend(ended);
            self.is_changed = true;
        }
    }
}

impl RegistryView for Tables {
    fn revision(&self) -> Revision {
        self.revision
    }
    fn get(&self, key: &str) -> Option<&ServiceInfo> {
        self.services.get(key)
    }
    fn services(&self) -> impl Iterator<Item = &ServiceInfo> {
        self.services.values()
    }
    fn services_by_name<'a>(
        &'a self,
        service_name: &str,
    ) -> impl Iterator<Item = &'a ServiceInfo> + use<'a> {
        // Keys of one service stand beside each other.
        let prefix = format!("{service_name}:");
        let from = (Bound::Included(&*prefix), Bound::Unbounded);
        let from = self.services.range::<str, _>(from);
        let of_name = from.take_while(|(key, _)| key.service_name() == service_name);
        let found: Vec<&ServiceInfo> = of_name.map(|(_, info)| info).collect();
        found.into_iter()
    }
    fn subscribers<'a>(
        &'a self,
        service_group: &str,
    ) -> impl Iterator<Item = &'a ServiceKey> + use<'a> {
        self.groups.get(service_group).into_iter().flatten()
    }
    fn names(&self) -> impl Iterator<Item = &str> {
        let names: BTreeSet<&str> = self.services().map(ServiceInfo::service_name).collect();
        names.into_iter()
    }
    fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(|group| &**group)
    }
    fn stats(&self) -> StoreStats {
        let subscriptions = self.groups.values().map(Vec::len).sum();
        StoreStats::new(self.services.len(), subscriptions)
    }
}
