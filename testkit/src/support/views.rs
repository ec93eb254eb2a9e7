//! Stores with views.

use std::fmt::Debug;

use service_registry::{RegistryStore, RegistryView, Result, ServiceInfo};

/// What a store with views offers besides [`RegistryStore`].
pub trait Views: RegistryStore + Send + Sync + 'static {
    type View: RegistryView + Clone + Debug + Send + Sync + 'static;
    /// A handle of one thread.
    type Reader: Send + 'static;

    fn snapshot(&self) -> Self::View;
    fn reader(&self) -> Self::Reader;
    fn view(reader: &mut Self::Reader) -> &Self::View;
    fn read<R>(
        reader: &mut Self::Reader,
        key: &str,
        read: impl FnOnce(&ServiceInfo) -> R,
    ) -> Result<R>;
}

/// Hands every store with views to `$with`, as
/// `feature module Store Snapshot Reader;`. A store that stands here is in the
/// contract, the histories of `tests/linearizable.rs`, the schedules, and in all of
/// `tests/isolation.rs`.
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
            type View = service_registry::$snapshot;
            type Reader = service_registry::$reader;

            // As generic code calls it.
            fn snapshot(&self) -> Self::View {
                service_registry::Snapshots::snapshot(self)
            }
            fn reader(&self) -> Self::Reader {
                self.reader()
            }
            fn view(reader: &mut Self::Reader) -> &Self::View {
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
