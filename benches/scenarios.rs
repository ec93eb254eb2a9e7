//! Single operations, hot keys, sizes and bursts under criterion, by the definitions of
//! `cargo lab` (`lab/src/scenarios.json`). Criterion adds its own statistics, its history from one
//! run to the next, and a filter:
//!
//! ```text
//! cargo bench -p service-registry-lab --bench scenarios -- map/with_service
//! cargo bench -p service-registry-lab --bench scenarios -- burst-30x100/80/20
//! ```

#![allow(clippy::cast_precision_loss)] // counts far below 2^52

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use service_registry_lab::contender;
use service_registry_lab::scenarios;

/// The length of a slice. Criterion receives the time of its number of operations, computed from
/// the figure of one slice.
const SLICE: Duration = Duration::from_millis(5);

/// The scenarios, each with the operations of an iteration: a burst is one iteration.
const MEASURED: [(&str, u64); 7] = [
    ("operations", 1),
    ("by-name", 1),
    ("subscriptions", 1),
    ("map", 1),
    ("hot-key", 1),
    ("size", 1),
    ("burst-30x100", 3_000),
];

fn cells(c: &mut Criterion) {
    for scenario in scenarios::all() {
        let own = MEASURED.iter().find(|(name, _)| *name == scenario.name);
        let Some((_, operations)) = own else {
            continue;
        };
        for cell in &scenario.cells {
            let (services, threads) = (cell.holds.services, cell.threads);
            let name = format!("{}/{}/{services}/{threads}", scenario.name, cell.name);
            let mut group = c.benchmark_group(name);
            group.throughput(Throughput::Elements(*operations));
            for id in &scenario.contenders {
                let contender = contender::find(id).expect("a contender of the lab");
                // Opened only if the benchmark passes the filter.
                let mut stage = None;
                group.bench_function(BenchmarkId::from_parameter(id), |b| {
                    let open = || contender.open(cell, 1).expect("threads for the workers");
                    let stage = stage.get_or_insert_with(open);
                    b.iter_custom(|count| {
                        let slice = stage.slice(SLICE).expect("right answers");
                        let nanoseconds = slice[0] * (operations * count) as f64;
                        Duration::from_secs_f64(nanoseconds / 1e9)
                    });
                });
                if let Some(stage) = stage {
                    stage
                        .finish()
                        .expect("what the operations should have left");
                }
            }
        }
    }
}

criterion_group! {
    name = benches;
    // Few samples: each is a slice.
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(300));
    targets = cells
}
criterion_main!(benches);
