//! [`Registration`]: a registered pod that is kept alive.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use service_registry::{ServiceInfo, ServiceKey, ServiceStatus};
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;

use super::entry::{Entry, Found};
use super::keeper;
use crate::{Error, EtcdRevision};

/// The state of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistrationState {
    /// The pod is in etcd since this revision, as far as is known: its lease was renewed within the
    /// time to live.
    Registered(EtcdRevision),
    /// The lease is lost, or could not be renewed for a time to live. The task is registering the
    /// pod again.
    Lost,
    /// Another process has since registered under the same key, so this registration has ended.
    Superseded,
    /// The pod was deregistered.
    Ended,
}

/// A registered pod that a task keeps alive. Created by
/// [`Registrar::register`](super::Registrar::register).
///
/// Dropping it ends the task, and the pod disappears after its time to live, as it does if the
/// process dies. [`deregister`](Self::deregister) removes the pod at once.
#[must_use = "dropped, it is not kept alive"]
pub struct Registration {
    inner: Arc<Inner>,
    key: ServiceKey,
    task: AbortHandle,
}

pub(super) struct Inner {
    pub(super) entry: Entry,
    /// A writer locks this until etcd answers.
    pub(super) held: Mutex<Held>,
    pub(super) state: watch::Sender<RegistrationState>,
}

pub(super) struct Held {
    pub(super) info: ServiceInfo,
    pub(super) lease: i64,
    /// Our earlier leases: a key with one of them is ours.
    pub(super) before: Vec<i64>,
}

impl Held {
    /// Returns whether a key with `lease` may be removed to make room for ours.
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

    /// Returns the key of the pod, `service:pod`.
    pub fn key(&self) -> &ServiceKey {
        &self.key
    }

    /// Returns the revision of etcd at which the pod was last registered, for
    /// [`Replica::wait_for`](crate::Replica::wait_for); after
    /// [`Lost`](RegistrationState::Lost), it may be a later one at which the pod was found still
    /// registered. Zero unless it is [`Registered`](RegistrationState::Registered).
    pub fn revision(&self) -> EtcdRevision {
        match self.state() {
            RegistrationState::Registered(revision) => revision,
            _ => EtcdRevision::ZERO,
        }
    }

    /// Returns the current state.
    pub fn state(&self) -> RegistrationState {
        *self.inner.state.borrow()
    }

    /// Waits until the state differs from `than`, and returns it.
    pub async fn state_other_than(&self, than: RegistrationState) -> RegistrationState {
        let mut seen = self.inner.state.subscribe();
        match seen.wait_for(|state| *state != than).await {
            Ok(state) => *state,
            // Cannot happen while `self` has the sender.
            Err(_) => RegistrationState::Ended,
        }
    }

    /// Sets the health status of the pod, as of now, with one transaction. Returns its revision.
    ///
    /// Retries while etcd is unreachable, so call it with a timeout. If the future is dropped, the
    /// change may or may not have been made; if it had begun, the pod has the new status when it is
    /// registered again.
    ///
    /// # Errors
    ///
    /// Returns [`Superseded`](Error::Superseded) if the registration has ended, and then nothing
    /// was changed; [`Etcd`](Error::Etcd) if etcd refuses; [`Store`](Error::Store) if the clock is
    /// before 1970.
    pub async fn set_health(&self, status: ServiceStatus) -> Result<EtcdRevision, Error> {
        let inner = &*self.inner;
        let mut held = inner.held.lock().await;
        if self.is_over() {
            return Err(Error::Superseded);
        }
        // If the clock steps back, this check must still be later than the previous one.
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

    /// Removes the pod and revokes its lease. A newer registration under the same key stays.
    /// Returns the revision at which the pod was removed.
    ///
    /// Retries while etcd is unreachable, so call it with a timeout.
    ///
    /// # Errors
    ///
    /// Returns [`Superseded`](Error::Superseded) if the pod was already gone, and
    /// [`Etcd`](Error::Etcd) if etcd refuses.
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
    /// Registers the pod again if its key or its lease is gone. Changes nothing in etcd if another
    /// process has taken the key.
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
    /// Creates the key as ours, with new leases as needed. If `takes_over`, first removes an
    /// existing registration.
    async fn establish(&self, held: &mut Held, takes_over: bool) -> Result<EtcdRevision, Error> {
        loop {
            match self.create(&held.info, held.lease).await? {
                Found::Done(revision) => return Ok(revision),
                // An earlier answer was lost: the key is already ours.
                Found::Other { lease, created, .. } if lease == held.lease => return Ok(created),
                Found::Other {
                    lease, modified, ..
                } if held.may_remove(lease, takes_over) => {
                    self.remove_unchanged(modified).await?;
                }
                Found::Other { .. } => return Err(Error::Superseded),
                // The key disappeared between the two operations.
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
