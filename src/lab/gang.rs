//! Threads that start together.

use std::fmt;
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// A rayon pool of its own, built once, whose threads do a piece of work each
/// and begin at the same moment.
pub struct Gang {
    pool: ThreadPool,
    barrier: Barrier,
    watching: bool,
}

/// What a gang did.
#[derive(Debug)]
pub struct Together<T> {
    /// From the first thread that began to the last that ended.
    pub elapsed: Duration,
    /// The times of all threads, added up.
    pub busy: Duration,
    /// How long the thread that fared worst was ready to run and had to wait for
    /// a processor; where the gang is [watching](Gang::watching) and the system
    /// tells.
    pub waited: Option<Duration>,
    /// What the threads worked on.
    pub work: Vec<T>,
}

impl Gang {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// Where the system cannot.
    pub fn new(threads: usize) -> Result<Gang, rayon::ThreadPoolBuildError> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|at| format!("worker-{at}"))
            .build()?;
        Ok(Gang {
            pool,
            barrier: Barrier::new(threads),
            watching: false,
        })
    }

    /// Also finds out whether its threads have to wait for a processor. That
    /// takes each of them some microseconds before it starts and after it ends:
    /// time that the others lack where threads are more than processors.
    #[must_use]
    pub fn watching(self) -> Gang {
        Gang {
            watching: true,
            ..self
        }
    }

    /// Its threads.
    pub(super) fn pool(&self) -> &ThreadPool {
        &self.pool
    }

    /// How long the thread that asks has had to wait for a processor in all its
    /// life, where the gang is [watching](Self::watching) and the system tells.
    pub(super) fn waited(&self) -> Option<Duration> {
        self.watching.then(waited).flatten()
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Gives each thread a piece of work; lets all `prepare` theirs; and, once
    /// the last is ready, has all of them `do_it`. What is left of the work is
    /// handed back and dropped outside the clock.
    ///
    /// Each thread reads the clock when the barrier lets it go and when it is
    /// done. The earliest start is the moment of release: the thread that
    /// arrives last goes on without having slept. What the others need to wake
    /// up counts, because they were started together.
    ///
    /// # Panics
    ///
    /// Where there is not exactly one piece of work a thread, or one panics.
    pub fn run<T: Send, U: Send>(
        &self,
        pieces: Vec<T>,
        prepare: impl Fn(T) -> U + Sync,
        do_it: impl Fn(&mut U) + Sync,
    ) -> Together<U> {
        assert_eq!(pieces.len(), self.threads(), "one piece of work a thread");
        let pieces: Vec<Mutex<Option<T>>> = pieces
            .into_iter()
            .map(|piece| Mutex::new(Some(piece)))
            .collect();
        let done = self.pool.broadcast(|thread| {
            let piece = pieces[thread.index()]
                .lock()
                .expect("nothing panics under it");
            let piece = { piece }.take().expect("each thread takes its own piece");
            let mut work = prepare(piece);
            let before = self.waited();
            self.barrier.wait();
            let start = Instant::now();
            do_it(&mut work);
            let end = Instant::now();
            let waited = before.zip(self.waited());
            let waited = waited.map(|(before, after)| after.saturating_sub(before));
            (start, end, waited, work)
        });
        let first = done.iter().map(|(start, ..)| *start).min();
        let last = done.iter().map(|(_, end, ..)| *end).max();
        let waited: Option<Vec<Duration>> = done.iter().map(|(.., waited, _)| *waited).collect();
        Together {
            elapsed: last
                .zip(first)
                .map_or(Duration::ZERO, |(last, first)| last - first),
            busy: done.iter().map(|(start, end, ..)| *end - *start).sum(),
            waited: waited.and_then(|waited| waited.into_iter().max()),
            work: done.into_iter().map(|(.., work)| work).collect(),
        }
    }
}

/// How long this thread has been ready to run, in all its life, and had to wait
/// for a processor: the second number that Linux keeps in `schedstat`.
fn waited() -> Option<Duration> {
    let numbers = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = numbers.split_whitespace().nth(1)?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

impl fmt::Debug for Gang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gang")
            .field("threads", &self.threads())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn nobody_starts_before_everybody_is_ready() {
        let gang = Gang::new(8).unwrap();
        let ready = AtomicUsize::new(0);
        for _ in 0..20 {
            ready.store(0, Ordering::SeqCst);
            let together = gang.run(
                (0..8).collect(),
                |piece: usize| {
                    ready.fetch_add(1, Ordering::SeqCst);
                    (piece, 0)
                },
                |work| work.1 = ready.load(Ordering::SeqCst),
            );
            assert!(together.work.iter().all(|(_, seen)| *seen == 8));
            let mut pieces: Vec<usize> = together.work.iter().map(|(piece, _)| *piece).collect();
            pieces.sort_unstable();
            assert_eq!(pieces, [0, 1, 2, 3, 4, 5, 6, 7]);
            assert!(together.busy <= together.elapsed * 8);
        }
    }
}
