//! The interface of the gateway over HTTP, with pods that are real servers.

#[path = "../support/mod.rs"]
mod support;

mod dumps;
mod events;
mod fleet;
mod proxy;
mod registrations;
mod requests;
