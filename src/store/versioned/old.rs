//! Versions that have been replaced, until their memory is used again.

use std::collections::VecDeque;
use std::num::NonZero;
use std::ptr::NonNull;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use hashbrown::HashMap;

use super::chain::{Cell, Version, unlink};
use super::engine::{Indexes, OFTEN, Tables};
use super::lists::{Members, Subscribers};
use crate::hash::RandomState;
use crate::model::record::ServiceInfo;
use crate::store::StoreStats;
use crate::sync::atomic::AtomicU64;

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
pub(super) const SPARES: usize = 2 * OFTEN;

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

/// Old versions in the order in which they were replaced, or removed. They stand in short lists, which
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

    /// Takes the first list, if all in it are ready.
    pub(super) fn pop_if(&mut self, is_ready: impl Fn(&Old) -> bool) -> Option<Vec<Old>> {
        // The last is the one that will be ready last, as a rule.
        let is_ready = self.lists.front()?.iter().rev().all(is_ready);
        is_ready.then(|| self.lists.pop_front())?
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// Whether so many versions, and up to a list more or less, wait.
    pub(super) fn has(&self, versions: usize) -> bool {
        self.lists.len() >= versions / CHUNK
    }

    /// Gives memory back where there was much more.
    pub(super) fn tidy(&mut self) {
        if self.lists.capacity() > OFTEN && self.lists.len() < self.lists.capacity() / 8 {
            self.lists.shrink_to(2 * self.lists.len());
        }
    }

    /// Takes all of them.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Old> {
        std::mem::take(&mut self.lists).into_iter().flatten()
    }
}

/// What the epoch's functions have in common with the writer, and outlive it with.
pub(super) struct Reclaimed {
    /// No pinned reader has an older revision than this any more.
    pub(super) passed: AtomicU64,
    /// How many functions the epoch has not run yet; more where one of them panicked.
    pub(super) pending: AtomicUsize,
    pub(super) stash: Mutex<Stash>,
}

impl Reclaimed {
    pub(super) fn new() -> Reclaimed {
        Reclaimed {
            passed: AtomicU64::new(0),
            pending: AtomicUsize::new(0),
            stash: Mutex::default(),
        }
    }

    /// What comes from whoever frees, if nobody else is at it. What a panic has left there is
    /// as good as any.
    pub(super) fn stash(&self) -> Option<std::sync::MutexGuard<'_, Stash>> {
        match self.stash.try_lock() {
            Ok(stash) => Some(stash),
            Err(TryLockError::Poisoned(stash)) => Some(PoisonError::into_inner(stash)),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// What has been unlinked, and is freed when this is dropped. Until a grace period has passed
/// it lies in a [`ManuallyDrop`](std::mem::ManuallyDrop), so that whatever unwinds meanwhile
/// leaks it: the epoch runs functions of others, which may panic, in the middle of a pin.
#[derive(Default)]
pub(super) struct Garbage {
    pub(super) lists: Vec<Vec<Old>>,
    pub(super) layouts: Vec<Arc<Indexes>>,
    pub(super) tables: Vec<Arc<Tables>>,
    /// Where its memory goes.
    pub(super) to: Option<Arc<Reclaimed>>,
}

impl Garbage {
    pub(super) fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.layouts.is_empty() && self.tables.is_empty()
    }
}

impl Drop for Garbage {
    /// Where a value panics as it is dropped, those behind it in the lists are leaked.
    fn drop(&mut self) {
        // Whoever frees may be a reader, who waits for nobody: what cannot be left is freed.
        let mut stash = self.to.as_ref().and_then(|to| to.stash());
        for mut list in self.lists.drain(..) {
            for old in list.drain(..) {
                // SAFETY: who makes a `Garbage` of it hands it to the epoch, or is the last.
                let spare = unsafe { old.free() };
                if let (Some(stash), Some(spare)) = (&mut stash, spare)
                    && stash.spares.len() < SPARES
                {
                    stash.spares.push(spare);
                }
            }
            if let Some(stash) = &mut stash
                && stash.lists.len() < LISTS
                && list.capacity() == CHUNK
            {
                stash.lists.push(list);
            }
        }
    }
}
