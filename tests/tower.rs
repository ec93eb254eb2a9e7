//! What [`Discovery`] tells a balancer, change by change. `tests/sockets` has it drive the
//! balancers of tower and tonic over real servers.

#![cfg(not(shuttle))]

use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use service_registry::changes::{LogOptions, Selection};
use service_registry::tower::Discovery;
use service_registry::{
    MemoryStore, Protocol, Provider, Registry, Result, ServiceInfo, ServiceKey,
    ServiceRegistration, ServiceStatus,
};
use tower::discover::Change;

use ServiceStatus::{Draining, Healthy, Unhealthy, Unknown};

#[path = "support/heap/mod.rs"]
mod heap;

const NAME: &str = "checkout";

fn registration(pod: &str, port: u16) -> ServiceRegistration {
    let provider = Provider::new(Protocol::Http, [10, 0, 0, 7], port);
    ServiceRegistration::new(NAME, pod).with_provider(provider)
}

fn register(registry: &Registry<MemoryStore>, pod: &str, port: u16) {
    registry.register(registration(pod, port)).unwrap();
}

fn report(registry: &Registry<MemoryStore>, pod: &str, status: ServiceStatus) {
    let key = ServiceKey::new(NAME, pod).unwrap();
    registry.update_health_status(&key, status).unwrap();
}

/// A service, for this test: the port that is called.
fn port(pod: &ServiceInfo) -> Option<u16> {
    pod.providers().first().map(|provider| provider.port)
}

fn discover(
    registry: &Registry<MemoryStore>,
) -> Discovery<impl FnMut(&ServiceInfo) -> Option<u16> + use<>> {
    Discovery::new(registry.watch(Selection::service(NAME)).unwrap(), port)
}

/// What there is to tell now, as text, and whether the stream has ended.
fn ask<F>(discovery: &mut Discovery<F>) -> (Vec<String>, bool)
where
    F: FnMut(&ServiceInfo) -> Option<u16>,
{
    let mut told = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    loop {
        let next: Poll<Option<Result<Change<ServiceKey, u16>>>> =
            std::pin::Pin::new(&mut *discovery).poll_next(&mut context);
        match next {
            Poll::Ready(Some(Ok(Change::Insert(key, port)))) => {
                told.push(format!("+{} {port}", key.pod_name()));
            }
            Poll::Ready(Some(Ok(Change::Remove(key)))) => {
                told.push(format!("-{}", key.pod_name()));
            }
            Poll::Ready(Some(Err(error))) => panic!("{error}"),
            Poll::Ready(None) => return (told, true),
            Poll::Pending => return (told, false),
        }
    }
}

#[track_caller]
fn assert_told<F>(discovery: &mut Discovery<F>, expected: &[&str])
where
    F: FnMut(&ServiceInfo) -> Option<u16>,
{
    let (told, is_over) = ask(discovery);
    assert_eq!(told, expected);
    assert!(!is_over);
}

#[test]
fn a_pod_is_in_while_it_is_healthy() {
    let registry = Registry::new(MemoryStore::new());
    let mut pods = discover(&registry);
    register(&registry, "a", 1);
    assert_told(&mut pods, &[]);
    report(&registry, "a", Healthy);
    assert_told(&mut pods, &["+a 1"]);
    for bad in [Unhealthy, Draining] {
        report(&registry, "a", bad);
        assert_told(&mut pods, &["-a"]);
        report(&registry, "a", Unknown);
        assert_told(&mut pods, &[]);
        report(&registry, "a", Healthy);
        assert_told(&mut pods, &["+a 1"]);
    }
    registry.unregister(NAME, "a").unwrap();
    assert_told(&mut pods, &["-a"]);
}

#[test]
fn nothing_bad_is_known_of_a_pod_that_is_unknown() {
    let registry = Registry::new(MemoryStore::new());
    let mut pods = discover(&registry);
    register(&registry, "a", 1);
    report(&registry, "a", Healthy);
    assert_told(&mut pods, &["+a 1"]);
    report(&registry, "a", Unknown);
    assert_told(&mut pods, &[]);
    // A new incarnation has yet to be found healthy.
    register(&registry, "a", 1);
    assert_told(&mut pods, &["-a"]);
    report(&registry, "a", Healthy);
    assert_told(&mut pods, &["+a 1"]);
}

#[test]
fn who_checks_no_health_takes_what_is_unchecked() {
    let registry = Registry::new(MemoryStore::new());
    let mut pods = discover(&registry).with_unchecked();
    register(&registry, "a", 1);
    assert_told(&mut pods, &["+a 1"]);
    report(&registry, "a", Draining);
    assert_told(&mut pods, &["-a"]);
}

#[test]
fn a_pod_of_weight_0_gets_nothing() {
    let registry = Registry::new(MemoryStore::new());
    let mut pods = discover(&registry).with_unchecked();
    for (weight, told) in [(1, &["+a 1"][..]), (7, &[]), (0, &["-a"]), (1, &["+a 1"])] {
        let service = ServiceInfo::new(registration("a", 1).with_weight(weight)).unwrap();
        // A save, which keeps the incarnation.
        service_registry::RegistryStore::save_service(registry.store(), service).unwrap();
        assert_told(&mut pods, told);
    }
}

#[test]
fn a_pod_is_told_again_where_its_address_or_incarnation_changed() {
    let registry = Registry::new(MemoryStore::new());
    let mut pods = discover(&registry).with_unchecked();
    let save = |registration| {
        let service = ServiceInfo::new(registration).unwrap();
        service_registry::RegistryStore::save_service(registry.store(), service).unwrap();
    };
    save(registration("a", 1));
    assert_told(&mut pods, &["+a 1"]);
    report(&registry, "a", Healthy);
    report(&registry, "a", Healthy);
    save(registration("a", 1).with_metadata("version", "7"));
    assert_told(&mut pods, &[]);
    save(registration("a", 2));
    assert_told(&mut pods, &["-a", "+a 2"]);
    register(&registry, "a", 2);
    assert_told(&mut pods, &["-a", "+a 2"]);
}

#[test]
fn of_one_event_removals_come_first() {
    let registry = Registry::new(MemoryStore::new());
    let mut pods = discover(&registry).with_unchecked();
    register(&registry, "a", 1);
    assert_told(&mut pods, &["+a 1"]);
    register(&registry, "b", 2);
    register(&registry, "a", 3);
    register(&registry, "c", 4);
    let (told, _) = ask(&mut pods);
    assert_eq!(told[0], "-a");
    assert_eq!(told.len(), 4, "{told:?}");
}

#[test]
fn a_pod_without_a_fitting_provider_is_not_told_until_it_has_one() {
    let registry = Registry::new(MemoryStore::new());
    let mut pods = discover(&registry).with_unchecked();
    let bare = ServiceRegistration::new(NAME, "a");
    registry.register(bare.clone()).unwrap();
    assert_told(&mut pods, &[]);
    register(&registry, "a", 1);
    assert_told(&mut pods, &["+a 1"]);
    registry.register(bare).unwrap();
    assert_told(&mut pods, &["-a"]);
    registry.unregister(NAME, "a").unwrap();
    assert_told(&mut pods, &[]);
}

#[test]
fn what_a_watch_missed_comes_as_the_difference() {
    let options = LogOptions {
        bytes: 2_000,
        ..LogOptions::default()
    };
    let registry = Registry::new(MemoryStore::with_log(options));
    let mut pods = discover(&registry).with_unchecked();
    for (pod, port) in [("a", 1), ("b", 2), ("c", 3)] {
        register(&registry, pod, port);
    }
    ask(&mut pods);
    registry.unregister(NAME, "a").unwrap();
    register(&registry, "b", 5);
    // Until the log is full.
    for _ in 0..100 {
        register(&registry, "d", 6);
    }
    let (mut told, _) = ask(&mut pods);
    told.sort();
    assert_eq!(told, ["+b 5", "+d 6", "-a", "-b"]);
}

#[test]
fn a_closed_store_ends_it_and_takes_nobody_out() {
    let registry = Registry::new(MemoryStore::new());
    let mut pods = discover(&registry).with_unchecked();
    register(&registry, "a", 1);
    assert_told(&mut pods, &["+a 1"]);
    register(&registry, "b", 2);
    registry.close().unwrap();
    assert_eq!(ask(&mut pods), (vec!["+b 2".into()], true));
    // A balancer asks again.
    assert_eq!(ask(&mut pods), (vec![], true));
    assert_eq!(pods.watch().selection(), &Selection::service(NAME));
}

#[test]
fn who_is_not_asked_holds_no_more_than_the_log() {
    let _alone = heap::alone();
    let options = LogOptions {
        bytes: 100_000,
        ..LogOptions::default()
    };
    let registry = Registry::new(MemoryStore::with_log(options));
    let mut pods = discover(&registry).with_unchecked();
    let turn = |turns: std::ops::Range<u16>| {
        for turn in turns {
            for pod in ["a", "b", "c", "d"] {
                register(&registry, pod, turn);
            }
        }
    };
    turn(1..1_000);
    ask(&mut pods);
    turn(1_000..2_000);
    let counts = heap::counts::here(|| turn(2_000..12_000));
    assert!(counts.live < 10_000, "it grew by {} bytes", counts.live);
    assert!(counts.allocated > 10_000_000);
    let (told, _) = ask(&mut pods);
    assert_eq!(told.len(), 8, "{told:?}");
}
