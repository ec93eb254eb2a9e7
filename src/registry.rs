//! [`Registry`]: the front that applications use.

use std::time::SystemTime;

use crate::changes::{Cursor, Difference, Selection, Watch};
use crate::model::batch::Batch;
use crate::model::condition::OnForeign;
use crate::model::error::{Result, StoreError};
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;
use crate::model::registration::ServiceRegistration;
use crate::model::revision::Revision;
use crate::model::status::{HealthUpdate, ServiceStatus};
use crate::store::{RegistryStore, StoreStats};

/// Registers, unregisters and answers, over any store.
///
/// Registering a pod and unregistering it is one commit each: no reader ever
/// sees a pod without its subscriptions, or subscriptions of a pod that has
/// left.
///
/// ```
/// use service_registry::{MemoryStore, Registry, ServiceRegistration, ServiceStatus};
///
/// let registry = Registry::new(MemoryStore::new());
/// registry.register(ServiceRegistration::new("checkout", "pod-1").with_subscription("payment"))?;
/// assert_eq!(registry.get_subscribers("payment")?, ["checkout:pod-1"]);
///
/// let changed = registry.update_health_status("checkout:pod-1", ServiceStatus::Healthy)?;
/// assert!(changed);
///
/// registry.unregister("checkout", "pod-1")?;
/// assert!(registry.get_subscribers("payment")?.is_empty());
/// # Ok::<(), service_registry::StoreError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Registry<S> {
    store: S,
}

impl<S: RegistryStore> Registry<S> {
    /// A registry over `store`, which may be shared: `Arc<SnapshotStore>`,
    /// `&MemoryStore` and `Box<dyn RegistryStore>` are stores, too.
    pub const fn new(store: S) -> Registry<S> {
        Registry { store }
    }

    /// The underlying store, for operations that `Registry` does not expose.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// Gives the store back.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Registers a pod, or registers it anew: the record is replaced, its status
    /// is [`Unknown`](ServiceStatus::Unknown), and its subscriptions are the new
    /// ones and no others, each at the end of its group's order. It begins a new
    /// [`incarnation`](ServiceInfo::incarnation), and the answer is the record as the
    /// store has it. One commit; the cost of a save and of the subscriptions that go and
    /// come.
    ///
    /// # Errors
    ///
    /// [`Invalid`](StoreError::Invalid), naming the field, for a registration
    /// that [`ServiceInfo::new`] refuses; [`BatchRejected`](StoreError::BatchRejected)
    /// with a [`Conflict`](StoreError::Conflict) where the key is another source's;
    /// [`Closed`](StoreError::Closed).
    pub fn register(&self, registration: ServiceRegistration) -> Result<ServiceInfo> {
        let service = ServiceInfo::new(registration)?;
        let key = service.key();
        let mut batch = Batch::with_capacity(2 + service.subscriptions().len());
        batch
            .register_service(service.clone())
            .remove_all_subscriptions(key);
        for group in service.subscriptions() {
            batch.add_subscription(key, group);
        }
        let revision = self.store.commit(batch)?;
        Ok(service.stamped(revision, revision))
    }

    /// Removes a pod together with its subscriptions, and answers with what was
    /// removed. One commit.
    ///
    /// `None` where it was not registered; then nothing changes. (Subscriptions
    /// of a key that is not registered are added and removed through the store:
    /// [`remove_all_subscriptions`](RegistryStore::remove_all_subscriptions).)
    ///
    /// # Errors
    ///
    /// [`Invalid`](StoreError::Invalid) for names that no pod can have;
    /// [`Closed`](StoreError::Closed).
    pub fn unregister(&self, service_name: &str, pod_name: &str) -> Result<Option<ServiceInfo>> {
        let key = ServiceKey::new(service_name, pod_name)?;
        match self.store.take_service(&key) {
            Ok(removed) => Ok(Some(removed)),
            Err(StoreError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Notes what a health check said just now, and answers whether the status
    /// changed. Of two threads that report the same change, one is told so.
    ///
    /// Where the record is of a check that is later than the clock, the report gets that
    /// time: a clock that steps back holds up nobody.
    ///
    /// # Errors
    ///
    /// [`NotFound`](StoreError::NotFound) where no pod has that key;
    /// [`Invalid`](StoreError::Invalid) where none can have it, or the clock stands
    /// before 1970; [`Closed`](StoreError::Closed).
    pub fn update_health_status(&self, key: &str, status: ServiceStatus) -> Result<bool> {
        let mut now = SystemTime::now();
        loop {
            match self.store.update_health_status(key, status, now)? {
                HealthUpdate::Applied { before } => return Ok(before != status),
                HealthUpdate::Late { .. } => {
                    let stored = self
                        .store
                        .with_service(key, ServiceInfo::last_health_check)?;
                    now = stored.map_or(now, |stored| stored.max(now));
                }
            }
        }
    }

    /// Makes the records of `source` these and no others, in one commit:
    /// [`Batch::replace_source`]. Answers with what that changed, and with one
    /// [`Skipped`](Difference::Skipped) for each record that was left out. A pod with the
    /// registration that it has is not touched, and keeps the time at which that was made.
    /// O(*n*) for all records of the store.
    ///
    /// # Errors
    ///
    /// [`Invalid`](StoreError::Invalid) for a registration that [`ServiceInfo::new`]
    /// refuses, which its field names: `registrations[2].pod_name`;
    /// [`BatchRejected`](StoreError::BatchRejected) with the reason, a
    /// [`Conflict`](StoreError::Conflict) among them; [`Closed`](StoreError::Closed).
    pub fn replace_source(
        &self,
        source: &str,
        registrations: impl IntoIterator<Item = ServiceRegistration>,
        on_foreign: OnForeign,
    ) -> Result<Vec<Difference>> {
        let registrations = registrations.into_iter().enumerate();
        let services = registrations.map(|(at, registration)| {
            ServiceInfo::new(registration).map_err(|error| match error {
                StoreError::Invalid(input) => input.inside(&format!("registrations[{at}]")).into(),
                other => other,
            })
        });
        let services = services.collect::<Result<_>>()?;
        let mut batch = Batch::with_capacity(1);
        batch.replace_source(source, services, on_foreign);
        self.store.commit_changes(batch).map(|(_, changes)| changes)
    }

    /// Writes everything, of one state, and answers with its revision: see
    /// [`dump`](crate::dump). O(*n*), and memory for one record. Meanwhile the store holds what
    /// [`with_view`](RegistryStore::with_view) holds: on a lock-based store, writers wait for
    /// `writer`.
    ///
    /// ```
    /// use service_registry::{MemoryStore, Registry};
    /// use std::fs::{self, File};
    ///
    /// let registry = Registry::new(MemoryStore::new());
    /// # let folder = std::env::temp_dir().join(format!("dump-{}", std::process::id()));
    /// # fs::create_dir_all(&folder)?;
    /// // Beside the old one, so that one of them is always whole.
    /// let (old, new) = (folder.join("registry"), folder.join("registry.new"));
    /// let file = File::create(&new)?;
    /// registry.dump(&file)?;
    /// file.sync_all()?;
    /// fs::rename(&new, &old)?;
    ///
    /// registry.restore(File::open(&old)?)?;
    /// # fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Io`](crate::dump::Error::Io) as `writer` fails; [`Store`](crate::dump::Error::Store) where
    /// the store is closed.
    #[cfg(feature = "dump")]
    pub fn dump(&self, writer: impl std::io::Write) -> Result<Revision, crate::dump::Error> {
        self.store
            .with_view(|view| crate::dump::write(view, writer))?
    }

    /// Makes the whole store what a [`dump`](Self::dump) shows, in one commit, or leaves it as it
    /// is; answers with the revision that it led to, which is the revision and the incarnation of
    /// every record. What else was there goes. Every pod is
    /// [`Unknown`](crate::ServiceStatus::Unknown), and not checked yet. Watches are told the state.
    ///
    /// O(*n*), and as much memory as the records take; what was there goes when the new state is
    /// in its place. `reader` is read to its end before the store is asked for anything.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::dump::Error::Refused), with the line, where the dump is cut short,
    /// altered, or of another version; [`Io`](crate::dump::Error::Io) as `reader` fails;
    /// [`Store`](crate::dump::Error::Store) where the store is closed.
    #[cfg(feature = "dump")]
    pub fn restore(&self, reader: impl std::io::Read) -> Result<Revision, crate::dump::Error> {
        self.restore_with(reader, crate::dump::Health::Forget)
    }

    /// The same, with the health of every pod as `health` says.
    ///
    /// # Errors
    ///
    /// As [`restore`](Self::restore).
    #[cfg(feature = "dump")]
    pub fn restore_with(
        &self,
        reader: impl std::io::Read,
        health: crate::dump::Health,
    ) -> Result<Revision, crate::dump::Error> {
        let batch = crate::dump::read(reader, health)?;
        match self.store.commit(batch) {
            // There is one change.
            Err(StoreError::BatchRejected { source, .. }) => Err((*source).into()),
            answer => Ok(answer?),
        }
    }

    /// Applies a batch, whole or not at all, and returns the revision that it led to.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::commit`] does.
    pub fn commit(&self, batch: Batch) -> Result<Revision> {
        self.store.commit(batch)
    }

    /// Applies a batch, and returns what it changed, too.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::commit_changes`] does.
    pub fn commit_changes(&self, batch: Batch) -> Result<(Revision, Vec<Difference>)> {
        self.store.commit_changes(batch)
    }

    /// Begins a watch: the present state of what is selected, and then every change of it.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::watch`] does.
    pub fn watch(&self, selection: Selection) -> Result<Watch> {
        self.store.watch(selection)
    }

    /// Begins a watch behind a cursor, or with the state where the log does not reach back.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::watch_from`] does.
    pub fn watch_from(&self, selection: Selection, cursor: Cursor) -> Result<Watch> {
        self.store.watch_from(selection, cursor)
    }

    /// Ends the store.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::close`] does.
    pub fn close(&self) -> Result<()> {
        self.store.close()
    }

    /// Returns the record under `key`.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::get_service`] does.
    pub fn get_service(&self, key: &str) -> Result<ServiceInfo> {
        self.store.get_service(key)
    }

    /// Returns the record under `key`, or `None` where no pod has it.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::find_service`] does.
    pub fn find_service(&self, key: &str) -> Result<Option<ServiceInfo>> {
        self.store.find_service(key)
    }

    /// Whether a pod is registered under `key`.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::contains_service`] does.
    pub fn contains_service(&self, key: &str) -> Result<bool> {
        self.store.contains_service(key)
    }

    /// Calls `read` with the record under `key`, without a copy but on `WorkerStore`.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::with_service`] does.
    #[inline]
    pub fn with_service<R>(&self, key: &str, read: impl FnOnce(&ServiceInfo) -> R) -> Result<R> {
        self.store.with_service(key, read)
    }

    /// Returns the pods of a service, in no particular order.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::get_services_by_name`] does.
    pub fn get_services_by_name(&self, service_name: &str) -> Result<Vec<ServiceInfo>> {
        self.store.get_services_by_name(service_name)
    }

    /// Returns every record, in no particular order.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::get_all_services`] does.
    pub fn get_all_services(&self) -> Result<Vec<ServiceInfo>> {
        self.store.get_all_services()
    }

    /// Returns who is subscribed to a group, in the order of subscription.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::get_subscribers`] does.
    pub fn get_subscribers(&self, service_group: &str) -> Result<Vec<ServiceKey>> {
        self.store.get_subscribers(service_group)
    }

    /// Returns the records of the registered subscribers of a group, in the order of
    /// subscription.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::get_subscriber_services`] does.
    pub fn get_subscriber_services(&self, service_group: &str) -> Result<Vec<ServiceInfo>> {
        self.store.get_subscriber_services(service_group)
    }

    /// Returns how much the store holds.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::stats`] does.
    pub fn stats(&self) -> Result<StoreStats> {
        self.store.stats()
    }

    /// Returns the number of the present state; after `close`, that of the last one.
    pub fn revision(&self) -> Revision {
        self.store.revision()
    }
}
