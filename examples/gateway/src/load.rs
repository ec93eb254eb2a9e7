//! [`Load`]: how busy the pods are.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use service_registry::{ServiceInfo, ServiceKey};

/// Counts, for each pod that was ever called.
#[derive(Default)]
pub(crate) struct Load {
    pods: RwLock<HashMap<ServiceKey, Arc<Counts>>>,
}

// Relaxed: each number stands for itself.
#[derive(Default)]
struct Counts {
    in_flight: AtomicU64,
    begun: AtomicU64,
    /// As of the last sample.
    before: AtomicU64,
    per_second: AtomicU64,
}

/// A request that is under way, until this is dropped.
pub(crate) struct InFlight(Arc<Counts>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Load {
    pub(crate) fn begin(&self, pod: &ServiceInfo) -> InFlight {
        let known = self.counts(pod.key());
        let counts = known.unwrap_or_else(|| {
            let mut pods = self.pods.write().unwrap_or_else(PoisonError::into_inner);
            pods.entry(pod.key().clone()).or_default().clone()
        });
        counts.begun.fetch_add(1, Relaxed);
        counts.in_flight.fetch_add(1, Relaxed);
        InFlight(counts)
    }

    /// Requests under way, and those that began in the last second.
    pub(crate) fn of(&self, key: &ServiceKey) -> (u64, u64) {
        self.counts(key).map_or((0, 0), |counts| {
            let in_flight = counts.in_flight.load(Relaxed);
            (in_flight, counts.per_second.load(Relaxed))
        })
    }

    fn counts(&self, key: &ServiceKey) -> Option<Arc<Counts>> {
        let pods = self.pods.read().unwrap_or_else(PoisonError::into_inner);
        pods.get(key).cloned()
    }

    /// Counts what has begun since the last sample, which was `since`, and forgets pods that have
    /// left.
    pub(crate) fn sample(&self, since: Instant, stays: impl Fn(&ServiceKey) -> bool) {
        let seconds = since.elapsed().as_secs_f64();
        let mut pods = self.pods.write().unwrap_or_else(PoisonError::into_inner);
        pods.retain(|key, counts| {
            let begun = counts.begun.load(Relaxed);
            let more = begun - counts.before.swap(begun, Relaxed);
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
            #[allow(clippy::cast_sign_loss)] // a small count, and not below zero
            let per_second = (more as f64 / seconds).round() as u64;
            counts.per_second.store(per_second, Relaxed);
            stays(key)
        });
    }
}
