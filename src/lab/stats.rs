//! Medians and their uncertainty.
//!
//! Times on a shared machine have a long tail to one side: a mean follows its
//! outliers, a median does not. The intervals are bootstrap percentiles (Efron
//! 1979): they ask nothing of the shape of the noise, and a ratio gets one as
//! easily as a time does.

use rand::RngExt;

use super::workload::LabRng;

/// How often a bootstrap draws anew.
pub const RESAMPLES: usize = 2_000;

/// Where the true value lies, in 95 of 100 such experiments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The 2.5 % quantile.
    pub low: f64,
    /// The 97.5 % quantile.
    pub high: f64,
}

impl Interval {
    /// Whether `value` cannot be told from the interval.
    pub fn holds(self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// The middle of `values`; of an even number, the mean of the middle two.
///
/// # Panics
///
/// Where there are none.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    median_in_place(&mut values)
}

fn median_in_place(values: &mut [f64]) -> f64 {
    assert!(!values.is_empty(), "nothing has no median");
    let half = values.len() / 2;
    let odd = values.len() % 2 == 1;
    let (below, &mut upper, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    if odd {
        return upper;
    }
    let lower = below.iter().copied().max_by(f64::total_cmp);
    f64::midpoint(lower.unwrap_or(upper), upper)
}

/// The value below which a share `q` of `sorted` lies, interpolated between
/// neighbours (type 7 of Hyndman and Fan).
///
/// # Panics
///
/// Where there are no values.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    assert!(!sorted.is_empty(), "nothing has no quantiles");
    #[allow(clippy::cast_precision_loss)] // far fewer than 2^52 values
    let place = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to len - 1
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

/// The 95 % interval of the median: `values` are drawn anew with replacement,
/// [`RESAMPLES`] times, and the medians of the draws are cut at 2.5 % on either
/// side. Draws come from `rng` alone, so that a seed gives the same interval.
///
/// # Panics
///
/// Where there are no values.
pub fn median_interval(values: &[f64], rng: &mut LabRng) -> Interval {
    bootstrap(values, RESAMPLES, rng)
}

fn bootstrap(values: &[f64], resamples: usize, rng: &mut LabRng) -> Interval {
    intervals(values, resamples, rng, median_in_place)
}

/// The geometric mean; `None` of nothing.
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    let logarithms: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    (!values.is_empty()).then(|| mean(&logarithms).exp())
}

#[allow(clippy::cast_precision_loss)] // far fewer than 2^52 values
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The 95 % interval of the geometric mean, as [`median_interval`] makes it.
///
/// # Panics
///
/// Where there are no values.
pub fn geometric_mean_interval(values: &[f64], rng: &mut LabRng) -> Interval {
    let logarithms: Vec<f64> = values.iter().map(|value| value.ln()).collect();
    let interval = intervals(&logarithms, RESAMPLES, rng, |draw| mean(draw));
    Interval {
        low: interval.low.exp(),
        high: interval.high.exp(),
    }
}

fn intervals(
    values: &[f64],
    resamples: usize,
    rng: &mut LabRng,
    middle: impl Fn(&mut [f64]) -> f64,
) -> Interval {
    let mut draw = vec![0.0; values.len()];
    let mut middles: Vec<f64> = (0..resamples)
        .map(|_| {
            for place in &mut draw {
                *place = values[rng.random_range(0..values.len())];
            }
            middle(&mut draw)
        })
        .collect();
    middles.sort_by(f64::total_cmp);
    Interval {
        low: quantile(&middles, 0.025),
        high: quantile(&middles, 0.975),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn rng(seed: u64) -> LabRng {
        LabRng::seed_from_u64(seed)
    }

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(&[3.0]).to_bits(), 3.0_f64.to_bits());
        assert_eq!(median(&[9.0, 1.0, 5.0]).to_bits(), 5.0_f64.to_bits());
        assert_eq!(median(&[9.0, 1.0, 5.0, 4.0]).to_bits(), 4.5_f64.to_bits());
        assert_eq!(
            median(&[1.0, 1e9, 1.0, 1.0, 2.0]).to_bits(),
            1.0_f64.to_bits()
        );
    }

    #[test]
    fn quantiles_interpolate_and_stop_at_the_ends() {
        let sorted = [10.0, 20.0, 30.0, 40.0, 50.0];
        for (q, expected) in [
            (0.0, 10.0),
            (0.25, 20.0),
            (0.5, 30.0),
            (0.625, 35.0),
            (1.0, 50.0),
        ] {
            assert!((quantile(&sorted, q) - expected).abs() < 1e-12, "{q}");
        }
        assert_eq!(quantile(&[7.0], 0.975).to_bits(), 7.0_f64.to_bits());
    }

    #[test]
    fn one_seed_gives_one_interval() {
        let values: Vec<f64> = (0..15).map(f64::from).collect();
        let first = median_interval(&values, &mut rng(1));
        assert_eq!(first, median_interval(&values, &mut rng(1)));
        assert!(first.low < 7.0 && 7.0 < first.high, "{first:?}");
        assert!(first.holds(7.0) && !first.holds(14.0));
    }

    #[test]
    fn an_interval_of_equal_values_is_that_value() {
        let interval = median_interval(&[2.0; 9], &mut rng(1));
        assert_eq!((interval.low, interval.high), (2.0, 2.0));
    }

    #[test]
    fn an_interval_narrows_with_the_square_root_of_the_rounds() {
        let mut noise = rng(7);
        let mut width = |n: usize| {
            let widths: Vec<f64> = (0..40)
                .map(|_| {
                    let values: Vec<f64> = (0..n).map(|_| noise.random::<f64>()).collect();
                    let interval = median_interval(&values, &mut noise);
                    interval.high - interval.low
                })
                .collect();
            median(&widths)
        };
        let narrowed = width(16) / width(256);
        assert!((3.0..5.5).contains(&narrowed), "{narrowed}, 4 expected");
    }

    #[test]
    fn a_ratio_and_its_reciprocal_cancel() {
        let mean = geometric_mean(&[2.0, 0.5, 4.0, 0.25]).unwrap();
        assert!((mean - 1.0).abs() < 1e-12, "{mean}");
        assert_eq!(geometric_mean(&[]), None);
        let interval = geometric_mean_interval(&[3.0; 5], &mut rng(1));
        assert!((interval.low - 3.0).abs() < 1e-9 && (interval.high - 3.0).abs() < 1e-9);
    }

    #[test]
    fn the_interval_of_a_geometric_mean_holds_it_nearly_19_times_in_20() {
        // A percentile bootstrap of nine values is known to be a little narrow.
        let mut noise = rng(5);
        let mut held = 0;
        for _ in 0..1_000 {
            let ratios: Vec<f64> = (0..9)
                .map(|_| {
                    let mut tail = || (1.0 - noise.random::<f64>()).powf(-0.1);
                    1.3 * tail() / tail()
                })
                .collect();
            let logarithms: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
            let interval = intervals(&logarithms, 400, &mut noise, |draw| mean(draw));
            held += u32::from(interval.holds(1.3_f64.ln()));
        }
        assert!((870..=970).contains(&held), "{held} of 1000");
    }

    /// The promise of the interval itself: in 95 of 100 experiments with skewed
    /// noise the true ratio lies inside.
    #[test]
    fn the_interval_of_a_ratio_holds_the_true_ratio_19_times_in_20() {
        const TRUE_RATIO: f64 = 1.3;
        let mut noise = rng(42);
        let mut held = 0;
        for _ in 0..1_000 {
            let ratios: Vec<f64> = (0..21)
                .map(|_| {
                    let mut time = || 10.0 * (1.0 - noise.random::<f64>()).powf(-0.2);
                    TRUE_RATIO * time() / time()
                })
                .collect();
            let interval = bootstrap(&ratios, 400, &mut noise);
            held += u32::from(interval.holds(TRUE_RATIO));
        }
        assert!((920..=980).contains(&held), "{held} of 1000");
    }
}
