//! The time window of a slice, and what each thread did in it.

use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::stage::Slice;
use crate::stats::middle;

/// The first `1 / WARM` of a slice warms caches and does not count.
const WARM: u32 = 5;

/// The time window of a slice, the same for all threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// The end of the warm-up: operations count from here.
    pub(super) from: Instant,
    /// The end of the slice.
    pub(super) until: Instant,
}

impl Window {
    /// Creates the window of a slice that begins now.
    pub(super) fn now(length: Duration) -> Window {
        let begin = Instant::now();
        Window { from: begin + length / WARM, until: begin + length }
    }

    /// Returns how long the slice counts.
    pub(super) fn length(&self) -> Duration {
        self.until - self.from
    }
}

/// What one thread did within the window.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// The operations; one that was only partly within the window counts in part.
    pub(super) operations: f64,
    /// The time that they took, in nanoseconds.
    pub(super) nanoseconds: f64,
    /// The number of wrong answers, in the whole slice.
    pub(super) wrong: u64,
    /// The latency of each operation in nanoseconds; empty in cells without latencies.
    pub(super) latencies: Vec<u64>,
}

impl Tally {
    /// Adds operations that took from `before` to `after`: the part within the window.
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

/// Returns the nanoseconds per operation of all threads together.
pub(super) fn time_per_operation(tallies: &[Tally]) -> f64 {
    let rate = |tally: &Tally| tally.operations / tally.nanoseconds;
    1.0 / tallies.iter().map(rate).sum::<f64>()
}

/// Measures a slice. If no operation ended within it, because the machine is busy or the operation
/// long, measures again for twice as long. Fails if that exceeds 20 s.
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

/// Calls `once` until the slice is over, and at least once. Returns the median of each figure.
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

/// Fails if a thread got a wrong answer.
pub(super) fn check_answers(tallies: &[Tally]) -> Result<(), Fault> {
    match tallies.iter().map(|tally| tally.wrong).sum::<u64>() {
        0 => Ok(()),
        wrong => Err(Fault(format!("{wrong} wrong answers in one slice"))),
    }
}
