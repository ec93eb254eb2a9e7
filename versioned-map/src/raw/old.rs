//! Versions that have been replaced, until their memory is used again.

use std::collections::{HashMap, VecDeque};
use std::num::NonZero;
use std::ptr::NonNull;

use super::cell::Cell;
use super::kind::Kind;
use super::limits::PASS_INTERVAL;
use super::panics;
use super::spares::{Block, Memory, Spares};
#[cfg(not(loom))]
use super::version::Says;
use super::version::{Version, unlink};

/// A version that has been replaced, or a cell that has been removed, with its last version.
pub(super) struct Old {
    pub(super) kind: &'static Kind,
    /// The number of its map.
    pub(super) map: u32,
    /// Whether it is the last one of a cell that has left its table, and has no newer one.
    pub(super) removed: bool,
    /// Whether its value is another version's to drop.
    pub(super) is_lent: bool,
    pub(super) version: NonNull<Version>,
    pub(super) cell: NonNull<Cell>,
    /// The version that replaced it, or one that has taken that one's place.
    pub(super) newer: NonNull<Version>,
    /// Visible up to this revision, exclusively.
    pub(super) until: u64,
}

// SAFETY: it stands for the version, and the cell, that it will free; those of a map may be sent
// and shared, as `Map` says.
unsafe impl Send for Old {}

impl Old {
    pub(super) fn version(&self) -> &Version {
        // SAFETY: while there is an `Old` of it, it has not been freed: that is what
        // frees it, or else the end of its generation, before which all are forgotten.
        unsafe { self.version.as_ref() }
    }

    /// The revision that it was written at.
    pub(super) fn since(&self) -> u64 {
        self.version().revision
    }

    /// Notes which version is linked to it, unless that has been noted.
    pub(super) fn note_in(&self, links: &mut Links) {
        if !self.removed {
            let link = Link(self.newer);
            links.0.entry(self.version.addr()).or_insert(link);
        }
    }

    /// Has its memory used again at once.
    ///
    /// # Safety
    ///
    /// It has been unlinked, nothing in it wants to be dropped, its memory is of this size, and nobody
    /// can come to it any more.
    #[inline]
    pub(super) unsafe fn reuse(&self, block: Block, spares: &mut Spares) {
        #[cfg(loom)]
        {
            // As in `free`.
            let _ = (block, spares);
            self.version().free_in_model();
        }
        #[cfg(not(loom))]
        {
            if cfg!(test) {
                // Whoever comes here all the same finds nothing, and sees that it is wrong.
                let nothing = Version::new(0, std::ptr::null_mut(), Says::Absent);
                // SAFETY: the caller's.
                unsafe { self.version.write(nothing) };
            }
            // SAFETY: the caller's.
            unsafe { spares.keep_block(self.version.cast(), block) };
        }
    }

    /// Frees it; its memory may be used again.
    ///
    /// # Safety
    ///
    /// It has been unlinked, or removed, and nobody can come to it any more.
    #[cfg(not(loom))]
    unsafe fn free(self) -> Option<Memory> {
        if !self.removed {
            // SAFETY: the caller's.
            return unsafe { self.kind.free_version(self.version, self.is_lent) };
        }
        let mut memory = None;
        panics::both(
            // SAFETY: the caller's.
            || memory = unsafe { self.kind.free_version(self.version, self.is_lent) },
            // SAFETY: as above, and this was its last version.
            || unsafe { self.kind.free_cell(self.cell) },
        );
        memory
    }

    /// Leaves it where it is, so that the model sees who comes to it.
    #[cfg(loom)]
    unsafe fn free(self) -> Option<Memory> {
        self.version().free_in_model();
        None
    }
}

/// For each version that is kept, the one that is linked to it. The others know theirs: old
/// versions are let go in their order, so that it is still there.
#[derive(Default)]
pub(super) struct Links(HashMap<NonZero<usize>, Link, foldhash::fast::FixedState>);

/// A version.
#[derive(Clone, Copy)]
struct Link(NonNull<Version>);

// SAFETY: it is an address; who follows it says why it may.
unsafe impl Send for Link {}

impl Links {
    /// Takes a version, which may be kept, out of its chain.
    ///
    /// # Safety
    ///
    /// Only the writer does, with a version that has been replaced, and has not been removed,
    /// in the order of their revisions but for those that are kept.
    #[inline]
    pub(super) unsafe fn unlink(&mut self, old: &mut Old) {
        if !self.0.is_empty()
            && let Some(Link(newer)) = self.0.remove(&old.version.addr())
        {
            old.newer = newer;
        }
        // SAFETY: the caller's; the newer one is linked, because it is let go later, or the
        // link was noted anew.
        let (previous, is_lent) = unsafe { unlink(old.newer, old.version) };
        old.is_lent = is_lent;
        if let Some(previous) = previous {
            // What is older and still linked is kept.
            self.0.insert(previous.addr(), Link(old.newer));
        }
    }

    /// Whether none is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets which version is linked to this one.
    pub(super) fn forget(&mut self, old: &Old) {
        self.0.remove(&old.version.addr());
    }

    /// Gives memory back where much more was kept.
    pub(super) fn tidy(&mut self) {
        if self.0.capacity() > PASS_INTERVAL && self.0.len() < self.0.capacity() / 8 {
            self.0.shrink_to(2 * self.0.len());
        }
    }
}

/// How many spares are kept of what is freed.
pub(super) const SPARES: usize = 4 * PASS_INTERVAL;

/// How many spares are made while a map grows.
pub(super) const STOCK: usize = 8 * PASS_INTERVAL;

/// How many old versions stand in a list.
pub(super) const CHUNK: usize = PASS_INTERVAL.div_ceil(2);

/// How many empty lists are kept.
pub(super) const LISTS: usize = 8;

/// What comes from whoever frees, until the writer takes it.
#[derive(Default)]
pub(super) struct Stash {
    pub(super) spares: Spares,
    /// Empty ones.
    pub(super) lists: Vec<Vec<Old>>,
}

/// Old versions in the order in which they were replaced. They stand in short lists, which
/// are handed on whole: so nothing is copied, and no memory is asked for that many threads,
/// each with an allocator's memory of its own, would ask for again and again.
#[derive(Default)]
pub(super) struct Queue {
    /// None is empty.
    lists: VecDeque<Vec<Old>>,
    /// Behind those.
    last: Vec<Old>,
    /// Empty ones.
    pub(super) spares: Vec<Vec<Old>>,
}

impl Queue {
    #[inline]
    pub(super) fn push(&mut self, old: Old) {
        if !self.has_room() {
            self.add_list();
        }
        // Known to have room, `push` writes `old` where it belongs. Otherwise it would have all of it in
        // memory first, in pieces, and wait for them to copy them.
        if !self.has_room() {
            unreachable!("it was given one");
        }
        self.last.push(old);
    }

    /// Whether the last list has room.
    #[inline]
    fn has_room(&self) -> bool {
        self.last.len() < self.last.capacity()
    }

    #[cold]
    fn add_list(&mut self) {
        let list = self.spares.pop();
        let list = list.unwrap_or_else(|| Vec::with_capacity(CHUNK));
        let full = std::mem::replace(&mut self.last, list);
        if !full.is_empty() {
            self.lists.push_back(full);
        }
    }

    /// The first list.
    fn front(&self) -> &[Old] {
        self.lists.front().unwrap_or(&self.last)
    }

    /// Whether all in the first list are ready.
    pub(super) fn is_first(&self, is_ready: impl Fn(&Old) -> bool) -> bool {
        // They were replaced in their order: the last is the one that will be ready last.
        self.front().last().is_some_and(is_ready)
    }

    /// The one that was replaced first.
    pub(super) fn first(&self) -> Option<&Old> {
        self.front().first()
    }

    /// Takes an empty list back.
    pub(super) fn give_back(&mut self, list: Vec<Old>) {
        if self.spares.len() < LISTS && list.capacity() == CHUNK {
            self.spares.push(list);
        }
    }

    /// Takes the first list, if all in it are ready.
    pub(super) fn pop_if(&mut self, is_ready: impl Fn(&Old) -> bool) -> Option<Vec<Old>> {
        self.is_first(is_ready).then(|| {
            let first = self.lists.pop_front();
            first.unwrap_or_else(|| std::mem::take(&mut self.last))
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.front().is_empty()
    }

    /// How many lists there are.
    pub(super) fn len(&self) -> usize {
        self.lists.len() + usize::from(!self.last.is_empty())
    }

    /// Whether so many versions, and up to a list more or less, wait.
    pub(super) fn has(&self, versions: usize) -> bool {
        self.len() >= versions / CHUNK
    }

    pub(super) fn tidy(&mut self) {
        shrink(&mut self.lists);
    }

    /// Forgets those of a map. O(all).
    pub(super) fn forget(&mut self, map: u32) {
        self.lists.retain_mut(|list| {
            list.retain(|old| old.map != map);
            !list.is_empty()
        });
        self.last.retain(|old| old.map != map);
        self.tidy();
    }
}

/// Gives memory back where there was much more.
pub(super) fn shrink<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > PASS_INTERVAL && queue.len() < queue.capacity() / 8 {
        queue.shrink_to(2 * queue.len());
    }
}

/// Frees versions, and has their memory used again. Where a value panics, the rest is freed before
/// that goes on.
///
/// # Safety
///
/// They have been unlinked, or removed, and nobody can come to them any more.
pub(super) unsafe fn free_all(mut list: Vec<Old>, mut stash: Option<&mut Stash>) {
    panics::all(list.drain(..), |old| {
        // SAFETY: the caller's.
        let spare = unsafe { old.free() };
        if let (Some(stash), Some(spare)) = (&mut stash, spare) {
            stash.spares.keep(spare, SPARES);
        }
    });
    if let Some(stash) = stash
        && stash.lists.len() < LISTS
        && list.capacity() == CHUNK
    {
        stash.lists.push(list);
    }
}
