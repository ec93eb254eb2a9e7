//! [`Balancer`]: what is asked of a pod.

use super::hash;
use crate::model::labels::Labels;

/// Which pods of a name come into question: the healthy ones that have a weight, unless more is
/// said.
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

/// How many of them, and for whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subset {
    pub(super) client: u64,
    pub(super) size: usize,
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
    /// Those are the pods whose keys [hash](super::Candidates::rendezvous) highest with the name of the
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
pub(super) fn part(part: f64) -> f64 {
    if part.is_nan() {
        1.0
    } else {
        part.clamp(0.0, 1.0)
    }
}
