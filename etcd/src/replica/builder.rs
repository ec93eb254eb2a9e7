//! [`Builder`]: how a copy is to be kept.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::Client;
use service_registry::{RegistryStore, ServiceInfo, ServiceRegistration};

use super::Replica;
use super::drive::Driver;
use super::status::Shared;
use crate::Error;
use crate::aside::Aside;
use crate::keys::Prefix;

/// As good as for ever, and still a time that can be added to now.
const LONG: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// How a copy is to be kept.
#[derive(Clone)]
#[must_use = "it does nothing until it is started"]
pub struct Builder {
    pub(super) client: Client,
    pub(super) prefix: String,
    pub(super) source: String,
    pub(super) heartbeat: Duration,
    pub(super) patience: Duration,
    pub(super) longest_wait: Duration,
}

impl Builder {
    pub(super) fn new(client: Client) -> Builder {
        Builder {
            client,
            prefix: "/service-registry/".into(),
            source: "etcd".into(),
            heartbeat: Duration::from_secs(5),
            patience: Duration::from_secs(5),
            longest_wait: Duration::from_secs(5),
        }
    }

    /// Under which keys the pods stand: `/service-registry/` unless this says otherwise. See
    /// [`Prefix::new`].
    pub fn prefix(mut self, prefix: impl Into<String>) -> Builder {
        self.prefix = prefix.into();
        self
    }

    /// What the records of this copy have as their source: `etcd` unless this says otherwise. Two
    /// replicas into one store need two names: each takes away what is of its source, and not
    /// under its prefix.
    pub fn source(mut self, source: impl Into<String>) -> Builder {
        self.source = source.into();
        self
    }

    /// After what time without a word the watch is asked whether it lives: 5 seconds unless this
    /// says otherwise. The copy is stale at the latest a heartbeat and a
    /// [patience](Self::patience) after the last sign of life.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Builder {
        self.heartbeat = heartbeat.min(LONG);
        self
    }

    /// How long an answer is waited for: 5 seconds unless this says otherwise.
    pub fn patience(mut self, patience: Duration) -> Builder {
        self.patience = patience.min(LONG);
        self
    }

    /// The longest wait between two attempts to reach etcd: 5 seconds unless this says otherwise.
    /// It begins with a hundredth of that, and doubles until something is achieved; each wait is
    /// a random part of it.
    pub fn longest_wait(mut self, wait: Duration) -> Builder {
        self.longest_wait = wait.min(LONG);
        self
    }

    /// Begins to keep `store` as a copy, on the runtime that this is called on. It does not wait
    /// for etcd: [`Replica::synced`] does.
    ///
    /// # Errors
    ///
    /// [`Prefix`](Error::Prefix), or [`Store`](Error::Store) where the source is no name or the
    /// store is closed.
    #[allow(clippy::unused_async)] // To be called where there is a runtime.
    pub async fn start<S>(self, store: S) -> Result<Replica, Error>
    where
        S: RegistryStore + Send + Sync + 'static,
    {
        let prefix = Prefix::new(self.prefix.as_str())?;
        ServiceInfo::new(ServiceRegistration::new("any", "any"))?.with_source(&self.source)?;
        store.ping()?;
        let aside = Aside::default();
        let shared = Arc::new(Shared::new(aside.clone()));
        let (client, patience) = (self.client.clone(), self.patience);
        let driver = Driver::new(self, prefix.clone(), store, shared.clone(), aside);
        let task = tokio::spawn(driver.run()).abort_handle();
        Ok(Replica {
            shared,
            client,
            prefix,
            patience,
            task,
        })
    }
}

/// Shows nothing of the client, which has a password.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("prefix", &self.prefix)
            .field("source", &self.source)
            .field("heartbeat", &self.heartbeat)
            .field("patience", &self.patience)
            .field("longest_wait", &self.longest_wait)
            .finish_non_exhaustive()
    }
}
