//! Measures the cost of picking a pod, compared with only reading the pods of the name.
//!
//! ```console
//! cargo run --release --features versioned --example picks
//! ```
//!
//! prints, for names of 5, 50 and 500 pods, the cost of each way to pick a pod, and its ratio to
//! two ways of reading them. They take turns in slices of a millisecond; a ratio is the median of
//! 200 rounds. *Reading* accesses what a pick needs: the status and the weight of each pod, and its
//! zone, its key or its metadata if the pick needs them. *Walking* accesses only the status, which
//! is beside the pointer.
//!
//! ```console
//! cargo run --release --features versioned --example picks -- WAY PODS
//! ```
//!
//! makes 10,000 picks of one kind, for `valgrind --tool=callgrind --toggle-collect='*counted*'`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use service_registry::balance::{Balancer, RoundRobin};
use service_registry::{
    Labels, Registry, RegistryView, ServiceInfo, ServiceRegistration, ServiceStatus,
    VersionedSnapshot, VersionedStore,
};

type Work<'a> = Box<dyn FnMut(u64) + 'a>;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let one = arguments.next().zip(arguments.next());
    if let Some((way, pods)) = one {
        let snapshot = filled(pods.parse().expect("a number of pods"));
        let (mut work, _) = ways(&snapshot)
            .into_iter()
            .find_map(|(name, work, of)| (name == way).then_some((work, of)))
            .expect("one of the ways");
        for n in 0..100 {
            work(n);
        }
        counted(&mut work);
        return;
    }
    println!(
        "{:>18} {:>5} {:>9} {:>11} {:>11}",
        "", "pods", "ns", "to reading", "to walking"
    );
    for pods in [5, 50, 500] {
        let snapshot = filled(pods);
        for at in 0..ways(&snapshot).len() {
            let mut ways = ways(&snapshot);
            let (name, _, reading) = &ways[at];
            let (name, reading) = (*name, *reading);
            let index_of = |wanted: &str| ways_at(&ways_names(&ways), wanted);
            let (walk, read) = (index_of("walking"), index_of(reading));
            let [walk, read, own] = compare(&mut ways, [walk, read, at]);
            println!(
                "{name:>18} {pods:>5} {own:>9.1} {:>11.2} {:>11.2}",
                own / read,
                own / walk
            );
        }
    }
}

fn ways_names(ways: &[Way<'_>]) -> Vec<&'static str> {
    ways.iter().map(|(name, ..)| *name).collect()
}

fn ways_at(names: &[&str], wanted: &str) -> usize {
    let at = names.iter().position(|name| *name == wanted);
    at.expect("one of the ways")
}

#[inline(never)]
fn counted(work: &mut Work<'_>) {
    for n in 0..10_000 {
        work(n);
    }
}

fn filled(pods: usize) -> VersionedSnapshot {
    let registry = Registry::new(VersionedStore::new());
    for n in 0..pods {
        let registration = ServiceRegistration::new("checkout", format!("checkout-7d4b9c-{n:04}"))
            .with_zone(["eu-1a", "eu-1b"][n % 2])
            .with_metadata("version", "2.3");
        let pod = registry
            .register(registration)
            .expect("a good registration");
        let healthy = ServiceStatus::Healthy;
        registry
            .update_health_status(pod.key(), healthy)
            .expect("it is there");
    }
    registry.store().snapshot()
}

const NAME: &str = "checkout";

/// A name, the work, and the name of the way of reading that accesses the same fields.
type Way<'a> = (&'static str, Work<'a>, &'static str);

fn ways(view: &VersionedSnapshot) -> Vec<Way<'_>> {
    let mut ways = reading(view);
    ways.extend(picking(view));
    ways
}

fn reading(view: &VersionedSnapshot) -> Vec<Way<'_>> {
    vec![
        (
            "walking",
            Box::new(move |_| {
                for pod in view.services_by_name(NAME) {
                    black_box(pod.status());
                }
            }) as Work<'_>,
            "walking",
        ),
        (
            "reading",
            Box::new(move |_| {
                for pod in view.services_by_name(NAME) {
                    black_box((pod.status(), pod.weight()));
                }
            }),
            "reading",
        ),
        (
            "reading zones",
            Box::new(move |_| {
                for pod in view.services_by_name(NAME) {
                    black_box((pod.status(), pod.weight(), pod.zone() == black_box("eu-1a")));
                }
            }),
            "reading zones",
        ),
        (
            "reading keys",
            Box::new(move |_| {
                for pod in view.services_by_name(NAME) {
                    let key = pod.key().as_bytes();
                    let sum = key
                        .iter()
                        .fold(0_u64, |sum, byte| sum.wrapping_add(u64::from(*byte)));
                    black_box((pod.status(), pod.weight(), sum));
                }
            }),
            "reading keys",
        ),
        (
            "reading labels",
            Box::new(move |_| {
                for pod in view.services_by_name(NAME) {
                    let is_equal = pod
                        .metadata()
                        .get("version")
                        .is_some_and(|v| v == black_box("2.3"));
                    black_box((pod.status(), pod.weight(), is_equal));
                }
            }),
            "reading labels",
        ),
    ]
}

fn picking(view: &VersionedSnapshot) -> Vec<Way<'_>> {
    let plain = Balancer::new();
    let zone = Balancer::new().with_zone("eu-1a", 0.7);
    let labels = Balancer::new().with_labels(Labels::new().equal("version", "2.3"));
    let panic = Balancer::new().with_panic_below(0.5);
    let subset = Balancer::new().with_subset("client-17", 8);
    let turns = RoundRobin::new();
    let (p, keyed) = (plain.clone(), plain.clone());
    let robin = plain.clone();
    let two = plain.clone();
    vec![
        (
            "round robin",
            Box::new(move |_| {
                black_box(robin.among((view, NAME)).round_robin(&turns));
            }),
            "reading",
        ),
        (
            "random",
            Box::new(move |n| {
                black_box(p.among((view, NAME)).random(n));
            }),
            "reading",
        ),
        (
            "two choices",
            Box::new(move |n| {
                black_box(two.among((view, NAME)).two_choices(n, ServiceInfo::weight));
            }),
            "reading",
        ),
        (
            "rendezvous",
            Box::new(move |_| {
                black_box(keyed.among((view, NAME)).rendezvous(black_box("user-4711")));
            }),
            "reading keys",
        ),
        (
            "random, zone",
            Box::new(move |n| {
                black_box(zone.among((view, NAME)).random(n));
            }),
            "reading zones",
        ),
        (
            "random, labels",
            Box::new(move |n| {
                black_box(labels.among((view, NAME)).random(n));
            }),
            "reading labels",
        ),
        (
            "random, panic",
            Box::new(move |n| {
                black_box(panic.among((view, NAME)).random(n));
            }),
            "reading",
        ),
        (
            "random, subset",
            Box::new(move |n| {
                black_box(subset.among((view, NAME)).random(n));
            }),
            "reading keys",
        ),
    ]
}

/// Measures three ways in slices that take turns, and returns the nanoseconds of each. Those of the
/// last one are its median; those of the others make the ratios the medians of the ratios within a
/// round.
fn compare(ways: &mut [Way<'_>], which: [usize; 3]) -> [f64; 3] {
    const ROUNDS: usize = 200;
    let mut slice = |at: usize| {
        let (begun, mut done) = (Instant::now(), 0_u32);
        while begun.elapsed() < Duration::from_millis(1) {
            for n in 0..64 {
                ways[at].1(u64::from(done + n));
            }
            done += 64;
        }
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(done)
    };
    let mut rounds = [(); 3].map(|()| Vec::with_capacity(ROUNDS));
    for round in 0..ROUNDS + 20 {
        let mut times = [0.0; 3];
        for turn in 0..3 {
            let at = (turn + round) % 3;
            times[at] = slice(which[at]);
        }
        // The first 20 rounds warm up.
        if round >= 20 {
            rounds[0].push(times[2] / times[0]);
            rounds[1].push(times[2] / times[1]);
            rounds[2].push(times[2]);
        }
    }
    let [to_walk, to_read, own] = rounds.map(|mut of| {
        of.sort_by(f64::total_cmp);
        of[of.len() / 2]
    });
    [own / to_walk, own / to_read, own]
}
