//! The results of a run, as `report.json` holds them.
//!
//! A *cell* is one situation of a scenario: what the store holds, what is done, by how
//! many threads. Every contender of a cell is measured in the same *rounds*. A cell may
//! have several *metrics*: one slice of a latency cell yields p50, p99 and p99.9.
//! A [`Row`] is one contender in one metric of one cell.
//!
//! Samples are measured, and what other programs took meanwhile; medians, ratios, intervals,
//! noise and answers are computed from them by [`crate::judge`], and stand in the file so that
//! a reader of the JSON need not. `lab check` computes them again.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The form of `report.json`. It grows when a field changes its meaning or goes.
pub const SCHEMA_VERSION: u32 = 3;

/// All of `report.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// [`SCHEMA_VERSION`]
    pub schema_version: u32,
    /// Where, with what and how it was measured.
    pub context: Context,
    /// The questions and their answers, in a fixed order.
    pub answers: Vec<Answer>,
    /// How far the reference of a scenario is from itself.
    pub noise: Vec<Noise>,
    /// What was run.
    pub scenarios: Vec<ScenarioRun>,
    /// The results, grouped by scenario, cell and metric; in the file, each such group
    /// says only once what it is.
    #[serde(rename = "cells", with = "cells")]
    #[schemars(rename = "cells", with = "Vec<cells::Cell>")]
    pub rows: Vec<Row>,
}

impl Report {
    /// Takes out the scenarios of which nothing was measured.
    pub(crate) fn drop_empty(&mut self) {
        let rows = &self.rows;
        self.scenarios.retain(|run| rows.iter().any(|row| row.id.scenario == run.name));
    }
}

/// One question of "which store should I use?", and what the run says to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The need, in words: `Many threads, reads on every request, few writes`.
    pub question: String,
    /// The group under which the terminal and the page show it: `One thread`,
    /// `Several threads`, `Views and scans`, `Memory and start`.
    pub group: String,
    /// Whether the run decides it.
    pub decided: bool,
    /// The stores that fit, as contender ids: the best one, or several that are equal.
    /// Empty where nothing was decided.
    pub stores: Vec<String>,
    /// Whether promises decide, and not figures.
    pub by_promise: bool,
    /// The figures that were weighed; empty where none was measured. Where promises
    /// decide, those that are shown beside them.
    pub cells: Vec<CellMetric>,
    /// What speaks for it: short sentences with figures.
    pub evidence: Vec<String>,
    /// The comparison of the best store with every other candidate, nearest first.
    pub comparisons: Vec<Comparison>,
    /// What to mind: caveats, and stores from outside that were faster and promise less.
    pub caveats: Vec<String>,
    /// What other programs took of the time of its threads, in the cell where they took most,
    /// if that is so much that these seldom ran at once, by the rule in [`Context::rules`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub busy: Option<f64>,
}

/// How much one contender costs next to another, over all cells of a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// The contender id.
    pub contender: String,
    /// The contender that it is compared with.
    pub to: String,
    /// Its cost over that of `to`, with the 95 % interval. More than 1 is slower.
    pub ratio: Interval,
    /// Over how many cells this is a geometric mean.
    pub cells: usize,
    /// Whether the interval lies wholly within 3 % of 1.
    pub equal: bool,
}

/// A figure with its 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// The figure.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// What is known exactly.
    pub(crate) fn exact(value: f64) -> Interval {
        Interval { value, low: value, high: value }
    }

    /// The same of the figure and both ends.
    pub(crate) fn map<T>(self, each: impl FnMut(f64) -> T) -> [T; 3] {
        [self.value, self.low, self.high].map(each)
    }
}

/// How far the reference is from itself, in two processes that take turns like any two
/// contenders: the median over the cells of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// The scenario.
    pub scenario: String,
    /// The farther end of the interval of the ratio of the reference to itself, as a
    /// factor of at least 1; the median over the cells.
    pub floor: f64,
    /// The worst cell's.
    pub worst: f64,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Nanoseconds for an operation. Less is better.
    #[default]
    NsPerOp,
    /// Nanoseconds. Less is better.
    Ns,
    /// Bytes for a service. Less is better.
    BytesPerService,
    /// Instructions for an operation. Less is better.
    InstructionsPerOp,
    /// Allocations for an operation. Less is better.
    AllocationsPerOp,
    /// Operations a second. More is better. Drawn, and never written: the time says it.
    #[serde(skip)]
    OpsPerSecond,
}

impl Unit {
    /// Whether it is counted, so that it has no noise and needs no rounds.
    pub fn is_counted(self) -> bool {
        !matches!(self, Unit::NsPerOp | Unit::Ns)
    }
}

/// A sample as it is kept: four digits that mean something.
pub(crate) fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// A situation of a scenario.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct CellId {
    /// The scenario.
    pub scenario: String,
    /// What is done, in the words of the scenario: `with_service`, `95/5`.
    pub cell: String,
    /// How many threads do it.
    #[schemars(range(min = 1))]
    pub threads: usize,
    /// How many services are registered.
    pub services: usize,
}

/// A metric of a cell: what several contenders are compared in.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct CellMetric {
    /// The cell.
    #[serde(flatten)]
    pub id: CellId,
    /// What of the cell.
    pub metric: String,
}

/// One contender in one metric of one cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The cell.
    #[serde(skip)]
    pub id: CellId,
    /// What of the cell: `time`, `p99`, `bytes`, ...
    #[serde(skip)]
    pub metric: String,
    /// What `value` counts.
    #[serde(skip)]
    pub unit: Unit,
    /// What other programs took, as the file says of a cell.
    #[serde(skip)]
    pub lost: Option<f64>,
    /// The contender id.
    pub contender: String,
    /// The median over the rounds, with its interval.
    pub value: Interval,
    /// Cost next to the reference of the scenario; not that of the reference itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Interval>,
    /// What was measured, by life and round, in the unit, with four significant digits;
    /// `null` where the slice was dropped or the contender rested.
    #[schemars(inner(inner(range(min = 0))))]
    pub samples: Vec<Vec<Option<f64>>>,
    /// The same of the second process of the reference; of no one else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(inner(range(min = 0))))]
    pub again: Vec<Vec<Option<f64>>>,
}

impl Row {
    /// Where it stands.
    pub fn cell_metric(&self) -> CellMetric {
        CellMetric { id: self.id.clone(), metric: self.metric.clone() }
    }
}

/// How a scenario was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScenarioRun {
    /// Its name.
    pub name: String,
    /// What it asks, in one line.
    pub about: String,
    /// How it is measured, in a paragraph.
    pub method: String,
    /// `map`: look-ups on one bare table; `registry`: the whole interface.
    pub level: Level,
    /// The contender that the others are compared with, and that ran twice in each round.
    pub reference: String,
    /// Slices that were measured.
    pub slices: u64,
    /// Slices that were dropped by the rule in [`Context::rules`].
    pub dropped: u64,
    /// How long it took, in seconds.
    #[schemars(range(min = 0))]
    pub seconds: f64,
}

/// What a scenario compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// One key of one table: our stores through their public interface, bare maps.
    Map,
    /// A registry: indexes by name and by group as well.
    Registry,
}

/// Where, with what and how it was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// The version of this crate.
    pub version: String,
    /// When the run began: RFC 3339, in UTC.
    #[schemars(extend("format" = "date-time"))]
    pub started_at: String,
    /// How long it took, in seconds.
    #[schemars(range(min = 0))]
    pub seconds: f64,
    /// Why the run ended before its plan, if it did: `interrupted`, or the fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_early: Option<String>,
    /// What was typed, without what is not UTF-8.
    pub command: String,
    /// `smoke`, `quick`, `default` or `full`
    #[schemars(extend("enum" = ["smoke", "quick", "default", "full"]))]
    pub effort: String,
    /// From which all that is random was made.
    pub seed: u64,
    /// The commit that was built, where it is known.
    pub git_revision: Option<String>,
    /// Whether the files differed from that commit.
    pub git_modified: Option<bool>,
    /// The SHA-256 of `Cargo.lock`, in hexadecimal digits.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub lock_file: String,
    /// What it ran on.
    pub machine: Machine,
    /// What it was built with.
    pub toolchain: Toolchain,
    /// The global allocator.
    pub allocator: String,
    /// The hasher of every table.
    pub hasher: String,
    /// What the keys are and how they are drawn.
    pub keys: String,
    /// Which operations copy a record and which borrow it.
    pub copies: String,
    /// The rules that were fixed before the run: slices, dropping, lives, stopping,
    /// deciding. One sentence each.
    pub rules: Vec<String>,
    /// What this run lacks, and why: one processor, no `/proc`, no valgrind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
    /// Versions from `Cargo.lock` of the crates that are compared, or that measure.
    pub crates: BTreeMap<String, String>,
    /// Who was measured.
    pub contenders: Vec<ContenderInfo>,
}

/// What it ran on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The model of the processor.
    pub cpu: String,
    /// Threads that can run at once.
    #[schemars(range(min = 1))]
    pub cores: usize,
    /// Memory, in bytes; 0 where the system does not tell.
    pub memory_bytes: u64,
    /// The operating system.
    pub os: String,
    /// The version of its kernel, without what whoever built it has appended.
    pub kernel: String,
    /// Processes that wanted to run in the minute before the start.
    #[schemars(range(min = 0))]
    pub load_before: f64,
    /// The same, at the end.
    #[schemars(range(min = 0))]
    pub load_after: f64,
}

/// What it was built with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Toolchain {
    /// `rustc -V`, as found when it was built.
    pub rustc: String,
    /// The platform.
    pub target: String,
    /// `release`, or `debug`, of which no figure means anything.
    #[schemars(extend("enum" = ["release", "debug"]))]
    pub profile: String,
}

/// Who was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContenderInfo {
    /// The name in the rows and on the command line: `versioned`, `dashmap`.
    #[schemars(length(min = 1))]
    pub id: String,
    /// The name in tables and charts: `VersionedStore`, `dashmap`.
    pub name: String,
    /// What it is, in one line.
    pub about: String,
    /// Whether it is a store of this crate, what a user would write instead, or a measure.
    pub kind: ContenderKind,
    /// The crate that it is built on, by its name in [`Context::crates`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crate_name: Option<String>,
    /// What it promises; bare maps and measures promise nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promises: Option<Promises>,
}

/// Where a contender comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContenderKind {
    /// A store of this crate.
    Ours,
    /// What a user would write or take instead.
    Outside,
    /// No store, but what stores are measured by.
    Measure,
}

/// What a store promises to the threads that share it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
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

/// The rows of a report as its file has them: what is the same for all contenders of a
/// metric stands there once.
pub(crate) mod cells {
    use schemars::JsonSchema;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{CellId, Row, Unit};

    /// A metric of a cell, with everybody who was measured in it.
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub(crate) struct Cell {
        /// Which cell.
        #[serde(flatten)]
        id: CellId,
        /// What of it: `time`, `p99`, `bytes`, ...
        metric: String,
        /// What the figures count.
        unit: Unit,
        /// What other programs took of the processor time that its threads could have had: in
        /// the median over the slices of all contenders, and no more than these programs ran.
        /// Not of a thread alone, and not where the system does not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0, max = 1))]
        lost: Option<f64>,
        /// The contenders.
        rows: Vec<Row>,
    }

    /// Rows that stand next to each other and are of the same metric and unit.
    fn groups(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
        rows.chunk_by(|a, b| (&a.id, &a.metric, a.unit) == (&b.id, &b.metric, b.unit))
    }

    /// Where each row stands in the file: `/cells/3/rows/0`.
    pub(crate) fn places(rows: &[Row]) -> Vec<String> {
        let in_group = |(at, group): (usize, &[Row])| {
            (0..group.len()).map(move |row| format!("/cells/{at}/rows/{row}")).collect::<Vec<_>>()
        };
        groups(rows).enumerate().flat_map(in_group).collect()
    }

    pub(crate) fn serialize<S: Serializer>(rows: &[Row], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(groups(rows).map(|group| {
            let Row { id, metric, unit, lost, .. } = group[0].clone();
            Cell { id, metric, unit, lost, rows: group.to_vec() }
        }))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Row>, D::Error> {
        let cells = Vec::<Cell>::deserialize(deserializer)?;
        let rows = cells.into_iter().flat_map(|Cell { id, metric, unit, lost, rows }| {
            rows.into_iter().map(move |row| Row {
                id: id.clone(),
                metric: metric.clone(),
                unit,
                lost,
                ..row
            })
        });
        Ok(rows.collect())
    }
}
