//! Watches: guards against faults of other systems. `law.rs` has the general law.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Wake, Waker};
use std::thread;

use service_registry::changes::{Difference, Event, Reason, Selection, Watch};
use service_registry::{
    Batch, Cause, Expected, OnForeign, Registry, RegistryStore, RegistryView, ServiceInfo,
    ServiceStatus, StoreError,
};

use crate::law::now;
use crate::support::dice::Dice;
use crate::support::followed_state::{FollowedState, GROUPS, batch};
use crate::support::{CALLS, WATCHES, at, fill_store, pod, registration, revision};

pub fn a_view_behind_dyn_is_of_one_state(store: &impl RegistryStore) {
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

pub fn a_call_from_inside_a_view_is_done_or_refused(store: &impl RegistryStore) {
    for (name, call) in CALLS {
        fill_store(store);
        let inside = store.with_view(|_| call(store)).unwrap();
        assert!(
            matches!(inside, Ok(()) | Err(StoreError::Reentrant)),
            "{name}: {inside:?}"
        );
        store.clear().unwrap();
    }
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

/// Begins a watch, and takes its first event, the state.
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

pub fn a_newer_time_by_itself_is_no_difference(store: &impl RegistryStore) {
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

/// Guards against a fault: a shared stream omitted a delete.
pub fn a_removal_is_told_with_its_cause(store: &impl RegistryStore) {
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

pub fn what_is_skipped_is_told_to_no_watch(store: &impl RegistryStore) {
    store.save_service(pod("a", "1")).unwrap();
    let mut watch = begun(store, Selection::All);
    let replace = |names: &[&str]| {
        let list = names.iter().map(|name| pod("a", name)).collect();
        let mut batch = Batch::new();
        batch.replace_source("etcd", list, OnForeign::Skip);
        store.commit(batch).unwrap();
    };
    replace(&["1", "2"]);
    let told = changes(watch.recv().unwrap());
    assert!(matches!(told[..], [Difference::Added(_)]), "{told:?}");
    // Everything is skipped, which is no change.
    replace(&["1", "2"]);
    assert_eq!(watch.try_recv(), Ok(None));
}

pub fn what_came_and_went_unseen_shows_nothing(store: &impl RegistryStore) {
    let mut watch = begun(store, Selection::All);
    store.save_service(pod("a", "1")).unwrap();
    store.add_subscription("a:1", "g").unwrap();
    store.take_service("a:1").unwrap();
    assert_eq!(watch.try_recv().unwrap(), None);
    assert_eq!(watch.revision(), store.revision());
}

/// Guards against a fault: a key that was deleted and created again looked unchanged, and so did a
/// record that was registered anew.
pub fn a_key_that_is_made_again_is_a_change(store: &impl RegistryStore) {
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

/// Guards against a fault: a new list reported no removal of records that were still in the queue,
/// so they stayed for ever (kubernetes#115658).
pub fn what_a_source_no_longer_has_is_removed_even_unread(store: &impl RegistryStore) {
    let list = |name: &str| {
        let mut batch = Batch::new();
        batch.replace_source("file", vec![pod("a", name)], OnForeign::Reject);
        store.commit(batch).unwrap();
    };
    let mut stepping = begun(store, Selection::service("a"));
    let mut folding = begun(store, Selection::service("a"));
    list("1");
    list("2");
    let told = changes(stepping.recv_commit().unwrap());
    assert!(
        matches!(&told[..], [Difference::Added(info)] if &**info.key() == "a:1"),
        "{told:?}"
    );
    let told = changes(stepping.recv_commit().unwrap());
    let is_removal = |change: &Difference| match change {
        Difference::Removed { last, cause, .. } => {
            (&**last.key(), *cause) == ("a:1", Cause::Replaced)
        }
        _ => false,
    };
    assert!(told.iter().any(is_removal), "{told:?}");
    let told = changes(folding.recv().unwrap());
    assert!(
        matches!(&told[..], [Difference::Added(info)] if &**info.key() == "a:2"),
        "{told:?}"
    );
}

/// Guards against faults: after a gap a watch continued from the present, or omitted a delete
/// within the gap (kubernetes#115658); a slow reader blocked the others, or kept all removed
/// records.
pub fn who_falls_behind_is_told_the_state_and_holds_up_nobody(store: &impl RegistryStore) {
    store.save_service(pod("b", "1")).unwrap();
    let mut stuck = begun(store, Selection::All);
    let mut quick = begun(store, Selection::All);
    store.delete_service("b:1").unwrap();
    assert_eq!(changes(quick.recv_commit().unwrap()).len(), 1);
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
    // A record that was deleted meanwhile is not among them.
    assert_eq!((reason, services.len()), (Reason::Lagged, 1));
    assert_eq!(services[0].weight(), 1_499);
    store.delete_service("a:1").unwrap();
    let told = changes(stuck.recv().unwrap());
    assert!(matches!(told[..], [Difference::Removed { .. }]));
}

pub fn a_cursor_goes_on_or_begins_anew<S: RegistryStore>(make: impl Fn() -> S) {
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
    // With another selection it continues as well.
    let mut other = store.watch_from(Selection::pod("b:1"), cursor).unwrap();
    let told = changes(other.recv().unwrap());
    assert!(matches!(&told[..], [Difference::Added(info)] if &**info.key() == "b:1"));
    // Cursors of another store, and ahead of this one, built from their text form.
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
    // The present cursor continues.
    let present = format!("{number}-3").parse().unwrap();
    let mut here = store.watch_from(Selection::All, present).unwrap();
    assert_eq!(here.try_recv().unwrap(), None);
}

pub fn a_closed_store_ends_its_watches(store: &impl RegistryStore) {
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

pub fn a_watch_from_inside_a_closure_is_begun_or_refused(store: &impl RegistryStore) {
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

pub fn a_store_that_is_dropped_ends_its_watches<S: RegistryStore>(make: impl Fn() -> S) {
    let store = make();
    let mut watch = begun(&store, Selection::All);
    let mut unread = store.watch(Selection::All).unwrap();
    store.save_service(pod("a", "1")).unwrap();
    drop(store);
    assert_eq!(changes(watch.recv().unwrap()).len(), 1);
    assert_eq!(watch.recv(), Err(StoreError::Closed));
    assert_eq!(unread.recv(), Err(StoreError::Closed));
}

/// A waker that counts its calls, and then calls a closure.
struct CallbackWaker<'s> {
    woken: AtomicUsize,
    then: Box<dyn Fn() + Send + Sync + 's>,
}

impl Wake for CallbackWaker<'static> {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, SeqCst);
        (self.then)();
    }
}

fn callback_waker(then: impl Fn() + Send + Sync + 'static) -> Arc<CallbackWaker<'static>> {
    Arc::new(CallbackWaker {
        woken: AtomicUsize::new(0),
        then: Box::new(then),
    })
}

/// Guards against a fault: a change of any name woke all watches.
pub fn who_watches_other_names_sleeps_on(store: &impl RegistryStore) {
    let waker = callback_waker(|| ());
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
    // A dropped watch is no longer woken.
    others.iter_mut().skip(8).take(1).for_each(sleep);
    others.remove(8);
    store.save_service(pod("other-8", "1")).unwrap();
    assert_eq!(waker.woken.load(SeqCst), 1);
}

/// The payload of a panic, which panics itself when it is dropped.
struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("on purpose, too");
    }
}

/// A thousand watches whose wakers panic or call the store do not affect other watches or the
/// writer.
pub fn wakers_that_panic_or_call_the_store_harm_nobody<S>(make: impl Fn() -> S)
where
    S: RegistryStore + Send + Sync + 'static,
{
    wakers_harm_nobody(make, || Box::new(()));
}

/// Wakers whose panic payload panics when it is dropped do no harm; the payload is leaked.
pub fn wakers_that_leave_a_panic_of_others_harm_nobody<S>(make: impl Fn() -> S)
where
    S: RegistryStore + Send + Sync + 'static,
{
    wakers_harm_nobody(make, || Box::new(PanicsOnDrop));
}

fn wakers_harm_nobody<S>(make: impl Fn() -> S, payload: fn() -> Box<dyn Any + Send>)
where
    S: RegistryStore + Send + Sync + 'static,
{
    let store = Arc::new(make());
    let mut watches = Vec::new();
    for n in 0..1_000 {
        let inside = Arc::downgrade(&store);
        let waker = callback_waker(move || match n % 2 {
            0 => std::panic::resume_unwind(payload()),
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

/// Guards against faults: an event was lost between the state and the stream; a waiter arrived
/// after its event; an event was delivered before the change could be read.
pub fn watches_of_many_threads_miss_nothing<S>(store: &S)
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
                    let mut followed = FollowedState::default();
                    let mut last = revision(0);
                    while !followed.records.contains_key("end:1") {
                        let event = match reader % 2 {
                            0 => watch.recv().unwrap(),
                            _ => watch.recv_commit().unwrap(),
                        };
                        assert!(event.revision() > last || last == revision(0));
                        last = event.revision();
                        assert!(store.revision() >= last, "told before it can be read");
                        followed.follow(&event).unwrap();
                    }
                    (last, followed)
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        finish();
        let all = now(store);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), (store.revision(), all.clone()));
        }
    });
}

pub fn a_sleeper_is_woken_by_a_change_and_by_the_end<S>(store: &S)
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
