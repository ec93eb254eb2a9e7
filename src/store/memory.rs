//! [`MemoryStore`], for one thread, without synchronization.

use std::cell::{OnceCell, RefCell, RefMut};
use std::fmt;
use std::sync::Arc;

use super::methods::prelude::*;
use super::tables::{StoreState, Tables};
#[cfg(feature = "worker")]
use crate::changes::Log;
use crate::changes::{Aftermath, OwnLog, ReadState};
use crate::observe::TurnTimer;
#[cfg(feature = "worker")]
use crate::sync::atomic::{AtomicU64, Ordering::Release};

/// A store for one thread, made of plain hash tables.
///
/// It can be sent to another thread but not shared between threads. The compiler enforces this:
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
/// Every operation sees all earlier operations, since there is only one thread.
///
/// # Inside a read closure
///
/// Reads of the same store work. A write returns [`Reentrant`](StoreError::Reentrant), because
/// the closure holds a reference into the tables.
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
///
/// # Watches
///
/// A [`Watch`] may move to another thread, which cannot read the state of this store. The store
/// therefore copies its state into the log for the first watch, and again each time the log has
/// filled up, in O(*n*). If the log is too small for one commit, it does so with each commit
/// (see [`LogOptions`]).
#[derive(Default)]
pub struct MemoryStore {
    state: RefCell<StoreState>,
    options: LogOptions,
    /// Created by the first watch.
    log: OnceCell<OwnLog>,
    #[cfg(feature = "worker")]
    owner: Option<Box<Owner>>,
}

/// The connection of a store to the worker that owns it.
#[cfg(feature = "worker")]
struct Owner {
    /// Receives each revision before watches are notified.
    published: Arc<AtomicU64>,
    /// Work after commits that another thread must do.
    aftermaths: RefCell<Vec<Aftermath>>,
}

/// Tells watches to read the state from the checkpoint in the log.
struct CheckpointOnly;

impl ReadState for CheckpointOnly {
    fn read_state(&self, _: &Selection) -> Result<Option<Selected>> {
        Ok(None)
    }
}

impl MemoryStore {
    /// Creates an empty store. Allocates nothing.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// Creates an empty store whose log has these options.
    pub fn with_log(options: LogOptions) -> MemoryStore {
        MemoryStore {
            options,
            ..MemoryStore::default()
        }
    }

    /// Creates a store that a worker owns. It stores its revision in `published`, and the
    /// worker [takes](Self::take_aftermaths) the work that is left after a commit.
    #[cfg(feature = "worker")]
    pub(super) fn owned(log: Log, published: Arc<AtomicU64>) -> MemoryStore {
        let aftermaths = RefCell::default();
        MemoryStore {
            log: OnceCell::from(OwnLog::from(log)),
            owner: Some(Box::new(Owner {
                published,
                aftermaths,
            })),
            ..MemoryStore::default()
        }
    }

    #[cfg(feature = "worker")]
    pub(super) fn take_aftermaths(&self) -> Vec<Aftermath> {
        let owner = self.owner.as_ref();
        owner.map_or_else(Vec::new, |owner| owner.aftermaths.take())
    }

    /// Returns the name of this kind of store for recorders. `None` if a worker owns it: then
    /// the caller of the worker reports.
    #[inline]
    #[cfg_attr(
        not(feature = "worker"),
        allow(clippy::unused_self, clippy::unnecessary_wraps)
    )]
    fn metrics_name(&self) -> Option<&'static str> {
        #[cfg(feature = "worker")]
        if self.owner.is_some() {
            return None;
        }
        Some("memory")
    }

    #[inline]
    fn write<R, A>(
        &self,
        with_changes: bool,
        write: impl FnOnce(&mut RecordingTables<'_, Tables>) -> Result<R>,
        finish: impl FnOnce(CommitOutcome<R>) -> A,
    ) -> Result<A> {
        let mut timer = TurnTimer::start(self.metrics_name());
        let state = self.state.try_borrow_mut();
        let state = state.map_err(|_| StoreError::Reentrant)?;
        timer.begin();
        match ChangeRecorder::new(self.log.get().map(|log| &**log), with_changes) {
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
        mut state: RefMut<'_, StoreState>,
        recorder: &mut impl RecordChanges,
        write: impl FnOnce(&mut RecordingTables<'_, Tables>) -> Result<R>,
    ) -> Result<CommitOutcome<R>> {
        let tables = state.tables_mut()?;
        let before = tables.current();
        let answer = recorder.record_writes(tables, write)?;
        let revision = tables.settle();
        #[cfg(feature = "worker")]
        if let Some(owner) = &self.owner {
            // Release, before watches are notified and before the answer is sent. Pairs with
            // the Acquire load in `WorkerStore::revision`, so a thread that received either
            // finds this revision there.
            owner.published.store(revision.as_u64(), Release);
        }
        let aftermath = recorder.append_to_log((before, revision), |log, changes| {
            log.append_net_with(revision, changes, || state_of(tables, &Selection::All))
        });
        drop(state);
        timer.finish(before, revision);
        self.run_or_defer(aftermath);
        Ok(CommitOutcome {
            answer,
            revision,
            changes: recorder.take_changes(),
        })
    }

    /// Does the work that is left after the turn, or passes it to the worker.
    #[inline]
    #[cfg_attr(
        not(feature = "worker"),
        allow(clippy::unused_self, clippy::unnecessary_wraps)
    )]
    fn run_or_defer(&self, aftermath: Option<Aftermath>) {
        #[cfg(feature = "worker")]
        if let Some(owner) = &self.owner {
            owner.aftermaths.borrow_mut().extend(aftermath);
            return;
        }
        drop(aftermath);
    }

    fn begin_watch(&self, selection: Selection, from: Option<Cursor>) -> Result<Watch> {
        let log = self.log.get_or_init(|| OwnLog::new(self.options));
        log.watch(selection, from, Arc::new(CheckpointOnly), || {
            let state = self.state.try_borrow_mut();
            let state = state.map_err(|_| StoreError::Reentrant)?;
            let tables = state.tables()?;
            log.checkpoint(|| state_of(tables, &Selection::All));
            Ok(tables.revision())
        })
    }

    #[allow(clippy::unnecessary_wraps)] // the form that the methods ask for
    fn own_upkeep(&self) -> Result<Upkeep> {
        Ok(self.log.get().map(|log| log.upkeep()).unwrap_or_default())
    }

    fn current_revision(&self) -> Revision {
        self.state.borrow().revision()
    }

    fn close_tables(&self) -> Result<()> {
        let state = self.state.try_borrow_mut();
        let held = state.map_err(|_| StoreError::Reentrant)?.close();
        drop(held);
        self.run_or_defer(self.log.get().map(|log| log.close()));
        Ok(())
    }
}

impl ReadTables for MemoryStore {
    type View<'s> = Tables;

    #[inline]
    fn read<R>(&self, read: impl FnOnce(&Self::View<'_>) -> Result<R>) -> Result<R> {
        let state = self.state.try_borrow().map_err(|_| StoreError::Reentrant)?;
        read(state.tables()?)
    }
}

impl_registry_store!(MemoryStore);

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::debug_store("MemoryStore", self, f)
    }
}
