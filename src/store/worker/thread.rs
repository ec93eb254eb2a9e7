//! The worker thread. It receives requests from the queue, performs them, and sends the
//! answers.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::Arc;

use super::messages::{Answer, Envelope, Lent, Operation, Reply, Request};
use crate::changes::{Aftermath, Log};
use crate::store::memory::MemoryStore;
use crate::store::methods::prelude::*;
use crate::sync::atomic::AtomicU64;
use crate::sync::{Builder, Receiver, bounded};

/// The main function of a worker thread.
pub(super) trait Work:
    FnOnce(Receiver<Request>, &Arc<AtomicU64>, Log) -> Vec<Aftermath> + Send + 'static
{
}

impl<W> Work for W where
    W: FnOnce(Receiver<Request>, &Arc<AtomicU64>, Log) -> Vec<Aftermath> + Send + 'static
{
}

/// The worker. Performs one request after the other, until all senders are gone and the queue
/// is empty.
#[allow(clippy::needless_pass_by_value)] // the worker owns its end of the queue
pub(super) fn work(
    queue: Receiver<Request>,
    published: &Arc<AtomicU64>,
    log: Log,
) -> Vec<Aftermath> {
    // Outside the unwinding closure, because dropping the store wakes its watches.
    let mut store = Box::new(MemoryStore::owned(log.clone(), published.clone()));
    let remaining = catch_unwind(AssertUnwindSafe(|| serve(&queue, &mut store)));
    remaining.unwrap_or_else(|_| {
        // A bug, or out of memory. Nobody may wait for the tables any more.
        let aftermaths = (store.take_aftermaths(), log.close());
        // A waker may call the store, which waits for this thread. If no other thread can be
        // started, the wakers run here.
        let _ = Builder::new().spawn(move || drop(aftermaths));
        for request in &queue {
            send_reply(Err(StoreError::Closed), request.envelope, Vec::new());
        }
        Vec::new()
    })
}

pub(super) fn serve(queue: &Receiver<Request>, store: &mut Box<MemoryStore>) -> Vec<Aftermath> {
    for mut request in queue {
        let times = &mut request.envelope.times;
        times.begin(|| store.revision());
        if matches!(request.operation, Operation::Lend) {
            *store = lend(mem::take(store), request.envelope);
            continue;
        }
        let answer = perform(store, request.operation, &request.envelope);
        request.envelope.times.end(|| store.revision());
        // The store has published its revision before the answer is sent.
        send_reply(answer, request.envelope, store.take_aftermaths());
    }
    // The caller that closes the store notifies its watches.
    let closed = store.close();
    debug_assert!(closed.is_ok(), "nobody reads it");
    store.take_aftermaths()
}

/// Lends the tables to a caller and waits until they come back.
fn lend(store: Box<MemoryStore>, envelope: Envelope) -> Box<MemoryStore> {
    let (return_to, back) = bounded(1);
    let lent = Lent {
        store: Some(store),
        return_to,
        process: process::id(),
    };
    send_reply(Ok(Answer::Lent(lent)), envelope, Vec::new());
    back.recv()
        .expect("what is lent comes back when it is dropped")
}

pub(super) fn send_reply(answer: Result<Answer>, envelope: Envelope, aftermaths: Vec<Aftermath>) {
    let reply_to = envelope.reply_to.clone();
    // The caller waits in `call` and holds the receiver until it has an answer.
    let sent = reply_to.send(Reply {
        answer,
        envelope,
        aftermaths,
    });
    debug_assert!(sent.is_ok(), "a caller waits for its answer");
}

pub(super) fn perform(
    store: &MemoryStore,
    operation: Operation,
    texts: &Envelope,
) -> Result<Answer> {
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
