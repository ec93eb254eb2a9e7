//! A hash table that is read while it is written.
//!
//! Open addressing, linear probing; a slot has the hash of its key and the head of its
//! chain inside, so that a look-up touches the slot, the version and the text of the
//! key, as it would in a plain hash table. One writer at a time.
//!
//! A slot that has been taken stays that key's until the table is laid out anew, in
//! another one, which takes the place of this one at once. A key whose last version is
//! gone leaves its slot *dead*: it is passed over, and never taken again. So no reader
//! who goes from slot to slot can miss a key that was there when it began.

use std::ptr::NonNull;
use std::sync::Arc;

use super::chain::{Cell, Glance, Head, Version, seek};
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicPtr, AtomicU64};

/// The fewest slots.
#[cfg(not(loom))]
pub(super) const FEWEST: usize = 8;
#[cfg(loom)]
pub(super) const FEWEST: usize = 4;

/// No key has this hash.
const NONE: u64 = 0;

#[repr(align(32))]
pub(super) struct Slot<V> {
    hash: AtomicU64,
    pub(super) head: Head<V>,
    cell: AtomicPtr<Cell<V>>,
}

impl<V> Slot<V> {
    fn free() -> Slot<V> {
        Slot {
            hash: AtomicU64::new(NONE),
            head: Head::empty(),
            cell: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// Whose slot it is, where it is neither free nor dead; for the writer.
    pub(super) fn cell(&self) -> Option<NonNull<Cell<V>>> {
        NonNull::new(self.cell.load(Relaxed))
    }

    /// Ends it.
    pub(super) fn kill(&self) {
        self.head.push(std::ptr::null_mut(), u64::MAX);
        self.cell.store(std::ptr::null_mut(), Relaxed);
    }
}

/// A table. Clones share it.
pub(super) struct Table<V> {
    slots: Arc<[Slot<V>]>,
}

impl<V> Clone for Table<V> {
    fn clone(&self) -> Table<V> {
        Table {
            slots: self.slots.clone(),
        }
    }
}

/// What a registered reader finds in a table that may not be the newest.
pub(super) enum Found<'a, V> {
    Here(Option<&'a V>),
    /// That can be told only in the newest one.
    Elsewhere,
}

/// The hash as a slot has it.
#[inline]
fn mark(hash: u64) -> u64 {
    hash.max(NONE + 1)
}

impl<V> Table<V> {
    /// An empty table for so many keys.
    pub(super) fn with_room(keys: usize) -> Table<V> {
        let slots = (keys * 2).next_power_of_two().max(FEWEST);
        Table {
            slots: (0..slots).map(|_| Slot::free()).collect(),
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

    pub(super) fn slots(&self) -> &[Slot<V>] {
        &self.slots
    }

    /// The slots from which a search begins, up to the first free one.
    #[inline]
    fn with_hash(&self, hash: u64) -> impl Iterator<Item = &Slot<V>> {
        let hash = mark(hash);
        let mask = self.slots.len() - 1;
        #[allow(clippy::cast_possible_truncation)] // masked
        let mut at = hash as usize & mask;
        std::iter::from_fn(move || {
            loop {
                let slot = &self.slots[at];
                at = (at + 1) & mask;
                // Acquire: pairs with the Release in `take`: the slot is found whole.
                match slot.hash.load(Acquire) {
                    NONE => return None,
                    found if found == hash => return Some(slot),
                    _ => {}
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
        for slot in self.with_hash(hash) {
            // SAFETY: the caller is pinned.
            if let Some(first) = unsafe { slot.head.first() } {
                if first.key() == key {
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
        for slot in self.with_hash(hash) {
            // SAFETY: the caller's.
            match unsafe { slot.head.glance(revision) } {
                Glance::Seen(version) if version.key() == key => {
                    return Found::Here(version.value.as_ref());
                }
                // Another key, of the same hash.
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
            let first = unsafe { slot.head.first() }?;
            // SAFETY: the caller's.
            unsafe { seek(first, revision) }?.value.as_ref()
        })
    }

    /// The slot and the cell of a key, for the writer.
    ///
    /// # Safety
    ///
    /// Only the writer asks, in the newest table.
    #[inline]
    pub(super) unsafe fn find<'a>(&'a self, hash: u64, key: &str) -> Option<(&'a Slot<V>, &'a Cell<V>)> {
        self.with_hash(hash).find_map(|slot| {
            // SAFETY: the cell of a slot that is not dead has not been freed.
            let cell = unsafe { slot.cell()?.as_ref() };
            (*cell.key == *key).then_some((slot, cell))
        })
    }

    /// The slot of a cell, for the writer.
    pub(super) fn slot_of(&self, cell: &Cell<V>) -> Option<&Slot<V>> {
        let own = std::ptr::from_ref(cell).cast_mut();
        let mut slots = self.with_hash(cell.hash);
        slots.find(|slot| slot.cell.load(Relaxed) == own)
    }

    /// Takes a free slot for a cell whose first version is there. There has to be room.
    pub(super) fn take(&self, cell: &Cell<V>, newest: *mut Version<V>, revision: u64) {
        let hash = mark(cell.hash);
        let mask = self.slots.len() - 1;
        #[allow(clippy::cast_possible_truncation)] // masked
        let mut at = hash as usize & mask;
        while self.slots[at].hash.load(Relaxed) != NONE {
            at = (at + 1) & mask;
        }
        let slot = &self.slots[at];
        slot.cell.store(std::ptr::from_ref(cell).cast_mut(), Relaxed);
        slot.head.push(newest, revision);
        // Release: pairs with the Acquire in `with_hash`.
        slot.hash.store(hash, Release);
    }

    /// The same keys in another table, which nobody sees yet.
    ///
    /// # Safety
    ///
    /// Only the writer asks, of the newest table.
    pub(super) unsafe fn laid_out_anew(&self, room_for: usize) -> Table<V> {
        let fresh = Table::with_room(room_for);
        for slot in &*self.slots {
            if let Some(cell) = slot.cell() {
                // SAFETY: the cell of a slot that is not dead has not been freed.
                let cell = unsafe { cell.as_ref() };
                let (newest, revision) = slot.head.parts();
                fresh.take(cell, newest, revision);
            }
        }
        fresh
    }
}
