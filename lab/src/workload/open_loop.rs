//! Operations that are done when they are due.
//!
//! A loop that asks as soon as it has been answered hides every stall: while a store stands
//! still nobody asks, and a stall of a millisecond is one slow answer among thousands of
//! quick ones (*coordinated omission*). So each operation is due at a moment that is
//! drawn beforehand, and its latency counts from then, whatever kept the caller. The
//! moments are random, as of callers who know nothing of each other (a Poisson process):
//! at even distances they would keep step with a writer that has a schedule as well.

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
    worker: Worker,
    /// Operations a second, on average.
    rate: f64,
    dice: Dice,
}

impl Caller {
    pub(super) fn new(worker: Worker, rate: f64, dice: &mut Dice) -> Caller {
        Caller { worker, rate, dice: Dice::from_rng(dice) }
    }

    pub(super) fn worker(&self) -> &Worker {
        &self.worker
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
        let mut share = Share {
            // Written to already, so that no page is touched for the first time meanwhile.
            latencies: vec![0; due.len()],
            ..Share::default()
        };
        let last = order.until + window * PATIENCE;
        for (due, latency) in due.iter().zip(&mut share.latencies) {
            wait_until(*due, || false);
            let now = Instant::now();
            if now < last {
                share.wrong += self.worker.step(hand, 1, now);
                share.operations += 1.0;
            }
            *latency = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
        }
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::null::Null;
    use crate::scenario::{Cell, Orchestration};
    use crate::subject::Subject;
    use crate::workload::task::tasks;

    /// Ten thousand calls a second, to which the caller comes only after a while.
    fn slice(late: Duration, length: Duration) -> Share {
        let orchestration = Orchestration::OpenLoop { rate: 10_000 };
        let mut caller = tasks(&Cell { orchestration, ..Cell::default() }, 1).remove(0);
        let from = Instant::now().checked_sub(late).expect("not so long ago");
        caller.slice(&mut Null::create(1).alone(), &Order { from, until: from + length })
    }

    #[test]
    fn a_stall_is_felt_by_every_call_that_was_due_meanwhile() {
        let share = slice(Duration::from_millis(10), Duration::from_millis(20));
        // 200 calls on average, with a standard deviation of 14; half of them were due.
        let waited = share.latencies.iter().filter(|latency| **latency > 5_000_000);
        assert!((100..300).contains(&share.latencies.len()));
        assert!(waited.count() > 20);
    }

    #[test]
    fn calls_that_are_hopelessly_late_are_given_up_and_count() {
        let share = slice(Duration::from_millis(60), Duration::from_millis(10));
        assert!(share.operations < share.latencies.len() as f64);
        let late = share.latencies.iter().filter(|latency| **latency > 30_000_000);
        assert!(late.count() > 40);
    }
}
