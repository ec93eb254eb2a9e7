//! When a slice begins, and what was done in it.

use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::stage::Slice;
use crate::stats::middle;

/// Of a slice, how much warms caches and does not count: one part in so many.
const WARM: u32 = 5;

/// The times of a slice, which are the same for all threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    /// From when it counts.
    pub(super) from: Instant,
    /// When it ends.
    pub(super) until: Instant,
}

impl Order {
    /// A slice that begins now.
    pub(super) fn now(length: Duration) -> Order {
        let begin = Instant::now();
        Order { from: begin + length / WARM, until: begin + length }
    }

    /// How long it counts.
    pub(super) fn window(&self) -> Duration {
        self.until - self.from
    }
}

/// What one thread did while it counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Share {
    /// Operations, of which one that was only partly within the time counts in part.
    pub(super) operations: f64,
    /// In how many nanoseconds.
    pub(super) nanoseconds: f64,
    /// How many were answered wrongly, in all of the slice.
    pub(super) wrong: u64,
    /// How long each single one took, in nanoseconds, where that is asked for.
    pub(super) latencies: Vec<u64>,
}

impl Share {
    /// Counts operations that took from `before` to `after`: the part within the slice.
    #[inline]
    pub(super) fn count(
        &mut self,
        order: &Order,
        operations: u64,
        before: Instant,
        after: Instant,
    ) {
        let within = after.min(order.until).saturating_duration_since(before.max(order.from));
        let whole = after.saturating_duration_since(before);
        if !within.is_zero() {
            self.operations += operations as f64 * within.as_secs_f64() / whole.as_secs_f64();
        }
    }
}

/// The time that passed for each operation of all threads together.
pub(super) fn together(shares: &[Share]) -> f64 {
    let rate = |share: &Share| share.operations / share.nanoseconds;
    1.0 / shares.iter().map(rate).sum::<f64>()
}

/// Measures, and again for twice as long where nobody came to a whole operation in time: the
/// machine is busy, or the operation long. Fails where that does not help.
pub(super) fn patiently(
    length: Duration,
    mut measure: impl FnMut(Duration) -> Result<Slice, Fault>,
) -> Result<Slice, Fault> {
    const MOST: Duration = Duration::from_secs(20);
    let mut length = length;
    while length < MOST {
        let slice = measure(length)?;
        if slice.iter().all(|value| value.is_finite() && *value > 0.0) {
            return Ok(slice);
        }
        length *= 2;
    }
    Err(Fault(format!("nothing was done within {MOST:?}")))
}

/// Does something until the slice is over, and at least once: of each figure that it yields
/// the median.
pub(super) fn medians(
    length: Duration,
    mut once: impl FnMut() -> Result<Vec<f64>, Fault>,
) -> Result<Slice, Fault> {
    let order = Order::now(length);
    let mut runs = vec![once()?];
    while Instant::now() < order.until {
        runs.push(once()?);
    }
    let median = |figure: usize| middle(runs.iter().map(|run| run[figure]));
    Ok((0..runs[0].len()).filter_map(median).collect())
}

/// Fails where one of the threads got a wrong answer.
pub(super) fn right(shares: &[Share]) -> Result<(), Fault> {
    match shares.iter().map(|share| share.wrong).sum::<u64>() {
        0 => Ok(()),
        wrong => Err(Fault(format!("{wrong} wrong answers in one slice"))),
    }
}
