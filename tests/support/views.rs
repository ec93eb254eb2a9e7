//! The stores that have views, for the tests of views.

use service_registry::{RegistryStore, RegistryView};

/// A store with views that can be kept and sent, and with handles for threads that
/// read a lot.
pub(crate) trait Viewed: RegistryStore + Send + Sync + 'static {
    type View: RegistryView + Clone + Send + Sync + 'static;
    type Reader: Send + 'static;

    fn view(&self) -> Self::View;
    fn handle(&self) -> Self::Reader;
    /// What a handle shows now.
    fn look(handle: &mut Self::Reader) -> Self::View;
}

macro_rules! viewed {
    ($feature:literal $store:ident $view:ident $reader:ident) => {
        #[cfg(feature = $feature)]
        impl Viewed for service_registry::$store {
            type View = service_registry::$view;
            type Reader = service_registry::$reader;

            fn view(&self) -> Self::View {
                self.snapshot()
            }
            fn handle(&self) -> Self::Reader {
                self.reader()
            }
            fn look(handle: &mut Self::Reader) -> Self::View {
                handle.view().clone()
            }
        }
    };
}

viewed! { "snapshot" SnapshotStore Snapshot SnapshotReader }
