//! What a watch tells, and where it stands.

use crate::model::record::ServiceInfo;
use crate::model::revision::Revision;

use super::{Difference, Subscription};

/// What a [`Watch`](super::Watch) tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The whole of what is selected, at one revision: forget what was before.
    #[non_exhaustive]
    State {
        /// The revision.
        revision: Revision,
        /// The records, in no particular order.
        services: Vec<ServiceInfo>,
        /// The subscriptions; those of one group in the order of subscription.
        subscriptions: Vec<Subscription>,
        /// Why there is a state, and not a difference.
        reason: Reason,
    },
    /// What has changed since the event before.
    #[non_exhaustive]
    Changes {
        /// The revision that this leads to.
        revision: Revision,
        /// The differences, in order; never empty.
        changes: Vec<Difference>,
    },
}

impl Event {
    /// The revision that whoever has applied this event is at.
    pub fn revision(&self) -> Revision {
        match self {
            Event::State { revision, .. } | Event::Changes { revision, .. } => *revision,
        }
    }
}

/// Why a [`Watch`](super::Watch) tells a whole state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The watch has just begun, or the cursor that it was to go on from is of another
    /// store or of a later revision.
    Begin,
    /// The log does not reach back to where the watch was.
    Lagged,
    /// The store was filled from a dump.
    Restored,
}

/// A place in the history of one store, from which
/// [`watch_from`](crate::RegistryStore::watch_from) goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    pub(crate) store: u64,
    pub(crate) revision: Revision,
}

impl Cursor {
    /// The revision.
    pub fn revision(self) -> Revision {
        self.revision
    }
}

/// What is selected of a store, at one revision.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The revision.
    pub revision: Revision,
    /// The records, in no particular order.
    pub services: Vec<ServiceInfo>,
    /// The subscriptions; those of one group in the order of subscription.
    pub subscriptions: Vec<Subscription>,
}
