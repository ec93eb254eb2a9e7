//! The scenario *size* under criterion: hit, miss, update, register and remove, from
//! 10 services to 1,000,000.
//!
//! Sizes, keys and loops are those of the report (`src/lab/scenarios/size.rs`). A
//! size is filled once for all contenders, one contender after the other; the
//! largest takes a while:
//!
//! ```text
//! cargo bench --features lab --bench size -- 'hit/(10|1000)/'
//! ```

mod support;

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use service_registry::lab::scenarios::operations::subjects;
use service_registry::lab::scenarios::size::{Cost, SIZES, deck};
use service_registry::lab::workload::seeded;
use support::sample;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn size(c: &mut Criterion) {
    // `cargo bench -- --test` shows that it runs: small sizes are enough.
    let testing = std::env::args().any(|argument| argument == "--test");
    let sizes = if testing { &SIZES[..4] } else { &SIZES[..] };
    for &services in sizes {
        let deck = deck(services, 1, &mut seeded(1));
        for mut subject in subjects(|_| true) {
            let id = BenchmarkId::from_parameter(subject.about().id);
            let mut filled = false;
            let mut from = 0;
            for cost in Cost::ALL {
                let mut group = c.benchmark_group(format!("{}/{services}", cost.metric()));
                group.bench_function(id.clone(), |b| {
                    // Only when it has passed the filter of the command line.
                    if !filled {
                        subject.fill(&deck).expect("an open store");
                        filled = true;
                    }
                    b.iter_custom(|count| {
                        sample(&mut *subject, cost.operation(), &deck, &mut from, count)
                    });
                });
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
    targets = size
}
criterion_main!(benches);
