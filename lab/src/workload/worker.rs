//! One thread that does one operation after the other, or at a pace.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use super::step_sequence::StepSequence;
use super::timing::{Tally, Window};
use crate::subject::Handle;

/// How long a thread works between two looks at the clock, once it knows how many
/// operations that takes: long against the 25 ns of a look, short against a slice.
const BETWEEN: Duration = Duration::from_micros(20);

/// What a thread does, and how far it has come.
#[derive(Debug)]
pub(super) struct Worker {
    sequence: StepSequence,
    /// How often it works, in steps a second at even distances; as fast as it can where that is
    /// not said.
    rate: Option<u32>,
    /// Steps that it has done in its life.
    done: u64,
    /// How many it does between two looks at the clock.
    batch: u32,
    /// The last batches, as far back as each step of the sequence was done last: from which
    /// step on, how many, and when. Of a sequence that changes nothing none are kept.
    stamps: VecDeque<(u64, u32, SystemTime)>,
    keeps_stamps: bool,
    /// One moment on both clocks.
    clocks: (Instant, SystemTime),
}

impl Worker {
    pub(super) fn new(sequence: StepSequence, rate: Option<u32>) -> Worker {
        let keeps_stamps =
            (0..sequence.len() as u64).any(|step| sequence.changes(step).next().is_some());
        // At a pace each step has a stamp. Room for them is made and written to now: growing
        // later would hold up an operation for milliseconds.
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

    /// How many operations a step is.
    pub(super) fn weight(&self) -> u64 {
        self.sequence.weight()
    }

    /// Works until the slice is over.
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

    /// Does some steps, whose health checks are made now. How many answers were wrong.
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

    /// The same with a hand of the sequence, which is so large.
    #[inline]
    pub(super) fn play(&mut self, handle: &mut impl Handle, size: u32, now: Instant) -> u64 {
        let wrong = self.step(handle, size, now);
        self.done += u64::from(size.next_power_of_two() - size);
        wrong
    }

    /// Which health it set last on each pod, by number of the pod.
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

/// How long before its time a thread no longer offers its processor to others.
const NEAR: Duration = Duration::from_micros(5);

/// Waits for a moment, unless told to stop; whether it has come. A thread that slept would
/// be woken some fifty microseconds late, which is more than what is measured.
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
