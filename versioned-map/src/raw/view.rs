//! What readers see: the state at one revision.

use std::ptr::NonNull;
use std::sync::Arc;

use equivalent::Equivalent;

use super::cell::{At, Key};
use super::engine::{Engine, Owner, has_failed};
use super::kind::value;
use super::registrations::Registration;
use super::table::Found;
use super::tables::{Hasher, Map, MapTable, Tables};
use super::version::{Glance, Version, seek};
use crate::reclaim::Guard;
use crate::sync::atomic::Ordering::{Acquire, Relaxed};
use crate::twin::{self, Twin};

impl<O: Owner> Engine<O> {
    /// The newest state, for as long as the thread stays pinned.
    #[inline]
    pub fn pin(self: &Arc<Engine<O>>) -> Pinned<'_, O> {
        let guard = self.guard();
        // Acquire: pairs with the Release store in `Turn::publish`. It comes before the
        // tables are loaded, so that these have all that was published.
        let mut published = self.published.load(Acquire);
        // Acquire: pairs with the Release swap in `Turn::set_tables`.
        // SAFETY: there are always tables.
        let tables = unsafe { NonNull::new_unchecked(self.tables.load(Acquire)) };
        if twin::is(Twin::TablesFirst) {
            published = self.published.load(Acquire);
        }
        // SAFETY: tables are freed a grace period after they were replaced.
        let since = unsafe { tables.as_ref() }.since;
        // New tables may be seen before their revision is published.
        Pinned::new(guard, tables, published.max(since), self)
    }

    /// The newest state, for as long as it is registered.
    pub fn register(self: &Arc<Engine<O>>) -> Registered<O> {
        let pinned = self.pin();
        if twin::is(Twin::RegisteredLate) {
            let (revision, tables) = (pinned.at(), pinned.share());
            drop(pinned);
            let place = self.registrations.claim(revision);
            return Registered::new(revision, tables, place, self.clone());
        }
        // The place is taken before the pin ends: see `registrations`.
        let place = self.registrations.claim(pinned.at());
        Registered::new(pinned.at(), pinned.share(), place, self.clone())
    }
}

/// A pinned reader's view.
pub struct Pinned<'e, O: Owner> {
    /// Held for as long as what is borrowed from this.
    _guard: Guard,
    tables: NonNull<Tables>,
    revision: u64,
    engine: &'e Arc<Engine<O>>,
}

impl<'e, O: Owner> Pinned<'e, O> {
    /// The tables were loaded after the revision, under the guard.
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

    /// The revision; of a closed engine the last one.
    #[inline]
    pub fn revision(&self) -> u64 {
        self.tables().closed.unwrap_or(self.revision)
    }

    /// The revision to look at.
    #[inline]
    pub(super) fn at(&self) -> u64 {
        self.revision
    }

    #[inline]
    fn tables(&self) -> &Tables {
        // SAFETY: the guard is held, since before they were loaded.
        unsafe { self.tables.as_ref() }
    }

    /// Whether the engine is closed.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.tables().closed.is_some()
    }

    /// What hashes the keys of these tables, for an owner without a hasher.
    #[inline]
    pub fn hasher(&self) -> &Hasher {
        &self.tables().hasher
    }

    /// The engine.
    #[inline]
    pub fn engine(&self) -> &'e Arc<Engine<O>> {
        self.engine
    }

    /// A share in the tables, which outlives the pin.
    pub(super) fn share(&self) -> Arc<Tables> {
        let tables = self.tables.as_ptr().cast_const();
        // SAFETY: the pointer is one of an `Arc`, of which the engine has, or had within the
        // grace period, a share.
        unsafe {
            Arc::increment_strong_count(tables);
            Arc::from_raw(tables)
        }
    }

    // As a function of its own it would cost a tenth of a read.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(crate) fn find<K, V, Q>(&self, map: Map<K, V>, hash: u64, key: &Q) -> Option<Seen<'_, V>>
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
        Q: Equivalent<K> + ?Sized,
    {
        let table = &self.tables().of(map.number())?.table;
        // SAFETY: the tables were loaded under the guard, after the revision; what is found
        // is borrowed from `self`, which holds the guard; the types are the map's.
        unsafe {
            let version = table.get::<K, V, Q>(hash, key, self.revision)?;
            let value = value(version)?;
            Some(Seen { version, value })
        }
    }

    /// The value under a key with that hash.
    #[inline]
    pub fn get<K, V, Q>(&self, map: Map<K, V>, hash: u64, key: &Q) -> Option<&V>
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
        Q: Equivalent<K> + ?Sized,
    {
        Some(self.find(map, hash, key)?.value)
    }

    /// All keys and values of a map, in no particular order.
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

    /// The value in a cell.
    ///
    /// # Safety
    ///
    /// It is visible at the view's revision: a value that is has the cell in it, and keeps the rule
    /// that only keys which are there stand in such values.
    #[inline]
    pub unsafe fn at_cell<V>(&self, at: At<V>) -> Option<&V> {
        // SAFETY: the caller's: the cell has not been freed; the thread is pinned.
        unsafe {
            let first = at.cell().head().first()?;
            value(seek(first, self.revision)?)
        }
    }
}

/// A version, and its value.
pub(crate) struct Seen<'a, V> {
    version: NonNull<Version>,
    pub(crate) value: &'a V,
}

impl<V> Seen<'_, V> {
    /// Its address, which is no other version's for as long as the view is held.
    pub(crate) fn version(&self) -> NonNull<()> {
        self.version.cast()
    }
}

/// An iterator that needs no pin any more, and so may go to another thread: it has found
/// everything already.
fn found<T>(items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    items.collect::<Vec<T>>().into_iter()
}

/// A registered reader's view. It needs no pin, goes where it likes, and lives for as
/// long as it likes.
pub struct Registered<O: Owner> {
    revision: u64,
    tables: Arc<Tables>,
    place: Registration,
    engine: Arc<Engine<O>>,
}

impl<O: Owner> Registered<O> {
    /// The place has been taken for the revision, and the tables were loaded after it, under one
    /// pin.
    pub(super) fn new(
        revision: u64,
        tables: Arc<Tables>,
        place: Registration,
        engine: Arc<Engine<O>>,
    ) -> Registered<O> {
        Registered {
            revision,
            tables,
            place,
            engine,
        }
    }

    /// The revision; of a closed engine the last one.
    pub fn revision(&self) -> u64 {
        self.tables.closed.unwrap_or(self.revision)
    }

    /// Whether the engine is closed.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.tables.closed.is_some()
    }

    /// What hashes the keys of these tables, for an owner without a hasher.
    #[inline]
    pub fn hasher(&self) -> &Hasher {
        &self.tables.hasher
    }

    /// The engine.
    #[inline]
    pub fn engine(&self) -> &Arc<Engine<O>> {
        &self.engine
    }

    /// Whether this is the newest state.
    #[inline]
    pub fn is_newest(&self) -> bool {
        // Acquire: pairs with the Release store in `Turn::publish`: who has been told of a
        // commit finds it.
        self.engine.published.load(Acquire) <= self.revision
            // Relaxed: only compared. Tables that this one holds have their address to
            // themselves.
            && std::ptr::eq(self.engine.tables.load(Relaxed), &raw const *self.tables)
    }

    /// Moves on to the newest state.
    #[cold]
    pub fn renew(&mut self) {
        let Registered {
            revision,
            tables,
            place,
            engine,
        } = self;
        let pinned = engine.pin();
        let registrations = &engine.registrations;
        let before = *revision;
        let is_kept = if registrations.is_shared(*place) {
            // The others stay where they are.
            let own = registrations.claim(pinned.at());
            registrations.release(std::mem::replace(place, own))
        } else {
            registrations.renew(*place, pinned.at())
        };
        *revision = pinned.at();
        let is_same = pinned.tables.as_ptr().cast_const() == Arc::as_ptr(tables);
        let old = (!is_same).then(|| std::mem::replace(tables, pinned.share()));
        drop(pinned);
        if is_kept {
            engine.let_go(before, false);
        }
        // With the last reader of a map that was cleared goes all that was in it.
        drop(old);
    }

    /// The value under a key with that hash.
    #[allow(clippy::inline_always)] // as for a pinned one
    #[inline(always)]
    pub fn get<K, V, Q>(&self, map: Map<K, V>, hash: u64, key: &Q) -> Option<&V>
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
        Q: Equivalent<K> + ?Sized,
    {
        let table = &self.tables.of(map.number())?.table;
        // SAFETY: the revision is registered, and the tables were loaded under the same pin, after it
        // was published (or are those that began with it); all for as long as `self` is
        // borrowed. The types are the map's.
        match unsafe { table.glance::<K, V, Q>(hash, key, self.revision) } {
            // SAFETY: as above.
            Found::Here(version) => version.and_then(|version| unsafe { value(version) }),
            Found::Elsewhere => self.get_in_newest(map, hash, key),
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
        // SAFETY: the thread is pinned for as long as the table and the chain are looked
        // at. What is found is visible at a registered revision, and stays.
        unsafe {
            let newest = generation.newest();
            value(newest.get::<K, V, Q>(hash, key, self.revision)?)
        }
    }

    /// All keys and values of a map, in no particular order, found before the first is answered.
    pub fn iter<K, V>(&self, map: Map<K, V>) -> impl Iterator<Item = (&K, &V)> + use<'_, K, V, O>
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
    {
        let of_map = self.tables.of(map.number());
        let _guard = self.engine.guard();
        found(of_map.into_iter().flat_map(|of_map| {
            // SAFETY: the thread is pinned until all have been found, and what is found is
            // visible at a registered revision. All of that stands in the newest layout.
            let table = unsafe { of_map.generation.newest() };
            // SAFETY: as above.
            let all = unsafe { table.visible::<K>(self.revision) };
            // SAFETY: as above.
            all.filter_map(|(at, version)| unsafe {
                Some((table.key::<K, V>(at, version)?, value(version)?))
            })
        }))
    }

    /// The value in a cell.
    ///
    /// # Safety
    ///
    /// As for [`Pinned::at_cell`].
    pub unsafe fn at_cell<V>(&self, at: At<V>) -> Option<&V> {
        // SAFETY: the caller's: the cell is visible at the registered revision, and so has not been
        // freed.
        let head = unsafe { at.cell() }.head();
        // SAFETY: as above.
        match unsafe { head.glance(head.load(), self.revision) } {
            // SAFETY: as above.
            Glance::Seen(version) => unsafe { value(version) },
            Glance::Gone => None,
            Glance::Newer => {
                let _guard = self.engine.guard();
                // SAFETY: the thread is pinned; what is found is visible at a registered revision.
                unsafe { value(seek(head.first()?, self.revision)?) }
            }
        }
    }
}

impl<O: Owner> Clone for Registered<O> {
    fn clone(&self) -> Registered<O> {
        self.engine.registrations.share(self.place);
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
        if self.engine.registrations.release(self.place) {
            self.engine.let_go(self.revision, true);
        }
        self.engine.end_view();
    }
}
