//! [`Builder`]: the options of a replica.

use std::fmt;
use std::time::Duration;

use etcd_client::Client;

/// Practically forever, but still safe to add to the current time.
const LONG: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The options of a [`Replica`](super::Replica).
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

    /// Sets the prefix of the pods' keys. The default is `/service-registry/`. See [`Prefix::new`](crate::keys::Prefix::new).
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
