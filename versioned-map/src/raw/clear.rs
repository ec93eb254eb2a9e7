//! Clears maps, closes the engine, and recovers from a panic.

use std::ptr::NonNull;
use std::sync::Arc;

use super::engine::{Engine, Owner};
use super::spares::Spares;
use super::table::Taken;
use super::tables::{Hasher, MapTable};
use super::turn::Turn;
use super::writer::{Usage, Writer};
use crate::sync::atomic::Ordering::Release;

impl<O: Owner> Turn<'_, O> {
    /// Empties all maps. The caller publishes this immediately, with nothing else. Drop the
    /// [`Cleared`] after the turn: this frees the old contents. O(keys and old versions).
    pub fn clear(&mut self) -> Cleared<O> {
        self.begin();
        self.reset_all(None)
    }

    /// Empties some of the maps, as [`clear`](Self::clear). O(their keys, and old versions of all
    /// maps).
    pub fn clear_maps(&mut self, maps: &[u32]) -> Cleared<O> {
        self.begin();
        self.reset_maps(maps, None)
    }

    /// Empties all maps for good, and takes the owner's writer state out.
    pub(super) fn close(&mut self) -> Cleared<O> {
        let last = self.writer.revision;
        self.writer.closed = true;
        self.begin();
        let mut cleared = self.reset_all(Some(last));
        cleared.writer_state = Some(std::mem::take(&mut self.writer.owner_state));
        self.publish();
        cleared
    }

    /// Empties all maps. `closed` is the last revision if this also closes the engine.
    fn reset_all(&mut self, closed: Option<u64>) -> Cleared<O> {
        let all: Vec<u32> = self.tables().all().map(|(map, _)| map).collect();
        self.writer.spares = Spares::default();
        self.reset_maps(&all, closed)
    }

    /// Empties some of the maps. With snapshots it removes their keys one by one, and otherwise it
    /// replaces their tables.
    fn reset_maps(&mut self, maps: &[u32], closed: Option<u64>) -> Cleared<O> {
        let has_snapshots = self.engine.registrations.snapshots().next().is_some();
        if has_snapshots {
            // So snapshots keep what they show, and nothing else.
            for map in maps {
                self.remove_all_keys(*map);
            }
        }
        if !has_snapshots || closed.is_some() {
            // A reader that finds the engine closed finds it empty.
            let mut fresh = self.tables().clone();
            fresh.since = self.next();
            fresh.closed = closed;
            if !has_snapshots {
                if maps.len() == fresh.all().count() {
                    // No hash of the old seed is in use any more.
                    fresh.hasher = Hasher::default();
                }
                for map in maps {
                    self.give_to_generation(*map);
                    let of_map = fresh.of_mut(*map).expect("the map is there");
                    *of_map = MapTable::new(of_map.generation.kind);
                }
            }
            self.set_tables(fresh);
        }
        Cleared {
            engine: self.engine.clone(),
            writer_state: None,
        }
    }

    /// Removes all keys of a map, one by one: O(keys), in one turn.
    pub(crate) fn remove_all_keys(&mut self, map: u32) {
        self.move_all(map);
        let MapTable { table, generation } = self.tables().of(map).expect("the map is there");
        let (table, kind) = (table.clone(), generation.kind);
        for (at, slot, cell) in table.slots() {
            let (Some(newest), Some(cell)) = (NonNull::new(slot.newest()), cell) else {
                continue;
            };
            // SAFETY: this thread is the writer, and the table is the newest.
            if unsafe { newest.as_ref() }.has_value() {
                // SAFETY: a cell is not freed while it stands in the table.
                let hash = unsafe { cell.as_ref() }.hash;
                let revision = self.begin();
                // SAFETY: as above, and the cell belongs to this map.
                let fresh = unsafe { kind.make_absent(cell, newest, revision) };
                self.push(map, kind, hash, &Taken { at, newest, cell }, fresh);
            }
        }
        self.writer.usages[map as usize].present = 0;
    }

    /// Leaves a map's versions and removed cells to the map's generation, which frees them. The
    /// writer forgets them.
    pub(super) fn give_to_generation(&mut self, map: u32) {
        self.discard_successor(map);
        let removed = self.writer.forget(map);
        let of_map = self.tables().of(map).expect("the map is there");
        of_map.generation.adopt(removed.into_iter());
    }

    /// Recovers from a panic. A caller's `Eq` left everything unchanged. Any other panic left the
    /// writer's state inconsistent, so this closes everything: existing views still show the same
    /// state, and no reader ever sees a half-written commit. Leaks what no generation owns.
    #[cold]
    pub(super) fn recover(&mut self) {
        if std::mem::take(&mut self.writer.is_comparing) || self.writer.closed {
            return;
        }
        let mut fresh = self.tables().clone();
        let maps: Vec<u32> = fresh.all().map(|(map, _)| map).collect();
        for map in maps {
            self.give_to_generation(map);
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
        // Release: as in `Turn::publish`.
        self.engine.published.store(last + 1, Release);
    }
}

/// The old contents of cleared maps. Dropping it frees them at once, unless a reader still uses
/// them.
pub struct Cleared<O: Owner> {
    engine: Arc<Engine<O>>,
    /// The writer state of a closed engine, which is dropped with this.
    #[allow(dead_code)]
    writer_state: Option<O::WriterState>,
}

impl<O: Owner> Drop for Cleared<O> {
    fn drop(&mut self) {
        self.engine.reclaim_now();
    }
}
