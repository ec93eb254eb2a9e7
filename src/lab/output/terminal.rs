//! The end of a run, in lines of at most 100 columns.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::{Document, targets, warnings};
use crate::lab::compare::Changes;
use crate::lab::section::{Block, Entry, Ratio, Table, times};

/// The verdict, the tables that a terminal shows, the targets, and where the files
/// are.
pub(super) fn print(document: &Document<'_>, files: &[PathBuf]) -> String {
    let report = document.report;
    let mut text = String::new();
    let machine = &report.context.machine;
    let _ = writeln!(
        text,
        "{}, {} threads at once; {}; {} run, seed {}",
        machine.cpu,
        machine.cores,
        report.context.allocator,
        report.context.effort,
        report.context.seed
    );
    text.push_str("\nWhich store should I use?\n");
    let decided = || {
        document
            .verdicts
            .iter()
            .filter(|verdict| !verdict.stores.is_empty())
    };
    let width = decided()
        .map(|verdict| verdict.need.chars().count())
        .max()
        .unwrap_or(0);
    for verdict in decided() {
        let indent = " ".repeat(width + 4);
        let answer = wrapped(&verdict.stores.join(verdict.between()), WIDTH - width - 4);
        let _ = writeln!(
            text,
            "  {:<width$}  {}",
            verdict.need,
            answer.join(&format!("\n{indent}"))
        );
    }
    if document.verdicts.len() > decided().count() {
        let open = document.verdicts.len() - decided().count();
        let _ = writeln!(text, "  ({open} more needs are not decided by this run)");
    }
    for section in &document.scenarios {
        let tables = section.blocks.iter().filter_map(|block| match block {
            Block::Table(table) if table.brief => Some(table),
            _ => None,
        });
        for shown in tables {
            let _ = write!(text, "\n{}: {}", section.title, table(shown));
        }
    }
    if !report.targets.is_empty() {
        let shown = targets(report);
        let _ = write!(text, "\n{}\n{}\n", table(&shown), shown.note);
    }
    for run in &report.context.scenarios {
        let _ = write!(text, "\n{}: medians of {} blocks", run.name, run.blocks);
    }
    text.push_str(
        "\n\"=\" where the 95 % interval of a ratio holds 1, or lies in the noise floor\n",
    );
    for warning in warnings(report) {
        text.push_str(&paragraph(&warning));
    }
    if let Some((head, reasons)) = document.unstable.banner() {
        text.push_str(&paragraph(&format!("{} {reasons}", head.to_uppercase())));
    }
    text.push('\n');
    for file in files {
        let _ = writeln!(text, "wrote {}", file.display());
    }
    text
}

/// Warnings, how much changed, and what.
pub(super) fn changes(changes: &Changes, names: [&str; 2]) -> String {
    /// The largest changes are shown; the files hold all.
    const MOST: usize = 30;
    let mut text = format!("From {} to {}\n", names[0], names[1]);
    for warning in &changes.warnings {
        text.push_str(&paragraph(&format!("WARNING: {warning}")));
    }
    let section = changes.section();
    for finding in &section.findings {
        text.push_str(&paragraph(finding));
    }
    let tables = section.blocks.into_iter().filter_map(|block| match block {
        Block::Table(table) if table.brief => Some(table),
        _ => None,
    });
    for mut shown in tables {
        // What both runs measured stands in the files; here is room for the change.
        shown.head.truncate(4);
        for row in &mut shown.rows {
            row.entries.truncate(3);
            for entry in &mut row.entries {
                if let Entry::Text(text) = entry {
                    text.truncate(text.find(" (").unwrap_or(text.len()));
                }
            }
        }
        let more = shown.rows.len().saturating_sub(MOST);
        shown.rows.truncate(MOST);
        let _ = write!(text, "\n{}", table(&shown));
        if more > 0 {
            let _ = writeln!(text, "... and {more} more; --out DIR writes all of them");
        }
    }
    text
}

/// A text in lines that fit.
fn paragraph(text: &str) -> String {
    wrapped(text, WIDTH).join("\n") + "\n"
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is one");
        let length = last.chars().count();
        if length > 0 && length + 1 + word.chars().count() > width {
            lines.push(word.into());
            continue;
        }
        if length > 0 {
            last.push(' ');
        }
        last.push_str(word);
    }
    lines
}

/// The widest line.
const WIDTH: usize = 100;

/// A table with its columns aligned: names to the left, figures to the right. One
/// that is too wide goes on below, with the names again.
fn table(table: &Table) -> String {
    let mut lines: Vec<Vec<String>> = vec![table.head.clone()];
    for row in &table.rows {
        let entries = row.entries.iter().map(|e| entry(e, table.intervals));
        lines.push(std::iter::once(row.name.clone()).chain(entries).collect());
    }
    let widths: Vec<usize> = (0..table.head.len())
        .map(|column| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = format!("{}\n", table.title);
    let mut first = 1;
    while first < widths.len() {
        let mut end = first + 1;
        let mut width = widths[0] + 2 + widths[first];
        while end < widths.len() && width + 2 + widths[end] <= WIDTH {
            width += 2 + widths[end];
            end += 1;
        }
        if first > 1 {
            text.push('\n');
        }
        for (at, line) in lines.iter().enumerate() {
            if at > 0 && line[first..end].iter().all(String::is_empty) {
                continue;
            }
            let mut out = format!("{:<width$}", line[0], width = widths[0]);
            for (cell, width) in line[first..end].iter().zip(&widths[first..end]) {
                let _ = write!(out, "  {cell:>width$}");
            }
            let _ = writeln!(text, "{}", out.trim_end());
            if at == 0 {
                let _ = writeln!(text, "{}", "-".repeat(width));
            }
        }
        first = end;
    }
    text
}

fn entry(entry: &Entry, intervals: bool) -> String {
    let with_interval = |ratio: Ratio| format!("{} {}", ratio.point(), ratio.interval());
    match entry {
        Entry::Empty => String::new(),
        Entry::Text(text) => text.clone(),
        Entry::Value {
            value, ratio: None, ..
        } => value.clone(),
        Entry::Value {
            value,
            ratio: Some(ratio),
            ..
        } if intervals => format!("{value} {}", with_interval(*ratio)),
        Entry::Value {
            value,
            ratio: Some(ratio),
            ..
        } => format!("{value} {:>5}", ratio.point()),
        Entry::Ratio(ratio) | Entry::Heat(ratio) => with_interval(*ratio),
        Entry::Measured(ratio) => format!("{} {}", times(ratio.ratio), ratio.interval()),
        Entry::Verdict(met) => if *met { "met" } else { "MISSED" }.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::section::TableRow;

    #[test]
    fn columns_are_aligned_by_characters() {
        let shown = Table {
            title: "t".into(),
            note: String::new(),
            head: vec!["operation".into(), "time".into()],
            rows: vec![
                TableRow {
                    name: "a".into(),
                    entries: vec![Entry::Text("1.00 µs".into())],
                },
                TableRow {
                    name: "b".into(),
                    entries: vec![Entry::Text("12 ns".into())],
                },
            ],
            brief: true,
            intervals: false,
        };
        assert_eq!(
            table(&shown),
            "t\noperation     time\n------------------\n\
             a          1.00 µs\nb            12 ns\n"
        );
    }

    #[test]
    fn a_table_that_is_too_wide_goes_on_below() {
        let row = |name: &str, entries: [&str; 2]| TableRow {
            name: name.into(),
            entries: entries.map(|text| Entry::Text(text.into())).into(),
        };
        let wide = "x".repeat(60);
        let shown = Table {
            title: "t".into(),
            note: String::new(),
            head: ["name", "a", "b"].map(String::from).into(),
            rows: vec![row("one", [&wide, &wide]), row("two", [&wide, ""])],
            brief: true,
            intervals: false,
        };
        let text = table(&shown);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
        let names = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!((names("name"), names("one"), names("two")), (2, 2, 1));
    }

    #[test]
    fn the_verdict_comes_first_and_every_line_fits() {
        let mut report = crate::lab::synthetic::report();
        report.context.partial = true;
        let document = Document::of(&report);
        let text = print(&document, &[]);
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
        let verdict = text.find("Which store").unwrap();
        assert!(verdict < text.find("burst-30x100").unwrap());
        assert!(text.contains("UNSTABLE") && text.contains("partial report"));
    }

    #[test]
    fn what_is_equal_wins_nothing() {
        let ratio = |low, high| {
            Entry::Ratio(Ratio {
                ratio: 0.97,
                low,
                high,
                equal: low <= 1.0 && 1.0 <= high,
            })
        };
        assert_eq!(entry(&ratio(0.95, 1.01), true), "= 0.95\u{2013}1.01");
        assert_eq!(entry(&ratio(0.95, 0.99), true), "0.97× 0.95\u{2013}0.99");
    }
}
