//! What readers and writers share.

use std::ptr;
use std::sync::atomic::AtomicUsize as PlainUsize;
use std::sync::{Arc, Mutex as PlainMutex, MutexGuard as PlainGuard, PoisonError, TryLockError};

use super::cell::Key;
use super::departed::Departed;
use super::panics;
use super::registrations::Registrations;
use super::replaced::Stash;
use super::tables::{Map, MapTable, Tables};
use super::writer::Writer;
use crate::reclaim::{Awaited, Domain, Guard};
use crate::sync::Mutex;
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize};

thread_local! {
    /// Its address identifies the thread. It has no destructor, so it exists until the thread has
    /// ended.
    static THREAD: u8 = const { 0 };
}

fn this_thread() -> usize {
    THREAD.with(|thread| ptr::from_ref(thread).addr())
}

/// While this exists, its thread has the turn and runs a caller's `Eq`.
pub(super) struct Comparing<'e>(&'e PlainUsize);

impl Drop for Comparing<'_> {
    #[inline]
    fn drop(&mut self) {
        // Relaxed: as in `Engine::is_comparing`.
        self.0.store(0, Relaxed);
    }
}

/// Whether a model has failed: then its locks and atomics cannot be used any more.
pub(super) fn has_failed() -> bool {
    cfg!(loom) && std::thread::panicking()
}

/// The data of an engine's owner. All threads share it, except the
/// [`WriterState`](Self::WriterState).
pub trait Owner: Send + Sync + 'static {
    /// Data that only the holder of the turn uses.
    type WriterState: Default + Send;

    /// Returns the number of items that the owner holds in addition to keys. While the number of
    /// keys and items falls, fewer old versions may wait to be freed.
    fn other_items(_: &Self::WriterState) -> usize {
        0
    }
}

impl Owner for () {
    type WriterState = ();
}

/// The state of all maps of a domain, shared by readers and writers.
///
/// The fields that every reader loads come first, on a line without the counts of the `Arc`, and
/// without what only the writer uses.
#[repr(C, align(128))]
pub struct Engine<O: Owner> {
    /// The newest revision that readers may see.
    pub(super) published: AtomicU64,
    /// The newest tables, as a pointer from [`Arc::into_raw`].
    pub(super) tables: AtomicPtr<Tables>,
    domain: Domain,
    /// Set when a reading thread should reclaim, perhaps once a certain reader has left.
    pub(super) awaited: Awaited,
    owner: O,
    pub(super) registrations: Registrations,
    /// Spares from threads that free memory, until the writer takes them.
    stash: PlainMutex<Stash>,
    /// Revisions that departed snapshots leave here for the writer.
    pub(super) departed: Departed,
    /// The number of handles that can read the newest state: owners, maps and reader handles.
    pub(super) handles: AtomicUsize,
    /// The thread that has the turn and runs a caller's `Eq`; 0 if none does.
    comparing: PlainUsize,
    pub(super) writer: Mutex<Writer<O::WriterState>>,
}

// Models have larger atomics.
#[cfg(not(any(loom, shuttle)))]
const _: () = {
    assert!(align_of::<Engine<()>>() >= 128 && align_of::<Tables>() >= 128);
    assert!(std::mem::offset_of!(Engine<()>, stash) >= 128);
    assert!(std::mem::offset_of!(Engine<()>, registrations) <= 64);
};

impl<O: Owner> Engine<O> {
    /// Creates an engine without maps.
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
            departed: Departed::new(),
            handles: AtomicUsize::new(0),
            comparing: PlainUsize::new(0),
            writer: Mutex::new(Writer::new(domain)),
        }
    }

    /// Creates a map of an engine that is not shared yet. Returns the map's number.
    pub fn add<K, V>(&mut self) -> u32
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
    {
        let writer = self.writer.get_mut();
        let number = writer.unwrap_or_else(PoisonError::into_inner).add_map();
        // SAFETY: `Arc::into_raw` made the pointer, and makes its replacement below.
        let mut tables = unsafe { Arc::from_raw(self.tables.load(Relaxed)) };
        let own = Arc::get_mut(&mut tables).expect("the engine is not shared yet");
        own.set(number, Some(MapTable::new(Map::<K, V>::kind())));
        let tables = Arc::into_raw(tables).cast_mut();
        self.tables = AtomicPtr::new(tables);
        number
    }

    /// Returns the owner's data, which all threads share.
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

    /// Records that this thread, which has the turn, runs a caller's `Eq`.
    #[inline]
    pub(super) fn begin_comparing(&self) -> Comparing<'_> {
        // Relaxed: as in `is_comparing`.
        self.comparing.store(this_thread(), Relaxed);
        Comparing(&self.comparing)
    }

    /// Returns whether this thread has the turn and runs a caller's `Eq` in it. Such a thread must
    /// not wait for the turn: it would wait forever.
    #[inline]
    pub(crate) fn is_comparing(&self) -> bool {
        // Relaxed: a thread compares with its own address, which only it stores.
        self.comparing.load(Relaxed) == this_thread()
    }

    /// Adds a handle.
    pub fn add_handle(&self) {
        // Relaxed: as for a reference count, the caller has a handle already, or the engine is new.
        self.handles.fetch_add(1, Relaxed);
    }

    /// Locks the stash, unless another thread uses it. A panic under its lock leaves it usable.
    pub(super) fn stash(&self) -> Option<PlainGuard<'_, Stash>> {
        match self.stash.try_lock() {
            Ok(stash) => Some(stash),
            Err(TryLockError::Poisoned(stash)) => Some(stash.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl<O: Owner> Drop for Engine<O> {
    fn drop(&mut self) {
        if cfg!(loom) {
            // To the model checker, the reference counts of the standard library order nothing. So
            // a model leaks the engine's contents.
            return;
        }
        let writer = self
            .writer
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        // SAFETY: `Arc::into_raw` made the pointer, and no other thread can load it any more.
        let tables = unsafe { Arc::from_raw(self.tables.load(Relaxed)) };
        for (map, of_map) in tables.all() {
            of_map.generation.adopt(writer.forget(map).into_iter());
        }
        let garbage: Vec<_> = writer.reclaimer.drain().collect();
        let free_garbage = || {
            // SAFETY: no reader can be pinned in this engine any more.
            panics::all(garbage.into_iter(), |garbage| unsafe { garbage.free(None) });
        };
        panics::both(free_garbage, || drop(tables));
    }
}
