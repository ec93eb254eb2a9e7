//! A gateway over a registry, with a page that shows what it knows: the example to look at.
//!
//! It takes registrations and heartbeats over HTTP, with leases; checks the health of the pods;
//! proxies requests to live ones; keeps a dump over a restart; exports metrics; and serves one page
//! that follows the registry by a watch. `docs/gateway.md` of the repository has its interface.
//!
//! **It has no authentication.** Whoever reaches its address may register, drain and kill pods, so
//! it listens on loopback unless it is told otherwise.

mod dump;
mod events;
mod fleet;
mod guard;
mod input;
mod lease_ids;
mod load;
mod options;
mod page;
mod pods;
mod probe;
mod proxy;
mod refusal;
mod registrations;
mod routes;
mod sample;
mod scrape;
mod serve;
mod server;
mod shared;
mod show;
mod store;

pub use options::{Options, Tuning};
pub use server::Gateway;
pub use store::Store;
