//! What `EvmapStore` owes besides the contract: the traps of its two maps and of
//! their handles, each by name. What the traps are, and what they cost, stands in
//! the documentation of the store.

#![cfg(feature = "evmap")]

mod support;

use std::cell::RefCell;
use std::panic::catch_unwind;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use service_registry::{EvmapStore, RegistryStore, ServiceInfo, ServiceStatus, StoreError};
use support::{PATIENCE, at, pod, within};

const KEY: &str = "db:1";

/// Long enough for a commit that does not wait for anybody to be seen to return.
const A_WHILE: Duration = Duration::from_millis(100);

fn a_store() -> Arc<EvmapStore> {
    let store = Arc::new(EvmapStore::new());
    store.save_service(pod("db", "1")).unwrap();
    store
}

fn commit(store: &EvmapStore, n: u64) {
    let updated = store.update_health_status(KEY, ServiceStatus::Healthy, at(n));
    updated.unwrap();
}

/// A thread that stays inside a read closure until it is told to leave, and then
/// answers with the record that it has been looking at all the while.
struct Stalled {
    leave: Sender<()>,
    thread: thread::JoinHandle<ServiceInfo>,
}

impl Stalled {
    fn inside(store: &Arc<EvmapStore>) -> Stalled {
        let (leave, told) = channel::<()>();
        let (entered, inside) = channel();
        let store = store.clone();
        let thread = thread::spawn(move || {
            let read = store.with_service(KEY, |record| {
                entered.send(()).unwrap();
                told.recv().unwrap();
                record.clone()
            });
            read.unwrap()
        });
        inside.recv().unwrap();
        Stalled { leave, thread }
    }

    fn leave(self) -> ServiceInfo {
        self.leave.send(()).unwrap();
        self.thread.join().unwrap()
    }
}

/// A thread that makes a commit, and tells when it has returned.
fn writer(store: &Arc<EvmapStore>, n: u64) -> Receiver<()> {
    let (done, returned) = channel();
    let store = store.clone();
    thread::spawn(move || {
        commit(&store, n);
        // Nobody listens any more only where the test has failed already.
        let _ = done.send(());
    });
    returned
}

// --- a handle is not `Sync`: each thread reads through its own

#[test]
fn thirty_threads_are_inside_at_once_each_through_a_handle_of_its_own() {
    const THREADS: usize = 30;
    within(PATIENCE, || {
        let store = a_store();
        let all_inside = Barrier::new(THREADS);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let read = store.with_service(KEY, |record| {
                        // Nobody leaves before all have come, so that no two of
                        // them can have shared a handle by taking turns.
                        all_inside.wait();
                        store.stats().unwrap();
                        assert_eq!(*record, pod("db", "1"));
                    });
                    read.unwrap();
                });
            }
        });
        commit(&store, 1);
        commit(&store, 2);
    });
}

// --- a held guard holds up a publication

#[test]
fn a_stalled_reader_holds_up_the_second_commit_and_no_longer_than_it_stalls() {
    within(PATIENCE, || {
        let store = a_store();
        let stalled = Stalled::inside(&store);
        // To the map that the reader does not read.
        commit(&store, 1);
        let second = writer(&store, 2);
        assert!(
            second.recv_timeout(A_WHILE).is_err(),
            "a commit went to the map that a reader was in"
        );
        let seen = stalled.leave();
        assert_eq!(seen, pod("db", "1"), "a record changed under its reader");
        second.recv().unwrap();
        let record = store.get_service(KEY).unwrap();
        assert_eq!(record.last_health_check(), Some(at(2)));
    });
}

#[test]
fn other_readers_go_on_beside_a_stalled_reader_and_a_waiting_writer() {
    within(PATIENCE, || {
        let store = a_store();
        // Has its handle before anybody stalls.
        store.get_service(KEY).unwrap();
        let stalled = Stalled::inside(&store);
        commit(&store, 1);
        let second = writer(&store, 2);
        assert!(second.recv_timeout(A_WHILE).is_err());
        for _ in 0..1_000 {
            let record = store.get_service(KEY).unwrap();
            assert_eq!(record.last_health_check(), Some(at(1)));
            assert_eq!(store.get_all_services().unwrap().len(), 1);
        }
        stalled.leave();
        second.recv().unwrap();
    });
}

#[test]
fn a_reader_that_panics_gives_its_guard_back() {
    within(PATIENCE, || {
        let store = a_store();
        for n in 0..100 {
            let panicked = catch_unwind(|| {
                let _ = store.with_service(KEY, |_| {
                    std::panic::resume_unwind(Box::new("in the closure of a caller"))
                });
            });
            assert!(panicked.is_err());
            // Both maps, by turns.
            commit(&store, 2 * n);
            commit(&store, 2 * n + 1);
        }
    });
}

#[test]
fn a_thread_that_dies_inside_a_read_gives_its_guard_back() {
    within(PATIENCE, || {
        let store = a_store();
        for n in 0..100 {
            let reader = store.clone();
            let died = thread::spawn(move || {
                let _ = reader.with_service(KEY, |_| {
                    reader.with_service(KEY, |_| std::panic::resume_unwind(Box::new("dies")))
                });
            });
            assert!(died.join().is_err());
            commit(&store, 2 * n);
            commit(&store, 2 * n + 1);
        }
    });
}

#[test]
fn closing_waits_for_a_stalled_reader_and_leaves_it_its_record() {
    within(PATIENCE, || {
        let store = a_store();
        let stalled = Stalled::inside(&store);
        let (closing, closed) = channel();
        thread::spawn({
            let store = store.clone();
            move || {
                store.close().unwrap();
                let _ = closing.send(());
            }
        });
        assert!(
            closed.recv_timeout(A_WHILE).is_err(),
            "what a reader was reading was dropped"
        );
        assert_eq!(stalled.leave(), pod("db", "1"));
        closed.recv().unwrap();
        assert_eq!(store.get_service(KEY), Err(StoreError::Closed));
    });
}

// --- a write from inside would wait for itself

#[test]
fn a_write_from_inside_is_refused_however_deep_and_however_many_wait() {
    within(PATIENCE, || {
        fn descend(store: &EvmapStore, depth: usize) {
            let read = store.with_service(KEY, |_| {
                let written = store.delete_service(KEY);
                assert_eq!(written, Err(StoreError::Reentrant), "{depth} deep");
                assert_eq!(store.close(), Err(StoreError::Reentrant));
                if depth < 50 {
                    descend(store, depth + 1);
                }
            });
            read.unwrap();
        }
        let store = a_store();
        // See `a_first_read_waits_behind_a_waiting_writer`.
        store.get_service(KEY).unwrap();
        let stalled = Stalled::inside(&store);
        commit(&store, 1);
        let second = writer(&store, 2);
        assert!(second.recv_timeout(A_WHILE).is_err());
        descend(&store, 1);
        stalled.leave();
        second.recv().unwrap();
        // Over when the closures are.
        store.delete_service(KEY).unwrap();
    });
}

// --- making or dropping a handle inside a read can deadlock (left-right#159)

/// The one read that may wait, as the documentation says: evmap makes handles
/// under the lock that its waiting writer holds.
#[test]
fn a_first_read_waits_behind_a_waiting_writer_until_the_stall_is_over() {
    within(PATIENCE, || {
        let store = a_store();
        let stalled = Stalled::inside(&store);
        commit(&store, 1);
        let second = writer(&store, 2);
        assert!(second.recv_timeout(A_WHILE).is_err());
        let first_read = {
            let store = store.clone();
            thread::spawn(move || store.get_service(KEY).unwrap())
        };
        stalled.leave();
        second.recv().unwrap();
        let seen = first_read.join().unwrap().last_health_check();
        assert!(seen == Some(at(1)) || seen == Some(at(2)));
    });
}

#[test]
fn a_first_read_inside_a_read_of_another_store_waits_for_nobody() {
    within(PATIENCE, || {
        let (outer, inner) = (a_store(), a_store());
        // A writer of the outer store is waiting for this thread, while it makes
        // its handle of the inner one.
        let second = {
            let read = outer.with_service(KEY, |_| {
                let first = writer(&outer, 1);
                first.recv().unwrap();
                let second = writer(&outer, 2);
                assert!(second.recv_timeout(A_WHILE).is_err());
                inner.with_service(KEY, |_| ()).unwrap();
                commit(&inner, 1);
                second
            });
            read.unwrap()
        };
        second.recv().unwrap();
    });
}

/// Runs what it holds when its thread ends, after the thread's handle has gone
/// to the next one.
struct Late(Option<Box<dyn FnOnce()>>);

impl Drop for Late {
    fn drop(&mut self) {
        if let Some(last) = self.0.take() {
            last();
        }
    }
}

thread_local! {
    static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
}

#[test]
fn an_ending_thread_makes_no_second_handle_while_it_reads() {
    within(PATIENCE, || {
        let store = a_store();
        let done = Arc::new(AtomicUsize::new(0));
        // A writer that keeps the lock of the handles busy.
        let over = Arc::new(AtomicBool::new(false));
        let busy = thread::spawn({
            let (store, over) = (store.clone(), over.clone());
            move || {
                let mut n = 0;
                while !over.load(SeqCst) {
                    commit(&store, n);
                    n += 1;
                }
            }
        });
        for _ in 0..100 {
            let (store, done) = (store.clone(), done.clone());
            let ending = thread::spawn(move || {
                let last = {
                    let store = store.clone();
                    move || {
                        let read = store.with_service(KEY, |_| {
                            // A second guard is to be had only through a second
                            // handle, and that one only from a waiting writer.
                            assert_eq!(store.stats(), Err(StoreError::Reentrant));
                            assert_eq!(store.clear(), Err(StoreError::Reentrant));
                        });
                        read.unwrap();
                        store.get_service(KEY).unwrap();
                        done.fetch_add(1, SeqCst);
                    }
                };
                LATE.set(Some(Late(Some(Box::new(last)))));
                // After it, so that the handle is given back before it is run.
                store.get_service(KEY).unwrap();
            });
            ending.join().unwrap();
        }
        over.store(true, SeqCst);
        busy.join().unwrap();
        assert_eq!(done.load(SeqCst), 100);
    });
}

#[test]
fn threads_come_and_go_beside_writers() {
    within(PATIENCE, || {
        let store = a_store();
        thread::scope(|scope| {
            for thread in 0..4 {
                let store = &store;
                scope.spawn(move || {
                    for n in 0..100 {
                        let reader = store.clone();
                        let read = thread::spawn(move || reader.get_service(KEY).is_ok());
                        commit(store, 100 * thread + n);
                        assert!(read.join().unwrap());
                    }
                });
            }
        });
    });
}

// --- a reader inside a read, and a thread that waits for it

#[test]
fn a_stalled_reader_may_ask_anything_while_the_store_is_closed() {
    within(PATIENCE, || {
        let store = a_store();
        let read = store.with_service(KEY, |record| {
            let (closing, closed) = channel();
            thread::spawn({
                let store = store.clone();
                move || {
                    store.close().unwrap();
                    let _ = closing.send(());
                }
            });
            // Holds what writers hold, and waits for this thread.
            assert!(closed.recv_timeout(A_WHILE).is_err());
            assert_eq!(store.revision().as_u64(), 1);
            assert_eq!(store.stats(), Err(StoreError::Closed));
            assert_eq!(store.get_service(KEY), Err(StoreError::Closed));
            assert_eq!(store.clear(), Err(StoreError::Reentrant));
            assert_eq!(*record, pod("db", "1"));
            closed
        });
        read.unwrap().recv().unwrap();
        assert_eq!(store.revision().as_u64(), 1);
    });
}

#[test]
fn an_ending_thread_may_ask_for_the_revision_inside_a_read_that_a_writer_waits_for() {
    within(PATIENCE, || {
        let store = a_store();
        let (told, answer) = channel();
        let ending = thread::spawn({
            let store = store.clone();
            move || {
                let last = {
                    let store = store.clone();
                    move || {
                        let read = store.with_service(KEY, |_| {
                            // To the map that this thread does not read.
                            writer(&store, 1).recv().unwrap();
                            let second = writer(&store, 2);
                            assert!(second.recv_timeout(A_WHILE).is_err());
                            told.send((store.revision(), second)).unwrap();
                        });
                        read.unwrap();
                    }
                };
                LATE.set(Some(Late(Some(Box::new(last)))));
                store.get_service(KEY).unwrap();
            }
        });
        ending.join().unwrap();
        let (revision, second) = answer.recv().unwrap();
        // That of the state that it was reading.
        assert_eq!(revision.as_u64(), 1);
        second.recv().unwrap();
    });
}
