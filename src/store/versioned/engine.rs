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
//! A **pinned** reader pins the epoch, loads `published`, then the tables, and takes
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
//! 1. no registered reader is in between, by a scan that was made when the next one was
//!    published: who registers later is not older than the scan;
//! 2. a *grace period* has passed since the next one was published: whoever was pinned
//!    then has left, and who was pinned later has loaded a later revision. The writer
//!    learns of it by a function that it hands to the epoch, which notes the revision in
//!    `passed`.
//!
//! Then it is unlinked, and handed to the epoch to be freed after another grace period,
//! because who follows the chain to an older version may be on it. A version that a
//! registered reader needs is *kept*, under the oldest revision that needs it, and looked
//! at again when that one is registered no more: what a snapshot keeps is what it can
//! see, however much is written meanwhile.
//!
//! A key whose only version says that it is not there is *removed*: its slot dies, and
//! the cell is treated as one more version, which ends now.
//!
//! All of this is done every few commits, by the writer, for as many versions as have
//! been replaced since. `clear` and `close` put new tables in the place of the old ones,
//! which go, with all that is in them, with their last reader.
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
//! - Whatever only the writer asks for (links to newer versions, places, cells of slots)
//!   is read and written under the commit lock, with relaxed operations.
//!
//! The model checker runs this file, see `models` in [`super`].

use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex as PlainMutex, PoisonError};

use super::chain::{Cell, Glance, Head, Version, seek, unlink, version};
use super::lists::{Members, Pod, Subscribers, Subscriptions};
use super::registrations::{Registration, Registrations};
use super::table::{Found, Table};
use crate::hash::RandomState;
use crate::service::{ServiceInfo, ServiceKey};
use crate::store::StoreStats;
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize};
use crate::sync::epoch::{Epoch, Guard};
use crate::sync::{Mutex, MutexGuard};

/// After how many replaced versions the writer looks what can go.
#[cfg(not(loom))]
const OFTEN: usize = 64;
#[cfg(loom)]
const OFTEN: usize = 1;

/// How often the epoch is asked to go on each time: two steps are a grace period, where
/// nobody is pinned for long.
const FLUSHES: usize = 2;

/// How many of them it looks at, at most, for each that has come.
const SHARE: usize = 4;

/// How often the epoch is asked to go on, so that two grace periods pass where nobody is
/// pinned.
#[cfg(not(loom))]
const STEPS: usize = 8;
#[cfg(loom)]
const STEPS: usize = 2;

/// What a model breaks on purpose, to see that loom finds out.
#[cfg(all(test, loom))]
#[derive(Clone, Copy, PartialEq, Eq)]
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
    /// A snapshot does not look whether it was overlooked,
    Unconfirmed,
    /// or the pruner looks at no snapshot.
    Overlooked,
    /// A slot dies when its key is deleted.
    KilledAtOnce,
}

/// Whether an engine is this twin. Outside of models none is.
macro_rules! is_twin {
    ($engine:expr, $twin:ident) => {{
        #[cfg(all(test, loom))]
        let is = $engine.twin == Twin::$twin;
        #[cfg(not(all(test, loom)))]
        let is = false;
        is
    }};
}

/// Whether a model has failed: its locks and atomics cannot be used any more.
fn has_failed() -> bool {
    cfg!(loom) && std::thread::panicking()
}

/// The three indexes of one layout.
pub(super) struct Indexes {
    services: Table<ServiceInfo>,
    names: Table<Members>,
    groups: Table<Subscribers>,
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

/// What a reader starts from.
pub(super) struct Tables {
    indexes: Indexes,
    hasher: RandomState,
    /// The revision that these tables began with: `clear` makes new ones.
    since: u64,
    /// Whether the store is closed, and the last revision that it had.
    closed: Option<u64>,
    generation: Arc<Generation>,
}

/// All that was written from one `clear` to the next; owns it, and frees it with the
/// last of its tables.
struct Generation {
    /// The newest layout; a `Box`.
    newest: AtomicPtr<Indexes>,
    stats: NonNull<Cell<StoreStats>>,
    /// What has been removed, and was not freed when this generation ended.
    orphans: PlainMutex<Garbage>,
}

impl Tables {
    fn new(since: u64, closed: Option<u64>) -> Tables {
        let indexes = Indexes {
            services: Table::with_room(0),
            names: Table::with_room(0),
            groups: Table::with_room(0),
        };
        let stats = Cell::new("", 0);
        let nothing = Some(StoreStats::default());
        let first = Version::new(since, nothing, stats, std::ptr::null_mut());
        // SAFETY: it was made just now.
        let head = unsafe { stats.as_ref() }.head();
        head.push(Box::into_raw(first), since);
        Tables {
            hasher: RandomState::default(),
            since,
            closed,
            generation: Arc::new(Generation {
                newest: AtomicPtr::new(Box::into_raw(Box::new(indexes.clone()))),
                stats,
                orphans: PlainMutex::default(),
            }),
            indexes,
        }
    }

    #[inline]
    fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }
}

// SAFETY: it owns what its pointers lead to, which threads may share.
unsafe impl Send for Generation {}
// SAFETY: as above.
unsafe impl Sync for Generation {}

impl Generation {
    /// The cell of how much there is.
    fn stats(&self) -> &Cell<StoreStats> {
        // SAFETY: it is freed with the generation.
        unsafe { self.stats.as_ref() }
    }

    /// Takes over what has been removed, to free it in the end.
    fn adopt(&self, removed: Vec<Old>) {
        let orphans = self.orphans.lock();
        let mut orphans = orphans.unwrap_or_else(PoisonError::into_inner);
        orphans.old.extend(removed);
    }

    /// The newest layout.
    ///
    /// # Safety
    ///
    /// The thread is pinned, for as long as `'a`.
    unsafe fn newest<'a>(&self) -> &'a Indexes {
        // Acquire: pairs with the Release in `Commit::replace`.
        // SAFETY: a layout is freed a grace period after it was replaced.
        unsafe { &*self.newest.load(Acquire) }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if has_failed() {
            return;
        }
        /// Frees the chains of a table, and its cells.
        fn free<V>(table: &Table<V>) {
            for (_, slot) in table.slots() {
                // SAFETY: nobody else is left who could come to it.
                if let Some(first) = unsafe { slot.first() } {
                    let cell = first.cell;
                    // SAFETY: as above.
                    unsafe { free_chain(&slot) };
                    // SAFETY: as above; its chain is gone.
                    unsafe { Cell::free(cell) };
                }
            }
        }
        // SAFETY: as above; it was made by `Box::into_raw`, and replaced only by others of
        // the kind.
        let indexes = unsafe { Box::from_raw(self.newest.load(Relaxed)) };
        free(&indexes.services);
        free(&indexes.names);
        free(&indexes.groups);
        // SAFETY: as above.
        unsafe {
            free_chain(&self.stats.as_ref().head());
            Cell::free(self.stats);
        }
    }
}

/// Frees all versions of a chain.
///
/// # Safety
///
/// Nobody can come to them any more.
unsafe fn free_chain<V>(head: &Head<'_, V>) {
    let mut at = head.newest();
    while !at.is_null() {
        // SAFETY: the caller's; the versions of a chain are boxes.
        let version = unsafe { Box::from_raw(at) };
        at = version.previous.load(Relaxed);
    }
}

/// A version that has been replaced, or a cell that has been removed.
pub(super) enum Old {
    Service(OldVersion<ServiceInfo>),
    Name(OldVersion<Members>),
    Group(OldVersion<Subscribers>),
    Stats(OldVersion<StoreStats>),
}

pub(super) struct OldVersion<V> {
    version: NonNull<Version<V>>,
    /// Visible up to this revision, exclusively.
    until: u64,
    /// Whether it is the last one of a cell that has left its table.
    removed: bool,
}

// SAFETY: it stands for the version, and the cell, that it will free.
unsafe impl<V: Send + Sync> Send for OldVersion<V> {}

impl<V> OldVersion<V> {
    fn version(&self) -> &Version<V> {
        // SAFETY: it is freed by this, and not before.
        unsafe { self.version.as_ref() }
    }
}

impl Old {
    /// The revisions at which it is visible.
    fn visible(&self) -> std::ops::Range<u64> {
        match self {
            Old::Service(old) => old.version().revision..old.until,
            Old::Name(old) => old.version().revision..old.until,
            Old::Group(old) => old.version().revision..old.until,
            Old::Stats(old) => old.version().revision..old.until,
        }
    }

    fn is_removed(&self) -> bool {
        match self {
            Old::Service(old) => old.removed,
            Old::Name(old) => old.removed,
            Old::Group(old) => old.removed,
            Old::Stats(old) => old.removed,
        }
    }

    /// Frees it, or leaves the memory of a service's version to be used again.
    ///
    /// # Safety
    ///
    /// It has been unlinked, or removed, and nobody can come to it any more.
    #[cfg(not(loom))]
    unsafe fn free(self, spares: &mut Vec<Spare>) {
        #[allow(clippy::unnecessary_box_returns)] // its memory is used again
        unsafe fn take<V>(old: &OldVersion<V>) -> Spare<V> {
            // SAFETY: the caller's; versions are boxes.
            let mut version = unsafe { Box::from_raw(old.version.as_ptr()) };
            version.value = None;
            if old.removed {
                // SAFETY: as above, and this was its last version.
                unsafe { Cell::free(version.cell) };
            }
            version
        }
        match &self {
            // SAFETY: the caller's, in all four.
            Old::Service(old) => spares.push(unsafe { take(old) }),
            // SAFETY: as above.
            Old::Name(old) => drop(unsafe { take(old) }),
            // SAFETY: as above.
            Old::Group(old) => drop(unsafe { take(old) }),
            // SAFETY: as above.
            Old::Stats(old) => drop(unsafe { take(old) }),
        }
    }

    /// Leaves it where it is, so that the model sees who comes to it.
    #[cfg(loom)]
    unsafe fn free(self, _: &mut Vec<Spare>) {
        let freed = match &self {
            Old::Service(old) => &old.version().freed,
            Old::Name(old) => &old.version().freed,
            Old::Group(old) => &old.version().freed,
            Old::Stats(old) => &old.version().freed,
        };
        freed.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// The memory of a version, to be used again: a writer that frees scattered memory, and
/// asks the allocator for as much, would touch cold memory each time.
type Spare<V = ServiceInfo> = Box<Version<V>>;

/// How many spares are kept of what is freed.
const SPARES: usize = 2 * OFTEN;

/// How many spares are made while the store grows.
const STOCK: usize = 8 * OFTEN;

/// Spares that come from whoever frees, until the writer takes them.
type Spares = PlainMutex<Vec<Spare>>;

/// What nobody can come to once a grace period has passed.
#[derive(Default)]
struct Garbage {
    old: Vec<Old>,
    /// Where spares go.
    spares: Option<Arc<Spares>>,
}

impl Drop for Garbage {
    fn drop(&mut self) {
        let mut freed = Vec::new();
        for old in self.old.drain(..) {
            // SAFETY: who makes a `Garbage` of it hands it to the epoch, or is the last.
            unsafe { old.free(&mut freed) };
        }
        if let Some(spares) = &self.spares {
            let mut spares = spares.lock().unwrap_or_else(PoisonError::into_inner);
            let room = SPARES.saturating_sub(spares.len());
            spares.extend(freed.drain(..room.min(freed.len())));
        }
    }
}

/// The store's state, shared by its readers and writers.
pub(super) struct Engine {
    /// The newest revision that readers may see.
    published: AtomicU64,
    /// The newest tables; an `Arc`.
    tables: AtomicPtr<Tables>,
    registrations: Registrations,
    epoch: Epoch,
    /// No pinned reader has an older revision than this any more.
    passed: Arc<AtomicU64>,
    /// Whether versions are kept for snapshots.
    keeps: AtomicBool,
    /// How many there are, the store and its reader handles, who may ask for the newest
    /// state.
    askers: AtomicUsize,
    spares: Arc<Spares>,
    writer: Mutex<Writer>,
    #[cfg(all(test, loom))]
    twin: Twin,
}

// SAFETY: what the pointers lead to is shared and sent as this file says.
unsafe impl Send for Engine {}
// SAFETY: as above.
unsafe impl Sync for Engine {}

/// What only the writer has.
#[derive(Default)]
pub(super) struct Writer {
    /// The revision that is published.
    revision: u64,
    /// Whether something has been written that is not published yet.
    dirty: bool,
    closed: bool,
    stats: StoreStats,
    /// Whether these are others than the published ones.
    counted: bool,
    services: Usage,
    names: Usage,
    groups: Usage,
    /// Versions that have been replaced, in that order.
    replaced: VecDeque<Old>,
    /// Versions that snapshots need, by the oldest such revision.
    kept: BTreeMap<u64, Vec<Old>>,
    /// How many have been replaced since it was last looked what can go.
    since_tidy: usize,
    /// The revision of which the epoch was asked last to tell when it has passed.
    asked: u64,
    spares: Vec<Spare>,
    subscriptions: Subscriptions,
}

impl Writer {
    /// Forgets all versions that have been replaced; answers with those that no chain has
    /// any more.
    fn forget_old(&mut self) -> Vec<Old> {
        let kept = std::mem::take(&mut self.kept).into_values().flatten();
        let old = self.replaced.drain(..).chain(kept);
        old.filter(Old::is_removed).collect()
    }
}

/// How full a table is.
#[derive(Clone, Copy, Default)]
pub(super) struct Usage {
    /// Slots that are taken or dead.
    used: usize,
    /// Slots that are taken.
    live: usize,
}

impl Engine {
    pub(super) fn new() -> Engine {
        Engine {
            published: AtomicU64::new(0),
            tables: AtomicPtr::new(Arc::into_raw(Arc::new(Tables::new(0, None))).cast_mut()),
            registrations: Registrations::new(),
            epoch: Epoch::new(),
            passed: Arc::new(AtomicU64::new(0)),
            keeps: AtomicBool::new(false),
            askers: AtomicUsize::new(0),
            spares: Arc::default(),
            writer: Mutex::new(Writer::default()),
            #[cfg(all(test, loom))]
            twin: Twin::None,
        }
    }

    #[cfg(all(test, loom))]
    pub(super) fn with(twin: Twin) -> Arc<Engine> {
        let engine = Engine {
            twin,
            ..Engine::new()
        };
        engine.enter();
        Arc::new(engine)
    }

    /// The newest state, for as long as the thread stays pinned.
    #[inline]
    pub(super) fn pin(&self) -> Pinned<'_> {
        let guard = self.epoch.pin();
        // Acquire: pairs with the Release store in `Commit::publish`. It comes before the
        // tables are loaded, so that these have all that was published.
        let mut published = self.published.load(Acquire);
        // Acquire: pairs with the Release swap in `Commit::set_tables`.
        let tables = NonNull::new(self.tables.load(Acquire)).expect("there are always tables");
        if is_twin!(self, TablesFirst) {
            published = self.published.load(Acquire);
        }
        // SAFETY: tables are freed a grace period after they were replaced.
        let since = unsafe { tables.as_ref() }.since;
        Pinned {
            _guard: guard,
            tables,
            // New tables may be seen before their revision is published.
            revision: published.max(since),
            engine: PhantomData,
        }
    }

    /// The newest state, for as long as it is registered. Lock-free: it is tried again
    /// only when a commit was published meanwhile.
    pub(super) fn register(self: &Arc<Engine>) -> Registered {
        let pinned = self.pin();
        let place = self.registrations.claim(pinned.revision);
        let mut registered = Registered {
            revision: pinned.revision,
            tables: pinned.share(),
            place,
            engine: self.clone(),
        };
        drop(pinned);
        if !is_twin!(self, Unconfirmed)
            && !Registrations::confirm(registered.revision, &self.published)
        {
            registered.renew();
        }
        registered
    }

    /// The right to write, when its turn comes.
    pub(super) fn commit(self: &Arc<Engine>) -> Commit<'_> {
        // No code of a caller runs under this lock.
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        Commit::new(self, writer)
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
            let mut commit = self.commit();
            let closed = (!commit.is_closed()).then(|| commit.close());
            drop(commit);
            drop(closed);
        }
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

    /// Frees what can be freed, now that there may be no commit that would. As many steps
    /// as it takes where nobody is pinned: one grace period until what was replaced can be
    /// unlinked, and another one until it can be freed.
    fn tidy_up(self: &Arc<Engine>) {
        for _ in 0..STEPS {
            self.let_go();
            self.epoch.pin().flush();
        }
        self.tidy_up_later();
    }

    /// Has the epoch see to what is left, when whoever is pinned has gone.
    fn tidy_up_later(self: &Arc<Engine>) {
        let is_done = |writer: MutexGuard<'_, Writer>| {
            let next = writer.replaced.front();
            // What ends with the next commit waits for it.
            next.is_none_or(|old| old.visible().end > writer.revision)
        };
        if self.writer.try_lock().is_ok_and(is_done) {
            return;
        }
        let engine = Arc::downgrade(self);
        let guard = self.epoch.pin();
        guard.defer(move || {
            if let Some(engine) = engine.upgrade() {
                engine.let_go();
                engine.tidy_up_later();
            }
        });
        guard.flush();
    }

    /// Frees what only a snapshot that has gone had kept, unless a writer is at work, who
    /// will.
    #[cold]
    fn let_go(self: &Arc<Engine>) {
        if let Ok(writer) = self.writer.try_lock() {
            Commit::new(self, writer).tidy(usize::MAX);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if has_failed() {
            return;
        }
        let writer = self
            .writer
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let removed = writer.forget_old();
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
    engine: PhantomData<&'e Engine>,
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

    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceInfo> {
        // SAFETY: as in `get`.
        unsafe { self.tables().indexes.services.values(self.revision) }
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
            // SAFETY: the cells of a visible list have not been freed, and the thread is
            // pinned.
            let first = unsafe { pod.cell().head().first() };
            // SAFETY: as above.
            first.and_then(|first| unsafe { seek(first, self.revision) })
        })
        .map(registered)
    }

    pub(super) fn subscribers<'a>(
        &'a self,
        group: &str,
    ) -> impl Iterator<Item = &'a ServiceKey> + use<'a> {
        let tables = self.tables();
        // SAFETY: as in `get`.
        let subscribers: Option<&'a Subscribers> = unsafe {
            let groups = &tables.indexes.groups;
            groups.get(tables.hash(group), group, self.revision)
        };
        subscribers.into_iter().flat_map(Subscribers::iter)
    }

    pub(super) fn stats(&self) -> StoreStats {
        // SAFETY: as in `get`.
        unsafe { stats_at(&self.tables().generation, self.revision) }
    }
}

/// What stands in the list of a name is registered.
fn registered(version: Option<&Version<ServiceInfo>>) -> &ServiceInfo {
    let value = version.and_then(|version| version.value.as_ref());
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
    seen.and_then(|version| version.value).unwrap_or_default()
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
        if engine.registrations.is_shared(*place) {
            // The others stay where they are.
            let own = engine.registrations.claim(*revision);
            engine.registrations.release(std::mem::replace(place, own));
        }
        loop {
            let pinned = engine.pin();
            *revision = pinned.revision;
            engine.registrations.renew(*place, *revision);
            if Registrations::confirm(*revision, &engine.published) {
                if pinned.tables.as_ptr().cast_const() != Arc::as_ptr(tables) {
                    *tables = pinned.share();
                }
                break;
            }
        }
        engine.released();
    }

    #[inline]
    pub(super) fn get(&self, key: &str) -> Option<&ServiceInfo> {
        let hash = self.tables.hash(key);
        self.find(|indexes| &indexes.services, hash, key)
    }

    #[inline]
    fn find<V>(&self, index: fn(&Indexes) -> &Table<V>, hash: u64, key: &str) -> Option<&V> {
        // SAFETY: the revision is registered, and confirmed before the tables were shared
        // for good; both for as long as `self` is borrowed.
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
        let _guard = self.engine.epoch.pin();
        // SAFETY: the thread is pinned for as long as the table and the chain are looked
        // at. What is found is visible at a registered revision, and stays.
        unsafe { index(self.tables.generation.newest()).get(hash, key, self.revision) }
    }

    /// Every record. The iterator is pinned for as long as it lives.
    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceInfo> {
        let guard = self.engine.epoch.pin();
        // SAFETY: the thread is pinned for as long as the iterator lives, which has the
        // guard. All that is visible at a registered revision stands in the newest layout.
        let newest = unsafe { self.tables.generation.newest() };
        // SAFETY: as above.
        let services = unsafe { newest.services.values(self.revision) };
        services.inspect(move |_| {
            let _ = &guard;
        })
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
                    let _guard = self.engine.epoch.pin();
                    // SAFETY: the thread is pinned.
                    let first = unsafe { head.first() };
                    // SAFETY: as above; what is found is visible at a registered revision.
                    registered(first.and_then(|first| unsafe { seek(first, self.revision) }))
                }
            }
        })
    }

    pub(super) fn subscribers<'a>(
        &'a self,
        group: &str,
    ) -> impl Iterator<Item = &'a ServiceKey> + use<'a> {
        let hash = self.tables.hash(group);
        let subscribers = self.find(|indexes| &indexes.groups, hash, group);
        subscribers.into_iter().flat_map(Subscribers::iter)
    }

    pub(super) fn stats(&self) -> StoreStats {
        let _guard = self.engine.epoch.pin();
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
        self.engine.registrations.release(self.place);
        self.engine.released();
    }
}

impl Engine {
    /// A revision is registered no more.
    fn released(self: &Arc<Engine>) {
        // Relaxed: where it is overlooked, the next commit sees to it.
        if self.keeps.load(std::sync::atomic::Ordering::Relaxed) {
            self.let_go();
        }
    }
}

/// An index, as the writer knows it.
pub(super) trait Index<V> {
    fn table(indexes: &Indexes) -> &Table<V>;
    fn table_mut(indexes: &mut Indexes) -> &mut Table<V>;
    fn usage(writer: &mut Writer) -> &mut Usage;
    fn old(version: OldVersion<V>) -> Old;
    /// A spare version.
    fn spare(writer: &mut Writer) -> Option<Box<Version<V>>>;
}

/// The three of them.
pub(super) struct Services;
pub(super) struct Names;
pub(super) struct Groups;

macro_rules! index {
    ($index:ident, $value:ty, $field:ident, $old:ident, $spare:expr) => {
        impl Index<$value> for $index {
            fn table(indexes: &Indexes) -> &Table<$value> {
                &indexes.$field
            }
            fn table_mut(indexes: &mut Indexes) -> &mut Table<$value> {
                &mut indexes.$field
            }
            fn usage(writer: &mut Writer) -> &mut Usage {
                &mut writer.$field
            }
            fn old(version: OldVersion<$value>) -> Old {
                Old::$old(version)
            }
            #[inline]
            fn spare(writer: &mut Writer) -> Option<Box<Version<$value>>> {
                let spare: fn(&mut Writer) -> Option<Box<Version<$value>>> = $spare;
                spare(writer)
            }
        }
    };
}

index!(Services, ServiceInfo, services, Service, |writer| writer
    .spares
    .pop());
index!(Names, Members, names, Name, |_| None);
index!(Groups, Subscribers, groups, Group, |_| None);

/// The right to write, and what is written until it is published.
pub(super) struct Commit<'e> {
    engine: &'e Arc<Engine>,
    writer: MutexGuard<'e, Writer>,
    /// Dropped after the lock: the epoch may run functions of others.
    left: Leftovers<'e>,
}

/// Where a key stands, or would stand, until something is put into that index.
pub(super) struct Spot<V> {
    hash: u64,
    taken: Option<Taken<V>>,
}

/// A slot, and the newest version there.
struct Taken<V> {
    slot: usize,
    newest: NonNull<Version<V>>,
}

impl<V> Spot<V> {
    fn new(hash: u64, taken: Option<(usize, &Version<V>)>) -> Spot<V> {
        let taken = taken.map(|(slot, newest)| Taken {
            slot,
            newest: NonNull::from(newest),
        });
        Spot { hash, taken }
    }
}

impl<'e> Commit<'e> {
    fn new(engine: &'e Arc<Engine>, writer: MutexGuard<'e, Writer>) -> Commit<'e> {
        Commit {
            engine,
            writer,
            left: Leftovers::new(engine),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.writer.closed
    }

    pub(super) fn stats(&self) -> StoreStats {
        self.writer.stats
    }

    /// Counts services and subscriptions that have come, or gone.
    pub(super) fn count(&mut self, services: isize, subscriptions: isize) {
        let stats = &mut self.writer.stats;
        stats.services = stats.services.wrapping_add_signed(services);
        stats.subscriptions = stats.subscriptions.wrapping_add_signed(subscriptions);
        self.writer.counted = true;
    }

    /// Where a pod of the newest lists stands among those of its name.
    #[allow(clippy::unused_self)] // whoever has a commit is the writer
    pub(super) fn place(&self, pod: Pod) -> usize {
        // SAFETY: this is the writer, and the pod stands in a newest list, or has just been
        // taken out.
        unsafe { pod.cell() }.place.load(Relaxed) as usize
    }

    /// Notes where a pod stands.
    #[allow(clippy::unused_self)] // as above
    pub(super) fn set_place(&mut self, pod: Pod, place: usize) {
        let place = u32::try_from(place).expect("fewer pods than bytes of memory");
        // SAFETY: as in `place`.
        unsafe { pod.cell() }.place.store(place, Relaxed);
    }

    pub(super) fn subscriptions(&mut self) -> &mut Subscriptions {
        &mut self.writer.subscriptions
    }

    fn next(&self) -> u64 {
        self.writer.revision + 1
    }

    fn tables(&self) -> &Tables {
        // Relaxed: the writer put them there.
        // SAFETY: they are replaced by the writer only, who keeps the old ones until the
        // lock is given back.
        unsafe { &*self.engine.tables.load(Relaxed) }
    }

    pub(super) fn spot<I: Index<V>, V>(&self, key: &str) -> Spot<V> {
        let tables = self.tables();
        let hash = tables.hash(key);
        // SAFETY: this is the writer, and the newest table.
        let found = unsafe { I::table(&tables.indexes).find(hash, key) };
        if let Some((_, newest)) = found {
            // Brought into the cache while the keys are compared, because what follows is an
            // atomic addition, which lets nothing overtake it.
            std::hint::black_box(newest.newer.load(Relaxed));
        }
        Spot::new(hash, found)
    }

    /// The newest value there, which may not be published yet.
    #[allow(clippy::unused_self)] // as above
    pub(super) fn newest<V>(&self, spot: &Spot<V>) -> Option<&V> {
        let Taken { newest, .. } = spot.taken.as_ref()?;
        // SAFETY: this is the writer, and nothing has been put there since.
        unsafe { newest.as_ref() }.value.as_ref()
    }

    /// Puts a value there, or that there is none; answers with its cell.
    pub(super) fn put<I: Index<V>, V>(
        &mut self,
        spot: &Spot<V>,
        key: &str,
        value: Option<V>,
    ) -> NonNull<Cell<V>> {
        let revision = self.next();
        self.writer.dirty = true;
        if is_twin!(self.engine, PublishedFirst) {
            self.engine.published.store(revision, Release);
        }
        if let Some(Taken { slot, newest }) = spot.taken {
            // SAFETY: this is the writer, and nothing has been put there since.
            let newest = unsafe { newest.as_ref() };
            let is_last = value.is_none();
            let spare = I::spare(&mut self.writer);
            let (fresh, old) = push(spare, newest, value, revision);
            let table = I::table(&self.tables().indexes);
            table.push(slot, spot.hash, fresh, revision);
            if is_twin!(self.engine, KilledAtOnce) && is_last {
                table.slot(slot).kill();
            }
            self.replaced(I::old(old));
            return newest.cell;
        }
        self.make_room::<I, V>();
        let cell = Cell::new(key, spot.hash);
        let first = Version::new(revision, value, cell, std::ptr::null_mut());
        let first = Box::into_raw(first);
        // SAFETY: it was made just now.
        unsafe { cell.as_ref() }.head().push(first, revision);
        let table = I::table(&self.tables().indexes);
        table.take(spot.hash, first, revision);
        let usage = I::usage(&mut self.writer);
        usage.used += 1;
        usage.live += 1;
        cell
    }

    fn replaced(&mut self, old: Old) {
        self.writer.replaced.push_back(old);
        self.writer.since_tidy += 1;
    }

    fn make_room<I: Index<V>, V>(&mut self) {
        let room = I::table(&self.tables().indexes).room();
        let Usage { used, live } = *I::usage(&mut self.writer);
        if used == room {
            self.lay_out_anew::<I, V>(live + 1);
        }
    }

    /// Gives an index another table, with room for so many keys. O(keys).
    #[cold]
    fn lay_out_anew<I: Index<V>, V>(&mut self, keys: usize) {
        let tables = self.tables();
        let mut indexes = tables.indexes.clone();
        *I::table_mut(&mut indexes) = I::table(&tables.indexes).laid_out_anew(keys);
        let layout = Box::into_raw(Box::new(indexes.clone()));
        // Release: pairs with the Acquire in `Generation::newest`.
        let old = tables.generation.newest.swap(layout, Release);
        let fresh = Tables {
            indexes,
            hasher: tables.hasher.clone(),
            since: tables.since,
            closed: tables.closed,
            generation: tables.generation.clone(),
        };
        // SAFETY: layouts are boxes, and nobody comes to this one any more who is not
        // pinned already.
        self.left.layouts.push(unsafe { Box::from_raw(old) });
        self.set_tables(fresh);
        let usage = I::usage(&mut self.writer);
        usage.used = usage.live;
        self.stock_up();
    }

    /// Makes spares while the store grows, so that writers on many threads, most of whom
    /// have asked the allocator for nothing yet, need not begin to.
    fn stock_up(&mut self) {
        let Writer {
            spares, services, ..
        } = &mut *self.writer;
        let stock = (services.live / 2).min(STOCK);
        let missing = stock.saturating_sub(spares.len());
        spares.extend((0..missing).map(|_| Version::spare()));
    }

    fn set_tables(&mut self, fresh: Tables) {
        let fresh = Arc::into_raw(Arc::new(fresh)).cast_mut();
        // Release: pairs with the Acquire in `Engine::pin`.
        let old = self.engine.tables.swap(fresh, Release);
        // SAFETY: it was made by `Arc::into_raw`, and its share goes from the engine to the
        // leftovers, which keep it for a grace period.
        self.left.tables.push(unsafe { Arc::from_raw(old) });
    }

    /// Publishes what was written, if anything was; answers with the newest revision.
    pub(super) fn publish(&mut self) -> u64 {
        if std::mem::take(&mut self.writer.dirty) {
            let revision = self.next();
            if std::mem::take(&mut self.writer.counted) {
                let head = self.tables().generation.stats().head();
                // SAFETY: this is the writer.
                if let Some(newest) = unsafe { head.first() } {
                    let (_, old) = push(None, newest, Some(self.writer.stats), revision);
                    self.replaced(Old::Stats(old));
                }
            }
            self.writer.revision = revision;
            // Release: pairs with the Acquire loads of `published`. All that was written
            // comes before.
            self.engine.published.store(revision, Release);
            if self.writer.since_tidy >= OFTEN {
                self.tidy(SHARE * OFTEN);
            }
        }
        self.writer.revision
    }

    /// Lets go of everything. What is answered frees it when it is dropped, which is to be
    /// done when the lock has been given back. O(what there is).
    pub(super) fn empty(&mut self) -> Cleared {
        self.writer.dirty = true;
        self.start_anew(None)
    }

    /// Lets go of everything, for good.
    pub(super) fn close(&mut self) -> Cleared {
        let last = self.writer.revision;
        self.writer.closed = true;
        self.writer.dirty = true;
        let cleared = self.start_anew(Some(last));
        self.publish();
        cleared
    }

    fn start_anew(&mut self, closed: Option<u64>) -> Cleared {
        let since = self.next();
        if self.engine.registrations.held().is_empty() {
            self.bury();
            self.writer.counted = false;
            self.writer.services = Usage::default();
            self.writer.names = Usage::default();
            self.writer.groups = Usage::default();
            self.set_tables(Tables::new(since, closed));
        } else {
            // Snapshots keep what they show of this generation, and nothing else.
            self.put_nothing_everywhere::<Services, _>();
            self.put_nothing_everywhere::<Names, _>();
            self.put_nothing_everywhere::<Groups, _>();
            self.writer.counted = true;
            let tables = self.tables();
            let fresh = Tables {
                indexes: tables.indexes.clone(),
                hasher: tables.hasher.clone(),
                since: tables.since,
                closed,
                generation: tables.generation.clone(),
            };
            self.set_tables(fresh);
        }
        self.writer.stats = StoreStats::default();
        Cleared {
            engine: self.engine.clone(),
            _subscriptions: std::mem::take(&mut self.writer.subscriptions),
        }
    }

    fn put_nothing_everywhere<I: Index<V>, V>(&mut self) {
        let table = I::table(&self.tables().indexes).clone();
        for (at, slot) in table.slots() {
            // SAFETY: this is the writer, and the newest table.
            let newest = unsafe { slot.first() }.filter(|newest| newest.value.is_some());
            if let Some(newest) = newest {
                // SAFETY: a cell has not been freed while it stands in the table.
                let hash = unsafe { newest.cell.as_ref() }.hash;
                let spot = Spot::new(hash, Some((at, newest)));
                self.put::<I, V>(&spot, "", None);
            }
        }
    }

    /// Forgets the old versions of the present generation, which owns them.
    fn bury(&mut self) {
        let removed = self.writer.forget_old();
        self.engine.keeps.store(false, Relaxed);
        self.tables().generation.adopt(removed);
    }

    /// Looks which of the versions that have been replaced can go.
    #[cold]
    fn tidy(&mut self, most: usize) {
        self.writer.since_tidy = 0;
        let mut held = self.engine.registrations.held();
        if is_twin!(self.engine, Overlooked) {
            held.clear();
        }
        // Acquire: pairs with the Release in `Leftovers::drop`.
        let mut passed = self.engine.passed.load(Acquire);
        if is_twin!(self.engine, UnlinkedAtOnce) {
            passed = self.writer.revision;
        }
        let Writer { kept, .. } = &mut *self.writer;
        let gone = kept.keys().filter(|&r| held.binary_search(r).is_err());
        for revision in gone.copied().collect::<Vec<u64>>() {
            let group = self.writer.kept.remove(&revision);
            for old in group.into_iter().flatten() {
                self.keep_or_let_go(old, &held);
            }
        }
        for _ in 0..most {
            let next = self.writer.replaced.front();
            // What ends after the scan, or may still be seen by a pinned reader, waits.
            let over = |old: &Old| old.visible().end <= passed.min(self.writer.revision);
            if !next.is_some_and(over) {
                break;
            }
            if let Some(old) = self.writer.replaced.pop_front() {
                self.keep_or_let_go(old, &held);
            }
        }
        if let Ok(mut spares) = self.engine.spares.try_lock() {
            let room = SPARES.saturating_sub(self.writer.spares.len());
            let from = spares.len().saturating_sub(room);
            self.writer.spares.extend(spares.drain(from..));
        }
        let keeps = !self.writer.kept.is_empty();
        self.engine.keeps.store(keeps, Relaxed);
        if passed >= self.writer.asked && self.writer.revision > passed {
            self.writer.asked = self.writer.revision;
            self.left.ask = Some(self.writer.revision);
        }
        self.left.flush = true;
    }

    fn keep_or_let_go(&mut self, old: Old, held: &[u64]) {
        let visible = old.visible();
        let oldest = held.get(held.partition_point(|r| *r < visible.start));
        match oldest.filter(|r| **r < visible.end) {
            Some(r) => self.writer.kept.entry(*r).or_default().push(old),
            None => {
                match &old {
                    Old::Service(old) => self.unlink::<Services, _>(old),
                    Old::Name(old) => self.unlink::<Names, _>(old),
                    Old::Group(old) => self.unlink::<Groups, _>(old),
                    // SAFETY: this is the writer, and it has been replaced.
                    Old::Stats(old) => unsafe { unlink(old.version()) },
                }
                self.left.garbage.push(old);
            }
        }
    }

    fn unlink<I: Index<V>, V>(&mut self, old: &OldVersion<V>) {
        if old.removed {
            return;
        }
        let old = old.version();
        // Relaxed: the writer's own.
        // SAFETY: what has been replaced has a newer one, which is linked.
        let newer = unsafe { version(old.newer.load(Relaxed)) };
        // SAFETY: this is the writer, and it has been replaced.
        unsafe { unlink(old) };
        let is_last = |newer: &&Version<V>| {
            let alone = newer.previous.load(Relaxed).is_null();
            newer.value.is_none() && alone && newer.newer.load(Relaxed).is_null()
        };
        if let Some(last) = newer.filter(is_last) {
            self.remove::<I, V>(last);
        }
    }

    /// Removes a key of which nothing is left but a version that says so.
    fn remove<I: Index<V>, V>(&mut self, last: &Version<V>) {
        if is_twin!(self.engine, KilledAtOnce) {
            return;
        }
        let table = I::table(&self.tables().indexes);
        // SAFETY: this is the writer, and the newest table.
        let Some(slot) = (unsafe { table.slot_of(last.cell) }) else {
            unreachable!("a cell stands in its table until it is removed");
        };
        slot.kill();
        let usage = I::usage(&mut self.writer);
        usage.live -= 1;
        let live = usage.live;
        // A snapshot of the present revision may have found it still.
        let until = self.next();
        self.writer.replaced.push_back(I::old(OldVersion {
            version: NonNull::from(last),
            until,
            removed: true,
        }));
        if I::table(&self.tables().indexes).is_wide(live) {
            self.lay_out_anew::<I, V>(live);
        }
    }
}

/// Puts a version in front of the newest one of a cell, which becomes old.
fn push<V>(
    spare: Option<Box<Version<V>>>,
    newest: &Version<V>,
    value: Option<V>,
    revision: u64,
) -> (*mut Version<V>, OldVersion<V>) {
    // SAFETY: the writer calls this, with a version whose cell stands in its table.
    let cell = unsafe { newest.cell.as_ref() };
    let previous = std::ptr::from_ref(newest).cast_mut();
    let fresh = Box::into_raw(match spare {
        Some(spare) => spare.anew(revision, value, newest.cell, previous),
        None => Version::new(revision, value, newest.cell, previous),
    });
    newest.newer.store(fresh, Relaxed);
    cell.head().push(fresh, revision);
    let old = OldVersion {
        version: NonNull::from(newest),
        until: revision,
        removed: false,
    };
    (fresh, old)
}

/// What is handed to the epoch once the lock has been given back.
struct Leftovers<'e> {
    engine: &'e Engine,
    garbage: Vec<Old>,
    layouts: Vec<Box<Indexes>>,
    tables: Vec<Arc<Tables>>,
    /// The revision of which to tell when a grace period has passed.
    ask: Option<u64>,
    flush: bool,
}

impl<'e> Leftovers<'e> {
    fn new(engine: &'e Engine) -> Leftovers<'e> {
        Leftovers {
            engine,
            garbage: Vec::new(),
            layouts: Vec::new(),
            tables: Vec::new(),
            ask: None,
            flush: false,
        }
    }
}

impl Drop for Leftovers<'_> {
    fn drop(&mut self) {
        if has_failed() || !self.flush && self.tables.is_empty() && self.layouts.is_empty() {
            return;
        }
        let garbage = Garbage {
            old: std::mem::take(&mut self.garbage),
            spares: Some(self.engine.spares.clone()),
        };
        let layouts = std::mem::take(&mut self.layouts);
        let tables = std::mem::take(&mut self.tables);
        let guard = self.engine.epoch.pin();
        let garbage = (!is_twin!(self.engine, FreedAtOnce)).then_some(garbage);
        guard.defer(move || drop((garbage, layouts, tables)));
        if let Some(revision) = self.ask {
            let passed = self.engine.passed.clone();
            guard.defer(move || {
                // Release: pairs with the Acquire in `Commit::tidy`.
                passed.fetch_max(revision, Release);
            });
        }
        guard.flush();
        drop(guard);
        for _ in 1..FLUSHES {
            self.engine.epoch.pin().flush();
        }
    }
}

/// What was cleared. Dropping it frees it at once, unless somebody is still reading it.
pub(super) struct Cleared {
    engine: Arc<Engine>,
    _subscriptions: Subscriptions,
}

impl Drop for Cleared {
    fn drop(&mut self) {
        self.engine.tidy_up();
    }
}
