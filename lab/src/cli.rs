//! `cargo lab`: what is typed.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, Parser, Subcommand};

use crate::fault::Fault;
use crate::model::ContenderKind;
use crate::scenario::{Effort, Scenario};
use crate::{contender, scenarios};

/// Measures the stores of service-registry on this machine: prints tables and answers, and
/// writes report.html, report.md, report.csv and report.json.
///
/// Without options it measures everything, in at most ten minutes. Ctrl-C ends the run and
/// keeps what was measured.
#[derive(Debug, Parser)]
#[command(
    name = "cargo lab",
    bin_name = "cargo lab",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<LabCommand>,

    #[command(flatten)]
    pub(crate) options: Options,
}

/// What can be done besides measuring.
#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// Draw the pages again from a report.json, without a new run
    Render {
        /// The report [default: that of the last run]
        json: Option<PathBuf>,
        /// Write the files to this folder [default: that of the report]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Say what changed from an older report.json to a newer one
    Compare {
        /// The older report
        old: PathBuf,
        /// The newer one [default: that of the last run]
        new: Option<PathBuf>,
        /// Print every change, however many there are
        #[arg(long)]
        verbose: bool,
    },
    /// Check whether a report.json is whole and agrees with itself
    Check {
        /// The report [default: that of the last run]
        json: Option<PathBuf>,
    },
    /// Write the pages of the repository that are made from docs/report.json
    Docs {
        /// Write nothing, and fail where a page is not what it would be
        #[arg(long)]
        check: bool,
    },
    /// List the scenarios and who takes part
    List,
}

#[derive(Args, Debug)]
#[allow(clippy::struct_excessive_bools)] // each is a flag
pub(crate) struct Options {
    /// End within a minute: fewer cells, shorter slices, wider intervals
    #[arg(long)]
    quick: bool,

    /// Take up to an hour: more cells and sizes, narrow intervals
    #[arg(long, conflicts_with = "quick")]
    full: bool,

    /// Only see whether everything works, in some seconds; no figure means anything
    #[arg(long, conflicts_with_all = ["quick", "full"])]
    smoke: bool,

    /// Run this scenario; may be given several times [default: all]
    #[arg(long = "scenario", value_name = "NAME", value_parser = scenario_names())]
    scenarios: Vec<String>,

    /// Measure this store of the crate; may be given several times. What stores are
    /// compared with takes part in any case [default: all]
    #[arg(long = "store", value_name = "ID", value_parser = store_names())]
    stores: Vec<String>,

    /// Make keys, operations and the order of the slices from this number
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Write the files to this folder; made if it is not there
    /// [default: report in the target folder of this build]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Print all tables
    #[arg(long)]
    pub(crate) verbose: bool,
}

fn scenario_names() -> PossibleValuesParser {
    let all = scenarios::all().iter();
    PossibleValuesParser::new(all.map(|own| PossibleValue::new(own.name).help(own.about)))
}

fn store_names() -> PossibleValuesParser {
    let all = contender::all().iter().map(|own| &own.info);
    let stores = all.filter(|info| info.kind == ContenderKind::Ours);
    PossibleValuesParser::new(stores.map(|info| PossibleValue::new(&*info.id).help(&*info.about)))
}

/// Scenarios, and which of their cells: scenario and cell, by place.
type SelectedCells = (Vec<Scenario>, Vec<(usize, usize)>);

impl Options {
    pub(crate) fn effort(&self) -> Effort {
        match (self.smoke, self.quick, self.full) {
            (true, ..) => Effort::Smoke,
            (_, true, _) => Effort::Quick,
            (.., true) => Effort::Full,
            _ => Effort::Default,
        }
    }

    /// What to type to run the same again.
    pub(crate) fn command(&self) -> String {
        let mut words = vec![String::from("cargo lab")];
        if self.effort() != Effort::Default {
            words.push(format!("--{}", name(self.effort())));
        }
        let named = |option: &str, all: &[String]| -> Vec<String> {
            all.iter().map(|own| format!("--{option} {own}")).collect()
        };
        words.extend(named("scenario", &self.scenarios));
        words.extend(named("store", &self.stores));
        words.push(format!("--seed {}", self.seed));
        words.join(" ")
    }

    /// The scenarios that were asked for, with those who take part, and the cells.
    pub(crate) fn chosen(&self) -> Result<SelectedCells, Fault> {
        let mut chosen = scenarios::all().to_vec();
        chosen.retain(|own| {
            self.scenarios.is_empty() || self.scenarios.iter().any(|name| name == own.name)
        });
        for store in &self.stores {
            if !chosen.iter().any(|own| own.contenders.contains(&&**store)) {
                return Err(Fault::new(format!(
                    "{store} takes part in none of these scenarios: {}; see `cargo lab list`",
                    self.scenarios.join(", ")
                )));
            }
        }
        let is_ours =
            |id| contender::find(id).is_ok_and(|own| own.info.kind == ContenderKind::Ours);
        for scenario in &mut chosen {
            let reference = scenario.reference;
            scenario.contenders.retain(|id| {
                self.stores.is_empty()
                    || *id == reference
                    || !is_ours(id)
                    || self.stores.iter().any(|own| own == id)
            });
        }
        // What a quick run measures, a smoke run tries, and something of every scenario.
        let effort = self.effort().max(Effort::Quick);
        let smoke = self.effort() == Effort::Smoke;
        let mut cells = Vec::new();
        for (at, scenario) in chosen.iter().enumerate() {
            let own = scenario.cells.iter().enumerate();
            let mut own =
                own.filter(|(_, cell)| cell.from <= effort).map(|(cell, _)| cell).peekable();
            let tried = (smoke && own.peek().is_none()).then_some(0);
            cells.extend(own.chain(tried).map(|cell| (at, cell)));
        }
        let has_cells = |at: usize| cells.iter().any(|(own, _)| *own == at);
        let asked = 0..if self.scenarios.is_empty() { 0 } else { chosen.len() };
        if let Some(without) = asked.into_iter().find(|at| !has_cells(*at)) {
            return Err(Fault::new(format!(
                "{} is measured with more effort only: without --{}, or with --full",
                chosen[without].name,
                name(self.effort())
            )));
        }
        Ok((chosen, cells))
    }
}

pub(crate) fn name(effort: Effort) -> String {
    format!("{effort:?}").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_options_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_command_says_how_to_run_the_same_again() {
        let given = ["lab", "--quick", "--store", "snapshot", "--store", "memory"];
        let options = Cli::parse_from(given).options;
        let command = "cargo lab --quick --store snapshot --store memory --seed 1";
        assert_eq!(options.command(), command);
    }

    #[test]
    fn a_bad_option_is_refused_before_anything_runs() {
        for bad in ["rendre", "--fast", "--scenario=burst", "--store=floor", "--seed=x"] {
            let error = Cli::try_parse_from(["lab", bad]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{bad}");
        }
        for bad in [["--quick", "--full"], ["--smoke", "--quick"], ["--quick", "list"]] {
            Cli::try_parse_from(["lab", bad[0], bad[1]]).unwrap_err();
        }
    }

    #[test]
    fn a_store_that_takes_no_part_is_refused() {
        let own = Cli::parse_from(["lab", "--scenario", "sustained", "--store", "memory"]).options;
        let fault = own.chosen().unwrap_err();
        assert!(fault.0.contains("memory takes part in none"), "{fault}");
    }
}
