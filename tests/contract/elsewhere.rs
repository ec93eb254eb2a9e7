//! A store from elsewhere: it has nothing but the public interface, keeps the whole contract
//! and tells of changes. Made to be read, not to be quick.
//!
//! Every write is a [`Batch`], so that [`Batch::check`] says what is refused. The tables are
//! shared, and copied where somebody still looks at them, so that no closure and no watch
//! holds up a writer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use service_registry::changes::{
    Cursor, Difference, Log, LogOptions, ReadState, Selection, State, Subscription, Watch, fold,
};
use service_registry::{
    Batch, Cause, Change, DynView, Expected, HealthUpdate, RegistryStore, RegistryView, Result,
    Revision, ServiceInfo, ServiceKey, ServiceStatus, StoreError, StoreStats,
};

#[path = "elsewhere/tables.rs"]
mod tables;
use tables::{Tables, Transaction};

/// See above.
pub(crate) struct ExternalStore {
    shared: Arc<Mutex<ClosableTables>>,
    log: Log,
}

#[derive(Default)]
struct ClosableTables {
    tables: Arc<Tables>,
    is_closed: bool,
}

impl ExternalStore {
    pub(crate) fn new() -> ExternalStore {
        ExternalStore::with_log(LogOptions::default())
    }

    pub(crate) fn with_log(options: LogOptions) -> ExternalStore {
        ExternalStore {
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
        write: impl FnOnce(&mut Transaction<'_>) -> Result<R>,
    ) -> Result<(R, Revision, Vec<Difference>)> {
        let mut shared = lock(&self.shared)?;
        let tables = Arc::make_mut(&mut shared.tables);
        let next = tables.revision.next();
        let mut transaction = Transaction {
            tables,
            next,
            changes: Vec::new(),
            is_changed: false,
            is_restored: false,
        };
        let answer = write(&mut transaction)?;
        let Transaction {
            changes,
            is_changed,
            is_restored,
            ..
        } = transaction;
        if is_changed {
            tables.revision = next;
        }
        let revision = tables.revision;
        let left = match is_changed {
            // Cursors from before are told, too.
            true if is_restored => Some(self.log.restored(revision)),
            true if self.log.is_recording() => {
                Some(self.log.append(revision, changes.iter().cloned()))
            }
            _ => None,
        };
        drop(shared);
        // Wakes watches, whose wakers may call the store.
        drop(left);
        Ok((answer, revision, changes))
    }

    /// Makes one change; answers with what `look` saw before it.
    fn change<R>(&self, change: Change, look: impl FnOnce(&Tables) -> R) -> Result<R> {
        let written = self.write(|transaction| {
            let seen = look(transaction.tables);
            transaction.apply_all(change.into())?;
            Ok(seen)
        });
        match written {
            Ok((seen, ..)) => Ok(seen),
            Err(StoreError::BatchRejected { source, .. }) => Err(*source),
            Err(error) => Err(error),
        }
    }

    fn begin_watch(&self, selection: Selection, from: Option<Cursor>) -> Result<Watch> {
        let read = Arc::new(ExternalStateReader(Arc::downgrade(&self.shared)));
        self.log.watch(selection, from, read, || {
            Ok(lock(&self.shared)?.tables.revision)
        })
    }
}

impl Drop for ExternalStore {
    fn drop(&mut self) {
        drop(self.log.close());
    }
}

fn lock_closed(shared: &Mutex<ClosableTables>) -> MutexGuard<'_, ClosableTables> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lock(shared: &Mutex<ClosableTables>) -> Result<MutexGuard<'_, ClosableTables>> {
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
struct ExternalStateReader(Weak<Mutex<ClosableTables>>);

impl ReadState for ExternalStateReader {
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
                .filter(|(_, group)| selection.holds_subscription(group))
                .map(|(subscriber, group)| Subscription::new(subscriber.clone(), group.clone()))
                .collect(),
        }))
    }
}

/// What is required, and what a store that tells of changes has besides.
impl RegistryStore for ExternalStore {
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
        let ((), revision, _) = self.write(|transaction| transaction.apply_all(batch))?;
        Ok(revision)
    }

    fn commit_changes(&self, batch: Batch) -> Result<(Revision, Vec<Difference>)> {
        let ((), revision, changes) = self.write(|transaction| transaction.apply_all(batch))?;
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
        self.write(|transaction| {
            transaction.clear(Cause::Cleared);
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
