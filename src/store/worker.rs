//! [`WorkerStore`]: an event queue, and one thread that owns the tables.
//!
//! A call travels as a [`Request`] through a bounded channel to the worker,
//! which owns a [`MemoryStore`], and comes back as a [`Reply`] through a channel
//! that the caller has lent to the request. Callers keep their ends of these
//! channels in a pool, and texts travel in buffers that come back with the
//! reply, so that a call in steady state allocates nothing of its own.
//!
//! # Every call is answered once
//!
//! Sending takes a shared lock on the sender, and closing takes the sender away
//! under the exclusive one. So when `close` has it, every request was either
//! accepted before or is refused, with no moment between asking and sending. The
//! channel is then disconnected, and the worker, which goes on until it is both
//! disconnected and empty, answers all that was accepted, and ends.
//!
//! A call that is refused waits for that end as well. Otherwise its caller would
//! know that the store is closed, and could still see the revision grow: by what
//! was accepted before and is not done.
//!
//! A request owns the only sender of its caller's channel, which travels home
//! inside the answer. Were the worker ever to panic over a request, that request
//! is dropped, and its caller sees a disconnected channel: `Closed`; so do all
//! others get for an answer from then on.
//!
//! # In a forked child
//!
//! The child of `fork` has the memory of its parent, and of its threads only the one that
//! forked. Nobody answers there, and any lock may be held by a thread that is missing. So
//! every call looks first whether this is the process that started the worker, touches
//! nothing if it is not, and leaks what it would have to tear down.
//!
//! The `models` below run this protocol under loom, over the channels of
//! [`crate::sync`], and twins of it that leave a caller waiting.

mod handle;
mod messages;
#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
mod thread;

pub use handle::WorkerStore;
