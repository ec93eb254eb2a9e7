//! What stores tell the crate `metrics`, by the names in the documentation of
//! [`service_registry::metrics`], as Prometheus is told it.

#![cfg(not(shuttle))]
// Counts are whole numbers.
#![allow(clippy::float_cmp)]
// A build with fewer stores uses less of this file.
#![allow(dead_code, unused_macros)]

#[macro_use]
mod support;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::PrometheusBuilder;
use service_registry::changes::{Difference, Event, LogOptions, Selection};
use service_registry::leases::{LeaseOptions, Leases};
use service_registry::{
    Batch, MemoryStore, Registry, RegistryStore, RegistryView, ServiceRegistration, ServiceStatus,
    StoreError, metrics as ours,
};

use support::{at, pod};

/// What is told while `work` runs on this thread, by series.
fn told(work: impl FnOnce()) -> BTreeMap<String, f64> {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, work);
    let text = handle.render();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let series = lines.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().unwrap()))
    });
    series.collect()
}

/// Three commits, and writes that change nothing or fail.
fn three_commits(store: &impl RegistryStore) {
    store.save_service(pod("db", "pod-1")).unwrap();
    store.save_service(pod("db", "pod-1")).unwrap();
    let mut batch = Batch::new();
    batch
        .save_service(pod("db", "pod-2"))
        .add_subscription("web:pod-1", "db");
    store.commit(batch).unwrap();
    store
        .update_health_status("db:pod-1", ServiceStatus::Healthy, at(9))
        .unwrap();
    store.delete_service("db:gone").unwrap_err();
    store.commit(Batch::new()).unwrap();
    store.get_service("db:pod-1").unwrap();
}

fn commits_are_counted_and_timed(store: &impl RegistryStore, kind: &str) {
    let told = told(|| three_commits(store));
    let of = |name: &str| {
        let series = format!("service_registry_{name}{{store=\"{kind}\"}}");
        *told
            .get(&series)
            .unwrap_or_else(|| panic!("no {series} in {told:#?}"))
    };
    assert_eq!(of("commits_total"), 3.0);
    assert_eq!(of("commit_seconds_count"), 3.0);
    assert!(of("commit_seconds_sum") > 0.0);
    // Each write has asked for a turn. A worker has a queue, in which reads wait as well.
    let turns = of("turn_wait_seconds_count");
    assert_eq!(turns, if kind == "worker" { 7.0 } else { 6.0 });
    assert!(of("turn_wait_seconds_sum") <= 1.0);
    // Of no other store, in particular not of the tables that a worker has.
    let stores = told.keys().filter(|series| series.contains("store="));
    let own = format!("store=\"{kind}\"");
    assert!(
        stores.clone().all(|series| series.contains(&own)),
        "{told:?}"
    );
}

fn what_there_is_is_reported(store: &impl RegistryStore, is_versioned: bool) {
    three_commits(store);
    let watches = [Selection::All, Selection::service("db")].map(|one| store.watch(one).unwrap());
    for second in 0..10 {
        let status = [ServiceStatus::Healthy, ServiceStatus::Unhealthy][second % 2];
        let time = at(10 + u64::try_from(second).unwrap());
        store
            .update_health_status("db:pod-2", status, time)
            .unwrap();
    }
    let told = told(|| ours::report("here", store).unwrap());
    let of = |name: &str| told[&format!("service_registry_{name}{{store=\"here\"}}")];
    assert_eq!(of("records"), 2.0);
    assert_eq!(of("subscriptions"), 1.0);
    assert_eq!(of("revision"), 13.0);
    assert_eq!(of("watches"), 2.0);
    assert!(of("log_bytes") > 0.0);
    assert_eq!(of("old_versions") > 0.0, is_versioned);
    assert_eq!(of("oldest_snapshot_revisions"), 0.0);
    let here = told
        .keys()
        .filter(|series| series.contains("store=\"here\""));
    assert_eq!(here.count(), 7, "{told:?}");
    drop(watches);
    assert_eq!(store.upkeep().unwrap().watches, 0);
    store.close().unwrap();
    assert_eq!(ours::report("here", store), Err(StoreError::Closed));
}

macro_rules! told {
    ($kind:expr, $store:ident) => {
        use service_registry::$store;

        #[test]
        fn commits_are_counted_and_timed() {
            super::commits_are_counted_and_timed(&$store::new(), $kind);
        }

        #[test]
        fn a_recorder_may_call_the_store() {
            crate::support::within(crate::support::PATIENCE, || {
                super::a_recorder_may_call_the_store(&$store::new());
            });
        }

        #[test]
        fn a_recorder_that_panics_makes_no_gap() {
            super::a_recorder_that_panics_makes_no_gap(&$store::new());
        }

        #[test]
        fn what_there_is_is_reported() {
            super::what_there_is_is_reported(&$store::new(), $kind == "versioned");
        }
    };
}

mod memory {
    told!("memory", MemoryStore);
}

macro_rules! shared {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            told!($feature, $store);
        }
    };
}

shared_stores!(shared);

#[cfg(feature = "versioned")]
#[test]
fn the_oldest_snapshot_is_told_by_its_age() {
    let store = service_registry::VersionedStore::new();
    three_commits(&store);
    let snapshot = store.snapshot();
    let other = store.snapshot();
    for second in 10..20 {
        let status = ServiceStatus::Healthy;
        let updated = store.update_health_status("db:pod-2", status, at(second));
        updated.unwrap();
    }
    let age = || {
        let told = told(|| ours::report("here", &store).unwrap());
        told["service_registry_oldest_snapshot_revisions{store=\"here\"}"]
    };
    assert_eq!(age(), 10.0);
    assert_eq!(store.upkeep().unwrap().oldest_snapshot, Some(3.into()));
    drop(other);
    assert_eq!(age(), 10.0);
    drop(snapshot);
    assert_eq!(age(), 0.0);
}

/// A writer that waits for a reader says for how long, and its commit took no less.
#[cfg(feature = "thread-safe")]
#[test]
fn a_wait_for_the_turn_is_told_in_full() {
    const HELD: Duration = Duration::from_millis(400);

    /// The wait of a writer and the time of its commit, in seconds.
    fn of_a_writer() -> (f64, f64) {
        let store = service_registry::ThreadSafeMemoryStore::new();
        store.save_service(pod("db", "pod-1")).unwrap();
        let (entered, has_entered) = channel();
        let told = thread::scope(|scope| {
            let store = &store;
            scope.spawn(move || {
                let read = store.with_service("db:pod-1", |_| {
                    entered.send(()).unwrap();
                    thread::sleep(HELD);
                });
                read.unwrap();
            });
            has_entered.recv().unwrap();
            told(|| store.save_service(pod("db", "pod-2")).unwrap())
        });
        let of = |name: &str| told[&format!("service_registry_{name}{{store=\"thread-safe\"}}")];
        (of("turn_wait_seconds_sum"), of("commit_seconds_sum"))
    }

    support::within(support::PATIENCE, || {
        // On a busy machine the writer may come when the reader has gone.
        let most = (0..20).map(|_| of_a_writer()).find(|(waited, took)| {
            assert!(took >= waited);
            *waited >= HELD.as_secs_f64() / 2.0
        });
        most.expect("a wait of more than nothing");
    });
}

#[test]
fn lag_is_told_by_watches() {
    let options = LogOptions {
        bytes: 4_000,
        ..LogOptions::default()
    };
    let store = MemoryStore::with_log(options);
    let mut watch = store.watch(Selection::All).unwrap();
    watch.recv().unwrap();
    let told = told(|| {
        for n in 0..5 {
            store.save_service(pod("db", &n.to_string())).unwrap();
        }
        watch.recv().unwrap();
        for n in 0..1_000 {
            store.save_service(pod("db", &n.to_string())).unwrap();
            store.delete_service(&format!("db:{n}")).unwrap();
        }
        watch.recv().unwrap();
        store.save_service(pod("db", "last")).unwrap();
        watch.recv_commit().unwrap();
    });
    assert_eq!(told["service_registry_states_for_lag_total"], 1.0);
    let lag = |what: &str| told[&format!("service_registry_watch_lag_revisions_{what}")];
    assert_eq!((lag("count"), lag("sum")), (2.0, 6.0));
}

/// Ten pods with leases; six fall silent, which is withheld, and then go.
#[test]
fn leases_are_counted() {
    let begin = Instant::now();
    let passed = Arc::new(AtomicU64::new(0));
    let clock = {
        let passed = passed.clone();
        move || begin + Duration::from_secs(passed.load(Relaxed))
    };
    let registry = Registry::new(MemoryStore::new());
    let leases = Leases::with_clock(registry, LeaseOptions::default(), clock.clone()).unwrap();
    let ttl = Duration::from_secs(30);
    let kept = (0..10).map(|n| {
        let pod = ServiceRegistration::new("db", n.to_string());
        leases.register(pod, ttl).unwrap()
    });
    let kept: Vec<_> = kept.collect();
    let seen = |second, renewing: usize| {
        passed.store(second, Relaxed);
        for lease in &kept[..renewing] {
            leases.renew(lease).unwrap();
        }
        let told = told(|| {
            leases.sweep(clock()).unwrap();
            leases.sweep(clock()).unwrap();
            ours::report_leases("here", leases.stats());
        });
        let here = |name: &str| told[&format!("service_registry_{name}{{store=\"here\"}}")];
        (
            here("leases"),
            here("withheld"),
            told["service_registry_expired_total"],
        )
    };
    assert_eq!(seen(20, 4), (10.0, 0.0, 0.0));
    assert_eq!(seen(40, 4), (10.0, 6.0, 0.0));
    // For a minute.
    assert_eq!(seen(60, 4), (10.0, 6.0, 0.0));
    assert_eq!(seen(80, 4), (10.0, 6.0, 0.0));
    assert_eq!(seen(100, 4), (4.0, 0.0, 6.0));
    // One of four is not too many, but six have gone in this minute.
    assert_eq!(seen(120, 3), (4.0, 0.0, 0.0));
    assert_eq!(seen(140, 3), (4.0, 1.0, 0.0));
}

/// Series grow with the names that are told, so no name of a pod or a service is.
#[test]
fn no_series_names_a_pod_or_a_service() {
    let series = told(|| {
        let store = MemoryStore::new();
        three_commits(&store);
        ours::report("here", &store).unwrap();
    });
    for name in series.keys() {
        assert!(!name.contains("db") && !name.contains("pod"), "{name}");
    }
}

/// A recorder that calls back, but for what that tells.
struct Curious<F> {
    ask: F,
    is_asking: Cell<bool>,
}

impl<F: Fn()> Curious<F> {
    fn asked(&self) {
        if !self.is_asking.replace(true) {
            (self.ask)();
            self.is_asking.set(false);
        }
    }
}

impl<F: Fn()> Recorder for Curious<F> {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        self.asked();
        Counter::noop()
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        self.asked();
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        self.asked();
        Histogram::noop()
    }
}

/// It is code of others, and is called when the turn has been given back.
fn a_recorder_may_call_the_store(store: &(impl RegistryStore + 'static)) {
    let calls = Cell::new(0);
    let recorder = Curious {
        ask: || {
            store.add_subscription("asked:by", "db").unwrap();
            store.get_all_services().unwrap();
            calls.set(calls.get() + 1);
        },
        is_asking: Cell::new(false),
    };
    let mut watch = store.watch(Selection::All).unwrap();
    metrics::with_local_recorder(&recorder, || {
        three_commits(store);
        store.clear().unwrap();
        watch.recv().unwrap();
        store.save_service(pod("db", "pod-1")).unwrap();
        watch.recv().unwrap();
        let seen = store.with_view(|view| view.stats().services);
        assert_eq!(seen, Ok(1));
    });
    assert!(calls.get() > 10, "{}", calls.get());
}

/// What it panics at has not been taken.
fn a_recorder_that_panics_makes_no_gap(store: &(impl RegistryStore + 'static)) {
    let mut watch = store.watch(Selection::All).unwrap();
    watch.recv().unwrap();
    store.save_service(pod("db", "pod-1")).unwrap();
    let recorder = Curious {
        ask: || panic!("injected by a test"),
        is_asking: Cell::new(false),
    };
    let take = AssertUnwindSafe(|| metrics::with_local_recorder(&recorder, || watch.try_recv()));
    assert!(catch_unwind(take).is_err());
    let Some(Event::Changes { changes, .. }) = watch.try_recv().unwrap() else {
        panic!("the event was lost");
    };
    assert!(
        matches!(&changes[..], [Difference::Added(_)]),
        "{changes:?}"
    );
}

/// So it may of leases, when a sweep is over.
#[test]
fn a_recorder_may_sweep() {
    support::within(support::PATIENCE, || {
        let registry = Registry::new(MemoryStore::new());
        let leases = Leases::new(registry, LeaseOptions::default()).unwrap();
        let sweeps = Cell::new(0);
        let recorder = Curious {
            ask: || {
                leases.sweep(Instant::now()).unwrap();
                sweeps.set(sweeps.get() + 1);
            },
            is_asking: Cell::new(false),
        };
        metrics::with_local_recorder(&recorder, || {
            leases.sweep(Instant::now()).unwrap();
        });
        assert!(sweeps.get() > 0);
    });
}
