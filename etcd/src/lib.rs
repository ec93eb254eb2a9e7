//! Keeps a live local copy of an etcd prefix in any store of
//! [`service-registry`](service_registry), and registers pods in etcd.
//!
//! [`Replica`] keeps the copy, and [`Registrar`] registers pods. The README shows both in ten
//! lines.
//!
//! # How it works
//!
//! A replica lists the prefix at one revision, page by page, and watches from that revision on.
//! Each revision of etcd becomes one commit of the store. If etcd has compacted the history that
//! the replica missed, the replica lists again and commits the difference to its copy. It sends a
//! progress request on a watch that is silent, and replaces the watch if no answer comes. The
//! module `reducer` makes these decisions without any I/O; its documentation explains them.
//!
//! # Consistency
//!
//! At each moment the store equals etcd at one revision, and it only moves forward. The exception
//! is a different etcd: one with another cluster id, or one that went back in time. That starts a
//! new epoch, and the replica lists everything again. [`Replica::wait_for`] waits for a revision
//! (read your writes), and [`Replica::read_barrier`] for the present (linearizable).
//!
//! A record has the result of the later of two health checks: the one stored in etcd, and the one
//! made on this store. The process that registered a pod keeps its lease in etcd; the store has no
//! leases for it.
//!
//! # Keys and values in etcd
//!
//! See [`keys`] and [`values`].
//!
//! # Features
//!
//! | feature | adds |
//! | --- | --- |
//! | `tls` | etcd over TLS, by rustls |
//! | `metrics` | the state of a copy for the crate `metrics`: see the module `metrics` |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod apply;
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
mod set_aside;
mod state;
pub mod values;
mod version;
mod wire;

use std::time::Duration;

pub use error::{Error, InvalidPrefix};
pub use etcd_client;
pub use registrar::{Registrar, Registration, RegistrationState};
pub use replica::{Builder, Replica, Stats};
pub use revision::EtcdRevision;
pub use set_aside::SetAside;
pub use state::{State, Why};

/// Returns the options with which to connect an etcd client for a replica or a registrar: a member
/// without a leader refuses requests instead of answering with old data; the client sends
/// keep-alive pings while requests are in flight; it renews an expired token.
///
/// With a [user](etcd_client::ConnectOptions::with_user), the `Debug` output of these options shows
/// the password; that implementation is part of `etcd-client`.
pub fn connect_options() -> etcd_client::ConnectOptions {
    etcd_client::ConnectOptions::new()
        .with_require_leader(true)
        .with_connect_timeout(Duration::from_secs(3))
        // A server closes the connection of a client that pings more often than every five seconds,
        // or while no request is in flight (its `--grpc-keepalive-min-time`).
        .with_keep_alive(Duration::from_secs(6), Duration::from_secs(3))
        .with_keep_alive_while_idle(false)
        .with_auto_token_refresh(true)
}

/// The examples of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
