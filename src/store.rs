//! The interface of every store, and what it promises.

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
mod noted;
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

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct StoreStats {
    /// Registered services, that is: pods.
    pub services: usize,
    /// Pairs of a subscriber and a service group.
    pub subscriptions: usize,
}

impl StoreStats {
    /// The counts of a store.
    pub const fn new(services: usize, subscriptions: usize) -> StoreStats {
        StoreStats {
            services,
            subscriptions,
        }
    }
}

/// A registry of services: which pods serve a name, whether they are healthy,
/// and who wants to hear of changes.
///
/// # The contract
///
/// Every method means the same on every store; `tests/contract.rs` runs one
/// suite against them all. The crate `service-registry-testkit` has it for stores from
/// elsewhere.
///
/// - An operation that fails has changed nothing. An operation that returns has
///   happened: every read that starts afterwards, on any thread, sees it.
/// - Every operation is one atomic step. No reader sees half of a
///   [`commit`](Self::commit), and a method that answers with several records
///   answers with the state of one moment.
/// - A registered pod is never missing while it is replaced or updated.
/// - What a caller is given is its own: nothing done with it reaches the store
///   or another caller.
/// - After [`close`](Self::close) every method that can fail answers
///   [`Closed`](crate::StoreError::Closed).
/// - Each record that is saved gets the [`revision`](ServiceInfo::revision) of its commit,
///   and an [`incarnation`](ServiceInfo::incarnation) where there was none under its key. A
///   save that changes nothing changes neither.
/// - A panic in a closure of the caller leaves the store as it was, and usable.
/// - A call from inside a read closure of the same store never deadlocks. Where
///   it would have to wait for the closure to end, it is refused with
///   [`Reentrant`](crate::StoreError::Reentrant); each store says where. (A closure
///   that *waits for another thread*, which in turn has to wait for the closure, waits
///   for ever; no store can see that. Each says what its closures hold up.)
/// - A destructor of a thread local may use a store, whatever the order in which
///   destructors run.
///
/// Costs are written with *n* for the pods registered, *p* for the pods of the
/// name asked for, and *s* for the subscribers of the group or the groups of the
/// subscriber asked for. O(1) is expected and amortised, as of a hash table; in a
/// persistent store (`SnapshotStore`) each look-up takes O(log *n*) instead, and
/// so the others that are made of look-ups. A call of `WorkerStore` costs a round
/// trip besides.
///
/// # Errors
///
/// What each method adds to `Closed` and `Reentrant` stands with it.
pub trait RegistryStore {
    // --- services

    /// Inserts `service`, or replaces the whole record under its key, which keeps its
    /// incarnation. Subscriptions stay as they are. O(1); a persistent store O(log *n*).
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::StoreError::Conflict) where the record under its key is of
    /// another [`source`](ServiceInfo::source), or one of the two has none.
    ///
    /// # Panics
    ///
    /// In stores whose tables change in place, at some 2^31 records; so may a
    /// [`commit`](Self::commit).
    fn save_service(&self, service: ServiceInfo) -> Result<()>;

    /// The record under `key`. O(1); a persistent store O(log *n*). Allocates
    /// nothing where the pod is there.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::StoreError::NotFound) where no pod has that key;
    /// [`Invalid`](crate::StoreError::Invalid) where none can have it. So do all other
    /// methods that look for one pod.
    fn get_service(&self, key: &str) -> Result<ServiceInfo>;

    /// Like [`get_service`](Self::get_service), for a pod that may well not be there:
    /// then it is `None`. Allocates nothing in any store of this crate but
    /// `WorkerStore`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid) where no pod can have that key.
    fn find_service(&self, key: &str) -> Result<Option<ServiceInfo>> {
        match self.get_service(key) {
            Ok(found) => Ok(Some(found)),
            Err(crate::StoreError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a pod has that key. As [`find_service`](Self::find_service).
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid) where no pod can have that key.
    fn contains_service(&self, key: &str) -> Result<bool> {
        self.find_service(key).map(|found| found.is_some())
    }

    /// The pods of a service, in no particular order; none is not an error.
    /// O(*p*).
    ///
    /// # Errors
    ///
    /// None of its own.
    fn get_services_by_name(&self, service_name: &str) -> Result<Vec<ServiceInfo>>;

    /// Every record, in no particular order. O(*n*).
    ///
    /// # Errors
    ///
    /// None of its own.
    fn get_all_services(&self) -> Result<Vec<ServiceInfo>>;

    /// Removes the record under `key`; subscriptions stay. O(1); a persistent
    /// store O(log *n*).
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::StoreError::NotFound) where no pod has that key.
    fn delete_service(&self, key: &str) -> Result<()>;

    /// Sets what the last health check of a pod said, and answers with what that
    /// replaced. Where the record is of a later check, it stays as it is, and the answer
    /// is [`Late`](HealthUpdate::Late); an equal time applies. One step. O(1); a
    /// persistent store O(log *n*). Never copies a registration.
    ///
    /// Another status gives the record the revision of this commit; a newer time by
    /// itself grows the revision of the store only.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::StoreError::NotFound) where no pod has that key;
    /// [`Invalid`](crate::StoreError::Invalid) for a time before 1970 or after 9999.
    fn update_health_status(
        &self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Result<HealthUpdate>;

    // --- subscriptions

    /// Subscribes a pod to a group; a second time changes nothing. The
    /// subscriber need not be registered. O(log *s*).
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid) where the subscriber key cannot be one, or
    /// the group cannot be the name of a service: see
    /// [`ServiceKey::new`](crate::ServiceKey::new).
    fn add_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()>;

    /// Ends a subscription; one that is not there is fine. O(log *s*).
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid), as for
    /// [`add_subscription`](Self::add_subscription).
    fn remove_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()>;

    /// Ends all subscriptions of a pod. Costs what that pod holds, however many
    /// others share its groups: O(*s* log *s*).
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid) where the subscriber key is not
    /// `service:pod`.
    fn remove_all_subscriptions(&self, subscriber_key: &str) -> Result<()>;

    /// Who is subscribed to a group, in the order of subscription; none is not
    /// an error. O(*s*).
    ///
    /// # Errors
    ///
    /// None of its own.
    fn get_subscribers(&self, service_group: &str) -> Result<Vec<ServiceKey>>;

    /// The records of those subscribers of a group that are registered, in the
    /// order of subscription. O(*s*).
    ///
    /// # Errors
    ///
    /// None of its own.
    fn get_subscriber_services(&self, service_group: &str) -> Result<Vec<ServiceInfo>>;

    // --- several changes at once

    /// Applies the changes of a batch in order and makes them visible at once,
    /// or applies none. The cost of its changes; one publication.
    ///
    /// Answers with the revision that it led to. A batch grows the revision by
    /// one as soon as one of its changes had an effect when its turn came; a
    /// batch that changes nothing keeps it.
    ///
    /// # Errors
    ///
    /// [`BatchRejected`](crate::StoreError::BatchRejected), with the first
    /// change that fails and why.
    fn commit(&self, batch: Batch) -> Result<Revision>;

    /// As [`commit`](Self::commit), and answers with what it changed besides, as the net
    /// effect of the whole batch, and with what it [skipped](Difference::Skipped). The cost of
    /// a commit, and O(differences).
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit); [`Failed`](crate::StoreError::Failed) where a store
    /// from elsewhere cannot tell.
    fn commit_changes(&self, batch: Batch) -> Result<(Revision, Vec<Difference>)> {
        let _ = batch;
        Err(untold())
    }

    /// Begins a watch: the state of what is selected, and then every change of it, in the
    /// order of commits, without a gap. O(1), and a turn of writing; `MemoryStore` and
    /// `WorkerStore` copy their state for the first one, in O(*n*).
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
    /// [`Invalid`](crate::StoreError::Invalid), with the field `selection`, where no store can
    /// hold what that names; [`Closed`](crate::StoreError::Closed);
    /// [`Reentrant`](crate::StoreError::Reentrant) inside a read closure of a store that
    /// refuses writes there; [`Failed`](crate::StoreError::Failed) where a store from elsewhere
    /// tells no changes.
    fn watch(&self, selection: Selection) -> Result<Watch> {
        let _ = selection;
        Err(untold())
    }

    /// Begins a watch behind `cursor`, the place of an earlier watch of this store, if the
    /// log still reaches back so far. Otherwise, and where the cursor is of another store
    /// or ahead of this one, it begins with the state. Never with a gap. O(1), a turn of
    /// writing, and for a selection that nobody watches O(log), while commits wait.
    ///
    /// # Errors
    ///
    /// As [`watch`](Self::watch).
    fn watch_from(&self, selection: Selection, cursor: Cursor) -> Result<Watch> {
        let _ = (selection, cursor);
        Err(untold())
    }

    /// The number of the present state. O(1). After `close`, that of the last.
    fn revision(&self) -> Revision;

    /// Removes the record under `key` together with its subscriptions, in one
    /// commit, and answers with it. One step: of two threads that take it, one does.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::StoreError::NotFound) where no pod has that key;
    /// then its subscriptions stay as well.
    fn take_service(&self, key: &str) -> Result<ServiceInfo>;

    // --- lifecycle and utilities

    /// Removes all services and subscriptions, in one commit. O(what it holds).
    ///
    /// # Errors
    ///
    /// None of its own.
    fn clear(&self) -> Result<()>;

    /// How much the store holds. O(1).
    ///
    /// # Errors
    ///
    /// None of its own.
    fn stats(&self) -> Result<StoreStats>;

    /// What the store keeps beside what it holds. O(1); `VersionedStore` takes a turn of
    /// writing, and looks at its snapshots.
    ///
    /// A store that says nothing of it answers with nothing.
    ///
    /// # Errors
    ///
    /// None of its own.
    fn upkeep(&self) -> Result<Upkeep> {
        self.ping().map(|()| Upkeep::default())
    }

    /// Whether the store answers. O(1).
    ///
    /// # Errors
    ///
    /// [`Closed`](crate::StoreError::Closed) where it will not any more.
    fn ping(&self) -> Result<()>;

    /// Ends the store: what it accepted before is done, what comes later is
    /// refused, what it held is dropped. Snapshots that were taken stay as they
    /// are. A second time is fine. O(what it holds).
    ///
    /// # Errors
    ///
    /// [`Reentrant`](crate::StoreError::Reentrant) only.
    fn close(&self) -> Result<()>;

    // --- reads without a copy

    /// Calls `read` with the record under `key`, and answers with what it
    /// answers. O(1); a persistent store O(log *n*). Copies nothing, but for
    /// `WorkerStore`, and allocates nothing where the pod is there.
    ///
    /// What the store holds meanwhile (a lock, a guard) each store says; keep the
    /// closure short.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::StoreError::NotFound) where no pod has that key; then
    /// `read` is not called.
    fn with_service<R>(&self, key: &str, read: impl FnOnce(&ServiceInfo) -> R) -> Result<R>
    where
        Self: Sized,
    {
        with_service_dyn(self, key, read)
    }

    /// The form of [`with_service`](Self::with_service) that works through
    /// `dyn`. Calls `visit` exactly once where the pod is there, and not at all
    /// where it is not.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::StoreError::NotFound) where no pod has that key.
    fn visit_service(&self, key: &str, visit: &mut dyn FnMut(&ServiceInfo)) -> Result<()> {
        visit(&self.get_service(key)?);
        Ok(())
    }

    /// Calls `read` with the present state, of which it can ask several questions, and
    /// answers with what it answers. O(1), and what the questions cost.
    ///
    /// Meanwhile a store without snapshots holds what it needs to stay as it is: a shared
    /// lock, a guard, or, in `WorkerStore`, its queue. Keep the closure short.
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

    /// The form of [`with_view`](Self::with_view) that works through `dyn`. Calls `visit`
    /// exactly once, unless it fails.
    ///
    /// # Errors
    ///
    /// None of its own.
    fn visit_view(&self, visit: &mut dyn FnMut(&dyn DynView)) -> Result<()>;
}

/// What the provided methods answer.
#[cold]
fn untold() -> crate::StoreError {
    crate::StoreError::failed("this store tells no changes")
}

/// `with_service` by way of `visit_service`, for stores behind a pointer.
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

/// `with_view` by way of `visit_view`.
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

/// Writes the methods of [`RegistryStore`] for a pointer to a store.
macro_rules! forward_through_pointer {
    ($($pointer:ty),+) => {$(
        impl<S: RegistryStore + ?Sized> RegistryStore for $pointer {
            // Behind a pointer there may be no sized store to ask.
            delegate_store!(self => **self; except with_service, with_view);
        }
    )+};
}

forward_through_pointer!(&S, Box<S>, Rc<S>, Arc<S>);

/// Writes `Debug` for a store behind `dyn`, so that what holds one can have it.
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

/// `Debug` of a store: its name, how much it holds and its revision.
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
