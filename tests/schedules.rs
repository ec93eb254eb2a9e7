//! Whole stores under random schedules: shuttle decides at every lock, atomic, channel
//! and start of a thread which one goes on, and each history that comes of it must have
//! an order that explains it (see `linearizable.rs`). loom tries everything, on models
//! of a few steps; this tries much of what is too large for that, more threads that do
//! more each.
//!
//!     RUSTFLAGS="--cfg shuttle" CARGO_TARGET_DIR=target/shuttle \
//!         cargo test --release --features thread-safe,worker,evmap,snapshot --test schedules
//!
//! `SCHEDULES=100000` looks further. A failure prints its schedule; with that text in
//! `SCHEDULE`, and the name of the test on the command line, it happens again.

#![cfg(shuttle)]
// A build with fewer stores uses less of this file.
#![allow(dead_code, unused_macros)]

#[macro_use]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::SystemTime;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use shuttle::rand::RngCore;
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::sync::atomic::AtomicU64 as SharedU64;
use shuttle::sync::{Mutex, MutexGuard};
use shuttle::{Config, Runner, thread};

use service_registry::{
    Batch, HealthUpdate, MemoryStore, RegistryStore, Result, Revision, ServiceStatus, StoreError,
    StoreStats,
};
use support::history::{Action, FinalState, SpecState, explain_store};
use support::linear::{Clock, Log};
use support::model::Model;
use support::random::{any_concurrent_operation, any_key};
use support::subject::{Plain, TestedStore, Viewed};
use support::views::Views;

#[path = "schedules/watches.rs"]
mod watches;

/// How large a history is.
#[derive(Clone, Copy)]
struct Size {
    threads: usize,
    /// Of each thread.
    operations: usize,
}

const LARGE: Size = Size {
    threads: 4,
    operations: 6,
};

/// What a loom model could still try all schedules of.
const SMALL: Size = Size {
    threads: 2,
    operations: 2,
};

/// Schedules for each store and scheduler, where the environment does not ask for more.
const SCHEDULES: usize = 2_000;

/// Between so many preemptions PCT looks for the fatal ones.
const DEPTH: usize = 3;

fn schedules() -> usize {
    let asked = std::env::var("SCHEDULES").ok();
    asked.map_or(SCHEDULES, |n| n.parse().expect("SCHEDULES is a number"))
}

/// What a store is asked in a history.
trait Played: TestedStore + Send + Sync + 'static {
    fn any_action() -> BoxedStrategy<Action>;
}

impl<S: RegistryStore + Send + Sync + 'static> Played for Plain<S> {
    fn any_action() -> BoxedStrategy<Action> {
        any_concurrent_operation().prop_map(Action::Ask).boxed()
    }
}

/// Beside all of that, snapshots, and a reader handle for each thread.
impl<S: Views> Played for Viewed<S> {
    fn any_action() -> BoxedStrategy<Action> {
        prop_oneof![
            3 => any_concurrent_operation().prop_map(Action::Ask),
            1 => Just(Action::Snapshot),
            1 => Just(Action::View),
            1 => any_key().prop_map(Action::Read),
        ]
        .boxed()
    }
}

/// Something for each thread to do. Drawn from shuttle's own randomness, which is part
/// of a schedule, so that a schedule that is played again meets the same operations.
fn any_scripts<P: Played>(size: Size) -> Vec<Vec<Action>> {
    let mut seed = [0; 32];
    shuttle::rand::thread_rng().fill_bytes(&mut seed);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    let script = vec(P::any_action(), size.operations);
    let tree = vec(script, size.threads).new_tree(&mut runner);
    tree.expect("nothing is filtered out").current()
}

/// One history, under the schedule that shuttle has chosen.
fn play<P: Played>(make: impl Fn() -> P, size: Size) {
    let subject = Arc::new(make());
    let scripts = any_scripts::<P>(size);
    // Neither the clock nor the references to it are shuttle's to interrupt.
    let clock = Arc::new(Clock::default());
    let players: Vec<_> = scripts
        .into_iter()
        .enumerate()
        .map(|(number, script)| {
            let (subject, clock) = (subject.clone(), clock.clone());
            thread::spawn(move || {
                let mut handle = subject.handle();
                let mut log = Log::new(&clock, number, script.len());
                for action in script {
                    log.call(action, |action| subject.perform(&mut handle, action));
                }
                log.into_events()
            })
        })
        .collect();
    // Views are looked at when all is over: each shows the moment that it was taken.
    let history: Vec<_> = players
        .into_iter()
        .flat_map(|player| player.join().expect("no operation panics"))
        .map(|event| event.map(P::learn))
        .collect();
    let rest = FinalState::of(subject.store());
    let explained = explain_store(&SpecState::new(Model::default()), &history, &rest);
    if let Err(told) = explained {
        panic!("{told}");
    }
}

// --- running schedules

fn config() -> Config {
    // How a schedule is told stays as it is by default, printed, for all tests: the
    // first in the process decides for all of them.
    let mut config = Config::new();
    // The sequential model and the search run on the stack of a thread as well.
    config.stack_size = 1 << 20;
    // That orderings weaker than `SeqCst` are taken for it: they are loom's to check.
    config.silence_warnings = true;
    config
}

/// Plays under the schedule that the environment gives, or under many.
fn try_schedules(play: impl Fn() + Copy + Send + Sync + 'static) {
    if let Ok(schedule) = std::env::var("SCHEDULE") {
        let scheduler = ReplayScheduler::new_from_encoded(&schedule);
        Runner::new(scheduler, config()).run(play);
        return;
    }
    let schedules = schedules();
    Runner::new(RandomScheduler::new(schedules), config()).run(play);
    Runner::new(PctScheduler::new(DEPTH, schedules), config()).run(play);
}

fn every_schedule_has_an_order<S: RegistryStore + Send + Sync + 'static>(make: fn() -> S) {
    try_schedules(move || play(|| Plain(make()), LARGE));
}

fn every_schedule_with_views_has_an_order<S: Views>(make: fn() -> S) {
    try_schedules(move || play(|| Viewed(make()), LARGE));
}

/// The history that nothing explains, if one is found. With a seed it is the same each
/// time.
fn unexplained<P: Played>(
    scheduler: impl Scheduler + 'static,
    make: impl Fn() -> P + Copy + Send + Sync + 'static,
    size: Size,
) -> Option<String> {
    let run = || Runner::new(scheduler, config()).run(move || play(make, size));
    let panic = catch_unwind(AssertUnwindSafe(run)).err()?;
    let told = panic.downcast_ref::<String>();
    let told = told.expect("a panic with a text that was made for it");
    assert!(told.contains("no order explains this"), "{told}");
    Some(told.clone())
}

fn is_noticed<P: Played>(
    scheduler: impl Scheduler + 'static,
    make: impl Fn() -> P + Copy + Send + Sync + 'static,
    size: Size,
) -> bool {
    unexplained(scheduler, make, size).is_some()
}

macro_rules! schedules {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            #[test]
            fn every_schedule_has_an_order() {
                crate::every_schedule_has_an_order(service_registry::$store::new);
            }

            #[test]
            fn a_closed_store_has_done_what_it_accepted_exactly_once() {
                let make = service_registry::$store::new;
                crate::a_closed_store_has_done_what_it_accepted_exactly_once(make);
            }
        }
    };
}

shared_stores!(schedules);

macro_rules! schedules_with_views {
    ($feature:literal $module:ident $store:ident $snapshot:ident $reader:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            #[test]
            fn every_schedule_with_views_has_an_order() {
                crate::every_schedule_with_views_has_an_order(service_registry::$store::new);
            }
        }
    };
}

mod viewed {
    viewed_stores!(schedules_with_views);
}

// --- stores that are wrong on purpose

const SEED: u64 = 7;
const ENOUGH: usize = 5_000;

fn both_schedulers_notice<S: RegistryStore + Send + Sync + 'static>(make: fn() -> S) {
    both_schedulers_notice_in(move || Plain(make()));
}

fn both_schedulers_notice_in<P: Played>(make: impl Fn() -> P + Copy + Send + Sync + 'static) {
    let random = RandomScheduler::new_from_seed(SEED, ENOUGH);
    assert!(is_noticed(random, make, LARGE), "by a random schedule");
    let pct = PctScheduler::new_from_seed(SEED, DEPTH, ENOUGH);
    assert!(is_noticed(pct, make, LARGE), "by PCT");
}

/// Nothing is wrong with this one.
#[derive(Default)]
struct OneLock(Mutex<MemoryStore>);

impl OneLock {
    fn inner(&self) -> MutexGuard<'_, MemoryStore> {
        self.0.lock().unwrap()
    }
}

impl RegistryStore for OneLock {
    forward_required!(self => *self.inner());
}

#[test]
fn one_lock_around_everything_has_an_order() {
    every_schedule_has_an_order(OneLock::default);
}

/// Reads the status before, and then writes the new one.
#[derive(Default)]
struct TwoSteps(OneLock);

impl RegistryStore for TwoSteps {
    fn update_health_status(
        &self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Result<HealthUpdate> {
        let before = self.0.get_service(key)?.status();
        let update = self.0.update_health_status(key, status, checked_at)?;
        Ok(match update {
            HealthUpdate::Applied { .. } => HealthUpdate::Applied { before },
            late => late,
        })
    }
    service_registry::delegate_store!(self => self.0; except update_health_status);
}

#[test]
fn a_swap_in_two_steps_is_noticed() {
    both_schedulers_notice(TwoSteps::default);
}

/// Lets go of its lock in the middle of a batch.
#[derive(Default)]
struct Torn {
    inner: Mutex<MemoryStore>,
    /// By how much the revision of `inner` is ahead.
    surplus: SharedU64,
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
        let mut commits: u64 = 0;
        for change in batch {
            let inner = self.inner();
            let before = inner.revision();
            // Another thread may have made it impossible meanwhile.
            let _ = inner.commit([change].into_iter().collect());
            commits += u64::from(inner.revision() > before);
        }
        self.surplus.fetch_add(commits.saturating_sub(1), SeqCst);
        Ok(self.revision())
    }
    fn revision(&self) -> Revision {
        let revision = self.inner().revision().as_u64();
        revision.wrapping_sub(self.surplus.load(SeqCst)).into()
    }

    forward_required!(self => *self.inner(); except commit, commit_changes, revision);
}

#[test]
fn a_torn_commit_is_noticed() {
    both_schedulers_notice(Torn::default);
}

/// Counts without a lock between reading and reading again, and takes it for one moment
/// where the revision is the same. Of which it compares two bits, so that four commits
/// look like none.
#[derive(Default)]
struct Wrapping(OneLock);

impl Wrapping {
    fn inner(&self) -> MutexGuard<'_, MemoryStore> {
        self.0.inner()
    }

    fn generation(&self) -> u64 {
        self.revision().as_u64() % 4
    }
}

impl RegistryStore for Wrapping {
    fn stats(&self) -> Result<StoreStats> {
        loop {
            let before = self.generation();
            let services = self.inner().stats()?.services;
            let subscriptions = self.inner().stats()?.subscriptions;
            if self.generation() == before {
                return Ok(StoreStats::new(services, subscriptions));
            }
        }
    }

    forward_required!(self => *self.inner(); except stats);
}

#[test]
fn a_mistake_that_takes_four_commits_is_noticed() {
    both_schedulers_notice(Wrapping::default);
}

/// What can be wrong with views; the store beneath is interrupted as above.
#[cfg(feature = "snapshot")]
mod views {
    use super::*;
    use crate::support::twin::{Fault, twin};

    #[test]
    fn without_a_fault_views_have_an_order() {
        every_schedule_with_views_has_an_order(|| twin(Fault::None));
    }

    #[test]
    fn a_view_of_two_moments_is_noticed() {
        both_schedulers_notice_in(|| Viewed(twin(Fault::TwoMoments)));
    }

    #[test]
    fn a_view_of_another_revision_is_noticed() {
        both_schedulers_notice_in(|| Viewed(twin(Fault::LateRevision)));
    }

    #[test]
    fn a_reader_that_is_late_is_noticed() {
        both_schedulers_notice_in(|| Viewed(twin(Fault::LateReader)));
    }
}

/// Why histories are larger here than a loom model could be.
#[test]
fn a_mistake_that_takes_four_commits_does_not_show_in_a_small_history() {
    let random = RandomScheduler::new_from_seed(SEED, ENOUGH);
    let wrapping = || Plain(Wrapping::default());
    assert!(!is_noticed(random, wrapping, SMALL));
    let pct = PctScheduler::new_from_seed(SEED, DEPTH, ENOUGH);
    assert!(!is_noticed(pct, wrapping, SMALL));
}

/// Fails, for [`a_schedule_that_is_printed_fails_again`].
#[test]
#[ignore = "it fails on purpose"]
fn a_torn_store_has_no_order() {
    every_schedule_has_an_order(Torn::default);
}

#[test]
fn a_schedule_that_is_printed_fails_again() {
    let run = |environment: &[(&str, &str)]| {
        let tests = std::env::current_exe().expect("this program has a path");
        let output = Command::new(tests)
            .args(["--exact", "a_torn_store_has_no_order"])
            .args(["--ignored", "--nocapture"])
            .env_remove("SCHEDULE")
            .envs(environment.iter().copied())
            .output()
            .expect("this program runs");
        assert!(!output.status.success());
        String::from_utf8(output.stderr).expect("it prints text")
    };
    let between = |text: &str, start: &str, end: &str| {
        let (_, rest) = text.split_once(start).expect(start);
        let (found, _) = rest.split_once(end).expect(end);
        found.to_string()
    };
    let history = |printed: &str| between(printed, "no order explains this", "stack backtrace");

    let seed = SEED.to_string();
    let backtrace = ("RUST_BACKTRACE", "1");
    let printed = run(&[
        ("SHUTTLE_RANDOM_SEED", &seed),
        ("SCHEDULES", "5000"),
        backtrace,
    ]);
    let schedule = between(&printed, "failing schedule:\n\"\n", "\n\"");
    let again = run(&[("SCHEDULE", &schedule), backtrace]);
    assert_eq!(history(&again), history(&printed));
}

// --- closing

/// Threads write until they are refused, and one closes the store beside them.
fn close_beside_writers<S: RegistryStore + Send + Sync + 'static>(make: fn() -> S) {
    let store = Arc::new(make());
    let writers: Vec<_> = (0..LARGE.threads)
        .map(|thread| {
            let store = store.clone();
            thread::spawn(move || {
                let answers = (0..LARGE.operations)
                    .map(|n| store.add_subscription("a:1", &format!("{thread} {n}")))
                    .collect::<Vec<_>>();
                let accepted = answers.iter().take_while(|answer| answer.is_ok()).count();
                let mut refused = answers[accepted..].iter();
                assert!(refused.all(|answer| *answer == Err(StoreError::Closed)));
                accepted as u64
            })
        })
        .collect();
    store.close().unwrap();
    let last = store.revision().as_u64();
    assert_eq!(store.ping(), Err(StoreError::Closed));
    let accepted = writers.into_iter().map(|writer| writer.join().unwrap());
    assert_eq!(accepted.sum::<u64>(), last, "{NOT_ONCE}");
}

const NOT_ONCE: &str = "an accepted operation was not done exactly once";

fn a_closed_store_has_done_what_it_accepted_exactly_once<S>(make: fn() -> S)
where
    S: RegistryStore + Send + Sync + 'static,
{
    try_schedules(move || close_beside_writers(make));
}

/// Looks whether it is closed, and then writes.
#[derive(Default)]
struct Flagged {
    inner: OneLock,
    is_closed: SharedU64,
}

impl Flagged {
    fn inner(&self) -> Result<MutexGuard<'_, MemoryStore>> {
        match self.is_closed.load(SeqCst) {
            0 => Ok(self.inner.inner()),
            _ => Err(StoreError::Closed),
        }
    }
}

impl RegistryStore for Flagged {
    fn close(&self) -> Result<()> {
        self.is_closed.store(1, SeqCst);
        Ok(())
    }
    fn revision(&self) -> Revision {
        self.inner.inner().revision()
    }

    forward_required!(self => *self.inner()?; except close, revision);
}

#[test]
fn a_write_after_closing_is_noticed() {
    for run in [
        || {
            let scheduler = RandomScheduler::new_from_seed(SEED, ENOUGH);
            Runner::new(scheduler, config()).run(|| close_beside_writers(Flagged::default));
        },
        || {
            let scheduler = PctScheduler::new_from_seed(SEED, DEPTH, ENOUGH);
            Runner::new(scheduler, config()).run(|| close_beside_writers(Flagged::default));
        },
    ] {
        let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("it goes unnoticed");
        let told = panic.downcast_ref::<String>().expect("a panic with a text");
        assert!(told.contains(NOT_ONCE), "{told}");
    }
}
