//! The model of a store as a [`Specification`]: what an order of calls must explain.

use std::rc::Rc;

use service_registry::changes::Selection;
use service_registry::{Change, RegistryStore, StoreError};

use super::ObservedState;
use super::failure::Failure;
use super::followed_state::FollowedState;
use super::linear::{Event, Linearization, Specification, explain, tell};
use super::model::{Answer, GROUPS, Model, Operation, expect};
use super::observe;

/// An operation of a thread on a store.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Ask(Operation),
    Close,
    /// Take a snapshot: a read of everything.
    Snapshot,
    /// Renew the view of a reader handle: the same.
    View,
    /// Read a record through a reader handle.
    Read(String),
    /// Read a record, and stay inside the closure for a while. Calls that wait meanwhile return
    /// together when it ends, and calls overlap even on a single processor.
    Linger(String),
    /// Ask the thread's own watch of this selection for what is new.
    Poll(Selection, PollMode),
}

/// How a watch is polled. A thread that has none of the selection begins one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PollMode {
    All,
    Commit,
    /// By another watch, which goes on where the thread's own one was.
    Resumed,
}

impl Action {
    /// Whether it may change something.
    pub(crate) fn writes(&self) -> bool {
        match self {
            Action::Close => true,
            Action::Snapshot
            | Action::View
            | Action::Read(_)
            | Action::Linger(_)
            | Action::Poll(..) => false,
            Action::Ask(operation) => !is_read(operation),
        }
    }
}

fn is_read(operation: &Operation) -> bool {
    match operation {
        Operation::Get(_)
        | Operation::With(_)
        | Operation::Visit(_)
        | Operation::ByName(_)
        | Operation::All
        | Operation::Subscribers(_)
        | Operation::SubscriberServices(_)
        | Operation::Stats
        | Operation::Revision
        | Operation::Ping => true,
        Operation::Change(_)
        | Operation::Commit(_)
        | Operation::Swap(..)
        | Operation::Take(_)
        | Operation::Clear
        | Operation::Register(..)
        | Operation::Unregister(..)
        | Operation::Report(..) => false,
    }
}

/// The answer of an [`Action`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Answer(Result<Answer, Failure>),
    /// The content of a view.
    State(Box<ObservedState>),
    /// The report of a watch.
    WatchReport(Box<WatchReport>),
}

/// The answer of a poll of a watch, and the state that its events have led to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WatchReport {
    pub(crate) answer: PollAnswer,
    /// The revision of the watch before the poll; the next field is the one after it.
    pub(crate) since: u64,
    pub(crate) revision: u64,
    /// The state that all events lead to, or why one does not apply; `None` before the first event.
    pub(crate) followed: Option<Result<FollowedState, String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PollAnswer {
    Event,
    Nothing,
    Closed,
}

/// The model as a [`Specification`]. Its states are shared, so that a search may
/// keep many.
pub(crate) struct Sequential;

#[derive(Clone, Debug)]
pub(crate) struct SpecState {
    model: Rc<Model>,
    /// All states so far, including this one; only with watches, which may report earlier states.
    past: Option<Rc<PastState>>,
}

#[derive(Debug)]
struct PastState {
    model: Rc<Model>,
    /// When the call that led to this state returned.
    returned: u64,
    before: Option<Rc<PastState>>,
}

impl SpecState {
    pub(crate) fn new(model: Model) -> SpecState {
        SpecState {
            model: Rc::new(model),
            past: None,
        }
    }

    /// Returns the same state with a past that begins here.
    fn remembered(&self) -> SpecState {
        let past = PastState {
            model: self.model.clone(),
            returned: 0,
            before: None,
        };
        SpecState {
            model: self.model.clone(),
            past: Some(Rc::new(past)),
        }
    }

    /// Returns the state after a call that returned at this time.
    fn then(&self, model: Rc<Model>, returned: u64) -> SpecState {
        let is_same = (model.revision, model.closed) == (self.model.revision, self.model.closed);
        let past = self.past.clone().map(|before| {
            if is_same {
                return before;
            }
            Rc::new(PastState {
                model: model.clone(),
                returned,
                before: Some(before),
            })
        });
        SpecState { model, past }
    }

    /// Iterates from the newest state to the oldest.
    fn past(&self) -> impl Iterator<Item = &PastState> {
        assert!(self.past.is_some(), "watches look back");
        std::iter::successors(self.past.as_deref(), |past| past.before.as_deref())
    }
}

impl PartialEq for SpecState {
    fn eq(&self, other: &SpecState) -> bool {
        (Rc::ptr_eq(&self.model, &other.model) || self.model == other.model)
            && self.past == other.past
    }
}

impl PartialEq for PastState {
    fn eq(&self, other: &PastState) -> bool {
        let one = (&self.model, self.returned, &self.before);
        one == (&other.model, other.returned, &other.before)
    }
}

impl Specification for Sequential {
    type State = SpecState;
    type Operation = Action;
    type Answer = Seen;

    /// A registration has to have returned: what it wrote, its answer tells. A
    /// `Report` takes a moment from the clock that nothing tells.
    fn step(state: &SpecState, event: &Event<Action, Seen>) -> Option<SpecState> {
        let (model, seen) = (&*state.model, event.answer());
        let expected = match &event.operation {
            Action::Ask(operation) => {
                let after = answer(&state.model, operation, seen)?;
                return Some(state.then(after, event.returned()));
            }
            Action::Close => {
                let after = Model {
                    revision: model.revision,
                    closed: true,
                    ..Model::default()
                };
                let done = Seen::Answer(Ok(Answer::Done));
                let after = state.then(Rc::new(after), event.returned());
                return matches(seen, &done).then_some(after);
            }
            Action::Poll(selection, how) => {
                let may_be = match seen {
                    None => true,
                    Some(Seen::WatchReport(told)) => {
                        told.may_be(state, selection, *how, event.called)
                    }
                    Some(seen) => panic!("a watch answered {seen:?}"),
                };
                return may_be.then(|| state.clone());
            }
            Action::Snapshot | Action::View => Seen::State(Box::new(model.state())),
            Action::Read(_) | Action::Linger(_) if model.closed => {
                Seen::Answer(Err(Failure::Closed))
            }
            Action::Read(key) | Action::Linger(key) => {
                Seen::Answer(model.get(key).map(Answer::Service))
            }
        };
        matches(seen, &expected).then(|| state.clone())
    }

    fn only_reads(event: &Event<Action, Seen>) -> bool {
        !event.operation.writes() || matches!(event.answer(), Some(Seen::Answer(Err(_))))
    }
}

impl WatchReport {
    /// Whether a watch may tell this in `state`: it shows the state of its revision, which
    /// can be read by then; and it has seen what had returned when it was called.
    ///
    /// It may lag behind a commit that has not returned: others can read that before the
    /// watch is told of it.
    fn may_be(&self, state: &SpecState, selection: &Selection, how: PollMode, called: u64) -> bool {
        if self.answer == PollAnswer::Closed && !state.model.closed {
            return false;
        }
        let followed = match &self.followed {
            None => return self.answer == PollAnswer::Closed,
            Some(Ok(followed)) if self.revision >= self.since => followed,
            // What its events tell does not fit, or it went back.
            Some(_) => return false,
        };
        let (mut missed, mut open) = (Vec::new(), None);
        for past in state.past() {
            if past.model.closed {
                // Then there is an event, or the end.
                if self.answer == PollAnswer::Nothing && past.returned < called {
                    return false;
                }
            } else if past.model.revision > self.revision {
                missed.push(past.returned);
            } else {
                open = Some(past);
                break;
            }
        }
        let in_time = match (self.answer, how) {
            (PollAnswer::Closed, _) => missed.is_empty(),
            (PollAnswer::Event, PollMode::Commit) => true,
            (PollAnswer::Event | PollAnswer::Nothing, _) => {
                missed.iter().all(|returned| *returned > called)
            }
        };
        in_time
            && open.is_some_and(|open| {
                open.model.revision == self.revision
                    && *followed == FollowedState::of_model(&open.model).part(selection)
            })
    }
}

fn matches(seen: Option<&Seen>, expected: &Seen) -> bool {
    seen.is_none_or(|seen| seen == expected)
}

fn answer(model: &Rc<Model>, operation: &Operation, seen: Option<&Seen>) -> Option<Rc<Model>> {
    let given = match seen {
        Some(Seen::Answer(given)) => Some(given),
        None => None,
        Some(seen) => panic!("a store answered {operation:?} with {seen:?}"),
    };
    // The model takes for granted that an open store accepts a registration.
    if given == Some(&Err(Failure::Closed)) && !model.closed {
        return None;
    }
    let unknown = Err(Failure::Closed);
    let mut after = Rc::clone(model);
    let expected = expect(
        Rc::make_mut(&mut after),
        operation,
        given.unwrap_or(&unknown),
        |_| None,
    );
    if given.is_some_and(|given| *given != expected) {
        return None;
    }
    // What reads lead to is the very state that they came from.
    let reads = is_read(operation) || expected.is_err();
    Some(if reads { model.clone() } else { after })
}

/// The state of a store when all threads are done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FinalState {
    closed: bool,
    state: ObservedState,
}

impl FinalState {
    pub(crate) fn of(store: &impl RegistryStore) -> FinalState {
        match store.ping() {
            Ok(()) => FinalState {
                closed: false,
                state: observe(store, GROUPS),
            },
            Err(error) => {
                assert_eq!(error, StoreError::Closed);
                let mut last = Model::default().state();
                last.revision = store.revision().as_u64();
                FinalState {
                    closed: true,
                    state: last,
                }
            }
        }
    }

    pub(crate) fn is_of(&self, model: &Model) -> bool {
        self.closed == model.closed && self.state == model.state()
    }
}

/// Searches for an order that explains the answers of a store that began as `before` and ended as
/// `after`.
pub(crate) fn explain_store(
    before: &SpecState,
    history: &[Event<Action, Seen>],
    after: &FinalState,
) -> Result<Linearization, String> {
    let polls = |event: &Event<Action, Seen>| matches!(event.operation, Action::Poll(..));
    let initial = if history.iter().any(polls) {
        before.remembered()
    } else {
        before.clone()
    };
    explain::<Sequential>(&initial, history, |end| after.is_of(&end.model))
        .map_err(|unexplained| tell(&before.model.state(), history, &unexplained, after))
}

/// A change as an action.
pub(crate) fn change(change: Change) -> Action {
    Action::Ask(Operation::Change(change))
}
