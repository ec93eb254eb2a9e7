//! [`Registration`]: a registered pod that is kept alive.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use service_registry::{ServiceInfo, ServiceKey, ServiceStatus};
use tokio::sync::{Mutex, watch};
use tokio::task::AbortHandle;

use super::entry::{PodEntry, TxnOutcome};
use super::keeper;
use super::state::{LeasedPod, RegistrationInner, RegistrationState};
use crate::{Error, EtcdRevision};

/// A registered pod that a task keeps alive. Created by
/// [`Registrar::register`](super::Registrar::register).
///
/// Dropping it ends the task, and the pod disappears after its time to live, as it does if the
/// process dies. [`deregister`](Self::deregister) removes the pod at once.
#[must_use = "dropped, it is not kept alive"]
pub struct Registration {
    inner: Arc<RegistrationInner>,
    key: ServiceKey,
    task: AbortHandle,
}

impl Registration {
    pub(super) async fn begin(entry: PodEntry, info: ServiceInfo) -> Result<Registration, Error> {
        let key = info.key().clone();
        let lease = entry.grant().await?;
        let earlier_leases = Vec::new();
        let mut leased = LeasedPod {
            info,
            lease,
            earlier_leases,
        };
        let revision = entry.establish(&mut leased, true).await?;
        let inner = Arc::new(RegistrationInner {
            entry,
            leased: Mutex::new(leased),
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
        let mut leased = inner.leased.lock().await;
        if self.is_over() {
            return Err(Error::Superseded);
        }
        // If the clock steps back, this check must still be later than the previous one.
        let now = SystemTime::now();
        let now = leased
            .info
            .last_health_check()
            .map_or(now, |last| last.max(now));
        leased.info = leased.info.with_health(status, now)?;
        match inner.entry.update(&leased.info, leased.lease).await? {
            TxnOutcome::Done(revision) => Ok(revision),
            _ => inner.restore(&mut leased).await,
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
        let leased = inner.leased.lock().await;
        self.task.abort();
        inner.state.send_replace(RegistrationState::Ended);
        let removed = inner.entry.remove(leased.lease).await?;
        inner.entry.revoke(leased.lease).await;
        match removed {
            TxnOutcome::Done(revision) => Ok(revision),
            _ => Err(Error::Superseded),
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
