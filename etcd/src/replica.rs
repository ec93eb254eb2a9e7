//! [`Replica`]: the handle of a copy.

mod builder;
mod drive;
mod status;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use etcd_client::Client;
use service_registry::{RegistryStore, ServiceInfo, ServiceRegistration};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::call::retry;
use crate::keys::Prefix;
use crate::set_aside::{SetAside, SetAsideKeys};
use crate::{Error, EtcdRevision, State, Why, wire};

pub use builder::Builder;
pub use status::Stats;

use drive::ReplicaDriver;
use status::ReplicaState;

/// Keeps a store as a copy of a prefix in etcd.
///
/// The caller owns the store and reads from it directly, without a lock or a round trip, whatever
/// happens to etcd. This handle reports the state of the copy, and waits for changes of it. The
/// copy is kept up to date as long as the handle lives.
///
/// # Guarantees
///
/// - Each commit is one whole revision of etcd, and commits come in order. Several keys of one
///   transaction appear at once. A list, at the start and after the missing history was compacted,
///   is one commit, which is a difference to the previous state.
/// - While etcd is unreachable or is being listed, the store serves its last state, and
///   [`state`](Self::state) reports that it is stale, at the latest one [heartbeat and
///   patience](Builder::heartbeat) after the watch's last sign of life.
/// - Once etcd is reachable again, the copy catches up with it.
/// - The records have one [source](Builder::source). Records of other sources are left alone, even
///   if etcd has a pod under their key. If a health check made on the store is later than the one
///   in etcd, its result stays.
/// - A pod is registered anew (it gets a new
///   [incarnation](service_registry::ServiceInfo::incarnation)) only if etcd created its key anew.
///   The replica adds no subscriptions.
/// - A key that cannot be read is [set aside](Self::set_aside), and does not affect other keys.
///
/// # Costs
///
/// A commit of a watch runs on the runtime on which the replica was started, and waits for the
/// store's other writers there. The commit of a list runs on a thread for blocking work. Beside the
/// store, the replica keeps the key and three numbers for each pod.
pub struct Replica {
    shared: Arc<ReplicaState>,
    client: Client,
    prefix: Prefix,
    patience: Duration,
    task: AbortHandle,
}

impl Builder {
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

impl Replica {
    /// Returns a builder for a replica. Connect the client with
    /// [`connect_options`](crate::connect_options).
    pub fn builder(client: Client) -> Builder {
        Builder::new(client)
    }

    /// Returns the current state of the copy. O(1).
    pub fn state(&self) -> State {
        self.shared.status().state
    }

    /// Returns the last failure, unless the copy is synced. Also reports failures before the first
    /// sync.
    pub fn trouble(&self) -> Option<Why> {
        self.shared.status().trouble
    }

    /// Returns the revision of etcd up to which everything is in the store; zero before the first
    /// list.
    pub fn revision(&self) -> EtcdRevision {
        self.shared.status().applied
    }

    /// Waits until the state differs from `than`, and returns it.
    ///
    /// # Errors
    ///
    /// [`Ended`](Error::Ended).
    pub async fn state_other_than(&self, than: &State) -> Result<State, Error> {
        let mut seen = self.shared.subscribe();
        loop {
            let now = seen.borrow_and_update().clone();
            now.check()?;
            if now.state != *than {
                return Ok(now.state);
            }
            self.shared.changed(&mut seen).await;
        }
    }

    /// Waits until the copy is synced, and returns its revision.
    ///
    /// # Errors
    ///
    /// [`Ended`](Error::Ended).
    pub async fn synced(&self) -> Result<EtcdRevision, Error> {
        let mut seen = self.shared.subscribe();
        loop {
            let now = seen.borrow_and_update().clone();
            now.check()?;
            if now.state.is_synced() {
                return Ok(now.applied);
            }
            self.shared.changed(&mut seen).await;
        }
    }

    /// Waits until everything up to `revision` is in the store. `revision` must be that of a write
    /// under the prefix, for example [`Registration::revision`](crate::Registration::revision); for
    /// another one it may wait forever.
    ///
    /// # Errors
    ///
    /// Returns [`OtherEtcd`](Error::OtherEtcd) if a new epoch begins meanwhile, and
    /// [`Ended`](Error::Ended) if the replica has ended.
    pub async fn wait_for(&self, revision: EtcdRevision) -> Result<(), Error> {
        let mut seen = self.shared.subscribe();
        let mut epoch = 0;
        loop {
            let now = seen.borrow_and_update().clone();
            now.check()?;
            if epoch != 0 && now.epoch != epoch {
                return Err(Error::OtherEtcd);
            }
            epoch = now.epoch;
            if now.applied >= revision && epoch != 0 {
                return Ok(());
            }
            self.shared.changed(&mut seen).await;
        }
    }

    /// Waits until the store has everything that etcd had when this was called, and returns a
    /// revision up to which it does. Costs one request, and an answer on the watch.
    ///
    /// If the server does not report the progress of a watch reliably (before 3.4.25 and 3.5.8),
    /// this writes its own key under the prefix, `<prefix>%/barrier`, and waits until the watch
    /// delivers it. That needs the permission to write this key.
    ///
    /// Retries while etcd is unreachable, and waits while there is no watch, so call it with a
    /// timeout.
    ///
    /// # Errors
    ///
    /// Returns [`Etcd`](Error::Etcd) if etcd refuses, and [`Ended`](Error::Ended) if the replica
    /// has ended.
    pub async fn read_barrier(&self) -> Result<EtcdRevision, Error> {
        loop {
            let (epoch, trusted) = self.trusted().await?;
            let revision = self.newest(trusted).await?;
            if let Some(applied) = self.wait_for_progress(revision, epoch, trusted).await? {
                return Ok(applied);
            }
        }
    }

    /// Waits until it is known whether the server reports progress reliably, and returns that with
    /// the epoch. A client with read permission only must not be made to write just because this is
    /// unknown.
    async fn trusted(&self) -> Result<(u64, bool), Error> {
        let mut seen = self.shared.subscribe();
        loop {
            let now = seen.borrow_and_update().clone();
            now.check()?;
            if let Some(trusted) = now.trusted {
                return Ok((now.epoch, trusted));
            }
            self.shared.changed(&mut seen).await;
        }
    }

    /// Returns a revision that is not older than any write before the call.
    async fn newest(&self, trusted: bool) -> Result<EtcdRevision, Error> {
        let marker = self.prefix.marker();
        let kv = self.client.kv_client();
        let header = retry(self.patience, || {
            let (mut kv, marker) = (kv.clone(), marker.as_str());
            async move {
                Ok(if trusted {
                    wire::header(kv.get(marker, None).await?.header())
                } else {
                    wire::header(kv.put(marker, "", None).await?.header())
                })
            }
        });
        Ok(header.await?.revision)
    }

    /// Waits for a revision. Returns `None` if the caller must ask for a new one.
    async fn wait_for_progress(
        &self,
        revision: EtcdRevision,
        epoch: u64,
        trusted: bool,
    ) -> Result<Option<EtcdRevision>, Error> {
        let mut seen = self.shared.subscribe();
        let mut tick = Duration::from_millis(5);
        if trusted {
            self.shared.progress_wanted.notify_one();
        }
        loop {
            let now = seen.borrow_and_update().clone();
            now.check()?;
            // If it is unknown there is no watch, and the next watch may give the same answer.
            if now.epoch != epoch || now.trusted.is_some_and(|now| now != trusted) {
                return Ok(None);
            }
            if now.applied >= revision {
                return Ok(Some(now.applied));
            }
            // While the copy advances, there is no need to ask for progress.
            if timeout(tick, self.shared.changed(&mut seen)).await.is_err() {
                tick = (2 * tick).min(Duration::from_secs(1));
                if trusted {
                    self.shared.progress_wanted.notify_one();
                }
            }
        }
    }

    /// Returns at most `limit` keys under the prefix that cannot be read now, and why, ordered by
    /// key.
    pub fn set_aside(&self, limit: usize) -> Vec<SetAside> {
        self.shared.set_aside.list(limit)
    }

    /// Returns the statistics so far.
    pub fn stats(&self) -> Stats {
        let counts = &self.shared.counts;
        Stats {
            epoch: self.shared.status().epoch,
            lists: counts.lists.load(Relaxed),
            watches: counts.watches.load(Relaxed),
            commits: counts.commits.load(Relaxed),
            skipped: counts.skipped.load(Relaxed),
            set_aside: self.shared.set_aside.len(),
        }
    }
}

/// Ends the watch. The store keeps its records. A commit of a list that is in progress is
/// completed.
impl Drop for Replica {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("prefix", &self.prefix.as_str())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
