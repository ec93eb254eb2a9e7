//! Callers never wait for an answer that cannot come, and see every revision that they must.

use std::sync::Arc;

use super::WorkerStore;
use super::messages::{Envelope, Operation, Request};
use crate::observe::CallTimes;
use crate::store::methods::prelude::*;
use crate::sync::{Sender, bounded};

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

/// A waker that calls the store waits for the worker, so the worker must not call the waker.
#[test]
fn a_worker_that_panics_wakes_watches() {
    struct CallingWaker(WorkerStore, std::sync::mpsc::Sender<Result<()>>);
    impl std::task::Wake for CallingWaker {
        fn wake(self: Arc<Self>) {
            self.1.send(self.0.ping()).unwrap();
        }
    }
    let (sender, answers) = std::sync::mpsc::channel();
    let caller = Arc::new(CallingWaker(WorkerStore::new(), sender));
    let mut watch = caller.0.watch(Selection::All).unwrap();
    watch.recv().unwrap();
    let waker = caller.clone().into();
    let mut context = std::task::Context::from_waker(&waker);
    assert!(watch.poll_recv(&mut context).is_pending());
    let answer = caller.0.call(Operation::Panic, "", "").map(drop);
    assert_eq!(answer, Err(StoreError::Closed));
    let patience = std::time::Duration::from_secs(60);
    assert_eq!(answers.recv_timeout(patience), Ok(Err(StoreError::Closed)));
    assert_eq!(watch.recv(), Err(StoreError::Closed));
    caller.0.close().unwrap();
}

/// A regression test. A write that was accepted but not done when the store was closed made the
/// revision grow after calls had been refused.
#[test]
fn a_refused_call_sees_the_last_revision() {
    let store = WorkerStore::new();
    // The worker cannot continue until this answer is received.
    let (reply_to, held) = bounded(0);
    let envelope = Envelope {
        key: String::new(),
        group: String::new(),
        reply_to,
        times: CallTimes::empty(),
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
        let (sender, answers) = bounded(1);
        let store = &store;
        scope.spawn(move || {
            let refused = store.ping();
            sender.send((refused, store.revision())).unwrap();
        });
        // Long enough for an answer that comes too early.
        let early = answers.recv_timeout(std::time::Duration::from_millis(100));
        drop(held.recv().unwrap());
        let (refused, seen) = early.unwrap_or_else(|_| answers.recv().unwrap());
        assert_eq!(refused, Err(StoreError::Closed));
        assert_eq!(seen, Revision::from(1));
    });
}
