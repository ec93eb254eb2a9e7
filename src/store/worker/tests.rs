//! Callers wait for nothing that will not come, and see what they must.

use std::sync::Arc;

use super::WorkerStore;
use super::messages::{Envelope, Operation, Request};
use crate::observe::Served;
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
