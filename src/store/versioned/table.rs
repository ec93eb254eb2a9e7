//! A hash table that is read while it is written.
//!
//! Open addressing, linear probing; a slot is the head of a key's chain, with six bits of
//! the key's hash in the pointer, so that a look-up touches one word, the version and the
//! text of the key, as it would in a plain hash table. What else belongs to a slot lies in
//! arrays of its own. One writer at a time.
//!
//! A slot that has been taken stays that key's until the table is laid out anew, in
//! another one, which takes the place of this one at once. A key whose last version is
//! gone leaves its slot *dead*: it is passed over, and never taken again. So no reader
//! who goes from slot to slot can miss a key that was there when it began.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64 as PlainU64;

use super::chain::{Cell, Glance, Head, TAG, Version, Word, seek};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::atomic::{AtomicPtr, AtomicU64};

/// The fewest slots.
#[cfg(not(loom))]
pub(super) const FEWEST: usize = 8;
#[cfg(loom)]
pub(super) const FEWEST: usize = 4;

/// A table. Clones share it.
pub(super) struct Table<V> {
    words: Arc<[AtomicPtr<Version<V>>]>,
    /// Asked by registered readers only.
    revisions: Arc<[AtomicU64]>,
    /// The hash of the key of each slot that has been taken. Asked by the writer only.
    hashes: Arc<[PlainU64]>,
}

impl<V> Clone for Table<V> {
    fn clone(&self) -> Table<V> {
        Table {
            words: self.words.clone(),
            revisions: self.revisions.clone(),
            hashes: self.hashes.clone(),
        }
    }
}

/// What a registered reader finds in a table that may not be the newest.
pub(super) enum Found<'a, V> {
    Here(Option<&'a V>),
    /// That can be told only in the newest one.
    Elsewhere,
}

/// The bits of a hash that stand in the pointer; those that the place of a slot is not
/// made of.
#[inline]
fn tag(hash: u64) -> usize {
    #[allow(clippy::cast_possible_truncation)] // six bits
    let tag = (hash >> 58) as usize;
    tag & TAG
}

impl<V> Table<V> {
    /// An empty table for so many keys, and for some more.
    pub(super) fn with_room(keys: usize) -> Table<V> {
        let slots = (keys * 3 / 2).next_power_of_two().max(FEWEST);
        Table {
            words: (0..slots).map(|_| AtomicPtr::default()).collect(),
            revisions: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            hashes: (0..slots).map(|_| PlainU64::new(0)).collect(),
        }
    }

    /// How many slots may be taken, dead ones included: four of five, so that every search
    /// ends soon.
    pub(super) fn room(&self) -> usize {
        self.words.len() * 4 / 5
    }

    /// Whether it is far too large for so many keys.
    pub(super) fn is_wide(&self, keys: usize) -> bool {
        self.words.len() > 4 * FEWEST && keys < self.words.len() / 8
    }

    /// A slot.
    #[inline]
    pub(super) fn slot(&self, at: usize) -> Head<'_, V> {
        Head {
            newest: &self.words[at],
            revision: &self.revisions[at],
        }
    }

    /// All slots.
    pub(super) fn slots(&self) -> impl Iterator<Item = (usize, Head<'_, V>)> {
        (0..self.words.len()).map(|at| (at, self.slot(at)))
    }

    /// The slots that may be those of a key with this hash, up to the first free one.
    #[inline]
    fn with_hash(&self, hash: u64) -> impl Iterator<Item = (usize, Word<V>)> {
        let tag = tag(hash);
        let words = &*self.words;
        let mask = words.len() - 1;
        #[allow(clippy::cast_possible_truncation)] // masked
        let mut next = hash as usize & mask;
        std::iter::from_fn(move || {
            loop {
                let at = next;
                next = (next + 1) & mask;
                let word = Word::load(&words[at]);
                if word.is_free() {
                    return None;
                }
                if word.has(tag) {
                    return Some((at, word));
                }
            }
        })
    }

    /// The value under a key at a revision.
    ///
    /// # Safety
    ///
    /// As for [`seek`]; the table was loaded while the thread was pinned, after the
    /// revision.
    #[inline]
    pub(super) unsafe fn get<'a>(&self, hash: u64, key: &str, revision: u64) -> Option<&'a V> {
        for (_, word) in self.with_hash(hash) {
            // SAFETY: the caller is pinned.
            if let Some(first) = unsafe { word.version() }
                && first.is_of(key)
            {
                // SAFETY: the caller's.
                return unsafe { seek(first, revision) }?.value.as_ref();
            }
        }
        None
    }

    /// The same for a reader that is registered and not pinned.
    ///
    /// # Safety
    ///
    /// As for [`Head::glance`].
    #[inline]
    pub(super) unsafe fn glance<'a>(&self, hash: u64, key: &str, revision: u64) -> Found<'a, V> {
        for (at, word) in self.with_hash(hash) {
            // SAFETY: the caller's.
            match unsafe { self.slot(at).glance(&word, revision) } {
                Glance::Seen(version) if version.is_of(key) => {
                    return Found::Here(version.value.as_ref());
                }
                // Another key, with the same tag.
                Glance::Seen(_) | Glance::Gone => {}
                Glance::Newer => return Found::Elsewhere,
            }
        }
        Found::Here(None)
    }

    /// Every value at a revision.
    ///
    /// # Safety
    ///
    /// As for [`get`](Self::get), for as long as the iterator is used.
    pub(super) unsafe fn values(&self, revision: u64) -> impl Iterator<Item = &V> {
        self.words.iter().filter_map(move |word| {
            // SAFETY: the caller is pinned.
            let first = unsafe { Word::load(word).version() }?;
            // SAFETY: the caller's.
            unsafe { seek(first, revision) }?.value.as_ref()
        })
    }

    /// The slot of a key and its newest version, for the writer.
    ///
    /// # Safety
    ///
    /// Only the writer asks, in the newest table.
    #[inline]
    pub(super) unsafe fn find(&self, hash: u64, key: &str) -> Option<(usize, NonNull<Version<V>>)> {
        self.with_hash(hash).find_map(|(at, word)| {
            // SAFETY: what stands in the newest table has not been freed.
            let first = unsafe { word.version() }?;
            first.is_of(key).then_some((at, word.pointer()?))
        })
    }

    /// The slot of a cell, for the writer.
    ///
    /// # Safety
    ///
    /// As for [`find`](Self::find).
    pub(super) unsafe fn slot_of(&self, cell: NonNull<Cell<V>>) -> Option<Head<'_, V>> {
        // SAFETY: a cell has not been freed while it stands in the table.
        let hash = unsafe { cell.as_ref() }.hash;
        let mut slots = self.with_hash(hash);
        let found = slots.find(|(_, word)| {
            // SAFETY: what stands in the newest table has not been freed.
            unsafe { word.version() }.is_some_and(|first| first.cell == cell)
        });
        found.map(|(at, _)| self.slot(at))
    }

    /// Puts another version in front in a slot.
    #[inline]
    pub(super) fn push(&self, at: usize, hash: u64, newest: *mut Version<V>, revision: u64) {
        self.slot(at).push_with(newest, revision, tag(hash));
    }

    /// Takes a free slot for a key with its first version. There has to be room.
    pub(super) fn take(&self, hash: u64, newest: *mut Version<V>, revision: u64) {
        let mask = self.words.len() - 1;
        #[allow(clippy::cast_possible_truncation)] // masked
        let mut at = hash as usize & mask;
        while !Word::load(&self.words[at]).is_free() {
            at = (at + 1) & mask;
        }
        self.hashes[at].store(hash, Relaxed);
        self.push(at, hash, newest, revision);
    }

    /// The same keys in another table, which nobody sees yet; for the writer.
    pub(super) fn laid_out_anew(&self, room_for: usize) -> Table<V> {
        let fresh = Table::with_room(room_for);
        for (at, slot) in self.slots() {
            let (newest, revision) = slot.parts();
            if !newest.is_null() {
                fresh.take(self.hashes[at].load(Relaxed), newest, revision);
            }
        }
        fresh
    }
}
