//! The results of a run, as `report.json` holds them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The form of `report.json`; grows when a field changes its meaning or goes.
pub const SCHEMA_VERSION: u32 = 1;

/// All of `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`]
    pub schema_version: u32,
    /// Where, with what and how it was measured.
    pub context: Context,
    /// Every sample, in the order in which it was taken.
    pub results: Vec<Measurement>,
    /// One row a cell: the median of its samples, and a comparison.
    pub summary: Vec<SummaryRow>,
    /// What the stores are meant to reach, and whether they did.
    pub targets: Vec<Target>,
}

impl Report {
    /// The row of a cell.
    pub fn row(&self, cell: &Cell) -> Option<&SummaryRow> {
        self.summary.iter().find(|row| row.cell == *cell)
    }

    /// How a scenario was run.
    pub fn run_of(&self, scenario: &str) -> Option<&ScenarioRun> {
        let mut runs = self.context.scenarios.iter();
        runs.find(|run| run.name == scenario)
    }
}

/// What is measured: a metric of a store in a situation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cell {
    /// The scenario that measured it.
    pub scenario: String,
    /// The contender.
    pub store: String,
    /// How many threads worked.
    pub threads: usize,
    /// How many services were registered at the start.
    pub services: usize,
    /// What they did.
    pub metric: String,
}

/// One sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// What was measured.
    #[serde(flatten)]
    pub cell: Cell,
    /// In which round, counted from 0; where a scenario goes through some cells
    /// several times a round, the number of the pass. Samples of one number met
    /// the same machine.
    pub round: usize,
    /// The result, in the unit.
    pub value: f64,
    /// `ns/op` or `Mop/s`
    pub unit: String,
    /// What the clock showed.
    pub nanoseconds: u64,
    /// How many operations that were.
    pub operations: u64,
    /// How many of them were writes.
    pub writes: u64,
    /// How many did what they were to do: found the record, or changed it.
    pub hits: u64,
    /// The fewest that may.
    pub hits_low: u64,
    /// The most that may.
    pub hits_high: u64,
    /// How many nanoseconds a thread was ready to run and had to wait for a
    /// processor, where that was asked for and the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited: Option<u64>,
}

impl Measurement {
    /// Whether a thread had to wait for a processor for more than a fiftieth of
    /// the time.
    pub fn is_disturbed(&self) -> bool {
        self.waited
            .is_some_and(|waited| waited > self.nanoseconds / 50)
    }
}

/// The summary of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SummaryRow {
    /// What was measured.
    #[serde(flatten)]
    pub cell: Cell,
    /// The median of the samples.
    pub value: f64,
    /// `ns/op` or `Mop/s`
    pub unit: String,
    /// The lower end of the 95 % interval of the median.
    pub value_low: f64,
    /// The upper end.
    pub value_high: f64,
    /// How many samples.
    pub rounds: usize,
    /// Operations of a sample.
    pub operations: u64,
    /// How many of them were writes.
    pub writes: u64,
    /// The fewest of a sample that hit.
    pub hits_min: u64,
    /// The most of a sample that hit.
    pub hits_max: u64,
    /// In how many samples every thread had a processor, where that was asked
    /// for. If there are any, the others do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undisturbed: Option<usize>,
    /// What it is compared with, if it is.
    #[serde(flatten)]
    pub comparison: Option<Comparison>,
}

/// How a cell compares with another one of the same scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The contender that it is compared with.
    pub reference: String,
    /// The number of threads there, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_threads: Option<usize>,
    /// The number of services there, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_services: Option<usize>,
    /// The metric there, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_metric: Option<String>,
    /// The median of the ratios of value to reference, each within one round.
    pub ratio: f64,
    /// The lower end of the 95 % interval of the ratio.
    pub ci_low: f64,
    /// The upper end.
    pub ci_high: f64,
}

impl Comparison {
    /// Whether the two cannot be told apart.
    pub fn is_equal(&self) -> bool {
        self.ci_low <= 1.0 && 1.0 <= self.ci_high
    }
}

/// A figure that a store is meant to reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// What.
    pub name: String,
    /// At how many services.
    pub services: usize,
    /// The figure that was measured.
    pub value: f64,
    /// The lower end of its 95 % interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// `x` for a ratio, or `ns`
    pub unit: String,
    /// The limit, in words: `<= 1.2`.
    pub limit: String,
    /// Whether `value` is within the limit.
    pub met: bool,
}

/// Where, with what and how it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Context {
    /// The version of this crate.
    pub version: String,
    /// When the run began, in UTC.
    pub started_at: String,
    /// How long it took.
    pub seconds: f64,
    /// What was typed.
    pub command: String,
    /// `smoke`, `quick` or `default`
    pub effort: String,
    /// From which all that is random was made.
    pub seed: u64,
    /// The commit that was built, where it is known.
    pub git_revision: Option<String>,
    /// Whether the files differed from that commit.
    pub git_modified: Option<bool>,
    /// What it ran on.
    pub machine: Machine,
    /// What it was built with.
    pub toolchain: Toolchain,
    /// Cargo features of this crate that were on.
    pub features: Vec<String>,
    /// The global allocator.
    pub allocator: String,
    /// The hasher of every table.
    pub hasher: String,
    /// What the keys are and how they are drawn.
    pub keys: String,
    /// Which operations copy a record and which borrow it.
    pub copies: String,
    /// How the clock, the rounds and the intervals work.
    pub method: Vec<String>,
    /// Versions from `Cargo.lock` of the crates that are compared, or that
    /// measure.
    pub crates: BTreeMap<String, String>,
    /// Who was measured.
    pub contenders: Vec<ContenderInfo>,
    /// What was run.
    pub scenarios: Vec<ScenarioRun>,
}

/// What it ran on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The model of the processor.
    pub cpu: String,
    /// Threads that can run at once.
    pub cores: usize,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// The operating system.
    pub os: String,
    /// Its kernel.
    pub kernel: String,
    /// Processes that wanted to run in the minute before the start.
    pub load_before: f64,
    /// The same, at the end.
    pub load_after: f64,
}

/// What it was built with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Toolchain {
    /// `rustc -V`, as found when the report ran.
    pub rustc: String,
    /// The platform.
    pub target: String,
    /// `release`, or `debug`, of which no figure means anything.
    pub profile: String,
}

/// Who was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContenderInfo {
    /// The name in the rows.
    pub name: String,
    /// The name on the command line.
    pub id: String,
    /// What it is.
    pub about: String,
}

/// How a scenario was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScenarioRun {
    /// Its name.
    pub name: String,
    /// What it asks.
    pub about: String,
    /// How it is measured.
    pub method: String,
    /// Rounds that count. One more went before them and was thrown away.
    pub rounds: usize,
    /// How long it took.
    pub seconds: f64,
}
