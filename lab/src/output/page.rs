//! The values that fill the templates of the pages.

use itertools::Itertools as _;
use minijinja::value::Serde;
use minijinja::{Value, context};

use super::report_index::ReportIndex;
use super::{figures, sentences};
use crate::model::{Answer, CellMetric, ContenderInfo, Report, ScenarioRun};
use crate::words;

/// Returns everything that a page shows.
pub(crate) fn page(index: &ReportIndex<'_>) -> Value {
    let report = index.report;
    let groups = sentences::groups(report).into_iter().map(|name| {
        let questions = report.answers.iter().filter(|answer| answer.group == name);
        let questions: Vec<Value> = questions.map(|answer| question(index, answer)).collect();
        context! { name, questions }
    });
    let first = figures::first(index).into_iter();
    let rules = report.context.rules.iter().map(|rule| words::stopped(rule));
    let five = sentences::five(index).into_iter().map(Vec::from);
    context! {
        run => sentences::run(report),
        version => &*report.context.version,
        decided => report.answers.iter().filter(|answer| answer.decided).count(),
        warnings => sentences::warnings(report),
        busy => report.answers.iter().any(|answer| answer.busy.is_some()),
        groups => groups.collect::<Vec<_>>(),
        first => first.map(figure).collect::<Vec<_>>(),
        parts => report.scenarios.iter().map(|run| part(index, run)).collect::<Vec<_>>(),
        promises => promises(report),
        contenders => contenders(report),
        noise => noise(index),
        context => Value::from(Serde(report.context.clone())),
        took => sentences::duration(report.context.seconds),
        rules => rules.collect::<Vec<_>>(),
        command => &*report.context.command,
        five => five.collect::<Vec<_>>(),
    }
}

/// Returns a chart with the name of its file.
fn figure((file, chart): (String, Value)) -> Value {
    context! { file, chart }
}

fn question(index: &ReportIndex<'_>, answer: &Answer) -> Value {
    let comparisons = answer.comparisons.iter().map(|own| {
        context! {
            store => index.name(&own.contender),
            cost => words::times(own.ratio.value),
            ends => words::ends(own.ratio),
            cells => own.cells,
            equal => if own.equal { "equal" } else { "" },
        }
    });
    let best = answer.comparisons.first().map_or("", |own| &own.to);
    let scenarios = answer.cells.iter().map(|cell_metric| cell_metric.id.scenario.as_str());
    let runs = scenarios.unique().filter_map(|name| index.run(name));
    let methods = runs.map(|run| {
        context! { id => anchor(run), scenario => &*run.name, how => words::stopped(&run.method) }
    });
    let stopped = |all: &[String]| all.iter().map(|said| words::stopped(said)).collect::<Vec<_>>();
    let chart = figures::question(index, answer);
    context! {
        id => figures::name_of(answer),
        need => &*answer.question,
        decided => answer.decided,
        verdict => sentences::verdict(answer, |id| index.name(id)),
        mark => sentences::mark(answer),
        margin => sentences::margin(answer),
        sentence => sentences::answer(index, answer),
        chart => chart.map(figure),
        evidence => stopped(&answer.evidence),
        caveats => stopped(&answer.caveats),
        best => index.name(best),
        comparisons => comparisons.collect::<Vec<_>>(),
        cells => cells(index, &answer.cells, true),
        methods => methods.collect::<Vec<_>>(),
    }
}

/// Returns the anchor of the section of a scenario.
fn anchor(run: &ScenarioRun) -> String {
    format!("s-{}", words::slug(&run.name))
}

fn part(index: &ReportIndex<'_>, run: &ScenarioRun) -> Value {
    let cell_metrics = index.cell_metrics(&run.name);
    let charts = figures::scenario(index, &run.name).into_iter();
    context! {
        id => anchor(run),
        name => &*run.name,
        about => words::stopped(&run.about),
        method => words::stopped(&run.method),
        slices => run.slices,
        dropped => run.dropped,
        took => sentences::duration(run.seconds),
        reference => index.name(&run.reference),
        sentence => sentences::scenario(index, cell_metrics),
        charts => charts.map(figure).collect::<Vec<_>>(),
        table => cells(index, cell_metrics, false),
    }
}

/// Returns a table of cell metrics by contenders: values, with ratios to the reference below them.
/// The table of a question names the scenarios, and shows only the stores of this crate.
fn cells(index: &ReportIndex<'_>, cell_metrics: &[CellMetric], of_question: bool) -> Value {
    let mut ids = index.took_part(cell_metrics);
    ids.retain(|id| !of_question || index.is_ours(id));
    let rows = cell_metrics.iter().filter(|cell_metric| !index.rows(cell_metric).is_empty()).map(
        |cell_metric| {
            let ours = index.rows(cell_metric).iter().filter(|row| index.is_ours(&row.contender));
            let least = ours.map(|row| row.value.value).fold(f64::MAX, f64::min);
            let entry = |id: &&str| match index.row(cell_metric, id) {
                Some(row) => context! {
                    text => words::value(row.unit, row.value.value),
                    small => row.ratio.map(|ratio| words::times(ratio.value)),
                    best => index.is_ours(id) && row.value.value <= least,
                },
                None => "".into(),
            };
            let scenario =
                if of_question { format!("{}: ", cell_metric.id.scenario) } else { String::new() };
            let name = context! {
                text => format!("{scenario}{}", cell_metric.label()),
                small => cell_metric.circumstances(),
            };
            std::iter::once(name).chain(ids.iter().map(entry)).collect::<Vec<_>>()
        },
    );
    let rows: Vec<_> = rows.collect();
    let head: Vec<Value> = [""].iter().chain(&ids).map(|id| (*id).into()).collect();
    context! { head, rows }
}

/// Returns the promises of the stores, each with its name.
fn promises(report: &Report) -> Vec<Value> {
    let of = |info: &ContenderInfo| {
        let promises = Value::from(Serde(info.promises.clone()?));
        Some(context! { store => &*info.name, ..promises })
    };
    report.context.contenders.iter().filter_map(of).collect()
}

fn contenders(report: &Report) -> Vec<Value> {
    let context = &report.context;
    let of = |info: &ContenderInfo| {
        let name = info.crate_name.as_ref()?;
        let version = context.crates.get(name);
        let built_on = format!("{name} {}", version.map_or("", |own| own));
        Some(built_on.trim_end().to_owned())
    };
    let all = context.contenders.iter();
    all.map(|info| context! { built_on => of(info), ..Value::from(Serde(info.clone())) }).collect()
}

fn noise(index: &ReportIndex<'_>) -> Vec<Value> {
    let rows = index.report.noise.iter().map(|noise| {
        let run = index.run(&noise.scenario);
        let own = index.report.rows.iter().filter(|row| row.id.scenario == noise.scenario);
        let lost = own.filter_map(|row| row.lost).reduce(f64::max);
        context! {
            scenario => &*noise.scenario,
            reference => run.map(|run| index.name(&run.reference)),
            floor => words::times(noise.floor),
            worst => words::times(noise.worst),
            lost => lost.map(|own| format!("{:.0} %", own * 100.0)),
            slices => run.map(|run| words::thousands(run.slices)),
            dropped => run.map(|run| words::thousands(run.dropped)),
        }
    });
    rows.collect()
}
