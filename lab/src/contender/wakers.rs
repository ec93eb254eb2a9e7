//! A counter, and a list of whom to wake when it has moved: the least that telling of a change
//! can cost. With a thread that sleeps it is a bare `unpark`.

use std::future::poll_fn;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::SystemTime;

use service_registry::{ServiceInfo, ServiceStatus};

use super::null::Null;
use crate::subject::{Follower, Hand, Newcomer, Subject};

#[derive(Default)]
struct Board {
    changes: AtomicU64,
    wakers: Mutex<Vec<Waker>>,
}

/// The counter and the list.
pub(crate) struct Wakers {
    nothing: Null,
    board: Arc<Board>,
}

impl Subject for Wakers {
    type Hand<'a> = &'a Wakers;

    const REMEMBERS: bool = false;

    fn create(seed: u64) -> Wakers {
        Wakers { nothing: Null::create(seed), board: Arc::default() }
    }

    fn hand(&self) -> &Wakers {
        self
    }

    fn fill(&mut self, pods: &mut dyn Iterator<Item = ServiceInfo>) {
        self.nothing.fill(pods);
    }

    fn follow(&self, _: &str, mut told: Box<dyn FnMut() + Send>) -> Option<Follower> {
        let board = self.board.clone();
        let mut seen = board.changes.load(Acquire);
        Some(Box::pin(poll_fn(move |context| {
            let mut wakers = board.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            wakers.push(context.waker().clone());
            drop(wakers);
            // Acquire: pairs with the Release in `update`.
            let changes = board.changes.load(Acquire);
            (seen..changes).for_each(|_| told());
            seen = changes;
            Poll::Pending
        })))
    }
}

impl Hand for &Wakers {
    fn with(&mut self, key: &str) -> Option<ServiceStatus> {
        (&self.nothing).with(key)
    }

    fn get(&mut self, _: &str) -> bool {
        true
    }

    fn checked_at(&mut self, key: &str) -> Option<SystemTime> {
        (&self.nothing).checked_at(key)
    }

    fn update(&mut self, _: &str, _: ServiceStatus, _: SystemTime) -> bool {
        // Release: pairs with the Acquire in `follow`.
        self.board.changes.fetch_add(1, Release);
        let mut wakers = self.board.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        let woken = std::mem::take(&mut *wakers);
        drop(wakers);
        woken.into_iter().for_each(Waker::wake);
        true
    }

    fn insert(&mut self, _: &Newcomer) -> bool {
        true
    }

    fn remove(&mut self, _: &str) -> bool {
        true
    }

    fn len(&mut self) -> usize {
        (&self.nothing).len()
    }
}
