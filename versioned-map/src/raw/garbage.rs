//! Retired memory, which is freed when no thread can reach it any more.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use super::replaced::{Replaced, Stash, free_all};
use super::successor::Successor;
use super::table::Table;
use super::tables::Tables;

/// A retired object. Dropping it, as unwinding does, leaks it; `free` frees it.
pub(super) enum Garbage {
    /// Versions that have been unlinked, or cells that have been removed.
    Versions(Vec<Replaced>),
    Table(ManuallyDrop<Arc<Table>>),
    Tables(ManuallyDrop<Arc<Tables>>),
    /// A part of a large table.
    Part(ManuallyDrop<Box<dyn Send>>),
    /// A successor, which no reader has ever seen.
    Successor(ManuallyDrop<Box<Successor>>),
}

impl Garbage {
    /// Returns whether freeing it takes so long that one at a time is enough.
    pub(super) fn is_heavy(&self) -> bool {
        matches!(self, Garbage::Part(_))
    }

    /// Frees it, and puts memory for reuse into `stash`. If the `Drop` of a value panics, frees the
    /// rest before it resumes the panic.
    ///
    /// # Safety
    ///
    /// No thread can reach it any more.
    pub(super) unsafe fn free(self, stash: Option<&mut Stash>) {
        match self {
            // SAFETY: the caller guarantees it.
            Garbage::Versions(list) => unsafe { free_all(list, stash) },
            Garbage::Table(table) => drop(ManuallyDrop::into_inner(table)),
            Garbage::Tables(tables) => drop(ManuallyDrop::into_inner(tables)),
            Garbage::Part(part) => drop(ManuallyDrop::into_inner(part)),
            Garbage::Successor(successor) => drop(ManuallyDrop::into_inner(successor)),
        }
    }
}
