//! The search itself: histories written by hand, and a plain search that it has
//! to agree with.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use service_registry::{Change, MemoryStore, RegistryStore, ServiceInfo, StoreError};

use super::actions::{KEY, sample};
use crate::support;
use crate::support::history::{
    Action, FinalState, Seen, Sequential, SpecState, change, explain_store,
};
use crate::support::linear::{Clock, Event, Log, Specification, explain};
use crate::support::model::{Answer, Model, Operation};
use crate::support::{at, pod, registration};

// --- an object with few rules

/// A number.
struct Register;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Read,
    Write(u8),
    /// Adds, and answers with the sum.
    Add(u8),
}

use Call::{Add, Read, Write};

impl Specification for Register {
    type State = u8;
    type Operation = Call;
    type Answer = u8;

    fn step(state: &u8, event: &Event<Call, u8>) -> Option<u8> {
        let (expected, after) = match &event.operation {
            Read => (*state, *state),
            Write(value) => (*value, *value),
            Add(value) => (state.wrapping_add(*value), state.wrapping_add(*value)),
        };
        let answer = event.answer();
        answer
            .is_none_or(|answer| *answer == expected)
            .then_some(after)
    }

    fn only_reads(event: &Event<Call, u8>) -> bool {
        event.operation == Read
    }
}

type History = Vec<Event<Call, u8>>;

/// A history of calls that have returned:
/// `(thread, called, operation, answer, returned)`.
fn returned(calls: &[(usize, u64, Call, u8, u64)]) -> History {
    let event = |&(thread, called, operation, answer, returned)| Event {
        thread,
        called,
        operation,
        outcome: Some((answer, returned)),
    };
    calls.iter().map(event).collect()
}

fn lost(thread: usize, called: u64, operation: Call) -> Event<Call, u8> {
    Event {
        thread,
        called,
        operation,
        outcome: None,
    }
}

fn explained(history: &History) -> bool {
    explain::<Register>(&0, history, |_| true).is_ok()
}

#[test]
fn one_thread_has_one_order() {
    let told = |second| returned(&[(0, 0, Write(1), 1, 1), (0, 2, Read, second, 3)]);
    assert!(explained(&told(1)));
    assert!(!explained(&told(0)), "a thread did not see its own write");
    assert!(explained(&History::new()));
    assert!(explained(&returned(&[(0, 0, Read, 0, 1)])));
    assert!(
        !explained(&returned(&[(0, 0, Read, 7, 1)])),
        "out of thin air"
    );
}

#[test]
fn a_read_beside_a_write_sees_either() {
    for seen in [0, 1] {
        let beside = returned(&[(0, 0, Write(1), 1, 3), (1, 1, Read, seen, 2)]);
        assert!(explained(&beside));
    }
}

#[test]
fn a_read_after_a_write_sees_it() {
    let after = |seen| returned(&[(0, 0, Write(1), 1, 1), (1, 2, Read, seen, 3)]);
    assert!(explained(&after(1)));
    assert!(!explained(&after(0)), "a stale read");
}

#[test]
fn a_read_before_a_write_does_not_see_it() {
    let before = |seen| returned(&[(1, 0, Read, seen, 1), (0, 2, Write(1), 1, 3)]);
    assert!(explained(&before(0)));
    assert!(!explained(&before(1)), "a read of the future");
}

#[test]
fn what_one_reader_saw_another_does_not_miss() {
    let two = |first, second| {
        returned(&[
            (0, 0, Write(1), 1, 9),
            (1, 1, Read, first, 2),
            (2, 3, Read, second, 4),
        ])
    };
    assert!(explained(&two(0, 0)));
    assert!(explained(&two(0, 1)));
    assert!(explained(&two(1, 1)));
    assert!(!explained(&two(1, 0)), "new, then old");
    // Beside each other they may.
    let beside = returned(&[
        (0, 0, Write(1), 1, 9),
        (1, 1, Read, 1, 3),
        (2, 2, Read, 0, 4),
    ]);
    assert!(explained(&beside));
}

#[test]
fn readers_agree_on_the_order_of_writes() {
    let seen = |one: [u8; 2], other: [u8; 2]| {
        returned(&[
            (0, 0, Write(1), 1, 9),
            (1, 1, Write(2), 2, 10),
            (2, 2, Read, one[0], 3),
            (2, 5, Read, one[1], 6),
            (3, 2, Read, other[0], 4),
            (3, 5, Read, other[1], 7),
        ])
    };
    assert!(explained(&seen([1, 2], [1, 2])));
    assert!(explained(&seen([2, 1], [2, 1])));
    assert!(!explained(&seen([1, 2], [2, 1])));
}

#[test]
fn no_update_is_lost() {
    let sums = |one, other| returned(&[(0, 0, Add(1), one, 2), (1, 1, Add(1), other, 3)]);
    assert!(explained(&sums(1, 2)));
    assert!(explained(&sums(2, 1)));
    assert!(!explained(&sums(1, 1)), "a lost update");
    assert!(!explained(&sums(2, 2)));
}

/// A write that does nothing now may be needed later: it is no read.
#[test]
fn a_write_of_the_same_value_may_come_later() {
    let history = returned(&[
        (0, 0, Write(0), 0, 9),
        (1, 1, Write(1), 1, 2),
        (1, 3, Read, 0, 4),
    ]);
    assert!(explained(&history));
}

#[test]
fn a_call_that_has_not_returned_came_or_not() {
    let then = |reads: [u8; 2]| {
        let mut history = returned(&[(1, 1, Read, reads[0], 2), (1, 3, Read, reads[1], 4)]);
        history.push(lost(0, 0, Write(1)));
        history
    };
    assert!(explained(&then([0, 0])));
    assert!(explained(&then([0, 1])));
    assert!(explained(&then([1, 1])));
    assert!(!explained(&then([1, 0])), "it came and went");
    // Not before it was called.
    let mut early = returned(&[(1, 0, Read, 1, 1)]);
    early.push(lost(0, 2, Write(1)));
    assert!(!explained(&early));
    // The state at the end tells, too.
    let lone = vec![lost(0, 0, Write(1))];
    for end in [0, 1] {
        assert!(explain::<Register>(&0, &lone, |state| *state == end).is_ok());
    }
    assert!(explain::<Register>(&0, &lone, |state| *state == 2).is_err());
}

#[test]
fn the_state_at_the_end_counts() {
    let history = returned(&[(0, 0, Write(1), 1, 3), (1, 1, Write(2), 2, 4)]);
    let ends_as = |end| explain::<Register>(&0, &history, |state| *state == end).is_ok();
    assert!(ends_as(1));
    assert!(ends_as(2));
    assert!(!ends_as(0), "both writes were lost");
}

#[test]
fn an_order_is_one_that_explains() {
    let history = returned(&[
        (0, 0, Write(1), 1, 5),
        (1, 1, Read, 0, 2),
        (1, 3, Read, 1, 4),
    ]);
    let order = explain::<Register>(&0, &history, |_| true).unwrap();
    assert_eq!(order.places, [1, 0, 2]);
    let unexplained = explain::<Register>(&0, &history, |state| *state == 9).unwrap_err();
    assert_eq!(unexplained.furthest, [1, 0, 2]);
}

/// Twelve calls in any order: 479,001,600 orders, and 4,096 sets of calls.
#[test]
fn the_same_set_of_calls_is_looked_at_once() {
    // A search that forgets does not end.
    support::within(support::PATIENCE, || {
        let writes = (0..12).map(|thread| (thread, 0, Write(1), 1, 99));
        let impossible = (0, 100, Read, 7, 101);
        let history = returned(&writes.chain([impossible]).collect::<Vec<_>>());
        let steps = explain::<Register>(&0, &history, |_| true)
            .unwrap_err()
            .steps;
        assert!(steps < 12 * 4_096, "{steps} steps");
    });
}

// --- the plain search

/// Tries every order, and knows nothing else.
fn explained_plainly(state: u8, left: &[Event<Call, u8>], end: u8) -> bool {
    let end_of = |event: &Event<Call, u8>| event.outcome.map_or(u64::MAX, |(_, at)| at);
    if state == end && left.iter().all(|event| event.outcome.is_none()) {
        return true;
    }
    (0..left.len()).any(|n| {
        let mut later = left.to_vec();
        let event = later.remove(n);
        let in_time = later.iter().all(|other| end_of(other) > event.called);
        in_time
            && Register::step(&state, &event)
                .is_some_and(|after| explained_plainly(after, &later, end))
    })
}

/// A history that could be one: intervals of up to three threads, with answers
/// that some order gave, of which one may be changed.
fn any_history() -> impl Strategy<Value = (History, u8)> {
    let call = prop_oneof![
        3 => Just(Read),
        3 => (0_u8..3).prop_map(Write),
        1 => Just(Add(1)),
    ];
    let calls = proptest::collection::vec((0_usize..3, call, 0_u8..4, any::<bool>()), 1..7);
    (calls, 0_u8..4).prop_map(|(calls, end)| {
        // Each call begins when it is drawn; one of the same thread has returned
        // by then.
        let mut clock = 0;
        let mut tick = || {
            clock += 1;
            clock
        };
        let mut history = History::new();
        for (thread, operation, answer, soon) in calls {
            let returned = tick();
            for open in &mut history {
                let own = open.thread == thread;
                if let Some((_, at)) = open.outcome.as_mut()
                    && *at == u64::MAX
                    && own
                {
                    *at = returned;
                }
            }
            let answer = match operation {
                Write(value) => value,
                Read | Add(_) => answer,
            };
            let called = tick();
            let at = if soon { tick() } else { u64::MAX };
            history.push(Event {
                thread,
                called,
                operation,
                outcome: Some((answer, at)),
            });
        }
        // What has not ended never does, or does at last.
        for open in &mut history {
            match open.outcome {
                Some((answer, u64::MAX)) if answer % 2 == 0 => {
                    open.outcome = Some((answer, tick()));
                }
                Some((_, u64::MAX)) => open.outcome = None,
                _ => {}
            }
        }
        (history, end)
    })
}

#[test]
fn it_agrees_with_a_search_that_tries_every_order() {
    let mut runner = TestRunner::new(ProptestConfig::default());
    let histories = any_history();
    let (mut yes, mut no) = (0, 0);
    for _ in 0..3_000 {
        let (history, end) = sample(&mut runner, &histories);
        let found = explain::<Register>(&0, &history, |state| *state == end);
        let expected = explained_plainly(0, &history, end);
        assert_eq!(found.is_ok(), expected, "{history:#?}\nto {end}");
        yes += usize::from(expected);
        no += usize::from(!expected);
    }
    println!("{yes} histories with an order, {no} without");
    assert!(yes > 100 && no > 100, "{yes} with an order, {no} without");
}

// --- recording

#[test]
fn a_log_tells_what_was_called_and_when() {
    let clock = Clock::default();
    let (mut one, mut other) = (Log::new(&clock, 0, 2), Log::new(&clock, 1, 1));
    one.call(Write(1), |_| {
        other.call(Read, |_| 0);
        1
    });
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        one.call(Write(2), |_| {
            std::panic::resume_unwind(Box::new("on purpose"))
        });
    }));
    assert!(panicked.is_err());
    one.call(Read, |_| 1);
    let (one, other) = (one.into_events(), other.into_events());
    assert!(one[0].overlaps(&other[0]) && other[0].overlaps(&one[0]));
    assert_eq!(
        one[1].outcome, None,
        "a call that panicked has not returned"
    );
    assert!(!one[1].overlaps(&other[0]) && !other[0].overlaps(&one[1]));
    assert!(one[1].overlaps(&one[2]));
    let mapped = one[0].clone().map(u64::from);
    assert_eq!(mapped.outcome, Some((1, 3)));
    let all: History = one.into_iter().chain(other).collect();
    assert!(explained(&all));
}

// --- the model as a sequential store

fn event(called: u64, action: Action, seen: Seen, returned: u64) -> Event<Action, Seen> {
    Event {
        thread: 0,
        called,
        operation: action,
        outcome: Some((seen, returned)),
    }
}

fn answered(answer: Answer) -> Seen {
    Seen::Answer(Ok(answer))
}

fn save() -> Change {
    Change::SaveService(pod("a", "1"))
}

fn after(changes: &[Change]) -> Model {
    let mut model = Model::default();
    for change in changes {
        model.change(change).unwrap();
    }
    model
}

/// What is left of a store that holds the services of `model`.
fn rest(model: &Model) -> FinalState {
    let store = MemoryStore::new();
    for info in model.services.values() {
        store.save_service(info.clone()).unwrap();
    }
    if model.closed {
        store.close().unwrap();
    }
    FinalState::of(&store)
}

#[test]
fn a_store_is_asked_beside_and_after_a_write() {
    let saved = event(0, change(save()), answered(Answer::Done), 3);
    let end = rest(&after(&[save()]));
    // Asked while the record is being saved, and again when that has returned.
    let revisions = |first, second| {
        let revision = || Action::Ask(Operation::Revision);
        let history = [
            saved.clone(),
            event(1, revision(), answered(Answer::Revision(first)), 2),
            event(4, revision(), answered(Answer::Revision(second)), 5),
        ];
        explain_store(&SpecState::new(Model::default()), &history, &end).is_ok()
    };
    assert!(revisions(0, 1));
    assert!(revisions(1, 1));
    assert!(!revisions(0, 0), "a write that had returned was not seen");
    assert!(!revisions(1, 0), "a reader went backwards");
    assert!(!revisions(0, 2), "a change was counted twice");
    let lost = rest(&Model::default());
    let history = [saved];
    let told = explain_store(&SpecState::new(Model::default()), &history, &lost).unwrap_err();
    assert!(told.contains("no order explains this"), "{told}");
}

#[test]
fn a_view_is_a_read_of_everything() {
    let changes = [
        save(),
        Change::AddSubscription {
            subscriber_key: KEY.into(),
            service_group: "g".into(),
        },
    ];
    let commit = event(
        0,
        Action::Ask(Operation::Commit(changes.to_vec())),
        answered(Answer::Revision(1)),
        9,
    );
    let mut whole = Model::default();
    whole.commit(&changes).unwrap();
    let mut half = Model::default();
    half.commit(&changes[..1]).unwrap();
    let seen = |first: &Model, second: &Model| {
        let view = |model: &Model| Seen::State(Box::new(model.state()));
        let history = [
            commit.clone(),
            event(1, Action::Snapshot, view(first), 2),
            event(3, Action::View, view(second), 4),
        ];
        // What is left is not the question here.
        explain::<Sequential>(&SpecState::new(Model::default()), &history, |_| true).is_ok()
    };
    let before = Model::default();
    assert!(seen(&before, &whole));
    assert!(seen(&whole, &whole));
    assert!(!seen(&whole, &before), "a view went back");
    assert!(!seen(&half, &whole), "half a commit");
    let mut ahead = half.clone();
    ahead.revision = 2;
    assert!(!seen(&before, &ahead), "a revision ahead of its state");
}

#[test]
fn what_comes_after_close_is_refused() {
    let closed = || Seen::Answer(Err(StoreError::Closed.into()));
    let mut end = after(&[]);
    end.closed = true;
    let then = |seen: Seen| {
        let history = [
            event(0, Action::Close, answered(Answer::Done), 1),
            event(2, change(save()), seen, 3),
        ];
        explain_store(&SpecState::new(Model::default()), &history, &rest(&end)).is_ok()
    };
    assert!(then(closed()));
    assert!(!then(answered(Answer::Done)), "accepted after close");
    let early = [event(0, change(save()), closed(), 1)];
    let open = rest(&after(&[]));
    assert!(
        explain_store(&SpecState::new(Model::default()), &early, &open).is_err(),
        "refused by an open store"
    );
}

/// What a registration wrote is taken from its answer, and must be that.
#[test]
fn a_registration_is_what_it_answered() {
    let groups = vec![String::from("g")];
    let info = ServiceInfo::new(registration("a", "1", &["g"])).unwrap();
    let early = info.clone().with_registered_at(at(1)).unwrap();
    let late = info.with_registered_at(at(2)).unwrap();
    let seen = |got: &ServiceInfo| {
        let register = Operation::Register("a".into(), "1".into(), groups.clone());
        let history = [
            event(
                0,
                Action::Ask(register),
                answered(Answer::Service(early.clone())),
                1,
            ),
            event(
                2,
                Action::Ask(Operation::Get(KEY.into())),
                answered(Answer::Service(got.clone())),
                3,
            ),
        ];
        explain::<Sequential>(&SpecState::new(Model::default()), &history, |_| true).is_ok()
    };
    assert!(seen(&early));
    assert!(!seen(&late));
}
