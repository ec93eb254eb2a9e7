//! [`Slot`]: until when one lease runs. The only thing in which a renewal and a sweep meet.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::model::key::ServiceKey;
use crate::model::revision::Revision;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Relaxed;

/// Nanoseconds since the leases were made, by their clock.
pub(super) type Nanos = u64;

/// The end of a lease that has been lost. Later than any other, so that the renewal of a
/// lost lease, which stores the later one of two ends, leaves it as it is.
const LOST: Nanos = Nanos::MAX;
/// The end of a lease that does not end by itself.
pub(super) const NEVER: Nanos = LOST - 1;

pub(super) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

pub(super) fn later(time: Nanos, by: Nanos) -> Nanos {
    time.saturating_add(by).min(NEVER)
}

/// The lease has ended, or its pod was removed or registered anew. A pod that wants to stay
/// registers again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseLost;

impl fmt::Display for LeaseLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lease has ended, or its pod was removed or registered anew")
    }
}

impl Error for LeaseLost {}

/// One lease.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) key: ServiceKey,
    pub(super) incarnation: Revision,
    /// Whose it is, see [`Leases`](super::Leases).
    pub(super) home: u64,
    pub(super) ttl: Nanos,
    /// All accesses are relaxed: there is nothing beside it that they publish, and all that
    /// change it are read-modify-writes, of which each sees the one before.
    ends: AtomicU64,
}

impl Slot {
    pub(super) fn new(
        key: ServiceKey,
        incarnation: Revision,
        home: u64,
        ttl: Nanos,
        now: Nanos,
    ) -> Slot {
        Slot {
            key,
            incarnation,
            home,
            ttl,
            ends: AtomicU64::new(later(now, ttl)),
        }
    }

    /// When it ends, as far as is known: it may be renewed at any time.
    pub(super) fn ends(&self) -> Nanos {
        self.ends.load(Relaxed)
    }

    /// Puts off the end. One read-modify-write: of a renewal and an [`expire`](Self::expire)
    /// that meet, the first one wins, and the second one learns it.
    pub(super) fn renew(&self, now: Nanos) -> Result<(), LeaseLost> {
        match self.ends.fetch_max(later(now, self.ttl), Relaxed) {
            LOST => Err(LeaseLost),
            _ => Ok(()),
        }
    }

    /// Ends it, unless it has been renewed. Answers whether it did.
    pub(super) fn expire(&self, now: Nanos) -> bool {
        let end = |ends| (ends <= now).then_some(LOST);
        self.ends.fetch_update(Relaxed, Relaxed, end).is_ok()
    }

    /// Ends it: its pod was removed or registered anew.
    pub(super) fn lose(&self) {
        self.ends.swap(LOST, Relaxed);
    }
}

#[cfg(all(test, loom))]
impl Slot {
    pub(super) fn is_lost(&self) -> bool {
        self.ends() == LOST
    }

    /// What a twin does instead of [`expire`](Self::expire).
    pub(super) fn expire_in_two_steps(&self, now: Nanos) -> bool {
        let is_due = self.ends() <= now;
        if is_due {
            self.ends.store(LOST, Relaxed);
        }
        is_due
    }

    /// What a twin does instead of [`renew`](Self::renew).
    pub(super) fn renew_in_two_steps(&self, now: Nanos) -> Result<(), LeaseLost> {
        if self.is_lost() {
            return Err(LeaseLost);
        }
        self.ends.store(later(now, self.ttl), Relaxed);
        Ok(())
    }
}
