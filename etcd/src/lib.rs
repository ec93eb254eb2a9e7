//! A live local copy of a prefix in etcd, in any store of
//! [`service-registry`](service_registry).

mod apply;
mod aside;
mod backoff;
mod call;
mod error;
pub mod keys;
mod message;
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
/// leader refuses, instead of showing what it last knew; connections are asked whether they live;
/// a token that has expired is renewed.
pub fn connect_options() -> etcd_client::ConnectOptions {
    etcd_client::ConnectOptions::new()
        .with_require_leader(true)
        .with_connect_timeout(Duration::from_secs(3))
        .with_keep_alive(Duration::from_secs(3), Duration::from_secs(3))
        .with_keep_alive_while_idle(true)
        .with_auto_token_refresh(true)
}
