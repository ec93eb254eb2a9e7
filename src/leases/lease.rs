//! [`Lease`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::slot::Slot;
use crate::model::key::ServiceKey;
use crate::model::revision::Revision;

/// The right of one registered pod to stay, see [`Leases`](super::Leases).
///
/// Dropping it changes nothing: the pod stays until the lease ends. A clone is the same lease.
#[derive(Clone)]
#[must_use = "a lease that nobody renews ends"]
pub struct Lease(pub(super) Arc<Slot>);

impl Lease {
    /// `service:pod`
    pub fn key(&self) -> &ServiceKey {
        &self.0.key
    }

    /// The [incarnation](crate::ServiceInfo::incarnation) of the pod that it is of.
    pub fn incarnation(&self) -> Revision {
        self.0.incarnation
    }

    /// How long it runs after each renewal.
    pub fn ttl(&self) -> Duration {
        Duration::from_nanos(self.0.ttl)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("key", self.key())
            .field("incarnation", &self.incarnation())
            .field("ttl", &self.ttl())
            .finish_non_exhaustive()
    }
}
