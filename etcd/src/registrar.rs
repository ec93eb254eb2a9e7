//! [`Registrar`]: pods that register themselves in etcd.
//!
//! A registration is one key with a lease. The **lease is the identity** of an incarnation: each
//! change that a registration makes is a transaction that looks first whether the key is still of
//! its lease. So a process that was paused, and wakes after its time, changes nothing of the one
//! that came in its place.

mod entry;
mod keeper;
mod registration;

use std::fmt;
use std::time::Duration;

use etcd_client::Client;
use service_registry::{ServiceInfo, ServiceRegistration};

use crate::Error;
use crate::keys::Prefix;

pub use registration::{Registration, RegistrationState};

use entry::Entry;

/// Registers pods in etcd, each with a lease.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use service_registry::{ServiceRegistration, ServiceStatus};
/// use service_registry_etcd::etcd_client::Client;
/// use service_registry_etcd::{Registrar, connect_options};
///
/// let client = Client::connect(["127.0.0.1:2379"], Some(connect_options())).await?;
/// let registrar = Registrar::new(client).prefix("/pods/");
/// let pod = ServiceRegistration::new("checkout", "pod-1");
/// let registration = registrar.register(pod, Duration::from_secs(10)).await?;
/// registration.set_health(ServiceStatus::Healthy).await?;
/// // ...
/// registration.deregister().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Registrar {
    client: Client,
    prefix: String,
    naming: Option<String>,
    patience: Duration,
}

impl Registrar {
    /// Registers under `/service-registry/`. See [`connect_options`](crate::connect_options) for
    /// how the client is to be connected.
    pub fn new(client: Client) -> Registrar {
        Registrar {
            client,
            prefix: "/service-registry/".into(),
            naming: None,
            patience: Duration::from_secs(5),
        }
    }

    /// Under which keys the pods stand; that of the [replicas](crate::Builder::prefix).
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Registrar {
        self.prefix = prefix.into();
        self
    }

    /// Registers healthy pods besides in the layout of etcd's own resolver for gRPC (Go:
    /// `naming/resolver`), under `<prefix><service>/<pod>`: `{"Op":0,"Addr":"host:port",
    /// "Metadata":...}`, with the first provider. `prefix` may be empty, and must not be within
    /// the [other one](Self::prefix).
    #[must_use]
    pub fn naming(mut self, prefix: impl Into<String>) -> Registrar {
        self.naming = Some(prefix.into());
        self
    }

    /// How long one request waits for its answer before it is made again, of another member as
    /// the client has it: 5 seconds unless this says otherwise, and at first an eighth of the time
    /// to live.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Registrar {
        self.patience = patience;
        self
    }

    /// Registers a pod: one transaction, after which all replicas come to see it. From then on it
    /// is kept alive, until it is [deregistered](Registration::deregister) or the answer is
    /// dropped. Where its lease is lost nevertheless (etcd was away for longer than the time to
    /// live), it gets another one, and is registered again.
    ///
    /// Whoever was registered under the same key is removed first: the newer one stays. Its
    /// status is `Unknown` until [`set_health`](Registration::set_health).
    ///
    /// `ttl` counts in whole seconds, rounded up; etcd may grant more. A pod whose process is
    /// gone is gone from etcd within it, and once more for each change of etcd's leader.
    ///
    /// It tries again while etcd cannot be reached, and so should have a time-out. Given up, it may
    /// leave a pod that goes when its time to live has passed.
    ///
    /// # Errors
    ///
    /// [`Store`](Error::Store) for a registration that [`ServiceInfo::new`] refuses;
    /// [`Prefix`](Error::Prefix); [`Etcd`](Error::Etcd) where etcd refuses.
    pub async fn register(
        &self,
        registration: ServiceRegistration,
        ttl: Duration,
    ) -> Result<Registration, Error> {
        let info = ServiceInfo::new(registration)?;
        let prefix = Prefix::new(self.prefix.as_str())?;
        let seconds = ttl
            .as_secs()
            .saturating_add(u64::from(ttl.subsec_nanos() > 0));
        let ttl = Duration::from_secs(seconds.max(1));
        let entry = Entry {
            client: self.client.clone(),
            key: prefix.key(info.key()),
            naming: self
                .naming
                .as_ref()
                .map(|prefix| entry::naming_key(prefix, info.key())),
            ttl,
            patience: self.patience.min((ttl / 8).max(Duration::from_millis(250))),
        };
        Registration::begin(entry, info).await
    }
}

/// Shows nothing of the client, which has a password.
impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrar")
            .field("prefix", &self.prefix)
            .field("naming", &self.naming)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
