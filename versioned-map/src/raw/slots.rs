//! The words of a table's slots: for each the head of a key's chain, and the key's cell.
//!
//! Who compares a key with what stands in its cell wants both at once: they lie side by side. Who
//! compares it with its [copy](super::cell::Key::is_copied) in the version has no use for cells: the heads lie together,
//! eight on a cache line, and the cells behind them, [apart](Slots::is_apart).

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
