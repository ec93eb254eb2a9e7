//! A table that is to replace another one, laid out a few slots at a time.
//!
//! Only the writer knows of it before all slots have been moved. Until then readers use the old
//! table, which has all keys. When the writer puts something in a slot that has been moved already,
//! or kills it, it does the same here. So a reader never looks in two tables, and finds the same
//! keys after the take-over as before. `growth` says when that is.
//!
//! Tried instead: letting readers look in two tables, and a directory of small ones, both of which
//! cost reads something; fresh memory from `alloc_zeroed`, which the allocator clears at once if it
//! has had it before (32 MB in up to 12 ms). So the writer writes the memory bit by bit, and an old
//! table is freed one array after the other.

use super::limits::{SLOTS_MOVED_PER_KEY, SLOTS_WRITTEN_PER_MOVE};
use super::table::{Table, Unwritten};
use crate::twin::{self, Twin};

pub(super) struct Successor {
    /// The table while it is being written; then `None`.
    pub(super) unwritten: Option<Unwritten>,
    /// The table once it has been written.
    pub(super) table: Option<Table>,
    /// The table to replace.
    pub(super) old: Table,
    /// How many slots of `old` have been moved.
    pub(super) moved: usize,
    /// How many slots of the new table are taken or dead.
    pub(super) used: usize,
}

impl Successor {
    /// A successor with room for so many keys, and for those that may come before all slots have
    /// been moved.
    pub(super) fn of(old: &Table, keys: usize) -> Successor {
        let coming = old.len() / SLOTS_MOVED_PER_KEY
            + old.len() / (SLOTS_WRITTEN_PER_MOVE * SLOTS_MOVED_PER_KEY);
        // A table made for five keys has room for six: see `Table::room`.
        let keys = keys.max((keys + coming) * 5 / 6 + 1);
        Successor {
            unwritten: Some(old.another(keys)),
            table: None,
            old: old.clone(),
            moved: 0,
            used: 0,
        }
    }

    /// Writes some of the table, and then moves some slots; returns whether all have been moved.
    pub(super) fn move_some(&mut self, most: usize) -> bool {
        let slots = self.old.len();
        if let Some(mut unwritten) = self.unwritten.take() {
            let times = SLOTS_WRITTEN_PER_MOVE * unwritten.len().div_ceil(slots);
            if !unwritten.write(most.saturating_mul(times)) {
                self.unwritten = Some(unwritten);
                return false;
            }
            self.table = Some(unwritten.finish());
        }
        let end = slots.min(self.moved.saturating_add(most));
        for at in self.moved..end {
            self.take(at);
        }
        self.moved = end;
        end == slots || twin::is(Twin::SuccessorInstalledEarly)
    }

    fn take(&mut self, at: usize) {
        if let Some(table) = &self.table {
            self.used += usize::from(table.take_from(&self.old, at));
        }
    }

    /// Copies what has changed in a slot of the old table, if that slot has been moved already.
    pub(super) fn copy_change(&mut self, at: usize) {
        if let Some(table) = &self.table
            && at < self.moved
            && !twin::is(Twin::ChangeNotCopied)
            && !table.copy_change(&self.old, at)
        {
            self.take(at);
        }
    }
}
