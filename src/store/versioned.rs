//! [`VersionedStore`]: many versions of every record, of which each reader sees those of
//! one revision.
//!
//! How versions come, are found, and go, stands in the crate `versioned-map`. Here are the changes
//! of a registry, in terms of what its engine can put and find; and in [`tables`] which maps it
//! has.

use std::fmt;
use std::sync::{Arc, Weak};

use super::Snapshots;
use super::differ::Numbers;
use super::methods::prelude::*;
use super::view::{check_order, check_store, differences_by};
use crate::changes::{Aftermath, OwnLog, ReadState};
use crate::observe::Observed;
use tables::{Engine, Pinned, Registered, State, Turn};

mod lists;
#[cfg(all(test, loom))]
mod models;
#[allow(unsafe_code)]
mod tables;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
#[allow(unsafe_code)]
mod turn;

/// The store of many versions: a hash map's speed, and consistent snapshots.
///
/// A write puts a new version in front of the old one, and no copy of anything else is
/// made. A reader sees the versions of one revision, in all indexes, however much is
/// written meanwhile. Readers take no lock and never wait. A writer waits for other writers,
/// and for whoever is freeing old versions at the moment: mostly that is a writer, too, but
/// it can be a thread that lets go of a snapshot, or of a view, for which something was kept,
/// each for up to some thousand versions, or as many as the snapshot alone has kept.
///
/// There are four ways to read:
///
/// | | for | costs | holds up meanwhile |
/// | --- | --- | --- | --- |
/// | the methods of [`RegistryStore`] | one question | a pin each | |
/// | [`pinned`](Self::pinned) | many questions in a row | one pin | the freeing of all that is replaced |
/// | [`reader`](Self::reader) | a thread that reads a lot | a comparison, unless something was written | what it can see |
/// | [`snapshot`](Self::snapshot) | answers that stay, on any thread | registering, once | what it can see |
///
/// # Memory
///
/// What is replaced is freed some commits later, when nobody can see it any more: up to
/// a few thousand versions wait for their turn, and of a store that shrinks fewer, some hundreds
/// in the end. A large commit frees what it has replaced itself. A [`VersionedSnapshot`] keeps what it
/// shows, and nothing of what is written and replaced afterwards, however long it lives.
/// A thread that sleeps inside of a read closure, or with a [`VersionedView`], holds
/// nobody up, but everything that is replaced meanwhile stays in memory, in this store and in
/// those that the thread reads meanwhile.
///
/// When that thread has let go, each version that is replaced takes up to 32 of those that
/// waited with it, once a thousand or two have been: half of a backlog is gone after a 62nd part as many
/// commits and two thousand. Without commits, where more than 8,192 wait, whoever has let go frees all of it when it
/// lets go (50 ms for a million), 2,048 versions at a time, between which others can commit. If they do, they go on
/// with it; and afterwards views and snapshots that end, and reads (but those that call a closure), up to 2,048 versions
/// each. What was cleared or closed beside such a thread comes back in the same way. A store that is dropped
/// leaves nothing.
///
/// Readers pay a store to a line of their own thread and no fence, however many threads there
/// are; who writes pays for them once in 1,024 replaced versions, where the kernel has
/// `membarrier(2)`. Elsewhere, and with `VERSIONED_MAP_MEMBARRIER=off` in the environment,
/// a read has a fence. In a process that was forked off reads go on, and nothing is freed.
///
/// # Consistency
///
/// Linearizable. A commit becomes visible when its revision is published, in all indexes
/// at once; every read answers from one revision.
///
/// # Inside a read closure
///
/// Every call of the same store is fine. The closure goes on reading the record that it
/// was given.
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

/// How watches read the state of a store that may have gone.
struct OfStore(Weak<Engine>);

impl ReadState for OfStore {
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
    /// An empty store.
    pub fn new() -> VersionedStore {
        VersionedStore::default()
    }

    /// An empty store with a log of its own kind.
    pub fn with_log(options: LogOptions) -> VersionedStore {
        let engine = tables::new(options);
        engine.enter();
        VersionedStore { engine }
    }

    /// The present state, for as long as one likes. O(1) as a rule, and allocates nothing, but
    /// for more snapshots at once than there have been before. Where many are held, it may have
    /// to look for a free place among theirs; these places stay until the store goes, and writers
    /// look at all of them, 4 for each replaced version. It keeps what it shows: of each
    /// record the one version.
    ///
    /// Of a closed store it is empty, under the last revision.
    #[must_use]
    pub fn snapshot(&self) -> VersionedSnapshot {
        VersionedSnapshot {
            state: self.engine.register(),
        }
    }

    /// A handle for a thread that reads a lot: a snapshot that moves on by itself, so that
    /// a read costs little more than the look-up. O(1).
    #[must_use]
    pub fn reader(&self) -> VersionedReader {
        self.engine.enter();
        VersionedReader {
            newest: self.snapshot(),
        }
    }

    /// The present state, for a thread that asks several questions in a row and then lets
    /// go of it: the cheapest consistent view. O(1), allocates nothing.
    ///
    /// While it is held, nothing that is replaced is freed; see above.
    #[inline]
    #[must_use]
    pub fn pinned(&self) -> VersionedView<'_> {
        VersionedView {
            state: self.engine.pin(),
            _after: Some(ComeBy(&self.engine)),
        }
    }

    #[inline]
    fn read<R>(&self, read: impl FnOnce(&VersionedView<'_>) -> R) -> Result<R> {
        let answer = self.read_foreign(read);
        self.engine.come_by();
        answer
    }

    /// A read that runs a closure of the caller, who may be a signal handler: nothing is freed.
    #[inline]
    fn read_foreign<R>(&self, read: impl FnOnce(&VersionedView<'_>) -> R) -> Result<R> {
        let view = VersionedView {
            state: self.engine.pin(),
            _after: None,
        };
        if view.state.is_closed() {
            return Err(StoreError::Closed);
        }
        Ok(read(&view))
    }

    /// A turn of a store that is open.
    fn open_turn(&self) -> Result<Turn<'_>> {
        let turn = self.engine.turn();
        if turn.is_closed() {
            drop(turn);
            return Err(self.closed());
        }
        Ok(turn)
    }

    /// What a turn of a closed store leads to, when it has been given back. Where a panic has
    /// closed the store, watches do not know yet.
    #[cold]
    fn closed(&self) -> StoreError {
        drop(self.engine.owner().log.close());
        StoreError::Closed
    }

    #[inline]
    fn write<'e, R, A>(
        &'e self,
        is_asked: bool,
        write: impl FnOnce(&mut Noted<'_, Turn<'e>>) -> Result<R>,
        finish: impl FnOnce(Written<R>) -> A,
    ) -> Result<A> {
        let mut observed = Observed::ask(Some("versioned"));
        let (before, written, is_large, left);
        {
            // A turn is given back where it stands. Moved, it would be read in other pieces than it was
            // written in a moment before, for which a processor has to wait.
            let mut turn = self.engine.turn();
            if turn.is_closed() {
                drop(turn);
                return Err(self.closed());
            }
            observed.begin();
            before = turn.current();
            let log = &self.engine.owner().log;
            (written, left) = match Telling::new(log, is_asked) {
                None => write_in(&mut turn, &mut Nobody, write)?,
                Some(mut telling) => aside(|| write_in(&mut turn, &mut telling, write))?,
            };
            is_large = turn.is_large();
        }
        observed.made(before, written.revision);
        drop(left);
        if is_large {
            self.engine.tidy_up();
        }
        Ok(finish(written))
    }

    fn begin_watch(&self, selection: Selection, from: Option<Cursor>) -> Result<Watch> {
        let read = OfStore(Arc::downgrade(&self.engine));
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
        let (old, oldest) = (commit.old(), commit.oldest());
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
        // Ends when this does, whatever unwinds.
        let _log = self.own_log();
        self.engine.close();
        Ok(())
    }
}

/// Writes in a turn; answers with what is left to do when that has been given back.
// For nobody it is another function, of which nothing is left that tells.
#[allow(clippy::inline_always)]
#[inline(always)]
fn write_in<'e, R>(
    turn: &mut Turn<'e>,
    telling: &mut impl Tell,
    write: impl FnOnce(&mut Noted<'_, Turn<'e>>) -> Result<R>,
) -> Result<(Written<R>, Option<Aftermath>)> {
    let before = turn.current();
    let answer = telling.note(turn, write)?;
    let revision = turn.settle();
    let revisions = (before, revision);
    let left = telling.tell(revisions, |log, changes| log.append_net(revision, changes));
    let changes = telling.asked();
    let written = Written {
        answer,
        revision,
        changes,
    };
    Ok((written, left))
}

impl Drop for VersionedStore {
    fn drop(&mut self) {
        // As above.
        let _log = self.own_log();
        self.engine.abandon();
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
/// It cannot leave the thread. While it is held, what is replaced in the store is not
/// freed; keep it for as long as a few questions take.
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
    /// Dropped when the thread is pinned no more.
    _after: Option<ComeBy<'store>>,
}

/// Sees to what has waited for a reader to leave.
struct ComeBy<'store>(&'store Arc<Engine>);

impl Drop for ComeBy<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.end_view();
    }
}

/// A state of a [`VersionedStore`] that stays.
///
/// It can be sent to and shared by threads, kept for as long as one likes, and outlives
/// its store. It keeps the versions that it shows, and no others: what is written and
/// replaced while it lives is freed as without it. The last of its clones to be dropped
/// frees what they alone kept, O(that), or leaves it to the writer that is at work. Dropping
/// another one is O(1).
///
/// While nothing has been written since, reading it costs the look-up. A record that has
/// been replaced is found behind its newer versions, which takes a pin. All of its
/// iterators can be sent to other threads; for that, those of
/// [`services`](RegistryView::services), [`names`](RegistryView::names) and
/// [`groups`](RegistryView::groups) have found everything, one pointer each, before they
/// answer with the first.
///
/// ```
/// fn shared_by_threads<T: Send + Sync + 'static>() {}
/// shared_by_threads::<service_registry::VersionedSnapshot>();
/// ```
#[derive(Clone)]
pub struct VersionedSnapshot {
    state: Registered,
}

/// Writes `impl RegistryView`, by way of a state of the engine.
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
                let told = is_open.then(|| {
                    let log = &self.state.engine().owner().log;
                    log.between(older.revision(), self.revision())
                });
                Ok(told.flatten().unwrap_or_else(|| {
                    differences_by(older, self, |group| {
                        [&older.state, &self.state].map(|state| {
                            let subscribers = state.subscribers(group);
                            let owned = subscribers.map(|(number, key)| (number, key.clone()));
                            owned.collect::<Numbers>()
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

/// A handle of one thread for reading a [`VersionedStore`] often.
///
/// It is a snapshot that moves on: before each read it looks whether something has been
/// published since. What it shows stays in memory until its next read or its end: a
/// thread that stops reading should drop its reader. Of a store that has been dropped, but
/// not closed, it can still show the last state, and keeps that one as well.
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
    /// The newest state, borrowed until the next read. O(1), and the cost of freeing what
    /// only this reader had kept. After the store is closed the state is empty, under the
    /// last revision.
    #[inline]
    pub fn view(&mut self) -> &VersionedSnapshot {
        if !self.newest.state.is_newest() {
            self.newest.state.renew();
        }
        &self.newest
    }

    /// Calls `read` with the newest record under `key`, as
    /// [`with_service`](RegistryStore::with_service) does. O(1), and as for
    /// [`view`](Self::view); no copy, no allocation where the pod is there.
    ///
    /// # Errors
    ///
    /// [`NotFound`](StoreError::NotFound) where no pod has that key;
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
        engine.enter();
        VersionedReader {
            newest: VersionedSnapshot {
                state: engine.register(),
            },
        }
    }
}

impl Drop for VersionedReader {
    fn drop(&mut self) {
        self.newest.state.engine().leave();
    }
}

impl fmt::Debug for VersionedReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VersionedReader")
            .field("viewed", &self.newest)
            .finish_non_exhaustive()
    }
}
