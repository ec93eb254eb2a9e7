//! How a log begins, idles, begins anew and ends.

use super::*;

fn reason(event: Result<Event, StoreError>) -> Reason {
    match event {
        Ok(Event::State { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

/// A board with a log that stays without a watch, and how long.
fn retaining() -> (Board, Duration) {
    let retain = Duration::from_millis(50);
    (board(LogOptions { retain, ..NO_LIMIT }), retain)
}

#[test]
fn a_log_that_nobody_watches_ends_after_its_time_and_says_so() {
    let (board, retain) = retaining();
    let mut watch = board.watch(Selection::All);
    watch.recv().unwrap();
    let cursor = watch.cursor();
    drop(watch);
    board.commit(&[CommitStep::Register(0, 0)]);
    let mut again = board.watch_from(Selection::All, Some(cursor));
    assert!(matches!(again.recv(), Ok(Event::Changes { .. })));
    drop(again);
    thread::sleep(2 * retain);
    board.commit(&[CommitStep::Register(0, 1)]);
    assert!(!board.log.is_recording());
    let mut late = board.watch_from(Selection::All, Some(cursor));
    assert_eq!(reason(late.recv()), Reason::Lagged);
}

/// A store that gets nothing but heartbeats.
#[test]
fn a_log_that_nobody_watches_ends_without_a_difference() {
    let (board, retain) = retaining();
    assert!(!board.log.is_idle());
    let watch = board.watch(Selection::All);
    assert!(!board.log.is_idle());
    drop(watch);
    assert!(board.log.is_idle());
    drop(board.log.append(Revision::from(1), []));
    assert!(board.log.is_recording());
    thread::sleep(2 * retain);
    drop(board.log.append(Revision::from(2), []));
    assert!(!board.log.is_recording());
    assert!(!board.log.is_idle());
}

#[test]
fn a_closed_store_shows_the_rest_and_then_that_it_is_closed() {
    let board = board(NO_LIMIT);
    let mut watch = board.watch(Selection::All);
    watch.recv().unwrap();
    board.commit(&[CommitStep::Register(0, 0)]);
    board.close();
    assert!(matches!(watch.recv(), Ok(Event::Changes { .. })));
    assert_eq!(watch.recv(), Err(StoreError::Closed));
    assert_eq!(watch.try_recv_commit(), Err(StoreError::Closed));
}

#[test]
fn a_closed_log_keeps_nothing_that_nobody_can_ask_for() {
    // Nobody watches.
    let (board, _) = retaining();
    drop(board.watch(Selection::All));
    board.commit(&[CommitStep::Register(0, 0), CommitStep::Subscribe(0, 0, 0)]);
    assert!(board.log.bytes() > 0);
    board.close();
    assert_eq!(board.log.bytes(), 0);
    // Somebody does, and then goes.
    let (board, _) = retaining();
    let watch = board.watch(Selection::All);
    board.commit(&[CommitStep::Register(0, 0), CommitStep::Subscribe(0, 0, 0)]);
    board.close();
    assert!(board.log.bytes() > 0);
    drop(watch);
    assert_eq!(board.log.bytes(), 0);
}

#[test]
fn restoring_begins_anew() {
    for readable in [true, false] {
        let board = Board::new(Log::new(NO_LIMIT), readable);
        let mut watch = board.watch(Selection::service("s0"));
        watch.recv().unwrap();
        let cursor = watch.cursor();
        board.restore(&[CommitStep::Register(1, 0), CommitStep::Register(0, 0)]);
        assert_eq!(reason(watch.recv()), Reason::Restored);
        let mut again = board.watch_from(Selection::All, Some(cursor));
        let Ok(Event::State {
            reason, services, ..
        }) = again.recv()
        else {
            panic!("no state");
        };
        assert_eq!((reason, services.len()), (Reason::Restored, 2));
        board.commit(&[CommitStep::Register(0, 0)]);
        assert!(matches!(watch.recv(), Ok(Event::Changes { .. })));
        assert!(matches!(again.recv(), Ok(Event::Changes { .. })));
    }
}

#[test]
fn restoring_is_remembered_while_nobody_watches() {
    for readable in [true, false] {
        let board = Board::new(Log::new(NO_LIMIT), readable);
        let mut watch = board.watch(Selection::All);
        watch.recv().unwrap();
        let cursor = watch.cursor();
        drop(watch);
        assert!(!board.log.is_recording());
        board.restore(&[CommitStep::Register(0, 0)]);
        let mut again = board.watch_from(Selection::All, Some(cursor));
        assert_eq!(reason(again.recv()), Reason::Restored);
    }
}

#[test]
fn what_no_store_can_hold_cannot_be_watched() {
    let board = board(NO_LIMIT);
    for selection in [
        Selection::service("a:b"),
        Selection::service(""),
        Selection::pod("no-colon"),
        Selection::pod("a:"),
        Selection::group(" group"),
        Selection::group("x".repeat(10_000_000)),
    ] {
        let turn = || panic!("it was taken for one");
        let begun = board.log.watch(selection, None, board.reader(), turn);
        let refused = begun.unwrap_err();
        let StoreError::Invalid(invalid) = &refused else {
            panic!("{refused}");
        };
        assert_eq!(invalid.field(), "selection");
        assert!(refused.to_string().len() < 600);
    }
    assert_eq!(board.log.topics(), 0);
}

/// A store from elsewhere that answers with everything.
struct ReadsAll(Arc<dyn ReadState>);

impl ReadState for ReadsAll {
    fn read_state(&self, _: &Selection) -> Result<Option<State>, StoreError> {
        self.0.read_state(&Selection::All)
    }
}

#[test]
fn a_state_shows_what_is_selected_whatever_the_store_answers() {
    let board = board(NO_LIMIT);
    board.commit(&[CommitStep::Register(0, 0), CommitStep::Register(1, 0)]);
    board.commit(&[
        CommitStep::Subscribe(0, 0, 0),
        CommitStep::Subscribe(0, 0, 1),
    ]);
    let count = |selection: Selection| {
        let all = Arc::new(ReadsAll(board.reader()));
        let begun = board
            .log
            .watch(selection, None, all, || Ok(Revision::from(2)));
        let event = begun.unwrap().recv().unwrap();
        let Event::State {
            services,
            subscriptions,
            ..
        } = event
        else {
            panic!("{event:?}");
        };
        (services.len(), subscriptions.len())
    };
    assert_eq!(count(Selection::All), (2, 2));
    assert_eq!(count(Selection::service("s0")), (1, 0));
    assert_eq!(count(Selection::pod("s1:p0")), (1, 0));
    assert_eq!(count(Selection::group("g0")), (0, 1));
}
