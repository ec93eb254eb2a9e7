//! [`WorkerStore`]: an event queue, and one thread that owns the tables.
//!
//! A call travels as a [`Request`] through a bounded channel to the worker,
//! which owns a [`MemoryStore`], and comes back as a [`Reply`] through a channel
//! that the caller has lent to the request. Callers keep their ends of these
//! channels in a pool, and texts travel in buffers that come back with the
//! reply, so that a call in steady state allocates nothing of its own.
//!
//! # Every call is answered once
//!
//! Sending takes a shared lock on the sender, and closing takes the sender away
//! under the exclusive one. So when `close` has it, every request was either
//! accepted before or is refused, with no moment between asking and sending. The
//! channel is then disconnected, and the worker, which goes on until it is both
//! disconnected and empty, answers all that was accepted, and ends.
//!
//! A call that is refused waits for that end as well. Otherwise its caller would
//! know that the store is closed, and could still see the revision grow: by what
//! was accepted before and is not done.
//!
//! A request owns the only sender of its caller's channel, which travels home
//! inside the answer. Were the worker ever to panic over a request, that request
//! is dropped, and its caller sees a disconnected channel: `Closed`; so do all
//! others get for an answer from then on.
//!
//! # In a forked child
//!
//! The child of `fork` has the memory of its parent, and of its threads only the one that
//! forked. Nobody answers there, and any lock may be held by a thread that is missing. So
//! every call looks first whether this is the process that started the worker, touches
//! nothing if it is not, and leaks what it would have to tear down.
//!
//! The `models` below run this protocol under loom, over the channels of
//! [`crate::sync`], and twins of it that leave a caller waiting.

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::{Arc, PoisonError};

use super::memory::MemoryStore;
use super::reading::Reading;
use super::tables::prelude::*;
use crate::changes::{Aftermath, Log};
use crate::observe::{Asked, Served};
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
/// As those of [`MemoryStore`]: the worker copies the state into the log, in O(*n*), for the
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
    requests: RwLock<Option<Sender<Request>>>,
    lanes: Mutex<Vec<Lane>>,
    revision: Arc<AtomicU64>,
    worker: Mutex<Option<JoinHandle<Vec<Aftermath>>>>,
    /// The process that the worker is in.
    process: u32,
}

/// A caller's side of a round trip.
struct Lane {
    envelope: Envelope,
    replies: Receiver<Reply>,
}

/// What goes to the worker and comes back: the texts of a call, and the way home.
struct Envelope {
    key: String,
    group: String,
    home: Sender<Reply>,
    served: Served,
}

struct Request {
    operation: Operation,
    envelope: Envelope,
}

struct Reply {
    answer: Result<Answer>,
    envelope: Envelope,
    /// What is left to do after the commit. The caller does it: a waker may call the store,
    /// and the worker must not wait for itself.
    left: Vec<Aftermath>,
}

/// What a worker does, until it ends.
trait Work: FnOnce(Receiver<Request>, &Arc<AtomicU64>, Log) -> Vec<Aftermath> + Send + 'static {}

impl<W> Work for W where
    W: FnOnce(Receiver<Request>, &Arc<AtomicU64>, Log) -> Vec<Aftermath> + Send + 'static
{
}

/// What the worker is to do, with the texts of the envelope.
enum Operation {
    SaveService(ServiceInfo),
    GetService,
    FindService,
    ContainsService,
    GetServicesByName,
    GetAllServices,
    DeleteService,
    UpdateHealthStatus(ServiceStatus, SystemTime),
    AddSubscription,
    RemoveSubscription,
    RemoveAllSubscriptions,
    GetSubscribers,
    GetSubscriberServices,
    Commit(Batch),
    CommitChanges(Batch),
    Watch(Selection, Option<Cursor>),
    TakeService,
    Clear,
    Stats,
    Upkeep,
    Ping,
    Lend,
    #[cfg(test)]
    Panic,
}

enum Answer {
    Done,
    Service(ServiceInfo),
    MaybeService(Option<ServiceInfo>),
    Contains(bool),
    Services(Vec<ServiceInfo>),
    Subscribers(Vec<ServiceKey>),
    Health(HealthUpdate),
    Revision(Revision),
    Changes((Revision, Vec<Difference>)),
    Watch(Watch),
    Stats(StoreStats),
    Upkeep(Upkeep),
    Lent(Lent),
}

/// The tables, which the worker has lent to a caller, and waits for. They go back when
/// this is dropped.
struct Lent {
    /// `None` only while this is dropped.
    store: Option<Box<MemoryStore>>,
    home: Sender<Box<MemoryStore>>,
    /// The process that the worker is in.
    process: u32,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(store) = self.store.take() {
            if self.process != process::id() {
                // A fork inside the closure; see above.
                mem::forget(store);
                return;
            }
            // The worker waits for it.
            let sent = self.home.send(store);
            debug_assert!(sent.is_ok(), "the worker waits for what it has lent");
        }
    }
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

    fn start(capacity: usize, options: LogOptions, work: impl Work) -> WorkerStore {
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
    fn call(&self, operation: Operation, key: &str, group: &str) -> Result<Answer> {
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
    fn send(&self, request: Request) -> Result<()> {
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

    fn take_lane(&self) -> Lane {
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

/// The worker: does one request after the other, until nobody is left who could
/// send one and all that were sent are done.
#[allow(clippy::needless_pass_by_value)] // the worker owns its end of the queue
fn work(queue: Receiver<Request>, published: &Arc<AtomicU64>, log: Log) -> Vec<Aftermath> {
    // Not in what unwinds: dropping it wakes its watches.
    let mut store = Box::new(MemoryStore::owned(log.clone(), published.clone()));
    let served = catch_unwind(AssertUnwindSafe(|| serve(&queue, &mut store)));
    served.unwrap_or_else(|_| {
        // A bug, or no memory. Nobody shall wait for the tables any more.
        let left = (store.take_left(), log.close());
        // A waker may call the store, and then waits for this thread. Where no other can be
        // started, they run here.
        let _ = Builder::new().spawn(move || drop(left));
        for request in &queue {
            send_home(Err(StoreError::Closed), request.envelope, Vec::new());
        }
        Vec::new()
    })
}

fn serve(queue: &Receiver<Request>, store: &mut Box<MemoryStore>) -> Vec<Aftermath> {
    for mut request in queue {
        let served = &mut request.envelope.served;
        served.begin(|| store.revision());
        if matches!(request.operation, Operation::Lend) {
            *store = lend(mem::take(store), request.envelope);
            continue;
        }
        let answer = perform(store, request.operation, &request.envelope);
        request.envelope.served.end(|| store.revision());
        // The store has told its revision, before the answer is sent.
        send_home(answer, request.envelope, store.take_left());
    }
    // Its watches are told by whoever closes the store.
    let closed = store.close();
    debug_assert!(closed.is_ok(), "nobody reads it");
    store.take_left()
}

/// Lends the tables to a caller, and waits until they come back.
fn lend(store: Box<MemoryStore>, envelope: Envelope) -> Box<MemoryStore> {
    let (home, back) = bounded(1);
    let lent = Lent {
        store: Some(store),
        home,
        process: process::id(),
    };
    send_home(Ok(Answer::Lent(lent)), envelope, Vec::new());
    back.recv()
        .expect("what is lent comes back when it is dropped")
}

fn send_home(answer: Result<Answer>, envelope: Envelope, left: Vec<Aftermath>) {
    let home = envelope.home.clone();
    // The caller waits in `call`, and holds the receiver until it has an answer.
    let sent = home.send(Reply {
        answer,
        envelope,
        left,
    });
    debug_assert!(sent.is_ok(), "a caller waits for its answer");
}

fn perform(store: &MemoryStore, operation: Operation, texts: &Envelope) -> Result<Answer> {
    let (key, group) = (&*texts.key, &*texts.group);
    let done = |()| Answer::Done;
    match operation {
        Operation::SaveService(service) => store.save_service(service).map(done),
        Operation::GetService => store.get_service(key).map(Answer::Service),
        Operation::FindService => store.find_service(key).map(Answer::MaybeService),
        Operation::ContainsService => store.contains_service(key).map(Answer::Contains),
        Operation::GetServicesByName => store.get_services_by_name(group).map(Answer::Services),
        Operation::GetAllServices => store.get_all_services().map(Answer::Services),
        Operation::DeleteService => store.delete_service(key).map(done),
        Operation::UpdateHealthStatus(status, checked_at) => store
            .update_health_status(key, status, checked_at)
            .map(Answer::Health),
        Operation::AddSubscription => store.add_subscription(key, group).map(done),
        Operation::RemoveSubscription => store.remove_subscription(key, group).map(done),
        Operation::RemoveAllSubscriptions => store.remove_all_subscriptions(key).map(done),
        Operation::GetSubscribers => store.get_subscribers(group).map(Answer::Subscribers),
        Operation::GetSubscriberServices => {
            store.get_subscriber_services(group).map(Answer::Services)
        }
        Operation::Commit(batch) => store.commit(batch).map(Answer::Revision),
        Operation::CommitChanges(batch) => store.commit_changes(batch).map(Answer::Changes),
        Operation::Watch(selection, from) => match from {
            None => store.watch(selection),
            Some(cursor) => store.watch_from(selection, cursor),
        }
        .map(Answer::Watch),
        Operation::TakeService => store.take_service(key).map(Answer::Service),
        Operation::Clear => store.clear().map(done),
        Operation::Stats => store.stats().map(Answer::Stats),
        Operation::Upkeep => store.upkeep().map(Answer::Upkeep),
        Operation::Ping => store.ping().map(done),
        Operation::Lend => unreachable!("`serve` has seen to it"),
        #[cfg(test)]
        Operation::Panic => panic!("injected by a test"),
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
        super::debug_store("WorkerStore", self, f)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_panics_leaves_nobody_waiting() {
        let store = WorkerStore::new();
        store.add_subscription("web:1", "db").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| while store.ping().is_ok() {});
            }
            let answer = store.call(Operation::Panic, "", "").map(drop);
            assert_eq!(answer, Err(StoreError::Closed));
        });
        assert_eq!(store.stats(), Err(StoreError::Closed));
        assert_eq!(store.revision(), Revision::from(1));
        store.close().unwrap();
    }

    /// A waker that calls the store waits for the worker, which must not be what wakes it.
    #[test]
    fn a_worker_that_panics_wakes_those_who_watch() {
        struct Calls(WorkerStore, std::sync::mpsc::Sender<Result<()>>);
        impl std::task::Wake for Calls {
            fn wake(self: Arc<Self>) {
                self.1.send(self.0.ping()).unwrap();
            }
        }
        let (tell, told) = std::sync::mpsc::channel();
        let caller = Arc::new(Calls(WorkerStore::new(), tell));
        let mut watch = caller.0.watch(Selection::All).unwrap();
        watch.recv().unwrap();
        let waker = caller.clone().into();
        let mut context = std::task::Context::from_waker(&waker);
        assert!(watch.poll_recv(&mut context).is_pending());
        let answer = caller.0.call(Operation::Panic, "", "").map(drop);
        assert_eq!(answer, Err(StoreError::Closed));
        let patience = std::time::Duration::from_secs(60);
        assert_eq!(told.recv_timeout(patience), Ok(Err(StoreError::Closed)));
        assert_eq!(watch.recv(), Err(StoreError::Closed));
        caller.0.close().unwrap();
    }

    /// A write that was accepted and not done yet, when the store was closed, once
    /// made the revision grow after calls had been refused.
    #[test]
    fn who_is_refused_sees_the_last_revision() {
        let store = WorkerStore::new();
        // The worker cannot go on until this answer is taken.
        let (home, held) = bounded(0);
        let envelope = Envelope {
            key: String::new(),
            group: String::new(),
            home,
            served: Served::none(),
        };
        let operation = Operation::Ping;
        let request = Request {
            operation,
            envelope,
        };
        store.send(request).unwrap();
        let waiting = || {
            let requests = store.requests.read().unwrap();
            requests.as_ref().map(Sender::len)
        };
        std::thread::scope(|scope| {
            let until = |reached: &dyn Fn() -> bool| {
                while !reached() {
                    std::thread::yield_now();
                }
            };
            until(&|| waiting() == Some(0));
            scope.spawn(|| store.add_subscription("web:1", "db").unwrap());
            until(&|| waiting() == Some(1));
            scope.spawn(|| store.close().unwrap());
            until(&|| waiting().is_none());
            let (told, tell) = bounded(1);
            let store = &store;
            scope.spawn(move || {
                let refused = store.ping();
                told.send((refused, store.revision())).unwrap();
            });
            // Time enough for an answer that comes too early.
            let early = tell.recv_timeout(std::time::Duration::from_millis(100));
            drop(held.recv().unwrap());
            let (refused, seen) = early.unwrap_or_else(|_| tell.recv().unwrap());
            assert_eq!(refused, Err(StoreError::Closed));
            assert_eq!(seen, Revision::from(1));
        });
    }
}

#[cfg(all(test, loom))]
mod models {
    //! What all stores promise, and twins of the worker and of how it is closed. The
    //! channels are those of [`crate::sync`].
    //!
    //! Orderings: where a twin stores the revision, it pairs (or, relaxed, does not)
    //! with the Acquire load in `revision`, as the store in `MemoryStore::write` does.

    use super::*;
    use crate::store::models::{Calls, Kept, NOT_ONCE, Subject, a_change_each_time};
    use crate::sync::atomic::Ordering::{Relaxed, Release};
    use loom::thread;

    fn real() -> Calls<WorkerStore> {
        Calls {
            looks: 2,
            preemptions: Some(2),
            ..Calls::real(|| WorkerStore::with_queue(1, LogOptions::default()))
        }
    }

    store_models!(real());

    /// A store with a worker of its own kind.
    fn twin(capacity: usize, work: fn(Receiver<Request>, &Arc<AtomicU64>)) -> WorkerStore {
        WorkerStore::start(
            capacity,
            LogOptions::default(),
            move |queue, published, _| {
                work(queue, published);
                Vec::new()
            },
        )
    }

    fn real_work(queue: Receiver<Request>, published: &Arc<AtomicU64>) {
        drop(work(queue, published, Log::new(LogOptions::default())));
    }

    fn tell_the_revision_after_the_answer(queue: Receiver<Request>, published: &Arc<AtomicU64>) {
        let store = MemoryStore::new();
        for request in &queue {
            let answer = perform(&store, request.operation, &request.envelope);
            send_home(answer, request.envelope, store.take_left());
            published.store(store.revision().as_u64(), Release);
        }
    }

    #[test]
    #[should_panic(expected = "a commit that has returned was not seen")]
    fn models_twin_a_revision_that_is_told_after_the_answer_is_rejected() {
        Calls {
            make: || twin(1, tell_the_revision_after_the_answer),
            ..real()
        }
        .a_commit_that_has_returned_is_seen();
    }

    #[allow(clippy::needless_pass_by_value)] // as `work`
    fn tell_watches_before_the_revision(
        queue: Receiver<Request>,
        published: &Arc<AtomicU64>,
        log: Log,
    ) -> Vec<Aftermath> {
        let store = MemoryStore::owned(log, Arc::default());
        for request in &queue {
            let answer = perform(&store, request.operation, &request.envelope);
            published.store(store.revision().as_u64(), Release);
            send_home(answer, request.envelope, store.take_left());
        }
        store.take_left()
    }

    #[test]
    #[should_panic(expected = "a watch told of a commit before it could be read")]
    fn models_twin_a_worker_that_tells_watches_before_the_revision_is_rejected() {
        Calls {
            make: || WorkerStore::start(1, LogOptions::default(), tell_watches_before_the_revision),
            ..real()
        }
        .whoever_is_told_of_a_commit_can_read_it();
    }

    fn tell_the_revision_relaxed(queue: Receiver<Request>, published: &Arc<AtomicU64>) {
        let store = MemoryStore::new();
        for request in &queue {
            let answer = perform(&store, request.operation, &request.envelope);
            published.store(store.revision().as_u64(), Relaxed);
            send_home(answer, request.envelope, store.take_left());
        }
    }

    #[test]
    #[should_panic(expected = "a revision was learnt before its commit")]
    fn models_twin_a_worker_that_tells_the_revision_relaxed_is_rejected() {
        Calls {
            make: || twin(1, tell_the_revision_relaxed),
            ..real()
        }
        .whoever_learns_a_revision_sees_its_commit();
    }

    /// The last request of all, as a twin closes a worker.
    fn is_the_end(request: &Request) -> bool {
        matches!(request.operation, Operation::Panic)
    }

    fn leave_at_the_end(queue: Receiver<Request>, published: &Arc<AtomicU64>) {
        let store = MemoryStore::new();
        for request in &queue {
            if is_the_end(&request) {
                // What came in behind it stays where it is.
                return;
            }
            let answer = perform(&store, request.operation, &request.envelope);
            published.store(store.revision().as_u64(), Release);
            send_home(answer, request.envelope, store.take_left());
        }
    }

    fn send_the_end(subject: &Subject<WorkerStore>) {
        let store = &subject.store;
        let envelope = store.take_lane().envelope;
        let operation = Operation::Panic;
        store
            .send(Request {
                operation,
                envelope,
            })
            .unwrap();
    }

    /// So the store was closed at first: the receiver goes, and callers whose
    /// requests lie in the channel wait for ever.
    #[test]
    #[should_panic(expected = "deadlock")]
    fn models_twin_closing_by_a_last_request_is_rejected() {
        Calls {
            make: || twin(2, leave_at_the_end),
            close: send_the_end,
            ..real()
        }
        .a_closed_store_has_done_what_it_accepted_exactly_once();
    }

    const NOT_ANSWERED_ONCE: &str = "an accepted operation was not answered exactly once";

    /// How many answers there are to a commit; `None` where it is refused.
    fn answers_to_a_commit(store: &WorkerStore, group: &str) -> Option<usize> {
        let Lane { envelope, replies } = store.take_lane();
        let operation = Operation::Commit(a_change_each_time(group));
        let sent = store.send(Request {
            operation,
            envelope,
        });
        if let Err(refused) = sent {
            assert_eq!(refused, StoreError::Closed);
            return None;
        }
        // The way home comes back with the answer; when it is dropped, no other comes.
        let answers = replies.into_iter().map(|reply| match reply.answer {
            Ok(Answer::Revision(_)) => 1,
            Ok(_) => panic!("the answer to another operation"),
            Err(error) => panic!("accepted, and not done: {error}"),
        });
        Some(answers.sum())
    }

    fn a_closed_worker_answers_every_accepted_operation_exactly_once(
        work: fn(Receiver<Request>, &Arc<AtomicU64>),
    ) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = builder.preemption_bound.or(Some(2));
        builder.check(move || {
            let store = Arc::new(Kept::new(twin(1, work)));
            let callers = ["left", "right"].map(|group| {
                let store = store.clone();
                thread::spawn(move || answers_to_a_commit(&store, group))
            });
            store.close().unwrap();
            let done = store.revision().as_u64();
            let answers = callers.map(|caller| caller.join().unwrap());
            let accepted: Vec<usize> = answers.into_iter().flatten().collect();
            assert_eq!(done, accepted.len() as u64, "{NOT_ONCE}");
            assert!(
                accepted.iter().all(|&answers| answers == 1),
                "{NOT_ANSWERED_ONCE}"
            );
        });
    }

    #[test]
    fn models_a_closed_worker_answers_every_accepted_operation_exactly_once() {
        a_closed_worker_answers_every_accepted_operation_exactly_once(real_work);
    }

    fn perform_twice(queue: Receiver<Request>, published: &Arc<AtomicU64>) {
        let store = MemoryStore::new();
        for request in &queue {
            if let Operation::Commit(batch) = &request.operation {
                store.commit(batch.clone()).unwrap();
            }
            let answer = perform(&store, request.operation, &request.envelope);
            published.store(store.revision().as_u64(), Release);
            send_home(answer, request.envelope, store.take_left());
        }
    }

    #[test]
    #[should_panic(expected = "an accepted operation was not done exactly once")]
    fn models_twin_a_worker_that_performs_twice_is_rejected() {
        a_closed_worker_answers_every_accepted_operation_exactly_once(perform_twice);
    }

    #[test]
    #[should_panic(expected = "an accepted operation was not done exactly once")]
    fn models_twin_a_store_whose_worker_performs_twice_is_rejected() {
        Calls {
            make: || twin(1, perform_twice),
            ..real()
        }
        .a_closed_store_has_done_what_it_accepted_exactly_once();
    }

    /// Answers at once, and performs when the next request comes: the last one, never.
    fn answer_without_performing(queue: Receiver<Request>, published: &Arc<AtomicU64>) {
        let store = MemoryStore::new();
        let mut left = None;
        for request in &queue {
            if let Some(batch) = left.take() {
                store.commit(batch).unwrap();
            }
            published.store(store.revision().as_u64(), Release);
            if let Operation::Commit(batch) = request.operation {
                left = Some(batch);
            }
            let answer = Answer::Revision(store.revision().next());
            send_home(Ok(answer), request.envelope, Vec::new());
        }
    }

    #[test]
    #[should_panic(expected = "an accepted operation was not done exactly once")]
    fn models_twin_a_worker_that_answers_without_performing_is_rejected() {
        a_closed_worker_answers_every_accepted_operation_exactly_once(answer_without_performing);
    }

    #[test]
    #[should_panic(expected = "an accepted operation was not done exactly once")]
    fn models_twin_a_store_whose_worker_answers_without_performing_is_rejected() {
        Calls {
            make: || twin(1, answer_without_performing),
            ..real()
        }
        .a_closed_store_has_done_what_it_accepted_exactly_once();
    }

    fn answer_twice(queue: Receiver<Request>, published: &Arc<AtomicU64>) {
        let store = MemoryStore::new();
        for request in &queue {
            let answer = perform(&store, request.operation, &request.envelope);
            let revision = store.revision();
            published.store(revision.as_u64(), Release);
            let again = Envelope {
                key: String::new(),
                group: String::new(),
                home: request.envelope.home.clone(),
                served: Served::none(),
            };
            send_home(answer, request.envelope, store.take_left());
            send_home(Ok(Answer::Revision(revision)), again, Vec::new());
        }
    }

    #[test]
    #[should_panic(expected = "an accepted operation was not answered exactly once")]
    fn models_twin_a_worker_that_answers_twice_is_rejected() {
        a_closed_worker_answers_every_accepted_operation_exactly_once(answer_twice);
    }

    fn a_worker_that_panics_leaves_nobody_waiting(work: fn(Receiver<Request>, &Arc<AtomicU64>)) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = builder.preemption_bound.or(Some(2));
        builder.check(move || {
            let store = Arc::new(Kept::new(twin(2, work)));
            let caller = thread::spawn({
                let store = store.clone();
                move || {
                    let answer = store.ping();
                    assert!(matches!(answer, Ok(()) | Err(StoreError::Closed)));
                }
            });
            let answer = store.call(Operation::Panic, "", "").map(drop);
            assert_eq!(answer, Err(StoreError::Closed));
            caller.join().unwrap();
        });
    }

    #[test]
    fn models_a_worker_that_panics_leaves_nobody_waiting() {
        a_worker_that_panics_leaves_nobody_waiting(real_work);
    }

    #[test]
    #[should_panic(expected = "deadlock")]
    fn models_twin_a_worker_that_panics_and_goes_is_rejected() {
        a_worker_that_panics_leaves_nobody_waiting(|queue, published| {
            let log = Log::new(LogOptions::default());
            let mut store = Box::new(MemoryStore::owned(log, published.clone()));
            let _ = catch_unwind(AssertUnwindSafe(|| serve(&queue, &mut store)));
        });
    }
}
