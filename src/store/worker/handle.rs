//! [`WorkerStore`]: the callers' side of the queue.

use std::fmt;
use std::mem;
use std::process;
use std::sync::{Arc, PoisonError};

use super::messages::{Answer, Envelope, Lent, Operation, Reply, Request};
use super::thread::{Work, work};
use crate::changes::{Aftermath, Log};
use crate::observe::{Asked, Served};
use crate::store::methods::prelude::*;
use crate::store::reading::Reading;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Acquire;
use crate::sync::{
    Builder, JoinHandle, Mutex, MutexGuard, Receiver, RwLock, Sender, bounded, unbounded,
};

/// How many calls may wait in the queue of [`WorkerStore::new`].
const DEFAULT_QUEUE: usize = 1024;

/// The largest queue that is allocated at once.
const LARGEST: usize = 1 << 16;

/// A text buffer that has grown beyond this is not kept, in bytes.
const KEPT_TEXT: usize = 1024;

/// The store as an event queue: one thread owns the tables, and the others send
/// it what they want done.
///
/// The pattern by which a program keeps a single-threaded store and calls it
/// from everywhere. Every call, a read as well, is a round trip to the worker
/// and back, some microseconds, so this is the store for programs that are event
/// loops already, not for those that read on every request. The queue is
/// bounded: where the worker cannot keep up, callers wait. A thread waits for the answer
/// to its call, so that a queue never holds more calls than there are threads.
///
/// # Consistency
///
/// Linearizable: the worker does one operation after the other.
///
/// # Inside a read closure
///
/// The closure of [`with_service`](RegistryStore::with_service) runs on the
/// calling thread, on a clone of the record, after the worker has gone on. It
/// may call the store, and its panics are its caller's own.
///
/// The closure of [`with_view`](RegistryStore::with_view) runs on the calling thread, to
/// which the worker lends its tables: **the queue waits until it returns**. Any call of the
/// same store from inside it, but for `revision`, is refused with
/// [`Reentrant`](StoreError::Reentrant).
///
/// # Watches
///
/// As those of [`MemoryStore`](crate::MemoryStore): the worker copies the state into the log, in O(*n*), for the
/// first watch and each time that the log has been filled; where the log does not hold one
/// commit, with each commit (see [`LogOptions`]).
///
/// # Closing
///
/// `close` waits until the worker has done all that was accepted before; later
/// calls answer [`Closed`](StoreError::Closed), and wait as long. Dropping the store
/// closes it.
///
/// # In a forked child
///
/// The worker stays in the parent. In a child process made by `fork`, every call answers
/// [`Closed`](StoreError::Closed) at once, `revision` says what it was at the fork, and
/// `close` and dropping the store do nothing: what it holds is leaked. The parent's store
/// goes on as if nothing had happened. Open a new store in the child, if it needs one.
///
/// ```
/// use service_registry::{RegistryStore, StoreError, WorkerStore};
///
/// let store = WorkerStore::new();
/// store.add_subscription("web:pod-1", "user-service")?;
/// assert_eq!(store.get_subscribers("user-service")?, ["web:pod-1"]);
/// store.close()?;
/// assert_eq!(store.ping(), Err(StoreError::Closed));
/// # Ok::<(), StoreError>(())
/// ```
pub struct WorkerStore {
    /// `None` once the store is closed.
    pub(super) requests: RwLock<Option<Sender<Request>>>,
    lanes: Mutex<Vec<Lane>>,
    revision: Arc<AtomicU64>,
    worker: Mutex<Option<JoinHandle<Vec<Aftermath>>>>,
    /// The process that the worker is in.
    process: u32,
}

/// A caller's side of a round trip.
pub(super) struct Lane {
    pub(super) envelope: Envelope,
    pub(super) replies: Receiver<Reply>,
}

impl WorkerStore {
    /// An empty store with a worker of its own, and a queue of 1024 calls.
    ///
    /// # Panics
    ///
    /// Where the system cannot start a thread.
    pub fn new() -> WorkerStore {
        WorkerStore::with_log(LogOptions::default())
    }

    /// An empty store with a log of its own kind, and a queue of 1024 calls.
    ///
    /// # Panics
    ///
    /// Where the system cannot start a thread.
    pub fn with_log(options: LogOptions) -> WorkerStore {
        WorkerStore::with_queue(DEFAULT_QUEUE, options)
    }

    /// An empty store with a log of its own kind, and a queue of `capacity` calls; any number
    /// works. With 0 a caller hands its call to the worker in person, and waits until it is
    /// free.
    ///
    /// Up to 65,536 the queue is allocated at once, with some 150 bytes for each call.
    /// Beyond, it has no bound but the number of threads that call, and grows as it fills.
    ///
    /// # Panics
    ///
    /// Where the system cannot start a thread.
    pub fn with_queue(capacity: usize, options: LogOptions) -> WorkerStore {
        WorkerStore::start(capacity, options, work)
    }

    pub(super) fn start(capacity: usize, options: LogOptions, work: impl Work) -> WorkerStore {
        let (requests, queue) = match capacity {
            0..=LARGEST => bounded(capacity),
            _ => unbounded(),
        };
        let revision = Arc::new(AtomicU64::new(0));
        let published = revision.clone();
        let worker = Builder::new()
            .name("service-registry".into())
            .spawn(move || work(queue, &published, Log::new(options)))
            .expect("the system can start a thread");
        WorkerStore {
            requests: RwLock::new(Some(requests)),
            lanes: Mutex::default(),
            revision,
            worker: Mutex::new(Some(worker)),
            process: process::id(),
        }
    }

    /// Whether this process is a child of the one that has the worker. A system call, and
    /// cheap beside a round trip.
    fn is_forked(&self) -> bool {
        self.process != process::id()
    }

    /// Sends the worker an operation with its texts, waits for the answer, and tells of it.
    pub(super) fn call(&self, operation: Operation, key: &str, group: &str) -> Result<Answer> {
        let (answer, asked, served) = self.ask(operation, key, group)?;
        asked.served("worker", &served);
        answer
    }

    /// As [`call`](Self::call), and tells nobody of it: as long as it has lent its tables, the worker answers
    /// no one, and so no recorder that asks the store.
    fn ask(
        &self,
        operation: Operation,
        key: &str,
        group: &str,
    ) -> Result<(Result<Answer>, Asked, Served)> {
        if self.is_forked() {
            return Err(StoreError::Closed);
        }
        Reading::refuse_inside(self)?;
        let Lane {
            mut envelope,
            replies,
        } = self.take_lane();
        envelope.key.push_str(key);
        envelope.group.push_str(group);
        let request = Request {
            operation,
            envelope,
        };
        let asked = Asked::now();
        self.send(request)?;
        let Reply {
            answer,
            mut envelope,
            left,
        } = replies.recv().map_err(|_| StoreError::Closed)?;
        let served = mem::replace(&mut envelope.served, Served::none());
        self.keep_lane(Lane { envelope, replies });
        drop(left);
        Ok((answer, asked, served))
    }

    /// Waits while the queue is full. Meanwhile `close` waits, too, for the
    /// worker to make room.
    pub(super) fn send(&self, request: Request) -> Result<()> {
        let requests = self.requests.read();
        let requests = requests.unwrap_or_else(PoisonError::into_inner);
        if let Some(requests) = &*requests {
            return requests.send(request).map_err(|_| StoreError::Closed);
        }
        drop(requests);
        self.join_worker();
        Err(StoreError::Closed)
    }

    /// Waits until the worker of a closed store has done what it had accepted.
    fn join_worker(&self) {
        // Whoever comes second waits at the lock.
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        // It catches its panics.
        let left = worker.take().map(JoinHandle::join);
        drop(worker);
        drop(left);
    }

    pub(super) fn take_lane(&self) -> Lane {
        let kept = self.lanes().pop();
        kept.unwrap_or_else(|| {
            let (home, replies) = bounded(1);
            let envelope = Envelope {
                key: String::new(),
                group: String::new(),
                home,
                served: Served::none(),
            };
            Lane { envelope, replies }
        })
    }

    fn keep_lane(&self, mut lane: Lane) {
        for text in [&mut lane.envelope.key, &mut lane.envelope.group] {
            text.clear();
            text.shrink_to(KEPT_TEXT);
        }
        self.lanes().push(lane);
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to an operation, of the one kind that the operation has.
macro_rules! answer {
    ($call:expr, $kind:ident) => {
        match $call? {
            Answer::$kind(answer) => Ok(answer),
            _ => unreachable!("`perform` gives each operation its own kind of answer"),
        }
    };
}

impl RegistryStore for WorkerStore {
    fn save_service(&self, service: ServiceInfo) -> Result<()> {
        self.call(Operation::SaveService(service), "", "").map(drop)
    }

    fn get_service(&self, key: &str) -> Result<ServiceInfo> {
        answer!(self.call(Operation::GetService, key, ""), Service)
    }

    fn find_service(&self, key: &str) -> Result<Option<ServiceInfo>> {
        answer!(self.call(Operation::FindService, key, ""), MaybeService)
    }

    fn contains_service(&self, key: &str) -> Result<bool> {
        answer!(self.call(Operation::ContainsService, key, ""), Contains)
    }

    fn get_services_by_name(&self, service_name: &str) -> Result<Vec<ServiceInfo>> {
        answer!(
            self.call(Operation::GetServicesByName, "", service_name),
            Services
        )
    }

    fn get_all_services(&self) -> Result<Vec<ServiceInfo>> {
        answer!(self.call(Operation::GetAllServices, "", ""), Services)
    }

    fn delete_service(&self, key: &str) -> Result<()> {
        self.call(Operation::DeleteService, key, "").map(drop)
    }

    fn update_health_status(
        &self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Result<HealthUpdate> {
        answer!(
            self.call(Operation::UpdateHealthStatus(status, checked_at), key, ""),
            Health
        )
    }

    fn add_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
        self.call(Operation::AddSubscription, subscriber_key, service_group)
            .map(drop)
    }

    fn remove_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
        self.call(Operation::RemoveSubscription, subscriber_key, service_group)
            .map(drop)
    }

    fn remove_all_subscriptions(&self, subscriber_key: &str) -> Result<()> {
        self.call(Operation::RemoveAllSubscriptions, subscriber_key, "")
            .map(drop)
    }

    fn get_subscribers(&self, service_group: &str) -> Result<Vec<ServiceKey>> {
        answer!(
            self.call(Operation::GetSubscribers, "", service_group),
            Subscribers
        )
    }

    fn get_subscriber_services(&self, service_group: &str) -> Result<Vec<ServiceInfo>> {
        answer!(
            self.call(Operation::GetSubscriberServices, "", service_group),
            Services
        )
    }

    fn commit(&self, batch: Batch) -> Result<Revision> {
        answer!(self.call(Operation::Commit(batch), "", ""), Revision)
    }

    fn commit_changes(&self, batch: Batch) -> Result<(Revision, Vec<Difference>)> {
        answer!(self.call(Operation::CommitChanges(batch), "", ""), Changes)
    }

    fn watch(&self, selection: Selection) -> Result<Watch> {
        answer!(self.call(Operation::Watch(selection, None), "", ""), Watch)
    }

    fn watch_from(&self, selection: Selection, cursor: Cursor) -> Result<Watch> {
        answer!(
            self.call(Operation::Watch(selection, Some(cursor)), "", ""),
            Watch
        )
    }

    fn revision(&self) -> Revision {
        // Acquire: pairs with the Release store in `MemoryStore::write`.
        self.revision.load(Acquire).into()
    }

    fn take_service(&self, key: &str) -> Result<ServiceInfo> {
        answer!(self.call(Operation::TakeService, key, ""), Service)
    }

    fn clear(&self) -> Result<()> {
        self.call(Operation::Clear, "", "").map(drop)
    }

    fn stats(&self) -> Result<StoreStats> {
        answer!(self.call(Operation::Stats, "", ""), Stats)
    }

    fn upkeep(&self) -> Result<Upkeep> {
        answer!(self.call(Operation::Upkeep, "", ""), Upkeep)
    }

    fn ping(&self) -> Result<()> {
        self.call(Operation::Ping, "", "").map(drop)
    }

    fn visit_view(&self, visit: &mut dyn FnMut(&dyn DynView)) -> Result<()> {
        let (answer, asked, served) = self.ask(Operation::Lend, "", "")?;
        let lent: Result<Lent> = answer!(answer, Lent);
        let lent = lent?;
        let reading = Reading::enter(self)?;
        let visited = match &lent.store {
            Some(store) => store.visit_view(visit),
            None => Ok(()),
        };
        drop((reading, lent));
        asked.served("worker", &served);
        visited
    }

    fn close(&self) -> Result<()> {
        if self.is_forked() {
            return Ok(());
        }
        Reading::refuse_inside(self)?;
        let requests = self.requests.write();
        let requests = requests.unwrap_or_else(PoisonError::into_inner).take();
        drop(requests);
        self.join_worker();
        self.lanes().clear();
        Ok(())
    }
}

impl Default for WorkerStore {
    fn default() -> WorkerStore {
        WorkerStore::new()
    }
}

impl Drop for WorkerStore {
    fn drop(&mut self) {
        if self.is_forked() {
            // Dropping them takes locks of the channels, and looks for the thread.
            mem::forget(mem::replace(&mut self.requests, RwLock::new(None)));
            mem::forget(mem::take(&mut self.lanes));
            mem::forget(mem::take(&mut self.worker));
        }
        let closed = self.close();
        debug_assert!(closed.is_ok(), "closing twice is fine");
    }
}

impl fmt::Debug for WorkerStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::store::debug_store("WorkerStore", self, f)
    }
}
