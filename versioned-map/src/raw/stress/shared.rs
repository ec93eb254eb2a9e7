//! The data that the threads of a round share: the states by revision, and the views that they pass
//! on to each other.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::AcqRel;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use super::super::Registered;
use super::super::sample::{self, Closed, Item, Pod, Reader, Sample, WRONG};
use super::states::{Record, State};

/// The largest number of views or records of a kind that a thread holds, or that lie on the shelf.
pub(super) const HELD: usize = 8;

/// The data that all threads of a round share.
#[derive(Default)]
pub(super) struct Round {
    /// The state of each revision, recorded before it is published. The first state is missing: it
    /// is empty.
    pub(super) states: RwLock<BTreeMap<u64, State>>,
    pub(super) turn: Mutex<Turn>,
    /// A new view must not be older than this revision.
    pub(super) floor: AtomicU64,
    /// Whether a new view must be closed.
    pub(super) closed: AtomicBool,
    /// Views and records that pass from thread to thread, and outlive the store.
    pub(super) shelf: Mutex<Held>,
    /// Whether a thread has failed. Then the others stop.
    pub(super) failed: AtomicBool,
}

/// The data of the writing thread.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) revision: u64,
    pub(super) state: State,
    /// The number of pods that the changes aim at.
    pub(super) target: usize,
    pub(super) stamp: u64,
    pub(super) closed: bool,
}

/// The views and records that a thread holds.
#[derive(Default)]
pub(super) struct Held {
    pub(super) snapshots: Vec<Registered<Sample>>,
    /// Each with the revision that it has shown last.
    pub(super) readers: Vec<(Reader, u64)>,
    pub(super) records: Vec<(Item, Pod, Record)>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Round {
    /// Returns the state that a view must show.
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

impl Turn {
    /// Records the state that the commit will have if it is made.
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

    /// Checks that the commit was made.
    pub(super) fn is_done(&self, round: &Round, answer: Result<u64, Closed>) {
        if self.closed {
            assert_eq!(answer.unwrap_err(), Closed);
            return;
        }
        let revision = answer.expect("the commit succeeds");
        assert_eq!(
            revision, self.revision,
            "{WRONG}: another one was announced"
        );
        round.floor.fetch_max(revision, AcqRel);
    }
}
