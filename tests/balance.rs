//! The laws of balancing.
//!
//! Chance is a sequence of numbers that is the same each time, so that no test fails by chance.

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

#[path = "balance/any_fleet.rs"]
mod any_fleet;
#[path = "balance/ejected.rs"]
mod ejected;
#[path = "balance/zones.rs"]
mod zones;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use service_registry::balance::{Balancer, RoundRobin};
use service_registry::{
    Labels, MemoryStore, RegistryStore, ServiceInfo, ServiceRegistration, ServiceStatus,
};
use support::at;
use support::dice::nth;

/// A healthy pod of weight 1.
fn pod(name: &str) -> ServiceInfo {
    made(ServiceRegistration::new("s", name), ServiceStatus::Healthy)
}

fn made(registration: ServiceRegistration, status: ServiceStatus) -> ServiceInfo {
    let info = ServiceInfo::new(registration).unwrap();
    info.with_health(status, at(0)).unwrap()
}

fn weighted(name: &str, weight: u32) -> ServiceInfo {
    made(
        ServiceRegistration::new("s", name).with_weight(weight),
        ServiceStatus::Healthy,
    )
}

fn pods(count: usize) -> Vec<ServiceInfo> {
    (0..count).map(|n| pod(&format!("pod-{n}"))).collect()
}

fn name(info: Option<&ServiceInfo>) -> String {
    info.map_or_else(String::new, |info| info.pod_name().into())
}

/// How often each of `count` picks was whose.
fn tally(count: u64, mut pick: impl FnMut(u64) -> String) -> BTreeMap<String, u64> {
    let mut tally = BTreeMap::new();
    for n in 0..count {
        *tally.entry(pick(n)).or_default() += 1;
    }
    tally
}

/// Pearson's statistic of counts, with what is expected in proportion; and its degrees of freedom.
#[allow(clippy::cast_precision_loss)]
fn chi_squared(counts: &[u64], expected: &[f64]) -> (f64, usize) {
    assert_eq!(counts.len(), expected.len());
    let total: u64 = counts.iter().sum();
    let whole: f64 = expected.iter().sum();
    let each = counts.iter().zip(expected).map(|(count, part)| {
        let expected = part / whole * total as f64;
        (*count as f64 - expected).powi(2) / expected
    });
    (each.sum(), counts.len() - 1)
}

/// Whether counts are what chance allows, once in some million times at most (Wilson and Hilferty's
/// approximation, at five standard deviations).
#[allow(clippy::cast_precision_loss)]
fn is_fair(counts: &[u64], expected: &[f64]) -> bool {
    let (statistic, freedom) = chi_squared(counts, expected);
    let part = 2.0 / (9.0 * freedom as f64);
    statistic < freedom as f64 * (1.0 - part + 5.0 * part.sqrt()).powi(3)
}

#[test]
fn the_measure_of_fairness_can_fail() {
    assert!(is_fair(&[1_000, 2_010, 2_990], &[1.0, 2.0, 3.0]));
    assert!(!is_fair(&[1_000, 2_000, 3_000], &[1.0, 1.0, 1.0]));
    assert!(!is_fair(&[1_300, 2_000, 2_700], &[1.0, 2.0, 3.0]));
}

// --- random

#[test]
fn random_picks_are_in_proportion_to_weights() {
    let weights = [1_u32, 2, 3, 0, 10, u32::MAX / 8];
    for (taken, chance) in [(5, 100_000), (6, 100_000)] {
        let fleet: Vec<ServiceInfo> = (0..)
            .zip(&weights[..taken])
            .map(|(n, weight)| weighted(&format!("pod-{n}"), *weight))
            .collect();
        // Random numbers, and a counter.
        for number in [(|n| nth(7, n)) as fn(u64) -> u64, |n| n] {
            let balancer = Balancer::new();
            let tally = tally(chance, |n| name(balancer.among(&fleet).random(number(n))));
            let counts: Vec<u64> = fleet
                .iter()
                .map(|pod| tally.get(pod.pod_name()).copied().unwrap_or_default())
                .collect();
            assert_eq!(counts[3], 0, "of weight 0");
            assert_eq!(counts.iter().sum::<u64>(), chance);
            if taken == 6 {
                assert!(counts[5] > chance - 100, "{counts:?}");
                continue;
            }
            let (mut counts, mut parts) = (counts, weights[..taken].to_vec());
            counts.remove(3);
            parts.remove(3);
            let parts: Vec<f64> = parts.into_iter().map(f64::from).collect();
            assert!(is_fair(&counts, &parts), "{counts:?}");
            assert!(!is_fair(&counts, &[1.0; 4]), "{counts:?}");
        }
    }
}

// --- two choices

#[test]
fn two_choices_never_takes_the_more_loaded_of_the_two() {
    let fleet = pods(6);
    let loads: BTreeMap<&str, u64> = fleet
        .iter()
        .map(ServiceInfo::pod_name)
        .zip([5, 3, 9, 3, 0, 7])
        .collect();
    let balancer = Balancer::new();
    let asked = RefCell::new(Vec::new());
    let mut pairs: BTreeMap<(String, String), u64> = BTreeMap::new();
    for n in 0..30_000 {
        asked.borrow_mut().clear();
        let picked = balancer.among(&fleet).two_choices(nth(3, n), |pod| {
            asked.borrow_mut().push(pod.pod_name().to_owned());
            loads[pod.pod_name()]
        });
        let mut pair = asked.borrow().clone();
        pair.sort_unstable();
        let [one, two] = &pair[..] else {
            panic!("{pair:?}");
        };
        assert_ne!(one, two);
        let least = loads[&**one].min(loads[&**two]);
        assert_eq!(loads[picked.unwrap().pod_name()], least);
        *pairs.entry((one.clone(), two.clone())).or_default() += 1;
    }
    let counts: Vec<u64> = pairs.into_values().collect();
    assert!(
        counts.len() == 15 && is_fair(&counts, &[1.0; 15]),
        "{counts:?}"
    );
}

/// A caller that knows nothing yet does not send everything to one pod.
#[test]
fn two_choices_of_equal_loads_are_even() {
    for count in [2, 3, 10] {
        let fleet = pods(count);
        let balancer = Balancer::new();
        let pick = |n| name(balancer.among(&fleet).two_choices(nth(5, n), |_| 0));
        let counts: Vec<u64> = tally(20_000, pick).into_values().collect();
        assert!(
            counts.len() == count && is_fair(&counts, &vec![1.0; count]),
            "{counts:?}"
        );
    }
    let one = pods(1);
    let picked = Balancer::new().among(&one).two_choices(9, |_| f64::NAN);
    assert_eq!(picked, Some(&one[0]));
}

/// Loads that follow the picks stay close together, as they do not at random.
#[test]
fn two_choices_keep_loads_close() {
    let fleet = pods(100);
    let spread = |pick: &dyn Fn(u64, &BTreeMap<String, u64>) -> String| {
        let mut loads = BTreeMap::new();
        for n in 0..100_000 {
            let picked = pick(nth(11, n), &loads);
            *loads.entry(picked).or_insert(0) += 1;
        }
        loads.values().max().unwrap() - loads.values().min().unwrap()
    };
    let balancer = Balancer::new();
    let two = spread(&|random, loads| {
        let load = |pod: &ServiceInfo| loads.get(pod.pod_name()).copied().unwrap_or(0);
        name(balancer.among(&fleet).two_choices(random, load))
    });
    let one = spread(&|random, _| name(balancer.among(&fleet).random(random)));
    assert!(two < 20 && one > 100, "two choices: {two}, random: {one}");
}

// --- round robin

#[test]
fn round_robin_gives_each_pod_one_turn_of_so_many() {
    for count in [1, 2, 7, 100] {
        let fleet = pods(count);
        let (balancer, turns) = (Balancer::new(), RoundRobin::new());
        for _ in 0..3 {
            let picked: BTreeSet<String> = (0..count)
                .map(|_| name(balancer.among(&fleet).round_robin(&turns)))
                .collect();
            assert_eq!(picked.len(), count);
        }
        // Some go, some are not healthy: at once it goes on evenly.
        let mut fewer = fleet.clone();
        fewer[0] = fleet[0]
            .with_health(ServiceStatus::Unhealthy, at(1))
            .unwrap();
        fewer.push(weighted("nothing", 0));
        let left = count - 1;
        let tally = tally(3 * left as u64, |_| {
            name(balancer.among(&fewer).round_robin(&turns))
        });
        assert!(
            tally.len() == left && tally.values().all(|got| *got == 3),
            "{tally:?}"
        );
    }
}

#[test]
fn round_robin_is_even_among_threads() {
    let fleet = pods(7);
    let (balancer, turns) = (Balancer::new(), RoundRobin::new());
    let picks = || {
        let pick = |_| name(balancer.among(&fleet).round_robin(&turns));
        tally(7_000, pick)
    };
    let tallies = thread::scope(|scope| {
        let threads = [(); 4].map(|()| scope.spawn(picks));
        threads.map(|thread| thread.join().unwrap())
    });
    for pod in &fleet {
        let got: u64 = tallies.iter().map(|tally| tally[pod.pod_name()]).sum();
        assert_eq!(got, 4_000, "{}", pod.pod_name());
    }
}

// --- rendezvous

fn owners(fleet: &[ServiceInfo], keys: u64) -> Vec<String> {
    let balancer = Balancer::new();
    let owner = |n| name(balancer.among(fleet).rendezvous(&format!("user-{n}")));
    (0..keys).map(owner).collect()
}

#[test]
fn rendezvous_moves_only_the_keys_of_a_pod_that_left() {
    let fleet: Vec<ServiceInfo> = (0..20)
        .map(|n| weighted(&format!("pod-{n}"), n % 3 + 1))
        .collect();
    let before = owners(&fleet, 5_000);
    for gone in 0..fleet.len() {
        // It left, or is not healthy any more.
        let mut left = fleet.clone();
        let left_name = left.remove(gone).pod_name().to_owned();
        let mut ill = fleet.clone();
        ill[gone] = ill[gone]
            .with_health(ServiceStatus::Unhealthy, at(1))
            .unwrap();
        let after = owners(&left, 5_000);
        assert_eq!(owners(&ill, 5_000), after);
        let mut takers = BTreeSet::new();
        for (before, after) in before.iter().zip(&after) {
            if *before == left_name {
                assert_ne!(*after, left_name);
                takers.insert(after);
            } else {
                assert_eq!(before, after);
            }
        }
        assert!(takers.len() > 10, "all keys of one pod go to {takers:?}");
    }
    // The order of the pods is nothing to it.
    let mut turned = fleet.clone();
    turned.reverse();
    assert_eq!(owners(&turned, 5_000), before);
}

#[test]
fn rendezvous_gives_keys_in_proportion_to_weights() {
    let weights = [1, 2, 3, 4];
    let fleet = [0, 1, 2, 3].map(|n| weighted(&format!("pod-{n}"), weights[n]));
    let owners = owners(&fleet, 40_000);
    let counts = fleet.each_ref().map(|pod| {
        let own = owners.iter().filter(|owner| *owner == pod.pod_name());
        own.count() as u64
    });
    assert!(is_fair(&counts, &weights.map(f64::from)), "{counts:?}");
    assert!(!is_fair(&counts, &[1.0; 4]));
    // More weight takes keys from others, and moves none between them.
    let mut heavier = fleet.clone();
    heavier[0] = weighted("pod-0", 3);
    for (before, after) in owners.iter().zip(self::owners(&heavier, 40_000)) {
        assert!(*before == after || after == "pod-0", "{before} to {after}");
    }
}

// --- subsets

/// The pods that a client may meet.
fn subset_of(fleet: &[ServiceInfo], client: &str, size: usize) -> BTreeSet<String> {
    let balancer = Balancer::new().with_subset(client, size);
    let turns = RoundRobin::new();
    let turn = |_| name(balancer.among(fleet).round_robin(&turns));
    (0..2 * fleet.len()).map(turn).collect()
}

#[test]
fn a_subset_is_stable() {
    let fleet = pods(40);
    for client in 0..50 {
        let client = format!("client-{client}");
        let before = subset_of(&fleet, &client, 6);
        assert_eq!(before.len(), 6);
        assert_eq!(subset_of(&fleet, &client, 6), before);
        for gone in 0..fleet.len() {
            let mut left = fleet.clone();
            let pod = left.remove(gone);
            let after = subset_of(&left, &client, 6);
            let kept = before.intersection(&after).count();
            let lost = usize::from(before.contains(pod.pod_name()));
            assert_eq!((after.len(), kept), (6, 6 - lost));
        }
        // Fewer than there should be: all.
        assert_eq!(subset_of(&fleet[..4], &client, 6).len(), 4);
        assert_eq!(subset_of(&fleet, &client, 0).len(), 1);
    }
}

#[test]
fn subsets_spread_evenly() {
    let fleet = pods(40);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for client in 0..4_000 {
        for pod in subset_of(&fleet, &format!("client-{client}"), 5) {
            *counts.entry(pod).or_default() += 1;
        }
    }
    let counts: Vec<u64> = counts.into_values().collect();
    assert_eq!(counts.iter().sum::<u64>(), 20_000);
    assert!(
        counts.len() == 40 && is_fair(&counts, &[1.0; 40]),
        "{counts:?}"
    );
}

// --- where pods come from

#[test]
fn pods_come_from_views_and_from_lists() {
    let store = MemoryStore::new();
    for pod in pods(3) {
        store.save_service(pod).unwrap();
    }
    let balancer = Balancer::new();
    let of_view = store.with_view(|view| {
        assert_eq!(balancer.among((view, "nobody")).random(1), None);
        name(balancer.among((view, "s")).rendezvous("key"))
    });
    let listed = store.get_services_by_name("s").unwrap();
    let of_list = name(balancer.among(&listed).rendezvous("key"));
    assert_eq!(of_view.as_ref(), Ok(&of_list));
    let of_slice = name(balancer.among(&listed[..]).rendezvous("key"));
    assert_eq!(of_slice, of_list);
}

// --- labels

#[test]
fn labels_choose_by_metadata_and_zone() {
    let of = |name: &str, zone: &str, version: Option<&str>| {
        let mut registration = ServiceRegistration::new("s", name).with_zone(zone);
        registration.metadata = version
            .map(|v| ("version".into(), v.into()))
            .into_iter()
            .collect();
        made(registration, ServiceStatus::Healthy)
    };
    let fleet = [
        of("a1", "a", Some("1")),
        of("a2", "a", Some("2")),
        of("b2", "b", Some("2")),
        of("b", "b", None),
        of("nowhere", "", Some("1")),
    ];
    let new = Labels::new;
    for (labels, expected) in [
        (new(), &["a1", "a2", "b", "b2", "nowhere"][..]),
        (new().equal("version", "2"), &["a2", "b2"]),
        (new().one_of("version", ["1", "3"]), &["a1", "nowhere"]),
        (new().one_of("version", [""; 0]), &[]),
        (new().none_of("version", ["1"]), &["a2", "b", "b2"]),
        (new().present("version"), &["a1", "a2", "b2", "nowhere"]),
        (new().absent("version"), &["b"]),
        (new().in_zone("a"), &["a1", "a2"]),
        (new().in_zones(["b", "c"]), &["b", "b2"]),
        (new().in_zone(""), &[]),
        (new().outside_zones(["a"]), &["b", "b2", "nowhere"]),
        (new().in_zone("b").present("version"), &["b2"]),
        (new().equal("version", "1").and(new().in_zone("a")), &["a1"]),
    ] {
        let held = fleet.iter().filter(|pod| labels.hold(pod));
        let held: BTreeSet<&str> = held.map(ServiceInfo::pod_name).collect();
        assert_eq!(held, expected.iter().copied().collect(), "{labels:?}");
        let balancer = Balancer::new().with_labels(labels);
        let (turns, drawn) = (RoundRobin::new(), Cell::new(0));
        let turn = |_| {
            drawn.set(drawn.get() + 1);
            name(balancer.among(&fleet).round_robin(&turns))
        };
        let mut picked: BTreeSet<String> = (0..5).map(turn).collect();
        picked.remove("");
        assert!(picked.iter().eq(expected), "{picked:?}");
    }
}
