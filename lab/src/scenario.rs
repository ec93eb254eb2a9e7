//! The type of a scenario, which is data; `workload` runs it.

use serde::Deserialize;

use crate::model::{CellId, Level, Row, ScenarioRun, Unit};

/// A question that a measurement answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The name on the command line and in the rows.
    pub name: &'static str,
    /// What it asks, in one line.
    pub about: &'static str,
    /// How it is measured, in a paragraph.
    pub method: &'static str,
    /// What is compared.
    pub level: Level,
    /// The contender ids that take part, in the order of the tables.
    #[serde(borrow)]
    pub contenders: Vec<&'static str>,
    /// The contender that the others are compared with; it runs twice in each round.
    pub reference: &'static str,
    /// Up to which noise floor its cells are quiet enough: nobody goes on for the sake of that.
    #[serde(default = "quiet")]
    pub quiet: f64,
    /// The situations that are measured.
    pub cells: Vec<Cell>,
}

/// Up to which noise floor the cells of a scenario are quiet enough that says nothing of it.
pub(crate) const QUIET: f64 = 1.12;

fn quiet() -> f64 {
    QUIET
}

impl Scenario {
    /// What a report calls one of its cells.
    pub(crate) fn id(&self, cell: &Cell) -> CellId {
        CellId {
            scenario: self.name.into(),
            cell: cell.name.clone(),
            threads: cell.threads,
            services: cell.holds.services,
        }
    }

    /// What a report has of one of its cells before anything was measured: for each metric a row
    /// for each contender.
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

    /// What a report says of it before anything was measured.
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

/// How much a run takes upon itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// Whether everything works; no figure means anything. Some seconds.
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
    /// What is done, in a word or two: `with_service`, `95/5`.
    pub name: String,
    /// The least effort that measures it.
    pub from: Effort,
    /// What the store holds before.
    pub holds: FleetSize,
    /// Which operations, in which proportions: weights.
    pub mix: Vec<(Op, u32)>,
    /// On which keys.
    pub keys: Keys,
    /// How many threads, in which orchestration.
    pub threads: usize,
    /// How they are set to work.
    pub orchestration: Orchestration,
    /// What goes on beside it.
    pub background: Option<Background>,
    /// What comes out: a name and a unit for each metric of a slice.
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
    /// How many threads work in a slice, those of its background as well.
    pub(crate) fn working(&self) -> usize {
        match (&self.orchestration, &self.background) {
            // One reads, the other one writes.
            (Orchestration::Visibility, _) => 2,
            (_, Some(beside)) if beside.rate != Some(0) => self.threads + beside.threads,
            _ => self.threads,
        }
    }
}

/// What a store holds before it is measured: by default 1,000 services, ten of each.
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

/// What can be done to a store.
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

/// Which keys are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keys {
    /// Each as likely as any other.
    Uniform,
    /// Only so many, all the time.
    Hot(usize),
    /// A few often and most seldom, by a Zipf distribution with this exponent.
    Zipf(f64),
    /// Uniform, and each question depends on the answer to the one before.
    Chained,
}

/// How the threads of a cell are set to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Orchestration {
    /// Each thread does one operation after the other for as long as a slice lasts.
    Sustained,
    /// A rayon pool of `threads` workers does `operations` each, and again.
    Burst {
        /// Operations of a worker.
        operations: usize,
    },
    /// Each thread has operations due at a fixed rate, and counts from when they were due.
    OpenLoop {
        /// Operations a second, of all threads together.
        rate: u32,
    },
    /// A store is filled from nothing with what the cell holds, and dropped.
    FillAndDrop,
    /// One thread writes, the others wait for it to be seen.
    Visibility,
    /// One thread changes a pod, others are told of it.
    Notification {
        /// How many watches its name has.
        watches: usize,
        /// How they sleep.
        by: NotifyBy,
    },
    /// What differs between two snapshots that are so many changes apart.
    Differences(usize),
    /// What the store occupies, by an allocator that counts.
    Memory,
    /// Instructions of one operation, under valgrind.
    Instructions,
    /// Calls of one operation that get memory, by an allocator that counts.
    Allocations,
}

/// How those sleep who wait for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyBy {
    /// A waker that counts is left behind, and nobody sleeps: what telling costs.
    Wakers,
    /// Each is a thread. Of one thread the time until it has been told is measured, of
    /// several what telling them costs.
    Threads,
}

/// What goes on beside the measured threads.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Background {
    /// Which operations, by weights.
    pub mix: Vec<(Op, u32)>,
    /// How many threads.
    pub threads: usize,
    /// Operations a second of each of them; `None`: as fast as they can; 0: each does one
    /// operation at the start, and sleeps.
    pub rate: Option<u32>,
}
