//! The law of differences, on random histories: the differences of a watch, of a commit, or of
//! two views lead exactly to the state of their revision.

use std::time::Duration;

use service_registry::changes::{Difference, LogOptions, Selection};
use service_registry::{
    Batch, DynView, Labels, RegistryStore, RegistryView, Snapshots, StoreError,
};

use crate::support::dice::Dice;
use crate::support::followed_state::{FollowedState, OF_LABELS, batch_that_skips, split_skipped};
use crate::support::follower::wrong::DeliveryFault;
use crate::support::follower::{Follower, PausedFollower, WAYS};
use crate::support::pod;

fn selections() -> Vec<Selection> {
    vec![
        Selection::All,
        Selection::service("a"),
        Selection::service("nobody"),
        Selection::pod("a:1"),
        Selection::group("a"),
        // Records change their zone at random.
        Selection::service("a").with_labels(Labels::new().in_zone(OF_LABELS)),
        Selection::All.with_labels(Labels::new().in_zone(OF_LABELS)),
    ]
}

/// Returns the present state.
pub fn now(store: &impl RegistryStore) -> FollowedState {
    let all = |view: &dyn DynView| FollowedState::of(view, &Selection::All);
    store.with_view(all).unwrap()
}

pub fn what_is_applied_is_the_state_of_that_revision<S: RegistryStore>(make: impl Fn() -> S) {
    let (lagged, replaced) = law(DeliveryFault::None, make);
    assert_eq!(lagged, 0, "fell behind a log that holds everything");
    assert!(replaced > 0, "no history removed a record by its source");
}

/// Checks the law with a log that holds only some commits: sleeping watches fall behind, and
/// cursors become too old.
pub fn who_falls_behind_at_random_has_the_state_of_that_revision<S: RegistryStore>(
    make: impl Fn(LogOptions) -> S,
) {
    for (bytes, retain) in [(6_000, 3_600), (20_000, 3_600), (6_000, 0), (0, 0)] {
        let retain = Duration::from_secs(retain);
        let (lagged, _) = law(DeliveryFault::None, || make(LogOptions { bytes, retain }));
        assert!(lagged > 10, "fell behind {lagged} times only");
    }
}

/// Checks the law on random histories. Returns how often a watch fell behind, and how many
/// removals by a source the watches have received. `fault` distorts what the followers receive.
pub fn law<S: RegistryStore>(fault: DeliveryFault, make: impl Fn() -> S) -> (usize, usize) {
    let selections = selections();
    // A cursor of another store, with a later revision than most here.
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
        let mut states = vec![now(&store)];
        let mut followers: Vec<Follower> = Vec::new();
        let mut paused: Vec<PausedFollower> = Vec::new();
        for _ in 0..120 {
            match dice.roll(10) {
                0 if followers.len() < 12 => {
                    let selection = selections[dice.roll(selections.len())].clone();
                    let watch = store.watch(selection.clone()).unwrap();
                    followers.push(Follower::new(watch, selection).with(fault));
                }
                1 if !followers.is_empty() => {
                    let goes = followers.swap_remove(dice.roll(followers.len()));
                    if goes.began {
                        paused.push(goes.pause());
                    }
                }
                2 if !paused.is_empty() => {
                    let was = paused.swap_remove(dice.roll(paused.len()));
                    let watch = store.watch_from(was.selection.clone(), was.cursor).unwrap();
                    followers.push(Follower::resume(was, watch).with(fault));
                }
                3 if dice.roll(2) == 0 => {
                    let selection = selections[dice.roll(selections.len())].clone();
                    let watch = store.watch_from(selection.clone(), stray.cursor()).unwrap();
                    followers.push(Follower::new(watch, selection).with(fault));
                }
                3 => store.clear().unwrap(),
                _ => {
                    let now = states.last().expect("there is one from the start");
                    let (batch, _) = batch_that_skips(&mut dice, now);
                    store.commit(batch).unwrap();
                }
            }
            let last = usize::try_from(store.revision().as_u64()).unwrap();
            // A commit of newer times alone has a new revision as well.
            states.resize(last + 1, now(&store));
            for follower in &mut followers {
                while dice.roll(3) == 0 && follower.look(dice.roll(WAYS), &states).unwrap() {}
            }
        }
        for follower in &mut followers {
            while follower.look(dice.roll(WAYS), &states).unwrap() {}
        }
        store.close().unwrap();
        for follower in &mut followers {
            assert_eq!(follower.watch().recv(), Err(StoreError::Closed));
            replaced += follower.replaced;
            lagged += follower.lagged;
        }
    }
    (lagged, replaced)
}

pub fn what_a_commit_answers_leads_from_one_state_to_the_next(store: &impl RegistryStore) {
    let mut dice = Dice::new(7);
    let (mut skipped, mut unchanged) = (0, 0);
    for _ in 0..300 {
        let mut followed = now(store);
        let (batch, kept) = batch_that_skips(&mut dice, &followed);
        let before = store.revision();
        let (revision, mut changes) = store.commit_changes(batch).unwrap();
        assert_eq!(revision, store.revision());
        let told = split_skipped(&mut changes);
        assert_eq!(told, kept, "what was skipped, before {changes:?}");
        skipped += kept.len();
        unchanged += usize::from(!kept.is_empty() && revision == before);
        followed.apply_all(&changes).unwrap();
        assert_eq!(followed, now(store), "{changes:?}");
    }
    assert!(
        skipped > 10 && unchanged > 0,
        "{skipped} skipped, {unchanged} times nothing else"
    );
    let mut refused = Batch::new();
    refused.delete_service("nobody:1");
    assert!(store.commit_changes(refused).is_err());
}

/// Compares two views, with a watch from the start, from some moment on, or never, and with many
/// or few changes in between.
pub fn views_tell_what_changed_between_them<S: Snapshots>(make: impl Fn() -> S) {
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
                let (batch, _) = batch_that_skips(&mut dice, &now(&store));
                store.commit(batch).unwrap();
            }
            if dice.roll(20) == 0 {
                store.clear().unwrap();
            }
            views.push(store.snapshot());
            let newer = &views[views.len() - 1];
            let older = &views[dice.roll(views.len())];
            let mut followed = FollowedState::of(older, &all);
            let changes = newer.changes_since(older).unwrap();
            followed.apply_all(&changes).unwrap();
            assert_eq!(followed, FollowedState::of(newer, &all), "{changes:?}");
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

/// There are no watches, so no log reaches back.
pub fn views_tell_of_a_subscription_that_began_again<S: Snapshots>(make: impl Fn() -> S) {
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
