//! [`Registry`]: the interface that applications use.

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

/// Registers, unregisters and looks up pods, over any store.
///
/// Registering or unregistering a pod is one commit each: no reader ever sees a pod without its
/// subscriptions, or subscriptions of a pod that has left.
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
    /// Creates a registry over `store`. The store may be shared: `Arc<SnapshotStore>`,
    /// `&MemoryStore` and `Box<dyn RegistryStore>` are stores, too.
    pub const fn new(store: S) -> Registry<S> {
        Registry { store }
    }

    /// Returns the underlying store, for operations that `Registry` does not expose.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// Consumes the registry and returns its store.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Registers a pod, or replaces its registration. Returns the record as the store holds it.
    ///
    /// The status of the record is [`Unknown`](ServiceStatus::Unknown), and it begins a new
    /// [`incarnation`](ServiceInfo::incarnation). The subscriptions of the registration replace all
    /// earlier ones of the pod; each is appended to the order of its group.
    ///
    /// One commit. Costs as much as saving the record and removing and adding the subscriptions.
    ///
    /// # Errors
    ///
    /// [`Invalid`](StoreError::Invalid), naming the field, if [`ServiceInfo::new`] refuses the
    /// registration; [`BatchRejected`](StoreError::BatchRejected) with a
    /// [`Conflict`](StoreError::Conflict) if the record under this key belongs to another source;
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

    /// Removes a pod together with its subscriptions, and returns the removed record. One commit.
    ///
    /// Returns `None`, and changes nothing, if the pod is not registered. (The subscriptions of an
    /// unregistered key are added and removed through the store:
    /// [`remove_all_subscriptions`](RegistryStore::remove_all_subscriptions).)
    ///
    /// # Errors
    ///
    /// [`Invalid`](StoreError::Invalid) if no pod can have these names;
    /// [`Closed`](StoreError::Closed).
    pub fn unregister(&self, service_name: &str, pod_name: &str) -> Result<Option<ServiceInfo>> {
        let key = ServiceKey::new(service_name, pod_name)?;
        match self.store.take_service(&key) {
            Ok(removed) => Ok(Some(removed)),
            Err(StoreError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Records the result of a health check made just now, and returns whether the status changed.
    /// If two threads report the same change, exactly one of them gets `true`.
    ///
    /// If the stored check is later than the clock, the report gets the time of that check: a clock
    /// that steps back does not block reports.
    ///
    /// # Errors
    ///
    /// [`NotFound`](StoreError::NotFound) if no pod has this key; [`Invalid`](StoreError::Invalid)
    /// if no pod can have it, or if the clock is before 1970; [`Closed`](StoreError::Closed).
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

    /// Replaces all records of `source` by `registrations`, in one commit: see
    /// [`Batch::replace_source`].
    ///
    /// Returns the changes, and one [`Skipped`](Difference::Skipped) for each record that was left
    /// out. A pod whose registration is the same as before is not touched, and keeps its time of
    /// registration. O(*n*) in the records of the store.
    ///
    /// # Errors
    ///
    /// [`Invalid`](StoreError::Invalid) if [`ServiceInfo::new`] refuses a registration, which the
    /// field names: `registrations[2].pod_name`; [`BatchRejected`](StoreError::BatchRejected) with
    /// the reason, for example a [`Conflict`](StoreError::Conflict);
    /// [`Closed`](StoreError::Closed).
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

    /// Writes one state of the whole store to `writer`, and returns its revision: see
    /// [`dump`](crate::dump).
    ///
    /// O(*n*), with memory for one record. Runs inside [`with_view`](RegistryStore::with_view): on
    /// a lock-based store, writers wait until `writer` has taken everything.
    ///
    /// ```
    /// use service_registry::{MemoryStore, Registry};
    /// use std::fs::{self, File};
    ///
    /// let registry = Registry::new(MemoryStore::new());
    /// # let folder = std::env::temp_dir().join(format!("dump-{}", std::process::id()));
    /// # fs::create_dir_all(&folder)?;
    /// // A new file beside the old one, so that one of them is always complete.
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
    /// [`Io`](crate::dump::Error::Io) if `writer` fails; [`Store`](crate::dump::Error::Store) if
    /// the store is closed.
    #[cfg(feature = "dump")]
    pub fn dump(&self, writer: impl std::io::Write) -> Result<Revision, crate::dump::Error> {
        self.store
            .with_view(|view| crate::dump::write(view, writer))?
    }

    /// Replaces the contents of the whole store by a [`dump`](Self::dump) in one commit, or leaves
    /// the store as it is. Returns the revision of that commit, which is the revision and the
    /// incarnation of every record.
    ///
    /// Everything that was in the store before is removed. Every pod becomes
    /// [`Unknown`](crate::ServiceStatus::Unknown) and unchecked. Watches receive the new state.
    ///
    /// O(*n*), with memory for all the records. The old contents are freed when the new ones are in
    /// place. `reader` is read to its end before the store is touched.
    ///
    /// # Errors
    ///
    /// [`Refused`](crate::dump::Error::Refused), with the line, if the dump is truncated, altered,
    /// or of another version; [`Io`](crate::dump::Error::Io) if `reader` fails;
    /// [`Store`](crate::dump::Error::Store) if the store is closed.
    #[cfg(feature = "dump")]
    pub fn restore(&self, reader: impl std::io::Read) -> Result<Revision, crate::dump::Error> {
        self.restore_with(reader, crate::dump::Health::Forget)
    }

    /// Does the same as [`restore`](Self::restore); `health` decides what becomes of the pods'
    /// health.
    ///
    /// # Errors
    ///
    /// Fails as [`restore`](Self::restore) does.
    #[cfg(feature = "dump")]
    pub fn restore_with(
        &self,
        reader: impl std::io::Read,
        health: crate::dump::Health,
    ) -> Result<Revision, crate::dump::Error> {
        let batch = crate::dump::read(reader, health)?;
        match self.store.commit(batch) {
            // The batch has one change, so its index says nothing.
            Err(StoreError::BatchRejected { source, .. }) => Err((*source).into()),
            answer => Ok(answer?),
        }
    }

    /// Applies a batch, all or nothing, and returns the revision of the resulting state.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::commit`] does.
    pub fn commit(&self, batch: Batch) -> Result<Revision> {
        self.store.commit(batch)
    }

    /// Applies a batch, and returns the revision of the resulting state and what changed.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::commit_changes`] does.
    pub fn commit_changes(&self, batch: Batch) -> Result<(Revision, Vec<Difference>)> {
        self.store.commit_changes(batch)
    }

    /// Begins a watch: first the current state of the selection, then every change to it.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::watch`] does.
    pub fn watch(&self, selection: Selection) -> Result<Watch> {
        self.store.watch(selection)
    }

    /// Resumes a watch after a cursor, or begins with the current state if the log does not reach
    /// back that far.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::watch_from`] does.
    pub fn watch_from(&self, selection: Selection, cursor: Cursor) -> Result<Watch> {
        self.store.watch_from(selection, cursor)
    }

    /// Closes the store.
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

    /// Returns the record under `key`, or `None` if no pod has it.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::find_service`] does.
    pub fn find_service(&self, key: &str) -> Result<Option<ServiceInfo>> {
        self.store.find_service(key)
    }

    /// Returns whether a pod is registered under `key`.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::contains_service`] does.
    pub fn contains_service(&self, key: &str) -> Result<bool> {
        self.store.contains_service(key)
    }

    /// Calls `read` with the record under `key`, without copying it (except on `WorkerStore`).
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

    /// Returns the subscribers of a group, in the order of subscription.
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

    /// Returns the revision of the current state; after `close`, that of the last one.
    pub fn revision(&self) -> Revision {
        self.store.revision()
    }
}
