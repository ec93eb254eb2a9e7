//! Single operations, hot keys and sizes under criterion, by the definitions of `cargo lab`
//! (`lab/src/scenarios.json`). Criterion adds its own statistics, its history from one run to the
//! next, and a filter:
//!
//! ```text
//! cargo bench -p service-registry-lab --bench operations -- map/with_service
//! ```

mod support;

use criterion::{Criterion, criterion_group, criterion_main};

fn operations(c: &mut Criterion) {
    let all = [
        "operations",
        "by-name",
        "subscriptions",
        "map",
        "hot-key",
        "size",
    ];
    support::bench(c, &all, 1);
}

criterion_group! {
    name = benches;
    config = support::config();
    targets = operations
}
criterion_main!(benches);
