//! [`Upkeep`]: what a store keeps beside what it holds.

use super::revision::Revision;

/// What a store keeps beside what it holds: for those who look after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Upkeep {
    /// Watches that have begun and not been dropped.
    pub watches: usize,
    /// What the log keeps in memory for them, in bytes, as
    /// [`LogOptions::bytes`](crate::changes::LogOptions::bytes) counts. It grows up to that bound
    /// whether they take what they are told or not, so it shows none that hangs: whoever has a
    /// watch compares its [`revision`](crate::changes::Watch::revision) with that of the store.
    pub log_bytes: usize,
    /// About how many versions have been replaced or removed and not freed yet, for readers that
    /// were inside, or for snapshots. 0 but on `VersionedStore`: a snapshot of `SnapshotStore` is a
    /// counted pointer, which is in no list, and keeps what was replaced since all the same.
    pub old_versions: usize,
    /// The revision of the oldest snapshot. `None` but on `VersionedStore`.
    pub oldest_snapshot: Option<Revision>,
}
