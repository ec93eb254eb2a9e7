//! The hasher of this crate.

/// The hasher of all tables.
///
/// Fast on short keys, and randomly seeded for each store: keys come from the network,
/// and a peer that knew the seed could make them collide. It is not a cryptographic
/// hash; `docs/design.md` says what that means.
#[cfg(not(any(loom, shuttle)))]
pub(crate) type RandomState = foldhash::fast::RandomState;

/// A fixed seed in models: a model runs many times, and must not depend on chance.
#[cfg(any(loom, shuttle))]
pub(crate) type RandomState = foldhash::fast::FixedState;
