//! Hash maps of many versions.
//!
//! What is here so far is what they will stand on: the reclamation of memory that readers may
//! still be looking at, which `service-registry` uses for its `VersionedStore`. It is no public
//! interface, and changes without notice.

mod commit;
mod domain;
mod map;
#[doc(hidden)]
#[allow(unsafe_code)]
pub mod raw;
#[doc(hidden)]
pub mod reclaim;
#[cfg(feature = "serde")]
mod serde;
mod sync;
mod twin;
mod view;

pub use commit::Commit;
pub use domain::{Domain, RandomState};
pub use map::{Change, VersionedMap};
pub use view::{MapReader, MapSnapshot, Pinned, PinnedMap, Reader, Snapshot};

#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
