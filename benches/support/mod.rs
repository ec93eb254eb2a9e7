//! What the benches share that do the operations of the report one by one.

use std::time::Duration;

use service_registry::lab::scenarios::operations::{Dose, Operation, Subject};
use service_registry::lab::workload::Deck;

/// Between two samples that must not ask for the same health check.
const STRIDE: usize = 1 << 23;

/// The most operations of one sample: what has to be prepared for it has to fit
/// into memory.
const MOST: usize = 1 << 16;

/// Does an operation so many times and answers with how long that took. Before
/// the clock starts, a thousand pods are read.
pub(crate) fn sample(
    subject: &mut dyn Subject,
    operation: Operation,
    deck: &Deck,
    from: &mut usize,
    count: u64,
) -> Duration {
    let mut elapsed = Duration::ZERO;
    let mut left = usize::try_from(count).expect("a count of operations");
    while left > 0 {
        let dose = Dose {
            from: *from,
            count: left.min(MOST),
            sweep: deck.fleet.pods.min(1_000),
        };
        *from += STRIDE;
        left -= dose.count;
        let sample = subject
            .sample(operation, deck, dose)
            .expect("an open store");
        let hits = sample.hits;
        assert!(
            sample.expected.contains(&hits),
            "{operation:?}: {hits} hits"
        );
        elapsed += sample.elapsed;
    }
    elapsed
}
