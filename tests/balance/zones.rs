//! One's own zone first, and what spills.

use service_registry::balance::{Balancer, RoundRobin};
use service_registry::{ServiceInfo, ServiceRegistration, ServiceStatus};

use crate::made;
use crate::support::dice::nth;

fn of_zone(zone: &str, healthy: usize, ill: usize) -> Vec<ServiceInfo> {
    (0..healthy + ill)
        .map(|n| {
            let status = if n < healthy {
                ServiceStatus::Healthy
            } else {
                ServiceStatus::Unhealthy
            };
            made(
                ServiceRegistration::new("s", format!("{zone}-{n}")).with_zone(zone),
                status,
            )
        })
        .collect()
}

/// The part of the picks that stay in the zone `a`, by each way to pick; `None` where there are no
/// picks.
#[allow(clippy::cast_precision_loss)]
fn staying(balancer: &Balancer, fleet: &[ServiceInfo]) -> [Option<f64>; 4] {
    const PICKS: u64 = 10_000;
    let turns = RoundRobin::new();
    let ways: [&dyn Fn(u64) -> Option<String>; 4] = [
        &|n| Some(balancer.among(fleet).random(nth(1, n))?.zone().into()),
        &|n| {
            let pod = balancer.among(fleet).two_choices(nth(1, n), |_| 0);
            Some(pod?.zone().into())
        },
        &|n| {
            Some(
                balancer
                    .among(fleet)
                    .rendezvous(&n.to_string())?
                    .zone()
                    .into(),
            )
        },
        &|_| Some(balancer.among(fleet).round_robin(&turns)?.zone().into()),
    ];
    ways.map(|way| {
        let zones: Option<Vec<String>> = (0..PICKS).map(way).collect();
        let own = zones?.iter().filter(|zone| *zone == "a").count();
        Some(own as f64 / PICKS as f64)
    })
}

#[test]
fn the_own_zone_comes_first_and_spills_as_stated() {
    // Healthy and not, in the own zone and in others; how much is enough; what stays.
    for (own, others, enough, expected) in [
        ((4, 0), (40, 0), 0.8, Some(1.0)),
        ((8, 2), (40, 0), 0.8, Some(1.0)),
        ((4, 6), (40, 0), 0.8, Some(0.5)),
        ((4, 6), (1, 39), 0.8, Some(0.5)),
        ((1, 9), (40, 0), 1.0, Some(0.1)),
        ((9, 1), (40, 0), 1.0, Some(0.9)),
        // Only an empty zone spills.
        ((1, 9), (40, 0), 0.0, Some(1.0)),
        ((0, 10), (40, 0), 0.0, Some(0.0)),
        ((0, 10), (40, 0), 0.8, Some(0.0)),
        ((0, 0), (40, 0), 0.8, Some(0.0)),
        // Where nobody else is there, nothing spills.
        ((1, 9), (0, 0), 0.8, Some(1.0)),
        ((1, 9), (0, 7), 0.8, Some(1.0)),
        ((0, 9), (0, 7), 0.8, None),
        // What is no part is the nearest.
        ((1, 9), (40, 0), -3.0, Some(1.0)),
        ((1, 9), (40, 0), 7.0, Some(0.1)),
        ((1, 9), (40, 0), f64::NAN, Some(0.1)),
    ] {
        let fleet = [of_zone("a", own.0, own.1), of_zone("b", others.0, others.1)].concat();
        let balancer = Balancer::new().with_zone("a", enough);
        for part in staying(&balancer, &fleet) {
            let told = format!("{own:?} {others:?} {enough}: {part:?}");
            match (part, expected) {
                (None, None) => {}
                (Some(part), Some(expected)) if expected > 0.0 && expected < 1.0 => {
                    // Four standard deviations.
                    assert!((part - expected).abs() < 0.02, "{told}");
                }
                (part, expected) => assert_eq!(part, expected, "{told}"),
            }
        }
    }
}

/// Weights are what is there, not pods.
#[test]
fn weight_decides_what_is_enough() {
    let mut fleet = of_zone("b", 3, 0);
    for (name, weight, status) in [
        ("heavy", 9, ServiceStatus::Unhealthy),
        ("light", 1, ServiceStatus::Healthy),
        // Those count for nothing.
        ("draining", 90, ServiceStatus::Draining),
        ("nothing", 0, ServiceStatus::Healthy),
    ] {
        let registration = ServiceRegistration::new("s", name).with_zone("a");
        fleet.push(made(registration.with_weight(weight), status));
    }
    let balancer = Balancer::new().with_zone("a", 0.5);
    for part in staying(&balancer, &fleet) {
        assert!((part.unwrap() - 0.2).abs() < 0.02, "{part:?}");
    }
}

/// Both sides of the zone are gone through evenly.
#[test]
fn round_robin_is_even_on_both_sides_of_a_spill() {
    let fleet = [of_zone("a", 3, 3), of_zone("b", 5, 0)].concat();
    let balancer = Balancer::new().with_zone("a", 1.0);
    let turns = RoundRobin::new();
    let tally = crate::tally(30_000, |_| {
        crate::name(balancer.among(&fleet).round_robin(&turns))
    });
    for (pod, count) in tally {
        let expected = if pod.starts_with('a') { 5_000 } else { 3_000 };
        assert!(count.abs_diff(expected) < 100, "{pod}: {count}");
    }
}
