//! How long what share of the operations took at most.

use hdrhistogram::Histogram;

use super::order::Share;
use crate::scenario::Cell;

/// No latency counts as longer, in nanoseconds: a minute.
const LONGEST: u64 = 60_000_000_000;

/// Collects latencies.
pub(super) struct Percentiles {
    /// The percentiles that are asked for: `p99.9` is 99.9.
    wanted: Vec<f64>,
    latencies: Histogram<u64>,
    /// Whether all slices but the first go together: a tail shows only in many operations.
    whole_life: bool,
    slices: u32,
}

impl Percentiles {
    /// Those that a cell names.
    pub(super) fn new(cell: &Cell, whole_life: bool) -> Percentiles {
        let wanted = cell.metrics.iter().filter_map(|(name, _)| name.strip_prefix('p'));
        Percentiles {
            wanted: wanted.filter_map(|number| number.parse().ok()).collect(),
            latencies: Histogram::new_with_max(LONGEST, 3).expect("three digits are possible"),
            whole_life,
            slices: 0,
        }
    }

    /// Adds a slice, and answers with the percentiles so far.
    pub(super) fn values(&mut self, shares: &[Share]) -> Vec<f64> {
        if !self.whole_life || self.slices == 1 {
            self.latencies.reset();
        }
        self.slices += 1;
        for latency in shares.iter().flat_map(|share| &share.latencies) {
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

    #[test]
    fn a_percentile_is_a_latency_that_there_was() {
        let metrics = ["p50", "p99", "p99.9"].map(|metric| (metric, Unit::Ns)).into();
        let mut percentiles = Percentiles::new(&Cell { metrics, ..Cell::default() }, true);
        let mut latencies = vec![250; 985];
        latencies.extend([40_000; 10]);
        latencies.extend([50_000_000; 5]);
        let share = Share { latencies, ..Share::default() };
        let found = percentiles.values(&[share]);
        for (found, there) in found.iter().zip([250.0, 40_000.0, 50_000_000.0]) {
            assert!((found / there - 1.0).abs() < 2e-3, "{found} for {there}");
        }
    }
}
