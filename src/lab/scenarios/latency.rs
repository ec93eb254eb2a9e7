//! What the scenarios share that measure how long readers wait: figures, who is
//! measured in which way, and charts and tables of them.

use crate::lab::contender::{self, About, Contender, Null, SnapshotContender, Visitor};
use crate::lab::fault::Fault;
use crate::lab::model::{Cell, Report, SummaryRow};
use crate::lab::open_loop::{Reads, Written};
use crate::lab::process::Trial;
use crate::lab::record::{Recorder, Sample, Unit};
use crate::lab::section::{
    Axis, Colour, Entry, LineChart, Point, Quantity, Series, Table, TableRow, significant, time,
    took_part,
};

/// Reads before the clock starts, at most: a first read may have to make a handle,
/// and through a store of messages on a busy machine thousands would take seconds.
pub(super) const WARM_UP: usize = 256;

/// Of fewer reads than these the last thousandth is a single one, and no 99.9th
/// percentile is told.
const TELLING: u64 = 1_000;

/// What is told of the latencies of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    P50,
    P99,
    P999,
    Max,
    /// Reads of a million that took longer than 100 µs.
    Stalls100us,
    /// Longer than 1 ms.
    Stalls1ms,
}

impl Figure {
    pub(super) const ALL: [Figure; 6] = [
        Figure::P50,
        Figure::P99,
        Figure::P999,
        Figure::Max,
        Figure::Stalls100us,
        Figure::Stalls1ms,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Figure::P50 => "p50",
            Figure::P99 => "p99",
            Figure::P999 => "p99.9",
            Figure::Max => "max",
            Figure::Stalls100us => "stalls_100us",
            Figure::Stalls1ms => "stalls_1ms",
        }
    }

    const fn head(self) -> &'static str {
        match self {
            Figure::Max => "slowest of all",
            Figure::Stalls100us => "over 100 µs",
            Figure::Stalls1ms => "over 1 ms",
            _ => self.name(),
        }
    }

    const fn is_stalls(self) -> bool {
        matches!(self, Figure::Stalls100us | Figure::Stalls1ms)
    }
}

/// Through what a reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// The store itself.
    Store,
    /// A reader handle.
    Handle,
}

impl Way {
    const ALL: [Way; 2] = [Way::Store, Way::Handle];

    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Way::Store => "",
            Way::Handle => "reader.",
        }
    }

    /// The name of a figure in a situation.
    pub(super) fn metric(self, figure: Figure, situation: &str) -> String {
        format!("{}{}_{situation}", self.prefix(), figure.name())
    }
}

/// Takes down all figures of a run that its reads can tell; the curve goes with the
/// 99th percentile.
pub(super) fn record_reads(
    record: &mut Recorder,
    cell: impl Fn(String) -> Cell,
    way: Way,
    situation: &str,
    reads: &Reads,
    sample: &Sample,
) -> Result<(), Fault> {
    #[allow(clippy::cast_precision_loss)] // at most a minute
    let at = |share: f64| reads.latencies.value_at_quantile(share) as f64;
    let telling = reads.asked + reads.given_up >= TELLING;
    for figure in Figure::ALL {
        if figure == Figure::P999 && !telling {
            continue;
        }
        let cell = cell(way.metric(figure, situation));
        match figure {
            Figure::P50 => record.value(&cell, Unit::Nanoseconds, at(0.5), sample)?,
            Figure::P99 => record.latency(&cell, 0.99, &reads.latencies, sample)?,
            Figure::P999 => record.value(&cell, Unit::Nanoseconds, at(0.999), sample)?,
            Figure::Max => record.value(&cell, Unit::Nanoseconds, at(1.0), sample)?,
            Figure::Stalls100us | Figure::Stalls1ms => {
                let which = usize::from(figure == Figure::Stalls1ms);
                record.value(&cell, Unit::Count, reads.stalls_per_million(which), sample)?;
            }
        }
    }
    Ok(())
}

/// What reads and writes together came to. A measure finds nothing, and accepts
/// everything.
pub(super) fn sample(about: &About, reads: &Reads, written: &Written) -> Sample {
    let found = if about.is_store() { reads.asked } else { 0 };
    let expected = found + written.writes;
    Sample {
        writes: written.writes,
        hits: reads.hits + written.accepted,
        expected: expected..=expected,
        kinds: [("get_service", reads.asked), ("given_up", reads.given_up)]
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .collect(),
        ..Sample::of(reads.elapsed, reads.asked + written.writes)
    }
}

/// Measures the contenders that threads share.
pub(super) trait Measure {
    /// One of them.
    fn store<C: Contender + Send + Sync>(&mut self) -> Result<(), Fault>;

    /// What it offers besides, where it hands out snapshots.
    fn handles<C: SnapshotContender>(&mut self) -> Result<(), Fault>;
}

/// Measures the contender of a trial.
pub(super) fn measure_one(trial: &Trial, measure: &mut impl Measure) -> Result<(), Fault> {
    struct One<'a, M>(&'a mut M, Result<(), Fault>);
    impl<M: Measure> Visitor for One<'_, M> {
        fn local<C: Contender>(&mut self) {}
        fn shared<C: Contender + Send + Sync>(&mut self) {
            self.1 = self.0.store::<C>();
        }
        fn snapshots<C: SnapshotContender>(&mut self) {
            self.1 = self.0.store::<C>().and_then(|()| self.0.handles::<C>());
        }
    }
    let mut one = One(measure, Err(trial.unknown_store()));
    if trial.store == Null::ABOUT.id {
        one.shared::<Null>();
    } else {
        contender::visit_one(&trial.store, &mut one);
    }
    one.1
}

/// The null store and the contenders that threads share.
pub(super) fn null_and_shared() -> Vec<About> {
    std::iter::once(Null::ABOUT)
        .chain(contender::shared())
        .collect()
}

/// The same cell of the reference; none for the reference itself and for the null
/// store.
pub(super) fn of_reference(cell: &Cell, reference: &About) -> Option<Cell> {
    let store = cell.store.as_str();
    (store != reference.name && store != Null::ABOUT.name).then(|| Cell {
        store: reference.name.into(),
        // What is read through a handle is the same work, and gives the same.
        metric: match cell.metric.strip_prefix(Way::Handle.prefix()) {
            Some(metric) => metric.into(),
            None => cell.metric.clone(),
        },
        ..cell.clone()
    })
}

/// A row of the tables: a contender, or what it does through a handle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) about: About,
    pub(super) way: Way,
    place: usize,
}

impl Line {
    pub(super) fn name(&self) -> String {
        match self.way {
            Way::Store => self.about.name.into(),
            Way::Handle => format!("{}, reader handle", self.about.name),
        }
    }

    pub(super) fn colour(&self) -> Colour {
        match self.way {
            _ if !self.about.is_store() => Colour::Neutral,
            Way::Store => Colour::Contender(self.place),
            Way::Handle => Colour::Variant(self.place),
        }
    }
}

/// The rows of a scenario: those of which some cell, by `cell`, is there.
pub(super) fn lines(report: &Report, scenario: &str, has: impl Fn(&Line) -> bool) -> Vec<Line> {
    let stores = took_part(report, scenario, &contender::all());
    let lines = stores
        .into_iter()
        .flat_map(|(place, about)| Way::ALL.map(|way| Line { about, way, place }));
    lines.filter(|line| has(line)).collect()
}

/// The cells of a scenario.
pub(super) struct Cells<'a> {
    pub(super) report: &'a Report,
    pub(super) scenario: &'static str,
    pub(super) services: usize,
    pub(super) threads: usize,
}

impl Cells<'_> {
    pub(super) fn cell(&self, store: &str, metric: String) -> Cell {
        Cell {
            scenario: self.scenario.into(),
            store: store.into(),
            threads: self.threads,
            services: self.services,
            metric,
        }
    }

    pub(super) fn row(&self, store: &str, metric: String) -> Option<&SummaryRow> {
        self.report.row(&self.cell(store, metric))
    }

    pub(super) fn figure(
        &self,
        line: &Line,
        figure: Figure,
        situation: &str,
    ) -> Option<&SummaryRow> {
        self.row(line.about.name, line.way.metric(figure, situation))
    }

    /// The lines of which a situation was measured.
    pub(super) fn lines(&self, situation: &str) -> Vec<Line> {
        lines(self.report, self.scenario, |line| {
            self.figure(line, Figure::P50, situation).is_some()
        })
    }

    /// How many reads each block has of a situation: the fewest and the most.
    pub(super) fn reads(&self, situation: &str) -> Option<(u64, u64)> {
        let metric = Way::Store.metric(Figure::P50, situation);
        let samples = self.report.results.iter();
        let reads = samples
            .filter(|m| m.cell.scenario == self.scenario && m.cell.metric == metric)
            .map(|m| {
                let kinds = ["get_service", "given_up"].iter();
                kinds.filter_map(|kind| m.kinds.get(*kind)).sum()
            });
        Some((reads.clone().min()?, reads.max()?))
    }

    /// The last percentile that the blocks of the run can tell.
    pub(super) fn tail(&self) -> Figure {
        let known = Way::ALL.map(|way| way.metric(Figure::P999, ""));
        let mut rows = self.report.summary.iter();
        let told = rows.any(|row| {
            let is_it = |name: &String| row.cell.metric.starts_with(name.as_str());
            row.cell.scenario == self.scenario && known.iter().any(is_it)
        });
        if told { Figure::P999 } else { Figure::P99 }
    }

    /// The slowest read of all blocks.
    fn slowest(&self, store: &str, metric: &str) -> Option<f64> {
        let cell = self.cell(store, metric.into());
        let samples = self.report.results.iter();
        samples
            .filter(|m| m.cell == cell && m.replica == 0)
            .map(|m| m.value)
            .reduce(f64::max)
    }

    /// The mean of a figure over all blocks: of what is rare the median says
    /// nothing.
    #[allow(clippy::cast_precision_loss)] // counts far below 2^52
    pub(super) fn mean(&self, store: &str, metric: &str) -> Option<f64> {
        let cell = self.cell(store, metric.into());
        let samples = self.report.results.iter();
        let own: Vec<f64> = samples
            .filter(|m| m.cell == cell && m.replica == 0)
            .map(|m| m.value)
            .collect();
        (!own.is_empty()).then(|| own.iter().sum::<f64>() / own.len() as f64)
    }

    /// Percentile curves of a situation, to the last percentile that the reads of
    /// a block can tell; each point is the median of the blocks' own.
    pub(super) fn curves(&self, title: String, situation: &str) -> LineChart {
        #[allow(clippy::cast_precision_loss)] // counts far below 2^52
        let reads = self
            .reads(situation)
            .map_or(1.0, |(fewest, _)| fewest as f64);
        let nines = |share: f64| (1.0 - share).recip();
        let series = self.lines(situation).into_iter().filter_map(|line| {
            // Older reports have the curve beside the other one.
            let mut rows = [Figure::P99, Figure::P999]
                .into_iter()
                .filter_map(|figure| self.figure(&line, figure, situation));
            let row = rows.find(|row| !row.percentiles.is_empty())?;
            let points = row.percentiles.iter().map(|&[share, y]| Point {
                x: nines(share),
                y,
                low: y,
                high: y,
            });
            Some(Series {
                name: line.name(),
                colour: line.colour(),
                joined: true,
                points: points
                    .filter(|point| (1.99..=reads.max(100.0) * 1.01).contains(&point.x))
                    .collect(),
            })
        });
        LineChart {
            title,
            x: Axis {
                label: "so many of the reads took at most".into(),
                quantity: Quantity::Number,
                logarithmic: true,
                ticks: [
                    (0.5, "50 %"),
                    (0.9, "90 %"),
                    (0.99, "99 %"),
                    (0.999, "99.9 %"),
                    (0.9999, "99.99 %"),
                ]
                .into_iter()
                .map(|(share, label)| (nines(share), label.to_owned()))
                .filter(|(x, _)| *x <= reads.max(100.0) * 1.01)
                .collect(),
            },
            y: Axis {
                label: "this long (median of the blocks), less is better".into(),
                quantity: Quantity::Time,
                logarithmic: true,
                ticks: Vec::new(),
            },
            marks: Vec::new(),
            series: series.collect(),
        }
    }

    /// All figures of a situation.
    pub(super) fn figures(&self, title: String, situation: &str, brief: bool) -> Table {
        let tail = self.tail();
        let shown = Figure::ALL
            .into_iter()
            .filter(|figure| *figure != Figure::P999 || tail == Figure::P999);
        let rows = self.lines(situation).into_iter().map(|line| TableRow {
            name: line.name(),
            entries: shown
                .clone()
                .map(|figure| self.entry(&line, figure, situation))
                .collect(),
        });
        let reads = self
            .reads(situation)
            .map_or(String::new(), |(fewest, most)| {
                let reads = if fewest == most {
                    fewest.to_string()
                } else {
                    format!("{fewest} to {most}")
                };
                format!("{reads} reads a block and contender. ")
            });
        Table {
            title,
            note: format!(
                "{reads}Percentiles are medians of those of the blocks, with their ratios to \
                 ThreadSafeMemoryStore; a 99.9th stands only where a block has {TELLING} reads. The \
                 slowest read is that of all blocks. The last two are reads of a million, over all \
                 blocks, that took longer. What the null store shows is the machine's own."
            ),
            head: std::iter::once("from the intended start")
                .chain(shown.clone().map(Figure::head))
                .map(String::from)
                .collect(),
            rows: rows.collect(),
            brief,
            intervals: false,
        }
    }

    fn entry(&self, line: &Line, figure: Figure, situation: &str) -> Entry {
        if figure.is_stalls() {
            let mean = self.mean(line.about.name, &line.way.metric(figure, situation));
            return mean.map_or(Entry::Empty, |mean| Entry::Text(per_million(mean)));
        }
        if figure == Figure::Max {
            let slowest = self.slowest(line.about.name, &line.way.metric(figure, situation));
            return slowest.map_or(Entry::Empty, |slowest| Entry::Text(time(slowest)));
        }
        let row = self.figure(line, figure, situation);
        row.map_or(Entry::Empty, SummaryRow::entry)
    }

    /// Between which stores a figure lies in a situation, as a part of a sentence,
    /// and what the machine itself adds.
    pub(super) fn slowest_and_quickest(&self, figure: Figure, situation: &str) -> Option<String> {
        let lines = self.lines(situation);
        let mut stores: Vec<(&Line, f64)> = lines
            .iter()
            .filter(|line| line.about.is_store())
            .filter_map(|line| Some((line, self.figure(line, figure, situation)?.value)))
            .collect();
        stores.sort_by(|a, b| a.1.total_cmp(&b.1));
        let ((quick, least), (slow, most)) = (stores.first()?, stores.last()?);
        let null = self.row(Null::ABOUT.name, Way::Store.metric(figure, situation));
        Some(format!(
            "between {} on {} and {} on {} (medians, not judged{})",
            time(*least),
            quick.name(),
            time(*most),
            slow.name(),
            null.map_or(String::new(), |null| format!(
                "; {} on a store that does nothing",
                time(null.value)
            ))
        ))
    }
}

/// How many of a million.
pub(super) fn per_million(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    significant(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ThreadSafeMemoryStore;

    #[test]
    fn a_handle_is_compared_with_the_store_that_has_none() {
        let cell = |store: &str, metric: &str| Cell {
            scenario: "s".into(),
            store: store.into(),
            threads: 2,
            services: 10,
            metric: metric.into(),
        };
        let reference = &ThreadSafeMemoryStore::ABOUT;
        let theirs = cell(reference.name, "p99.9_x");
        for metric in ["p99.9_x", "reader.p99.9_x"] {
            let own = cell("SnapshotStore", metric);
            assert_eq!(of_reference(&own, reference).as_ref(), Some(&theirs));
        }
        assert_eq!(of_reference(&theirs, reference), None);
        assert_eq!(of_reference(&cell("null", "p99.9_x"), reference), None);
    }

    #[test]
    fn what_is_rare_is_not_rounded_away() {
        assert_eq!([0.0, 0.4, 1_234.4].map(per_million), ["0", "0.40", "1,234"]);
    }
}
