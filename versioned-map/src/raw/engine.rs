//! What readers and writers share.

use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicUsize as PlainUsize;
use std::sync::{Arc, Mutex as PlainMutex, MutexGuard as PlainGuard, PoisonError, TryLockError};

use super::cell::Key;
use super::old::Stash;
use super::panics;
use super::registrations::Registrations;
use super::tables::{Map, MapTable, Tables};
use super::turn::Turn;
use super::view::{Pinned, Registered};
use super::writer::Writer;
use crate::reclaim::{Awaited, Domain, Guard};
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use crate::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize};
use crate::sync::{Mutex, MutexGuard};
use crate::twin::{self, Twin};

/// Replaced versions between two reclamation passes.
#[cfg(not(any(test, loom)))]
pub(super) const OFTEN: usize = 64;
#[cfg(any(test, loom))]
pub(super) const OFTEN: usize = 3;

/// Replaced versions between two periods' ends. That takes a look at every thread that was ever
/// pinned, and a system call that interrupts those that run.
#[cfg(not(any(test, loom)))]
pub(super) const PERIOD: usize = 1_024;
#[cfg(any(test, loom))]
pub(super) const PERIOD: usize = 2 * OFTEN;

/// Replaced versions that a writer looks at for each that has come, rounded up to a list. In
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

thread_local! {
    /// Its address stands for the thread. Without a destructor, it is there until the thread has ended.
    static THREAD: u8 = const { 0 };
}

fn this_thread() -> usize {
    THREAD.with(|thread| ptr::from_ref(thread).addr())
}

/// While it lives, its thread asks a caller's `Eq`.
pub(super) struct Asking<'e>(&'e PlainUsize);

impl Drop for Asking<'_> {
    #[inline]
    fn drop(&mut self) {
        // Relaxed: as in `Engine::is_asking`.
        self.0.store(0, Relaxed);
    }
}

/// Whether a model has failed: its locks and atomics cannot be used any more.
pub(super) fn has_failed() -> bool {
    cfg!(loom) && std::thread::panicking()
}

/// What the owner of an engine keeps in it, shared by all, and ...
pub trait Owner: Send + Sync + 'static {
    /// ... what it keeps there for whoever has the turn.
    type Books: Default + Send;

    /// How much there is beside keys. Where there is less and less, less may wait to be freed.
    fn others(_: &Self::Books) -> usize {
        0
    }
}

impl Owner for () {
    type Books = ();
}

/// The state of all maps of a domain, shared by readers and writers.
///
/// What every reader loads stands in front, on a line without the counts of its `Arc`, and
/// without what the writer alone uses.
#[repr(C, align(128))]
pub struct Engine<O: Owner> {
    /// The newest revision that readers may see.
    pub(super) published: AtomicU64,
    /// The newest tables; an `Arc`.
    pub(super) tables: AtomicPtr<Tables>,
    domain: Domain,
    /// Set where something is left to do when a reader has left.
    pub(super) awaited: Awaited,
    owner: O,
    pub(super) registrations: Registrations,
    /// What comes from whoever frees, until the writer takes it.
    stash: PlainMutex<Stash>,
    /// How many there are who may ask for the newest state.
    askers: AtomicUsize,
    /// The thread that asks a caller's `Eq` in its turn; 0 where none does.
    asking: PlainUsize,
    writer: Mutex<Writer<O::Books>>,
}

// Models have larger atomics.
#[cfg(not(any(loom, shuttle)))]
const _: () = {
    assert!(align_of::<Engine<()>>() >= 128 && align_of::<Tables>() >= 128);
    assert!(std::mem::offset_of!(Engine<()>, stash) >= 128);
    assert!(std::mem::offset_of!(Engine<()>, registrations) <= 64);
};

impl<O: Owner> Engine<O> {
    /// One without maps.
    pub fn new(owner: O) -> Engine<O> {
        let domain = Domain::new();
        Engine {
            published: AtomicU64::new(0),
            tables: AtomicPtr::new(Arc::into_raw(Arc::new(Tables::new())).cast_mut()),
            domain,
            awaited: Awaited::default(),
            owner,
            registrations: Registrations::new(),
            stash: PlainMutex::default(),
            askers: AtomicUsize::new(0),
            asking: PlainUsize::new(0),
            writer: Mutex::new(Writer::new(domain)),
        }
    }

    /// Makes a map of an engine that nobody knows yet.
    pub fn add<K, V>(&mut self) -> Map<K, V>
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
    {
        let writer = self.writer.get_mut();
        let number = writer.unwrap_or_else(PoisonError::into_inner).add_map();
        // SAFETY: it was made by `Arc::into_raw`, and goes back there.
        let mut tables = unsafe { Arc::from_raw(self.tables.load(Relaxed)) };
        let own = Arc::get_mut(&mut tables).expect("nobody has looked yet");
        own.set(number, Some(MapTable::new(Map::<K, V>::kind())));
        let tables = Arc::into_raw(tables).cast_mut();
        self.tables = AtomicPtr::new(tables);
        // SAFETY: it has just been made, with these types, and numbers are given once.
        unsafe { Map::numbered(number) }
    }

    /// What its owner keeps here.
    #[inline]
    pub fn owner(&self) -> &O {
        &self.owner
    }

    pub(super) fn domain(&self) -> Domain {
        self.domain
    }

    /// Pins the thread.
    #[inline]
    pub(super) fn guard(&self) -> Guard {
        self.domain.pin()
    }

    /// The newest state, for as long as the thread stays pinned.
    #[inline]
    pub fn pin(self: &Arc<Engine<O>>) -> Pinned<'_, O> {
        let guard = self.guard();
        // Acquire: pairs with the Release store in `Turn::publish`. It comes before the
        // tables are loaded, so that these have all that was published.
        let mut published = self.published.load(Acquire);
        // Acquire: pairs with the Release swap in `Turn::set_tables`.
        let tables = NonNull::new(self.tables.load(Acquire)).expect("there are always tables");
        if twin::is(Twin::TablesFirst) {
            published = self.published.load(Acquire);
        }
        // SAFETY: tables are freed a grace period after they were replaced.
        let since = unsafe { tables.as_ref() }.since;
        // New tables may be seen before their revision is published.
        Pinned::new(guard, tables, published.max(since), self)
    }

    /// The newest state, for as long as it is registered.
    pub fn register(self: &Arc<Engine<O>>) -> Registered<O> {
        let pinned = self.pin();
        if twin::is(Twin::RegisteredLate) {
            let (revision, tables) = (pinned.at(), pinned.share());
            drop(pinned);
            let place = self.registrations.claim(revision);
            return Registered::new(revision, tables, place, self.clone());
        }
        // The place is taken before the pin ends: see `registrations`.
        let place = self.registrations.claim(pinned.at());
        Registered::new(pinned.at(), pinned.share(), place, self.clone())
    }

    /// The right to write, when its turn comes.
    #[inline]
    pub fn turn(self: &Arc<Engine<O>>) -> Turn<'_, O> {
        match self.writer.lock() {
            Ok(writer) => Turn::new(self, writer),
            Err(poisoned) => self.turn_after_panic(poisoned.into_inner()),
        }
    }

    /// Notes that this thread, which has the turn, asks a caller's `Eq`.
    #[inline]
    pub(super) fn begin_to_ask(&self) -> Asking<'_> {
        // Relaxed: as in `is_asking`.
        self.asking.store(this_thread(), Relaxed);
        Asking(&self.asking)
    }

    /// Whether this thread has the turn, and a caller's `Eq` runs in it: who waits for the turn then waits
    /// for ever.
    #[inline]
    pub(crate) fn is_asking(&self) -> bool {
        // Relaxed: each thread compares with what it stores itself.
        self.asking.load(Relaxed) == this_thread()
    }

    /// Where somebody has panicked in the middle of a commit, which nothing is known to do, the next
    /// one to take the lock closes everything.
    #[cold]
    #[inline(never)]
    fn turn_after_panic<'e>(
        self: &'e Arc<Engine<O>>,
        writer: MutexGuard<'e, Writer<O::Books>>,
    ) -> Turn<'e, O> {
        #[cfg(not(any(loom, shuttle)))]
        self.writer.clear_poison();
        let mut turn = Turn::new(self, writer);
        turn.recover();
        turn
    }

    /// Notes that there is one more who may ask for the newest state.
    pub fn enter(&self) {
        // Relaxed: as for a reference count, whoever comes is let in by one who is there.
        self.askers.fetch_add(1, Relaxed);
    }

    /// Notes that one of them has gone. With the last one goes what views do not show.
    pub fn leave(self: &Arc<Engine<O>>) {
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

    /// Closes everything, unless it is closed already.
    pub fn close(self: &Arc<Engine<O>>) {
        let mut turn = self.turn();
        let closed = (!turn.is_closed()).then(|| turn.close());
        drop(turn);
        drop(closed);
    }

    /// Notes that whoever commits has gone.
    pub fn abandon(self: &Arc<Engine<O>>) {
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
    pub fn tidy_up(self: &Arc<Engine<O>>) {
        for _ in 0..STEPS {
            let Some(mut turn) = self.try_turn_or_leave() else {
                break;
            };
            turn.empty_out();
            turn.tidy(usize::MAX, true);
            if turn.is_tidy() {
                break;
            }
        }
    }

    /// Sees to what is left, if that can be done now, at the expense of whoever lets go of a view.
    #[inline]
    pub fn come_by(self: &Arc<Engine<O>>) {
        if self.awaited.is_due() && !has_failed() {
            self.go_on();
        }
    }

    /// Whether whoever comes by is to see to something.
    pub fn is_called(&self) -> bool {
        self.awaited.is_due()
    }

    /// Frees a part of what can be freed. If somebody has the lock, they or the next ones do.
    #[cold]
    fn go_on(self: &Arc<Engine<O>>) {
        if let Some(mut turn) = self.try_turn() {
            turn.note_visit();
            turn.tidy(LARGE, true);
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
    fn try_turn(self: &Arc<Engine<O>>) -> Option<Turn<'_, O>> {
        match self.writer.try_lock() {
            Ok(writer) => Some(Turn::new(self, writer)),
            Err(TryLockError::Poisoned(writer)) => Some(self.turn_after_panic(writer.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The right to write, if nobody has it; otherwise whoever comes by sees to what was to be
    /// done.
    fn try_turn_or_leave(self: &Arc<Engine<O>>) -> Option<Turn<'_, O>> {
        let turn = self.try_turn();
        if turn.is_none() {
            self.awaited.call();
        }
        turn
    }

    /// Lets go of what only a snapshot had kept that has been registered no more. It goes at once
    /// where this may be the last look for a while, and otherwise when the period ends.
    #[cold]
    pub(super) fn let_go(self: &Arc<Engine<O>>, is_last: bool) {
        if let Some(mut turn) = self.try_turn_or_leave() {
            turn.tidy(0, false);
            if is_last {
                turn.tidy(LARGE, true);
            }
        }
    }
}

impl<O: Owner> Drop for Engine<O> {
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
        // SAFETY: it was made by `Arc::into_raw`, and nobody else can load it any more.
        let tables = unsafe { Arc::from_raw(self.tables.load(Relaxed)) };
        for (map, of_map) in tables.all() {
            of_map.generation.adopt(writer.forget(map).into_iter());
        }
        let garbage: Vec<_> = writer.reclaimer.drain().collect();
        let free_garbage = || {
            // SAFETY: nobody is left who could be pinned.
            panics::all(garbage.into_iter(), |garbage| unsafe { garbage.free(None) });
        };
        panics::both(free_garbage, || drop(tables));
    }
}
