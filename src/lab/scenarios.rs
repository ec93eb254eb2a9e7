//! What is measured.
//!
//! A scenario is a file (or a folder) here, named in [`ALL`]. It measures one
//! contender at a time, in a process of its own; says which cell is compared with
//! which; and lays its results out as a [`Section`] of the report.

pub mod burst;
pub mod by_name;
pub mod fill_and_drop;
mod growth;
pub mod health_sweep;
pub mod hot_key;
pub mod instructions;
mod latency;
pub mod memory;
pub mod operations;
pub mod size;
pub mod snapshot_scan;
mod steady;
pub mod subscriptions;
pub mod sustained;
pub mod visibility;
pub mod writer_storm;
pub mod zipf;

use std::time::Duration;

use super::contender::About;
use super::fault::Fault;
use super::model::{Cell, Report};
use super::process::Trial;
use super::record::Recorder;
use super::run::Scale;
use super::section::Section;

/// All scenarios, in the order in which they are run and shown.
pub const ALL: &[&dyn Scenario] = &[
    &operations::Operations,
    &instructions::Instructions,
    &burst::Burst30x100,
    &sustained::Sustained,
    &hot_key::HotKey,
    &zipf::Zipf,
    &size::Size,
    &memory::Memory,
    &writer_storm::WriterStorm,
    &snapshot_scan::SnapshotScan,
    &by_name::ByName,
    &subscriptions::Subscriptions,
    &health_sweep::HealthSweep,
    &fill_and_drop::FillAndDrop,
    &visibility::Visibility,
];

/// A question that is answered by measuring.
pub trait Scenario: Sync {
    /// The name on the command line and in the rows.
    fn name(&self) -> &'static str;

    /// What it asks, in one line.
    fn about(&self) -> &'static str;

    /// How it is measured, in a paragraph.
    fn method(&self) -> &'static str;

    /// Who takes part, in the order of the tables.
    fn entrants(&self) -> Vec<About>;

    /// What the others are compared with; it runs twice in every block, so that
    /// its distance from itself tells what is noise.
    fn reference(&self) -> &'static About;

    /// How long it goes on.
    fn effort(&self, scale: Scale) -> Effort;

    /// Measures one contender, in a process that does nothing else.
    ///
    /// # Errors
    ///
    /// Where the store did not do what it was to do, or the system has no threads
    /// to give.
    fn measure(&self, trial: &Trial, record: &mut Recorder) -> Result<(), Fault>;

    /// The cell that `cell` is compared with, if there is one.
    fn compared_with(&self, cell: &Cell) -> Option<Cell>;

    /// How the results are shown.
    fn section(&self, report: &Report) -> Section;
}

/// How long a scenario goes on: until it has done all blocks, or until its time
/// is up and it has done the fewest that mean much. Where the machine is so busy
/// that it is half as long again, two blocks are enough. The time that has gone by
/// decides alone, never a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// All blocks.
    pub blocks: usize,
    /// The fewest.
    pub at_least: usize,
    /// Its time.
    pub budget: Duration,
}

impl Effort {
    /// So many blocks, at least so many, in so many seconds.
    pub const fn new(blocks: usize, at_least: usize, seconds: u64) -> Effort {
        Effort {
            blocks,
            at_least,
            budget: Duration::from_secs(seconds),
        }
    }

    /// Whether there shall be no more after so many blocks.
    pub fn is_over(self, blocks: usize, spent: Duration) -> bool {
        // A block that would end long after the time is not begun.
        let next = match u32::try_from(blocks) {
            Ok(done @ 1..) => spent / done / 2,
            _ => Duration::ZERO,
        };
        let late = spent + next > self.budget;
        let very_late = spent > self.budget * 3 / 2;
        blocks >= self.blocks || (late && blocks >= self.at_least) || (very_late && blocks >= 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_ends_a_scenario_but_not_before_its_blocks_mean_something() {
        let effort = Effort::new(9, 4, 10);
        let done = |seconds: f64| {
            let over = |blocks: &usize| effort.is_over(*blocks, Duration::from_secs_f64(seconds));
            (0..20).find(over)
        };
        assert_eq!([1.0, 11.0, 16.0].map(done), [Some(9), Some(4), Some(2)]);
        // The next block would take until 12 seconds.
        assert!(effort.is_over(4, Duration::from_secs(9)));
        assert!(!effort.is_over(8, Duration::from_secs(9)));
    }
}
