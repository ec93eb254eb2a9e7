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

use super::order::{Order, Share};
use super::worker::{Worker, wait_until};
use crate::fleet::Dice;
use crate::subject::Hand;

/// After so many times the slice, operations that are still due are given up, and count with
/// the time that they have waited.
const PATIENCE: u32 = 4;

/// A thread that does its operations when they are due.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) worker: Worker,
    /// Operations a second, on average.
    rate: f64,
    dice: Dice,
}

impl Caller {
    pub(super) fn new(worker: Worker, rate: f64, dice: &mut Dice) -> Caller {
        Caller { worker, rate, dice: Dice::from_rng(dice) }
    }

    pub(super) fn slice(&mut self, hand: &mut impl Hand, order: &Order) -> Share {
        let window = order.window();
        let mut due = Vec::new();
        let mut at = 0.0;
        // Of none at all there would be nothing to say.
        while at < window.as_secs_f64() || due.is_empty() {
            at -= (1.0 - self.dice.random::<f64>()).ln() / self.rate;
            due.push(order.from + Duration::from_secs_f64(at).min(window));
        }
        let mut share = Share::default();
        share.latencies = calls(order, &due, |now| {
            share.wrong += self.worker.step(hand, 1, now);
            share.operations += 1.0;
        });
        share
    }
}

/// Calls when it is due; how long each call took from then on, in nanoseconds.
fn calls(order: &Order, due: &[Instant], mut call: impl FnMut(Instant)) -> Vec<u64> {
    // Written to already, so that no page is touched for the first time meanwhile.
    let mut latencies = vec![0; due.len()];
    let last = order.until + order.window() * PATIENCE;
    // How long the schedule has stood still.
    let mut still = Instant::now().saturating_duration_since(order.from);
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

    /// 20 calls, one each millisecond, for a caller who comes so late; the sixth takes so long.
    fn latencies(late: u32, sixth: u32) -> Vec<u64> {
        let from = Instant::now().checked_sub(MILLISECOND * late).expect("not so long ago");
        let due: Vec<_> = (0..20).map(|at| from + MILLISECOND * at).collect();
        let mut made = 0;
        calls(&Order { from, until: from + MILLISECOND * 20 }, &due, |_| {
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
        let latencies = calls(&Order { from, until: from + MILLISECOND }, &[from; 20], |_| {
            made += 1;
            std::thread::sleep(MILLISECOND * 10);
        });
        assert_eq!(made, 1);
        assert!(latencies.iter().all(|latency| *latency >= 10_000_000), "{latencies:?}");
    }
}
