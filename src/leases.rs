//! Leases: a pod stays registered only while it renews its lease.
//!
//! A pod that crashes does not unregister. It is therefore registered with a time to live,
//! renews its lease while it runs, and is removed when it stops: see [`Leases`].

mod guard;
mod handle;
mod inner;
mod lease;
#[cfg(all(test, loom))]
mod models;
mod options;
mod slot;
mod sweep;
mod sweeper;
mod table;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
mod thread;

pub use handle::{LeaseStats, Leases};
pub use lease::Lease;
pub use options::LeaseOptions;
pub use slot::LeaseLost;
pub use sweep::Sweep;
pub use thread::Sweeping;
