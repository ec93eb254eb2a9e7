//! What a report shows besides what its scenarios have to show: all of them at a
//! glance, the noise floor, the blocks in time, and what the stores promise.

use std::collections::BTreeMap;

use crate::lab::model::{Disturbance, Kind as Origin, Process, Report};
use crate::lab::overall::{Kind, Overall, Overview};
use crate::lab::run::DISTURBED;
use crate::lab::section::{
    Axis, Block, Colour, Entry, Forest, ForestRow, LineChart, Point, Quantity, Ratio, Section,
    Series, Table, TableRow, bare, times,
};
use crate::lab::stability::{Stability, compared_noise, floor_text, typical_floor};
use crate::lab::stats::{median, quantile};

/// Every store in every scenario, as one ratio each.
pub(super) struct Glance<'a> {
    report: &'a Report,
    columns: Vec<Column<'a>>,
}

struct Column<'a> {
    scenario: &'a str,
    kind: Kind,
    head: String,
    reference: &'a str,
    stores: Vec<(&'a str, Overall)>,
}

impl<'a> Glance<'a> {
    pub(super) fn of(
        report: &'a Report,
        overview: &Overview<'a>,
        unstable: &Stability,
    ) -> Glance<'a> {
        let mut columns = Vec::new();
        for run in &report.context.scenarios {
            for kind in Kind::ALL {
                let stores = overview.next_to_reference(&run.name, kind);
                if stores.is_empty() {
                    continue;
                }
                columns.push(Column {
                    scenario: &run.name,
                    kind,
                    head: match kind {
                        Kind::Time if unstable.scenarios.contains(&run.name) => {
                            format!("{} (unstable)", run.name)
                        }
                        Kind::Time => run.name.clone(),
                        // *memory* is about nothing else.
                        other if other.name() == run.name => run.name.clone(),
                        other => format!("{}, {}", run.name, other.name()),
                    },
                    reference: &run.reference,
                    stores,
                });
            }
        }
        Glance { report, columns }
    }

    /// The heatmap.
    pub(super) fn section(&self) -> Section {
        let mut head = vec!["store".to_owned()];
        head.extend(self.columns.iter().map(|column| column.head.clone()));
        let mut rows = vec![TableRow {
            name: "next to".into(),
            entries: self
                .columns
                .iter()
                .map(|column| Entry::Text(self.id(column.reference)))
                .collect(),
        }];
        for contender in &self.report.context.contenders {
            let entry = |column: &Column<'_>| {
                let mut stores = column.stores.iter();
                match stores.find(|(name, _)| *name == contender.name) {
                    Some((_, overall)) => Entry::Heat(overall.ratio),
                    None if column.reference == contender.name => Entry::Text("1".into()),
                    None => Entry::Empty,
                }
            };
            rows.push(TableRow {
                name: contender.name.clone(),
                entries: self.columns.iter().map(entry).collect(),
            });
        }
        rows.retain(TableRow::is_filled);
        Section {
            title: "At a glance".into(),
            intro: "One ratio for each store and scenario: the geometric mean over all cells that every \
                    store of the scenario has, next to its reference, in the same blocks. Less is better, \
                    of throughputs as well: blue costs less than the reference, orange more, and \"=\" \
                    cannot be told from it. Of a scenario that is marked as unstable nothing should be cited. \
                    A mean hides what it is made of, and a weakly consistent scan \
                    stands here beside a consistent one: read the section of a scenario, and what the \
                    stores promise, before you choose by it."
                .into(),
            findings: Vec::new(),
            blocks: vec![Block::Table(Table {
                title: "At a glance".into(),
                note: String::new(),
                head,
                rows,
                brief: false,
                intervals: true,
            })],
        }
    }

    /// The ratios of a scenario with their intervals, to stand at its start.
    pub(super) fn forests(&self, scenario: &str) -> Vec<Block> {
        let own = self
            .columns
            .iter()
            .filter(|column| column.scenario == scenario);
        own.filter(|column| column.stores.len() > 1)
            .flat_map(|column| self.forest(column))
            .collect()
    }

    fn forest(&self, column: &Column<'_>) -> [Block; 2] {
        let cells = column
            .stores
            .iter()
            .map(|(_, overall)| overall.cells)
            .max()
            .unwrap_or(0);
        let title = match column.kind {
            Kind::Time => "All in all".to_owned(),
            other => format!("All in all, {}", other.name()),
        };
        let forest = Forest {
            title: title.clone(),
            axis: format!("next to {}, less is better", column.reference),
            noise: typical_floor(self.report, column.scenario, Some(column.kind)),
            rows: column
                .stores
                .iter()
                .map(|(name, overall)| ForestRow {
                    label: (*name).into(),
                    colour: self.colour(name),
                    ratio: overall.ratio,
                })
                .collect(),
        };
        let table = Table {
            title,
            note: format!(
                "Geometric mean over the {cells} cells that all of these stores have, next to {}.",
                column.reference
            ),
            head: ["store", "ratio", "cells", "blocks"]
                .map(String::from)
                .into(),
            rows: column
                .stores
                .iter()
                .map(|(name, overall)| TableRow {
                    name: (*name).into(),
                    entries: vec![
                        Entry::Heat(overall.ratio),
                        Entry::Text(overall.cells.to_string()),
                        Entry::Text(overall.blocks.to_string()),
                    ],
                })
                .collect(),
            brief: false,
            intervals: true,
        };
        [Block::Forest(forest), Block::Table(table)]
    }

    fn id(&self, name: &str) -> String {
        self.report
            .contender(name)
            .map_or_else(|| name.to_owned(), |info| info.id.clone())
    }

    fn colour(&self, name: &str) -> Colour {
        let mut contenders = self.report.context.contenders.iter();
        match contenders.position(|info| info.name == name) {
            Some(at) if self.report.context.contenders[at].kind != Origin::Measure => {
                Colour::Contender(at)
            }
            _ => Colour::Neutral,
        }
    }
}

/// Who took part, by the name and by the short one.
pub(super) fn who(report: &Report) -> Section {
    let took_part = |name: &str| report.summary.iter().any(|row| row.cell.store == name);
    let contenders = report.context.contenders.iter();
    let rows = contenders
        .filter(|info| took_part(&info.name))
        .map(|info| TableRow {
            name: info.name.clone(),
            entries: vec![
                Entry::Text(format!("`{}`", info.id)),
                Entry::Text(info.about.clone()),
            ],
        });
    let title = String::from("Who is measured");
    Section {
        title: title.clone(),
        intro: "Where room is short, a store goes by its short name, which is that of the command line \
                as well."
            .into(),
        findings: Vec::new(),
        blocks: vec![Block::Table(Table {
            title,
            note: String::new(),
            head: ["store", "short", "what it is"].map(String::from).into(),
            rows: rows.collect(),
            brief: false,
            intervals: false,
        })],
    }
}

/// How far the reference of each scenario is from itself.
pub(super) fn noise(report: &Report) -> Table {
    let rows =
        report.context.scenarios.iter().map(|run| {
            let own = compared_noise(report, &run.name, None);
            let worst = own.iter().max_by(|a, b| a.floor.total_cmp(&b.floor));
            let ratios: Vec<f64> = own
                .iter()
                .map(|noise| noise.ratio)
                .filter(|ratio| *ratio > 0.0)
                .collect();
            let ratio = crate::lab::stats::geometric_mean(&ratios);
            let text = |text: Option<String>| text.map_or(Entry::Empty, Entry::Text);
            TableRow {
                name: run.name.clone(),
                entries: vec![
                    Entry::Text(run.reference.clone()),
                    Entry::Text(run.blocks.to_string()),
                    Entry::Text(run.repeated.to_string()),
                    Entry::Text(run.disturbed.to_string()),
                    text(ratio.map(times)),
                    text(typical_floor(report, &run.name, None).map(floor_text)),
                    text(worst.map(|noise| {
                        format!("{} ({})", floor_text(noise.floor), noise.cell.metric)
                    })),
                ],
            }
        });
    Table {
        title: "Noise floor".into(),
        note: "The reference runs twice in every block; the ratio of its two runs, A/A, should be 1. The \
               floor of a cell is the end of that ratio's 95 % interval that is farther from 1: what is \
               nearer to 1 wins nothing. Of cells that others are compared with."
            .into(),
        head: ["scenario", "reference", "blocks", "repeated", "disturbed", "A/A ratio", "floor, median", "floor, worst"]
            .map(String::from)
            .into(),
        rows: rows.collect(),
        brief: false,
        intervals: true,
    }
}

/// What happened to the machine, block by block, from the start of the run to its
/// end.
pub(super) fn strip(report: &Report) -> Section {
    let mut blocks: BTreeMap<(&str, usize, bool), Vec<&Process>> = BTreeMap::new();
    for process in &report.processes {
        let block = (process.scenario.as_str(), process.block, process.repeated);
        blocks.entry(block).or_default().push(process);
    }
    let worst = |processes: &[&Process]| {
        let known = processes.iter().filter_map(|process| process.disturbance);
        known.map(Disturbance::share).max_by(f64::total_cmp)
    };
    let points = |wanted: &dyn Fn(bool, f64) -> bool| -> Vec<Point> {
        let blocks = blocks.iter().filter_map(|((_, _, repeated), processes)| {
            let share = worst(processes)?;
            let started = processes
                .iter()
                .map(|process| process.started)
                .fold(f64::MAX, f64::min);
            wanted(*repeated, share).then_some(Point {
                x: started,
                y: share,
                low: share,
                high: share,
            })
        });
        blocks.collect()
    };
    let series = [
        (
            "counts",
            Colour::Contender(4),
            points(&|repeated, share| !repeated && share <= DISTURBED),
        ),
        (
            "counts although disturbed",
            Colour::Contender(3),
            points(&|repeated, share| !repeated && share > DISTURBED),
        ),
        (
            "repeated, does not count",
            Colour::Variant(0),
            points(&|repeated, _| repeated),
        ),
    ];
    let chart = LineChart {
        title: "Blocks in time".into(),
        x: axis("seconds since the start", Quantity::Number),
        y: axis(
            "most that others took of the machine from one process",
            Quantity::Share,
        ),
        marks: Vec::new(),
        series: series
            .into_iter()
            .filter(|(.., points)| !points.is_empty())
            .map(|(name, colour, points)| Series {
                name: name.into(),
                colour,
                joined: false,
                points,
            })
            .collect(),
    };
    let mut shown = Vec::new();
    if !chart.series.is_empty() {
        shown.push(Block::Lines(chart));
    }
    shown.push(Block::Table(disturbances(report)));
    Section {
        title: "Blocks in time".into(),
        intro: format!(
            "Each point is a block: when it began, and the largest share of the machine that its host or \
             other programs took from one of its processes. Above {} % a block is disturbed and, as \
             long as repetitions last, run once more. Processes too short for the system's clock ({} of {} \
             here) have no share.",
            bare(DISTURBED * 100.0),
            report
                .processes
                .iter()
                .filter(|process| process.disturbance.is_none())
                .count(),
            report.processes.len(),
        ),
        findings: Vec::new(),
        blocks: shown,
    }
}

fn axis(label: &str, quantity: Quantity) -> Axis {
    Axis {
        label: label.into(),
        quantity,
        logarithmic: false,
        ticks: Vec::new(),
    }
}

/// What others did to each scenario.
fn disturbances(report: &Report) -> Table {
    #[allow(clippy::cast_precision_loss)] // counts of switches
    let rows = report.context.scenarios.iter().map(|run| {
        let own: Vec<&Process> = report
            .processes
            .iter()
            .filter(|process| process.scenario == run.name && !process.repeated)
            .collect();
        let known = || own.iter().filter_map(|process| process.disturbance);
        let stolen: Vec<f64> = known().map(|known| known.stolen).collect();
        let foreign: Vec<f64> = known().map(|known| known.foreign).collect();
        let voluntary = own.iter().filter_map(|process| process.voluntary_switches);
        let involuntary = own
            .iter()
            .filter_map(|process| process.involuntary_switches);
        TableRow {
            name: run.name.clone(),
            entries: vec![
                Entry::Text(own.len().to_string()),
                Entry::Text(format!(
                    "{:.1} s",
                    own.iter().map(|process| process.seconds).sum::<f64>()
                )),
                middle_and_most(&stolen, Quantity::Share),
                middle_and_most(&foreign, Quantity::Share),
                middle_and_most(
                    &voluntary.map(|n| n as f64).collect::<Vec<_>>(),
                    Quantity::Number,
                ),
                middle_and_most(
                    &involuntary.map(|n| n as f64).collect::<Vec<_>>(),
                    Quantity::Number,
                ),
            ],
        }
    });
    Table {
        title: "What others did meanwhile".into(),
        note: "Median and maximum over the processes whose blocks count: time that the host gave to other \
               guests, time that other programs used, and how often the threads of a process gave \
               their processor away or had to."
            .into(),
        head: ["scenario", "processes", "time", "stolen", "other programs", "switches, own will", "switches, forced"]
            .map(String::from)
            .into(),
        rows: rows.collect(),
        brief: false,
        intervals: true,
    }
}

fn middle_and_most(values: &[f64], quantity: Quantity) -> Entry {
    if values.is_empty() {
        return Entry::Empty;
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let [middle, most] = [median(values), quantile(&sorted, 1.0)].map(|value| match quantity {
        Quantity::Share => format!("{:.1} %", value * 100.0),
        other => other.text(value.round()),
    });
    Entry::Text(format!("{middle}, {most}"))
}

/// What the stores promise, of which no figure tells.
pub(super) fn semantics(report: &Report) -> Option<Section> {
    let took_part = |name: &str| report.summary.iter().any(|row| row.cell.store == name);
    let contenders = report
        .context
        .contenders
        .iter()
        .filter(|info| took_part(&info.name));
    let rows: Vec<TableRow> = contenders
        .filter_map(|info| {
            let promises = info.promises.as_ref()?;
            let built = info.crate_name.as_ref().map_or(String::new(), |name| {
                match report.context.crates.get(name) {
                    Some(version) => format!("{name} {version}"),
                    None => name.clone(),
                }
            });
            let yes = |kept: bool| Entry::Text(if kept { "yes" } else { "NO" }.into());
            Some(TableRow {
                name: if info.id == info.name {
                    info.name.clone()
                } else {
                    format!("{} ({})", info.name, info.id)
                },
                entries: vec![
                    Entry::Text(match info.kind {
                        Origin::Ours => "this crate".into(),
                        _ => "outside".into(),
                    }),
                    Entry::Text(built),
                    Entry::Text(promises.readers.clone()),
                    Entry::Text(promises.writers.clone()),
                    Entry::Text(strong(&promises.batch, "atomic")),
                    Entry::Text(strong(&promises.scan, "consistent")),
                    yes(promises.indexes_agree),
                    yes(promises.never_missing),
                    yes(promises.linearizable),
                    Entry::Text(promises.snapshot.clone()),
                    Entry::Text(promises.caveat.clone()),
                ],
            })
        })
        .collect();
    (!rows.is_empty()).then(|| Section {
        title: "What the stores promise".into(),
        intro: "Two figures compare only where the promises do. A scan that is weakly consistent holds \
                records that were never there together; a batch that becomes visible one by one can be \
                seen half done. Capitals mark what is weaker than the contract of this crate."
            .into(),
        findings: Vec::new(),
        blocks: vec![Block::Table(Table {
            title: "What the stores promise".into(),
            note: String::new(),
            head: [
                "store", "from", "built on", "readers", "writers", "several changes", "a scan",
                "indexes agree", "never missing", "one step", "snapshot", "mind",
            ]
            .map(String::from)
            .into(),
            rows,
            brief: false,
            intervals: false,
        })],
    })
}

fn strong(text: &str, strongest: &str) -> String {
    if text == strongest {
        text.to_owned()
    } else {
        text.to_uppercase()
    }
}

/// How a ratio is coloured: from far better than the reference to far worse, in
/// steps that a ratio crosses by as much on either side.
pub(super) fn heat(ratio: Ratio) -> &'static str {
    if ratio.equal {
        return "h-0";
    }
    match ratio.ratio {
        ratio if ratio <= 0.25 => "h-b3",
        ratio if ratio <= 0.67 => "h-b2",
        ratio if ratio < 1.0 => "h-b1",
        ratio if ratio < 1.5 => "h-w1",
        ratio if ratio < 4.0 => "h-w2",
        _ => "h-w3",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::synthetic::{self, BURST};

    fn table(blocks: &[Block]) -> &Table {
        let mut tables = blocks.iter().filter_map(|block| match block {
            Block::Table(table) => Some(table),
            _ => None,
        });
        tables.next().unwrap()
    }

    #[test]
    fn every_store_has_its_ratio_in_every_scenario_that_it_ran_in() {
        let report = synthetic::report();
        let stable = Stability::default();
        let glance = Glance::of(&report, &Overview::new(&report), &stable);
        let section = glance.section();
        let table = table(&section.blocks);
        assert_eq!(table.head, ["store", BURST, "sustained"]);
        let row = |name: &str| table.rows.iter().find(|row| row.name == name).unwrap();
        assert_eq!(row("dashmap").entries[1], Entry::Empty);
        assert_eq!(
            row("ThreadSafeMemoryStore").entries[0],
            Entry::Text("1".into())
        );
        assert!(matches!(row("EvmapStore").entries[1], Entry::Heat(ratio) if ratio.ratio < 0.3));
        assert!(
            table.rows.iter().all(|row| row.name != "MemoryStore"),
            "it did not run"
        );
        let unstable = Stability {
            scenarios: vec![BURST.into()],
            ..stable
        };
        let marked = Glance::of(&report, &Overview::new(&report), &unstable);
        assert_eq!(marked.columns[0].head, format!("{BURST} (unstable)"));
        assert_eq!(glance.forests(BURST).len(), 2);
        assert!(glance.forests("nothing").is_empty());
    }

    #[test]
    fn blocks_that_do_not_count_are_marked() {
        let mut report = synthetic::report();
        report.processes[0].disturbance.as_mut().unwrap().foreign = 0.4;
        let last = report.processes.len() - 1;
        report.processes[last].repeated = true;
        let section = strip(&report);
        let Block::Lines(chart) = &section.blocks[0] else {
            panic!("no chart");
        };
        let names: Vec<&str> = chart
            .series
            .iter()
            .map(|series| series.name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "counts",
                "counts although disturbed",
                "repeated, does not count"
            ]
        );
        assert!((chart.series[1].points[0].y - 0.41).abs() < 1e-9);
    }

    #[test]
    fn what_is_weaker_than_the_contract_stands_out() {
        let section = semantics(&synthetic::report()).unwrap();
        let table = table(&section.blocks);
        let row = |name: &str| {
            &table
                .rows
                .iter()
                .find(|row| row.name.starts_with(name))
                .unwrap()
                .entries
        };
        assert!(row("dashmap").contains(&Entry::Text("ONE BY ONE".into())));
        assert!(row("SnapshotStore").contains(&Entry::Text("atomic".into())));
    }

    #[test]
    fn equal_has_no_colour() {
        let ratio = |ratio, equal| Ratio {
            ratio,
            low: ratio,
            high: ratio,
            equal,
        };
        assert_eq!(heat(ratio(0.2, true)), "h-0");
        assert_eq!(heat(ratio(0.2, false)), "h-b3");
        assert_eq!(heat(ratio(9.0, false)), "h-w3");
    }
}
