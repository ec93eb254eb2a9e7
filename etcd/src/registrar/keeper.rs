//! The task that keeps a registration alive.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::entry::Found;
use super::registration::{Inner, RegistrationState};
use crate::Error;
use crate::backoff::Backoff;

/// Renews the lease three times per time to live. Each renewal opens its own stream, because a
/// stream that stays open ends with a change of leader, or hangs (etcd#15922). After each renewal,
/// checks that the key still exists and has our lease.
pub(super) async fn run(inner: Arc<Inner>) {
    let ttl = inner.entry.ttl;
    let mut lease = inner.held.lock().await.lease;
    let mut backoff = Backoff::new(Duration::from_millis(50), ttl / 12);
    let mut renewed = Instant::now();
    loop {
        sleep(ttl / 3).await;
        loop {
            match keep(&inner, &mut lease, &mut renewed).await {
                Kept::Is => break,
                Kept::IsOver => return,
                Kept::Unknown => {
                    if renewed.elapsed() > ttl {
                        lost(&inner);
                    }
                    sleep(backoff.next()).await;
                }
            }
        }
        backoff.reset();
    }
}

enum Kept {
    Is,
    /// No answer came.
    Unknown,
    IsOver,
}

fn lost(inner: &Inner) {
    inner.state.send_if_modified(|state| {
        let was = matches!(state, RegistrationState::Registered(_));
        if was {
            *state = RegistrationState::Lost;
        }
        was
    });
}

async fn keep(inner: &Inner, lease: &mut i64, renewed: &mut Instant) -> Kept {
    // A writer holds the lock until etcd answers, and the known lease must be renewed meanwhile.
    if let Ok(held) = inner.held.try_lock() {
        *lease = held.lease;
    }
    let began = Instant::now();
    match inner.entry.renew(*lease).await {
        Ok(true) => *renewed = began,
        Ok(false) => lost(inner),
        Err(()) => return Kept::Unknown,
    }
    // Ends before the next renewal is due.
    let looked = timeout(inner.entry.ttl / 3, async {
        let mut held = inner.held.lock().await;
        match inner.entry.look(held.lease).await? {
            Found::Done(_) if inner.is_registered() => Ok(None),
            Found::Done(revision) => Ok(Some(revision)),
            Found::Nothing | Found::Other { .. } | Found::NoLease => {
                inner.restore(&mut held).await.map(|_| None)
            }
        }
    });
    match looked.await {
        Ok(Ok(None)) => Kept::Is,
        // The registration was marked as lost, but is still there.
        Ok(Ok(Some(revision))) => {
            inner
                .state
                .send_replace(RegistrationState::Registered(revision));
            Kept::Is
        }
        Ok(Err(Error::Superseded)) => Kept::IsOver,
        Ok(Err(_)) | Err(_) => Kept::Unknown,
    }
}

impl Inner {
    fn is_registered(&self) -> bool {
        matches!(*self.state.borrow(), RegistrationState::Registered(_))
    }
}
