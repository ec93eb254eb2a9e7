//! The writer's turn: what is put and published.
//!
//! A commit waits for what it stored a moment before, wherever it loads that in other pieces than it
//! stored it: a processor forwards from its store buffer only what one store has written. So a turn is
//! used where it stands and never moved, and the queue has room before an old version is put there.
//! (At 1,000 records that took an update from 90 ns to 67: a throw-away program, 2026-11-29.)

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
use super::old::Old;
use super::spares::{Memory, Spares};
use super::table::{Table, Taken};
use super::tables::{Hasher, Map, MapTable, Tables};
use super::version::Version;
use super::writer::{Usage, Writer};
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use crate::twin::{self, Twin};

/// The right to write, and what is written until it is published.
pub struct Turn<'e, O: Owner> {
    pub(super) engine: &'e Arc<Engine<O>>,
    pub(super) writer: MutexGuard<'e, Writer<O::Books>>,
    /// How many versions this turn has replaced.
    pub(super) own: usize,
    /// Whether something waits for a look at all snapshots, which is not allowed yet.
    pub(super) is_deferred: bool,
    /// Freed after the lock.
    pub(super) left: Leftovers<'e, O>,
}

/// Where a key stands, or would stand, in the newest table of its map.
#[derive(Clone, Copy)]
pub struct Position {
    pub(super) hash: u64,
    pub(super) taken: Option<Taken>,
}

impl Position {
    /// The address of its newest version, if the key has one that has a value.
    #[inline]
    pub(crate) fn version(self) -> Option<NonNull<()>> {
        let newest = self.taken.as_ref()?.newest;
        // SAFETY: it was found in this turn, and what stands in the newest table is not freed.
        let has_value = unsafe { newest.as_ref() }.has_value();
        has_value.then_some(newest.cast())
    }

    /// Whether the key has to be put into the table.
    pub(crate) fn is_vacant(self) -> bool {
        self.taken.is_none()
    }
}

impl<O: Owner> Engine<O> {
    /// The right to write, when its turn comes.
    #[inline]
    pub fn turn(self: &Arc<Engine<O>>) -> Turn<'_, O> {
        match self.writer.lock() {
            Ok(writer) => Turn::new(self, writer),
            Err(poisoned) => self.turn_after_panic(poisoned.into_inner()),
        }
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

    /// The right to write, if nobody has it.
    pub(super) fn try_turn(self: &Arc<Engine<O>>) -> Option<Turn<'_, O>> {
        match self.writer.try_lock() {
            Ok(writer) => Some(Turn::new(self, writer)),
            Err(TryLockError::Poisoned(writer)) => Some(self.turn_after_panic(writer.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
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
}

impl<'e, O: Owner> Turn<'e, O> {
    #[inline]
    fn new(engine: &'e Arc<Engine<O>>, writer: MutexGuard<'e, Writer<O::Books>>) -> Turn<'e, O> {
        Turn {
            engine,
            writer,
            own: 0,
            is_deferred: false,
            left: Leftovers::new(engine),
        }
    }

    /// The engine.
    #[inline]
    pub fn engine(&self) -> &'e Arc<Engine<O>> {
        self.engine
    }

    /// Whether the engine is closed: then nothing is to be put.
    pub fn is_closed(&self) -> bool {
        self.writer.closed
    }

    /// The revision that is published.
    #[inline]
    pub fn published(&self) -> u64 {
        self.writer.revision
    }

    /// What its owner has for whoever has the turn.
    #[inline]
    pub fn books(&mut self) -> &mut O::Books {
        &mut self.writer.books
    }

    /// The same, to look at.
    #[inline]
    pub fn books_ref(&self) -> &O::Books {
        &self.writer.books
    }

    pub(super) fn next(&self) -> u64 {
        self.writer.revision + 1
    }

    /// Notes that there is something to publish; answers with its revision.
    #[inline]
    pub(super) fn begin(&mut self) -> u64 {
        let revision = self.next();
        self.writer.dirty = true;
        if twin::is(Twin::PublishedFirst) {
            self.engine.published.store(revision, Release);
        }
        revision
    }

    pub(super) fn tables(&self) -> &Tables {
        // Relaxed: a writer put them there, before this one took the lock.
        // SAFETY: they are replaced by the writer only, who keeps the old ones until the
        // lock is given back.
        unsafe { &*self.engine.tables.load(Relaxed) }
    }

    #[inline]
    pub(super) fn table(&self, map: u32) -> &Table {
        let of_map = self.tables().of(map);
        &of_map.expect("the map is there").table
    }

    // --- maps

    /// Whether a map is there still.
    pub(crate) fn has(&self, map: u32) -> bool {
        self.tables().of(map).is_some()
    }

    /// Makes another map; answers with its number.
    pub fn add<K, V>(&mut self) -> u32
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
    {
        let number = self.writer.add_map();
        let mut fresh = self.tables().clone();
        fresh.set(number, Some(MapTable::new(Map::<K, V>::kind())));
        self.set_tables(fresh);
        self.tidy_often();
        number
    }

    /// Lets go of a map, as the last step of a commit: whoever sees the new tables sees the whole of it.
    /// What is in the map is freed with its last reader, outside of the turn. O(what waits, in any map).
    pub fn remove_map(&mut self, map: u32) {
        let revision = self.begin();
        self.bury(map);
        let mut fresh = self.tables().clone();
        fresh.since = revision;
        fresh.set(map, None);
        self.set_tables(fresh);
    }

    // --- keys

    /// Where a key stands. A caller's `Eq` runs here.
    #[inline]
    pub(crate) fn find<K, V, Q>(&self, map: Map<K, V>, hash: u64, key: &Q) -> Position
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
        Q: Equivalent<K> + ?Sized,
    {
        // SAFETY: this is the writer, the newest table, and the types are the map's.
        let taken = unsafe { self.table(map.number()).find::<K, V, Q>(hash, key) };
        Position { hash, taken }
    }

    /// The same, where the caller's `Eq` may panic: nothing has been put in this turn.
    #[inline]
    pub(crate) fn find_first<K, V, Q>(&mut self, map: Map<K, V>, hash: u64, key: &Q) -> Position
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
        Q: Equivalent<K> + ?Sized,
    {
        self.writer.asks_caller = true;
        let asking = self.engine.begin_to_ask();
        let position = self.find(map, hash, key);
        drop(asking);
        self.writer.asks_caller = false;
        position
    }

    /// The newest value under a key with that hash, which may not be published yet.
    #[inline]
    pub fn newest<K, V, Q>(&self, map: Map<K, V>, hash: u64, key: &Q) -> Option<&V>
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
        Q: Equivalent<K> + ?Sized,
    {
        let taken = self.find(map, hash, key).taken?;
        // SAFETY: this is the writer, and nothing is put there for as long as it is borrowed.
        unsafe { kind::value(taken.newest) }
    }

    /// What hashes the keys of the newest tables, for an owner without a hasher.
    #[inline]
    pub fn hasher(&self) -> &Hasher {
        &self.tables().hasher
    }

    /// Looks at every newest value of a map, which may not be published yet.
    pub fn each_newest<K, V>(&self, map: Map<K, V>, mut look: impl FnMut(&V))
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
    {
        for (_, slot, _) in self.table(map.number()).slots() {
            if let Some(newest) = NonNull::new(slot.newest()) {
                // SAFETY: this is the writer, and the newest table, of values of this type.
                unsafe { kind::value(newest) }.map(&mut look);
            }
        }
    }

    /// Finds a position again when others have been put since.
    pub(crate) fn find_again(&self, map: u32, position: &mut Position) {
        if let Some(taken) = &mut position.taken {
            let table = self.table(map);
            // SAFETY: this is the writer. A cell that stands in the table does so until its last
            // version has gone, which it does in no turn that something is put in.
            let at = unsafe { table.slot_of(taken.cell) };
            taken.at = at.expect("a cell stands in its table until it is removed");
            let newest = NonNull::new(table.slot(taken.at).newest());
            taken.newest = newest.expect("a cell has versions");
        }
    }

    /// How many keys a map has, with what is not published yet.
    pub(crate) fn len(&self, map: u32) -> usize {
        self.writer.usages[map as usize].present
    }

    /// Puts another value, or that there is none, where a key stands.
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
        // SAFETY: the cell is one of this map, and is freed with its last version.
        let fresh = unsafe { kind::make::<K, V>(spare, taken.cell, last, value, revision) };
        self.push(
            map.number(),
            Map::<K, V>::kind(),
            position.hash,
            &taken,
            fresh,
        );
        if twin::is(Twin::KilledAtOnce) && is_last {
            self.table(map.number()).slot(taken.at).kill();
        }
        Some(taken.cell)
    }

    /// Puts a key and a value where there is none.
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
        self.follow(map.number(), at);
        cell
    }

    /// Memory for a version, if there is some to be used again.
    #[inline]
    pub(super) fn spare<K: Key + ?Sized, V>(&mut self) -> Option<Memory> {
        self.writer.spares.take(Shape::<K, V>::block()?)
    }

    /// Puts a version in front of the newest one, which becomes old.
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
        // SAFETY: this is the writer, with the newest version of the cell, and a cell is freed
        // with its last version.
        unsafe { taken.cell.as_ref() }.head().push(fresh, revision);
        self.table(map).push(taken.at, hash, fresh, revision);
        self.writer.replaced.push(Old {
            kind,
            map,
            removed: false,
            is_lent: false,
            version: taken.newest,
            cell: taken.cell,
            newer: fresh,
            until: revision,
        });
        self.writer.since_tidy += 1;
        self.own += 1;
        self.changed(map, taken.at);
    }

    pub(super) fn set_tables(&mut self, fresh: Tables) {
        self.writer.since_tidy += fresh.weight();
        let fresh = Arc::into_raw(Arc::new(fresh)).cast_mut();
        // Release: pairs with the Acquire in `Engine::pin`.
        let old = self.engine.tables.swap(fresh, Release);
        // SAFETY: it was made by `Arc::into_raw`, and its share goes from the engine to the
        // reclaimer, which keeps it for a grace period.
        let old = Garbage::Tables(ManuallyDrop::new(unsafe { Arc::from_raw(old) }));
        self.writer.reclaimer.retire(old);
    }

    // --- the end of a commit

    /// Publishes what was written, if anything was; answers with the newest revision.
    #[inline]
    pub fn publish(&mut self) -> u64 {
        if std::mem::take(&mut self.writer.dirty) {
            let revision = self.next();
            self.writer.revision = revision;
            // Release: pairs with the Acquire loads of `published`. All that was written
            // comes before.
            self.engine.published.store(revision, Release);
            self.tidy_often();
        }
        self.writer.revision
    }

    #[inline]
    fn tidy_often(&mut self) {
        if self.writer.since_tidy >= PASS_INTERVAL {
            self.tidy(0, false);
        }
    }

    /// Whether so much has been replaced that whoever did it should see to it.
    pub fn is_large(&self) -> bool {
        self.own >= LARGE_COMMIT
    }

    // --- everything at once

    /// Empties all maps; to be published at once, and with nothing else. What is answered frees
    /// what was there when it is dropped, which is to be done when the turn has been given back.
    /// O(what there is).
    pub fn clear(&mut self) -> Cleared<O> {
        self.begin();
        self.start_anew(None)
    }

    /// The same for some of the maps: O(what is in them, and what waits in any).
    pub fn clear_maps(&mut self, maps: &[u32]) -> Cleared<O> {
        self.begin();
        self.start_anew_in(maps, None)
    }

    /// Lets go of everything, for good.
    pub(super) fn close(&mut self) -> Cleared<O> {
        let last = self.writer.revision;
        self.writer.closed = true;
        self.begin();
        let mut cleared = self.start_anew(Some(last));
        cleared.books = Some(std::mem::take(&mut self.writer.books));
        self.publish();
        cleared
    }

    fn start_anew(&mut self, closed: Option<u64>) -> Cleared<O> {
        let all: Vec<u32> = self.tables().all().map(|(map, _)| map).collect();
        self.writer.spares = Spares::default();
        self.start_anew_in(&all, closed)
    }

    fn start_anew_in(&mut self, maps: &[u32], closed: Option<u64>) -> Cleared<O> {
        let has_snapshots = self.engine.registrations.held().next().is_some();
        if has_snapshots {
            // They keep what they show, and nothing else.
            for map in maps {
                self.put_nothing_everywhere(*map);
            }
        }
        if !has_snapshots || closed.is_some() {
            // Whoever finds that it is closed finds it empty.
            let mut fresh = self.tables().clone();
            fresh.since = self.next();
            fresh.closed = closed;
            if !has_snapshots {
                if maps.len() == fresh.all().count() {
                    // No hash of the old ones is left.
                    fresh.hasher = Hasher::default();
                }
                for map in maps {
                    self.bury(*map);
                    let of_map = fresh.of_mut(*map).expect("the map is there");
                    *of_map = MapTable::new(of_map.generation.kind);
                }
            }
            self.set_tables(fresh);
        }
        Cleared {
            engine: self.engine.clone(),
            books: None,
        }
    }

    /// Removes all keys of a map, one by one: O(keys), in one turn.
    pub(crate) fn put_nothing_everywhere(&mut self, map: u32) {
        self.move_all(map);
        let MapTable { table, generation } = self.tables().of(map).expect("the map is there");
        let (table, kind) = (table.clone(), generation.kind);
        for (at, slot, cell) in table.slots() {
            let (Some(newest), Some(cell)) = (NonNull::new(slot.newest()), cell) else {
                continue;
            };
            // SAFETY: this is the writer, and the newest table.
            if unsafe { newest.as_ref() }.has_value() {
                // SAFETY: a cell has not been freed while it stands in the table.
                let hash = unsafe { cell.as_ref() }.hash;
                let revision = self.begin();
                // SAFETY: as above, and the cell is one of this map.
                let fresh = unsafe { kind.make_absent(cell, newest, revision) };
                self.push(map, kind, hash, &Taken { at, newest, cell }, fresh);
            }
        }
        self.writer.usages[map as usize].present = 0;
    }

    /// Forgets the old versions of a map's present generation, which owns them.
    fn bury(&mut self, map: u32) {
        self.forget_successor(map);
        let removed = self.writer.forget(map);
        let of_map = self.tables().of(map).expect("the map is there");
        of_map.generation.adopt(removed.into_iter());
    }

    /// Goes on after a panic. Where that was not a caller's `Eq`, it has left the writer's books in
    /// any state, and everything is closed: whoever has a view goes on seeing what it shows, and nothing
    /// of what was half written is ever seen. What no generation owns is leaked.
    #[cold]
    pub(super) fn recover(&mut self) {
        if std::mem::take(&mut self.writer.asks_caller) || self.writer.closed {
            return;
        }
        let mut fresh = self.tables().clone();
        let maps: Vec<u32> = fresh.all().map(|(map, _)| map).collect();
        for map in maps {
            self.bury(map);
            if let Some(of_map) = fresh.of_mut(map) {
                *of_map = MapTable::new(of_map.generation.kind);
            }
        }
        let last = self.writer.revision;
        let count = self.writer.usages.len();
        *self.writer = Writer {
            revision: last + 1,
            closed: true,
            usages: vec![Usage::default(); count],
            ..Writer::new(self.engine.domain())
        };
        fresh.since = last + 1;
        fresh.closed = Some(last);
        self.set_tables(fresh);
        // Release: as in `publish`.
        self.engine.published.store(last + 1, Release);
    }
}

/// What was cleared. Dropping it frees it at once, unless somebody is still reading it.
pub struct Cleared<O: Owner> {
    engine: Arc<Engine<O>>,
    /// Of what is closed: dropped with this.
    #[allow(dead_code)]
    books: Option<O::Books>,
}

impl<O: Owner> Drop for Cleared<O> {
    fn drop(&mut self) {
        self.engine.tidy_up();
    }
}
