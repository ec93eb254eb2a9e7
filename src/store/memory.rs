//! [`MemoryStore`]: one thread, no synchronisation at all.

use std::cell::RefCell;
use std::fmt;

use super::tables::prelude::*;
use super::tables::{State, Tables};

/// The store for one thread: hash tables, and nothing else.
///
/// It can be sent to another thread but not shared with it, and the compiler
/// sees to that:
///
/// ```compile_fail,E0277
/// fn shared_by_threads<T: Sync>() {}
/// shared_by_threads::<service_registry::MemoryStore>();
/// ```
///
/// ```
/// fn sent_to_a_thread<T: Send>() {}
/// sent_to_a_thread::<service_registry::MemoryStore>();
/// ```
///
/// # Consistency
///
/// There is one thread, so every operation sees all that came before it.
///
/// # Inside a read closure
///
/// Reads of the same store are fine; a write is refused with
/// [`Reentrant`](StoreError::Reentrant), because the closure holds a reference
/// into the tables.
///
/// ```
/// use service_registry::{MemoryStore, RegistryStore, ServiceInfo, ServiceRegistration};
///
/// let store = MemoryStore::new();
/// store.save_service(ServiceInfo::new(ServiceRegistration {
///     service_name: "user-service".into(),
///     pod_name: "pod-1".into(),
///     ..Default::default()
/// })?)?;
/// let status = store.with_service("user-service:pod-1", |pod| pod.status())?;
/// # Ok::<(), service_registry::StoreError>(())
/// ```
#[derive(Default)]
pub struct MemoryStore {
    state: RefCell<State>,
}

impl MemoryStore {
    /// An empty store. Allocates nothing.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    #[inline]
    fn read<R>(&self, read: impl FnOnce(&Tables) -> R) -> Result<R> {
        let state = self.state.try_borrow().map_err(|_| StoreError::Reentrant)?;
        Ok(read(state.tables()?))
    }

    /// A read that runs a closure of the caller.
    #[inline]
    fn read_foreign<R>(&self, read: impl FnOnce(&Tables) -> R) -> Result<R> {
        self.read(read)
    }

    #[inline]
    fn write<R>(&self, write: impl FnOnce(&mut Tables) -> Result<R>) -> Result<R> {
        self.write_state(write).map(|(answer, _)| answer)
    }

    fn commit_write(&self, write: impl FnOnce(&mut Tables) -> Result<()>) -> Result<Revision> {
        self.write_state(write).map(|((), revision)| revision)
    }

    #[inline]
    fn write_state<R>(
        &self,
        write: impl FnOnce(&mut Tables) -> Result<R>,
    ) -> Result<(R, Revision)> {
        let state = self.state.try_borrow_mut();
        state.map_err(|_| StoreError::Reentrant)?.write(write)
    }

    fn current_revision(&self) -> Revision {
        self.state.borrow().revision()
    }

    fn close_tables(&self) -> Result<()> {
        let state = self.state.try_borrow_mut();
        state.map_err(|_| StoreError::Reentrant)?.close();
        Ok(())
    }
}

impl_registry_store!(MemoryStore);

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::debug_store("MemoryStore", self, f)
    }
}
