//! The messages between callers and the worker.

use std::mem;
use std::process;

use crate::changes::Aftermath;
use crate::observe::CallTimes;
use crate::store::memory::MemoryStore;
use crate::store::methods::prelude::*;
use crate::sync::Sender;

/// The part of a request that comes back with the reply: the strings of the call and the reply
/// channel.
pub(super) struct Envelope {
    pub(super) key: String,
    pub(super) group: String,
    pub(super) reply_to: Sender<Reply>,
    pub(super) times: CallTimes,
}

pub(super) struct Request {
    pub(super) operation: Operation,
    pub(super) envelope: Envelope,
}

pub(super) struct Reply {
    pub(super) answer: Result<Answer>,
    pub(super) envelope: Envelope,
    /// Work that is left after the commit. The caller does it, because a waker may call the
    /// store, and the worker must not wait for itself.
    pub(super) aftermaths: Vec<Aftermath>,
}

/// An operation of the worker. Its strings are in the envelope.
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

/// The tables while the worker lends them to a caller and waits. Dropping this returns them.
pub(super) struct Lent {
    /// `None` only during the drop.
    pub(super) store: Option<Box<MemoryStore>>,
    pub(super) return_to: Sender<Box<MemoryStore>>,
    /// The process of the worker.
    pub(super) process: u32,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(store) = self.store.take() {
            if self.process != process::id() {
                // The process forked inside the closure, see [`super`].
                mem::forget(store);
                return;
            }
            // The worker waits for the store.
            let sent = self.return_to.send(store);
            debug_assert!(sent.is_ok(), "the worker waits for what it has lent");
        }
    }
}
