//! Snapshot isolation: whatever happens to a store, a view of it shows one state,
//! which some commits have led to and no half of any.
//!
//! Databases name what must not happen. The names here are those of Berenson et
//! al., *A Critique of ANSI SQL Isolation Levels* (1995; P0 to P4, A5A, A5B), and
//! Adya, *Weak Consistency* (1999; G0, G1a, G1b). A transaction that reads is a
//! view; one that writes is a batch, which reads nothing.
//!
//! Writers churn, and keep some rule with every commit; readers take views, hold
//! them until the store has moved on, and look for the rule. Each test runs for
//! every store in `testkit/src/support/views.rs`, and for twins of one that break a promise
//! each, where it has to fail.
//!
//! A batch does not remember what its writer has read. Two ways prevent a lost update and write
//! skew (A5B): conditions (`require`, `require_unchanged_since`), or a token. With a token, each
//! batch that must not run beside another deletes one record, under the name that its view showed,
//! and saves the next one: of the batches that read the same state, one is committed, and the
//! others fail as a whole. The tests here use the token.

// A build with fewer stores uses less of this file.
#![cfg_attr(
    not(any(feature = "snapshot", feature = "versioned")),
    allow(dead_code, unused_imports, unused_macros)
)]

#[macro_use]
mod support;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use service_registry::{
    Batch, Registry, RegistryStore, RegistryView, ServiceInfo, ServiceStatus, StoreError,
};
use support::race::{race, together};
use support::views::Views;
use support::{State, at, number, observe_view, registration, version};

/// Commits of each writer, at the least.
const ROUNDS: usize = 200;

/// A reader: every other view is a snapshot, the rest those of its handle.
struct Viewer<'a, S: Views> {
    store: &'a S,
    reader: Mutex<S::Reader>,
}

impl<'a, S: Views> Viewer<'a, S> {
    fn of(store: &'a S) -> Viewer<'a, S> {
        Viewer {
            store,
            reader: Mutex::new(store.reader()),
        }
    }

    fn view(&self, round: usize) -> S::Snapshot {
        match round % 2 {
            0 => self.store.snapshot(),
            _ => S::view(&mut self.reader.lock().unwrap()).clone(),
        }
    }

    /// Waits until the store has moved on, so that the view is of the past. Not
    /// for ever: the writers may have ended.
    fn hold(&self, view: &S::Snapshot) {
        for _ in 0..200 {
            if self.store.revision() > view.revision() {
                return;
            }
            thread::yield_now();
        }
    }
}

/// What a record holds here: a number.
fn value(info: &ServiceInfo) -> u64 {
    number(info.registered_at())
}

fn value_of(view: &impl RegistryView, key: &str) -> Option<u64> {
    view.get(key).map(value)
}

/// Everything that a view shows, asked in every way.
fn all_of(view: &impl RegistryView) -> State {
    let state = observe_view(view, GROUPS);
    for name in NAMES {
        let expected = state.services.values();
        let expected = expected.filter(|info| info.service_name() == *name).count();
        let found = view.services_by_name(name).count();
        assert_eq!(found, expected, "the index of names, {name:?}");
    }
    state
}

const NAMES: &[&str] = &["a", "b", "token", "oncall", "ghost"];
const GROUPS: &[&str] = &["g", "h", "all", "poison"];

// --- dirty writes, dirty reads

/// P0, G0: of two commits that write the same records, one is whole.
fn no_dirty_write<S: Views>(store: &S) {
    let write = |writer: u64| {
        move |round: usize| {
            let n = 2 * round as u64 + writer;
            let mut batch = Batch::new();
            // In opposite orders.
            let pods = if writer == 0 { ["1", "2"] } else { ["2", "1"] };
            for pod in pods {
                batch.save_service(version("a", pod, n));
            }
            store.commit(batch).unwrap();
        }
    };
    let viewer = Viewer::of(store);
    let read = |round: usize| {
        let view = viewer.view(round);
        assert_eq!(
            value_of(&view, "a:1"),
            value_of(&view, "a:2"),
            "one record is of one commit, the other of another"
        );
    };
    race(ROUNDS, &[&write(0), &write(1)], &[&read]);
}

/// G1a: nobody sees what a rejected batch would have written.
fn no_aborted_read<S: Views>(store: &S) {
    const POISON: u64 = 999;
    let rejected = |_: usize| {
        let mut batch = Batch::new();
        batch
            .save_service(version("a", "1", POISON))
            .save_service(version("a", "2", POISON))
            .add_subscription("a:1", "poison")
            .delete_service("nobody:1");
        let answer = store.commit(batch);
        assert!(
            matches!(answer, Err(StoreError::BatchRejected { index: 3, .. })),
            "{answer:?}"
        );
    };
    let accepted = |round: usize| {
        let n = round as u64 % POISON;
        let mut batch = Batch::new();
        batch.save_service(version("a", "1", n));
        store.commit(batch).unwrap();
    };
    let viewer = Viewer::of(store);
    let read = |round: usize| {
        let view = viewer.view(round);
        let keyed = ["a:1", "a:2"].iter().filter_map(|key| view.get(key));
        let named = view.services_by_name("a");
        for info in keyed.chain(named).chain(view.services()) {
            assert_ne!(value(info), POISON, "a rejected batch shows");
        }
        assert_eq!(view.subscribers("poison").count(), 0);
        assert_eq!(view.stats().subscriptions, 0);
        // The store itself shows it as little.
        let stored = store.get_services_by_name("a").unwrap();
        assert!(stored.iter().all(|info| value(info) != POISON));
    };
    race(ROUNDS, &[&rejected, &accepted], &[&read]);
}

/// G1b: of a record that a batch writes twice, nobody sees the first.
fn no_intermediate_read<S: Views>(store: &S) {
    let write = |round: usize| {
        let n = 2 * round as u64;
        let mut batch = Batch::new();
        batch
            .save_service(version("a", "1", n + 1))
            .add_subscription("a:1", "h")
            .save_service(version("a", "1", n + 2))
            .remove_subscription("a:1", "h");
        store.commit(batch).unwrap();
    };
    let viewer = Viewer::of(store);
    let read = |round: usize| {
        let view = viewer.view(round);
        let seen = value_of(&view, "a:1").unwrap_or_default();
        assert_eq!(seen % 2, 0, "a record that was never committed");
        assert_eq!(view.subscribers("h").count(), 0, "nor this subscription");
    };
    race(ROUNDS, &[&write], &[&read]);
}

// --- reads that do not repeat, phantoms

/// P2: a view answers the same however often it is asked.
fn no_fuzzy_read<S: Views>(store: &S) {
    let write = |round: usize| {
        let n = round as u64;
        store.save_service(version("a", "1", n)).unwrap();
        let (status, checked_at) = (ServiceStatus::Healthy, at(n));
        store
            .update_health_status("a:1", status, checked_at)
            .unwrap();
        if round % 3 == 2 {
            store.delete_service("a:1").unwrap();
        }
    };
    let viewer = Viewer::of(store);
    let read = |round: usize| {
        let view = viewer.view(round);
        let first = view.get("a:1").cloned();
        let stats = view.stats();
        viewer.hold(&view);
        for _ in 0..3 {
            assert_eq!(view.get("a:1"), first.as_ref(), "a read does not repeat");
        }
        assert_eq!(view.stats(), stats);
    };
    race(ROUNDS, &[&write], &[&read]);
}

fn come_and_go(store: &impl RegistryStore, service: &str, round: usize) {
    let registry = Registry::new(store);
    let pod = (round % 4).to_string();
    let groups: &[&str] = if round.is_multiple_of(2) {
        &["g", "all"]
    } else {
        &["all"]
    };
    registry
        .register(registration(service, &pod, groups))
        .unwrap();
    let other = ((round + 2) % 4).to_string();
    registry.unregister(service, &other).unwrap();
}

fn texts<'a, T: AsRef<str> + ?Sized + 'a>(texts: impl Iterator<Item = &'a T>) -> Vec<String> {
    texts.map(|text| text.as_ref().to_string()).collect()
}

fn sorted<'a>(records: impl Iterator<Item = &'a ServiceInfo>) -> BTreeMap<String, u64> {
    let keyed = records.map(|info| (info.key().to_string(), value(info)));
    keyed.collect()
}

/// P3: a scan of a view, of all records, of a name or of a group, finds the same
/// when it is made again, and no key comes or goes.
fn no_phantom<S: Views>(store: &S) {
    let one = |round| come_and_go(store, "a", round);
    let other = |round| come_and_go(store, "b", round);
    let viewer = Viewer::of(store);
    let read = |round: usize| {
        let view = viewer.view(round);
        let all = || sorted(view.services());
        let named = || sorted(view.services_by_name("a"));
        let group = || texts(view.subscribers("g").map(|key| &**key));
        let notified = || sorted(view.subscriber_services("all"));
        let missing = || -> Vec<bool> {
            let keys = (0..4).map(|pod| format!("b:{pod}"));
            keys.map(|key| view.get(&key).is_none()).collect()
        };
        let before = (all(), named(), group(), notified(), missing());
        viewer.hold(&view);
        assert_eq!(all(), before.0, "a phantom among all records");
        assert_eq!(named(), before.1, "a phantom of a name");
        assert_eq!(group(), before.2, "a phantom of a group");
        assert_eq!(notified(), before.3, "a phantom among subscribers");
        assert_eq!(missing(), before.4, "a phantom under a key");
    };
    race(ROUNDS, &[&one, &other], &[&read]);
}

// --- skew

/// A5A: what two commits have written a view does not mix. Two records of two
/// services, which always add up to the same.
fn no_read_skew<S: Views>(store: &S) {
    const SUM: u64 = 1_000_000;
    let write = |round: usize| {
        let n = round as u64;
        let mut batch = Batch::new();
        batch
            .save_service(version("a", "1", n))
            .save_service(version("b", "1", SUM - n));
        store.commit(batch).unwrap();
    };
    write(0);
    let viewer = Viewer::of(store);
    let read = |round: usize| {
        let view = viewer.view(round);
        let first = value_of(&view, "a:1").unwrap();
        viewer.hold(&view);
        let second = value_of(&view, "b:1").unwrap();
        assert_eq!(first + second, SUM, "two records are of two moments");
        let sum: u64 = view.services().map(value).sum();
        assert_eq!(sum, SUM, "a scan is of two moments");
        let named = ["a", "b"].map(|name| view.services_by_name(name).map(value).sum::<u64>());
        assert_eq!(named[0] + named[1], SUM, "two names are of two moments");
    };
    race(ROUNDS, &[&write], &[&read]);
}

/// A5A over more than two: money moves between accounts, of which each writer
/// moves its own, and none is made or lost.
fn the_sum_of_all_accounts_stays<S: Views>(store: &S) {
    const ACCOUNTS: u64 = 4;
    const MONEY: u64 = 100;
    let open = |service: &str| {
        let mut batch = Batch::new();
        for n in 0..ACCOUNTS {
            batch.save_service(version(service, &n.to_string(), MONEY));
        }
        store.commit(batch).unwrap();
    };
    open("a");
    open("b");
    // Nobody else writes these accounts, so what was read is still so.
    let transfer = |service: &'static str| {
        move |round: usize| {
            let from = round as u64 % ACCOUNTS;
            let to = (from + 1 + round as u64 % 2) % ACCOUNTS;
            let balance = |n: u64| value(&store.get_service(&format!("{service}:{n}")).unwrap());
            let amount = balance(from) / 2;
            let mut batch = Batch::new();
            batch
                .save_service(version(service, &from.to_string(), balance(from) - amount))
                .save_service(version(service, &to.to_string(), balance(to) + amount));
            store.commit(batch).unwrap();
        }
    };
    let viewer = Viewer::of(store);
    let read = |round: usize| {
        let view = viewer.view(round);
        let sum: u64 = view.services().map(value).sum();
        assert_eq!(sum, 2 * ACCOUNTS * MONEY, "money was made or lost");
        for name in ["a", "b"] {
            let sum: u64 = view.services_by_name(name).map(value).sum();
            assert_eq!(sum, ACCOUNTS * MONEY, "of {name:?}");
        }
    };
    race(ROUNDS, &[&transfer("a"), &transfer("b")], &[&read]);
}

/// A5A between indexes: who is registered is subscribed, and who is subscribed is
/// registered.
fn no_half_registration<S: Views>(store: &S) {
    let one = |round| come_and_go(store, "a", round);
    let other = |round| come_and_go(store, "b", round);
    let viewer = Viewer::of(store);
    let read = |round: usize| {
        let view = viewer.view(round);
        let registered = sorted(view.services());
        viewer.hold(&view);
        let mut subscribed = texts(view.subscribers("all").map(|key| &**key));
        subscribed.sort_unstable();
        let registered: Vec<String> = registered.into_keys().collect();
        assert_eq!(subscribed, registered, "half a registration");
        for info in view.services() {
            for group in info.subscriptions() {
                assert!(
                    view.subscribers(group).any(|key| key == info.key()),
                    "{} is not in {group:?}",
                    info.key()
                );
            }
        }
    };
    race(ROUNDS, &[&one, &other], &[&read]);
}

// --- lost updates, write skew

/// P4: a health update touches the health and nothing else, so that a record
/// which was saved beside it stays saved.
fn no_update_is_lost_to_a_health_update<S: Views>(store: &S) {
    store.save_service(version("a", "1", 0)).unwrap();
    let save = |round: usize| {
        let n = round as u64;
        store.save_service(version("a", "1", n)).unwrap();
        // Nobody else saves.
        let stored = store.get_service("a:1").unwrap();
        assert_eq!(value(&stored), n, "an update was lost");
        assert_eq!(value_of(&store.snapshot(), "a:1"), Some(n));
    };
    let check = |round: usize| {
        let (status, checked_at) = (ServiceStatus::Healthy, at(round as u64));
        store
            .update_health_status("a:1", status, checked_at)
            .unwrap();
    };
    race(ROUNDS, &[&save, &check], &[]);
}

/// P4: each status that a swap puts down one other swap picks up, or the end.
fn no_swap_is_lost<S: Views>(store: &S) {
    const STATUSES: [ServiceStatus; 3] = [
        ServiceStatus::Healthy,
        ServiceStatus::Unhealthy,
        ServiceStatus::Unknown,
    ];
    store.save_service(version("a", "1", 0)).unwrap();
    let first = store.get_service("a:1").unwrap().status();
    let swaps = together(3, |thread| {
        let swap = |round: usize| {
            let put = STATUSES[(round * (thread + 1) + round / 3) % 3];
            // At one time, so that none is late.
            (put, support::swap(store, "a:1", put, at(0)))
        };
        (0..ROUNDS).map(swap).collect::<Vec<_>>()
    });
    let swaps = swaps.concat();
    let last = store.get_service("a:1").unwrap().status();
    for status in STATUSES {
        let put = swaps.iter().filter(|(put, _)| *put == status).count();
        let got = swaps.iter().filter(|(_, got)| *got == status).count();
        assert_eq!(
            put + usize::from(first == status),
            got + usize::from(last == status),
            "a swap was lost: {status}"
        );
    }
}

/// The token that a view shows: its number.
fn token(view: &impl RegistryView) -> u64 {
    let tokens: Vec<u64> = view.services_by_name("token").map(value).collect();
    assert_eq!(tokens.len(), 1, "there is one token at a time: {tokens:?}");
    tokens[0]
}

/// A batch that is rejected unless the token is still that of the view: it takes
/// it, and puts down the next.
fn if_unchanged_since(view: &impl RegistryView) -> Batch {
    let token = token(view);
    let mut batch = Batch::new();
    batch
        .delete_service(&format!("token:{token}"))
        .save_service(version("token", &(token + 1).to_string(), token + 1));
    batch
}

/// P4, between reading and writing: a batch does not remember what its writer has
/// read, but it can be made to fail if somebody else was quicker.
fn no_update_is_lost_where_batches_take_a_token<S: Views>(store: &S) {
    store.save_service(version("token", "0", 0)).unwrap();
    store.save_service(version("a", "1", 0)).unwrap();
    let done: Vec<u64> = together(3, |_| {
        let mut done = 0;
        for _ in 0..ROUNDS {
            let view = store.snapshot();
            let counted = value_of(&view, "a:1").unwrap();
            let mut batch = if_unchanged_since(&view);
            batch.save_service(version("a", "1", counted + 1));
            match store.commit(batch) {
                Ok(_) => done += 1,
                Err(StoreError::BatchRejected { index: 0, .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        done
    });
    let counted = value_of(&store.snapshot(), "a:1").unwrap();
    assert_eq!(counted, done.iter().sum::<u64>(), "an update was lost");
    assert_eq!(counted, token(&store.snapshot()));
    // Of those who were beside each other one always wins.
    assert!(counted >= ROUNDS as u64, "{done:?}");
}

const ON_CALL: [&str; 2] = ["oncall:0", "oncall:1"];

fn on_call(view: &impl RegistryView) -> usize {
    let healthy = |key: &&&str| {
        let info = view.get(key).expect("both are always registered");
        info.status() == ServiceStatus::Healthy
    };
    ON_CALL.iter().filter(healthy).count()
}

fn both_are_on_call(store: &impl RegistryStore) {
    for pod in ["0", "1"] {
        let record = version("oncall", pod, 0)
            .with_health(ServiceStatus::Healthy, at(0))
            .unwrap();
        store.save_service(record).unwrap();
    }
}

/// A5B: two who may leave while the other stays do not both leave, if their
/// batches take the same token.
fn no_write_skew_where_batches_take_a_token<S: Views>(store: &S) {
    store.save_service(version("token", "0", 0)).unwrap();
    both_are_on_call(store);
    together(2, |own| {
        for round in 0..ROUNDS {
            let view = store.snapshot();
            if on_call(&view) < 2 {
                thread::yield_now();
                continue;
            }
            let moment = at(round as u64);
            let mut batch = if_unchanged_since(&view);
            batch.update_health_status(ON_CALL[own], ServiceStatus::Unhealthy, moment);
            let left = store.commit(batch).is_ok();
            assert!(on_call(&store.snapshot()) > 0, "nobody is on call");
            if left {
                store
                    .update_health_status(ON_CALL[own], ServiceStatus::Healthy, moment)
                    .unwrap();
            }
        }
    });
}

/// A5B is possible without: snapshot isolation does not rule it out, and a batch
/// is not even asked what it has read.
fn write_skew_is_possible_where_batches_share_nothing<S: Views>(store: &S) {
    both_are_on_call(store);
    let views = [store.snapshot(), store.snapshot()];
    for (own, view) in views.iter().enumerate() {
        assert_eq!(on_call(view), 2, "so one may leave");
        let mut batch = Batch::new();
        batch.update_health_status(ON_CALL[own], ServiceStatus::Unhealthy, at(1));
        store.commit(batch).unwrap();
    }
    assert_eq!(on_call(&store.snapshot()), 0);
    assert_eq!(on_call(&views[0]), 2, "what was read stays as it was");
}

// --- several views

/// Views have an order, which is that of the commits: a later one is of the same
/// revision, and shows the same, or of a later one, and shows more.
fn views_are_ordered<S: Views>(store: &S) {
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
fn views_do_not_disturb_each_other<S: Views>(store: &S) {
    let one = |round| come_and_go(store, "a", round);
    let other = |round| come_and_go(store, "b", round);
    let viewer = Viewer::of(store);
    let kept: Mutex<VecDeque<(S::Snapshot, State)>> = Mutex::default();
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
    race(ROUNDS, &[&one, &other], &[&read]);
    for (view, state) in kept.into_inner().unwrap() {
        assert_eq!(all_of(&view), state, "a view has changed");
    }
}

/// Views that were taken under way show the same when the writers have ended, the
/// store is closed, and it is gone.
fn views_outlive_the_writers<S: Views>(make: impl Fn() -> S) {
    for close in [true, false] {
        let store = make();
        let kept: Mutex<Vec<(S::Snapshot, State)>> = Mutex::default();
        {
            let one = |round| come_and_go(&store, "a", round);
            let other = |round| come_and_go(&store, "b", round);
            let viewer = Viewer::of(&store);
            let read = |round: usize| {
                let view = viewer.view(round);
                let state = all_of(&view);
                let mut kept = kept.lock().unwrap();
                if kept.len() < 50 {
                    kept.push((view, state));
                }
            };
            race(ROUNDS, &[&one, &other], &[&read]);
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
fn indexes_agree<S: Views>(store: &S) {
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

// --- the stores

macro_rules! isolated {
    ($make:expr; $($test:ident)+; from make: $($several:ident)+) => {
        $(
            #[test]
            fn $test() {
                let store = || $make;
                crate::support::within(crate::support::PATIENCE, move || crate::$test(&store()));
            }
        )+
        $(
            #[test]
            fn $several() {
                crate::support::within(crate::support::PATIENCE, || crate::$several(|| $make));
            }
        )+
    };
}

macro_rules! isolation {
    ($make:expr) => {
        isolated! {
            $make;
            no_dirty_write
            no_aborted_read
            no_intermediate_read
            no_fuzzy_read
            no_phantom
            no_read_skew
            the_sum_of_all_accounts_stays
            no_half_registration
            no_update_is_lost_to_a_health_update
            no_swap_is_lost
            no_update_is_lost_where_batches_take_a_token
            no_write_skew_where_batches_take_a_token
            write_skew_is_possible_where_batches_share_nothing
            views_are_ordered
            views_do_not_disturb_each_other
            indexes_agree;
            from make:
            views_outlive_the_writers
        }
    };
}

macro_rules! viewed {
    ($feature:literal $module:ident $store:ident $snapshot:ident $reader:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            isolation!(service_registry::$store::new());
        }
    };
}

viewed_stores!(viewed);

// --- the tests can fail

#[cfg(feature = "snapshot")]
mod unbroken {
    isolation!(crate::support::twin::twin(
        crate::support::twin::Fault::None
    ));
}

#[cfg(feature = "snapshot")]
mod broken {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use crate::support::twin::{Fault, Twin, twin};
    use crate::support::{PATIENCE, within};

    /// A broken store may be lucky; so it goes on until it is noticed.
    fn notices(fault: Fault, test: impl Fn() + Send + 'static) {
        within(4 * PATIENCE, move || {
            for _ in 0..200 {
                if catch_unwind(AssertUnwindSafe(&test)).is_err() {
                    return;
                }
            }
            panic!("{fault:?} was not noticed");
        });
    }

    macro_rules! noticed {
        ($($name:ident: $fault:ident by $test:ident;)+) => {$(
            #[test]
            fn $name() {
                let test: fn(&Twin) = crate::$test;
                notices(Fault::$fault, move || test(&twin(Fault::$fault)));
            }
        )+};
    }

    noticed! {
        a_dirty_write: BatchesShowHalfDone by no_dirty_write;
        an_aborted_read: RejectedBatchesShow by no_aborted_read;
        an_intermediate_read: BatchesShowHalfDone by no_intermediate_read;
        a_fuzzy_read: ReadsAnew by no_fuzzy_read;
        a_phantom_under_a_key: ReadsAnew by no_phantom;
        a_phantom_among_all: ScansAnew by no_phantom;
        a_phantom_of_a_name: NamesAnew by no_phantom;
        a_phantom_of_a_group: GroupsAnew by no_phantom;
        read_skew_of_a_view: ReadsAnew by no_read_skew;
        read_skew_of_two_names: NamesAnew by no_read_skew;
        read_skew_of_a_commit: BatchesShowHalfDone by no_read_skew;
        money_made_by_a_commit: BatchesShowHalfDone by the_sum_of_all_accounts_stays;
        half_a_registration_in_a_view: TwoMoments by no_half_registration;
        half_a_registration_of_a_commit: BatchesShowHalfDone by no_half_registration;
        a_lost_update: LostUpdate by no_update_is_lost_to_a_health_update;
        a_lost_swap: SwapInTwoSteps by no_swap_is_lost;
        a_lost_update_despite_a_token:
            ChecksBeforeItsTurn by no_update_is_lost_where_batches_take_a_token;
        write_skew_despite_a_token:
            ChecksBeforeItsTurn by no_write_skew_where_batches_take_a_token;
        a_revision_of_a_later_state: LateRevision by views_are_ordered;
        a_reader_that_goes_back: ReaderGoesBack by views_are_ordered;
        a_reader_that_is_late: LateReader by views_are_ordered;
        a_view_that_changes: ReadsAnew by views_do_not_disturb_each_other;
        names_of_a_later_moment: LateNames by indexes_agree;
        counts_of_a_later_moment: LateStats by indexes_agree;
        groups_of_a_later_moment: TwoMoments by indexes_agree;
    }

    #[test]
    fn a_view_that_ends_with_its_store() {
        let fault = Fault::EndsWithItsStore;
        notices(fault, move || {
            crate::views_outlive_the_writers(|| twin(fault));
        });
    }
}
