//! A table that is to take the place of another one, and is laid out a few slots at a time.
//!
//! Nobody but the writer knows of it before all slots have been moved. Until then readers find all keys in the
//! one table that they know. What is put there, or dies, in a slot that has been moved already, is so
//! here as well. So readers never look in two tables, and what they see when this one takes over is as complete
//! as what they saw before. `growth` says when that is.
//!
//! Tried instead: two tables in which readers look, and a directory of small ones, which cost reads
//! something; fresh memory from `alloc_zeroed`, which the allocator clears at once where it has had it
//! before (32 MB in up to 12 ms). So the memory is written bit by bit, and an old table is freed one
//! array after the other.

use super::limits::{SLOTS_MOVED_PER_KEY, SLOTS_WRITTEN_PER_MOVE};
use super::table::{Table, Unwritten};
use crate::twin::{self, Twin};

pub(super) struct Successor {
    /// First it is written,
    pub(super) unwritten: Option<Unwritten>,
    /// and then there it is.
    pub(super) table: Option<Table>,
    /// The one whose place it is to take.
    pub(super) old: Table,
    /// So many of its slots have been moved.
    pub(super) moved: usize,
    /// How many are taken or dead here.
    pub(super) used: usize,
}

impl Successor {
    /// One with room for so many keys, and for those that may come before all have been moved.
    pub(super) fn of(old: &Table, keys: usize) -> Successor {
        let coming = old.len() / SLOTS_MOVED_PER_KEY
            + old.len() / (SLOTS_WRITTEN_PER_MOVE * SLOTS_MOVED_PER_KEY);
        // A table that is made for five keys has room for six.
        let keys = keys.max((keys + coming) * 5 / 6 + 1);
        Successor {
            unwritten: Some(old.another(keys)),
            table: None,
            old: old.clone(),
            moved: 0,
            used: 0,
        }
    }

    /// Moves some slots; answers whether all have been.
    pub(super) fn move_on(&mut self, most: usize) -> bool {
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
        end == slots || twin::is(Twin::SucceededEarly)
    }

    fn take(&mut self, at: usize) {
        if let Some(table) = &self.table {
            self.used += usize::from(table.take_from(&self.old, at));
        }
    }

    /// Has the key of a slot of the other table stand here as it does there.
    pub(super) fn follow(&mut self, at: usize) {
        if let Some(table) = &self.table
            && at < self.moved
            && !twin::is(Twin::Unfollowed)
            && !table.follow(&self.old, at)
        {
            self.take(at);
        }
    }
}
