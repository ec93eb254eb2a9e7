//! Replaced versions, from their replacement until their memory is used again.

use std::collections::{HashMap, VecDeque};
use std::num::NonZero;
use std::ptr::NonNull;

use super::cell::Cell;
use super::kind::Kind;
use super::limits::PASS_INTERVAL;
use super::panics;
use super::spares::{Block, Memory, Spares};
#[cfg(not(loom))]
use super::version::Contents;
use super::version::{Version, unlink};

/// A version that has been replaced, or the last version of a removed cell.
pub(super) struct Replaced {
    pub(super) kind: &'static Kind,
    /// The number of the map.
    pub(super) map: u32,
    /// Whether this is the last version of a cell that has left its table. It has no newer version.
    pub(super) removed: bool,
    /// Whether another version owns the value, and drops it.
    pub(super) is_lent: bool,
    pub(super) version: NonNull<Version>,
    pub(super) cell: NonNull<Cell>,
    /// The version that replaced this one, or the version that links to this one instead.
    pub(super) newer: NonNull<Version>,
    /// The version is visible before this revision.
    pub(super) until: u64,
}

// SAFETY: a `Replaced` owns the version, or cell, that it will free. Threads may send and share the
// versions and cells of a map, as `Map` says.
unsafe impl Send for Replaced {}

impl Replaced {
    pub(super) fn version(&self) -> &Version {
        // SAFETY: the version lives as long as its `Replaced`. Either the `Replaced` frees it, or
        // its generation does at its end. Before that end the writer forgets every `Replaced` of
        // the generation.
        unsafe { self.version.as_ref() }
    }

    /// Returns the revision of the version.
    pub(super) fn since(&self) -> u64 {
        self.version().revision
    }

    /// Records which version links to this one, unless that is recorded already.
    pub(super) fn record_link(&self, links: &mut Links) {
        if !self.removed {
            let link = Link(self.newer);
            links.0.entry(self.version.addr()).or_insert(link);
        }
    }

    /// Adds the version's memory to the spares.
    ///
    /// # Safety
    ///
    /// The version has been unlinked, nothing in it needs to be dropped, its memory has this size,
    /// and no thread can reach it any more.
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
                // A reader that stands on it in error finds no value, so that the test fails.
                let nothing = Version::new(0, std::ptr::null_mut(), Contents::Absent);
                // SAFETY: the caller guarantees it.
                unsafe { self.version.write(nothing) };
            }
            // SAFETY: the caller guarantees it.
            unsafe { spares.keep_block(self.version.cast(), block) };
        }
    }

    /// Frees the version or cell. Returns the version's memory if it may be used again.
    ///
    /// # Safety
    ///
    /// The version has been unlinked, or the cell removed, and no thread can reach it any more.
    #[cfg(not(loom))]
    unsafe fn free(self) -> Option<Memory> {
        if !self.removed {
            // SAFETY: the caller guarantees it.
            return unsafe { self.kind.free_version(self.version, self.is_lent) };
        }
        let mut memory = None;
        panics::both(
            // SAFETY: the caller guarantees it.
            || memory = unsafe { self.kind.free_version(self.version, self.is_lent) },
            // SAFETY: as above, and this was the cell's last version.
            || unsafe { self.kind.free_cell(self.cell) },
        );
        memory
    }

    /// Only marks the version as freed, so that a model detects later accesses.
    #[cfg(loom)]
    unsafe fn free(self) -> Option<Memory> {
        self.version().free_in_model();
        None
    }
}

/// For each kept version: the newer version that links to it. For other old versions that is
/// [`Replaced::newer`], which is still linked, because old versions are unlinked in their order.
#[derive(Default)]
pub(super) struct Links(HashMap<NonZero<usize>, Link, foldhash::fast::FixedState>);

/// The address of a version.
#[derive(Clone, Copy)]
struct Link(NonNull<Version>);

// SAFETY: it is an address; code that dereferences it argues why it may.
unsafe impl Send for Link {}

impl Links {
    /// Unlinks a version from its chain. It may be a kept one.
    ///
    /// # Safety
    ///
    /// Only the writer calls this, with a version that has been replaced, and not removed. Versions
    /// come in the order of their revisions, except those that were kept.
    #[inline]
    pub(super) unsafe fn unlink(&mut self, old: &mut Replaced) {
        if !self.0.is_empty()
            && let Some(Link(newer)) = self.0.remove(&old.version.addr())
        {
            old.newer = newer;
        }
        // SAFETY: the caller guarantees it. The newer version is still linked, because it is
        // unlinked later than this one, or another version was recorded instead of it.
        let (previous, is_lent) = unsafe { unlink(old.newer, old.version) };
        old.is_lent = is_lent;
        if let Some(previous) = previous {
            // An older version that is still linked is a kept one.
            self.0.insert(previous.addr(), Link(old.newer));
        }
    }

    /// Returns whether no kept version is linked.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets which version links to this one.
    pub(super) fn forget(&mut self, old: &Replaced) {
        self.0.remove(&old.version.addr());
    }

    /// Shrinks the table if it was much larger.
    pub(super) fn shrink(&mut self) {
        if self.0.capacity() > PASS_INTERVAL && self.0.len() < self.0.capacity() / 8 {
            self.0.shrink_to(2 * self.0.len());
        }
    }
}

/// The largest number of spares kept from freed versions, per size.
pub(super) const MOST_SPARES: usize = 4 * PASS_INTERVAL;

/// The largest number of spares made while a map grows.
pub(super) const STOCK: usize = 8 * PASS_INTERVAL;

/// The length of a list of old versions.
pub(super) const CHUNK: usize = PASS_INTERVAL.div_ceil(2);

/// The largest number of empty lists kept.
pub(super) const MOST_EMPTY_LISTS: usize = 8;

/// Memory that freeing threads leave here for the writer.
#[derive(Default)]
pub(super) struct Stash {
    pub(super) spares: Spares,
    /// Empty lists.
    pub(super) empty_lists: Vec<Vec<Replaced>>,
}

/// Replaced versions in the order of replacement, in short lists that move as a whole. So nothing
/// is copied, and lists are reused: otherwise many threads, each with its own memory of the
/// allocator, would allocate lists again and again.
#[derive(Default)]
pub(super) struct Queue {
    /// Full or partly full lists; none is empty.
    lists: VecDeque<Vec<Replaced>>,
    /// The last list, to which `push` appends.
    last: Vec<Replaced>,
    /// Empty lists.
    pub(super) empty_lists: Vec<Vec<Replaced>>,
}

impl Queue {
    #[inline]
    pub(super) fn push(&mut self, old: Replaced) {
        if !self.has_room() {
            self.add_list();
        }
        // If the compiler knows that there is room, `Vec::push` writes `old` in place. Otherwise it
        // first builds `old` elsewhere in memory, in pieces, and waits for the pieces before it
        // copies them.
        if !self.has_room() {
            unreachable!("`add_list` has added a list with room");
        }
        self.last.push(old);
    }

    /// Returns whether the last list has room.
    #[inline]
    fn has_room(&self) -> bool {
        self.last.len() < self.last.capacity()
    }

    #[cold]
    fn add_list(&mut self) {
        let list = self.empty_lists.pop();
        let list = list.unwrap_or_else(|| Vec::with_capacity(CHUNK));
        let full = std::mem::replace(&mut self.last, list);
        if !full.is_empty() {
            self.lists.push_back(full);
        }
    }

    /// Returns the first list.
    fn front(&self) -> &[Replaced] {
        self.lists.front().unwrap_or(&self.last)
    }

    /// Returns whether all versions of the first list are ready.
    pub(super) fn is_first_list_ready(&self, is_ready: impl Fn(&Replaced) -> bool) -> bool {
        // The list is in the order of replacement: its last version is the last to be ready.
        self.front().last().is_some_and(is_ready)
    }

    /// Returns the version that was replaced first.
    pub(super) fn first(&self) -> Option<&Replaced> {
        self.front().first()
    }

    /// Keeps an empty list for reuse, if there is room for it.
    pub(super) fn keep_empty_list(&mut self, list: Vec<Replaced>) {
        if self.empty_lists.len() < MOST_EMPTY_LISTS && list.capacity() == CHUNK {
            self.empty_lists.push(list);
        }
    }

    /// Removes and returns the first list, if all its versions are ready.
    pub(super) fn pop_if(&mut self, is_ready: impl Fn(&Replaced) -> bool) -> Option<Vec<Replaced>> {
        self.is_first_list_ready(is_ready).then(|| {
            let first = self.lists.pop_front();
            first.unwrap_or_else(|| std::mem::take(&mut self.last))
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.front().is_empty()
    }

    /// Returns the number of lists.
    pub(super) fn len(&self) -> usize {
        self.lists.len() + usize::from(!self.last.is_empty())
    }

    /// Returns whether at least about this many versions wait. It may be wrong by one list.
    pub(super) fn has_at_least(&self, versions: usize) -> bool {
        self.len() >= versions / CHUNK
    }

    pub(super) fn shrink(&mut self) {
        shrink(&mut self.lists);
    }

    /// Forgets the versions of a map. O(all versions in the queue).
    pub(super) fn forget(&mut self, map: u32) {
        self.lists.retain_mut(|list| {
            list.retain(|old| old.map != map);
            !list.is_empty()
        });
        self.last.retain(|old| old.map != map);
        self.shrink();
    }
}

/// Shrinks a queue that was much longer.
pub(super) fn shrink<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > PASS_INTERVAL && queue.len() < queue.capacity() / 8 {
        queue.shrink_to(2 * queue.len());
    }
}

/// Frees versions, and keeps their memory for reuse. If the `Drop` of a value panics, frees the
/// rest before it resumes the panic.
///
/// # Safety
///
/// The versions have been unlinked, or removed, and no thread can reach them any more.
pub(super) unsafe fn free_all(mut list: Vec<Replaced>, mut stash: Option<&mut Stash>) {
    panics::all(list.drain(..), |old| {
        // SAFETY: the caller guarantees it.
        let spare = unsafe { old.free() };
        if let (Some(stash), Some(spare)) = (&mut stash, spare) {
            stash.spares.keep(spare, MOST_SPARES);
        }
    });
    if let Some(stash) = stash
        && stash.empty_lists.len() < MOST_EMPTY_LISTS
        && list.capacity() == CHUNK
    {
        stash.empty_lists.push(list);
    }
}
