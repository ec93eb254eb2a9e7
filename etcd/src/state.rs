//! [`State`]: how a copy stands to its etcd.

use std::fmt;
use std::time::Instant;

use crate::EtcdRevision;

/// How a copy stands to its etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Nothing has been listed yet: what the store holds is not from etcd.
    Never,
    /// The store has everything up to this revision, and the watch lives.
    #[non_exhaustive]
    Synced {
        /// Everything up to here is in the store.
        revision: EtcdRevision,
    },
    /// The store serves what it had; what has happened since is not known.
    #[non_exhaustive]
    Stale {
        /// The last sign of life of the watch.
        since: Instant,
        /// What came in between.
        why: Why,
    },
}

impl State {
    /// Whether it is [`Synced`](State::Synced).
    pub fn is_synced(&self) -> bool {
        matches!(self, State::Synced { .. })
    }
}

/// Why a copy may be behind its etcd. `Display` says it in a sentence's part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// etcd could not be reached, or the connection ended; with what the client said.
    Disconnected(String),
    /// The watch has shown no sign of life.
    Silent,
    /// etcd ended the watch, and said why.
    Canceled(String),
    /// What is missing was compacted away: everything is listed again.
    Compacted,
    /// It is another etcd than before, or one that has gone back in time: everything is listed
    /// again, and revisions from before mean nothing.
    OtherEtcd,
    /// etcd contradicts itself: everything is listed again.
    Inconsistent(&'static str),
    /// The store is closed, or has failed: the replica has ended.
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
