//! Two writers and three watches of different selections: one that is polled, one that
//! sleeps, one that comes and goes.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use service_registry::changes::{Difference, Event, LogOptions, Selection, Watch};
use service_registry::{Change, RegistryStore, Result, StoreError};
use shuttle::future::block_on;
use shuttle::rand::RngCore;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::{Condvar, Mutex};
use shuttle::{Runner, thread};

use crate::support::dice::Dice;
use crate::support::faulty_log::{Fault, faulty_log_store};
use crate::support::followed_state::{FollowedState, batch};
use crate::{DEPTH, ENOUGH, SEED, config, try_schedules};

/// Of each writer.
const COMMITS: usize = 3;

const WRONG: &str = "a watch told wrongly";

/// The last watch that goes ends the log.
const OPTIONS: LogOptions = LogOptions {
    bytes: 4 << 20,
    retain: Duration::ZERO,
};

/// What somebody who follows watches of one selection has been told.
struct RecordingFollower<S> {
    store: Arc<S>,
    selection: Selection,
    followed: FollowedState,
    /// What was copied at each revision.
    told: Vec<(u64, FollowedState)>,
}

impl<S: RegistryStore> RecordingFollower<S> {
    fn new(store: &Arc<S>, selection: Selection) -> RecordingFollower<S> {
        RecordingFollower {
            store: store.clone(),
            selection,
            followed: FollowedState::default(),
            told: Vec::new(),
        }
    }

    fn follow(&mut self, event: &Event) {
        let revision = event.revision();
        assert!(self.store.revision() >= revision, "{WRONG}: too soon");
        let last = self.told.last().map(|(last, _)| *last);
        assert!(last <= Some(revision.as_u64()), "{WRONG}: it went back");
        let follows = self.followed.follow(event);
        assert_eq!(follows, Ok(()), "{WRONG}");
        self.told.push((revision.as_u64(), self.followed.clone()));
    }

    /// Takes what there is; whether the store is still open.
    fn poll(&mut self, watch: &mut Watch, by_commit: bool) -> bool {
        let answer = if by_commit {
            watch.try_recv_commit()
        } else {
            watch.try_recv()
        };
        match answer {
            Ok(event) => {
                event.iter().for_each(|event| self.follow(event));
                true
            }
            Err(error) => {
                assert_eq!(error, StoreError::Closed);
                false
            }
        }
    }

    /// Checks all that was told against what there was.
    fn check(&self, states: &BTreeMap<u64, FollowedState>) {
        for (revision, followed) in &self.told {
            let (_, state) = states.range(..=revision).next_back().unwrap();
            let expected = state.clone().part(&self.selection);
            assert_eq!(*followed, expected, "{WRONG}: at {revision}");
        }
    }

    /// Checks that the end was told, too, unless everything was replaced after what was told
    /// last: that is told as a state, which a closed store has not.
    fn check_end(&self, states: &BTreeMap<u64, FollowedState>, restored: &BTreeSet<u64>) {
        self.check(states);
        let Some((last, _)) = self.told.last() else {
            return;
        };
        if restored.range(last + 1..).next().is_none() {
            let (_, last) = states.last_key_value().unwrap();
            let expected = last.clone().part(&self.selection);
            assert_eq!(self.followed, expected, "{WRONG}: at the end");
        }
    }
}

struct Commit {
    revision: u64,
    changes: Vec<Difference>,
    /// Whether it replaced everything.
    is_restored: bool,
}

fn write<S: RegistryStore>(store: &S, seed: u64) -> Vec<Commit> {
    let mut dice = Dice::new(seed);
    let commits = (0..COMMITS).map(|_| {
        let batch = batch(&mut dice);
        let is_restored = (&batch)
            .into_iter()
            .any(|one| matches!(one, Change::ReplaceAll { .. }));
        let (revision, changes) = store.commit_changes(batch).unwrap();
        Commit {
            revision: revision.as_u64(),
            changes,
            is_restored,
        }
    });
    commits.collect()
}

/// How a sleeper waits for an event.
type Receive = fn(&mut Watch) -> Result<Event>;

fn as_a_task(watch: &mut Watch) -> Result<Event> {
    block_on(poll_fn(|context| watch.poll_recv(context)))
}

/// Sleeps for each event, to the end of the store.
fn sleep<S: RegistryStore>(
    mut follower: RecordingFollower<S>,
    receive: Receive,
) -> RecordingFollower<S> {
    let Ok(mut watch) = follower.store.watch(follower.selection.clone()) else {
        return follower;
    };
    loop {
        match receive(&mut watch) {
            Ok(event) => follower.follow(&event),
            Err(error) => {
                assert_eq!(error, StoreError::Closed);
                return follower;
            }
        }
    }
}

/// Comes back to where it was three times.
fn come_and_go<S: RegistryStore>(mut follower: RecordingFollower<S>) -> RecordingFollower<S> {
    let mut cursor = None;
    for round in 0..4 {
        let selection = follower.selection.clone();
        let watch = match cursor {
            None => follower.store.watch(selection),
            Some(cursor) => follower.store.watch_from(selection, cursor),
        };
        let Ok(mut watch) = watch else {
            break;
        };
        if !follower.poll(&mut watch, round % 2 == 1) {
            break;
        }
        cursor = Some(watch.cursor());
    }
    follower
}

fn play<S: RegistryStore + Send + Sync + 'static>(make: impl Fn() -> S, receive: Receive) {
    let store = Arc::new(make());
    let seed = shuttle::rand::thread_rng().next_u64();
    let writers: Vec<_> = (0..2)
        .map(|number| {
            let store = store.clone();
            thread::spawn(move || write(&*store, seed.wrapping_add(number)))
        })
        .collect();
    let mut poller = RecordingFollower::new(&store, Selection::All);
    let poller = thread::spawn(move || {
        let mut watch = poller.store.watch(Selection::All).ok()?;
        for n in 0..5 {
            poller.poll(&mut watch, n % 2 == 1);
        }
        Some((poller, watch))
    });
    let sleeper = RecordingFollower::new(&store, Selection::service("a"));
    let sleeper = thread::spawn(move || sleep(sleeper, receive));
    let visitor = RecordingFollower::new(&store, Selection::group("a"));
    let visitor = thread::spawn(move || come_and_go(visitor));

    // What there was at each revision, as the writers were told.
    let mut states = BTreeMap::from([(0, FollowedState::default())]);
    let commits = writers
        .into_iter()
        .flat_map(|writer| writer.join().unwrap());
    let mut commits: Vec<Commit> = commits.collect();
    commits.sort_by_key(|one| one.revision);
    let mut state = FollowedState::default();
    let mut restored = BTreeSet::new();
    for commit in commits {
        // Nothing in place of nothing is told as a state, too.
        if commit.is_restored {
            restored.insert(commit.revision);
        }
        if !commit.changes.is_empty() {
            state.apply_all(&commit.changes).unwrap();
            states.insert(commit.revision, state.clone());
        }
    }
    let end = store.with_view(|view| FollowedState::of(view, &Selection::All));
    assert_eq!(end, Ok(state));
    store.close().unwrap();

    if let Some((mut poller, mut watch)) = poller.join().unwrap() {
        while let Ok(Some(event)) = watch.try_recv() {
            poller.follow(&event);
        }
        poller.check_end(&states, &restored);
    }
    sleeper.join().unwrap().check_end(&states, &restored);
    visitor.join().unwrap().check(&states);
}

macro_rules! watches {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            #[test]
            fn every_watch_is_told_what_there_was() {
                let make = || service_registry::$store::with_log(super::OPTIONS);
                crate::try_schedules(move || super::play(make, super::as_a_task));
            }

            #[test]
            fn a_thread_that_sleeps_is_told_what_there_was() {
                let make = || service_registry::$store::with_log(super::OPTIONS);
                crate::try_schedules(move || super::play(make, super::Watch::recv));
            }
        }
    };
}

shared_stores!(watches);

// --- stores that tell wrongly

#[test]
fn a_store_that_tells_in_its_turn_tells_what_there_was() {
    try_schedules(|| play(|| faulty_log_store(Fault::None), as_a_task));
    try_schedules(|| play(|| faulty_log_store(Fault::None), Watch::recv));
}

/// By both schedulers.
fn is_noticed(fault: Fault, receive: Receive, by: &str) {
    let random = || {
        let scheduler = RandomScheduler::new_from_seed(SEED, ENOUGH);
        Runner::new(scheduler, config())
            .run(move || play(move || faulty_log_store(fault), receive));
    };
    let pct = || {
        let scheduler = PctScheduler::new_from_seed(SEED, DEPTH, ENOUGH);
        Runner::new(scheduler, config())
            .run(move || play(move || faulty_log_store(fault), receive));
    };
    let runs: [&dyn Fn(); 2] = [&random, &pct];
    for run in runs {
        let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("it goes unnoticed");
        let told = panic.downcast_ref::<String>().expect("a panic with a text");
        assert!(told.contains(by), "{told}");
    }
}

#[test]
fn a_commit_that_is_told_before_it_can_be_read_is_noticed() {
    is_noticed(Fault::TellsTooSoon, as_a_task, ": too soon");
}

#[test]
fn commits_that_are_told_out_of_order_are_noticed() {
    is_noticed(Fault::TellsAfterItsTurn, as_a_task, WRONG);
}

#[test]
fn a_gap_where_a_watch_begins_is_noticed() {
    is_noticed(Fault::AsksBeforeItsTurn, as_a_task, WRONG);
}

#[test]
fn a_sleeper_that_is_not_told_of_the_end_is_noticed() {
    is_noticed(Fault::LeavesSleepers, as_a_task, "deadlock");
    is_noticed(Fault::LeavesSleepers, Watch::recv, "deadlock");
}

/// Rings, and does not remember that it has.
#[derive(Default)]
struct ForgetfulWaker {
    turn: Mutex<()>,
    rung: Condvar,
}

impl Wake for ForgetfulWaker {
    fn wake(self: Arc<Self>) {
        self.rung.notify_all();
    }
}

/// As `Watch::recv`, but lies down whether or not it has been woken since it looked.
fn looks_and_lies_down(watch: &mut Watch) -> Result<Event> {
    let forgetful = Arc::new(ForgetfulWaker::default());
    let waker = Waker::from(forgetful.clone());
    loop {
        if let Poll::Ready(event) = watch.poll_recv(&mut Context::from_waker(&waker)) {
            return event;
        }
        drop(forgetful.rung.wait(forgetful.turn.lock().unwrap()).unwrap());
    }
}

#[test]
fn a_wake_up_that_is_lost_is_noticed() {
    is_noticed(Fault::None, looks_and_lies_down, "deadlock");
}
