//! [`Null`]: what it costs to do nothing.

use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use super::{About, Contender, Kind, Promises};
use crate::HealthUpdate;
use crate::lab::workload::{OPERATIONS, WORKERS};
use crate::{
    Batch, Result, Revision, ServiceInfo, ServiceKey, ServiceStatus, StoreError, StoreStats,
};

/// How many records it can put aside: what one burst writes at most.
const ROOM: usize = WORKERS * OPERATIONS;

/// A store that accepts everything and knows nothing. What a burst costs with
/// it is the start and the end of the burst.
///
/// Records are put aside, so that nothing is freed while the clock runs.
#[derive(Debug)]
pub struct Null {
    aside: Box<[OnceLock<ServiceInfo>]>,
    next: AtomicUsize,
}

impl Default for Null {
    fn default() -> Null {
        Null {
            aside: (0..ROOM).map(|_| OnceLock::new()).collect(),
            next: AtomicUsize::new(0),
        }
    }
}

impl Contender for Null {
    const ABOUT: About = About {
        name: "null",
        id: "null",
        about: "puts records aside and does nothing else: the cost of the scenario itself",
        own_thread: false,
        kind: Kind::Measure,
        crate_name: None,
        promises: Promises::NONE,
    };
}

impl crate::RegistryStore for Null {
    fn save_service(&self, service: ServiceInfo) -> Result<()> {
        // Where all room is taken no cache line is written that others need: threads
        // that go on and on would else meet here.
        if self.next.load(Relaxed) >= ROOM {
            return Ok(());
        }
        // Relaxed: the number only has to be one that nobody else has.
        let place = self.next.fetch_add(1, Relaxed);
        if let Some(place) = self.aside.get(place) {
            let _ = place.set(service);
        }
        Ok(())
    }

    fn get_service(&self, _: &str) -> Result<ServiceInfo> {
        Err(StoreError::Closed)
    }

    fn get_services_by_name(&self, _: &str) -> Result<Vec<ServiceInfo>> {
        Ok(Vec::new())
    }

    fn get_all_services(&self) -> Result<Vec<ServiceInfo>> {
        Ok(Vec::new())
    }

    fn delete_service(&self, _: &str) -> Result<()> {
        Ok(())
    }

    fn update_health_status(
        &self,
        _: &str,
        before: ServiceStatus,
        _: SystemTime,
    ) -> Result<HealthUpdate> {
        Ok(HealthUpdate::Applied { before })
    }

    fn add_subscription(&self, _: &str, _: &str) -> Result<()> {
        Ok(())
    }

    fn remove_subscription(&self, _: &str, _: &str) -> Result<()> {
        Ok(())
    }

    fn remove_all_subscriptions(&self, _: &str) -> Result<()> {
        Ok(())
    }

    fn get_subscribers(&self, _: &str) -> Result<Vec<ServiceKey>> {
        Ok(Vec::new())
    }

    fn get_subscriber_services(&self, _: &str) -> Result<Vec<ServiceInfo>> {
        Ok(Vec::new())
    }

    fn commit(&self, _: Batch) -> Result<Revision> {
        Ok(Revision::ZERO)
    }

    fn revision(&self) -> Revision {
        Revision::ZERO
    }

    fn take_service(&self, _: &str) -> Result<ServiceInfo> {
        Err(StoreError::Closed)
    }

    fn clear(&self) -> Result<()> {
        Ok(())
    }

    fn stats(&self) -> Result<StoreStats> {
        Ok(StoreStats::default())
    }

    fn ping(&self) -> Result<()> {
        Ok(())
    }

    fn close(&self) -> Result<()> {
        Ok(())
    }
}
