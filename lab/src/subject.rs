//! The interface between the workload and the contenders.
//!
//! A [`Subject`] is a store or a bare map. Each thread works on it through a [`Handle`], in which a
//! map keeps its per-thread state, such as a reader handle. Every operation returns whether it did
//! its work, so that a wrong answer is found. All calls are dispatched statically.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use service_registry::{Batch, ServiceInfo, ServiceRegistration, ServiceStatus};

/// The value of a bare map, as a user would lay it out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    /// The pod's own description, which never changes.
    pub registration: Arc<ServiceRegistration>,
    /// The result of the last health check.
    pub status: ServiceStatus,
    /// The time of the last health check.
    pub checked_at: SystemTime,
}

impl Pod {
    /// Converts it from a record of the registry.
    pub fn of(info: &ServiceInfo) -> Pod {
        Pod {
            registration: Arc::new(info.registration().clone()),
            status: info.status(),
            checked_at: info.last_health_check().unwrap_or(info.registered_at()),
        }
    }

    /// Returns a copy with another health status.
    #[must_use]
    #[inline]
    pub fn with_health(&self, status: ServiceStatus, checked_at: SystemTime) -> Pod {
        Pod { registration: self.registration.clone(), status, checked_at }
    }

    /// Sets the health status in place.
    #[inline]
    pub fn set_health(&mut self, status: ServiceStatus, checked_at: SystemTime) {
        self.status = status;
        self.checked_at = checked_at;
    }
}

/// A pod that is ready to be registered, in the form of each kind of contender.
#[derive(Clone, Debug)]
pub struct NewPod {
    /// The record for a store.
    pub info: ServiceInfo,
    /// The key of a bare map.
    pub key: Arc<str>,
    /// The value of a bare map.
    pub pod: Pod,
}

impl NewPod {
    /// Creates a pod from this record.
    pub fn new(info: ServiceInfo) -> NewPod {
        NewPod { key: info.key().as_str().into(), pod: Pod::of(&info), info }
    }
}

/// A store or a bare map.
pub trait Subject: Sized + 'static {
    /// The handle of one thread.
    type Handle<'a>: Handle;

    /// Whether it keeps what was written. Only the measures do not.
    const REMEMBERS: bool = true;

    /// Creates an empty subject. `seed` is for the hasher.
    fn create(seed: u64) -> Self;

    /// Returns the handle of one of several threads.
    fn handle(&self) -> Self::Handle<'_>;

    /// Returns the handle of the only thread.
    fn alone(&mut self) -> Self::Handle<'_> {
        self.handle()
    }

    /// Registers pods with their subscriptions, in bulk if that is faster.
    fn fill(&mut self, pods: &mut dyn Iterator<Item = ServiceInfo>) {
        let mut handle = self.alone();
        for info in pods {
            // A bare map has no groups.
            for group in info.subscriptions() {
                handle.subscribe(info.key(), group);
            }
            handle.insert(&NewPod::new(info));
        }
    }

    /// Returns a task that calls `on_change` for each change of a pod of this name from now on;
    /// `None` if the subject cannot report changes.
    fn follow(&self, name: &str, on_change: Box<dyn FnMut() + Send>) -> Option<FollowFuture> {
        let _ = (name, on_change);
        None
    }

    /// Takes a snapshot before and after `change`, and returns how long it takes to find the
    /// differences, and their number. `None` if the subject has no snapshots.
    fn differences(&self, change: &mut dyn FnMut()) -> Option<(Duration, usize)> {
        let _ = change;
        None
    }
}

/// A task that receives changes, and never ends.
pub type FollowFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A subject that threads can share.
pub trait SharedSubject: Subject + Send + Sync {}

impl<S: Subject + Send + Sync> SharedSubject for S {}

/// The operations of one thread.
///
/// The operations on one key are those of a map; the others need a registry. An operation that a
/// subject does not have fails, which ends the run.
#[allow(unused_variables)]
pub trait Handle {
    /// Reads the status of a record in place.
    fn with(&mut self, key: &str) -> Option<ServiceStatus>;

    /// Clones a record and drops the clone. Returns whether it was there.
    fn get(&mut self, key: &str) -> bool;

    /// Looks up a missing key. Returns whether it is missing.
    #[inline]
    fn miss(&mut self, key: &str) -> bool {
        self.with(key).is_none()
    }

    /// Returns when a record was last checked.
    fn checked_at(&mut self, key: &str) -> Option<SystemTime>;

    /// Sets the health of a pod. Returns whether it was there.
    fn update(&mut self, key: &str, status: ServiceStatus, at: SystemTime) -> bool;

    /// Registers a new pod. Returns whether it was new.
    fn insert(&mut self, pod: &NewPod) -> bool;

    /// Removes a pod. Returns whether it was there.
    fn remove(&mut self, key: &str) -> bool;

    /// Returns the number of pods.
    fn pods(&mut self) -> usize;

    /// Replaces the whole record of a pod.
    fn replace(&mut self, info: ServiceInfo) -> bool {
        false
    }

    /// Returns the number of pods of a name; clones and drops their records.
    fn by_name(&mut self, name: &str) -> usize {
        usize::MAX
    }

    /// Returns the number of subscribers of a group; clones and drops their keys.
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

    /// Returns the number of records in a full scan; clones and drops them.
    fn scan(&mut self) -> usize {
        usize::MAX
    }

    /// Takes a snapshot, looks up the pods with these keys in it, and drops it. Returns how many
    /// were found.
    fn view<'k>(&mut self, keys: impl Iterator<Item = &'k str>) -> usize {
        usize::MAX
    }

    /// Commits several changes at once.
    fn commit(&mut self, batch: Batch) -> bool {
        false
    }

    /// Keeps the present state: a snapshot, or clones of everything.
    fn hold(&mut self) -> Box<dyn Any> {
        Box::new(())
    }
}
