//! [`WorkerStore`], the callers' side of the queue.

use std::fmt;
use std::mem;
use std::process;
use std::sync::{Arc, PoisonError};

use super::messages::{Answer, Envelope, Lent, Operation, Reply, Request};
use super::thread::{Work, work};
use crate::changes::{Aftermath, Log};
use crate::observe::{CallTimes, EnqueuedAt};
use crate::store::methods::prelude::*;
use crate::store::reading::Reading;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Acquire;
use crate::sync::{
    Builder, JoinHandle, Mutex, MutexGuard, Receiver, RwLock, Sender, bounded, unbounded,
};

/// The capacity of the queue of [`WorkerStore::new`], in calls.
const DEFAULT_QUEUE: usize = 1024;

/// The largest queue that is allocated at once.
const MAX_ALLOCATED_QUEUE: usize = 1 << 16;

/// The largest string buffer that is kept for later calls, in bytes.
const MAX_RETAINED_TEXT: usize = 1024;

/// A store with a request queue: one thread owns the tables, and other threads send it their
/// operations.
///
/// With this pattern a program keeps a single-threaded store and calls it from everywhere.
/// Every call, including a read, is a round trip to the worker and takes some microseconds. The
/// store therefore suits programs that already are event loops, but not those that read on
/// every request. The queue is bounded: callers wait if the worker cannot keep up. A thread
/// waits for the answer to its call, so a queue never holds more calls than there are threads.
///
/// # Consistency
///
/// Linearizable. The worker does one operation after the other.
///
/// # Inside a read closure
///
/// The closure of [`with_service`](RegistryStore::with_service) runs on the calling thread, on
/// a clone of the record, while the worker continues. It may call the store, and it may panic
/// without an effect on the store.
///
/// The closure of [`with_view`](RegistryStore::with_view) runs on the calling thread, to which
/// the worker lends its tables: **the queue waits until it returns**. Any call of the same
/// store inside this closure, except `revision`, returns [`Reentrant`](StoreError::Reentrant).
///
/// # Watches
///
/// Watches work as in [`MemoryStore`](crate::MemoryStore). The worker copies the state into the
/// log, in O(*n*), for the first watch and each time the log has filled up. If the log is too
/// small for one commit, it does so with each commit (see [`LogOptions`]).
///
/// # Closing
///
/// `close` waits until the worker has done all accepted operations. Later calls return
/// [`Closed`](StoreError::Closed), and wait for the same moment. Dropping the store closes it.
///
/// # In a forked child
///
/// The worker stays in the parent. In a child process created by `fork`, every call returns
/// [`Closed`](StoreError::Closed) at once, and `revision` returns the revision at the fork.
/// `close` and dropping the store do nothing, so the contents are leaked. The store of the
/// parent continues to work. Create a new store in the child if it needs one.
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
    channels: Mutex<Vec<ReplyChannel>>,
    revision: Arc<AtomicU64>,
    worker: Mutex<Option<JoinHandle<Vec<Aftermath>>>>,
    /// The process of the worker.
    process: u32,
}

/// The caller's side of a round trip.
pub(super) struct ReplyChannel {
    pub(super) envelope: Envelope,
    pub(super) replies: Receiver<Reply>,
}

impl WorkerStore {
    /// Creates an empty store with its own worker and a queue of 1024 calls.
    ///
    /// # Panics
    ///
    /// Panics if the system cannot start a thread.
    pub fn new() -> WorkerStore {
        WorkerStore::with_log(LogOptions::default())
    }

    /// Creates an empty store whose log has these options, with a queue of 1024 calls.
    ///
    /// # Panics
    ///
    /// Panics if the system cannot start a thread.
    pub fn with_log(options: LogOptions) -> WorkerStore {
        WorkerStore::with_queue(DEFAULT_QUEUE, options)
    }

    /// Creates an empty store whose log has these options, with a queue of `capacity` calls.
    /// Any capacity works. With a capacity of 0, a caller waits until the worker is free and
    /// hands its call over directly.
    ///
    /// A queue of up to 65,536 calls is allocated at once, with about 150 bytes for each call.
    /// A larger one grows as it fills, and only the number of calling threads limits it.
    ///
    /// # Panics
    ///
    /// Panics if the system cannot start a thread.
    pub fn with_queue(capacity: usize, options: LogOptions) -> WorkerStore {
        WorkerStore::start(capacity, options, work)
    }

    pub(super) fn start(capacity: usize, options: LogOptions, work: impl Work) -> WorkerStore {
        let (requests, queue) = match capacity {
            0..=MAX_ALLOCATED_QUEUE => bounded(capacity),
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
            channels: Mutex::default(),
            revision,
            worker: Mutex::new(Some(worker)),
            process: process::id(),
        }
    }

    /// Returns whether this process is a child of the worker's process. This is a system call,
    /// which is cheap compared to a round trip.
    fn is_forked(&self) -> bool {
        self.process != process::id()
    }

    /// Sends an operation with its strings to the worker, waits for the answer, and reports the
    /// call to the recorder.
    pub(super) fn call(&self, operation: Operation, key: &str, group: &str) -> Result<Answer> {
        let (answer, enqueued, times) = self.call_unreported(operation, key, group)?;
        enqueued.report("worker", &times);
        answer
    }

    /// The same as [`call`](Self::call), but does not report. A worker that has lent its tables
    /// answers no one, so a recorder that calls the store would deadlock.
    fn call_unreported(
        &self,
        operation: Operation,
        key: &str,
        group: &str,
    ) -> Result<(Result<Answer>, EnqueuedAt, CallTimes)> {
        if self.is_forked() {
            return Err(StoreError::Closed);
        }
        Reading::check_not_reentrant(self)?;
        let ReplyChannel {
            mut envelope,
            replies,
        } = self.take_channel();
        envelope.key.push_str(key);
        envelope.group.push_str(group);
        let request = Request {
            operation,
            envelope,
        };
        let enqueued = EnqueuedAt::now();
        self.send(request)?;
        let Reply {
            answer,
            mut envelope,
            aftermaths,
        } = replies.recv().map_err(|_| StoreError::Closed)?;
        let times = mem::replace(&mut envelope.times, CallTimes::empty());
        self.return_channel(ReplyChannel { envelope, replies });
        drop(aftermaths);
        Ok((answer, enqueued, times))
    }

    /// Waits while the queue is full. `close` then also waits until the worker makes room.
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

    /// Waits until the worker of a closed store has done all accepted operations.
    fn join_worker(&self) {
        // A second caller waits at the lock.
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        // The worker catches its own panics.
        let aftermaths = worker.take().map(JoinHandle::join);
        drop(worker);
        drop(aftermaths);
    }

    pub(super) fn take_channel(&self) -> ReplyChannel {
        let pooled = self.channels().pop();
        pooled.unwrap_or_else(|| {
            let (reply_to, replies) = bounded(1);
            let envelope = Envelope {
                key: String::new(),
                group: String::new(),
                reply_to,
                times: CallTimes::empty(),
            };
            ReplyChannel { envelope, replies }
        })
    }

    fn return_channel(&self, mut channel: ReplyChannel) {
        for text in [&mut channel.envelope.key, &mut channel.envelope.group] {
            text.clear();
            text.shrink_to(MAX_RETAINED_TEXT);
        }
        self.channels().push(channel);
    }

    fn channels(&self) -> MutexGuard<'_, Vec<ReplyChannel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Converts an answer into the kind that the operation returns.
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
        // Acquire: pairs with the Release store in `MemoryStore::write_in`.
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
        let (answer, enqueued, times) = self.call_unreported(Operation::Lend, "", "")?;
        let lent: Result<Lent> = answer!(answer, Lent);
        let lent = lent?;
        let reading = Reading::enter(self)?;
        let visited = match &lent.store {
            Some(store) => store.visit_view(visit),
            None => Ok(()),
        };
        drop((reading, lent));
        enqueued.report("worker", &times);
        visited
    }

    fn close(&self) -> Result<()> {
        if self.is_forked() {
            return Ok(());
        }
        Reading::check_not_reentrant(self)?;
        let requests = self.requests.write();
        let requests = requests.unwrap_or_else(PoisonError::into_inner).take();
        drop(requests);
        self.join_worker();
        self.channels().clear();
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
            // Dropping these would take the locks of the channels and access the thread.
            mem::forget(mem::replace(&mut self.requests, RwLock::new(None)));
            mem::forget(mem::take(&mut self.channels));
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
