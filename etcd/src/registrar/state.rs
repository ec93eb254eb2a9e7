//! The state of a registration, which its handle and the task that keeps it alive share.

use service_registry::ServiceInfo;
use tokio::sync::{Mutex, watch};

use super::entry::{PodEntry, TxnOutcome};
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

pub(super) struct RegistrationInner {
    pub(super) entry: PodEntry,
    /// A writer locks this until etcd answers.
    pub(super) leased: Mutex<LeasedPod>,
    pub(super) state: watch::Sender<RegistrationState>,
}

pub(super) struct LeasedPod {
    pub(super) info: ServiceInfo,
    pub(super) lease: i64,
    /// Our earlier leases: a key with one of them is ours.
    pub(super) earlier_leases: Vec<i64>,
}

impl LeasedPod {
    /// Returns whether a key with `lease` may be removed to make room for ours.
    fn may_remove(&self, lease: i64, takes_over: bool) -> bool {
        takes_over || self.earlier_leases.contains(&lease)
    }
}

impl RegistrationInner {
    pub(super) fn is_registered(&self) -> bool {
        matches!(*self.state.borrow(), RegistrationState::Registered(_))
    }

    /// Registers the pod again if its key or its lease is gone. Changes nothing in etcd if another
    /// process has taken the key.
    pub(super) async fn restore(&self, leased: &mut LeasedPod) -> Result<EtcdRevision, Error> {
        match self.entry.establish(leased, false).await {
            Ok(revision) => {
                self.state
                    .send_replace(RegistrationState::Registered(revision));
                Ok(revision)
            }
            Err(Error::Superseded) => {
                self.state.send_replace(RegistrationState::Superseded);
                self.entry.revoke(leased.lease).await;
                Err(Error::Superseded)
            }
            Err(error) => Err(error),
        }
    }
}

impl PodEntry {
    /// Creates the key as ours, with new leases as needed. If `takes_over`, first removes an
    /// existing registration.
    pub(super) async fn establish(
        &self,
        leased: &mut LeasedPod,
        takes_over: bool,
    ) -> Result<EtcdRevision, Error> {
        loop {
            match self.create(&leased.info, leased.lease).await? {
                TxnOutcome::Done(revision) => return Ok(revision),
                // An earlier answer was lost: the key is already ours.
                TxnOutcome::Other { lease, created, .. } if lease == leased.lease => {
                    return Ok(created);
                }
                TxnOutcome::Other {
                    lease, modified, ..
                } if leased.may_remove(lease, takes_over) => {
                    self.remove_unchanged(modified).await?;
                }
                TxnOutcome::Other { .. } => return Err(Error::Superseded),
                // The key disappeared between the two operations.
                TxnOutcome::Absent => {}
                TxnOutcome::NoLease => {
                    let lease = self.grant().await?;
                    leased
                        .earlier_leases
                        .push(std::mem::replace(&mut leased.lease, lease));
                    let many = leased.earlier_leases.len().saturating_sub(16);
                    leased.earlier_leases.drain(..many);
                }
            }
        }
    }
}
