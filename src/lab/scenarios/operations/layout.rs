//! How the costs of the operations are shown.

use super::{NAME, Operation as Op, Operations, SIZES};
use crate::lab::contender::{About, Floor};
use crate::lab::model::{Report, SummaryRow};
use crate::lab::scenarios::Scenario;
use crate::lab::section::{
    Bar, BarChart, BarGroup, Block, Colour, Entry, Quantity, Section, Table, TableRow, thousands,
    time, took_part,
};

/// A row of a table: what it is called, and what it is.
const ROWS: &[(&str, Op)] = &[
    ("with_service (borrow)", Op::WithService),
    ("  by a reader handle", Op::Reader),
    ("  in a snapshot", Op::SnapshotGet),
    ("  in a pinned view", Op::PinnedGet),
    ("with_service, back to back", Op::WithServiceBackToBack),
    ("  by a reader handle", Op::ReaderBackToBack),
    ("get_service (clone)", Op::GetService),
    ("get_service, missing", Op::Miss),
    ("get_services_by_name, 10", Op::ByName),
    ("  borrowed, pinned, back to back", Op::PinnedByName),
    ("get_all_services", Op::All),
    ("get_subscribers, 10", Op::Subscribers),
    ("update_health_status", Op::UpdateHealth),
    ("  one of 1,000, singly", Op::UpdatesSingly),
    ("  one of 1,000 in a batch", Op::UpdatesInBatch),
    ("save_service, new", Op::SaveNew),
    ("save_service, replace", Op::SaveReplace),
    ("delete_service", Op::Delete),
    ("delete_service + save", Op::DeleteSave),
    ("add_subscription", Op::AddSubscription),
    ("remove_subscription", Op::RemoveSubscription),
    ("snapshot()", Op::Snapshot),
    ("snapshot() and drop", Op::SnapshotAndDrop),
    ("clear(), whole store", Op::Clear),
    ("drop, whole store", Op::Drop),
];

/// The operations of the chart.
const CHART: &[(&str, Op)] = &[
    ("with_service", Op::WithService),
    ("back to back", Op::WithServiceBackToBack),
    ("get_service", Op::GetService),
    ("update_health_status", Op::UpdateHealth),
];

/// What a store with reader handles does through one.
fn by_reader(op: Op) -> Option<Op> {
    match op {
        Op::WithService => Some(Op::Reader),
        Op::WithServiceBackToBack => Some(Op::ReaderBackToBack),
        _ => None,
    }
}

struct Layout<'a> {
    report: &'a Report,
    /// The contenders that took part, with their places among all.
    stores: Vec<(usize, About)>,
}

/// The section.
pub(super) fn section(report: &Report, all: &[About]) -> Section {
    let layout = Layout {
        report,
        stores: took_part(report, NAME, all),
    };
    let sizes: Vec<usize> = SIZES
        .into_iter()
        .filter(|services| {
            layout
                .row(Op::WithService, &Floor::ABOUT, *services)
                .is_some()
        })
        .collect();
    let mut blocks = vec![
        Block::Chart(layout.chart(&sizes)),
        Block::Table(layout.key_ratios(&sizes)),
    ];
    blocks.extend(
        sizes
            .iter()
            .map(|&services| Block::Table(layout.costs(services))),
    );
    blocks.push(Block::Table(layout.throughput(&sizes)));
    Section {
        title: "Operations, one thread".into(),
        intro: Operations.method().into(),
        findings: layout.findings(),
        blocks,
    }
}

impl Layout<'_> {
    fn row(&self, op: Op, about: &About, services: usize) -> Option<&SummaryRow> {
        self.report.row(&op.cell(about.name, services))
    }

    fn contenders(&self) -> impl Iterator<Item = &(usize, About)> {
        let floor = |(_, about): &&(usize, About)| *about != Floor::ABOUT;
        self.stores.iter().filter(floor)
    }

    fn chart(&self, sizes: &[usize]) -> BarChart {
        let bar = |row: Option<&SummaryRow>, series: String, colour| {
            let (row, ratio) = row.and_then(|row| Some((row, row.ratio()?)))?;
            Some(Bar {
                series,
                colour,
                value: ratio.ratio,
                low: ratio.low,
                high: ratio.high,
                note: time(row.value),
            })
        };
        let mut groups = Vec::new();
        for &(label, op) in CHART {
            for &services in sizes.iter().filter(|&&services| services >= 1_000) {
                let mut bars = Vec::new();
                for (place, about) in self.contenders() {
                    let own = self.row(op, about, services);
                    bars.extend(bar(own, about.name.into(), Colour::Contender(*place)));
                    if let Some(by_reader) = by_reader(op) {
                        let series = format!("{}, reader handle", about.name);
                        let own = self.row(by_reader, about, services);
                        bars.extend(bar(own, series, Colour::Variant(*place)));
                    }
                }
                groups.push(BarGroup {
                    label: match op {
                        Op::WithServiceBackToBack => format!("with_service, {label}"),
                        _ => label.into(),
                    },
                    detail: format!("{} services", thousands(services as u64)),
                    bars,
                });
            }
        }
        BarChart {
            title: "Cost above a bare hash map".into(),
            axis: "times the floor, less is better".into(),
            quantity: Quantity::Ratio,
            line: Some((1.0, "floor".into())),
            limit: Some(4.0),
            groups,
        }
    }

    /// The table of the chart.
    fn key_ratios(&self, sizes: &[usize]) -> Table {
        let mut rows = Vec::new();
        let ops = CHART.iter().flat_map(|&(label, op)| {
            let by_reader = by_reader(op).map(|op| ("  by a reader handle", op));
            [Some((label, op)), by_reader].into_iter().flatten()
        });
        for (label, op) in ops {
            for &services in sizes.iter().filter(|&&services| services >= 1_000) {
                let entries = self.contenders().map(|(_, about)| {
                    let ratio = self.row(op, about, services).and_then(SummaryRow::ratio);
                    ratio.map_or(Entry::Empty, Entry::Ratio)
                });
                rows.push(TableRow {
                    name: format!("{label}, {}", thousands(services as u64)),
                    entries: entries.collect(),
                });
            }
        }
        Table {
            title: "Ratios to the floor".into(),
            note: "Geometric mean of the ratios of the blocks and its 95 % interval; \"=\" where \
                   that holds 1 or lies inside the noise floor."
                .into(),
            head: self.head(false),
            rows: rows.into_iter().filter(TableRow::is_filled).collect(),
            brief: true,
            intervals: false,
        }
    }

    fn head(&self, with_floor: bool) -> Vec<String> {
        let stores = self.stores.iter().map(|(_, about)| *about);
        let stores = stores.filter(|about| with_floor || *about != Floor::ABOUT);
        let stores = stores.map(|about| about.id.to_owned());
        std::iter::once("operation".to_owned())
            .chain(stores)
            .collect()
    }

    fn costs(&self, services: usize) -> Table {
        let rows = ROWS.iter().map(|&(name, op)| TableRow {
            name: name.into(),
            entries: self
                .stores
                .iter()
                .map(|(_, about)| {
                    let row = self.row(op, about, services);
                    row.map_or(Entry::Empty, SummaryRow::entry)
                })
                .collect(),
        });
        Table {
            title: format!("{} services", thousands(services as u64)),
            note: format!(
                "Time of one call, and its ratio to the floor; for a change of a batch, to one \
                 made singly; for by-name at 100,000, to 1,000 services; for snapshot(), to 10 \
                 services. {}",
                self.hits(services)
            ),
            head: self.head(true),
            rows: rows.filter(TableRow::is_filled).collect(),
            brief: services == 1_000,
            intervals: false,
        }
    }

    /// How many operations hit, which is checked for every sample.
    fn hits(&self, services: usize) -> String {
        let rows = || {
            let of_size =
                |row: &&SummaryRow| row.cell.scenario == NAME && row.cell.services == services;
            self.report.summary.iter().filter(of_size)
        };
        let is_miss = |row: &&SummaryRow| row.cell.metric == Op::Miss.metric();
        let all = rows().filter(|row| !is_miss(row));
        // Each sample against its own operations: their number is not the same in
        // every block.
        let all = all.filter(|row| row.hit_rate_min < 1.0).count() == 0;
        let none = rows().filter(is_miss).all(|row| row.hit_rate_max <= 0.0);
        if all && none {
            return "In every cell every operation hit, but for those that are to miss: there \
                    none did."
                .into();
        }
        "Some operations did not hit: see report.json.".into()
    }

    fn throughput(&self, sizes: &[usize]) -> Table {
        let ways = [
            ("with_service", Op::Throughput1, Op::Throughput2),
            (
                "reader handle",
                Op::ReaderThroughput1,
                Op::ReaderThroughput2,
            ),
        ];
        let mut rows = Vec::new();
        for &services in sizes {
            for (_, about) in self.contenders() {
                for (way, one, two) in ways {
                    let (Some(one), Some(two)) = (
                        self.row(one, about, services),
                        self.row(two, about, services),
                    ) else {
                        continue;
                    };
                    let entry = |row: &SummaryRow| match row.entry() {
                        _ if row.is_mostly_disturbed() => Entry::Text("not measured".into()),
                        Entry::Value { value, .. } => Entry::Text(value),
                        other => other,
                    };
                    let measured = !two.is_mostly_disturbed() && !one.is_mostly_disturbed();
                    let ratio = two.ratio().filter(|_| measured);
                    rows.push(TableRow {
                        name: format!("{}, {way}, {}", about.id, thousands(services as u64)),
                        entries: vec![
                            entry(one),
                            entry(two),
                            ratio.map_or(Entry::Empty, Entry::Ratio),
                            Entry::Text(two.undisturbed.map_or_else(
                                || "unknown".into(),
                                |samples| format!("{samples} of {}", two.blocks),
                            )),
                        ],
                    });
                }
            }
        }
        Table {
            title: "Two threads reading the same store".into(),
            note: format!(
                "Reads of all threads together, in millions a second, at {} services and on {} cores. Two \
                 are twice as fast as one where readers do not disturb each other. The last column \
                 says in how many samples both threads had a processor all the time; all of them \
                 count, and where that was so in half of them or fewer, nothing was measured.",
                sizes
                    .iter()
                    .filter(|&&services| services >= 1_000)
                    .map(|&services| thousands(services as u64))
                    .collect::<Vec<_>>()
                    .join(" and "),
                self.report.context.machine.cores
            ),
            head: [
                "store",
                "one thread",
                "two threads",
                "two over one",
                "undisturbed",
            ]
            .map(String::from)
            .into(),
            rows,
            brief: true,
            intervals: false,
        }
    }

    fn findings(&self) -> Vec<String> {
        let services = 1_000;
        let mut findings = Vec::new();
        let reads: Vec<String> = self
            .contenders()
            .filter_map(|(_, about)| {
                let ratio = self.row(Op::WithService, about, services)?.ratio()?;
                Some(format!("{} on {}", ratio.point(), about.name))
            })
            .collect();
        if !reads.is_empty() {
            findings.push(format!(
                "With 1,000 services, a read in place takes so many times the read of a bare hash \
                 map (\"=\" where the two cannot be told apart): {}.",
                reads.join(", ")
            ));
        }
        for (_, about) in self.contenders() {
            let ratio = |op| self.row(op, about, services).and_then(SummaryRow::ratio);
            if let (Some(ratio), Some(other)) = (ratio(Op::Reader), ratio(Op::ReaderBackToBack)) {
                findings.push(format!(
                    "Through a reader handle of {} the same read takes {}, and {} back to back.",
                    about.name,
                    ratio.point(),
                    other.point()
                ));
            }
        }
        // Where a store has a thread of its own, a second caller shortens the way there
        // and back, and says nothing of readers beside each other.
        let together: Vec<String> = self
            .contenders()
            .filter(|(_, about)| !about.own_thread)
            .filter_map(|(_, about)| {
                let row = self.row(Op::Throughput2, about, services)?;
                let ratio = row.ratio().filter(|_| !row.is_mostly_disturbed())?;
                Some(format!("{} on {}", ratio.point(), about.name))
            })
            .collect();
        if !together.is_empty() {
            findings.push(format!(
                "Two reading threads together are so many times as fast as one: {}.",
                together.join(", ")
            ));
        }
        for (_, about) in self.contenders() {
            let ratio = self
                .row(Op::UpdatesInBatch, about, services)
                .and_then(SummaryRow::ratio);
            let Some(ratio) = ratio.filter(|_| about.promises.snapshot != "no" && about.is_ours())
            else {
                continue;
            };
            findings.push(if ratio.equal {
                format!(
                    "On {}, 1,000 health updates in one batch cost as much as 1,000 single ones, \
                     as far as this run can tell.",
                    about.name
                )
            } else {
                format!(
                    "On {}, 1,000 health updates in one batch cost {:.0} % of 1,000 single ones.",
                    about.name,
                    ratio.ratio * 100.0
                )
            });
        }
        findings
    }
}
