//! Reports with known figures, for the tests of everything that is generated from reports. They are
//! as large as real ones.

use std::sync::LazyLock;

use serde_json::Value;

use crate::judge::complete;
use crate::model::{Interval, Report, Row, SCHEMA_VERSION, ScenarioRun, rounded};
use crate::output::json;
use crate::plan::Plan;
use crate::scenario::{Cell, Effort, Op, Scenario};
use crate::{contender, context, scenarios};

/// The cost of a read and of a write, in nanoseconds on one thread.
#[rustfmt::skip] // a table
const COSTS: [(&str, f64, f64); 24] = [
    ("memory", 20.0, 60.0), ("thread-safe", 24.0, 80.0), ("evmap", 33.0, 800.0),
    ("snapshot", 31.0, 2_600.0), ("versioned", 25.0, 190.0), ("worker", 4_000.0, 4_400.0),
    ("go", 23.0, 70.0), ("dashmap-registry", 27.0, 90.0), ("floor", 18.0, 40.0),
    ("rwlock", 23.0, 70.0), ("dashmap", 27.0, 90.0), ("papaya", 30.0, 300.0),
    ("scc-index", 28.0, 220.0), ("scc-map", 35.0, 100.0), ("bare-evmap", 32.0, 700.0),
    ("skiplist", 140.0, 500.0), ("imbl", 38.0, 2_500.0), ("concread", 60.0, 3_000.0),
    ("null", 1.5, 1.5), ("versioned-1", 25.0, 210.0), ("versioned-10k", 25.0, 215.0),
    ("broadcast-rwlock", 23.0, 110.0), ("broadcast-dashmap", 27.0, 120.0), ("wakers", 23.0, 90.0),
];

static QUICK: LazyLock<Report> = LazyLock::new(|| report(Effort::Quick, "quick", [2, 12]));
static FULL: LazyLock<Report> = LazyLock::new(|| report(Effort::Full, "full", [3, 18]));

/// Returns a report like that of a quick run.
pub(crate) fn quick() -> Report {
    QUICK.clone()
}

/// Returns a report like that of a full run: more cells, more samples.
pub(crate) fn full() -> Report {
    FULL.clone()
}

/// Returns a run of one scenario in two sizes.
pub(crate) fn small() -> Report {
    let mut report = quick();
    report.scenarios.truncate(1);
    report.rows.retain(|row| row.id.scenario == "operations" && row.id.cell == "with_service");
    complete(&mut report);
    report
}

/// Returns a run that was interrupted in its third scenario.
pub(crate) fn interrupted() -> Report {
    let mut report = quick();
    report.context.ended_early = Some("interrupted".into());
    report.scenarios.truncate(3);
    let names: Vec<String> = report.scenarios.iter().map(|run| run.name.clone()).collect();
    report.rows.retain(|row| names.contains(&row.id.scenario));
    complete(&mut report);
    report
}

/// Returns a run that decides nothing: all intervals are about as wide as the differences.
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

/// Returns a run in which other programs took this much of the time of the threads of *sustained*.
pub(crate) fn beside_others(took: f64) -> Report {
    let mut report = quick();
    let own = |row: &&mut Row| row.id.scenario == "sustained" && row.lost.is_some();
    report.rows.iter_mut().filter(own).for_each(|row| row.lost = Some(took));
    complete(&mut report);
    report
}

/// Returns a run that was interrupted before anything was measured.
pub(crate) fn empty() -> Report {
    let mut report = interrupted();
    report.scenarios.clear();
    report.rows.clear();
    report.context.contenders.clear();
    complete(&mut report);
    report.answers.clear();
    report
}

/// Multiplies a figure.
pub(crate) fn scale(own: &mut Interval, by: f64) {
    let [value, low, high] = own.map(|end| end * by);
    *own = Interval { value, low, high };
}

/// Changes every text of a report, but no numbers.
pub(crate) fn with_texts(report: &Report, texts: impl Fn(&str) -> String) -> Value {
    let mut value = serde_json::to_value(report).expect("a report is JSON");
    json::change(&mut value, "", &mut |name, own| match own {
        // An enumerated value must stay valid.
        Value::String(text) if !["unit", "kind", "level"].contains(&name) => *text = texts(text),
        _ => {}
    });
    value
}

/// Returns all cells of an effort, with this many lives and rounds each.
fn report(effort: Effort, name: &str, extent: [usize; 2]) -> Report {
    let infos = contender::all().iter().map(|own| own.info.clone()).collect();
    let command = format!("cargo lab --{name} --seed 1");
    let rules = Plan::of(effort).rules(&[]).unwrap();
    let mut context = context::context(command, name, 1, rules, infos);
    (context.machine.load_before, context.seconds) = (0.1, 110.0);
    context.toolchain.profile = "release".into();
    context.lacks.clear();
    let mut report = Report { schema_version: SCHEMA_VERSION, context, ..Report::default() };
    for scenario in scenarios::all() {
        for cell in scenario.cells.iter().filter(|cell| cell.from <= effort) {
            let rows = scenario.rows(cell).into_iter();
            report.rows.extend(rows.map(|row| measured(row, scenario, cell, extent)));
        }
        let begun = scenario.begun();
        report.scenarios.push(ScenarioRun { slices: 24_000, dropped: 31, seconds: 4.2, ..begun });
    }
    report.drop_empty();
    complete(&mut report);
    report
}

/// Fills a row with as many samples as a run of that size has.
fn measured(row: Row, scenario: &Scenario, cell: &Cell, extent: [usize; 2]) -> Row {
    let is_counted = row.unit.is_counted();
    let [lives, rounds] = if is_counted { [1, 1] } else { extent };
    let place = COSTS.iter().position(|(id, ..)| *id == row.contender).expect("its costs");
    let cost = cost(cell, &row.metric, COSTS[place].1, COSTS[place].2);
    let sample = |place: usize| -> Vec<Vec<Option<f64>>> {
        let round = |life: usize, round: usize| {
            // Every eleventh slice was dropped; the rest is noise that looks like it.
            let turn = life * 7 + round * 5 + place * 3;
            let value = cost * (1.0 + (turn % 13) as f64 / 260.0 - 0.023);
            (turn % 11 != 4 || is_counted).then(|| rounded(value))
        };
        (0..lives).map(|life| (0..rounds).map(|at| round(life, at)).collect()).collect()
    };
    let twice = row.contender == scenario.reference && !is_counted;
    let again = if twice { sample(place + 1) } else { Vec::new() };
    let lost = (cell.working() > 1).then_some(0.02);
    Row { samples: sample(place), again, lost, ..row }
}

fn cost(cell: &Cell, metric: &str, read: f64, write: f64) -> f64 {
    let reads = |op: &Op| matches!(op, Op::With | Op::Get | Op::Miss | Op::ByName | Op::Scan);
    let weigh = |(op, weight): &(Op, u32)| {
        let cost = if reads(op) { read } else { write };
        (cost * f64::from(*weight), f64::from(*weight))
    };
    let (cost, weights) =
        cell.mix.iter().map(weigh).fold((0.0, 0.0), |sum, own| (sum.0 + own.0, sum.1 + own.1));
    let mixed = if weights > 0.0 { cost / weights } else { write };
    let tail = match metric {
        "p99" => 12.0,
        "p99.9" => 90.0,
        "peak" => 1.3,
        _ => 1.0,
    };
    mixed * tail * (cell.holds.services as f64).powf(0.06) * (cell.threads as f64).sqrt()
}
