//! Pods that are left out for a time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use service_registry::balance::{Balancer, Ejections, RoundRobin};
use service_registry::{
    MemoryStore, Registry, RegistryStore, ServiceInfo, ServiceRegistration, ServiceStatus,
};

use crate::support::at;
use crate::support::dice::Dice;
use crate::{name, pods};

const SECOND: Duration = Duration::from_secs(1);

/// Those that are picked.
fn picked(fleet: &[ServiceInfo], ejections: &Ejections, now: Instant) -> BTreeSet<String> {
    let (balancer, turns) = (Balancer::new(), RoundRobin::new());
    let pick = |_| {
        name(
            balancer
                .among(fleet)
                .sparing(ejections, now)
                .round_robin(&turns),
        )
    };
    let mut picked: BTreeSet<String> = (0..2 * fleet.len()).map(pick).collect();
    picked.remove("");
    picked
}

#[test]
fn an_ejected_pod_comes_back_when_its_time_is_over() {
    let (fleet, now) = (pods(4), Instant::now());
    let ejections = Ejections::new(0.5);
    assert!(ejections.eject(&fleet[0], &fleet, now, 10 * SECOND));
    let almost = now + Duration::from_nanos(9_999_999_999);
    for time in [now, almost] {
        assert!(ejections.is_ejected(&fleet[0], time));
        assert!(!picked(&fleet, &ejections, time).contains("pod-0"));
    }
    for time in [now + 10 * SECOND, now + 11 * SECOND] {
        assert!(!ejections.is_ejected(&fleet[0], time));
        assert_eq!(picked(&fleet, &ejections, time).len(), 4);
    }
    // Again, for longer, for shorter, and for ever.
    let later = now + 20 * SECOND;
    for (time, out) in [(5, true), (10, true), (1, true), (15, true)] {
        assert!(ejections.eject(&fleet[1], &fleet, later, time * SECOND));
        let until = later + time.max(10) * SECOND;
        assert_eq!(ejections.is_ejected(&fleet[1], later + SECOND), out);
        if time >= 10 {
            assert!(!ejections.is_ejected(&fleet[1], until));
        }
    }
    assert!(ejections.eject(&fleet[2], &fleet, later, Duration::MAX));
    assert!(ejections.is_ejected(&fleet[2], later + 1_000_000_000 * SECOND));
    assert!(ejections.eject(&fleet[2], &fleet, later, SECOND));
    assert!(ejections.is_ejected(&fleet[2], later + 2 * SECOND));
    ejections.readmit(&fleet[2]);
    assert!(!ejections.is_ejected(&fleet[2], later));
    assert!(ejections.is_ejected(&fleet[1], later));
}

/// Of pods that are gone, and that nobody has a record of, nothing is kept, though they would be
/// left out for ever.
#[test]
fn who_is_gone_is_forgotten() {
    let (registry, now) = (Registry::new(MemoryStore::new()), Instant::now());
    let ejections = Ejections::new(1.0);
    let kept = pods(1);
    assert!(ejections.eject(&kept[0], &kept, now, Duration::MAX));
    for _ in 0..1_000 {
        let pod = registry
            .register(ServiceRegistration::new("s", "again"))
            .unwrap();
        let healthy = ServiceStatus::Healthy;
        registry.update_health_status(pod.key(), healthy).unwrap();
        let fleet = registry.get_services_by_name("s").unwrap();
        assert!(ejections.eject(&fleet[0], &fleet, now, Duration::MAX));
    }
    let shown = format!("{ejections:?}");
    // The one that is kept, the last one, and the one before, whose record was there until then.
    let is_short = (1..=3).any(|count| shown.contains(&format!("count: {count},")));
    assert!(is_short, "{shown}");
    assert!(ejections.is_ejected(&kept[0], now));
}

#[test]
fn no_more_are_ejected_than_stated() {
    let now = Instant::now();
    for (count, most, expected) in [
        (10, 0.3, 3),
        (10, 0.29, 2),
        (3, 0.34, 1),
        (3, 0.33, 0),
        (1, 0.5, 0),
        (5, 0.0, 0),
        (5, 1.0, 5),
        (5, 9.0, 5),
        (5, -1.0, 0),
    ] {
        let (fleet, ejections) = (pods(count), Ejections::new(most));
        let eject = |pod: &&ServiceInfo| ejections.eject(pod, &fleet, now, SECOND);
        let ejected = fleet.iter().filter(eject).count();
        assert_eq!(ejected, expected, "{count} pods, {most}");
        assert_eq!(picked(&fleet, &ejections, now).len(), count - expected);
    }
}

/// Pods come, go, fall ill, are ejected and come back: at no time are more healthy ones left out
/// than stated, and those that are left out have been ejected.
#[test]
fn at_no_time_are_more_ejected_than_stated() {
    let mut left_out = 0;
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let part = [0.1, 0.25, 0.5, 0.9][dice.roll(4)];
        let ejections = Ejections::new(part);
        let mut fleet = pods(12);
        let mut now = Instant::now();
        for step in 0..60 {
            match dice.roll(6) {
                0 => now += SECOND,
                1 if fleet.len() > 1 => {
                    fleet.swap_remove(dice.roll(fleet.len()));
                }
                2 => fleet.push(crate::pod(&format!("new-{step}"))),
                3 if !fleet.is_empty() => {
                    let at_random = dice.roll(fleet.len());
                    let status = [ServiceStatus::Healthy, ServiceStatus::Unhealthy][dice.roll(2)];
                    fleet[at_random] = fleet[at_random].with_health(status, at(1)).unwrap();
                }
                _ => {
                    let pod = &fleet[dice.roll(fleet.len())];
                    ejections.eject(pod, &fleet, now, SECOND * (1 + step % 4));
                }
            }
            let healthy: BTreeSet<&str> = fleet
                .iter()
                .filter(|pod| pod.status() == ServiceStatus::Healthy)
                .map(ServiceInfo::pod_name)
                .collect();
            let seen = picked(&fleet, &ejections, now);
            let out = healthy.iter().filter(|name| !seen.contains(**name));
            let out: Vec<_> = out.collect();
            #[allow(clippy::cast_precision_loss)]
            let most = part * healthy.len() as f64 + 1e-9;
            #[allow(clippy::cast_precision_loss)]
            let is_within = out.len() as f64 <= most;
            assert!(is_within, "{out:?} of {} with {part}", healthy.len());
            for pod in &fleet {
                if out.iter().any(|name| **name == pod.pod_name()) {
                    assert!(ejections.is_ejected(pod, now));
                }
            }
            left_out += out.len();
        }
    }
    assert!(left_out > 1_000, "{left_out}");
}

/// What others do with the load may be to eject somebody.
#[test]
fn a_pod_is_ejected_while_loads_are_asked_for() {
    let (fleet, now) = (pods(4), Instant::now());
    let ejections = Ejections::new(0.5);
    ejections.eject(&fleet[0], &fleet, now, SECOND);
    let picked = Balancer::new()
        .among(&fleet)
        .sparing(&ejections, now)
        .two_choices(3, |pod| ejections.eject(pod, &fleet, now, SECOND));
    assert!(picked.is_some());
    // Two of four: one more was let through.
    let out = fleet.iter().filter(|pod| ejections.is_ejected(pod, now));
    assert_eq!(out.count(), 2);
}

/// In every store: health reports keep a pod ejected, and one that registers anew is another one.
fn who_registers_anew_is_not_ejected(store: &impl RegistryStore) {
    let (registry, now) = (Registry::new(store), Instant::now());
    for pod in ["pod-0", "pod-1"] {
        let pod = registry
            .register(ServiceRegistration::new("s", pod))
            .unwrap();
        registry
            .update_health_status(pod.key(), ServiceStatus::Healthy)
            .unwrap();
    }
    let ejections = Ejections::new(0.5);
    store
        .with_view(|view| {
            let pod = service_registry::RegistryView::get(view, "s:pod-0").unwrap();
            assert!(ejections.eject(pod, (view, "s"), now, SECOND));
        })
        .unwrap();
    let balancer = Balancer::new();
    let picked = || {
        let pick = |n| {
            store
                .with_view(|view| {
                    let among = balancer.among((view, "s")).sparing(&ejections, now);
                    name(among.rendezvous(&format!("key-{n}")))
                })
                .unwrap()
        };
        (0..50).map(pick).collect::<BTreeSet<String>>()
    };
    assert_eq!(picked().len(), 1);
    for status in [ServiceStatus::Unhealthy, ServiceStatus::Healthy] {
        registry.update_health_status("s:pod-0", status).unwrap();
    }
    assert_eq!(picked().len(), 1);
    registry
        .register(ServiceRegistration::new("s", "pod-0"))
        .unwrap();
    registry
        .update_health_status("s:pod-0", ServiceStatus::Healthy)
        .unwrap();
    assert_eq!(picked().len(), 2);
}

mod memory {
    #[test]
    fn who_registers_anew_is_not_ejected() {
        super::who_registers_anew_is_not_ejected(&service_registry::MemoryStore::new());
    }
}

macro_rules! shared {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            #[test]
            fn who_registers_anew_is_not_ejected() {
                super::who_registers_anew_is_not_ejected(&service_registry::$store::new());
            }
        }
    };
}

shared_stores!(shared);
