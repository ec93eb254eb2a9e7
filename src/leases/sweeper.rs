//! [`Sweeper`], the state that a sweep leaves for the next.

use std::sync::Arc;

use super::guard::MassExpiryGuard;
use super::slot::{Nanos, Slot};
use crate::changes::Watch;

/// The state of the sweeps. A sweep has exclusive access.
#[derive(Debug)]
pub(super) struct Sweeper {
    pub(super) watch: Watch,
    pub(super) guard: MassExpiryGuard,
    pub(super) withheld: Vec<Withheld>,
    /// Leases that have ended and whose pods are still to be removed.
    pub(super) to_remove: Vec<Arc<Slot>>,
}

#[derive(Debug)]
pub(super) struct Withheld {
    pub(super) slot: Arc<Slot>,
    /// When its lease ended. If the lease has another end now, it was renewed.
    pub(super) ended: Nanos,
    /// When it is removed even if too many pods are silent, unless it is renewed.
    pub(super) until: Nanos,
    /// Whether its status already shows that it is withheld.
    pub(super) is_shown: bool,
}

impl Sweeper {
    pub(super) fn new(watch: Watch, guard: MassExpiryGuard) -> Sweeper {
        Sweeper {
            watch,
            guard,
            withheld: Vec::new(),
            to_remove: Vec::new(),
        }
    }
}
