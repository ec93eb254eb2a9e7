//! The models of all stores, and broken twins of the worker and of `close`. The channels are
//! those of [`crate::sync`].
//!
//! Orderings: a twin's store of the revision pairs (or, if relaxed, does not pair) with the
//! Acquire load in `revision`, like the store in `MemoryStore::write_in`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::WorkerStore;
use super::handle::ReplyChannel;
use super::messages::{Answer, Envelope, Operation, Request};
use super::thread::{perform, send_reply, serve, work};
use crate::changes::{Aftermath, Log};
use crate::observe::CallTimes;
use crate::store::memory::MemoryStore;
use crate::store::methods::prelude::*;
use crate::store::models::{Calls, LeakOnPanic, NOT_ONCE, Subject, a_change_each_time};
use crate::sync::Receiver;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{Relaxed, Release};
use loom::thread;

fn real() -> Calls<WorkerStore> {
    Calls {
        reads: 2,
        preemptions: Some(2),
        ..Calls::real(|| WorkerStore::with_queue(1, LogOptions::default()))
    }
}

store_models!(real());

/// Creates a store with the given worker.
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

fn publish_after_the_answer(queue: Receiver<Request>, published: &Arc<AtomicU64>) {
    let store = MemoryStore::new();
    for request in &queue {
        let answer = perform(&store, request.operation, &request.envelope);
        send_reply(answer, request.envelope, store.take_aftermaths());
        published.store(store.revision().as_u64(), Release);
    }
}

#[test]
#[should_panic(expected = "a commit that has returned was not seen")]
fn models_twin_a_revision_that_is_published_after_the_answer_is_rejected() {
    Calls {
        make: || twin(1, publish_after_the_answer),
        ..real()
    }
    .a_commit_that_has_returned_is_seen();
}

#[allow(clippy::needless_pass_by_value)] // as `work`
fn notify_watches_before_the_revision(
    queue: Receiver<Request>,
    published: &Arc<AtomicU64>,
    log: Log,
) -> Vec<Aftermath> {
    let store = MemoryStore::owned(log, Arc::default());
    for request in &queue {
        let answer = perform(&store, request.operation, &request.envelope);
        published.store(store.revision().as_u64(), Release);
        send_reply(answer, request.envelope, store.take_aftermaths());
    }
    store.take_aftermaths()
}

#[test]
#[should_panic(expected = "a watch delivered a commit before it could be read")]
fn models_twin_a_worker_that_notifies_watches_before_the_revision_is_rejected() {
    Calls {
        make: || WorkerStore::start(1, LogOptions::default(), notify_watches_before_the_revision),
        ..real()
    }
    .a_delivered_commit_can_be_read();
}

fn publish_relaxed(queue: Receiver<Request>, published: &Arc<AtomicU64>) {
    let store = MemoryStore::new();
    for request in &queue {
        let answer = perform(&store, request.operation, &request.envelope);
        published.store(store.revision().as_u64(), Relaxed);
        send_reply(answer, request.envelope, store.take_aftermaths());
    }
}

#[test]
#[should_panic(expected = "a revision was learnt before its commit")]
fn models_twin_a_worker_that_publishes_relaxed_is_rejected() {
    Calls {
        make: || twin(1, publish_relaxed),
        ..real()
    }
    .a_revision_that_was_read_makes_its_commit_visible();
}

/// Returns whether this is the last request, with which a twin closes a worker.
fn is_last_request(request: &Request) -> bool {
    matches!(request.operation, Operation::Panic)
}

fn stop_at_last_request(queue: Receiver<Request>, published: &Arc<AtomicU64>) {
    let store = MemoryStore::new();
    for request in &queue {
        if is_last_request(&request) {
            // Later requests stay in the queue.
            return;
        }
        let answer = perform(&store, request.operation, &request.envelope);
        published.store(store.revision().as_u64(), Release);
        send_reply(answer, request.envelope, store.take_aftermaths());
    }
}

fn send_last_request(subject: &Subject<WorkerStore>) {
    let store = &subject.store;
    let envelope = store.take_channel().envelope;
    let operation = Operation::Panic;
    store
        .send(Request {
            operation,
            envelope,
        })
        .unwrap();
}

/// The first implementation closed the store like this: the receiver is dropped, and callers
/// whose requests are still in the channel wait forever.
#[test]
#[should_panic(expected = "deadlock")]
fn models_twin_closing_by_a_last_request_is_rejected() {
    Calls {
        make: || twin(2, stop_at_last_request),
        close: send_last_request,
        ..real()
    }
    .a_closed_store_has_done_what_it_accepted_exactly_once();
}

const NOT_ANSWERED_ONCE: &str = "an accepted operation was not answered exactly once";

/// Returns the number of answers to a commit, or `None` if it is refused.
fn answers_to_a_commit(store: &WorkerStore, group: &str) -> Option<usize> {
    let ReplyChannel { envelope, replies } = store.take_channel();
    let operation = Operation::Commit(a_change_each_time(group));
    let sent = store.send(Request {
        operation,
        envelope,
    });
    if let Err(refused) = sent {
        assert_eq!(refused, StoreError::Closed);
        return None;
    }
    // The sender comes back with the answer. After it is dropped, no other answer can come.
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
        let store = Arc::new(LeakOnPanic::new(twin(1, work)));
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
        send_reply(answer, request.envelope, store.take_aftermaths());
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

/// Answers at once, and performs a request only when the next one comes. It never performs the
/// last one.
fn answer_without_performing(queue: Receiver<Request>, published: &Arc<AtomicU64>) {
    let store = MemoryStore::new();
    let mut deferred = None;
    for request in &queue {
        if let Some(batch) = deferred.take() {
            store.commit(batch).unwrap();
        }
        published.store(store.revision().as_u64(), Release);
        if let Operation::Commit(batch) = request.operation {
            deferred = Some(batch);
        }
        let answer = Answer::Revision(store.revision().next());
        send_reply(Ok(answer), request.envelope, Vec::new());
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
            reply_to: request.envelope.reply_to.clone(),
            times: CallTimes::empty(),
        };
        send_reply(answer, request.envelope, store.take_aftermaths());
        send_reply(Ok(Answer::Revision(revision)), again, Vec::new());
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
        let store = Arc::new(LeakOnPanic::new(twin(2, work)));
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
