//! Threads and processes that end: every store in destructors of thread locals, whatever
//! their order, and in a process that ends inside of a read closure.
//!
//! A panic in a destructor of a thread local aborts the process, so each test runs in a
//! child.

// A build with fewer stores uses less of this file.
#![allow(unused_macros)]

#[macro_use]
mod support;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use service_registry::{MemoryStore, RegistryStore, Result, StoreError};
use support::thread_exit::ExitHooks;
use support::{GROUPS, KEY, child, fill_store, observe, pod};
use thread_local::ThreadLocal;

/// What a thread does while it lives. Each registers destructors of its own, which run
/// when it ends, in an order that depends on this one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// Leaves something to do for a destructor.
    Hook,
    /// The same, for the destructor of another thread local.
    AnotherHook,
    /// Uses the store, so that it has thread locals of its own here.
    Use,
    /// Uses the crates that stores use, as somebody else might.
    UseForeign,
}

/// All orders of some of the steps or all of them.
fn orders() -> Vec<Vec<Step>> {
    use Step::{AnotherHook, Hook, Use, UseForeign};
    let mut orders: Vec<Vec<Step>> = vec![vec![]];
    let mut longest = 0;
    while longest < orders.len() {
        let order = orders[longest].clone();
        longest += 1;
        for step in [Hook, AnotherHook, Use, UseForeign] {
            if !order.contains(&step) {
                orders.push(order.iter().copied().chain([step]).collect());
            }
        }
    }
    assert_eq!(orders.len(), 1 + 4 + 12 + 24 + 24);
    orders
}

thread_local! {
    static ONE: ExitHooks = const { ExitHooks::new() };
    static ANOTHER: ExitHooks = const { ExitHooks::new() };
    static HELD: ExitHooks = const { ExitHooks::new() };
}

static FOREIGN: ThreadLocal<u8> = ThreadLocal::new();

fn use_foreign() {
    FOREIGN.get_or(|| 1);
}

/// Uses a store in every way, and answers with what calls inside of a read closure do.
fn use_fully(store: &impl RegistryStore) -> [Result<()>; 4] {
    fill_store(store);
    let before = observe(store, GROUPS);
    store.save_service(pod("late", "1")).unwrap();
    store.delete_service("late:1").unwrap();
    let after = observe(store, GROUPS);
    assert_eq!(after.services, before.services);
    assert_eq!(after.revision, before.revision + 2);
    let inside = store.with_service(KEY, |_| {
        assert_eq!(store.revision().as_u64(), after.revision);
        [
            store.with_service("db:pod-2", |_| ()),
            store.stats().map(drop),
            store.save_service(pod("db", "inside")),
            store.clear(),
        ]
    });
    inside.unwrap()
}

/// Runs a thread for each order. Where a store is used, `hold` is called, and what it
/// answers with is dropped by a destructor.
fn in_every_order<S, H>(make: impl Fn() -> S + Send + Copy + 'static, hold: fn(S) -> H)
where
    S: RegistryStore + Clone + 'static,
    H: 'static,
{
    let runs = Arc::new(AtomicUsize::new(0));
    let mut expected = 0;
    let on_a_thread_that_lives_on = thread::spawn(move || use_fully(&make()));
    let answers = on_a_thread_that_lives_on.join().unwrap();
    for order in orders() {
        // The last line before the process is aborted.
        eprintln!("{order:?}");
        let hooks = [Step::Hook, Step::AnotherHook];
        expected += order.iter().filter(|step| hooks.contains(step)).count();
        let (answers, runs) = (answers.clone(), runs.clone());
        let ending = thread::spawn(move || {
            let store = make();
            for step in order {
                let (store, answers, runs) = (store.clone(), answers.clone(), runs.clone());
                let late = store.clone();
                let hook = move || {
                    // The first time may make thread locals.
                    for _ in 0..2 {
                        assert_eq!(use_fully(&late), answers);
                        drop(hold(late.clone()));
                    }
                    runs.fetch_add(1, SeqCst);
                };
                match step {
                    Step::Hook => ONE.with(|one| one.push(hook)),
                    Step::AnotherHook => ANOTHER.with(|another| another.push(hook)),
                    Step::Use => {
                        let _answers = use_fully(&store);
                        let view = hold(store.clone());
                        HELD.with(|hooks| hooks.push(|| drop(view)));
                    }
                    Step::UseForeign => use_foreign(),
                }
            }
        });
        ending.join().unwrap();
    }
    assert_eq!(runs.load(SeqCst), expected);
    child::end();
}

/// A thread ends the process inside of a read closure, and its destructors use the store.
#[allow(dead_code)] // in a build with no store that threads share
fn exit_inside<S: RegistryStore + Clone + 'static>(make: impl Fn() -> S + Send + 'static) {
    let ending = thread::spawn(move || {
        let store = make();
        // Before the store is, so that it runs after what that keeps for this thread.
        let late = store.clone();
        ONE.with(|one| {
            one.push(move || {
                for answer in [late.stats().map(drop), late.clear(), late.close()] {
                    let is_done_or_refused = matches!(answer, Ok(()) | Err(StoreError::Reentrant));
                    assert!(is_done_or_refused, "{answer:?}");
                }
            });
        });
        fill_store(&store);
        let _: Result<()> = store.with_service(KEY, |_| child::end());
    });
    ending.join().unwrap();
}

macro_rules! suite {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            use std::sync::Arc;

            use service_registry::$store;

            use crate::{child, exit_inside, in_every_order, views};

            #[test]
            fn destructors_of_thread_locals_may_use_a_store_in_any_order() {
                let name = concat!(
                    stringify!($module),
                    "::destructors_of_thread_locals_may_use_a_store_in_any_order"
                );
                child::ends(name, || {
                    in_every_order(|| Arc::new($store::new()), |_| ());
                });
            }

            #[test]
            fn destructors_may_use_a_store_that_others_use_as_well() {
                let name = concat!(
                    stringify!($module),
                    "::destructors_may_use_a_store_that_others_use_as_well"
                );
                child::ends(name, || {
                    let store: &$store = Box::leak(Box::new($store::new()));
                    in_every_order(move || store, views::$module);
                });
            }

            #[test]
            fn a_process_may_end_inside_of_a_closure() {
                let name = concat!(
                    stringify!($module),
                    "::a_process_may_end_inside_of_a_closure"
                );
                child::ends(name, || exit_inside(|| Arc::new($store::new())));
            }
        }
    };
}

shared_stores!(suite);

#[test]
fn destructors_of_thread_locals_may_use_a_memory_store_in_any_order() {
    let name = "destructors_of_thread_locals_may_use_a_memory_store_in_any_order";
    child::ends(name, || {
        in_every_order(|| Rc::new(MemoryStore::new()), |_| ());
    });
}

/// What a thread can hold of each store.
#[allow(dead_code)]
mod views {
    macro_rules! nothing {
        ($($module:ident)+) => {$(
            pub(crate) fn $module<S>(_: S) {}
        )+};
    }

    nothing!(thread_safe worker evmap);

    #[cfg(feature = "snapshot")]
    pub(crate) fn snapshot(store: &'static service_registry::SnapshotStore) -> impl Sized {
        let mut reader = store.reader();
        let seen = reader.view().clone();
        (seen, reader, store.snapshot())
    }

    #[cfg(feature = "versioned")]
    pub(crate) fn versioned(store: &'static service_registry::VersionedStore) -> impl Sized {
        let mut reader = store.reader();
        let seen = reader.view().clone();
        (seen, reader, store.snapshot(), store.pinned())
    }
}
