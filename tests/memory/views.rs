//! Views that are held and released in any order.

use std::collections::BTreeSet;
use std::sync::mpsc::channel;

use service_registry::{Batch, RegistryStore, RegistryView, ServiceStatus};

use crate::heap::ledger::{self, number};
use crate::support::dice::Dice;
use crate::support::views::Views;
use crate::support::{ObservedState, at, observe_view};
use crate::{Churn, GROUPS, check_exact, check_held, held_by, marked};

/// The payloads that a view shows.
fn shown(view: &impl RegistryView) -> BTreeSet<usize> {
    view.services().map(number).collect()
}

fn filled<S: Views>(store: &S) {
    for n in 0..50 {
        let (name, pod) = (["a", "b", "c"][n % 3], n.to_string());
        store.save_service(marked(name, &pod)).unwrap();
        store
            .add_subscription(&format!("{name}:{pod}"), GROUPS[n % 3])
            .unwrap();
    }
}

/// Replaces every record a few times, in every way that there is.
fn replace_all(store: &impl RegistryStore) {
    let keys: Vec<_> = store.get_all_services().unwrap();
    let keys: Vec<_> = keys.iter().map(|info| info.key().clone()).collect();
    for round in 0..3 {
        let mut batch = Batch::new();
        for key in &keys {
            let record = marked(key.service_name(), key.pod_name());
            match round {
                0 => store.save_service(record).unwrap(),
                1 => {
                    store.delete_service(key).unwrap();
                    store.save_service(record).unwrap();
                }
                _ => drop(batch.save_service(record)),
            }
            store
                .update_health_status(key, ServiceStatus::Healthy, at(round))
                .unwrap();
        }
        store.commit(batch).unwrap();
    }
}

pub(crate) fn a_view_keeps_what_it_shows_and_nothing_more<S: Views>(make: impl Fn() -> S) {
    let book = ledger::open();
    let store = make();
    filled(&store);
    let view = store.snapshot();
    let (kept, state) = (shown(&view), observe_view(&view, &GROUPS));
    assert_eq!(kept.len(), 50);
    for round in 0..5 {
        replace_all(&store);
        let when = format!("replaced {round} times under a view");
        check_held(&store, &book, &kept, &when);
        // The view's records and as many newer ones, and nothing between them.
        assert_eq!(book.alive().len(), 100);
    }
    store.clear().unwrap();
    check_held(&store, &book, &kept, "cleared under a view");
    assert!(
        observe_view(&view, &GROUPS) == state,
        "the view has changed"
    );
    // What was noted holds clones of its records.
    drop((view, state));
    check_exact(&store, &book, "the view is gone");
    book.check_all_died("the store is empty");
}

pub(crate) fn a_handle_keeps_what_it_showed_and_nothing_more<S: Views>(make: impl Fn() -> S) {
    let book = ledger::open();
    let store = make();
    filled(&store);
    let mut handle = store.reader();
    for _ in 0..5 {
        let kept = shown(&S::view(&mut handle).clone());
        replace_all(&store);
        check_held(&store, &book, &kept, "replaced under a handle");
    }
    drop(S::view(&mut handle).clone());
    check_exact(&store, &book, "the handle shows the newest state");
    replace_all(&store);
    drop(handle);
    check_exact(&store, &book, "the handle is gone");
}

/// Dozens of views of dozens of states, let go in a random order; after each, what
/// the others show is alive, and no more.
pub(crate) fn many_views_keep_what_they_show_in_any_order<S: Views>(make: impl Fn() -> S) {
    for seed in 0..5 {
        let book = ledger::open();
        let store = make();
        filled(&store);
        let mut dice = Dice::new(seed);
        let mut churn = Churn::new(1000 + seed);
        let mut views = Vec::new();
        for step in 0..200 {
            match dice.roll(6) {
                0 | 1 => {
                    let view = store.snapshot();
                    let state = observe_view(&view, &GROUPS);
                    views.push((view, state));
                }
                2 if !views.is_empty() => {
                    let (view, state): &(S::Snapshot, ObservedState) =
                        &views[dice.roll(views.len())];
                    views.push((view.clone(), state.clone()));
                }
                3 if !views.is_empty() => {
                    let (view, state) = views.swap_remove(dice.roll(views.len()));
                    assert!(observe_view(&view, &GROUPS) == state, "a view has changed");
                }
                _ => (0..10).for_each(|_| churn.step(&store)),
            }
            churn.kept.clear();
            // The states that were noted hold clones of what the views show.
            let kept = views.iter().flat_map(|(view, _)| shown(view)).collect();
            check_held(&store, &book, &kept, &format!("seed {seed}, step {step}"));
        }
        store.clear().unwrap();
        while !views.is_empty() {
            views.swap_remove(dice.roll(views.len()));
            let kept = views.iter().flat_map(|(view, _)| shown(view)).collect();
            check_held(&store, &book, &kept, "let go of a view");
        }
        book.check_all_died("all views are gone");
    }
}

/// Records that are the same but for their health share their registration: it dies with
/// the last version of it, whichever that is.
pub(crate) fn versions_of_one_registration_are_let_go_in_any_order<S: Views>(make: impl Fn() -> S) {
    for seed in 0..20 {
        let book = ledger::open();
        let store = make();
        let mut dice = Dice::new(seed);
        let mut views = Vec::new();
        for step in 0..300 {
            let key = ["a:1", "a:2"][dice.roll(2)];
            match dice.roll(12) {
                0 | 1 => store.save_service(marked("a", &key[2..])).unwrap(),
                2 => drop(store.delete_service(key)),
                3 if dice.roll(10) == 0 => store.clear().unwrap(),
                3..=6 => drop(store.update_health_status(key, ServiceStatus::Healthy, at(step))),
                7..=9 => {
                    let view = store.snapshot();
                    let state = observe_view(&view, &GROUPS);
                    views.push((view, state));
                }
                _ if !views.is_empty() => {
                    let (view, state) = views.swap_remove(dice.roll(views.len()));
                    assert!(observe_view(&view, &GROUPS) == state, "a view has changed");
                }
                _ => {}
            }
            if step % 20 == 0 {
                let kept = views.iter().flat_map(|(view, _)| shown(view)).collect();
                check_held(&store, &book, &kept, &format!("seed {seed}, step {step}"));
            }
        }
        if dice.roll(2) == 0 {
            store.close().unwrap();
        }
        drop(store);
        while !views.is_empty() {
            let (view, state) = views.swap_remove(dice.roll(views.len()));
            assert!(observe_view(&view, &GROUPS) == state, "a view has changed");
        }
        book.check_all_died("all views are gone");
    }
}

pub(crate) fn views_outlive_their_store_and_keep_what_they_show<S: Views>(make: impl Fn() -> S) {
    for close in [false, true] {
        let book = ledger::open();
        let store = make();
        filled(&store);
        let early = store.snapshot();
        let mut handle = store.reader();
        let looked = shown(&S::view(&mut handle).clone());
        replace_all(&store);
        let late = store.snapshot();
        replace_all(&store);
        let last = held_by(&store);
        let mut kept = shown(&early);
        kept.extend(shown(&late));
        assert_eq!(looked, shown(&early));
        if close {
            store.close().unwrap();
            book.check(&kept, "closed");
        }
        drop(store);
        if !close {
            // A handle has not shown the last state yet, and is still to show it.
            kept.extend(&last);
        }
        book.check(&kept, "the store is gone");
        let newest = shown(&S::view(&mut handle).clone());
        assert_eq!(newest, if close { BTreeSet::new() } else { last });
        drop(handle);
        let mut kept = shown(&early);
        kept.extend(shown(&late));
        book.check(&kept, "the handle is gone");
        drop(late);
        book.check(&shown(&early), "a view is gone");
        assert_eq!(early.services().count(), 50);
        drop(early);
        book.check_all_died("all views are gone");
    }
}

/// Threads take views, look at them, send them to each other and let them go, while
/// others write.
pub(crate) fn views_held_and_released_under_churn_lose_nothing<S: Views>(make: impl Fn() -> S) {
    const VIEWERS: usize = 3;
    let book = ledger::open();
    let store = make();
    filled(&store);
    let (post, boxes): (Vec<_>, Vec<_>) = (0..VIEWERS).map(|_| channel()).unzip();
    let boxes: Vec<_> = boxes.into_iter().map(std::sync::Mutex::new).collect();
    let left = crate::support::race::together(VIEWERS + 3, |thread| {
        let mut dice = Dice::new(thread as u64);
        if thread >= VIEWERS {
            let mut churn = Churn::new(500 + thread as u64);
            (0..600).for_each(|_| churn.step(&store));
            return Vec::new();
        }
        let mut handle = store.reader();
        let mut held = Vec::new();
        let mail = boxes[thread].lock().unwrap();
        for _ in 0..400 {
            match dice.roll(6) {
                0 | 1 => {
                    let view = store.snapshot();
                    let numbers = shown(&view);
                    held.push((view, numbers));
                }
                2 => {
                    let view = S::view(&mut handle).clone();
                    let numbers = shown(&view);
                    held.push((view, numbers));
                }
                3 if !held.is_empty() => {
                    let (view, numbers): &(S::Snapshot, _) = &held[dice.roll(held.len())];
                    let copy = (view.clone(), BTreeSet::clone(numbers));
                    // The other viewer may have ended, and the view goes at once.
                    drop(post[(thread + 1) % VIEWERS].send(copy));
                }
                4 => held.extend(mail.try_iter()),
                _ if !held.is_empty() => {
                    let (view, numbers) = held.swap_remove(dice.roll(held.len()));
                    assert_eq!(shown(&view), numbers, "a view has changed");
                }
                _ => {}
            }
        }
        held
    });
    drop((post, boxes));
    let mut left: Vec<_> = left.into_iter().flatten().collect();
    assert!(!left.is_empty(), "no view is left to be checked");
    let mut dice = Dice::new(7);
    let kept_by = |left: &[(S::Snapshot, BTreeSet<usize>)]| {
        left.iter()
            .flat_map(|(_, numbers)| numbers.clone())
            .collect()
    };
    check_held(&store, &book, &kept_by(&left), "the writers have ended");
    for (view, numbers) in &left {
        assert_eq!(shown(view), *numbers, "a view has changed");
    }
    while left.len() > 3 {
        left.swap_remove(dice.roll(left.len()));
    }
    check_held(&store, &book, &kept_by(&left), "three views are left");
    drop(store);
    book.check(&kept_by(&left), "the store is gone");
    drop(left);
    book.check_all_died("all views are gone");
}
