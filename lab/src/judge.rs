//! What follows from the samples of a report: values, ratios, noise, answers.
//!
//! Everything here is a function of what is in the file, so that `lab check` finds the same
//! figures as the run did.

mod answer;
mod questions;
#[cfg(test)]
mod simulated;

use std::collections::HashMap;

use crate::model::{Interval, Noise, Place, Report, Row, Unit};
use crate::stats::{Estimate, middle};

pub use answer::{Open, open};

/// Two that differ by less than this factor are equal: 3 %.
pub const EQUAL: f64 = 1.03;

/// What a time counts as at least, in nanoseconds, where its logarithm is taken.
const LEAST: f64 = 1e-3;

/// The rules by which figures are judged, as they stand in a report.
pub fn rules() -> Vec<String> {
    [
        "A ratio is taken within a round; that of a cell is the median over the rounds of all \
         lives. Its 95 % interval comes from a bootstrap that draws lives with all their rounds, \
         widened for their number by Student's t.",
        "A question is decided where the interval between the best store and each other one \
         lies wholly outside 3 % (one is better) or wholly inside (they are equal); over several \
         cells it is the geometric mean of their ratios. Which cells those are was fixed before \
         the run.",
        "The noise floor of a scenario is how far the reference is from itself, in two processes \
         that take turns like any two contenders: the farther end of that interval, the median \
         over the cells.",
    ]
    .map(String::from)
    .to_vec()
}

/// Computes everything in a report that follows from its samples, and rules on the questions.
pub fn complete(report: &mut Report) {
    figures(report);
    report.noise = noise(report);
    report.answers = answer::answers(report);
}

/// The values and ratios of the rows.
fn figures(report: &mut Report) {
    let mut references: HashMap<Place, Row> = HashMap::new();
    for row in &report.rows {
        if is_reference(report, row) {
            references.insert(row.place(), row.clone());
        }
    }
    for row in &mut report.rows {
        row.value = value(row);
        row.ratio = references
            .get(&row.place())
            .filter(|reference| reference.contender != row.contender)
            .and_then(|reference| ratio(row.unit, &row.samples, &reference.samples))
            .map(Estimate::interval);
    }
}

fn is_reference(report: &Report, row: &Row) -> bool {
    let mut runs = report.scenarios.iter();
    runs.any(|run| run.name == row.id.scenario && run.reference == row.contender)
}

fn value(row: &Row) -> Interval {
    let measured = || row.samples.iter().flatten().flatten().copied();
    if row.unit.is_counted() {
        let value = middle(measured()).unwrap_or(0.0);
        let ends = |pick: fn(f64, f64) -> f64| measured().reduce(pick).unwrap_or(value);
        return Interval { value, low: ends(f64::min), high: ends(f64::max) };
    }
    let logs = |life: &Vec<Option<f64>>| life.iter().flatten().map(|own| log(*own)).collect();
    let lives: Vec<Vec<f64>> = row.samples.iter().map(logs).collect();
    Estimate::of(&lives).map_or(Interval { value: 0.0, low: 0.0, high: 0.0 }, Estimate::interval)
}

fn log(value: f64) -> f64 {
    value.max(LEAST).ln()
}

/// The logarithms of the ratios of two contenders, by life and round.
type Logs = Vec<Vec<Option<f64>>>;

fn pairs(own: &[Vec<Option<f64>>], other: &[Vec<Option<f64>>]) -> Logs {
    let round = |(own, other): (&Option<f64>, &Option<f64>)| Some(log((*own)?) - log((*other)?));
    let life = |(own, other): (&Vec<_>, &Vec<_>)| own.iter().zip(other).map(round).collect();
    own.iter().zip(other).map(life).collect()
}

/// The cost of one contender over that of another in one metric of a cell.
fn ratio(unit: Unit, own: &[Vec<Option<f64>>], other: &[Vec<Option<f64>>]) -> Option<Estimate> {
    estimate(unit, &pairs(own, other))
}

fn estimate(unit: Unit, logs: &Logs) -> Option<Estimate> {
    if unit.is_counted() {
        return middle(logs.iter().flatten().flatten().copied()).map(Estimate::exact);
    }
    let lives: Vec<Vec<f64>> =
        logs.iter().map(|life| life.iter().copied().flatten().collect()).collect();
    Estimate::of(&lives)
}

/// How far the reference of each scenario is from itself.
fn noise(report: &Report) -> Vec<Noise> {
    let of = |name: &String| {
        let rows = report.rows.iter();
        let own = rows.filter(|row| row.id.scenario == *name && !row.unit.is_counted());
        let floors: Vec<f64> = own.filter_map(floor).collect();
        Some(Noise {
            scenario: name.clone(),
            floor: middle(floors.iter().copied())?,
            worst: floors.iter().copied().reduce(f64::max)?,
        })
    };
    let names = report.scenarios.iter().map(|run| &run.name);
    names.filter_map(of).collect()
}

/// How far the reference is from itself in a row of it, as a factor of at least 1; `None`
/// where it did not run twice.
pub fn floor(row: &Row) -> Option<f64> {
    let own = ratio(row.unit, &row.again, &row.samples)?;
    Some((own.log.abs() + own.half()).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_one_of_two_missed_is_no_pair() {
        let own = [vec![Some(2.0), None], vec![], vec![Some(8.0)]];
        let other = [vec![Some(1.0), Some(1.0)], vec![Some(1.0)], vec![Some(2.0)]];
        let logs = pairs(&own, &other);
        assert_eq!(logs.iter().map(Vec::len).collect::<Vec<_>>(), [2, 0, 1]);
        assert_eq!(logs[0], [Some(2.0_f64.ln()), None]);
        assert!((logs[2][0].unwrap() - 4.0_f64.ln()).abs() < 1e-12);
    }

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
