//! [`Slot`], the end of one lease. Renewals and sweeps share nothing else.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::model::key::ServiceKey;
use crate::model::revision::Revision;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Relaxed;

/// Nanoseconds since the leases were created, on their clock.
pub(super) type Nanos = u64;

/// The end of a lost lease. It is later than any other end. A renewal stores the later of two
/// ends, so it leaves a lost lease unchanged.
const LOST: Nanos = Nanos::MAX;
/// The end of a lease that never ends by itself.
pub(super) const NEVER: Nanos = LOST - 1;

pub(super) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

pub(super) fn later(time: Nanos, by: Nanos) -> Nanos {
    time.saturating_add(by).min(NEVER)
}

/// The error of a lease that has ended, or whose pod was removed or registered again. The pod
/// must register again to stay.
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
    /// The number of the [`Leases`](super::Leases) that it belongs to.
    pub(super) owner: u64,
    pub(super) ttl: Nanos,
    /// All accesses are relaxed: they publish no other data. All changes are
    /// read-modify-writes, so each sees the one before.
    ends: AtomicU64,
}

impl Slot {
    pub(super) fn new(
        key: ServiceKey,
        incarnation: Revision,
        owner: u64,
        ttl: Nanos,
        now: Nanos,
    ) -> Slot {
        Slot {
            key,
            incarnation,
            owner,
            ttl,
            ends: AtomicU64::new(later(now, ttl)),
        }
    }

    /// Returns the current end. A renewal may move it at any time.
    pub(super) fn ends(&self) -> Nanos {
        self.ends.load(Relaxed)
    }

    /// Moves the end. One read-modify-write: if a renewal and an [`expire`](Self::expire) meet,
    /// the first one wins, and the second one detects it.
    pub(super) fn renew(&self, now: Nanos) -> Result<(), LeaseLost> {
        match self.ends.fetch_max(later(now, self.ttl), Relaxed) {
            LOST => Err(LeaseLost),
            _ => Ok(()),
        }
    }

    /// Ends the lease unless it has been renewed. Returns whether it ended it.
    pub(super) fn expire(&self, now: Nanos) -> bool {
        let end = |ends| (ends <= now).then_some(LOST);
        self.ends.fetch_update(Relaxed, Relaxed, end).is_ok()
    }

    /// Ends the lease because its pod was removed or registered again.
    pub(super) fn mark_lost(&self) {
        self.ends.swap(LOST, Relaxed);
    }
}

#[cfg(all(test, loom))]
impl Slot {
    pub(super) fn is_lost(&self) -> bool {
        self.ends() == LOST
    }

    /// A broken twin of [`expire`](Self::expire).
    pub(super) fn expire_in_two_steps(&self, now: Nanos) -> bool {
        let is_due = self.ends() <= now;
        if is_due {
            self.ends.store(LOST, Relaxed);
        }
        is_due
    }

    /// A broken twin of [`renew`](Self::renew).
    pub(super) fn renew_in_two_steps(&self, now: Nanos) -> Result<(), LeaseLost> {
        if self.is_lost() {
            return Err(LeaseLost);
        }
        self.ends.store(later(now, self.ttl), Relaxed);
        Ok(())
    }
}
