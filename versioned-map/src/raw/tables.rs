//! The tables of all maps of an engine, as of one moment: what a reader starts from.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex as PlainMutex, PoisonError};

use super::cell::{Cell, Key};
use super::kind::Kind;
use super::old::{Old, free_all};
use super::panics;
use super::table::Table;
use super::version::take_apart;
use crate::sync::atomic::AtomicPtr;
use crate::sync::atomic::Ordering::{Acquire, Relaxed};

/// The tables of so many maps stand where all readers look first.
const FEW: usize = 4;

/// Those of the others are shared, so many at once, by what readers start from before and after one of
/// them has changed.
const SHARED: usize = 32;

/// What hashes the keys of an owner who has no hasher of its own: seeded at random, and anew with the tables.
/// In a model the same each time, which must not depend on chance.
#[cfg(not(any(loom, shuttle)))]
pub type Hasher = foldhash::fast::RandomState;
#[cfg(any(loom, shuttle))]
pub type Hasher = foldhash::fast::FixedState;

/// A map of an engine: its number there, and the types of its keys and values.
pub struct Map<K: ?Sized, V> {
    number: u32,
    /// Invariant in both: what goes in with one handle comes out with another.
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
    /// Its number.
    #[inline]
    pub const fn number(self) -> u32 {
        self.number
    }
}

impl<K: Key + Send + Sync + ?Sized, V: Send + Sync + 'static> Map<K, V> {
    /// The map of that number; the first one that is made in an engine has 0.
    ///
    /// # Safety
    ///
    /// In each engine that is asked about it the map of that number was
    /// [made](super::Engine::add) with the same types, if there is one.
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

/// A map's table, of the generation that it belongs to.
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

/// What a reader starts from. The counts of its `Arc` have a line of their own.
#[derive(Clone)]
#[repr(C, align(128))]
pub(super) struct Tables {
    /// The revision that these began with, where a map was cleared.
    pub(super) since: u64,
    /// Whether everything is closed, and the last revision that there was.
    pub(super) closed: Option<u64>,
    /// Another one where all maps have begun anew, which is what makes another seed of use.
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

    /// The table of a map; `None` where that has been made later, or has gone.
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
        let place = match number.checked_sub(FEW) {
            None => &mut self.few[number],
            Some(number) => {
                &mut Arc::make_mut(self.more.get_mut(number / SHARED)?)[number % SHARED]
            }
        };
        place.as_mut()
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

    /// How many versions take about as much memory as what is not shared of the tables of many maps.
    pub(super) fn weight(&self) -> usize {
        let pointers = self.more.len() / 8;
        pointers + if self.more.is_empty() { 0 } else { SHARED }
    }

    /// The tables of all maps.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &MapTable)> {
        let more = self.more.iter().flat_map(|shared| shared.iter());
        let all = (0..).zip(self.few.iter().chain(more));
        all.filter_map(|(number, table)| Some((number, table.as_ref()?)))
    }
}

/// All that was written into a map from one `clear` to the next; owns it, and frees it with the
/// last of its tables.
pub(super) struct Generation {
    /// The newest layout; an `Arc`.
    pub(super) newest: AtomicPtr<Table>,
    pub(super) kind: &'static Kind,
    /// What has been removed, and was not freed when this generation ended.
    orphans: PlainMutex<Vec<Old>>,
}

// SAFETY: it owns what its pointers lead to, which threads may share: `Map` says so.
unsafe impl Send for Generation {}
// SAFETY: as above.
unsafe impl Sync for Generation {}

impl Generation {
    /// Takes over what has been removed, to free it in the end.
    pub(super) fn adopt(&self, removed: impl Iterator<Item = Old>) {
        let orphans = self.orphans.lock();
        let mut orphans = orphans.unwrap_or_else(PoisonError::into_inner);
        orphans.extend(removed);
    }

    /// The newest layout.
    ///
    /// # Safety
    ///
    /// The thread is pinned, for as long as `'a`.
    pub(super) unsafe fn newest<'a>(&self) -> &'a Table {
        // Acquire: pairs with the Release in `Turn::succeed`.
        // SAFETY: a layout is freed a grace period after it was replaced.
        unsafe { &*self.newest.load(Acquire) }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if cfg!(loom) {
            // As for the engine.
            return;
        }
        // SAFETY: it was made by `Arc::into_raw`, and replaced only by others of the kind.
        let table = unsafe { Arc::from_raw(self.newest.load(Relaxed)) };
        let kind = self.kind;
        let cells = table.slots().filter_map(|(_, slot, cell)| {
            let cell: NonNull<Cell> = cell.filter(|_| !slot.newest().is_null())?;
            Some((slot, cell))
        });
        let free_cells = || {
            panics::all(cells, |(slot, cell)| {
                // SAFETY: nobody else is left who could come to it.
                let versions = unsafe { take_apart(&slot) };
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
