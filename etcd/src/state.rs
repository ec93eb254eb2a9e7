//! [`State`]: whether a copy is up to date with its etcd.

use std::fmt;
use std::time::Instant;

use crate::EtcdRevision;

/// Whether a copy is up to date with its etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// The copy has never been synced: this replica has not yet followed a watch. The store has
    /// what it had before, or the first list.
    Never,
    /// The store has everything up to this revision, and the watch is alive.
    #[non_exhaustive]
    Synced {
        /// Everything up to here is in the store.
        revision: EtcdRevision,
    },
    /// The store serves the last state that it received, and misses any later changes.
    #[non_exhaustive]
    Stale {
        /// When the watch last showed a sign of life.
        since: Instant,
        /// Why the copy is stale.
        why: Why,
    },
}

impl State {
    /// Returns whether the copy is [`Synced`](State::Synced).
    pub fn is_synced(&self) -> bool {
        matches!(self, State::Synced { .. })
    }
}

/// Why a copy may be behind its etcd. `Display` shows a phrase that fits into a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// etcd could not be reached, or the connection ended; with the message of the client.
    Disconnected(String),
    /// The watch showed no sign of life in time.
    Silent,
    /// etcd ended the watch, for this reason.
    Canceled(String),
    /// The missing history was compacted away; the replica lists everything again.
    Compacted,
    /// etcd was replaced by a different one, or went back in time. The replica lists everything
    /// again, and earlier revisions mean nothing.
    OtherEtcd,
    /// etcd contradicts itself; the replica lists everything again.
    Inconsistent(&'static str),
    /// The store is closed or has failed, so the replica has ended.
    Store(String),
    /// The replica was stopped.
    Stopped,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Disconnected(said) => write!(f, "disconnected: {said}"),
            Why::Silent => f.write_str("the watch is silent"),
            Why::Canceled(said) => write!(f, "etcd canceled the watch: {said}"),
            Why::Compacted => f.write_str("the revisions that are missing were compacted"),
            Why::OtherEtcd => f.write_str("another etcd, or one that went back in time"),
            Why::Inconsistent(what) => write!(f, "etcd contradicts itself: {what}"),
            Why::Store(said) => write!(f, "the store failed: {said}"),
            Why::Stopped => f.write_str("the replica was stopped"),
        }
    }
}
