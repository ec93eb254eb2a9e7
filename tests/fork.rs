//! What a store does in a child process made by `fork`, as `docs/guide.md` says.
//!
//! A child has one thread, the one that forked, and any lock that another thread held
//! stays locked. A child here does little, ends by `_exit`, tells its answer by its code,
//! and is killed if it does not end.

#![cfg(unix)]
// A build with fewer stores uses less of this file.
#![allow(dead_code, unused_macros)]

#[macro_use]
mod support;

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use service_registry::{RegistryStore, StoreError};
use support::{CALLS, GROUPS, KEY, fill_store, observe, pod};

/// How often a test forks beside busy threads.
const FORKS: usize = 100;

/// How long a child may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Forks, so that there are two of `store`. The child runs `check` on its own, which must
/// answer that all is well, and ends; this process goes on with the other.
#[track_caller]
#[allow(unsafe_code)]
fn in_a_fork<S>(store: S, check: impl FnOnce(S) -> bool) -> S {
    // SAFETY: the child of a process with threads may call what is safe in a signal
    // handler, and the C libraries that these tests run on keep their allocators usable
    // besides. `check` calls a store, which is what is under test, and does not print.
    let forked = unsafe { fork() }.unwrap();
    let child = match forked {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let code = i32::from(!check(store));
            // SAFETY: it runs nothing and returns to nobody.
            unsafe { nix::libc::_exit(code) }
        }
    };
    let begin = Instant::now();
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)).unwrap() {
            WaitStatus::StillAlive if begin.elapsed() < LIMIT => {
                thread::sleep(Duration::from_millis(1));
            }
            WaitStatus::StillAlive => {
                kill(child, Signal::SIGKILL).unwrap();
                waitpid(child, None).unwrap();
                panic!("a forked child hangs");
            }
            WaitStatus::Exited(_, 0) => return store,
            ended => panic!("a forked child did not answer as it should: {ended:?}"),
        }
    }
}

/// Runs `forks` beside threads that read and write the store all the time.
fn beside_busy_threads<S: RegistryStore + Sync>(store: &S, forks: impl FnOnce()) {
    /// Ends the threads, also where a fork fails the test.
    struct Over<'a>(&'a AtomicBool);

    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }

    let is_over = &AtomicBool::new(false);
    thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for n in 0.. {
                    if is_over.load(Relaxed) {
                        break;
                    }
                    store
                        .save_service(pod("busy", &(n % 100).to_string()))
                        .unwrap();
                    store.add_subscription(KEY, &format!("{thread}")).unwrap();
                    store
                        .remove_subscription(KEY, &format!("{thread}"))
                        .unwrap();
                    store.get_service(KEY).unwrap();
                }
            });
        }
        let _over = Over(is_over);
        forks();
    });
}

/// Nobody else is inside of the store when this thread forks.
fn a_child_of_a_quiet_fork_has_a_copy(store: impl RegistryStore) {
    fill_store(&store);
    let before = observe(&store, GROUPS);
    let store = in_a_fork(store, |store| {
        let is_whole = observe(&store, GROUPS) == before;
        let is_open = CALLS.iter().all(|(_, call)| {
            let answer = call(&store);
            matches!(answer, Ok(()) | Err(StoreError::NotFound(_)))
        });
        let was_written = store.revision().as_u64() > before.revision;
        let is_closed = store.close().is_ok() && store.ping() == Err(StoreError::Closed);
        drop(store);
        is_whole && is_open && was_written && is_closed
    });
    assert_eq!(observe(&store, GROUPS), before);
    store.clear().unwrap();
    store.close().unwrap();
}

/// A child that was forked beside busy threads reads; a lock that one of them held would
/// never be given back.
fn a_child_reads_whatever_others_did_at_the_fork(store: impl RegistryStore + Sync) {
    fill_store(&store);
    // Each thread of an `EvmapStore` has a handle after its first read.
    let seen = store.get_service(KEY).unwrap();
    beside_busy_threads(&store, || {
        for _ in 0..FORKS {
            in_a_fork(&store, |store| {
                (0..100).all(|_| {
                    let revision = store.revision();
                    store.get_service(KEY).as_ref() == Ok(&seen)
                        && store.with_service(KEY, |record| *record == seen) == Ok(true)
                        && store.get_services_by_name("db").map(|pods| pods.len()) == Ok(2)
                        && store.revision() == revision
                })
            });
        }
    });
}

/// A forked child has the random keys of its parent. A cursor of its next store is not taken for
/// one of the parent's next store.
#[test]
fn stores_that_parent_and_child_open_are_two_stores() {
    use service_registry::MemoryStore;
    use service_registry::changes::Selection;
    use std::io::{Read, Write};

    let cursor = || {
        let watch = MemoryStore::new().watch(Selection::All);
        watch.unwrap().cursor().to_string()
    };
    // Has the keys of this thread made.
    let first = cursor();
    let (mut read, mut write) = std::io::pipe().unwrap();
    in_a_fork((), |()| write.write_all(cursor().as_bytes()).is_ok());
    drop(write);
    let mut of_child = String::new();
    read.read_to_string(&mut of_child).unwrap();
    assert_eq!(of_child.len(), first.len());
    assert_ne!(of_child, cursor());
}

#[test]
fn a_memory_store_is_copied() {
    a_child_of_a_quiet_fork_has_a_copy(service_registry::MemoryStore::new());
}

#[cfg(feature = "thread-safe")]
#[test]
fn a_thread_safe_store_is_copied_by_a_quiet_fork() {
    a_child_of_a_quiet_fork_has_a_copy(service_registry::ThreadSafeMemoryStore::new());
}

macro_rules! lock_free {
    ($feature:literal $module:ident $store:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            use service_registry::$store;

            #[test]
            fn a_store_is_copied_by_a_quiet_fork() {
                super::a_child_of_a_quiet_fork_has_a_copy($store::new());
            }

            #[test]
            fn a_child_reads_whatever_others_did_at_the_fork() {
                super::a_child_reads_whatever_others_did_at_the_fork($store::new());
            }
        }
    };
}

lock_free! { "evmap" evmap EvmapStore }
lock_free! { "snapshot" snapshot SnapshotStore }
lock_free! { "versioned" versioned VersionedStore }

#[cfg(feature = "worker")]
mod worker {
    use super::*;
    use service_registry::WorkerStore;
    use service_registry::changes::LogOptions;
    use support::WATCHES;

    /// Every call, and the end of the store.
    fn is_closed(store: WorkerStore, revision: Option<u64>) -> bool {
        let is_refused = CALLS
            .iter()
            .chain(WATCHES)
            .all(|(_, call)| call(&store) == Err(StoreError::Closed));
        let is_read = store.with_service(KEY, |_| ()) == Err(StoreError::Closed);
        let is_last = revision.is_none_or(|revision| store.revision().as_u64() == revision);
        let is_closed = store.close().is_ok() && store.close().is_ok();
        let is_shown = format!("{store:?}").contains("WorkerStore");
        drop(store);
        is_refused && is_read && is_last && is_closed && is_shown
    }

    #[test]
    fn a_worker_store_is_closed_in_a_forked_child() {
        for length in [0, 1024, usize::MAX] {
            let store = WorkerStore::with_queue(length, LogOptions::default());
            fill_store(&store);
            let before = observe(&store, GROUPS);
            let store = in_a_fork(store, |store| is_closed(store, Some(before.revision)));
            assert_eq!(observe(&store, GROUPS), before);
            store.clear().unwrap();
            store.close().unwrap();
            // One that was closed before stays closed.
            let store = in_a_fork(store, |store| is_closed(store, None));
            assert_eq!(store.ping(), Err(StoreError::Closed));
        }
    }

    #[test]
    fn a_worker_store_is_closed_in_a_child_whatever_others_did_at_the_fork() {
        let store = WorkerStore::with_queue(1, LogOptions::default());
        fill_store(&store);
        beside_busy_threads(&store, || {
            for _ in 0..FORKS {
                in_a_fork(&store, |store| {
                    let is_refused = store.ping() == Err(StoreError::Closed);
                    is_refused && store.revision() == store.revision() && store.close().is_ok()
                });
            }
        });
    }

    /// Dropping it waits for nobody either, and takes no lock that somebody else held.
    #[test]
    #[allow(unsafe_code)]
    fn a_worker_store_drops_in_a_child_whatever_others_did_at_the_fork() {
        let store = WorkerStore::with_queue(1, LogOptions::default());
        fill_store(&store);
        beside_busy_threads(&store, || {
            for _ in 0..FORKS {
                in_a_fork(&store, |store| {
                    // SAFETY: a child has no other thread, and does not come back to the
                    // store that this is a copy of.
                    drop(unsafe { std::ptr::read(store) });
                    true
                });
            }
        });
    }

    #[test]
    fn a_child_may_open_a_worker_store_of_its_own() {
        in_a_fork(WorkerStore::new(), |inherited| {
            let own = WorkerStore::new();
            fill_store(&own);
            own.stats().is_ok() && own.close().is_ok() && inherited.ping().is_err()
        });
    }
}
