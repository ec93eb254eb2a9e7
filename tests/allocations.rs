//! What operations allocate, and what is left when everything has gone.
//!
//! Counted by an allocator that passes everything on to the system's, see
//! `support/heap`.

// A build with fewer stores uses less of this file.
#![cfg_attr(
    not(all(
        feature = "thread-safe",
        feature = "worker",
        feature = "evmap",
        feature = "snapshot",
        feature = "versioned"
    )),
    allow(dead_code, unused_macros)
)]
#[macro_use]
mod support;

#[path = "support/heap/mod.rs"]
mod heap;

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use service_registry::leases::{LeaseOptions, Leases};
use service_registry::{
    Batch, MemoryStore, Registry, RegistryStore, ServiceInfo, ServiceStatus, StoreStats,
};

use heap::alone;
use heap::counts::{Counts, NOISE, everywhere, here, live};
use support::{at, pod, registration};

#[test]
fn the_counter_counts() {
    let _alone = alone();
    let counts = here(|| vec![0_u8; 1000]);
    let expected = Counts {
        allocations: 1,
        allocated: 1000,
        live: 0,
    };
    assert_eq!(counts, expected);
    let mut kept = Vec::new();
    assert_eq!(here(|| kept.reserve_exact(1000)).live, 1000);
    assert_eq!(here(|| kept.reserve_exact(3000)).live, 2000);
    assert_eq!(here(|| kept.push(1_u8)).allocations, 0);
    drop(kept);
    let big = || drop(black_box(vec![0_u8; 1 << 20]));
    let elsewhere = || thread::spawn(big).join().unwrap();
    assert!(everywhere(elsewhere).allocated >= 1 << 20);
    assert!(here(elsewhere).allocated < 1 << 20);
}

// --- operations

/// A store with something in it, warmed up on this thread.
fn filled<S: RegistryStore>(store: S) -> S {
    for n in 0..1000 {
        let name = format!("service-{}", n % 100);
        store.save_service(pod(&name, &n.to_string())).unwrap();
        store.add_subscription(&format!("{name}:{n}"), "g").unwrap();
    }
    store.save_service(pod("db", "1")).unwrap();
    for _ in 0..100 {
        read_all(&store);
        update(&store, 0);
    }
    store
}

fn read_all(store: &impl RegistryStore) {
    let status = |info: &ServiceInfo| info.status();
    store.get_service("db:1").unwrap();
    black_box(store.with_service("db:1", status).unwrap());
    store
        .visit_service("db:1", &mut |info| {
            black_box(status(info));
        })
        .unwrap();
    // A miss, too.
    black_box(store.find_service("db:1").unwrap());
    assert_eq!(store.find_service("db:nobody"), Ok(None));
    assert_eq!(store.contains_service("db:nobody"), Ok(false));
    black_box(store.stats().unwrap());
    store.ping().unwrap();
    black_box(store.revision());
}

fn update(store: &impl RegistryStore, n: u64) {
    store
        .update_health_status("db:1", ServiceStatus::Healthy, at(n))
        .unwrap();
    store
        .update_health_status("db:1", ServiceStatus::Unhealthy, at(n))
        .unwrap();
}

/// A pick of each kind, from a view and from a list.
#[cfg(feature = "versioned")]
#[test]
fn a_pick_allocates_nothing() {
    use service_registry::balance::{Balancer, Ejections, RoundRobin};
    use service_registry::{Labels, RegistryView};
    use std::time::{Duration, Instant};

    let _alone = alone();
    let store = service_registry::VersionedStore::new();
    for n in 0..200 {
        let info = pod("s", &n.to_string());
        let status = [ServiceStatus::Healthy, ServiceStatus::Unhealthy][n % 2];
        store
            .save_service(info.with_health(status, at(0)).unwrap())
            .unwrap();
    }
    let view = store.snapshot();
    let list = store.get_services_by_name("s").unwrap();
    let now = Instant::now();
    let ejections = Ejections::new(0.2);
    for info in &list {
        ejections.eject(info, &list, now, Duration::from_secs(1));
    }
    let plain = Balancer::new();
    let labelled = plain
        .clone()
        .with_labels(Labels::new().equal("version", "1.4.2"));
    let balancers = [
        labelled
            .clone()
            .with_zone("eu-1a", 0.8)
            .with_subset("me", 64),
        labelled.with_panic_below(0.9),
        plain,
    ];
    let turns = RoundRobin::new();
    let counts = here(|| {
        for balancer in &balancers {
            for n in 0..100 {
                let of_view = balancer.among((&view, "s"));
                let of_list = balancer.among(&list).sparing(&ejections, now);
                for picked in [
                    of_view.random(n),
                    of_view.round_robin(&turns),
                    of_view.two_choices(n, ServiceInfo::weight),
                    of_view.rendezvous("key"),
                    of_list.random(n),
                    of_list.round_robin(&turns),
                    of_list.two_choices(n, ServiceInfo::weight),
                    of_list.rendezvous("key"),
                ] {
                    assert!(black_box(picked).is_some());
                }
            }
        }
    });
    assert_eq!(counts, Counts::default());
    assert_eq!(view.services_by_name("s").count(), 200);
}

fn waits_for_a_worker<S>() -> bool {
    let name = std::any::type_name::<S>();
    name.ends_with("::WorkerStore") || name.contains("dyn ")
}

fn reads_allocate_nothing<S: RegistryStore>(make: fn() -> S) {
    let _alone = alone();
    let store = filled(make());
    let reads = || (0..1000).for_each(|_| read_all(&store));
    // What was replaced before may be freed by whoever reads.
    reads();
    let mut counts = here(reads);
    if waits_for_a_worker::<S>() && counts != Counts::default() {
        // A thread that goes to sleep for the first time is given what it needs to
        // be woken; when that is depends on the machine. Once it has that, nothing.
        counts = here(reads);
    }
    assert_eq!(counts, Counts::default());
    // Nor does anybody else for their sake: 6,000 reads.
    let counts = everywhere(reads);
    assert!(counts.allocations < 100, "{counts:?}");
}

fn updates_allocate_nothing<S: RegistryStore>(make: fn() -> S) {
    let _alone = alone();
    let store = filled(make());
    // Each later than the one before: what is late is no update.
    let clock = std::cell::Cell::new(0);
    let updates = || {
        for _ in 0..1000 {
            clock.set(clock.get() + 1);
            update(&store, clock.get());
        }
    };
    assert_eq!(here(updates), Counts::default());
    let counts = everywhere(updates);
    assert!(counts.allocations < 100, "{counts:?}");
}

fn renewals_allocate_nothing<S: RegistryStore>(make: fn() -> S) {
    let _alone = alone();
    let registry = Registry::new(filled(make()));
    let leases = Leases::new(registry, LeaseOptions::default()).unwrap();
    let ttl = Duration::from_secs(3600);
    let own = registration("web", "1", &[]);
    let lease = leases.register(own, ttl).unwrap();
    let revision = leases.registry().revision();
    let renewals = || (0..1000).all(|_| leases.renew(&lease).is_ok());
    let counts = here(|| assert!(renewals()));
    assert_eq!(counts, Counts::default());
    let counts = everywhere(renewals);
    assert!(counts.allocations < 100, "{counts:?}");
    assert_eq!(leases.registry().revision(), revision);
}

/// A health update costs the same, however large the record is.
fn updates_copy_no_registration<S: RegistryStore>(make: fn() -> S) {
    let _alone = alone();
    let store = filled(make());
    let mut large = registration("large", "1", &[]);
    // As much as a registration may hold: a MiB of metadata.
    let entries = 0..service_registry::MAX_METADATA;
    let value = "x".repeat(service_registry::MAX_METADATA_VALUE_LEN);
    large.metadata = entries.map(|n| (n.to_string(), value.clone())).collect();
    store
        .save_service(ServiceInfo::new(large).unwrap())
        .unwrap();
    let counts = everywhere(|| {
        for n in 0..100 {
            let (healthy, moment) = (ServiceStatus::Healthy, at(n));
            store
                .update_health_status("large:1", healthy, moment)
                .unwrap();
            store.get_service("large:1").unwrap();
            store.get_services_by_name("large").unwrap();
            let mut batch = Batch::new();
            batch.update_health_status("large:1", ServiceStatus::Unhealthy, moment);
            store.commit(batch).unwrap();
        }
    });
    assert!(counts.allocated < 4 << 20, "{counts:?} for 100 rounds");
    let all = everywhere(|| store.get_all_services().unwrap());
    assert!(all.allocated < 1 << 20, "{all:?} for all services");
}

// --- what is left

const PODS: usize = 10_000;

/// Names and groups by the thousand, so that an empty list that stays behind
/// shows.
fn register_many(store: &impl RegistryStore) {
    let registry = Registry::new(store);
    let before = registry.stats().unwrap();
    for n in 0..PODS {
        let groups = [format!("own-{n}"), format!("some-{}", n % 50), "all".into()];
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        registry
            .register(registration(
                &format!("many-{}", n / 2),
                &n.to_string(),
                &groups,
            ))
            .unwrap();
    }
    let after = registry.stats().unwrap();
    assert_eq!(after.subscriptions - before.subscriptions, 3 * PODS);
}

/// The tables of an evmap never shrink, as its store says.
fn keeps_its_tables<S>() -> bool {
    std::any::type_name::<S>().ends_with("::EvmapStore")
}

/// What may be left: versions that wait for their turn, or to be used again, as its store
/// says. Of one that has been emptied these are some hundreds.
fn noise<S>() -> i64 {
    if frees_in_periods::<S>() {
        20 * NOISE
    } else {
        NOISE
    }
}

/// A period takes a thousand versions, and some of them wait at a time, as the store says.
fn frees_in_periods<S>() -> bool {
    std::any::type_name::<S>().ends_with("::VersionedStore")
}

fn nothing_is_left<S: RegistryStore>(make: fn() -> S, empty: impl Fn(&S)) {
    let _alone = alone();
    let store = filled(make());
    store.clear().unwrap();
    if keeps_its_tables::<S>() {
        // What the first round leaves behind is all that any round does.
        register_many(&store);
        empty(&store);
    }
    let full = live();
    let left = everywhere(|| {
        register_many(&store);
        let taken = live() - full;
        let records = if keeps_its_tables::<S>() { 2 } else { 5 };
        assert!(
            taken > records << 20,
            "{taken} bytes do not hold {PODS} pods"
        );
        empty(&store);
        assert_eq!(store.stats(), Ok(StoreStats::default()));
    });
    assert!(
        left.live < noise::<S>(),
        "{} bytes are left of an empty store",
        left.live
    );
}

fn unregistering_leaves_nothing<S: RegistryStore>(make: fn() -> S) {
    nothing_is_left(make, |store| {
        let registry = Registry::new(store);
        for n in 0..PODS {
            let gone = registry.unregister(&format!("many-{}", n / 2), &n.to_string());
            assert!(gone.unwrap().is_some());
        }
    });
}

fn removing_one_by_one_leaves_nothing<S: RegistryStore>(make: fn() -> S) {
    nothing_is_left(make, |store| {
        for n in (0..PODS).rev() {
            let key = format!("many-{}:{n}", n / 2);
            store.delete_service(&key).unwrap();
            for group in [format!("own-{n}"), format!("some-{}", n % 50), "all".into()] {
                store.remove_subscription(&key, &group).unwrap();
            }
        }
    });
}

fn clear_leaves_nothing<S: RegistryStore>(make: fn() -> S) {
    nothing_is_left(make, |store| store.clear().unwrap());
}

fn a_batch_that_removes_all_leaves_nothing<S: RegistryStore>(make: fn() -> S) {
    nothing_is_left(make, |store| {
        let mut batch = Batch::with_capacity(2 * PODS);
        for n in 0..PODS {
            let key = format!("many-{}:{n}", n / 2);
            batch.delete_service(&key).remove_all_subscriptions(&key);
        }
        store.commit(batch).unwrap();
    });
}

/// Names that come and go, one after the other, do not pile up.
fn turnover_leaves_nothing<S: RegistryStore>(make: fn() -> S) {
    let _alone = alone();
    let store = filled(make());
    let turnover = |generation: usize| {
        for n in 0..PODS {
            let service = format!("brief-{generation}-{n}");
            let key = format!("{service}:1");
            store.save_service(pod(&service, "1")).unwrap();
            store.add_subscription(&key, &service).unwrap();
            update(&store, n as u64);
            store.take_service(&key).unwrap();
        }
    };
    // A table may keep the room that it once needed.
    turnover(0);
    let left = everywhere(|| turnover(1));
    // The maps of an evmap grow once more where what was removed fills them, which depends
    // on the hashes; if anything of each name stayed, it would be more than a megabyte.
    let limit = if keeps_its_tables::<S>() || frees_in_periods::<S>() {
        512 << 10
    } else {
        noise::<S>()
    };
    assert!(left.live < limit, "{} bytes are left behind", left.live);
}

/// What a rejected batch has prepared is given back.
fn a_rejected_batch_leaves_nothing<S: RegistryStore>(make: fn() -> S) {
    let _alone = alone();
    let store = filled(make());
    let reject = || {
        let mut batch = Batch::new();
        for n in 0..1000 {
            batch
                .save_service(pod("rejected", &n.to_string()))
                .add_subscription(&format!("rejected:{n}"), "g");
        }
        batch.delete_service("nobody:1");
        store.commit(batch).unwrap_err();
    };
    reject();
    let left = everywhere(|| (0..10).for_each(|_| reject()));
    assert!(left.live < NOISE, "{} bytes are left behind", left.live);
}

fn closing_gives_everything_back<S: RegistryStore>(make: fn() -> S) {
    let _alone = alone();
    let store = filled(make());
    store.clear().unwrap();
    let left = everywhere(|| {
        register_many(&store);
        store.close().unwrap();
    });
    assert!(
        left.live < noise::<S>(),
        "{} bytes are left of a closed store",
        left.live
    );
}

fn dropping_gives_everything_back<S: RegistryStore>(make: fn() -> S) {
    let _alone = alone();
    drop(filled(make()));
    let left = everywhere(|| {
        let store = filled(make());
        register_many(&store);
        store
    });
    assert!(left.live < NOISE, "{} bytes outlive a store", left.live);
}

/// Threads that have read and gone leave nothing behind.
fn threads_that_end_leave_nothing<S: RegistryStore + Sync>(make: fn() -> S) {
    let _alone = alone();
    let store = filled(make());
    let threads = |n: usize| {
        for _ in 0..n {
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        read_all(&store);
                        update(&store, 1);
                    });
                }
            });
        }
    };
    threads(20);
    let left = everywhere(|| threads(100));
    assert!(left.live < NOISE, "{} bytes are left behind", left.live);
}

/// To the byte: for stores that have no thread of their own.
fn dropping_gives_back_every_byte<S: RegistryStore>(make: fn() -> S) {
    let _alone = alone();
    drop(filled(make()));
    let whole_life = here(|| {
        let store = filled(make());
        register_many(&store);
        let mut batch = Batch::new();
        batch.save_service(pod("x", "1")).delete_service("x:2");
        store.commit(batch).unwrap_err();
        store
    });
    assert_eq!(whole_life.live, 0);
    let closed = here(|| {
        let store = filled(make());
        store.close().unwrap();
        store
    });
    assert_eq!(closed.live, 0);
}

macro_rules! tests {
    ($make:expr; $($test:ident)+) => {$(
        #[test]
        fn $test() {
            crate::$test(|| $make);
        }
    )+};
}

macro_rules! every_store {
    ($make:expr) => {
        tests! { $make;
            reads_allocate_nothing
            updates_copy_no_registration
            renewals_allocate_nothing
            unregistering_leaves_nothing
            removing_one_by_one_leaves_nothing
            clear_leaves_nothing
            a_batch_that_removes_all_leaves_nothing
            turnover_leaves_nothing
            a_rejected_batch_leaves_nothing
            closing_gives_everything_back
            dropping_gives_everything_back
        }
    };
}

mod memory {
    every_store!(service_registry::MemoryStore::new());
    tests! { service_registry::MemoryStore::new();
        updates_allocate_nothing
        dropping_gives_back_every_byte
    }
}

macro_rules! shared {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            every_store!(service_registry::$store::new());
            tests! { service_registry::$store::new(); threads_that_end_leave_nothing }
            mod opened {
                tests! { service_registry::StoreKind::$kind.open(); reads_allocate_nothing }
            }
        }
    };
}

shared_stores!(shared);

#[cfg(feature = "thread-safe")]
mod in_place {
    tests! { service_registry::ThreadSafeMemoryStore::new();
        updates_allocate_nothing
        dropping_gives_back_every_byte
    }
}

#[test]
fn a_new_memory_store_allocates_nothing() {
    let _alone = alone();
    // The first in the process draws the seed of all seeds.
    drop(MemoryStore::new());
    assert_eq!(here(MemoryStore::new), Counts::default());
}

// Behind `tests!`, which both use.
#[cfg(feature = "snapshot")]
#[path = "allocations/persistent.rs"]
mod persistent;
#[path = "allocations/twins.rs"]
mod twins;
