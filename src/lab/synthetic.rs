//! A report whose figures are known, for the tests of what is made from reports.

use std::collections::BTreeMap;

use super::context;
use super::model::{
    Cell, Comparison, Disturbance, Measurement, Process, Report, SCHEMA_VERSION, ScenarioRun,
    SummaryRow,
};
use super::run::{Scale, Settings};
use super::{summary, targets};

/// A scenario of times.
pub(super) const BURST: &str = "burst-30x100";
/// A scenario of throughputs.
pub(super) const SUSTAINED: &str = "sustained";

pub(super) const REFERENCE: &str = "ThreadSafeMemoryStore";
const BLOCKS: usize = 7;

/// Scenario, unit, metric, and what each store costs next to the reference.
type Fact = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, f64)],
);

const FACTS: &[Fact] = &[
    (
        BURST,
        "ns/op",
        "burst_95/5",
        &[
            (REFERENCE, 1.0),
            ("EvmapStore", 1.2),
            ("SnapshotStore", 0.5),
            ("WorkerStore", 10.0),
            ("dashmap", 0.4),
        ],
    ),
    (
        BURST,
        "ns/op",
        "burst_0/100",
        &[
            (REFERENCE, 1.0),
            ("EvmapStore", 3.0),
            ("SnapshotStore", 2.0),
            ("WorkerStore", 10.0),
            ("dashmap", 0.8),
        ],
    ),
    (
        SUSTAINED,
        "Mop/s",
        "sustained_95/5",
        &[
            (REFERENCE, 1.0),
            ("EvmapStore", 4.0),
            ("SnapshotStore", 4.0),
            ("WorkerStore", 0.1),
        ],
    ),
];

/// A number within a twentieth of 1 that looks like noise, and is the same for
/// everybody who asks for it.
#[allow(clippy::cast_precision_loss)] // small
fn noise(block: usize, place: usize) -> f64 {
    1.0 + ((block * 7 + place * 5) % 11) as f64 / 220.0 - 0.025
}

pub(super) fn report() -> Report {
    let mut context = context::context(&Settings {
        scale: Scale::Quick,
        seed: 1,
        scenarios: Vec::new(),
        stores: Vec::new(),
        threads: Vec::new(),
        allocator: "",
        command: "cargo lab --quick <&>".into(),
    });
    context.toolchain.profile = "release".into();
    context.machine.load_before = 0.1;
    for name in [BURST, SUSTAINED] {
        context.scenarios.push(ScenarioRun {
            name: name.into(),
            about: "what it asks".into(),
            method: "how".into(),
            reference: REFERENCE.into(),
            blocks: BLOCKS,
            repeated: 1,
            disturbed: 0,
            seconds: 1.0,
        });
    }
    let mut results = Vec::new();
    let mut processes = Vec::new();
    for block in 0..BLOCKS {
        for &(scenario, unit, metric, stores) in FACTS {
            for (place, &(store, factor)) in stores.iter().enumerate() {
                let replicas = if store == REFERENCE { 0..2 } else { 0..1 };
                for replica in replicas {
                    results.push(Measurement {
                        cell: Cell {
                            scenario: scenario.into(),
                            store: store.into(),
                            threads: 30,
                            services: 1_000,
                            metric: metric.into(),
                        },
                        block,
                        replica,
                        value: 100.0 * factor * noise(block, place + 3 * replica),
                        unit: unit.into(),
                        nanoseconds: 1_000,
                        operations: 10,
                        writes: 1,
                        kinds: BTreeMap::new(),
                        hits: 10,
                        hits_low: 10,
                        hits_high: 10,
                        services_after: Some(1_000),
                        percentiles: Vec::new(),
                        waited: None,
                    });
                    processes.push(process(scenario, store, block, replica, processes.len()));
                }
            }
        }
    }
    let noise = summary::noise(1, &results);
    let mut summary = summary::summarise(1, &results, &noise);
    for row in &mut summary {
        // Scenarios that are not known here have no comparisons of their own.
        row.comparison = (row.cell.store != REFERENCE).then(|| compare(row, &results));
    }
    Report {
        schema_version: SCHEMA_VERSION,
        targets: targets::targets(&summary, 2),
        context,
        processes,
        results,
        summary,
        noise,
    }
}

#[allow(clippy::cast_precision_loss)] // small
fn process(scenario: &str, store: &str, block: usize, replica: usize, at: usize) -> Process {
    Process {
        scenario: scenario.into(),
        store: store.into(),
        block,
        replica,
        started: at as f64,
        seconds: 0.9,
        disturbance: Some(Disturbance {
            stolen: 0.01,
            foreign: 0.02,
        }),
        voluntary_switches: Some(3),
        involuntary_switches: Some(1),
        repeated: false,
    }
}

fn compare(row: &SummaryRow, results: &[Measurement]) -> Comparison {
    let of = |store: &str| -> Vec<&Measurement> {
        let cell = Cell {
            store: store.into(),
            ..row.cell.clone()
        };
        let own = |sample: &&Measurement| sample.cell == cell && sample.replica == 0;
        results.iter().filter(own).collect()
    };
    let ratios = summary::paired_ratios(&of(&row.cell.store), &of(REFERENCE));
    let ratio = super::stats::geometric_mean(&ratios).expect("it ran");
    Comparison {
        reference: REFERENCE.into(),
        reference_threads: None,
        reference_services: None,
        reference_metric: None,
        ratio,
        ci_low: ratio * 0.95,
        ci_high: ratio * 1.05,
        pairs: ratios.len(),
        equal: false,
    }
}
