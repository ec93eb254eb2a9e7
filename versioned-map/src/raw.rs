//! The engine of the maps, for who builds something of their own on it. No public interface: it
//! changes without notice.
//!
//! An owner of an [`Engine`] hashes its keys, counts what it wants to count, and says what belongs to
//! a commit. What it can do that a [`VersionedMap`](crate::VersionedMap) cannot:
//!
//! - keys that are texts lie in their cells as bytes;
//! - a value can hold [places](At) of another map's keys, and lead there without a look-up;
//! - a value that is changed in part can be [lent](Entry::lend) to the version before, and not cloned;
//! - it can have the tables' [hasher](Hasher), whose seed is another one when everything was cleared;
//! - it keeps [books](Owner) under the turn, and something shared beside them.

mod blank;
mod cell;
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
mod newest;
mod old;
mod panics;
mod registrations;
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
mod tidy;
mod turn;
mod version;
mod view;
mod writer;

pub use cell::{At, Cell, Key};
pub use engine::{Engine, Owner};
pub use entry::Entry;
pub use newest::Newest;
pub use tables::{Hasher, Map};
pub use turn::{Cleared, Position, Turn};
pub use view::{Pinned, Registered};
