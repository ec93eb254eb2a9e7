//! How long what share of the operations took at most.

use hdrhistogram::Histogram;

use super::order::Share;
use crate::scenario::Cell;
use crate::stats::middle;

/// No latency counts as longer, in nanoseconds: a minute.
const LONGEST: u64 = 60_000_000_000;

/// So many operations of a slice must lie beyond a percentile, or it is that of all slices.
const BEYOND: f64 = 5.0;

/// Collects latencies.
pub(super) struct Percentiles {
    /// The percentiles that are asked for, `p99.9` being 99.9, and what they were in each slice.
    wanted: Vec<(f64, Vec<f64>)>,
    slice: Histogram<u64>,
    /// Those of all slices but the first, which warms.
    life: Histogram<u64>,
    /// Whether there is one figure a life: the middle one of its slices, of a tail that shows only
    /// in many operations that of all slices together.
    whole_life: bool,
    slices: u32,
}

impl Percentiles {
    /// Those that a cell names.
    pub(super) fn new(cell: &Cell, whole_life: bool) -> Percentiles {
        let wanted = cell.metrics.iter().filter_map(|(name, _)| name.strip_prefix('p'));
        let wanted = wanted.filter_map(|number| Some((number.parse().ok()?, Vec::new()))).collect();
        let none = Histogram::new_with_max(LONGEST, 3).expect("three digits are possible");
        Percentiles { wanted, slice: none.clone(), life: none, whole_life, slices: 0 }
    }

    /// Adds a slice, and answers with the percentiles so far.
    pub(super) fn values(&mut self, shares: &[Share]) -> Vec<f64> {
        self.slice.reset();
        for latency in shares.iter().flat_map(|share| &share.latencies) {
            self.slice.saturating_record(*latency);
        }
        if self.slices <= 1 || !self.whole_life {
            self.life.reset();
            self.wanted.iter_mut().for_each(|(_, slices)| slices.clear());
        }
        self.slices += 1;
        self.life.add(&self.slice).expect("of one shape");
        let (slice, life) = (&self.slice, &self.life);
        let value = |(percent, slices): &mut (f64, Vec<f64>)| {
            slices.push(slice.value_at_percentile(*percent) as f64);
            let beyond = slice.len() as f64 * (1.0 - *percent / 100.0);
            let all = || Some(life.value_at_percentile(*percent) as f64);
            if beyond < BEYOND { all() } else { middle(slices.iter().copied()) }
        };
        self.wanted.iter_mut().filter_map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Unit;

    fn of(metrics: &[&'static str]) -> Percentiles {
        let metrics = metrics.iter().map(|metric| (*metric, Unit::Ns)).collect();
        Percentiles::new(&Cell { metrics, ..Cell::default() }, true)
    }

    fn slice(parts: &[(u64, usize)]) -> [Share; 1] {
        let latencies = parts.iter().flat_map(|(took, many)| vec![*took; *many]).collect();
        [Share { latencies, ..Share::default() }]
    }

    #[test]
    fn a_percentile_is_a_latency_that_there_was() {
        let slice = slice(&[(250, 985), (40_000, 10), (50_000_000, 5)]);
        let found = of(&["p50", "p99", "p99.9"]).values(&slice);
        for (found, there) in found.iter().zip([250.0, 40_000.0, 50_000_000.0]) {
            assert!((found / there - 1.0).abs() < 2e-3, "{found} for {there}");
        }
    }

    #[test]
    fn what_holds_up_one_slice_shows_in_the_tail_of_the_life_alone() {
        let mut percentiles = of(&["p99", "p99.9"]);
        let slice = |late| slice(&[(250, 1_000 - late), (3_000_000, late)]);
        let [_, _, half, last] = [900, 0, 20, 0].map(|late| percentiles.values(&slice(late)));
        assert!(half[0] > 250.0 && half[1] > 2_990_000.0, "{half:?}");
        assert!(last[0] < 251.0 && last[1] > 2_990_000.0, "{last:?}");
    }
}
