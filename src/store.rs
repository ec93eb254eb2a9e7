//! [`RegistryStore`], the interface that every store implements, and its contract.

use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use crate::changes::{Cursor, Difference, Selection, Watch};
use crate::model::batch::Batch;
use crate::model::error::Result;
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;
use crate::model::revision::Revision;
use crate::model::status::{HealthUpdate, ServiceStatus};
use crate::model::upkeep::Upkeep;

#[macro_use]
mod delegate;
#[macro_use]
mod methods;

mod collect;
mod differ;
mod in_place;
mod memory;
mod recorder;
#[cfg(all(test, loom))]
#[macro_use]
mod models;
#[cfg(any(feature = "thread-safe", feature = "worker"))]
mod reading;
mod services;
mod subscriptions;
mod tables;
mod view;
mod write;

#[cfg(feature = "evmap")]
mod evmap;
#[cfg(feature = "snapshot")]
mod snapshot;
#[cfg(feature = "thread-safe")]
mod thread_safe;
#[cfg(feature = "versioned")]
mod versioned;
#[cfg(feature = "worker")]
mod worker;

#[cfg(feature = "evmap")]
pub use evmap::EvmapStore;
pub use memory::MemoryStore;
#[cfg(feature = "snapshot")]
pub use snapshot::{Snapshot, SnapshotReader, SnapshotStore};
#[cfg(feature = "thread-safe")]
pub use thread_safe::ThreadSafeMemoryStore;
#[cfg(feature = "versioned")]
pub use versioned::{VersionedReader, VersionedSnapshot, VersionedStore, VersionedView};
pub use view::{DynView, RegistryView, Snapshots};
#[cfg(feature = "worker")]
pub use worker::WorkerStore;

/// The number of entries in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct StoreStats {
    /// The number of registered services, that is, pods.
    pub services: usize,
    /// The number of subscriptions, that is, pairs of a subscriber and a service group.
    pub subscriptions: usize,
}

impl StoreStats {
    /// Creates statistics from the two counts.
    pub const fn new(services: usize, subscriptions: usize) -> StoreStats {
        StoreStats {
            services,
            subscriptions,
        }
    }
}

/// A registry of services. It records which pods serve a name, whether they are
/// healthy, and who subscribes to changes.
///
/// # The contract
///
/// Every method behaves the same on every store. `tests/contract.rs` runs one
/// suite against all stores of this crate. The crate `service-registry-testkit`
/// offers the same suite for third-party stores.
///
/// - An operation that fails changes nothing. Once an operation returns, every read
///   that starts afterwards, on any thread, sees its effect.
/// - Every operation is atomic. No reader sees half of a [`commit`](Self::commit), and
///   a method that returns several records returns those of one state.
/// - A registered pod is never missing while it is replaced or updated.
/// - The caller owns every returned value. Changes to it affect neither the store
///   nor another caller.
/// - After [`close`](Self::close) every method that can fail, except `close` itself,
///   returns [`Closed`](crate::StoreError::Closed).
/// - Each saved record gets the [`revision`](ServiceInfo::revision) of its commit. It gets
///   a new [`incarnation`](ServiceInfo::incarnation) if there was no record under its key.
///   A save that changes nothing changes neither.
/// - A panic in a closure of the caller leaves the store unchanged and usable.
/// - A call from inside a read closure of the same store never deadlocks. If it
///   would have to wait for the closure to end, it fails with
///   [`Reentrant`](crate::StoreError::Reentrant). Each store documents which calls
///   do. A store cannot detect a closure that *waits for another thread* which in
///   turn waits for the closure: this is a deadlock. Each store documents what its
///   closures block.
/// - A destructor of a thread local may use a store, in whatever order the destructors
///   run.
///
/// In the costs, *n* is the number of registered pods, *p* the number of pods of the
/// requested name, and *s* the number of subscribers of the requested group or of
/// groups of the requested subscriber. O(1) is expected and amortized, as for a hash
/// table. In a persistent store (`SnapshotStore`) each look-up takes O(log *n*)
/// instead, and so does each look-up inside another operation. A call to
/// `WorkerStore` also costs a round trip.
///
/// # Errors
///
/// Every method that can fail may return `Closed` or `Reentrant`. Each method lists
/// its other errors.
pub trait RegistryStore {
    // --- services

    /// Inserts `service`, or replaces the whole record under its key. A replaced record
    /// keeps its incarnation. Subscriptions do not change. O(1); in a persistent store
    /// O(log *n*).
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::StoreError::Conflict) if the record under its key has another
    /// [`source`](ServiceInfo::source), or if only one of the two has a source.
    ///
    /// # Panics
    ///
    /// Panics at about 2^31 records in stores whose tables change in place. A
    /// [`commit`](Self::commit) may panic for the same reason.
    fn save_service(&self, service: ServiceInfo) -> Result<()>;

    /// Returns the record under `key`. O(1); in a persistent store O(log *n*). Allocates
    /// nothing if the pod exists.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::StoreError::NotFound) if no pod has this key, and
    /// [`Invalid`](crate::StoreError::Invalid) if no pod can have it. The same holds for
    /// all other methods that look up one pod.
    fn get_service(&self, key: &str) -> Result<ServiceInfo>;

    /// Returns the record under `key`, or `None` if no pod has this key. Costs as much as
    /// [`get_service`](Self::get_service), but an absent pod is not an error. Allocates
    /// nothing in any store of this crate except `WorkerStore`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid) if no pod can have this key.
    fn find_service(&self, key: &str) -> Result<Option<ServiceInfo>> {
        match self.get_service(key) {
            Ok(found) => Ok(Some(found)),
            Err(crate::StoreError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns whether a pod has this key. Costs as much as
    /// [`find_service`](Self::find_service).
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid) if no pod can have this key.
    fn contains_service(&self, key: &str) -> Result<bool> {
        self.find_service(key).map(|found| found.is_some())
    }

    /// Returns the pods of a service in no particular order. A service without pods is
    /// not an error. O(*p*).
    ///
    /// # Errors
    ///
    /// None of its own.
    fn get_services_by_name(&self, service_name: &str) -> Result<Vec<ServiceInfo>>;

    /// Returns every record in no particular order. O(*n*).
    ///
    /// # Errors
    ///
    /// None of its own.
    fn get_all_services(&self) -> Result<Vec<ServiceInfo>>;

    /// Removes the record under `key`. Keeps its subscriptions. O(1); in a persistent
    /// store O(log *n*).
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::StoreError::NotFound) if no pod has this key.
    fn delete_service(&self, key: &str) -> Result<()>;

    /// Records the result of a health check, and returns what it replaced. If the record
    /// already has the result of a later check, it does not change, and the method
    /// returns [`Late`](HealthUpdate::Late). A result with an equal time applies. Atomic.
    /// O(1); in a persistent store O(log *n*). Never copies a registration.
    ///
    /// A different status gives the record the revision of this commit. If only the time
    /// is newer, the revision of the store grows, but the record keeps its own.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::StoreError::NotFound) if no pod has this key, and
    /// [`Invalid`](crate::StoreError::Invalid) for a time before 1970 or after 9999.
    fn update_health_status(
        &self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Result<HealthUpdate>;

    // --- subscriptions

    /// Subscribes a pod to a group. Does nothing if the pod is already subscribed. The
    /// subscriber need not be registered. O(log *s*).
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid) if the subscriber key is not a valid key, or
    /// the group is not a valid service name: see
    /// [`ServiceKey::new`](crate::ServiceKey::new).
    fn add_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()>;

    /// Ends a subscription. Does nothing if the pod is not subscribed. O(log *s*).
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid), as for
    /// [`add_subscription`](Self::add_subscription).
    fn remove_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()>;

    /// Ends all subscriptions of a pod. O(*s* log *s*) in the number of subscriptions of
    /// this pod, no matter how many other pods share its groups.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid) if the subscriber key is not
    /// `service:pod`.
    fn remove_all_subscriptions(&self, subscriber_key: &str) -> Result<()>;

    /// Returns the subscribers of a group in the order of subscription. A group without
    /// subscribers is not an error. O(*s*).
    ///
    /// # Errors
    ///
    /// None of its own.
    fn get_subscribers(&self, service_group: &str) -> Result<Vec<ServiceKey>>;

    /// Returns the records of those subscribers of a group that are registered, in the
    /// order of subscription. O(*s*).
    ///
    /// # Errors
    ///
    /// None of its own.
    fn get_subscriber_services(&self, service_group: &str) -> Result<Vec<ServiceInfo>>;

    // --- several changes at once

    /// Applies the changes of a batch in order and makes them visible at once,
    /// or applies none. Costs as much as its changes, plus one publication.
    ///
    /// Returns the resulting revision. A batch increases the revision by one if at least
    /// one of its changes has an effect when it is applied. A batch that changes nothing
    /// keeps the revision.
    ///
    /// # Errors
    ///
    /// [`BatchRejected`](crate::StoreError::BatchRejected), with the first
    /// change that fails and its error.
    fn commit(&self, batch: Batch) -> Result<Revision>;

    /// Commits a batch like [`commit`](Self::commit), and also returns the net effect of
    /// the whole batch, with one [`Skipped`](Difference::Skipped) for each record that it
    /// skipped. Costs as much as a commit, plus O(differences).
    ///
    /// # Errors
    ///
    /// The errors of [`commit`](Self::commit), and
    /// [`Failed`](crate::StoreError::Failed) if a third-party store does not support this.
    fn commit_changes(&self, batch: Batch) -> Result<(Revision, Vec<Difference>)> {
        let _ = batch;
        Err(changes_not_reported())
    }

    /// Starts a watch. It first yields the state of the selection, and then every change to
    /// it, in the order of commits, without a gap. O(1), and waits for its turn among the
    /// writers. `MemoryStore` and `WorkerStore` copy their state for the first watch, in
    /// O(*n*).
    ///
    /// ```
    /// use service_registry::changes::{Difference, Event, Selection};
    /// use service_registry::{MemoryStore, RegistryStore};
    ///
    /// let store = MemoryStore::new();
    /// let mut watch = store.watch(Selection::group("user-service"))?;
    /// assert!(matches!(watch.recv()?, Event::State { .. }));
    /// store.add_subscription("web:pod-1", "user-service")?;
    /// let Event::Changes { changes, .. } = watch.recv()? else { unreachable!() };
    /// assert!(matches!(changes[..], [Difference::Subscribed { .. }]));
    /// # Ok::<(), service_registry::StoreError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Invalid`](crate::StoreError::Invalid), with the field `selection`, if no store can
    ///   contain the selected name or key.
    /// - [`Closed`](crate::StoreError::Closed).
    /// - [`Reentrant`](crate::StoreError::Reentrant) inside a read closure of a store that
    ///   refuses writes there.
    /// - [`Failed`](crate::StoreError::Failed) if a third-party store does not support watches.
    fn watch(&self, selection: Selection) -> Result<Watch> {
        let _ = selection;
        Err(changes_not_reported())
    }

    /// Starts a watch after `cursor`, the position of an earlier watch of this store, if the
    /// log still reaches back that far. Otherwise, or if the cursor belongs to another store
    /// or is ahead of this one, the watch starts with the state. There is never a gap. O(1),
    /// and waits for its turn among the writers. Unless the selection has been watched since
    /// `cursor`, it also scans the log, in O(log length), while commits wait.
    ///
    /// # Errors
    ///
    /// The errors of [`watch`](Self::watch).
    fn watch_from(&self, selection: Selection, cursor: Cursor) -> Result<Watch> {
        let _ = (selection, cursor);
        Err(changes_not_reported())
    }

    /// Returns the revision of the current state. After `close`, returns that of the last
    /// state. O(1).
    fn revision(&self) -> Revision;

    /// Removes the record under `key` together with its subscriptions, in one commit, and
    /// returns it. Atomic: if two threads take the same record, only one gets it.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::StoreError::NotFound) if no pod has this key. The
    /// subscriptions under the key then stay as well.
    fn take_service(&self, key: &str) -> Result<ServiceInfo>;

    // --- lifecycle and utilities

    /// Removes all services and subscriptions, in one commit. O(services + subscriptions).
    ///
    /// # Errors
    ///
    /// None of its own.
    fn clear(&self) -> Result<()>;

    /// Returns the number of services and subscriptions. O(1).
    ///
    /// # Errors
    ///
    /// None of its own.
    fn stats(&self) -> Result<StoreStats>;

    /// Returns what the store keeps besides its current state. O(1). `VersionedStore` waits
    /// for its turn among the writers, and checks its snapshots.
    ///
    /// The default implementation returns an empty [`Upkeep`].
    ///
    /// # Errors
    ///
    /// None of its own.
    fn upkeep(&self) -> Result<Upkeep> {
        self.ping().map(|()| Upkeep::default())
    }

    /// Checks that the store is usable. O(1).
    ///
    /// # Errors
    ///
    /// [`Closed`](crate::StoreError::Closed) if it is closed.
    fn ping(&self) -> Result<()>;

    /// Closes the store. It finishes the operations that it has accepted, refuses later
    /// ones, and drops its contents. Existing snapshots remain valid. Closing a closed
    /// store does nothing. O(services + subscriptions).
    ///
    /// # Errors
    ///
    /// Only [`Reentrant`](crate::StoreError::Reentrant).
    fn close(&self) -> Result<()>;

    // --- reads without a copy

    /// Calls `read` with the record under `key`, and returns its result. O(1); in a
    /// persistent store O(log *n*). Copies nothing, except in `WorkerStore`, and allocates
    /// nothing if the pod exists.
    ///
    /// Each store documents what it holds during the call (a lock, a guard). Keep the
    /// closure short.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::StoreError::NotFound) if no pod has this key; `read` is not
    /// called then.
    fn with_service<R>(&self, key: &str, read: impl FnOnce(&ServiceInfo) -> R) -> Result<R>
    where
        Self: Sized,
    {
        with_service_dyn(self, key, read)
    }

    /// The `dyn`-compatible form of [`with_service`](Self::with_service). Calls `visit`
    /// exactly once if the pod exists, and not at all otherwise.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::StoreError::NotFound) if no pod has this key.
    fn visit_service(&self, key: &str, visit: &mut dyn FnMut(&ServiceInfo)) -> Result<()> {
        visit(&self.get_service(key)?);
        Ok(())
    }

    /// Calls `read` with a view of the current state, and returns its result. All queries
    /// to the view see the same state. O(1), plus the cost of the queries.
    ///
    /// During the call, a store without snapshots holds what keeps its state unchanged: a
    /// shared lock, a guard, or, in `WorkerStore`, its queue. Keep the closure short.
    ///
    /// ```
    /// use service_registry::{MemoryStore, RegistryStore, RegistryView};
    ///
    /// let store = MemoryStore::new();
    /// store.add_subscription("web:pod-1", "user-service")?;
    /// let (revision, waiting) = store.with_view(|view| {
    ///     (view.revision(), view.subscribers("user-service").count())
    /// })?;
    /// assert_eq!((revision.as_u64(), waiting), (1, 1));
    ///
    /// // Through `dyn`, a reference is the store.
    /// let any: &dyn RegistryStore = &store;
    /// assert_eq!((&any).with_view(|view| view.groups().count())?, 1);
    /// # Ok::<(), service_registry::StoreError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// None of its own.
    fn with_view<R>(&self, read: impl FnOnce(&dyn DynView) -> R) -> Result<R>
    where
        Self: Sized,
    {
        with_view_dyn(self, read)
    }

    /// The `dyn`-compatible form of [`with_view`](Self::with_view). Calls `visit` exactly
    /// once, unless it fails.
    ///
    /// # Errors
    ///
    /// None of its own.
    fn visit_view(&self, visit: &mut dyn FnMut(&dyn DynView)) -> Result<()>;
}

/// The error of the default methods for changes.
#[cold]
fn changes_not_reported() -> crate::StoreError {
    crate::StoreError::failed("this store tells no changes")
}

/// Implements `with_service` with `visit_service`, for stores behind a pointer.
fn with_service_dyn<S: RegistryStore + ?Sized, R>(
    store: &S,
    key: &str,
    read: impl FnOnce(&ServiceInfo) -> R,
) -> Result<R> {
    let mut read = Some(read);
    let mut answer = None;
    store.visit_service(key, &mut |info| {
        if let Some(read) = read.take() {
            answer = Some(read(info));
        }
    })?;
    Ok(answer.expect("`visit_service` calls its closure before it answers `Ok`"))
}

/// Implements `with_view` with `visit_view`.
fn with_view_dyn<S: RegistryStore + ?Sized, R>(
    store: &S,
    read: impl FnOnce(&dyn DynView) -> R,
) -> Result<R> {
    let mut read = Some(read);
    let mut answer = None;
    store.visit_view(&mut |view| {
        if let Some(read) = read.take() {
            answer = Some(read(view));
        }
    })?;
    Ok(answer.expect("`visit_view` calls its closure before it answers `Ok`"))
}

/// Implements [`RegistryStore`] for pointers to a store.
macro_rules! forward_through_pointer {
    ($($pointer:ty),+) => {$(
        impl<S: RegistryStore + ?Sized> RegistryStore for $pointer {
            // The two methods need a sized store, and `S` may be unsized.
            delegate_store!(self => **self; except with_service, with_view);
        }
    )+};
}

forward_through_pointer!(&S, Box<S>, Rc<S>, Arc<S>);

/// Implements `Debug` for a store behind `dyn`, so that types that contain one can derive it.
macro_rules! debug_dyn {
    ($($store:ty),+) => {$(
        impl std::fmt::Debug for $store {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                debug_store("dyn RegistryStore", self, f)
            }
        }
    )+};
}

debug_dyn!(
    dyn RegistryStore + '_,
    dyn RegistryStore + Send + '_,
    dyn RegistryStore + Send + Sync + '_
);

/// Formats a store: its name, revision and counts.
fn debug_store(
    name: &str,
    store: &(impl RegistryStore + ?Sized),
    f: &mut std::fmt::Formatter<'_>,
) -> std::fmt::Result {
    let mut debug = f.debug_struct(name);
    match store.stats() {
        Ok(stats) => debug
            .field("revision", &store.revision())
            .field("services", &stats.services)
            .field("subscriptions", &stats.subscriptions)
            .finish(),
        Err(_) => debug.finish_non_exhaustive(),
    }
}
