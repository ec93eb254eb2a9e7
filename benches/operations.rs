//! The operations of the report, one by one, under criterion.
//!
//! The loops are those of the report (`src/lab/scenarios/operations/`), so that
//! the two say the same; criterion adds its own statistics, its history from one
//! run to the next, and a filter on the command line:
//!
//! ```text
//! cargo bench --features lab --bench operations -- with_service/1000
//! ```

mod support;

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use service_registry::lab::scenarios::operations::{Operation, SIZES, subjects};
use service_registry::lab::workload::{Deck, Fleet, seeded};
use support::sample;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The operations that can be done as often as criterion likes: they leave a store
/// as large as it was, at the latest when the clock has stopped.
const OPERATIONS: &[Operation] = &[
    Operation::WithService,
    Operation::Reader,
    Operation::SnapshotGet,
    Operation::PinnedGet,
    Operation::WithServiceBackToBack,
    Operation::ReaderBackToBack,
    Operation::GetService,
    Operation::Miss,
    Operation::ByName,
    Operation::PinnedByName,
    Operation::All,
    Operation::Subscribers,
    Operation::UpdateHealth,
    Operation::UpdatesInBatch,
    Operation::SaveReplace,
    Operation::SaveNew,
    Operation::Delete,
    Operation::DeleteSave,
    Operation::Snapshot,
    Operation::SnapshotAndDrop,
];

fn operations(c: &mut Criterion) {
    for services in SIZES {
        let deck = Deck::new(Fleet::new(services), 1, &mut seeded(1));
        let mut subjects = subjects(|_| true);
        for subject in &mut subjects {
            subject.fill(&deck).expect("an open store");
        }
        let mut from = 0;
        for &operation in OPERATIONS {
            let mut group = c.benchmark_group(format!("{}/{services}", operation.metric()));
            for subject in &mut subjects {
                if !subject.can(operation) {
                    continue;
                }
                let id = BenchmarkId::from_parameter(subject.about().id);
                group.bench_function(id, |b| {
                    b.iter_custom(|count| {
                        sample(&mut **subject, operation, &deck, &mut from, count)
                    });
                });
            }
            group.finish();
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_500));
    targets = operations
}
criterion_main!(benches);
