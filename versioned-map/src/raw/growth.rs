//! Growing and shrinking tables: when a move begins, how much of it each commit does, and how
//! readers get the new table.

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use super::engine::Owner;
use super::garbage::Garbage;
use super::limits::{LARGE_TABLE, SLOTS_MOVED_PER_KEY};
use super::replaced::{MOST_SPARES, STOCK};
use super::spares::Block;
use super::successor::Successor;
use super::tables::Tables;
use super::turn::Turn;
use super::writer::{Usage, Writer};
use crate::sync::atomic::Ordering::Release;

/// A number of keys that no memory holds.
const MOST: usize = isize::MAX as usize / 64;

impl<O: Owner> Turn<'_, O> {
    /// Ensures that the tables of some maps have room for this many more keys, or that successors
    /// with room are being filled.
    pub(crate) fn reserve(&mut self, maps: impl IntoIterator<Item = (u32, usize)>) {
        let mut fresh = None;
        for (map, keys) in maps {
            let Usage { used, live, .. } = self.writer.usages[map as usize];
            if used + keys > self.table(map).room() {
                self.begin_to_move(map, live + keys);
            }
            // Slots are moved before the keys are put: the old table may have no other free slot.
            if let Some(successor) = self.move_slots(map, None, SLOTS_MOVED_PER_KEY) {
                let fresh = fresh.get_or_insert_with(|| self.tables().clone());
                self.install(fresh, map, successor);
            }
        }
        if let Some(fresh) = fresh {
            self.set_tables(fresh);
        }
    }

    /// Makes room for this many more keys in the table of a map, in one step. Returns whether
    /// memory can hold them at all.
    pub(crate) fn make_room(&mut self, map: u32, keys: usize) -> bool {
        let Usage { used, live, .. } = self.writer.usages[map as usize];
        let Some(all) = used.checked_add(keys).filter(|&all| all < MOST) else {
            return false;
        };
        // A successor that is being filled may be too small.
        self.move_all(map);
        if all > self.table(map).room() {
            self.begin_to_move(map, live + keys);
            self.move_all(map);
        }
        true
    }

    /// Creates a successor with room for this many keys, unless the map has one.
    #[cold]
    pub(super) fn begin_to_move(&mut self, map: u32, keys: usize) {
        if !self.writer.successors.contains_key(&map) {
            let successor = Successor::of(self.table(map), keys);
            self.writer.successors.insert(map, successor);
        }
    }

    /// Copies a slot that has changed or died to the successor, and moves some other slots, so that
    /// the move ends before the old table has no free slot left.
    #[inline]
    pub(super) fn slot_changed(&mut self, map: u32, at: usize) {
        if let Some(successor) = self.move_slots(map, Some(at), SLOTS_MOVED_PER_KEY) {
            self.install_one(map, successor);
        }
    }

    /// Moves all remaining slots.
    pub(super) fn move_all(&mut self, map: u32) {
        if let Some(successor) = self.move_slots(map, None, usize::MAX) {
            self.install_one(map, successor);
        }
    }

    /// Copies a changed slot to the successor, if there is one, and moves up to `most` slots.
    /// Returns the successor when all slots have been moved.
    #[inline]
    fn move_slots(&mut self, map: u32, changed: Option<usize>, most: usize) -> Option<Successor> {
        #[cold]
        fn move_slots_now(
            successors: &mut BTreeMap<u32, Successor>,
            map: u32,
            changed: Option<usize>,
            most: usize,
        ) -> Option<Successor> {
            let successor = successors.get_mut(&map)?;
            if let Some(at) = changed {
                successor.copy_change(at);
            }
            let all = successor.move_some(most);
            all.then(|| successors.remove(&map))?
        }
        let successors = &mut self.writer.successors;
        if successors.is_empty() {
            return None;
        }
        move_slots_now(successors, map, changed, most)
    }

    /// Copies a changed slot to the successor, if there is one.
    #[inline]
    pub(super) fn copy_change(&mut self, map: u32, at: usize) {
        #[cold]
        fn copy_change(successors: &mut BTreeMap<u32, Successor>, map: u32, at: usize) {
            if let Some(successor) = successors.get_mut(&map) {
                successor.copy_change(at);
            }
        }
        let successors = &mut self.writer.successors;
        if !successors.is_empty() {
            copy_change(successors, map, at);
        }
    }

    /// Discards the successor, with the slots moved so far.
    pub(super) fn discard_successor(&mut self, map: u32) {
        if let Some(successor) = self.writer.successors.remove(&map) {
            let successor = Garbage::Successor(ManuallyDrop::new(Box::new(successor)));
            self.leftovers.garbage.push(successor);
        }
    }

    #[cold]
    fn install_one(&mut self, map: u32, successor: Successor) {
        let mut fresh = self.tables().clone();
        self.install(&mut fresh, map, successor);
        self.set_tables(fresh);
    }

    /// Replaces the old table by its successor in `fresh`, which the caller sets before it writes
    /// anything else.
    #[cold]
    fn install(&mut self, fresh: &mut Tables, map: u32, successor: Successor) {
        let Successor {
            table, old, used, ..
        } = successor;
        let (Some(table), Some(of_map)) = (table, fresh.of_mut(map)) else {
            unreachable!("the successor has been written, and the map exists");
        };
        of_map.table = table.clone();
        let block = (of_map.generation.kind.block)();
        let newest = Arc::into_raw(Arc::new(table)).cast_mut();
        // Release: pairs with the Acquire in `Generation::newest`.
        let replaced = of_map.generation.newest.swap(newest, Release);
        // SAFETY: `Arc::into_raw` made the pointer. Its share passes from the generation to the
        // reclaimer, which keeps it for a grace period.
        let replaced = Garbage::Table(ManuallyDrop::new(unsafe { Arc::from_raw(replaced) }));
        self.writer.reclaimer.retire(replaced);
        if old.len() >= LARGE_TABLE {
            // Each array is freed in its own step.
            for part in old.parts() {
                let part = Garbage::Part(ManuallyDrop::new(part));
                self.writer.reclaimer.retire(part);
            }
        }
        self.writer.usages[map as usize].used = used;
        if let Some(block) = block {
            self.stock_up(block);
        }
    }

    /// Allocates spares while a map grows. Otherwise the writers on many threads would each begin
    /// to allocate, although most of them have not used the allocator yet.
    fn stock_up(&mut self, block: Block) {
        let Writer { spares, usages, .. } = &mut *self.writer;
        let largest = usages.iter().map(|usage| usage.live).max();
        let stock = (largest.unwrap_or(0) / 2).min(STOCK);
        spares.stock_up(block, stock, MOST_SPARES);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
