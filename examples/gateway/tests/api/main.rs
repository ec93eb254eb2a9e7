//! The interface of the gateway over HTTP, with pods that are real servers.
//!
//! Each of these was put in by hand, once, and fails a test here or in `browser.rs`: no limit; no
//! look at the origin, or at the host; ids of leases that can be guessed; a heartbeat that renews
//! nothing; a drain that drains nothing; a pod that failed and is not left out; a choice that does not
//! look at the load; orders that are sent twice; headers of the connection that are passed on; a
//! restart that forgets health; cursors that are passed over; a page without its policy, with which
//! a page that uses `innerHTML` fails on the first name.

#[path = "../support/mod.rs"]
mod support;

mod dumps;
mod events;
mod fleet;
mod proxy;
mod registrations;
mod requests;
