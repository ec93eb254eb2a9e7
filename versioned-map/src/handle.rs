//! The engine of a domain, and the handles that share it.

use std::sync::Arc;

use crate::raw::{self, Map, Owner, Turn};

/// The default hasher: fast on short keys, and seeded at random for each map. It is not
/// cryptographic.
pub type RandomState = foldhash::fast::RandomState;

/// The number of keys of each map. Every domain has this map.
// SAFETY: `Handle::new` makes this map first, in every engine of a `Shared`.
#[allow(unsafe_code)]
pub(crate) const LENGTHS: Map<u32, usize> = unsafe { Map::numbered(0) };

/// The owner of a domain's engine. It has no data of its own.
pub(crate) struct Shared;

impl Owner for Shared {
    type WriterState = ();
}

pub(crate) type Engine = raw::Engine<Shared>;

/// A part of a domain that can read the newest state: the domain itself, a map, a reader.
pub(crate) struct Handle(Arc<Engine>);

impl Handle {
    pub(crate) fn new() -> Handle {
        let mut engine = Engine::new(Shared);
        assert_eq!(engine.add::<u32, usize>(), LENGTHS.number());
        engine.add_handle();
        Handle(Arc::new(engine))
    }

    /// Creates another handle.
    pub(crate) fn of(engine: &Arc<Engine>) -> Handle {
        engine.add_handle();
        Handle(engine.clone())
    }

    #[inline]
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.0
    }

    /// Creates an empty map.
    #[allow(unsafe_code)]
    pub(crate) fn add<K, V>(&self) -> Map<K, V>
    where
        K: Send + Sync + 'static,
        V: Send + Sync + 'static,
    {
        let number = self.turn().add::<K, V>();
        // SAFETY: `Turn::add` has just made the map with these types, and the map is used only with
        // its own engine: `VersionedMap::in_domain` compares the two.
        unsafe { Map::numbered(number) }
    }

    /// Takes the turn: the right to write. Waits for other writers.
    pub(crate) fn turn(&self) -> Turn<'_, Shared> {
        assert!(
            !self.0.is_comparing(),
            "an `Eq` that is asked in the middle of a commit writes to its own domain"
        );
        let turn = self.0.turn();
        assert!(
            !turn.is_closed(),
            "the domain was closed by a panic in the middle of a commit"
        );
        turn
    }
}

impl Clone for Handle {
    fn clone(&self) -> Handle {
        Handle::of(&self.0)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.drop_handle();
    }
}

/// Records in `LENGTHS` how many keys a map has.
pub(crate) fn note_length(turn: &mut Turn<'_, Shared>, map: u32) {
    let length = turn.len(map);
    turn.entry(LENGTHS, hash_of(map), &map).insert(map, length);
}

/// Returns the hash of a map's number.
pub(crate) fn hash_of(map: u32) -> u64 {
    // The golden ratio spreads the number over all bits, as a hasher does.
    u64::from(map).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Publishes, and returns the revision. After the turn has ended, frees what a large commit has
/// replaced.
pub(crate) fn publish(mut turn: Turn<'_, Shared>) -> u64 {
    let revision = turn.publish();
    let (engine, is_large) = (turn.engine(), turn.is_large());
    drop(turn);
    if is_large {
        engine.reclaim_now();
    }
    revision
}
