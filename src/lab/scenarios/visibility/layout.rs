//! How *visibility* is shown.

use super::{Figure, NAME, PATIENCE, Visibility, Way, cell};
use crate::lab::contender::{self, About};
use crate::lab::model::{Report, SummaryRow};
use crate::lab::scenarios::Scenario;
use crate::lab::section::{
    Axis, Block, Colour, Entry, LineChart, Point, Quantity, Section, Series, Table, TableRow, bare,
    time, took_part,
};

/// A contender, and a way of reading it.
struct Line {
    about: About,
    way: Way,
    place: usize,
}

/// From so many reads a write on, both threads shared a core: there the writer gets on
/// only when the reader gives way, after [`PATIENCE`] reads that saw nothing new. On two
/// cores a store is read some hundred times a write.
const SHARED: u64 = 4_000;
const _: () = assert!(SHARED < PATIENCE);

struct Layout<'a> {
    report: &'a Report,
    lines: Vec<Line>,
}

/// The section.
pub(super) fn section(report: &Report) -> Section {
    let stores = took_part(report, NAME, &contender::all());
    let mut layout = Layout {
        report,
        lines: Vec::new(),
    };
    for way in Way::ALL {
        for &(place, about) in &stores {
            let line = Line { about, way, place };
            if layout.row(&line, Figure::Median).is_some() {
                layout.lines.push(line);
            }
        }
    }
    let mut blocks = Vec::new();
    for (title, ways) in [
        ("Seen by get_service, a clone", &[Way::Get][..]),
        (
            "Seen in place",
            &[Way::With, Way::Handle, Way::Snapshot][..],
        ),
    ] {
        blocks.push(Block::Lines(layout.curves(title, ways)));
        blocks.push(Block::Table(layout.table(title, ways)));
    }
    Section {
        title: "visibility".into(),
        intro: Visibility.method().into(),
        findings: layout.findings(),
        blocks,
    }
}

impl Layout<'_> {
    fn row(&self, line: &Line, figure: Figure) -> Option<&SummaryRow> {
        self.report.row(&cell(line.about.name, line.way, figure))
    }

    /// In how many samples of a line both threads shared a core, and of how many.
    /// Nothing is known of the null store, a number that is read as often on two cores.
    fn shared(&self, line: &Line) -> Option<(usize, usize)> {
        if !line.about.is_store() {
            return None;
        }
        let cell = cell(line.about.name, line.way, Figure::Median);
        let samples = self.report.results.iter();
        let reads: Vec<bool> = samples
            .filter(|sample| sample.cell == cell && sample.replica == 0)
            .filter_map(|sample| {
                let count = |kind| sample.kinds.get(kind).copied();
                Some(count("read")? > SHARED * count("write")?)
            })
            .collect();
        let shared = reads.iter().filter(|shared| **shared).count();
        (!reads.is_empty()).then_some((shared, reads.len()))
    }

    fn of<'l>(&'l self, ways: &'l [Way]) -> impl Iterator<Item = &'l Line> {
        self.lines.iter().filter(|line| ways.contains(&line.way))
    }

    fn curves(&self, title: &str, ways: &[Way]) -> LineChart {
        let nines = |share: f64| (1.0 - share).recip();
        let series = self.of(ways).filter_map(|line| {
            let row = self.row(line, Figure::P99)?;
            #[allow(clippy::cast_precision_loss)] // counts far below 2^52
            let most = row.operations.max(100) as f64 * 1.01;
            let points = row.percentiles.iter().map(|&[share, y]| Point {
                x: nines(share),
                // 0 has no place on this axis: seen at once.
                y: y.max(1.0),
                low: y.max(1.0),
                high: y.max(1.0),
            });
            Some(Series {
                name: name(line),
                colour: match line.way {
                    _ if !line.about.is_store() => Colour::Neutral,
                    Way::Get | Way::With => Colour::Contender(line.place),
                    Way::Handle | Way::Snapshot => Colour::Variant(line.place),
                },
                joined: true,
                points: points
                    .filter(|point| (1.99..=most).contains(&point.x))
                    .collect(),
            })
        });
        LineChart {
            title: format!("{title}: from the return of a write"),
            x: Axis {
                label: "so many of the writes had been seen".into(),
                quantity: Quantity::Number,
                logarithmic: true,
                ticks: [
                    (0.5, "50 %"),
                    (0.9, "90 %"),
                    (0.99, "99 %"),
                    (0.999, "99.9 %"),
                ]
                .map(|(share, label)| (nines(share), label.to_owned()))
                .into(),
            },
            y: Axis {
                label: "after this long (median of the blocks), less is better; 0 is drawn at 1 ns"
                    .into(),
                quantity: Quantity::Time,
                logarithmic: true,
                ticks: Vec::new(),
            },
            marks: Vec::new(),
            series: series.collect(),
        }
    }

    fn table(&self, title: &str, ways: &[Way]) -> Table {
        let rows = self.of(ways).map(|line| TableRow {
            name: name(line),
            entries: Figure::ALL
                .map(|figure| match (figure, self.row(line, figure)) {
                    (_, None) => Entry::Empty,
                    (Figure::Early, Some(row)) => {
                        Entry::Text(format!("{} %", bare(row.value / 10.0)))
                    }
                    (_, Some(row)) => row.entry(),
                })
                .into_iter()
                .chain(
                    [self.shared(line).map_or(Entry::Empty, |(shared, samples)| {
                        Entry::Text(format!("{shared} of {samples}"))
                    })],
                )
                .collect(),
        });
        Table {
            title: title.into(),
            note: "Medians of the blocks. From the return of the write, where 0 is a write that was \
                   seen before its call had returned; the column before the last says how many were. From \
                   its start, with the ratio to ThreadSafeMemoryStore, \"=\" where the two cannot be \
                   told apart. The null store is a bare atomic number. The last column: in how many blocks \
                   both threads shared a core; there the harness measured its own wait, and the \
                   times tell nothing of the store."
                .into(),
            head: [
                "store",
                "p50",
                "p99",
                "from the start, p50",
                "seen before",
                "shared a core",
            ]
            .map(String::from)
            .into(),
            rows: rows.collect(),
            brief: true,
            intervals: false,
        }
    }

    fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        let known: Vec<(usize, usize)> = self
            .lines
            .iter()
            .filter_map(|line| self.shared(line))
            .collect();
        let shared: usize = known.iter().map(|(shared, _)| shared).sum();
        let samples: usize = known.iter().map(|(_, samples)| samples).sum();
        if shared > 0 {
            findings.push(format!(
                "Both threads shared a core in {shared} of {samples} blocks, each way of reading counted by \
                 itself: there it is the wait of the harness that was measured, not the store."
            ));
        }
        let told: Vec<String> = self
            .of(&[Way::Get])
            .filter_map(|line| {
                let row = self.row(line, Figure::FromStart)?;
                Some(format!("{} on {}", time(row.value), line.about.name))
            })
            .collect();
        if !told.is_empty() {
            findings.push(format!(
                "From the start of a write to the first get_service that shows it, half of the writes \
                 took at most (medians, not judged): {}.",
                told.join(", ")
            ));
        }
        findings
    }
}

fn name(line: &Line) -> String {
    match line.way {
        Way::Get | Way::With => line.about.name.into(),
        Way::Handle => format!("{}, reader handle", line.about.name),
        Way::Snapshot => format!("{}, new snapshot", line.about.name),
    }
}
