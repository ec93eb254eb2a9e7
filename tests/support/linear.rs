//! Histories of calls that ran beside each other, and whether an order explains
//! them.
//!
//! A history is linearizable if its calls can be put one after the other so that
//! a sequential object would have answered each as it was answered, and no call
//! comes before one that had returned when it was made (Herlihy and Wing,
//! *Linearizability*, 1990).
//!
//! The two halves know nothing of each other. [`Clock`] and [`Log`] note calls,
//! on threads of whatever kind; [`explain`] searches for an order, given a
//! [`Specification`]. The search is that of Wing and Gong (*Testing and Verifying
//! Concurrent Objects*, 1993): any call may come next that was made before the
//! first return among those left. It does not look twice at the same state after
//! the same calls (Lowe, *Testing for Linearizability*, 2017), and a read is put
//! first where it fits, because nothing is gained by waiting with it. So histories
//! of dozens of calls are feasible.
//!
//! Crates that were looked at, and why not: `stateright` 0.31 remembers nothing and brings
//! some sixty crates; `todc-utils` 0.1.1 and `porcupine-rs` 0.3.0 start in one state that belongs
//! to the type, and every call must have returned; `lincheck` 0.2.1 runs under loom only.

use std::collections::HashMap;
use std::fmt::{Debug, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use service_registry::changes::{self, Selection, Watch};
use service_registry::{Change, RegistryStore, StoreError};

use super::ObservedState;
use super::followed_state::FollowedState;
use super::model::{Answer, Failure, GROUPS, Model, Operation, ask, expect};
use super::{observe, observe_view};

// --- recording

/// One clock for all threads of a history.
///
/// It belongs to the standard library whatever runs the threads: to a scheduler
/// that runs one thread at a time (loom, shuttle), a tick is not a step.
///
/// What one thread did before a tick, another sees after a later one: the ticks
/// are in one order that all threads agree on. So "had returned when it was
/// called" is not only a matter of time, and a relaxed load cannot excuse itself.
#[derive(Debug, Default)]
pub(crate) struct Clock(AtomicU64);

impl Clock {
    fn tick(&self) -> u64 {
        // SeqCst: a tick releases what its thread did, and acquires what those
        // before it released; both, and in one order with all others.
        self.0.fetch_add(1, SeqCst)
    }
}

/// A call of an operation, and its outcome.
#[derive(Clone, Debug)]
pub(crate) struct Event<O, A> {
    pub(crate) thread: usize,
    pub(crate) called: u64,
    pub(crate) operation: O,
    /// The answer and when it came. A call that has not returned may have had its
    /// effect, or may yet have it, or never.
    pub(crate) outcome: Option<(A, u64)>,
}

impl<O, A> Event<O, A> {
    /// Returns the answer, if the call has returned.
    pub(crate) fn answer(&self) -> Option<&A> {
        self.outcome.as_ref().map(|(answer, _)| answer)
    }

    fn returned(&self) -> u64 {
        self.outcome
            .as_ref()
            .map_or(u64::MAX, |(_, returned)| *returned)
    }

    /// Returns whether both calls were under way at some moment.
    pub(crate) fn overlaps(&self, other: &Event<O, A>) -> bool {
        self.called < other.returned() && other.called < self.returned()
    }

    /// Converts the answer, which is possible only later for some.
    pub(crate) fn map<B>(self, learn: impl FnOnce(A) -> B) -> Event<O, B> {
        Event {
            thread: self.thread,
            called: self.called,
            operation: self.operation,
            outcome: self
                .outcome
                .map(|(answer, returned)| (learn(answer), returned)),
        }
    }
}

/// The calls of one thread.
#[derive(Debug)]
pub(crate) struct Log<'a, O, A> {
    clock: &'a Clock,
    thread: usize,
    events: Vec<Event<O, A>>,
}

impl<'a, O, A> Log<'a, O, A> {
    /// For a thread that will make about `calls` calls: a log that grows between
    /// two ticks makes the calls look longer than they are.
    pub(crate) fn new(clock: &'a Clock, thread: usize, calls: usize) -> Log<'a, O, A> {
        Log {
            clock,
            thread,
            events: Vec::with_capacity(calls),
        }
    }

    /// Makes a call and records it. One that panics has not returned.
    pub(crate) fn call(&mut self, operation: O, perform: impl FnOnce(&O) -> A) {
        let n = self.events.len();
        self.events.push(Event {
            thread: self.thread,
            called: 0,
            operation,
            outcome: None,
        });
        let event = &mut self.events[n];
        event.called = self.clock.tick();
        let answer = perform(&event.operation);
        let returned = self.clock.tick();
        event.outcome = Some((answer, returned));
    }

    pub(crate) fn into_events(self) -> Vec<Event<O, A>> {
        self.events
    }
}

// --- checking

/// A sequential object: its possible answers and state transitions.
pub(crate) trait Specification {
    type State: Clone + PartialEq;
    type Operation;
    type Answer;

    /// The state after `event`, if in `state` the answer may be this one.
    /// Where nobody has learnt the answer, any will do.
    fn step(state: &Self::State, event: &EventOf<Self>) -> Option<Self::State>;

    /// Whether an operation with this answer changes nothing, in no state. (One
    /// that changes nothing here may do so elsewhere: it is no read.)
    fn only_reads(event: &EventOf<Self>) -> bool;
}

/// A call of a [`Specification`].
pub(crate) type EventOf<S> = Event<<S as Specification>::Operation, <S as Specification>::Answer>;

/// A history of a [`Specification`].
pub(crate) type History<S> = [EventOf<S>];

/// An order that explains a history: the indexes of its events. A call that has not returned is in
/// it only if its effect was seen.
#[derive(Debug)]
pub(crate) struct Linearization {
    pub(crate) places: Vec<usize>,
    /// The number of steps of the search.
    pub(crate) steps: usize,
}

/// No order explains a history.
#[derive(Debug)]
pub(crate) struct NotLinearizable {
    /// The first of the longest orders that explain a part.
    pub(crate) furthest: Vec<usize>,
    pub(crate) steps: usize,
}

/// Searches for an order of `history` that leads from `initial` to a state that
/// `end` accepts. The events may come in any order.
pub(crate) fn explain<S: Specification>(
    initial: &S::State,
    history: &History<S>,
    end: impl Fn(&S::State) -> bool,
) -> Result<Linearization, NotLinearizable> {
    let mut search = Search::<S, _> {
        history,
        end,
        done: vec![0; history.len().div_ceil(64)],
        order: Vec::new(),
        furthest: Vec::new(),
        steps: 0,
        dead_ends: HashMap::new(),
    };
    let steps = |search: &Search<S, _>| search.steps;
    if search.from(initial) {
        Ok(Linearization {
            steps: steps(&search),
            places: search.order,
        })
    } else {
        Err(NotLinearizable {
            steps: steps(&search),
            furthest: search.furthest,
        })
    }
}

struct Search<'a, S: Specification, E> {
    history: &'a History<S>,
    end: E,
    /// A bit for each event that stands in `order`.
    done: Vec<u64>,
    order: Vec<usize>,
    furthest: Vec<usize>,
    steps: usize,
    /// States from which the search failed, by the events that were done.
    dead_ends: HashMap<Vec<u64>, Vec<S::State>>,
}

impl<S: Specification, E: Fn(&S::State) -> bool> Search<'_, S, E> {
    fn is_done(&self, place: usize) -> bool {
        self.done[place / 64] >> (place % 64) & 1 == 1
    }

    fn flip(&mut self, place: usize) {
        self.done[place / 64] ^= 1 << (place % 64);
    }

    /// Whether the events that are left lead from `state` to the end. Where they
    /// do, `order` is complete.
    fn from(&mut self, state: &S::State) -> bool {
        let left = || (0..self.history.len()).filter(|&place| !self.is_done(place));
        let first_return = left().map(|place| self.history[place].returned()).min();
        // Those that have not returned need not come at all.
        if first_return.is_none_or(|first| first == u64::MAX) && (self.end)(state) {
            return true;
        }
        if let Some(states) = self.dead_ends.get(&self.done)
            && states.contains(state)
        {
            return false;
        }
        // Called after another had returned, an event cannot come before that one.
        let next: Vec<usize> = left()
            .filter(|&place| Some(self.history[place].called) < first_return)
            .collect();
        let mut changes = Vec::new();
        for place in next {
            let event = &self.history[place];
            self.steps += 1;
            match S::step(state, event) {
                None => {}
                // If it may come later, it may as well come now.
                Some(after) if S::only_reads(event) => {
                    return self.put(place, &after);
                }
                Some(after) => changes.push((place, after)),
            }
        }
        if changes.iter().any(|(place, after)| self.put(*place, after)) {
            return true;
        }
        if self.order.len() > self.furthest.len() {
            self.furthest.clone_from(&self.order);
        }
        let states = self.dead_ends.entry(self.done.clone()).or_default();
        states.push(state.clone());
        false
    }

    /// Whether it goes on to the end with `place` next, which leads to `after`.
    fn put(&mut self, place: usize, after: &S::State) -> bool {
        self.flip(place);
        self.order.push(place);
        if self.from(after) {
            return true;
        }
        self.order.pop();
        self.flip(place);
        false
    }
}

/// Formats a history that no order explains.
pub(crate) fn tell<O: Debug, A: Debug>(
    before: &dyn Debug,
    history: &[Event<O, A>],
    unexplained: &NotLinearizable,
    after: &dyn Debug,
) -> String {
    let mut told = format!("no order explains this.\nbefore: {before:#?}\n");
    let mut events: Vec<(usize, &Event<O, A>)> = history.iter().enumerate().collect();
    events.sort_by_key(|(_, event)| (event.thread, event.called));
    for (place, event) in events {
        let Event {
            thread,
            called,
            operation,
            outcome,
        } = event;
        let nth = unexplained.furthest.iter().position(|of| *of == place);
        let nth = nth.map_or(String::new(), |nth| format!("#{nth}"));
        let line = match outcome {
            Some((answer, returned)) => {
                format!(
                    "{called:>3} to {returned:>3} {nth:>4}  {operation:?}\n          {answer:?}"
                )
            }
            None => format!("{called:>3} to ... {nth:>4}  {operation:?}"),
        };
        writeln!(told, "thread {thread}: {line}").expect("a string takes every text");
    }
    told + &format!("after: {after:#?}\n(# is how far an order leads)")
}

// --- the specification of a store

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

/// The time that a lingering read stays in its closure.
const LINGER: Duration = Duration::from_micros(20);

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

// --- histories of stores

/// A store under test: how threads call it, and how their answers become observations.
pub(crate) trait TestedStore: Sync {
    type Store: RegistryStore;
    /// The state of one thread, such as a reader handle.
    type Handle: Send;
    /// The immediate answer of a call; [`learn`](Self::learn) reads its content later.
    type Raw: Send;

    fn store(&self) -> &Self::Store;
    fn handle(&self) -> Self::Handle;
    fn perform(&self, handle: &mut Self::Handle, action: &Action) -> Self::Raw;
    fn learn(raw: Self::Raw) -> Seen;
}

/// A store without views.
pub(crate) struct Plain<S>(pub(crate) S);

impl<S: RegistryStore + Sync> TestedStore for Plain<S> {
    type Store = S;
    type Handle = ();
    type Raw = Seen;

    fn store(&self) -> &S {
        &self.0
    }
    fn handle(&self) {}
    fn perform(&self, (): &mut (), action: &Action) -> Seen {
        Seen::Answer(perform(&self.0, action))
    }
    fn learn(seen: Seen) -> Seen {
        seen
    }
}

fn perform(store: &impl RegistryStore, action: &Action) -> Result<Answer, Failure> {
    match action {
        Action::Ask(operation) => ask(store, operation),
        Action::Close => store.close().map(|()| Answer::Done).map_err(Failure::from),
        Action::Linger(key) => {
            let found = store.with_service(key, |info| {
                thread::sleep(LINGER);
                info.clone()
            });
            found.map(Answer::Service).map_err(Failure::from)
        }
        other => panic!("a store without views or watches cannot do {other:?}"),
    }
}

/// A store with views; each thread has a reader handle.
pub(crate) struct Viewed<S>(pub(crate) S);

/// A view that is read when all threads are done: it shows the moment at which it was taken.
pub(crate) enum RawView<V> {
    Seen(Seen),
    View(V),
}

impl<S: super::views::Views> TestedStore for Viewed<S> {
    type Store = S;
    type Handle = S::Reader;
    type Raw = RawView<S::Snapshot>;

    fn store(&self) -> &S {
        &self.0
    }
    fn handle(&self) -> S::Reader {
        self.0.reader()
    }
    fn perform(&self, reader: &mut S::Reader, action: &Action) -> RawView<S::Snapshot> {
        RawView::Seen(Seen::Answer(match action {
            Action::Snapshot => return RawView::View(self.0.snapshot()),
            Action::View => return RawView::View(S::view(reader).clone()),
            Action::Read(key) => S::read(reader, key, Clone::clone)
                .map(Answer::Service)
                .map_err(Failure::from),
            other => perform(&self.0, other),
        }))
    }
    fn learn(raw: RawView<S::Snapshot>) -> Seen {
        match raw {
            RawView::Seen(seen) => seen,
            RawView::View(view) => Seen::State(Box::new(observe_view(&view, GROUPS))),
        }
    }
}

/// A store with watches; each thread has its own.
pub(crate) struct Watched<S>(pub(crate) S);

/// A watch of one thread.
pub(crate) struct ThreadWatch {
    selection: Selection,
    watch: Watch,
    events: Option<Arc<Events>>,
}

/// The events of a watch, the last one first.
pub(crate) struct Events {
    last: changes::Event,
    before: Option<Arc<Events>>,
}

/// The events of a watch, which are applied when all threads are done.
pub(crate) enum RawWatchReport {
    Seen(Seen),
    WatchReport(PollAnswer, [u64; 2], Option<Arc<Events>>),
}

impl<S: RegistryStore + Sync> TestedStore for Watched<S> {
    type Store = S;
    type Handle = Vec<ThreadWatch>;
    type Raw = RawWatchReport;

    fn store(&self) -> &S {
        &self.0
    }
    fn handle(&self) -> Vec<ThreadWatch> {
        Vec::new()
    }
    fn perform(&self, handle: &mut Vec<ThreadWatch>, action: &Action) -> RawWatchReport {
        match action {
            Action::Poll(selection, how) => poll(&self.0, handle, selection, *how).unwrap_or(
                RawWatchReport::WatchReport(PollAnswer::Closed, [0, 0], None),
            ),
            other => RawWatchReport::Seen(Seen::Answer(perform(&self.0, other))),
        }
    }
    fn learn(raw: RawWatchReport) -> Seen {
        let (answer, [since, revision], last) = match raw {
            RawWatchReport::Seen(seen) => return seen,
            RawWatchReport::WatchReport(answer, revisions, last) => (answer, revisions, last),
        };
        let events = std::iter::successors(last.as_deref(), |events| events.before.as_deref());
        let mut events: Vec<&changes::Event> = events.map(|events| &events.last).collect();
        events.reverse();
        let followed = (!events.is_empty()).then(|| {
            let mut followed = FollowedState::default();
            let follows = events.iter().try_for_each(|event| followed.follow(event));
            follows.map(|()| followed)
        });
        Seen::WatchReport(Box::new(WatchReport {
            answer,
            since,
            revision,
            followed,
        }))
    }
}

/// Polls a watch; `None` if a closed store refuses to begin one.
fn poll(
    store: &impl RegistryStore,
    handle: &mut Vec<ThreadWatch>,
    selection: &Selection,
    how: PollMode,
) -> Option<RawWatchReport> {
    fn open<T>(answer: service_registry::Result<T>) -> Option<T> {
        assert!(answer.is_ok() || answer.as_ref().err() == Some(&StoreError::Closed));
        answer.ok()
    }
    let place = handle.iter().position(|own| own.selection == *selection);
    let mut own = if let Some(place) = place {
        handle.swap_remove(place)
    } else {
        ThreadWatch {
            selection: selection.clone(),
            watch: open(store.watch(selection.clone()))?,
            events: None,
        }
    };
    let since = own.watch.revision().as_u64();
    if how == PollMode::Resumed && own.events.is_some() {
        let cursor = own.watch.cursor();
        own.watch = open(store.watch_from(selection.clone(), cursor))?;
    }
    let polled = match how {
        PollMode::All | PollMode::Resumed => own.watch.try_recv(),
        PollMode::Commit => own.watch.try_recv_commit(),
    };
    let revision = own.watch.revision().as_u64();
    let answer = match open(polled) {
        None => PollAnswer::Closed,
        Some(None) => PollAnswer::Nothing,
        Some(Some(last)) => {
            assert_eq!(last.revision().as_u64(), revision);
            let before = own.events.take();
            own.events = Some(Arc::new(Events { last, before }));
            PollAnswer::Event
        }
    };
    let events = own.events.clone();
    handle.push(own);
    Some(RawWatchReport::WatchReport(
        answer,
        [since, revision],
        events,
    ))
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
