//! Workers on a rayon pool that start together and do some operations each.
//!
//! The pool is built once, and a barrier holds its threads until all are there. A burst lasts from
//! the first worker's start to the last one's end. So it includes the waking of threads; the null
//! contender shows how much that is.

use std::sync::{Barrier, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::task::{Task, tasks};
use super::timing::{self, Tally, Window};
use super::verify::verify;
use super::worker::Worker;
use crate::fault::Fault;
use crate::fleet::Fleet;
use crate::scenario::Cell;
use crate::stage::{Slice, Stage};
use crate::subject::SharedSubject;

/// A subject, and the workers of its bursts.
pub(super) struct Burst<S> {
    subject: S,
    fleet: Fleet,
    pool: ThreadPool,
    barrier: Barrier,
    workers: Vec<Mutex<Worker>>,
    operations: u32,
}

impl<S: SharedSubject> Burst<S> {
    pub(super) fn new(
        subject: S,
        cell: &Cell,
        operations: usize,
        seed: u64,
    ) -> Result<Burst<S>, Fault> {
        let pool = ThreadPoolBuilder::new().num_threads(cell.threads).build();
        let workers = tasks(cell, seed).into_iter().filter_map(|task| match task {
            Task::Steps(worker) => Some(Mutex::new(worker)),
            _ => None,
        });
        let workers: Vec<_> = workers.collect();
        if workers.len() < cell.threads {
            return Err(Fault::new("a burst cannot let pods come and go"));
        }
        Ok(Burst {
            subject,
            fleet: Fleet(cell.holds),
            pool: pool.map_err(|error| Fault(format!("no pool of threads: {error}")))?,
            barrier: Barrier::new(cell.threads),
            workers,
            operations: u32::try_from(operations).map_err(|_| Fault::new("too many operations"))?,
        })
    }

    /// Runs one burst. Returns how long it took, and the number of wrong answers.
    fn once(&self) -> (Duration, u64) {
        let done = self.pool.broadcast(|thread| {
            let worker = self.workers[thread.index()].lock();
            let mut worker = worker.unwrap_or_else(PoisonError::into_inner);
            let mut handle = self.subject.handle();
            self.barrier.wait();
            let start = Instant::now();
            let wrong = worker.run_burst(&mut handle, self.operations, start);
            (start, Instant::now(), wrong)
        });
        let first = done.iter().map(|(start, ..)| *start).min();
        let last = done.iter().map(|(_, end, _)| *end).max();
        let took = first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first);
        (took, done.iter().map(|(.., wrong)| wrong).sum())
    }
}

impl<S: SharedSubject> Stage for Burst<S> {
    fn slice(&mut self, length: Duration) -> Result<Slice, Fault> {
        let window = Window::now(length);
        let operations = f64::from(self.operations) * self.workers.len() as f64;
        let (mut tally, mut times) = (Tally::default(), Vec::new());
        while times.is_empty() || Instant::now() < window.until {
            let warm = Instant::now() < window.from;
            let (took, wrong) = self.once();
            tally.wrong += wrong;
            times.extend((!warm).then_some(took));
        }
        times.sort_unstable();
        // Other programs only ever add time. Beside a busy one, the median burst is sometimes
        // undisturbed and sometimes not, so this takes the lower quartile.
        let quartile = times[times.len() / 4].as_nanos() as f64;
        timing::check_answers(&[tally])?;
        Ok(vec![quartile / operations])
    }

    fn finish(self: Box<Self>) -> Result<(), Fault> {
        let checks = |worker: Mutex<Worker>| {
            let worker = worker.into_inner().unwrap_or_else(PoisonError::into_inner);
            worker.last_checks()
        };
        let checks: Vec<_> = self.workers.into_iter().map(checks).collect();
        verify::<S>(&mut self.subject.handle(), self.fleet, &checks)
    }
}
