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
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

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

    pub(crate) fn returned(&self) -> u64 {
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
