//! Taking down what is measured.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::fault::Fault;
use super::model::{Cell, Measurement};

/// What one sample came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How long it took.
    pub elapsed: Duration,
    /// How many operations it was.
    pub operations: u64,
    /// How many of them were writes.
    pub writes: u64,
    /// How many of each kind, where reads and writes do not say it.
    pub kinds: BTreeMap<&'static str, u64>,
    /// How many did what they were to do.
    pub hits: u64,
    /// How many should have.
    pub expected: RangeInclusive<u64>,
    /// How many should have been writes, where a mix was drawn.
    pub mix: Option<RangeInclusive<u64>>,
    /// How many services were registered at the end, and how many should have
    /// been, where that was looked up.
    pub services: Option<(usize, usize)>,
    /// How long a thread had to wait for a processor, where that is known.
    pub waited: Option<Duration>,
}

impl Sample {
    /// Operations that all hit, none of which was a write.
    pub fn of(elapsed: Duration, operations: u64) -> Sample {
        Sample {
            elapsed,
            operations,
            writes: 0,
            kinds: BTreeMap::new(),
            hits: operations,
            expected: operations..=operations,
            mix: None,
            services: None,
            waited: None,
        }
    }
}

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds an operation; less is better.
    NanosecondsPerOperation,
    /// Millions of operations a second, of all threads together; more is better.
    MillionsPerSecond,
    /// Nanoseconds; less is better.
    Nanoseconds,
    /// Bytes; less is better.
    Bytes,
    /// Bytes a service; less is better.
    BytesPerService,
    /// Operations a second; more is better.
    PerSecond,
    /// A plain count; less is better.
    Count,
    /// The exponent of growth: 0 where size does not matter, 1 where twice the
    /// size costs twice as much; less is better.
    Slope,
    /// Instructions an operation; less is better.
    InstructionsPerOperation,
    /// Allocations an operation; less is better.
    AllocationsPerOperation,
}

impl Unit {
    /// All of them.
    pub const ALL: [Unit; 10] = [
        Unit::NanosecondsPerOperation,
        Unit::MillionsPerSecond,
        Unit::Nanoseconds,
        Unit::Bytes,
        Unit::BytesPerService,
        Unit::PerSecond,
        Unit::Count,
        Unit::Slope,
        Unit::InstructionsPerOperation,
        Unit::AllocationsPerOperation,
    ];

    /// How it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::NanosecondsPerOperation => "ns/op",
            Unit::MillionsPerSecond => "Mop/s",
            Unit::Nanoseconds => "ns",
            Unit::Bytes => "bytes",
            Unit::BytesPerService => "bytes/service",
            Unit::PerSecond => "1/s",
            Unit::Count => "count",
            Unit::Slope => "slope",
            Unit::InstructionsPerOperation => "instructions/op",
            Unit::AllocationsPerOperation => "allocations/op",
        }
    }

    /// The unit with this name.
    pub fn named(name: &str) -> Option<Unit> {
        Unit::ALL.into_iter().find(|unit| unit.name() == name)
    }

    /// Whether more of it is better.
    pub const fn more_is_better(self) -> bool {
        matches!(self, Unit::MillionsPerSecond | Unit::PerSecond)
    }

    #[allow(clippy::cast_precision_loss)] // a sample is far shorter than 2^52 ns
    fn value(self, sample: &Sample) -> f64 {
        let (time, operations) = (sample.elapsed.as_nanos() as f64, sample.operations as f64);
        match self {
            Unit::MillionsPerSecond => operations * 1e3 / time.max(1.0),
            Unit::PerSecond => operations * 1e9 / time.max(1.0),
            Unit::Nanoseconds => time,
            _ => time / operations,
        }
    }
}

/// The shares of which a latency's percentiles are kept: enough for a curve from
/// the median to the last of a hundred thousand.
pub const SHARES: [f64; 16] = [
    0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999, 0.99999,
    1.0,
];

/// An empty histogram for nanoseconds up to a minute, with three digits; one a
/// thread, added up when the clock has stopped.
///
/// # Panics
///
/// Never: the bounds are good ones.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are good ones")
}

/// Takes down what a process measures.
#[derive(Debug, Default)]
pub struct Recorder {
    results: Vec<Measurement>,
}

impl Recorder {
    /// Takes down a sample, whose value is computed in the unit.
    ///
    /// # Errors
    ///
    /// [`Fault::Hits`] where the operations did not do what they were to do,
    /// [`Fault::Writes`] where reads and writes were not mixed as they were to be, and
    /// [`Fault::Services`] where they left something else behind.
    pub fn sample(&mut self, cell: &Cell, unit: Unit, sample: &Sample) -> Result<(), Fault> {
        self.value(cell, unit, unit.value(sample), sample)
    }

    /// Takes down a value that was computed otherwise, with the sample that it
    /// was taken from.
    ///
    /// # Errors
    ///
    /// As [`sample`](Self::sample), and [`Fault::Value`] where it is no number.
    pub fn value(
        &mut self,
        cell: &Cell,
        unit: Unit,
        value: f64,
        sample: &Sample,
    ) -> Result<(), Fault> {
        self.push(cell, unit, value, sample, Vec::new())
    }

    /// Takes down how long each operation of a sample took: the value is the
    /// latency at `share`, and the whole curve goes with it.
    ///
    /// # Errors
    ///
    /// As [`sample`](Self::sample).
    #[allow(clippy::cast_precision_loss)] // at most a minute
    pub fn latency(
        &mut self,
        cell: &Cell,
        share: f64,
        latencies: &Histogram<u64>,
        sample: &Sample,
    ) -> Result<(), Fault> {
        let at = |share: f64| latencies.value_at_quantile(share) as f64;
        let curve = SHARES.map(|share| [share, at(share)]);
        self.push(cell, Unit::Nanoseconds, at(share), sample, curve.into())
    }

    fn push(
        &mut self,
        cell: &Cell,
        unit: Unit,
        value: f64,
        sample: &Sample,
        percentiles: Vec<[f64; 2]>,
    ) -> Result<(), Fault> {
        let cell = || Box::new(cell.clone());
        if !sample.expected.contains(&sample.hits) || sample.operations == 0 {
            return Err(Fault::Hits {
                cell: cell(),
                hits: sample.hits,
                operations: sample.operations,
                expected: sample.expected.clone(),
            });
        }
        if let Some(expected) = sample
            .mix
            .clone()
            .filter(|mix| !mix.contains(&sample.writes))
        {
            return Err(Fault::Writes {
                cell: cell(),
                writes: sample.writes,
                operations: sample.operations,
                expected,
            });
        }
        if let Some((found, expected)) = sample.services.filter(|(found, as_it)| found != as_it) {
            return Err(Fault::Services {
                cell: cell(),
                found,
                expected,
            });
        }
        // A cost that falls as the size grows has a slope below 0.
        if !value.is_finite() || (value < 0.0 && unit != Unit::Slope) {
            return Err(Fault::Value {
                cell: cell(),
                value,
            });
        }
        let kinds = sample.kinds.iter();
        self.results.push(Measurement {
            cell: *cell(),
            // Known to the process that started this one.
            block: 0,
            replica: 0,
            value,
            unit: unit.name().into(),
            nanoseconds: nanoseconds(sample.elapsed),
            operations: sample.operations,
            writes: sample.writes,
            kinds: kinds.map(|(kind, n)| ((*kind).into(), *n)).collect(),
            hits: sample.hits,
            hits_low: *sample.expected.start(),
            hits_high: *sample.expected.end(),
            services_after: sample.services.map(|(found, _)| found),
            percentiles,
            waited: sample.waited.map(nanoseconds),
        });
        Ok(())
    }

    /// What was taken down.
    pub fn into_results(self) -> Vec<Measurement> {
        self.results
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
