//! A cell of the laboratory under criterion.

#![allow(clippy::cast_precision_loss)] // counts far below 2^52

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use service_registry_lab::contender;
use service_registry_lab::scenarios;

/// How long a slice is: what criterion is told is what so many operations take at its figure.
const SLICE: Duration = Duration::from_millis(5);

/// Measures the timed cells of some scenarios; an iteration is so many operations.
pub(super) fn bench(c: &mut Criterion, names: &[&str], operations: u64) {
    let all = scenarios::all().iter();
    for scenario in all.filter(|scenario| names.contains(&scenario.name)) {
        for cell in &scenario.cells {
            let (services, threads) = (cell.holds.services, cell.threads);
            let name = format!("{}/{}/{services}/{threads}", scenario.name, cell.name);
            let mut group = c.benchmark_group(name);
            group.throughput(Throughput::Elements(operations));
            for id in &scenario.contenders {
                let contender = contender::find(id).expect("a contender of the lab");
                // Opened by whoever passes the filter, and only then.
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

/// Few samples, each of which is a slice.
pub(super) fn config() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(300))
}
