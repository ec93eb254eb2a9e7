//! What is measured.
//!
//! A scenario is a file (or a folder) here, named in [`ALL`]. It says which
//! cells it fills, fills them once a round, says which cell is compared with
//! which, and lays its results out as a [`Section`] of the report.

pub mod burst;
pub mod operations;

use super::model::{Cell, Report};
use super::run::{Fault, Recorder, Settings};
use super::section::Section;
use super::workload::LabRng;
use std::time::Duration;

/// All scenarios, in the order in which they are run and shown.
pub const ALL: &[&dyn Scenario] = &[&operations::Operations, &burst::Burst30x100];

/// A question that is answered by measuring.
pub trait Scenario: Sync {
    /// The name on the command line and in the rows.
    fn name(&self) -> &'static str;

    /// What it asks, in one line.
    fn about(&self) -> &'static str;

    /// How it is measured, in a paragraph.
    fn method(&self) -> &'static str;

    /// Builds what is built once.
    ///
    /// # Errors
    ///
    /// Where the system has no threads to give.
    fn prepare(&self, settings: &Settings) -> Result<Box<dyn Experiment>, Fault>;

    /// What a round measures, in the order of the tables.
    fn cells(&self, settings: &Settings) -> Vec<Cell>;

    /// The cell that `cell` is compared with, if there is one.
    fn compared_with(&self, cell: &Cell) -> Option<Cell>;

    /// How the results are shown.
    fn section(&self, report: &Report) -> Section;
}

/// A scenario at work.
pub trait Experiment {
    /// How long it goes on.
    fn effort(&self) -> Effort;

    /// Measures every cell once, the contenders in random order.
    ///
    /// # Errors
    ///
    /// Where a store did not do what it was to do.
    fn round(&mut self, rng: &mut LabRng, record: &mut Recorder<'_>) -> Result<(), Fault>;
}

/// How long a scenario goes on: until it has done all rounds, or until its time
/// is up and it has done the fewest that mean much. Where the machine is so busy
/// that it is half as long again, two rounds are enough. The time that has gone by
/// decides alone, never a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// All rounds.
    pub rounds: usize,
    /// The fewest.
    pub at_least: usize,
    /// Its time.
    pub budget: Duration,
}

impl Effort {
    /// Whether `round`, counted from 1, is one too many. Round 0 is the rehearsal.
    pub fn is_over(self, round: usize, elapsed: Duration) -> bool {
        let late = elapsed > self.budget;
        let very_late = elapsed > self.budget * 3 / 2;
        round > self.rounds || (late && round > self.at_least) || (very_late && round > 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_ends_a_scenario_but_not_before_its_rounds_mean_something() {
        let effort = Effort {
            rounds: 9,
            at_least: 4,
            budget: Duration::from_secs(10),
        };
        let last = |seconds| {
            let over = |round: &usize| effort.is_over(*round, Duration::from_secs(seconds));
            (0..20).find(over).map(|round| round - 1)
        };
        assert_eq!([1, 11, 16].map(last), [Some(9), Some(4), Some(2)]);
    }
}
