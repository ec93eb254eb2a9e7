//! What the templates of the pages are filled with.

use serde::Serialize;

use super::book::Book;
use super::chart::Drawing;
use super::{figures, story, words};
use crate::model::{Answer, Interval, Place, Report, Row, ScenarioRun};

/// All that a page shows.
#[derive(Debug, Serialize)]
pub(crate) struct Page {
    pub(crate) run: String,
    pub(crate) version: String,
    pub(crate) decided: usize,
    pub(crate) warnings: Vec<String>,
    pub(crate) groups: Vec<Group>,
    pub(crate) first: Vec<Figure>,
    pub(crate) parts: Vec<Part>,
    pub(crate) promises: Table,
    pub(crate) contenders: Table,
    pub(crate) noise: Table,
    pub(crate) facts: Table,
    pub(crate) rules: Vec<String>,
    pub(crate) command: String,
    pub(crate) five: Vec<[String; 2]>,
}

/// The questions of a group.
#[derive(Debug, Serialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) questions: Vec<Question>,
}

/// A question, its answer, and what speaks for it.
#[derive(Debug, Serialize)]
pub(crate) struct Question {
    pub(crate) id: String,
    pub(crate) need: String,
    pub(crate) decided: bool,
    pub(crate) verdict: String,
    pub(crate) margin: String,
    pub(crate) sentence: String,
    pub(crate) chart: Option<Figure>,
    pub(crate) evidence: Vec<String>,
    pub(crate) caveats: Vec<String>,
    pub(crate) comparisons: Table,
    pub(crate) cells: Table,
    pub(crate) methods: Vec<Method>,
}

/// How a scenario is measured.
#[derive(Debug, Serialize)]
pub(crate) struct Method {
    pub(crate) id: String,
    pub(crate) scenario: String,
    pub(crate) how: String,
}

/// A scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Part {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) method: String,
    pub(crate) extent: String,
    pub(crate) sentence: String,
    pub(crate) charts: Vec<Figure>,
    pub(crate) table: Table,
}

/// A chart.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) title: String,
    /// What stands above it in a page: what its surroundings do not say.
    pub(crate) caption: String,
    /// Its name among the files.
    pub(crate) file: String,
    /// The chart as part of a page.
    pub(crate) svg: String,
    #[serde(skip)]
    pub(crate) drawing: Drawing,
}

/// Rows and columns; the first column names the rows.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Table {
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<Entry>>,
}

/// What stands in a table.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Entry {
    pub(crate) text: String,
    /// What is said more quietly.
    pub(crate) small: String,
    /// Whether it is to be seen first.
    pub(crate) best: bool,
}

impl<T: Into<String>> From<T> for Entry {
    fn from(text: T) -> Entry {
        Entry { text: text.into(), ..Entry::default() }
    }
}

impl Table {
    fn new(head: &[&str], rows: impl Iterator<Item = Vec<Entry>>) -> Table {
        Table { head: head.iter().map(|&head| head.into()).collect(), rows: rows.collect() }
    }
}

impl Figure {
    fn new(file: String, drawing: Drawing) -> Figure {
        Figure {
            title: drawing.title.clone(),
            caption: drawing.title.clone(),
            svg: drawing.inline(&file),
            file,
            drawing,
        }
    }
}

impl Page {
    pub(crate) fn of(report: &Report) -> Page {
        let book = Book::of(report);
        let groups = story::groups(report).into_iter().map(|name| Group {
            name: name.into(),
            questions: report
                .answers
                .iter()
                .filter(|answer| answer.group == name)
                .map(|answer| question(&book, answer))
                .collect(),
        });
        let first = figures::first(&book).into_iter();
        let first = first.map(|(name, drawing)| Figure::new(format!("first-{name}"), drawing));
        Page {
            run: story::run(report),
            version: report.context.version.clone(),
            decided: report.answers.iter().filter(|answer| answer.decided).count(),
            warnings: story::warnings(report),
            groups: groups.collect(),
            first: first.collect(),
            parts: report.scenarios.iter().map(|run| part(&book, run)).collect(),
            promises: promises(report),
            contenders: contenders(report),
            noise: noise(&book),
            facts: facts(report),
            rules: report.context.rules.iter().map(|rule| words::stopped(rule)).collect(),
            command: report.context.command.clone(),
            five: story::five(&book),
        }
    }

    /// All charts.
    pub(crate) fn figures(&self) -> impl Iterator<Item = &Figure> {
        let questions = self.groups.iter().flat_map(|group| &group.questions);
        let questions = questions.filter_map(|question| question.chart.as_ref());
        let parts = self.parts.iter().flat_map(|part| &part.charts);
        self.first.iter().chain(questions).chain(parts)
    }
}

fn question(book: &Book<'_>, answer: &Answer) -> Question {
    let id = format!("q-{}", words::slug(&answer.question));
    let comparisons = answer.comparisons.iter().map(|comparison| {
        vec![
            book.name(&comparison.contender).into(),
            words::times(comparison.ratio.value).into(),
            words::ends(comparison.ratio).into(),
            words::thousands(comparison.cells as u64).into(),
            if comparison.equal { "equal" } else { "" }.into(),
        ]
    });
    let best = answer.comparisons.first().map_or("", |own| &own.to);
    let cost = format!("cost next to {}", book.name(best));
    let mut scenarios: Vec<&str> = Vec::new();
    for place in &answer.cells {
        if !scenarios.contains(&place.id.scenario.as_str()) {
            scenarios.push(&place.id.scenario);
        }
    }
    let methods = scenarios.into_iter().filter_map(|name| book.run(name));
    Question {
        need: answer.question.clone(),
        decided: answer.decided,
        verdict: story::verdict(book, answer),
        margin: story::margin(answer),
        sentence: story::answer(book, answer),
        chart: figures::question(book, answer).map(|drawing| Figure::new(id.clone(), drawing)),
        evidence: answer.evidence.iter().map(|said| words::stopped(said)).collect(),
        caveats: answer.caveats.iter().map(|said| words::stopped(said)).collect(),
        comparisons: Table::new(&["store", &cost, "95 % interval", "cells", ""], comparisons),
        cells: cells(book, &answer.cells, true),
        methods: methods
            .map(|run| Method {
                id: format!("s-{}", words::slug(&run.name)),
                scenario: run.name.clone(),
                how: words::stopped(&run.method),
            })
            .collect(),
        id,
    }
}

fn part(book: &Book<'_>, run: &ScenarioRun) -> Part {
    let places = book.places(&run.name);
    let charts = figures::scenario(book, &run.name).into_iter();
    let dropped = match run.dropped {
        0 => "none was dropped".to_owned(),
        1 => "1 was dropped".to_owned(),
        dropped => format!("{} were dropped", words::thousands(dropped)),
    };
    Part {
        id: format!("s-{}", words::slug(&run.name)),
        name: run.name.clone(),
        about: words::stopped(&run.about),
        method: words::stopped(&run.method),
        extent: format!(
            "{} slices in {}, of which {dropped}. Ratios are to {}.",
            words::thousands(run.slices),
            story::duration(run.seconds),
            book.name(&run.reference)
        ),
        sentence: story::scenario(book, places),
        charts: charts
            .map(|(file, drawing)| {
                let mut figure = Figure::new(file, drawing);
                let rest = figure.title.strip_prefix(run.name.as_str());
                if let Some(rest) = rest.and_then(|rest| rest.strip_prefix(", ")) {
                    figure.caption = rest.to_owned();
                }
                figure
            })
            .collect(),
        table: cells(book, places, false),
    }
}

/// Places by contenders: values, with ratios to the reference below them. Those of a
/// question name their scenarios, and show the stores of this crate.
fn cells(book: &Book<'_>, places: &[Place], of_question: bool) -> Table {
    let places: Vec<&Place> = places.iter().filter(|place| !book.rows(place).is_empty()).collect();
    let owned: Vec<Place> = places.iter().map(|&place| place.clone()).collect();
    let mut ids = book.took_part(&owned);
    ids.retain(|id| !of_question || book.is_ours(id));
    let mut head = vec![String::new()];
    head.extend(ids.iter().map(|&id| id.into()));
    let rows = places.iter().map(|place| {
        let least = book
            .rows(place)
            .iter()
            .filter(|row| book.is_ours(&row.contender))
            .map(|row| row.value.value)
            .fold(f64::MAX, f64::min);
        let entry = |id: &&str| match book.row(place, id) {
            Some(row) => Entry {
                text: words::value(row.unit, row.value.value),
                small: row.ratio.map_or(String::new(), |ratio| words::times(ratio.value)),
                best: book.is_ours(id) && row.value.value <= least,
            },
            None => Entry::default(),
        };
        let scenario = if of_question { format!("{}: ", place.id.scenario) } else { String::new() };
        let name = Entry {
            text: format!("{scenario}{}", place.what()),
            small: place.where_(),
            best: false,
        };
        std::iter::once(name).chain(ids.iter().map(entry)).collect()
    });
    Table { rows: rows.collect(), head }
}

fn promises(report: &Report) -> Table {
    let yes = |kept: bool| Entry::from(if kept { "yes" } else { "no" });
    let rows = report.context.contenders.iter().filter_map(|info| {
        let own = info.promises.as_ref()?;
        Some(vec![
            info.name.as_str().into(),
            own.readers.as_str().into(),
            own.writers.as_str().into(),
            own.batch.as_str().into(),
            own.scan.as_str().into(),
            yes(own.indexes_agree),
            yes(own.never_missing),
            own.snapshot.as_str().into(),
            yes(own.linearizable),
            own.caveat.as_str().into(),
        ])
    });
    Table::new(
        &[
            "store",
            "readers",
            "writers",
            "several changes",
            "scans",
            "indexes agree",
            "never missing",
            "snapshot",
            "linearizable",
            "to mind",
        ],
        rows,
    )
}

fn contenders(report: &Report) -> Table {
    let context = &report.context;
    let rows = context.contenders.iter().map(|info| {
        let built_on = info.crate_name.as_ref().map(|name| {
            let version = context.crates.get(name).map_or("", String::as_str);
            format!("{name} {version}").trim_end().to_owned()
        });
        vec![
            info.id.as_str().into(),
            info.name.as_str().into(),
            info.about.as_str().into(),
            built_on.unwrap_or_default().into(),
        ]
    });
    Table::new(&["in charts", "name", "what it is", "built on"], rows)
}

fn noise(book: &Book<'_>) -> Table {
    let rows = book.report.noise.iter().map(|noise| {
        let run = book.run(&noise.scenario);
        vec![
            noise.scenario.as_str().into(),
            run.map_or("", |run| book.name(&run.reference)).into(),
            words::times(noise.floor).into(),
            words::times(noise.worst).into(),
            run.map_or(String::new(), |run| words::thousands(run.slices)).into(),
            run.map_or(String::new(), |run| words::thousands(run.dropped)).into(),
        ]
    });
    Table::new(&["scenario", "reference", "median floor", "worst cell", "slices", "dropped"], rows)
}

fn facts(report: &Report) -> Table {
    let context = &report.context;
    let machine = &context.machine;
    let revision = match (&context.git_revision, context.git_modified) {
        (None, _) => "unknown".into(),
        (Some(revision), Some(true)) => format!("{revision}, with changes that no commit holds"),
        (Some(revision), _) => revision.clone(),
    };
    let crates: Vec<String> =
        context.crates.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let facts: Vec<(&str, String)> = vec![
        ("Processor", format!("{}, {} at once", machine.cpu, plural_threads(machine.cores))),
        ("Memory", format!("{} MiB", words::thousands(machine.memory_bytes >> 20))),
        ("System", format!("{}, kernel {}", machine.os, machine.kernel)),
        ("Load", format!("{:.2} before, {:.2} after", machine.load_before, machine.load_after)),
        (
            "Toolchain",
            format!(
                "{}, {}, {} build",
                context.toolchain.rustc, context.toolchain.target, context.toolchain.profile
            ),
        ),
        ("Allocator", context.allocator.clone()),
        ("Hasher", context.hasher.clone()),
        ("Keys", context.keys.clone()),
        ("Copies", context.copies.clone()),
        ("Crates", crates.join(", ")),
        ("Started", format!("{}, took {}", context.started_at, story::duration(context.seconds))),
        ("Revision", revision),
        ("Cargo.lock", format!("SHA-256 {}", context.lock_file)),
        ("Command", context.command.clone()),
        ("Seed", context.seed.to_string()),
    ];
    Table::new(&["", ""], facts.into_iter().map(|(what, how)| vec![what.into(), how.into()]))
}

fn plural_threads(cores: usize) -> String {
    words::plural(cores, "thread")
}

/// A row of the report as a line of figures, for whoever wants all of them.
pub(crate) fn figures_of(book: &Book<'_>, row: &Row) -> [String; 3] {
    [
        book.name(&row.contender).into(),
        row.said(),
        row.ratio
            .filter(|ratio: &Interval| ratio.value.is_finite())
            .map_or(String::new(), words::ratio),
    ]
}
