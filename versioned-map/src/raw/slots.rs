//! The words of a table's slots: for each slot the head of its key's chain, and the key's cell.
//!
//! A reader that compares keys with those in cells needs head and cell at once: they lie side by
//! side. A reader that compares keys with their [copies](super::cell::Key::is_copied) in versions
//! needs no cells: the heads lie together, eight on a cache line, and the cells behind them,
//! [apart](Slots::is_apart).
//!
//! # Why this layout
//!
//! A look-up should wait for as few dependent loads as one in a plain hash map: the slot, then the
//! key's text. So head and cell lie side by side and are fetched at once. Revisions and hashes,
//! which a pinned look-up does not need, are arrays of their own. A look-up loads the key's home
//! slot and the next slot together, and selects one without a branch, since a quarter of all keys
//! are not at home. Slots of one word, with the cell behind a version of two cache lines, took 110
//! ns instead of 60 in a pinned view of 100,000 services (24 November 2026).
//!
//! For small keys, the time of a look-up in a pinned view relative to one in a bare `hashbrown` map
//! (medians of a throw-away program, 2026-11-29, with other programs at work: differences below a
//! tenth mean nothing):
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
//! (The last row is from another run, in which the bold row had 1.13, 2.11 and 1.36.) Groups of
//! tags need three dependent steps; they make misses cheaper, and hits only in full tables. In full
//! tables, probes go beyond the second slot: so tables of small keys are at most 60 % full, others
//! 80 %.

use std::ptr::NonNull;
use std::sync::Arc;

use super::blank::Blank;
use super::cell::Cell;
use super::version::Version;
use crate::sync::atomic::AtomicPtr;
use crate::sync::atomic::Ordering::Relaxed;

/// The two words of one slot, or one word each of two.
#[derive(Default)]
#[repr(C, align(16))]
pub(super) struct Pair([AtomicPtr<Version>; 2]);

/// The slots of a table. There are as many as pairs: a power of two.
#[derive(Clone)]
pub(super) struct Slots {
    pairs: Arc<[Pair]>,
    mask: usize,
    /// Words from one head to the next: 1 if cells lie apart, otherwise 2.
    stride: usize,
}

impl Slots {
    /// Returns free slots. Panics if their number is not a power of two.
    pub(super) fn new(pairs: Blank<Pair>, is_apart: bool) -> Slots {
        let pairs = pairs.finish();
        assert!(pairs.len().is_power_of_two());
        Slots {
            mask: pairs.len() - 1,
            pairs,
            stride: if is_apart { 1 } else { 2 },
        }
    }

    /// Returns a share in the pairs.
    pub(super) fn pairs(&self) -> Arc<[Pair]> {
        self.pairs.clone()
    }

    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Returns the mask that reduces a hash to the number of a slot.
    #[inline]
    pub(super) fn mask(&self) -> usize {
        self.mask
    }

    /// Returns whether cells lie apart from heads.
    #[inline]
    pub(super) fn is_apart(&self) -> bool {
        self.stride == 1
    }

    /// # Safety
    ///
    /// `number` is less than twice the number of slots.
    #[inline]
    unsafe fn word(&self, number: usize) -> &AtomicPtr<Version> {
        debug_assert!(number < 2 * self.len());
        // SAFETY: the caller guarantees it; pairs consist of nothing but words.
        unsafe { &*self.pairs.as_ptr().cast::<AtomicPtr<Version>>().add(number) }
    }

    /// Returns the first word of a slot's head: the newest version, with a tag.
    #[inline]
    pub(super) fn newest(&self, at: usize) -> &AtomicPtr<Version> {
        // SAFETY: the number is masked, and the slots know whether cells lie apart.
        unsafe { self.newest_unmasked(at & self.mask, self.is_apart()) }
    }

    /// The same. A caller that knows the types of the map passes whether cells lie apart, which is
    /// then not loaded.
    ///
    /// # Safety
    ///
    /// The number is masked, and `is_apart` is what [`new`](Self::new) was given.
    #[inline]
    pub(super) unsafe fn newest_unmasked(&self, at: usize, is_apart: bool) -> &AtomicPtr<Version> {
        debug_assert_eq!(self.is_apart(), is_apart);
        // SAFETY: the caller guarantees it.
        unsafe { self.word(if is_apart { at } else { 2 * at }) }
    }

    /// Returns the word of a slot's cell, cast to a pointer to a version.
    ///
    /// # Safety
    ///
    /// The number is masked, and `is_apart` is what [`new`](Self::new) was given.
    #[inline]
    unsafe fn beside(&self, at: usize, is_apart: bool) -> &AtomicPtr<Version> {
        debug_assert_eq!(self.is_apart(), is_apart);
        let number = if is_apart {
            self.mask + 1 + at
        } else {
            2 * at + 1
        };
        // SAFETY: the caller guarantees it.
        unsafe { self.word(number) }
    }

    /// Returns the cell of a slot, if it was ever taken.
    #[inline]
    pub(super) fn cell(&self, at: usize) -> Option<NonNull<Cell>> {
        // SAFETY: the number is masked, and the slots know whether cells lie apart.
        unsafe { self.cell_unmasked(at & self.mask, self.is_apart()) }
    }

    /// The same, as for [`newest_unmasked`](Self::newest_unmasked).
    ///
    /// # Safety
    ///
    /// As there.
    #[inline]
    pub(super) unsafe fn cell_unmasked(&self, at: usize, is_apart: bool) -> Option<NonNull<Cell>> {
        // Relaxed: the writer stored it before the slot's first version, which an Acquire has
        // loaded.
        // SAFETY: the caller guarantees it.
        NonNull::new(unsafe { self.beside(at, is_apart) }.load(Relaxed).cast())
    }

    /// Assigns a slot to a cell, for as long as the table lives.
    pub(super) fn set_cell(&self, at: usize, cell: NonNull<Cell>) {
        // SAFETY: the number is masked, and the slots know whether cells lie apart.
        let beside = unsafe { self.beside(at & self.mask, self.is_apart()) };
        beside.store(cell.as_ptr().cast(), Relaxed);
    }
}
