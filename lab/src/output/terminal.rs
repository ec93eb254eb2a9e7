//! Prints a report on a terminal: tables, then the answers.

use std::io;

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement};
use comfy_table::{LineStyle, Table};

use super::report_index::ReportIndex;
use super::sentences;
use crate::compare::ReportDiff;
use crate::model::{Answer, Report};
use crate::words;

/// The options of the output on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TerminalOptions {
    /// Whether to print all tables, however long.
    pub(crate) verbose: bool,
    /// The number of columns; anything below 20 counts as 20.
    pub(crate) width: usize,
    /// Whether to print bold words: not on a pipe, and not with `NO_COLOR`.
    pub(crate) colour: bool,
}

/// The maximum number of lines without `verbose`; the caller prints three more about the files.
const MOST: usize = 57;
/// Below this width tables become lists.
const NARROW: usize = 64;

/// Prints a table for each group of questions, and then the answers: at most 57 lines at 80 columns
/// unless `verbose`. Control characters of the report do not reach `out`.
pub(crate) fn print(
    report: &Report,
    out: &mut impl io::Write,
    options: TerminalOptions,
) -> io::Result<()> {
    let index = ReportIndex::of(report);
    let options = TerminalOptions { width: options.width.max(20), ..options };
    let is_wide = options.width >= NARROW;
    let mut answers = vec![String::new()];
    answers.extend(paragraph(&sentences::run(report), options));
    if is_wide && report.answers.iter().any(|answer| !answer.comparisons.is_empty()) {
        let how = "In the tables: costs next to the best of a row; = where equal within 3 %.";
        answers.extend(paragraph(how, options));
    }
    for warning in sentences::warnings(report) {
        answers.extend(paragraph(&format!("Mind: {warning}"), options));
    }
    if !report.answers.is_empty() {
        answers.push(String::new());
        answers.extend(lines(&columns([vec![bold("Which store should I use?")]], options)));
        answers.extend(answer_lines(&report.answers, options));
    }
    let mut tables: Vec<Vec<String>> = Vec::new();
    if options.verbose {
        tables.extend(report.scenarios.iter().map(|run| everything(&index, &run.name, options)));
    }
    if is_wide {
        let groups = sentences::groups(report).into_iter();
        tables.extend(groups.filter_map(|group| overview(&index, group, options)));
    }
    let mut lines: Vec<String> = Vec::new();
    let mut left_out = 0;
    for table in tables {
        // Reserves two lines for the number of tables that are left out.
        if options.verbose || lines.len() + table.len() + answers.len() + 2 < MOST {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            lines.extend(table);
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        lines.push(String::new());
        lines.push(format!("... and {}: --verbose", words::plural(left_out, "more table")));
    }
    // On a narrow terminal, the answers take as many lines as they need.
    if !options.verbose && is_wide && lines.len() + answers.len() > MOST {
        answers.truncate(MOST.saturating_sub(lines.len() + 1));
        answers.push("... and more: --verbose".into());
    }
    lines.extend(answers);
    write(&lines, out)
}

/// Prints the differences of two reports, and the warnings about comparing them: at most 60 lines
/// unless `verbose`.
pub(crate) fn changes(
    changes: &ReportDiff,
    names: [&str; 2],
    out: &mut impl io::Write,
    options: TerminalOptions,
) -> io::Result<()> {
    let options = TerminalOptions { width: options.width.max(20), ..options };
    let mut said = vec![format!("From {} to {}", names[0], names[1])];
    said.extend(changes.warnings.iter().map(|warning| format!("Mind: {warning}")));
    said.extend(changes.sentences());
    let mut lines: Vec<String> = said.iter().flat_map(|text| paragraph(text, options)).collect();
    let found: Vec<_> = changes.changed().collect();
    if !found.is_empty() {
        lines.push(String::new());
        let room = MOST.saturating_sub(lines.len() + 4).max(3);
        let shown = if options.verbose { found.len() } else { room };
        let rows = found.iter().take(shown).map(|change| {
            vec![
                words::short(&change.name(), options.width.saturating_sub(25).max(12)),
                words::times(change.ratio.value),
                words::ends(change.ratio),
            ]
        });
        lines.extend(table(&["what changed", "now", "95 % interval"], rows, options));
        if let Some(more @ 1..) = found.len().checked_sub(shown) {
            lines.push(format!("... and {more} more: --verbose"));
        }
    }
    if !options.verbose {
        lines.truncate(MOST);
    }
    write(&lines, out)
}

fn write(lines: &[String], out: &mut impl io::Write) -> io::Result<()> {
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    out.flush()
}

/// Returns each question with its answer beside it, or below it on a narrow terminal.
fn answer_lines(answers: &[Answer], options: TerminalOptions) -> Vec<String> {
    let both = answers.iter().map(|answer| [cell(&answer.question), bold(&verdict(answer))]);
    if options.width < NARROW {
        let below = |[question, verdict]: [Cell; 2]| {
            let question = lines(&columns([vec![question]], options));
            question.into_iter().chain(lines(&columns([vec![cell(""), verdict]], options)))
        };
        return both.flat_map(below).collect();
    }
    let mut table = columns(both.map(Vec::from), options);
    table.set_constraints([ColumnConstraint::ContentWidth]);
    lines(&table)
}

/// Returns the answer with ids, which are shorter than names: `snapshot = versioned`.
fn verdict(answer: &Answer) -> String {
    let verdict = match answer.comparisons.first() {
        Some(own) if !answer.decided => format!("not decided: {} or {}", own.to, own.contender),
        _ => sentences::verdict(answer, |id| id),
    };
    verdict + sentences::mark(answer)
}

/// Returns a table of the cost of each store relative to the best, one question per row.
fn overview(index: &ReportIndex<'_>, group: &str, options: TerminalOptions) -> Option<Vec<String>> {
    let answers: Vec<&Answer> = index
        .report
        .answers
        .iter()
        .filter(|answer| answer.group == group && !answer.comparisons.is_empty())
        .collect();
    let infos = index.report.context.contenders.iter().map(|info| info.id.as_str());
    let ids: Vec<&str> =
        infos.filter(|id| answers.iter().any(|answer| cost(answer, id).is_some())).collect();
    let head: Vec<&str> = std::iter::once(group).chain(ids.iter().copied()).collect();
    let rows = answers.iter().map(|answer| {
        let costs = ids.iter().map(|id| cost(answer, id).unwrap_or_default());
        std::iter::once(answer.question.clone()).chain(costs).collect()
    });
    (!answers.is_empty()).then(|| table(&head, rows, options))
}

fn cost(answer: &Answer, id: &str) -> Option<String> {
    if answer.comparisons.first()?.to == id {
        return Some("1×".into());
    }
    let mut comparisons = answer.comparisons.iter();
    let own = comparisons.find(|own| own.contender == id)?;
    Some(if own.equal { "=".into() } else { words::times(own.ratio.value) })
}

/// Returns the tables of all rows of a scenario.
fn everything(index: &ReportIndex<'_>, scenario: &str, options: TerminalOptions) -> Vec<String> {
    let mut all = Vec::new();
    for cell_metric in index.cell_metrics(scenario) {
        let rows = index.rows(cell_metric).iter().map(|row| {
            let ratio = row.ratio.map_or(String::new(), words::ratio);
            vec![index.name(&row.contender).into(), row.with_interval(), ratio]
        });
        let title = format!("{scenario}: {}, {}", cell_metric.label(), cell_metric.circumstances());
        all.extend(lines(&columns([vec![bold(&title)]], options)));
        all.extend(table(&["", "median (95 %)", "to the reference"], rows, options));
        all.push(String::new());
    }
    all.pop();
    all
}

/// Creates a cell of a text without its control characters.
fn cell(text: &str) -> Cell {
    Cell::new(words::clean(text))
}

fn bold(text: &str) -> Cell {
    cell(text).add_attribute(Attribute::Bold)
}

/// Arranges rows in columns that fit the width.
fn columns(rows: impl IntoIterator<Item = Vec<Cell>>, options: TerminalOptions) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(options.width).unwrap_or(u16::MAX)).add_rows(rows);
    table.style_text_only();
    if options.colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if at > 0 { 2 } else { 0 }, 0));
    }
    table
}

fn lines(table: &Table) -> Vec<String> {
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

pub(crate) fn paragraph(text: &str, options: TerminalOptions) -> Vec<String> {
    lines(&columns([vec![cell(text)]], options))
}

fn table(
    head: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    options: TerminalOptions,
) -> Vec<String> {
    let rows = rows.map(|row| row.iter().map(|text| cell(text)).collect());
    let mut table = columns(rows, options);
    let line = LineStyle::none().fill('─').junction('─');
    table.load_style(NOTHING.header_separator(line)).set_header(head.iter().map(|own| cell(own)));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    lines(&table)
}
