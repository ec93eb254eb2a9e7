//! Several views beside each other, and the indexes of one.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use service_registry::{Batch, RegistryView};

use super::viewer::{ROUNDS, Viewer, all_of, come_and_go, race_with_comings_and_goings, value_of};
use crate::support::race::race;
use crate::support::views::Views;
use crate::support::{ObservedState, version};

/// Views have an order, which is that of the commits: a later one is of the same
/// revision, and shows the same, or of a later one, and shows more.
pub(crate) fn views_are_ordered<S: Views>(store: &S) {
    store.save_service(version("a", "1", 0)).unwrap();
    let base = store.revision().as_u64();
    // Of one writer's commits, number n leads to revision base + n.
    let returned = AtomicU64::new(0);
    let write = |round: usize| {
        let n = round as u64 + 1;
        store.save_service(version("a", "1", n)).unwrap();
        returned.store(n, SeqCst);
    };
    let read_by = |viewer: &Viewer<'_, S>, last: &AtomicU64, round: usize| {
        let before = returned.load(SeqCst);
        // Held at once, taken one after the other, in both ways.
        let views: Vec<S::Snapshot> = (0..4).map(|n| viewer.view(round + n)).collect();
        viewer.hold(&views[3]);
        let mut least = before.max(last.load(SeqCst));
        for view in &views {
            let seen = value_of(view, "a:1").unwrap();
            assert_eq!(
                view.revision().as_u64(),
                base + seen,
                "the revision of another state"
            );
            assert!(
                seen >= least,
                "an older view after a newer one, or a write that had returned was not seen"
            );
            least = seen;
        }
        last.store(least, SeqCst);
    };
    let viewers = [Viewer::of(store), Viewer::of(store)];
    let last = [AtomicU64::new(0), AtomicU64::new(0)];
    let one = |round| read_by(&viewers[0], &last[0], round);
    let other = |round| read_by(&viewers[1], &last[1], round);
    race(5 * ROUNDS, &[&write], &[&one, &other]);
}

/// Views that are held beside each other stay what they were, whatever is
/// committed and whichever of them goes.
pub(crate) fn views_do_not_disturb_each_other<S: Views>(store: &S) {
    let viewer = Viewer::of(store);
    let kept: Mutex<VecDeque<(S::Snapshot, ObservedState)>> = Mutex::default();
    let read = |round: usize| {
        let mut kept = kept.lock().unwrap();
        let view = viewer.view(round);
        let state = all_of(&view);
        kept.push_back((view, state));
        if kept.len() > 5 {
            // Not always the oldest goes.
            let goes = round % 5;
            let (view, state) = kept.remove(goes).expect("there are six");
            assert_eq!(all_of(&view), state, "a view has changed");
        }
    };
    race_with_comings_and_goings(store, &read);
    for (view, state) in kept.into_inner().unwrap() {
        assert_eq!(all_of(&view), state, "a view has changed");
    }
}

/// Views that were taken under way show the same when the writers have ended, the
/// store is closed, and it is gone.
pub(crate) fn views_outlive_the_writers<S: Views>(make: impl Fn() -> S) {
    for close in [true, false] {
        let store = make();
        let kept: Mutex<Vec<(S::Snapshot, ObservedState)>> = Mutex::default();
        {
            let viewer = Viewer::of(&store);
            let read = |round: usize| {
                let view = viewer.view(round);
                let state = all_of(&view);
                let mut kept = kept.lock().unwrap();
                if kept.len() < 50 {
                    kept.push((view, state));
                }
            };
            race_with_comings_and_goings(&store, &read);
        }
        if close {
            store.close().unwrap();
        }
        drop(store);
        let kept = kept.into_inner().unwrap();
        assert!(!kept.is_empty());
        let last = thread::spawn(move || {
            for (view, state) in &kept {
                assert_eq!(all_of(view), *state, "a view has changed");
            }
            kept
        });
        drop(last.join().unwrap());
    }
}

// --- indexes

/// Names, groups, subscribers and counts of one view agree with its services,
/// whatever changes: pods that register and leave, records that go without their
/// subscriptions, subscribers that nobody has registered, and everything at once.
pub(crate) fn indexes_agree<S: Views>(store: &S) {
    let registrations = |round| come_and_go(store, "a", round);
    let parts = |round: usize| {
        let pod = (round % 3).to_string();
        let key = format!("b:{pod}");
        match round % 6 {
            0 | 1 => store
                .save_service(version("b", &pod, round as u64))
                .unwrap(),
            2 => store.add_subscription(&key, "g").unwrap(),
            3 => {
                let _there_or_not = store.delete_service(&key);
            }
            4 => {
                let mut batch = Batch::new();
                batch
                    .add_subscription("ghost:1", ["g", "h"][round % 4 / 2])
                    .save_service(version("b", "moved", 1))
                    .delete_service("b:moved")
                    .save_service(version("token", "moved", 1))
                    .remove_all_subscriptions(&key);
                store.commit(batch).unwrap();
            }
            _ => store.remove_all_subscriptions("ghost:1").unwrap(),
        }
        if round % 50 == 49 {
            store.clear().unwrap();
        }
    };
    let viewer = Viewer::of(store);
    let read = |round: usize| {
        let view = viewer.view(round);
        let state = all_of(&view);
        // Of these pods none has a part that the others lack.
        let registered = state.services.keys().filter(|key| key.starts_with("a:"));
        let subscribed = state.groups.get("all").into_iter().flatten();
        let subscribed: BTreeSet<&String> = subscribed.collect();
        assert_eq!(registered.collect::<BTreeSet<_>>(), subscribed);
        viewer.hold(&view);
        assert_eq!(all_of(&view), state);
    };
    race(ROUNDS, &[&registrations, &parts], &[&read]);
}
