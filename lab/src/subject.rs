//! What is measured, as the workload sees it.
//!
//! A [`Subject`] is a store or a bare map. Each thread that works on it does so by a
//! [`Hand`], in which a map keeps what a thread needs of it: a reader handle, say. Every
//! operation tells whether it did what it was to do, so that a wrong answer is found.
//! All of it is dispatched statically.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use service_registry::{Batch, ServiceInfo, ServiceRegistration, ServiceStatus};

/// What a bare map holds under a key: what a user would lay out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    /// What the pod says of itself, which never changes.
    pub registration: Arc<ServiceRegistration>,
    /// What the last health check said.
    pub status: ServiceStatus,
    /// When that was.
    pub checked_at: SystemTime,
}

impl Pod {
    /// The same as a record of the registry.
    pub fn of(info: &ServiceInfo) -> Pod {
        Pod {
            registration: Arc::new(info.registration().clone()),
            status: info.status(),
            checked_at: info.last_health_check().unwrap_or(info.registered_at()),
        }
    }

    /// A copy with another health.
    #[must_use]
    #[inline]
    pub fn with_health(&self, status: ServiceStatus, checked_at: SystemTime) -> Pod {
        Pod { registration: self.registration.clone(), status, checked_at }
    }

    /// Sets the health in place.
    #[inline]
    pub fn set_health(&mut self, status: ServiceStatus, checked_at: SystemTime) {
        self.status = status;
        self.checked_at = checked_at;
    }
}

/// A pod that is ready to be registered, in the forms in which it is held.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// As the stores hold it.
    pub info: ServiceInfo,
    /// The key of a bare map.
    pub key: Arc<str>,
    /// The value of a bare map.
    pub pod: Pod,
}

impl Newcomer {
    /// A pod with this record.
    pub fn new(info: ServiceInfo) -> Newcomer {
        Newcomer { key: info.key().as_str().into(), pod: Pod::of(&info), info }
    }
}

/// A store or a bare map.
pub trait Subject: Sized + 'static {
    /// What a thread works with.
    type Hand<'a>: Hand;

    /// Whether it knows what was done to it. Only a measure does not.
    const REMEMBERS: bool = true;

    /// An empty one. `seed` is for the hasher.
    fn create(seed: u64) -> Self;

    /// The hand of one of several threads.
    fn hand(&self) -> Self::Hand<'_>;

    /// The hand of the only thread.
    fn alone(&mut self) -> Self::Hand<'_> {
        self.hand()
    }

    /// Registers pods with their subscriptions, many at a time where that is quicker.
    fn fill(&mut self, pods: &mut dyn Iterator<Item = ServiceInfo>) {
        let mut hand = self.alone();
        for info in pods {
            // A bare map has no groups.
            for group in info.subscriptions() {
                hand.subscribe(info.key(), group);
            }
            hand.insert(&Newcomer::new(info));
        }
    }

    /// A task that calls `told` for each change of a pod of this name from now on; `None`
    /// where there is no such thing.
    fn follow(&self, name: &str, told: Box<dyn FnMut() + Send>) -> Option<Follower> {
        let _ = (name, told);
        None
    }

    /// Takes a snapshot before and one after `change`; how long it takes to find what
    /// differs, and how much that is. `None` where there is no such thing.
    fn differences(&self, change: &mut dyn FnMut()) -> Option<(Duration, usize)> {
        let _ = change;
        None
    }
}

/// A task that is told of changes, and never comes to an end.
pub type Follower = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One that threads can share.
pub trait Shared: Subject + Send + Sync {}

impl<S: Subject + Send + Sync> Shared for S {}

/// What one thread does.
///
/// The operations of one key are those of a map; the others need a registry. What a
/// subject cannot do fails, which ends the run.
#[allow(unused_variables)]
pub trait Hand {
    /// Reads a record in place: its status.
    fn with(&mut self, key: &str) -> Option<ServiceStatus>;

    /// Takes a clone of a record, and drops it. Whether it was there.
    fn get(&mut self, key: &str) -> bool;

    /// Asks for a key that is not there. Whether it is not.
    #[inline]
    fn miss(&mut self, key: &str) -> bool {
        self.with(key).is_none()
    }

    /// When a record was last checked.
    fn checked_at(&mut self, key: &str) -> Option<SystemTime>;

    /// Sets the health of a pod. Whether it was there.
    fn update(&mut self, key: &str, status: ServiceStatus, at: SystemTime) -> bool;

    /// Registers a pod that was not there. Whether that was so.
    fn insert(&mut self, pod: &Newcomer) -> bool;

    /// Removes a pod. Whether it was there.
    fn remove(&mut self, key: &str) -> bool;

    /// How many pods there are.
    fn pods(&mut self) -> usize;

    /// Replaces the whole record of a pod.
    fn replace(&mut self, info: ServiceInfo) -> bool {
        false
    }

    /// How many pods of a name are found; their records are cloned and dropped.
    fn by_name(&mut self, name: &str) -> usize {
        usize::MAX
    }

    /// How many subscribers of a group are found; their keys are cloned and dropped.
    fn subscribers(&mut self, group: &str) -> usize {
        usize::MAX
    }

    /// Subscribes.
    fn subscribe(&mut self, subscriber: &str, group: &str) -> bool {
        false
    }

    /// Unsubscribes.
    fn unsubscribe(&mut self, subscriber: &str, group: &str) -> bool {
        false
    }

    /// How many records an answer with all of them has; they are cloned and dropped.
    fn scan(&mut self) -> usize {
        usize::MAX
    }

    /// Takes a snapshot, asks it for the pods with these keys, and drops it: how many
    /// were found.
    fn view<'k>(&mut self, keys: impl Iterator<Item = &'k str>) -> usize {
        usize::MAX
    }

    /// Commits several changes at once.
    fn commit(&mut self, batch: Batch) -> bool {
        false
    }

    /// Keeps what is there now: a snapshot, or clones of everything.
    fn hold(&mut self) -> Box<dyn Any> {
        Box::new(())
    }
}
