//! Watches, which deliver the changes of a store as they happen, and the log that feeds them.
//!
//! The example keeps a copy of the pods of a service up to date. The first watch ends and
//! leaves a cursor, and a second watch continues from it:
//!
//! ```
//! use service_registry::changes::{Cursor, Difference, Event, Selection};
//! use service_registry::{MemoryStore, Registry, ServiceInfo, ServiceRegistration, StoreError};
//! use std::collections::HashMap;
//!
//! fn follow(pods: &mut HashMap<String, ServiceInfo>, event: Event) {
//!     match event {
//!         // The first event, and again if the watch falls behind the log (`Reason::Lagged`).
//!         Event::State { services, .. } => {
//!             let all = services.into_iter();
//!             *pods = all.map(|pod| (pod.key().to_string(), pod)).collect();
//!         }
//!         Event::Changes { changes, .. } => {
//!             for change in changes {
//!                 match change {
//!                     Difference::Added(pod) | Difference::Changed { after: pod, .. } => {
//!                         pods.insert(pod.key().to_string(), pod);
//!                     }
//!                     Difference::Removed { last, .. } => {
//!                         pods.remove(&**last.key());
//!                     }
//!                     _ => {}
//!                 }
//!             }
//!         }
//!         _ => {}
//!     }
//! }
//!
//! let registry = Registry::new(MemoryStore::new());
//! let mut pods = HashMap::new();
//! let mut watch = registry.watch(Selection::service("checkout"))?;
//! follow(&mut pods, watch.recv()?);
//! registry.register(ServiceRegistration::new("checkout", "pod-1"))?;
//! follow(&mut pods, watch.recv()?);
//! assert!(pods.contains_key("checkout:pod-1"));
//!
//! // The client disconnects, and later returns with the text of its cursor.
//! let text = watch.cursor().to_string();
//! drop(watch);
//! registry.unregister("checkout", "pod-1")?;
//! let cursor: Cursor = text.parse()?;
//! let mut watch = registry.watch_from(Selection::service("checkout"), cursor)?;
//! follow(&mut pods, watch.recv()?);
//! assert!(pods.is_empty());
//! registry.close()?;
//! assert_eq!(watch.recv(), Err(StoreError::Closed));
//! # Ok::<(), StoreError>(())
//! ```
//!
//! [`Watch::recv`] returns the net effect of all pending commits. [`Watch::recv_commit`]
//! returns one commit at a time. With the feature `stream`, a watch can be turned into a
//! `futures_core::Stream` of either.
//!
//! # How it works
//!
//! ```text
//!   a commit, in its turn          Log                      Watch
//!   differences --- append ---> [entry][entry][entry] ---> recv, recv_commit, poll_recv
//!                                  |  by topic: pending entries, wakers
//!                                  '--> wakers, run after the turn ends
//! ```
//!
//! Commits take turns. A store hands the [`Difference`]s of each commit to its [`Log`] after
//! the commit becomes visible and before the next one begins. A [`Watch`] starts with the
//! state, which it reads from the store, and continues with the entries after it. The log is
//! bounded: a watch that falls behind it reads the state again. A commit never waits for a
//! watch to read.
//!
//! The *topic* of a watch is what it selects. The log notes an entry for each watched topic
//! that it concerns. A commit pays for these topics and nothing for the others.

mod aftermath;
mod difference;
mod event;
mod fold;
mod log;
mod options;
mod own_log;
mod selection;
mod state_copy;
#[cfg(feature = "stream")]
mod stream;
mod topic;
mod watch;

pub use crate::model::subscription::Subscription;
pub use aftermath::Aftermath;
pub use difference::Difference;
pub(crate) use difference::{CommitEffect, Differences};
pub use event::{Cursor, Event, Reason, State};
pub use fold::fold;
pub(crate) use fold::{net, record_change};
pub use log::Log;
pub use options::LogOptions;
pub(crate) use own_log::OwnLog;
pub use selection::{Labelled, Selection};
#[cfg(feature = "stream")]
pub use stream::{CommitStream, EventStream};
pub use watch::{ReadState, Watch};

#[cfg(all(test, not(shuttle)))]
mod board;
#[cfg(all(test, loom))]
pub(crate) mod models;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
