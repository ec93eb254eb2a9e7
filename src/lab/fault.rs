//! What can go wrong while a store is measured.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;

use super::model::Cell;
use crate::StoreError;

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
    /// Reads and writes were not mixed as the scenario says.
    Writes {
        /// What was measured.
        cell: Box<Cell>,
        /// How many operations were writes.
        writes: u64,
        /// Of how many.
        operations: u64,
        /// How many should have been.
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
    /// A measured value is no number, or negative.
    Value {
        /// What was measured.
        cell: Box<Cell>,
        /// What came out.
        value: f64,
    },
    /// The system gave no threads.
    Threads(rayon::ThreadPoolBuildError),
    /// A measuring process could not be started, or not be understood.
    Process(io::Error),
    /// A measuring process failed, and said this.
    Measuring(String),
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
            Fault::Writes {
                cell,
                writes,
                operations,
                expected,
            } => {
                let at = place(cell);
                let (low, high) = (expected.start(), expected.end());
                write!(f, "{at}: {writes} of {operations} operations were writes, ")?;
                write!(f, "{low} to {high} should have been")
            }
            Fault::Services {
                cell,
                found,
                expected,
            } => {
                let at = place(cell);
                write!(f, "{at}: {found} services at the end, not {expected}")
            }
            Fault::Value { cell, value } => write!(f, "{}: measured {value}", place(cell)),
            Fault::Threads(error) => write!(f, "cannot start the threads of a scenario: {error}"),
            Fault::Process(error) => write!(f, "cannot run a measuring process: {error}"),
            Fault::Measuring(said) => f.write_str(said),
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

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Process(error)
    }
}
