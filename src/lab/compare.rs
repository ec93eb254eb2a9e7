//! What changed from one report to the next.
//!
//! Two runs met different minutes of a machine, or different machines: there are
//! no blocks that both took part in, so intervals are held against each other. A
//! cell is equal where they overlap, or where the interval of the change lies within
//! the noise floor of either run: the rule of [`is_equal`].

use std::collections::HashMap;

use super::model::{Cell, Report, SummaryRow};
use super::overall::Kind;
use super::record::Unit;
use super::section::{
    Block, Colour, Entry, Forest, ForestRow, Ratio, Section, Table, TableRow, thousands,
};
use super::stability::{self, typical_floor};
use super::stats::{Interval, is_equal};

/// What changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    /// Why the two should not be compared, or not like this.
    pub warnings: Vec<String>,
    /// Cells that both have, in the order of the new report.
    pub cells: Vec<Change>,
    /// Cells that only the old one has.
    pub gone: Vec<Cell>,
    /// Cells that only the new one has.
    pub added: Vec<Cell>,
}

/// A cell in both.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Which.
    pub cell: Cell,
    /// How it was.
    pub old: SummaryRow,
    /// How it is.
    pub new: SummaryRow,
    /// What it costs now next to what it did, less is better.
    pub ratio: Ratio,
}

impl Change {
    /// Whether it costs less now.
    pub fn is_better(&self) -> bool {
        !self.ratio.equal && self.ratio.ratio < 1.0
    }

    /// Whether it costs more now.
    pub fn is_worse(&self) -> bool {
        !self.ratio.equal && self.ratio.ratio > 1.0
    }
}

/// Compares two reports.
pub fn compare(old: &Report, new: &Report) -> Changes {
    let before: HashMap<&Cell, &SummaryRow> =
        old.summary.iter().map(|row| (&row.cell, row)).collect();
    let after: HashMap<&Cell, &SummaryRow> =
        new.summary.iter().map(|row| (&row.cell, row)).collect();
    let floors = [old, new].map(|report| (floors(report), typical_floors(report)));
    let change = |row: &SummaryRow| {
        let old_row = *before.get(&row.cell)?;
        let floor = floors.iter().map(|(floors, typical)| {
            let own = floors.get(&situation(&row.cell)).copied();
            let kind = (row.cell.scenario.as_str(), Kind::of(&row.unit));
            own.or_else(|| typical.get(&kind).copied()).unwrap_or(1.0)
        });
        Some(Change {
            cell: row.cell.clone(),
            ratio: ratio(old_row, row, floor.fold(1.0, f64::max))?,
            old: old_row.clone(),
            new: row.clone(),
        })
    };
    let only = |rows: &[SummaryRow], other: &HashMap<&Cell, &SummaryRow>| {
        let cells = rows.iter().map(|row| &row.cell);
        cells
            .filter(|cell| !other.contains_key(cell))
            .cloned()
            .collect()
    };
    Changes {
        warnings: warnings(old, new),
        cells: new.summary.iter().filter_map(change).collect(),
        gone: only(&old.summary, &after),
        added: only(&new.summary, &before),
    }
}

type Situation<'a> = (&'a str, usize, usize, &'a str);

fn situation(cell: &Cell) -> Situation<'_> {
    (&cell.scenario, cell.threads, cell.services, &cell.metric)
}

fn floors(report: &Report) -> HashMap<Situation<'_>, f64> {
    let noise = report.noise.iter();
    noise
        .map(|noise| (situation(&noise.cell), noise.floor))
        .collect()
}

/// The floor of each scenario and kind, for what its reference was not measured in.
fn typical_floors(report: &Report) -> HashMap<(&str, Option<Kind>), f64> {
    let kinds = || std::iter::once(None).chain(Kind::ALL.map(Some));
    let scenarios = report.context.scenarios.iter();
    scenarios
        .flat_map(|run| kinds().map(|kind| (run.name.as_str(), kind)))
        .filter_map(|(name, kind)| Some(((name, kind), typical_floor(report, name, kind)?)))
        .collect()
}

fn ratio(old: &SummaryRow, new: &SummaryRow, floor: f64) -> Option<Ratio> {
    if old.unit != new.unit {
        return None;
    }
    let more_is_better = Unit::named(&new.unit).is_some_and(Unit::more_is_better);
    let (value, low, high) = (
        new.value / old.value,
        new.value_low / old.value_high,
        new.value_high / old.value_low,
    );
    let (value, low, high) = if more_is_better {
        (value.recip(), high.recip(), low.recip())
    } else {
        (value, low, high)
    };
    let known = [value, low, high]
        .iter()
        .all(|end| end.is_finite() && *end > 0.0);
    if !known {
        // Of a value that is 0, or a slope below it, there are no ratios.
        let overlap = old.value_low <= new.value_high && new.value_low <= old.value_high;
        return overlap.then_some(Ratio {
            ratio: 1.0,
            low: 1.0,
            high: 1.0,
            equal: true,
        });
    }
    let exact = Kind::of(&new.unit).is_some_and(Kind::is_exact);
    let blocks = old.blocks.min(new.blocks);
    Some(Ratio {
        ratio: value,
        low,
        high,
        equal: is_equal(Interval { low, high }, floor, blocks, exact),
    })
}

/// What makes the two runs different in more than the code.
fn warnings(old: &Report, new: &Report) -> Vec<String> {
    let [was, is] = [&old.context, &new.context];
    let facts = [
        ("processor", was.machine.cpu.clone(), is.machine.cpu.clone()),
        (
            "number of cores",
            was.machine.cores.to_string(),
            is.machine.cores.to_string(),
        ),
        (
            "size of the memory, in MiB,",
            (was.machine.memory_bytes >> 20).to_string(),
            (is.machine.memory_bytes >> 20).to_string(),
        ),
        (
            "set of features",
            was.features.join(", "),
            is.features.join(", "),
        ),
        ("system", was.machine.os.clone(), is.machine.os.clone()),
        (
            "kernel",
            was.machine.kernel.clone(),
            is.machine.kernel.clone(),
        ),
        (
            "compiler",
            was.toolchain.rustc.clone(),
            is.toolchain.rustc.clone(),
        ),
        (
            "platform",
            was.toolchain.target.clone(),
            is.toolchain.target.clone(),
        ),
        (
            "build profile",
            was.toolchain.profile.clone(),
            is.toolchain.profile.clone(),
        ),
        ("allocator", was.allocator.clone(), is.allocator.clone()),
        ("hasher", was.hasher.clone(), is.hasher.clone()),
        ("lock file", was.lock_file.clone(), is.lock_file.clone()),
        ("effort", was.effort.clone(), is.effort.clone()),
        ("seed", was.seed.to_string(), is.seed.to_string()),
    ];
    let mut warnings: Vec<String> = facts
        .into_iter()
        .filter(|(_, was, is)| was != is)
        .map(|(what, was, is)| format!("The {what} differs: {was:?}, then {is:?}."))
        .collect();
    for (which, report) in [("old", old), ("new", new)] {
        if let Some((head, reasons)) = stability::of(report).banner() {
            warnings.push(format!("Of the {which} run: {head} {reasons}"));
        }
    }
    warnings
}

impl Changes {
    /// The number of cells that are better, equal and worse.
    pub fn count(&self) -> [usize; 3] {
        let better = self
            .cells
            .iter()
            .filter(|change| change.is_better())
            .count();
        let worse = self.cells.iter().filter(|change| change.is_worse()).count();
        [better, self.cells.len() - better - worse, worse]
    }

    /// The changes as a section: what changed first, then the rest.
    pub fn section(&self) -> Section {
        let [better, equal, worse] = self.count();
        let all = self.cells.len();
        let mut findings = vec![format!(
            "Of {} cells that both reports have, {} cost less, {} cost more, and {} are equal as \
             far as these runs can tell.",
            thousands(all as u64),
            thousands(better as u64),
            thousands(worse as u64),
            thousands(equal as u64),
        )];
        for (cells, which) in [(&self.gone, "old"), (&self.added, "new")] {
            if !cells.is_empty() {
                let some: Vec<String> = cells.iter().take(5).map(name).collect();
                let more = if cells.len() > 5 { ", ..." } else { "" };
                findings.push(format!(
                    "Only the {which} one has {} cells: {}{more}",
                    thousands(cells.len() as u64),
                    some.join(", ")
                ));
            }
        }
        let mut changed: Vec<&Change> = self.cells.iter().filter(|c| !c.ratio.equal).collect();
        changed.sort_by(|a, b| far(b).total_cmp(&far(a)));
        let mut blocks = Vec::new();
        if !changed.is_empty() {
            let title = "What changed, the largest change first";
            blocks.push(Block::Forest(forest(title, &changed)));
            blocks.push(Block::Table(table(title, &changed, true)));
        }
        let rest: Vec<&Change> = self.cells.iter().filter(|c| c.ratio.equal).collect();
        if !rest.is_empty() {
            blocks.push(Block::Table(table("What is equal", &rest, false)));
        }
        Section {
            title: "What changed".into(),
            intro: "A change is what a cell costs now, next to what it did: below 1× is better, of \
                    throughputs as well. \"=\" stands where the intervals of the two runs overlap, or that \
                    of the change lies within the noise floor of either. Of many cells a few look changed by \
                    chance: believe a pattern, not a single row."
                .into(),
            findings,
            blocks,
        }
    }
}

fn far(change: &Change) -> f64 {
    change.ratio.ratio.ln().abs()
}

fn name(cell: &Cell) -> String {
    let threads = match cell.threads {
        1 => String::new(),
        threads => format!(", {threads} threads"),
    };
    let services = thousands(cell.services as u64);
    format!(
        "{}: {}, {}{threads}, {services}",
        cell.scenario, cell.store, cell.metric
    )
}

fn forest(title: &str, changed: &[&Change]) -> Forest {
    const MOST: usize = 40;
    let row = |change: &&Change| ForestRow {
        label: {
            let text = format!("{} {}", change.cell.store, change.cell.metric);
            match text.char_indices().nth(32) {
                Some((at, _)) => format!("{}…", &text[..at]),
                None => text,
            }
        },
        colour: Colour::Contender(if change.is_better() { 4 } else { 3 }),
        ratio: change.ratio,
    };
    Forest {
        title: title.into(),
        axis: "new to old, less is better".into(),
        noise: None,
        rows: changed.iter().take(MOST).map(row).collect(),
    }
}

fn table(title: &str, changes: &[&Change], brief: bool) -> Table {
    let rows = changes.iter().map(|change| TableRow {
        name: name(&change.cell),
        entries: vec![
            Entry::Heat(change.ratio),
            interval(&change.old),
            interval(&change.new),
            change.old.ratio().map_or(Entry::Empty, Entry::Ratio),
            change.new.ratio().map_or(Entry::Empty, Entry::Ratio),
        ],
    });
    Table {
        title: title.into(),
        note:
            "Medians with their 95 % intervals; to the right, the ratios to the reference within \
               each run, which a change of the machine leaves alone."
                .into(),
        head: ["cell", "change", "old", "new", "old ratio", "new ratio"]
            .map(String::from)
            .into(),
        rows: rows.collect(),
        brief,
        intervals: true,
    }
}

fn interval(row: &SummaryRow) -> Entry {
    let of = |value: f64| {
        let row = SummaryRow {
            value,
            comparison: None,
            ..row.clone()
        };
        match row.entry() {
            Entry::Value { value, .. } => value,
            _ => String::new(),
        }
    };
    Entry::Text(format!(
        "{} ({}–{})",
        of(row.value),
        of(row.value_low),
        of(row.value_high)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::synthetic::{self, SUSTAINED};

    #[test]
    fn a_report_is_equal_to_itself() {
        let report = synthetic::report();
        let changes = compare(&report, &report);
        assert_eq!(changes.warnings, [""; 0]);
        assert_eq!(changes.count(), [0, report.summary.len(), 0]);
        assert!(changes.gone.is_empty() && changes.added.is_empty());
    }

    #[test]
    fn a_change_is_found_and_a_throughput_is_better_when_it_grows() {
        let old = synthetic::report();
        let mut new = old.clone();
        let scale = |row: &mut SummaryRow, by: f64| {
            for value in [&mut row.value, &mut row.value_low, &mut row.value_high] {
                *value *= by;
            }
        };
        let rows = new.summary.iter_mut();
        for row in rows.filter(|row| row.cell.store == "SnapshotStore") {
            scale(row, 1.5);
        }
        let changes = compare(&old, &new);
        let [better, _, worse] = changes.count();
        let faster = changes
            .cells
            .iter()
            .find(|change| change.is_better())
            .unwrap();
        assert_eq!((better, worse), (1, 2));
        assert_eq!(faster.cell.scenario, SUSTAINED);
        assert!((faster.ratio.ratio - 1.0 / 1.5).abs() < 1e-9, "{faster:?}");
        // What is within the noise floor is no change.
        let mut near = old.clone();
        for row in &mut near.summary {
            row.value_low = row.value * 1.01;
            row.value_high = row.value * 1.01;
            row.value *= 1.01;
        }
        let mut exact = old.clone();
        for row in &mut exact.summary {
            (row.value_low, row.value_high) = (row.value, row.value);
        }
        assert_eq!(compare(&exact, &near).count()[1], old.summary.len());
    }

    #[test]
    fn every_difference_of_the_machines_is_warned_of() {
        let old = synthetic::report();
        let warned = |what: &str, change: fn(&mut Report)| {
            let mut new = old.clone();
            change(&mut new);
            let warnings = compare(&old, &new).warnings;
            assert!(
                warnings.iter().any(|warning| warning.contains(what)),
                "{what}: {warnings:?}"
            );
        };
        warned("processor", |new| new.context.machine.cpu = "abacus".into());
        warned("cores", |new| new.context.machine.cores += 1);
        warned("kernel", |new| new.context.machine.kernel = "0.1".into());
        warned("compiler", |new| {
            new.context.toolchain.rustc = "rustc 2".into();
        });
        warned("allocator", |new| new.context.allocator = "bump".into());
        warned("lock file", |new| new.context.lock_file = "0".into());
        warned("effort", |new| new.context.effort = "full".into());
        warned("unstable", |new| new.context.partial = true);
        warned("memory", |new| new.context.machine.memory_bytes *= 2);
        warned("features", |new| new.context.features.truncate(1));
    }

    /// Judged by its interval, as everywhere: a point inside is not enough.
    #[test]
    fn an_interval_that_leaves_the_noise_floor_is_a_change() {
        let floor = 1.05;
        let row = |value: f64, low: f64, high: f64| SummaryRow {
            value,
            value_low: low,
            value_high: high,
            ..synthetic::report().summary[0].clone()
        };
        let old = row(1.0, 1.0, 1.0);
        let changed = |new: SummaryRow| !ratio(&old, &new, floor).unwrap().equal;
        assert!(changed(row(1.04, 1.03, 1.30)));
        assert!(!changed(row(1.04, 1.03, 1.045)));
        assert!(!changed(row(1.20, 0.99, 1.30)));
    }

    #[test]
    fn two_blocks_change_nothing() {
        let old = synthetic::report();
        let mut new = old.clone();
        for row in &mut new.summary {
            row.value *= 9.0;
            row.value_low *= 9.0;
            row.value_high *= 9.0;
            row.blocks = 2;
        }
        assert_eq!(compare(&old, &new).count()[1], old.summary.len());
    }

    #[test]
    fn cells_of_one_side_are_named() {
        let old = synthetic::report();
        let mut new = old.clone();
        let gone = new.summary.remove(0);
        let changes = compare(&old, &new);
        assert_eq!(changes.gone, [gone.cell]);
        assert!(changes.section().findings[1].contains("Only the old one has 1 cells"));
    }

    #[test]
    fn what_is_nothing_has_no_ratio_and_is_not_lost() {
        let old = synthetic::report();
        let mut new = old.clone();
        let mut nothing = old.clone();
        for report in [&mut new, &mut nothing] {
            let row = &mut report.summary[0];
            (row.value, row.value_low, row.value_high) = (0.0, 0.0, 0.0);
        }
        assert_eq!(compare(&nothing, &new).cells.len(), old.summary.len());
    }
}
