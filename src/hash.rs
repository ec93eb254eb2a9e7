//! The one hasher of this crate.

/// Hashes every table of every store.
///
/// Fast on short keys, and seeded at random for each store: keys come from the
/// network, and a peer that knew the seed could make them collide. It is not a
/// cryptographic hash; `docs/design.md` says what that means.
#[cfg(not(any(loom, shuttle)))]
pub(crate) type RandomState = foldhash::fast::RandomState;

/// In a model the same each time: a model is run again and again, and must not depend on
/// chance.
#[cfg(any(loom, shuttle))]
pub(crate) type RandomState = foldhash::fast::FixedState;
