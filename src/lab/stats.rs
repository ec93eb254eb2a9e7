//! Medians and their uncertainty.
//!
//! Times on a shared machine have a long tail to one side: a mean follows its
//! outliers, a median does not. Of many blocks the intervals are bootstrap
//! percentiles (Efron 1979), which ask nothing of the shape of the noise. Of few
//! they would be far too narrow, three blocks' would hold the true value 76 times in
//! 100: there it is Student's t of the logarithms (1908), which makes up for how
//! little a few values know of their own spread. Ratios of noisy times are near
//! enough to a normal distribution as logarithms.

use rand::RngExt;

use super::workload::LabRng;

/// How often a bootstrap draws anew.
pub const RESAMPLES: usize = 2_000;

/// Of fewer values nothing is told apart: what stands for their interval is the span
/// from the least to the greatest.
pub const FEWEST: usize = 3;

/// From so many values on, a bootstrap is better than an assumption of the shape.
pub const MANY: usize = 10;

/// The 97.5 % quantiles of Student's t, from one degree of freedom on.
const STUDENT: [f64; MANY - 2] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306];

/// Where the true value lies, in 95 of 100 such experiments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The 2.5 % quantile.
    pub low: f64,
    /// The 97.5 % quantile.
    pub high: f64,
}

impl Interval {
    /// An interval of logarithms, as one of ratios: finite, and above 0.
    #[must_use]
    pub fn exp(self) -> Interval {
        let exp = |end: f64| end.exp().clamp(f64::MIN_POSITIVE, f64::MAX);
        Interval {
            low: exp(self.low),
            high: exp(self.high),
        }
    }

    /// How far from 1 it goes, as a factor of at least 1.
    pub fn far(self) -> f64 {
        let far = |end: f64| end.max(end.recip());
        far(self.low).max(far(self.high))
    }

    /// Whether `value` cannot be told from the interval.
    pub fn holds(self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// The one rule by which a ratio is equal to 1, as far as a run can tell: its interval
/// holds 1, or lies inside the noise floor, or is made of fewer than [`FEWEST`] blocks.
/// What is `exact`, a count, needs no number of blocks.
pub fn is_equal(interval: Interval, floor: f64, blocks: usize, exact: bool) -> bool {
    let inside = floor.recip() <= interval.low && interval.high <= floor;
    interval.holds(1.0) || inside || (blocks < FEWEST && !exact)
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

/// The 95 % interval of the median. From [`MANY`] values on, they are drawn anew
/// with replacement, [`RESAMPLES`] times, and the medians of the draws are cut at
/// 2.5 % on either side. Draws come from `rng` alone, so that a seed gives the same
/// interval. Of fewer it is Student's, of the logarithms where there are any, and as
/// wide as it takes to hold the median.
///
/// # Panics
///
/// Where there are no values.
pub fn median_interval(values: &[f64], rng: &mut LabRng) -> Interval {
    if values.len() >= MANY {
        return bootstrap(values, RESAMPLES, rng);
    }
    let of_few = if values.iter().all(|value| *value > 0.0) {
        few(&logarithms(values)).exp()
    } else {
        few(values)
    };
    // Equal values stay as they are, whatever a logarithm rounds.
    let (span, middle) = (span(values), median(values));
    if span.low.to_bits() == span.high.to_bits() {
        return span;
    }
    Interval {
        low: of_few.low.min(middle),
        high: of_few.high.max(middle),
    }
}

fn logarithms(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value.ln()).collect()
}

/// From the least to the greatest.
pub fn span(values: &[f64]) -> Interval {
    Interval {
        low: values.iter().copied().fold(f64::INFINITY, f64::min),
        high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    }
}

/// The interval of the mean of a few values.
#[allow(clippy::cast_precision_loss)] // few
fn few(values: &[f64]) -> Interval {
    let n = values.len();
    if n < FEWEST {
        return span(values);
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let error = (squares / (n as f64 - 1.0) / n as f64).sqrt();
    student(mean, error, n - 1)
}

/// Student's interval around a mean with this standard error, whose spread is known
/// with so many degrees of freedom: from 1 to [`MANY`] - 2.
pub fn student(mean: f64, error: f64, freedom: usize) -> Interval {
    let far = error * STUDENT[freedom.clamp(1, STUDENT.len()) - 1];
    Interval {
        low: mean - far,
        high: mean + far,
    }
}

fn bootstrap(values: &[f64], resamples: usize, rng: &mut LabRng) -> Interval {
    intervals(values, resamples, rng, median_in_place)
}

/// The geometric mean; `None` of nothing.
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| mean(&logarithms(values)).exp())
}

#[allow(clippy::cast_precision_loss)] // far fewer than 2^52 values
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The 95 % interval of the geometric mean: Student's of fewer than [`MANY`] values,
/// else a bootstrap, as [`median_interval`] makes it.
///
/// # Panics
///
/// Where there are no values.
pub fn geometric_mean_interval(values: &[f64], rng: &mut LabRng) -> Interval {
    let logarithms = logarithms(values);
    if values.len() < MANY {
        return few(&logarithms).exp();
    }
    intervals(&logarithms, RESAMPLES, rng, |draw| mean(draw)).exp()
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

    /// How many of 2,000 experiments with so many blocks and skewed noise on both
    /// sides have the true ratio inside their interval, in percent.
    fn coverage(blocks: usize, interval: impl Fn(&[f64], &mut LabRng) -> Interval) -> f64 {
        const TRUE_RATIO: f64 = 1.3;
        let mut noise = rng(5);
        let held = (0..2_000).filter(|_| {
            let ratios: Vec<f64> = (0..blocks)
                .map(|_| {
                    let mut time = || (1.0 - noise.random::<f64>()).powf(-0.1);
                    TRUE_RATIO * time() / time()
                })
                .collect();
            interval(&ratios, &mut noise).holds(TRUE_RATIO)
        });
        f64::from(u32::try_from(held.count()).unwrap()) / 20.0
    }

    #[test]
    fn the_interval_of_few_ratios_holds_the_true_one_19_times_in_20() {
        for blocks in [3, 4, 5, 7, 9] {
            let held = coverage(blocks, geometric_mean_interval);
            assert!((93.0..98.5).contains(&held), "{blocks} blocks: {held} %");
        }
    }

    /// The twin that the test above has to refuse, and why it is not used.
    #[test]
    fn a_bootstrap_of_few_ratios_is_too_narrow() {
        let percentiles = |ratios: &[f64], rng: &mut LabRng| {
            intervals(&logarithms(ratios), 400, rng, |draw| mean(draw)).exp()
        };
        for (blocks, at_most) in [(3, 80.0), (5, 88.0), (7, 91.0)] {
            let held = coverage(blocks, percentiles);
            assert!(held < at_most, "{blocks} blocks: {held} %");
        }
    }

    #[test]
    fn the_interval_of_a_median_of_few_holds_it_and_is_honest() {
        let values = [3.0, 4.0, 100.0];
        let interval = median_interval(&values, &mut rng(1));
        assert!(interval.low < 3.0 && interval.high > 100.0, "{interval:?}");
        // Values that have no logarithms have an interval, too.
        let slopes = median_interval(&[-0.1, 0.0, 0.1, 0.2], &mut rng(1));
        assert!(slopes.low < -0.1 && slopes.high > 0.2, "{slopes:?}");
        let two = median_interval(&[3.0, 4.0], &mut rng(1));
        assert!((two.low - 3.0).abs() < 1e-9 && (two.high - 4.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_is_told_apart_by_fewer_than_three_blocks_but_counts() {
        let apart = Interval {
            low: 1.8,
            high: 1.9,
        };
        assert!(is_equal(apart, 1.0, FEWEST - 1, false));
        assert!(!is_equal(apart, 1.0, FEWEST - 1, true));
        assert!(!is_equal(apart, 1.0, FEWEST, false));
        assert!(
            is_equal(apart, 2.0, FEWEST, false),
            "inside the noise floor"
        );
        assert!(!is_equal(apart, 1.85, FEWEST, false), "only in part");
        let around = Interval {
            low: 0.9,
            high: 9.0,
        };
        assert!(is_equal(around, 1.0, 1_000, true));
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
