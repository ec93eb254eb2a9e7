//! How *writer-storm* is shown.

use super::{NAME, PACES, SERVICES, THREADS, WriterStorm, reached, situation};
use crate::lab::model::{Report, SummaryRow};
use crate::lab::open_loop::Pace;
use crate::lab::scenarios::Scenario;
use crate::lab::scenarios::latency::{Cells, Figure, Line};
use crate::lab::section::{
    Axis, Block, Entry, LineChart, Point, Quantity, Section, Series, Table, TableRow, bare,
    capitalised, significant,
};

/// Where the pace that has no number stands on an axis of numbers.
const UNTHROTTLED: f64 = 1e6;

struct Layout<'a> {
    cells: Cells<'a>,
    /// The paces that were measured.
    paces: Vec<Pace>,
}

/// The section.
pub(super) fn section(report: &Report) -> Section {
    let cells = Cells {
        report,
        scenario: NAME,
        services: SERVICES,
        threads: THREADS,
    };
    let measured = |pace: &Pace| !cells.lines(&situation(*pace)).is_empty();
    let layout = Layout {
        paces: PACES.into_iter().filter(measured).collect(),
        cells,
    };
    let tail = layout.cells.tail();
    let p999 = |line: &Line, pace| layout.cells.figure(line, tail, &situation(pace));
    let title = format!("Reader {} by the pace of the writer", tail.name());
    let rate = |line: &Line, pace| layout.cells.row(line.about.name, reached(line.way, pace));
    let mut blocks = vec![
        Block::Lines(layout.by_pace(
            &title,
            match tail {
                Figure::P999 => "99.9 % of reads took at most, less is better",
                _ => "99 % of reads took at most, less is better",
            },
            Quantity::Time,
            p999,
        )),
        Block::Table(layout.table(
            &title,
            "From the moment at which a read was due to its answer: the median of the blocks, and \
             its ratio to ThreadSafeMemoryStore, \"=\" where the two cannot be told apart.",
            true,
            p999,
        )),
        Block::Lines(layout.by_pace(
            "Writes a second that the writer reached",
            "writes a second, more is better",
            Quantity::Number,
            rate,
        )),
        Block::Table(layout.table(
            "Writes a second that the writer reached",
            "While the reader read. A store whose writer falls behind has been spared what the \
             others had to bear: its latencies above are those of fewer writes.",
            false,
            rate,
        )),
    ];
    for &pace in layout.paces.iter().rev() {
        let beside = words(pace);
        blocks.push(Block::Lines(
            layout
                .cells
                .curves(format!("How long reads took {beside}"), &situation(pace)),
        ));
        blocks.push(Block::Table(layout.cells.figures(
            format!("Reads {beside}"),
            &situation(pace),
            false,
        )));
    }
    Section {
        title: "writer-storm".into(),
        intro: WriterStorm.method().into(),
        findings: layout.findings(),
        blocks,
    }
}

impl<'a> Layout<'a> {
    /// Everybody who was measured at some pace.
    fn lines(&self) -> Vec<Line> {
        let first = self.paces.first().copied().unwrap_or(Pace::Never);
        self.cells.lines(&situation(first))
    }

    fn by_pace(
        &self,
        title: &str,
        axis: &str,
        quantity: Quantity,
        row: impl Fn(&Line, Pace) -> Option<&'a SummaryRow>,
    ) -> LineChart {
        let series = self.lines().into_iter().map(|line| Series {
            name: line.name(),
            colour: line.colour(),
            joined: true,
            points: self
                .paces
                .iter()
                .filter_map(|&pace| {
                    let row = row(&line, pace)?;
                    Some(Point {
                        x: place(pace),
                        y: row.value,
                        low: row.value_low,
                        high: row.value_high,
                    })
                })
                .collect(),
        });
        LineChart {
            title: title.into(),
            x: Axis {
                label: "writes a second that the writer was to make".into(),
                quantity: Quantity::Number,
                logarithmic: true,
                ticks: self
                    .paces
                    .iter()
                    .map(|&pace| (place(pace), label(pace)))
                    .collect(),
            },
            y: Axis {
                label: axis.into(),
                quantity,
                logarithmic: true,
                ticks: Vec::new(),
            },
            marks: Vec::new(),
            series: series.filter(|series| !series.points.is_empty()).collect(),
        }
    }

    fn table(
        &self,
        title: &str,
        note: &str,
        brief: bool,
        row: impl Fn(&Line, Pace) -> Option<&'a SummaryRow>,
    ) -> Table {
        let rows = self.lines().into_iter().map(|line| TableRow {
            name: line.name(),
            entries: self
                .paces
                .iter()
                .map(|&pace| match row(&line, pace).map(SummaryRow::entry) {
                    // The unit stands in the title.
                    Some(Entry::Value { value, ratio, hits }) => Entry::Value {
                        value: value.trim_end_matches(" 1/s").into(),
                        ratio,
                        hits,
                    },
                    entry => entry.unwrap_or(Entry::Empty),
                })
                .collect(),
        });
        Table {
            title: title.into(),
            note: note.into(),
            head: std::iter::once("writes a second".to_owned())
                .chain(self.paces.iter().map(|&pace| label(pace)))
                .collect(),
            rows: rows.filter(TableRow::is_filled).collect(),
            brief,
            intervals: false,
        }
    }

    fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for pace in [Pace::Never, Pace::PerSecond(10_000), Pace::Unthrottled] {
            let range = self
                .cells
                .slowest_and_quickest(self.cells.tail(), &situation(pace));
            if let Some(range) = range {
                let beside = words(pace);
                let tail = self.cells.tail().name();
                findings.push(format!("{beside}, the {tail} of reads lies {range}."));
            }
        }
        let pace = situation(Pace::Unthrottled);
        let stalled: Vec<(String, String)> = self
            .cells
            .lines(&pace)
            .iter()
            .filter_map(|line| {
                let metric = line.way.metric(Figure::Stalls1ms, &pace);
                let mean = self.cells.mean(line.about.name, &metric)?;
                Some((bare(mean / 1e4), line.name()))
            })
            .collect();
        let (none, some): (Vec<_>, Vec<_>) = stalled
            .into_iter()
            .partition(|(percent, _)| percent.as_str() == "0");
        let some: Vec<String> = some
            .into_iter()
            .map(|(percent, name)| format!("{percent} % on {name}"))
            .collect();
        if !some.is_empty() {
            let others = match none.len() {
                0 => "",
                _ => "; on the others less than 0.001 %",
            };
            findings.push(format!(
                "{}, so many reads took longer than 1 ms: {}{others}.",
                words(Pace::Unthrottled),
                some.join(", ")
            ));
        } else if !none.is_empty() {
            findings.push(format!(
                "{}, less than 0.001 % of reads took longer than 1 ms.",
                words(Pace::Unthrottled)
            ));
        }
        let behind: Vec<String> = self
            .lines()
            .iter()
            .filter_map(|line| {
                let row = self
                    .cells
                    .row(line.about.name, reached(line.way, Pace::PerSecond(100_000)))?;
                (row.value < 95_000.0)
                    .then(|| format!("{} ({})", line.name(), significant(row.value)))
            })
            .collect();
        if !behind.is_empty() {
            findings.push(format!(
                "Of 100,000 writes a second these writers fell more than 5 % short: {}.",
                behind.join(", ")
            ));
        }
        findings.iter().map(|text| capitalised(text)).collect()
    }
}

fn place(pace: Pace) -> f64 {
    match pace {
        Pace::Never => 0.0,
        Pace::PerSecond(rate) => f64::from(rate),
        Pace::Unthrottled => UNTHROTTLED,
    }
}

fn label(pace: Pace) -> String {
    match pace {
        Pace::Never => "none".into(),
        Pace::PerSecond(rate) => crate::lab::section::thousands(rate),
        Pace::Unthrottled => "unthrottled".into(),
    }
}

fn words(pace: Pace) -> String {
    match pace {
        Pace::Never => "without a writer".into(),
        Pace::PerSecond(_) => format!("beside {} writes a second", label(pace)),
        Pace::Unthrottled => "beside a writer that goes as fast as it can".into(),
    }
}
