//! [`Registration`]: a pod that is registered, and kept so.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use service_registry::{ServiceInfo, ServiceKey, ServiceStatus};
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;

use super::entry::{Entry, Found};
use super::keeper;
use crate::{Error, EtcdRevision};

/// How a registration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistrationState {
    /// It is in etcd since this revision, as far as is known: its lease was renewed within the
    /// time to live.
    Registered(EtcdRevision),
    /// Its lease could not be renewed for a time to live, or is lost; it is being taken anew.
    Lost,
    /// Another process has registered under the same key since: this one is over.
    Superseded,
    /// It was deregistered.
    Ended,
}

/// A pod that is registered, and kept alive by a task. See
/// [`Registrar::register`](super::Registrar::register).
///
/// Dropped, it ends the task, and the pod goes when its time to live has passed; so it does where
/// the process dies. [`deregister`](Self::deregister) removes it at once.
#[must_use = "dropped, it is not kept alive"]
pub struct Registration {
    inner: Arc<Inner>,
    key: ServiceKey,
    task: AbortHandle,
}

pub(super) struct Inner {
    pub(super) entry: Entry,
    /// Whoever writes to etcd holds it meanwhile.
    pub(super) held: Mutex<Held>,
    pub(super) state: watch::Sender<RegistrationState>,
}

pub(super) struct Held {
    pub(super) info: ServiceInfo,
    pub(super) lease: i64,
    /// Our leases before: what is of one of them is ours.
    pub(super) before: Vec<i64>,
}

impl Held {
    /// Which key may be removed to make room for ours.
    fn may_remove(&self, lease: i64, takes_over: bool) -> bool {
        takes_over || self.before.contains(&lease)
    }
}

impl Registration {
    pub(super) async fn begin(entry: Entry, info: ServiceInfo) -> Result<Registration, Error> {
        let key = info.key().clone();
        let lease = entry.grant().await?;
        let before = Vec::new();
        let mut held = Held {
            info,
            lease,
            before,
        };
        let revision = entry.establish(&mut held, true).await?;
        let inner = Arc::new(Inner {
            entry,
            held: Mutex::new(held),
            state: watch::Sender::new(RegistrationState::Registered(revision)),
        });
        let task = tokio::spawn(keeper::run(inner.clone())).abort_handle();
        Ok(Registration { inner, key, task })
    }

    /// `service:pod`.
    pub fn key(&self) -> &ServiceKey {
        &self.key
    }

    /// The revision of etcd at which it was registered last: for
    /// [`Replica::wait_for`](crate::Replica::wait_for). Zero while it is lost.
    pub fn revision(&self) -> EtcdRevision {
        match self.state() {
            RegistrationState::Registered(revision) => revision,
            _ => EtcdRevision::ZERO,
        }
    }

    /// How it stands.
    pub fn state(&self) -> RegistrationState {
        *self.inner.state.borrow()
    }

    /// Waits until the state is another one than `than`, and answers with it.
    pub async fn state_other_than(&self, than: RegistrationState) -> RegistrationState {
        let mut seen = self.inner.state.subscribe();
        match seen.wait_for(|state| *state != than).await {
            Ok(state) => *state,
            // Not while `self` has the sender.
            Err(_) => RegistrationState::Ended,
        }
    }

    /// Says how healthy the pod is, as of now: one transaction. Answers with its revision.
    ///
    /// It tries again while etcd cannot be reached, and so should have a time-out. Given up, it may
    /// have been done, and is what the pod says when it is registered again.
    ///
    /// # Errors
    ///
    /// [`Superseded`](Error::Superseded), and then nothing was changed; [`Etcd`](Error::Etcd)
    /// where etcd refuses; [`Store`](Error::Store) where the clock stands before 1970.
    pub async fn set_health(&self, status: ServiceStatus) -> Result<EtcdRevision, Error> {
        let inner = &*self.inner;
        let mut held = inner.held.lock().await;
        if self.is_over() {
            return Err(Error::Superseded);
        }
        // A clock that steps back must not make it a check of before.
        let now = SystemTime::now();
        let now = held
            .info
            .last_health_check()
            .map_or(now, |last| last.max(now));
        held.info = held.info.with_health(status, now)?;
        match inner.entry.update(&held.info, held.lease).await? {
            Found::Done(revision) => Ok(revision),
            _ => inner.restore(&mut held).await,
        }
    }

    fn is_over(&self) -> bool {
        let over = [RegistrationState::Superseded, RegistrationState::Ended];
        over.contains(&self.state())
    }

    /// Removes the pod, and gives its lease back. What has been registered in its place since
    /// stays. Answers with the revision from which on it is gone.
    ///
    /// It tries again while etcd cannot be reached, and so should have a time-out.
    ///
    /// # Errors
    ///
    /// [`Superseded`](Error::Superseded) where it was not there any more; [`Etcd`](Error::Etcd)
    /// where etcd refuses.
    pub async fn deregister(self) -> Result<EtcdRevision, Error> {
        let inner = &*self.inner;
        let held = inner.held.lock().await;
        self.task.abort();
        inner.state.send_replace(RegistrationState::Ended);
        let removed = inner.entry.remove(held.lease).await?;
        inner.entry.revoke(held.lease).await;
        match removed {
            Found::Done(revision) => Ok(revision),
            _ => Err(Error::Superseded),
        }
    }
}

impl Inner {
    /// Brings the pod back where its key or its lease is gone; nothing where it was superseded.
    pub(super) async fn restore(&self, held: &mut Held) -> Result<EtcdRevision, Error> {
        match self.entry.establish(held, false).await {
            Ok(revision) => {
                self.state
                    .send_replace(RegistrationState::Registered(revision));
                Ok(revision)
            }
            Err(Error::Superseded) => {
                self.state.send_replace(RegistrationState::Superseded);
                self.entry.revoke(held.lease).await;
                Err(Error::Superseded)
            }
            Err(error) => Err(error),
        }
    }
}

impl Entry {
    /// Makes the key ours, as a new one, with whatever leases that takes. Who is registered there
    /// already is removed if `takes_over`.
    async fn establish(&self, held: &mut Held, takes_over: bool) -> Result<EtcdRevision, Error> {
        loop {
            match self.create(&held.info, held.lease).await? {
                Found::Done(revision) => return Ok(revision),
                // An answer that was lost: it is ours already.
                Found::Other { lease, created, .. } if lease == held.lease => return Ok(created),
                Found::Other {
                    lease, modified, ..
                } if held.may_remove(lease, takes_over) => {
                    self.remove_unchanged(modified).await?;
                }
                Found::Other { .. } => return Err(Error::Superseded),
                // It went between the two.
                Found::Nothing => {}
                Found::NoLease => {
                    let lease = self.grant().await?;
                    held.before.push(std::mem::replace(&mut held.lease, lease));
                    let many = held.before.len().saturating_sub(16);
                    held.before.drain(..many);
                }
            }
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("key", &self.key)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
