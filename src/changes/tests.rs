//! The log and its watches, on the smallest store that has them.

mod life;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use super::board::{Board, CommitStep, Shown};
use super::state_copy::StateCopy;
use super::*;
use crate::model::error::StoreError;
use crate::model::record::ServiceInfo;
use crate::model::registration::ServiceRegistration;
use crate::model::revision::Revision;

const NO_LIMIT: LogOptions = LogOptions {
    bytes: usize::MAX,
    retain: Duration::ZERO,
};

fn board(options: LogOptions) -> Board {
    Board::new(Log::new(options), true)
}

/// A random number generator that is good enough for histories.
struct TestRng(u64);

impl TestRng {
    fn below(&mut self, sides: u8) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u8::try_from(self.0 % u64::from(sides)).unwrap()
    }

    fn step(&mut self) -> CommitStep {
        let (service, pod, group) = (self.below(3), self.below(3), self.below(2));
        match self.below(6) {
            0 | 1 => CommitStep::Register(service, pod),
            2 => CommitStep::Touch(service, pod),
            3 => CommitStep::Remove(service, pod),
            4 => CommitStep::Subscribe(service, pod, group),
            _ => CommitStep::Unsubscribe(service, pod, group),
        }
    }
}

fn selections() -> [Selection; 6] {
    [
        Selection::All,
        Selection::service("s0"),
        Selection::service("s1"),
        Selection::pod("s1:p1"),
        Selection::group("g0"),
        Selection::service("nobody"),
    ]
}

/// A watch, and the copy that is made of what it tells.
struct Follower {
    watch: Watch,
    copy: StateCopy,
    states: usize,
}

impl Follower {
    fn new(watch: Watch) -> Follower {
        Follower {
            watch,
            copy: StateCopy::default(),
            states: 0,
        }
    }

    fn take(&mut self, event: Event) -> Revision {
        let revision = event.revision();
        match event {
            Event::State {
                services,
                subscriptions,
                ..
            } => {
                let state = State {
                    revision,
                    services,
                    subscriptions,
                };
                self.copy = StateCopy::new(&state, self.watch.selection());
                self.states += 1;
            }
            Event::Changes { changes, .. } => {
                assert!(!changes.is_empty());
                for change in &changes {
                    assert!(self.watch.selection().concerns(change), "{change:?}");
                    self.copy.apply(change);
                }
            }
        }
        revision
    }

    fn shows(&self, revision: Revision) -> Shown {
        Shown::of(self.copy.to_state(revision))
    }
}

/// Random histories: at each event, what was applied equals what the store had at that
/// revision. Watches come, sleep, fall behind, go, and go on from where others were.
fn law(options: LogOptions, readable: bool, seed: u64) -> (usize, usize) {
    let board = Board::new(Log::new(options), readable);
    let mut rng = TestRng(seed);
    let mut followers: Vec<Follower> = Vec::new();
    let mut states: BTreeMap<(usize, Revision), Shown> = BTreeMap::new();
    let (mut lagged, mut events) = (0, 0);
    let selections = selections();
    let number =
        |selection: &Selection| selections.iter().position(|one| one == selection).unwrap();
    for _ in 0..400 {
        let steps: Vec<CommitStep> = (0..=rng.below(4)).map(|_| rng.step()).collect();
        let revision = board.commit(&steps);
        for (at, selection) in selections.iter().enumerate() {
            states.insert((at, revision), board.shows(selection));
        }
        match rng.below(12) {
            0 => {
                let selection = selections[usize::from(rng.below(6))].clone();
                followers.push(Follower::new(board.watch(selection)));
            }
            1 if !followers.is_empty() => {
                let at = usize::from(rng.below(u8::try_from(followers.len()).unwrap()));
                followers.swap_remove(at);
            }
            2 if !followers.is_empty() => {
                // Another watch goes on from there, with the copy of the first.
                let at = usize::from(rng.below(u8::try_from(followers.len()).unwrap()));
                let Follower {
                    watch,
                    copy,
                    states,
                } = followers.swap_remove(at);
                let (selection, cursor) = (watch.selection().clone(), watch.cursor());
                if states > 0 {
                    if rng.below(2) == 0 {
                        drop(watch);
                    }
                    let watch = board.watch_from(selection, Some(cursor));
                    followers.push(Follower {
                        watch,
                        copy,
                        states,
                    });
                }
            }
            _ => {}
        }
        for follower in &mut followers {
            let event = match rng.below(8) {
                0 | 1 => follower.watch.try_recv().unwrap(),
                2 | 3 => follower.watch.try_recv_commit().unwrap(),
                _ => continue,
            };
            let at = number(follower.watch.selection());
            let Some(event) = event else {
                // Everything has been shown.
                assert_eq!(follower.shows(revision), states[&(at, revision)]);
                continue;
            };
            events += 1;
            lagged += usize::from(matches!(
                event,
                Event::State {
                    reason: Reason::Lagged,
                    ..
                }
            ));
            let shown = follower.take(event);
            // The store had this state until its next revision.
            let held = states.range(..=(at, shown)).next_back().unwrap().1;
            let mut held = held.clone();
            held.revision = shown;
            assert_eq!(follower.shows(shown), held, "seed {seed}");
        }
    }
    (events, lagged)
}

#[test]
fn what_was_applied_is_what_the_store_had() {
    let options = LogOptions {
        retain: Duration::from_secs(60),
        ..NO_LIMIT
    };
    for seed in 1..40 {
        let (events, lagged) = law(options, true, seed);
        assert!(events > 0);
        assert_eq!(lagged, 0);
    }
}

#[test]
fn what_was_applied_is_what_the_store_had_behind_a_short_log() {
    let options = LogOptions {
        bytes: 4_000,
        retain: Duration::from_secs(60),
    };
    let lagged: usize = (1..40).map(|seed| law(options, true, seed).1).sum();
    assert!(lagged > 100, "{lagged}");
    let lagged: usize = (1..40).map(|seed| law(options, false, seed).1).sum();
    assert!(lagged > 100, "{lagged}");
}

#[test]
fn a_pod_that_came_and_went_unseen_shows_nothing() {
    let board = board(NO_LIMIT);
    let mut watch = board.watch(Selection::All);
    watch.recv().unwrap();
    board.commit(&[CommitStep::Register(0, 0)]);
    board.commit(&[CommitStep::Remove(0, 0)]);
    assert_eq!(watch.try_recv(), Ok(None));
    assert_eq!(watch.revision(), Revision::from(2));
    board.commit(&[CommitStep::Register(0, 0)]);
    board.commit(&[CommitStep::Remove(0, 0)]);
    assert!(watch.try_recv_commit().unwrap().is_some());
    assert!(watch.try_recv_commit().unwrap().is_some());
    assert_eq!(watch.try_recv_commit(), Ok(None));
}

/// More than a watch takes over in one turn at the lock.
#[test]
fn whatever_is_pending_is_one_event() {
    let board = board(NO_LIMIT);
    let mut watch = board.watch(Selection::All);
    watch.recv().unwrap();
    for n in 0..1_000_u16 {
        let [high, low] = n.to_be_bytes();
        board.commit(&[CommitStep::Register(high, low)]);
    }
    let Event::Changes { revision, changes } = watch.recv().unwrap() else {
        panic!("a state");
    };
    assert_eq!((revision, changes.len()), (Revision::from(1_000), 1_000));
    assert_eq!(watch.try_recv().unwrap(), None);
}

#[test]
fn a_key_that_was_registered_anew_is_a_change_even_if_equal() {
    let board = board(NO_LIMIT);
    board.commit(&[CommitStep::Register(0, 0)]);
    let mut watch = board.watch(Selection::All);
    watch.recv().unwrap();
    board.commit(&[CommitStep::Remove(0, 0), CommitStep::Register(0, 0)]);
    let Event::Changes { changes, .. } = watch.recv().unwrap() else {
        panic!("there was a state already");
    };
    let [Difference::Changed { before, after, .. }] = &changes[..] else {
        panic!("{changes:?}");
    };
    assert_eq!(before.incarnation(), Revision::from(1));
    assert_eq!(after.incarnation(), Revision::from(2));
}

#[test]
fn changes_of_others_move_the_cursor_on_and_never_lag_a_watch() {
    let board = board(LogOptions {
        bytes: 4_000,
        ..NO_LIMIT
    });
    let mut quiet = board.watch(Selection::service("s0"));
    quiet.recv().unwrap();
    for _ in 0..1_000 {
        board.commit(&[CommitStep::Register(1, 1)]);
    }
    board.commit(&[CommitStep::Register(0, 0)]);
    assert!(matches!(quiet.recv(), Ok(Event::Changes { .. })));
    board.commit(&[CommitStep::Register(1, 1)]);
    assert_eq!(quiet.try_recv(), Ok(None));
    assert_eq!(quiet.revision(), Revision::from(1_002));
}

#[test]
fn a_cursor_of_another_store_or_of_the_future_begins_with_a_state() {
    let (one, other) = (board(NO_LIMIT), board(NO_LIMIT));
    one.commit(&[CommitStep::Register(0, 0)]);
    let mut there = other.watch(Selection::All);
    there.recv().unwrap();
    let begins = |mut watch: Watch| {
        matches!(
            watch.recv(),
            Ok(Event::State {
                reason: Reason::Begin,
                ..
            })
        )
    };
    assert!(begins(one.watch_from(Selection::All, Some(there.cursor()))));
    let mut here = one.watch(Selection::All);
    here.recv().unwrap();
    let mut ahead = here.cursor();
    ahead.revision = Revision::from(9);
    assert!(begins(one.watch_from(Selection::All, Some(ahead))));
    // Where nothing has happened since, there is nothing to tell.
    let mut again = one.watch_from(Selection::All, Some(here.cursor()));
    assert_eq!(again.try_recv(), Ok(None));
}

/// Counts how often it was woken.
#[derive(Default)]
struct CountingWaker(AtomicUsize);

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn sleep(watch: &mut Watch, waker: &Waker) {
    let mut context = Context::from_waker(waker);
    while let Poll::Ready(event) = watch.poll_recv(&mut context) {
        event.unwrap();
    }
}

#[test]
fn a_change_wakes_the_watches_it_concerns_once_and_no_others() {
    let board = board(NO_LIMIT);
    let counts: Vec<Arc<CountingWaker>> = (0..3).map(|_| Arc::default()).collect();
    let names = ["s0", "s0", "s1"];
    let mut watches: Vec<Watch> = names
        .map(|name| board.watch(Selection::service(name)))
        .into();
    for (watch, count) in watches.iter_mut().zip(&counts) {
        sleep(watch, &Waker::from(count.clone()));
    }
    board.commit(&[CommitStep::Register(0, 0), CommitStep::Register(0, 1)]);
    board.commit(&[CommitStep::Register(0, 2)]);
    let woken: Vec<usize> = counts.iter().map(|count| count.0.load(Relaxed)).collect();
    assert_eq!(woken, [1, 1, 0]);
}

/// Panics when it is woken.
struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

/// Commits when it is woken.
struct CommittingWaker(Arc<Board>);

impl Wake for CommittingWaker {
    fn wake(self: Arc<Self>) {
        self.0.commit(&[CommitStep::Register(2, 2)]);
    }
}

#[test]
fn a_waker_that_panics_does_not_affect_others() {
    let board = Arc::new(board(NO_LIMIT));
    let count: Arc<CountingWaker> = Arc::default();
    let mut watches = Vec::new();
    for at in 0..30 {
        let mut watch = board.watch(Selection::service("s0"));
        let waker = match at % 3 {
            0 => Waker::from(Arc::new(PanickingWaker)),
            1 => Waker::from(Arc::new(CommittingWaker(board.clone()))),
            _ => Waker::from(count.clone()),
        };
        sleep(&mut watch, &waker);
        watches.push(watch);
    }
    board.commit(&[CommitStep::Register(0, 0)]);
    assert_eq!(count.0.load(Relaxed), 10);
    assert_eq!(board.shows(&Selection::All).revision, Revision::from(11));
    for watch in &mut watches {
        assert!(watch.try_recv().unwrap().is_some());
    }
}

#[test]
fn a_watch_that_has_waited_in_vain_is_not_woken() {
    let board = board(NO_LIMIT);
    let mut watch = board.watch(Selection::service("s0"));
    watch.recv().unwrap();
    sleep(&mut watch, Waker::noop());
    assert_eq!(board.log.waiting_watches(), 1);
    assert_eq!(watch.recv_timeout(Duration::from_millis(1)).unwrap(), None);
    assert_eq!(board.log.waiting_watches(), 0);
}

#[test]
fn watches_that_come_and_go_leave_nothing() {
    let board = board(LogOptions {
        retain: Duration::from_secs(60),
        ..NO_LIMIT
    });
    let mut stays = board.watch(Selection::service("s1"));
    stays.recv().unwrap();
    for at in 0..100_000_u32 {
        drop(board.watch(Selection::service(format!("name {at}"))));
    }
    drop(stays);
    assert_eq!(board.log.topics(), 0);
}

#[test]
fn a_log_keeps_no_more_than_its_bound() {
    let bytes = 100_000;
    let board = board(LogOptions { bytes, ..NO_LIMIT });
    let watches: Vec<Watch> = (0..100)
        .map(|at| board.watch(Selection::service(format!("s{}", at % 4))))
        .collect();
    let all = board.watch(Selection::All);
    for at in 0..50_000_u32 {
        let [service, pod, ..] = at.to_le_bytes();
        board.commit(&[
            CommitStep::Register(service % 4, pod),
            CommitStep::Subscribe(0, pod, 1),
        ]);
        assert!(board.log.bytes() <= bytes);
    }
    drop((watches, all));
    assert_eq!(board.log.bytes(), 0);
}

/// A store whose state its watches cannot read is asked for it once for each filling of the log,
/// and not by each commit.
#[test]
fn a_checkpoint_is_made_once_for_each_filling_of_the_log() {
    const FILLINGS: usize = 5;
    let commit = |n: u64| {
        let info = ServiceInfo::new(ServiceRegistration::new("s0", "p0")).unwrap();
        Difference::Added(info.stamped(n.into(), n.into()))
    };
    // How many of these commits the log holds, counted with a log that forgets nothing.
    let entry = {
        let log = Log::new(NO_LIMIT);
        let board = Board::new(log.clone(), false);
        let _watch = board.watch(Selection::All);
        drop(log.append(1.into(), [commit(1)]));
        let first = log.bytes();
        drop(log.append(2.into(), [commit(2)]));
        log.bytes() - first
    };
    let holds = 50;
    let log = Log::new(LogOptions {
        bytes: entry * holds,
        ..NO_LIMIT
    });
    let board = Board::new(log.clone(), false);
    let _watch = board.watch(Selection::All);
    let calls = AtomicUsize::new(0);
    let commits = holds * FILLINGS;
    for n in 1..=commits as u64 {
        let state = || {
            calls.fetch_add(1, Relaxed);
            State {
                revision: n.into(),
                ..State::default()
            }
        };
        drop(log.append_with(n.into(), [commit(n)], state));
    }
    let calls = calls.load(Relaxed);
    println!("{calls} states for {commits} commits, of which the log holds about {holds}");
    // It forgets, so that it needs some; and what it has begun to fill is no filling yet.
    assert!((FILLINGS - 2..=FILLINGS).contains(&calls), "{calls}");
}

#[test]
fn threads_that_sleep_are_woken_by_each_commit() {
    let board = Arc::new(board(NO_LIMIT));
    let mut watches: Vec<Watch> = (0..4)
        .map(|_| board.watch(Selection::service("s0")))
        .collect();
    let threads: Vec<_> = watches
        .drain(..)
        .map(|mut watch| {
            thread::spawn(move || {
                let mut seen = 0;
                while watch.recv_commit().is_ok() {
                    seen += 1;
                }
                seen
            })
        })
        .collect();
    // One state each, before the first change.
    thread::sleep(Duration::from_millis(50));
    for _ in 0..1_000 {
        board.commit(&[CommitStep::Register(0, 0)]);
    }
    board.close();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 1_001);
    }
}

#[test]
fn a_time_out_answers_that_there_is_nothing() {
    let board = board(NO_LIMIT);
    let mut watch = board.watch(Selection::All);
    assert!(watch.recv_timeout(Duration::ZERO).unwrap().is_some());
    assert_eq!(watch.recv_timeout(Duration::from_millis(5)), Ok(None));
    board.commit(&[CommitStep::Register(0, 0)]);
    assert!(watch.recv_timeout(Duration::MAX).unwrap().is_some());
}
