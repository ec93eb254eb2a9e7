//! How the bursts are shown.

use super::{Burst30x100, FILLS, NAME, REFERENCE, Reading};
use crate::lab::contender::{About, Contender, Null};
use crate::lab::model::{Report, SummaryRow};
use crate::lab::scenarios::Scenario;
use crate::lab::section::{
    Bar, BarChart, BarGroup, Block, Colour, Entry, Quantity, Section, Table, TableRow, thousands,
    time, took_part,
};
use crate::lab::workload::Mix;

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
    let mut blocks = Vec::new();
    for reading in Reading::ALL {
        for services in FILLS.into_iter().rev() {
            blocks.push(Block::Chart(layout.chart(reading, services)));
            blocks.push(Block::Table(layout.table(reading, services)));
        }
    }
    Section {
        title: "burst-30x100".into(),
        intro: Burst30x100.method().into(),
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
        let metric = reading.metric(mix);
        // Whatever the number of threads: that of rayon's default pool is the machine's.
        self.report.summary.iter().find(|row| {
            let cell = &row.cell;
            (cell.scenario.as_str(), cell.store.as_str()) == (NAME, about.name)
                && (cell.services, &cell.metric) == (services, &metric)
        })
    }

    fn chart(&self, reading: Reading, services: usize) -> BarChart {
        let groups = Mix::ALL.map(|mix| BarGroup {
            label: format!("{mix} reads/writes"),
            detail: match self.hits(reading, services, mix).split_once('/') {
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
        let rows = Mix::ALL.map(|mix| {
            let all = self.hits(reading, services, mix);
            let entry = |about: &About| {
                let Some(row) = self.row(reading, about, services, mix) else {
                    return Entry::Empty;
                };
                match row.entry() {
                    // One number for all needs to be said once.
                    Entry::Value { value, ratio, .. } if all.contains('–') => Entry::Value {
                        value,
                        ratio,
                        hits: Some(hits(&[row])),
                    },
                    entry => entry,
                }
            };
            TableRow {
                name: mix.to_string(),
                entries: std::iter::once(Entry::Text(all.clone()))
                    .chain(self.stores.iter().map(|(_, about)| entry(about)))
                    .collect(),
            }
        });
        let heads = self.stores.iter().map(|(_, about)| about.id.to_owned());
        Table {
            title: format!("{}, {}", what(reading), on(services)),
            note: note(reading).into(),
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

    /// How many reads hit, from the store with the fewest to the one with the
    /// most; the null store, where nothing can, does not count.
    fn hits(&self, reading: Reading, services: usize, mix: Mix) -> String {
        let stores = self.stores.iter().filter(|(_, about)| about.is_store());
        let rows: Vec<&SummaryRow> = stores
            .filter_map(|(_, about)| self.row(reading, about, services, mix))
            .collect();
        hits(&rows)
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
        let crews = [Reading::Burst, Reading::Tasks, Reading::Threads];
        let forks: Vec<String> = crews
            .into_iter()
            .filter_map(|reading| {
                let row = self.row(reading, &Null::ABOUT, services, Mix::ALL[0])?;
                let who = match reading {
                    Reading::Tasks => "as tasks on rayon's default pool",
                    Reading::Threads => "on plain threads",
                    _ => "on a pool of 30 threads",
                };
                Some(format!("{} {who}", time(row.value)))
            })
            .collect();
        if forks.len() == crews.len() {
            findings.push(format!(
                "Starting and ending the burst takes so much of every operation, on a store that \
                 does nothing: {}.",
                forks.join(", ")
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
                    _ if ratio.equal => &mut equal,
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
            .map(|(word, mixes)| match mixes.len() {
                all if all == Mix::ALL.len() => format!("{word} at every mix"),
                _ => format!("{word} at {}", mixes.join(", ")),
            })
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

/// Reads that hit, of all reads of a burst: `2850/2850`, `177–252/2850`.
fn hits(rows: &[&SummaryRow]) -> String {
    let min = rows.iter().map(|row| row.hits_min - row.writes).min();
    let max = rows.iter().map(|row| row.hits_max - row.writes).max();
    let reads = rows.first().map(|row| row.operations - row.writes);
    match (min, max, reads) {
        (Some(min), Some(max), Some(reads)) if reads > 0 => {
            let hits = if min == max {
                min.to_string()
            } else {
                format!("{min}–{max}")
            };
            format!("{hits}/{reads}")
        }
        _ => "no reads".into(),
    }
}

fn what(reading: Reading) -> &'static str {
    match reading {
        Reading::Burst => "Whole burst",
        Reading::InWorker => "Inside the workers",
        Reading::Tasks => "As 30 tasks on rayon's default pool",
        Reading::Threads => "On 30 plain threads",
    }
}

fn note(reading: Reading) -> &'static str {
    match reading {
        Reading::Burst => {
            "From the first worker's start to the last one's end, over 3,000 operations; ratio to \
             ThreadSafeMemoryStore with its 95 % interval, \"=\" where the two cannot be told apart."
        }
        Reading::InWorker => {
            "The workers' own times added up, over 3,000 operations: an operation with its \
             contention, without the waking of threads."
        }
        Reading::Tasks => {
            "From before the first fork to after the last join, over 3,000 operations: a thread a \
             core takes one task after the other, so that fewer contend than there are workers. \
             The null store shows what fork and join cost."
        }
        Reading::Threads => {
            "From the first thread's start to the last one's end, over 3,000 operations; the \
             threads are fresh ones, each of which meets the store for the first time. The null \
             store shows what waking them costs."
        }
    }
}

fn on(services: usize) -> String {
    match services {
        0 => "empty store".into(),
        services => format!("{} services", thousands(services as u64)),
    }
}
