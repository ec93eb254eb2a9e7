//! [`Builder`]: the options of a replica.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::Client;
use service_registry::{RegistryStore, ServiceInfo, ServiceRegistration};

use super::Replica;
use super::drive::ReplicaDriver;
use super::status::ReplicaState;
use crate::Error;
use crate::keys::Prefix;
use crate::set_aside::SetAsideKeys;

/// Practically forever, but still safe to add to the current time.
const LONG: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The options of a [`Replica`].
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

    /// Sets the prefix of the pods' keys. The default is `/service-registry/`. See [`Prefix::new`].
    pub fn prefix(mut self, prefix: impl Into<String>) -> Builder {
        self.prefix = prefix.into();
        self
    }

    /// Sets the source of the records of this copy. The default is `etcd`. Two replicas on one
    /// store need different names: each removes the records of its source that are not under its
    /// prefix.
    pub fn source(mut self, source: impl Into<String>) -> Builder {
        self.source = source.into();
        self
    }

    /// Sets how long the watch may be silent before it is asked for a sign of life. The default is
    /// 5 seconds. The copy is stale at the latest a heartbeat and a [patience](Self::patience)
    /// after the last sign of life.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Builder {
        self.heartbeat = heartbeat.min(LONG);
        self
    }

    /// Sets how long to wait for an answer. The default is 5 seconds.
    pub fn patience(mut self, patience: Duration) -> Builder {
        self.patience = patience.min(LONG);
        self
    }

    /// Sets the longest wait between two attempts to reach etcd. The default is 5 seconds. The wait
    /// begins at a hundredth of it, and doubles until there is progress; the actual wait is a
    /// random part of that.
    pub fn longest_wait(mut self, wait: Duration) -> Builder {
        self.longest_wait = wait.min(LONG);
        self
    }

    /// Starts to keep `store` as a copy, on the runtime on which this is called. Does not wait for
    /// etcd; [`Replica::synced`] does.
    ///
    /// # Errors
    ///
    /// Returns [`Prefix`](Error::Prefix) if the prefix is invalid, and [`Store`](Error::Store) if
    /// the source is not a valid name or the store is closed.
    #[allow(clippy::unused_async)] // To be called where there is a runtime.
    pub async fn start<S>(self, store: S) -> Result<Replica, Error>
    where
        S: RegistryStore + Send + Sync + 'static,
    {
        let prefix = Prefix::new(self.prefix.as_str())?;
        ServiceInfo::new(ServiceRegistration::new("any", "any"))?.with_source(&self.source)?;
        store.ping()?;
        let set_aside = SetAsideKeys::default();
        let shared = Arc::new(ReplicaState::new(set_aside.clone()));
        let (client, patience) = (self.client.clone(), self.patience);
        let driver = ReplicaDriver::new(self, prefix.clone(), store, shared.clone(), set_aside);
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

/// Leaves out the client, which may have a password.
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
