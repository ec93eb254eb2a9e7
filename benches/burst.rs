//! *burst-30x100* under criterion: 30 workers on a rayon pool, 100 operations each, 3,000 in
//! all, started together. An iteration is a burst; what it does is the definition of
//! `cargo lab` (`lab/src/scenarios.json`, `lab/src/workload/burst.rs`).
//!
//! ```text
//! cargo bench -p service-registry-lab --bench burst -- 80/20
//! ```

mod support;

use criterion::{Criterion, criterion_group, criterion_main};

fn burst(c: &mut Criterion) {
    support::bench(c, &["burst-30x100"], 3_000);
}

criterion_group! {
    name = benches;
    config = support::config();
    targets = burst
}
criterion_main!(benches);
