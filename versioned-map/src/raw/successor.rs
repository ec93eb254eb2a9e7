//! A table that will replace another one, and is filled a few slots at a time.
//!
//! Only the writer uses it before all slots have been moved. Until then readers use the old table,
//! which has all keys. When the writer changes or kills a slot that has been moved already, it does
//! the same here. So a reader never searches two tables, and finds the same keys before and after
//! the replacement. `growth` says when that happens.
//!
//! Alternatives that were tried: readers that search two tables, and a directory of small tables.
//! Both made reads slower. Fresh memory from `alloc_zeroed`: the allocator clears it at once if it
//! has used that memory before (32 MB in up to 12 ms). So the writer initializes the memory bit by
//! bit, and an old table is freed one array after the other.

use super::limits::{SLOTS_MOVED_PER_KEY, SLOTS_WRITTEN_PER_MOVE};
use super::table::{Table, Unwritten};
use crate::twin::{self, Twin};

pub(super) struct Successor {
    /// The table while it is being written; then `None`.
    pub(super) unwritten: Option<Unwritten>,
    /// The table after it has been written.
    pub(super) table: Option<Table>,
    /// The table to replace.
    pub(super) old: Table,
    /// The number of slots of `old` that have been moved.
    pub(super) moved: usize,
    /// The number of slots of the new table that are taken or dead.
    pub(super) used: usize,
}

impl Successor {
    /// Creates a successor with room for this many keys, and for those that may be added before all
    /// slots have been moved.
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

    /// Writes some of the table, and then moves some slots. Returns whether all have been moved.
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

    /// Copies a changed slot of the old table, if that slot has been moved already.
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
