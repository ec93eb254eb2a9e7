//! [`Sweeper`]: what one sweep leaves for the next.

use std::sync::Arc;

use super::guard::Guard;
use super::slot::{Nanos, Slot};
use crate::changes::Watch;

/// What sweeps remember. Whoever sweeps has it alone.
#[derive(Debug)]
pub(super) struct Sweeper {
    pub(super) watch: Watch,
    pub(super) guard: Guard,
    pub(super) withheld: Vec<Withheld>,
    /// Those whose leases have ended, and whose removal is to be committed.
    pub(super) condemned: Vec<Arc<Slot>>,
}

#[derive(Debug)]
pub(super) struct Withheld {
    pub(super) slot: Arc<Slot>,
    /// When its lease ended. Where that is another time now, it was renewed.
    pub(super) ended: Nanos,
    /// When it goes all the same.
    pub(super) until: Nanos,
    /// Whether its status tells that it is withheld.
    pub(super) is_shown: bool,
}

impl Sweeper {
    pub(super) fn new(watch: Watch, guard: Guard) -> Sweeper {
        Sweeper {
            watch,
            guard,
            withheld: Vec::new(),
            condemned: Vec::new(),
        }
    }
}
