//! Changes, told as they happen: the law of differences on random histories, and the ways in
//! which others got it wrong.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use service_registry::changes::{Cursor, Difference, Event, LogOptions, Reason, Selection, Watch};
use service_registry::{
    Batch, Cause, DynView, Expected, OnForeign, Registry, RegistryStore, RegistryView, ServiceInfo,
    ServiceStatus, StoreError,
};

use crate::support::copied::{Copied, GROUPS, batch};
use crate::support::dice::Dice;
use crate::support::views::Views;
use crate::support::{WATCHES, at, pod, registration, revision};

// --- the law

fn selections() -> Vec<Selection> {
    vec![
        Selection::All,
        Selection::service("a"),
        Selection::service("nobody"),
        Selection::pod("a:1"),
        Selection::group("a"),
    ]
}

/// A watch, and what follows it.
struct Follower {
    watch: Watch,
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
            watch,
            selection,
            copied: Copied::default(),
            began: false,
            replaced: 0,
            lagged: 0,
        }
    }

    /// Takes an event in one of the ways, and checks it against the states that there were.
    fn look(&mut self, dice: &mut Dice, states: &[BTreeMap<usize, Copied>], which: usize) -> bool {
        let before = self.watch.revision();
        let mut context = Context::from_waker(Waker::noop());
        let event = match dice.roll(5) {
            0 => self.watch.try_recv().unwrap(),
            1 => self.watch.try_recv_commit().unwrap(),
            2 => self.watch.recv_timeout(Duration::ZERO).unwrap(),
            3 => ready(self.watch.poll_recv(&mut context)),
            _ => ready(self.watch.poll_recv_commit(&mut context)),
        };
        let Some(event) = event else {
            return false;
        };
        assert_eq!(event.revision(), self.watch.revision());
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
fn now(store: &impl RegistryStore, selections: &[Selection]) -> BTreeMap<usize, Copied> {
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
                    let (which, gone) = followers.swap_remove(dice.roll(followers.len()));
                    if gone.began {
                        cursors.push((which, gone.watch.cursor(), gone.copied));
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
            assert_eq!(follower.watch.revision(), end);
        }
        store.close().unwrap();
        for (_, follower) in &mut followers {
            assert_eq!(follower.watch.recv(), Err(StoreError::Closed));
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

pub(crate) fn a_view_behind_dyn_is_of_one_state(store: &impl RegistryStore) {
    let mut dice = Dice::new(3);
    for _ in 0..50 {
        store.commit(batch(&mut dice)).unwrap();
        let seen = store.with_view(|view| {
            let mut names: Vec<String> = view.names().map(String::from).collect();
            let mut groups: Vec<String> = view.groups().map(String::from).collect();
            names.sort();
            groups.sort();
            let pods = names.iter().map(|name| view.services_by_name(name).count());
            let subscribers = groups.iter().map(|group| view.subscribers(group).count());
            let found = view
                .services()
                .filter(|info| view.get(info.key()) == Some(*info));
            assert_eq!(pods.sum::<usize>(), view.stats().services);
            assert_eq!(subscribers.sum::<usize>(), view.stats().subscriptions);
            assert_eq!(found.count(), view.stats().services);
            (view.revision(), names, groups)
        });
        let (revision, names, groups) = seen.unwrap();
        assert_eq!(revision, store.revision());
        for name in ["a", "b", "c"] {
            let is_there = !store.get_services_by_name(name).unwrap().is_empty();
            assert_eq!(names.iter().any(|known| known == name), is_there);
        }
        for group in GROUPS {
            let is_there = !store.get_subscribers(group).unwrap().is_empty();
            assert_eq!(groups.iter().any(|known| known == group), is_there);
        }
    }
    let mut asked = 0;
    store.visit_view(&mut |_| asked += 1).unwrap();
    assert_eq!(asked, 1);
    store.close().unwrap();
    assert_eq!(store.with_view(|_| ()), Err(StoreError::Closed));
}

pub(crate) fn a_call_from_inside_a_view_is_done_or_refused(store: &impl RegistryStore) {
    store.add_subscription("a:1", "g").unwrap();
    let inside = store.with_view(|_| store.clear()).unwrap();
    assert!(matches!(inside, Ok(()) | Err(StoreError::Reentrant)));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        store.with_view(|_| std::panic::resume_unwind(Box::new("on purpose")))
    }));
    assert!(panicked.is_err());
    store.clear().unwrap();
    store.close().unwrap();
    assert_eq!(store.with_view(|_| ()), Err(StoreError::Closed));
}

// --- one event

fn changes(event: Event) -> Vec<Difference> {
    match event {
        Event::Changes { changes, .. } => changes,
        other => panic!("a state: {other:?}"),
    }
}

/// A watch that has shown its first state.
fn begun(store: &impl RegistryStore, selection: Selection) -> Watch {
    let mut watch = store.watch(selection).unwrap();
    let first = watch.recv().unwrap();
    assert!(matches!(
        first,
        Event::State {
            reason: Reason::Begin,
            ..
        }
    ));
    watch
}

pub(crate) fn a_newer_time_by_itself_is_no_difference(store: &impl RegistryStore) {
    store.save_service(pod("a", "1")).unwrap();
    let mut watch = begun(store, Selection::service("a"));
    for seconds in [1, 2, 3] {
        let healthy = ServiceStatus::Healthy;
        store
            .update_health_status("a:1", healthy, at(seconds))
            .unwrap();
    }
    let told = changes(watch.recv_commit().unwrap());
    assert!(matches!(told[..], [Difference::Changed { .. }]));
    assert_eq!(watch.try_recv().unwrap(), None);
    assert_eq!(watch.revision(), store.revision());
    assert_eq!(store.get_service("a:1").unwrap().revision(), revision(2));
}

/// A delete that a shared stream never told of.
pub(crate) fn a_removal_is_told_with_its_cause(store: &impl RegistryStore) {
    let mut watches = [(); 3].map(|()| begun(store, Selection::pod("a:1")));
    let of_file = || pod("a", "1").with_source("file").unwrap();
    let mut cause_of = |remove: &dyn Fn(), expected: Cause| {
        store.save_service(of_file()).unwrap();
        remove();
        for watch in &mut watches {
            let added = changes(watch.recv_commit().unwrap());
            assert!(matches!(added[..], [Difference::Added(_)]), "{added:?}");
            let removed = changes(watch.recv_commit().unwrap());
            let [Difference::Removed { cause, last, .. }] = &removed[..] else {
                panic!("{removed:?}");
            };
            assert_eq!((&**last.key(), *cause), ("a:1", expected));
        }
    };
    cause_of(&|| store.delete_service("a:1").unwrap(), Cause::Deleted);
    cause_of(&|| drop(store.take_service("a:1").unwrap()), Cause::Deleted);
    cause_of(&|| store.clear().unwrap(), Cause::Cleared);
    let expired = || {
        let mut batch = Batch::new();
        batch.remove_if("a:1", Expected::Present, Cause::Expired);
        store.commit(batch).unwrap();
    };
    cause_of(&expired, Cause::Expired);
    let replaced = || {
        let mut batch = Batch::new();
        batch.replace_source("file", vec![], OnForeign::Reject);
        store.commit(batch).unwrap();
    };
    cause_of(&replaced, Cause::Replaced);
}

pub(crate) fn what_came_and_went_unseen_shows_nothing(store: &impl RegistryStore) {
    let mut watch = begun(store, Selection::All);
    store.save_service(pod("a", "1")).unwrap();
    store.add_subscription("a:1", "g").unwrap();
    store.take_service("a:1").unwrap();
    assert_eq!(watch.try_recv().unwrap(), None);
    assert_eq!(watch.revision(), store.revision());
}

/// A key that is deleted and made again looked unchanged; so did a record that was
/// registered anew.
pub(crate) fn a_key_that_is_made_again_is_a_change(store: &impl RegistryStore) {
    store.save_service(pod("a", "1")).unwrap();
    store.add_subscription("a:1", "g").unwrap();
    let mut watch = begun(store, Selection::All);
    store.delete_service("a:1").unwrap();
    store.save_service(pod("a", "1")).unwrap();
    store.remove_subscription("a:1", "g").unwrap();
    store.add_subscription("a:1", "g").unwrap();
    let told = changes(watch.recv().unwrap());
    let [
        Difference::Changed { before, after, .. },
        Difference::Unsubscribed { .. },
        Difference::Subscribed { .. },
    ] = &told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!(before, after);
    assert!(before.incarnation() < after.incarnation());
    let registry = Registry::new(store);
    registry.register(registration("a", "1", &[])).unwrap();
    let anew = changes(watch.recv().unwrap());
    assert!(matches!(anew[0], Difference::Changed { .. }), "{anew:?}");
}

/// A gap was handled by going on from now; a slow reader held up the others, or kept
/// everything that was removed.
pub(crate) fn who_falls_behind_is_told_the_state_and_holds_up_nobody(store: &impl RegistryStore) {
    let mut stuck = begun(store, Selection::All);
    let mut quick = begun(store, Selection::All);
    let mut large = registration("a", "1", &[]);
    large.health_check_url = "x".repeat(8_000);
    let mut told = 0;
    for n in 0..1_500 {
        large.weight = n;
        store
            .save_service(ServiceInfo::new(large.clone()).unwrap())
            .unwrap();
        told += changes(quick.recv_commit().unwrap()).len();
    }
    assert_eq!(told, 1_500);
    let Event::State {
        reason, services, ..
    } = stuck.recv().unwrap()
    else {
        panic!("a gap was passed over");
    };
    assert_eq!((reason, services.len()), (Reason::Lagged, 1));
    assert_eq!(services[0].weight(), 1_499);
    store.delete_service("a:1").unwrap();
    let told = changes(stuck.recv().unwrap());
    assert!(matches!(told[..], [Difference::Removed { .. }]));
}

pub(crate) fn a_cursor_goes_on_or_begins_anew<S: RegistryStore>(make: impl Fn() -> S) {
    let store = make();
    let mut watch = begun(&store, Selection::service("a"));
    store.save_service(pod("a", "1")).unwrap();
    drop(watch.recv().unwrap());
    let cursor = watch.cursor();
    drop(watch);
    store.save_service(pod("a", "2")).unwrap();
    store.save_service(pod("b", "1")).unwrap();
    let mut again = store.watch_from(Selection::service("a"), cursor).unwrap();
    let told = changes(again.recv().unwrap());
    assert!(matches!(&told[..], [Difference::Added(info)] if &**info.key() == "a:2"));
    // Of another selection, it goes on as well.
    let mut other = store.watch_from(Selection::pod("b:1"), cursor).unwrap();
    let told = changes(other.recv().unwrap());
    assert!(matches!(&told[..], [Difference::Added(info)] if &**info.key() == "b:1"));
    // Of another store, or ahead of this one: made up, in its text form.
    let another = make();
    let text = cursor.to_string();
    let (number, _) = text.split_once('-').unwrap();
    let ahead = [4, u64::MAX].map(|at| format!("{number}-{at}").parse().unwrap());
    let [next, last] = ahead.map(|cursor| store.watch_from(Selection::All, cursor).unwrap());
    let anew = another.watch_from(Selection::All, cursor).unwrap();
    let is_begin = |event: Event| {
        matches!(
            event,
            Event::State {
                reason: Reason::Begin,
                ..
            }
        )
    };
    for mut watch in [next, last, anew] {
        assert!(is_begin(watch.recv().unwrap()));
    }
    // That of the present goes on.
    let present = format!("{number}-3").parse().unwrap();
    let mut here = store.watch_from(Selection::All, present).unwrap();
    assert_eq!(here.try_recv().unwrap(), None);
}

pub(crate) fn a_closed_store_ends_its_watches(store: &impl RegistryStore) {
    let mut watch = begun(store, Selection::All);
    store.save_service(pod("a", "1")).unwrap();
    store.close().unwrap();
    assert_eq!(changes(watch.recv().unwrap()).len(), 1);
    assert_eq!(watch.recv(), Err(StoreError::Closed));
    assert_eq!(watch.try_recv_commit(), Err(StoreError::Closed));
    for (name, call) in WATCHES {
        assert_eq!(call(store), Err(StoreError::Closed), "{name}");
    }
}

pub(crate) fn a_watch_from_inside_a_closure_is_begun_or_refused(store: &impl RegistryStore) {
    store.save_service(pod("a", "1")).unwrap();
    for (name, call) in WATCHES {
        assert_eq!(call(store), Ok(()), "{name}");
        for inside in [
            store.with_service("a:1", |_| call(store)).unwrap(),
            store.with_view(|_| call(store)).unwrap(),
        ] {
            let refused = inside == Err(StoreError::Reentrant);
            assert!(refused || inside == Ok(()), "{name}: {inside:?}");
        }
        assert_eq!(call(store), Ok(()), "{name}");
    }
}

pub(crate) fn a_store_that_is_dropped_ends_its_watches<S: RegistryStore>(make: impl Fn() -> S) {
    let store = make();
    let mut watch = begun(&store, Selection::All);
    let mut unread = store.watch(Selection::All).unwrap();
    store.save_service(pod("a", "1")).unwrap();
    drop(store);
    assert_eq!(changes(watch.recv().unwrap()).len(), 1);
    assert_eq!(watch.recv(), Err(StoreError::Closed));
    assert_eq!(unread.recv(), Err(StoreError::Closed));
}

/// Counts, panics, or uses the store.
struct Woken<'s> {
    woken: AtomicUsize,
    then: Box<dyn Fn() + Send + Sync + 's>,
}

impl Wake for Woken<'static> {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, SeqCst);
        (self.then)();
    }
}

fn woken(then: impl Fn() + Send + Sync + 'static) -> Arc<Woken<'static>> {
    Arc::new(Woken {
        woken: AtomicUsize::new(0),
        then: Box::new(then),
    })
}

/// A change of any name once woke everybody.
pub(crate) fn who_watches_other_names_sleeps_on(store: &impl RegistryStore) {
    let waker = woken(|| ());
    let sleep = |watch: &mut Watch| {
        let waker = Waker::from(waker.clone());
        assert!(
            watch
                .poll_recv(&mut Context::from_waker(&waker))
                .is_pending()
        );
    };
    let mut others: Vec<Watch> = (0..100)
        .map(|n| begun(store, Selection::service(format!("other-{n}"))))
        .collect();
    others.iter_mut().for_each(sleep);
    store.save_service(pod("a", "1")).unwrap();
    store.add_subscription("a:1", "other-1").unwrap();
    assert_eq!(waker.woken.load(SeqCst), 0);
    store.save_service(pod("other-7", "1")).unwrap();
    assert_eq!(waker.woken.load(SeqCst), 1);
    // Who has given up is not woken any more.
    others.iter_mut().skip(8).take(1).for_each(sleep);
    others.remove(8);
    store.save_service(pod("other-8", "1")).unwrap();
    assert_eq!(waker.woken.load(SeqCst), 1);
}

/// A thousand watches, of which each panics or calls the store; the others, and the writer,
/// notice nothing.
/// What a panic leaves, and panics itself when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("on purpose, too");
    }
}

pub(crate) fn wakers_that_panic_or_call_the_store_harm_nobody<S>(make: impl Fn() -> S)
where
    S: RegistryStore + Send + Sync + 'static,
{
    let store = Arc::new(make());
    let mut watches = Vec::new();
    for n in 0..1_000 {
        let inside = Arc::downgrade(&store);
        let waker = woken(move || match n % 2 {
            0 => std::panic::resume_unwind(Box::new(Bomb)),
            _ => {
                if let Some(store) = inside.upgrade() {
                    store.add_subscription("a:1", &format!("g-{n}")).unwrap();
                    store.get_services_by_name("a").unwrap();
                }
            }
        });
        let mut watch = begun(&*store, Selection::service("a"));
        let waking = Waker::from(waker.clone());
        assert!(
            watch
                .poll_recv(&mut Context::from_waker(&waking))
                .is_pending()
        );
        watches.push((watch, waker));
    }
    let saved = catch_unwind(AssertUnwindSafe(|| store.save_service(pod("a", "1"))));
    assert!(matches!(saved, Ok(Ok(()))));
    for (watch, waker) in &mut watches {
        assert_eq!(waker.woken.load(SeqCst), 1);
        assert_eq!(changes(watch.recv().unwrap()).len(), 1);
    }
    assert_eq!(store.stats().unwrap().subscriptions, 500);
}

// --- threads

/// An event that was lost between the state and the stream; a waiter that came after what it
/// waited for; an event that was told before it could be read.
pub(crate) fn watches_of_many_threads_miss_nothing<S>(store: &S)
where
    S: RegistryStore + Sync,
{
    const COMMITS: u32 = 300;
    let finish = || {
        store.save_service(pod("end", "1")).unwrap();
    };
    thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                scope.spawn(move || {
                    let mut dice = Dice::new(writer);
                    for _ in 0..COMMITS {
                        store.commit(batch(&mut dice)).unwrap();
                    }
                })
            })
            .collect();
        let readers: Vec<_> = (0..4_u64)
            .map(|reader| {
                scope.spawn(move || {
                    let mut watch = store.watch(Selection::All).unwrap();
                    let mut copied = Copied::default();
                    let mut last = revision(0);
                    while !copied.records.contains_key("end:1") {
                        let event = match reader % 2 {
                            0 => watch.recv().unwrap(),
                            _ => watch.recv_commit().unwrap(),
                        };
                        assert!(event.revision() > last || last == revision(0));
                        last = event.revision();
                        assert!(store.revision() >= last, "told before it can be read");
                        copied.follow(&event).unwrap();
                    }
                    (last, copied)
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        finish();
        let all = now(store, &[Selection::All]).remove(&0).unwrap();
        for reader in readers {
            assert_eq!(reader.join().unwrap(), (store.revision(), all.clone()));
        }
    });
}

pub(crate) fn a_sleeper_is_woken_by_a_change_and_by_the_end<S>(store: &S)
where
    S: RegistryStore + Sync,
{
    thread::scope(|scope| {
        for round in 0..50 {
            let mut watch = begun(store, Selection::pod("a:1"));
            let sleeper = scope.spawn(move || watch.recv());
            if round % 2 == 0 {
                thread::yield_now();
            }
            let mut info = registration("a", "1", &[]);
            info.weight = round;
            store.save_service(ServiceInfo::new(info).unwrap()).unwrap();
            assert_eq!(changes(sleeper.join().unwrap().unwrap()).len(), 1);
        }
        let mut watch = begun(store, Selection::All);
        let sleeper = scope.spawn(move || watch.recv());
        store.close().unwrap();
        assert_eq!(sleeper.join().unwrap(), Err(StoreError::Closed));
    });
}
