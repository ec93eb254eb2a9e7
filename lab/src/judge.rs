//! Derives values, ratios, noise and answers from the samples of a report.
//!
//! Everything here is a function of the file, so that `lab check` computes the same figures as the
//! run did.

mod answer;
mod questions;
mod ratios;
#[cfg(test)]
mod simulated;

use std::collections::HashMap;

use crate::model::{Interval, Noise, Report, Row};
use crate::stats::{Estimate, middle};
use ratios::{log, ratio};

pub use answer::{OpenQuestion, open_questions};
pub(crate) use ratios::BUSY;

/// Computes everything in a report that follows from its samples, and rules on the questions.
pub fn complete(report: &mut Report) {
    figures(report);
    report.noise = noise(report);
    report.answers = answer::answers(report);
}

/// Computes the values and ratios of the rows.
fn figures(report: &mut Report) {
    let runs = &report.scenarios;
    let is_reference = |row: &&Row| {
        runs.iter().any(|run| run.name == row.id.scenario && run.reference == row.contender)
    };
    let references = report.rows.iter().filter(is_reference);
    let references: HashMap<_, _> =
        references.map(|row| (row.cell_metric(), row.clone())).collect();
    for row in &mut report.rows {
        row.value = value(row);
        row.ratio = references
            .get(&row.cell_metric())
            .filter(|reference| reference.contender != row.contender)
            .and_then(|reference| ratio(row.unit, &row.samples, &reference.samples))
            .map(Estimate::interval);
    }
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
    Estimate::of(&lives).map_or(Interval::default(), Estimate::interval)
}

/// Computes the noise floor of each scenario: how far its reference is from itself.
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

/// Returns how far the reference is from itself in a row, as a factor of at least 1; `None` if it
/// did not run twice.
pub fn floor(row: &Row) -> Option<f64> {
    let own = ratio(row.unit, &row.again, &row.samples)?;
    Some((own.log.abs() + own.half()).exp())
}
