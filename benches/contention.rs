//! burst-30x100 under criterion: 30 workers, 100 operations each; one burst an
//! iteration. The workers are 30 threads of a rayon pool that is built once,
//! released by a barrier; 30 tasks on rayon's default pool; or 30 plain threads.
//!
//! The burst is that of the report (`src/lab/scenarios/burst.rs`): a fresh store
//! for each, everything prepared before, the clock from the first worker's start
//! to the last one's end.
//!
//! ```text
//! cargo bench --features lab --bench contention -- pool/1000/80/20
//! ```

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use service_registry::lab::crew::Crew;
use service_registry::lab::scenarios::burst::{FILLS, targets};
use service_registry::lab::workload::{BURST_PODS, Burst, Mix, seeded, shuffled};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn contention(c: &mut Criterion) {
    let crews = [
        ("pool", Crew::pool().expect("threads for the workers")),
        ("tasks", Crew::tasks().expect("threads for a pool")),
        ("threads", Crew::Threads),
    ];
    let targets = targets(|_| true);
    let mut rng = seeded(1);
    for services in FILLS {
        for mix in Mix::ALL {
            let burst = Burst::new(services, mix, &mut rng);
            let order = shuffled(BURST_PODS, &mut rng);
            for (name, crew) in &crews {
                let name = format!("burst-30x100/{name}/{services}/{mix}");
                let mut group = c.benchmark_group(name);
                group.throughput(Throughput::Elements(burst.operations()));
                for target in &targets {
                    let id = BenchmarkId::from_parameter(target.about().id);
                    group.bench_function(id, |b| {
                        b.iter_custom(|bursts| {
                            let one = |_| {
                                let outcome = target.burst(crew, &burst, &order);
                                let outcome = outcome.expect("an open store");
                                assert_eq!(outcome.written, burst.writes(), "writes");
                                outcome.elapsed
                            };
                            (0..bursts).map(one).sum()
                        });
                    });
                }
                group.finish();
            }
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_500));
    targets = contention
}
criterion_main!(benches);
