//! The words of a table's slots: for each the head of a key's chain, and the key's cell.
//!
//! Who compares a key with what stands in its cell wants both at once: they lie side by side. Who
//! compares it with its [copy](super::cell::Key::is_copied) in the version has no use for cells: the heads lie together,
//! eight on a cache line, and the cells behind them, [apart](Slots::is_apart).
//!
//! # Why this layout
//!
//! A look-up should wait for as few loads in a row as one in a plain hash map: the slot, then the
//! key's text. So head and cell lie side by side and are fetched at once; revisions and hashes, which
//! only other look-ups need, are arrays of their own; and the home of a key and the slot behind it are
//! looked at together, and selected without a branch, since a quarter of all keys are not at home.
//! Slots of one word, with the cell behind a version of two cache lines, took 110 ns instead of 60 in a
//! pinned view of 100,000 services (24 November 2026).
//!
//! For small keys, a look-up in a pinned view to one in a bare `hashbrown` map (medians of a throw-away
//! program, 2026-11-29, other programs at work: differences below a tenth say nothing):
//!
//! | | 1,000 keys | 20,000 | 262,144 |
//! | --- | --- | --- | --- |
//! | slots of 16 bytes, the key beside the head | 1.37 | 1.82 | 1.56 to 1.64 |
//! | **heads of 8 bytes, the key in the version** | **1.10** | **1.67** | **1.26** |
//! | the same with twice as many slots | 1.14 | 1.53 | 1.35 |
//! | the next slot only where home has another tag, without a branch | 1.19 | 1.74 | 1.32 to 1.37 |
//! | a branch after home | 1.15 | 2.47 | 1.30 to 1.41 |
//! | groups of eight tags in a word, as in a `SwissTable` | 1.58 | 1.92 | 1.80 |
//!
//! (The last row is of another run, in which the bold one had 1.13, 2.11 and 1.36.) Groups of tags have
//! three steps that wait for each other; they make misses cheaper, and hits only in full tables. Where
//! tables are full, probes go beyond the second slot: tables of small keys are at most 60 % full,
//! others 80 %.

use std::ptr::NonNull;
use std::sync::Arc;

use super::blank::Blank;
use super::cell::Cell;
use super::version::Version;
use crate::sync::atomic::AtomicPtr;
use crate::sync::atomic::Ordering::Relaxed;

/// Two words of one slot, or of two.
#[derive(Default)]
#[repr(C, align(16))]
pub(super) struct Pair([AtomicPtr<Version>; 2]);

/// As many slots as there are pairs, which is a power of two.
#[derive(Clone)]
pub(super) struct Slots {
    pairs: Arc<[Pair]>,
    mask: usize,
    /// From one head to the next: 1 where cells lie apart, and otherwise 2.
    stride: usize,
}

impl Slots {
    /// Free ones. As many as are a power of two.
    pub(super) fn new(pairs: Blank<Pair>, is_apart: bool) -> Slots {
        let pairs = pairs.finish();
        assert!(pairs.len().is_power_of_two());
        Slots {
            mask: pairs.len() - 1,
            pairs,
            stride: if is_apart { 1 } else { 2 },
        }
    }

    /// A share in them.
    pub(super) fn pairs(&self) -> Arc<[Pair]> {
        self.pairs.clone()
    }

    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// What leaves the number of a slot of anything.
    #[inline]
    pub(super) fn mask(&self) -> usize {
        self.mask
    }

    /// Whether cells lie apart from heads.
    #[inline]
    pub(super) fn is_apart(&self) -> bool {
        self.stride == 1
    }

    /// # Safety
    ///
    /// There are two words for each slot.
    #[inline]
    unsafe fn word(&self, number: usize) -> &AtomicPtr<Version> {
        debug_assert!(number < 2 * self.len());
        // SAFETY: the caller's; pairs are nothing but their words.
        unsafe { &*self.pairs.as_ptr().cast::<AtomicPtr<Version>>().add(number) }
    }

    /// The newest version of the key of a slot, with a tag.
    #[inline]
    pub(super) fn newest(&self, at: usize) -> &AtomicPtr<Version> {
        // SAFETY: it is masked.
        unsafe { self.newest_unmasked(at & self.mask, self.is_apart()) }
    }

    /// The same. Whether cells lie apart is known to whoever knows the types of a map, and not looked
    /// at again.
    ///
    /// # Safety
    ///
    /// The number is masked.
    #[inline]
    pub(super) unsafe fn newest_unmasked(&self, at: usize, is_apart: bool) -> &AtomicPtr<Version> {
        debug_assert_eq!(self.is_apart(), is_apart);
        // SAFETY: the caller's.
        unsafe { self.word(if is_apart { at } else { 2 * at }) }
    }

    /// Where the cell of a slot stands, as a pointer to something else.
    ///
    /// # Safety
    ///
    /// The number is masked.
    #[inline]
    unsafe fn beside(&self, at: usize, is_apart: bool) -> &AtomicPtr<Version> {
        debug_assert_eq!(self.is_apart(), is_apart);
        let number = if is_apart {
            self.mask + 1 + at
        } else {
            2 * at + 1
        };
        // SAFETY: the caller's.
        unsafe { self.word(number) }
    }

    /// The cell of a slot that was ever taken.
    #[inline]
    pub(super) fn cell(&self, at: usize) -> Option<NonNull<Cell>> {
        // SAFETY: it is masked.
        unsafe { self.cell_unmasked(at & self.mask, self.is_apart()) }
    }

    /// The same, as for [`newest_unmasked`](Self::newest_unmasked).
    ///
    /// # Safety
    ///
    /// As there.
    #[inline]
    pub(super) unsafe fn cell_unmasked(&self, at: usize, is_apart: bool) -> Option<NonNull<Cell>> {
        // Relaxed: it was put there before the first version, which was found by an Acquire.
        // SAFETY: the caller's.
        NonNull::new(unsafe { self.beside(at, is_apart) }.load(Relaxed).cast())
    }

    /// Has a slot be that of a cell, once and for all.
    pub(super) fn set_cell(&self, at: usize, cell: NonNull<Cell>) {
        // SAFETY: it is masked.
        let beside = unsafe { self.beside(at & self.mask, self.is_apart()) };
        beside.store(cell.as_ptr().cast(), Relaxed);
    }
}
