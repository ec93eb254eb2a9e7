//! Races of readers and writers.

use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

/// One round of a writer or a reader; the argument is the number of the round.
pub type Round<'a> = &'a (dyn Fn(usize) + Sync);

/// Writers continue after their last round until every reader has read this often,
/// so that a reader that started late has seen changes.
const READS: usize = 200;
/// The limit of that extra time: on a busy machine readers may starve.
const OVERTIME: Duration = Duration::from_secs(2);

/// Runs each writer for at least `rounds` rounds, while each reader reads
/// repeatedly. All start together. A panic in any thread ends the race and is
/// rethrown here.
pub fn race(rounds: usize, writers: &[Round<'_>], readers: &[Round<'_>]) {
    let start = Barrier::new(writers.len() + readers.len());
    let writing = AtomicUsize::new(writers.len());
    let starved = AtomicUsize::new(readers.len());
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        for write in writers {
            scope.spawn(|| {
                let _stop_on_panic = StopOnPanic(&failed);
                start.wait();
                let end = Instant::now() + OVERTIME;
                let mut round = 0;
                while !failed.load(SeqCst)
                    && (round < rounds || (starved.load(SeqCst) > 0 && Instant::now() < end))
                {
                    write(round);
                    round += 1;
                }
                writing.fetch_sub(1, SeqCst);
            });
        }
        for read in readers {
            scope.spawn(|| {
                let _stop_on_panic = StopOnPanic(&failed);
                start.wait();
                let mut round = 0;
                while !failed.load(SeqCst) && (round == 0 || writing.load(SeqCst) > 0) {
                    read(round);
                    round += 1;
                    if round == READS {
                        starved.fetch_sub(1, SeqCst);
                    }
                }
            });
        }
    });
}

/// Stops the other threads when this thread panics.
struct StopOnPanic<'a>(&'a AtomicBool);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, SeqCst);
        }
    }
}

/// Runs `work` on `threads` threads that start together, and collects what each
/// answers, in the order of their numbers.
pub fn together<R: Send>(threads: usize, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let (start, work) = (&start, &work);
                scope.spawn(move || {
                    start.wait();
                    work(thread)
                })
            })
            .collect();
        running
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(answer) => answer,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}
