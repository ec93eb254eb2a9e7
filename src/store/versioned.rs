//! [`VersionedStore`], which keeps several versions of every record. Each reader sees the
//! versions of one revision.
//!
//! The crate `versioned-map` describes how versions are added, found and freed. This module
//! implements the changes of a registry with the operations of its engine, and [`tables`]
//! defines its maps.

use std::fmt;
use std::sync::{Arc, Weak};

use super::Snapshots;
use super::differ::NumberedSubscribers;
use super::methods::prelude::*;
use super::view::{check_order, check_store, differences_by};
use crate::changes::{Aftermath, OwnLog, ReadState};
use crate::observe::TurnTimer;
use tables::{Engine, Pinned, ReclaimAfterView, Registered, State, Turn};

mod lists;
#[cfg(all(test, loom))]
mod models;
#[allow(unsafe_code)]
mod tables;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
#[allow(unsafe_code)]
mod turn;

/// A store with several versions of each record: the speed of a hash map, and consistent
/// snapshots.
///
/// A write puts a new version in front of the old one and copies nothing else. A reader sees
/// the versions of one revision in all indexes, no matter how much is written in the meantime.
/// Readers take no lock and never wait. A writer waits for other writers, and for a thread that
/// is freeing old versions. This is mostly another writer, but it can be a thread that drops a
/// snapshot or a view for which versions were kept. Each wait is for up to some thousand
/// versions, or for as many as the snapshot alone has kept.
///
/// There are four ways to read:
///
/// | | use | cost | keeps in memory |
/// | --- | --- | --- | --- |
/// | the methods of [`RegistryStore`] | one question | one pin each | |
/// | [`pinned`](Self::pinned) | many questions in a row | one pin | everything that is replaced |
/// | [`reader`](Self::reader) | a thread that reads often | a comparison, unless something was written | what it shows |
/// | [`snapshot`](Self::snapshot) | results that stay, on any thread | one registration | what it shows |
///
/// # Memory
///
/// A replaced version is freed some commits later, when nobody can see it any more. Up to a few
/// thousand versions wait for this. In a shrinking store fewer wait, in the end some hundreds.
/// A large commit itself frees the versions that it has replaced. A [`VersionedSnapshot`] keeps
/// the versions that it shows. It does not keep versions that are written and replaced later,
/// no matter how long it lives. A thread that sleeps inside a read closure or with a
/// [`VersionedView`] blocks nobody, but all versions that are replaced in the meantime stay in
/// memory, in this store and in the other stores that the thread reads in the meantime.
///
/// After that thread has ended its read, each replaced version frees up to 32 of the waiting ones,
/// once one or two thousand versions have been replaced. Half of a backlog of *b* versions is gone
/// after *b* / 62 + 2,000 replaced versions. Without commits, if more than 8,192 versions wait, the
/// thread frees all of them when its read ends (50 ms for a million). It does so in steps of 2,048
/// versions, between which others can commit. If others commit, they continue the work. After
/// them, views and snapshots that end, and reads that do not call a closure, free up to 2,048
/// versions each. The contents of a store that was cleared or closed beside such a thread are
/// freed in the same way. A dropped store leaves nothing behind.
///
/// A read costs one write to a cache line of its own thread and no fence, no matter how many
/// threads there are. Writers pay for this once per 1,024 replaced versions, if the kernel has
/// `membarrier(2)`. On other systems, and with `VERSIONED_MAP_MEMBARRIER=off` in the
/// environment, a read has a fence. In a forked process reads continue to work, and nothing is
/// freed.
///
/// # Consistency
///
/// Linearizable. A commit becomes visible in all indexes at once, when its revision is
/// published. Every read is answered from one revision.
///
/// # Inside a read closure
///
/// Every call of the same store works. The closure continues to read the record that it was
/// given.
///
/// ```
/// use service_registry::{RegistryStore, RegistryView, VersionedStore};
///
/// let store = VersionedStore::new();
/// store.add_subscription("web:pod-1", "user-service")?;
/// let before = store.snapshot();
/// store.clear()?;
/// assert_eq!(before.subscribers("user-service").count(), 1);
/// assert_eq!(store.snapshot().subscribers("user-service").count(), 0);
/// assert!(before.revision() < store.revision());
/// # Ok::<(), service_registry::StoreError>(())
/// ```
pub struct VersionedStore {
    engine: Arc<Engine>,
}

impl Default for VersionedStore {
    fn default() -> VersionedStore {
        VersionedStore::with_log(LogOptions::default())
    }
}

/// Reads the state of a store, which may have been dropped, for watches.
struct WeakEngine(Weak<Engine>);

impl ReadState for WeakEngine {
    fn read_state(&self, selection: &Selection) -> Result<Option<Selected>> {
        let engine = self.0.upgrade().ok_or(StoreError::Closed)?;
        let state = engine.register();
        if state.is_closed() {
            return Err(StoreError::Closed);
        }
        Ok(Some(state_of(&VersionedSnapshot { state }, selection)))
    }
}

impl VersionedStore {
    /// Creates an empty store.
    pub fn new() -> VersionedStore {
        VersionedStore::default()
    }

    /// Creates an empty store whose log has these options.
    pub fn with_log(options: LogOptions) -> VersionedStore {
        let engine = tables::new(options);
        engine.add_handle();
        VersionedStore { engine }
    }

    /// Returns the current state, which can be kept for any time. Usually O(1). Allocates only
    /// if there are more snapshots at once than ever before. If many snapshots exist, it may
    /// have to search for a free slot among theirs. These slots stay until the store is
    /// dropped, and writers check all of them, 4 for each replaced version. A snapshot keeps
    /// the versions that it shows, one of each record.
    ///
    /// After `close`, returns an empty view at the last revision.
    #[must_use]
    pub fn snapshot(&self) -> VersionedSnapshot {
        VersionedSnapshot {
            state: self.engine.register(),
        }
    }

    /// Creates a handle for a thread that reads often: a snapshot that moves on by itself, so a
    /// read costs little more than the look-up. O(1).
    #[must_use]
    pub fn reader(&self) -> VersionedReader {
        self.engine.add_handle();
        VersionedReader {
            newest: self.snapshot(),
        }
    }

    /// Returns the current state for a thread that asks several questions in a row and then
    /// drops it. This is the cheapest consistent view. O(1). Allocates nothing.
    ///
    /// While the view exists, no replaced version is freed. See [Memory](Self#memory).
    #[inline]
    #[must_use]
    pub fn pinned(&self) -> VersionedView<'_> {
        VersionedView {
            state: self.engine.pin(),
            _after: Some(ReclaimAfterView::new(&self.engine)),
        }
    }

    /// Takes a turn of an open store.
    fn open_turn(&self) -> Result<Turn<'_>> {
        let turn = self.engine.turn();
        if turn.is_closed() {
            drop(turn);
            return Err(self.closed());
        }
        Ok(turn)
    }

    /// Returns the error for a turn of a closed store, after the turn has ended. If a panic has
    /// closed the store, its log is still open, so this closes it.
    #[cold]
    fn closed(&self) -> StoreError {
        drop(self.engine.owner().log.close());
        StoreError::Closed
    }

    #[inline]
    fn write<'e, R, A>(
        &'e self,
        with_changes: bool,
        write: impl FnOnce(&mut RecordingTables<'_, Turn<'e>>) -> Result<R>,
        finish: impl FnOnce(CommitOutcome<R>) -> A,
    ) -> Result<A> {
        let mut timer = TurnTimer::start(Some("versioned"));
        let (before, written, is_large);
        // Set only if changes are recorded: a value that both branches set would be copied.
        let mut aftermath = None;
        {
            // The turn is dropped in place. A move would read it in other pieces than it was just
            // written in, and the processor would have to wait.
            let mut turn = self.engine.turn();
            if turn.is_closed() {
                drop(turn);
                return Err(self.closed());
            }
            timer.begin();
            before = turn.current();
            let log = &self.engine.owner().log;
            let left = &mut aftermath;
            written = match ChangeRecorder::new(log, with_changes) {
                None => write_in(&mut turn, &mut NoRecorder, write, left)?,
                Some(mut recorder) => {
                    out_of_line(|| write_in(&mut turn, &mut recorder, write, left))?
                }
            };
            is_large = turn.is_large();
        }
        timer.finish(before, written.revision);
        if let Some(left) = aftermath {
            out_of_line(|| drop(left));
        }
        if is_large {
            self.engine.reclaim_now();
        }
        Ok(finish(written))
    }

    fn begin_watch(&self, selection: Selection, from: Option<Cursor>) -> Result<Watch> {
        let read = WeakEngine(Arc::downgrade(&self.engine));
        self.engine
            .owner()
            .log
            .watch(selection, from, Arc::new(read), || {
                self.open_turn().map(|commit| commit.current())
            })
    }

    fn own_log(&self) -> OwnLog {
        OwnLog::from(self.engine.owner().log.clone())
    }

    fn own_upkeep(&self) -> Result<Upkeep> {
        let commit = self.open_turn()?;
        let (old, oldest) = (commit.old_versions(), commit.oldest_snapshot());
        drop(commit);
        Ok(Upkeep {
            old_versions: old,
            oldest_snapshot: oldest.map(Revision::from),
            ..self.engine.owner().log.upkeep()
        })
    }

    fn current_revision(&self) -> Revision {
        self.engine.pin().revision().into()
    }

    #[allow(clippy::unnecessary_wraps)] // the form that the methods ask for
    fn close_tables(&self) -> Result<()> {
        // Closes the log when this function ends, even by unwinding.
        let _log = self.own_log();
        self.engine.close();
        Ok(())
    }
}

/// Writes in a turn. Sets the work that is left for after the turn, if there is any.
// A separate function for `NoRecorder`, from which the compiler removes all reporting.
#[allow(clippy::inline_always)]
#[inline(always)]
fn write_in<'e, R>(
    turn: &mut Turn<'e>,
    recorder: &mut impl RecordChanges,
    write: impl FnOnce(&mut RecordingTables<'_, Turn<'e>>) -> Result<R>,
    left: &mut Option<Aftermath>,
) -> Result<CommitOutcome<R>> {
    let before = turn.current();
    let answer = recorder.record_writes(turn, write)?;
    let revision = turn.settle();
    let revisions = (before, revision);
    if let Some(aftermath) =
        recorder.append_to_log(revisions, |log, changes| log.append_net(revision, changes))
    {
        *left = Some(aftermath);
    }
    Ok(CommitOutcome {
        answer,
        revision,
        changes: recorder.take_changes(),
    })
}

impl Drop for VersionedStore {
    fn drop(&mut self) {
        // Closes the log when this function ends, as in `close_tables`.
        let _log = self.own_log();
        self.engine.drop_writer_handle();
    }
}

impl ReadTables for VersionedStore {
    type View<'s> = VersionedView<'s>;

    #[inline]
    fn read<R>(&self, read: impl FnOnce(&VersionedView<'_>) -> Result<R>) -> Result<R> {
        // A guard, so that the answer is made where the caller wants it, and not copied there.
        let _after = ReclaimSome(&self.engine);
        self.read_foreign(read)
    }

    // The caller may be a signal handler, so this frees nothing.
    #[inline]
    fn read_foreign<R>(&self, read: impl FnOnce(&VersionedView<'_>) -> Result<R>) -> Result<R> {
        let view = VersionedView {
            state: self.engine.pin(),
            _after: None,
        };
        if view.state.is_closed() {
            return Err(StoreError::Closed);
        }
        read(&view)
    }
}

impl_registry_store!(VersionedStore);

impl Snapshots for VersionedStore {
    type Snapshot = VersionedSnapshot;

    fn snapshot(&self) -> VersionedSnapshot {
        self.snapshot()
    }
}

impl fmt::Debug for VersionedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::debug_store("VersionedStore", self, f)
    }
}

/// The state of a [`VersionedStore`] at one revision, for the thread that pinned it.
///
/// It cannot leave the thread. While it exists, no version that is replaced in the store is
/// freed, so keep it only for a few questions.
///
/// ```
/// use service_registry::{RegistryStore, RegistryView, VersionedStore};
///
/// let store = VersionedStore::new();
/// let view = store.pinned();
/// store.add_subscription("web:pod-1", "user-service")?;
/// assert_eq!(view.subscribers("user-service").count(), 0);
/// assert_eq!(store.pinned().subscribers("user-service").count(), 1);
/// # Ok::<(), service_registry::StoreError>(())
/// ```
pub struct VersionedView<'store> {
    state: Pinned<'store>,
    /// Dropped after the thread is no longer pinned.
    _after: Option<ReclaimAfterView<'store>>,
}

/// When dropped, reclaims a part if reclamation is due.
struct ReclaimSome<'store>(&'store Arc<Engine>);

impl Drop for ReclaimSome<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.reclaim_some();
    }
}

/// A state of a [`VersionedStore`] that can be kept.
///
/// It can be sent to and shared between threads, can be kept for any time, and outlives its
/// store. It keeps only the versions that it shows: versions that are written and replaced
/// during its life are freed as usual. Dropping its last clone frees the versions that only
/// this snapshot kept, in time proportional to their number, or leaves them to a writer that is
/// at work. Dropping another clone is O(1).
///
/// While nothing has been written since, a read costs the look-up. A record that has been
/// replaced is found behind its newer versions, which takes a pin. All iterators can be sent to
/// other threads. For this, those of [`services`](RegistryView::services),
/// [`names`](RegistryView::names) and [`groups`](RegistryView::groups) collect everything, one
/// pointer each, before they yield the first entry.
///
/// ```
/// fn shared_by_threads<T: Send + Sync + 'static>() {}
/// shared_by_threads::<service_registry::VersionedSnapshot>();
/// ```
#[derive(Clone)]
pub struct VersionedSnapshot {
    state: Registered,
}

/// Implements `RegistryView` with a state of the engine.
macro_rules! impl_registry_view {
    ($view:ident $(<$store:lifetime>)?, $name:literal) => {
        impl $(<$store>)? RegistryView for $view $(<$store>)? {
            fn revision(&self) -> Revision {
                self.state.revision().into()
            }

            #[inline]
            fn get(&self, key: &str) -> Option<&ServiceInfo> {
                self.state.service(key)
            }

            fn services(&self) -> impl Iterator<Item = &ServiceInfo> {
                self.state.services()
            }

            fn services_by_name<'a>(
                &'a self,
                service_name: &str,
            ) -> impl Iterator<Item = &'a ServiceInfo> + use<'a $(, $store)?> {
                self.state.services_by_name(service_name)
            }

            fn subscribers<'a>(
                &'a self,
                service_group: &str,
            ) -> impl Iterator<Item = &'a ServiceKey> + use<'a $(, $store)?> {
                self.state.subscribers(service_group).map(|(_, key)| key)
            }

            fn names(&self) -> impl Iterator<Item = &str> {
                self.state.names()
            }

            fn groups(&self) -> impl Iterator<Item = &str> {
                self.state.groups()
            }

            fn stats(&self) -> StoreStats {
                self.state.stats()
            }

            fn changes_since(&self, older: &Self) -> Result<Vec<Difference>> {
                check_store(self.state.is_of_the_store_of(&older.state), older.revision())?;
                check_order(older.revision(), self.revision())?;
                let is_open = !self.state.is_closed() && !older.state.is_closed();
                let logged = is_open.then(|| {
                    let log = &self.state.engine().owner().log;
                    log.between(older.revision(), self.revision())
                });
                Ok(logged.flatten().unwrap_or_else(|| {
                    differences_by(older, self, |group| {
                        [&older.state, &self.state].map(|state| {
                            let subscribers = state.subscribers(group);
                            let owned = subscribers.map(|(number, key)| (number, key.clone()));
                            owned.collect::<NumberedSubscribers>()
                        })
                    })
                }))
            }
        }

        impl $(<$store>)? fmt::Debug for $view $(<$store>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let stats = self.stats();
                f.debug_struct($name)
                    .field("revision", &self.revision())
                    .field("services", &stats.services)
                    .field("subscriptions", &stats.subscriptions)
                    .finish()
            }
        }
    };
}

impl_registry_view!(VersionedView<'store>, "VersionedView");
impl_registry_view!(VersionedSnapshot, "VersionedSnapshot");

/// A handle for one thread that reads a [`VersionedStore`] often.
///
/// It is a snapshot that moves on: before each read it checks whether something has been
/// published since. The state that it shows stays in memory until the next read or until the
/// reader is dropped, so a thread that stops reading should drop its reader. If the store has
/// been dropped but not closed, the reader still shows the last state, and keeps that state as
/// well.
///
/// A reader never shows an older state than it showed before.
///
/// ```
/// use service_registry::{RegistryStore, RegistryView, VersionedStore};
///
/// let store = VersionedStore::new();
/// let mut reader = store.reader();
/// store.add_subscription("web:pod-1", "user-service")?;
/// assert_eq!(reader.view().subscribers("user-service").count(), 1);
/// # Ok::<(), service_registry::StoreError>(())
/// ```
pub struct VersionedReader {
    newest: VersionedSnapshot,
}

impl VersionedReader {
    /// Returns the newest state, borrowed until the next read. O(1), plus the cost of freeing
    /// the versions that only this reader kept. After the store is closed, the state is empty
    /// and has the last revision.
    #[inline]
    pub fn view(&mut self) -> &VersionedSnapshot {
        if !self.newest.state.is_newest() {
            self.newest.state.renew();
        }
        &self.newest
    }

    /// Calls `read` with the newest record under `key`, like
    /// [`with_service`](RegistryStore::with_service). O(1), plus the cost of
    /// [`view`](Self::view). Copies nothing, and allocates nothing if the pod exists.
    ///
    /// # Errors
    ///
    /// [`NotFound`](StoreError::NotFound) if no pod has this key, and
    /// [`Closed`](StoreError::Closed).
    #[inline]
    pub fn with_service<R>(
        &mut self,
        key: &str,
        read: impl FnOnce(&ServiceInfo) -> R,
    ) -> Result<R> {
        let view = self.view();
        if view.state.is_closed() {
            return Err(StoreError::Closed);
        }
        let answer = view.state.service(key).map(read);
        answer.ok_or_else(|| missing(key))
    }
}

impl Clone for VersionedReader {
    fn clone(&self) -> VersionedReader {
        let engine = self.newest.state.engine();
        engine.add_handle();
        VersionedReader {
            newest: VersionedSnapshot {
                state: engine.register(),
            },
        }
    }
}

impl Drop for VersionedReader {
    fn drop(&mut self) {
        self.newest.state.engine().drop_handle();
    }
}

impl fmt::Debug for VersionedReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VersionedReader")
            .field("viewed", &self.newest)
            .finish_non_exhaustive()
    }
}
