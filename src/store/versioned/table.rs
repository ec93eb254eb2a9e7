//! A hash table that is read while it is written.
//!
//! Open addressing, linear probing; a slot is the head of a key's chain, with six bits of
//! the key's hash in the pointer, so that a look-up touches the slot, the version and the
//! text of the key, as it would in a plain hash table. One writer at a time.
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

/// The fewest slots.
#[cfg(not(loom))]
pub(super) const FEWEST: usize = 8;
#[cfg(loom)]
pub(super) const FEWEST: usize = 4;

/// A table. Clones share it.
pub(super) struct Table<V> {
    slots: Arc<[Head<V>]>,
    /// The hash of the key of each slot that has been taken. Asked by the writer only.
    hashes: Arc<[PlainU64]>,
}

impl<V> Clone for Table<V> {
    fn clone(&self) -> Table<V> {
        Table {
            slots: self.slots.clone(),
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
    /// An empty table for so many keys.
    pub(super) fn with_room(keys: usize) -> Table<V> {
        let slots = (keys * 2).next_power_of_two().max(FEWEST);
        Table {
            slots: (0..slots).map(|_| Head::empty()).collect(),
            hashes: (0..slots).map(|_| PlainU64::new(0)).collect(),
        }
    }

    /// How many slots may be taken, dead ones included: five of eight, so that every
    /// search ends soon.
    pub(super) fn room(&self) -> usize {
        self.slots.len() * 5 / 8
    }

    /// Whether it is far too large for so many keys.
    pub(super) fn is_wide(&self, keys: usize) -> bool {
        self.slots.len() > 4 * FEWEST && keys < self.slots.len() / 8
    }

    pub(super) fn slots(&self) -> &[Head<V>] {
        &self.slots
    }

    /// The slots that may be those of a key with this hash, up to the first free one.
    #[inline]
    fn with_hash(&self, hash: u64) -> impl Iterator<Item = (&Head<V>, Word<V>)> {
        let tag = tag(hash);
        let mask = self.slots.len() - 1;
        #[allow(clippy::cast_possible_truncation)] // masked
        let mut at = hash as usize & mask;
        std::iter::from_fn(move || {
            loop {
                let slot = &self.slots[at];
                at = (at + 1) & mask;
                let word = slot.load();
                if word.is_free() {
                    return None;
                }
                if word.has(tag) {
                    return Some((slot, word));
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
            if let Some(first) = unsafe { word.version() } {
                if first.is_of(key) {
                    // SAFETY: the caller's.
                    return unsafe { seek(first, revision) }?.value.as_ref();
                }
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
        for (slot, word) in self.with_hash(hash) {
            // SAFETY: the caller's.
            match unsafe { slot.glance(&word, revision) } {
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
    pub(super) unsafe fn values<'a>(&'a self, revision: u64) -> impl Iterator<Item = &'a V> {
        self.slots.iter().filter_map(move |slot| {
            // SAFETY: the caller is pinned.
            let first = unsafe { slot.first() }?;
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
    pub(super) unsafe fn find<'a>(
        &'a self,
        hash: u64,
        key: &str,
    ) -> Option<(&'a Head<V>, &'a Version<V>)> {
        self.with_hash(hash).find_map(|(slot, word)| {
            // SAFETY: what stands in the newest table has not been freed.
            let first = unsafe { word.version() }?;
            first.is_of(key).then_some((slot, first))
        })
    }

    /// The slot of a cell, for the writer.
    ///
    /// # Safety
    ///
    /// As for [`find`](Self::find).
    pub(super) unsafe fn slot_of(&self, cell: &Cell<V>) -> Option<&Head<V>> {
        let own = NonNull::from(cell);
        let mut slots = self.with_hash(cell.hash);
        let found = slots.find(|(_, word)| {
            // SAFETY: what stands in the newest table has not been freed.
            unsafe { word.version() }.is_some_and(|first| first.cell == own)
        });
        found.map(|(slot, _)| slot)
    }

    /// Puts another version in front in a slot.
    #[inline]
    pub(super) fn push(slot: &Head<V>, hash: u64, newest: *mut Version<V>, revision: u64) {
        slot.push_with(newest, revision, tag(hash));
    }

    /// Takes a free slot for a key with its first version. There has to be room.
    pub(super) fn take(&self, hash: u64, newest: *mut Version<V>, revision: u64) {
        let mask = self.slots.len() - 1;
        #[allow(clippy::cast_possible_truncation)] // masked
        let mut at = hash as usize & mask;
        while !self.slots[at].load().is_free() {
            at = (at + 1) & mask;
        }
        self.hashes[at].store(hash, Relaxed);
        Table::push(&self.slots[at], hash, newest, revision);
    }

    /// The same keys in another table, which nobody sees yet; for the writer.
    pub(super) fn laid_out_anew(&self, room_for: usize) -> Table<V> {
        let fresh = Table::with_room(room_for);
        for (slot, hash) in self.slots.iter().zip(&*self.hashes) {
            let (newest, revision) = slot.parts();
            if !newest.is_null() {
                fresh.take(hash.load(Relaxed), newest, revision);
            }
        }
        fresh
    }
}
