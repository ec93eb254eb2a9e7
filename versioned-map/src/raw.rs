//! The engine of the maps, for crates that build their own stores on it. It is not part of the public
//! interface and changes without notice.
//!
//! The owner of an [`Engine`] hashes its keys, keeps its own counts, and decides which changes form a
//! commit. An owner can do what a [`VersionedMap`](crate::VersionedMap) cannot:
//!
//! - store a `str` key as bytes in its cell;
//! - store the [address](At) of another map's key in a value, and read that key without a look-up;
//! - change a part of a value and [lend](Entry::lend) the rest to the older version, without a clone;
//! - use the [hasher](Hasher) of the tables, which gets a new seed when everything is cleared;
//! - keep [data](Owner) that only the writer uses, and data that all threads share.

mod blank;
mod cell;
mod clear;
mod departed;
mod engine;
mod entry;
mod garbage;
mod growth;
mod kept;
mod kind;
mod leftovers;
mod limits;
#[cfg(all(test, loom))]
mod models;
mod panics;
mod passes;
mod registrations;
mod replaced;
#[cfg(all(test, not(shuttle)))]
mod sample;
mod slots;
mod spares;
#[cfg(all(test, not(any(loom, shuttle))))]
mod stress;
mod successor;
mod table;
mod tables;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
mod turn;
mod version;
mod view;
mod writer;

pub use cell::{At, Cell, Key};
pub use clear::Cleared;
pub use engine::{Engine, Owner};
pub use entry::Entry;
pub use passes::ReclaimAfterView;
pub use tables::{Hasher, Map};
pub use turn::{Position, Turn};
pub use view::{Pinned, Registered};
