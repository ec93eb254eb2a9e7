//! [`ThreadSafeMemoryStore`]: a reader-writer lock around the tables.
//!
//! The revision lies beside the lock as well, for readers that must not take it. It is
//! stored under the lock, when the tables have changed. The `models` below have loom try
//! that order, and reject three others.

use std::fmt;
use std::sync::{Arc, PoisonError, Weak};

use super::methods::prelude::*;
use super::reading::Reading;
use super::tables::{State, Tables};
use crate::changes::{OwnLog, ReadState};
use crate::observe::Observed;
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
/// The closure of [`with_service`](RegistryStore::with_service), or of
/// [`with_view`](RegistryStore::with_view), runs under the
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
///
/// # Watches
///
/// A [`Watch`] that needs the state, at its beginning or when it has fallen behind, takes
/// the shared lock to read it: O(what is selected).
pub struct ThreadSafeMemoryStore {
    log: OwnLog,
    shared: Arc<Shared>,
}

/// What watches read as well.
#[derive(Default)]
struct Shared {
    state: RwLock<State>,
    /// The revision of `state`, for `revision()`, which may be called from
    /// inside a read closure and so must not take the lock.
    revision: AtomicU64,
}

impl Shared {
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
}

/// How watches read the state of a store that may have gone.
struct OfStore(Weak<Shared>);

impl ReadState for OfStore {
    fn read_state(&self, selection: &Selection) -> Result<Option<Selected>> {
        let shared = self.0.upgrade().ok_or(StoreError::Closed)?;
        shared.read(|tables| Some(state_of(tables, selection)))
    }
}

impl Default for ThreadSafeMemoryStore {
    fn default() -> ThreadSafeMemoryStore {
        ThreadSafeMemoryStore::with_log(LogOptions::default())
    }
}

impl ThreadSafeMemoryStore {
    /// An empty store.
    pub fn new() -> ThreadSafeMemoryStore {
        ThreadSafeMemoryStore::default()
    }

    /// An empty store with a log of its own kind.
    pub fn with_log(options: LogOptions) -> ThreadSafeMemoryStore {
        ThreadSafeMemoryStore {
            log: OwnLog::new(options),
            shared: Arc::default(),
        }
    }

    #[inline]
    fn read<R>(&self, read: impl FnOnce(&Tables) -> R) -> Result<R> {
        self.shared.read(read)
    }

    /// A read that runs a closure of the caller.
    #[inline]
    fn read_foreign<R>(&self, read: impl FnOnce(&Tables) -> R) -> Result<R> {
        let _reading = Reading::enter(&*self.shared)?;
        Ok(read(self.shared.shared().tables()?))
    }

    #[inline]
    fn write<R, A>(
        &self,
        is_asked: bool,
        write: impl FnOnce(&mut Noted<'_, Tables>) -> Result<R>,
        finish: impl FnOnce(Written<R>) -> A,
    ) -> Result<A> {
        let mut observed = Observed::ask(Some("thread-safe"));
        let state = self.shared.exclusive()?;
        observed.begin();
        match Telling::new(&*self.log, is_asked) {
            None => self
                .write_in(observed, state, &mut Nobody, write)
                .map(finish),
            Some(mut telling) => aside(move || {
                self.write_in(observed, state, &mut telling, write)
                    .map(finish)
            }),
        }
    }

    // For nobody it is another function, of which nothing is left that tells.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn write_in<R>(
        &self,
        mut observed: Observed,
        mut state: RwLockWriteGuard<'_, State>,
        telling: &mut impl Tell,
        write: impl FnOnce(&mut Noted<'_, Tables>) -> Result<R>,
    ) -> Result<Written<R>> {
        let tables = state.tables_mut()?;
        let before = tables.current();
        let answer = telling.note(tables, write)?;
        let revision = tables.settle();
        // Release, under the lock: pairs with the Acquire load in
        // `current_revision`, so that whoever learns this revision there
        // happens after its commit.
        self.shared.revision.store(revision.as_u64(), Release);
        let revisions = (before, revision);
        let left = telling.tell(revisions, |log, changes| log.append_net(revision, changes));
        drop(state);
        observed.made(before, revision);
        drop(left);
        Ok(Written {
            answer,
            revision,
            changes: telling.asked(),
        })
    }

    fn begin_watch(&self, selection: Selection, from: Option<Cursor>) -> Result<Watch> {
        let read = OfStore(Arc::downgrade(&self.shared));
        self.log.watch(selection, from, Arc::new(read), || {
            let state = self.shared.exclusive()?;
            Ok(state.tables()?.revision())
        })
    }

    #[allow(clippy::unnecessary_wraps)] // the form that the methods ask for
    fn own_upkeep(&self) -> Result<Upkeep> {
        Ok(self.log.upkeep())
    }

    fn current_revision(&self) -> Revision {
        // Acquire: pairs with the Release store in `write`.
        self.shared.revision.load(Acquire).into()
    }

    fn close_tables(&self) -> Result<()> {
        // The lock is a temporary of this statement, so that what the store
        // held is dropped after it.
        let held = self.shared.exclusive()?.close();
        drop(held);
        drop(self.log.close());
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
    //! with the Acquire load in `current_revision`, as `write` does.

    use super::*;
    use crate::store::models::watched::tell_and_publish;
    use crate::store::models::{Calls, Subject};
    use crate::sync::atomic::Ordering::Relaxed;

    fn real() -> Calls<ThreadSafeMemoryStore> {
        Calls::real(ThreadSafeMemoryStore::new)
    }

    store_models!(real());

    /// A commit of which nobody is told the revision.
    fn commit_under(state: &mut State, batch: Batch) -> Result<Revision> {
        let tables = state.tables_mut()?;
        tables.apply_batch(batch)?;
        Ok(tables.settle())
    }

    fn store_after_the_lock(
        subject: &Subject<ThreadSafeMemoryStore>,
        batch: Batch,
    ) -> Result<Revision> {
        let store = &*subject.store;
        let mut state = store.shared.exclusive()?;
        let revision = commit_under(&mut state, batch)?;
        drop(state);
        store.shared.revision.store(revision.as_u64(), Release);
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

    fn tell_before_the_revision(
        subject: &Subject<ThreadSafeMemoryStore>,
        batch: Batch,
    ) -> Result<Revision> {
        let ThreadSafeMemoryStore { log, shared } = &*subject.store;
        let mut state = shared.exclusive()?;
        tell_and_publish(log, state.tables_mut()?, batch, |tables| {
            let revision = tables.settle();
            shared.revision.store(revision.as_u64(), Release);
            revision
        })
    }

    #[test]
    #[should_panic(expected = "a watch told of a commit before it could be read")]
    fn models_twin_a_log_that_is_told_before_the_revision_is_stored_is_rejected() {
        Calls {
            commit: tell_before_the_revision,
            ..real()
        }
        .whoever_is_told_of_a_commit_can_read_it();
    }

    fn store_before_the_lock(
        subject: &Subject<ThreadSafeMemoryStore>,
        batch: Batch,
    ) -> Result<Revision> {
        let store = &*subject.store;
        let next = store.current_revision().next();
        store.shared.revision.store(next.as_u64(), Release);
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
        let mut state = store.shared.exclusive()?;
        let revision = commit_under(&mut state, batch)?;
        store.shared.revision.store(revision.as_u64(), Relaxed);
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
