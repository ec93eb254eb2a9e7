//! [`ThreadSafeMemoryStore`], a reader-writer lock around the tables.
//!
//! The revision is also kept outside the lock, for readers that must not take it. It is stored
//! under the lock after the tables have changed. The loom `models` below check this order and
//! reject three others.

use std::fmt;
use std::sync::{Arc, PoisonError, Weak};

use super::methods::prelude::*;
use super::reading::Reading;
use super::tables::{StoreState, Tables};
use crate::changes::{OwnLog, ReadState};
use crate::observe::TurnTimer;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{Acquire, Release};
use crate::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A store behind one reader-writer lock.
///
/// This is the simplest store that threads can share, and the reference for the others. Readers
/// share the lock, but each of them writes to its counter, so two reading threads are slower
/// than one (see the report). A writer excludes everybody else.
///
/// # Consistency
///
/// Linearizable. Every operation, including scans and batches, takes effect at one moment while
/// it holds the lock.
///
/// # Inside a read closure
///
/// The closure of [`with_service`](RegistryStore::with_service) or
/// [`with_view`](RegistryStore::with_view) runs under the shared lock. Writers wait until it
/// returns. Any other call of the same store inside the closure, except `revision`, returns
/// [`Reentrant`](StoreError::Reentrant). This includes reads, because a reader behind a waiting
/// writer waits for it, and the writer waits for the closure. A closure that waits for another
/// thread that writes to the store, for example by joining it, waits forever.
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
/// A [`Watch`] that needs the state, at its start or after it has fallen behind, reads it under
/// the shared lock, in O(selected entries).
pub struct ThreadSafeMemoryStore {
    log: OwnLog,
    shared: Arc<LockedTables>,
}

/// The part of the store that watches read.
#[derive(Default)]
struct LockedTables {
    state: RwLock<StoreState>,
    /// The revision of `state` for `revision()`, which may be called inside a read closure and
    /// so must not take the lock.
    revision: AtomicU64,
}

impl LockedTables {
    // Ignores poisoning: no code of a caller runs under the exclusive lock, and a panic under
    // the shared one has changed nothing.

    fn read_lock(&self) -> RwLockReadGuard<'_, StoreState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lock(&self) -> Result<RwLockWriteGuard<'_, StoreState>> {
        Reading::check_not_reentrant(self)?;
        Ok(self.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    #[inline]
    fn read<R>(&self, read: impl FnOnce(&Tables) -> Result<R>) -> Result<R> {
        Reading::check_not_reentrant(self)?;
        read(self.read_lock().tables()?)
    }
}

/// Reads the state of a store, which may have been dropped, for watches.
struct WeakLockedTables(Weak<LockedTables>);

impl ReadState for WeakLockedTables {
    fn read_state(&self, selection: &Selection) -> Result<Option<Selected>> {
        let shared = self.0.upgrade().ok_or(StoreError::Closed)?;
        shared.read(|tables| Ok(Some(state_of(tables, selection))))
    }
}

impl Default for ThreadSafeMemoryStore {
    fn default() -> ThreadSafeMemoryStore {
        ThreadSafeMemoryStore::with_log(LogOptions::default())
    }
}

impl ThreadSafeMemoryStore {
    /// Creates an empty store.
    pub fn new() -> ThreadSafeMemoryStore {
        ThreadSafeMemoryStore::default()
    }

    /// Creates an empty store whose log has these options.
    pub fn with_log(options: LogOptions) -> ThreadSafeMemoryStore {
        ThreadSafeMemoryStore {
            log: OwnLog::new(options),
            shared: Arc::default(),
        }
    }

    #[inline]
    fn write<R, A>(
        &self,
        with_changes: bool,
        write: impl FnOnce(&mut RecordingTables<'_, Tables>) -> Result<R>,
        finish: impl FnOnce(CommitOutcome<R>) -> A,
    ) -> Result<A> {
        let mut timer = TurnTimer::start(Some("thread-safe"));
        let state = self.shared.write_lock()?;
        timer.begin();
        match ChangeRecorder::new(&*self.log, with_changes) {
            None => self
                .write_in(timer, state, &mut NoRecorder, write)
                .map(finish),
            Some(mut recorder) => out_of_line(move || {
                self.write_in(timer, state, &mut recorder, write)
                    .map(finish)
            }),
        }
    }

    // A separate function for `NoRecorder`, from which the compiler removes all reporting.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn write_in<R>(
        &self,
        mut timer: TurnTimer,
        mut state: RwLockWriteGuard<'_, StoreState>,
        recorder: &mut impl RecordChanges,
        write: impl FnOnce(&mut RecordingTables<'_, Tables>) -> Result<R>,
    ) -> Result<CommitOutcome<R>> {
        let tables = state.tables_mut()?;
        let before = tables.current();
        let answer = recorder.record_writes(tables, write)?;
        let revision = tables.settle();
        // Release, under the lock. Pairs with the Acquire load in `current_revision`, so a
        // thread that reads this revision there happens after its commit.
        self.shared.revision.store(revision.as_u64(), Release);
        let revisions = (before, revision);
        let aftermath =
            recorder.append_to_log(revisions, |log, changes| log.append_net(revision, changes));
        drop(state);
        timer.finish(before, revision);
        drop(aftermath);
        Ok(CommitOutcome {
            answer,
            revision,
            changes: recorder.take_changes(),
        })
    }

    fn begin_watch(&self, selection: Selection, from: Option<Cursor>) -> Result<Watch> {
        let read = WeakLockedTables(Arc::downgrade(&self.shared));
        self.log.watch(selection, from, Arc::new(read), || {
            let state = self.shared.write_lock()?;
            Ok(state.tables()?.revision())
        })
    }

    #[allow(clippy::unnecessary_wraps)] // the form that the methods ask for
    fn own_upkeep(&self) -> Result<Upkeep> {
        Ok(self.log.upkeep())
    }

    fn current_revision(&self) -> Revision {
        // Acquire: pairs with the Release store in `write_in`.
        self.shared.revision.load(Acquire).into()
    }

    fn close_tables(&self) -> Result<()> {
        // The lock is a temporary of this statement. The contents are dropped after it.
        let held = self.shared.write_lock()?.close();
        drop(held);
        drop(self.log.close());
        Ok(())
    }
}

impl ReadTables for ThreadSafeMemoryStore {
    type View<'s> = Tables;

    #[inline]
    fn read<R>(&self, read: impl FnOnce(&Self::View<'_>) -> Result<R>) -> Result<R> {
        self.shared.read(read)
    }

    #[inline]
    fn read_foreign<R>(&self, read: impl FnOnce(&Self::View<'_>) -> Result<R>) -> Result<R> {
        let _reading = Reading::enter(&*self.shared)?;
        read(self.shared.read_lock().tables()?)
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
    //! The models of all stores, and broken twins of the revision outside the lock.
    //!
    //! Orderings: a twin's store of the revision pairs (or, if relaxed, does not pair) with the
    //! Acquire load in `current_revision`, like the store in `write_in`.

    use super::*;
    use crate::store::models::watched::log_and_publish;
    use crate::store::models::{Calls, Subject};
    use crate::sync::atomic::Ordering::Relaxed;

    fn real() -> Calls<ThreadSafeMemoryStore> {
        Calls::real(ThreadSafeMemoryStore::new)
    }

    store_models!(real());

    /// Commits without publishing the revision.
    fn commit_under(state: &mut StoreState, batch: Batch) -> Result<Revision> {
        let tables = state.tables_mut()?;
        tables.apply_batch(batch)?;
        Ok(tables.settle())
    }

    fn store_after_the_lock(
        subject: &Subject<ThreadSafeMemoryStore>,
        batch: Batch,
    ) -> Result<Revision> {
        let store = &*subject.store;
        let mut state = store.shared.write_lock()?;
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

    fn log_before_the_revision(
        subject: &Subject<ThreadSafeMemoryStore>,
        batch: Batch,
    ) -> Result<Revision> {
        let ThreadSafeMemoryStore { log, shared } = &*subject.store;
        let mut state = shared.write_lock()?;
        log_and_publish(log, state.tables_mut()?, batch, |tables| {
            let revision = tables.settle();
            shared.revision.store(revision.as_u64(), Release);
            revision
        })
    }

    #[test]
    #[should_panic(expected = "a watch delivered a commit before it could be read")]
    fn models_twin_an_append_before_the_revision_is_stored_is_rejected() {
        Calls {
            commit: log_before_the_revision,
            ..real()
        }
        .a_delivered_commit_can_be_read();
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
        .a_revision_that_was_read_makes_its_commit_visible();
    }

    fn store_relaxed(subject: &Subject<ThreadSafeMemoryStore>, batch: Batch) -> Result<Revision> {
        let store = &*subject.store;
        let mut state = store.shared.write_lock()?;
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
        .a_revision_that_was_read_makes_its_commit_visible();
    }
}
