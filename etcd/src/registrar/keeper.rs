//! The task that keeps a registration alive.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::entry::TxnOutcome;
use super::state::{RegistrationInner, RegistrationState};
use crate::Error;
use crate::backoff::Backoff;

/// Renews the lease three times per time to live. Each renewal opens its own stream, because a
/// stream that stays open ends with a change of leader, or hangs (etcd#15922). After each renewal,
/// checks that the key still exists and has our lease.
pub(super) async fn run(inner: Arc<RegistrationInner>) {
    let ttl = inner.entry.ttl;
    let mut lease = inner.leased.lock().await.lease;
    let mut backoff = Backoff::new(Duration::from_millis(50), ttl / 12);
    let mut renewed = Instant::now();
    loop {
        sleep(ttl / 3).await;
        loop {
            match renew(&inner, &mut lease, &mut renewed).await {
                Renewal::Renewed => break,
                Renewal::Ended => return,
                Renewal::NoAnswer => {
                    if renewed.elapsed() > ttl {
                        mark_lost(&inner);
                    }
                    sleep(backoff.next()).await;
                }
            }
        }
        backoff.reset();
    }
}

enum Renewal {
    Renewed,
    /// No answer came.
    NoAnswer,
    Ended,
}

fn mark_lost(inner: &RegistrationInner) {
    inner.state.send_if_modified(|state| {
        let was = matches!(state, RegistrationState::Registered(_));
        if was {
            *state = RegistrationState::Lost;
        }
        was
    });
}

async fn renew(inner: &RegistrationInner, lease: &mut i64, renewed: &mut Instant) -> Renewal {
    // A writer holds the lock until etcd answers, and the known lease must be renewed meanwhile.
    if let Ok(leased) = inner.leased.try_lock() {
        *lease = leased.lease;
    }
    let began = Instant::now();
    match inner.entry.renew(*lease).await {
        Ok(true) => *renewed = began,
        Ok(false) => mark_lost(inner),
        Err(()) => return Renewal::NoAnswer,
    }
    // Ends before the next renewal is due.
    let looked = timeout(inner.entry.ttl / 3, async {
        let mut leased = inner.leased.lock().await;
        match inner.entry.check_lease(leased.lease).await? {
            TxnOutcome::Done(_) if inner.is_registered() => Ok(None),
            TxnOutcome::Done(revision) => Ok(Some(revision)),
            TxnOutcome::Absent | TxnOutcome::Other { .. } | TxnOutcome::NoLease => {
                inner.restore(&mut leased).await.map(|_| None)
            }
        }
    });
    match looked.await {
        Ok(Ok(None)) => Renewal::Renewed,
        // The registration was marked as lost, but is still there.
        Ok(Ok(Some(revision))) => {
            inner
                .state
                .send_replace(RegistrationState::Registered(revision));
            Renewal::Renewed
        }
        Ok(Err(Error::Superseded)) => Renewal::Ended,
        Ok(Err(_)) | Err(_) => Renewal::NoAnswer,
    }
}
