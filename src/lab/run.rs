//! Running scenarios: rounds, the record of what was measured, its summary.

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::{Duration, Instant};

use super::context;
use super::model::{
    Cell, Comparison, Measurement, Report, SCHEMA_VERSION, ScenarioRun, SummaryRow,
};
use super::progress::Progress;
use super::scenarios::{self, Scenario};
use super::stats::{median, median_interval};
use super::targets::targets;
use super::workload::seeded;
use crate::StoreError;

/// How much time a run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// A few seconds: shows that it runs, measures nothing worth citing.
    Smoke,
    /// Under a minute.
    Quick,
    /// Under ten minutes.
    Default,
}

impl Scale {
    /// The name in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Scale::Smoke => "smoke",
            Scale::Quick => "quick",
            Scale::Default => "default",
        }
    }
}

impl FromStr for Scale {
    type Err = String;

    fn from_str(name: &str) -> Result<Scale, String> {
        [Scale::Smoke, Scale::Quick, Scale::Default]
            .into_iter()
            .find(|scale| scale.name() == name)
            .ok_or_else(|| format!("no scale is called `{name}`"))
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For how long.
    pub scale: Scale,
    /// From which all that is random is made.
    pub seed: u64,
    /// Names of scenarios; empty for all.
    pub scenarios: Vec<String>,
    /// Ids of contenders; empty for all. What they are compared with runs, too.
    pub stores: Vec<String>,
    /// The global allocator of the program.
    pub allocator: &'static str,
    /// What was typed.
    pub command: String,
}

impl Settings {
    /// Whether a contender takes part.
    pub fn wants(&self, id: &str) -> bool {
        self.stores.is_empty() || self.stores.iter().any(|store| store == id)
    }

    /// The scenarios to run.
    pub fn scenarios(&self) -> impl Iterator<Item = &'static dyn Scenario> {
        let chosen = |scenario: &&dyn Scenario| {
            self.scenarios.is_empty() || self.scenarios.iter().any(|name| name == scenario.name())
        };
        scenarios::ALL.iter().copied().filter(chosen)
    }
}

/// Why a run ended without a report.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// A store refused what it should have done.
    Store(StoreError),
    /// An operation did not do what it was to do, so that its time means nothing.
    Hits {
        /// What was measured.
        cell: Box<Cell>,
        /// How many operations hit.
        hits: u64,
        /// Of how many.
        operations: u64,
        /// How many should have.
        expected: RangeInclusive<u64>,
    },
    /// A store ended with another number of services than it should have.
    Services {
        /// What was measured.
        cell: Box<Cell>,
        /// How many it held.
        found: usize,
        /// How many it should have.
        expected: usize,
    },
    /// The system gave no threads.
    Threads(rayon::ThreadPoolBuildError),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |cell: &Cell| {
            let (scenario, store, metric) = (&cell.scenario, &cell.store, &cell.metric);
            format!("{scenario}, {store}, {metric}, {} services", cell.services)
        };
        match self {
            Fault::Store(error) => write!(f, "a store failed while it was measured: {error}"),
            Fault::Hits {
                cell,
                hits,
                operations,
                expected,
            } => {
                let at = place(cell);
                let (low, high) = (expected.start(), expected.end());
                write!(f, "{at}: {hits} of {operations} operations hit, ")?;
                write!(f, "{low} to {high} should have")
            }
            Fault::Services {
                cell,
                found,
                expected,
            } => {
                let at = place(cell);
                write!(f, "{at}: {found} services at the end, not {expected}")
            }
            Fault::Threads(error) => write!(f, "cannot start the threads of a scenario: {error}"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        Fault::Store(error)
    }
}

impl From<rayon::ThreadPoolBuildError> for Fault {
    fn from(error: rayon::ThreadPoolBuildError) -> Fault {
        Fault::Threads(error)
    }
}

/// What one sample came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How long it took.
    pub elapsed: Duration,
    /// How many operations it was.
    pub operations: u64,
    /// How many of them were writes.
    pub writes: u64,
    /// How many did what they were to do.
    pub hits: u64,
    /// How many should have.
    pub expected: RangeInclusive<u64>,
    /// How long a thread had to wait for a processor, where that is known.
    pub waited: Option<Duration>,
}

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds an operation; less is better.
    NanosecondsPerOperation,
    /// Millions of operations a second, of all threads together; more is better.
    MillionsPerSecond,
}

impl Unit {
    /// How it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::NanosecondsPerOperation => "ns/op",
            Unit::MillionsPerSecond => "Mop/s",
        }
    }

    #[allow(clippy::cast_precision_loss)] // a sample is far shorter than 2^52 ns
    fn value(self, sample: &Sample) -> f64 {
        let (time, operations) = (sample.elapsed.as_nanos() as f64, sample.operations as f64);
        match self {
            Unit::NanosecondsPerOperation => time / operations,
            Unit::MillionsPerSecond => operations * 1_000.0 / time.max(1.0),
        }
    }
}

/// Takes down what a round measures.
#[derive(Debug)]
pub struct Recorder<'a> {
    results: &'a mut Vec<Measurement>,
    /// `None` while a round is run that does not count.
    round: Option<usize>,
    /// The number of a pass within the round, and how many there may be.
    pass: (usize, usize),
    progress: &'a Progress,
}

impl Recorder<'_> {
    /// Whether this is the round that is thrown away, which warms up and finds
    /// out how many operations make a sample long enough.
    pub fn is_rehearsal(&self) -> bool {
        self.round.is_none()
    }

    /// Says that the samples which follow are those of one of several passes of
    /// the round, for a scenario that goes through some of its cells more often.
    pub fn pass(&mut self, pass: usize, of: usize) {
        self.pass = (pass, of);
    }

    /// Takes down a sample.
    ///
    /// # Errors
    ///
    /// [`Fault::Hits`] where the operations did not do what they were to do.
    pub fn sample(&mut self, cell: &Cell, unit: Unit, sample: &Sample) -> Result<(), Fault> {
        self.progress.tick();
        if !sample.expected.contains(&sample.hits) || sample.operations == 0 {
            return Err(Fault::Hits {
                cell: Box::new(cell.clone()),
                hits: sample.hits,
                operations: sample.operations,
                expected: sample.expected.clone(),
            });
        }
        if let Some(round) = self.round {
            self.results.push(Measurement {
                cell: cell.clone(),
                round: round * self.pass.1 + self.pass.0,
                value: unit.value(sample),
                unit: unit.name().into(),
                nanoseconds: nanoseconds(sample.elapsed),
                operations: sample.operations,
                writes: sample.writes,
                hits: sample.hits,
                hits_low: *sample.expected.start(),
                hits_high: *sample.expected.end(),
                waited: sample.waited.map(nanoseconds),
            });
        }
        Ok(())
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Runs scenarios one after the other and sums up what they measured.
///
/// # Errors
///
/// Where a store did not do what it was to do: then no time means anything.
pub fn run(settings: &Settings) -> Result<Report, Fault> {
    let begun = Instant::now();
    let mut context = context::context(settings);
    let mut results = Vec::new();
    let mut experiments = Vec::new();
    for scenario in settings.scenarios() {
        experiments.push((scenario, scenario.prepare(settings)?));
    }
    let progress = Progress::new(experiments.iter().map(|(_, e)| e.effort()).collect());
    for (at, (scenario, experiment)) in experiments.iter_mut().enumerate() {
        let effort = experiment.effort();
        let mut rng = seeded(settings.seed);
        let started = Instant::now();
        let mut rounds = 0;
        for round in 0..=effort.rounds {
            if effort.is_over(round, started.elapsed()) {
                break;
            }
            progress.round(at, scenario.name(), round);
            let mut record = Recorder {
                results: &mut results,
                round: round.checked_sub(1),
                pass: (0, 1),
                progress: &progress,
            };
            experiment.round(&mut rng, &mut record)?;
            rounds = round;
        }
        context.scenarios.push(ScenarioRun {
            name: scenario.name().into(),
            about: scenario.about().into(),
            method: scenario.method().into(),
            rounds,
            seconds: started.elapsed().as_secs_f64(),
        });
    }
    progress.finish();
    context.machine.load_after = context::load();
    let summary = summarise(settings, &results);
    let targets = targets(&summary, context.machine.cores);
    context.seconds = begun.elapsed().as_secs_f64();
    Ok(Report {
        schema_version: SCHEMA_VERSION,
        context,
        results,
        summary,
        targets,
    })
}

/// One row a cell, in the order of the scenarios' tables.
fn summarise(settings: &Settings, results: &[Measurement]) -> Vec<SummaryRow> {
    let mut samples: HashMap<&Cell, Vec<&Measurement>> = HashMap::new();
    for measurement in results {
        samples
            .entry(&measurement.cell)
            .or_default()
            .push(measurement);
    }
    // A generator of its own, so that the intervals do not depend on what the
    // rounds drew.
    let mut rng = seeded(settings.seed ^ 0x0005_3e7b_0075_7241);
    let mut rows = Vec::new();
    for scenario in settings.scenarios() {
        for cell in scenario.cells(settings) {
            let Some(own) = samples.get(&cell) else {
                continue;
            };
            let counting = counting(own);
            let values: Vec<f64> = counting.iter().map(|sample| sample.value).collect();
            let interval = median_interval(&values, &mut rng);
            let comparison = scenario.compared_with(&cell).and_then(|reference| {
                let ratios = paired_ratios(own, samples.get(&reference)?);
                let interval = median_interval(&ratios, &mut rng);
                let other = |differs: bool| differs.then_some(());
                Some(Comparison {
                    ratio: median(&ratios),
                    ci_low: interval.low,
                    ci_high: interval.high,
                    reference_threads: other(reference.threads != cell.threads)
                        .map(|()| reference.threads),
                    reference_services: other(reference.services != cell.services)
                        .map(|()| reference.services),
                    reference_metric: other(reference.metric != cell.metric)
                        .map(|()| reference.metric),
                    reference: reference.store,
                })
            });
            rows.push(SummaryRow {
                value: median(&values),
                unit: own[0].unit.clone(),
                value_low: interval.low,
                value_high: interval.high,
                rounds: own.len(),
                operations: own[0].operations,
                writes: own[0].writes,
                hits_min: own.iter().map(|sample| sample.hits).min().unwrap_or(0),
                hits_max: own.iter().map(|sample| sample.hits).max().unwrap_or(0),
                undisturbed: own[0].waited.map(|_| {
                    let undisturbed = own.iter().filter(|sample| !sample.is_disturbed());
                    undisturbed.count()
                }),
                comparison,
                cell,
            });
        }
    }
    rows
}

/// The samples that count: those that were not disturbed, or all where there are
/// none such.
pub(super) fn counting<'a>(samples: &[&'a Measurement]) -> Vec<&'a Measurement> {
    let undisturbed = samples.iter().copied().filter(|m| !m.is_disturbed());
    let undisturbed: Vec<&Measurement> = undisturbed.collect();
    if undisturbed.is_empty() {
        return samples.to_vec();
    }
    undisturbed
}

/// The ratio of each round that counts on both sides: there the two met the same
/// machine.
pub(super) fn paired_ratios(own: &[&Measurement], reference: &[&Measurement]) -> Vec<f64> {
    let counted = ratios_of(&counting(own), &counting(reference));
    if counted.is_empty() {
        return ratios_of(own, reference);
    }
    counted
}

fn ratios_of(own: &[&Measurement], reference: &[&Measurement]) -> Vec<f64> {
    let references: HashMap<usize, f64> = reference.iter().map(|m| (m.round, m.value)).collect();
    own.iter()
        .filter_map(|m| Some(m.value / references.get(&m.round)?))
        .collect()
}
