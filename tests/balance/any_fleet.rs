//! What holds of every pick, of any fleet.

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use service_registry::balance::{Balancer, Ejections, RoundRobin};
use service_registry::{Labels, ServiceInfo, ServiceRegistration, ServiceStatus};

use crate::made;

/// Zone, version, weight, status, and whether somebody tries to eject it.
type PodSpec = (&'static str, &'static str, u32, ServiceStatus, bool);

fn any_pod() -> impl Strategy<Value = PodSpec> {
    (
        select(vec!["a", "b", ""]),
        select(vec!["1", "2"]),
        select(vec![0, 1, 1, 7]),
        select(vec![
            ServiceStatus::Healthy,
            ServiceStatus::Healthy,
            ServiceStatus::Unhealthy,
            ServiceStatus::Unknown,
            ServiceStatus::Draining,
        ]),
        any::<bool>(),
    )
}

#[derive(Clone, Debug)]
struct PickOptions {
    labels: bool,
    zone: Option<f64>,
    panic_below: Option<f64>,
    subset: Option<usize>,
    most: f64,
}

fn any_asked() -> impl Strategy<Value = PickOptions> {
    let part = || select(vec![0.0, 0.3, 0.5, 1.0]);
    let asked = (
        any::<bool>(),
        proptest::option::of(part()),
        proptest::option::of(part()),
        proptest::option::of(1_usize..4),
        part(),
    );
    asked.prop_map(|(labels, zone, panic_below, subset, most)| PickOptions {
        labels,
        zone,
        panic_below,
        subset,
        most,
    })
}

fn weight<'p>(pods: impl IntoIterator<Item = &'p &'p ServiceInfo>) -> f64 {
    pods.into_iter().map(|pod| f64::from(pod.weight())).sum()
}

/// Draining pods and those of weight 0 get nothing, ever; those that are not healthy, and the
/// ejected ones, nothing but in panic mode, which is only where it was asked for and too few are
/// healthy; labels hold of all; and nobody is picked only where nobody comes into question.
#[test]
fn nobody_is_picked_who_should_not_be() {
    let config = Config {
        cases: if cfg!(debug_assertions) {
            1_000
        } else {
            20_000
        },
        ..Config::with_source_file("tests/balance.rs")
    };
    let input = (vec(any_pod(), 0..9), any_asked(), any::<u64>());
    let ran = TestRunner::new(config).run(&input, |(pods, asked, random)| {
        let fleet: Vec<ServiceInfo> = (0..)
            .zip(&pods)
            .map(|(n, (zone, version, weight, status, _))| {
                let registration = ServiceRegistration::new("s", format!("pod-{n}"))
                    .with_zone(*zone)
                    .with_weight(*weight)
                    .with_metadata("version", *version);
                made(registration, *status)
            })
            .collect();
        let now = Instant::now();
        let ejections = Ejections::new(asked.most);
        for (pod, (.., ejects)) in fleet.iter().zip(&pods) {
            if *ejects {
                ejections.eject(pod, &fleet, now, Duration::from_secs(1));
            }
        }
        let mut balancer = Balancer::new();
        if asked.labels {
            balancer = balancer.with_labels(Labels::new().equal("version", "1"));
        }
        if let Some(enough) = asked.zone {
            balancer = balancer.with_zone("a", enough);
        }
        if let Some(below) = asked.panic_below {
            balancer = balancer.with_panic_below(below);
        }
        if let Some(size) = asked.subset {
            balancer = balancer.with_subset("me", size);
        }

        // Who comes into question.
        let is_wanted = |pod: &&ServiceInfo| !asked.labels || pod.metadata()["version"] == "1";
        let is_possible =
            |pod: &&ServiceInfo| pod.weight() > 0 && pod.status() != ServiceStatus::Draining;
        let possible: Vec<&ServiceInfo> =
            fleet.iter().filter(is_wanted).filter(is_possible).collect();
        let is_healthy = |pod: &&&ServiceInfo| pod.status() == ServiceStatus::Healthy;
        let healthy: Vec<&ServiceInfo> = possible.iter().filter(is_healthy).copied().collect();
        let is_out = |pod: &&&ServiceInfo| ejections.is_ejected(pod, now);
        let out = healthy.iter().filter(is_out).count();
        #[allow(clippy::cast_precision_loss)]
        let too_many = out as f64 > asked.most * healthy.len() as f64 + 1e-9;
        let good: Vec<&ServiceInfo> = healthy
            .iter()
            .filter(|pod| too_many || !is_out(pod))
            .copied()
            .collect();
        let panics = asked
            .panic_below
            .is_some_and(|below| weight(&good) < below * weight(&possible));
        let question = if panics { &possible } else { &good };

        let turns = RoundRobin::new();
        let among = balancer.among(&fleet).sparing(&ejections, now);
        let mut picked = vec![
            among.random(random),
            among.two_choices(random, ServiceInfo::weight),
            among.rendezvous(&random.to_string()),
        ];
        picked.extend((0..5).map(|_| among.round_robin(&turns)));
        for pod in picked {
            prop_assert_eq!(pod.is_none(), question.is_empty(), "{:?}", pod);
            if let Some(pod) = pod {
                prop_assert!(question.contains(&pod), "{:?} of {:?}", pod, question);
                // Nobody of elsewhere while the own zone has enough.
                let own = |pods: &[&ServiceInfo]| {
                    let own = pods.iter().filter(|pod| pod.zone() == "a");
                    own.map(|pod| f64::from(pod.weight())).sum::<f64>()
                };
                let (has, of) = (own(&good), own(&possible));
                let stays = asked
                    .zone
                    .is_some_and(|enough| has > 0.0 && has / of >= enough);
                prop_assert!(panics || !stays || pod.zone() == "a", "{:?}", pod);
            }
        }
        Ok(())
    });
    ran.unwrap();
}
