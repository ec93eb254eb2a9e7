//! A hash table that readers read while the writer writes to it.
//!
//! Open addressing, linear probing. A slot is the head of a key's chain, with five bits of the
//! key's hash in the pointer. A small key is stored in the version, any other key in its cell,
//! whose address is stored beside the head. So a look-up fetches the version and the key from
//! memory at the same time, and not one after the other. Revisions and hashes are stored in arrays
//! of their own. There is one writer at a time.
//!
//! A taken slot belongs to its key until another table replaces this one: see `successor`. When the
//! last version of a key is removed, the slot is *dead*: readers skip it, and no key takes it
//! again. So a reader that iterates over the slots misses no key that was present when it began.

use std::hint::select_unpredictable;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64 as PlainU64;

use equivalent::Equivalent;

use super::blank::Blank;
use super::cell::{Cell, Key};
use super::kind::Shape;
use super::slots::{Pair, Slots};
use super::version::{Head, TAG, Version, Visible, Word, seek};
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Relaxed;

/// The smallest number of slots.
#[cfg(not(any(test, loom)))]
const FEWEST: usize = 8;
#[cfg(any(test, loom))]
const FEWEST: usize = 4;

/// A table. Clones share it. All look-ups use the key type of its cells.
#[derive(Clone)]
pub(super) struct Table {
    slots: Slots,
    /// The revision of each head. Pinned readers do not load it.
    revisions: Arc<[AtomicU64]>,
    /// The hash of the key of each slot that has been taken. Only the writer loads it.
    hashes: Arc<[PlainU64]>,
}

/// A table that is being initialized, a part at a time.
pub(super) struct Unwritten {
    pairs: Blank<Pair>,
    revisions: Blank<AtomicU64>,
    hashes: Blank<PlainU64>,
    slots: usize,
    is_copied: bool,
}

impl Unwritten {
    fn with_room(keys: usize, is_copied: bool) -> Unwritten {
        let slots = if is_copied { keys * 2 } else { keys * 3 / 2 };
        let slots = slots.next_power_of_two().max(FEWEST);
        Unwritten {
            pairs: Blank::new(slots),
            revisions: Blank::new(slots),
            hashes: Blank::new(slots),
            slots,
            is_copied,
        }
    }

    /// Returns the number of slots.
    pub(super) fn len(&self) -> usize {
        self.slots
    }

    /// Writes up to `most` more slots. Returns whether all are written.
    pub(super) fn write(&mut self, most: usize) -> bool {
        self.pairs.write(most) & self.revisions.write(most) & self.hashes.write(most)
    }

    /// Returns the number of written slots.
    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) fn written(&self) -> usize {
        self.pairs.written()
    }

    pub(super) fn finish(self) -> Table {
        Table {
            slots: Slots::new(self.pairs, self.is_copied),
            revisions: self.revisions.finish(),
            hashes: self.hashes.finish(),
        }
    }
}

/// The result of a registered reader's look-up in a table that may not be the newest.
pub(super) enum Found {
    Known(Option<NonNull<Version>>),
    /// The reader has to look in the newest table.
    InNewest,
}

/// A taken slot, as the writer finds it.
#[derive(Clone, Copy)]
pub(super) struct Taken {
    pub(super) at: usize,
    pub(super) newest: NonNull<Version>,
    pub(super) cell: NonNull<Cell>,
}

/// Returns the bits of a hash that are stored in the pointer: the highest, since the lowest select
/// the slot.
#[inline]
fn tag(hash: u64) -> usize {
    #[allow(clippy::cast_possible_truncation)] // five bits
    let tag = (hash >> (u64::BITS - TAG.count_ones())) as usize;
    tag
}

impl Table {
    /// Creates an empty table for this many keys, [copied](Key::is_copied) or not, and some more.
    pub(super) fn with_room(keys: usize, is_copied: bool) -> Table {
        Unwritten::with_room(keys, is_copied).finish()
    }

    /// Creates an unwritten table of the same kind.
    pub(super) fn another(&self, keys: usize) -> Unwritten {
        Unwritten::with_room(keys, self.slots.is_apart())
    }

    /// Returns shares of the three arrays, so that each can be freed on its own.
    pub(super) fn parts(&self) -> [Box<dyn Send>; 3] {
        let Table {
            slots,
            revisions,
            hashes,
        } = self.clone();
        [
            Box::new(slots.pairs()),
            Box::new(revisions),
            Box::new(hashes),
        ]
    }

    /// Returns the number of slots.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns how many slots may be taken or dead: four of five, so that every probe ends soon. If
    /// slots are half as wide, three of five, so that most probes end immediately.
    pub(super) fn room(&self) -> usize {
        self.slots.len() * if self.slots.is_apart() { 3 } else { 4 } / 5
    }

    /// Returns whether the table is far too large for this many keys.
    pub(super) fn is_wide(&self, keys: usize) -> bool {
        if cfg!(any(test, loom)) {
            // A test has few keys.
            return self.slots.len() > FEWEST && keys < self.slots.len() / 4;
        }
        self.slots.len() > 4 * FEWEST && keys < self.slots.len() / 8
    }

    /// Returns the head in a slot.
    #[inline]
    pub(super) fn slot(&self, at: usize) -> Head<'_> {
        Head {
            newest: self.slots.newest(at),
            revision: &self.revisions[at],
        }
    }

    /// Iterates over all slots, with the cells of those that were ever taken.
    pub(super) fn slots(&self) -> impl Iterator<Item = (usize, Head<'_>, Option<NonNull<Cell>>)> {
        (0..self.slots.len()).map(|at| (at, self.slot(at), self.slots.cell(at)))
    }

    /// Returns the slot at which the probe for this hash begins.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        #[allow(clippy::cast_possible_truncation)] // masked
        let home = hash as usize & self.slots.mask();
        home
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        (at + 1) & self.slots.mask()
    }

    /// Probes for this hash up to the first free slot. Yields the slots whose tag matches.
    ///
    /// # Safety
    ///
    /// `is_apart` says whether the keys of the map are [copied](Key::is_copied).
    #[inline]
    unsafe fn probe(&self, hash: u64, is_apart: bool) -> impl Iterator<Item = (usize, Word)> {
        let tag = tag(hash);
        let mut next = self.home(hash);
        std::iter::from_fn(move || {
            loop {
                let at = next;
                next = self.after(at);
                // SAFETY: `home` and `after` mask the number; the caller guarantees the rest.
                let word = Word::load(unsafe { self.slots.newest_unmasked(at, is_apart) });
                if word.is_free() {
                    return None;
                }
                if word.has(tag) {
                    return Some((at, word));
                }
            }
        })
    }

    /// Returns the key's home, or the next slot if the home has another tag: most keys are in one
    /// of the two. A branch would often be mispredicted, so this selects without one. Also returns
    /// the words of both.
    ///
    /// # Safety
    ///
    /// As for [`probe`](Self::probe).
    #[inline]
    unsafe fn near_home(&self, hash: u64, is_apart: bool) -> (usize, Word, [Word; 2]) {
        let home = self.home(hash);
        let next = self.after(home);
        // SAFETY: `home` and `after` mask the numbers; the caller guarantees the rest.
        let load = |at| Word::load(unsafe { self.slots.newest_unmasked(at, is_apart) });
        let words = (load(home), load(next));
        let is_home = words.0.has(tag(hash));
        let at = select_unpredictable(is_home, home, next);
        let word = select_unpredictable(is_home, words.0, words.1);
        (at, word, [words.0, words.1])
    }

    /// Returns the key of a slot in which a version has been found.
    ///
    /// # Safety
    ///
    /// `K` and `V` are the types of the map. The version is not freed for as long as `'a`. The
    /// number comes from one of the functions here.
    #[inline]
    pub(super) unsafe fn key<'a, K: Key + ?Sized, V>(
        &self,
        at: usize,
        version: NonNull<Version>,
    ) -> Option<&'a K> {
        if K::is_copied() {
            // SAFETY: the caller guarantees it.
            return Some(unsafe { Shape::<K, V>::key(version) });
        }
        // SAFETY: a cell is freed with its last version, and that is not freed during `'a`.
        let key = |cell| unsafe { K::of(cell) };
        // SAFETY: the functions here mask the number; keys that are not copied lie beside heads.
        unsafe { self.slots.cell_unmasked(at, false) }.map(key)
    }

    /// Returns whether a slot in which a version has been found belongs to this key.
    ///
    /// # Safety
    ///
    /// As for [`key`](Self::key).
    #[inline]
    unsafe fn is_of<K: Key + ?Sized, V, Q: Equivalent<K> + ?Sized>(
        &self,
        at: usize,
        version: NonNull<Version>,
        key: &Q,
    ) -> bool {
        // SAFETY: the caller guarantees it.
        unsafe { self.key::<K, V>(at, version) }.is_some_and(|own| key.equivalent(own))
    }

    /// Returns the version under a key at a revision.
    ///
    /// # Safety
    ///
    /// As for [`seek`]. The thread has loaded the table while it was pinned, after the revision.
    /// `K` and `V` are the types of the map.
    #[inline]
    pub(super) unsafe fn get<K: Key + ?Sized, V, Q: Equivalent<K> + ?Sized>(
        &self,
        hash: u64,
        key: &Q,
        revision: u64,
    ) -> Option<NonNull<Version>> {
        // SAFETY: the caller guarantees it.
        unsafe { seek(self.first::<K, V, Q>(hash, key)?, revision) }
    }

    /// Returns the newest version under a key, published or not.
    ///
    /// # Safety
    ///
    /// The thread has loaded the table while it was pinned. `K` and `V` are the types of the map.
    #[inline]
    unsafe fn first<K: Key + ?Sized, V, Q: Equivalent<K> + ?Sized>(
        &self,
        hash: u64,
        key: &Q,
    ) -> Option<NonNull<Version>> {
        // SAFETY: `K` is the type of the map's keys.
        let (at, word, near) = unsafe { self.near_home(hash, K::is_copied()) };
        if word.has(tag(hash))
            // SAFETY: the caller is pinned.
            && let Some(first) = unsafe { word.version() }
            // SAFETY: as above.
            && unsafe { self.is_of::<K, V, Q>(at, first, key) }
        {
            return Some(first);
        }
        // If one of the two is free, the search ends: the writer takes the first free slot from
        // home on, and no slot becomes free again. So the key had no slot when that word was
        // loaded, which was after the caller's revision.
        if near[0].is_free() || near[1].is_free() {
            return None;
        }
        // SAFETY: the caller guarantees it.
        unsafe { self.first_anywhere::<K, V, Q>(hash, key) }
    }

    /// As [`first`](Self::first), for a key that may be far from home, or absent.
    ///
    /// # Safety
    ///
    /// As for [`first`](Self::first).
    #[inline(never)]
    unsafe fn first_anywhere<K: Key + ?Sized, V, Q: Equivalent<K> + ?Sized>(
        &self,
        hash: u64,
        key: &Q,
    ) -> Option<NonNull<Version>> {
        // SAFETY: `K` is the type of the map's keys.
        for (at, word) in unsafe { self.probe(hash, K::is_copied()) } {
            // SAFETY: the caller is pinned.
            if let Some(first) = unsafe { word.version() }
                // SAFETY: as above.
                && unsafe { self.is_of::<K, V, Q>(at, first, key) }
            {
                return Some(first);
            }
        }
        None
    }

    /// Returns the version under a key at a revision, for a registered reader that is not pinned.
    ///
    /// # Safety
    ///
    /// As for [`Head::visible_at`]. `K` and `V` are the types of the map.
    #[inline]
    pub(super) unsafe fn get_registered<K: Key + ?Sized, V, Q: Equivalent<K> + ?Sized>(
        &self,
        hash: u64,
        key: &Q,
        revision: u64,
    ) -> Found {
        // SAFETY: `K` is the type of the map's keys.
        for (at, word) in unsafe { self.probe(hash, K::is_copied()) } {
            // SAFETY: the caller guarantees it.
            match unsafe { self.slot(at).visible_at(word, revision) } {
                // SAFETY: a seen version is not freed while the caller reads.
                Visible::Version(version) if unsafe { self.is_of::<K, V, Q>(at, version, key) } => {
                    return Found::Known(Some(version));
                }
                // Another key, with the same tag.
                Visible::Version(_) | Visible::Gone => {}
                Visible::Newer => return Found::InNewest,
            }
        }
        Found::Known(None)
    }

    /// Yields every slot whose key has a version at a revision, with that version, which may have
    /// no value.
    ///
    /// # Safety
    ///
    /// As for [`get`](Self::get), for as long as the iterator is used.
    pub(super) unsafe fn visible<K: Key + ?Sized>(
        &self,
        revision: u64,
    ) -> impl Iterator<Item = (usize, NonNull<Version>)> {
        (0..self.slots.len()).filter_map(move |at| {
            // SAFETY: the number is less than that of the slots; `K` is the type of the keys.
            let newest = unsafe { self.slots.newest_unmasked(at, K::is_copied()) };
            // SAFETY: the caller is pinned.
            let first = unsafe { Word::load(newest).version() }?;
            // SAFETY: the caller guarantees it.
            Some((at, unsafe { seek(first, revision) }?))
        })
    }

    /// Finds the slot of a key, for the writer.
    ///
    /// # Safety
    ///
    /// Only the writer calls this, on the newest table. `K` and `V` are the types of the map.
    #[inline]
    pub(super) unsafe fn find<K: Key + ?Sized, V, Q: Equivalent<K> + ?Sized>(
        &self,
        hash: u64,
        key: &Q,
    ) -> Option<Taken> {
        let is_apart = K::is_copied();
        // SAFETY: `K` is the type of the map's keys.
        let mut slots = unsafe { self.probe(hash, is_apart) };
        slots.find_map(|(at, word)| {
            let newest = word.pointer()?;
            // Brings the revision into the cache while the keys are compared, because the writer
            // stores there next, and that store has to complete before the lock is released.
            std::hint::black_box(self.revisions[at].load(Relaxed));
            // SAFETY: the heads of the newest table lead to no freed version.
            let is_it = unsafe { self.is_of::<K, V, Q>(at, newest, key) };
            // SAFETY: `probe` yields masked numbers; `K` is the type of the keys.
            let cell = unsafe { self.slots.cell_unmasked(at, is_apart) }.filter(|_| is_it)?;
            Some(Taken { at, newest, cell })
        })
    }

    /// Finds the slot of a cell, for the writer.
    ///
    /// # Safety
    ///
    /// As for [`find`](Self::find).
    pub(super) unsafe fn slot_of(&self, cell: NonNull<Cell>) -> Option<usize> {
        // SAFETY: a cell is not freed while it is in the table.
        self.slot_with(unsafe { cell.as_ref() }.hash, cell)
    }

    /// The same, with the hash of the cell's key.
    fn slot_with(&self, hash: u64, cell: NonNull<Cell>) -> Option<usize> {
        // SAFETY: the slots were made for the keys of the map.
        let mut slots = unsafe { self.probe(hash, self.slots.is_apart()) };
        let found = slots.find(|(at, word)| {
            // A dead slot may still lead to a freed cell, at whose address this one was made.
            word.pointer().is_some() && self.slots.cell(*at) == Some(cell)
        });
        found.map(|(at, _)| at)
    }

    /// Puts a version in front of the chain in a slot.
    #[inline]
    pub(super) fn push(&self, at: usize, hash: u64, newest: NonNull<Version>, revision: u64) {
        let newest = newest.as_ptr();
        self.slot(at).push_tagged(newest, revision, tag(hash));
    }

    /// Takes a free slot for a key, with its cell and newest version, and returns the slot. There
    /// must be a free one.
    pub(super) fn take(
        &self,
        hash: u64,
        cell: NonNull<Cell>,
        newest: NonNull<Version>,
        revision: u64,
    ) -> usize {
        let mut at = self.home(hash);
        while !self.slot(at).load().is_free() {
            at = self.after(at);
        }
        self.slots.set_cell(at, cell);
        self.hashes[at].store(hash, Relaxed);
        self.push(at, hash, newest, revision);
        at
    }

    /// Copies a slot of another table into a free slot. Returns whether that slot has a live key.
    /// For the writer.
    pub(super) fn take_from(&self, other: &Table, at: usize) -> bool {
        let (newest, revision) = other.slot(at).parts();
        let (Some(cell), Some(newest)) = (other.slots.cell(at), NonNull::new(newest)) else {
            return false;
        };
        self.take(other.hashes[at].load(Relaxed), cell, newest, revision);
        true
    }

    /// Copies the head in a slot of another table to the same key's slot here, or kills this slot
    /// if the other one is dead. Returns whether the key has a slot here. For the writer.
    pub(super) fn copy_change(&self, other: &Table, at: usize) -> bool {
        let hash = other.hashes[at].load(Relaxed);
        let cell = other.slots.cell(at);
        let Some(own) = cell.and_then(|cell| self.slot_with(hash, cell)) else {
            return false;
        };
        let (newest, revision) = other.slot(at).parts();
        match NonNull::new(newest) {
            Some(newest) => self.push(own, hash, newest, revision),
            None => self.slot(own).kill(),
        }
        true
    }
}
