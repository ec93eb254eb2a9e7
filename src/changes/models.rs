//! Loom models of the guarantees of the log and its watches, and broken twins that loom
//! rejects.
//!
//! The store is a [`Board`] whose turn is one lock. Commits and watches share only the log
//! and this turn. Therefore the results hold for every store that checks the flag, appends
//! and closes in its turn.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use loom::sync::Notify;
use loom::thread;

use super::board::{Board, CommitStep};
use super::topic::Wakers;
use super::*;
use crate::model::error::{Result, StoreError};
use crate::model::revision::Revision;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{self, Relaxed, Release};

const NO_LIMIT: LogOptions = LogOptions {
    bytes: usize::MAX,
    retain: Duration::ZERO,
};

fn board(options: LogOptions) -> Arc<Board> {
    Arc::new(Board::new(Log::new(options), true))
}

/// A waker that notifies the waiting thread.
struct NotifyWaker(Notify);

impl Wake for NotifyWaker {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// Like `Watch::recv_commit`, on a loom thread.
pub(crate) fn recv_commit(watch: &mut Watch) -> Result<Event> {
    let notify = Arc::new(NotifyWaker(Notify::new()));
    let waker = Waker::from(notify.clone());
    loop {
        match watch.poll_recv_commit(&mut Context::from_waker(&waker)) {
            Poll::Ready(event) => return event,
            Poll::Pending => notify.0.wait(),
        }
    }
}

/// Follows a store until it has seen `last`, and checks that it receives every revision once
/// and in order.
fn follow(mut watch: Watch, last: Revision, recv: fn(&mut Watch) -> Result<Event>) {
    let Ok(Event::State { mut revision, .. }) = recv(&mut watch) else {
        panic!("a watch begins with a state");
    };
    while revision < last {
        match recv(&mut watch) {
            Ok(Event::Changes { revision: next, .. }) => {
                assert_eq!(next, revision.next(), "a gap");
                revision = next;
            }
            other => panic!("a gap: {other:?}"),
        }
    }
}

fn subscribe_against_commits(watch: fn(&Board) -> Watch, commit: fn(&Board, u8)) {
    loom::model(move || {
        let board = board(NO_LIMIT);
        let writer = thread::spawn({
            let board = board.clone();
            move || (0..2).for_each(|pod| commit(&board, pod))
        });
        let mut watch = watch(&board);
        let first = watch.try_recv_commit();
        let Ok(Some(Event::State { mut revision, .. })) = first else {
            panic!("a watch begins with a state");
        };
        writer.join().unwrap();
        while let Some(event) = watch.try_recv_commit().unwrap() {
            assert!(matches!(event, Event::Changes { .. }), "a gap");
            assert_eq!(event.revision(), revision.next(), "a gap");
            revision = event.revision();
        }
        assert_eq!(revision, Revision::from(2), "a gap");
    });
}

fn commit(board: &Board, pod: u8) {
    board.commit(&[CommitStep::Register(0, pod)]);
}

fn watch(board: &Board) -> Watch {
    board.watch(Selection::All)
}

#[test]
fn models_a_watch_that_begins_beside_commits_has_no_gap() {
    subscribe_against_commits(watch, commit);
}

#[test]
#[should_panic(expected = "a gap")]
fn models_twin_a_watch_that_waits_for_no_turn_is_rejected() {
    fn at_once(board: &Board) -> Watch {
        let turn = || Ok(Revision::ZERO);
        board
            .log
            .watch(Selection::All, None, board.reader(), turn)
            .unwrap()
    }
    subscribe_against_commits(at_once, commit);
}

#[test]
#[should_panic(expected = "a gap")]
fn models_twin_a_commit_that_checks_before_its_turn_is_rejected() {
    fn checks_early(board: &Board, pod: u8) {
        let recording = board.log.is_recording();
        board.commit_if(recording, &[CommitStep::Register(0, pod)]);
    }
    subscribe_against_commits(watch, checks_early);
}

fn wait_against_commit(recv: fn(&mut Watch) -> Result<Event>) {
    loom::model(move || {
        let board = board(NO_LIMIT);
        let watch = watch(&board);
        let reader = thread::spawn(move || follow(watch, Revision::from(1), recv));
        commit(&board, 0);
        reader.join().unwrap();
    });
}

#[test]
fn models_a_wake_up_is_never_lost() {
    wait_against_commit(recv_commit);
    wait_against_commit(Watch::recv_commit);
}

#[test]
#[should_panic(expected = "deadlock")]
fn models_twin_a_watch_that_checks_and_then_registers_its_waker_is_rejected() {
    fn recv(watch: &mut Watch) -> Result<Event> {
        let notify = Arc::new(NotifyWaker(Notify::new()));
        loop {
            if let Some(event) = watch.try_recv_commit()? {
                return Ok(event);
            }
            watch.register_waker(Waker::from(notify.clone()));
            notify.0.wait();
        }
    }
    wait_against_commit(recv);
}

fn close_against_wait(close: fn(&Board)) {
    loom::model(move || {
        let board = board(NO_LIMIT);
        let mut watch = watch(&board);
        watch.try_recv().unwrap();
        let reader = thread::spawn(move || {
            let mut received = 0;
            while let Ok(event) = recv_commit(&mut watch) {
                assert_eq!(event.revision(), Revision::from(1));
                received += 1;
            }
            received
        });
        commit(&board, 0);
        close(&board);
        assert_eq!(
            reader.join().unwrap(),
            1,
            "what was committed before is delivered"
        );
    });
}

#[test]
fn models_a_watch_learns_that_the_store_is_closed() {
    close_against_wait(Board::close);
}

#[test]
#[should_panic(expected = "deadlock")]
fn models_twin_closing_without_waking_is_rejected() {
    close_against_wait(|board| board.log.lock().closed = true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn models_twin_waking_without_closing_leaves_watches_waiting_and_is_rejected() {
    close_against_wait(wake_without_closing);
}

/// Wakes all waiting watches, but does not close the log.
fn wake_without_closing(board: &Board) {
    let mut wake = Wakers::new();
    for topic in board.log.lock().topics.iter_mut() {
        topic.wake_all(&mut wake);
    }
    wake.into_iter().for_each(Waker::wake);
}

/// Space for one entry.
const SHORT: LogOptions = LogOptions {
    bytes: 300,
    retain: Duration::ZERO,
};

fn lag_against_append(recover: fn(&mut Watch)) {
    loom::model(move || {
        let board = board(SHORT);
        let mut watch = watch(&board);
        watch.try_recv().unwrap();
        let writer = thread::spawn({
            let board = board.clone();
            move || (0..2).for_each(|pod| commit(&board, pod))
        });
        let mut pods = 0;
        let mut shown = Revision::ZERO;
        for _ in 0..2 {
            recover(&mut watch);
            match watch.try_recv_commit().unwrap() {
                Some(Event::State {
                    services,
                    revision,
                    reason,
                    ..
                }) => {
                    assert_eq!(reason, Reason::Lagged);
                    (pods, shown) = (services.len(), revision);
                }
                Some(Event::Changes {
                    changes, revision, ..
                }) => {
                    (pods, shown) = (pods + changes.len(), revision);
                }
                None => {}
            }
        }
        writer.join().unwrap();
        assert_eq!(pods as u64, shown.as_u64(), "a gap");
    });
}

#[test]
fn models_a_watch_that_falls_behind_gets_the_state() {
    lag_against_append(|_| {});
}

#[test]
#[should_panic(expected = "a gap")]
fn models_twin_going_on_from_now_is_rejected() {
    lag_against_append(|watch| {
        let head = watch.log().head();
        watch.continue_from(head);
    });
}

/// The last watch ends (`end_watch`) while another one starts and a writer commits.
fn last_against_first(options: LogOptions, end_watch: fn(Watch)) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let board = board(options);
        let last = watch(&board);
        let end_watch = thread::spawn(move || end_watch(last));
        let writer = thread::spawn({
            let board = board.clone();
            move || commit(&board, 0)
        });
        follow(watch(&board), Revision::from(1), recv_commit);
        writer.join().unwrap();
        end_watch.join().unwrap();
    });
}

#[test]
fn models_the_last_watch_ends_while_another_comes_and_others_commit() {
    last_against_first(NO_LIMIT, drop);
}

#[test]
#[should_panic(expected = "deadlock")]
fn models_twin_ending_a_log_without_a_check_for_new_watches_is_rejected() {
    let retain = Duration::from_secs(3_600);
    last_against_first(LogOptions { retain, ..NO_LIMIT }, |last| {
        let log = last.log().clone();
        drop(last);
        // As if the watch had been removed in a separate critical section.
        log.stop_with_watches();
    });
}

/// A watch that receives a commit (`received`) checks that it can read that commit.
fn append_against_read(publish: fn(&Board, u8), received: fn(&mut Watch) -> Option<Event>) {
    loom::model(move || {
        let board = board(NO_LIMIT);
        let mut watch = watch(&board);
        watch.try_recv().unwrap();
        let reader = thread::spawn({
            let board = board.clone();
            move || {
                if let Some(event) = received(&mut watch) {
                    let now = board.shows(&Selection::All).revision;
                    assert!(now >= event.revision(), "delivered before it can be read");
                }
            }
        });
        publish(&board, 0);
        reader.join().unwrap();
    });
}

fn polls(watch: &mut Watch) -> Option<Event> {
    watch.try_recv().unwrap()
}

fn waits(watch: &mut Watch) -> Option<Event> {
    Some(recv_commit(watch).unwrap())
}

#[test]
fn models_a_delivered_commit_can_be_read() {
    append_against_read(commit, polls);
    append_against_read(commit, waits);
}

/// Appends the first commit to the log before it commits.
fn append_first(board: &Board, pod: u8) {
    let change = Difference::Added(board::record(0, pod));
    drop(board.log.append(Revision::from(1), [change]));
    board.commit_if(false, &[CommitStep::Register(0, pod)]);
}

#[test]
#[should_panic(expected = "delivered before it can be read")]
fn models_twin_a_commit_that_is_logged_before_it_is_published_is_rejected() {
    append_against_read(append_first, polls);
}

#[test]
#[should_panic(expected = "delivered before it can be read")]
fn models_twin_a_watch_that_is_woken_before_it_is_published_is_rejected() {
    append_against_read(append_first, waits);
}

/// A commit that changes only the time of a check does not take the lock of the log. Only the
/// head orders it. `readable` is what a reader without a lock can see.
fn advance_against_read(order: Ordering) {
    loom::model(move || {
        let board = board(NO_LIMIT);
        let mut watch = watch(&board);
        watch.try_recv().unwrap();
        let readable = Arc::new(AtomicU64::new(0));
        let writer = thread::spawn({
            let (board, readable) = (board.clone(), readable.clone());
            move || {
                readable.store(1, Relaxed);
                board.log.advance_with(Revision::from(1), order);
            }
        });
        assert_eq!(watch.try_recv(), Ok(None));
        let seen = Revision::from(readable.load(Relaxed));
        assert!(seen >= watch.revision(), "delivered before it can be read");
        writer.join().unwrap();
    });
}

#[test]
fn models_a_watch_moves_on_to_what_can_be_read() {
    advance_against_read(Release);
}

#[test]
#[should_panic(expected = "delivered before it can be read")]
fn models_twin_a_head_that_releases_nothing_is_rejected() {
    advance_against_read(Relaxed);
}

fn watch_against_close(close: fn(&Board)) {
    loom::model(move || {
        let board = board(NO_LIMIT);
        let closer = thread::spawn({
            let board = board.clone();
            move || close(&board)
        });
        let mut watch = watch(&board);
        match watch.try_recv() {
            Ok(Some(Event::State { .. })) => {}
            other => assert_eq!(other, Err(StoreError::Closed)),
        }
        closer.join().unwrap();
        let last = watch.try_recv();
        assert_eq!(last, Err(StoreError::Closed), "a closed store is watched");
    });
}

#[test]
fn models_a_closed_store_refuses_watches() {
    watch_against_close(Board::close);
}

#[test]
#[should_panic(expected = "a closed store is watched")]
fn models_twin_waking_without_closing_is_rejected() {
    watch_against_close(wake_without_closing);
}
