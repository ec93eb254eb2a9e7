//! [`EtcdRevision`]: a revision of etcd, which is not one of a store.

use std::fmt;

/// The number of a state of etcd: its `revision`, which grows by one with each transaction that
/// changes anything, under whatever prefix.
///
/// It is a type of its own because a store has [revisions](service_registry::Revision), too, and
/// the two count different things. It orders states of *one* history: an etcd that was restored
/// from a backup counts on from an earlier number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtcdRevision(u64);

impl EtcdRevision {
    /// Before everything: no etcd has it.
    pub const ZERO: EtcdRevision = EtcdRevision(0);

    /// A revision by its number.
    pub const fn new(number: u64) -> EtcdRevision {
        EtcdRevision(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// As etcd's protocol has it, where none is negative.
    pub(crate) fn from_wire(number: i64) -> EtcdRevision {
        EtcdRevision(u64::try_from(number).unwrap_or(0))
    }

    pub(crate) fn to_wire(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for EtcdRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl From<u64> for EtcdRevision {
    fn from(number: u64) -> EtcdRevision {
        EtcdRevision(number)
    }
}

impl From<EtcdRevision> for u64 {
    fn from(revision: EtcdRevision) -> u64 {
        revision.0
    }
}
