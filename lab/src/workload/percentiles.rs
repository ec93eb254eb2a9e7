//! Percentiles of latencies.

use hdrhistogram::Histogram;

use super::timing::Tally;
use crate::scenario::Cell;

/// The longest latency that is recorded, in nanoseconds: a minute.
const LONGEST: u64 = 60_000_000_000;

/// Collects latencies in a histogram.
pub(super) struct Percentiles {
    /// The percentiles of the cell's metrics: 99.9 for `p99.9`.
    wanted: Vec<f64>,
    latencies: Histogram<u64>,
    /// Whether to pool all slices of a life, except the first, which warms.
    whole_life: bool,
    slices: u32,
}

impl Percentiles {
    /// Creates the percentiles that the metrics of a cell name.
    pub(super) fn new(cell: &Cell, whole_life: bool) -> Percentiles {
        let wanted = cell.metrics.iter().filter_map(|(name, _)| name.strip_prefix('p'));
        Percentiles {
            wanted: wanted.filter_map(|number| number.parse().ok()).collect(),
            latencies: Histogram::new_with_max(LONGEST, 3).expect("three digits are possible"),
            whole_life,
            slices: 0,
        }
    }

    /// Adds a slice, and returns the percentiles so far.
    pub(super) fn values(&mut self, tallies: &[Tally]) -> Vec<f64> {
        if self.slices <= 1 || !self.whole_life {
            self.latencies.reset();
        }
        self.slices += 1;
        for latency in tallies.iter().flat_map(|tally| &tally.latencies) {
            self.latencies.saturating_record(*latency);
        }
        let value = |percent: &f64| self.latencies.value_at_percentile(*percent) as f64;
        self.wanted.iter().map(value).collect()
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

    fn slice(parts: &[(u64, usize)]) -> [Tally; 1] {
        let latencies = parts.iter().flat_map(|(took, many)| vec![*took; *many]).collect();
        [Tally { latencies, ..Tally::default() }]
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
    fn the_slices_of_a_life_go_together_but_for_the_first() {
        let mut percentiles = of(&["p99"]);
        let slice = |late| slice(&[(250, 1_000 - late), (3_000_000, late)]);
        let found = [900, 0, 40, 0].map(|late| percentiles.values(&slice(late))[0]);
        assert_eq!(found.map(|own| own > 2_990_000.0), [true, false, true, true], "{found:?}");
    }
}
