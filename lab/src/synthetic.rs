//! Reports whose figures are known, for the tests of what is made from reports. They are
//! as large as real ones.

use std::sync::LazyLock;

use crate::judge::complete;
use crate::model::{
    CellId, ContenderInfo, Context, Interval, Kind, Level, Promises, Report, Row, SCHEMA_VERSION,
    ScenarioRun, Unit,
};

/// Who takes part: what a read and what a write costs, in nanoseconds on one thread.
#[rustfmt::skip] // a table
const CONTENDERS: [(&str, &str, Kind, f64, f64); 16] = [
    ("memory", "MemoryStore", Kind::Ours, 20.0, 60.0),
    ("thread-safe", "ThreadSafeMemoryStore", Kind::Ours, 24.0, 80.0),
    ("evmap", "EvmapStore", Kind::Ours, 33.0, 800.0),
    ("snapshot", "SnapshotStore", Kind::Ours, 31.0, 2_600.0),
    ("versioned", "VersionedStore", Kind::Ours, 25.0, 190.0),
    ("worker", "WorkerStore", Kind::Ours, 4_000.0, 4_400.0),
    ("floor", "bare HashMap", Kind::Measure, 18.0, 40.0),
    ("null", "nothing", Kind::Measure, 1.5, 1.5),
    ("plain", "RwLock<HashMap>", Kind::Outside, 23.0, 70.0),
    ("dashmap", "dashmap", Kind::Outside, 27.0, 90.0),
    ("papaya", "papaya", Kind::Outside, 30.0, 300.0),
    ("scc", "scc::HashIndex", Kind::Outside, 28.0, 220.0),
    ("scc-map", "scc::HashMap", Kind::Outside, 35.0, 100.0),
    ("skiplist", "crossbeam-skiplist", Kind::Outside, 140.0, 500.0),
    ("imbl", "imbl", Kind::Outside, 38.0, 2_500.0),
    ("concread", "concread", Kind::Outside, 60.0, 3_000.0),
];

const MIXES: [&str; 5] = ["100/0", "95/5", "80/20", "50/50", "0/100"];
const OPERATIONS: [&str; 8] =
    ["with_service", "get_service", "miss", "update", "insert", "remove", "by_name", "scan"];

/// Name, reference, what is done, on how many threads, among how many services, metrics.
type Plan = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [usize],
    &'static [usize],
    &'static [(&'static str, Unit)],
);

const TIME: &[(&str, Unit)] = &[("time", Unit::NsPerOp)];
const TAILS: &[(&str, Unit)] = &[("p50", Unit::Ns), ("p99", Unit::Ns), ("p99.9", Unit::Ns)];
const BYTES: &[(&str, Unit)] = &[("live", Unit::BytesPerService), ("peak", Unit::BytesPerService)];

#[rustfmt::skip] // a table
const PLANS: [Plan; 13] = [
    ("operations", "floor", &OPERATIONS, &[1], &[1_000, 100_000], TIME),
    ("burst-30x100", "thread-safe", &MIXES, &[30], &[1_000], TIME),
    ("sustained", "thread-safe", &MIXES, &[2, 8], &[1_000], TIME),
    ("hot-key", "thread-safe", &["1 key, 100/0", "1 key, 90/10", "8 keys, 90/10"], &[2, 8], &[1_000], TIME),
    ("zipf", "thread-safe", &["95/5"], &[2, 8], &[10_000, 1_000_000], TIME),
    ("size", "floor", &["hit", "miss", "update"], &[1], &[10, 1_000, 100_000, 1_000_000], TIME),
    ("writer-storm", "thread-safe", &["0 writes/s", "1000 writes/s", "all it can"], &[2], &[1_000], TAILS),
    ("snapshot-scan", "thread-safe", &["get_all_services", "view"], &[2], &[10_000], TIME),
    ("by-name", "memory", &["pods 1", "pods 10", "pods 100", "pods 1000"], &[1], &[8_000], TIME),
    ("subscriptions", "memory", &["of 1", "of 10", "of 100", "of 1000"], &[1], &[2_000], TIME),
    ("visibility", "thread-safe", &["get_service"], &[2], &[1_000], TAILS),
    ("fill-and-drop", "memory", &["fill", "drop"], &[1], &[100_000], TIME),
    ("memory", "floor", &["kept"], &[1], &[10, 1_000, 100_000], BYTES),
];

static QUICK: LazyLock<Report> = LazyLock::new(|| report("quick", 2, 12, &[]));
static FULL: LazyLock<Report> = LazyLock::new(|| report("full", 3, 18, &[1, 4, 16]));

/// A report as a quick run writes it.
pub(crate) fn quick() -> Report {
    QUICK.clone()
}

/// A report as a full run writes it: more cells, more samples.
pub(crate) fn full() -> Report {
    FULL.clone()
}

/// A run of one scenario in two sizes.
pub(crate) fn small() -> Report {
    let mut report = quick();
    report.scenarios.truncate(1);
    report.rows.retain(|row| row.id.scenario == "operations" && row.id.cell == "with_service");
    complete(&mut report);
    report
}

/// A run that was interrupted in its third scenario.
pub(crate) fn interrupted() -> Report {
    let mut report = quick();
    report.context.ended_early = Some("interrupted".into());
    report.scenarios.truncate(3);
    let names: Vec<String> = report.scenarios.iter().map(|run| run.name.clone()).collect();
    report.rows.retain(|row| names.contains(&row.id.scenario));
    complete(&mut report);
    report
}

/// A run that decides nothing: whatever is compared is about as wide as it is apart.
pub(crate) fn undecided() -> Report {
    let mut report = quick();
    for answer in &mut report.answers {
        (answer.decided, answer.by_promise) = (false, false);
        answer.stores.clear();
        for own in &mut answer.comparisons {
            (own.ratio.low, own.equal) = (own.ratio.value * 0.5, false);
        }
    }
    report
}

/// A run that was interrupted before anything was measured.
pub(crate) fn empty() -> Report {
    let mut report = interrupted();
    report.scenarios.clear();
    report.rows.clear();
    report.context.contenders.clear();
    complete(&mut report);
    report.answers.clear();
    report
}

/// A report in which every text is changed, numbers are not.
pub(crate) fn with_texts(report: &Report, change: impl Fn(&str) -> String) -> serde_json::Value {
    fn walk(value: &mut serde_json::Value, name: &str, change: &impl Fn(&str) -> String) {
        match value {
            // What has a fixed set of words stays one of them.
            serde_json::Value::String(_) if ["unit", "kind", "level"].contains(&name) => {}
            serde_json::Value::String(text) => *text = change(text),
            serde_json::Value::Array(all) => all.iter_mut().for_each(|own| walk(own, name, change)),
            serde_json::Value::Object(all) => {
                all.iter_mut().for_each(|(name, own)| walk(own, name, change))
            }
            _ => {}
        }
    }
    let mut value = serde_json::to_value(report).expect("a report is JSON");
    walk(&mut value, "", &change);
    value
}

fn report(effort: &str, lives: usize, rounds: usize, more_threads: &[usize]) -> Report {
    let mut rows = Vec::new();
    for (scenario, reference, cells, threads, services, metrics) in PLANS {
        let threads: Vec<usize> = match threads {
            [1] => vec![1],
            some => some.iter().chain(more_threads.iter().filter(|n| **n > 1)).copied().collect(),
        };
        for &cell in cells {
            for &threads in &threads {
                for &services in services {
                    for &(metric, unit) in metrics {
                        let id = CellId {
                            scenario: scenario.into(),
                            cell: cell.into(),
                            threads,
                            services,
                        };
                        rows.extend(of_cell(&id, metric, unit, reference, [lives, rounds]));
                    }
                }
            }
        }
    }
    let scenarios = PLANS.iter().map(|&(name, reference, ..)| ScenarioRun {
        name: name.into(),
        about: "what a registry is asked on every request, from reads only to writes only".into(),
        method: "Every thread does one operation after the other for as long as a slice lasts. The keys \
                 are drawn before, uniformly, and their texts are never the store's own."
            .into(),
        level: Level::Registry,
        reference: reference.into(),
        slices: 2_400,
        dropped: 31,
        seconds: 4.2,
    });
    let mut report = Report {
        schema_version: SCHEMA_VERSION,
        context: context(effort),
        answers: Vec::new(),
        noise: Vec::new(),
        scenarios: scenarios.collect(),
        rows,
    };
    complete(&mut report);
    report
}

#[allow(clippy::cast_precision_loss)] // small numbers
fn of_cell(
    id: &CellId,
    metric: &str,
    unit: Unit,
    reference: &str,
    [lives, rounds]: [usize; 2],
) -> Vec<Row> {
    let took_part = |who: &(&str, &str, Kind, f64, f64)| match who.0 {
        "memory" | "floor" => id.threads == 1,
        "null" => id.scenario == "burst-30x100",
        _ => true,
    };
    let [lives, rounds] = if unit.is_counted() { [1, 1] } else { [lives, rounds] };
    let sample = |cost: f64, place: usize| -> Vec<Vec<Option<f64>>> {
        let round = |life: usize, round: usize| {
            // Every eleventh slice was dropped; the rest is noise that looks like it.
            let turn = life * 7 + round * 5 + place * 3;
            let value = cost * (1.0 + (turn % 13) as f64 / 260.0 - 0.023);
            (turn % 11 != 4 || unit.is_counted())
                .then(|| format!("{value:.3e}").parse().expect("a number"))
        };
        (0..lives).map(|life| (0..rounds).map(|at| round(life, at)).collect()).collect()
    };
    let row = |(place, who): (usize, &(&str, &str, Kind, f64, f64))| {
        let cost = cost(id, metric, who.3, who.4);
        Row {
            id: id.clone(),
            metric: metric.into(),
            contender: who.0.into(),
            unit,
            value: Interval { value: 0.0, low: 0.0, high: 0.0 },
            ratio: None,
            samples: sample(cost, place),
            again: if who.0 == reference { sample(cost, place + 1) } else { Vec::new() },
        }
    };
    CONTENDERS.iter().enumerate().filter(|(_, who)| took_part(who)).map(row).collect()
}

#[allow(clippy::cast_precision_loss)] // small numbers
fn cost(id: &CellId, metric: &str, read: f64, write: f64) -> f64 {
    let writes = id.cell.split('/').nth(1).and_then(|writes| writes.parse::<f64>().ok());
    let writes = writes.unwrap_or(match id.cell.as_str() {
        "update" | "insert" | "remove" | "fill" => 100.0,
        _ => 0.0,
    });
    let mixed = (read * (100.0 - writes) + write * writes) / 100.0;
    let tail = match metric {
        "p99" => 12.0,
        "p99.9" => 90.0,
        "peak" => 1.3,
        _ => 1.0,
    };
    let bytes = if metric == "live" || metric == "peak" { 14.0 } else { 1.0 };
    mixed * tail * bytes * (id.services as f64).powf(0.06) * (id.threads as f64).sqrt()
}

fn context(effort: &str) -> Context {
    let read = serde_json::from_str(include_str!("synthetic/context.json"));
    let mut context: Context = read.expect("a context");
    context.effort = effort.into();
    context.command = format!("cargo lab --{effort}");
    context.seconds = if effort == "full" { 3_412.0 } else { 57.4 };
    context.contenders = CONTENDERS.iter().map(contender).collect();
    context
}

fn contender(&(id, name, kind, ..): &(&str, &str, Kind, f64, f64)) -> ContenderInfo {
    let read = serde_json::from_str(include_str!("synthetic/promises.json"));
    let mut promises: Option<Promises> = (kind != Kind::Measure).then(|| read.expect("promises"));
    if let Some(own) = promises.as_mut().filter(|_| !["snapshot", "versioned"].contains(&id)) {
        own.snapshot = "no".into();
    }
    ContenderInfo {
        id: id.into(),
        name: name.into(),
        about: "hash tables of versions, read at one revision under an epoch".into(),
        kind,
        crate_name: (kind == Kind::Outside).then(|| "hashbrown".into()),
        promises,
    }
}
