//! [`Balancer`]: which pods are eligible.

use super::hash;
use crate::model::labels::Labels;

/// Which pods of a service are eligible: by default, the healthy ones that have a weight.
#[derive(Clone, Debug, Default)]
pub struct Balancer {
    pub(super) labels: Labels,
    pub(super) zone: Option<Zone>,
    pub(super) panic_below: Option<f64>,
    pub(super) subset: Option<Subset>,
}

/// The caller's own zone.
#[derive(Clone, Debug)]
pub(super) struct Zone {
    pub(super) name: Box<str>,
    pub(super) enough: f64,
}

/// The number of pods for a client, and the client's hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subset {
    pub(super) client: u64,
    pub(super) size: usize,
}

impl Balancer {
    /// Creates a balancer over the healthy pods that have a weight.
    #[must_use]
    pub const fn new() -> Balancer {
        Balancer {
            labels: Labels::new(),
            zone: None,
            panic_below: None,
            subset: None,
        }
    }

    /// Restricts the balancer to pods that match `labels`. All other pods are ignored.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Balancer {
        self.labels = labels;
        self
    }

    /// Prefers pods of the caller's own zone. While at least the fraction `enough` of the zone's
    /// weight is healthy and not ejected, all picks stay in the zone. Below that, a fraction
    /// `healthy / enough` of the picks stays, and the rest goes to other zones: with 0.8, a zone of
    /// which 0.4 is healthy keeps half of them. All picks go to other zones if the zone has no such
    /// pod, and none do if the other zones have none. `enough` is between 0, with which only an
    /// empty zone spills over, and 1.
    #[must_use]
    pub fn with_zone(mut self, zone: impl Into<Box<str>>, enough: f64) -> Balancer {
        self.zone = Some(Zone {
            name: zone.into(),
            enough: clamp_fraction(enough),
        });
        self
    }

    /// Enables panic mode: if less than the fraction `healthy` of the weight that is not draining
    /// is healthy and not ejected, health checks are ignored. Then every pod that is not draining
    /// and has a weight is eligible, in any zone, ejected or not. Panic mode is off by default.
    #[must_use]
    pub fn with_panic_below(mut self, healthy: f64) -> Balancer {
        self.panic_below = Some(clamp_fraction(healthy));
        self
    }

    /// Restricts each client to `size` pods, so that not every client of a large fleet connects to
    /// every pod. Different clients get different pods, and the pods are spread over the clients
    /// evenly, as far as chance allows. A pod that is added, removed, or changes its health changes
    /// at most one of a client's pods. With [`with_zone`](Self::with_zone), a client has `size`
    /// pods in the zone and `size` outside it.
    ///
    /// A client's pods are those whose keys [hash](super::Candidates::rendezvous) highest together
    /// with the name of the client. A pick allocates nothing up to a size of 64. A size of 0 counts
    /// as 1.
    #[must_use]
    pub fn with_subset(mut self, client: &str, size: usize) -> Balancer {
        self.subset = Some(Subset {
            client: hash::text(client),
            size: size.max(1),
        });
        self
    }
}

/// Clamps a fraction that a caller gave to between 0 and 1; NaN becomes 1.
pub(super) fn clamp_fraction(fraction: f64) -> f64 {
    if fraction.is_nan() {
        1.0
    } else {
        fraction.clamp(0.0, 1.0)
    }
}
