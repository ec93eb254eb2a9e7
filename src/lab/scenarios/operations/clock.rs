//! The loops that a clock looks at.

use std::time::{Duration, Instant};

use crate::lab::run::Sample;

/// What a loop did while the clock ran.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timed {
    pub(super) elapsed: Duration,
    pub(super) operations: u64,
    pub(super) hits: u64,
}

impl Timed {
    /// Reads, all of which must find something.
    pub(super) fn reads(self) -> Sample {
        Sample {
            elapsed: self.elapsed,
            operations: self.operations,
            writes: 0,
            hits: self.hits,
            expected: self.operations..=self.operations,
        }
    }

    /// Reads, none of which may find anything.
    pub(super) fn misses(self) -> Sample {
        Sample {
            expected: 0..=0,
            ..self.reads()
        }
    }

    /// Writes, all of which must change something.
    pub(super) fn writes(self) -> Sample {
        Sample {
            writes: self.operations,
            ..self.reads()
        }
    }

    /// Each operation was so many.
    pub(super) fn each_counts(self, times: u64) -> Timed {
        Timed {
            operations: self.operations * times,
            hits: self.hits * times,
            ..self
        }
    }

    /// Counts the hits by another way, outside the clock.
    pub(super) fn hit(self, hits: u64) -> Timed {
        Timed { hits, ..self }
    }
}

/// How many of `count` operations come before the clock starts, more than them.
pub(super) fn warm_up(count: usize) -> usize {
    (count / 4).max(1)
}

/// Does `operation` with each item, and counts those for which it says `true`.
/// The first `warm` items are not timed.
#[inline]
pub(super) fn tally<I>(
    items: impl IntoIterator<Item = I>,
    warm: usize,
    mut operation: impl FnMut(I) -> bool,
) -> Timed {
    let mut items = items.into_iter();
    let mut timed = Timed {
        elapsed: Duration::ZERO,
        operations: 0,
        hits: 0,
    };
    // One loop for both, so that both run the same machine code.
    for part in [warm, usize::MAX] {
        let (mut operations, mut hits) = (0, 0);
        let start = Instant::now();
        for item in items.by_ref().take(part) {
            operations += 1;
            hits += u64::from(operation(item));
        }
        timed = Timed {
            elapsed: start.elapsed(),
            operations,
            hits,
        };
    }
    // What held the items is freed after the clock has stopped.
    drop(items);
    timed
}

/// Does `operation` with each item and keeps what it answers, `slice` answers at
/// a time; checks and drops them while the clock stands still. The first `warm`
/// items are not timed.
#[inline]
pub(super) fn keep<I, R>(
    items: impl IntoIterator<Item = I>,
    warm: usize,
    slice: usize,
    mut operation: impl FnMut(I) -> R,
    is_hit: impl Fn(usize, &R) -> bool,
) -> Timed {
    let mut items = items.into_iter();
    let mut answers = Vec::with_capacity(slice);
    let mut timed = Timed {
        elapsed: Duration::ZERO,
        operations: 0,
        hits: 0,
    };
    let mut at = 0;
    loop {
        let part = if at < warm {
            slice.min(warm - at)
        } else {
            slice
        };
        let start = Instant::now();
        answers.extend(items.by_ref().take(part).map(&mut operation));
        let elapsed = start.elapsed();
        if answers.is_empty() {
            return timed;
        }
        if at >= warm {
            let hits = answers.iter().enumerate();
            let hits = hits.filter(|(place, answer)| is_hit(at + place, answer));
            timed.hits += hits.count() as u64;
            timed.operations += answers.len() as u64;
            timed.elapsed += elapsed;
        }
        at += answers.len();
        answers.clear();
    }
}

/// How many answers of so many records each are kept at a time: so that they
/// fit in the second-level cache, and still take long enough for the clock.
pub(super) fn slice(records: usize) -> usize {
    (8_192 / records.max(1)).clamp(1, 4_096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_before_the_clock_does_not_count() {
        let timed = tally(0..100, 20, |n| n % 2 == 0);
        assert_eq!((timed.operations, timed.hits), (80, 40));
        for slice in [1, 7, 1_000] {
            let timed = keep(0..100, 20, slice, |n| n, |at, n| at == *n && n % 2 == 0);
            assert_eq!((timed.operations, timed.hits), (80, 40));
        }
    }

    #[test]
    fn answers_are_dropped_while_the_clock_stands_still() {
        struct Slow;
        impl Drop for Slow {
            fn drop(&mut self) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let timed = keep(0..8, 0, 4, |_| Slow, |_, _| true);
        assert!(timed.elapsed < Duration::from_millis(5), "{timed:?}");
    }
}
