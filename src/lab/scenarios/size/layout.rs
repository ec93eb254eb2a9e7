//! How growth is shown.

use super::{Cost, NAME, SIZES, SLOPES_TO, Size};
use crate::lab::contender::About;
use crate::lab::model::{Report, SummaryRow};
use crate::lab::scenarios::Scenario;
use crate::lab::scenarios::growth::{Growth, head};
use crate::lab::section::{
    Block, Entry, Section, Table, TableRow, range, significant, thousands, took_part,
};

const fn what(cost: Cost) -> &'static str {
    match cost {
        Cost::Hit => "Reading a pod that is there (with_service, a borrow)",
        Cost::Miss => "Reading a pod that is not there (get_service)",
        Cost::Update => "Updating a health status",
        Cost::Register => "Registering a new pod",
        Cost::Remove => "Removing a pod",
    }
}

const fn short(cost: Cost) -> &'static str {
    match cost {
        Cost::Hit => "read, there",
        Cost::Miss => "read, not there",
        Cost::Update => "update",
        Cost::Register => "register",
        Cost::Remove => "remove",
    }
}

/// The section.
pub(super) fn section(report: &Report, all: &[About]) -> Section {
    let stores = took_part(report, NAME, all);
    let growth = Growth {
        report,
        stores: &stores,
        over: "services",
        places: &SIZES,
    };
    let note = "Time of one call, and its ratio to the floor; \"=\" where the two cannot be told \
                apart.";
    let mut blocks = vec![Block::Table(slopes(report, &stores))];
    for cost in Cost::ALL {
        let cell = |store: &str, services| cost.cell(store, services);
        blocks.extend(growth.blocks(what(cost), note, cost == Cost::Hit, cell));
    }
    Section {
        title: "Size, from 10 services to 1,000,000".into(),
        intro: Size.method().into(),
        findings: findings(report, &stores),
        blocks,
    }
}

/// The largest size up to which there are slopes.
fn largest(report: &Report, stores: &[(usize, About)]) -> Option<usize> {
    let measured = |largest: &usize| {
        let row = |about: &About| report.row(&Cost::Hit.slope_cell(about.name, *largest));
        stores.iter().any(|(_, about)| row(about).is_some())
    };
    SLOPES_TO.into_iter().rev().find(measured)
}

fn slopes(report: &Report, stores: &[(usize, About)]) -> Table {
    let mut rows = Vec::new();
    for largest in SLOPES_TO {
        for cost in Cost::ALL {
            let entry = |row: &SummaryRow| {
                let interval = range(row.value_low, row.value_high);
                Entry::Text(format!("{} ({interval})", significant(row.value)))
            };
            let entries = stores.iter().map(|(_, about)| {
                let row = report.row(&cost.slope_cell(about.name, largest));
                row.map_or(Entry::Empty, entry)
            });
            rows.push(TableRow {
                name: format!("{}, to {}", short(cost), thousands(largest as u64)),
                entries: entries.collect(),
            });
        }
    }
    Table {
        title: "Slopes".into(),
        note: "The power of the size with which a cost grows from 10 services on, and its 95 % \
               interval: 0 where the size does not matter, 1 where twice the size costs twice as \
               much. The slope of the floor is what the caches of the machine do."
            .into(),
        head: head("operation", stores.iter()),
        rows: rows.into_iter().filter(TableRow::is_filled).collect(),
        brief: true,
        intervals: false,
    }
}

fn findings(report: &Report, stores: &[(usize, About)]) -> Vec<String> {
    let Some(largest) = largest(report, stores) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for cost in [Cost::Hit, Cost::Update] {
        let slopes = stores.iter().filter_map(|(_, about)| {
            let row = report.row(&cost.slope_cell(about.name, largest))?;
            Some(format!("{:.2} on {}", row.value, about.name))
        });
        let slopes: Vec<String> = slopes.collect();
        findings.push(format!(
            "From 10 services to {}, the cost of a {} grows with this power of the size: {}.",
            thousands(largest as u64),
            if cost == Cost::Hit {
                "read"
            } else {
                "health update"
            },
            slopes.join(", ")
        ));
    }
    findings
}
