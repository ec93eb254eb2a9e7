//! One thread that does one operation after the other, at full speed or at a fixed rate.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use super::step_sequence::StepSequence;
use super::timing::{Tally, Window};
use crate::subject::Handle;

/// The target time between two readings of the clock: long against the 25 ns of a reading, short
/// against a slice.
const BETWEEN: Duration = Duration::from_micros(20);

/// The steps of a thread, and how far it has come.
#[derive(Debug)]
pub(super) struct Worker {
    sequence: StepSequence,
    /// Steps per second, evenly spaced; `None`: as fast as possible.
    rate: Option<u32>,
    /// The number of steps done in its life.
    done: u64,
    /// The number of steps between two readings of the clock.
    batch: u32,
    /// The latest batches, which cover each step of the sequence once: first step, number of steps,
    /// and time. Empty for a sequence that changes nothing.
    stamps: VecDeque<(u64, u32, SystemTime)>,
    keeps_stamps: bool,
    /// The same moment on both clocks.
    clocks: (Instant, SystemTime),
}

impl Worker {
    pub(super) fn new(sequence: StepSequence, rate: Option<u32>) -> Worker {
        let keeps_stamps =
            (0..sequence.len() as u64).any(|step| sequence.changes(step).next().is_some());
        // At a fixed rate, each step has a stamp. Their memory is allocated and written to now:
        // growing later would delay an operation by milliseconds.
        let most = if keeps_stamps && rate.is_some() { sequence.len() + 1 } else { 0 };
        let mut stamps = vec![(1, 1, SystemTime::now()); most];
        stamps.clear();
        Worker {
            sequence,
            rate,
            done: 0,
            batch: 1,
            stamps: stamps.into(),
            keeps_stamps,
            clocks: (Instant::now(), SystemTime::now()),
        }
    }

    /// Returns the number of operations of a step.
    pub(super) fn weight(&self) -> u64 {
        self.sequence.weight()
    }

    /// Does steps until the slice is over.
    pub(super) fn slice(&mut self, handle: &mut impl Handle, window: &Window) -> Tally {
        let mut tally =
            Tally { nanoseconds: window.length().as_nanos() as f64, ..Tally::default() };
        let mut due = Instant::now();
        let mut before = due;
        while before < window.until {
            if let Some(rate) = self.rate {
                due += Duration::from_secs(1) / rate;
                if !wait_until(due.min(window.until), || false) || due >= window.until {
                    break;
                }
                before = Instant::now();
                self.batch = 1;
            }
            let count = self.batch;
            tally.wrong += self.step(handle, count, before);
            let after = Instant::now();
            tally.count(window, u64::from(count) * self.sequence.weight(), before, after);
            let took = after - before;
            if took < BETWEEN / 2 && (count as usize) < self.sequence.len() {
                self.batch = count * 2;
            } else if took > BETWEEN * 2 && count > 1 {
                self.batch = count / 2;
            }
            before = after;
        }
        tally
    }

    /// Does some steps, whose health checks have the time `now`. Returns the number of wrong
    /// answers.
    #[inline]
    pub(super) fn step(&mut self, handle: &mut impl Handle, count: u32, now: Instant) -> u64 {
        let now = self.clocks.1 + (now - self.clocks.0);
        let wrong = self.sequence.run(handle, self.done, count, now);
        let first = self.done;
        self.done += u64::from(count);
        if self.keeps_stamps {
            let oldest = self.done.saturating_sub(self.sequence.len() as u64);
            while self.stamps.get(1).is_some_and(|(from, ..)| *from <= oldest) {
                self.stamps.pop_front();
            }
            self.stamps.push_back((first, count, now));
        }
        wrong
    }

    /// Does the steps of one burst, and continues with the next burst of the sequence. Returns the
    /// number of wrong answers.
    #[inline]
    pub(super) fn run_burst(&mut self, handle: &mut impl Handle, size: u32, now: Instant) -> u64 {
        let wrong = self.step(handle, size, now);
        self.done += u64::from(size.next_power_of_two() - size);
        wrong
    }

    /// Returns the time of the last health check that it set on each pod, by number.
    pub(super) fn last_checks(&self) -> BTreeMap<usize, SystemTime> {
        let oldest = self.done.saturating_sub(self.sequence.len() as u64);
        let mut last = BTreeMap::new();
        for (from, count, now) in &self.stamps {
            for at in 0..*count {
                let step = from + u64::from(at);
                let pods = self.sequence.changes(step).filter(|_| step >= oldest);
                last.extend(pods.map(|pod| (pod, *now + Duration::new(0, at))));
            }
        }
        last
    }
}

/// A thread that waits yields its processor until this long before the moment, and then spins.
const NEAR: Duration = Duration::from_micros(5);

/// Waits for a moment without sleeping, unless `stopped` returns true. Returns whether the moment
/// has come. A sleeping thread would be woken some fifty microseconds late, which is more than
/// what is measured.
pub(super) fn wait_until(due: Instant, stopped: impl Fn() -> bool) -> bool {
    loop {
        let now = Instant::now();
        if now >= due {
            return true;
        }
        if stopped() {
            return false;
        }
        if due - now > NEAR {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}
