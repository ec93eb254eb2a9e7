//! Leases: the right of a pod to stay, which ends by itself unless it is renewed.
//!
//! A pod that crashes unregisters nobody. So it is registered with a time to live, renews its
//! lease while it lives, and is removed when it does not: see [`Leases`].

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
