//! [`Registry`]: the front that applications use.

use std::time::SystemTime;

use crate::batch::{Batch, Revision};
use crate::error::{Result, StoreError};
use crate::service::{ServiceInfo, ServiceKey, ServiceRegistration, ServiceStatus};
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
/// registry.register(ServiceRegistration {
///     service_name: "checkout".into(),
///     pod_name: "pod-1".into(),
///     subscriptions: vec!["payment".into()],
///     ..Default::default()
/// })?;
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

    /// The store, for everything that is not said here.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// Gives the store back.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Registers a pod, or registers it anew: the record is replaced, its status
    /// is [`Unknown`](ServiceStatus::Unknown), and its subscriptions are the new
    /// ones and no others, each at the end of its group's order. One commit; the
    /// cost of a save and of the subscriptions that go and come.
    ///
    /// # Errors
    ///
    /// [`Invalid`](StoreError::Invalid), naming the field, for a registration
    /// that [`ServiceInfo::new`] refuses; [`Closed`](StoreError::Closed).
    pub fn register(&self, registration: ServiceRegistration) -> Result<ServiceInfo> {
        let service = ServiceInfo::new(registration)?;
        let key = service.key();
        let mut batch = Batch::with_capacity(2 + service.subscriptions().len());
        batch
            .save_service(service.clone())
            .remove_all_subscriptions(key);
        for group in service.subscriptions() {
            batch.add_subscription(key, group);
        }
        self.store.commit(batch)?;
        Ok(service)
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
    /// # Errors
    ///
    /// [`NotFound`](StoreError::NotFound) where no pod has that key;
    /// [`Closed`](StoreError::Closed).
    pub fn update_health_status(&self, key: &str, status: ServiceStatus) -> Result<bool> {
        let before = self
            .store
            .swap_health_status(key, status, SystemTime::now())?;
        Ok(before != status)
    }

    /// See [`RegistryStore::get_service`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get_service(&self, key: &str) -> Result<ServiceInfo> {
        self.store.get_service(key)
    }

    /// See [`RegistryStore::with_service`].
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn with_service<R>(&self, key: &str, read: impl FnOnce(&ServiceInfo) -> R) -> Result<R> {
        self.store.with_service(key, read)
    }

    /// See [`RegistryStore::get_services_by_name`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get_services_by_name(&self, service_name: &str) -> Result<Vec<ServiceInfo>> {
        self.store.get_services_by_name(service_name)
    }

    /// See [`RegistryStore::get_all_services`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get_all_services(&self) -> Result<Vec<ServiceInfo>> {
        self.store.get_all_services()
    }

    /// See [`RegistryStore::get_subscribers`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get_subscribers(&self, service_group: &str) -> Result<Vec<ServiceKey>> {
        self.store.get_subscribers(service_group)
    }

    /// See [`RegistryStore::get_subscriber_services`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get_subscriber_services(&self, service_group: &str) -> Result<Vec<ServiceInfo>> {
        self.store.get_subscriber_services(service_group)
    }

    /// See [`RegistryStore::stats`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn stats(&self) -> Result<StoreStats> {
        self.store.stats()
    }

    /// See [`RegistryStore::revision`].
    pub fn revision(&self) -> Revision {
        self.store.revision()
    }
}
