//! How *snapshot-scan* is shown.

use super::{Figure, NAME, REFERENCE, Scan, SnapshotScan};
use crate::lab::contender::{self, About};
use crate::lab::model::{Report, SummaryRow};
use crate::lab::scenarios::Scenario;
use crate::lab::section::{
    Bar, BarChart, BarGroup, Block, Colour, Entry, Forest, ForestRow, Quantity, Section, Table,
    TableRow, significant, thousands, took_part,
};

/// A contender, and a way in which it is scanned.
struct Line {
    about: About,
    scan: Scan,
    place: usize,
}

impl Line {
    fn name(&self) -> String {
        match self.scan {
            Scan::Clone => self.about.name.into(),
            Scan::View => format!("{}, view", self.about.name),
        }
    }

    const fn colour(&self) -> Colour {
        match self.scan {
            Scan::Clone => Colour::Contender(self.place),
            Scan::View => Colour::Variant(self.place),
        }
    }
}

struct Layout<'a> {
    report: &'a Report,
    services: usize,
    lines: Vec<Line>,
}

/// The section.
pub(super) fn section(report: &Report) -> Section {
    let own = report.results.iter().filter(|m| m.cell.scenario == NAME);
    let services = own.map(|m| m.cell.services).max().unwrap_or(0);
    let stores = took_part(report, NAME, &contender::all());
    let lines = stores
        .into_iter()
        .flat_map(|(place, about)| Scan::ALL.map(|scan| Line { about, scan, place }));
    let mut layout = Layout {
        report,
        services,
        lines: Vec::new(),
    };
    layout.lines = lines
        .filter(|line| layout.row(Figure::Time(line.scan), line).is_some())
        .collect();
    Section {
        title: "snapshot-scan".into(),
        intro: SnapshotScan.method().into(),
        findings: layout.findings(),
        blocks: vec![
            Block::Chart(layout.chart()),
            Block::Table(layout.scans()),
            Block::Forest(layout.forest()),
            Block::Table(layout.writers()),
        ],
    }
}

impl Layout<'_> {
    fn row(&self, figure: Figure, line: &Line) -> Option<&SummaryRow> {
        self.report
            .row(&figure.cell(line.about.name, self.services))
    }

    fn entry(&self, figure: Figure, line: &Line) -> Entry {
        match self.row(figure, line).map(SummaryRow::entry) {
            // The unit stands in the head.
            Some(Entry::Value { value, ratio, hits }) => Entry::Value {
                value: value.trim_end_matches(" 1/s").into(),
                ratio,
                hits,
            },
            entry => entry.unwrap_or(Entry::Empty),
        }
    }

    /// The mean over all blocks: scans weigh alike in all of them, and of what is
    /// rare the median says nothing.
    #[allow(clippy::cast_precision_loss)] // counts far below 2^52
    fn mean(&self, figure: Figure, line: &Line) -> Option<f64> {
        let cell = figure.cell(line.about.name, self.services);
        let samples = self.report.results.iter();
        let own: Vec<(f64, f64)> = samples
            .filter(|m| m.cell == cell && m.replica == 0)
            .map(|m| (m.value * m.operations as f64, m.operations as f64))
            .collect();
        let all: f64 = own.iter().map(|(_, scans)| scans).sum();
        (all > 0.0).then(|| own.iter().map(|(sum, _)| sum).sum::<f64>() / all)
    }

    fn chart(&self) -> BarChart {
        let groups = Scan::ALL.map(|scan| BarGroup {
            label: match scan {
                Scan::Clone => "get_all_services, a clone of each".into(),
                Scan::View => "a view, looked at in place".into(),
            },
            detail: format!("{} services", thousands(self.services as u64)),
            bars: self
                .lines
                .iter()
                .filter(|line| line.scan == scan)
                .filter_map(|line| {
                    let row = self.row(Figure::Time(scan), line)?;
                    Some(Bar {
                        series: line.name(),
                        colour: line.colour(),
                        value: row.value,
                        low: row.value_low,
                        high: row.value_high,
                        note: consistency(self.mean(Figure::Torn(scan), line), {
                            self.mean(Figure::Mixed(scan), line)
                        })
                        .into(),
                    })
                })
                .collect(),
        });
        BarChart {
            title: "A scan of everything beside a writer".into(),
            axis: "median time of a scan, less is better".into(),
            quantity: Quantity::Time,
            line: None,
            limit: None,
            groups: groups
                .into_iter()
                .filter(|group| !group.bars.is_empty())
                .collect(),
        }
    }

    fn scans(&self) -> Table {
        let rows = self.lines.iter().map(|line| {
            let (torn, mixed) = (
                self.mean(Figure::Torn(line.scan), line),
                self.mean(Figure::Mixed(line.scan), line),
            );
            let text = |share: Option<f64>| match share {
                None => Entry::Empty,
                Some(0.0) => Entry::Text("0".into()),
                Some(share) => Entry::Text(significant(share)),
            };
            TableRow {
                name: line.name(),
                entries: vec![
                    self.entry(Figure::Time(line.scan), line),
                    self.entry(Figure::P99(line.scan), line),
                    text(torn),
                    text(mixed),
                    Entry::Text(consistency(torn, mixed).into()),
                ],
            }
        });
        Table {
            title: format!(
                "A scan of {} services beside a writer",
                thousands(self.services as u64)
            ),
            note: "Median and 99th percentile of the scans of a block, with their ratios to \
                   ThreadSafeMemoryStore; a look at a view copies nothing and has no ratio. Torn: \
                   scans of a thousand that show a part of a batch. Mixed: those that show a \
                   state which the store never had, the torn ones among them. What a scan gives is \
                   what was found; 0 torn scans prove nothing, one proves that there are some."
                .into(),
            head: ["store", "scan", "p99", "torn ‰", "mixed ‰", "a scan gives"]
                .map(String::from)
                .into(),
            rows: rows.collect(),
            brief: true,
            intervals: false,
        }
    }

    fn forest(&self) -> Forest {
        let alone = Figure::Alone.cell(REFERENCE.name, self.services);
        let noise = self.report.noise.iter().find(|noise| noise.cell == alone);
        let rows = self.lines.iter().filter_map(|line| {
            let ratio = self.row(Figure::Beside(line.scan), line)?.ratio()?;
            Some(ForestRow {
                label: line.name(),
                colour: line.colour(),
                ratio,
            })
        });
        Forest {
            title: "What is left to the writer beside scans".into(),
            axis: "commits a second, times those while nobody scans; more is better".into(),
            noise: noise.map(|noise| noise.floor),
            rows: rows.collect(),
        }
    }

    fn writers(&self) -> Table {
        let rows = self.lines.iter().map(|line| TableRow {
            name: line.name(),
            entries: vec![
                match line.scan {
                    Scan::Clone => self.entry(Figure::Alone, line),
                    // The same writer as in the row above.
                    Scan::View => Entry::Empty,
                },
                self.entry(Figure::Beside(line.scan), line),
            ],
        });
        Table {
            title: "What writers lose".into(),
            note: "Commits a second, of eight changes each: alone, with the ratio to \
                   ThreadSafeMemoryStore; and beside scans, with the ratio to those of the same \
                   store alone. Scans are on for about half of the time; in between they are judged."
                .into(),
            head: ["store", "alone, 1/s", "beside scans, 1/s"]
                .map(String::from)
                .into(),
            rows: rows.collect(),
            brief: true,
            intervals: true,
        }
    }

    fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        let by_kind = |wanted: &str| -> Vec<String> {
            let of_kind = self.lines.iter().filter(|line| {
                let torn = self.mean(Figure::Torn(line.scan), line);
                consistency(torn, self.mean(Figure::Mixed(line.scan), line)) == wanted
            });
            of_kind.map(Line::name).collect()
        };
        let (torn, mixed, whole) = (by_kind(TORN), by_kind(MIXED), by_kind(WHOLE));
        if !whole.is_empty() {
            let whole = whole.join(", ");
            findings.push(format!(
                "Every scan showed a state that the store had at some moment: {whole}."
            ));
        }
        if !torn.is_empty() {
            let torn = torn.join(", ");
            findings.push(format!("Some scans showed a part of a batch: {torn}."));
        }
        if !mixed.is_empty() {
            let mixed = mixed.join(", ");
            findings.push(format!(
                "Some scans showed a state that never was, though no batch in part: {mixed}."
            ));
        }
        let left: Vec<String> = self
            .lines
            .iter()
            .filter_map(|line| {
                let ratio = self.row(Figure::Beside(line.scan), line)?.ratio()?;
                Some(format!("{} on {}", ratio.point(), line.name()))
            })
            .collect();
        if !left.is_empty() {
            findings.push(format!(
                "Beside scans the writer reaches so many times the commits that it reaches alone: \
                 {}.",
                left.join(", ")
            ));
        }
        findings
    }
}

const WHOLE: &str = "one state";
const MIXED: &str = "several moments";
const TORN: &str = "parts of batches";

/// What scans were found to give.
fn consistency(torn: Option<f64>, mixed: Option<f64>) -> &'static str {
    match (torn, mixed) {
        (Some(torn), _) if torn > 0.0 => TORN,
        (_, Some(mixed)) if mixed > 0.0 => MIXED,
        (None, None) => "",
        _ => WHOLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_torn_scan_is_enough() {
        assert_eq!(consistency(Some(0.001), Some(0.001)), TORN);
        assert_eq!(consistency(Some(0.0), Some(2.0)), MIXED);
        assert_eq!(consistency(Some(0.0), Some(0.0)), WHOLE);
    }
}
