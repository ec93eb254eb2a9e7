//! `report.md`: findings and tables.

use std::fmt::Write as _;

use super::{facts, targets, warnings};
use crate::lab::model::Report;
use crate::lab::section::{Block, Entry, Ratio, Section, Table};

pub(super) fn page(report: &Report, sections: &[Section]) -> String {
    let mut page = String::from("# service-registry: the comparison\n");
    for warning in warnings(report) {
        let _ = write!(page, "\n> **{warning}**\n");
    }
    for section in sections {
        let _ = write!(page, "\n## {}\n\n{}\n\n", section.title, section.intro);
        for finding in &section.findings {
            let _ = writeln!(page, "- {finding}");
        }
        for block in &section.blocks {
            if let Block::Table(table) = block {
                page.push_str(&text(table, 3));
            }
        }
    }
    if !report.targets.is_empty() {
        page.push_str(&text(&targets(report), 2));
    }
    page.push_str("\n## Machine and run\n\n| | |\n| --- | --- |\n");
    for (name, fact) in facts(report) {
        let _ = writeln!(page, "| {name} | {} |", cell(&fact));
    }
    page.push_str("\n## Method\n\n");
    for line in &report.context.method {
        let _ = writeln!(page, "- {line}");
    }
    let _ = write!(
        page,
        "\n## Once more\n\n```sh\n{}\n```\n",
        report.context.command
    );
    page
}

fn text(table: &Table, level: usize) -> String {
    let mut text = format!("\n{} {}\n\n", "#".repeat(level), table.title);
    let _ = write!(text, "{}\n\n", table.note);
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
        Entry::Ratio(ratio) => with_interval(*ratio),
        Entry::Measured(ratio) => {
            let point = crate::lab::section::times(ratio.ratio);
            format!("{point} ({})", ratio.interval())
        }
        Entry::Verdict(met) => if *met { "met" } else { "**missed**" }.into(),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
