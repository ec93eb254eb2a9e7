//! Snapshots, for the stores that have them.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use service_registry::{
    Batch, Registry, RegistryStore, RegistryView, ServiceInfo, ServiceStatus, Snapshots, StoreStats,
};

use crate::support::race::race;
use crate::support::{
    CALLS, GROUPS, KEY, ObservedState, at, fill_store, number, observe, observe_view, pod,
    registration, revision, version,
};

// --- one thread

pub fn a_snapshot_of_a_new_store_is_empty<S: Snapshots>(store: &S) {
    let snapshot = store.snapshot();
    assert_eq!(snapshot.revision(), revision(0));
    assert_eq!(snapshot.stats(), StoreStats::default());
    assert_eq!(snapshot.get("db:1"), None);
    assert_eq!(snapshot.services().count(), 0);
    assert_eq!(snapshot.services_by_name("db").count(), 0);
    assert_eq!(snapshot.subscribers("db").count(), 0);
    assert_eq!(snapshot.subscriber_services("db").count(), 0);
}

pub fn a_snapshot_is_what_the_store_is<S: Snapshots>(store: &S) {
    for (_, call) in CALLS {
        store.clear().unwrap();
        fill_store(store);
        call(store).unwrap();
        let state = observe(store, GROUPS);
        assert_eq!(observe_view(&store.snapshot(), GROUPS), state);
    }
}

pub fn a_view_answers_like_the_store<S: Snapshots>(store: &S) {
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
    // The items of iterators borrow from the view, not from the name.
    let named: Vec<&ServiceInfo> = {
        let name = String::from("db");
        view.services_by_name(&name).collect()
    };
    assert_eq!(named.len(), 3);
}

pub fn a_snapshot_never_changes<S: Snapshots>(store: &S) {
    // A snapshot of every state of the store, kept to the end.
    let mut kept: Vec<(S::Snapshot, ObservedState)> = Vec::new();
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
        fill_store(store);
        keep();
        call(store).unwrap();
        keep();
    }
    store.close().unwrap();
    for (snapshot, state) in &kept {
        assert_eq!(observe_view(snapshot, GROUPS), *state);
        assert_eq!(observe_view(&snapshot.clone(), GROUPS), *state);
    }
    // Dropping any of them leaves the others intact.
    while !kept.is_empty() {
        drop(kept.swap_remove(kept.len() / 2));
        for (snapshot, state) in kept.iter().step_by(17) {
            assert_eq!(observe_view(snapshot, GROUPS), *state);
        }
    }
}

pub fn a_large_snapshot_stays_while_the_store_shrinks<S: Snapshots>(store: &S) {
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
            assert_eq!(store.snapshot().stats(), full.stats_without(n + 1));
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

trait ReducedStats: RegistryView {
    /// Returns the counts without `n` pods that have one subscription each.
    fn stats_without(&self, n: u64) -> StoreStats {
        let n = usize::try_from(n).unwrap();
        let stats = self.stats();
        StoreStats::new(stats.services - n, stats.subscriptions - n)
    }
}

impl<V: RegistryView> ReducedStats for V {}

pub fn snapshots_outlive_their_store<S: Snapshots>(make: impl Fn() -> S) {
    let store = make();
    fill_store(&store);
    let state = observe(&store, GROUPS);
    let snapshot = store.snapshot();
    drop(store);
    let snapshot = thread::spawn(move || {
        assert_eq!(observe_view(&snapshot, GROUPS), state);
        snapshot
    })
    .join()
    .unwrap();
    assert_eq!(snapshot.stats(), StoreStats::new(2, 3));
}

pub fn close_leaves_snapshots<S: Snapshots>(store: &S) {
    fill_store(store);
    let state = observe(store, GROUPS);
    let snapshot = store.snapshot();
    store.close().unwrap();
    assert_eq!(observe_view(&snapshot, GROUPS), state);
    assert_eq!(store.snapshot().stats(), StoreStats::default());
    assert_eq!(store.snapshot().revision().as_u64(), state.revision);
}

// --- threads

pub fn a_kept_snapshot_holds_up_nobody<S: Snapshots + Sync>(store: &S) {
    fill_store(store);
    let kept: Vec<_> = (0..100).map(|_| store.snapshot()).collect();
    // Writes on another thread, from inside a closure, and waits for it: a lock would hang.
    store
        .with_service(KEY, |info| {
            write_and_clear_beside(store);
            assert_eq!(*info, pod("db", "pod-1"));
            assert_eq!(store.stats(), Ok(StoreStats::default()));
        })
        .unwrap();
    for snapshot in kept {
        assert_eq!(snapshot.get(KEY), Some(&pod("db", "pod-1")));
    }
}

/// Changes a pod and clears the store on another thread, and waits for it: a view that blocks
/// writers hangs here.
pub(super) fn write_and_clear_beside(store: &(impl RegistryStore + Sync)) {
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..100 {
                store.save_service(version("db", "pod-1", n)).unwrap();
            }
            store.clear().unwrap();
        });
        writer.join().unwrap();
    });
}

/// Checks a view beside the writers of the tests below: each pod has two subscriptions, one of
/// them to the group of its version.
pub(super) fn check_whole(view: &impl RegistryView) {
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

pub(super) fn register_and_unregister<S: RegistryStore>(store: &S, service: &str, round: usize) {
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

pub fn every_snapshot_is_of_one_moment<S: Snapshots + Sync>(store: &S) {
    let one = |round| register_and_unregister(store, "one", round);
    let other = |round| register_and_unregister(store, "other", round);
    let snapshots = |_| check_whole(&store.snapshot());
    race(500, &[&one, &other], &[&snapshots, &snapshots]);
}

pub fn a_snapshot_is_as_new_as_what_returned<S: Snapshots + Sync>(store: &S) {
    store.save_service(pod("db", "1")).unwrap();
    let base = store.revision().as_u64();
    // There is one writer, so commit n has the revision base + n.
    let returned = AtomicU64::new(0);
    let write = |round: usize| {
        let n = round as u64 + 1;
        let checked = pod("db", "1").with_health(ServiceStatus::Healthy, at(n));
        store.save_service(checked.unwrap()).unwrap();
        returned.store(n, SeqCst);
    };
    let seen_in = |snapshot: &S::Snapshot| {
        let info = snapshot.get("db:1").expect("a registered pod was missing");
        let seen = info.last_health_check().map_or(0, number);
        assert_eq!(snapshot.revision().as_u64(), base + seen);
        seen
    };
    let read = |_| {
        let before = returned.load(SeqCst);
        let seen = seen_in(&store.snapshot());
        assert!(seen >= before, "a write that had returned was not seen");
        let later = seen_in(&store.snapshot());
        assert!(later >= seen, "a snapshot is older than one before it");
    };
    race(3_000, &[&write], &[&read, &read]);
}

pub fn snapshots_can_be_shared_and_sent<S: Snapshots + Sync>(store: &S) {
    fill_store(store);
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
    // The last holder of a state may be a thread that has never used the store.
    thread::spawn(move || drop(snapshot)).join().unwrap();
}
