//! What the threads of a round share: the states by revision, and what goes from one to
//! the other.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering::AcqRel;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use super::super::Registered;
use super::super::sample::{self, Closed, Item, Pod, Reader, Sample, WRONG};
use super::states::{Record, State, is};

/// What a thread, or all of them together, hold on to at most.
pub(super) const HELD: usize = 8;

/// What all threads of a round share.
#[derive(Default)]
pub(super) struct Round {
    /// The state of each revision, noted before it is published; but of the first, which is
    /// empty.
    pub(super) states: RwLock<BTreeMap<u64, State>>,
    pub(super) turn: Mutex<Turn>,
    /// No view that is taken now may be older.
    pub(super) floor: AtomicU64,
    /// No view that is taken now may be open.
    pub(super) closed: AtomicBool,
    /// What goes from thread to thread, and outlives the store.
    pub(super) shelf: Mutex<Held>,
    /// Whether a thread has failed: the others stop.
    pub(super) failed: AtomicBool,
}

/// What only the one who writes has.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) revision: u64,
    pub(super) state: State,
    /// How many pods there are to be, sooner or later.
    pub(super) target: usize,
    pub(super) stamp: u64,
    pub(super) closed: bool,
}

/// What somebody holds on to.
#[derive(Default)]
pub(super) struct Held {
    pub(super) snapshots: Vec<Registered<Sample>>,
    /// With the revision that each has shown last.
    pub(super) readers: Vec<(Reader, u64)>,
    pub(super) records: Vec<(Item, Pod, Record)>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Round {
    /// What is to be seen in a view.
    pub(super) fn state(&self, view: &impl sample::State) -> State {
        let revision = view.revision();
        if view.is_closed() || revision == 0 {
            return State::default();
        }
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        states
            .get(&revision)
            .expect("a revision was announced")
            .clone()
    }
}

impl Round {
    /// Whether this is a pod's record at one of these revisions.
    pub(super) fn is_of(
        &self,
        revisions: RangeInclusive<u64>,
        pod: Pod,
        seen: Option<&Item>,
    ) -> bool {
        let states = self.states.read().unwrap_or_else(PoisonError::into_inner);
        let records = revisions.map(|at| states.get(&at).and_then(|state| state.items.get(&pod)));
        let is_one = |record: Option<&Record>| match (seen, record) {
            (Some(seen), Some(record)) => is(seen, pod, *record),
            (seen, record) => seen.is_none() && record.is_none(),
        };
        records.into_iter().any(is_one)
    }
}

impl Turn {
    /// Says what will be there if the commit is made.
    pub(super) fn announce(&mut self, round: &Round, state: State, effect: bool) {
        if !effect || self.closed {
            return;
        }
        self.revision += 1;
        self.state = state.clone();
        let states = round.states.write();
        let mut states = states.unwrap_or_else(PoisonError::into_inner);
        states.insert(self.revision, state);
    }

    /// Sees that it was made.
    pub(super) fn is_done(&self, round: &Round, answer: Result<u64, Closed>) {
        if self.closed {
            assert_eq!(answer.unwrap_err(), Closed);
            return;
        }
        let revision = answer.expect("a commit that can be made");
        assert_eq!(
            revision, self.revision,
            "{WRONG}: another one was announced"
        );
        round.floor.fetch_max(revision, AcqRel);
    }
}
