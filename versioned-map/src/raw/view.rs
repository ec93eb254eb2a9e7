//! The views of readers: the state at one revision.

use std::ptr::NonNull;
use std::sync::Arc;

use equivalent::Equivalent;

use super::cell::{At, Key};
use super::engine::{Engine, Owner, has_failed};
use super::kind::value;
use super::registrations::Registration;
use super::table::Found;
use super::tables::{Hasher, Map, MapTable, Tables};
use super::version::{Version, Visible, seek};
use crate::reclaim::Guard;
use crate::sync::atomic::Ordering::{Acquire, Relaxed};
use crate::twin::{self, Twin};

impl<O: Owner> Engine<O> {
    /// Pins the thread, and returns a view of the newest state.
    #[inline]
    pub fn pin(self: &Arc<Engine<O>>) -> Pinned<'_, O> {
        let guard = self.guard();
        // Acquire: pairs with the Release store in `Turn::publish`. The revision is loaded before
        // the tables, so that they contain everything that was published.
        let mut published = self.published.load(Acquire);
        // Acquire: pairs with the Release swap in `Turn::set_tables`.
        // SAFETY: the pointer is never null.
        let tables = unsafe { NonNull::new_unchecked(self.tables.load(Acquire)) };
        if twin::is(Twin::TablesLoadedFirst) {
            published = self.published.load(Acquire);
        }
        // SAFETY: tables are freed a period after they were replaced, and the thread is pinned.
        let since = unsafe { tables.as_ref() }.since;
        // A reader may load new tables before their revision is published.
        Pinned::new(guard, tables, published.max(since), self)
    }

    /// Registers a reader of the newest state, and returns its view.
    pub fn register(self: &Arc<Engine<O>>) -> Registered<O> {
        let pinned = self.pin();
        if twin::is(Twin::RegisteredUnpinned) {
            let (revision, tables) = (pinned.at(), pinned.share());
            drop(pinned);
            let registration = self.registrations.claim(revision);
            return Registered::new(revision, tables, registration, self.clone());
        }
        // The reader claims its slot before the pin ends: see `registrations`.
        let registration = self.registrations.claim(pinned.at());
        Registered::new(pinned.at(), pinned.share(), registration, self.clone())
    }
}

/// A pinned reader's view.
pub struct Pinned<'e, O: Owner> {
    /// Held for as long as anything is borrowed from this view.
    _guard: Guard,
    tables: NonNull<Tables>,
    revision: u64,
    engine: &'e Arc<Engine<O>>,
}

impl<'e, O: Owner> Pinned<'e, O> {
    /// Creates a view. The caller has loaded the tables after the revision, under the guard.
    #[inline]
    pub(super) fn new(
        guard: Guard,
        tables: NonNull<Tables>,
        revision: u64,
        engine: &'e Arc<Engine<O>>,
    ) -> Pinned<'e, O> {
        Pinned {
            _guard: guard,
            tables,
            revision,
            engine,
        }
    }

    /// Returns the revision; for a closed engine, the last one.
    #[inline]
    pub fn revision(&self) -> u64 {
        self.tables().closed.unwrap_or(self.revision)
    }

    /// Returns the revision at which chains are searched.
    #[inline]
    pub(super) fn at(&self) -> u64 {
        self.revision
    }

    #[inline]
    fn tables(&self) -> &Tables {
        // SAFETY: the guard has been held since before the tables were loaded.
        unsafe { self.tables.as_ref() }
    }

    /// Returns whether the engine is closed.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.tables().closed.is_some()
    }

    /// Returns the hasher of these tables, for an owner without one.
    #[inline]
    pub fn hasher(&self) -> &Hasher {
        &self.tables().hasher
    }

    /// Returns the engine.
    #[inline]
    pub fn engine(&self) -> &'e Arc<Engine<O>> {
        self.engine
    }

    /// Returns a share in the tables, which outlives the pin.
    pub(super) fn share(&self) -> Arc<Tables> {
        let tables = self.tables.as_ptr().cast_const();
        // SAFETY: the pointer comes from an `Arc`. The engine has a share of it, or retired that
        // share after this thread was pinned, so that it lives at least as long as the pin.
        unsafe {
            Arc::increment_strong_count(tables);
            Arc::from_raw(tables)
        }
    }

    // A call that is not inlined would cost a tenth of a read.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn find<K, V, Q>(&self, map: Map<K, V>, hash: u64, key: &Q) -> Option<Seen<'_, V>>
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
        Q: Equivalent<K> + ?Sized,
    {
        let table = &self.tables().of(map.number())?.table;
        // SAFETY: the tables were loaded under the guard, after the revision. The result borrows
        // from `self`, which holds the guard. The types are the map's.
        unsafe {
            let version = table.get::<K, V, Q>(hash, key, self.revision)?;
            let value = value(version)?;
            Some(Seen { version, value })
        }
    }

    /// Returns the value under a key with this hash.
    #[inline]
    pub fn get<K, V, Q>(&self, map: Map<K, V>, hash: u64, key: &Q) -> Option<&V>
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
        Q: Equivalent<K> + ?Sized,
    {
        Some(self.find(map, hash, key)?.value)
    }

    /// Returns all keys and values of a map, in no particular order.
    pub fn iter<K, V>(&self, map: Map<K, V>) -> impl Iterator<Item = (&K, &V)>
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
    {
        let of_map = self.tables().of(map.number());
        of_map.into_iter().flat_map(|MapTable { table, .. }| {
            // SAFETY: as in `find`.
            let all = unsafe { table.visible::<K>(self.revision) };
            // SAFETY: as above.
            all.filter_map(|(at, version)| unsafe {
                Some((table.key::<K, V>(at, version)?, value(version)?))
            })
        })
    }

    /// Returns the value of a cell.
    ///
    /// # Safety
    ///
    /// The cell is visible at the view's revision: it comes from a value that is visible there, and
    /// such values contain only cells of keys that are present.
    #[inline]
    pub unsafe fn at_cell<V>(&self, at: At<V>) -> Option<&V> {
        // SAFETY: the caller guarantees that the cell is visible, so it has not been freed. The
        // thread is pinned.
        unsafe {
            let first = at.cell().head().first()?;
            value(seek(first, self.revision)?)
        }
    }
}

/// A visible version, and its value.
pub(crate) struct Seen<'a, V> {
    version: NonNull<Version>,
    pub(crate) value: &'a V,
}

impl<V> Seen<'_, V> {
    /// Returns the version's address. No other version has it while the view is held.
    pub(crate) fn version(&self) -> NonNull<()> {
        self.version.cast()
    }
}

/// Collects the items, so that iterating needs no pin, and may move to another thread.
fn found<T>(items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    items.collect::<Vec<T>>().into_iter()
}

/// A registered reader's view. It needs no pin, may move between threads, and may live arbitrarily
/// long.
pub struct Registered<O: Owner> {
    revision: u64,
    tables: Arc<Tables>,
    /// The reader slot that protects `revision`.
    registration: Registration,
    engine: Arc<Engine<O>>,
}

impl<O: Owner> Registered<O> {
    /// Creates a view. The caller has claimed a reader slot for the revision, and loaded the tables
    /// after the revision, under one pin.
    pub(super) fn new(
        revision: u64,
        tables: Arc<Tables>,
        registration: Registration,
        engine: Arc<Engine<O>>,
    ) -> Registered<O> {
        Registered {
            revision,
            tables,
            registration,
            engine,
        }
    }

    /// Returns the revision; for a closed engine, the last one.
    pub fn revision(&self) -> u64 {
        self.tables.closed.unwrap_or(self.revision)
    }

    /// Returns whether the engine is closed.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.tables.closed.is_some()
    }

    /// Returns the hasher of these tables, for an owner without one.
    #[inline]
    pub fn hasher(&self) -> &Hasher {
        &self.tables.hasher
    }

    /// Returns the engine.
    #[inline]
    pub fn engine(&self) -> &Arc<Engine<O>> {
        &self.engine
    }

    /// Returns whether this view shows the newest state.
    #[inline]
    pub fn is_newest(&self) -> bool {
        // Acquire: pairs with the Release store in `Turn::publish`: a thread that learned of a
        // commit from the committing thread sees its revision.
        self.engine.published.load(Acquire) <= self.revision
            // Relaxed: the pointer is only compared. This view holds its tables, so no others have
            // their address.
            && std::ptr::eq(self.engine.tables.load(Relaxed), &raw const *self.tables)
    }

    /// Moves the view to the newest state.
    #[cold]
    pub fn renew(&mut self) {
        let Registered {
            revision,
            tables,
            registration,
            engine,
        } = self;
        let pinned = engine.pin();
        let registrations = &engine.registrations;
        let before = *revision;
        let is_kept = if registrations.is_shared(*registration) {
            // The clones of this view stay at their revision.
            let own = registrations.claim(pinned.at());
            registrations.release(std::mem::replace(registration, own))
        } else {
            registrations.renew(*registration, pinned.at())
        };
        *revision = pinned.at();
        let is_same = pinned.tables.as_ptr().cast_const() == Arc::as_ptr(tables);
        let old = (!is_same).then(|| std::mem::replace(tables, pinned.share()));
        drop(pinned);
        if is_kept {
            engine.release_kept(before, false);
        }
        // The last reader of a map that was cleared frees the map's old contents here.
        drop(old);
    }

    /// Returns the value under a key with this hash.
    #[allow(clippy::inline_always)] // as for a pinned one
    #[inline(always)]
    pub fn get<K, V, Q>(&self, map: Map<K, V>, hash: u64, key: &Q) -> Option<&V>
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
        Q: Equivalent<K> + ?Sized,
    {
        let table = &self.tables.of(map.number())?.table;
        // SAFETY: the revision is registered. The tables were loaded under the same pin, after the
        // revision was published (or are those that begin with it). Both hold while `self` is
        // borrowed. The types are the map's.
        match unsafe { table.get_registered::<K, V, Q>(hash, key, self.revision) } {
            // SAFETY: as above.
            Found::Known(version) => version.and_then(|version| unsafe { value(version) }),
            Found::InNewest => self.get_in_newest(map, hash, key),
        }
    }

    #[cold]
    fn get_in_newest<K, V, Q>(&self, map: Map<K, V>, hash: u64, key: &Q) -> Option<&V>
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
        Q: Equivalent<K> + ?Sized,
    {
        let generation = &self.tables.of(map.number())?.generation;
        let _guard = self.engine.guard();
        // SAFETY: the thread is pinned while it accesses the table and the chain. The version that
        // it finds is visible at a registered revision, and outlives the pin.
        unsafe {
            let newest = generation.newest();
            value(newest.get::<K, V, Q>(hash, key, self.revision)?)
        }
    }

    /// Returns all keys and values of a map, in no particular order. Collects them before it
    /// returns.
    pub fn iter<K, V>(&self, map: Map<K, V>) -> impl Iterator<Item = (&K, &V)> + use<'_, K, V, O>
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
    {
        let of_map = self.tables.of(map.number());
        let _guard = self.engine.guard();
        found(of_map.into_iter().flat_map(|of_map| {
            // SAFETY: the thread is pinned until all items are collected, and all are visible at a
            // registered revision, so they outlive the pin. The newest table contains all of them.
            let table = unsafe { of_map.generation.newest() };
            // SAFETY: as above.
            let all = unsafe { table.visible::<K>(self.revision) };
            // SAFETY: as above.
            all.filter_map(|(at, version)| unsafe {
                Some((table.key::<K, V>(at, version)?, value(version)?))
            })
        }))
    }

    /// Returns the value of a cell.
    ///
    /// # Safety
    ///
    /// As for [`Pinned::at_cell`].
    pub unsafe fn at_cell<V>(&self, at: At<V>) -> Option<&V> {
        // SAFETY: the caller guarantees that the cell is visible at the registered revision, so it
        // has not been freed.
        let head = unsafe { at.cell() }.head();
        // SAFETY: as above.
        match unsafe { head.visible_at(head.load(), self.revision) } {
            // SAFETY: as above.
            Visible::Version(version) => unsafe { value(version) },
            Visible::Gone => None,
            Visible::Newer => {
                let _guard = self.engine.guard();
                // SAFETY: the thread is pinned; the version that it finds is visible at a
                // registered revision.
                unsafe { value(seek(head.first()?, self.revision)?) }
            }
        }
    }
}

impl<O: Owner> Clone for Registered<O> {
    fn clone(&self) -> Registered<O> {
        self.engine.registrations.share(self.registration);
        Registered {
            tables: self.tables.clone(),
            engine: self.engine.clone(),
            ..*self
        }
    }
}

impl<O: Owner> Drop for Registered<O> {
    fn drop(&mut self) {
        if has_failed() {
            return;
        }
        if self.engine.registrations.release(self.registration) {
            self.engine.release_kept(self.revision, true);
        }
        self.engine.reclaim_after_view();
    }
}
