//! Medians and their intervals.
//!
//! The estimate is the median over all rounds of the logarithm of a cost, or of a ratio of two
//! costs. Its error comes from a bootstrap that draws *lives*, each with all its rounds: a process
//! keeps some things for its life (addresses, seeds, pages), so the rounds of one life are not
//! independent. Drawing rounds again within each drawn life would count the noise of a round twice;
//! with lives that hardly differ, such intervals are too wide by a factor of 1.4.
//!
//! A bootstrap of a few lives underestimates the error, and knows no tails. So its variance is
//! multiplied by `n / (n - 1)`, and the interval is Student's with `n - 1` degrees of freedom
//! (Hesterberg, *What Teachers Should Know About the Bootstrap*, 2015).

use crate::model::Interval;

/// The number of draws of a bootstrap.
const DRAWS: usize = 400;

/// The widest interval, as a factor to each side: a single round, for example, tells nothing.
const WIDEST: f64 = 1_000.0;

/// A median of logarithms, with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    /// The median.
    pub(crate) log: f64,
    /// Its standard error.
    pub(crate) error: f64,
    /// The degrees of freedom of the standard error.
    pub(crate) freedom: f64,
}

impl Estimate {
    /// Creates the estimate of a counted figure, which has no error.
    pub(crate) fn exact(log: f64) -> Estimate {
        Estimate { log, error: 0.0, freedom: f64::INFINITY }
    }

    /// Estimates from some lives, each with the logarithms of its rounds; `None` if there are none.
    /// With one life, each round counts as a life. O(draws x rounds).
    pub(crate) fn of(lives: &[Vec<f64>]) -> Option<Estimate> {
        let filled = lives.iter().filter(|life| !life.is_empty()).count();
        let mut rounds: Vec<(f64, usize)> = Vec::new();
        for (life, own) in lives.iter().filter(|life| !life.is_empty()).enumerate() {
            for &log in own {
                rounds.push((log, if filled == 1 { rounds.len() } else { life }));
            }
        }
        let lives = if filled == 1 { rounds.len() } else { filled };
        rounds.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let log = median(&rounds, &vec![1; lives])?;
        if lives == 1 {
            return Some(Estimate { log, error: f64::INFINITY, freedom: 1.0 });
        }
        let mut rng = SplitMix64(0x5eed);
        let mut weights = vec![0; lives];
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..DRAWS {
            weights.fill(0);
            for _ in 0..lives {
                weights[rng.below(lives)] += 1;
            }
            let off = median(&rounds, &weights).unwrap_or(log) - log;
            sum += off;
            squares += off * off;
        }
        let draws = DRAWS as f64;
        let n = lives as f64;
        let variance = (squares - sum * sum / draws) / (draws - 1.0);
        Some(Estimate { log, error: (variance.max(0.0) * n / (n - 1.0)).sqrt(), freedom: n - 1.0 })
    }

    /// Returns the mean of independent estimates, for example of the cells of a question; `None` if
    /// there are none. Its degrees of freedom are Satterthwaite's.
    pub(crate) fn mean(of: &[Estimate]) -> Option<Estimate> {
        let n = of.len() as f64;
        let square = |own: &Estimate| own.error * own.error;
        let variance: f64 = of.iter().map(square).sum();
        let spread: f64 = of.iter().map(|own| square(own).powi(2) / own.freedom).sum();
        (!of.is_empty()).then(|| Estimate {
            log: of.iter().map(|own| own.log).sum::<f64>() / n,
            error: variance.sqrt() / n,
            freedom: if spread > 0.0 && variance.is_finite() {
                variance * variance / spread
            } else {
                of.iter().map(|own| own.freedom).fold(f64::INFINITY, f64::min)
            },
        })
    }

    /// Returns half of the 95 % interval, as a logarithm.
    pub(crate) fn half(self) -> f64 {
        if self.error == 0.0 {
            return 0.0;
        }
        (self.error * student(self.freedom)).min(WIDEST.ln())
    }

    /// Returns the figure with its 95 % interval.
    pub(crate) fn interval(self) -> Interval {
        Interval {
            value: self.log.exp(),
            low: (self.log - self.half()).exp(),
            high: (self.log + self.half()).exp(),
        }
    }
}

/// Returns the median of sorted rounds, each weighted by its life.
fn median(sorted: &[(f64, usize)], weights: &[u32]) -> Option<f64> {
    let all: u32 = sorted.iter().map(|(_, life)| weights[*life]).sum();
    let mut before = 0;
    let mut lower = None;
    for (log, life) in sorted {
        before += weights[*life];
        if let Some(lower) = lower
            && weights[*life] > 0
        {
            return Some(f64::midpoint(lower, *log));
        }
        if before * 2 > all {
            return Some(*log);
        }
        if before > 0 && before * 2 == all && weights[*life] > 0 {
            lower = Some(*log);
        }
    }
    None
}

/// Returns how many standard errors with this many degrees of freedom span 95 %: from a table,
/// interpolated by `1 / freedom`.
fn student(freedom: f64) -> f64 {
    const NORMAL: f64 = 1.960;
    const TABLE: [(f64, f64); 14] = [
        (1.0, 12.706),
        (2.0, 4.303),
        (3.0, 3.182),
        (4.0, 2.776),
        (5.0, 2.571),
        (6.0, 2.447),
        (7.0, 2.365),
        (8.0, 2.306),
        (10.0, 2.228),
        (12.0, 2.179),
        (15.0, 2.131),
        (20.0, 2.086),
        (30.0, 2.042),
        (60.0, 2.000),
    ];
    let mut above = (f64::INFINITY, NORMAL);
    for below in TABLE.into_iter().rev() {
        if freedom >= below.0 {
            let share = (1.0 / below.0 - 1.0 / freedom) / (1.0 / below.0 - 1.0 / above.0);
            return below.1 + share * (above.1 - below.1);
        }
        above = below;
    }
    TABLE[0].1
}

/// Returns the median of some figures; `None` if there are none.
pub(crate) fn middle(figures: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<(f64, usize)> = figures.into_iter().map(|own| (own, 0)).collect();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    median(&sorted, &[1])
}

/// `SplitMix64` (Steele, Lea, Flood, 2014). Implemented here, because a program built with another
/// version of `rand` must be able to check today's report.
#[derive(Clone, Debug)]
pub(crate) struct SplitMix64(pub(crate) u64);

impl SplitMix64 {
    /// Returns the next number.
    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`, which must not be 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let below = (u128::from(self.draw()) * end as u128) >> 64;
        usize::try_from(below).expect("less than the end")
    }

    /// Shuffles `items`.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_lies_in_the_middle() {
        assert_eq!(middle([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(middle([4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(middle([]), None);
        let sorted = [(1.0, 0), (2.0, 1), (3.0, 2), (4.0, 0)];
        assert_eq!(median(&sorted, &[1, 0, 0]), Some(2.5));
        assert_eq!(median(&sorted, &[0, 3, 1]), Some(2.0));
        assert_eq!(median(&sorted, &[0, 1, 1]), Some(2.5));
        assert_eq!(median(&sorted, &[0, 0, 0]), None);
    }

    #[test]
    fn student_is_that_of_the_tables() {
        let known = [(1.0, 12.706), (4.0, 2.776), (9.0, 2.262), (25.0, 2.060), (1e9, 1.960)];
        for (freedom, wide) in known {
            assert!((student(freedom) - wide).abs() < 0.01, "{freedom}: {}", student(freedom));
        }
    }

    #[test]
    fn of_one_round_nothing_is_known() {
        let interval = Estimate::of(&[vec![], vec![2.0_f64.ln()]]).unwrap().interval();
        assert!((interval.value - 2.0).abs() < 1e-9);
        assert!((interval.high - 2_000.0).abs() < 1e-6);
        assert_eq!(Estimate::of(&[vec![], vec![]]), None);
    }

    #[test]
    fn a_mean_is_as_unsure_as_its_least_sure_part() {
        let sure = Estimate { log: 0.0, error: 0.001, freedom: 30.0 };
        let unsure = Estimate { log: 0.2, error: 0.1, freedom: 3.0 };
        let mean = Estimate::mean(&[sure, unsure]).unwrap();
        assert!((mean.log - 0.1).abs() < 1e-12);
        assert!((mean.error - 0.05).abs() < 1e-4);
        assert!((mean.freedom - 3.0).abs() < 0.01);
        let counted = Estimate::mean(&[Estimate::exact(1.0), Estimate::exact(2.0)]).unwrap();
        assert_eq!(counted.half(), 0.0);
    }
}
