//! A live local copy of a prefix in etcd, in any store of
//! [`service-registry`](service_registry); and pods that register themselves there.
//!
//! [`Replica`] keeps the copy, [`Registrar`] registers. The README has both in ten lines.
//!
//! # How it works
//!
//! A replica lists the prefix at one revision, page by page, and watches from there on. Each
//! revision of etcd becomes one commit of the store. Where the history that is missing was
//! compacted, it lists again, and commits the difference to what is there. A watch that is silent
//! is asked for a sign of life, and replaced when none comes. The module `reducer` decides all of
//! that without input or output, and opens with a page that explains it.
//!
//! # Consistency
//!
//! The store is at each moment what etcd was at one revision, and moves on only. The exception is
//! another etcd: one with another cluster id, or one that went back in time, which is a new
//! epoch, and is listed anew. [`Replica::wait_for`] waits for a revision (read your writes), and
//! [`Replica::read_barrier`] for now (linearizable).
//!
//! Health is of the later check of the two: the one that etcd has, and one that was made on this
//! store. A pod's lease in etcd is the business of whoever registered it; the store has none.
//!
//! # What stands in etcd
//!
//! See [`keys`] and [`values`].
//!
//! # Features
//!
//! | feature | adds |
//! | --- | --- |
//! | `tls` | etcd over TLS, by rustls |
//! | `metrics` | how a copy stands, for the crate of that name: the module `metrics` |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod apply;
mod aside;
mod backoff;
mod call;
mod error;
pub mod keys;
mod message;
#[cfg(feature = "metrics")]
pub mod metrics;
mod reducer;
mod registrar;
mod replica;
mod revision;
mod state;
pub mod values;
mod version;
mod wire;

use std::time::Duration;

pub use aside::SetAside;
pub use error::{Error, InvalidPrefix};
pub use etcd_client;
pub use registrar::{Registrar, Registration, RegistrationState};
pub use replica::{Builder, Replica, Stats};
pub use revision::EtcdRevision;
pub use state::{State, Why};

/// How a client of etcd is to be connected for a replica and a registrar: a member without a
/// leader refuses, instead of showing what it last knew; connections are asked whether they live,
/// while something is under way on them; a token that has expired is renewed.
///
/// With a [user](etcd_client::ConnectOptions::with_user) the `Debug` of these options shows the
/// password: that one is of `etcd-client`.
pub fn connect_options() -> etcd_client::ConnectOptions {
    etcd_client::ConnectOptions::new()
        .with_require_leader(true)
        .with_connect_timeout(Duration::from_secs(3))
        // A server cuts off who asks more often than each five seconds, or while nothing is under
        // way (its `--grpc-keepalive-min-time`).
        .with_keep_alive(Duration::from_secs(6), Duration::from_secs(3))
        .with_keep_alive_while_idle(false)
        .with_auto_token_refresh(true)
}

/// The examples of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
