//! A hash table that is read while it is written.
//!
//! Open addressing, linear probing; a slot is the head of a key's chain, with six bits of
//! the key's hash in the pointer, and beside it the key's cell. So a look-up fetches the
//! version and the key from memory at the same time, and not one after the
//! other, as it would in a plain hash table. What else belongs to a slot lies in arrays of
//! its own. One writer at a time.
//!
//! A slot that has been taken stays that key's until the table is laid out anew, in
//! another one, which takes the place of this one at once. A key whose last version is
//! gone leaves its slot *dead*: it is passed over, and never taken again. So no reader
//! who goes from slot to slot can miss a key that was there when it began.

use std::hint::select_unpredictable;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64 as PlainU64;

use equivalent::Equivalent;

use super::cell::{Cell, Key};
use super::version::{Glance, Head, TAG, Version, Word, seek};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::atomic::{AtomicPtr, AtomicU64};

/// The fewest slots.
#[cfg(not(any(test, loom)))]
const FEWEST: usize = 8;
#[cfg(any(test, loom))]
const FEWEST: usize = 4;

/// What a reader asks of a slot.
#[repr(C, align(16))]
struct Slot {
    newest: AtomicPtr<Version>,
    /// The key's, once and for all.
    cell: AtomicPtr<Cell>,
}

impl Slot {
    /// Whether the slot is that of this key.
    ///
    /// # Safety
    ///
    /// A version has been found here, which has not been freed, and will not be until this
    /// is done. Keys are of this type.
    #[inline]
    unsafe fn is_of<K: Key + ?Sized, Q: Equivalent<K> + ?Sized>(&self, key: &Q) -> bool {
        // SAFETY: a cell is freed with its last version, and not before.
        self.cell()
            .is_some_and(|cell| key.equivalent(unsafe { K::of(cell) }))
    }

    #[inline]
    fn cell(&self) -> Option<NonNull<Cell>> {
        // Relaxed: it was put there before the first version, which was found by an Acquire.
        NonNull::new(self.cell.load(Relaxed))
    }
}

/// A table. Clones share it. It is asked about keys of the type that its cells were made with.
#[derive(Clone)]
pub(super) struct Table {
    slots: Arc<[Slot]>,
    /// Asked by registered readers only.
    revisions: Arc<[AtomicU64]>,
    /// The hash of the key of each slot that has been taken. Asked by the writer only.
    hashes: Arc<[PlainU64]>,
}

/// What a registered reader finds in a table that may not be the newest.
pub(super) enum Found {
    Here(Option<NonNull<Version>>),
    /// That can be told only in the newest one.
    Elsewhere,
}

/// A slot that has been taken, as the writer finds it.
#[derive(Clone, Copy)]
pub(super) struct Taken {
    pub(super) at: usize,
    pub(super) newest: NonNull<Version>,
    pub(super) cell: NonNull<Cell>,
}

/// The bits of a hash that stand in the pointer; those that the place of a slot is not
/// made of.
#[inline]
fn tag(hash: u64) -> usize {
    #[allow(clippy::cast_possible_truncation)] // six bits
    let tag = (hash >> 58) as usize;
    tag & TAG
}

impl Table {
    /// An empty table for so many keys, and for some more.
    pub(super) fn with_room(keys: usize) -> Table {
        let slots = (keys * 3 / 2).next_power_of_two().max(FEWEST);
        Table {
            slots: (0..slots)
                .map(|_| Slot {
                    newest: AtomicPtr::default(),
                    cell: AtomicPtr::default(),
                })
                .collect(),
            revisions: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            hashes: (0..slots).map(|_| PlainU64::new(0)).collect(),
        }
    }

    /// How many slots may be taken, dead ones included: four of five, so that every search
    /// ends soon.
    pub(super) fn room(&self) -> usize {
        self.slots.len() * 4 / 5
    }

    /// Whether it is far too large for so many keys.
    pub(super) fn is_wide(&self, keys: usize) -> bool {
        if cfg!(any(test, loom)) {
            // A test has few keys.
            return self.slots.len() > FEWEST && keys < self.slots.len() / 4;
        }
        self.slots.len() > 4 * FEWEST && keys < self.slots.len() / 8
    }

    /// A slot.
    #[inline]
    pub(super) fn slot(&self, at: usize) -> Head<'_> {
        Head {
            newest: &self.slots[at].newest,
            revision: &self.revisions[at],
        }
    }

    /// All slots, with the cells of those that were ever taken.
    pub(super) fn slots(&self) -> impl Iterator<Item = (usize, Head<'_>, Option<NonNull<Cell>>)> {
        let slots = self.slots.iter().enumerate();
        slots.map(|(at, slot)| (at, self.slot(at), slot.cell()))
    }

    /// The slots that may be those of a key with this hash, up to the first free one.
    #[inline]
    fn with_hash(&self, hash: u64) -> impl Iterator<Item = (usize, &Slot, Word)> {
        let tag = tag(hash);
        let slots = &*self.slots;
        let mask = slots.len() - 1;
        #[allow(clippy::cast_possible_truncation)] // masked
        let mut next = hash as usize & mask;
        std::iter::from_fn(move || {
            loop {
                let at = next;
                next = (next + 1) & mask;
                let slot = &slots[at];
                let word = Word::load(&slot.newest);
                if word.is_free() {
                    return None;
                }
                if word.has(tag) {
                    return Some((at, slot, word));
                }
            }
        })
    }

    /// The key's home, or the slot behind it where the home has another tag; if that has the
    /// tag. There most keys are found. Which of the two it is is a matter of chance, and no
    /// matter for a branch.
    #[inline]
    fn near_home(&self, hash: u64) -> Option<(&Slot, Word)> {
        let tag = tag(hash);
        let slots = &*self.slots;
        let mask = slots.len() - 1;
        #[allow(clippy::cast_possible_truncation)] // masked
        let home = hash as usize & mask;
        let next = (home + 1) & mask;
        let (first, second) = (&slots[home], &slots[next]);
        let words = (Word::load(&first.newest), Word::load(&second.newest));
        let is_first = words.0.has(tag);
        let slot = select_unpredictable(is_first, first, second);
        let word = select_unpredictable(is_first, words.0, words.1);
        word.has(tag).then_some((slot, word))
    }

    /// The version under a key at a revision.
    ///
    /// # Safety
    ///
    /// As for [`seek`]; the table was loaded while the thread was pinned, after the
    /// revision. Keys are of this type.
    #[inline]
    pub(super) unsafe fn get<K: Key + ?Sized, Q: Equivalent<K> + ?Sized>(
        &self,
        hash: u64,
        key: &Q,
        revision: u64,
    ) -> Option<NonNull<Version>> {
        if let Some((slot, word)) = self.near_home(hash)
            // SAFETY: the caller is pinned.
            && let Some(first) = unsafe { word.version() }
            // SAFETY: as above.
            && unsafe { slot.is_of(key) }
        {
            // SAFETY: the caller's.
            return unsafe { seek(first, revision) };
        }
        // SAFETY: the caller's.
        unsafe { self.get_anywhere(hash, key, revision) }
    }

    /// The same for a key that may be far from home, or nowhere.
    ///
    /// # Safety
    ///
    /// As for [`get`](Self::get).
    #[inline(never)]
    unsafe fn get_anywhere<K: Key + ?Sized, Q: Equivalent<K> + ?Sized>(
        &self,
        hash: u64,
        key: &Q,
        revision: u64,
    ) -> Option<NonNull<Version>> {
        for (_, slot, word) in self.with_hash(hash) {
            // SAFETY: the caller is pinned.
            if let Some(first) = unsafe { word.version() }
                // SAFETY: as above.
                && unsafe { slot.is_of(key) }
            {
                // SAFETY: the caller's.
                return unsafe { seek(first, revision) };
            }
        }
        None
    }

    /// The same for a reader that is registered and not pinned.
    ///
    /// # Safety
    ///
    /// As for [`Head::glance`]. Keys are of this type.
    #[inline]
    pub(super) unsafe fn glance<K: Key + ?Sized, Q: Equivalent<K> + ?Sized>(
        &self,
        hash: u64,
        key: &Q,
        revision: u64,
    ) -> Found {
        for (at, slot, word) in self.with_hash(hash) {
            // SAFETY: the caller's.
            match unsafe { self.slot(at).glance(word, revision) } {
                // SAFETY: what is seen stays for as long as the caller reads.
                Glance::Seen(version) if unsafe { slot.is_of(key) } => {
                    return Found::Here(Some(version));
                }
                // Another key, with the same tag.
                Glance::Seen(_) | Glance::Gone => {}
                Glance::Newer => return Found::Elsewhere,
            }
        }
        Found::Here(None)
    }

    /// Every cell with the version that it has at a revision, which may have no value.
    ///
    /// # Safety
    ///
    /// As for [`get`](Self::get), for as long as the iterator is used.
    pub(super) unsafe fn visible(
        &self,
        revision: u64,
    ) -> impl Iterator<Item = (NonNull<Cell>, NonNull<Version>)> {
        self.slots.iter().filter_map(move |slot| {
            // SAFETY: the caller is pinned.
            let first = unsafe { Word::load(&slot.newest).version() }?;
            // SAFETY: the caller's.
            Some((slot.cell()?, unsafe { seek(first, revision) }?))
        })
    }

    /// The slot of a key, for the writer.
    ///
    /// # Safety
    ///
    /// Only the writer asks, in the newest table. Keys are of this type.
    #[inline]
    pub(super) unsafe fn find<K: Key + ?Sized, Q: Equivalent<K> + ?Sized>(
        &self,
        hash: u64,
        key: &Q,
    ) -> Option<Taken> {
        self.with_hash(hash).find_map(|(at, slot, word)| {
            let newest = word.pointer()?;
            // Brought into the cache while the keys are compared, because what is stored there
            // has to arrive before the lock is given back.
            std::hint::black_box(self.revisions[at].load(Relaxed));
            // SAFETY: what stands in the newest table has not been freed.
            let is_it = unsafe { slot.is_of(key) };
            let cell = slot.cell().filter(|_| is_it)?;
            Some(Taken { at, newest, cell })
        })
    }

    /// The number of a cell's slot, for the writer.
    ///
    /// # Safety
    ///
    /// As for [`find`](Self::find).
    pub(super) unsafe fn slot_of(&self, cell: NonNull<Cell>) -> Option<usize> {
        // SAFETY: a cell has not been freed while it stands in the table.
        let hash = unsafe { cell.as_ref() }.hash;
        let mut slots = self.with_hash(hash);
        let found = slots.find(|(_, slot, word)| {
            // A dead slot may have the cell of one that has been freed, at the same address.
            word.pointer().is_some() && slot.cell() == Some(cell)
        });
        found.map(|(at, ..)| at)
    }

    /// Puts another version in front in a slot.
    #[inline]
    pub(super) fn push(&self, at: usize, hash: u64, newest: NonNull<Version>, revision: u64) {
        let newest = newest.as_ptr();
        self.slot(at).push_with(newest, revision, tag(hash));
    }

    /// Takes a free slot for a key, with what its cell has. There has to be room.
    pub(super) fn take(
        &self,
        hash: u64,
        cell: NonNull<Cell>,
        newest: NonNull<Version>,
        revision: u64,
    ) {
        let mask = self.slots.len() - 1;
        #[allow(clippy::cast_possible_truncation)] // masked
        let mut at = hash as usize & mask;
        while !Word::load(&self.slots[at].newest).is_free() {
            at = (at + 1) & mask;
        }
        self.slots[at].cell.store(cell.as_ptr(), Relaxed);
        self.hashes[at].store(hash, Relaxed);
        self.push(at, hash, newest, revision);
    }

    /// The same keys in another table, which nobody sees yet; for the writer.
    pub(super) fn laid_out_anew(&self, room_for: usize) -> Table {
        let fresh = Table::with_room(room_for);
        for (at, slot, cell) in self.slots() {
            let (newest, revision) = slot.parts();
            if let (Some(cell), Some(newest)) = (cell, NonNull::new(newest)) {
                fresh.take(self.hashes[at].load(Relaxed), cell, newest, revision);
            }
        }
        fresh
    }
}
