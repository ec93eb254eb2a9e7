//! What is freed when nobody can come to it any more.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use super::old::{Old, Stash, free_all};
use super::successor::Successor;
use super::table::Table;
use super::tables::Tables;

/// Something of that. Where it is dropped instead, by whatever unwinds, it is leaked.
pub(super) enum Garbage {
    /// They have been unlinked, or removed.
    Versions(Vec<Old>),
    Layout(ManuallyDrop<Arc<Table>>),
    Tables(ManuallyDrop<Arc<Tables>>),
    /// Of a large layout.
    Part(ManuallyDrop<Box<dyn Send>>),
    /// Nobody has ever come to it.
    Successor(ManuallyDrop<Box<Successor>>),
}

impl Garbage {
    /// Whether it takes so long to free that one at a time is enough.
    pub(super) fn is_heavy(&self) -> bool {
        matches!(self, Garbage::Part(_))
    }

    /// Frees it; its memory may be used again. Where a value panics, the rest is freed before
    /// that goes on.
    ///
    /// # Safety
    ///
    /// Nobody can come to it any more.
    pub(super) unsafe fn free(self, stash: Option<&mut Stash>) {
        match self {
            // SAFETY: the caller's.
            Garbage::Versions(list) => unsafe { free_all(list, stash) },
            Garbage::Layout(layout) => drop(ManuallyDrop::into_inner(layout)),
            Garbage::Tables(tables) => drop(ManuallyDrop::into_inner(tables)),
            Garbage::Part(part) => drop(ManuallyDrop::into_inner(part)),
            Garbage::Successor(successor) => drop(ManuallyDrop::into_inner(successor)),
        }
    }
}
