//! The type of a scenario, which is data; `workload` runs it.

use serde::Deserialize;

use crate::model::{CellId, Level, Row, ScenarioRun, Unit};

/// A question that a measurement answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The name on the command line and in the rows.
    pub name: &'static str,
    /// The question, in one line.
    pub about: &'static str,
    /// How it is measured, in a paragraph.
    pub method: &'static str,
    /// The level that it compares.
    pub level: Level,
    /// The contender ids that take part, in the order of the tables.
    #[serde(borrow)]
    pub contenders: Vec<&'static str>,
    /// The contender that the others are compared with; it runs twice in each round.
    pub reference: &'static str,
    /// The noise floor up to which its cells are quiet enough, so that they get no further lives
    /// for its sake.
    #[serde(default = "quiet")]
    pub quiet: f64,
    /// The situations that are measured.
    pub cells: Vec<Cell>,
}

/// The default of [`Scenario::quiet`].
pub(crate) const QUIET: f64 = 1.12;

fn quiet() -> f64 {
    QUIET
}

impl Scenario {
    /// Returns the id of one of its cells in a report.
    pub(crate) fn id(&self, cell: &Cell) -> CellId {
        CellId {
            scenario: self.name.into(),
            cell: cell.name.clone(),
            threads: cell.threads,
            services: cell.holds.services,
        }
    }

    /// Returns the empty rows of one of its cells: for each metric, one row per contender.
    pub(crate) fn rows(&self, cell: &Cell) -> Vec<Row> {
        let row = |(metric, unit): &(&str, Unit), contender: &&str| Row {
            id: self.id(cell),
            metric: (*metric).into(),
            contender: (*contender).into(),
            unit: *unit,
            ..Row::default()
        };
        let of = |metric| self.contenders.iter().map(move |contender| row(metric, contender));
        cell.metrics.iter().flat_map(of).collect()
    }

    /// Returns its entry in a report before anything is measured.
    pub(crate) fn begun(&self) -> ScenarioRun {
        ScenarioRun {
            name: self.name.into(),
            about: self.about.into(),
            method: self.method.into(),
            level: self.level,
            reference: self.reference.into(),
            slices: 0,
            dropped: 0,
            seconds: 0.0,
        }
    }
}

/// The effort of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// Only tests that everything works, in some seconds; its figures mean nothing.
    Smoke,
    /// At most a minute.
    Quick,
    /// At most ten minutes.
    Default,
    /// At most an hour.
    Full,
}

/// One situation: by default reads in place, on one thread, of 1,000 services with uniform
/// keys.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cell {
    /// The operation, in a word or two: `with_service`, `95/5`.
    pub name: String,
    /// The least effort that measures it.
    pub from: Effort,
    /// The initial content of the store.
    pub holds: FleetSize,
    /// The operations, with their weights.
    pub mix: Vec<(Op, u32)>,
    /// The distribution of keys.
    pub keys: Keys,
    /// The number of measured threads.
    pub threads: usize,
    /// How the threads work.
    pub orchestration: Orchestration,
    /// The work of further threads that are not measured, or have a metric of their own.
    pub background: Option<Background>,
    /// The metrics of a slice, each with its name and unit.
    #[serde(borrow)]
    pub metrics: Vec<(&'static str, Unit)>,
}

impl Default for Cell {
    fn default() -> Cell {
        Cell {
            name: String::new(),
            from: Effort::Full,
            holds: FleetSize::default(),
            mix: vec![(Op::With, 1)],
            keys: Keys::Uniform,
            threads: 1,
            orchestration: Orchestration::Sustained,
            background: None,
            metrics: vec![("time", Unit::NsPerOp)],
        }
    }
}

impl Cell {
    /// Returns the number of threads that work in a slice, including its background.
    pub(crate) fn working(&self) -> usize {
        match (&self.orchestration, &self.background) {
            // A reader and a writer.
            (Orchestration::Visibility, _) => 2,
            (_, Some(beside)) if beside.rate != Some(0) => self.threads + beside.threads,
            _ => self.threads,
        }
    }
}

/// The initial content of a store: by default 1,000 services, ten pods of each name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FleetSize {
    /// Services.
    pub services: usize,
    /// Pods of each name.
    pub pods_per_name: usize,
    /// Subscribers of each group.
    pub subscribers_per_group: usize,
}

impl Default for FleetSize {
    fn default() -> FleetSize {
        FleetSize { services: 1_000, pods_per_name: 10, subscribers_per_group: 10 }
    }
}

/// An operation on a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Reads a record in place, by `with_service`.
    With,
    /// Takes a clone of a record, by `get_service`.
    Get,
    /// Asks for a key that is not there, by `find_service`.
    Miss,
    /// Changes a health status, to a new time: always a real change.
    Update,
    /// Replaces the whole record of a pod.
    Replace,
    /// Registers a pod that was not there.
    Insert,
    /// Removes a pod.
    Remove,
    /// Asks for the pods of a name.
    ByName,
    /// Asks who listens to a group.
    Subscribers,
    /// Subscribes.
    Subscribe,
    /// Unsubscribes.
    Unsubscribe,
    /// Reads every record.
    Scan,
    /// Takes a snapshot, asks it for this many pods, and drops it.
    View(u32),
    /// Commits a batch of this many health updates, which are that many operations.
    Batch(u32),
}

/// The distribution of the keys of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keys {
    /// Every key is equally likely.
    Uniform,
    /// Only this many keys.
    Hot(usize),
    /// A Zipf distribution with this exponent.
    Zipf(f64),
    /// Uniform, and each read depends on the answer of the previous one.
    Chained,
}

/// How the threads of a cell work, and what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Orchestration {
    /// Each thread does one operation after the other until the slice ends.
    Sustained,
    /// The workers of a rayon pool of `threads` threads do `operations` each, repeatedly.
    Burst {
        /// Operations of a worker.
        operations: usize,
    },
    /// Each thread has operations that are due at random moments, with this mean rate. Latencies
    /// count from those moments.
    OpenLoop {
        /// Operations a second, of all threads together.
        rate: u32,
    },
    /// An empty store is filled with the content of the cell, and dropped.
    FillAndDrop,
    /// One thread writes, and another one reads until it sees the write.
    Visibility,
    /// One thread changes a pod, and its followers are notified.
    Notification {
        /// The number of watches of its name.
        watches: usize,
        /// How the followers are notified.
        by: NotifyBy,
    },
    /// Finds the differences between two snapshots that are this many changes apart.
    Differences(usize),
    /// The memory of the store, by a counting allocator.
    Memory,
    /// The instructions of one operation, under valgrind.
    Instructions,
    /// The allocations of one operation, by a counting allocator.
    Allocations,
}

/// How the followers of a change are notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyBy {
    /// Counting wakers, and no sleeping thread: measures the cost of notifying.
    Wakers,
    /// A sleeping thread each. With one, measures the time until it is notified; with several, the
    /// cost of notifying them.
    Threads,
}

/// The work beside the measured threads.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Background {
    /// The operations, with their weights.
    pub mix: Vec<(Op, u32)>,
    /// The number of threads.
    pub threads: usize,
    /// The operations per second of each thread; `None`: as fast as possible; 0: each does one
    /// operation at the start, and then sleeps.
    pub rate: Option<u32>,
}
