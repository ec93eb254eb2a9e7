//! Reads that come when they are due, and a writer beside them.
//!
//! A loop that asks as soon as it has been answered hides every stall: while a
//! store stands still nobody asks, and a stall of a millisecond is one slow
//! answer among thousands of quick ones (*coordinated omission*). So here a
//! [`Schedule`] says beforehand when each read is due, and its latency counts
//! from that moment, whatever kept the reader from asking then.
//!
//! The moments are random, as of callers who know nothing of each other (a
//! Poisson process): at even distances they would keep step with a writer that
//! has a schedule as well, and meet each of its writes, or none.
//!
//! Waiting is spinning: a thread that sleeps is woken some fifty microseconds
//! late, which is more than what is measured. It gives its processor to whoever
//! wants it until shortly before the time.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rand::RngExt;

use super::fault::Fault;
use super::record::histogram;
use super::seat::Seats;
use super::workload::LabRng;

/// How long before its time a thread no longer offers its processor to others.
const NEAR: Duration = Duration::from_micros(5);

/// From the moment at which both threads are there to the one at which they
/// begin: enough to wake the one that arrived first.
const LEAD: Duration = Duration::from_micros(500);

/// After so many times the window, but not before so long a time, reads that are
/// still due are given up: a store that cannot keep up at all would take for ever.
const PATIENCE: (u32, Duration) = (4, Duration::from_millis(250));

/// When what should have been done within a window is given up.
pub fn patience(window: Duration) -> Duration {
    (window * PATIENCE.0).max(PATIENCE.1)
}

/// When each read is due, counted from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    due: Vec<Duration>,
    window: Duration,
}

impl Schedule {
    /// Random moments, `rate` a second on average, within a window.
    pub fn random(rate: u32, window: Duration, rng: &mut LabRng) -> Schedule {
        let mut due = Vec::new();
        let mut next = 0.0;
        loop {
            let gap = -(1.0 - rng.random::<f64>()).ln() / f64::from(rate);
            next += gap;
            let at = Duration::from_secs_f64(next);
            // Of none at all there would be nothing to say.
            if at >= window && !due.is_empty() {
                return Schedule { due, window };
            }
            due.push(at.min(window));
        }
    }

    /// How many reads.
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether there are none; there always are.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

/// What became of the reads of a schedule.
#[derive(Clone, Debug)]
pub struct Reads {
    /// From when each was due to when it was answered.
    pub latencies: Histogram<u64>,
    /// How many were asked.
    pub asked: u64,
    /// How many of them were answered as they should have been.
    pub hits: u64,
    /// How many were still waiting when the time was long up. They were never
    /// asked, and count with the time that they had waited until then.
    pub given_up: u64,
    /// How many took longer than each of [`STALLS`].
    pub stalls: [u64; 2],
    /// From the start to the last answer.
    pub elapsed: Duration,
}

/// What is called a stall.
pub const STALLS: [Duration; 2] = [Duration::from_micros(100), Duration::from_millis(1)];

impl Reads {
    fn new(latencies: &[u64], asked: u64, hits: u64, elapsed: Duration) -> Reads {
        let mut histogram = histogram();
        for latency in latencies {
            histogram.saturating_record(*latency);
        }
        let longer = |stall: Duration| {
            let stall = nanoseconds(stall);
            latencies.iter().filter(|latency| **latency > stall).count() as u64
        };
        Reads {
            latencies: histogram,
            asked,
            hits,
            given_up: latencies.len() as u64 - asked,
            stalls: STALLS.map(longer),
            elapsed,
        }
    }

    /// Stalls among a million reads.
    #[allow(clippy::cast_precision_loss)] // counts far below 2^52
    pub fn stalls_per_million(&self, which: usize) -> f64 {
        self.stalls[which] as f64 * 1e6 / (self.asked + self.given_up) as f64
    }
}

/// Waits for each moment of the schedule and asks; only when the answer has been
/// timed it is looked at, and dropped.
pub fn read_on_schedule<T>(
    schedule: &Schedule,
    begin: Instant,
    mut ask: impl FnMut(usize) -> T,
    mut is_right: impl FnMut(usize, T) -> bool,
) -> Reads {
    let last = begin + patience(schedule.window);
    // Written to already, so that no page of it is touched for the first time
    // between two reads.
    let mut latencies = vec![u64::MAX; schedule.len()];
    let (mut asked, mut hits) = (0, 0);
    for (at, due) in schedule.due.iter().enumerate() {
        let due = begin + *due;
        let now = wait_until(due);
        // The first one is asked in any case: of none there would be nothing to say.
        if now > last && at > 0 {
            break;
        }
        let answer = ask(at);
        latencies[at] = nanoseconds(due.elapsed());
        asked += 1;
        hits += u64::from(is_right(at, answer));
    }
    let end = Instant::now();
    for (latency, due) in latencies.iter_mut().zip(&schedule.due).skip(asked) {
        *latency = nanoseconds(end.saturating_duration_since(begin + *due));
    }
    Reads::new(&latencies, asked as u64, hits, end - begin)
}

/// How often a writer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Not at all.
    Never,
    /// So often a second, at even distances; if it is late, as fast as it can.
    PerSecond(u32),
    /// As fast as it can.
    Unthrottled,
}

/// What a writer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// How many writes.
    pub writes: u64,
    /// How many of them were accepted.
    pub accepted: u64,
    /// From the start to when it was told to stop.
    pub elapsed: Duration,
}

impl Written {
    /// Writes a second that it really reached.
    #[allow(clippy::cast_precision_loss)] // counts far below 2^52
    pub fn rate(&self) -> f64 {
        self.writes as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// Writes at a pace until told to stop, and at least once.
pub fn write_at(
    pace: Pace,
    begin: Instant,
    stop: &AtomicBool,
    mut write: impl FnMut(u64) -> bool,
) -> Written {
    let mut written = Written::default();
    if pace == Pace::Never {
        return written;
    }
    // Relaxed: it says only that no more is wanted. What was written is handed
    // over when the thread is joined.
    let stopped = || stop.load(Relaxed);
    wait_until(begin);
    loop {
        written.accepted += u64::from(write(written.writes));
        written.writes += 1;
        let due = match pace {
            Pace::PerSecond(rate) => begin + Duration::from_secs(written.writes) / rate,
            _ => begin,
        };
        if !wait_unless(due, stopped) || stopped() {
            break;
        }
    }
    written.elapsed = begin.elapsed();
    written
}

/// Where two threads meet to begin at one moment.
#[derive(Debug)]
pub struct Start {
    barrier: Barrier,
    begin: OnceLock<Instant>,
}

impl Start {
    /// Waits for the other one, and answers with the moment at which to begin.
    pub fn wait(&self) -> Instant {
        self.barrier.wait();
        *self.begin.get_or_init(|| Instant::now() + LEAD)
    }
}

/// Runs two pieces of work on two threads, this one and one aside. Each gets
/// ready and then meets the other at the [`Start`], which it must do. They stay on
/// processors of their own, where there are two.
///
/// # Errors
///
/// Where the system has no thread to give.
pub fn beside<A: Send, B>(
    aside: impl FnOnce(&Start) -> A + Send,
    here: impl FnOnce(&Start) -> B,
) -> Result<(A, B), Fault> {
    let start = Start {
        barrier: Barrier::new(2),
        begin: OnceLock::new(),
    };
    let seats = Seats::find();
    thread::scope(|scope| {
        let aside = thread::Builder::new().spawn_scoped(scope, || {
            let _seat = seats.map(|seats| seats.take(1));
            aside(&start)
        })?;
        let seat = seats.map(|seats| seats.take(0));
        let here = here(&start);
        drop(seat);
        match aside.join() {
            Ok(aside) => Ok((aside, here)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Waits, and answers with the time that it has become.
pub fn wait_until(due: Instant) -> Instant {
    loop {
        let now = Instant::now();
        if now >= due {
            return now;
        }
        pass(due - now);
    }
}

/// Waits, unless it is told not to; answers whether the time has come.
fn wait_unless(due: Instant, stopped: impl Fn() -> bool) -> bool {
    loop {
        let now = Instant::now();
        if now >= due {
            return true;
        }
        if stopped() {
            return false;
        }
        pass(due - now);
    }
}

fn pass(left: Duration) {
    if left > NEAR {
        thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

/// As a whole number.
pub fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::workload::seeded;

    const WINDOW: Duration = Duration::from_millis(20);

    #[test]
    fn one_seed_makes_one_schedule_within_its_window() {
        let schedule = |seed| Schedule::random(10_000, WINDOW, &mut seeded(seed));
        assert_eq!(schedule(7), schedule(7));
        assert_ne!(schedule(7), schedule(8));
        let due = schedule(7).due;
        assert!(due.is_sorted() && due.iter().all(|due| *due <= WINDOW));
        // 200 on average, with a standard deviation of 14.
        assert!((100..300).contains(&due.len()), "{}", due.len());
        // Distances are no more even than chance makes them.
        let gaps = due.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        assert!(gaps.clone().max() > gaps.min().map(|gap| gap * 10));
    }

    #[test]
    fn a_schedule_is_never_empty() {
        let schedule = Schedule::random(1, Duration::from_nanos(1), &mut seeded(1));
        assert_eq!((schedule.len(), schedule.is_empty()), (1, false));
    }

    #[test]
    fn a_stall_is_felt_by_every_read_that_was_due_meanwhile() {
        const STALL: Duration = Duration::from_millis(10);
        let schedule = Schedule::random(10_000, WINDOW, &mut seeded(1));
        let ask = |at| {
            if at == 0 {
                thread::sleep(STALL);
            }
        };
        // The twin of a loop that times each read from when it is asked sees one.
        let mut from_asking = 0;
        let open = read_on_schedule(
            &schedule,
            Instant::now(),
            |at| {
                let asked = Instant::now();
                ask(at);
                from_asking += usize::from(asked.elapsed() >= STALL);
            },
            |_, ()| true,
        );
        assert!(open.hits == open.asked);
        // About a hundred reads were due, half of which had to wait for 5 ms and more.
        let waited = open.latencies.count_between(5_000_000, u64::MAX);
        assert!(waited > 20, "{waited} reads felt it");
        assert!(open.stalls[1] > 40 && open.stalls[0] >= open.stalls[1]);
        assert!(from_asking >= 1);
    }

    #[test]
    fn reads_that_are_hopelessly_late_are_given_up_and_counted() {
        let schedule = Schedule::random(10_000, WINDOW, &mut seeded(1));
        let reads = read_on_schedule(
            &schedule,
            Instant::now(),
            |_| thread::sleep(WINDOW),
            |_, ()| false,
        );
        let most = PATIENCE.1.as_millis() / WINDOW.as_millis() + 1;
        assert!((1..=most).contains(&u128::from(reads.asked)));
        assert_eq!(reads.asked + reads.given_up, schedule.len() as u64);
        assert_eq!(reads.latencies.len(), schedule.len() as u64);
        assert_eq!(reads.hits, 0);
        // All of them, the last one as well, waited until the end.
        assert!(reads.latencies.min() >= nanoseconds(WINDOW));
    }

    #[test]
    fn a_writer_keeps_its_pace_and_stops_when_told() {
        let stop = AtomicBool::new(false);
        let (written, reads) = beside(
            |start| write_at(Pace::PerSecond(1_000), start.wait(), &stop, |n| n % 2 == 0),
            |start| {
                let begin = start.wait();
                wait_until(begin + WINDOW);
                stop.store(true, Relaxed);
                begin.elapsed()
            },
        )
        .unwrap();
        // It may be late, on a busy machine even by all of them, but never early.
        let most = reads.as_millis() + written.elapsed.as_millis() + 2;
        assert!(u128::from(written.writes) <= most, "{written:?}");
        assert_eq!(written.accepted, written.writes.div_ceil(2));
        let never = write_at(Pace::Never, Instant::now(), &stop, |_| true);
        assert_eq!(never, Written::default());
        // Told to stop before it began.
        let once = write_at(Pace::Unthrottled, Instant::now(), &stop, |_| true);
        assert_eq!((once.writes, once.accepted), (1, 1));
    }

    #[test]
    fn both_begin_at_one_moment() {
        let (a, b) = beside(Start::wait, Start::wait).unwrap();
        assert_eq!(a, b);
    }
}
