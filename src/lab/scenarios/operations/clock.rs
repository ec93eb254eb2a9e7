//! The loops that a clock looks at.
//!
//! There are two ways to ask how long a read takes. A processor that is given
//! reads that have nothing to do with each other works on several at once: back
//! to back they take less than each of them does. A caller who needs the answer
//! to go on waits for the whole of it. So the reads of [`wait`] and [`keep`] are
//! chained: where the next key is taken from depends on what the last read
//! found (though it never changes the place), and the processor cannot begin
//! before it knows. [`tally`] is back to back.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::lab::record::Sample;

/// What a loop did while the clock ran.
#[derive(Clone, Copy, Debug)]
pub(in crate::lab::scenarios) struct Timed {
    pub(in crate::lab::scenarios) elapsed: Duration,
    pub(in crate::lab::scenarios) operations: u64,
    pub(in crate::lab::scenarios) hits: u64,
}

impl Timed {
    const NOTHING: Timed = Timed {
        elapsed: Duration::ZERO,
        operations: 0,
        hits: 0,
    };

    /// Reads, all of which must find something.
    pub(in crate::lab::scenarios) fn reads(self) -> Sample {
        Sample {
            hits: self.hits,
            ..Sample::of(self.elapsed, self.operations)
        }
    }

    /// Reads, none of which may find anything.
    pub(in crate::lab::scenarios) fn misses(self) -> Sample {
        Sample {
            expected: 0..=0,
            ..self.reads()
        }
    }

    /// Writes, all of which must change something.
    pub(in crate::lab::scenarios) fn writes(self) -> Sample {
        Sample {
            writes: self.operations,
            ..self.reads()
        }
    }

    /// Each operation was so many.
    pub(in crate::lab::scenarios) fn each_counts(self, times: u64) -> Timed {
        Timed {
            operations: self.operations * times,
            hits: self.hits * times,
            ..self
        }
    }

    /// Counts the hits by another way, outside the clock.
    pub(in crate::lab::scenarios) fn hit(self, hits: u64) -> Timed {
        Timed { hits, ..self }
    }
}

/// Does `operation` with each item, one independently of the other, and counts
/// those for which it says `true`. The first `warm` items are not timed.
#[inline]
pub(in crate::lab::scenarios) fn tally<I>(
    items: impl IntoIterator<Item = I>,
    warm: usize,
    mut operation: impl FnMut(I) -> bool,
) -> Timed {
    let mut items = items.into_iter();
    let mut timed = Timed::NOTHING;
    // One loop for both parts, so that both run the same machine code.
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

/// Does `read` with each key, each after the one before has answered, and counts
/// the answers. The first `warm` keys are not timed.
#[inline]
pub(in crate::lab::scenarios) fn wait(
    keys: &[&str],
    warm: usize,
    mut read: impl FnMut(&str) -> Option<usize>,
) -> Timed {
    let mask = black_box(0);
    let mut answer = 0;
    let mut timed = Timed::NOTHING;
    for part in [0..warm, warm..keys.len()] {
        let operations = part.len() as u64;
        let mut hits = 0;
        let start = Instant::now();
        for at in part {
            if let Some(found) = read(keys[at + (answer & mask)]) {
                answer = found;
                hits += 1;
            }
        }
        timed = Timed {
            elapsed: start.elapsed(),
            operations,
            hits,
        };
    }
    timed
}

/// Does `operation` with each item, each after the one before has answered, and
/// keeps the answers, `slice` at a time; checks and drops them while the clock
/// stands still. `datum` takes something from an answer that depends on all of
/// it. The first `warm` items are not timed.
#[inline]
pub(in crate::lab::scenarios) fn keep<I: Copy, R>(
    items: &[I],
    warm: usize,
    slice: usize,
    mut operation: impl FnMut(I) -> R,
    datum: impl Fn(&R) -> usize,
    is_hit: impl Fn(usize, &R) -> bool,
) -> Timed {
    let mask = black_box(0);
    let mut last = 0;
    let mut answers = Vec::with_capacity(slice);
    let mut timed = Timed::NOTHING;
    let mut at = 0;
    while at < items.len() {
        let warming = at < warm;
        let end = if warming { warm } else { items.len() };
        let part = at..end.min(at + slice);
        let start = Instant::now();
        answers.extend(part.map(|at| {
            let answer = operation(items[at + (last & mask)]);
            last = datum(&answer);
            answer
        }));
        let elapsed = start.elapsed();
        if !warming {
            let hits = answers.iter().enumerate();
            let hits = hits.filter(|(place, answer)| is_hit(at + place, answer));
            timed.hits += hits.count() as u64;
            timed.operations += answers.len() as u64;
            timed.elapsed += elapsed;
        }
        at += answers.len();
        answers.clear();
    }
    timed
}

/// How many answers of so many records each are kept at a time: so that they
/// fit in the second-level cache, and still take long enough for the clock.
pub(in crate::lab::scenarios) fn slice(records: usize) -> usize {
    (8_192 / records.max(1)).clamp(1, 4_096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_before_the_clock_does_not_count() {
        let timed = tally(0..100, 20, |n| n % 2 == 0);
        assert_eq!((timed.operations, timed.hits), (80, 40));
        let timed = wait(&["a", "", "b", ""], 1, |key| (!key.is_empty()).then_some(7));
        assert_eq!((timed.operations, timed.hits), (3, 1));
        let items: Vec<usize> = (0..100).collect();
        for slice in [1, 7, 1_000] {
            let is_hit = |at, n: &usize| at == *n && *n < 60;
            let timed = keep(&items, 20, slice, |n| n, |n| *n, is_hit);
            assert_eq!((timed.operations, timed.hits), (80, 40), "{slice}");
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
        let timed = keep(&[(); 8], 0, 4, |()| Slow, |_| 0, |_, _| true);
        assert_eq!(timed.operations, 8);
        assert!(timed.elapsed < Duration::from_millis(5), "{timed:?}");
    }
}
