//! Changes, told as they happen: watches, differences, and the log that feeds them.
//!
//! A copy of what a service has, that follows every change; one that ends leaves a cursor, from
//! which another goes on:
//!
//! ```
//! use service_registry::changes::{Cursor, Difference, Event, Selection};
//! use service_registry::{MemoryStore, Registry, ServiceInfo, ServiceRegistration, StoreError};
//! use std::collections::HashMap;
//!
//! fn follow(pods: &mut HashMap<String, ServiceInfo>, event: Event) {
//!     match event {
//!         // The first event; and again where the log does not reach back (`Reason::Lagged`).
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
//! // A client goes, and comes back with the text of its cursor.
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
//! [`Watch::recv`] gives the net effect of all that is pending; [`Watch::recv_commit`] one
//! commit after the other, for those who want each step. With the feature `stream` a watch
//! becomes a `futures_core::Stream` of either.
//!
//! # How it works
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
//! behind it reads the state again. No commit waits until a watch has read.
//!
//! What a watch is about is its *topic*. An entry is noted with the topics that it concerns
//! and that somebody watches; a commit pays for these, and nothing for the others.

mod aftermath;
mod difference;
mod event;
mod fold;
mod log;
mod options;
mod own_log;
mod replica;
mod selection;
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
pub(crate) use fold::{changed, net};
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
