//! Linearizability: whatever threads do to a store beside each other, there is
//! an order of their operations, one after the other, that explains every answer
//! and the state at the end, and in which no operation comes before one that
//! had returned when it was called.
//!
//! Small random histories of several shapes are recorded, and such an order is
//! searched for (`support/linear.rs`), with the model of `support/model.rs` as
//! the sequential store. A snapshot is a read of the whole state at one moment,
//! and so is each renewal of a reader handle's view; both take part, where a store
//! has them. What a watch tells is a read of the state of its revision, which may lag
//! behind commits that have not returned, and nothing else.
//!
//! `HISTORIES=100000 cargo test --release --test linearizable` looks further;
//! `-- --nocapture` tells how many histories overlapped.

// A build with fewer stores uses less of this file.
#![cfg_attr(
    not(all(
        feature = "thread-safe",
        feature = "worker",
        feature = "evmap",
        feature = "snapshot",
        feature = "versioned"
    )),
    allow(dead_code, unused_imports, unused_macros)
)]

#[macro_use]
mod support;

use std::fmt;
use std::hint::spin_loop;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use actions::{ActionPools, Extras, SHAPES, Shape};
use service_registry::RegistryStore;
use support::history::{Action, FinalState, Seen, SpecState, explain_store};
use support::linear::{Clock, Event, Log};
use support::model::{Model, ask, expect};
use support::race::together;
use support::subject::{Plain, TestedStore, Viewed, Watched};

#[path = "linearizable/actions.rs"]
mod actions;
#[path = "linearizable/checker.rs"]
mod checker;
#[path = "linearizable/wrong.rs"]
mod wrong;

const THREADS: usize = 3;
/// Histories for each store, where the environment does not ask for more.
const HISTORIES: usize = 2_000;
/// How many are recorded by threads before these end.
const AT_ONCE: usize = 100;
/// Of ten histories so many should overlap; otherwise there are more of them,
const OVERLAPPING_OF_TEN: usize = 5;
/// unless that takes longer.
const OVERTIME: Duration = Duration::from_secs(5);

fn histories() -> usize {
    let asked = std::env::var("HISTORIES").ok();
    asked.map_or(HISTORIES, |n| n.parse().expect("HISTORIES is a number"))
}

// --- one history

/// A barrier at which threads spin, so that they continue as simultaneously as possible.
struct SpinBarrier {
    threads: usize,
    arrived: AtomicUsize,
    awake: AtomicUsize,
}

impl SpinBarrier {
    /// The spins after the last arrival, until a second thread is awake.
    const SPINS: usize = 2_000;

    fn of(threads: usize) -> SpinBarrier {
        SpinBarrier {
            threads,
            arrived: AtomicUsize::new(0),
            awake: AtomicUsize::new(0),
        }
    }

    /// Waits until every thread has arrived for the `n`th time.
    fn nth(&self, n: usize) {
        self.arrived.fetch_add(1, SeqCst);
        let mut spins = 0_usize;
        while self.arrived.load(SeqCst) < self.threads * (n + 1) {
            spins += 1;
            if spins.is_multiple_of(100) {
                thread::yield_now();
            } else {
                spin_loop();
            }
        }
        // Otherwise the last thread would be done before another wakes up.
        self.awake.fetch_add(1, SeqCst);
        let two = self.threads * n + self.threads.min(2);
        for _ in 0..Self::SPINS {
            if self.awake.load(SeqCst) >= two {
                break;
            }
            spin_loop();
        }
    }
}

/// A store in some state, and the actions of each thread.
struct HistoryRun<S> {
    subject: S,
    shape: Shape,
    before: Model,
    scripts: Vec<Vec<Action>>,
    /// Whether the threads wait for each other before each call, not only before
    /// the first. So more calls overlap, and more have returned before others.
    in_step: bool,
    barrier: SpinBarrier,
    clock: Clock,
}

impl<S: TestedStore> HistoryRun<S> {
    /// Creates the `n`th run from the pools.
    fn new(subject: S, pools: &mut ActionPools, n: usize) -> HistoryRun<S> {
        let store = subject.store();
        let mut before = Model::default();
        for place in pools.draw(0..8) {
            let operation = &pools.beginnings[place];
            let answer = ask(store, operation);
            let checked_at = |key: &str| store.get_service(key).ok()?.last_health_check();
            let expected = expect(&mut before, operation, &answer, checked_at);
            assert_eq!(answer, expected, "{operation:?}");
        }
        let which = n % pools.shapes.len();
        let shape = pools.shapes[which].0;
        // As many threads as most machines have processors for, and one more.
        let threads = THREADS - (n / pools.shapes.len()) % 2;
        let scripts: Vec<Vec<Action>> = (0..threads)
            .map(|_| {
                let places = pools.draw(shape.calls());
                let pool = &pools.shapes[which].1;
                places.iter().map(|&place| pool[place].clone()).collect()
            })
            .collect();
        HistoryRun {
            subject,
            shape,
            before,
            barrier: SpinBarrier::of(scripts.len()),
            scripts,
            in_step: !n.is_multiple_of(3),
            clock: Clock::default(),
        }
    }

    /// Runs the actions of one thread, if it has any.
    fn run_thread(&self, thread: usize) -> Vec<Event<Action, S::Raw>> {
        let Some(script) = self.scripts.get(thread) else {
            return Vec::new();
        };
        let mut handle = self.subject.handle();
        let mut log = Log::new(&self.clock, thread, script.len());
        for (n, action) in script.iter().enumerate() {
            let action = action.clone();
            if n == 0 || self.in_step {
                self.barrier.nth(n);
            }
            log.call(action, |action| self.subject.perform(&mut handle, action));
        }
        log.into_events()
    }
}

// --- many histories

/// Statistics of the histories of one shape.
#[derive(Clone, Copy, Default)]
struct ShapeCounts {
    histories: usize,
    /// The histories in which two calls overlapped.
    overlapping: usize,
    /// The histories in which one of the overlapping calls was a write.
    contended: usize,
    calls: usize,
    /// The steps of the search.
    steps: usize,
    /// The steps for the history that took the most.
    most_steps: usize,
}

impl ShapeCounts {
    fn note(&mut self, history: &[Event<Action, Seen>], steps: usize) {
        let meetings = history.iter().enumerate().flat_map(|(n, own)| {
            let others = history[n + 1..].iter();
            others
                .filter(|other| own.thread != other.thread && own.overlaps(other))
                .map(|other| own.operation.writes() || other.operation.writes())
        });
        let written: Vec<bool> = meetings.collect();
        self.histories += 1;
        self.overlapping += usize::from(!written.is_empty());
        self.contended += usize::from(written.contains(&true));
        self.calls += history.len();
        self.steps += steps;
        self.most_steps = self.most_steps.max(steps);
    }
}

impl std::ops::Add for ShapeCounts {
    type Output = ShapeCounts;

    fn add(self, other: ShapeCounts) -> ShapeCounts {
        ShapeCounts {
            histories: self.histories + other.histories,
            overlapping: self.overlapping + other.overlapping,
            contended: self.contended + other.contended,
            calls: self.calls + other.calls,
            steps: self.steps + other.steps,
            most_steps: self.most_steps.max(other.most_steps),
        }
    }
}

impl fmt::Display for ShapeCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} histories, {} overlapped, {} beside a write; {} calls, {} steps of the search, {} at most",
            self.histories,
            self.overlapping,
            self.contended,
            self.calls,
            self.steps,
            self.most_steps
        )
    }
}

type CountsByShape = Vec<(Shape, ShapeCounts)>;

fn total(counts: &CountsByShape) -> ShapeCounts {
    let counts = counts.iter().map(|(_, count)| *count);
    counts.fold(ShapeCounts::default(), |sum, count| sum + count)
}

/// Records histories of stores: as many as asked for, and more until enough of
/// them overlapped, which on a busy machine may take too long. Answers with what
/// they showed, or with the first that nothing explains.
fn check<S: TestedStore>(
    make: impl Fn() -> S,
    pools: &mut ActionPools,
    histories: usize,
) -> Result<CountsByShape, String> {
    let shapes = pools.shapes.iter();
    let mut counts: CountsByShape = shapes
        .map(|(shape, _)| (*shape, ShapeCounts::default()))
        .collect();
    let end_of_overtime = Instant::now() + OVERTIME;
    let at_once = histories.min(AT_ONCE);
    let mut n = 0;
    while n < histories
        || (total(&counts).overlapping < histories * OVERLAPPING_OF_TEN / 10
            && Instant::now() < end_of_overtime)
    {
        let scenes: Vec<HistoryRun<S>> = (n..n + at_once)
            .map(|n| HistoryRun::new(make(), pools, n))
            .collect();
        n += at_once;
        let played = together(THREADS, |thread| {
            let parts = scenes.iter().map(|run| run.run_thread(thread));
            parts.collect::<Vec<_>>()
        });
        let mut played: Vec<_> = played.into_iter().map(Vec::into_iter).collect();
        for run in scenes {
            let parts = played.iter_mut();
            let history: Vec<Event<Action, Seen>> = parts
                .flat_map(|parts| parts.next().expect("a part for each scene"))
                .map(|event| event.map(S::learn))
                .collect();
            let after = FinalState::of(run.subject.store());
            let order = explain_store(&SpecState::new(run.before), &history, &after)?;
            let count = counts.iter_mut().find(|(shape, _)| *shape == run.shape);
            count
                .expect("a count for each shape")
                .1
                .note(&history, order.steps);
        }
    }
    Ok(counts)
}

/// The tests of this file record one after the other: where more threads run than
/// there are processors, hardly a call overlaps another.
static TURN: Mutex<()> = Mutex::new(());

fn every_history_has_an_order<S: TestedStore + 'static>(
    name: &'static str,
    extras: Extras,
    histories: usize,
    make: fn() -> S,
) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let times = u32::try_from(histories / HISTORIES)
        .expect("not that many")
        .max(1);
    support::within(support::PATIENCE * 2 * times, move || {
        let begun = Instant::now();
        let mut pools = ActionPools::new(&SHAPES, extras);
        match check(make, &mut pools, histories) {
            Ok(counts) => {
                for (shape, count) in &counts {
                    println!("{name}, {shape:?}: {count}");
                }
                println!("{name}: {}; {:.1?}", total(&counts), begun.elapsed());
            }
            Err(history) => panic!("{history}"),
        }
    });
}

macro_rules! linearizable {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            #[test]
            fn every_history_has_an_order() {
                let make = || crate::Plain(service_registry::$store::new());
                let (name, histories) = (stringify!($store), crate::histories());
                let extras = crate::Extras::Nothing;
                crate::every_history_has_an_order(name, extras, histories, make);
            }

            #[test]
            fn every_history_with_watches_has_an_order() {
                let make = || crate::Watched(service_registry::$store::new());
                let name = concat!(stringify!($store), " with watches");
                let extras = crate::Extras::Watches;
                crate::every_history_has_an_order(name, extras, crate::histories(), make);
            }
        }
    };
}

shared_stores!(linearizable);

/// With snapshots and reader handles besides.
mod views {
    macro_rules! linearizable {
        ($feature:literal $module:ident $store:ident $snapshot:ident $reader:ident) => {
            #[cfg(feature = $feature)]
            mod $module {
                #[test]
                fn every_history_has_an_order() {
                    let make = || crate::Viewed(service_registry::$store::new());
                    let name = concat!(stringify!($store), " with views");
                    let extras = crate::Extras::Views;
                    crate::every_history_has_an_order(name, extras, crate::histories(), make);
                }
            }
        };
    }

    viewed_stores!(linearizable);
}
