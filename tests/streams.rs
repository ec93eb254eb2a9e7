//! Watches as streams; and snapshots that a task holds while it waits.
//!
//! Every store is here, as in the contract: a feature has a file of its own.

#![cfg(feature = "stream")]
// A build with fewer stores uses less of this file.
#![allow(dead_code, unused_macros)]

#[macro_use]
mod support;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use futures_core::Stream;
use service_registry::changes::{Difference, Event, Reason, Selection};
use service_registry::{RegistryStore, RegistryView, Result};

use support::pod;

// --- streams

/// Wakes a thread that waits for a future.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

async fn next<S: Stream<Item = Result<Event>> + Unpin>(stream: &mut S) -> Option<Event> {
    let next = std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await;
    next.map(Result::unwrap)
}

fn begins(event: Option<&Event>) -> bool {
    let begin = Reason::Begin;
    matches!(event, Some(Event::State { reason, .. }) if *reason == begin)
}

fn added(event: Option<Event>) -> Vec<String> {
    let Some(Event::Changes { changes, .. }) = event else {
        panic!("no changes: {event:?}");
    };
    let added = changes.iter().map(|change| match change {
        Difference::Added(info) => info.key().to_string(),
        other => panic!("{other:?}"),
    });
    added.collect()
}

fn a_stream_tells_what_its_watch_tells_and_ends_with_the_store(store: &impl RegistryStore) {
    let mut folded = store.watch(Selection::All).unwrap().into_stream();
    let mut commits = store.watch(Selection::All).unwrap().into_commit_stream();
    block_on(async {
        assert!(begins(next(&mut folded).await.as_ref()));
        assert!(begins(next(&mut commits).await.as_ref()));
        store.save_service(pod("a", "1")).unwrap();
        store.save_service(pod("a", "2")).unwrap();
        assert_eq!(added(next(&mut folded).await), ["a:1", "a:2"]);
        assert_eq!(added(next(&mut commits).await), ["a:1"]);
        assert_eq!(added(next(&mut commits).await), ["a:2"]);
        store.save_service(pod("a", "3")).unwrap();
        store.close().unwrap();
        // What was committed before comes first; the end is told again and again.
        assert_eq!(added(next(&mut folded).await), ["a:3"]);
        assert_eq!(added(next(&mut commits).await), ["a:3"]);
        for _ in 0..3 {
            assert_eq!(next(&mut folded).await, None);
            assert_eq!(next(&mut commits).await, None);
        }
    });
    assert_eq!(folded.into_watch().revision(), store.revision());
}

/// A task that waits is woken by a commit of another thread, and by the end.
fn a_stream_that_waits_is_woken(store: &(impl RegistryStore + Sync)) {
    let mut folded = store.watch(Selection::All).unwrap().into_stream();
    let mut commits = store.watch(Selection::All).unwrap().into_commit_stream();
    let (tell, told) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let tell_too = tell.clone();
        let one = scope.spawn(move || {
            block_on(async {
                assert!(begins(next(&mut folded).await.as_ref()));
                tell.send(()).unwrap();
                let told = added(next(&mut folded).await);
                (told, next(&mut folded).await)
            })
        });
        let other = scope.spawn(move || {
            block_on(async {
                assert!(begins(next(&mut commits).await.as_ref()));
                tell_too.send(()).unwrap();
                let told = added(next(&mut commits).await);
                (told, next(&mut commits).await)
            })
        });
        told.recv().unwrap();
        told.recv().unwrap();
        store.save_service(pod("a", "1")).unwrap();
        store.close().unwrap();
        for waiter in [one, other] {
            let expected = (vec!["a:1".to_string()], None);
            assert_eq!(waiter.join().unwrap(), expected);
        }
    });
}

macro_rules! streams {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            #[test]
            fn a_stream_tells_what_its_watch_tells_and_ends_with_the_store() {
                crate::support::within(crate::support::PATIENCE, || {
                    let store = service_registry::$store::new();
                    crate::a_stream_tells_what_its_watch_tells_and_ends_with_the_store(&store);
                });
            }

            #[test]
            fn a_stream_that_waits_is_woken() {
                crate::support::within(crate::support::PATIENCE, || {
                    crate::a_stream_that_waits_is_woken(&service_registry::$store::new());
                });
            }
        }
    };
}

shared_stores!(streams);

#[test]
fn a_stream_of_a_memory_store_ends_with_it() {
    let store = service_registry::MemoryStore::new();
    a_stream_tells_what_its_watch_tells_and_ends_with_the_store(&store);
}

// --- snapshots across an `.await`

const fn is_send<T: Send>(_: &T) {}

macro_rules! held_across_await {
    ($feature:literal $module:ident $store:ident $snapshot:ident $reader:ident) => {
        /// The snapshot and each of its iterators live across an `.await`, and the future
        /// may go to another thread: this is checked when it is compiled.
        #[cfg(feature = $feature)]
        #[test]
        fn $module() {
            let store = service_registry::$store::new();
            store.save_service(pod("a", "1")).unwrap();
            store.add_subscription("a:1", "g").unwrap();
            let snapshot = store.snapshot();
            let task = async move {
                let mut services = snapshot.services();
                let mut by_name = snapshot.services_by_name("a");
                let mut subscribers = snapshot.subscribers("g");
                let mut records = snapshot.subscriber_services("g");
                let (mut names, mut groups) = (snapshot.names(), snapshot.groups());
                std::future::ready(()).await;
                assert_eq!(services.next(), records.next());
                assert_eq!(by_name.next().map(|info| &**info.key()), Some("a:1"));
                assert_eq!(subscribers.next().map(|key| &**key), Some("a:1"));
                assert_eq!((names.next(), groups.next()), (Some("a"), Some("g")));
            };
            is_send(&task);
            thread::scope(|scope| scope.spawn(|| block_on(task)).join().unwrap());
        }
    };
}

/// Beside the modules above, which have the same names.
mod held {
    use super::*;

    viewed_stores!(held_across_await);
}
