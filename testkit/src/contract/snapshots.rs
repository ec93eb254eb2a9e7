//! Snapshots and reader handles, for the stores that have them.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, PoisonError};
use std::thread;

use service_registry::{
    Batch, Registry, RegistryView, ServiceInfo, ServiceStatus, StoreError, StoreStats,
};

use crate::support::race::race;
use crate::support::views::Views;
use crate::support::{
    CALLS, GROUPS, KEY, State, at, number, observe, observe_view, pod, registration, revision,
    set_the_table, version,
};

// --- one thread

pub fn a_snapshot_of_a_new_store_is_empty<S: Views>(store: &S) {
    let snapshot = store.snapshot();
    assert_eq!(snapshot.revision(), revision(0));
    assert_eq!(snapshot.stats(), StoreStats::default());
    assert_eq!(snapshot.get("db:1"), None);
    assert_eq!(snapshot.services().count(), 0);
    assert_eq!(snapshot.services_by_name("db").count(), 0);
    assert_eq!(snapshot.subscribers("db").count(), 0);
    assert_eq!(snapshot.subscriber_services("db").count(), 0);
}

pub fn a_snapshot_is_what_the_store_is<S: Views>(store: &S) {
    let mut reader = store.reader();
    for (_, call) in CALLS {
        store.clear().unwrap();
        set_the_table(store);
        call(store).unwrap();
        let state = observe(store, GROUPS);
        assert_eq!(observe_view(&store.snapshot(), GROUPS), state);
        assert_eq!(observe_view(S::view(&mut reader), GROUPS), state);
    }
}

pub fn a_view_answers_like_the_store<S: Views>(store: &S) {
    for name in ["1", "2", "3"] {
        store.save_service(pod("db", name)).unwrap();
    }
    for key in ["web:2", "db:3", "web:1", "db:1"] {
        store.add_subscription(key, "g").unwrap();
    }
    let view = store.snapshot();
    let subscribers: Vec<&str> = view.subscribers("g").map(|key| &**key).collect();
    assert_eq!(subscribers, ["web:2", "db:3", "web:1", "db:1"]);
    let services: Vec<&str> = view
        .subscriber_services("g")
        .map(|info| &**info.key())
        .collect();
    assert_eq!(services, ["db:3", "db:1"]);
    assert_eq!(view.services_by_name("d").count(), 0);
    assert_eq!(view.services_by_name("db:1").count(), 0);
    assert_eq!(view.get("db:4"), None);
    assert_eq!(view.get(""), None);
    assert_eq!(view.stats(), StoreStats::new(3, 4));
    // What iterators yield is borrowed from the view, not from the name asked
    // for.
    let named: Vec<&ServiceInfo> = {
        let name = String::from("db");
        view.services_by_name(&name).collect()
    };
    assert_eq!(named.len(), 3);
}

pub fn a_snapshot_never_changes<S: Views>(store: &S) {
    // Of every state that the store goes through, kept to the end.
    let mut kept: Vec<(S::View, State)> = Vec::new();
    let mut keep = || kept.push((store.snapshot(), observe(store, GROUPS)));
    for n in 0..100_u64 {
        let name = (n % 40).to_string();
        match n % 5 {
            0 | 1 => store.save_service(version("db", &name, n)).unwrap(),
            2 => store.add_subscription(&format!("db:{n}"), "g").unwrap(),
            3 => {
                let mut batch = Batch::new();
                batch
                    .save_service(version("db", "batch", n))
                    .update_health_status("db:batch", ServiceStatus::Healthy, at(n))
                    .add_subscription("db:batch", "h")
                    .remove_all_subscriptions(&format!("db:{}", n - 1));
                store.commit(batch).unwrap();
            }
            _ => {
                let _there_or_not = store.delete_service(&format!("db:{name}"));
            }
        }
        keep();
    }
    for (_, call) in CALLS {
        store.clear().unwrap();
        keep();
        set_the_table(store);
        keep();
        call(store).unwrap();
        keep();
    }
    store.close().unwrap();
    for (snapshot, state) in &kept {
        assert_eq!(observe_view(snapshot, GROUPS), *state);
        assert_eq!(observe_view(&snapshot.clone(), GROUPS), *state);
    }
    // Whichever goes first, the others stay.
    while !kept.is_empty() {
        drop(kept.swap_remove(kept.len() / 2));
        for (snapshot, state) in kept.iter().step_by(17) {
            assert_eq!(observe_view(snapshot, GROUPS), *state);
        }
    }
}

pub fn a_large_snapshot_stays_while_the_store_shrinks<S: Views>(store: &S) {
    const PODS: u64 = 3_000;
    let name = |n: u64| format!("service-{}", n % 7);
    for n in 0..PODS {
        store
            .save_service(version(&name(n), &n.to_string(), n))
            .unwrap();
        store
            .add_subscription(&format!("{}:{n}", name(n)), "g")
            .unwrap();
    }
    let full = store.snapshot();
    for n in 0..PODS {
        store.take_service(&format!("{}:{n}", name(n))).unwrap();
        if n == PODS / 2 {
            assert_eq!(store.snapshot().stats(), full.stats_less(n + 1));
        }
    }
    assert_eq!(store.snapshot().stats(), StoreStats::default());
    let seen = observe_view(&full, &["g"]);
    assert_eq!(seen.services.len() as u64, PODS);
    for n in 0..PODS {
        assert_eq!(
            full.get(&format!("{}:{n}", name(n))),
            Some(&version(&name(n), &n.to_string(), n))
        );
    }
}

trait StatsLess: RegistryView {
    /// The counts after `n` pods with one subscription each have left.
    fn stats_less(&self, n: u64) -> StoreStats {
        let n = usize::try_from(n).unwrap();
        let stats = self.stats();
        StoreStats::new(stats.services - n, stats.subscriptions - n)
    }
}

impl<V: RegistryView> StatsLess for V {}

pub fn snapshots_and_readers_outlive_their_store<S: Views>(make: impl Fn() -> S) {
    let store = make();
    set_the_table(&store);
    let state = observe(&store, GROUPS);
    let (snapshot, mut reader) = (store.snapshot(), store.reader());
    drop(store);
    let snapshot = thread::spawn(move || {
        assert_eq!(observe_view(&snapshot, GROUPS), state);
        let last = S::view(&mut reader);
        // The store went away: with its last state, or as if it was closed.
        assert_eq!(last.revision().as_u64(), state.revision);
        let found = S::read(&mut reader, KEY, ServiceInfo::clone);
        assert!(
            found.as_ref() == Ok(&state.services[KEY]) || found == Err(StoreError::Closed),
            "{found:?}"
        );
        snapshot
    })
    .join()
    .unwrap();
    assert_eq!(snapshot.stats(), StoreStats::new(2, 3));
}

pub fn close_leaves_snapshots_and_ends_readers<S: Views>(store: &S) {
    set_the_table(store);
    let state = observe(store, GROUPS);
    let (snapshot, mut reader, mut fresh) = (store.snapshot(), store.reader(), store.reader());
    assert_eq!(S::read(&mut reader, KEY, |_| ()), Ok(()));
    store.close().unwrap();

    assert_eq!(observe_view(&snapshot, GROUPS), state);
    for reader in [&mut reader, &mut fresh, &mut store.reader()] {
        let called = S::read(reader, KEY, |_| panic!("called on a closed store"));
        assert_eq!(called, Err::<(), _>(StoreError::Closed));
        let missing = S::read(reader, "x:1", |_| ());
        assert_eq!(missing, Err(StoreError::Closed));
        let view = S::view(reader);
        assert_eq!(view.stats(), StoreStats::default());
        assert_eq!(view.get(KEY), None);
        assert_eq!(view.revision().as_u64(), state.revision);
    }
    assert_eq!(store.snapshot().stats(), StoreStats::default());
    assert_eq!(store.snapshot().revision().as_u64(), state.revision);
}

pub fn a_reader_reads_like_the_store<S: Views>(store: &S) {
    let mut reader = store.reader();
    assert_eq!(
        S::read(&mut reader, "db:1", |_| ()),
        Err(StoreError::NotFound("db:1".into()))
    );
    for n in 0..10 {
        let saved = version("db", "1", n);
        store.save_service(saved.clone()).unwrap();
        let found = S::read(&mut reader, "db:1", ServiceInfo::clone);
        assert_eq!(found, Ok(saved.clone()));
        assert_eq!(S::view(&mut reader).get("db:1"), Some(&saved));
        // A view that is not renewed stays as it is.
        let kept = S::view(&mut reader).clone();
        store.take_service("db:1").unwrap();
        assert_eq!(kept.get("db:1"), Some(&saved));
        assert_eq!(S::view(&mut reader).get("db:1"), None);
    }
    // `FnOnce`, and a panic leaves the reader usable.
    store.save_service(pod("db", "1")).unwrap();
    let moved = String::from("moved");
    let out = S::read(&mut reader, "db:1", move |_| moved);
    assert_eq!(out.as_deref(), Ok("moved"));
    let reader = Mutex::new(reader);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut reader = reader.lock().unwrap();
        S::read(&mut reader, "db:1", |_| {
            std::panic::resume_unwind(Box::new("on purpose"))
        })
    }));
    assert!(panicked.is_err());
    let mut reader = reader.into_inner().unwrap_or_else(PoisonError::into_inner);
    store.save_service(version("db", "1", 7)).unwrap();
    assert_eq!(
        S::read(&mut reader, "db:1", ServiceInfo::clone),
        Ok(version("db", "1", 7))
    );
}

pub fn writing_from_inside_a_reader_closure_works<S: Views>(store: &S) {
    set_the_table(store);
    let mut reader = store.reader();
    for (name, call) in CALLS {
        store.clear().unwrap();
        set_the_table(store);
        let before = store.get_service(KEY).unwrap();
        let inside = S::read(&mut reader, KEY, |info| {
            let answer = call(store);
            assert_eq!(*info, before, "what the closure was lent has changed");
            answer
        });
        assert_eq!(inside, Ok(Ok(())), "{name}");
    }
}

// --- threads

pub fn a_kept_snapshot_holds_up_nobody<S: Views>(store: &S) {
    set_the_table(store);
    let kept: Vec<_> = (0..100).map(|_| store.snapshot()).collect();
    let mut reader = store.reader();
    let view = S::view(&mut reader);
    // From inside a closure, on another thread, to its end: a lock would hang.
    store
        .with_service(KEY, |info| {
            thread::scope(|scope| {
                let writer = scope.spawn(|| {
                    for n in 0..100 {
                        store.save_service(version("db", "pod-1", n)).unwrap();
                    }
                    store.clear().unwrap();
                });
                writer.join().unwrap();
            });
            assert_eq!(*info, pod("db", "pod-1"));
            assert_eq!(store.stats(), Ok(StoreStats::default()));
        })
        .unwrap();
    assert_eq!(view.get(KEY), Some(&pod("db", "pod-1")));
    for snapshot in kept {
        assert_eq!(snapshot.get(KEY), Some(&pod("db", "pod-1")));
    }
}

/// Checks a view under the writers of the tests below: pods have two
/// subscriptions each, of which one is to the group of their version.
fn check_whole(view: &impl RegistryView) {
    let state = observe_view(view, &["even", "odd", "both"]);
    let counts = view.stats();
    assert_eq!(
        counts.subscriptions,
        2 * counts.services,
        "half a registration"
    );
    for (key, info) in &state.services {
        for group in info.subscriptions() {
            assert!(
                state.groups[group].contains(key),
                "half a registration: {key} is not in {group}"
            );
        }
    }
}

fn register_and_unregister<S: Views>(store: &S, service: &str, round: usize) {
    let registry = Registry::new(store);
    let own = ["even", "odd"][round % 2];
    let pod = (round % 3).to_string();
    registry
        .register(registration(service, &pod, &[own, "both"]))
        .unwrap();
    if round % 5 == 4 {
        registry.unregister(service, &pod).unwrap();
    }
}

pub fn every_snapshot_is_of_one_moment<S: Views>(store: &S) {
    let one = |round| register_and_unregister(store, "one", round);
    let other = |round| register_and_unregister(store, "other", round);
    let snapshots = |_| check_whole(&store.snapshot());
    let readers: [Mutex<S::Reader>; 2] = std::array::from_fn(|_| Mutex::new(store.reader()));
    let reader = |_| check_whole(S::view(&mut readers[0].lock().unwrap()));
    race(500, &[&one, &other], &[&snapshots, &reader]);
}

pub fn a_reader_never_goes_backwards<S: Views>(store: &S) {
    store.save_service(pod("db", "1")).unwrap();
    let base = store.revision().as_u64();
    let record = |n: u64| {
        pod("db", "1")
            .with_health(ServiceStatus::Healthy, at(n))
            .unwrap()
    };
    // Of one writer's commits, number n leads to revision base + n.
    let returned = AtomicU64::new(0);
    let write = |round: usize| {
        let n = round as u64 + 1;
        store.save_service(record(n)).unwrap();
        returned.store(n, SeqCst);
    };
    let seen_in = |view: &S::View| {
        let info = view.get("db:1").expect("a registered pod was missing");
        let seen = info.last_health_check().map_or(0, number);
        assert_eq!(view.revision().as_u64(), base + seen);
        seen
    };
    let readers: [Mutex<(S::Reader, u64)>; 2] =
        std::array::from_fn(|_| Mutex::new((store.reader(), 0)));
    let read = |which: usize, round: usize| {
        let (reader, last) = &mut *readers[which].lock().unwrap();
        let before = returned.load(SeqCst);
        let seen = match round % 100 {
            // A reader that is new is no older than what was read before.
            99 => {
                *reader = store.reader();
                seen_in(S::view(reader))
            }
            n if n.is_multiple_of(2) => seen_in(S::view(reader)),
            _ => {
                let found = S::read(reader, "db:1", ServiceInfo::last_health_check);
                found.unwrap().map_or(0, number)
            }
        };
        assert!(seen >= before, "a write that had returned was not seen");
        assert!(seen >= *last, "a reader went backwards");
        *last = seen;
        let snapshot = seen_in(&store.snapshot());
        assert!(snapshot >= seen, "a snapshot is older than what was read");
    };
    let (one, other) = (|round| read(0, round), |round| read(1, round));
    race(3_000, &[&write], &[&one, &other]);
}

pub fn snapshots_can_be_shared_and_sent<S: Views>(store: &S) {
    set_the_table(store);
    let state = observe(store, GROUPS);
    let snapshot = store.snapshot();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let own = snapshot.clone();
                assert_eq!(observe_view(&snapshot, GROUPS), state);
                assert_eq!(observe_view(&own, GROUPS), state);
            });
        }
        store.clear().unwrap();
    });
    // The last to hold a state may be a thread that never saw the store.
    thread::spawn(move || drop(snapshot)).join().unwrap();
}

pub fn readers_race_with_the_end_of_their_store<S: Views>(make: impl Fn() -> S) {
    for _ in 0..50 {
        let store = make();
        set_the_table(&store);
        let readers: Vec<S::Reader> = (0..4).map(|_| store.reader()).collect();
        let mut readers = readers.into_iter();
        thread::scope(|scope| {
            for mut reader in readers.by_ref() {
                scope.spawn(move || {
                    for _ in 0..100 {
                        let stats = S::view(&mut reader).stats();
                        assert!(
                            stats == StoreStats::default() || stats == StoreStats::new(2, 3),
                            "{stats:?}"
                        );
                        match S::read(&mut reader, KEY, ServiceInfo::clone) {
                            Ok(info) => assert_eq!(info, pod("db", "pod-1")),
                            Err(error) => assert_eq!(error, StoreError::Closed),
                        }
                    }
                });
            }
            store.close().unwrap();
            drop(store);
        });
    }
}
