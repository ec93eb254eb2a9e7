//! Models for loom of the guarantees that the engine gives to threads.
//!
//! A writer makes its commits one by one. At the same time a reader takes a view, and reads twice.
//! Both times the reader must see the state of the view's revision, no matter what the writer has
//! replaced, removed, freed or moved to another table in between. The model knows the state of each
//! revision in advance. In a model the writer does not really free a version: it marks it, and a
//! reader that reaches it fails.
//!
//! A [`Twin`] is the engine with one step of a protocol left out or done too early, and loom must
//! detect it.

use std::sync::Arc;

use loom::thread;

use super::sample::{self, Pod, Store, WRONG};
use crate::twin::{self, Twin};

const KEPT: &str = "a version is kept for no snapshot";

/// A commit.
#[derive(Clone, Copy)]
enum Step {
    /// Saves or replaces a pod of list 0, with this stamp.
    Save(Pod, u64),
    Delete(Pod),
    /// Checks a pod: puts a version with the same stamp, which is lent.
    Check(Pod, u64),
    /// Writes to another map, and runs a reclamation pass.
    Nudge,
    Clear,
    /// Deletes pods 4 to 16 in one commit.
    DeleteAll,
    /// Reclaims without a commit.
    Reclaim,
}

use Step::{Check, Clear, Delete, DeleteAll, Nudge, Reclaim, Save};

/// Pods of one list.
const A: Pod = 4;
const B: Pod = 8;
const C: Pod = 12;
const D: Pod = 16;
const E: Pod = 20;
const F: Pod = 24;
const G: Pod = 28;

fn take(store: &Store, step: Step) {
    let commit = |steps: &[sample::Step]| assert!(store.commit(steps).is_ok());
    match step {
        Save(pod, stamp) => commit(&[sample::Step::Save(pod, stamp)]),
        Delete(pod) => commit(&[sample::Step::Delete(pod)]),
        Check(pod, checked) => commit(&[sample::Step::Check(pod, checked)]),
        Nudge => commit(&[sample::Step::Nudge]),
        Clear => store.clear().unwrap(),
        DeleteAll => commit(&[A, B, C, D].map(sample::Step::Delete)),
        Reclaim => store.engine.reclaim_now(),
    }
}

/// The state: pods and their stamps.
type State = Vec<(Pod, u64)>;

/// Returns the state at each revision.
fn states(steps: &[Step]) -> Vec<State> {
    let mut states = vec![State::new()];
    for step in steps {
        let mut state = states.last().unwrap().clone();
        match *step {
            Save(pod, stamp) => {
                state.retain(|(own, _)| *own != pod);
                state.push((pod, stamp));
            }
            Delete(pod) => state.retain(|(own, _)| *own != pod),
            Nudge | Check(..) => {}
            Clear | DeleteAll => state.clear(),
            // No commit.
            Reclaim => continue,
        }
        states.push(state);
    }
    states
}

/// The kind of view that the reader of a model takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    Pinned,
    Registered,
    /// Registered, and renewed before the second read.
    Handle,
}

/// The question that the reader asks its view.
#[derive(Clone, Copy)]
enum Query {
    /// These pods by key.
    Keys(&'static [Pod]),
    /// All pods by their list.
    List,
    /// The number of pods.
    Count,
}

fn check(view: &impl sample::State, states: &[State], query: Query) {
    let revision = usize::try_from(view.revision()).unwrap();
    let state = &states[revision];
    match query {
        Query::Keys(pods) => {
            for &pod in pods {
                let seen = view.item(pod).map(|item| item.shared.stamp);
                let there = state.iter().find(|(own, _)| *own == pod);
                assert_eq!(seen, there.map(|(_, stamp)| *stamp), "{WRONG}: {revision}");
            }
        }
        Query::List => {
            let seen = view.list(0).map(|item| item.shared.key.clone());
            let mut seen: Vec<String> = seen.collect();
            let mut there: Vec<String> = state.iter().map(|(pod, _)| sample::key(*pod)).collect();
            seen.sort_unstable();
            there.sort_unstable();
            assert_eq!(seen, there, "{WRONG}: {revision}");
        }
        Query::Count => assert_eq!(view.count(), state.len(), "{WRONG}: {revision}"),
    }
}

/// A reader beside a writer.
#[derive(Clone, Copy)]
struct Model {
    before: &'static [Step],
    beside: &'static [Step],
    view: View,
    query: Query,
}

impl Model {
    fn check(self) {
        self.check_on(Twin::None);
    }

    fn check_on(self, twin: Twin) {
        twin::set(twin);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = builder.preemption_bound.or(Some(3));
        // Shrinking and then reclaiming takes more steps than loom allows by default.
        builder.max_branches = 4_000;
        let states = states(&[self.before, self.beside].concat());
        builder.check(move || self.run(&states));
    }

    fn run(self, states: &[State]) {
        let store = Arc::new(Store::new());
        for step in self.before {
            take(&store, *step);
        }
        let writer = thread::spawn({
            let store = store.clone();
            move || {
                for step in self.beside {
                    take(&store, *step);
                }
            }
        });
        match self.view {
            View::Pinned => {
                let view = store.pinned();
                check(&view, states, self.query);
                check(&view, states, self.query);
            }
            View::Registered => {
                let view = store.snapshot();
                check(&view, states, self.query);
                check(&view, states, self.query);
            }
            View::Handle => {
                let mut reader = store.reader();
                check(reader.view(), states, self.query);
                let first = reader.shown();
                check(reader.view(), states, self.query);
                assert!(first <= reader.shown(), "{WRONG}: {first:?}");
            }
        }
        writer.join().unwrap();
        check(&store.pinned(), states, self.query);
        // No snapshot is registered, and no thread writes any more: the views that end here do the
        // work that is left.
        for _ in 0..4 {
            drop(store.pinned());
        }
        assert!(store.engine.turn().keeps_nothing(), "{KEPT}");
    }

    fn seen_by(self, view: View) -> Model {
        Model { view, ..self }
    }

    fn asked(self, query: Query) -> Model {
        Model { query, ..self }
    }
}

// --- publication

/// A commit of one pod, in three maps.
const PUBLISH: Model = Model {
    before: &[],
    beside: &[Save(A, 1), Save(A, 2)],
    view: View::Pinned,
    query: Query::Keys(&[A]),
};

#[test]
fn models_a_published_commit_is_read_whole() {
    PUBLISH.check();
    PUBLISH.asked(Query::List).check();
    PUBLISH.asked(Query::Count).check();
}

#[test]
fn models_a_published_commit_is_read_whole_by_a_snapshot() {
    PUBLISH.seen_by(View::Registered).check();
}

#[test]
#[should_panic(expected = "a view does not show its revision")]
fn models_twin_a_revision_that_is_published_first_is_rejected() {
    PUBLISH.check_on(Twin::PublishedBeforeWritten);
}

// --- pruning beside a pinned reader

const PRUNE: Model = Model {
    before: &[Save(A, 1)],
    beside: &[Save(A, 2), Nudge, Save(A, 3), Nudge],
    view: View::Pinned,
    query: Query::Keys(&[A]),
};

#[test]
fn models_pruning_leaves_a_pinned_reader_what_it_sees() {
    PRUNE.check();
}

#[test]
#[should_panic(expected = "a view does not show its revision")]
fn models_twin_unlinking_without_a_grace_period_is_rejected() {
    PRUNE.check_on(Twin::UnlinkedWithoutPeriod);
}

#[test]
#[should_panic(expected = "a reader stood on what had been freed")]
fn models_twin_freeing_without_a_grace_period_is_rejected() {
    // A reader that traverses a chain to the version of its snapshot passes versions that no reader
    // needs.
    REGISTER.check_on(Twin::FreedWithoutPeriod);
}

// --- pruning beside the registration of a snapshot

const REGISTER: Model = Model {
    beside: &[Save(A, 2), Nudge, Save(A, 3), Nudge, Nudge],
    view: View::Registered,
    ..PRUNE
};

#[test]
fn models_pruning_leaves_a_snapshot_what_it_shows() {
    REGISTER.check();
}

/// Versions with a lent value are pruned like others.
#[test]
fn models_pruning_leaves_a_snapshot_what_is_lent_to_it() {
    LENT.check();
    LENT.seen_by(View::Pinned).check();
}

const LENT: Model = Model {
    beside: &[Check(A, 1), Check(A, 2), Save(A, 2), Nudge, Nudge],
    ..REGISTER
};

#[test]
#[should_panic(expected = "a reader stood on what had been freed")]
fn models_twin_memory_that_is_used_again_under_a_snapshot_is_rejected() {
    LENT.check_on(Twin::ReusedTooEarly);
}

#[test]
fn models_pruning_leaves_a_reader_handle_what_it_shows() {
    REGISTER.seen_by(View::Handle).check();
}

#[test]
#[should_panic(expected = "a view does not show its revision")]
fn models_twin_a_snapshot_that_registers_after_its_pin_is_rejected() {
    REGISTER.check_on(Twin::RegisteredUnpinned);
}

#[test]
#[should_panic(expected = "a view does not show its revision")]
fn models_twin_a_scan_that_finds_no_snapshot_is_rejected() {
    REGISTER.check_on(Twin::SnapshotsNotFound);
}

#[test]
#[should_panic(expected = "a view does not show its revision")]
fn models_twin_a_scan_that_waits_for_no_reader_is_rejected() {
    REGISTER.check_on(Twin::ScannedBeforeWaiting);
}

/// A snapshot departs while the writer scans the reader slots, just after the writer has found it.
#[test]
#[should_panic(expected = "a version is kept for no snapshot")]
fn models_twin_keeping_for_a_snapshot_that_has_departed_is_rejected() {
    REGISTER.check_on(Twin::KeptWithoutMark);
}

/// A snapshot registers after the writer has scanned.
const REGISTER_LATER: Model = Model {
    before: &[Save(A, 1), Save(A, 2), Reclaim],
    beside: &[Save(A, 3), Reclaim],
    ..REGISTER
};

#[test]
fn models_the_writer_scans_again_for_later_snapshots() {
    REGISTER_LATER.check();
}

#[test]
#[should_panic(expected = "a view does not show its revision")]
fn models_twin_a_scan_that_is_not_made_again_is_rejected() {
    REGISTER_LATER.check_on(Twin::ScannedOnlyOnce);
}

#[test]
#[should_panic(expected = "a version is kept for no snapshot")]
fn models_twin_a_snapshot_that_does_not_report_its_departure_is_rejected() {
    REGISTER.check_on(Twin::DepartureNotReported);
}

// --- growth beside a reader

/// Three pods fill the smallest table.
const GROW: Model = Model {
    before: &[Save(A, 1), Save(B, 1), Save(C, 1)],
    beside: &[Save(D, 1), Save(D, 2)],
    view: View::Pinned,
    query: Query::Keys(&[A, D]),
};

#[test]
fn models_growth_hides_nothing_from_a_reader() {
    GROW.check();
}

#[test]
fn models_growth_hides_nothing_from_a_snapshot() {
    GROW.seen_by(View::Registered).check();
}

#[test]
#[should_panic(expected = "a view does not show its revision")]
fn models_twin_tables_that_are_loaded_before_the_revision_are_rejected() {
    GROW.check_on(Twin::TablesLoadedFirst);
}

// --- growth over several commits

/// Six pods fill a table of eight slots. The next commit moves six of the slots, and the one after
/// it two.
const SPREAD: Model = Model {
    before: &[
        Save(A, 1),
        Save(B, 1),
        Save(C, 1),
        Save(D, 1),
        Save(E, 1),
        Save(F, 1),
    ],
    beside: &[Save(G, 1), Save(A, 2)],
    view: View::Pinned,
    query: Query::Keys(&[A, G]),
};

#[test]
fn models_growth_over_several_commits_hides_nothing_from_a_reader() {
    SPREAD.check();
}

#[test]
fn models_growth_over_several_commits_hides_nothing_from_a_snapshot() {
    SPREAD.seen_by(View::Registered).check();
}

#[test]
fn models_growth_over_several_commits_hides_nothing_from_a_reader_handle() {
    SPREAD.seen_by(View::Handle).check();
}

#[test]
#[should_panic(expected = "a view does not show its revision")]
fn models_twin_a_successor_without_the_changes_of_moved_slots_is_rejected() {
    SPREAD.check_on(Twin::ChangeNotCopied);
}

#[test]
#[should_panic(expected = "a view does not show its revision")]
fn models_twin_a_successor_that_takes_over_before_all_have_been_moved_is_rejected() {
    let all = Query::Keys(&[A, B, C, D, E, F, G]);
    SPREAD.asked(all).check_on(Twin::SuccessorInstalledEarly);
}

/// The writer removes a deleted key from the table after moving it.
const SPREAD_REMOVAL: Model = Model {
    before: &[
        Save(A, 1),
        Save(B, 1),
        Save(C, 1),
        Save(D, 1),
        Save(E, 1),
        Save(F, 1),
        Delete(A),
    ],
    beside: &[Save(G, 1), Reclaim],
    ..SPREAD
};

#[test]
fn models_a_key_that_is_removed_from_a_table_that_grows_is_seen_as_it_was() {
    SPREAD_REMOVAL.check();
}

#[test]
fn models_a_key_that_is_removed_from_a_table_that_grows_is_seen_so_by_a_snapshot() {
    SPREAD_REMOVAL.seen_by(View::Registered).check();
}

// --- shrinking beside the registration of a snapshot

/// The writer removes four pods one after the other. In between it replaces their table by a
/// smaller one, and the slots of the last pods die only in the new table.
const SHRINK: Model = Model {
    before: &[Save(A, 1), Save(B, 1), Save(C, 1), Save(D, 1), DeleteAll],
    beside: &[Reclaim, Reclaim],
    view: View::Registered,
    query: Query::Keys(&[A, B, C, D]),
};

#[test]
fn models_shrinking_leaves_a_snapshot_nothing_that_was_freed() {
    SHRINK.check();
}

// --- removal and re-insertion

const REMOVE: Model = Model {
    before: &[Save(A, 1)],
    beside: &[Delete(A), Nudge, Nudge, Save(A, 2)],
    view: View::Pinned,
    query: Query::Keys(&[A]),
};

#[test]
fn models_a_key_that_is_removed_and_comes_again_is_seen_as_it_was() {
    REMOVE.check();
}

#[test]
fn models_a_key_that_is_removed_and_comes_again_is_seen_so_by_a_snapshot() {
    REMOVE.seen_by(View::Registered).check();
}

#[test]
fn models_a_pod_that_is_removed_and_comes_again_stands_in_its_list() {
    REMOVE.asked(Query::List).check();
}

#[test]
#[should_panic(expected = "a view does not show its revision")]
fn models_twin_a_slot_that_dies_with_its_key_is_rejected() {
    REMOVE.check_on(Twin::SlotKilledAtDeletion);
}

/// Slots die in front of keys that were put into later slots.
const REMOVE_IN_FRONT: Model = Model {
    beside: &[Delete(B), Reclaim],
    query: Query::Keys(&[C, D, E, F]),
    ..SPREAD_REMOVAL
};

#[test]
fn models_a_slot_that_dies_hides_no_key_behind_it() {
    REMOVE_IN_FRONT.check();
    REMOVE_IN_FRONT.seen_by(View::Registered).check();
}

#[test]
#[should_panic(expected = "a view does not show its revision")]
fn models_twin_a_slot_that_is_free_when_it_has_died_is_rejected() {
    REMOVE_IN_FRONT.check_on(Twin::DeadSlotFree);
}

// --- clearing

const CLEAR: Model = Model {
    before: &[Save(A, 1)],
    beside: &[Clear, Save(A, 2)],
    view: View::Registered,
    query: Query::Keys(&[A]),
};

#[test]
fn models_clearing_leaves_a_snapshot_what_it_shows() {
    CLEAR.check();
}

#[test]
fn models_clearing_leaves_a_pinned_reader_what_it_sees() {
    CLEAR.seen_by(View::Pinned).check();
}
