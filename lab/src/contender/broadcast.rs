//! What people write by hand: a map, and beside it a channel that tells everybody of every
//! change.
//!
//! A change is sent after the lock of the map has been given back. So two of them can be told
//! in the other order, a reader that begins in between can miss one, and a receiver that is
//! slow loses some: this does less than a watch. Whoever wants to hear of one name hears of
//! all, and throws the rest away.

use std::time::SystemTime;

use service_registry::ServiceStatus;
use tokio::sync::broadcast::{Receiver, Sender, error::RecvError};

use super::bare::{Dash, Hasher, Locked, Map};
use crate::subject::{Follower, Hand, Newcomer, Pod, Subject};

/// How many changes wait for the slowest receiver.
const CAPACITY: usize = 1_024;

/// A map that hands out what it has changed.
pub(super) trait Tells: Map {
    /// Sets the health of a pod, and clones it.
    fn updated(&self, key: &str, status: ServiceStatus, at: SystemTime) -> Option<Pod>;
}

impl Tells for Locked {
    fn updated(&self, key: &str, status: ServiceStatus, at: SystemTime) -> Option<Pod> {
        let mut map = self.write();
        let pod = map.get_mut(key)?;
        pod.set_health(status, at);
        Some(pod.clone())
    }
}

impl Tells for Dash {
    fn updated(&self, key: &str, status: ServiceStatus, at: SystemTime) -> Option<Pod> {
        let mut pod = self.get_mut(key)?;
        pod.set_health(status, at);
        Some(pod.clone())
    }
}

/// The map and the channel.
pub(super) struct Broadcast<M> {
    map: M,
    sender: Sender<Pod>,
    /// Somebody listens always, as in the stores with one watch.
    _listener: Receiver<Pod>,
}

impl<M: Tells> Subject for Broadcast<M> {
    type Hand<'a> = &'a Broadcast<M>;

    fn create(seed: u64) -> Broadcast<M> {
        let (sender, listener) = tokio::sync::broadcast::channel(CAPACITY);
        Broadcast { map: M::empty(Hasher::with_seed(seed)), sender, _listener: listener }
    }

    fn hand(&self) -> &Broadcast<M> {
        self
    }

    fn follow(&self, name: &str, mut told: Box<dyn FnMut() + Send>) -> Option<Follower> {
        let (mut receiver, name) = (self.sender.subscribe(), name.to_owned());
        Some(Box::pin(async move {
            loop {
                match receiver.recv().await {
                    Ok(pod) if pod.registration.service_name == name => told(),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        }))
    }
}

impl<M: Tells> Hand for &Broadcast<M> {
    fn with(&mut self, key: &str) -> Option<ServiceStatus> {
        self.map.read(key, |pod| pod.status)
    }

    fn get(&mut self, key: &str) -> bool {
        self.map.read(key, Pod::clone).is_some()
    }

    fn checked_at(&mut self, key: &str) -> Option<SystemTime> {
        self.map.read(key, |pod| pod.checked_at)
    }

    #[inline]
    fn update(&mut self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        let pod = self.map.updated(key, status, at);
        pod.is_some_and(|pod| self.sender.send(pod).is_ok())
    }

    /// Fills the map, and tells nobody: registrations are not measured with it.
    fn insert(&mut self, pod: &Newcomer) -> bool {
        self.map.put(pod.key.clone(), pod.pod.clone())
    }

    fn remove(&mut self, _: &str) -> bool {
        false
    }

    fn len(&mut self) -> usize {
        self.map.count()
    }
}
