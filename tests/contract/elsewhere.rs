//! A store from elsewhere: it has nothing but the public interface, keeps the whole contract
//! and tells of changes. Made to be read, not to be quick.
//!
//! Every write is a [`Batch`], so that [`Batch::check`] says what is refused. The tables are
//! shared, and copied where somebody still looks at them, so that no closure and no watch
//! holds up a writer.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use service_registry::changes::{
    Cursor, Difference, Log, LogOptions, ReadState, Selection, State, Subscription, Watch, fold,
};
use service_registry::{
    Batch, Cause, Change, DynView, Expected, HealthUpdate, RegistryStore, RegistryView, Result,
    Revision, ServiceInfo, ServiceKey, ServiceStatus, StoreError, StoreStats,
};

/// See above.
pub(crate) struct Elsewhere {
    shared: Arc<Mutex<Shared>>,
    log: Log,
}

#[derive(Default)]
struct Shared {
    tables: Arc<Tables>,
    is_closed: bool,
}

/// One state.
#[derive(Clone, Default)]
struct Tables {
    revision: Revision,
    services: BTreeMap<ServiceKey, ServiceInfo>,
    /// No group is empty.
    groups: BTreeMap<Arc<str>, Vec<ServiceKey>>,
}

/// A turn of writing.
struct Turn<'t> {
    tables: &'t mut Tables,
    /// The revision that it leads to, if it changes something.
    next: Revision,
    changes: Vec<Difference>,
    /// A newer time of a check is no difference.
    is_changed: bool,
}

impl Elsewhere {
    pub(crate) fn new() -> Elsewhere {
        Elsewhere::with_log(LogOptions::default())
    }

    pub(crate) fn with_log(options: LogOptions) -> Elsewhere {
        Elsewhere {
            shared: Arc::default(),
            log: Log::new(options),
        }
    }

    fn read(&self) -> Result<Arc<Tables>> {
        Ok(lock(&self.shared)?.tables.clone())
    }

    /// Has `write` change the tables, or fail before it does.
    fn write<R>(
        &self,
        write: impl FnOnce(&mut Turn<'_>) -> Result<R>,
    ) -> Result<(R, Revision, Vec<Difference>)> {
        let mut shared = lock(&self.shared)?;
        let tables = Arc::make_mut(&mut shared.tables);
        let next = tables.revision.next();
        let mut turn = Turn {
            tables,
            next,
            changes: Vec::new(),
            is_changed: false,
        };
        let answer = write(&mut turn)?;
        let Turn {
            changes,
            is_changed,
            ..
        } = turn;
        if is_changed {
            tables.revision = next;
        }
        let revision = tables.revision;
        let is_told = is_changed && self.log.is_recording();
        let left = is_told.then(|| self.log.append(revision, changes.iter().cloned()));
        drop(shared);
        // Wakes watches, whose wakers may call the store.
        drop(left);
        Ok((answer, revision, changes))
    }

    /// Makes one change; answers with what `look` saw before it.
    fn change<R>(&self, change: Change, look: impl FnOnce(&Tables) -> R) -> Result<R> {
        let written = self.write(|turn| {
            let seen = look(turn.tables);
            turn.apply_all(change.into())?;
            Ok(seen)
        });
        match written {
            Ok((seen, ..)) => Ok(seen),
            Err(StoreError::BatchRejected { source, .. }) => Err(*source),
            Err(error) => Err(error),
        }
    }

    fn begin_watch(&self, selection: Selection, from: Option<Cursor>) -> Result<Watch> {
        let read = Arc::new(OfElsewhere(Arc::downgrade(&self.shared)));
        self.log.watch(selection, from, read, || {
            Ok(lock(&self.shared)?.tables.revision)
        })
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        drop(self.log.close());
    }
}

fn lock_closed(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lock(shared: &Mutex<Shared>) -> Result<MutexGuard<'_, Shared>> {
    let shared = lock_closed(shared);
    if shared.is_closed {
        return Err(StoreError::Closed);
    }
    Ok(shared)
}

/// Why there is nothing under `key`.
fn missing(key: &str) -> StoreError {
    match key.parse::<ServiceKey>() {
        Ok(_) => StoreError::NotFound(key.into()),
        Err(invalid) => invalid,
    }
}

/// How a watch reads the state of a store that may have gone.
struct OfElsewhere(Weak<Mutex<Shared>>);

impl ReadState for OfElsewhere {
    fn read_state(&self, selection: &Selection) -> Result<Option<State>> {
        let shared = self.0.upgrade().ok_or(StoreError::Closed)?;
        let tables = lock(&shared)?.tables.clone();
        let services = tables.services.values();
        let sides = tables
            .groups
            .iter()
            .flat_map(|(group, all)| all.iter().map(move |subscriber| (subscriber, group)));
        Ok(Some(State {
            revision: tables.revision,
            services: services
                .filter(|info| selection.holds(info))
                .cloned()
                .collect(),
            subscriptions: sides
                .filter(|(subscriber, group)| selection.holds_subscription(subscriber, group))
                .map(|(subscriber, group)| Subscription::new(subscriber.clone(), group.clone()))
                .collect(),
        }))
    }
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

impl Turn<'_> {
    fn apply_all(&mut self, batch: Batch) -> Result<()> {
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

    fn clear(&mut self) {
        let keys: Vec<ServiceKey> = self.tables.services.keys().cloned().collect();
        for key in keys {
            self.remove(&key, Cause::Cleared);
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

/// What is required, and what a store that tells of changes has besides.
impl RegistryStore for Elsewhere {
    fn save_service(&self, service: ServiceInfo) -> Result<()> {
        self.change(Change::SaveService(service), |_| ())
    }

    fn get_service(&self, key: &str) -> Result<ServiceInfo> {
        let found = self.read()?.get(key).cloned();
        found.ok_or_else(|| missing(key))
    }

    fn get_services_by_name(&self, service_name: &str) -> Result<Vec<ServiceInfo>> {
        let tables = self.read()?;
        Ok(tables.services_by_name(service_name).cloned().collect())
    }

    fn get_all_services(&self) -> Result<Vec<ServiceInfo>> {
        Ok(self.read()?.services().cloned().collect())
    }

    fn delete_service(&self, key: &str) -> Result<()> {
        self.change(Change::DeleteService { key: key.into() }, |_| ())
    }

    fn update_health_status(
        &self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Result<HealthUpdate> {
        let change = Change::UpdateHealthStatus {
            key: key.into(),
            status,
            checked_at,
        };
        let before = self.change(change, |tables| tables.get(key).cloned())?;
        let before = before.expect("otherwise it is refused");
        let status = before.status();
        Ok(if before.last_health_check() > Some(checked_at) {
            HealthUpdate::Late { current: status }
        } else {
            HealthUpdate::Applied { before: status }
        })
    }

    fn add_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
        let change = Change::AddSubscription {
            subscriber_key: subscriber_key.into(),
            service_group: service_group.into(),
        };
        self.change(change, |_| ())
    }

    fn remove_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
        let change = Change::RemoveSubscription {
            subscriber_key: subscriber_key.into(),
            service_group: service_group.into(),
        };
        self.change(change, |_| ())
    }

    fn remove_all_subscriptions(&self, subscriber_key: &str) -> Result<()> {
        let subscriber_key = subscriber_key.into();
        self.change(Change::RemoveAllSubscriptions { subscriber_key }, |_| ())
    }

    fn get_subscribers(&self, service_group: &str) -> Result<Vec<ServiceKey>> {
        Ok(self.read()?.subscribers(service_group).cloned().collect())
    }

    fn get_subscriber_services(&self, service_group: &str) -> Result<Vec<ServiceInfo>> {
        let tables = self.read()?;
        Ok(tables.subscriber_services(service_group).cloned().collect())
    }

    fn commit(&self, batch: Batch) -> Result<Revision> {
        let ((), revision, _) = self.write(|turn| turn.apply_all(batch))?;
        Ok(revision)
    }

    fn commit_changes(&self, batch: Batch) -> Result<(Revision, Vec<Difference>)> {
        let ((), revision, changes) = self.write(|turn| turn.apply_all(batch))?;
        Ok((revision, fold(&changes)))
    }

    fn watch(&self, selection: Selection) -> Result<Watch> {
        self.begin_watch(selection, None)
    }

    fn watch_from(&self, selection: Selection, cursor: Cursor) -> Result<Watch> {
        self.begin_watch(selection, Some(cursor))
    }

    fn revision(&self) -> Revision {
        lock_closed(&self.shared).tables.revision
    }

    fn take_service(&self, key: &str) -> Result<ServiceInfo> {
        let change = Change::RemoveIf {
            key: key.into(),
            expected: Expected::Present,
            cause: Cause::Deleted,
        };
        let taken = self.change(change, |tables| tables.get(key).cloned())?;
        taken.ok_or_else(|| missing(key))
    }

    fn clear(&self) -> Result<()> {
        self.write(|turn| {
            turn.clear();
            Ok(())
        })?;
        Ok(())
    }

    fn stats(&self) -> Result<StoreStats> {
        Ok(self.read()?.stats())
    }

    fn ping(&self) -> Result<()> {
        self.read().map(drop)
    }

    fn close(&self) -> Result<()> {
        let mut shared = lock_closed(&self.shared);
        shared.is_closed = true;
        let last = Tables {
            revision: shared.tables.revision,
            ..Tables::default()
        };
        let held = std::mem::replace(&mut shared.tables, Arc::new(last));
        let left = self.log.close();
        drop(shared);
        drop((held, left));
        Ok(())
    }

    fn visit_view(&self, visit: &mut dyn FnMut(&dyn DynView)) -> Result<()> {
        visit(&*self.read()?);
        Ok(())
    }
}
