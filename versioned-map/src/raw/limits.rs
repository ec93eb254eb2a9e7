//! How often it is tidied up, and how much at a time.

/// Replaced versions between two reclamation passes.
#[cfg(not(any(test, loom)))]
pub(super) const OFTEN: usize = 64;
#[cfg(any(test, loom))]
pub(super) const OFTEN: usize = 3;

/// Replaced versions between two periods' ends. That takes a look at every thread that was ever
/// pinned, and a system call that interrupts those that run.
#[cfg(not(any(test, loom)))]
pub(super) const PERIOD: usize = 1_024;
#[cfg(any(test, loom))]
pub(super) const PERIOD: usize = 2 * OFTEN;

/// Replaced versions that a writer looks at for each that has come, rounded up to a list. In
/// this proportion goes what has waited for a reader who was pinned for long.
pub(super) const SHARE: usize = 32;

/// How many places of snapshots may be looked at, for each time that old versions are.
pub(super) const LOOKS: usize = 4 * OFTEN;

/// From how many versions on that wait for readers whoever comes by is asked to see to them, in
/// case no commit follows. More than wait for their turn beside readers who do not sleep.
#[cfg(not(loom))]
pub(super) const DEBT: usize = 8 * PERIOD;
/// A model has few versions, and too many steps with it.
#[cfg(loom)]
pub(super) const DEBT: usize = usize::MAX;

/// From how many versions on that it has replaced a writer does not leave them to the next
/// ones.
pub(super) const LARGE: usize = 32 * OFTEN;

/// How often it takes to get rid of everything, where nobody is pinned: what was replaced is
/// unlinked, then it is freed, and so is what was removed on the way.
pub(super) const STEPS: usize = 4;

/// How many slots are moved to a table that is to take the place of another one, with each key that is put or
/// removed. When this begins, at least a fifth of the slots are free, and it is over before so many keys have come.
#[cfg(not(any(test, loom)))]
pub(super) const STRIDE: usize = 64;
#[cfg(all(test, not(loom)))]
pub(super) const STRIDE: usize = 16;
/// The tables of a model have eight slots, or sixteen.
#[cfg(loom)]
pub(super) const STRIDE: usize = 6;

/// For each slot that is moved in a step, how many are written at first in a table of the same size.
pub(super) const WRITTEN: usize = 4;

/// From how many slots on a table is freed in several steps.
#[cfg(not(any(test, loom)))]
pub(super) const HEAVY: usize = 1 << 16;
#[cfg(any(test, loom))]
pub(super) const HEAVY: usize = 64;
