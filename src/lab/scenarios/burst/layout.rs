//! How the bursts are shown.

use super::{FILLS, NAME, REFERENCE, Reading};
use crate::lab::contender::{About, Contender, Null};
use crate::lab::model::{Report, SummaryRow};
use crate::lab::section::{
    Bar, BarChart, BarGroup, Block, Colour, Entry, Quantity, Section, Table, TableRow, thousands,
    time,
};
use crate::lab::workload::Mix;

struct Layout<'a> {
    report: &'a Report,
    /// The contenders that took part, with their places among all.
    stores: Vec<(usize, About)>,
}

/// The section.
pub(super) fn section(report: &Report, all: &[About]) -> Section {
    let took_part = |about: &About| {
        let mut cells = report.summary.iter().map(|row| &row.cell);
        cells.any(|cell| cell.scenario == NAME && cell.store == about.name)
    };
    let stores = all.iter().copied().enumerate();
    let layout = Layout {
        report,
        stores: stores.filter(|(_, about)| took_part(about)).collect(),
    };
    let mut blocks = Vec::new();
    for reading in Reading::ALL {
        for services in FILLS.into_iter().rev() {
            blocks.push(Block::Chart(layout.chart(reading, services)));
            blocks.push(Block::Table(layout.table(reading, services)));
        }
    }
    Section {
        title: "burst-30x100".into(),
        intro: "30 workers on a rayon pool of 30 threads, 100 operations each, 3,000 in all, held \
                back by a barrier and let go together; every store fresh for every burst, keys \
                and records prepared before. A read is get_service. On 1,000 services half of the \
                writes replace a record and half update a health status; on an empty store every \
                write registers a pod. The null store does nothing: what it takes is the waking of \
                30 threads, and no store can be faster."
            .into(),
        findings: layout.findings(),
        blocks,
    }
}

impl Layout<'_> {
    fn row(
        &self,
        reading: Reading,
        about: &About,
        services: usize,
        mix: Mix,
    ) -> Option<&SummaryRow> {
        self.report.row(&reading.cell(about.name, services, mix))
    }

    fn chart(&self, reading: Reading, services: usize) -> BarChart {
        let groups = Mix::ALL.map(|mix| BarGroup {
            label: format!("{mix} reads/writes"),
            detail: match self.hits(services, mix).split_once('/') {
                Some((hits, reads)) => format!("{hits} of {reads} reads hit"),
                None => "no reads".into(),
            },
            bars: self
                .stores
                .iter()
                .filter_map(|(place, about)| {
                    let row = self.row(reading, about, services, mix)?;
                    Some(Bar {
                        series: about.name.into(),
                        colour: if *about == Null::ABOUT {
                            Colour::Neutral
                        } else {
                            Colour::Contender(*place)
                        },
                        value: row.value,
                        low: row.value_low,
                        high: row.value_high,
                        note: String::new(),
                    })
                })
                .collect(),
        });
        BarChart {
            title: format!("{}, {}", what(reading), on(services)),
            axis: "time per operation, less is better".into(),
            quantity: Quantity::Time,
            line: None,
            limit: None,
            groups: groups.into(),
        }
    }

    fn table(&self, reading: Reading, services: usize) -> Table {
        let rows = Mix::ALL.map(|mix| TableRow {
            name: mix.to_string(),
            entries: std::iter::once(Entry::Text(self.hits(services, mix)))
                .chain(self.stores.iter().map(|(_, about)| {
                    let row = self.row(reading, about, services, mix);
                    row.map_or(Entry::Empty, SummaryRow::entry)
                }))
                .collect(),
        });
        let heads = self.stores.iter().map(|(_, about)| about.id.to_owned());
        Table {
            title: format!("{}, {}", what(reading), on(services)),
            note: match reading {
                Reading::Burst => {
                    "From the first worker's start to the last one's end, over 3,000 \
                                   operations; ratio to ThreadSafeMemoryStore with its 95 % \
                                   interval, \"=\" where that holds 1."
                        .into()
                }
                Reading::InWorker => "The workers' own times added up, over 3,000 operations: an \
                                      operation with its contention, without the waking of threads."
                    .into(),
            },
            head: ["reads/writes", "hits/reads"]
                .map(String::from)
                .into_iter()
                .chain(heads)
                .collect(),
            rows: rows.into(),
            brief: reading == Reading::Burst,
            intervals: true,
        }
    }

    /// How many reads hit: of the reference, which stands for all but the null
    /// store.
    fn hits(&self, services: usize, mix: Mix) -> String {
        let Some(row) = self.row(Reading::Burst, REFERENCE, services, mix) else {
            return String::new();
        };
        let reads = row.operations - row.writes;
        match (row.hits_min - row.writes, row.hits_max - row.writes) {
            _ if reads == 0 => "no reads".into(),
            (min, max) if min == max => format!("{min}/{reads}"),
            (min, max) => format!("{min}–{max}/{reads}"),
        }
    }

    fn findings(&self) -> Vec<String> {
        let services = FILLS[1];
        let mut findings = Vec::new();
        let null = self.row(Reading::Burst, &Null::ABOUT, services, Mix::ALL[0]);
        let full = self.row(Reading::Burst, REFERENCE, services, Mix::ALL[0]);
        if let (Some(null), Some(full)) = (null, full) {
            findings.push(format!(
                "A burst of reads takes {} an operation on ThreadSafeMemoryStore, and {} on a store \
                 that does nothing: {:.0} % of the figure is the waking of 30 threads.",
                time(full.value),
                time(null.value),
                null.value / full.value * 100.0
            ));
        }
        for (_, about) in &self.stores {
            let mut quicker = Vec::new();
            let mut slower = Vec::new();
            let mut equal = Vec::new();
            for mix in Mix::ALL {
                let row = self.row(Reading::Burst, about, services, mix);
                let Some(ratio) = row.and_then(SummaryRow::ratio) else {
                    continue;
                };
                let list = match ratio.ratio {
                    _ if ratio.is_equal() => &mut equal,
                    ratio if ratio < 1.0 => &mut quicker,
                    _ => &mut slower,
                };
                list.push(mix.to_string());
            }
            let parts: Vec<String> = [
                ("faster", quicker),
                ("slower", slower),
                ("not to be told apart", equal),
            ]
            .into_iter()
            .filter(|(_, mixes)| !mixes.is_empty())
            .map(|(word, mixes)| format!("{word} at {}", mixes.join(", ")))
            .collect();
            if !parts.is_empty() {
                findings.push(format!(
                    "Next to ThreadSafeMemoryStore, on 1,000 services, {} is {}.",
                    about.name,
                    parts.join("; ")
                ));
            }
        }
        findings
    }
}

fn what(reading: Reading) -> &'static str {
    match reading {
        Reading::Burst => "Whole burst",
        Reading::InWorker => "Inside the workers",
    }
}

fn on(services: usize) -> String {
    match services {
        0 => "empty store".into(),
        services => format!("{} services", thousands(services as u64)),
    }
}
