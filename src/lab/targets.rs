//! What the stores are meant to reach.

use super::model::{SummaryRow, Target};
use super::scenarios::operations;
use super::section::bare;

/// Where a figure has to lie.
#[derive(Clone, Copy)]
enum Limit {
    /// The ratio of the row.
    AtMost(f64),
    /// The ratio of the row, which is one of throughputs.
    AtLeast(f64),
    /// The ratio of the row, within so much of 1.
    Same(f64),
    /// The value of the row.
    Nanoseconds(f64),
    /// The ratio of the row to that of another store, both to the same reference.
    AtMostOf(f64, &'static str),
}

use Limit::{AtLeast, AtMost, AtMostOf, Nanoseconds, Same};

/// What is said of it, the store, the metric, how many threads, and the limit at
/// each size.
type Aim = (
    &'static str,
    &'static str,
    &'static str,
    usize,
    &'static [(usize, Limit)],
);

const MEMORY: &str = "MemoryStore";
const THREAD_SAFE: &str = "ThreadSafeMemoryStore";
const EVMAP: &str = "EvmapStore";
const SNAPSHOT: &str = "SnapshotStore";
const WORKER: &str = "WorkerStore";
const VERSIONED: &str = "VersionedStore";
const PAPAYA: &str = "papaya";
const SCC: &str = "scc::HashIndex";

#[rustfmt::skip] // one line each, so that it reads as the table that it is
const AIMS: &[Aim] = &[
    ("with_service, to the floor", MEMORY, "with_service", 1, &[(1_000, AtMost(1.2)), (100_000, AtMost(1.2))]),
    ("with_service, to the floor", THREAD_SAFE, "with_service", 1, &[(1_000, AtMost(1.9)), (100_000, AtMost(1.7))]),
    ("with_service, to the floor", EVMAP, "with_service", 1, &[(1_000, AtMost(2.3)), (100_000, AtMost(2.6))]),
    ("reader handle, to the floor", SNAPSHOT, "reader.with_service", 1, &[(1_000, AtMost(1.7)), (100_000, AtMost(3.5))]),
    ("with_service, to the floor", SNAPSHOT, "with_service", 1, &[(1_000, AtMost(2.8)), (100_000, AtMost(4.0))]),
    // The same limits on reads that do not wait for each other.
    ("with_service, back to back", MEMORY, "with_service_back_to_back", 1, &[(1_000, AtMost(1.2)), (100_000, AtMost(1.2))]),
    ("with_service, back to back", THREAD_SAFE, "with_service_back_to_back", 1, &[(1_000, AtMost(1.9)), (100_000, AtMost(1.7))]),
    ("with_service, back to back", EVMAP, "with_service_back_to_back", 1, &[(1_000, AtMost(2.3)), (100_000, AtMost(2.6))]),
    ("reader handle, back to back", SNAPSHOT, "reader.with_service_back_to_back", 1, &[(1_000, AtMost(1.7)), (100_000, AtMost(3.5))]),
    ("with_service, back to back", SNAPSHOT, "with_service_back_to_back", 1, &[(1_000, AtMost(2.8)), (100_000, AtMost(4.0))]),
    ("update_health_status, to the floor", MEMORY, "update_health_status", 1, &[(1_000, AtMost(1.5)), (100_000, AtMost(1.5))]),
    ("by name, to 1,000 services", MEMORY, "get_services_by_name", 1, &[(100_000, AtMost(2.0))]),
    ("by name, to 1,000 services", THREAD_SAFE, "get_services_by_name", 1, &[(100_000, AtMost(2.0))]),
    ("by name, to 1,000 services", SNAPSHOT, "get_services_by_name", 1, &[(100_000, AtMost(2.0))]),
    ("by name, to 1,000 services", WORKER, "get_services_by_name", 1, &[(100_000, AtMost(2.0))]),
    ("by name, 10 pods", MEMORY, "get_services_by_name", 1, &[(1_000, Nanoseconds(1_000.0)), (100_000, Nanoseconds(1_000.0))]),
    ("snapshot() and drop", SNAPSHOT, "snapshot_and_drop", 1, &[(10, Nanoseconds(60.0)), (100_000, Nanoseconds(60.0))]),
    ("snapshot() and drop, to 10 services", SNAPSHOT, "snapshot_and_drop", 1, &[(100_000, Same(0.1))]),
    ("batch of 1,000, to single updates", SNAPSHOT, "updates_1000_in_batch", 1, &[(1_000, AtMost(0.4)), (100_000, AtMost(0.4))]),
    ("two threads to one, with_service", EVMAP, "throughput.with_service", 2, &[(1_000, AtLeast(1.8))]),
    ("two threads to one, with_service", SNAPSHOT, "throughput.with_service", 2, &[(1_000, AtLeast(1.8))]),
    ("two threads to one, reader handles", SNAPSHOT, "throughput.reader", 2, &[(1_000, AtLeast(1.8))]),
    ("with_service, to the floor", VERSIONED, "with_service", 1, &[(1_000, AtMost(1.6)), (100_000, AtMost(1.9))]),
    ("with_service, back to back", VERSIONED, "with_service_back_to_back", 1, &[(1_000, AtMost(1.6)), (100_000, AtMost(1.9))]),
    ("with_service, to papaya", VERSIONED, "with_service", 1, &[(1_000, AtMostOf(1.0, PAPAYA)), (100_000, AtMostOf(1.0, PAPAYA))]),
    ("with_service, to scc::HashIndex", VERSIONED, "with_service", 1, &[(1_000, AtMostOf(1.0, SCC)), (100_000, AtMostOf(1.0, SCC))]),
    // No more than 1.1 times the time of one thread for each operation of two.
    ("two threads to one, with_service", VERSIONED, "throughput.with_service", 2, &[(1_000, AtLeast(1.82)), (100_000, AtLeast(1.82))]),
    ("pinned view, to the floor", VERSIONED, "pinned.get", 1, &[(1_000, AtMost(1.15)), (100_000, AtMost(1.5))]),
    ("newest snapshot, to the floor", VERSIONED, "snapshot.get", 1, &[(1_000, AtMost(1.25)), (100_000, AtMost(1.6))]),
    ("update_health_status, to papaya", VERSIONED, "update_health_status", 1, &[(1_000, AtMostOf(0.8, PAPAYA)), (100_000, AtMostOf(0.8, PAPAYA))]),
    ("update_health_status, to SnapshotStore", VERSIONED, "update_health_status", 1, &[(1_000, AtMostOf(0.08, SNAPSHOT)), (100_000, AtMostOf(0.08, SNAPSHOT))]),
    ("snapshot() and drop", VERSIONED, "snapshot_and_drop", 1, &[(10, Nanoseconds(100.0)), (1_000, Nanoseconds(100.0)), (100_000, Nanoseconds(100.0))]),
    ("by name, 10 pods, borrowed", VERSIONED, "pinned.services_by_name", 1, &[(1_000, Nanoseconds(150.0)), (100_000, Nanoseconds(225.0))]),
];

/// The figures that this run has measured, in the order of the table above.
pub(super) fn targets(summary: &[SummaryRow], cores: usize) -> Vec<Target> {
    let mut targets = Vec::new();
    // On one core, two threads have nothing to show.
    let possible = AIMS.iter().filter(|(.., threads, _)| *threads <= cores);
    for &(what, store, metric, threads, limits) in possible {
        for &(services, limit) in limits {
            let row_of = |store: &str| {
                let row = summary.iter().find(|row| {
                    let cell = &row.cell;
                    (cell.scenario.as_str(), cell.store.as_str()) == (operations::NAME, store)
                        && (cell.metric.as_str(), cell.threads) == (metric, threads)
                        && cell.services == services
                });
                // Threads that mostly had no processor each have shown nothing.
                row.filter(|row| !row.is_mostly_disturbed())
            };
            let name = format!("{store}: {what}");
            let other = match limit {
                AtMostOf(_, other) => row_of(other),
                _ => None,
            };
            targets.extend(row_of(store).and_then(|row| limit.judge(name, row, other)));
        }
    }
    targets
}

impl Limit {
    fn judge(self, name: String, row: &SummaryRow, other: Option<&SummaryRow>) -> Option<Target> {
        let (value, low, high, unit) = match self {
            Nanoseconds(_) => (row.value, row.value_low, row.value_high, "ns"),
            AtMostOf(..) => {
                // Of the same blocks, the mean of the quotients is the quotient of the
                // means. The interval is as wide as both together can make it.
                let (own, other) = (row.ratio()?, other?.ratio()?);
                let (low, high) = (own.low / other.high, own.high / other.low);
                (own.ratio / other.ratio, low, high, "x")
            }
            _ => {
                let ratio = row.ratio()?;
                (ratio.ratio, ratio.low, ratio.high, "x")
            }
        };
        let (limit, met) = match self {
            AtMost(limit) | AtMostOf(limit, _) => (format!("<= {}", bare(limit)), value <= limit),
            Nanoseconds(limit) => (format!("<= {} ns", bare(limit)), value <= limit),
            AtLeast(limit) => (format!(">= {}", bare(limit)), value >= limit),
            Same(within) => (
                format!("{} to {}", bare(1.0 - within), bare(1.0 + within)),
                (value - 1.0).abs() <= within,
            ),
        };
        Some(Target {
            name,
            services: row.cell.services,
            value,
            low,
            high,
            unit: unit.into(),
            limit,
            met,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::contender;
    use crate::lab::model::{Cell, Comparison};

    fn row(metric: &str, threads: usize, services: usize, value: f64, ratio: f64) -> SummaryRow {
        SummaryRow {
            cell: Cell {
                scenario: operations::NAME.into(),
                store: SNAPSHOT.into(),
                threads,
                services,
                metric: metric.into(),
            },
            value,
            unit: String::new(),
            value_low: value,
            value_high: value,
            blocks: 1,
            operations: 1,
            writes: 0,
            hits_min: 1,
            hits_max: 1,
            kinds: std::collections::BTreeMap::new(),
            hit_rate_min: 1.0,
            hit_rate_max: 1.0,
            services_after: None,
            percentiles: Vec::new(),
            undisturbed: None,
            comparison: Some(Comparison {
                reference: "floor".into(),
                reference_threads: None,
                reference_services: None,
                reference_metric: None,
                ratio,
                ci_low: ratio,
                ci_high: ratio,
                pairs: 3,
                equal: false,
            }),
        }
    }

    #[test]
    fn a_figure_is_held_against_the_limit_of_its_own_cell() {
        let rows = [
            row("with_service", 1, 1_000, 30.0, 2.8),
            row("with_service", 1, 100_000, 300.0, 4.1),
            row("throughput.with_service", 1, 1_000, 50.0, 9.0),
            row("throughput.with_service", 2, 1_000, 80.0, 1.7),
            row("snapshot_and_drop", 1, 100_000, 61.0, 0.95),
        ];
        let judged: Vec<_> = targets(&rows, 2)
            .into_iter()
            .map(|target| (target.limit, target.value, target.met))
            .collect();
        assert_eq!(
            judged,
            [
                ("<= 2.8".into(), 2.8, true),
                ("<= 4".into(), 4.1, false),
                ("<= 60 ns".into(), 61.0, false),
                ("0.9 to 1.1".into(), 0.95, true),
                (">= 1.8".into(), 1.7, false),
            ]
        );
        assert_eq!(targets(&rows, 1).len(), 4);
    }

    #[test]
    fn a_figure_is_held_against_that_of_another_store() {
        let of = |store: &str, ratio| {
            let mut row = row("with_service", 1, 1_000, 30.0, ratio);
            row.cell.store = store.into();
            row
        };
        let rows = [of(VERSIONED, 1.5), of(PAPAYA, 2.0), of(SCC, 1.2)];
        let judged: Vec<_> = targets(&rows, 2)
            .into_iter()
            .map(|target| (target.value, target.met))
            .collect();
        assert_eq!(judged, [(1.5, true), (0.75, true), (1.25, false)]);
    }

    #[test]
    fn every_aim_names_a_cell_that_is_measured() {
        let stores = contender::all();
        for &(what, store, metric, threads, limits) in AIMS {
            for &(services, _) in limits {
                let cell = Cell {
                    scenario: operations::NAME.into(),
                    store: store.into(),
                    threads,
                    services,
                    metric: metric.into(),
                };
                let measured = operations::is_measured(&cell);
                let known = stores.iter().any(|about| about.name == store);
                assert!(measured && known, "{what}: {cell:?}");
            }
        }
    }
}
