//! The stores under test.

use std::time::SystemTime;

use service_registry::{
    Batch, MemoryStore, RegistryStore, Result, Revision, ServiceInfo, ServiceKey, ServiceStatus,
    StoreStats,
};

/// Hands every store that threads can share to `$with`, as
/// `feature module Store = how to make one;`. The only list of them in the
/// tests: a store that stands here is in every suite.
#[allow(unused_macros)] // as for the functions of this folder
macro_rules! shared_stores {
    ($with:ident) => {
        $with! { "thread-safe" thread_safe ThreadSafe ThreadSafeMemoryStore }
        $with! { "worker" worker Worker WorkerStore }
        $with! { "evmap" evmap Evmap EvmapStore }
        $with! { "snapshot" snapshot Snapshot SnapshotStore }
        $with! { "versioned" versioned Versioned VersionedStore }
    };
}

/// A store from elsewhere that has only what the trait requires, so that the
/// provided methods are under test, too.
#[derive(Debug, Default)]
pub(crate) struct Required(MemoryStore);

impl Required {
    pub(crate) fn new() -> Required {
        Required::default()
    }
}

/// Writes the required methods of a store by way of another one: all of them,
/// or those that read, without `revision`, or those that write, without `commit`.
macro_rules! forward_required {
    ($self:ident => $inner:expr) => {
        fn revision(&$self) -> Revision {
            $inner.revision()
        }
        fn commit(&$self, batch: Batch) -> Result<Revision> {
            $inner.commit(batch)
        }
        fn commit_changes(
            &$self,
            batch: Batch,
        ) -> Result<(Revision, Vec<service_registry::changes::Difference>)> {
            $inner.commit_changes(batch)
        }
        forward_required!(writes $self => $inner);
        forward_required!(reads $self => $inner);
    };
    (writes $self:ident => $inner:expr) => {
        fn save_service(&$self, service: ServiceInfo) -> Result<()> {
            $inner.save_service(service)
        }
        fn delete_service(&$self, key: &str) -> Result<()> {
            $inner.delete_service(key)
        }
        fn update_health_status(
            &$self,
            key: &str,
            status: ServiceStatus,
            checked_at: SystemTime,
        ) -> Result<service_registry::HealthUpdate> {
            $inner.update_health_status(key, status, checked_at)
        }
        fn take_service(&$self, key: &str) -> Result<ServiceInfo> {
            $inner.take_service(key)
        }
        fn add_subscription(&$self, subscriber_key: &str, service_group: &str) -> Result<()> {
            $inner.add_subscription(subscriber_key, service_group)
        }
        fn remove_subscription(&$self, subscriber_key: &str, service_group: &str) -> Result<()> {
            $inner.remove_subscription(subscriber_key, service_group)
        }
        fn remove_all_subscriptions(&$self, subscriber_key: &str) -> Result<()> {
            $inner.remove_all_subscriptions(subscriber_key)
        }
        fn clear(&$self) -> Result<()> {
            $inner.clear()
        }
        fn close(&$self) -> Result<()> {
            $inner.close()
        }
    };
    (reads $self:ident => $inner:expr) => {
        fn visit_view(
            &$self,
            visit: &mut dyn FnMut(&dyn service_registry::DynView),
        ) -> Result<()> {
            $inner.visit_view(visit)
        }
        fn get_service(&$self, key: &str) -> Result<ServiceInfo> {
            $inner.get_service(key)
        }
        fn get_services_by_name(&$self, service_name: &str) -> Result<Vec<ServiceInfo>> {
            $inner.get_services_by_name(service_name)
        }
        fn get_all_services(&$self) -> Result<Vec<ServiceInfo>> {
            $inner.get_all_services()
        }
        fn get_subscribers(&$self, service_group: &str) -> Result<Vec<ServiceKey>> {
            $inner.get_subscribers(service_group)
        }
        fn get_subscriber_services(&$self, service_group: &str) -> Result<Vec<ServiceInfo>> {
            $inner.get_subscriber_services(service_group)
        }
        fn stats(&$self) -> Result<StoreStats> {
            $inner.stats()
        }
        fn ping(&$self) -> Result<()> {
            $inner.ping()
        }
    };
}

impl RegistryStore for Required {
    forward_required!(self => self.0);
}
