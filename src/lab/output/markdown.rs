//! `report.md`: findings and tables.

use std::fmt::Write as _;

use super::{Document, commands, facts, origin, targets, warnings};
use crate::lab::compare::Changes;
use crate::lab::section::{Block, Entry, Ratio, Section, Table};
use crate::lab::stability;

pub(super) fn page(document: &Document<'_>) -> String {
    format!("# service-registry: the comparison\n{}", body(document))
}

/// The same, as a page of the documentation.
pub(super) fn benchmarks(document: &Document<'_>) -> String {
    format!(
        "# Benchmarks\n\n<!-- Made by `cargo lab docs` from docs/report.json; do not edit. -->\n\n\
         One run on one machine, from which `cargo lab docs` makes this page. Run `cargo lab` for the \
         figures of yours, with charts.\n{}",
        body(document)
    )
}

fn body(document: &Document<'_>) -> String {
    let report = document.report;
    let mut page = String::new();
    if let Some((head, reasons)) = document.unstable.banner() {
        let _ = write!(page, "\n> **{head}** {reasons}\n");
    }
    page.push_str(
        "\n## Which store should I use?\n\n\
         Ratios stand with their 95 % intervals; above 1× costs more than the store of the line, \
         \"=\" cannot be told apart from it.\n\n\
         | need | store | evidence | mind |\n| --- | --- | --- | --- |\n",
    );
    for verdict in &document.verdicts {
        let stores = if verdict.stores.is_empty() {
            "\u{2014}".into()
        } else {
            format!("**{}**", verdict.stores.join(verdict.between()))
        };
        let _ = writeln!(
            page,
            "| {} | {stores} | {} | {} |",
            cell(&verdict.need),
            cell(&verdict.evidence.join(" ")),
            cell(&verdict.caveats.join("; "))
        );
    }
    page.push_str("\n## Machine, method and noise floor\n");
    for warning in warnings(report) {
        let _ = write!(page, "\n> **{warning}**\n");
    }
    page.push_str("\n| | |\n| --- | --- |\n");
    for (name, fact) in facts(report) {
        let _ = writeln!(page, "| {name} | {} |", cell(&fact));
    }
    page.push('\n');
    let rule = stability::rule();
    for line in report.context.method.iter().chain([&rule]) {
        let _ = writeln!(page, "- {line}");
    }
    page.push_str(&text(&document.noise, 3));
    page.push_str(&section(&document.who));
    page.push_str(&section(&document.glance));
    for shown in &document.scenarios {
        page.push_str(&section(shown));
    }
    page.push_str(&section(&document.strip));
    if !report.targets.is_empty() {
        page.push_str(&text(&targets(report), 2));
    }
    if let Some(semantics) = &document.semantics {
        page.push_str(&section(semantics));
    }
    page.push_str("\n## Once more\n\n| | |\n| --- | --- |\n");
    for (name, fact) in origin(report) {
        let _ = writeln!(page, "| {name} | {} |", cell(&fact));
    }
    let _ = write!(page, "\n```sh\n{}\n```\n", commands(report));
    page
}

/// What changed from one report to the next.
pub(super) fn changes(changes: &Changes, names: [&str; 2]) -> String {
    let mut page = format!(
        "# service-registry: what changed\n\nFrom {} to {}.\n",
        names[0], names[1]
    );
    for warning in &changes.warnings {
        let _ = write!(page, "\n> **WARNING** {warning}\n");
    }
    page.push_str(&section(&changes.section()));
    page
}

fn section(section: &Section) -> String {
    let mut page = format!("\n## {}\n\n{}\n", section.title, section.intro);
    if !section.findings.is_empty() {
        page.push('\n');
    }
    for finding in &section.findings {
        let _ = writeln!(page, "- {}", prose(finding));
    }
    for block in &section.blocks {
        match block {
            Block::Table(table) if table.title == section.title => page.push_str(&bare(table)),
            Block::Table(table) => page.push_str(&text(table, 3)),
            _ => {}
        }
    }
    page
}

fn text(table: &Table, level: usize) -> String {
    format!("\n{} {}\n{}", "#".repeat(level), table.title, bare(table))
}

fn bare(table: &Table) -> String {
    let mut text = String::from("\n");
    if !table.note.is_empty() {
        let _ = write!(text, "{}\n\n", prose(&table.note));
    }
    let head: Vec<String> = table.head.iter().map(|head| cell(head)).collect();
    let _ = writeln!(text, "| {} |", head.join(" | "));
    let _ = writeln!(text, "| --- {}|", "| ---: ".repeat(head.len() - 1));
    for row in &table.rows {
        // Rows that belong to the one above are set in, which Markdown drops.
        let name = match row.name.strip_prefix("  ") {
            Some(name) => format!("\u{2014} {name}"),
            None => row.name.clone(),
        };
        let entries: Vec<String> = row.entries.iter().map(|e| cell(&entry(e))).collect();
        let _ = writeln!(text, "| {} | {} |", cell(&name), entries.join(" | "));
    }
    text
}

fn entry(entry: &Entry) -> String {
    let with_interval = |ratio: Ratio| format!("{} ({})", ratio.point(), ratio.interval());
    match entry {
        Entry::Empty => String::new(),
        Entry::Text(text) => text.clone(),
        Entry::Value { value, ratio, hits } => {
            let ratio = ratio.map(with_interval);
            let hits = hits.as_ref().map(|hits| format!("hits {hits}"));
            let parts = [Some(value.clone()), ratio, hits];
            parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
        }
        Entry::Ratio(ratio) | Entry::Heat(ratio) => with_interval(*ratio),
        Entry::Measured(ratio) => {
            let point = crate::lab::section::times(ratio.ratio);
            format!("{point} ({})", ratio.interval())
        }
        Entry::Verdict(met) => if *met { "met" } else { "**missed**" }.into(),
    }
}

fn cell(text: &str) -> String {
    prose(text).replace('|', "\\|")
}

/// A text in which `RwLock<HashMap>` is no element; what stands between backticks is
/// code, where nothing is.
fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(at, part)| match at % 2 {
        0 => escaped(part),
        _ => part.into(),
    });
    parts.collect::<Vec<String>>().join("`")
}

/// A text with what could begin an element marked as none: `<=` cannot.
fn escaped(text: &str) -> String {
    let mut parts = text.split('<');
    let mut escaped = parts.next().unwrap_or("").to_owned();
    for part in parts {
        let begins = |c: char| c.is_ascii_alphabetic() || "/!?".contains(c);
        escaped.push_str(if part.starts_with(begins) { "\\<" } else { "<" });
        escaped.push_str(part);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_element_is_not_taken_for_one() {
        assert_eq!(
            prose("RwLock<HashMap> <= 2, `<b>`"),
            "RwLock\\<HashMap> <= 2, `<b>`"
        );
        assert_eq!(cell("a|b"), "a\\|b");
    }
}
