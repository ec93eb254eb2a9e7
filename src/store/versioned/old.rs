//! Versions that have been replaced, until their memory is used again.

use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::num::NonZero;
use std::ptr::NonNull;
use std::sync::Arc;

use hashbrown::HashMap;

use super::chain::{Cell, Version, unlink};
use super::engine::{Indexes, OFTEN, Tables};
use super::lists::{Members, Subscribers};
use crate::hash::RandomState;
use crate::model::record::ServiceInfo;
use crate::store::StoreStats;

/// A version that has been replaced, or a cell that has been removed.
pub(super) enum Old {
    Service(OldVersion<ServiceInfo>),
    Name(OldVersion<Members>),
    Group(OldVersion<Subscribers>),
    Stats(OldVersion<StoreStats>),
}

pub(super) struct OldVersion<V> {
    pub(super) version: NonNull<Version<V>>,
    pub(super) cell: NonNull<Cell<V>>,
    /// The version that replaced it, or one that has taken that one's place.
    pub(super) newer: NonNull<Version<V>>,
    /// Visible up to this revision, exclusively.
    pub(super) until: u64,
    /// Whether it is the last one of a cell that has left its table, and has no newer one.
    pub(super) removed: bool,
    /// Whether its value is another version's to drop.
    pub(super) is_lent: bool,
}

/// The same for each kind.
macro_rules! each {
    ($all:expr, $old:ident => $answer:expr) => {
        match $all {
            Old::Service($old) => $answer,
            Old::Name($old) => $answer,
            Old::Group($old) => $answer,
            Old::Stats($old) => $answer,
        }
    };
}

// SAFETY: it stands for the version, and the cell, that it will free.
unsafe impl<V: Send + Sync> Send for OldVersion<V> {}

impl<V> OldVersion<V> {
    pub(super) fn version(&self) -> &Version<V> {
        // SAFETY: while there is an `OldVersion` of it, it has not been freed: that is what
        // frees it, or else the end of its generation, before which all are forgotten.
        unsafe { self.version.as_ref() }
    }
}

impl Old {
    /// Notes which version is linked to it, unless that has been noted.
    pub(super) fn note_in(&self, links: &mut Links) {
        if !self.is_removed() {
            let (at, newer) = each!(self, old => (old.version.addr(), old.newer.cast()));
            links.0.entry(at).or_insert(Link(newer));
        }
    }

    /// The revision that it was written at.
    pub(super) fn since(&self) -> u64 {
        each!(self, old => old.version().revision)
    }

    /// The revision that it is not visible at any more.
    pub(super) fn until(&self) -> u64 {
        each!(self, old => old.until)
    }

    pub(super) fn is_removed(&self) -> bool {
        each!(self, old => old.removed)
    }

    /// Frees it; the memory of a service's version may be used again.
    ///
    /// # Safety
    ///
    /// It has been unlinked, or removed, and nobody can come to it any more.
    #[cfg(not(loom))]
    unsafe fn free(self) -> Option<Spare> {
        #[allow(clippy::unnecessary_box_returns)] // its memory is used again
        unsafe fn take<V>(old: &OldVersion<V>) -> Spare<V> {
            // SAFETY: the caller's; versions are boxes.
            let mut version = unsafe { Box::from_raw(old.version.as_ptr()) };
            version.release(old.is_lent);
            if old.removed {
                // SAFETY: as above, and this was its last version.
                unsafe { Cell::free(old.cell) };
            }
            version
        }
        match &self {
            // SAFETY: the caller's, in all four.
            Old::Service(old) => return Some(unsafe { take(old) }),
            // SAFETY: as above.
            Old::Name(old) => drop(unsafe { take(old) }),
            // SAFETY: as above.
            Old::Group(old) => drop(unsafe { take(old) }),
            // SAFETY: as above.
            Old::Stats(old) => drop(unsafe { take(old) }),
        }
        None
    }

    /// Leaves it where it is, so that the model sees who comes to it.
    #[cfg(loom)]
    unsafe fn free(self) -> Option<Spare> {
        let freed = each!(&self, old => &old.version().freed);
        freed.store(true, std::sync::atomic::Ordering::Relaxed);
        None
    }
}

/// For each version that is kept, the one that is linked to it. The others know theirs: old
/// versions are let go in their order, so that it is still there.
#[derive(Default)]
pub(super) struct Links(HashMap<NonZero<usize>, Link, RandomState>);

/// A version of any kind.
#[derive(Clone, Copy)]
struct Link(NonNull<()>);

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
    pub(super) unsafe fn unlink<V>(&mut self, old: &mut OldVersion<V>) {
        if !self.0.is_empty()
            && let Some(Link(newer)) = self.0.remove(&old.version.addr())
        {
            old.newer = newer.cast();
        }
        // SAFETY: the caller's; the newer one is linked, because it is let go later, or the
        // link was noted anew.
        let (previous, is_lent) = unsafe { unlink(old.newer, old.version()) };
        old.is_lent = is_lent;
        if let Some(previous) = previous {
            // What is older and still linked is kept.
            self.0.insert(previous.addr(), Link(old.newer.cast()));
        }
    }

    /// Gives memory back where much more was kept.
    pub(super) fn tidy(&mut self) {
        if self.0.capacity() > OFTEN && self.0.len() < self.0.capacity() / 8 {
            self.0.shrink_to(2 * self.0.len());
        }
    }
}

/// The memory of a version, to be used again: a writer that frees scattered memory, and
/// asks the allocator for as much, would touch cold memory each time.
pub(super) type Spare<V = ServiceInfo> = Box<Version<V>>;

/// How many spares are kept of what is freed.
pub(super) const SPARES: usize = 4 * OFTEN;

/// How many spares are made while the store grows.
pub(super) const STOCK: usize = 8 * OFTEN;

/// How many old versions stand in a list.
pub(super) const CHUNK: usize = OFTEN.div_ceil(2);

/// How many empty lists are kept.
pub(super) const LISTS: usize = 8;

/// What comes from whoever frees, until the writer takes it.
#[derive(Default)]
pub(super) struct Stash {
    pub(super) spares: Vec<Spare>,
    /// Empty ones.
    pub(super) lists: Vec<Vec<Old>>,
}

/// Old versions in the order in which they were replaced. They stand in short lists, which
/// are handed on whole: so nothing is copied, and no memory is asked for that many threads,
/// each with an allocator's memory of its own, would ask for again and again.
#[derive(Default)]
pub(super) struct Queue {
    lists: VecDeque<Vec<Old>>,
    /// Empty ones.
    pub(super) spares: Vec<Vec<Old>>,
}

impl Queue {
    #[inline]
    pub(super) fn push(&mut self, old: Old) {
        match self.lists.back_mut() {
            Some(last) if last.len() < CHUNK => last.push(old),
            _ => self.push_list(old),
        }
    }

    #[cold]
    fn push_list(&mut self, old: Old) {
        let list = self.spares.pop();
        let mut list = list.unwrap_or_else(|| Vec::with_capacity(CHUNK));
        list.push(old);
        self.lists.push_back(list);
    }

    /// Whether all in the first list are ready.
    pub(super) fn is_first(&self, is_ready: impl Fn(&Old) -> bool) -> bool {
        let first = self.lists.front();
        // The last is the one that will be ready last, as a rule.
        first.is_some_and(|first| first.iter().rev().all(is_ready))
    }

    /// Takes the first list, if all in it are ready.
    pub(super) fn pop_if(&mut self, is_ready: impl Fn(&Old) -> bool) -> Option<Vec<Old>> {
        self.is_first(is_ready).then(|| self.lists.pop_front())?
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// How many lists there are.
    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) fn len(&self) -> usize {
        self.lists.len()
    }

    /// Whether so many versions, and up to a list more or less, wait.
    pub(super) fn has(&self, versions: usize) -> bool {
        self.lists.len() >= versions / CHUNK
    }

    pub(super) fn tidy(&mut self) {
        shrink(&mut self.lists);
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.lists = VecDeque::new();
    }
}

/// Gives memory back where there was much more.
pub(super) fn shrink<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > OFTEN && queue.len() < queue.capacity() / 8 {
        queue.shrink_to(2 * queue.len());
    }
}

/// What is freed when nobody can come to it any more. Where it is dropped instead, by whatever
/// unwinds, it is leaked.
pub(super) enum Garbage {
    /// They have been unlinked, or removed.
    Versions(Vec<Old>),
    Layout(ManuallyDrop<Arc<Indexes>>),
    Tables(ManuallyDrop<Arc<Tables>>),
}

impl Garbage {
    /// Frees it; its memory may be used again.
    ///
    /// # Safety
    ///
    /// Nobody can come to it any more.
    pub(super) unsafe fn free(self, mut stash: Option<&mut Stash>) {
        match self {
            Garbage::Versions(mut list) => {
                for old in list.drain(..) {
                    // SAFETY: the caller's.
                    let spare = unsafe { old.free() };
                    if let (Some(stash), Some(spare)) = (&mut stash, spare)
                        && stash.spares.len() < SPARES
                    {
                        stash.spares.push(spare);
                    }
                }
                if let Some(stash) = stash
                    && stash.lists.len() < LISTS
                    && list.capacity() == CHUNK
                {
                    stash.lists.push(list);
                }
            }
            Garbage::Layout(layout) => drop(ManuallyDrop::into_inner(layout)),
            Garbage::Tables(tables) => drop(ManuallyDrop::into_inner(tables)),
        }
    }
}
