//! Who does the work of the 30 workers of a burst.
//!
//! The same work, given out in three ways that programs use: to a pool with a
//! thread for each worker; as tasks, to a pool with a thread for each core, which
//! is what rayon makes unless told otherwise; and to plain threads. What forking
//! and joining costs is another thing in each of them: a store that does nothing
//! shows it.

use std::io;
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::fault::Fault;
use super::gang::{Gang, Together};
use super::workload::WORKERS;

/// Those who do it.
#[derive(Debug)]
pub enum Crew {
    /// A pool of [`WORKERS`] threads, which a barrier holds back.
    Pool(Gang),
    /// Tasks on a pool of rayon's own choice: usually as many threads as cores.
    Tasks(ThreadPool),
    /// [`WORKERS`] threads that are started for each burst, before its clock, and
    /// which a barrier holds back.
    Threads,
}

impl Crew {
    /// A pool with a thread for each worker.
    ///
    /// # Errors
    ///
    /// Where the system has no threads to give.
    pub fn pool() -> Result<Crew, Fault> {
        Ok(Crew::Pool(Gang::new(WORKERS)?))
    }

    /// A pool as rayon makes it.
    ///
    /// # Errors
    ///
    /// As [`pool`](Self::pool).
    pub fn tasks() -> Result<Crew, Fault> {
        Ok(Crew::Tasks(ThreadPoolBuilder::new().build()?))
    }

    /// How many threads work.
    pub fn threads(&self) -> usize {
        match self {
            Crew::Pool(gang) => gang.threads(),
            Crew::Tasks(pool) => pool.current_num_threads(),
            Crew::Threads => WORKERS,
        }
    }

    /// Has one worker for each piece of work `do_it`. What is left of the work is
    /// handed back and dropped outside the clock.
    ///
    /// Workers that a barrier holds back read the clock themselves, as those of a
    /// [`Gang`] do. Of tasks the whole fork and join counts, from before the first
    /// is spawned to when the last has been waited for.
    ///
    /// # Errors
    ///
    /// Where the system has no threads to give.
    ///
    /// # Panics
    ///
    /// Where there are not [`WORKERS`] pieces, or one panics.
    pub fn run<W: Send>(
        &self,
        pieces: Vec<W>,
        do_it: impl Fn(&mut W) + Sync,
    ) -> Result<Together<W>, Fault> {
        assert_eq!(pieces.len(), WORKERS, "one piece of work a worker");
        match self {
            Crew::Pool(gang) => Ok(gang.run(pieces, |piece| piece, do_it)),
            Crew::Tasks(pool) => Ok(fork_and_join(pool, pieces, do_it)),
            Crew::Threads => start_together(pieces, do_it)
                .map_err(|error| Fault::Measuring(format!("cannot start a thread: {error}"))),
        }
    }
}

fn fork_and_join<W: Send>(
    pool: &ThreadPool,
    mut work: Vec<W>,
    do_it: impl Fn(&mut W) + Sync,
) -> Together<W> {
    let mut busy = vec![Duration::ZERO; work.len()];
    let do_it = &do_it;
    // From a thread of the pool: calling into it from outside is not the question.
    let elapsed = pool.install(|| {
        let start = Instant::now();
        rayon::scope(|scope| {
            for (work, busy) in work.iter_mut().zip(&mut busy) {
                scope.spawn(move |_| {
                    let start = Instant::now();
                    do_it(work);
                    *busy = start.elapsed();
                });
            }
        });
        start.elapsed()
    });
    Together {
        elapsed,
        busy: busy.into_iter().sum(),
        waited: None,
        work,
    }
}

fn start_together<W: Send>(
    pieces: Vec<W>,
    do_it: impl Fn(&mut W) + Sync,
) -> io::Result<Together<W>> {
    let (barrier, do_it) = (&Barrier::new(pieces.len()), &do_it);
    let done = thread::scope(|scope| {
        // No thread gets its work before all have been started. Where one cannot
        // be, the others find that nobody sends them any, instead of waiting at
        // the barrier for ever.
        let mut threads = Vec::new();
        for _ in &pieces {
            let (give, take) = mpsc::channel::<W>();
            let thread = thread::Builder::new().spawn_scoped(scope, move || {
                let mut work = take.recv().ok()?;
                barrier.wait();
                let start = Instant::now();
                do_it(&mut work);
                Some((start, Instant::now(), work))
            });
            threads.push((give, thread?));
        }
        let threads: Vec<_> = threads
            .into_iter()
            .zip(pieces)
            .map(|((give, thread), piece)| {
                give.send(piece).expect("the thread waits for it");
                thread
            })
            .collect();
        let done = threads.into_iter().map(|thread| {
            let done = thread.join().expect("a worker does not panic");
            done.expect("each was sent its work")
        });
        Ok::<_, io::Error>(done.collect::<Vec<(Instant, Instant, W)>>())
    })?;
    let first = done.iter().map(|(start, ..)| *start).min();
    let last = done.iter().map(|(_, end, _)| *end).max();
    Ok(Together {
        elapsed: last
            .zip(first)
            .map_or(Duration::ZERO, |(last, first)| last - first),
        busy: done.iter().map(|(start, end, _)| *end - *start).sum(),
        waited: None,
        work: done.into_iter().map(|(.., work)| work).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_crew_does_each_piece_once_and_hands_it_back_in_order() {
        for crew in [Crew::pool().unwrap(), Crew::tasks().unwrap(), Crew::Threads] {
            let calls = AtomicUsize::new(0);
            for _ in 0..3 {
                let pieces = (0..WORKERS).map(|piece| (piece, 0)).collect();
                let together = crew
                    .run(pieces, |work: &mut (usize, usize)| {
                        work.1 += 1;
                        calls.fetch_add(1, Ordering::Relaxed);
                    })
                    .unwrap();
                let expected: Vec<_> = (0..WORKERS).map(|piece| (piece, 1)).collect();
                assert_eq!(together.work, expected, "{crew:?}");
                assert!(together.elapsed > Duration::ZERO);
            }
            assert_eq!(calls.into_inner(), 3 * WORKERS);
        }
    }
}
