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
/// the clock starts, a thousand pods are read. Of an operation that the state of the
/// store allows only so often at a time, the last part may be more than was asked for:
/// then its share counts.
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
        let sample = subject
            .sample(operation, deck, dose)
            .expect("an open store");
        let hits = sample.hits;
        assert!(
            sample.expected.contains(&hits),
            "{operation:?}: {hits} hits"
        );
        let made = match operation.limit() {
            Some(_) => dose.count,
            None => usize::try_from(sample.operations).expect("a count of operations"),
        };
        let counted = made.min(left);
        left -= counted;
        elapsed += share(sample.elapsed, counted, made);
    }
    elapsed
}

/// What a part of some operations took.
fn share(elapsed: Duration, part: usize, all: usize) -> Duration {
    let nanoseconds = elapsed.as_nanos() * part as u128 / all.max(1) as u128;
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}
