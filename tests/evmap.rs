//! What `EvmapStore` owes besides the contract: the traps of its two maps and of
//! their handles, each by name. What the traps are, and what they cost, stands in
//! the documentation of the store.

#![cfg(feature = "evmap")]

#[macro_use]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use service_registry::{
    EvmapStore, RegistryStore, Result, ServiceInfo, ServiceStatus, StoreError, delegate_store,
};
use support::failing::{failure, must_hang};
use support::thread_exit::EXIT_HOOKS;
use support::{PATIENCE, at, pod, within};

const KEY: &str = "db:1";

/// Long enough for a commit that does not wait for anybody to be seen to return.
const A_WHILE: Duration = Duration::from_millis(100);

fn a_store() -> Arc<EvmapStore> {
    let store = Arc::new(EvmapStore::new());
    store.save_service(pod("db", "1")).unwrap();
    store
}

fn commit(store: &impl RegistryStore, n: u64) {
    let updated = store.update_health_status(KEY, ServiceStatus::Healthy, at(n));
    updated.unwrap();
}

/// [`EvmapStore`], and what is wrong with it in [`twins`].
trait ThreadSafeStore: RegistryStore + Send + Sync + 'static {}

impl<S: RegistryStore + Send + Sync + 'static> ThreadSafeStore for S {}

/// A thread that stays inside a read closure until it is told to leave, and then
/// answers with the record that it has been looking at all the while.
struct Stalled {
    leave: Sender<()>,
    thread: thread::JoinHandle<ServiceInfo>,
}

impl Stalled {
    fn inside<S: ThreadSafeStore>(store: &Arc<S>) -> Stalled {
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
fn writer<S: ThreadSafeStore>(store: &Arc<S>, n: u64) -> Receiver<()> {
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

fn panics_hold_up_nobody(store: &impl RegistryStore) {
    for n in 0..100 {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _ = store.with_service(KEY, |_| {
                std::panic::resume_unwind(Box::new("in the closure of a caller"))
            });
        }));
        assert!(panicked.is_err());
        // Both maps, by turns.
        commit(store, 2 * n);
        commit(store, 2 * n + 1);
    }
}

#[test]
fn a_reader_that_panics_gives_its_guard_back() {
    within(PATIENCE, || panics_hold_up_nobody(&a_store()));
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

fn writes_from_inside_are_refused<S: ThreadSafeStore>(store: &Arc<S>) {
    fn descend(store: &impl RegistryStore, depth: usize) {
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
    // See `a_first_read_waits_behind_a_waiting_writer_until_the_stall_is_over`.
    store.get_service(KEY).unwrap();
    let stalled = Stalled::inside(store);
    commit(store, 1);
    let second = writer(store, 2);
    assert!(second.recv_timeout(A_WHILE).is_err());
    descend(&**store, 1);
    stalled.leave();
    second.recv().unwrap();
    // Over when the closures are.
    store.delete_service(KEY).unwrap();
}

#[test]
fn a_write_from_inside_is_refused_however_deep_and_however_many_wait() {
    within(PATIENCE, || writes_from_inside_are_refused(&a_store()));
}

mod twins {
    //! The same store with one thing wrong, and the test that has to notice.

    use super::*;

    #[derive(Clone, Copy, PartialEq)]
    enum Fault {
        None,
        /// A write from inside is not refused: it is answered as if it was done.
        RefusesNothing,
        /// A reader that panics leaves a guard behind.
        KeepsGuards,
    }

    struct Faulty {
        inner: Arc<EvmapStore>,
        fault: Fault,
        /// Readers that do not leave.
        kept: Mutex<Vec<Stalled>>,
        is_over: AtomicBool,
    }

    fn faulty(fault: Fault) -> Arc<Faulty> {
        Arc::new(Faulty {
            inner: a_store(),
            fault,
            kept: Mutex::default(),
            is_over: AtomicBool::new(false),
        })
    }

    impl Faulty {
        fn answer<T: Default>(&self, answer: Result<T>) -> Result<T> {
            match answer {
                Err(StoreError::Reentrant) if self.fault == Fault::RefusesNothing => {
                    Ok(T::default())
                }
                answer => answer,
            }
        }
    }

    impl RegistryStore for Faulty {
        fn delete_service(&self, key: &str) -> Result<()> {
            self.answer(self.inner.delete_service(key))
        }
        fn close(&self) -> Result<()> {
            self.answer(self.inner.close())
        }
        /// `with_service` comes through here.
        fn visit_service(&self, key: &str, visit: &mut dyn FnMut(&ServiceInfo)) -> Result<()> {
            let read = AssertUnwindSafe(|| self.inner.visit_service(key, visit));
            catch_unwind(read).unwrap_or_else(|panic| {
                if self.fault == Fault::KeepsGuards && !self.is_over.load(SeqCst) {
                    self.kept.lock().unwrap().push(Stalled::inside(&self.inner));
                }
                resume_unwind(panic)
            })
        }

        delegate_store!(self => self.inner; except delete_service, close, with_service, visit_service);
    }

    #[test]
    fn a_store_without_a_fault_passes() {
        within(PATIENCE, || {
            writes_from_inside_are_refused(&faulty(Fault::None));
            panics_hold_up_nobody(&*faulty(Fault::None));
        });
    }

    #[test]
    fn a_store_that_refuses_nothing_inside_is_noticed() {
        let told = failure(PATIENCE, || {
            writes_from_inside_are_refused(&faulty(Fault::RefusesNothing));
        });
        assert!(told.contains("Err(Reentrant)"), "{told}");
    }

    #[test]
    fn a_guard_that_is_kept_is_noticed() {
        let store = faulty(Fault::KeepsGuards);
        must_hang({
            let store = store.clone();
            move || panics_hold_up_nobody(&*store)
        });
        // The writer that waits would spin for as long as the other tests take.
        store.is_over.store(true, SeqCst);
        let kept = std::mem::take(&mut *store.kept.lock().unwrap());
        for reader in kept {
            reader.leave();
        }
    }
}

// --- making or dropping a handle inside a read can deadlock (left-right#159)

/// A thread that reads for the first time, and keeps its handle until the sender goes.
fn first_read(store: &Arc<EvmapStore>) -> (Receiver<ServiceInfo>, Sender<()>) {
    let (answer, read) = channel();
    let (stay, end) = channel::<()>();
    let store = store.clone();
    thread::spawn(move || {
        // Nobody listens any more only where the test has failed already.
        let _ = answer.send(store.get_service(KEY).unwrap());
        let _ = end.recv();
    });
    (read, stay)
}

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
        // The writer may not have come to the lock yet, on a busy machine; then a first
        // read returns, and the next one has to wait. None gives its handle to another.
        let mut returned = Vec::new();
        let waiting = loop {
            let (read, stay) = first_read(&store);
            match read.recv_timeout(A_WHILE) {
                Ok(_) => returned.push(stay),
                Err(RecvTimeoutError::Timeout) => break read,
                Err(RecvTimeoutError::Disconnected) => panic!("a first read failed"),
            }
            assert!(returned.len() < 100, "a first read waits for nobody");
            thread::sleep(A_WHILE);
        };
        stalled.leave();
        second.recv().unwrap();
        let seen = waiting.recv().unwrap().last_health_check();
        assert!(seen == Some(at(1)) || seen == Some(at(2)));
    });
}

#[test]
fn a_first_read_of_an_idle_store_inside_a_read_of_a_busy_one_waits_for_nobody() {
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
                            // A second handle is to be had only from a waiting writer.
                            assert_eq!(store.stats().unwrap().services, 1);
                            assert_eq!(store.clear(), Err(StoreError::Reentrant));
                        });
                        read.unwrap();
                        store.get_service(KEY).unwrap();
                        done.fetch_add(1, SeqCst);
                    }
                };
                EXIT_HOOKS.with(|hooks| hooks.push(last));
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
                EXIT_HOOKS.with(|hooks| hooks.push(last));
                store.get_service(KEY).unwrap();
            }
        });
        ending.join().unwrap();
        let (revision, second) = answer.recv().unwrap();
        // That of the newest state, which the first writer published.
        assert_eq!(revision.as_u64(), 2);
        second.recv().unwrap();
    });
}
