//! How *health-sweep* is shown.

use super::{HealthSweep, Manner, NAME, THREADS};
use crate::lab::model::{Report, SummaryRow};
use crate::lab::scenarios::Scenario;
use crate::lab::scenarios::latency::{Cells, Figure};
use crate::lab::section::{
    Bar, BarChart, BarGroup, Block, Entry, Quantity, Section, Table, TableRow, thousands,
};

/// The section.
pub(super) fn section(report: &Report) -> Section {
    let own = report.results.iter().filter(|m| m.cell.scenario == NAME);
    let services = own.map(|m| m.cell.services).max().unwrap_or(0);
    let cells = Cells {
        report,
        scenario: NAME,
        services,
        threads: THREADS,
    };
    let mut blocks = vec![Block::Chart(chart(&cells)), Block::Table(table(&cells))];
    for manner in Manner::ALL {
        let title = format!("Reads while results are written {}", words(manner));
        blocks.push(Block::Lines(cells.curves(title.clone(), manner.name())));
        blocks.push(Block::Table(cells.figures(title, manner.name(), false)));
    }
    Section {
        title: "health-sweep".into(),
        intro: HealthSweep.method().into(),
        findings: findings(&cells),
        blocks,
    }
}

fn chart(cells: &Cells<'_>) -> BarChart {
    let groups = Manner::ALL.map(|manner| BarGroup {
        label: words(manner).into(),
        detail: format!("{} services", thousands(cells.services as u64)),
        bars: cells
            .lines(manner.name())
            .iter()
            .filter_map(|line| {
                let row = cells.figure(line, cells.tail(), manner.name())?;
                Some(Bar {
                    series: line.name(),
                    colour: line.colour(),
                    value: row.value,
                    low: row.value_low,
                    high: row.value_high,
                    note: String::new(),
                })
            })
            .collect(),
    });
    BarChart {
        title: format!("Reader {} during a health sweep", cells.tail().name()),
        axis: match cells.tail() {
            Figure::P999 => "99.9 % of reads took at most, less is better".into(),
            _ => "99 % of reads took at most, less is better".into(),
        },
        quantity: Quantity::Time,
        line: None,
        limit: None,
        groups: groups.into(),
    }
}

fn table(cells: &Cells<'_>) -> Table {
    let rows = cells
        .lines(Manner::Singly.name())
        .into_iter()
        .map(|line| TableRow {
            name: line.name(),
            entries: Manner::ALL
                .into_iter()
                .flat_map(|manner| {
                    let read = cells.figure(&line, cells.tail(), manner.name());
                    [read, cells.row(line.about.name, manner.sweep(line.way))]
                })
                .map(|row| row.map_or(Entry::Empty, SummaryRow::entry))
                .collect(),
        });
    Table {
        title: format!(
            "Reader {} and time of a sweep of {} services",
            cells.tail().name(),
            thousands(cells.services as u64)
        ),
        note: "Medians of the blocks, with their ratios to ThreadSafeMemoryStore, \"=\" where the \
               two cannot be told apart. A sweep that is written singly lasts as long as its \
               second, or longer where the store cannot keep up; one commit lasts from when it was \
               due to its return."
            .into(),
        head: [
            "store".to_owned(),
            format!("{}, singly", cells.tail().name()),
            "sweep, singly".into(),
            format!("{}, one commit", cells.tail().name()),
            "one commit".into(),
        ]
        .into(),
        rows: rows.collect(),
        brief: true,
        intervals: false,
    }
}

fn findings(cells: &Cells<'_>) -> Vec<String> {
    Manner::ALL
        .into_iter()
        .filter_map(|manner| {
            let tail = cells.tail();
            let range = cells.slowest_and_quickest(tail, manner.name())?;
            Some(format!(
                "While the results of a sweep are written {}, the {} of reads lies {range}.",
                words(manner),
                tail.name()
            ))
        })
        .collect()
}

const fn words(manner: Manner) -> &'static str {
    match manner {
        Manner::Singly => "singly",
        Manner::OneCommit => "as one commit",
    }
}
