//! The contract on a store that wraps another one, and takes its time.

use std::thread::sleep;
use std::time::{Duration, SystemTime};

use service_registry::changes::LogOptions;
use service_registry::{
    Batch, HealthUpdate, RegistryStore, Result, Revision, ServiceInfo, ServiceStatus, Snapshots,
    VersionedSnapshot, VersionedStore, delegate_store,
};

/// Sleeps before each write that takes effect, and after it.
struct Delayed(VersionedStore);

impl Delayed {
    fn new() -> Delayed {
        Delayed::with_log(LogOptions::default())
    }

    fn with_log(options: LogOptions) -> Delayed {
        Delayed(VersionedStore::with_log(options))
    }

    fn delayed<R>(&self, write: impl FnOnce(&VersionedStore) -> R) -> R {
        sleep(Duration::from_micros(20));
        let answer = write(&self.0);
        sleep(Duration::from_micros(20));
        answer
    }
}

impl RegistryStore for Delayed {
    fn save_service(&self, service: ServiceInfo) -> Result<()> {
        self.delayed(|store| store.save_service(service))
    }

    fn update_health_status(
        &self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Result<HealthUpdate> {
        self.delayed(|store| store.update_health_status(key, status, checked_at))
    }

    fn commit(&self, batch: Batch) -> Result<Revision> {
        self.delayed(|store| store.commit(batch))
    }

    delegate_store!(self => self.0; except save_service, update_health_status, commit);
}

impl Snapshots for Delayed {
    type Snapshot = VersionedSnapshot;

    fn snapshot(&self) -> VersionedSnapshot {
        self.0.snapshot()
    }
}

service_registry_testkit::contract! {
    crate::Delayed::new();
    shared, watched, snapshots;
    with_log: crate::Delayed::with_log
}
