//! [`Upkeep`]: what a store keeps beside its contents.

use super::revision::Revision;

/// What a store keeps beside its contents: for monitoring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Upkeep {
    /// The number of watches that exist: begun and not dropped.
    pub watches: usize,
    /// The size of the log that is kept in memory for them, in bytes, as
    /// [`LogOptions::bytes`](crate::changes::LogOptions::bytes) counts. It grows up to that bound
    /// whether or not the watches keep up, so it does not show a watch that hangs: compare the
    /// [`revision`](crate::changes::Watch::revision) of the watch with that of the store.
    pub log_bytes: usize,
    /// The approximate number of versions that were replaced or removed and are not freed yet,
    /// because readers or snapshots may use them. 0 except on `VersionedStore`: a snapshot of
    /// `SnapshotStore` is a counted pointer, which is in no list, although it keeps replaced
    /// versions alive as well.
    pub old_versions: usize,
    /// The revision of the oldest snapshot. `None` except on `VersionedStore`.
    pub oldest_snapshot: Option<Revision>,
}
