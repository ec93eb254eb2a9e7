//! A hash table that is read while it is written.
//!
//! Open addressing, linear probing; a slot is the head of a key's chain, with five bits of
//! the key's hash in the pointer. The key stands in the version where it is small, and otherwise in the
//! key's cell, which stands beside the head: so a look-up fetches the version and the key from memory
//! at the same time, and not one after the other, as it would in a plain hash table. What else
//! belongs to a slot lies in arrays of its own. One writer at a time.
//!
//! A slot that has been taken stays that key's until another table takes the place of this one
//! at once: see `successor`. A key whose last version is
//! gone leaves its slot *dead*: it is passed over, and never taken again. So no reader
//! who goes from slot to slot can miss a key that was there when it began.

use std::hint::select_unpredictable;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64 as PlainU64;

use equivalent::Equivalent;

use super::blank::Blank;
use super::cell::{Cell, Key};
use super::kind::Shape;
use super::slots::{Pair, Slots};
use super::version::{Glance, Head, TAG, Version, Word, seek};
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Relaxed;

/// The fewest slots.
#[cfg(not(any(test, loom)))]
const FEWEST: usize = 8;
#[cfg(any(test, loom))]
const FEWEST: usize = 4;

/// A table. Clones share it. It is asked about keys of the type that its cells were made with.
#[derive(Clone)]
pub(super) struct Table {
    slots: Slots,
    /// Asked by registered readers only.
    revisions: Arc<[AtomicU64]>,
    /// The hash of the key of each slot that has been taken. Asked by the writer only.
    hashes: Arc<[PlainU64]>,
}

/// A table of which a part has been written.
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

    /// How many slots it has.
    pub(super) fn len(&self) -> usize {
        self.slots
    }

    /// Writes up to so many slots more; answers whether all have been.
    pub(super) fn write(&mut self, most: usize) -> bool {
        self.pairs.write(most) & self.revisions.write(most) & self.hashes.write(most)
    }

    /// How many slots have been written.
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
    #[allow(clippy::cast_possible_truncation)] // five bits
    let tag = (hash >> (u64::BITS - TAG.count_ones())) as usize;
    tag
}

impl Table {
    /// An empty table for so many keys, which are [copied](Key::is_copied) or not, and for some more.
    pub(super) fn with_room(keys: usize, is_copied: bool) -> Table {
        Unwritten::with_room(keys, is_copied).finish()
    }

    /// The same, to be written.
    pub(super) fn another(&self, keys: usize) -> Unwritten {
        Unwritten::with_room(keys, self.slots.is_apart())
    }

    /// Shares in its arrays.
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

    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many slots may be taken, dead ones included: four of five, so that every search
    /// ends soon; where slots are half as wide, three, so that most of them end at once.
    pub(super) fn room(&self) -> usize {
        self.slots.len() * if self.slots.is_apart() { 3 } else { 4 } / 5
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
            newest: self.slots.newest(at),
            revision: &self.revisions[at],
        }
    }

    /// All slots, with the cells of those that were ever taken.
    pub(super) fn slots(&self) -> impl Iterator<Item = (usize, Head<'_>, Option<NonNull<Cell>>)> {
        (0..self.slots.len()).map(|at| (at, self.slot(at), self.slots.cell(at)))
    }

    /// The home of a key with this hash.
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

    /// The slots that may be those of a key with this hash, up to the first free one.
    #[inline]
    fn with_hash(&self, hash: u64, is_apart: bool) -> impl Iterator<Item = (usize, Word)> {
        let tag = tag(hash);
        let mut next = self.home(hash);
        std::iter::from_fn(move || {
            loop {
                let at = next;
                next = self.after(at);
                // SAFETY: `home` and `after` have masked it.
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

    /// The key's home, or the slot behind it where the home has another tag: there most keys are
    /// found. Which of the two it is is a matter of chance, and no matter for a branch. The words of
    /// both come with it.
    #[inline]
    fn near_home(&self, hash: u64, is_apart: bool) -> (usize, Word, [Word; 2]) {
        let home = self.home(hash);
        let next = self.after(home);
        // SAFETY: both have been masked.
        let load = |at| Word::load(unsafe { self.slots.newest_unmasked(at, is_apart) });
        let words = (load(home), load(next));
        let is_home = words.0.has(tag(hash));
        let at = select_unpredictable(is_home, home, next);
        let word = select_unpredictable(is_home, words.0, words.1);
        (at, word, [words.0, words.1])
    }

    /// The key of a slot in which a version has been found.
    ///
    /// # Safety
    ///
    /// Keys and values are of these types; the version has not been freed, and is not for as long
    /// as `'a`. The number comes from one of the functions here.
    #[inline]
    pub(super) unsafe fn key<'a, K: Key + ?Sized, V>(
        &self,
        at: usize,
        version: NonNull<Version>,
    ) -> Option<&'a K> {
        if K::is_copied() {
            // SAFETY: the caller's.
            return Some(unsafe { Shape::<K, V>::key(version) });
        }
        // SAFETY: a cell is freed with its last version, and not before.
        let key = |cell| unsafe { K::of(cell) };
        // SAFETY: the number is masked.
        unsafe { self.slots.cell_unmasked(at, false) }.map(key)
    }

    /// Whether a slot in which a version has been found is that of this key.
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
        // SAFETY: the caller's.
        unsafe { self.key::<K, V>(at, version) }.is_some_and(|own| key.equivalent(own))
    }

    /// The version under a key at a revision.
    ///
    /// # Safety
    ///
    /// As for [`seek`]; the table was loaded while the thread was pinned, after the
    /// revision. Keys and values are of these types.
    #[inline]
    pub(super) unsafe fn get<K: Key + ?Sized, V, Q: Equivalent<K> + ?Sized>(
        &self,
        hash: u64,
        key: &Q,
        revision: u64,
    ) -> Option<NonNull<Version>> {
        let (at, word, near) = self.near_home(hash, K::is_copied());
        if word.has(tag(hash))
            // SAFETY: the caller is pinned.
            && let Some(first) = unsafe { word.version() }
            // SAFETY: as above.
            && unsafe { self.is_of::<K, V, Q>(at, first, key) }
        {
            // SAFETY: the caller's.
            return unsafe { seek(first, revision) };
        }
        // Where one of the two is free, the search ends: the writer takes the first free slot from
        // home on, and no slot becomes free again. So the key had no slot when that one was loaded,
        // which was after the revision.
        if near[0].is_free() || near[1].is_free() {
            return None;
        }
        // SAFETY: the caller's.
        unsafe { self.get_anywhere::<K, V, Q>(hash, key, revision) }
    }

    /// The same for a key that may be far from home, or nowhere.
    ///
    /// # Safety
    ///
    /// As for [`get`](Self::get).
    #[inline(never)]
    unsafe fn get_anywhere<K: Key + ?Sized, V, Q: Equivalent<K> + ?Sized>(
        &self,
        hash: u64,
        key: &Q,
        revision: u64,
    ) -> Option<NonNull<Version>> {
        for (at, word) in self.with_hash(hash, K::is_copied()) {
            // SAFETY: the caller is pinned.
            if let Some(first) = unsafe { word.version() }
                // SAFETY: as above.
                && unsafe { self.is_of::<K, V, Q>(at, first, key) }
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
    /// As for [`Head::glance`]. Keys and values are of these types.
    #[inline]
    pub(super) unsafe fn glance<K: Key + ?Sized, V, Q: Equivalent<K> + ?Sized>(
        &self,
        hash: u64,
        key: &Q,
        revision: u64,
    ) -> Found {
        for (at, word) in self.with_hash(hash, K::is_copied()) {
            // SAFETY: the caller's.
            match unsafe { self.slot(at).glance(word, revision) } {
                // SAFETY: what is seen stays for as long as the caller reads.
                Glance::Seen(version) if unsafe { self.is_of::<K, V, Q>(at, version, key) } => {
                    return Found::Here(Some(version));
                }
                // Another key, with the same tag.
                Glance::Seen(_) | Glance::Gone => {}
                Glance::Newer => return Found::Elsewhere,
            }
        }
        Found::Here(None)
    }

    /// Every slot with the version that its key has at a revision, which may have no value.
    ///
    /// # Safety
    ///
    /// As for [`get`](Self::get), for as long as the iterator is used.
    pub(super) unsafe fn visible<K: Key + ?Sized>(
        &self,
        revision: u64,
    ) -> impl Iterator<Item = (usize, NonNull<Version>)> {
        (0..self.slots.len()).filter_map(move |at| {
            // SAFETY: there is such a slot.
            let newest = unsafe { self.slots.newest_unmasked(at, K::is_copied()) };
            // SAFETY: the caller is pinned.
            let first = unsafe { Word::load(newest).version() }?;
            // SAFETY: the caller's.
            Some((at, unsafe { seek(first, revision) }?))
        })
    }

    /// The slot of a key, for the writer.
    ///
    /// # Safety
    ///
    /// Only the writer asks, in the newest table. Keys and values are of these types.
    #[inline]
    pub(super) unsafe fn find<K: Key + ?Sized, V, Q: Equivalent<K> + ?Sized>(
        &self,
        hash: u64,
        key: &Q,
    ) -> Option<Taken> {
        let is_apart = K::is_copied();
        self.with_hash(hash, is_apart).find_map(|(at, word)| {
            let newest = word.pointer()?;
            // Brought into the cache while the keys are compared, because what is stored there
            // has to arrive before the lock is given back.
            std::hint::black_box(self.revisions[at].load(Relaxed));
            // SAFETY: what stands in the newest table has not been freed.
            let is_it = unsafe { self.is_of::<K, V, Q>(at, newest, key) };
            // SAFETY: `with_hash` has masked it.
            let cell = unsafe { self.slots.cell_unmasked(at, is_apart) }.filter(|_| is_it)?;
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
        self.slot_with(unsafe { cell.as_ref() }.hash, cell)
    }

    /// The same, where the hash of its key is known.
    fn slot_with(&self, hash: u64, cell: NonNull<Cell>) -> Option<usize> {
        let mut slots = self.with_hash(hash, self.slots.is_apart());
        let found = slots.find(|(at, word)| {
            // A dead slot may have the cell of one that has been freed, at the same address.
            word.pointer().is_some() && self.slots.cell(*at) == Some(cell)
        });
        found.map(|(at, _)| at)
    }

    /// Puts another version in front in a slot.
    #[inline]
    pub(super) fn push(&self, at: usize, hash: u64, newest: NonNull<Version>, revision: u64) {
        let newest = newest.as_ptr();
        self.slot(at).push_with(newest, revision, tag(hash));
    }

    /// Takes a free slot for a key, with what its cell has; answers which. There has to be one.
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

    /// Takes a free slot for the key of a slot of another table, with what stands there, if that has one; for the
    /// writer.
    pub(super) fn take_from(&self, other: &Table, at: usize) -> bool {
        let (newest, revision) = other.slot(at).parts();
        let (Some(cell), Some(newest)) = (other.slots.cell(at), NonNull::new(newest)) else {
            return false;
        };
        self.take(other.hashes[at].load(Relaxed), cell, newest, revision);
        true
    }

    /// Puts what stands in a slot of another table under the same key here, or has that die, too; answers whether the
    /// key was here. For the writer.
    pub(super) fn follow(&self, other: &Table, at: usize) -> bool {
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
