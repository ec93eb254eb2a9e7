//! [`WorkerStore`], a request queue and one thread that owns the tables.
//!
//! A call travels as a [`Request`] through a bounded channel to the worker, which owns a
//! [`MemoryStore`]. It comes back as a [`Reply`] through a channel that the caller lends to the
//! request. Callers keep their ends of these channels in a pool, and strings travel in buffers
//! that come back with the reply. A call in steady state therefore allocates nothing of its
//! own.
//!
//! # Every call gets one answer
//!
//! Sending takes a shared lock on the sender, and `close` removes the sender under the
//! exclusive lock. Every request is therefore either accepted before `close` or refused: no
//! moment lies between the check and the send. The channel is then disconnected. The worker
//! continues until it is both disconnected and empty, answers all accepted requests, and ends.
//!
//! A refused call also waits for the worker to end. Otherwise its caller would know that the
//! store is closed, and could still see the revision grow through accepted requests that are
//! not done.
//!
//! A request owns the only sender of its caller's channel, which travels back inside the
//! answer. If the worker panics during a request, that request is dropped, and its caller sees
//! a disconnected channel and returns `Closed`. All other callers get `Closed` as their answer
//! from then on.
//!
//! # In a forked child
//!
//! The child of `fork` has the memory of its parent, but only the thread that forked. Nobody
//! answers there, and any lock may be held by a thread that does not exist. Every call
//! therefore first checks whether this is the process that started the worker. If it is not,
//! the call touches nothing and leaks what it would have to drop.
//!
//! The loom `models` below run this protocol over the channels of [`crate::sync`], together
//! with broken twins that leave a caller waiting.

mod handle;
mod messages;
#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
mod thread;

pub use handle::WorkerStore;
