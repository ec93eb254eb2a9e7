//! How often the writer reclaims old versions, and how much it does at a time.

/// The number of replaced versions between two reclamation passes.
#[cfg(not(any(test, loom)))]
pub(super) const PASS_INTERVAL: usize = 64;
#[cfg(any(test, loom))]
pub(super) const PASS_INTERVAL: usize = 3;

/// The number of replaced versions in a period. Ending a period examines every thread that was ever
/// pinned, and makes a system call that interrupts running threads.
#[cfg(not(any(test, loom)))]
pub(super) const PERIOD_LENGTH: usize = 1_024;
#[cfg(any(test, loom))]
pub(super) const PERIOD_LENGTH: usize = 2 * PASS_INTERVAL;

/// The number of waiting versions that a writer examines for each newly replaced one, rounded up to
/// a whole list. A backlog that a long pin has left shrinks at this rate.
pub(super) const SCAN_RATIO: usize = 32;

/// The largest number of reader slots that a pass scans.
pub(super) const READER_SLOTS_PER_PASS: usize = 4 * PASS_INTERVAL;

/// If this many versions wait for readers, every thread that drops a view is asked to reclaim them,
/// since no commit may follow. Readers that do not sleep never leave that many.
#[cfg(not(loom))]
pub(super) const BACKLOG_THRESHOLD: usize = 8 * PERIOD_LENGTH;
/// A model has few versions, and would take too many steps if readers reclaimed them.
#[cfg(loom)]
pub(super) const BACKLOG_THRESHOLD: usize = usize::MAX;

/// A writer that has replaced this many versions reclaims them itself, and leaves none to later
/// writers.
pub(super) const LARGE_COMMIT: usize = 32 * PASS_INTERVAL;

/// The number of passes that free everything if no thread is pinned: they unlink replaced versions,
/// free them, and do the same for the keys that were removed by this.
pub(super) const MOST_PASSES: usize = 4;

/// While a table is replaced, the number of slots that the writer moves to the successor for each
/// key that it puts or removes. At least a fifth of the slots are free when the move begins, and
/// the move ends before that many keys have been added.
#[cfg(not(any(test, loom)))]
pub(super) const SLOTS_MOVED_PER_KEY: usize = 64;
#[cfg(all(test, not(loom)))]
pub(super) const SLOTS_MOVED_PER_KEY: usize = 16;
/// The tables of a model have eight slots, or sixteen.
#[cfg(loom)]
pub(super) const SLOTS_MOVED_PER_KEY: usize = 6;

/// Before the writer moves slots, it initializes the new table. This is the number of slots that it
/// initializes instead of each slot that a step would move.
pub(super) const SLOTS_WRITTEN_PER_MOVE: usize = 4;

/// A table of this many slots or more is freed in several steps.
#[cfg(not(any(test, loom)))]
pub(super) const LARGE_TABLE: usize = 1 << 16;
#[cfg(any(test, loom))]
pub(super) const LARGE_TABLE: usize = 64;
