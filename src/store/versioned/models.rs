//! What the engine promises to threads, as models for loom; those that every store has
//! to pass are run on it as well.
//!
//! A writer makes its commits one by one; beside it a reader takes a view, and looks
//! twice. What it sees has to be what was there at the view's revision, both times,
//! whatever has been replaced, removed, freed or laid out anew meanwhile. What was there
//! at which revision is known beforehand. In a model nothing is ever really freed: what
//! would have been is marked, and a reader who comes to it fails.
//!
//! A [`Twin`] is the engine with one step of a protocol left out or done too early, and
//! loom has to find out.

use std::sync::Arc;
use std::time::Duration;

use loom::thread;

use super::engine::Twin;
use super::*;
use crate::model::registration::ServiceRegistration;
use crate::store::models::watched::tell_and_publish;
use crate::store::models::{Calls, Kept, Subject};

const WRONG: &str = "a view does not show its revision";
const KEPT: &str = "something is kept for nobody";

fn real() -> Calls<VersionedStore> {
    Calls {
        preemptions: Some(2),
        ..Calls::real(VersionedStore::new)
    }
}

store_models!(real());

fn tell_before_the_commit_settles(
    subject: &Subject<VersionedStore>,
    batch: Batch,
) -> Result<Revision> {
    let mut commit = subject.store.open_turn()?;
    let log = &subject.store.engine.log;
    tell_and_publish(log, &mut commit, batch, Commit::settle)
}

#[test]
#[should_panic(expected = "a watch told of a commit before it could be read")]
fn models_twin_a_log_that_is_told_before_the_commit_settles_is_rejected() {
    Calls {
        commit: tell_before_the_commit_settles,
        ..real()
    }
    .whoever_is_told_of_a_commit_can_read_it();
}

/// A commit.
#[derive(Clone, Copy)]
enum Step {
    /// `a:<pod>` is registered, or replaced, with this as its URL.
    Save(u8, &'static str),
    Delete(u8),
    /// `a:<pod>` is found to be healthy, which is a version with the same registration.
    Check(u8),
    /// Another table is written to, and old versions are looked at.
    Nudge,
    Clear,
    /// Pods 1 to 4 are deleted in one commit.
    DeleteAll,
    /// Old versions are looked at, at the same revision.
    Tidy,
}

use Step::{Check, Clear, Delete, DeleteAll, Nudge, Save, Tidy};

fn key(pod: u8) -> String {
    format!("a:{pod}")
}

fn take(store: &VersionedStore, step: Step) {
    let answer = match step {
        Save(pod, url) => store.save_service(
            ServiceInfo::new(ServiceRegistration {
                service_name: "a".into(),
                pod_name: pod.to_string(),
                notification_url: url.into(),
                ..ServiceRegistration::default()
            })
            .unwrap()
            .with_registered_at(SystemTime::UNIX_EPOCH)
            .unwrap(),
        ),
        Delete(pod) => store.delete_service(&key(pod)),
        Check(pod) => {
            let known = store.get_service(&key(pod)).unwrap();
            let next = match known.last_health_check() {
                None => SystemTime::UNIX_EPOCH,
                Some(last) => last + Duration::from_secs(1),
            };
            let update = store.update_health_status(&key(pod), ServiceStatus::Healthy, next);
            update.map(drop)
        }
        Nudge => store
            .commit(crate::store::models::a_change_each_time("g"))
            .map(drop),
        Clear => store.clear(),
        DeleteAll => {
            let mut batch = Batch::new();
            for pod in 1..=4 {
                batch.delete_service(&key(pod));
            }
            store.commit(batch).map(drop)
        }
        Tidy => {
            store.engine.tidy_up();
            Ok(())
        }
    };
    answer.unwrap();
}

/// What is registered: pods and their URLs.
type State = Vec<(u8, &'static str)>;

/// The state at each revision.
fn states(steps: &[Step]) -> Vec<State> {
    let mut states = vec![State::new()];
    for step in steps {
        let mut state = states.last().unwrap().clone();
        match *step {
            Save(pod, url) => {
                state.retain(|(own, _)| *own != pod);
                state.push((pod, url));
            }
            Delete(pod) => state.retain(|(own, _)| *own != pod),
            Nudge | Check(_) => {}
            Clear | DeleteAll => state.clear(),
            // No commit.
            Tidy => continue,
        }
        states.push(state);
    }
    states
}

/// How the reader of a model looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    Pinned,
    Registered,
    /// A registered one, renewed before the second look.
    Handle,
}

/// What is asked of a view.
#[derive(Clone, Copy)]
enum Look {
    /// These pods by key.
    Keys(&'static [u8]),
    /// All of them by name.
    Name,
    /// How many there are.
    Stats,
}

fn check(view: &impl RegistryView, states: &[State], look: Look) {
    let revision = usize::try_from(view.revision().as_u64()).unwrap();
    let state = &states[revision];
    match look {
        Look::Keys(pods) => {
            for &pod in pods {
                let seen = view.get(&key(pod)).map(ServiceInfo::notification_url);
                let there = state.iter().find(|(own, _)| *own == pod);
                assert_eq!(seen, there.map(|(_, url)| *url), "{WRONG}: {revision}");
            }
        }
        Look::Name => {
            let pods = view.services_by_name("a").map(ServiceInfo::pod_name);
            let mut seen: Vec<&str> = pods.collect();
            let mut there: Vec<String> = state.iter().map(|(pod, _)| pod.to_string()).collect();
            seen.sort_unstable();
            there.sort_unstable();
            assert_eq!(seen, there, "{WRONG}: {revision}");
        }
        Look::Stats => assert_eq!(view.stats().services, state.len(), "{WRONG}: {revision}"),
    }
}

/// A reader beside a writer.
#[derive(Clone, Copy)]
struct Model {
    before: &'static [Step],
    beside: &'static [Step],
    view: View,
    look: Look,
}

impl Model {
    fn check(self) {
        self.check_on(Twin::None);
    }

    fn check_on(self, twin: Twin) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = builder.preemption_bound.or(Some(3));
        // Shrinking and then tidying up takes more steps than loom allows by itself.
        builder.max_branches = 4_000;
        let states = states(&[self.before, self.beside].concat());
        builder.check(move || self.run(twin, &states));
    }

    fn run(self, twin: Twin, states: &[State]) {
        let store = Arc::new(Kept::new(VersionedStore {
            engine: Engine::with(twin),
        }));
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
                check(&view, states, self.look);
                check(&view, states, self.look);
            }
            View::Registered => {
                let view = store.snapshot();
                check(&view, states, self.look);
                check(&view, states, self.look);
            }
            View::Handle => {
                let mut reader = store.reader();
                check(reader.view(), states, self.look);
                let first = reader.newest.revision();
                check(reader.view(), states, self.look);
                assert!(first <= reader.newest.revision(), "{WRONG}: {first:?}");
            }
        }
        writer.join().unwrap();
        check(&store.pinned(), states, self.look);
        // Whoever was registered has gone, and nobody writes any more: what is left to do is done
        // by whoever comes by.
        for _ in 0..4 {
            drop(store.pinned());
        }
        assert!(store.engine.commit().keeps_nothing(), "{KEPT}");
    }

    fn seen_by(self, view: View) -> Model {
        Model { view, ..self }
    }

    fn looked_at(self, look: Look) -> Model {
        Model { look, ..self }
    }
}

// --- publication

/// A commit of two pods is [`everything`](crate::store::models::everything)'s; here it is
/// one of a single pod, in all indexes.
const PUBLISH: Model = Model {
    before: &[],
    beside: &[Save(1, "x"), Save(1, "y")],
    view: View::Pinned,
    look: Look::Keys(&[1]),
};

#[test]
fn models_a_published_commit_is_read_whole() {
    PUBLISH.check();
    PUBLISH.looked_at(Look::Name).check();
    PUBLISH.looked_at(Look::Stats).check();
}

#[test]
fn models_a_published_commit_is_read_whole_by_a_snapshot() {
    PUBLISH.seen_by(View::Registered).check();
}

#[test]
#[should_panic(expected = "a view does not show its revision")]
fn models_twin_a_revision_that_is_published_first_is_rejected() {
    PUBLISH.check_on(Twin::PublishedFirst);
}

// --- pruning beside a pinned reader

const PRUNE: Model = Model {
    before: &[Save(1, "x")],
    beside: &[Save(1, "y"), Nudge, Save(1, "z"), Nudge],
    view: View::Pinned,
    look: Look::Keys(&[1]),
};

#[test]
fn models_pruning_leaves_a_pinned_reader_what_it_sees() {
    PRUNE.check();
}

#[test]
#[should_panic(expected = "a view does not show its revision")]
fn models_twin_unlinking_without_a_grace_period_is_rejected() {
    PRUNE.check_on(Twin::UnlinkedAtOnce);
}

#[test]
#[should_panic(expected = "a reader stood on what had been freed")]
fn models_twin_freeing_without_a_grace_period_is_rejected() {
    // Who follows a chain to what a snapshot shows passes over what nobody needs.
    REGISTER.check_on(Twin::FreedAtOnce);
}

// --- pruning beside the registration of a snapshot

const REGISTER: Model = Model {
    beside: &[Save(1, "y"), Nudge, Save(1, "z"), Nudge, Nudge],
    view: View::Registered,
    ..PRUNE
};

#[test]
fn models_pruning_leaves_a_snapshot_what_it_shows() {
    REGISTER.check();
}

/// Versions that have lent their registration are pruned as others are.
#[test]
fn models_pruning_leaves_a_snapshot_what_is_lent_to_it() {
    let lent = Model {
        beside: &[Check(1), Check(1), Save(1, "y"), Nudge, Nudge],
        ..REGISTER
    };
    lent.check();
    lent.seen_by(View::Pinned).check();
}

#[test]
fn models_pruning_leaves_a_reader_handle_what_it_shows() {
    REGISTER.seen_by(View::Handle).check();
}

#[test]
#[should_panic(expected = "a view does not show its revision")]
fn models_twin_a_snapshot_that_begins_when_it_is_pinned_no_more_is_rejected() {
    REGISTER.check_on(Twin::RegisteredLate);
}

#[test]
#[should_panic(expected = "a view does not show its revision")]
fn models_twin_a_pruner_that_asks_nobody_is_rejected() {
    REGISTER.check_on(Twin::Overlooked);
}

#[test]
#[should_panic(expected = "a view does not show its revision")]
fn models_twin_a_scan_that_waits_for_nobody_is_rejected() {
    REGISTER.check_on(Twin::ScannedFirst);
}

/// A snapshot that goes while a writer looks for whom to keep versions, just after it has been
/// found.
#[test]
#[should_panic(expected = "something is kept for nobody")]
fn models_twin_keeping_for_a_snapshot_that_has_gone_is_rejected() {
    REGISTER.check_on(Twin::Unmarked);
}

// --- growth beside a reader

/// Three pods fill the smallest table.
const GROW: Model = Model {
    before: &[Save(1, "x"), Save(2, "x"), Save(3, "x")],
    beside: &[Save(4, "x"), Save(4, "y")],
    view: View::Pinned,
    look: Look::Keys(&[1, 4]),
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
    GROW.check_on(Twin::TablesFirst);
}

// --- shrinking beside the registration of a snapshot

/// Removing four pods one after the other gives their table another layout on the way,
/// and the last ones die in that only.
const SHRINK: Model = Model {
    before: &[
        Save(1, "x"),
        Save(2, "x"),
        Save(3, "x"),
        Save(4, "x"),
        DeleteAll,
    ],
    beside: &[Tidy, Tidy],
    view: View::Registered,
    look: Look::Keys(&[1, 2, 3, 4]),
};

#[test]
fn models_shrinking_leaves_a_snapshot_nothing_that_was_freed() {
    SHRINK.check();
}

// --- removal and re-insertion

const REMOVE: Model = Model {
    before: &[Save(1, "x")],
    beside: &[Delete(1), Nudge, Nudge, Save(1, "y")],
    view: View::Pinned,
    look: Look::Keys(&[1]),
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
fn models_a_pod_that_is_removed_and_comes_again_stands_under_its_name() {
    REMOVE.looked_at(Look::Name).check();
}

#[test]
#[should_panic(expected = "a view does not show its revision")]
fn models_twin_a_slot_that_dies_with_its_key_is_rejected() {
    REMOVE.check_on(Twin::KilledAtOnce);
}

// --- clearing

const CLEAR: Model = Model {
    before: &[Save(1, "x")],
    beside: &[Clear, Save(1, "y")],
    view: View::Registered,
    look: Look::Keys(&[1]),
};

#[test]
fn models_clearing_leaves_a_snapshot_what_it_shows() {
    CLEAR.check();
}

#[test]
fn models_clearing_leaves_a_pinned_reader_what_it_sees() {
    CLEAR.seen_by(View::Pinned).check();
}
