//! Changes, told as they happen: watches, differences, and the log that feeds them.
//!
//! ```text
//!   a commit, in its turn          Log                      Watch
//!   differences --- append ---> [entry][entry][entry] ---> recv, recv_commit, poll_recv
//!                                  |  by topic: pending entries, sleepers
//!                                  '--> wakers, run when the turn has been given back
//! ```
//!
//! A store hands each commit's [`Difference`]s to its [`Log`], after the commit can be read
//! and before the next one can begin. A [`Watch`] starts with the state, which it reads from
//! the store, and goes on with the entries behind it. The log is bounded: a watch that falls
//! behind it reads the state again. Nobody waits for a watch.
//!
//! What a watch is about is its *topic*. An entry is noted with the topics that it concerns
//! and that somebody watches; a commit pays for these, and nothing for the others.

mod difference;
mod event;
mod fold;
mod log;
mod replica;
mod selection;
#[cfg(feature = "stream")]
mod stream;
mod topic;
mod watch;

pub(crate) use difference::Differences;
pub use difference::{Difference, Subscription};
pub use event::{Cursor, Event, Reason, State};
pub use fold::fold;
pub(crate) use fold::{changed, net};
pub(crate) use log::OwnLog;
pub use log::{Aftermath, Log, LogOptions};
pub use selection::Selection;
#[cfg(feature = "stream")]
pub use stream::{CommitStream, EventStream};
pub use watch::{ReadState, Watch};

#[cfg(all(test, not(shuttle)))]
mod board;
#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
