//! The tables of all maps of an engine at one moment: the root from which a reader starts.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex as PlainMutex, PoisonError};

use super::cell::{Cell, Key};
use super::kind::Kind;
use super::panics;
use super::replaced::{Replaced, free_all};
use super::table::Table;
use super::version::drain_chain;
use crate::sync::atomic::AtomicPtr;
use crate::sync::atomic::Ordering::{Acquire, Relaxed};

/// The root itself contains the tables of this many maps, so their readers need one load less.
const FEW: usize = 4;

/// The tables of the other maps are in blocks of this size. When one map changes, the new root
/// shares all other blocks with the old root.
const SHARED: usize = 32;

/// The hasher of keys for an owner without one. It is seeded at random, and again when all maps are
/// cleared. In a model the seed is fixed, because a model must not depend on chance.
#[cfg(not(any(loom, shuttle)))]
pub type Hasher = foldhash::fast::RandomState;
#[cfg(any(loom, shuttle))]
pub type Hasher = foldhash::fast::FixedState;

/// A map of an engine: its number there, and the types of its keys and values.
pub struct Map<K: ?Sized, V> {
    number: u32,
    /// Invariant in both types: one handle puts keys and values, and another returns them.
    _keys: PhantomData<fn(Box<K>) -> Box<K>>,
    _values: PhantomData<fn(V) -> V>,
}

impl<K: ?Sized, V> Clone for Map<K, V> {
    fn clone(&self) -> Map<K, V> {
        *self
    }
}

impl<K: ?Sized, V> Copy for Map<K, V> {}

impl<K: ?Sized, V> Map<K, V> {
    /// Returns the map's number.
    #[inline]
    pub const fn number(self) -> u32 {
        self.number
    }
}

impl<K: Key + Send + Sync + ?Sized, V: Send + Sync + 'static> Map<K, V> {
    /// Returns the map with this number. An engine numbers its maps from 0, in the order of their
    /// creation.
    ///
    /// # Safety
    ///
    /// In each engine with which this is used, the map with this number, if there is one, was
    /// [created](super::Engine::add) with the same types.
    pub const unsafe fn numbered(number: u32) -> Map<K, V> {
        Map {
            number,
            _keys: PhantomData,
            _values: PhantomData,
        }
    }

    pub(super) fn kind() -> &'static Kind {
        Kind::of::<K, V>()
    }
}

/// A map's table, and the generation that it belongs to.
#[derive(Clone)]
pub(super) struct MapTable {
    pub(super) table: Table,
    pub(super) generation: Arc<Generation>,
}

impl MapTable {
    pub(super) fn new(kind: &'static Kind) -> MapTable {
        let table = Table::with_room(0, (kind.is_copied)());
        let newest = Arc::into_raw(Arc::new(table.clone())).cast_mut();
        MapTable {
            table,
            generation: Arc::new(Generation {
                newest: AtomicPtr::new(newest),
                kind,
                orphans: PlainMutex::default(),
            }),
        }
    }
}

/// The root from which a reader starts. Aligned so that the counts of its `Arc` have a line of
/// their own.
#[derive(Clone)]
#[repr(C, align(128))]
pub(super) struct Tables {
    /// The revision from which these tables are complete, after a map was cleared or removed, or
    /// the engine closed: a reader that loads them reads at this revision or a later one.
    pub(super) since: u64,
    /// The last revision before the engine was closed; `None` if it is open.
    pub(super) closed: Option<u64>,
    /// Replaced when all maps are cleared: then no hash of the old seed is in use any more.
    pub(super) hasher: Hasher,
    few: [Option<MapTable>; FEW],
    more: Vec<Arc<[Option<MapTable>; SHARED]>>,
}

impl Tables {
    pub(super) fn new() -> Tables {
        Tables {
            since: 0,
            closed: None,
            hasher: Hasher::default(),
            few: [const { None }; FEW],
            more: Vec::new(),
        }
    }

    /// Returns the table of a map; `None` if the map was created later, or has been removed.
    #[inline]
    pub(super) fn of(&self, number: u32) -> Option<&MapTable> {
        let number = number as usize;
        if let Some(table) = self.few.get(number) {
            return table.as_ref();
        }
        let number = number - FEW;
        self.more.get(number / SHARED)?[number % SHARED].as_ref()
    }

    pub(super) fn of_mut(&mut self, number: u32) -> Option<&mut MapTable> {
        let number = number as usize;
        let entry = match number.checked_sub(FEW) {
            None => &mut self.few[number],
            Some(number) => {
                &mut Arc::make_mut(self.more.get_mut(number / SHARED)?)[number % SHARED]
            }
        };
        entry.as_mut()
    }

    pub(super) fn set(&mut self, number: u32, table: Option<MapTable>) {
        let number = number as usize;
        match number.checked_sub(FEW) {
            None => self.few[number] = table,
            Some(number) => {
                let count = self.more.len().max(number / SHARED + 1);
                self.more
                    .resize_with(count, || Arc::new([const { None }; SHARED]));
                Arc::make_mut(&mut self.more[number / SHARED])[number % SHARED] = table;
            }
        }
    }

    /// Returns about how much memory a new root does not share with the old one, measured in
    /// versions.
    pub(super) fn weight(&self) -> usize {
        let pointers = self.more.len() / 8;
        pointers + if self.more.is_empty() { 0 } else { SHARED }
    }

    /// Iterates over the tables of all maps.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &MapTable)> {
        let more = self.more.iter().flat_map(|shared| shared.iter());
        let all = (0..).zip(self.few.iter().chain(more));
        all.filter_map(|(number, table)| Some((number, table.as_ref()?)))
    }
}

/// Everything that was written into a map from one `clear` to the next. Owns it, and frees it when
/// the last [`MapTable`] that shares this is dropped.
pub(super) struct Generation {
    /// The map's newest table, as a pointer from [`Arc::into_raw`].
    pub(super) newest: AtomicPtr<Table>,
    pub(super) kind: &'static Kind,
    /// Removed cells that had not been freed when this generation ended.
    orphans: PlainMutex<Vec<Replaced>>,
}

// SAFETY: it owns what its pointers lead to, and `Map` requires keys and values that threads may
// send and share.
unsafe impl Send for Generation {}
// SAFETY: as above.
unsafe impl Sync for Generation {}

impl Generation {
    /// Takes over removed cells, and frees them when it is dropped.
    pub(super) fn adopt(&self, removed: impl Iterator<Item = Replaced>) {
        let orphans = self.orphans.lock();
        let mut orphans = orphans.unwrap_or_else(PoisonError::into_inner);
        orphans.extend(removed);
    }

    /// Returns the map's newest table.
    ///
    /// # Safety
    ///
    /// The thread stays pinned for as long as `'a`.
    pub(super) unsafe fn newest<'a>(&self) -> &'a Table {
        // Acquire: pairs with the Release in `Turn::install`.
        // SAFETY: a replaced table is not freed before a grace period has passed.
        unsafe { &*self.newest.load(Acquire) }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if cfg!(loom) {
            // As in `Engine::drop`.
            return;
        }
        // SAFETY: `Arc::into_raw` made the pointer, and each that has replaced it.
        let table = unsafe { Arc::from_raw(self.newest.load(Relaxed)) };
        let kind = self.kind;
        let cells = table.slots().filter_map(|(_, slot, cell)| {
            let cell: NonNull<Cell> = cell.filter(|_| !slot.newest().is_null())?;
            Some((slot, cell))
        });
        let free_cells = || {
            panics::all(cells, |(slot, cell)| {
                // SAFETY: no other thread can reach the chain any more.
                let versions = unsafe { drain_chain(&slot) };
                let free_versions = || {
                    panics::all(versions, |(version, is_lent)| {
                        // SAFETY: as above.
                        drop(unsafe { kind.free_version(version, is_lent) });
                    });
                };
                // SAFETY: as above; its chain is gone.
                panics::both(free_versions, || unsafe { kind.free_cell(cell) });
            });
        };
        let orphans = self.orphans.get_mut();
        let orphans = std::mem::take(orphans.unwrap_or_else(PoisonError::into_inner));
        // SAFETY: as above.
        panics::both(free_cells, || unsafe { free_all(orphans, None) });
    }
}
