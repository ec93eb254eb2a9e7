//! Whether a run can be believed, by rules that are fixed beforehand.

use super::model::Report;
use super::overall::FEWEST_BLOCKS;
use super::stats::quantile;

/// The share of disturbed blocks from which a run is unstable.
const DISTURBED_BLOCKS: f64 = 0.25;

/// The noise floor of a scenario, the median of its cells', from which it is
/// unstable.
const NOISE_FLOOR: f64 = 1.25;

/// The rules, in words.
pub fn rule() -> String {
    format!(
        "A run is unstable when it was broken off, when it is a debug build or a smoke run, when \
         more than {:.0} % of its blocks were disturbed, when a scenario has fewer than \
         {FEWEST_BLOCKS} blocks, or when the median noise floor of a scenario is above \
         {NOISE_FLOOR}×. Of an unstable run, no figure should be cited.",
        DISTURBED_BLOCKS * 100.0
    )
}

/// Why a run is unstable; empty where it is not.
#[allow(clippy::cast_precision_loss)] // counts of blocks
pub fn faults(report: &Report) -> Vec<String> {
    let context = &report.context;
    let mut faults = Vec::new();
    if context.partial {
        faults.push(
            "It was broken off: this is a partial report of what had been measured by then.".into(),
        );
    }
    if context.toolchain.profile == "debug" {
        faults.push("It is a debug build: no figure means anything.".into());
    }
    if context.effort == "smoke" {
        faults.push("It is a smoke run: it shows that the report works, no more.".into());
    }
    let blocks: usize = context.scenarios.iter().map(|run| run.blocks).sum();
    let disturbed: usize = context.scenarios.iter().map(|run| run.disturbed).sum();
    let share = disturbed as f64 / blocks.max(1) as f64;
    if share > DISTURBED_BLOCKS {
        faults.push(format!(
            "Others took the machine: {disturbed} of {blocks} blocks were disturbed ({:.0} %).",
            share * 100.0
        ));
    }
    let few: Vec<&str> = context
        .scenarios
        .iter()
        .filter(|run| run.blocks < FEWEST_BLOCKS)
        .map(|run| run.name.as_str())
        .collect();
    if !few.is_empty() && context.effort != "smoke" {
        faults.push(format!(
            "Too few blocks to tell anything apart: {}.",
            few.join(", ")
        ));
    }
    let noisy: Vec<String> = context
        .scenarios
        .iter()
        .filter_map(|run| {
            let floor = typical_floor(report, &run.name)?;
            (floor > NOISE_FLOOR).then(|| format!("{} {}", run.name, super::section::times(floor)))
        })
        .collect();
    if !noisy.is_empty() && context.effort != "smoke" {
        faults.push(format!(
            "The same store differs from itself: noise floor of {}.",
            noisy.join(", ")
        ));
    }
    faults
}

/// The median noise floor of a scenario's cells.
pub fn typical_floor(report: &Report, scenario: &str) -> Option<f64> {
    let own = report
        .noise
        .iter()
        .filter(|noise| noise.cell.scenario == scenario);
    let mut floors: Vec<f64> = own.map(|noise| noise.floor).collect();
    floors.sort_unstable_by(f64::total_cmp);
    (!floors.is_empty()).then(|| quantile(&floors, 0.5))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::synthetic;

    #[test]
    fn a_quiet_run_is_stable_and_each_rule_is_noticed() {
        let quiet = synthetic::report();
        assert_eq!(faults(&quiet), [""; 0]);
        let broken = |word: &str, change: fn(&mut Report)| {
            let mut report = quiet.clone();
            change(&mut report);
            let said = faults(&report).join(" ");
            assert!(said.contains(word), "{word}: {said}");
        };
        broken("partial", |report| report.context.partial = true);
        broken("debug", |report| {
            report.context.toolchain.profile = "debug".into();
        });
        broken("smoke", |report| report.context.effort = "smoke".into());
        broken("disturbed", |report| {
            report.context.scenarios[0].disturbed = 4;
        });
        broken("Too few", |report| report.context.scenarios[0].blocks = 2);
        broken("noise floor", |report| {
            for noise in &mut report.noise {
                noise.floor = 1.3;
            }
        });
    }
}
