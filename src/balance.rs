//! From the pods of a name to the one to call.
//!
//! ```
//! use service_registry::balance::{Balancer, RoundRobin};
//! use service_registry::{MemoryStore, Registry, RegistryStore, ServiceRegistration, ServiceStatus};
//!
//! let registry = Registry::new(MemoryStore::new());
//! for pod in ["pod-1", "pod-2"] {
//!     let pod = registry.register(ServiceRegistration::new("checkout", pod))?;
//!     registry.update_health_status(pod.key(), ServiceStatus::Healthy)?;
//! }
//! registry.update_health_status("checkout:pod-2", ServiceStatus::Draining)?;
//!
//! let (balancer, turns) = (Balancer::new(), RoundRobin::new());
//! let address = registry.store().with_view(|view| {
//!     let pod = balancer.among((view, "checkout")).round_robin(&turns)?;
//!     Some(pod.key().to_string())
//! })?;
//! assert_eq!(address.as_deref(), Some("checkout:pod-1"));
//! # Ok::<(), service_registry::StoreError>(())
//! ```
//!
//! A [`Balancer`] says which pods come into question: healthy ones that have a weight, of one's own
//! zone first, with certain labels. A [`Candidates`] has four ways to pick one of them:
//!
//! | | for | keeps |
//! | --- | --- | --- |
//! | [`round_robin`](Candidates::round_robin) | requests that cost the same | a counter |
//! | [`random`](Candidates::random) | pods of different weights | nothing |
//! | [`two_choices`](Candidates::two_choices) | requests that differ; the caller knows how busy a pod is | what the caller counts |
//! | [`rendezvous`](Candidates::rendezvous) | keys that should meet the same pod each time (caches, sessions) | nothing |
//!
//! # What always holds
//!
//! A draining pod and one of weight 0 are never picked. One that is not healthy is picked in
//! [panic mode](Balancer::with_panic_below) only, which has to be asked for. Where nothing is left,
//! the answer is `None`.
//!
//! # Time, chance, cost
//!
//! The time and random numbers are the caller's, so that a test decides them: any generator will
//! do that fills 64 bits, and even a counter is mixed well. A pick goes through the pods of the
//! name once, O(*p*), and allocates nothing (a view behind `dyn` allocates the iterator, and a
//! [subset](Balancer::with_subset) of more than 64 the list). It goes
//! through them a second time where the count of pods has changed (round robin), in panic mode, and
//! where [`Ejections`] have come to be more than they may.

mod candidates;
mod choice;
mod ejections;
mod hash;
mod subset;

pub use candidates::{Candidates, Pods};
pub use choice::RoundRobin;
pub use ejections::Ejections;

use crate::model::labels::Labels;

/// Which pods of a name come into question: the healthy ones that have a weight, unless more is
/// said.
#[derive(Clone, Debug, Default)]
pub struct Balancer {
    labels: Labels,
    zone: Option<Zone>,
    panic_below: Option<f64>,
    subset: Option<Subset>,
}

/// The caller's own zone.
#[derive(Clone, Debug)]
struct Zone {
    name: Box<str>,
    enough: f64,
}

/// How many of them, and for whom.
#[derive(Clone, Copy, Debug)]
struct Subset {
    client: u64,
    size: usize,
}

impl Balancer {
    /// The healthy pods that have a weight.
    #[must_use]
    pub const fn new() -> Balancer {
        Balancer {
            labels: Labels::new(),
            zone: None,
            panic_below: None,
            subset: None,
        }
    }

    /// Only those that labels hold of; the others do not exist.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Balancer {
        self.labels = labels;
        self
    }

    /// Those of one's own zone first. As long as the part `enough` of the zone's weight is there,
    /// healthy and not ejected, the others get nothing. With less, the zone gets `healthy / enough`
    /// of the picks, and the rest spills: with 0.8, a zone of which 0.4 is healthy keeps a half.
    /// All of them spill where the zone has nobody, and none where nobody else has. `enough` is
    /// between 0, which spills only from an empty zone, and 1.
    #[must_use]
    pub fn with_zone(mut self, zone: impl Into<Box<str>>, enough: f64) -> Balancer {
        self.zone = Some(Zone {
            name: zone.into(),
            enough: part(enough),
        });
        self
    }

    /// Panic mode: where less than the part `healthy` of the weight that is not draining is healthy
    /// and not ejected, health checks are believed no more, and every pod that is not draining and
    /// has a weight comes into question, of whatever zone, ejected or not. Without this there is no
    /// such mode.
    #[must_use]
    pub fn with_panic_below(mut self, healthy: f64) -> Balancer {
        self.panic_below = Some(part(healthy));
        self
    }

    /// Only `size` of them, those of this client, so that a large fleet of clients need not be
    /// connected with all pods. Each client has others, and every pod is some of theirs, as evenly
    /// as chance does it. A pod that comes, goes or changes its health changes at most one of a
    /// client's. Where there is a zone, so many of it and so many of others.
    ///
    /// Those are the pods whose keys [hash](Candidates::rendezvous) highest with the name of the
    /// client. A pick allocates nothing up to a size of 64. A size of 0 is one.
    #[must_use]
    pub fn with_subset(mut self, client: &str, size: usize) -> Balancer {
        self.subset = Some(Subset {
            client: hash::text(client),
            size: size.max(1),
        });
        self
    }
}

/// A part that a caller names: between 0 and 1, and all where it is no number.
fn part(part: f64) -> f64 {
    if part.is_nan() {
        1.0
    } else {
        part.clamp(0.0, 1.0)
    }
}
