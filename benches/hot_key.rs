//! The scenario *hot-key* under criterion: all threads ask for the same key, or for
//! the same eight, cloned, borrowed and by reader handles.
//!
//! Keys, operations and windows are those of the report
//! (`src/lab/scenarios/hot_key.rs`). What criterion is told is the time that so many
//! operations of all threads together take at the throughput of a window.
//!
//! ```text
//! cargo bench --features lab --bench hot_key -- with_service/1/90/10
//! ```

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use service_registry::lab::scenarios::hot_key::{FLEET, KEYS, MIXES, Way, deal, targets};
use service_registry::lab::workload::{seeded, shuffled};

use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The length of a window, in milliseconds.
const WINDOW: u64 = 5;

fn hot_key(c: &mut Criterion) {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let mut targets = targets(|_| true);
    let mut rng = seeded(1);
    for keys in KEYS {
        for mix in MIXES {
            let deal = deal(keys, mix, &mut rng);
            let order = shuffled(FLEET.pods, &mut rng);
            for way in Way::ALL {
                let name = format!("{}/{keys}/{mix}", way.metric());
                let mut group = c.benchmark_group(name);
                group.throughput(Throughput::Elements(1));
                for target in &mut targets {
                    if !target.ways().contains(&way) {
                        continue;
                    }
                    let id = BenchmarkId::from_parameter(target.about().id);
                    group.bench_function(id, |b| {
                        b.iter_custom(|count| {
                            let sample = target
                                .window(way, &deal, &order, (threads, WINDOW))
                                .expect("an open store, and threads");
                            assert!(sample.expected.contains(&sample.hits), "all hit that can");
                            scaled(sample.elapsed, count, sample.operations)
                        });
                    });
                }
                group.finish();
            }
        }
    }
}

/// How long `count` operations take where `done` took `elapsed`.
fn scaled(elapsed: Duration, count: u64, done: u64) -> Duration {
    let nanoseconds = elapsed.as_nanos() * u128::from(count) / u128::from(done.max(1));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(300));
    targets = hot_key
}
criterion_main!(benches);
