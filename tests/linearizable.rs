//! Linearizability: whatever threads do to a store beside each other, there is
//! an order of their operations, one after the other, that explains every answer
//! and the state at the end, and in which no operation comes before one that
//! had returned when it was called.
//!
//! Small random histories are recorded and such an order is searched for (Wing
//! and Gong, *Testing and Verifying Concurrent Objects*, 1993), with the model
//! of `support/model.rs` as the sequential store.
//!
//! `HISTORIES=100000 cargo test --release --test linearizable` looks further.

// A build with fewer stores uses less of this file.
#![cfg_attr(
    not(all(
        feature = "thread-safe",
        feature = "worker",
        feature = "evmap",
        feature = "snapshot"
    )),
    allow(dead_code, unused_macros)
)]

#[macro_use]
mod support;

use std::fmt::Write;
use std::hint::spin_loop;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use service_registry::{
    Batch, Change, MemoryStore, RegistryStore, Result, Revision, ServiceInfo, ServiceKey,
    ServiceStatus, StoreError, StoreStats,
};
use support::model::{
    Answer, Failure, GROUPS, Model, Operation, any_concurrent_operation, any_operation, ask, expect,
};
use support::race::together;
use support::{State, observe};

const THREADS: usize = 3;
/// Operations of each thread in one history.
const OPERATIONS: usize = 4;
/// Histories for each store, where the environment does not ask for more.
const HISTORIES: usize = 500;
/// Of which so many should overlap,
const OVERLAPPING: usize = 50;
/// unless that takes longer.
const OVERTIME: Duration = Duration::from_secs(2);

fn histories() -> usize {
    let asked = std::env::var("HISTORIES").ok();
    asked.map_or(HISTORIES, |n| n.parse().expect("HISTORIES is a number"))
}

/// An operation, when it was called, what it answered and when it returned.
#[derive(Debug)]
struct Event {
    called: u64,
    operation: Operation,
    answer: Result<Answer, Failure>,
    returned: u64,
}

/// A store in some state, and what threads are to do to it.
struct Scene<S> {
    store: S,
    model: Model,
    scripts: [Vec<Operation>; THREADS],
    ready: AtomicUsize,
    clock: AtomicU64,
}

impl<S: RegistryStore + Sync> Scene<S> {
    fn new(store: S, runner: &mut TestRunner) -> Scene<S> {
        let mut any = |operations: BoxedStrategy<Vec<Operation>>| {
            let tree = operations.new_tree(runner);
            tree.expect("nothing is filtered out").current()
        };
        let mut model = Model::default();
        for operation in any(vec(any_operation(), 0..12).boxed()) {
            let answer = ask(&store, &operation);
            let checked_at = |key: &str| store.get_service(key).ok()?.last_health_check();
            let expected = expect(&mut model, &operation, &answer, checked_at);
            assert_eq!(answer, expected, "{operation:?}");
        }
        Scene {
            store,
            model,
            scripts: std::array::from_fn(|_| {
                any(vec(any_concurrent_operation(), OPERATIONS).boxed())
            }),
            ready: AtomicUsize::new(0),
            clock: AtomicU64::new(0),
        }
    }

    /// The part of one thread.
    fn play(&self, thread: usize) -> Vec<Event> {
        // All begin as nearly at once as can be.
        self.ready.fetch_add(1, SeqCst);
        let mut spins = 0;
        while self.ready.load(SeqCst) < THREADS {
            spins += 1;
            if spins % 100 == 0 {
                thread::yield_now();
            } else {
                spin_loop();
            }
        }
        let operations = self.scripts[thread].iter();
        operations
            .map(|operation| {
                let called = self.clock.fetch_add(1, SeqCst);
                let answer = ask(&self.store, operation);
                let returned = self.clock.fetch_add(1, SeqCst);
                Event {
                    called,
                    operation: operation.clone(),
                    answer,
                    returned,
                }
            })
            .collect()
    }
}

/// Whether some order of what is left of the threads leads from `model` to
/// `end`, and explains every answer on the way.
fn explains(model: &Model, threads: [&[Event]; THREADS], end: &State) -> bool {
    let firsts = threads.iter().filter_map(|events| events.first());
    let Some(first_return) = firsts.map(|event| event.returned).min() else {
        return model.state() == *end;
    };
    (0..THREADS).any(|thread| {
        let Some((event, later)) = threads[thread].split_first() else {
            return false;
        };
        // Called after another had returned, it cannot come before that one.
        if event.called > first_return {
            return false;
        }
        let mut after = model.clone();
        let expected = expect(&mut after, &event.operation, &event.answer, |_| None);
        let mut left = threads;
        left[thread] = later;
        expected == event.answer && explains(&after, left, end)
    })
}

/// Whether two threads were inside the store at once.
fn overlaps(threads: &[Vec<Event>]) -> bool {
    threads.iter().enumerate().any(|(n, own)| {
        let others = threads.iter().skip(n + 1).flatten();
        others.into_iter().any(|other| {
            own.iter()
                .any(|event| event.called < other.returned && other.called < event.returned)
        })
    })
}

/// Records histories of stores: as many as asked for, and more until enough of
/// them overlapped, which on a busy machine may take too long. Answers with the
/// first that nothing explains.
fn check<S: RegistryStore + Sync>(make: fn() -> S, histories: usize) -> Result<(), String> {
    const AT_ONCE: usize = 50;
    let mut runner = TestRunner::new(ProptestConfig::default());
    let (mut recorded, mut overlapping) = (0, 0);
    let end_of_overtime = Instant::now() + OVERTIME;
    while recorded < histories || (overlapping < OVERLAPPING && Instant::now() < end_of_overtime) {
        let scenes: Vec<Scene<S>> = (0..AT_ONCE)
            .map(|_| Scene::new(make(), &mut runner))
            .collect();
        let played = together(THREADS, |thread| {
            let parts = scenes.iter().map(|scene| scene.play(thread));
            parts.collect::<Vec<_>>()
        });
        let mut played: Vec<_> = played.into_iter().map(Vec::into_iter).collect();
        for scene in &scenes {
            let threads: Vec<Vec<Event>> = played
                .iter_mut()
                .map(|parts| parts.next().expect("a part for each scene"))
                .collect();
            let end = observe(&scene.store, GROUPS);
            let parts = std::array::from_fn(|thread| &*threads[thread]);
            if !explains(&scene.model, parts, &end) {
                return Err(tell(&scene.model, &threads, &end));
            }
            recorded += 1;
            overlapping += usize::from(overlaps(&threads));
        }
    }
    Ok(())
}

fn tell(model: &Model, threads: &[Vec<Event>], end: &State) -> String {
    let mut told = format!("no order explains this.\nbefore: {:#?}\n", model.state());
    for (n, events) in threads.iter().enumerate() {
        writeln!(told, "thread {n}:").expect("a string takes every text");
        for event in events {
            writeln!(
                told,
                "  {:>3} to {:>3}  {:?}\n              {:?}",
                event.called, event.returned, event.operation, event.answer
            )
            .expect("a string takes every text");
        }
    }
    told + &format!("after: {end:#?}")
}

fn every_history_has_an_order<S: RegistryStore + Sync + 'static>(make: fn() -> S) {
    let histories = histories();
    let times = u32::try_from(histories / HISTORIES)
        .expect("not that many")
        .max(1);
    support::within(support::PATIENCE * times, move || {
        check(make, histories).unwrap_or_else(|history| panic!("{history}"));
    });
}

macro_rules! linearizable {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            #[test]
            fn every_history_has_an_order() {
                crate::every_history_has_an_order(service_registry::$store::new);
            }
        }
    };
}

shared_stores!(linearizable);

// --- the search can fail

#[test]
fn a_history_without_an_order_is_noticed() {
    let event = |called, operation, answer, returned| Event {
        called,
        operation,
        answer: Ok(answer),
        returned,
    };
    let change = Change::SaveService(support::pod("a", "1"));
    let saved = event(0, Operation::Change(change.clone()), Answer::Done, 3);
    let mut end = Model::default();
    end.change(&change).unwrap();
    // Asked while the record is being saved, and again when that has returned.
    let explained = |first, second| {
        let asked = [
            event(1, Operation::Revision, Answer::Revision(first), 2),
            event(4, Operation::Revision, Answer::Revision(second), 5),
        ];
        let threads = [std::slice::from_ref(&saved), &asked, &[]];
        explains(&Model::default(), threads, &end.state())
    };
    assert!(explained(0, 1));
    assert!(explained(1, 1));
    assert!(!explained(0, 0), "a write that had returned was not seen");
    assert!(!explained(1, 0), "a reader went backwards");
    assert!(!explained(0, 2), "a change was counted twice");
    // What is left at the end counts as well.
    let threads = [std::slice::from_ref(&saved), &[], &[]];
    assert!(!explains(
        &Model::default(),
        threads,
        &Model::default().state()
    ));
}

/// Applies the changes of a batch one by one.
#[derive(Default)]
struct Torn {
    inner: Mutex<MemoryStore>,
    /// By how much the revision of `inner` is ahead.
    surplus: AtomicU64,
}

impl Torn {
    fn inner(&self) -> MutexGuard<'_, MemoryStore> {
        self.inner.lock().unwrap()
    }
}

impl RegistryStore for Torn {
    fn commit(&self, batch: Batch) -> Result<Revision> {
        let mut refused = batch.clone();
        refused.delete_service("nobody:has-this-key");
        let refused = self.inner().commit(refused);
        match refused {
            Err(StoreError::BatchRejected { index, .. }) if index == batch.len() => {}
            other => return other,
        }
        let mut commits = 0;
        for change in batch {
            let inner = self.inner();
            let before = inner.revision();
            // Another thread may have made it impossible meanwhile.
            let _ = inner.commit([change].into_iter().collect());
            commits += u64::from(inner.revision() > before);
            drop(inner);
            thread::yield_now();
        }
        self.surplus.fetch_add(commits.saturating_sub(1), SeqCst);
        Ok(self.revision())
    }
    fn revision(&self) -> Revision {
        let revision = self.inner().revision().as_u64();
        revision.wrapping_sub(self.surplus.load(SeqCst)).into()
    }
    forward_required!(writes self => self.inner());
    forward_required!(reads self => self.inner());
}

#[test]
fn a_torn_commit_is_noticed() {
    support::within(support::PATIENCE, || {
        assert!(check(Torn::default, 5 * HISTORIES).is_err());
    });
}

/// Swaps and takes in two steps, as the provided methods do.
#[derive(Default)]
struct TwoSteps(Mutex<MemoryStore>);

impl TwoSteps {
    fn inner(&self) -> MutexGuard<'_, MemoryStore> {
        thread::yield_now();
        self.0.lock().unwrap()
    }
}

impl RegistryStore for TwoSteps {
    fn revision(&self) -> Revision {
        self.inner().revision()
    }
    fn commit(&self, batch: Batch) -> Result<Revision> {
        self.inner().commit(batch)
    }
    forward_required!(writes self => self.inner());
    forward_required!(reads self => self.inner());
}

#[test]
fn a_swap_in_two_steps_is_noticed() {
    support::within(support::PATIENCE, || {
        assert!(check(TwoSteps::default, 5 * HISTORIES).is_err());
    });
}

/// One lock around everything: nothing to notice.
#[derive(Default)]
struct OneLock(Mutex<MemoryStore>);

impl OneLock {
    fn inner(&self) -> MutexGuard<'_, MemoryStore> {
        thread::yield_now();
        self.0.lock().unwrap()
    }
}

impl RegistryStore for OneLock {
    fn revision(&self) -> Revision {
        self.inner().revision()
    }
    fn commit(&self, batch: Batch) -> Result<Revision> {
        self.inner().commit(batch)
    }
    fn swap_health_status(
        &self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Result<ServiceStatus> {
        self.inner().swap_health_status(key, status, checked_at)
    }
    fn take_service(&self, key: &str) -> Result<ServiceInfo> {
        self.inner().take_service(key)
    }
    forward_required!(writes self => self.inner());
    forward_required!(reads self => self.inner());
}

#[test]
fn one_lock_around_everything_has_an_order() {
    every_history_has_an_order(OneLock::default);
}
