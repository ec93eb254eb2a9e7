//! What the stores are meant to reach.

use super::model::{SummaryRow, Target};
use super::section::bare;

/// What a limit is set on.
#[derive(Clone, Copy)]
enum Figure {
    /// The ratio of a row.
    Ratio,
    /// The value of a row, in nanoseconds.
    Nanoseconds,
}

/// Where the figure has to lie.
#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
    /// The same as its reference, within so much.
    Within(f64),
}

struct Aim {
    name: &'static str,
    store: &'static str,
    metric: &'static str,
    threads: usize,
    services: usize,
    figure: Figure,
    limit: Limit,
}

const fn ratio(
    name: &'static str,
    store: &'static str,
    metric: &'static str,
    services: usize,
    limit: Limit,
) -> Aim {
    Aim {
        name,
        store,
        metric,
        threads: 1,
        services,
        figure: Figure::Ratio,
        limit,
    }
}

const fn nanoseconds(
    name: &'static str,
    store: &'static str,
    metric: &'static str,
    services: usize,
    limit: f64,
) -> Aim {
    Aim {
        figure: Figure::Nanoseconds,
        ..ratio(name, store, metric, services, Limit::AtMost(limit))
    }
}

const fn two_threads(name: &'static str, metric: &'static str) -> Aim {
    Aim {
        threads: 2,
        ..ratio(name, SNAPSHOT, metric, 1_000, Limit::AtLeast(1.8))
    }
}

const MEMORY: &str = "MemoryStore";
const THREAD_SAFE: &str = "ThreadSafeMemoryStore";
const SNAPSHOT: &str = "SnapshotStore";
const WORKER: &str = "WorkerStore";

use Limit::{AtMost, Within};

const AIMS: &[Aim] = &[
    ratio(
        "MemoryStore::with_service, to the floor",
        MEMORY,
        "with_service",
        1_000,
        AtMost(1.2),
    ),
    ratio(
        "MemoryStore::with_service, to the floor",
        MEMORY,
        "with_service",
        100_000,
        AtMost(1.2),
    ),
    ratio(
        "ThreadSafeMemoryStore::with_service, to the floor",
        THREAD_SAFE,
        "with_service",
        1_000,
        AtMost(1.9),
    ),
    ratio(
        "ThreadSafeMemoryStore::with_service, to the floor",
        THREAD_SAFE,
        "with_service",
        100_000,
        AtMost(1.7),
    ),
    ratio(
        "SnapshotStore, reader handle, to the floor",
        SNAPSHOT,
        "reader.with_service",
        1_000,
        AtMost(1.7),
    ),
    ratio(
        "SnapshotStore, reader handle, to the floor",
        SNAPSHOT,
        "reader.with_service",
        100_000,
        AtMost(3.5),
    ),
    ratio(
        "SnapshotStore::with_service, to the floor",
        SNAPSHOT,
        "with_service",
        1_000,
        AtMost(2.8),
    ),
    ratio(
        "SnapshotStore::with_service, to the floor",
        SNAPSHOT,
        "with_service",
        100_000,
        AtMost(4.0),
    ),
    ratio(
        "MemoryStore::update_health_status, to the floor",
        MEMORY,
        "update_health_status",
        1_000,
        AtMost(1.5),
    ),
    ratio(
        "MemoryStore::update_health_status, to the floor",
        MEMORY,
        "update_health_status",
        100_000,
        AtMost(1.5),
    ),
    ratio(
        "MemoryStore, by name, to 1,000 services",
        MEMORY,
        "get_services_by_name",
        100_000,
        AtMost(2.0),
    ),
    ratio(
        "ThreadSafeMemoryStore, by name, to 1,000 services",
        THREAD_SAFE,
        "get_services_by_name",
        100_000,
        AtMost(2.0),
    ),
    ratio(
        "SnapshotStore, by name, to 1,000 services",
        SNAPSHOT,
        "get_services_by_name",
        100_000,
        AtMost(2.0),
    ),
    ratio(
        "WorkerStore, by name, to 1,000 services",
        WORKER,
        "get_services_by_name",
        100_000,
        AtMost(2.0),
    ),
    nanoseconds(
        "MemoryStore, by name, 10 pods",
        MEMORY,
        "get_services_by_name",
        1_000,
        1_000.0,
    ),
    nanoseconds(
        "MemoryStore, by name, 10 pods",
        MEMORY,
        "get_services_by_name",
        100_000,
        1_000.0,
    ),
    ratio(
        "SnapshotStore::snapshot, to 10 services",
        SNAPSHOT,
        "snapshot_and_drop",
        100_000,
        Within(0.1),
    ),
    nanoseconds(
        "SnapshotStore::snapshot, dropped at once",
        SNAPSHOT,
        "snapshot_and_drop",
        10,
        60.0,
    ),
    nanoseconds(
        "SnapshotStore::snapshot, dropped at once",
        SNAPSHOT,
        "snapshot_and_drop",
        100_000,
        60.0,
    ),
    ratio(
        "SnapshotStore, batch of 1,000, to single updates",
        SNAPSHOT,
        "updates_1000_in_batch",
        1_000,
        AtMost(0.4),
    ),
    ratio(
        "SnapshotStore, batch of 1,000, to single updates",
        SNAPSHOT,
        "updates_1000_in_batch",
        100_000,
        AtMost(0.4),
    ),
    two_threads(
        "SnapshotStore::with_service, 2 threads to 1",
        "throughput.with_service",
    ),
    two_threads(
        "SnapshotStore, reader handles, 2 threads to 1",
        "throughput.reader",
    ),
];

/// The figures that this run has measured, in the order of the issue.
pub(super) fn targets(summary: &[SummaryRow]) -> Vec<Target> {
    AIMS.iter().filter_map(|aim| aim.judge(summary)).collect()
}

impl Aim {
    fn judge(&self, summary: &[SummaryRow]) -> Option<Target> {
        let row = summary.iter().find(|row| {
            row.cell.scenario == super::scenarios::operations::NAME
                && row.cell.store == self.store
                && row.cell.metric == self.metric
                && row.cell.threads == self.threads
                && row.cell.services == self.services
        })?;
        let (value, low, high, unit) = match self.figure {
            Figure::Ratio => {
                let ratio = row.ratio()?;
                (ratio.ratio, ratio.low, ratio.high, "x")
            }
            Figure::Nanoseconds => (row.value, row.value_low, row.value_high, "ns"),
        };
        let (limit, met) = match self.limit {
            Limit::AtMost(limit) => (format!("<= {}", bare(limit)), value <= limit),
            Limit::AtLeast(limit) => (format!(">= {}", bare(limit)), value >= limit),
            Limit::Within(share) => (
                format!("{} to {}", bare(1.0 - share), bare(1.0 + share)),
                (value - 1.0).abs() <= share,
            ),
        };
        Some(Target {
            name: self.name.into(),
            services: self.services,
            value,
            low,
            high,
            unit: unit.into(),
            limit,
            met,
        })
    }
}
