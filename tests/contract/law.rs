//! The law of differences, on random histories: whoever applies what a watch, a commit or two
//! views tell has the state of that revision, and is told nothing else.

use std::collections::BTreeMap;
#[cfg(feature = "stream")]
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

#[cfg(feature = "stream")]
use futures_core::Stream;
#[cfg(feature = "stream")]
use service_registry::changes::{CommitStream, EventStream};
use service_registry::changes::{Cursor, Difference, Event, LogOptions, Reason, Selection, Watch};
use service_registry::{Batch, Cause, DynView, RegistryStore, RegistryView, StoreError};

use crate::support::copied::{Copied, batch};
use crate::support::dice::Dice;
use crate::support::pod;
use crate::support::views::Views;

fn selections() -> Vec<Selection> {
    vec![
        Selection::All,
        Selection::service("a"),
        Selection::service("nobody"),
        Selection::pod("a:1"),
        Selection::group("a"),
    ]
}

/// In how many ways an event can be taken.
const WAYS: usize = if cfg!(feature = "stream") { 7 } else { 5 };

/// A watch, and what follows it.
struct Follower {
    /// Away only while it is a stream.
    watch: Option<Watch>,
    selection: Selection,
    copied: Copied,
    began: bool,
    /// How many removals by a source it was told of.
    replaced: usize,
    lagged: usize,
}

impl Follower {
    fn new(watch: Watch, selection: Selection) -> Follower {
        Follower {
            watch: Some(watch),
            selection,
            copied: Copied::default(),
            began: false,
            replaced: 0,
            lagged: 0,
        }
    }

    fn watch(&mut self) -> &mut Watch {
        self.watch.as_mut().expect("no stream for now")
    }

    /// Takes an event in one of the ways, if there is one.
    fn take(&mut self, dice: &mut Dice) -> Option<Event> {
        let mut context = Context::from_waker(Waker::noop());
        let watch = self.watch();
        match dice.roll(WAYS) {
            0 => watch.try_recv().unwrap(),
            1 => watch.try_recv_commit().unwrap(),
            2 => watch.recv_timeout(Duration::ZERO).unwrap(),
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
    fn take_streamed<S>(&mut self, into: fn(Watch) -> S, back: fn(S) -> Watch) -> Option<Event>
    where
        S: Stream<Item = service_registry::Result<Event>> + Unpin,
    {
        let mut stream = into(self.watch.take().expect("no stream for now"));
        let mut context = Context::from_waker(Waker::noop());
        let next = Pin::new(&mut stream).poll_next(&mut context);
        self.watch = Some(back(stream));
        ready(next.map(|event| event.expect("the store is open")))
    }

    /// Takes an event in one of the ways, and checks it against the states that there were.
    fn look(&mut self, dice: &mut Dice, states: &[BTreeMap<usize, Copied>], which: usize) -> bool {
        let before = self.watch().revision();
        let event = self.take(dice);
        let Some(event) = event else {
            return false;
        };
        assert_eq!(event.revision(), self.watch().revision());
        assert!(event.revision() > before || !self.began, "{event:?}");
        let is_state = matches!(event, Event::State { .. });
        assert!(is_state || self.began, "no state before {event:?}");
        self.began = true;
        let reason = Reason::Lagged;
        self.lagged +=
            usize::from(matches!(event, Event::State { reason: of, .. } if of == reason));
        self.copied.follow(&event).unwrap();
        if let Event::Changes { changes, .. } = &event {
            let by_source = |change: &&Difference| {
                let cause = Cause::Replaced;
                matches!(change, Difference::Removed { cause: told, .. } if *told == cause)
            };
            self.replaced += changes.iter().filter(by_source).count();
        }
        let state = &states[usize::try_from(event.revision().as_u64()).unwrap()];
        assert_eq!(
            self.copied, state[&which],
            "{:?} after {event:?}",
            self.selection
        );
        true
    }
}

fn ready(poll: Poll<service_registry::Result<Event>>) -> Option<Event> {
    match poll {
        Poll::Ready(event) => Some(event.unwrap()),
        Poll::Pending => None,
    }
}

/// What is selected now, of each selection.
pub(crate) fn now(store: &impl RegistryStore, selections: &[Selection]) -> BTreeMap<usize, Copied> {
    let look = |view: &dyn DynView| {
        let selections = selections.iter().enumerate();
        selections
            .map(|(which, selection)| (which, Copied::of(view, selection)))
            .collect()
    };
    store.with_view(look).unwrap()
}

pub(crate) fn what_is_applied_is_the_state_of_that_revision<S: RegistryStore>(
    make: impl Fn() -> S,
) {
    let (lagged, replaced) = law(make);
    assert_eq!(lagged, 0, "fell behind a log that holds everything");
    assert!(replaced > 0, "no history removed a record by its source");
}

/// The same with a log that holds some commits: watches that sleep fall behind, and cursors
/// grow too old.
pub(crate) fn who_falls_behind_at_random_has_the_state_of_that_revision<S: RegistryStore>(
    make: impl Fn(LogOptions) -> S,
) {
    for (bytes, retain) in [(6_000, 3_600), (20_000, 3_600), (6_000, 0), (0, 0)] {
        let retain = Duration::from_secs(retain);
        let (lagged, _) = law(|| make(LogOptions { bytes, retain }));
        assert!(lagged > 10, "fell behind {lagged} times only");
    }
}

/// Random histories; answers with how often a watch fell behind, and of how many removals by
/// a source watches were told.
fn law<S: RegistryStore>(make: impl Fn() -> S) -> (usize, usize) {
    let selections = selections();
    // Of another store, and of a later revision than most here.
    let other = make();
    let mut stray = other.watch(Selection::All).unwrap();
    let (mut replaced, mut lagged) = (0, 0);
    for seed in 0..40 {
        other.clear().unwrap();
        for n in 0..10 {
            other.save_service(pod("a", &n.to_string())).unwrap();
        }
        stray.try_recv().unwrap();
        let (store, mut dice) = (make(), Dice::new(seed));
        let mut states = vec![now(&store, &selections)];
        let mut followers: Vec<(usize, Follower)> = Vec::new();
        let mut cursors: Vec<(usize, Cursor, Copied)> = Vec::new();
        for _ in 0..120 {
            match dice.roll(10) {
                0 if followers.len() < 12 => {
                    let which = dice.roll(selections.len());
                    let selection = selections[which].clone();
                    let watch = store.watch(selection.clone()).unwrap();
                    followers.push((which, Follower::new(watch, selection)));
                }
                1 if !followers.is_empty() => {
                    let (which, mut gone) = followers.swap_remove(dice.roll(followers.len()));
                    if gone.began {
                        cursors.push((which, gone.watch().cursor(), gone.copied));
                    }
                }
                2 if !cursors.is_empty() => {
                    let (which, cursor, copied) = cursors.swap_remove(dice.roll(cursors.len()));
                    let selection = selections[which].clone();
                    let watch = store.watch_from(selection.clone(), cursor).unwrap();
                    let mut follower = Follower::new(watch, selection);
                    // Goes on where the other one was, or begins anew.
                    (follower.copied, follower.began) = (copied, true);
                    followers.push((which, follower));
                }
                3 if dice.roll(2) == 0 => {
                    let which = dice.roll(selections.len());
                    let selection = selections[which].clone();
                    let watch = store.watch_from(selection.clone(), stray.cursor()).unwrap();
                    followers.push((which, Follower::new(watch, selection)));
                }
                3 => store.clear().unwrap(),
                _ => {
                    store.commit(batch(&mut dice)).unwrap();
                }
            }
            let last = usize::try_from(store.revision().as_u64()).unwrap();
            // A commit that brings newer times only leads to another revision, too.
            states.resize(last + 1, now(&store, &selections));
            for (which, follower) in &mut followers {
                while dice.roll(3) == 0 && follower.look(&mut dice, &states, *which) {}
            }
        }
        let end = store.revision();
        for (which, follower) in &mut followers {
            while follower.look(&mut dice, &states, *which) {}
            assert_eq!(follower.watch().revision(), end);
        }
        store.close().unwrap();
        for (_, follower) in &mut followers {
            assert_eq!(follower.watch().recv(), Err(StoreError::Closed));
            replaced += follower.replaced;
            lagged += follower.lagged;
        }
    }
    (lagged, replaced)
}

pub(crate) fn what_a_commit_answers_leads_from_one_state_to_the_next(store: &impl RegistryStore) {
    let mut dice = Dice::new(7);
    let all = [Selection::All];
    for _ in 0..300 {
        let mut copied = now(store, &all).remove(&0).unwrap();
        let (revision, changes) = store.commit_changes(batch(&mut dice)).unwrap();
        assert_eq!(revision, store.revision());
        copied.apply_all(&changes).unwrap();
        assert_eq!(Some(copied), now(store, &all).remove(&0), "{changes:?}");
    }
    let mut refused = Batch::new();
    refused.delete_service("nobody:1");
    assert!(store.commit_changes(refused).is_err());
}

/// With somebody who watches from the start, from some time on, or never, and with many changes
/// in between or few.
pub(crate) fn views_tell_what_changed_between_them<S: Views>(make: impl Fn() -> S) {
    let all = Selection::All;
    for seed in 0..30 {
        let (store, mut dice) = (make(), Dice::new(seed));
        let since = [Some(0), Some(30), None][usize::try_from(seed % 3).unwrap()];
        let mut watch = None;
        let mut views = vec![store.snapshot()];
        for turn in 0..60 {
            if since == Some(turn) {
                watch = Some(store.watch(Selection::service("nobody")).unwrap());
            }
            for _ in 0..=dice.roll(3) {
                store.commit(batch(&mut dice)).unwrap();
            }
            if dice.roll(20) == 0 {
                store.clear().unwrap();
            }
            views.push(store.snapshot());
            let newer = &views[views.len() - 1];
            let older = &views[dice.roll(views.len())];
            let mut copied = Copied::of(older, &all);
            let changes = newer.changes_since(older).unwrap();
            copied.apply_all(&changes).unwrap();
            assert_eq!(copied, Copied::of(newer, &all), "{changes:?}");
            let backwards = older.changes_since(newer);
            assert_eq!(backwards.is_err(), older.revision() < newer.revision());
        }
        let same = &views[0];
        assert_eq!(same.changes_since(&same.clone()), Ok(Vec::new()));
        let other = make().snapshot();
        assert!(matches!(
            same.changes_since(&other),
            Err(StoreError::Invalid(_))
        ));
        drop(watch);
    }
}

/// Nobody watches, so that no log reaches back.
pub(crate) fn views_tell_of_a_subscription_that_began_again<S: Views>(make: impl Fn() -> S) {
    let store = make();
    store.add_subscription("a:1", "a").unwrap();
    let older = store.snapshot();
    store.remove_subscription("a:1", "a").unwrap();
    store.add_subscription("a:1", "a").unwrap();
    let changes = store.snapshot().changes_since(&older).unwrap();
    assert!(
        matches!(
            &changes[..],
            [
                Difference::Unsubscribed { .. },
                Difference::Subscribed { .. }
            ]
        ),
        "{changes:?}"
    );
}
