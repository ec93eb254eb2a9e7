//! What callers and the worker send each other.

use std::mem;
use std::process;

use crate::changes::Aftermath;
use crate::observe::Served;
use crate::store::memory::MemoryStore;
use crate::store::methods::prelude::*;
use crate::sync::Sender;

/// What goes to the worker and comes back: the texts of a call, and the way home.
pub(super) struct Envelope {
    pub(super) key: String,
    pub(super) group: String,
    pub(super) home: Sender<Reply>,
    pub(super) served: Served,
}

pub(super) struct Request {
    pub(super) operation: Operation,
    pub(super) envelope: Envelope,
}

pub(super) struct Reply {
    pub(super) answer: Result<Answer>,
    pub(super) envelope: Envelope,
    /// What is left to do after the commit. The caller does it: a waker may call the store,
    /// and the worker must not wait for itself.
    pub(super) left: Vec<Aftermath>,
}

/// What the worker is to do, with the texts of the envelope.
pub(super) enum Operation {
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

pub(super) enum Answer {
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
pub(super) struct Lent {
    /// `None` only while this is dropped.
    pub(super) store: Option<Box<MemoryStore>>,
    pub(super) home: Sender<Box<MemoryStore>>,
    /// The process that the worker is in.
    pub(super) process: u32,
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
