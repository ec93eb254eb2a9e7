//! A look-up of one key in the newest state, beside a writer.
//!
//! A view loads `published`, to which every commit stores, so beside a writer that load has to
//! wait for the writer's processor. A look-up of one key can mostly do without it. `settled` is a
//! revision that has been published, but perhaps not the newest: the writer stores it once in
//! [`SETTLE_INTERVAL`](super::limits::SETTLE_INTERVAL) revisions. If a key's newest version is not
//! newer than that, then it has been published, and no other one is newer.
//!
//! A chain is never followed to the settled revision: a version that was replaced before the
//! thread was pinned may have been freed. So where the newest version of the key is newer, the
//! look-up begins again, with a view.
//!
//! The maps and the registry do not use it yet. It pays where many keys change beside a busy
//! writer. Where few keys change, most of them are newer than the settled revision, and such a
//! look-up takes twice as many instructions as one with a view.
//!
//! The guarantee holds for one key. Of two keys that one commit has changed, a second look-up at
//! the same settled revision could find the older state, so each look-up loads it again.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use equivalent::Equivalent;

use super::cell::Key;
use super::engine::{Engine, Owner};
use super::kind::value;
use super::tables::{Hasher, Map};
use crate::reclaim::Guard;
use crate::sync::atomic::Ordering::Acquire;
use crate::twin::{self, Twin};

/// What a look-up of one key has found, for the thread that it has pinned.
pub struct Newest<'e, V> {
    /// Held for as long as the value is borrowed from this.
    _guard: Guard,
    value: Option<NonNull<V>>,
    is_closed: bool,
    _engine: PhantomData<&'e V>,
}

impl<V> Newest<'_, V> {
    /// Returns whether the engine is closed.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Returns the value, if there is one.
    #[inline]
    pub fn value(&self) -> Option<&V> {
        // SAFETY: the guard has been held since before the version was found.
        self.value.map(|value| unsafe { value.as_ref() })
    }
}

impl<O: Owner> Engine<O> {
    /// Pins the thread, and looks up the newest value under a key. `hash` gets the hasher of the
    /// tables, for an owner without one, and may be called twice.
    // A call that is not inlined would cost a tenth of a read.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub fn newest<K, V, Q>(
        self: &Arc<Engine<O>>,
        map: Map<K, V>,
        hash: impl Fn(&Hasher) -> u64 + Copy,
        key: &Q,
    ) -> Newest<'_, V>
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
        Q: Equivalent<K> + ?Sized,
    {
        let guard = self.guard();
        // Acquire: pairs with the Release store in `Turn::publish`. The revision is loaded before
        // the tables, so that they contain everything that it has published.
        let mut settled = self.settled.load(Acquire);
        // Acquire: pairs with the Release swap in `Turn::set_tables`.
        // SAFETY: the pointer is never null, and tables are freed a period after they were
        // replaced.
        let tables = unsafe { &*self.tables.load(Acquire) };
        if twin::is(Twin::SettledLoadedLast) {
            settled = self.settled.load(Acquire);
        }
        let (value, is_closed) = if tables.closed.is_none() {
            let first = tables.of(map.number()).and_then(|of_map| {
                let hash = hash(&tables.hasher);
                // SAFETY: the tables were loaded under the guard. The types are the map's.
                unsafe { of_map.table.first::<K, V, Q>(hash, key) }
            });
            match first {
                None => (None, false),
                // SAFETY: the table leads to no version that is freed while the thread is pinned.
                Some(first) if unsafe { first.as_ref() }.revision <= settled => {
                    // SAFETY: as above.
                    (unsafe { value::<V>(first) }.map(NonNull::from), false)
                }
                Some(_) => self.newest_in_view(map, hash, key),
            }
        } else {
            self.newest_in_view(map, hash, key)
        };
        Newest {
            _guard: guard,
            value,
            is_closed,
            _engine: PhantomData,
        }
    }

    /// Looks up the newest value with a view, and returns whether the engine is closed. The
    /// caller has pinned the thread, and so the value outlives the view.
    #[inline(never)]
    fn newest_in_view<K, V, Q>(
        self: &Arc<Engine<O>>,
        map: Map<K, V>,
        hash: impl Fn(&Hasher) -> u64,
        key: &Q,
    ) -> (Option<NonNull<V>>, bool)
    where
        K: Key + Send + Sync + ?Sized,
        V: Send + Sync + 'static,
        Q: Equivalent<K> + ?Sized,
    {
        let view = self.pin();
        let value = view.get(map, hash(view.hasher()), key);
        (value.map(NonNull::from), view.is_closed())
    }
}
