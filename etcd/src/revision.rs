//! [`EtcdRevision`]: a revision of etcd, as opposed to a revision of a store.

use std::fmt;

/// The number of a state of etcd: its `revision`, which grows by one with each transaction that
/// changes anything, under any prefix.
///
/// It has its own type because a store also has [revisions](service_registry::Revision), and the
/// two count different things. It orders the states of *one* history: an etcd that was restored
/// from a backup continues from an earlier number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtcdRevision(u64);

impl EtcdRevision {
    /// Zero: the revision before all others. No etcd has it.
    pub const ZERO: EtcdRevision = EtcdRevision(0);

    /// Creates a revision from its number.
    pub const fn new(number: u64) -> EtcdRevision {
        EtcdRevision(number)
    }

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Converts from etcd's protocol, which never sends a negative number.
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
