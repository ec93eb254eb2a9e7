//! An engine of maps, and what all who have a handle of it share.

use std::sync::Arc;

use crate::raw::{self, Map, Owner, Turn};

/// The hasher of maps that are made without one: fast on short keys, and seeded at random for each
/// map. It is not a cryptographic one.
pub type RandomState = foldhash::fast::RandomState;

/// How many keys each map has: the one map that every domain has.
// SAFETY: `Handle::new` makes it first, in every engine of a `Shared`.
#[allow(unsafe_code)]
pub(crate) const LENGTHS: Map<u32, usize> = unsafe { Map::numbered(0) };

/// Maps in a domain keep nothing for the whole.
pub(crate) struct Shared;

impl Owner for Shared {
    type Books = ();
}

pub(crate) type Engine = raw::Engine<Shared>;

/// One who may ask for the newest state.
pub(crate) struct Handle(Arc<Engine>);

impl Handle {
    pub(crate) fn new() -> Handle {
        let mut engine = Engine::new(Shared);
        assert_eq!(engine.add::<u32, usize>(), LENGTHS.number());
        engine.enter();
        Handle(Arc::new(engine))
    }

    /// Another one.
    pub(crate) fn of(engine: &Arc<Engine>) -> Handle {
        engine.enter();
        Handle(engine.clone())
    }

    #[inline]
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.0
    }

    /// Makes another map.
    #[allow(unsafe_code)]
    pub(crate) fn add<K, V>(&self) -> Map<K, V>
    where
        K: Send + Sync + 'static,
        V: Send + Sync + 'static,
    {
        let number = self.turn().add::<K, V>();
        // SAFETY: it was made with these types just now, and only engines that `VersionedMap::in_domain`
        // has compared with the map's own are asked about it.
        unsafe { Map::numbered(number) }
    }

    /// The right to write. It waits for other writers.
    pub(crate) fn turn(&self) -> Turn<'_, Shared> {
        assert!(
            !self.0.is_asking(),
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
        self.0.leave();
    }
}

/// Notes how many keys a map has.
pub(crate) fn note_length(turn: &mut Turn<'_, Shared>, map: u32) {
    let length = turn.len(map);
    turn.entry(LENGTHS, hash_of(map), &map).insert(map, length);
}

/// The hash of a map's number.
pub(crate) fn hash_of(map: u32) -> u64 {
    // Spread over all bits, as by any hasher: the golden ratio.
    u64::from(map).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Publishes; answers with the revision. What is to be freed is so when the turn has been given
/// back.
pub(crate) fn publish(mut turn: Turn<'_, Shared>) -> u64 {
    let revision = turn.publish();
    let (engine, is_large) = (turn.engine(), turn.is_large());
    drop(turn);
    if is_large {
        engine.tidy_up();
    }
    revision
}

/// Sees to what has waited for a reader to leave.
pub(crate) struct ComeBy<'d>(pub(crate) &'d Arc<Engine>);

impl Drop for ComeBy<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.end_view();
    }
}
