//! [`ThreadSafeMemoryStore`]: a reader-writer lock around the tables.
//!
//! The revision lies beside the lock as well, for readers that must not take it. It is
//! stored under the lock, when the tables have changed. The `models` below have loom try
//! that order, and reject three others.

use std::fmt;
use std::sync::PoisonError;

use super::reading::Reading;
use super::tables::prelude::*;
use super::tables::{State, Tables};
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{Acquire, Release};
use crate::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The store behind one reader-writer lock.
///
/// The simplest store that threads can share, and the yardstick of the others.
/// Readers share the lock, but every one of them writes to its counter, so that
/// two reading threads are slower than one (see the report); writers keep
/// everybody out.
///
/// # Consistency
///
/// Linearizable: every operation, scans and batches among them, takes effect at
/// one moment while it holds the lock.
///
/// # Inside a read closure
///
/// The closure of [`with_service`](RegistryStore::with_service) runs under the
/// shared lock: writers wait until it returns. Any call of the same store from
/// inside it is refused with [`Reentrant`](StoreError::Reentrant), a read as
/// well, because a reader that arrives behind a waiting writer waits for it,
/// and it would wait for the closure. A closure that waits for another thread which
/// writes to the store (joins it, for instance) waits for ever.
///
/// ```
/// use service_registry::{RegistryStore, StoreError, ThreadSafeMemoryStore};
/// # use service_registry::{ServiceInfo, ServiceRegistration};
///
/// let store = ThreadSafeMemoryStore::new();
/// # store.save_service(ServiceInfo::new(ServiceRegistration {
/// #     service_name: "user-service".into(),
/// #     pod_name: "pod-1".into(),
/// #     ..Default::default()
/// # })?)?;
/// let nested = store.with_service("user-service:pod-1", |_| store.clear())?;
/// assert_eq!(nested, Err(StoreError::Reentrant));
/// # Ok::<(), StoreError>(())
/// ```
#[derive(Default)]
pub struct ThreadSafeMemoryStore {
    state: RwLock<State>,
    /// The revision of `state`, for `revision()`, which may be called from
    /// inside a read closure and so must not take the lock.
    revision: AtomicU64,
}

impl ThreadSafeMemoryStore {
    /// An empty store. Allocates nothing.
    pub fn new() -> ThreadSafeMemoryStore {
        ThreadSafeMemoryStore::default()
    }

    // Poisoning is passed over below: no code of a caller runs under the
    // exclusive lock, and a panic under the shared one has changed nothing.

    fn shared(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn exclusive(&self) -> Result<RwLockWriteGuard<'_, State>> {
        Reading::refuse_inside(self)?;
        Ok(self.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    #[inline]
    fn read<R>(&self, read: impl FnOnce(&Tables) -> R) -> Result<R> {
        Reading::refuse_inside(self)?;
        Ok(read(self.shared().tables()?))
    }

    /// A read that runs a closure of the caller.
    #[inline]
    fn read_foreign<R>(&self, read: impl FnOnce(&Tables) -> R) -> Result<R> {
        let _reading = Reading::enter(self)?;
        Ok(read(self.shared().tables()?))
    }

    #[inline]
    fn write<R>(&self, write: impl FnOnce(&mut Tables) -> Result<R>) -> Result<R> {
        self.write_state(write).map(|(answer, _)| answer)
    }

    fn commit_write(&self, write: impl FnOnce(&mut Tables) -> Result<()>) -> Result<Revision> {
        self.write_state(write).map(|((), revision)| revision)
    }

    fn write_state<R>(
        &self,
        write: impl FnOnce(&mut Tables) -> Result<R>,
    ) -> Result<(R, Revision)> {
        let mut state = self.exclusive()?;
        let written = state.write(write)?;
        // Release, under the lock: pairs with the Acquire load in
        // `current_revision`, so that whoever learns this revision there
        // happens after its commit.
        self.revision.store(written.1.as_u64(), Release);
        Ok(written)
    }

    fn current_revision(&self) -> Revision {
        // Acquire: pairs with the Release store in `write_state`.
        self.revision.load(Acquire).into()
    }

    fn close_tables(&self) -> Result<()> {
        // The lock is a temporary of this statement, so that what the store
        // held is dropped after it.
        let held = self.exclusive()?.close();
        drop(held);
        Ok(())
    }
}

impl_registry_store!(ThreadSafeMemoryStore);

impl fmt::Debug for ThreadSafeMemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::debug_store("ThreadSafeMemoryStore", self, f)
    }
}

#[cfg(all(test, loom))]
mod models {
    //! What all stores promise, and twins of the revision beside the lock.
    //!
    //! Orderings: where a twin stores the revision, it pairs (or, relaxed, does not)
    //! with the Acquire load in `current_revision`, as `write_state` does.

    use super::*;
    use crate::store::models::{Calls, Subject};
    use crate::sync::atomic::Ordering::Relaxed;

    fn real() -> Calls<ThreadSafeMemoryStore> {
        Calls::real(ThreadSafeMemoryStore::new)
    }

    store_models!(real());

    fn store_after_the_lock(
        subject: &Subject<ThreadSafeMemoryStore>,
        batch: Batch,
    ) -> Result<Revision> {
        let store = &*subject.store;
        let ((), revision) = store
            .exclusive()?
            .write(|tables| tables.apply_batch(batch))?;
        store.revision.store(revision.as_u64(), Release);
        Ok(revision)
    }

    #[test]
    #[should_panic(expected = "a reader went back")]
    fn models_twin_a_revision_that_is_stored_after_the_lock_is_rejected() {
        Calls {
            commit: store_after_the_lock,
            ..real()
        }
        .revisions_never_go_back();
    }

    fn store_before_the_lock(
        subject: &Subject<ThreadSafeMemoryStore>,
        batch: Batch,
    ) -> Result<Revision> {
        let store = &*subject.store;
        let next = store.current_revision().next();
        store.revision.store(next.as_u64(), Release);
        store.commit(batch)
    }

    #[test]
    #[should_panic(expected = "a revision was learnt before its commit")]
    fn models_twin_a_revision_that_is_stored_before_the_lock_is_rejected() {
        Calls {
            commit: store_before_the_lock,
            ..real()
        }
        .whoever_learns_a_revision_sees_its_commit();
    }

    fn store_relaxed(subject: &Subject<ThreadSafeMemoryStore>, batch: Batch) -> Result<Revision> {
        let store = &*subject.store;
        let mut state = store.exclusive()?;
        let ((), revision) = state.write(|tables| tables.apply_batch(batch))?;
        store.revision.store(revision.as_u64(), Relaxed);
        Ok(revision)
    }

    #[test]
    #[should_panic(expected = "a revision was learnt before its commit")]
    fn models_twin_a_revision_that_is_stored_relaxed_is_rejected() {
        Calls {
            commit: store_relaxed,
            ..real()
        }
        .whoever_learns_a_revision_sees_its_commit();
    }
}
