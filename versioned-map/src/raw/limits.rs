//! How often the writer reclaims old versions, and how much it does at a time.

/// The reclamation interval: a pass runs once in so many replaced versions.
#[cfg(not(any(test, loom)))]
pub(super) const PASS_INTERVAL: usize = 64;
#[cfg(any(test, loom))]
pub(super) const PASS_INTERVAL: usize = 3;

/// The writer stores the revision for look-ups of one key once in so many revisions, and after a
/// commit that has replaced as many versions.
#[cfg(not(any(test, loom)))]
pub(super) const SETTLE_INTERVAL: usize = 64;
#[cfg(any(test, loom))]
pub(super) const SETTLE_INTERVAL: usize = 2;

/// A period ends once in so many replaced versions. Ending one looks at every thread that was ever
/// pinned, and makes a system call that interrupts those that run.
#[cfg(not(any(test, loom)))]
pub(super) const PERIOD_LENGTH: usize = 1_024;
#[cfg(any(test, loom))]
pub(super) const PERIOD_LENGTH: usize = 2 * PASS_INTERVAL;

/// The scan ratio: for each newly replaced version, a writer examines so many that wait, rounded up
/// to a whole list. A backlog that a long pin has left shrinks at this rate.
pub(super) const SCAN_RATIO: usize = 32;

/// A pass looks at this many places of snapshots at most.
pub(super) const READER_SLOTS_PER_PASS: usize = 4 * PASS_INTERVAL;

/// When so many versions wait for readers, any thread that lets go of a view is asked to reclaim
/// them, since no commit may follow. Readers that do not sleep never leave that many.
#[cfg(not(loom))]
pub(super) const BACKLOG_THRESHOLD: usize = 8 * PERIOD_LENGTH;
/// A model has few versions, and too many steps with it.
#[cfg(loom)]
pub(super) const BACKLOG_THRESHOLD: usize = usize::MAX;

/// A writer that has replaced so many versions reclaims them itself, and leaves them to no later
/// writer.
pub(super) const LARGE_COMMIT: usize = 32 * PASS_INTERVAL;

/// So many passes free everything where nobody is pinned: they unlink what was replaced, free it,
/// and do the same with what was removed on the way.
pub(super) const MOST_PASSES: usize = 4;

/// While a table grows, the writer moves so many slots to its successor with each key that it puts or removes. At
/// least a fifth of the slots are free when the move begins, and it ends before so many keys have come.
#[cfg(not(any(test, loom)))]
pub(super) const SLOTS_MOVED_PER_KEY: usize = 64;
#[cfg(all(test, not(loom)))]
pub(super) const SLOTS_MOVED_PER_KEY: usize = 16;
/// The tables of a model have eight slots, or sixteen.
#[cfg(loom)]
pub(super) const SLOTS_MOVED_PER_KEY: usize = 6;

/// Before the writer moves slots, it lays out the new table: so many slots for each slot that a step would move.
pub(super) const SLOTS_WRITTEN_PER_MOVE: usize = 4;

/// A table of so many slots or more is freed in several steps.
#[cfg(not(any(test, loom)))]
pub(super) const LARGE_TABLE: usize = 1 << 16;
#[cfg(any(test, loom))]
pub(super) const LARGE_TABLE: usize = 64;
