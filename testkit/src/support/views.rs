//! Stores with snapshots and reader handles.

use std::fmt::Debug;

use service_registry::{Result, ServiceInfo, Snapshots};

/// The reader handles of the stores with snapshots.
pub trait Views: Snapshots<Snapshot: Debug> + Send + Sync + 'static {
    /// The reader handle of one thread.
    type Reader: Send + 'static;

    fn reader(&self) -> Self::Reader;
    fn view(reader: &mut Self::Reader) -> &Self::Snapshot;
    fn read<R>(
        reader: &mut Self::Reader,
        key: &str,
        read: impl FnOnce(&ServiceInfo) -> R,
    ) -> Result<R>;
}

/// Passes every store with views to `$with`, as
/// `feature module Store Snapshot Reader;`. The contract, the histories of
/// `tests/linearizable.rs`, the schedules, and all of `tests/isolation.rs` run with each store
/// of this list.
#[allow(unused_macros)] // as for the functions of this folder
macro_rules! viewed_stores {
    ($with:ident) => {
        $with! { "snapshot" snapshot SnapshotStore Snapshot SnapshotReader }
        $with! { "versioned" versioned VersionedStore VersionedSnapshot VersionedReader }
    };
}

macro_rules! impl_views {
    ($feature:literal $module:ident $store:ident $snapshot:ident $reader:ident) => {
        #[cfg(feature = $feature)]
        impl Views for service_registry::$store {
            type Reader = service_registry::$reader;

            fn reader(&self) -> Self::Reader {
                self.reader()
            }
            fn view(reader: &mut Self::Reader) -> &Self::Snapshot {
                reader.view()
            }
            fn read<R>(
                reader: &mut Self::Reader,
                key: &str,
                read: impl FnOnce(&ServiceInfo) -> R,
            ) -> Result<R> {
                reader.with_service(key, read)
            }
        }
    };
}

viewed_stores!(impl_views);
