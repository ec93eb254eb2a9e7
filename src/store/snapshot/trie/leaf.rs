//! A leaf: up to sixteen entries, and one byte of the hash of each.

// Indices are a few bits of a hash.
#![allow(clippy::cast_possible_truncation)]

use std::sync::Arc;

use arrayvec::ArrayVec;
use wide::u8x16;

/// The capacity of a leaf: as many entries as one vector comparison covers. It is so much
/// larger than the average that hardly any leaf needs a second one.
const LEAF: usize = 16;

/// A type that can be stored: a handle that is cheap to clone and knows its hash.
pub(in crate::store::snapshot) trait TrieEntry: Clone {
    fn hash(&self) -> u64;
    fn key(&self) -> &str;
    /// Returns whether both are clones of the same entry.
    fn same(&self, other: &Self) -> bool;
    /// Reads the counter that a clone is about to increment, see `store::collect`.
    fn touch(&self);
}

pub(super) struct Leaf<E> {
    /// One byte of the hash of each entry. The bytes after the entries are unspecified.
    tags: u8x16,
    pub(super) entries: ArrayVec<E, LEAF>,
    /// Used in the rare case that the leaf is full.
    pub(super) overflow: Option<Arc<Leaf<E>>>,
}

impl<E: Clone> Clone for Leaf<E> {
    fn clone(&self) -> Leaf<E> {
        Leaf {
            tags: self.tags,
            entries: self.entries.clone(),
            overflow: self.overflow.clone(),
        }
    }
}

pub(super) fn make_leaf_mut<E: TrieEntry>(leaf: &mut Arc<Leaf<E>>) -> &mut Leaf<E> {
    if Arc::get_mut(leaf).is_none() {
        leaf.entries.iter().for_each(E::touch);
    }
    Arc::make_mut(leaf)
}

impl<E: TrieEntry> Leaf<E> {
    /// Iterates over all entries, including those in the overflow.
    pub(super) fn all(&self) -> impl Iterator<Item = &E> {
        let leaves = std::iter::successors(Some(self), |leaf| leaf.overflow.as_deref());
        leaves.flat_map(|leaf| &leaf.entries)
    }

    pub(super) fn new() -> Leaf<E> {
        Leaf {
            tags: u8x16::ZERO,
            entries: ArrayVec::new(),
            overflow: None,
        }
    }

    fn tag(hash: u64) -> u8 {
        hash as u8
    }

    /// Returns the positions whose tag is that of `hash`.
    #[inline]
    pub(super) fn candidates(&self, hash: u64) -> MatchingPositions {
        let tag = u8x16::splat(Leaf::<E>::tag(hash));
        let places = self.tags.cmp_eq(tag).move_mask().cast_unsigned();
        let used = (1 << self.entries.len()) - 1;
        MatchingPositions(places & used)
    }

    fn position(&self, hash: u64, key: &str) -> Option<usize> {
        self.candidates(hash)
            .find(|&index| self.entries[index].key() == key)
    }

    pub(super) fn push(&mut self, entry: E) {
        if self.entries.is_full() {
            let overflow = self.overflow.get_or_insert_with(|| Arc::new(Leaf::new()));
            make_leaf_mut(overflow).push(entry);
            return;
        }
        *self.tag_mut(self.entries.len()) = Leaf::<E>::tag(entry.hash());
        self.entries.push(entry);
    }

    fn tag_mut(&mut self, place: usize) -> &mut u8 {
        &mut self.tags.as_array_mut()[place]
    }

    /// Replaces the entry with the same key by `entry`, or returns `entry` if there is none.
    pub(super) fn replace(&mut self, entry: E) -> Result<(), E> {
        if let Some(index) = self.position(entry.hash(), entry.key()) {
            self.entries[index] = entry;
            return Ok(());
        }
        match &mut self.overflow {
            Some(overflow) => make_leaf_mut(overflow).replace(entry),
            None => Err(entry),
        }
    }

    pub(super) fn remove(&mut self, hash: u64, key: &str) -> Option<E> {
        let removed = if let Some(index) = self.position(hash, key) {
            let last = self.entries.len() - 1;
            *self.tag_mut(index) = *self.tag_mut(last);
            let removed = self.entries.swap_remove(index);
            if let Some(entry) = self
                .overflow
                .as_mut()
                .and_then(|leaf| make_leaf_mut(leaf).pop())
            {
                self.push(entry);
            }
            removed
        } else {
            make_leaf_mut(self.overflow.as_mut()?).remove(hash, key)?
        };
        self.drop_empty_overflow();
        Some(removed)
    }

    /// Removes an entry from the last leaf that has one.
    fn pop(&mut self) -> Option<E> {
        let entry = self
            .overflow
            .as_mut()
            .and_then(|leaf| make_leaf_mut(leaf).pop());
        self.drop_empty_overflow();
        entry.or_else(|| self.entries.pop())
    }

    fn drop_empty_overflow(&mut self) {
        if self
            .overflow
            .as_ref()
            .is_some_and(|leaf| leaf.entries.is_empty())
        {
            self.overflow = None;
        }
    }
}

/// Positions in a leaf, as bits.
pub(super) struct MatchingPositions(u32);

impl Iterator for MatchingPositions {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let place = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        Some(place as usize)
    }
}
