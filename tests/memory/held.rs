//! A view that is held for very long, and what it costs: memory, which is checked, and
//! the writer's speed, which is printed.

use std::time::{Duration, Instant};

use service_registry::{RegistryView, ServiceStatus};

use crate::heap::counts;
use crate::support::views::Views;
use crate::support::{at, pod};

const SERVICES: usize = 10_000;

/// Updates while a view is held: 200,000, or `UPDATES`.
fn updates() -> usize {
    let given = std::env::var("UPDATES").ok();
    given.map_or(200_000, |given| given.parse().expect("UPDATES is a number"))
}

pub(crate) fn a_view_that_is_held_keeps_one_version_of_each_record<S: Views>(make: impl Fn() -> S) {
    let updates = updates();
    let keys: Vec<String> = (0..SERVICES).map(|n| format!("s-{}:{n}", n / 10)).collect();
    let before = counts::live();
    let store = make();
    for (n, key) in keys.iter().enumerate() {
        let (name, _) = key.split_once(':').unwrap();
        store.save_service(pod(name, &n.to_string())).unwrap();
    }
    let resting = counts::live() - before;
    let mut at_all = 0_usize;
    // The largest that it ever is, and how long all of it takes.
    let mut work = |view: Option<&S::Snapshot>| {
        let (mut largest, mut took) = (0, Duration::ZERO);
        for part in 0..20 {
            let start = Instant::now();
            for _ in 0..updates / 20 {
                at_all += 1;
                let key = &keys[at_all.wrapping_mul(7919) % SERVICES];
                let moment = at(u64::try_from(at_all).unwrap());
                store
                    .update_health_status(key, ServiceStatus::Healthy, moment)
                    .unwrap();
            }
            took += start.elapsed();
            largest = largest.max(counts::live() - before);
            if let Some(view) = view {
                let seen = view.get(&keys[part]).expect("it was there");
                assert_eq!(seen.status(), ServiceStatus::Unknown, "a view has changed");
            }
        }
        (largest, took)
    };
    let view = store.snapshot();
    let (largest, held) = work(Some(&view));
    assert!(
        largest < 3 * resting,
        "{largest} bytes with a view, {resting} without"
    );
    drop(view);
    let (_, alone) = work(None);
    println!(
        "{updates} updates of {SERVICES} services: {:.2} times the memory at rest; \
         with a view held, writers do {:.2} times as much as without",
        ratio(largest, resting),
        alone.as_secs_f64() / held.as_secs_f64(),
    );
}

#[allow(clippy::cast_precision_loss)] // far below 2^52
fn ratio(one: i64, other: i64) -> f64 {
    one as f64 / other as f64
}
