//! [`Replica`]: the copy, and what is known of it.

mod builder;
mod drive;
mod status;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use etcd_client::Client;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::aside::SetAside;
use crate::call::until_answered;
use crate::keys::Prefix;
use crate::{Error, EtcdRevision, State, Why, wire};

pub use builder::Builder;
pub use status::Stats;

use status::Shared;

/// A store that is kept as a copy of a prefix in etcd.
///
/// The store is the caller's: it reads there, without a lock or a round trip, whatever happens to
/// etcd. This handle tells how the copy stands, and waits. The copy is kept as long as the handle
/// lives.
///
/// # What it promises
///
/// - Each commit is one revision of etcd, whole, and they come in order. Several keys of one
///   transaction appear at once. A list, at the start and where the history that is missing was
///   compacted, is one commit, and a difference to what was there.
/// - While etcd cannot be reached, or is being listed, the store serves what it had, and
///   [`state`](Self::state) says that it is stale, at the latest one
///   [heartbeat and patience](Builder::heartbeat) after the watch's last sign of life.
/// - When etcd can be reached again, the copy becomes what etcd has.
/// - The records are of one [source](Builder::source). Those of others are left alone, also where
///   etcd has a pod under their key. Of a later health check that was made here the result stays.
/// - A pod is registered anew (another [incarnation](service_registry::ServiceInfo::incarnation))
///   only where etcd created its key anew. Nobody is subscribed to anything.
/// - What cannot be read is [set aside](Self::set_aside), and takes nothing else along.
///
/// # Costs
///
/// A commit is made on the runtime that it was started on, and takes the turn of writing of the
/// store there; that of a list on a thread for what blocks. Beside the store it keeps the key and
/// three numbers for each pod.
pub struct Replica {
    shared: Arc<Shared>,
    client: Client,
    prefix: Prefix,
    patience: Duration,
    task: AbortHandle,
}

impl Replica {
    /// Begins to say how a copy is to be kept. See
    /// [`connect_options`](crate::connect_options) for how the client is to be connected.
    pub fn builder(client: Client) -> Builder {
        Builder::new(client)
    }

    /// How the copy stands now. O(1).
    pub fn state(&self) -> State {
        self.shared.status().state
    }

    /// What went wrong last, if it is not synced: also where it never was.
    pub fn trouble(&self) -> Option<Why> {
        self.shared.status().trouble
    }

    /// Everything up to this revision of etcd is in the store; zero before the first list.
    pub fn revision(&self) -> EtcdRevision {
        self.shared.status().applied
    }

    /// Waits until the state is another one than `than`, and answers with it.
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

    /// Waits until the copy is synced, and answers with its revision.
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

    /// Waits until everything up to `revision` is in the store: what
    /// [`Registration::revision`](crate::Registration::revision) tells, or whoever else wrote
    /// under the prefix. It may wait for ever for a revision that did not.
    ///
    /// # Errors
    ///
    /// [`OtherEtcd`](Error::OtherEtcd) where it becomes another etcd meanwhile;
    /// [`Ended`](Error::Ended).
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

    /// Waits until everything is in the store that etcd had when this was called, whoever wrote
    /// it, and answers with a revision up to which it is. One request, and the answer on the
    /// watch.
    ///
    /// Where the server's word on the progress of a watch cannot be trusted (before 3.4.25 and
    /// 3.5.8) it writes a key of its own under the prefix, `<prefix>%/barrier`, and waits for it
    /// to come; that takes the permission to write it.
    ///
    /// It tries again while etcd cannot be reached, and waits while there is no watch, and so should
    /// have a time-out.
    ///
    /// # Errors
    ///
    /// [`Etcd`](Error::Etcd) where etcd refuses; [`Ended`](Error::Ended).
    pub async fn read_barrier(&self) -> Result<EtcdRevision, Error> {
        loop {
            let (epoch, trusted) = self.trusted().await?;
            let revision = self.newest(trusted).await?;
            if let Some(applied) = self.reach(revision, epoch, trusted).await? {
                return Ok(applied);
            }
        }
    }

    /// The epoch, and whether the server's word on progress is to be trusted, once it is known:
    /// who may only read must not be made to write because that is not known yet.
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

    /// A revision that is not older than anything that was written before this was called.
    async fn newest(&self, trusted: bool) -> Result<EtcdRevision, Error> {
        let marker = self.prefix.marker();
        let kv = self.client.kv_client();
        let header = until_answered(self.patience, || {
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

    /// Waits for a revision; `None` where it must be asked for anew.
    async fn reach(
        &self,
        revision: EtcdRevision,
        epoch: u64,
        trusted: bool,
    ) -> Result<Option<EtcdRevision>, Error> {
        let mut seen = self.shared.subscribe();
        let mut tick = Duration::from_millis(5);
        if trusted {
            self.shared.poke.notify_one();
        }
        loop {
            let now = seen.borrow_and_update().clone();
            now.check()?;
            // Where it is not known, there is no watch: the next one may be as this one was.
            if now.epoch != epoch || now.trusted.is_some_and(|now| now != trusted) {
                return Ok(None);
            }
            if now.applied >= revision {
                return Ok(Some(now.applied));
            }
            // While it moves on, there is no need to ask how far it is.
            if timeout(tick, self.shared.changed(&mut seen)).await.is_err() {
                tick = (2 * tick).min(Duration::from_secs(1));
                if trusted {
                    self.shared.poke.notify_one();
                }
            }
        }
    }

    /// Keys under the prefix that cannot be read now, and why; at most `limit`, in their order.
    pub fn set_aside(&self, limit: usize) -> Vec<SetAside> {
        self.shared.aside.list(limit)
    }

    /// What was done so far.
    pub fn stats(&self) -> Stats {
        let counts = &self.shared.counts;
        Stats {
            epoch: self.shared.status().epoch,
            lists: counts.lists.load(Relaxed),
            watches: counts.watches.load(Relaxed),
            commits: counts.commits.load(Relaxed),
            skipped: counts.skipped.load(Relaxed),
            set_aside: self.shared.aside.len(),
        }
    }
}

/// Ends the watch; the store stays as it is. A list that is being brought into it is finished.
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
