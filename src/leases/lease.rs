//! [`Lease`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::slot::Slot;
use crate::model::key::ServiceKey;
use crate::model::revision::Revision;

/// The lease of one registered pod, see [`Leases`](super::Leases).
///
/// Dropping it changes nothing: the pod stays until the lease ends. Clones share the same
/// lease.
#[derive(Clone)]
#[must_use = "a lease that nobody renews ends"]
pub struct Lease(pub(super) Arc<Slot>);

impl Lease {
    /// Returns the key of the pod, `service:pod`.
    pub fn key(&self) -> &ServiceKey {
        &self.0.key
    }

    /// Returns the [incarnation](crate::ServiceInfo::incarnation) of the pod.
    pub fn incarnation(&self) -> Revision {
        self.0.incarnation
    }

    /// Returns the time to live, which starts again with each renewal.
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
