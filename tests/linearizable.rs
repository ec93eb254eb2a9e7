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

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use service_registry::changes::Selection;
use service_registry::{Change, RegistryStore};
use support::history::{Action, FinalState, PollMode, Seen, SpecState, change, explain_store};
use support::linear::{Clock, Event, Log};
use support::model::{GROUPS, Model, Operation, SERVICES, ask, expect};
use support::race::together;
use support::random::{
    any_change, any_concurrent_operation, any_group, any_operation, any_status, text,
};
use support::subject::{Plain, TestedStore, Viewed, Watched};
use support::{at, version};

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
/// Operations to draw from, of each shape: a strategy is slow to make one.
const POOL: usize = 1_000;

fn histories() -> usize {
    let asked = std::env::var("HISTORIES").ok();
    asked.map_or(HISTORIES, |n| n.parse().expect("HISTORIES is a number"))
}

// --- what threads do

/// A kind of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Everything, malformed names and `clear` included.
    Mixed,
    /// One record is written and read in every way.
    OneKey,
    /// Pods move between services in batches, beside scans.
    BatchesAndScans,
    /// Pods register and leave, with their subscriptions.
    Registrations,
    /// Subscribers come and go, beside those who ask for them.
    Subscriptions,
    /// The store is closed in the middle.
    Closing,
    /// As `Mixed`, with many calls.
    Long,
}

const SHAPES: [Shape; 7] = [
    Shape::Mixed,
    Shape::OneKey,
    Shape::BatchesAndScans,
    Shape::Registrations,
    Shape::Subscriptions,
    Shape::Closing,
    Shape::Long,
];

impl Shape {
    /// Calls of each thread.
    fn calls(self) -> usize {
        match self {
            Shape::Long => 12,
            Shape::OneKey => 5,
            _ => 4,
        }
    }

    fn actions(self) -> BoxedStrategy<Action> {
        let operation = |operation: Operation| Action::Ask(operation);
        match self {
            Shape::Mixed | Shape::Long => any_concurrent_operation().prop_map(operation).boxed(),
            Shape::OneKey => any_action_on_one_key().boxed(),
            Shape::BatchesAndScans => any_batch_or_scan().boxed(),
            Shape::Registrations => any_registration().boxed(),
            Shape::Subscriptions => any_subscription().boxed(),
            Shape::Closing => prop_oneof![
                1 => Just(Action::Close),
                7 => any_concurrent_operation().prop_map(operation),
                2 => any_registration(),
            ]
            .boxed(),
        }
    }
}

const KEY: &str = "a:1";

fn ask_all() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Ask(Operation::All)),
        Just(Action::Ask(Operation::Stats)),
        Just(Action::Ask(Operation::Revision)),
    ]
}

fn any_action_on_one_key() -> impl Strategy<Value = Action> {
    let key = || String::from(KEY);
    prop_oneof![
        4 => (0_u64..3).prop_map(|n| change(Change::SaveService(version("a", "1", n)))),
        1 => Just(change(Change::DeleteService { key: KEY.into() })),
        3 => (any_status(), 0_u64..3).prop_map(|(status, moment)| {
            change(Change::UpdateHealthStatus {
                key: KEY.into(),
                status,
                checked_at: at(moment),
            })
        }),
        3 => (any_status(), 0_u64..3)
            .prop_map(move |(status, moment)| Action::Ask(Operation::Swap(key(), status, moment))),
        1 => Just(Action::Ask(Operation::Take(key()))),
        5 => Just(Action::Ask(Operation::Get(key()))),
        2 => Just(Action::Ask(Operation::With(key()))),
        2 => Just(Action::Ask(Operation::Visit(key()))),
        2 => ask_all(),
    ]
}

fn any_batch_or_scan() -> impl Strategy<Value = Action> {
    // A pod that is in one of two services, and each time of another version.
    let moves = (0_usize..2, 0_u64..4, any::<bool>()).prop_map(|(to, n, subscribe)| {
        let (to, from) = (SERVICES[to], SERVICES[1 - to]);
        let mut changes = vec![
            Change::SaveService(version(to, "1", n)),
            // Whether it was there or not.
            Change::SaveService(version(from, "1", n)),
            Change::DeleteService {
                key: format!("{from}:1").into(),
            },
        ];
        if subscribe {
            changes.extend([
                Change::AddSubscription {
                    subscriber_key: format!("{to}:1").into(),
                    service_group: "g".into(),
                },
                Change::RemoveAllSubscriptions {
                    subscriber_key: format!("{from}:1").into(),
                },
            ]);
        }
        Action::Ask(Operation::Commit(changes))
    });
    prop_oneof![
        5 => moves,
        2 => vec(any_change(), 2..6).prop_map(|changes| Action::Ask(Operation::Commit(changes))),
        4 => ask_all(),
        3 => text(&SERVICES).prop_map(|name| Action::Ask(Operation::ByName(name))),
        2 => Just(Action::Ask(Operation::SubscriberServices("g".into()))),
    ]
}

fn any_registration() -> impl Strategy<Value = Action> {
    let pod = || (text(&SERVICES), text(&["1", "2"]));
    prop_oneof![
        5 => (pod(), vec(text(GROUPS), 0..3)).prop_map(|((service, pod), groups)| {
            Action::Ask(Operation::Register(service, pod, groups))
        }),
        3 => pod().prop_map(|(service, pod)| Action::Ask(Operation::Unregister(service, pod))),
        2 => pod()
            .prop_map(|(service, pod)| Action::Ask(Operation::Get(format!("{service}:{pod}")))),
        2 => any_group().prop_map(|group| Action::Ask(Operation::Subscribers(group))),
        2 => any_group().prop_map(|group| Action::Ask(Operation::SubscriberServices(group))),
        2 => ask_all(),
    ]
}

fn any_subscription() -> impl Strategy<Value = Action> {
    let key = || text(&["a:1", "b:1", "b:2"]).prop_map(Box::<str>::from);
    let group = || text(&["g", "h"]).prop_map(Box::<str>::from);
    prop_oneof![
        5 => (key(), group()).prop_map(|(subscriber_key, service_group)| {
            change(Change::AddSubscription { subscriber_key, service_group })
        }),
        3 => (key(), group()).prop_map(|(subscriber_key, service_group)| {
            change(Change::RemoveSubscription { subscriber_key, service_group })
        }),
        2 => key().prop_map(|subscriber_key| {
            change(Change::RemoveAllSubscriptions { subscriber_key })
        }),
        3 => (text(&["1", "2"]), 0_u64..3)
            .prop_map(|(pod, n)| change(Change::SaveService(version("b", &pod, n)))),
        1 => text(&["b:1", "b:2"]).prop_map(|key| Action::Ask(Operation::Take(key))),
        4 => text(&["g", "h"]).prop_map(|group| Action::Ask(Operation::Subscribers(group))),
        3 => text(&["g", "h"]).prop_map(|group| Action::Ask(Operation::SubscriberServices(group))),
        2 => Just(Action::Ask(Operation::Stats)),
        1 => Just(Action::Ask(Operation::Revision)),
    ]
}

/// Reads by way of snapshots and reader handles.
fn any_view() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => Just(Action::Snapshot),
        2 => Just(Action::View),
        2 => Just(Action::Read(KEY.into())),
    ]
}

/// Reads by way of watches.
fn any_poll() -> impl Strategy<Value = Action> {
    let selection = select(vec![
        Selection::All,
        Selection::All,
        Selection::service("a"),
        Selection::pod(KEY),
        Selection::group("g"),
    ]);
    let how = select(vec![
        PollMode::All,
        PollMode::All,
        PollMode::Commit,
        PollMode::Resumed,
    ]);
    (selection, how).prop_map(|(selection, how)| Action::Poll(selection, how))
}

/// Further actions of the threads, besides those of the shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extras {
    Nothing,
    Views,
    Watches,
}

/// Pools of actions for each shape, and of operations that prepare a store.
struct ActionPools {
    runner: TestRunner,
    beginnings: Vec<Operation>,
    shapes: Vec<(Shape, Vec<Action>)>,
}

fn sample<T: fmt::Debug>(runner: &mut TestRunner, strategy: &impl Strategy<Value = T>) -> T {
    let tree = strategy.new_tree(runner);
    tree.expect("nothing is filtered out").current()
}

impl ActionPools {
    /// One action in twelve of each shape lingers. A third of all are extras.
    fn new(shapes: &[Shape], extras: Extras) -> ActionPools {
        let mut runner = TestRunner::new(ProptestConfig::default());
        let beginnings = any_operation();
        let beginnings = (0..POOL)
            .map(|_| sample(&mut runner, &beginnings))
            .collect();
        let shapes = shapes
            .iter()
            .map(|&shape| {
                let linger = text(&[KEY, "b:1"]).prop_map(Action::Linger);
                let plain = prop_oneof![11 => shape.actions(), 1 => linger].boxed();
                let actions = match extras {
                    Extras::Nothing => plain,
                    Extras::Views => prop_oneof![2 => plain, 1 => any_view()].boxed(),
                    Extras::Watches => prop_oneof![2 => plain, 1 => any_poll()].boxed(),
                };
                let pool = (0..POOL).map(|_| sample(&mut runner, &actions));
                (shape, pool.collect())
            })
            .collect();
        ActionPools {
            runner,
            beginnings,
            shapes,
        }
    }

    /// Draws random indexes of a pool.
    fn draw(&mut self, n: impl Into<prop::collection::SizeRange>) -> Vec<usize> {
        sample(&mut self.runner, &vec(0..POOL, n))
    }
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
