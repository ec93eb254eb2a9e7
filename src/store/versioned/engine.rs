//! Tables of which every revision can be read for as long as somebody looks at it.
//!
//! # The algorithm
//!
//! Three indexes (services by key, pods by service name, subscribers by group) are
//! [tables](super::table) from a key to a [chain](super::chain) of versions, newest
//! first, and so is how much there is. One writer at a time holds the commit lock. It
//! puts versions with the revision `published + 1` in front of chains, where readers
//! pass over them, and then stores `published`, which makes all of them visible at once.
//!
//! A **pinned** reader pins its thread, loads `published`, then the tables, and takes
//! from each chain the first version that is not newer.
//!
//! A **registered** reader has told its revision (see [`registrations`]) and holds the
//! tables of that time by a reference count. It is not pinned. Where the head of a chain
//! is not newer than its revision, that is the version to see, and it is protected.
//! Where it is newer, the reader pins for as long as it takes to follow the chain, from
//! the newest tables.
//!
//! # What is freed when
//!
//! A version is *visible* from its own revision until that of the next one in its chain.
//! It may be needed by registered readers of a revision in between, and by pinned
//! readers of an older revision than that of the next one, who have told nobody. The
//! writer takes a version out of its chain when
//!
//! 1. a period has passed since the next one was published: whoever was pinned then has
//!    left, and who was pinned later has loaded a later revision;
//! 2. no registered reader is in between, by a scan that is made after that: whoever was pinned
//!    has registered before it left.
//!
//! Then it is unlinked, and retired, to be freed after another period,
//! because who follows the chain to an older version may be on it. A version that a
//! registered reader needs is *kept*, under the oldest revision that needs it, and looked
//! at again when that one is registered no more, which whoever gives back its place sees by a
//! mark: what a snapshot keeps is what it can see, however much is written meanwhile.
//!
//! A key whose only version says that it is not there is *removed*: its slot dies, and
//! the cell is treated as one more version, which ends now. It needs no unlinking, but a period as
//! well: who was pinned before, and has loaded tables in which it lives, may register yet.
//!
//! All of this is done every few commits, by the writer, for [`SHARE`] times as many versions
//! as have been replaced since; a period ends every [`PERIOD`] versions. Where more than [`DEBT`]
//! wait, and on a store that is cleared or closed, whoever lets go of a view or a snapshot, or reads
//! without a closure, sees to them, [`LARGE`] at a time, as soon as a reader has left whom they
//! wait for. `clear` and `close` put new tables in
//! the place of the old ones, which go, with all that is in them, with their last reader.
//!
//! # Panics
//!
//! What has been unlinked is leaked by whatever unwinds. Under the lock nothing is known to panic.
//! What does all the same has the next one to take the lock close the store (`Commit::give_up`):
//! the half-written commit is never published.
//!
//! # Invariants
//!
//! - Everything that can be reached from the newest tables has not been freed: it is
//!   unlinked first. Links lead only to older versions of the same cell.
//! - A table that has been replaced is not written to any more. Its heads may lead to
//!   what has been freed, but for readers who were pinned when it was replaced, and for
//!   heads that are not newer than a registered revision.
//! - A cell is freed with its last version. The pods of a name are cells; a list of them
//!   is read only at a revision at which it is visible, at which its pods are registered,
//!   and so have versions.
//! - Whatever only the writer asks for (which version replaced another, places, hashes)
//!   is read and written under the commit lock, with relaxed operations.
//!
//! The model checker runs this file, see `models` in [`super`].

use std::hash::BuildHasher;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex as PlainMutex, MutexGuard as PlainGuard, PoisonError, TryLockError};

use versioned_map::reclaim::{Awaited, Domain, Guard};

use super::chain::{Cell, Glance, Version, free_chain, seek};
use super::lists::{Members, Subscribers};
use super::old::{Garbage, Old, Stash};
use super::registrations::{Registration, Registrations};
use super::table::{Found, Table};
use super::writer::{Commit, Writer};
use crate::changes::{Log, LogOptions};
use crate::hash::RandomState;
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;
use crate::store::StoreStats;
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use crate::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize};
use crate::sync::{Mutex, MutexGuard};

/// After how many replaced versions the writer looks what can go.
#[cfg(not(any(test, loom)))]
pub(super) const OFTEN: usize = 64;
#[cfg(any(test, loom))]
pub(super) const OFTEN: usize = 3;

/// After how many replaced versions a period ends. That takes a look at every thread that was ever
/// pinned, and a system call that interrupts those that run.
#[cfg(not(any(test, loom)))]
pub(super) const PERIOD: usize = 1_024;
#[cfg(any(test, loom))]
pub(super) const PERIOD: usize = 2 * OFTEN;

/// Replaced versions that a writer looks at for each that has come, and up to a list more. In
/// this proportion goes what has waited for a reader who was pinned for long.
pub(super) const SHARE: usize = 32;

/// From how many versions on that wait for readers whoever comes by is asked to see to them, in
/// case no commit follows. More than wait for their turn beside readers who do not sleep.
#[cfg(not(loom))]
pub(super) const DEBT: usize = 8 * PERIOD;
/// A model has few versions, and too many steps with it.
#[cfg(loom)]
pub(super) const DEBT: usize = usize::MAX;

/// From how many versions on that it has replaced a writer does not leave them to the next
/// ones.
pub(super) const LARGE: usize = 32 * OFTEN;

/// How often it takes to get rid of everything, where nobody is pinned: what was replaced is
/// unlinked, then it is freed, and so is what was removed on the way.
const STEPS: usize = 4;

/// What a test breaks on purpose, to see that loom, or the stress, finds out.
#[cfg_attr(not(test), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Twin {
    None,
    /// The revision is published before the versions are there.
    PublishedFirst,
    /// A reader loads the tables before the revision.
    TablesFirst,
    /// Versions are unlinked as soon as they have been replaced,
    UnlinkedAtOnce,
    /// or freed as soon as they have been unlinked.
    FreedAtOnce,
    /// A snapshot begins when it is pinned no more,
    RegisteredLate,
    /// or the pruner looks at no snapshot,
    Overlooked,
    /// or it looks before those who are pinned have left,
    ScannedFirst,
    /// A slot dies when its key is deleted.
    KilledAtOnce,
    /// A version that has lent its value drops it all the same.
    NotGivenBack,
    /// A writer does not look again where a place was given back before it could be marked.
    Unmarked,
}

/// Whether a model has failed: its locks and atomics cannot be used any more.
pub(super) fn has_failed() -> bool {
    cfg!(loom) && std::thread::panicking()
}

/// The three indexes of one layout.
pub(super) struct Indexes {
    pub(super) services: Table<ServiceInfo>,
    pub(super) names: Table<Members>,
    pub(super) groups: Table<Subscribers>,
}

impl Clone for Indexes {
    fn clone(&self) -> Indexes {
        Indexes {
            services: self.services.clone(),
            names: self.names.clone(),
            groups: self.groups.clone(),
        }
    }
}

/// What a reader starts from. The counts of its `Arc` have a line of their own.
#[repr(align(128))]
pub(super) struct Tables {
    pub(super) indexes: Indexes,
    pub(super) hasher: RandomState,
    /// The revision that these tables began with: `clear` makes new ones.
    pub(super) since: u64,
    /// Whether the store is closed, and the last revision that it had.
    pub(super) closed: Option<u64>,
    pub(super) generation: Arc<Generation>,
}

/// All that was written from one `clear` to the next; owns it, and frees it with the
/// last of its tables.
pub(super) struct Generation {
    /// The newest layout; an `Arc`.
    pub(super) newest: AtomicPtr<Indexes>,
    pub(super) stats: NonNull<Cell<StoreStats>>,
    /// What has been removed, and was not freed when this generation ended.
    orphans: PlainMutex<Vec<Vec<Old>>>,
}

impl Tables {
    pub(super) fn new(since: u64, closed: Option<u64>) -> Tables {
        let indexes = Indexes {
            services: Table::with_room(0),
            names: Table::with_room(0),
            groups: Table::with_room(0),
        };
        let stats = Cell::new("", 0);
        let nothing = Some(StoreStats::default());
        let first = Version::new(since, nothing);
        // SAFETY: it was made just now.
        let head = unsafe { stats.as_ref() }.head();
        head.push(Box::into_raw(first), since);
        Tables {
            hasher: RandomState::default(),
            since,
            closed,
            generation: Arc::new(Generation {
                newest: AtomicPtr::new(Arc::into_raw(Arc::new(indexes.clone())).cast_mut()),
                stats,
                orphans: PlainMutex::default(),
            }),
            indexes,
        }
    }

    #[inline]
    pub(super) fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }
}

// SAFETY: it owns what its pointers lead to, which threads may share.
unsafe impl Send for Generation {}
// SAFETY: as above.
unsafe impl Sync for Generation {}

impl Generation {
    /// The cell of how much there is.
    pub(super) fn stats(&self) -> &Cell<StoreStats> {
        // SAFETY: it is freed with the generation.
        unsafe { self.stats.as_ref() }
    }

    /// Takes over what has been removed, to free it in the end.
    pub(super) fn adopt(&self, removed: Vec<Old>) {
        let orphans = self.orphans.lock();
        let mut orphans = orphans.unwrap_or_else(PoisonError::into_inner);
        orphans.push(removed);
    }

    /// The newest layout.
    ///
    /// # Safety
    ///
    /// The thread is pinned, for as long as `'a`.
    unsafe fn newest<'a>(&self) -> &'a Indexes {
        // Acquire: pairs with the Release in `Commit::lay_out_anew`.
        // SAFETY: a layout is freed a grace period after it was replaced.
        unsafe { &*self.newest.load(Acquire) }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        // Frees the chains of a table, and its cells.
        fn free<V>(table: &Table<V>) {
            for (_, slot, cell) in table.slots() {
                if let Some(cell) = cell.filter(|_| !slot.newest().is_null()) {
                    // SAFETY: nobody else is left who could come to it.
                    unsafe { free_chain(&slot) };
                    // SAFETY: as above; its chain is gone.
                    unsafe { Cell::free(cell) };
                }
            }
        }
        if cfg!(loom) {
            // As for the engine.
            return;
        }
        // SAFETY: it was made by `Arc::into_raw`, and replaced only by others of the kind.
        let indexes = unsafe { Arc::from_raw(self.newest.load(Relaxed)) };
        free(&indexes.services);
        free(&indexes.names);
        free(&indexes.groups);
        // SAFETY: as above.
        unsafe {
            free_chain(&self.stats.as_ref().head());
            Cell::free(self.stats);
        }
        let orphans = self.orphans.get_mut();
        let orphans = orphans.unwrap_or_else(PoisonError::into_inner);
        for orphans in orphans.drain(..) {
            // SAFETY: as above.
            unsafe { Garbage::Versions(orphans).free(None) };
        }
    }
}

/// The store's state, shared by its readers and writers.
///
/// What every reader loads stands in front, on a line without the counts of its `Arc`, and
/// without what the writer alone uses.
#[repr(C, align(128))]
pub(super) struct Engine {
    /// The newest revision that readers may see.
    pub(super) published: AtomicU64,
    /// The newest tables; an `Arc`.
    pub(super) tables: AtomicPtr<Tables>,
    pub(super) domain: Domain,
    /// Set where something is left to do when a reader has left.
    pub(super) awaited: Awaited,
    pub(super) registrations: Registrations,
    /// What comes from whoever frees, until the writer takes it.
    stash: PlainMutex<Stash>,
    /// How many there are, the store and its reader handles, who may ask for the newest
    /// state.
    askers: AtomicUsize,
    writer: Mutex<Writer>,
    pub(super) log: Log,
    #[cfg(test)]
    twin: Twin,
}

// Models have larger atomics.
#[cfg(not(any(loom, shuttle)))]
const _: () = {
    assert!(align_of::<Engine>() >= 128 && align_of::<Tables>() >= 128);
    assert!(std::mem::offset_of!(Engine, stash) >= 128);
    assert!(std::mem::offset_of!(Engine, registrations) <= 64);
};

impl Engine {
    pub(super) fn new(options: LogOptions) -> Engine {
        let domain = Domain::new();
        Engine {
            log: Log::new(options),
            published: AtomicU64::new(0),
            tables: AtomicPtr::new(Arc::into_raw(Arc::new(Tables::new(0, None))).cast_mut()),
            domain,
            awaited: Awaited::default(),
            registrations: Registrations::new(),
            stash: PlainMutex::default(),
            askers: AtomicUsize::new(0),
            writer: Mutex::new(Writer::new(domain)),
            #[cfg(test)]
            twin: Twin::None,
        }
    }

    /// One that is broken.
    #[cfg(test)]
    pub(super) fn with(twin: Twin) -> Arc<Engine> {
        let mut engine = Engine::new(LogOptions::default());
        engine.twin = twin;
        engine.enter();
        Arc::new(engine)
    }

    #[cfg(test)]
    pub(super) fn is(&self, twin: Twin) -> bool {
        self.twin == twin
    }

    /// Outside of tests none is broken.
    #[cfg(not(test))]
    #[inline]
    #[allow(clippy::unused_self)]
    pub(super) const fn is(&self, _: Twin) -> bool {
        false
    }

    /// Pins the thread.
    #[inline]
    #[cfg_attr(test, track_caller)]
    fn guard(&self) -> Guard {
        #[cfg(all(test, not(any(loom, shuttle))))]
        crate::sync::delayed::pause();
        self.domain.pin()
    }

    /// The newest state, for as long as the thread stays pinned.
    #[inline]
    pub(super) fn pin(self: &Arc<Engine>) -> Pinned<'_> {
        let guard = self.guard();
        // Acquire: pairs with the Release store in `Commit::publish`. It comes before the
        // tables are loaded, so that these have all that was published.
        let mut published = self.published.load(Acquire);
        // Acquire: pairs with the Release swap in `Commit::set_tables`.
        let tables = NonNull::new(self.tables.load(Acquire)).expect("there are always tables");
        if self.is(Twin::TablesFirst) {
            published = self.published.load(Acquire);
        }
        // SAFETY: tables are freed a grace period after they were replaced.
        let since = unsafe { tables.as_ref() }.since;
        Pinned {
            _guard: guard,
            tables,
            // New tables may be seen before their revision is published.
            revision: published.max(since),
            engine: self,
        }
    }

    /// The newest state, for as long as it is registered.
    pub(super) fn register(self: &Arc<Engine>) -> Registered {
        let pinned = self.pin();
        if self.is(Twin::RegisteredLate) {
            let (revision, tables) = (pinned.revision, pinned.share());
            drop(pinned);
            return Registered {
                revision,
                tables,
                place: self.registrations.claim(revision),
                engine: self.clone(),
            };
        }
        // The place is taken before the pin ends: see [`registrations`](super::registrations).
        Registered {
            revision: pinned.revision,
            tables: pinned.share(),
            place: self.registrations.claim(pinned.revision),
            engine: self.clone(),
        }
    }

    /// The right to write, when its turn comes.
    #[inline]
    pub(super) fn commit(self: &Arc<Engine>) -> Commit<'_> {
        match self.writer.lock() {
            Ok(writer) => Commit::new(self, writer),
            Err(poisoned) => self.commit_after_panic(poisoned.into_inner()),
        }
    }

    /// No code of a caller runs under the lock, and nothing that is known to panic. What does
    /// all the same closes the store, with the next one to take the lock.
    #[cold]
    #[inline(never)]
    fn commit_after_panic<'e>(self: &'e Arc<Engine>, writer: MutexGuard<'e, Writer>) -> Commit<'e> {
        let mut commit = Commit::new(self, writer);
        if !commit.is_closed() {
            commit.give_up();
        }
        commit
    }

    /// Notes that there is one more who may ask for the newest state.
    pub(super) fn enter(&self) {
        // Relaxed: as for a reference count, whoever comes is let in by one who is there.
        self.askers.fetch_add(1, Relaxed);
    }

    /// Notes that one of them has gone. With the last one goes what views do not show.
    pub(super) fn leave(self: &Arc<Engine>) {
        if has_failed() {
            return;
        }
        // Release and Acquire: pairs with itself: the last one comes after all others.
        let is_last = self.askers.fetch_sub(1, AcqRel) == 1;
        // Where there are no views either, all of it goes at once.
        if is_last && Arc::strong_count(self) > 1 {
            self.close();
        }
    }

    /// Closes the store, unless it is closed already.
    pub(super) fn close(self: &Arc<Engine>) {
        let mut commit = self.commit();
        let closed = (!commit.is_closed()).then(|| commit.close());
        drop(commit);
        drop(closed);
    }

    /// Notes that the store has gone: nobody commits any more.
    pub(super) fn abandon(self: &Arc<Engine>) {
        if has_failed() {
            return;
        }
        self.leave();
        if Arc::strong_count(self) > 1 {
            self.tidy_up();
        }
    }

    /// Frees what can be freed, now that there may be no commit that would, at the expense of the
    /// caller. What has to wait for a reader is left to whoever comes by when he has left.
    #[cold]
    pub(super) fn tidy_up(self: &Arc<Engine>) {
        for _ in 0..STEPS {
            let Some(mut commit) = self.try_commit_or_leave() else {
                break;
            };
            commit.empty_out();
            commit.tidy(usize::MAX, true);
            if commit.is_tidy() {
                break;
            }
        }
    }

    /// Sees to what is left, if that can be done now, at the expense of whoever lets go of a view.
    #[inline]
    pub(super) fn come_by(self: &Arc<Engine>) {
        if self.awaited.is_due() && !has_failed() {
            self.go_on();
        }
    }

    /// Whether whoever comes by is to see to something.
    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) fn is_called(&self) -> bool {
        self.awaited.is_due()
    }

    /// Frees a part of what can be freed. If somebody has the lock, they or the next ones do.
    #[cold]
    fn go_on(self: &Arc<Engine>) {
        if let Some(mut commit) = self.try_commit() {
            commit.note_visit();
            commit.tidy(LARGE, true);
        }
    }

    /// What comes from whoever frees, if nobody else is at it. What a panic has left there is
    /// as good as any.
    pub(super) fn stash(&self) -> Option<PlainGuard<'_, Stash>> {
        match self.stash.try_lock() {
            Ok(stash) => Some(stash),
            Err(TryLockError::Poisoned(stash)) => Some(stash.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The right to write, if nobody has it.
    fn try_commit(self: &Arc<Engine>) -> Option<Commit<'_>> {
        match self.writer.try_lock() {
            Ok(writer) => Some(Commit::new(self, writer)),
            Err(TryLockError::Poisoned(writer)) => {
                Some(self.commit_after_panic(writer.into_inner()))
            }
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The right to write, if nobody has it; otherwise whoever comes by sees to what was to be
    /// done.
    fn try_commit_or_leave(self: &Arc<Engine>) -> Option<Commit<'_>> {
        let commit = self.try_commit();
        if commit.is_none() {
            self.awaited.call();
        }
        commit
    }

    /// Lets go of what only a snapshot had kept that has been registered no more. It goes at once
    /// where this may be the last look for a while, and otherwise when the period ends.
    #[cold]
    fn let_go(self: &Arc<Engine>, is_last: bool) {
        if let Some(mut commit) = self.try_commit_or_leave() {
            commit.tidy(0, false);
            if is_last {
                commit.tidy(LARGE, true);
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if cfg!(loom) {
            // The reference counts of the standard library order nothing for the model
            // checker, so that it is left as it is.
            return;
        }
        let writer = self
            .writer
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let removed = writer.forget_old();
        for garbage in writer.reclaimer.drain() {
            // SAFETY: nobody is left who could be pinned.
            unsafe { garbage.free(None) };
        }
        // SAFETY: there are always tables, and nobody replaces them now.
        let generation = &unsafe { &*self.tables.load(Relaxed) }.generation;
        generation.adopt(removed);
        // SAFETY: it was made by `Arc::into_raw`, and nobody else can load it any more.
        drop(unsafe { Arc::from_raw(self.tables.load(Relaxed)) });
    }
}

/// A pinned reader's view.
pub(super) struct Pinned<'e> {
    /// Held for as long as what is borrowed from this.
    _guard: Guard,
    tables: NonNull<Tables>,
    revision: u64,
    engine: &'e Arc<Engine>,
}

impl Pinned<'_> {
    pub(super) fn revision(&self) -> u64 {
        self.tables().closed.unwrap_or(self.revision)
    }

    #[inline]
    fn tables(&self) -> &Tables {
        // SAFETY: the guard is held, since before they were loaded.
        unsafe { self.tables.as_ref() }
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.tables().closed.is_some()
    }

    /// A share in the tables, which outlives the pin.
    fn share(&self) -> Arc<Tables> {
        let tables = self.tables.as_ptr().cast_const();
        // SAFETY: the pointer is one of an `Arc`, of which the engine has, or had within the
        // grace period, a share.
        unsafe {
            Arc::increment_strong_count(tables);
            Arc::from_raw(tables)
        }
    }

    #[inline]
    pub(super) fn get(&self, key: &str) -> Option<&ServiceInfo> {
        let tables = self.tables();
        // SAFETY: the tables were loaded under the guard, after the revision; what is found
        // is borrowed from `self`, which holds the guard.
        unsafe {
            let services = &tables.indexes.services;
            services.get(tables.hash(key), key, self.revision)
        }
    }

    pub(super) fn log(&self) -> &Log {
        &self.engine.log
    }

    pub(super) fn is_of_the_store_of(&self, other: &Pinned<'_>) -> bool {
        Arc::ptr_eq(self.engine, other.engine)
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceInfo> {
        // SAFETY: as in `get`.
        unsafe { self.tables().indexes.services.values(self.revision) }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        // SAFETY: as in `get`.
        unsafe { self.tables().indexes.names.keys(self.revision) }
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &str> {
        // SAFETY: as in `get`.
        unsafe { self.tables().indexes.groups.keys(self.revision) }
    }

    pub(super) fn services_by_name<'a>(
        &'a self,
        name: &str,
    ) -> impl Iterator<Item = &'a ServiceInfo> + use<'a> {
        let tables = self.tables();
        // SAFETY: as in `get`.
        let members: Option<&'a Members> = unsafe {
            let names = &tables.indexes.names;
            names.get(tables.hash(name), name, self.revision)
        };
        let pods = members.into_iter().flat_map(Members::iter);
        pods.map(|pod| {
            // SAFETY: the cells of a visible list have not been freed, and the thread of the
            // view, which is borrowed, is pinned.
            let first = unsafe { pod.cell().head().first() };
            // SAFETY: as above.
            first.and_then(|first| unsafe { seek(first, self.revision) })
        })
        .map(registered)
    }

    /// The subscribers of a group, with the numbers of their subscriptions.
    pub(super) fn subscribers<'a>(
        &'a self,
        group: &str,
    ) -> impl Iterator<Item = (u64, &'a ServiceKey)> + use<'a> {
        let tables = self.tables();
        // SAFETY: as in `get`.
        let subscribers: Option<&'a Subscribers> = unsafe {
            let groups = &tables.indexes.groups;
            groups.get(tables.hash(group), group, self.revision)
        };
        subscribers.into_iter().flat_map(Subscribers::numbered)
    }

    pub(super) fn stats(&self) -> StoreStats {
        // SAFETY: as in `get`.
        unsafe { stats_at(&self.tables().generation, self.revision) }
    }
}

/// An iterator that needs no pin any more, and so may go to another thread: it has found
/// everything already.
fn found<T>(items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    items.collect::<Vec<T>>().into_iter()
}

/// What stands in the list of a name is registered.
fn registered(version: Option<&Version<ServiceInfo>>) -> &ServiceInfo {
    let value = version.and_then(Version::value);
    value.expect("a pod that stands under its name is registered")
}

/// How much there is at a revision.
///
/// # Safety
///
/// The thread is pinned.
unsafe fn stats_at(generation: &Generation, revision: u64) -> StoreStats {
    // SAFETY: the caller's.
    let first = unsafe { generation.stats().head().first() };
    // SAFETY: the caller's.
    let seen = first.and_then(|first| unsafe { seek(first, revision) });
    seen.and_then(Version::value).copied().unwrap_or_default()
}

/// A registered reader's view. It needs no pin, goes where it likes, and lives for as
/// long as it likes.
pub(super) struct Registered {
    revision: u64,
    tables: Arc<Tables>,
    place: Registration,
    engine: Arc<Engine>,
}

impl Registered {
    pub(super) fn revision(&self) -> u64 {
        self.tables.closed.unwrap_or(self.revision)
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.tables.closed.is_some()
    }

    pub(super) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(super) fn log(&self) -> &Log {
        &self.engine.log
    }

    pub(super) fn is_of_the_store_of(&self, other: &Registered) -> bool {
        Arc::ptr_eq(&self.engine, &other.engine)
    }

    /// Whether this is the newest state.
    #[inline]
    pub(super) fn is_newest(&self) -> bool {
        // Acquire: pairs with the Release store in `Commit::publish`: who has been told of a
        // commit finds it.
        self.engine.published.load(Acquire) <= self.revision
            // Relaxed: only compared. Tables that this one holds have their address to
            // themselves.
            && std::ptr::eq(self.engine.tables.load(Relaxed), &raw const *self.tables)
    }

    /// Moves on to the newest state.
    #[cold]
    pub(super) fn renew(&mut self) {
        let Registered {
            revision,
            tables,
            place,
            engine,
        } = self;
        let pinned = engine.pin();
        let registrations = &engine.registrations;
        let is_kept = if registrations.is_shared(*place) {
            // The others stay where they are.
            let own = registrations.claim(pinned.revision);
            registrations.release(std::mem::replace(place, own))
        } else {
            registrations.renew(*place, pinned.revision)
        };
        *revision = pinned.revision;
        if pinned.tables.as_ptr().cast_const() != Arc::as_ptr(tables) {
            *tables = pinned.share();
        }
        drop(pinned);
        if is_kept {
            engine.let_go(false);
        }
    }

    #[inline]
    pub(super) fn get(&self, key: &str) -> Option<&ServiceInfo> {
        let hash = self.tables.hash(key);
        self.find(|indexes| &indexes.services, hash, key)
    }

    #[inline]
    fn find<V>(&self, index: fn(&Indexes) -> &Table<V>, hash: u64, key: &str) -> Option<&V> {
        // SAFETY: the revision is registered, and the tables were loaded under the same pin, after it
        // was published (or are those that began with it); all for as long as `self` is
        // borrowed.
        match unsafe { index(&self.tables.indexes).glance(hash, key, self.revision) } {
            Found::Here(value) => value,
            Found::Elsewhere => self.find_in_newest(index, hash, key),
        }
    }

    #[cold]
    fn find_in_newest<V>(
        &self,
        index: fn(&Indexes) -> &Table<V>,
        hash: u64,
        key: &str,
    ) -> Option<&V> {
        let _guard = self.engine.guard();
        // SAFETY: the thread is pinned for as long as the table and the chain are looked
        // at. What is found is visible at a registered revision, and stays.
        unsafe { index(self.tables.generation.newest()).get(hash, key, self.revision) }
    }

    /// Every record. The iterator is pinned for as long as it lives.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceInfo> {
        let _guard = self.engine.guard();
        // SAFETY: the thread is pinned until all have been found, and what is found is
        // visible at a registered revision. All of that stands in the newest layout.
        let newest = unsafe { self.tables.generation.newest() };
        // SAFETY: as above.
        let services = unsafe { newest.services.values(self.revision) };
        found(services)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let _guard = self.engine.guard();
        // SAFETY: as in `services`.
        let newest = unsafe { self.tables.generation.newest() };
        // SAFETY: as above.
        found(unsafe { newest.names.keys(self.revision) })
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &str> {
        let _guard = self.engine.guard();
        // SAFETY: as in `services`.
        let newest = unsafe { self.tables.generation.newest() };
        // SAFETY: as above.
        found(unsafe { newest.groups.keys(self.revision) })
    }

    pub(super) fn services_by_name<'a>(
        &'a self,
        name: &str,
    ) -> impl Iterator<Item = &'a ServiceInfo> + use<'a> {
        let hash = self.tables.hash(name);
        let members = self.find(|indexes| &indexes.names, hash, name);
        let pods = members.into_iter().flat_map(Members::iter);
        pods.map(|pod| {
            // SAFETY: the list is visible at the registered revision, and so its pods are
            // registered at it, and their cells have not been freed.
            let head = unsafe { pod.cell() }.head();
            // SAFETY: the revision is registered, and the cell visible at it.
            match unsafe { head.glance(&head.load(), self.revision) } {
                Glance::Seen(version) => registered(Some(version)),
                Glance::Gone => registered(None),
                Glance::Newer => {
                    let _guard = self.engine.guard();
                    // SAFETY: the thread is pinned.
                    let first = unsafe { head.first() };
                    // SAFETY: as above; what is found is visible at a registered revision.
                    registered(first.and_then(|first| unsafe { seek(first, self.revision) }))
                }
            }
        })
    }

    /// The subscribers of a group, with the numbers of their subscriptions.
    pub(super) fn subscribers<'a>(
        &'a self,
        group: &str,
    ) -> impl Iterator<Item = (u64, &'a ServiceKey)> + use<'a> {
        let hash = self.tables.hash(group);
        let subscribers = self.find(|indexes| &indexes.groups, hash, group);
        subscribers.into_iter().flat_map(Subscribers::numbered)
    }

    pub(super) fn stats(&self) -> StoreStats {
        let _guard = self.engine.guard();
        // SAFETY: the thread is pinned.
        unsafe { stats_at(&self.tables.generation, self.revision) }
    }
}

impl Clone for Registered {
    fn clone(&self) -> Registered {
        self.engine.registrations.share(self.place);
        Registered {
            tables: self.tables.clone(),
            engine: self.engine.clone(),
            ..*self
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if has_failed() {
            return;
        }
        if self.engine.registrations.release(self.place) {
            self.engine.let_go(true);
        }
        self.engine.come_by();
    }
}
