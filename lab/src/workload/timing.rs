//! When a slice begins, and what was done in it.

use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::stage::Slice;
use crate::stats::middle;

/// Of a slice, how much warms caches and does not count: one part in so many.
const WARM: u32 = 5;

/// The times of a slice, which are the same for all threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// From when it counts.
    pub(super) from: Instant,
    /// When it ends.
    pub(super) until: Instant,
}

impl Window {
    /// A slice that begins now.
    pub(super) fn now(length: Duration) -> Window {
        let begin = Instant::now();
        Window { from: begin + length / WARM, until: begin + length }
    }

    /// How long it counts.
    pub(super) fn length(&self) -> Duration {
        self.until - self.from
    }
}

/// What one thread did while it counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Operations, of which one that was only partly within the time counts in part.
    pub(super) operations: f64,
    /// In how many nanoseconds.
    pub(super) nanoseconds: f64,
    /// How many were answered wrongly, in all of the slice.
    pub(super) wrong: u64,
    /// How long each single one took, in nanoseconds, where that is asked for.
    pub(super) latencies: Vec<u64>,
}

impl Tally {
    /// Counts operations that took from `before` to `after`: the part within the slice.
    #[inline]
    pub(super) fn count(
        &mut self,
        window: &Window,
        operations: u64,
        before: Instant,
        after: Instant,
    ) {
        let within = after.min(window.until).saturating_duration_since(before.max(window.from));
        let whole = after.saturating_duration_since(before);
        if !within.is_zero() {
            self.operations += operations as f64 * within.as_secs_f64() / whole.as_secs_f64();
        }
    }
}

/// The time that passed for each operation of all threads together.
pub(super) fn time_per_operation(tallies: &[Tally]) -> f64 {
    let rate = |tally: &Tally| tally.operations / tally.nanoseconds;
    1.0 / tallies.iter().map(rate).sum::<f64>()
}

/// Measures, and again for twice as long where nobody came to a whole operation in time: the
/// machine is busy, or the operation long. Fails where that does not help.
pub(super) fn measure_until_positive(
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
    let window = Window::now(length);
    let mut runs = vec![once()?];
    while Instant::now() < window.until {
        runs.push(once()?);
    }
    let median = |figure: usize| middle(runs.iter().map(|run| run[figure]));
    Ok((0..runs[0].len()).filter_map(median).collect())
}

/// Fails where one of the threads got a wrong answer.
pub(super) fn check_answers(tallies: &[Tally]) -> Result<(), Fault> {
    match tallies.iter().map(|tally| tally.wrong).sum::<u64>() {
        0 => Ok(()),
        wrong => Err(Fault(format!("{wrong} wrong answers in one slice"))),
    }
}
