//! Operations at scheduled times.
//!
//! A loop that sends its next request as soon as it has an answer hides every stall: during a stall
//! it sends no requests, and a stall of a millisecond is one slow answer among thousands of quick
//! ones (*coordinated omission*). So each operation is due at a moment that is drawn beforehand,
//! and its latency counts from that moment, however long the previous one took. The moments are
//! random, like those of independent callers (a Poisson process): at even distances they would keep
//! step with a writer that has a schedule as well.
//!
//! A caller that waits for such a moment, outside the store, may be late because the machine gave
//! its processor to others. That is not a latency of the store, and a few such pauses would
//! dominate the tail. So the schedule pauses for the same time.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};

use super::timing::{Tally, Window};
use super::worker::{Worker, wait_until};
use crate::fleet::Rng;
use crate::subject::Handle;

/// Operations that are still due after this many slice lengths are given up. They count with the
/// time that they have waited.
const PATIENCE: u32 = 4;

/// A thread whose operations are due at scheduled times.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) worker: Worker,
    /// Operations a second, on average.
    rate: f64,
    rng: Rng,
}

impl Caller {
    pub(super) fn new(worker: Worker, rate: f64, rng: &mut Rng) -> Caller {
        Caller { worker, rate, rng: Rng::from_rng(rng) }
    }

    pub(super) fn slice(&mut self, handle: &mut impl Handle, window: &Window) -> Tally {
        let length = window.length();
        let mut due = Vec::new();
        let mut at = 0.0;
        // At least one, since percentiles of nothing do not exist.
        while at < length.as_secs_f64() || due.is_empty() {
            at -= (1.0 - self.rng.random::<f64>()).ln() / self.rate;
            due.push(window.from + Duration::from_secs_f64(at).min(length));
        }
        let mut tally = Tally::default();
        tally.latencies = calls(window, &due, |now| {
            tally.wrong += self.worker.step(handle, 1, now);
            tally.operations += 1.0;
        });
        tally
    }
}

/// Calls `call` at each moment of `due`. Returns the latencies from those moments, in nanoseconds.
fn calls(window: &Window, due: &[Instant], mut call: impl FnMut(Instant)) -> Vec<u64> {
    // Filled in advance, so that no page is touched for the first time during the calls.
    let mut latencies = vec![0; due.len()];
    let last = window.until + window.length() * PATIENCE;
    // How long the schedule has been paused.
    let mut still = Instant::now().saturating_duration_since(window.from);
    for (due, latency) in due.iter().zip(&mut latencies) {
        let mut due = *due + still;
        if Instant::now() < due {
            wait_until(due, || false);
            let late = due.elapsed();
            still += late;
            due += late;
        }
        let now = Instant::now();
        if now < last + still {
            call(now);
        }
        *latency = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
    }
    latencies
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// Makes 20 calls, one each millisecond, of a caller that starts `late` milliseconds late. The
    /// sixth takes `sixth` milliseconds.
    fn latencies(late: u32, sixth: u32) -> Vec<u64> {
        let from = Instant::now().checked_sub(MILLISECOND * late).expect("not so long ago");
        let due: Vec<_> = (0..20).map(|at| from + MILLISECOND * at).collect();
        let mut made = 0;
        calls(&Window { from, until: from + MILLISECOND * 20 }, &due, |_| {
            made += 1;
            std::thread::sleep(if made == 6 { MILLISECOND * sixth } else { Duration::ZERO });
        })
    }

    #[test]
    fn a_stall_is_felt_by_every_call_that_was_due_meanwhile() {
        for (at, latency) in (0..10).zip(&latencies(0, 10)[5..]) {
            assert!(*latency >= 1_000_000 * (10 - at), "call {at}: {latency}");
        }
    }

    #[test]
    fn what_keeps_the_caller_outside_of_the_store_is_not_felt() {
        let latencies = latencies(1_000, 0);
        let quick = latencies.iter().filter(|latency| **latency < 100_000_000);
        assert!(quick.count() > 10, "{latencies:?}");
    }

    #[test]
    fn calls_that_are_hopelessly_late_are_given_up_and_count() {
        let from = Instant::now();
        let mut made = 0;
        let latencies = calls(&Window { from, until: from + MILLISECOND }, &[from; 20], |_| {
            made += 1;
            std::thread::sleep(MILLISECOND * 10);
        });
        assert_eq!(made, 1);
        assert!(latencies.iter().all(|latency| *latency >= 10_000_000), "{latencies:?}");
    }
}
