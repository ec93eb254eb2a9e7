//! What the templates of the pages are filled with.

use itertools::Itertools as _;
use minijinja::value::Serde;
use minijinja::{Value, context};

use super::book::Book;
use super::{figures, story};
use crate::model::{Answer, ContenderInfo, Place, Report, ScenarioRun};
use crate::words;

/// All that a page shows.
pub(crate) fn page(book: &Book<'_>) -> Value {
    let report = book.report;
    let groups = story::groups(report).into_iter().map(|name| {
        let questions = report.answers.iter().filter(|answer| answer.group == name);
        let questions: Vec<Value> = questions.map(|answer| question(book, answer)).collect();
        context! { name, questions }
    });
    let first = figures::first(book).into_iter();
    let rules = report.context.rules.iter().map(|rule| words::stopped(rule));
    let five = story::five(book).into_iter().map(Vec::from);
    context! {
        run => story::run(report),
        version => &*report.context.version,
        decided => report.answers.iter().filter(|answer| answer.decided).count(),
        warnings => story::warnings(report),
        busy => report.answers.iter().any(|answer| answer.busy.is_some()),
        groups => groups.collect::<Vec<_>>(),
        first => first.map(figure).collect::<Vec<_>>(),
        parts => report.scenarios.iter().map(|run| part(book, run)).collect::<Vec<_>>(),
        promises => promises(report),
        contenders => contenders(report),
        noise => noise(book),
        context => Value::from(Serde(report.context.clone())),
        took => story::duration(report.context.seconds),
        rules => rules.collect::<Vec<_>>(),
        command => &*report.context.command,
        five => five.collect::<Vec<_>>(),
    }
}

/// A chart with the name of its file.
fn figure((file, chart): (String, Value)) -> Value {
    context! { file, chart }
}

fn question(book: &Book<'_>, answer: &Answer) -> Value {
    let comparisons = answer.comparisons.iter().map(|own| {
        context! {
            store => book.name(&own.contender),
            cost => words::times(own.ratio.value),
            ends => words::ends(own.ratio),
            cells => own.cells,
            equal => if own.equal { "equal" } else { "" },
        }
    });
    let best = answer.comparisons.first().map_or("", |own| &own.to);
    let scenarios = answer.cells.iter().map(|place| place.id.scenario.as_str());
    let runs = scenarios.unique().filter_map(|name| book.run(name));
    let methods = runs.map(|run| {
        context! { id => anchor(run), scenario => &*run.name, how => words::stopped(&run.method) }
    });
    let stopped = |all: &[String]| all.iter().map(|said| words::stopped(said)).collect::<Vec<_>>();
    let chart = figures::question(book, answer);
    context! {
        id => figures::name_of(answer),
        need => &*answer.question,
        decided => answer.decided,
        verdict => story::verdict(answer, |id| book.name(id)),
        mark => story::mark(answer),
        margin => story::margin(answer),
        sentence => story::answer(book, answer),
        chart => chart.map(figure),
        evidence => stopped(&answer.evidence),
        caveats => stopped(&answer.caveats),
        best => book.name(best),
        comparisons => comparisons.collect::<Vec<_>>(),
        cells => cells(book, &answer.cells, true),
        methods => methods.collect::<Vec<_>>(),
    }
}

/// Where the section of a scenario begins.
fn anchor(run: &ScenarioRun) -> String {
    format!("s-{}", words::slug(&run.name))
}

fn part(book: &Book<'_>, run: &ScenarioRun) -> Value {
    let places = book.places(&run.name);
    let charts = figures::scenario(book, &run.name).into_iter();
    context! {
        id => anchor(run),
        name => &*run.name,
        about => words::stopped(&run.about),
        method => words::stopped(&run.method),
        slices => run.slices,
        dropped => run.dropped,
        took => story::duration(run.seconds),
        reference => book.name(&run.reference),
        sentence => story::scenario(book, places),
        charts => charts.map(figure).collect::<Vec<_>>(),
        table => cells(book, places, false),
    }
}

/// Places by contenders: values, with ratios to the reference below them. Those of a
/// question name their scenarios, and show the stores of this crate.
fn cells(book: &Book<'_>, places: &[Place], of_question: bool) -> Value {
    let mut ids = book.took_part(places);
    ids.retain(|id| !of_question || book.is_ours(id));
    let rows = places.iter().filter(|place| !book.rows(place).is_empty()).map(|place| {
        let ours = book.rows(place).iter().filter(|row| book.is_ours(&row.contender));
        let least = ours.map(|row| row.value.value).fold(f64::MAX, f64::min);
        let entry = |id: &&str| match book.row(place, id) {
            Some(row) => context! {
                text => words::value(row.unit, row.value.value),
                small => row.ratio.map(|ratio| words::times(ratio.value)),
                best => book.is_ours(id) && row.value.value <= least,
            },
            None => "".into(),
        };
        let scenario = if of_question { format!("{}: ", place.id.scenario) } else { String::new() };
        let name = context! {
            text => format!("{scenario}{}", place.what()),
            small => place.where_(),
        };
        std::iter::once(name).chain(ids.iter().map(entry)).collect::<Vec<_>>()
    });
    let rows: Vec<_> = rows.collect();
    let head: Vec<Value> = [""].iter().chain(&ids).map(|id| (*id).into()).collect();
    context! { head, rows }
}

/// What stores promise, each with its name.
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

fn noise(book: &Book<'_>) -> Vec<Value> {
    let rows = book.report.noise.iter().map(|noise| {
        let run = book.run(&noise.scenario);
        let own = book.report.rows.iter().filter(|row| row.id.scenario == noise.scenario);
        let lost = own.filter_map(|row| row.lost).reduce(f64::max);
        context! {
            scenario => &*noise.scenario,
            reference => run.map(|run| book.name(&run.reference)),
            floor => words::times(noise.floor),
            worst => words::times(noise.worst),
            lost => lost.map(|own| format!("{:.0} %", own * 100.0)),
            slices => run.map(|run| words::thousands(run.slices)),
            dropped => run.map(|run| words::thousands(run.dropped)),
        }
    });
    rows.collect()
}
