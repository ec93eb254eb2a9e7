//! The ratio of two contenders, computed round by round.

use crate::model::Unit;
use crate::stats::{Estimate, middle};

/// Two contenders that differ by less than this factor are equal: 3 %.
pub(super) const EQUAL: f64 = 1.03;

/// Threads that lost more than this part of their time to other programs often did not run at once.
pub(crate) const BUSY: f64 = 0.2;

/// The lower bound of a time whose logarithm is taken, in nanoseconds.
pub(super) const LEAST: f64 = 1e-3;

pub(super) fn log(value: f64) -> f64 {
    value.max(LEAST).ln()
}

/// The logarithms of the ratios of two contenders, by life and round.
pub(super) type LogRatios = Vec<Vec<Option<f64>>>;

pub(super) fn pairs(own: &[Vec<Option<f64>>], other: &[Vec<Option<f64>>]) -> LogRatios {
    let round = |(own, other): (&Option<f64>, &Option<f64>)| Some(log((*own)?) - log((*other)?));
    let life = |(own, other): (&Vec<_>, &Vec<_>)| own.iter().zip(other).map(round).collect();
    own.iter().zip(other).map(life).collect()
}

/// Returns the cost of one contender over that of another in one metric of a cell.
pub(super) fn ratio(
    unit: Unit,
    own: &[Vec<Option<f64>>],
    other: &[Vec<Option<f64>>],
) -> Option<Estimate> {
    estimate(unit, &pairs(own, other))
}

pub(super) fn estimate(unit: Unit, logs: &LogRatios) -> Option<Estimate> {
    if unit.is_counted() {
        return middle(logs.iter().flatten().flatten().copied()).map(Estimate::exact);
    }
    let lives: Vec<Vec<f64>> =
        logs.iter().map(|life| life.iter().copied().flatten().collect()).collect();
    Estimate::of(&lives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_has_no_noise() {
        let (own, other) = ([vec![Some(300.0)]], [vec![Some(100.0)]]);
        let ratio = ratio(Unit::BytesPerService, &own, &other).unwrap().interval();
        assert!((ratio.low - 3.0).abs() < 1e-9 && (ratio.high - 3.0).abs() < 1e-9);
        let none = [vec![Some(0.0)]];
        let equal = super::ratio(Unit::AllocationsPerOp, &none, &none).unwrap();
        assert_eq!(equal.log, 0.0);
    }
}
