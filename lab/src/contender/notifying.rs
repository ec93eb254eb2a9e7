//! Hand-written notifications: a map, and beside it something that reports every change.
//!
//! A change is reported after the lock of the map is released. So two changes can be reported in
//! the wrong order, a reader that begins in between can miss one, and a slow receiver loses some:
//! this does less than a watch. A follower of one name receives the changes of all names, and
//! discards the others.

use std::future::poll_fn;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::SystemTime;

use service_registry::ServiceStatus;
use tokio::sync::broadcast::{Sender, error::RecvError};

use super::bare::{Dash, Hasher, Key, LockedMap, Map};
use crate::subject::{FollowFuture, Pod};

/// A map whose update returns the changed pod.
pub(super) trait UpdateAndGet: Map {
    fn update_and_get(&self, key: &str, status: ServiceStatus, at: SystemTime) -> Option<Pod>;
}

impl UpdateAndGet for LockedMap {
    #[inline]
    fn update_and_get(&self, key: &str, status: ServiceStatus, at: SystemTime) -> Option<Pod> {
        let mut map = self.write();
        let pod = map.get_mut(key)?;
        pod.set_health(status, at);
        Some(pod.clone())
    }
}

impl UpdateAndGet for Dash {
    #[inline]
    fn update_and_get(&self, key: &str, status: ServiceStatus, at: SystemTime) -> Option<Pod> {
        let mut pod = self.get_mut(key)?;
        pod.set_health(status, at);
        Some(pod.clone())
    }
}

/// The channel that reports changes.
pub(super) trait Channel: Send + Sync + 'static {
    fn new() -> Self;
    fn send(&self, pod: Pod);
    fn follow(&self, name: String, on_change: Box<dyn FnMut() + Send>) -> FollowFuture;
}

/// A channel that keeps the last changes for all receivers.
impl Channel for Sender<Pod> {
    fn new() -> Sender<Pod> {
        Sender::new(1_024)
    }

    #[inline]
    fn send(&self, pod: Pod) {
        // Fails if there is no receiver.
        let _ = Sender::send(self, pod);
    }

    fn follow(&self, name: String, mut on_change: Box<dyn FnMut() + Send>) -> FollowFuture {
        let mut receiver = self.subscribe();
        Box::pin(async move {
            loop {
                match receiver.recv().await {
                    Ok(pod) if pod.registration.service_name == name => on_change(),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        })
    }
}

/// A counter, and a list of wakers to call when it changes: the least that a notification can cost.
/// With a sleeping thread it is a bare `unpark`.
#[derive(Clone)]
pub(super) struct Wakers(Arc<(AtomicU64, Mutex<Vec<Waker>>)>);

impl Channel for Wakers {
    fn new() -> Wakers {
        Wakers(Arc::default())
    }

    #[inline]
    fn send(&self, _: Pod) {
        let (changes, wakers) = &*self.0;
        // Release: pairs with the Acquire in `follow`.
        changes.fetch_add(1, Release);
        let woken = std::mem::take(&mut *wakers.lock().unwrap_or_else(PoisonError::into_inner));
        woken.into_iter().for_each(Waker::wake);
    }

    fn follow(&self, _: String, mut on_change: Box<dyn FnMut() + Send>) -> FollowFuture {
        let board = self.0.clone();
        let mut seen = 0;
        Box::pin(poll_fn(move |context| {
            let mut wakers = board.1.lock().unwrap_or_else(PoisonError::into_inner);
            wakers.push(context.waker().clone());
            drop(wakers);
            // Acquire: pairs with the Release in `send`.
            let changes = board.0.load(Acquire);
            (seen..changes).for_each(|_| on_change());
            seen = changes;
            Poll::Pending
        }))
    }
}

/// A map, and the channel that reports its changes.
pub(super) struct NotifyingMap<M, C> {
    map: M,
    channel: C,
}

impl<M: UpdateAndGet, C: Channel> Map for NotifyingMap<M, C> {
    fn empty(hasher: Hasher) -> NotifyingMap<M, C> {
        NotifyingMap { map: M::empty(hasher), channel: C::new() }
    }

    fn read<R>(&self, key: &str, read: impl Fn(&Pod) -> R) -> Option<R> {
        self.map.read(key, read)
    }

    #[inline]
    fn update(&self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        let update_and_get = self.map.update_and_get(key, status, at);
        update_and_get.map(|pod| self.channel.send(pod)).is_some()
    }

    /// Fills the map without notifications: only updates are measured with it.
    fn put(&self, key: Key, pod: Pod) -> bool {
        self.map.put(key, pod)
    }

    fn take(&self, key: &str) -> bool {
        self.map.take(key)
    }

    fn count(&self) -> usize {
        self.map.count()
    }

    fn follow(&self, name: &str, on_change: Box<dyn FnMut() + Send>) -> Option<FollowFuture> {
        Some(self.channel.follow(name.into(), on_change))
    }
}
