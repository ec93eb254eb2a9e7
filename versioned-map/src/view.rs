//! The views of a domain: all maps at one revision.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use equivalent::Equivalent;

use crate::handle::{Engine, Handle, LENGTHS, Shared, hash_of};
use crate::map::VersionedMap;
use crate::raw::{self, ReclaimAfterView, Registered};

/// The state of all maps of a [`Domain`](crate::Domain) at one revision, for the thread that pinned
/// it.
///
/// It cannot leave the thread. While it exists, nothing that is replaced in the domain is freed, so
/// keep it only for a few questions.
///
/// A thread stores in one word that it is pinned, and for which domain. If it reads another domain
/// while it holds a view, that word says "several" until the thread holds no view: meanwhile it
/// holds up that domain as well, and every other one. A forgotten view holds up its domain for
/// good, and all domains that its thread reads from then on.
///
/// ```compile_fail
/// fn sent<T: Send>(_: T) {}
/// sent(versioned_map::Domain::new().pinned());
/// ```
pub struct Pinned<'d> {
    state: raw::Pinned<'d, Shared>,
    /// Dropped after the thread is no longer pinned.
    _after: ReclaimAfterView<'d, Shared>,
}

/// A state of all maps of a [`Domain`](crate::Domain) that stays.
///
/// It can be sent to and shared between threads, can be kept for any time, and outlives its domain.
/// It keeps the versions that it shows, and no others: what is written and replaced during its life
/// is freed as usual. (Of a map that has been dropped it keeps all that was still there then. It
/// also keeps the tables of its time, 32 bytes a slot.) Dropping its last clone frees what only
/// this snapshot kept, or leaves it to a writer that is at work.
///
/// While nothing has been written since, a read costs the look-up. A value that has been replaced
/// is found behind its newer versions, which takes a pin.
#[derive(Clone)]
pub struct Snapshot {
    state: Registered<Shared>,
}

/// A handle for one thread that reads the maps of a [`Domain`](crate::Domain) often: a snapshot
/// that moves on. What it shows stays in memory until its next read or until it is dropped. It
/// never shows an older state than before.
///
/// ```
/// use versioned_map::{Domain, VersionedMap};
///
/// let domain = Domain::new();
/// let map: VersionedMap<u8, u8> = domain.map();
/// let mut reader = domain.reader();
/// map.insert(1, 2);
/// assert_eq!(reader.view().get(&map, &1), Some(&2));
/// ```
pub struct Reader {
    newest: Snapshot,
    _handle: Handle,
}

/// Implements the questions that both states of a domain answer.
macro_rules! impl_state_of_domain {
    ($view:ident $(<$lifetime:lifetime>)?, $name:literal) => {
        impl $(<$lifetime>)? $view $(<$lifetime>)? {
            /// Returns the revision that the view shows.
            pub fn revision(&self) -> u64 {
                self.state.revision()
            }

            /// Returns the value under a key of a map. O(1).
            ///
            /// # Panics
            ///
            /// Panics if the map belongs to another domain.
            #[inline]
            pub fn get<K, V, S, Q>(&self, map: &VersionedMap<K, V, S>, key: &Q) -> Option<&V>
            where
                K: Hash + Eq + Send + Sync + 'static,
                V: Send + Sync + 'static,
                S: BuildHasher,
                Q: Hash + Equivalent<K> + ?Sized,
            {
                let of = map.in_domain(self.state.engine());
                self.state.get(of, map.hash(key), key)
            }

            /// Iterates over all keys and values of a map, in no particular order.
            ///
            /// # Panics
            ///
            /// Panics if the map belongs to another domain.
            pub fn iter<'v, K, V, S>(
                &'v self,
                map: &VersionedMap<K, V, S>,
            ) -> impl Iterator<Item = (&'v K, &'v V)> + use<'v, $($lifetime,)? K, V, S>
            where
                K: Hash + Eq + Send + Sync + 'static,
                V: Send + Sync + 'static,
            {
                let of = map.in_domain(self.state.engine());
                self.state.iter(of)
            }

            /// Returns the number of keys of a map. O(1).
            ///
            /// # Panics
            ///
            /// Panics if the map belongs to another domain.
            pub fn len<K, V, S>(&self, map: &VersionedMap<K, V, S>) -> usize {
                let number = map.in_domain(self.state.engine()).number();
                let length = self.state.get(LENGTHS, hash_of(number), &number);
                length.copied().unwrap_or(0)
            }
        }

        impl $(<$lifetime>)? fmt::Debug for $view $(<$lifetime>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct($name)
                    .field("revision", &self.revision())
                    .finish_non_exhaustive()
            }
        }
    };
}

impl_state_of_domain!(Pinned<'d>, "Pinned");
impl_state_of_domain!(Snapshot, "Snapshot");

impl<'d> Pinned<'d> {
    #[inline]
    pub(crate) fn new(engine: &'d Arc<Engine>) -> Pinned<'d> {
        Pinned {
            state: engine.pin(),
            _after: ReclaimAfterView::new(engine),
        }
    }
}

impl Snapshot {
    pub(crate) fn new(engine: &Arc<Engine>) -> Snapshot {
        Snapshot {
            state: engine.register(),
        }
    }
}

impl Reader {
    pub(crate) fn new(engine: &Arc<Engine>) -> Reader {
        Reader {
            newest: Snapshot::new(engine),
            _handle: Handle::of(engine),
        }
    }

    /// Returns the newest state, borrowed until the next call. O(1), plus the cost of freeing what
    /// only this reader kept.
    #[inline]
    pub fn view(&mut self) -> &Snapshot {
        if !self.newest.state.is_newest() {
            self.newest.state.renew();
        }
        &self.newest
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("viewed", &self.newest)
            .finish_non_exhaustive()
    }
}
