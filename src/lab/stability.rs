//! Whether a run can be believed, by rules that are fixed beforehand.

use std::collections::HashSet;

use super::model::{Cell, Noise, Report, SummaryRow};
use super::overall::Kind;
use super::section::times;
use super::stats::{FEWEST, quantile};

/// The share of disturbed blocks from which a run is unstable.
const DISTURBED_BLOCKS: f64 = 0.25;

/// The noise floor of a scenario, the median of those cells' that others are compared
/// with, from which it is unstable.
const NOISE_FLOOR: f64 = 1.25;

/// The rules, in words.
pub fn rule() -> String {
    format!(
        "A run is unstable when it was broken off, when it is a debug build or a smoke run, or \
         when more than {:.0} % of its blocks were disturbed: then no figure of it should be cited. A \
         scenario is unstable when it has fewer than {FEWEST} blocks, or when the median noise floor \
         of what is compared in it is above {NOISE_FLOOR}×: then none of that scenario should. Bytes, \
         instructions and allocations are counted, and need neither.",
        DISTURBED_BLOCKS * 100.0
    )
}

/// A noise floor as it is written: from where on it only says that there is no floor to
/// stand on, its digits say nothing.
pub fn floor_text(floor: f64) -> String {
    const MOST: f64 = 100.0;
    if floor > MOST {
        format!("over {MOST}×")
    } else {
        times(floor)
    }
}

/// What speaks against a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stability {
    /// Why all of it is unstable.
    pub run: Vec<String>,
    /// Why some scenarios are.
    pub parts: Vec<String>,
    /// Which ones.
    pub scenarios: Vec<String>,
}

impl Stability {
    /// What not to cite, and why; `None` where all can be.
    pub fn banner(&self) -> Option<(String, String)> {
        let reasons = self.reasons().join(" ");
        if !self.run.is_empty() {
            return Some(("This run is unstable: cite nothing of it.".into(), reasons));
        }
        (!self.scenarios.is_empty()).then(|| {
            let names = self.scenarios.join(", ");
            (format!("Unstable: cite nothing of {names}."), reasons)
        })
    }

    /// All reasons.
    pub fn reasons(&self) -> Vec<String> {
        self.run.iter().chain(&self.parts).cloned().collect()
    }
}

/// Whether a run is stable.
#[allow(clippy::cast_precision_loss)] // counts of blocks
pub fn of(report: &Report) -> Stability {
    let context = &report.context;
    let mut found = Stability::default();
    if context.partial {
        found.run.push(
            "It was broken off: this is a partial report of what had been measured by then.".into(),
        );
    }
    if context.toolchain.profile == "debug" {
        found
            .run
            .push("It is a debug build: no figure means anything.".into());
    }
    if context.effort == "smoke" {
        found
            .run
            .push("It is a smoke run: it shows that the report works, no more.".into());
    }
    let blocks: usize = context.scenarios.iter().map(|run| run.blocks).sum();
    let disturbed: usize = context.scenarios.iter().map(|run| run.disturbed).sum();
    let share = disturbed as f64 / blocks.max(1) as f64;
    if share > DISTURBED_BLOCKS {
        found.run.push(format!(
            "Others took the machine: {disturbed} of {blocks} blocks were disturbed ({:.0} %).",
            share * 100.0
        ));
    }
    // What a smoke run is to be believed has been said.
    let judged = context
        .scenarios
        .iter()
        .filter(|_| context.effort != "smoke");
    let (mut few, mut noisy) = (Vec::new(), Vec::new());
    for run in judged {
        if run.blocks < FEWEST && !is_counted(report, &run.name) {
            few.push(run.name.clone());
        }
        let floor = typical_floor(report, &run.name, Some(Kind::Time));
        if let Some(floor) = floor.filter(|floor| *floor > NOISE_FLOOR) {
            noisy.push(format!("{} {}", run.name, floor_text(floor)));
        }
        if few.last() == Some(&run.name) || floor.is_some_and(|floor| floor > NOISE_FLOOR) {
            found.scenarios.push(run.name.clone());
        }
    }
    if !few.is_empty() {
        found.parts.push(format!(
            "Too few blocks to tell anything apart: {}.",
            few.join(", ")
        ));
    }
    if !noisy.is_empty() {
        found.parts.push(format!(
            "The same store differs from itself: noise floor of {}.",
            noisy.join(", ")
        ));
    }
    found
}

/// Whether a scenario only counts, so that noise cannot touch it.
fn is_counted(report: &Report, scenario: &str) -> bool {
    let of_it = |row: &&SummaryRow| row.cell.scenario == scenario;
    let mut rows = report.summary.iter().filter(of_it);
    rows.all(|row| Kind::of(&row.unit).is_some_and(Kind::is_exact))
}

/// The noise of those cells of a scenario that others are compared with; of one kind,
/// where only that is wanted.
pub fn compared_noise<'a>(
    report: &'a Report,
    scenario: &str,
    kind: Option<Kind>,
) -> Vec<&'a Noise> {
    let rows = report.summary.iter();
    let compared: HashSet<Cell> = rows
        .filter(|row| row.cell.scenario == scenario)
        .filter(|row| kind.is_none_or(|kind| Kind::of(&row.unit) == Some(kind)))
        .filter_map(SummaryRow::reference)
        .collect();
    let noise = report.noise.iter();
    noise
        .filter(|noise| compared.contains(&noise.cell))
        .collect()
}

/// The median noise floor of those cells of a scenario that others are compared
/// with; of one kind, where only that is wanted.
pub fn typical_floor(report: &Report, scenario: &str, kind: Option<Kind>) -> Option<f64> {
    let noise = compared_noise(report, scenario, kind);
    let mut floors: Vec<f64> = noise.into_iter().map(|noise| noise.floor).collect();
    floors.sort_unstable_by(f64::total_cmp);
    (!floors.is_empty()).then(|| quantile(&floors, 0.5))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::synthetic::{self, BURST, REFERENCE};

    fn banner_after(change: fn(&mut Report)) -> (String, String) {
        let mut report = synthetic::report();
        change(&mut report);
        of(&report).banner().unwrap_or_default()
    }

    #[test]
    fn a_quiet_run_is_stable_and_each_rule_is_noticed() {
        assert_eq!(of(&synthetic::report()), Stability::default());
        let broken = |word: &str, change: fn(&mut Report)| {
            let (head, reasons) = banner_after(change);
            assert!(reasons.contains(word), "{word}: {head} {reasons}");
            head
        };
        for head in [
            broken("partial", |report| report.context.partial = true),
            broken("debug", |report| {
                report.context.toolchain.profile = "debug".into();
            }),
            broken("smoke", |report| report.context.effort = "smoke".into()),
            broken("disturbed", |report| {
                report.context.scenarios[0].disturbed = 4;
            }),
        ] {
            assert_eq!(head, "This run is unstable: cite nothing of it.");
        }
        // What is wrong with one scenario says nothing against the others.
        for head in [
            broken("Too few", |report| report.context.scenarios[0].blocks = 2),
            broken("noise floor", |report| {
                let all = report.noise.iter_mut();
                for noise in all.filter(|noise| noise.cell.scenario == BURST) {
                    noise.floor = 1.3;
                }
            }),
        ] {
            assert_eq!(head, format!("Unstable: cite nothing of {BURST}."));
        }
    }

    #[test]
    fn what_is_counted_needs_no_number_of_blocks() {
        let (head, _) = banner_after(|report| {
            report.context.scenarios[0].blocks = 2;
            for row in &mut report.summary {
                row.unit = "bytes".into();
            }
        });
        assert_eq!(head, "");
    }

    #[test]
    fn the_noise_of_what_nobody_is_compared_with_is_no_fault() {
        let (head, _) = banner_after(|report| {
            let mut far = report.noise[0].clone();
            assert_eq!(far.cell.store, REFERENCE);
            far.floor = 900.0;
            for metric in ["may be nothing", "or almost", "and so on"] {
                far.cell.metric = metric.into();
                report.noise.push(far.clone());
            }
        });
        assert_eq!(head, "");
    }
}
