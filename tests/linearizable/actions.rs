//! What the threads of a history do: kinds of histories, and pools of actions to draw from.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use service_registry::Change;
use service_registry::changes::Selection;

use super::support::history::{Action, PollMode, change};
use super::support::model::{GROUPS, Operation, SERVICES};
use super::support::random::{
    any_change, any_concurrent_operation, any_group, any_operation, any_status, text,
};
use super::support::{at, version};

/// Operations to draw from, of each shape: a strategy is slow to make one.
pub(super) const POOL: usize = 1_000;

/// A kind of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
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

pub(super) const SHAPES: [Shape; 7] = [
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
    pub(super) fn calls(self) -> usize {
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

pub(super) const KEY: &str = "a:1";

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
pub(super) enum Extras {
    Nothing,
    Views,
    Watches,
}

/// Pools of actions for each shape, and of operations that prepare a store.
pub(super) struct ActionPools {
    runner: TestRunner,
    pub(super) beginnings: Vec<Operation>,
    pub(super) shapes: Vec<(Shape, Vec<Action>)>,
}

pub(super) fn sample<T: fmt::Debug>(
    runner: &mut TestRunner,
    strategy: &impl Strategy<Value = T>,
) -> T {
    let tree = strategy.new_tree(runner);
    tree.expect("nothing is filtered out").current()
}

impl ActionPools {
    /// One action in twelve of each shape lingers. A third of all are extras.
    pub(super) fn new(shapes: &[Shape], extras: Extras) -> ActionPools {
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
    pub(super) fn draw(&mut self, n: impl Into<prop::collection::SizeRange>) -> Vec<usize> {
        sample(&mut self.runner, &vec(0..POOL, n))
    }
}
