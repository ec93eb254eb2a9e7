//! The writer's turn: puts versions and publishes them.
//!
//! A processor forwards a store to a later load only if a single store wrote all bytes that the
//! load reads. Otherwise the load waits for memory. So a turn is used in place and never moved, and
//! the queue has room before a replaced version is pushed. (At 1,000 records this took an update
//! from 90 ns to 67: a throw-away program, 2026-11-29.)

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::{Arc, TryLockError};

use equivalent::Equivalent;

use super::cell::{Cell, Key};
use super::engine::{Engine, Owner, has_failed};
use super::garbage::Garbage;
use super::kind::{self, Kind, Shape};
use super::leftovers::Leftovers;
use super::limits::{LARGE_COMMIT, PASS_INTERVAL};
use super::replaced::Replaced;
use super::spares::Memory;
use super::table::{Table, Taken};
use super::tables::{Hasher, Map, MapTable, Tables};
use super::version::Version;
use super::writer::Writer;
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use crate::twin::{self, Twin};

/// The writer's lock, and the work that this turn has done or left.
pub struct Turn<'e, O: Owner> {
    pub(super) engine: &'e Arc<Engine<O>>,
    pub(super) writer: MutexGuard<'e, Writer<O::WriterState>>,
    /// The number of versions that this turn has replaced, and of keys that it has removed.
    pub(super) size: usize,
    /// Whether something waits for another scan of all snapshots, which is not allowed yet.
    pub(super) is_deferred: bool,
    /// Freed after the lock has been released.
    pub(super) leftovers: Leftovers<'e, O>,
}

/// A key's slot in the newest table of its map, if it has one.
#[derive(Clone, Copy)]
pub struct Position {
    pub(super) hash: u64,
    pub(super) taken: Option<Taken>,
}

impl Position {
    /// Returns the address of the key's newest version, if that has a value.
    #[inline]
    pub(crate) fn version(self) -> Option<NonNull<()>> {
        let newest = self.taken.as_ref()?.newest;
        // SAFETY: the version was found in this turn, in the newest table, whose heads lead to no
        // freed version.
        let has_value = unsafe { newest.as_ref() }.has_value();
        has_value.then_some(newest.cast())
    }

    /// Returns whether the key has no slot in the table.
    pub(crate) fn is_vacant(self) -> bool {
        self.taken.is_none()
    }
}

impl<O: Owner> Engine<O> {
    /// Takes the turn. Waits for other writers.
    #[inline]
    pub fn turn(self: &Arc<Engine<O>>) -> Turn<'_, O> {
        match self.writer.lock() {
            Ok(writer) => Turn::new(self, writer),
            Err(poisoned) => self.turn_after_panic(poisoned.into_inner()),
        }
    }

    /// Takes the turn after a writer has panicked during its turn. Closes everything, unless the
    /// panic came from a caller's `Eq`. Nothing else is known to panic there.
    #[cold]
    #[inline(never)]
    fn turn_after_panic<'e>(
        self: &'e Arc<Engine<O>>,
        writer: MutexGuard<'e, Writer<O::WriterState>>,
    ) -> Turn<'e, O> {
        #[cfg(not(any(loom, shuttle)))]
        self.writer.clear_poison();
        let mut turn = Turn::new(self, writer);
        turn.recover();
        turn
    }

    /// Takes the turn, if no thread has it.
    pub(super) fn try_turn(self: &Arc<Engine<O>>) -> Option<Turn<'_, O>> {
        match self.writer.try_lock() {
            Ok(writer) => Some(Turn::new(self, writer)),
            Err(TryLockError::Poisoned(writer)) => Some(self.turn_after_panic(writer.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Removes a handle. If it was the last one and there are views, closes the engine: then only
    /// what the views show stays in memory.
    pub fn drop_handle(self: &Arc<Engine<O>>) {
        if has_failed() {
            return;
        }
        // Release and Acquire: the decrements pair with each other. The last one happens after the
        // others.
        let is_last = self.handles.fetch_sub(1, AcqRel) == 1;
        // Without views, everything is freed with the engine.
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

    /// Removes a handle that commits: does what [`drop_handle`](Self::drop_handle) does, and then
    /// frees what can be freed, because no commit may follow.
    pub fn drop_writer_handle(self: &Arc<Engine<O>>) {
        if has_failed() {
            return;
        }
        self.drop_handle();
        if Arc::strong_count(self) > 1 {
            self.reclaim_now();
        }
    }
}

impl<'e, O: Owner> Turn<'e, O> {
    #[inline]
    fn new(
        engine: &'e Arc<Engine<O>>,
        writer: MutexGuard<'e, Writer<O::WriterState>>,
    ) -> Turn<'e, O> {
        Turn {
            engine,
            writer,
            size: 0,
            is_deferred: false,
            leftovers: Leftovers::new(engine),
        }
    }

    /// Returns the engine.
    #[inline]
    pub fn engine(&self) -> &'e Arc<Engine<O>> {
        self.engine
    }

    /// Returns whether the engine is closed. Then nothing may be put.
    pub fn is_closed(&self) -> bool {
        self.writer.closed
    }

    /// Returns the published revision.
    #[inline]
    pub fn published(&self) -> u64 {
        self.writer.revision
    }

    /// Returns the owner's data that only the holder of the turn uses.
    #[inline]
    pub fn writer_state_mut(&mut self) -> &mut O::WriterState {
        &mut self.writer.owner_state
    }

    /// The same, by a shared reference.
    #[inline]
    pub fn writer_state(&self) -> &O::WriterState {
        &self.writer.owner_state
    }

    pub(super) fn next(&self) -> u64 {
        self.writer.revision + 1
    }

    /// Records that there is something to publish, and returns its revision.
    #[inline]
    pub(super) fn begin(&mut self) -> u64 {
        let revision = self.next();
        self.writer.dirty = true;
        if twin::is(Twin::PublishedBeforeWritten) {
            self.engine.published.store(revision, Release);
        }
        revision
    }

    pub(super) fn tables(&self) -> &Tables {
        // Relaxed: a writer stored the pointer before this one took the lock.
        // SAFETY: only the writer replaces the tables, and it keeps the old ones until it releases
        // the lock.
        unsafe { &*self.engine.tables.load(Relaxed) }
    }

    #[inline]
    pub(super) fn table(&self, map: u32) -> &Table {
        let of_map = self.tables().of(map);
        &of_map.expect("the map is there").table
    }

    // --- maps

    /// Returns whether the map still exists.
    pub(crate) fn has(&self, map: u32) -> bool {
        self.tables().of(map).is_some()
    }

    /// Creates another map, and returns its number.
    pub fn add<K, V>(&mut self) -> u32
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
    {
        let number = self.writer.add_map();
        let mut fresh = self.tables().clone();
        fresh.set(number, Some(MapTable::new(Map::<K, V>::kind())));
        self.set_tables(fresh);
        self.run_pass_if_due();
        number
    }

    /// Removes a map, as the last step of a commit: a reader that loads the new tables reads at the
    /// new revision at once, and has to find the whole commit. The contents of the map are freed
    /// outside of the turn, when its last reader has left. O(old versions of all maps).
    pub fn remove_map(&mut self, map: u32) {
        let revision = self.begin();
        self.give_to_generation(map);
        let mut fresh = self.tables().clone();
        fresh.since = revision;
        fresh.set(map, None);
        self.set_tables(fresh);
    }

    // --- keys

    /// Finds the slot of a key. Calls the caller's `Eq`.
    #[inline]
    pub(crate) fn find<K, V, Q>(&self, map: Map<K, V>, hash: u64, key: &Q) -> Position
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
        Q: Equivalent<K> + ?Sized,
    {
        // SAFETY: this thread is the writer, the table is the newest, and the types are the map's.
        let taken = unsafe { self.table(map.number()).find::<K, V, Q>(hash, key) };
        Position { hash, taken }
    }

    /// Finds the slot of a key while nothing has been put in this turn. So the caller's `Eq` may
    /// panic.
    #[inline]
    pub(crate) fn find_before_writing<K, V, Q>(
        &mut self,
        map: Map<K, V>,
        hash: u64,
        key: &Q,
    ) -> Position
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
        Q: Equivalent<K> + ?Sized,
    {
        self.writer.is_comparing = true;
        let comparing = self.engine.begin_comparing();
        let position = self.find(map, hash, key);
        drop(comparing);
        self.writer.is_comparing = false;
        position
    }

    /// Returns the newest value under a key with this hash, published or not.
    #[inline]
    pub fn newest<K, V, Q>(&self, map: Map<K, V>, hash: u64, key: &Q) -> Option<&V>
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
        Q: Equivalent<K> + ?Sized,
    {
        let taken = self.find(map, hash, key).taken?;
        // SAFETY: this thread is the writer, and puts nothing while the value borrows `self`.
        unsafe { kind::value(taken.newest) }
    }

    /// Returns the hasher of the newest tables, for an owner without one.
    #[inline]
    pub fn hasher(&self) -> &Hasher {
        &self.tables().hasher
    }

    /// Calls `visit` with every newest value of a map, published or not.
    pub fn each_newest<K, V>(&self, map: Map<K, V>, mut visit: impl FnMut(&V))
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
    {
        for (_, slot, _) in self.table(map.number()).slots() {
            if let Some(newest) = NonNull::new(slot.newest()) {
                // SAFETY: this thread is the writer, the table is the newest, and its values are of
                // this type.
                unsafe { kind::value(newest) }.map(&mut visit);
            }
        }
    }

    /// Updates a position after other keys or versions have been put.
    pub(crate) fn refresh_position(&self, map: u32, position: &mut Position) {
        if let Some(taken) = &mut position.taken {
            let table = self.table(map);
            // SAFETY: this thread is the writer. A cell stands in the table until its key is
            // removed, which no turn does while it still has something to put.
            let at = unsafe { table.slot_of(taken.cell) };
            taken.at = at.expect("a cell is in its table until it is removed");
            let newest = NonNull::new(table.slot(taken.at).newest());
            taken.newest = newest.expect("a cell has versions");
        }
    }

    /// Returns the number of keys of a map, including unpublished changes.
    pub(crate) fn len(&self, map: u32) -> usize {
        self.writer.usages[map as usize].present
    }

    /// Puts a version with this value, or a tombstone, in front of a key's chain, and returns the
    /// key's cell. Does nothing and returns `None` if the key has no slot.
    #[inline]
    pub(crate) fn replace<K, V>(
        &mut self,
        map: Map<K, V>,
        position: &Position,
        value: Option<V>,
    ) -> Option<NonNull<Cell>>
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
    {
        let taken = position.taken?;
        let revision = self.begin();
        let (was_there, is_last) = (position.version().is_some(), value.is_none());
        let usage = &mut self.writer.usages[map.number() as usize];
        usage.present = usage.present + usize::from(!is_last) - usize::from(was_there);
        let spare = self.spare::<K, V>();
        let last = Some(taken.newest);
        // SAFETY: the cell belongs to this map, and is not freed before its last version.
        let fresh = unsafe { kind::make::<K, V>(spare, taken.cell, last, value, revision) };
        self.push(
            map.number(),
            Map::<K, V>::kind(),
            position.hash,
            &taken,
            fresh,
        );
        if twin::is(Twin::SlotKilledAtDeletion) && is_last {
            self.table(map.number()).slot(taken.at).kill();
        }
        Some(taken.cell)
    }

    /// Puts a key that has no slot yet, with its first value.
    pub(crate) fn add_key<K, V>(
        &mut self,
        map: Map<K, V>,
        position: &Position,
        key: K::New<'_>,
        value: V,
    ) -> NonNull<Cell>
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
    {
        self.reserve([(map.number(), 1)]);
        let revision = self.begin();
        let cell = K::cell(key, position.hash);
        let spare = self.spare::<K, V>();
        // SAFETY: the cell was made just now.
        let first = unsafe { kind::make::<K, V>(spare, cell, None, Some(value), revision) };
        // SAFETY: as above.
        unsafe { cell.as_ref() }.head().push(first, revision);
        let table = self.table(map.number());
        debug_assert!(self.writer.usages[map.number() as usize].used + 1 < table.len());
        let at = table.take(position.hash, cell, first, revision);
        let usage = &mut self.writer.usages[map.number() as usize];
        usage.used += 1;
        usage.live += 1;
        usage.present += 1;
        self.copy_change(map.number(), at);
        cell
    }

    /// Takes spare memory for a version, if there is any.
    #[inline]
    pub(super) fn spare<K: Key + ?Sized, V>(&mut self) -> Option<Memory> {
        self.writer.spares.take(Shape::<K, V>::block()?)
    }

    /// Puts a version in front of a key's newest version, and queues the replaced one.
    #[inline]
    pub(super) fn push(
        &mut self,
        map: u32,
        kind: &'static Kind,
        hash: u64,
        taken: &Taken,
        fresh: NonNull<Version>,
    ) {
        let revision = self.next();
        // SAFETY: this thread is the writer, and `taken` has the newest version of the cell, which
        // is not freed before its last version.
        unsafe { taken.cell.as_ref() }.head().push(fresh, revision);
        self.table(map).push(taken.at, hash, fresh, revision);
        self.writer.replaced.push(Replaced {
            kind,
            map,
            removed: false,
            is_lent: false,
            version: taken.newest,
            cell: taken.cell,
            newer: fresh,
            until: revision,
        });
        self.writer.since_pass += 1;
        self.size += 1;
        self.slot_changed(map, taken.at);
    }

    pub(super) fn set_tables(&mut self, fresh: Tables) {
        self.writer.since_pass += fresh.weight();
        let fresh = Arc::into_raw(Arc::new(fresh)).cast_mut();
        // Release: pairs with the Acquire in `Engine::pin`.
        let old = self.engine.tables.swap(fresh, Release);
        // SAFETY: `Arc::into_raw` made the pointer. Its share passes from the engine to the
        // reclaimer, which keeps it for a grace period.
        let old = Garbage::Tables(ManuallyDrop::new(unsafe { Arc::from_raw(old) }));
        self.writer.reclaimer.retire(old);
    }

    // --- the end of a commit

    /// Publishes what was written, if anything, and returns the newest revision.
    #[inline]
    pub fn publish(&mut self) -> u64 {
        if std::mem::take(&mut self.writer.dirty) {
            let revision = self.next();
            self.writer.revision = revision;
            // Release: pairs with the Acquire loads of `published`. A reader that loads this
            // revision sees everything that was written before.
            self.engine.published.store(revision, Release);
            self.run_pass_if_due();
        }
        self.writer.revision
    }

    #[inline]
    fn run_pass_if_due(&mut self) {
        if self.writer.since_pass >= PASS_INTERVAL {
            self.run_pass(0, false);
        }
    }

    /// Returns whether this turn has replaced so many versions that its thread should reclaim them.
    pub fn is_large(&self) -> bool {
        self.size >= LARGE_COMMIT
    }
}
