//! [`Registrar`]: registers pods in etcd.
//!
//! A registration is one key with a lease. The **lease identifies** an incarnation: each change
//! that a registration makes is a transaction that first checks that the key still has its lease.
//! So a process that was paused, and wakes after its time to live, cannot change the registration
//! of the process that replaced it.

mod entry;
mod keeper;
mod registration;
mod state;

use std::fmt;
use std::time::Duration;

use etcd_client::Client;
use service_registry::{ServiceInfo, ServiceRegistration};

use crate::Error;
use crate::keys::Prefix;

pub use registration::Registration;
pub use state::RegistrationState;

use entry::PodEntry;

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
    /// Creates a registrar for the prefix `/service-registry/`. Connect the client with
    /// [`connect_options`](crate::connect_options).
    pub fn new(client: Client) -> Registrar {
        Registrar {
            client,
            prefix: "/service-registry/".into(),
            naming: None,
            patience: Duration::from_secs(5),
        }
    }

    /// Sets the prefix of the pods' keys. It must be the same as that of the
    /// [replicas](crate::Builder::prefix).
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Registrar {
        self.prefix = prefix.into();
        self
    }

    /// Also writes healthy pods in the layout of etcd's own resolver for gRPC (Go:
    /// `naming/resolver`), under `<prefix><service>/<pod>`: `{"Op":0,"Addr":"host:port",
    /// "Metadata":...}`, with the first provider. `prefix` may be empty, and must not be within the
    /// [other one](Self::prefix).
    #[must_use]
    pub fn naming(mut self, prefix: impl Into<String>) -> Registrar {
        self.naming = Some(prefix.into());
        self
    }

    /// Sets how long a request waits for its answer before it is sent again, to another member if
    /// the client chooses so. The default is 5 seconds. A request of a registration with a short
    /// time to live first waits for an eighth of that time, but at least 250 ms; writes double the
    /// wait, up to 5 seconds, while no answer comes.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Registrar {
        self.patience = patience;
        self
    }

    /// Registers a pod with one transaction, which all replicas then receive. A task keeps the pod
    /// alive until it is [deregistered](Registration::deregister) or the returned value is dropped.
    /// If the lease is lost anyway (etcd was unreachable for longer than the time to live), the
    /// task takes a new lease and registers the pod again.
    ///
    /// An earlier registration under the same key is removed first: the newer one wins. The status
    /// of the pod is `Unknown` until [`set_health`](Registration::set_health).
    ///
    /// `ttl` is rounded up to whole seconds; etcd may grant more. After its process is gone, a pod
    /// disappears from etcd within `ttl`, plus another `ttl` for each change of etcd's leader.
    ///
    /// Retries while etcd is unreachable, so call it with a timeout. If the future is dropped, it
    /// may leave a pod, which disappears after its time to live.
    ///
    /// # Errors
    ///
    /// Returns [`Store`](Error::Store) if [`ServiceInfo::new`] refuses the registration,
    /// [`Prefix`](Error::Prefix) if the prefix is invalid, and [`Etcd`](Error::Etcd) if etcd
    /// refuses.
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
        let entry = PodEntry {
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

/// Leaves out the client, which may have a password.
impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrar")
            .field("prefix", &self.prefix)
            .field("naming", &self.naming)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
