//! A follower of a watch that checks the law: what it has applied so far equals the state of the
//! store at that revision.

use std::ops::Range;
#[cfg(feature = "stream")]
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

#[cfg(feature = "stream")]
use futures_core::Stream;
#[cfg(feature = "stream")]
use service_registry::changes::{CommitStream, EventStream};
use service_registry::changes::{Cursor, Difference, Event, Reason, Selection, Watch};
use service_registry::{Cause, Result, Revision};

use super::followed_state::FollowedState;

pub mod wrong;
use wrong::{DeliveryFault, FaultyDelivery};

/// The number of ways to receive an event.
pub const WAYS: usize = STREAMS.end;
/// The ways that make a stream of the watch.
const STREAMS: Range<usize> = 5..if cfg!(feature = "stream") { 7 } else { 5 };
const STREAM_OF_COMMITS: usize = 6;
/// The ways that receive one commit at a time.
const OF_COMMITS: [usize; 3] = [1, 4, STREAM_OF_COMMITS];

/// The state and the cursor of a follower that has dropped its watch.
pub struct PausedFollower {
    pub selection: Selection,
    pub cursor: Cursor,
    followed: FollowedState,
}

/// A watch, and the state that follows it.
pub struct Follower {
    /// `None` only while it is a stream.
    watch: Option<Watch>,
    /// The selection of the watch.
    selection: Selection,
    followed: FollowedState,
    pub began: bool,
    /// The number of removals by a source that it has received.
    pub replaced: usize,
    /// The number of times that it fell behind.
    pub lagged: usize,
    delivery: FaultyDelivery,
}

impl Follower {
    /// Creates a follower whose first event is a state.
    pub fn new(watch: Watch, selection: Selection) -> Follower {
        Follower {
            watch: Some(watch),
            selection,
            followed: FollowedState::default(),
            began: false,
            replaced: 0,
            lagged: 0,
            delivery: FaultyDelivery::default(),
        }
    }

    /// Creates a follower that continues where another one of the same selection stopped, or begins
    /// anew.
    pub fn resume(paused: PausedFollower, watch: Watch) -> Follower {
        Follower {
            followed: paused.followed,
            began: true,
            ..Follower::new(watch, paused.selection)
        }
    }

    /// Delivers the events with a fault.
    pub fn with(mut self, fault: DeliveryFault) -> Follower {
        self.delivery = FaultyDelivery::new(fault);
        self
    }

    /// Drops the watch, and keeps its cursor.
    pub fn pause(mut self) -> PausedFollower {
        PausedFollower {
            cursor: self.watch().cursor(),
            selection: self.selection,
            followed: self.followed,
        }
    }

    pub fn watch(&mut self) -> &mut Watch {
        self.watch.as_mut().expect("no stream for now")
    }

    /// Receives an event in one of the [`WAYS`], if there is one.
    fn take(&mut self, way: usize) -> Result<Option<Event>> {
        let mut context = Context::from_waker(Waker::noop());
        let watch = self.watch();
        match way {
            0 => watch.try_recv(),
            1 => watch.try_recv_commit(),
            2 => watch.recv_timeout(Duration::ZERO),
            3 => ready(watch.poll_recv(&mut context)),
            4 => ready(watch.poll_recv_commit(&mut context)),
            #[cfg(feature = "stream")]
            5 => self.take_streamed(Watch::into_stream, EventStream::into_watch),
            #[cfg(feature = "stream")]
            6 => self.take_streamed(Watch::into_commit_stream, CommitStream::into_watch),
            _ => unreachable!("no such way"),
        }
    }

    /// Receives an event from a stream of the watch, which is a watch again afterwards.
    #[cfg(feature = "stream")]
    fn take_streamed<S>(
        &mut self,
        into: fn(Watch) -> S,
        back: fn(S) -> Watch,
    ) -> Result<Option<Event>>
    where
        S: Stream<Item = Result<Event>> + Unpin,
    {
        let mut stream = into(self.watch.take().expect("no stream for now"));
        let mut context = Context::from_waker(Waker::noop());
        let next = Pin::new(&mut stream).poll_next(&mut context);
        self.watch = Some(back(stream));
        // A stream ends when a watch answers that the store is closed.
        ready(next.map(|event| event.unwrap_or(Err(service_registry::StoreError::Closed))))
    }

    /// Receives an event in one of the [`WAYS`], and checks it against `states`, which are indexed
    /// by revision. Returns whether there was one. If not, checks that everything up to the last
    /// state has been shown.
    pub fn look(&mut self, way: usize, states: &[FollowedState]) -> Result<bool> {
        let before = self.watch().revision();
        let event = match self.delivery.fault {
            DeliveryFault::None => self.take(way)?,
            _ => self.take_wrongly(way)?,
        };
        let Some(event) = event else {
            self.has_shown_all(states);
            return Ok(false);
        };
        let at = self.watch().revision();
        assert!(
            event.revision() == at,
            "told by a watch that is at revision {at}: {event:?}"
        );
        assert!(
            event.revision() > before || !self.began,
            "told at revision {before}: {event:?}"
        );
        let is_state = matches!(event, Event::State { .. });
        assert!(is_state || self.began, "no state before {event:?}");
        if !is_state && OF_COMMITS.contains(&way) {
            self.passed_nothing(before, event.revision(), states);
        }
        self.began = true;
        let reason = Reason::Lagged;
        self.lagged +=
            usize::from(matches!(event, Event::State { reason: of, .. } if of == reason));
        self.followed.follow(&event).unwrap();
        if let Event::Changes { changes, .. } = &event {
            let by_source = |change: &&Difference| {
                let cause = Cause::Replaced;
                matches!(change, Difference::Removed { cause: told, .. } if *told == cause)
            };
            self.replaced += changes.iter().filter(by_source).count();
        }
        self.shows(states, &format!("after {event:?}"));
        Ok(true)
    }

    /// Checks that no commit between these two concerns this watch.
    fn passed_nothing(&self, before: Revision, told: Revision, states: &[FollowedState]) {
        for state in &states[index(before)..index(told)] {
            assert!(
                state.clone().part(&self.selection) == self.followed,
                "{:?} was told of several commits as one, from {before} to {told}",
                self.selection
            );
        }
    }

    /// Checks that the watch has shown everything up to the last state.
    pub fn has_shown_all(&mut self, states: &[FollowedState]) {
        let (shown, now) = (index(self.watch().revision()), states.len() - 1);
        assert!(
            shown == now,
            "a watch of {:?} has nothing to tell at revision {shown} of {now}",
            self.selection
        );
        self.shows(states, "where nothing is left to tell");
    }

    /// Checks that the applied events equal the state at the revision of the watch.
    fn shows(&mut self, states: &[FollowedState], when: &str) {
        let state = states[index(self.watch().revision())].clone();
        let selection = &self.selection;
        let state = state.part(selection);
        assert_eq!(self.followed, state, "{selection:?} {when}");
    }
}

/// Returns the index of the state of a revision.
fn index(revision: Revision) -> usize {
    usize::try_from(revision.as_u64()).unwrap()
}

fn ready(poll: Poll<Result<Event>>) -> Result<Option<Event>> {
    match poll {
        Poll::Ready(event) => event.map(Some),
        Poll::Pending => Ok(None),
    }
}
