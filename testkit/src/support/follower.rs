//! Whoever follows a watch, held to the law: what was applied so far is what the store showed
//! of that revision.

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

/// In how many ways an event can be taken.
pub const WAYS: usize = STREAMS.end;
/// Those that make a stream of the watch.
const STREAMS: Range<usize> = 5..if cfg!(feature = "stream") { 7 } else { 5 };
const STREAM_OF_COMMITS: usize = 6;
/// Those that take one commit at a time.
const OF_COMMITS: [usize; 3] = [1, 4, STREAM_OF_COMMITS];

/// What one had who has gone, and where.
pub struct PausedFollower {
    pub selection: Selection,
    pub cursor: Cursor,
    followed: FollowedState,
}

/// A watch, and what follows it.
pub struct Follower {
    /// Away only while it is a stream.
    watch: Option<Watch>,
    /// What was asked for, which a watch need not have.
    selection: Selection,
    followed: FollowedState,
    pub began: bool,
    /// How many removals by a source it was told of.
    pub replaced: usize,
    /// How often it fell behind.
    pub lagged: usize,
    delivery: FaultyDelivery,
}

impl Follower {
    /// Begins with a state.
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

    /// Goes on where another one of the same selection was, or begins anew.
    pub fn resume(paused: PausedFollower, watch: Watch) -> Follower {
        Follower {
            followed: paused.followed,
            began: true,
            ..Follower::new(watch, paused.selection)
        }
    }

    /// Hears with a fault.
    pub fn with(mut self, fault: DeliveryFault) -> Follower {
        self.delivery = FaultyDelivery::new(fault);
        self
    }

    /// Goes.
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

    /// Takes an event in one of the [`WAYS`], if there is one.
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

    /// The same as a stream, which is a watch again afterwards.
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
        // A stream ends where a watch says that the store is closed.
        ready(next.map(|event| event.unwrap_or(Err(service_registry::StoreError::Closed))))
    }

    /// Takes an event in one of the [`WAYS`], and checks it against the states that there
    /// were, by their revisions; tells whether there was one. Where there is none, everything
    /// up to the last state has to have been shown.
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

    /// Checks that nothing is missing up to the last of the states.
    pub fn has_shown_all(&mut self, states: &[FollowedState]) {
        let (shown, now) = (index(self.watch().revision()), states.len() - 1);
        assert!(
            shown == now,
            "a watch of {:?} has nothing to tell at revision {shown} of {now}",
            self.selection
        );
        self.shows(states, "where nothing is left to tell");
    }

    /// Checks that what was applied is the state of the revision up to which all was shown.
    fn shows(&mut self, states: &[FollowedState], when: &str) {
        let state = states[index(self.watch().revision())].clone();
        let selection = &self.selection;
        let state = state.part(selection);
        assert_eq!(self.followed, state, "{selection:?} {when}");
    }
}

/// Where the state of a revision is.
fn index(revision: Revision) -> usize {
    usize::try_from(revision.as_u64()).unwrap()
}

fn ready(poll: Poll<Result<Event>>) -> Result<Option<Event>> {
    match poll {
        Poll::Ready(event) => event.map(Some),
        Poll::Pending => Ok(None),
    }
}
