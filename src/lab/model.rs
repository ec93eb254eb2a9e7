//! The results of a run, as `report.json` holds them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The form of `report.json`; grows when a field changes its meaning or goes.
pub const SCHEMA_VERSION: u32 = 2;

/// All of `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// [`SCHEMA_VERSION`]
    pub schema_version: u32,
    /// Where, with what and how it was measured.
    pub context: Context,
    /// The processes that measured, in the order in which they ran.
    pub processes: Vec<Process>,
    /// Every sample, in the order in which it was taken.
    pub results: Vec<Measurement>,
    /// One row a cell: the median of its samples, and a comparison.
    pub summary: Vec<SummaryRow>,
    /// How far the reference of a scenario is from itself.
    pub noise: Vec<Noise>,
    /// What the stores are meant to reach, and whether they did.
    pub targets: Vec<Target>,
}

impl Report {
    /// The row of a cell.
    pub fn row(&self, cell: &Cell) -> Option<&SummaryRow> {
        self.summary.iter().find(|row| row.cell == *cell)
    }

    /// A contender, by its name in the rows.
    pub fn contender(&self, name: &str) -> Option<&ContenderInfo> {
        let mut contenders = self.context.contenders.iter();
        contenders.find(|contender| contender.name == name)
    }

    /// How a scenario was run.
    pub fn run_of(&self, scenario: &str) -> Option<&ScenarioRun> {
        let mut runs = self.context.scenarios.iter();
        runs.find(|run| run.name == scenario)
    }
}

/// What is measured: a metric of a store in a situation.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
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

/// A process of its own, which measured one contender in one scenario, once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// The scenario.
    pub scenario: String,
    /// The contender.
    pub store: String,
    /// The block, counted from 0: what ran in one block met the same machine, and
    /// the same keys and operations.
    pub block: usize,
    /// 1 for the second run of the reference in a block, else 0.
    pub replica: usize,
    /// Seconds from the start of the run to the start of the process.
    pub started: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Which share of the machine's time was stolen by its host, or taken by other
    /// programs, meanwhile: from 0 to 1, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disturbance: Option<Disturbance>,
    /// How often a thread of it gave its processor away to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voluntary_switches: Option<u64>,
    /// How often a thread of it was made to give it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub involuntary_switches: Option<u64>,
    /// Whether it belongs to a block that was repeated, so that none of its samples
    /// count.
    pub repeated: bool,
}

/// What others did while a process measured, as shares of all processors.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Disturbance {
    /// Time that the host gave to other guests.
    pub stolen: f64,
    /// Time that other programs used.
    pub foreign: f64,
}

impl Disturbance {
    /// Both together.
    pub fn share(self) -> f64 {
        self.stolen + self.foreign
    }
}

/// One sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurement {
    /// What was measured.
    #[serde(flatten)]
    pub cell: Cell,
    /// In which block, counted from 0.
    pub block: usize,
    /// 1 for the second run of the reference in a block, else 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub replica: usize,
    /// The result, in the unit.
    pub value: f64,
    /// `ns/op`, `Mop/s`, `ns`, `bytes`, ...: see [`Unit`](super::record::Unit).
    pub unit: String,
    /// What the clock showed; 0 where nothing was timed.
    pub nanoseconds: u64,
    /// How many operations that were.
    pub operations: u64,
    /// How many of them were writes.
    pub writes: u64,
    /// How many of each kind, where reads and writes do not say it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<String, u64>,
    /// How many did what they were to do: found the record, or changed it.
    pub hits: u64,
    /// The fewest that may.
    pub hits_low: u64,
    /// The most that may.
    pub hits_high: u64,
    /// How many services were registered at the end, where that was looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services_after: Option<usize>,
    /// Pairs of a share and the nanoseconds that so many of the operations took at
    /// most, where each of them was timed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub percentiles: Vec<[f64; 2]>,
    /// How many nanoseconds a thread was ready to run and had to wait for a
    /// processor, where that was asked for and the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited: Option<u64>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the form that serde asks for
fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Measurement {
    /// Whether a thread had to wait for a processor for more than a fiftieth of
    /// the time.
    pub fn is_disturbed(&self) -> bool {
        self.waited
            .is_some_and(|waited| waited > self.nanoseconds / 50)
    }
}

/// How far the reference of a scenario is from itself: the ratio of its two runs
/// in each block. What is nearer to 1 than this is noise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Noise {
    /// What was measured twice.
    #[serde(flatten)]
    pub cell: Cell,
    /// The geometric mean of the ratios of the second run to the first.
    pub ratio: f64,
    /// The lower end of its 95 % interval.
    pub ci_low: f64,
    /// The upper end.
    pub ci_high: f64,
    /// How far from 1 that interval goes, as a factor of at least 1: ratios from
    /// its reciprocal to it cannot be told from 1.
    pub floor: f64,
}

/// The summary of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// How many samples: one a block.
    pub blocks: usize,
    /// Operations of a sample: the median, for where time decides how many there
    /// are, no two blocks have the same number.
    pub operations: u64,
    /// How many of them were writes: the median.
    pub writes: u64,
    /// How many operations of each kind, over all samples. Samples that do not
    /// tell kinds apart have reads and writes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<String, u64>,
    /// The fewest of a sample that hit.
    pub hits_min: u64,
    /// The most of a sample that hit.
    pub hits_max: u64,
    /// The lowest share of its own operations that hit in a sample: from 0 to 1.
    #[serde(default)]
    pub hit_rate_min: f64,
    /// The highest.
    #[serde(default)]
    pub hit_rate_max: f64,
    /// How many services were registered at the end, where that was looked up: the
    /// median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services_after: Option<usize>,
    /// Pairs of a share and nanoseconds, each the median of the samples'.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub percentiles: Vec<[f64; 2]>,
    /// In how many samples every thread had a processor, where that was asked for.
    /// The others count as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undisturbed: Option<usize>,
    /// What it is compared with, if it is.
    #[serde(flatten)]
    pub comparison: Option<Comparison>,
}

/// How a cell compares with another one of the same scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// The geometric mean of the ratios of value to reference, each within one
    /// block.
    pub ratio: f64,
    /// The lower end of the 95 % interval of the ratio.
    pub ci_low: f64,
    /// The upper end.
    pub ci_high: f64,
    /// How many ratios these are made of: one for each block that both sides have.
    #[serde(default)]
    pub pairs: usize,
    /// Whether the two cannot be told apart: the interval holds 1, or lies inside
    /// the noise floor, or there are fewer than three blocks of what noise can touch.
    pub equal: bool,
}

impl SummaryRow {
    /// Whether in half of the samples or more a thread had to wait for a processor,
    /// so that the row tells more of the machine than of the store.
    pub fn is_mostly_disturbed(&self) -> bool {
        self.undisturbed
            .is_some_and(|undisturbed| undisturbed * 2 <= self.blocks)
    }

    /// The cell that it is compared with.
    pub fn reference(&self) -> Option<Cell> {
        let comparison = self.comparison.as_ref()?;
        let metric = comparison.reference_metric.as_ref();
        Some(Cell {
            scenario: self.cell.scenario.clone(),
            store: comparison.reference.clone(),
            threads: comparison.reference_threads.unwrap_or(self.cell.threads),
            services: comparison.reference_services.unwrap_or(self.cell.services),
            metric: metric.unwrap_or(&self.cell.metric).clone(),
        })
    }
}

/// A figure that a store is meant to reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Context {
    /// The version of this crate.
    pub version: String,
    /// When the run began, in UTC.
    pub started_at: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Whether it was broken off, so that what follows is only a part.
    pub partial: bool,
    /// What was typed.
    pub command: String,
    /// `smoke`, `quick`, `default` or `full`
    pub effort: String,
    /// From which all that is random was made.
    pub seed: u64,
    /// The commit that was built, where it is known.
    pub git_revision: Option<String>,
    /// Whether the files differed from that commit.
    pub git_modified: Option<bool>,
    /// The SHA-256 of `Cargo.lock`, in hexadecimal digits.
    pub lock_file: String,
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
    /// How the clock, the blocks and the intervals work.
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// The model of the processor.
    pub cpu: String,
    /// Threads that can run at once.
    pub cores: usize,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// The operating system.
    pub os: String,
    /// The version of its kernel, without what whoever built it has appended.
    pub kernel: String,
    /// Processes that wanted to run in the minute before the start.
    pub load_before: f64,
    /// The same, at the end.
    pub load_after: f64,
}

/// What it was built with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Toolchain {
    /// `rustc -V`, as found when the report ran.
    pub rustc: String,
    /// The platform.
    pub target: String,
    /// `release`, or `debug`, of which no figure means anything.
    pub profile: String,
}

/// Who was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContenderInfo {
    /// The name in the rows.
    pub name: String,
    /// The name on the command line.
    pub id: String,
    /// What it is.
    pub about: String,
    /// Whether it is a store of this crate, what a user would write instead, or a
    /// measure.
    #[serde(default)]
    pub kind: Kind,
    /// The crate that it is built on, by its name in [`Context::crates`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crate_name: Option<String>,
    /// What it promises; measures promise nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promises: Option<Promises>,
}

/// Where a contender comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A store of this crate.
    #[default]
    Ours,
    /// What a user would write instead, over another crate.
    Outside,
    /// No store, but what stores are measured by.
    Measure,
}

/// What a store promises to the threads that share it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Promises {
    /// What a reader does to be let in.
    pub readers: String,
    /// What a writer does.
    pub writers: String,
    /// How several changes become visible: `atomic` or `one by one`.
    pub batch: String,
    /// What an answer of several records is: `consistent` or `weakly consistent`.
    pub scan: String,
    /// Whether answers by name and by key agree at every moment.
    pub indexes_agree: bool,
    /// Whether a registered pod is never missing while others change.
    pub never_missing: bool,
    /// What an immutable view of everything costs, or `no`.
    pub snapshot: String,
    /// Whether every operation on one key is one step.
    pub linearizable: bool,
    /// What else there is to know; empty for nothing.
    pub caveat: String,
}

/// How a scenario was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScenarioRun {
    /// Its name.
    pub name: String,
    /// What it asks.
    pub about: String,
    /// How it is measured.
    pub method: String,
    /// What the others are compared with, and what ran twice in every block.
    pub reference: String,
    /// Blocks that count.
    pub blocks: usize,
    /// Blocks that were repeated, by the rule that stands in the method.
    pub repeated: usize,
    /// Blocks that count although they were disturbed.
    pub disturbed: usize,
    /// How long it took, in seconds.
    pub seconds: f64,
}
