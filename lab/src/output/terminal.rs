//! What a terminal shows: tables, then the answers, then where the rest is.

use std::io;

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use super::book::Book;
use super::words::{self, clean};
use super::{page, story};
use crate::compare::Changes;
use crate::model::{Answer, Report};

/// How a terminal wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// All tables, however long.
    pub(crate) verbose: bool,
    /// Columns; anything below 20 counts as 20.
    pub(crate) width: usize,
    /// Whether to set words off by weight: not on a pipe, not with `NO_COLOR`.
    pub(crate) colour: bool,
}

/// Lines of a screen that people read at the end of a run; three more say where the files
/// are.
const MOST: usize = 57;
/// Below this width tables become lists.
const NARROW: usize = 64;

/// Where bold letters begin and end, in what is composed here. Both become escape codes at
/// the very end, after everything that commands a terminal has been taken out, so that no
/// text of a report can do so.
const BOLD: char = words::MARKS[0];
const PLAIN: char = words::MARKS[1];

/// The tables, a question group each, the answers last: at most 57 lines at 80 columns
/// unless `verbose`. Control characters of the report do not reach `out`.
///
/// # Errors
///
/// Those of `out`.
pub(crate) fn print(report: &Report, out: &mut impl io::Write, options: Options) -> io::Result<()> {
    let book = Book::of(report);
    let width = options.width.max(20);
    let mut answers = vec![String::new()];
    answers.extend(wrapped(&story::run(report), width, 0));
    if width >= NARROW && report.answers.iter().any(|answer| !answer.comparisons.is_empty()) {
        let how = "In the tables: costs next to the best of a row; = where equal within 3 %.";
        answers.extend(wrapped(how, width, 0));
    }
    for warning in story::warnings(report) {
        answers.extend(wrapped(&format!("Mind: {warning}"), width, 2));
    }
    if !report.answers.is_empty() {
        answers.push(String::new());
        answers.extend(wrapped(&format!("{BOLD}Which store should I use?{PLAIN}"), width, 0));
        answers.extend(answer_lines(&book, width));
    }
    let mut tables: Vec<Vec<String>> = Vec::new();
    if options.verbose {
        tables.extend(report.scenarios.iter().map(|run| everything(&book, &run.name, width)));
    }
    if width >= NARROW {
        tables.extend(
            story::groups(report).into_iter().filter_map(|group| overview(&book, group, width)),
        );
    }
    let mut lines: Vec<String> = Vec::new();
    for table in tables {
        if options.verbose || lines.len() + table.len() + answers.len() < MOST {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            lines.extend(table);
        }
    }
    // A narrow terminal gets the answers in as many lines as they take.
    if !options.verbose && width >= NARROW && lines.len() + answers.len() > MOST {
        answers.truncate(MOST.saturating_sub(lines.len() + 1));
        answers.push("... and more: --verbose".into());
    }
    lines.extend(answers);
    write(&lines, out, options.colour)
}

/// What changed, and what speaks against comparing: at most 60 lines unless `verbose`.
///
/// # Errors
///
/// Those of `out`.
pub(crate) fn changes(
    changes: &Changes,
    names: [&str; 2],
    out: &mut impl io::Write,
    options: Options,
) -> io::Result<()> {
    let width = options.width.max(20);
    let mut lines = wrapped(&format!("From {} to {}", names[0], names[1]), width, 2);
    for warning in &changes.warnings {
        lines.extend(wrapped(&format!("Mind: {warning}"), width, 2));
    }
    for sentence in changes.sentences() {
        lines.extend(wrapped(&sentence, width, 0));
    }
    let found: Vec<_> = changes.changed().collect();
    if !found.is_empty() {
        lines.push(String::new());
        let room = MOST.saturating_sub(lines.len() + 4).max(3);
        let shown = if options.verbose { found.len() } else { room };
        let rows = found.iter().take(shown).map(|change| {
            vec![
                words::short(&change.name(), width.saturating_sub(25).max(12)),
                words::times(change.ratio.value),
                words::ends(change.ratio),
            ]
        });
        lines.extend(table(&["what changed", "now", "95 % interval"], rows.collect(), width));
        if let Some(more @ 1..) = found.len().checked_sub(shown) {
            lines.push(format!("... and {more} more: --verbose"));
        }
    }
    if !options.verbose {
        lines.truncate(MOST);
    }
    write(&lines, out, options.colour)
}

fn write(lines: &[String], out: &mut impl io::Write, colour: bool) -> io::Result<()> {
    let [bold, plain] = if colour { ["\u{1b}[1m", "\u{1b}[0m"] } else { [""; 2] };
    for line in lines {
        let line = clean(line).replace(BOLD, bold).replace(PLAIN, plain);
        writeln!(out, "{}", line.trim_end())?;
    }
    out.flush()
}

/// Each question with its answer; on a narrow terminal below it.
fn answer_lines(book: &Book<'_>, width: usize) -> Vec<String> {
    let answers = &book.report.answers;
    let questions = answers.iter().map(|answer| answer.question.chars().count());
    let indent = questions.max().unwrap_or(0).min(50) + 2;
    let mut lines = Vec::new();
    for answer in answers {
        let verdict = verdict(answer);
        let question = &answer.question;
        let count = question.chars().count();
        if width < NARROW || count + 2 > indent {
            lines.extend(wrapped(question, width, 2));
            lines.extend(wrapped(&format!("  {BOLD}{verdict}{PLAIN}"), width, 4));
        } else {
            let pad = " ".repeat(indent - count);
            let line = format!("{question}{pad}{BOLD}{verdict}{PLAIN}");
            lines.extend(wrapped(&line, width, indent));
        }
    }
    lines
}

/// The answer by ids, which are shorter than names: `snapshot = versioned`.
fn verdict(answer: &Answer) -> String {
    if !answer.decided || answer.stores.is_empty() {
        let nearest = answer.comparisons.first();
        return nearest.map_or("not decided".into(), |own| {
            format!("not decided: {} or {}", own.to, own.contender)
        });
    }
    answer.stores.join(if answer.by_promise { " or " } else { " = " })
}

/// What each store costs next to the best, a question a row.
fn overview(book: &Book<'_>, group: &str, width: usize) -> Option<Vec<String>> {
    let answers: Vec<&Answer> = book
        .report
        .answers
        .iter()
        .filter(|answer| answer.group == group && !answer.comparisons.is_empty())
        .collect();
    let infos = book.report.context.contenders.iter().map(|info| info.id.as_str());
    let ids: Vec<&str> =
        infos.filter(|id| answers.iter().any(|answer| cost(answer, id).is_some())).collect();
    let head: Vec<&str> = std::iter::once(group).chain(ids.iter().copied()).collect();
    let rows: Vec<Vec<String>> = answers
        .iter()
        .map(|answer| {
            let costs = ids.iter().map(|id| cost(answer, id).unwrap_or_default());
            std::iter::once(answer.question.clone()).chain(costs).collect()
        })
        .collect();
    (!rows.is_empty()).then(|| table(&head, rows, width))
}

fn cost(answer: &Answer, id: &str) -> Option<String> {
    if answer.comparisons.first()?.to == id {
        return Some("1×".into());
    }
    let mut comparisons = answer.comparisons.iter();
    let own = comparisons.find(|own| own.contender == id)?;
    Some(if own.equal { "=".into() } else { words::times(own.ratio.value) })
}

/// All rows of a scenario.
fn everything(book: &Book<'_>, scenario: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for place in book.places(scenario) {
        let rows = book.rows(place).iter().map(|row| page::figures_of(book, row).to_vec());
        let title = format!("{BOLD}{scenario}: {}{PLAIN}, {}", place.what(), place.where_());
        lines.extend(wrapped(&title, width, 2));
        lines.extend(table(&["", "median (95 %)", "to the reference"], rows.collect(), width));
        lines.push(String::new());
    }
    lines.pop();
    lines
}

fn table(head: &[&str], rows: Vec<Vec<String>>, width: usize) -> Vec<String> {
    let mut table = Table::new();
    table
        .load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')))
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(width).unwrap_or(u16::MAX))
        .force_no_tty();
    table.set_header(head.iter().map(|head| clean(head)));
    for row in rows {
        table.add_row(row.iter().map(|text| clean(text)));
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        if at > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
        column.set_padding((u16::from(at > 0), u16::from(at == 0)));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// A text in lines that fit; all but the first stand `indent` columns to the right.
fn wrapped(text: &str, width: usize, indent: usize) -> Vec<String> {
    let indent = if indent + 10 > width { 0 } else { indent };
    let length =
        |text: &str| text.chars().filter(|letter| !matches!(*letter, BOLD | PLAIN)).count();
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(' ') {
        let mut word = word.to_owned();
        loop {
            let last = lines.last_mut().expect("there is one");
            let room = width.saturating_sub(length(last));
            if length(word.trim_end()) <= room {
                last.push_str(&word);
                break;
            }
            // A word longer than a line is broken where the line ends.
            if length(&word) > width.saturating_sub(indent) && last.trim().is_empty() {
                let at = word.char_indices().nth(room).map_or(word.len(), |(at, _)| at);
                let rest = word.split_off(at);
                last.push_str(&word);
                word = rest;
            }
            lines.push(" ".repeat(indent));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_whatever_stands_in_them() {
        let text =
            "Many threads, reads on every request: VersionedStore_of_a_very_long_name_indeed";
        for width in [20, 40, 80] {
            for indent in [0, 4, 60] {
                let lines = wrapped(text, width, indent);
                assert!(
                    lines.iter().all(|line| line.trim_end().chars().count() <= width),
                    "{lines:?}"
                );
                let all: String = lines.concat().split_whitespace().collect();
                assert_eq!(all, text.split_whitespace().collect::<String>());
            }
        }
    }
}
