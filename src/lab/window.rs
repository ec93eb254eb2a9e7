//! Threads that go on until they are told to stop, and what they did in the
//! middle of it.
//!
//! Throughput is what all threads do while all of them are at it. At the start
//! some still wake up, and at the end some have been told to stop and others not
//! yet: both are cut off. Every thread counts its operations on a cache line of
//! its own, which it writes and nobody else does; the caller sleeps, reads the
//! clock and all counters, sleeps again, and reads them once more.

use std::hint;
use std::ops::Range;
use std::sync::Barrier;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use super::gang::Gang;

/// How long threads go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Cut off at the start.
    pub ramp: Duration,
    /// What counts.
    pub window: Duration,
}

/// What threads did within a window.
#[derive(Debug)]
pub struct Window<W> {
    /// How long it was.
    pub elapsed: Duration,
    /// Which operations of each thread fell into it, by number.
    pub operations: Vec<Range<u64>>,
    /// How many operations missed from first to last, within it or not.
    pub missed: u64,
    /// How long the thread that fared worst had to wait for a processor, from first
    /// to last; where the gang is [watching](Gang::watching) and the system tells.
    pub waited: Option<Duration>,
    /// What the threads worked on.
    pub work: Vec<W>,
}

/// What a thread worked on, how often it missed, and how long it had to wait.
type Done<W> = (W, u64, Option<Duration>);

/// Fewer operations than this in a window say nothing: it goes on until there are
/// so many.
const AT_LEAST: u64 = 32;

/// A counter on a cache line of its own; on two, because processors fetch them in
/// pairs.
#[repr(align(128))]
#[derive(Default)]
struct Counter {
    done: AtomicU64,
}

impl Gang {
    /// Gives each thread a piece of work, and lets all of them `prepare` theirs
    /// and then take one `step` after the other; a step answers whether it hit.
    ///
    /// # Panics
    ///
    /// Where there is not exactly one piece of work a thread, or one panics.
    pub fn window<T: Send, W: Send>(
        &self,
        pieces: Vec<T>,
        span: Span,
        prepare: impl Fn(T) -> W + Sync,
        step: impl Fn(&mut W) -> bool + Sync,
    ) -> Window<W> {
        assert_eq!(pieces.len(), self.threads(), "one piece of work a thread");
        let counters: Vec<Counter> = pieces.iter().map(|_| Counter::default()).collect();
        let (over, barrier) = (AtomicBool::new(false), Barrier::new(pieces.len() + 1));
        let mut done: Vec<Option<Done<W>>> = pieces.iter().map(|_| None).collect();
        let (prepare, step, over, barrier) = (&prepare, &step, &over, &barrier);
        let (begin, end) = self.pool().in_place_scope(|scope| {
            // As many tasks as threads, each of which holds its thread until all
            // are there: no thread can take two.
            let places = done.iter_mut().zip(&counters);
            for (piece, (done, counter)) in pieces.into_iter().zip(places) {
                scope.spawn(move |_| {
                    let mut work = prepare(piece);
                    barrier.wait();
                    let before = self.waited();
                    let missed = go_on(&mut work, step, &counter.done, over);
                    let waited = before.zip(self.waited());
                    let waited = waited.map(|(before, after)| after.saturating_sub(before));
                    *done = Some((work, missed, waited));
                });
            }
            barrier.wait();
            std::thread::sleep(span.ramp);
            let begin = Reading::take(&counters);
            std::thread::sleep(span.window);
            let mut end = Reading::take(&counters);
            while end.total() - begin.total() < AT_LEAST {
                std::thread::sleep(span.window / 4);
                end = Reading::take(&counters);
            }
            // Relaxed: the threads only have to see it at some time; what they did
            // is handed over by the end of the scope.
            over.store(true, Relaxed);
            (begin, end)
        });
        let done: Vec<Done<W>> = done.into_iter().flatten().collect();
        let waited: Option<Vec<Duration>> = done.iter().map(|(.., waited)| *waited).collect();
        Window {
            elapsed: end.at - begin.at,
            operations: begin
                .done
                .iter()
                .zip(&end.done)
                .map(|(begin, end)| *begin..*end)
                .collect(),
            missed: done.iter().map(|(_, missed, _)| missed).sum(),
            waited: waited.and_then(|waited| waited.into_iter().max()),
            work: done.into_iter().map(|(work, ..)| work).collect(),
        }
    }
}

/// What a thread does: answers how many of its steps missed.
fn go_on<W>(
    work: &mut W,
    step: impl Fn(&mut W) -> bool,
    counter: &AtomicU64,
    over: &AtomicBool,
) -> u64 {
    let (mut done, mut missed) = (0, 0);
    while !over.load(Relaxed) {
        missed += u64::from(!step(work));
        done += 1;
        // Relaxed, as its partner in `Reading::take`: the number itself is all that
        // is told.
        counter.store(done, Relaxed);
    }
    missed
}

/// All counters at one moment.
struct Reading {
    at: Instant,
    done: Vec<u64>,
}

impl Reading {
    /// The longest that reading the counters may take: otherwise the reader lost
    /// its processor on the way, and the first of them are older than the last.
    const QUICK: Duration = Duration::from_micros(20);

    /// How often it is tried. After that the quickest counts.
    const TRIES: usize = 16;

    fn take(counters: &[Counter]) -> Reading {
        let once = || {
            let before = Instant::now();
            // Relaxed: see `go_on`.
            let done = counters.iter().map(|counter| counter.done.load(Relaxed));
            let done: Vec<u64> = hint::black_box(done.collect());
            let took = before.elapsed();
            let at = before + took / 2;
            (took, Reading { at, done })
        };
        let mut best = once();
        for _ in 1..Reading::TRIES {
            if best.0 <= Reading::QUICK {
                break;
            }
            let next = once();
            if next.0 < best.0 {
                best = next;
            }
        }
        best.1
    }

    fn total(&self) -> u64 {
        self.done.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span {
        ramp: Duration::from_millis(2),
        window: Duration::from_millis(5),
    };

    #[test]
    fn what_lies_outside_of_the_window_does_not_count() {
        let gang = Gang::new(3).unwrap();
        let window = gang.window(
            vec![0_u64; 3],
            SPAN,
            |start| start,
            |steps| {
                *steps += 1;
                std::thread::sleep(Duration::from_micros(50));
                true
            },
        );
        assert!(window.elapsed >= SPAN.window && window.missed == 0);
        let counted: u64 = window
            .operations
            .iter()
            .map(|own| own.end - own.start)
            .sum();
        let made: u64 = window.work.iter().sum();
        assert!((AT_LEAST..=made).contains(&counted));
        for (own, made) in window.operations.iter().zip(&window.work) {
            assert!(own.start <= own.end && own.end <= *made);
        }
        // The ramp is there, or else nothing was cut off.
        assert!(window.operations.iter().any(|own| own.start > 0));
    }

    #[test]
    fn a_window_goes_on_until_it_says_something_and_misses_are_told() {
        let gang = Gang::new(1).unwrap();
        let span = Span {
            ramp: Duration::ZERO,
            window: Duration::from_millis(1),
        };
        let slow = |(): &mut ()| {
            std::thread::sleep(Duration::from_millis(1));
            false
        };
        let window = gang.window(vec![()], span, |()| (), slow);
        let counted = window.operations[0].end - window.operations[0].start;
        assert!(counted >= AT_LEAST && window.missed >= counted);
    }

    #[test]
    fn only_a_gang_that_watches_tells_how_long_it_had_to_wait() {
        let known = std::path::Path::new("/proc/thread-self/schedstat").exists();
        let waited = |gang: Gang| gang.window(vec![()], SPAN, |()| (), |()| true).waited;
        assert_eq!(waited(Gang::new(1).unwrap()), None);
        let told = waited(Gang::new(1).unwrap().watching()).is_some();
        assert_eq!(told, known);
    }

    #[test]
    fn a_gang_can_watch_one_window_after_the_other() {
        let gang = Gang::new(4).unwrap();
        for _ in 0..3 {
            let window = gang.window(vec![(); 4], SPAN, |()| (), |()| true);
            assert_eq!((window.work.len(), window.operations.len()), (4, 4));
        }
    }
}
