//! *fill-and-drop*: a registry is filled from nothing, one registration after the
//! other, and dropped.
//!
//! A table that grows by moving everything it holds makes one caller wait for all
//! of it; a store that publishes copies pays a little each time. So what counts is
//! not only the whole, but the worst that one caller had to wait.
//!
//! The two never come from one run: one store is filled with a clock around each
//! insertion, another one with a single clock around all. The first is still there
//! while the second is filled, so that both grow into memory that nobody has used
//! before. What the machine adds by itself, an interrupt in the middle of an
//! insertion say, is what the null store shows.

use std::time::Instant;

use hdrhistogram::Histogram;

use super::growth::{colour, head};
use super::{Effort, Scenario};
use crate::lab::contender::{self, About, Contender, Null, Visitor};
use crate::lab::fault::Fault;
use crate::lab::model::{Cell, Report, SummaryRow};
use crate::lab::process::Trial;
use crate::lab::record::{Recorder, SHARES, Sample, Unit, histogram};
use crate::lab::run::Scale;
use crate::lab::section::{
    Axis, Bar, BarChart, BarGroup, Block, Entry, LineChart, Point, Quantity, Section, Series,
    Table, TableRow, thousands, time, took_part,
};
use crate::lab::workload::{Fleet, shuffled};
use crate::{MemoryStore, ServiceInfo};

/// The name of the scenario.
pub(crate) const NAME: &str = "fill-and-drop";

/// What the others are compared with.
const REFERENCE: &About = &MemoryStore::ABOUT;

/// How many services are registered.
const fn services(scale: Scale) -> usize {
    match scale {
        Scale::Smoke => 1_000,
        Scale::Quick => 10_000,
        Scale::Default | Scale::Full => 100_000,
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    /// All insertions, over their number.
    Fill,
    /// What all but one insertion of a thousand took at most.
    P999,
    /// The worst insertion.
    Worst,
    /// The drop of the whole, over the services.
    Drop,
}

impl Metric {
    const ALL: [Metric; 4] = [Metric::Fill, Metric::P999, Metric::Worst, Metric::Drop];

    fn cell(self, store: &str, services: usize) -> Cell {
        let metric = match self {
            Metric::Fill => "fill",
            Metric::P999 => "insert_p99.9",
            Metric::Worst => "insert_max",
            Metric::Drop => "drop",
        };
        Cell {
            scenario: NAME.into(),
            store: store.into(),
            threads: 1,
            services,
            metric: metric.into(),
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Metric::Fill => "fill, a service",
            Metric::P999 => "p99.9 of an insertion",
            Metric::Worst => "worst insertion of a block",
            Metric::Drop => "drop, a service",
        }
    }
}

/// Fills a fresh store, and asks what each insertion took.
fn fill_watched<C: Contender>(records: Vec<ServiceInfo>) -> (C, Histogram<u64>, Sample) {
    let mut latencies = histogram();
    let store = C::default();
    let (mut hits, operations) = (0, records.len() as u64);
    let start = Instant::now();
    // One reading ends an insertion and begins the next, so that nothing that
    // happens in between escapes.
    let mut before = start;
    for record in records {
        hits += u64::from(store.save_service(record).is_ok());
        let now = Instant::now();
        let latency = now.duration_since(before);
        let latency = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        latencies.saturating_record(latency);
        before = now;
    }
    let sample = Sample {
        hits,
        writes: operations,
        kinds: [("save_service", operations)].into(),
        ..Sample::of(start.elapsed(), operations)
    };
    (store, latencies, sample)
}

/// Fills a fresh store, and asks what all of it took.
fn fill<C: Contender>(records: Vec<ServiceInfo>) -> (C, Sample) {
    let store = C::default();
    let (mut hits, operations) = (0, records.len() as u64);
    let mut records = records.into_iter();
    let start = Instant::now();
    for record in records.by_ref() {
        hits += u64::from(store.save_service(record).is_ok());
    }
    let elapsed = start.elapsed();
    let sample = Sample {
        hits,
        writes: operations,
        kinds: [("save_service", operations)].into(),
        ..Sample::of(elapsed, operations)
    };
    (store, sample)
}

struct Filling<'a> {
    trial: &'a Trial,
    record: &'a mut Recorder,
    outcome: Result<(), Fault>,
}

impl Filling<'_> {
    fn measure<C: Contender>(&mut self) -> Result<(), Fault> {
        let services = services(self.trial.scale);
        let fleet = Fleet::new(services);
        let order = shuffled(services, &mut self.trial.rng("order"));
        let records = || order.iter().map(|&pod| fleet.record(pod)).collect();
        let registered = |store: &C| {
            let found = store.stats().map(|stats| stats.services);
            found.map(|found| C::ABOUT.is_store().then_some((found, services)))
        };
        let cell = |metric: Metric| metric.cell(C::ABOUT.name, services);

        let (first, latencies, sample) = fill_watched::<C>(records());
        let sample = Sample {
            services: registered(&first)?,
            ..sample
        };
        let shares = [(Metric::P999, 0.999), (Metric::Worst, 1.0)];
        for (metric, share) in shares {
            self.record
                .latency(&cell(metric), share, &latencies, &sample)?;
        }

        let (second, sample) = fill::<C>(records());
        let filled = registered(&second)?;
        let sample = Sample {
            services: filled,
            ..sample
        };
        let unit = Unit::NanosecondsPerOperation;
        self.record.sample(&cell(Metric::Fill), unit, &sample)?;
        let start = Instant::now();
        drop(second);
        // What is registered afterwards nobody can look up.
        let sample = Sample {
            kinds: [("drop", services as u64)].into(),
            ..Sample::of(start.elapsed(), services as u64)
        };
        self.record.sample(&cell(Metric::Drop), unit, &sample)?;
        drop(first);
        Ok(())
    }
}

impl Visitor for Filling<'_> {
    fn local<C: Contender>(&mut self) {
        self.outcome = self.measure::<C>();
    }
}

/// The scenario.
#[derive(Debug)]
pub struct FillAndDrop;

impl Scenario for FillAndDrop {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "filling a registry from nothing: the whole, the worst insertion, and the drop"
    }

    fn method(&self) -> &'static str {
        "One thread registers 100,000 pods (10,000 in a quick run) with an empty store, in random \
         order, one save_service each; the records are made before. One store is filled with a \
         clock around each insertion, which gives the percentiles and the worst; another one, in \
         memory that is as cold, with one clock around all, which gives the time a service takes. \
         That one is then dropped, with all its records. The null store only takes the records, \
         and frees what it has no room for: its worst insertion is what the machine adds, and no \
         store can be told from it below that."
    }

    fn entrants(&self) -> Vec<About> {
        let stores = contender::all().into_iter().filter(About::is_store);
        std::iter::once(Null::ABOUT).chain(stores).collect()
    }

    fn reference(&self) -> &'static About {
        REFERENCE
    }

    fn effort(&self, scale: Scale) -> Effort {
        match scale {
            Scale::Smoke => Effort::new(1, 1, 2),
            Scale::Quick => Effort::new(5, 3, 3),
            Scale::Default => Effort::new(9, 5, 25),
            Scale::Full => Effort::new(15, 7, 90),
        }
    }

    fn measure(&self, trial: &Trial, record: &mut Recorder) -> Result<(), Fault> {
        let mut filling = Filling {
            trial,
            record,
            outcome: Ok(()),
        };
        if trial.store == Null::ABOUT.id {
            filling.shared::<Null>();
        } else if !contender::visit_one(&trial.store, &mut filling) {
            return Err(trial.unknown_store());
        }
        filling.outcome
    }

    fn compared_with(&self, cell: &Cell) -> Option<Cell> {
        let store = cell.store.as_str();
        (store != REFERENCE.name && store != Null::ABOUT.name).then(|| Cell {
            store: REFERENCE.name.into(),
            ..cell.clone()
        })
    }

    fn section(&self, report: &Report) -> Section {
        let layout = Layout {
            report,
            stores: took_part(report, NAME, &contender::all()),
        };
        Section {
            title: "Fill and drop".into(),
            intro: self.method().into(),
            findings: layout.findings(),
            blocks: vec![
                Block::Lines(layout.curves()),
                Block::Table(layout.percentiles()),
                Block::Chart(layout.chart()),
                Block::Table(layout.table()),
            ],
        }
    }
}

struct Layout<'a> {
    report: &'a Report,
    stores: Vec<(usize, About)>,
}

impl Layout<'_> {
    /// How many services were registered; the same in all cells of a run.
    fn services(&self) -> usize {
        let mut rows = self.report.summary.iter();
        let row = rows.find(|row| row.cell.scenario == NAME);
        row.map_or(0, |row| row.cell.services)
    }

    fn row(&self, metric: Metric, about: &About) -> Option<&SummaryRow> {
        let cell = metric.cell(about.name, self.services());
        self.report.row(&cell)
    }

    fn worst_of_all(&self, about: &About) -> Option<f64> {
        let cell = Metric::Worst.cell(about.name, self.services());
        let samples = self.report.results.iter();
        let own = samples.filter(|sample| sample.cell == cell && sample.replica == 0);
        own.map(|sample| sample.value).reduce(f64::max)
    }

    /// Time by the share of insertions that took longer, which an axis of ratios
    /// can show up to the very last.
    fn curves(&self) -> LineChart {
        let series = self.stores.iter().filter_map(|(place, about)| {
            let row = self.row(Metric::Worst, about)?;
            Some(Series {
                name: about.name.into(),
                colour: colour(*place, about),
                joined: true,
                points: row
                    .percentiles
                    .iter()
                    .filter(|[share, _]| (0.5..1.0).contains(share))
                    .map(|&[share, nanoseconds]| Point {
                        x: (1.0 - share).recip(),
                        y: nanoseconds,
                        low: nanoseconds,
                        high: nanoseconds,
                    })
                    .collect(),
            })
        });
        let tick = |share: f64| ((1.0 - share).recip(), percent(share));
        LineChart {
            title: "How long an insertion takes".into(),
            x: Axis {
                label: "share of the insertions that took no longer".into(),
                quantity: Quantity::Number,
                logarithmic: true,
                ticks: [0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999].map(tick).into(),
            },
            y: Axis {
                label: "time of an insertion (median of the blocks), less is better".into(),
                quantity: Quantity::Time,
                logarithmic: true,
                ticks: Vec::new(),
            },
            marks: Vec::new(),
            series: series.collect(),
        }
    }

    fn percentiles(&self) -> Table {
        let shown = SHARES.into_iter().filter(|share| *share >= 0.5);
        let rows = shown.map(|share| TableRow {
            name: if share < 1.0 {
                percent(share)
            } else {
                "worst of a block".into()
            },
            entries: self
                .stores
                .iter()
                .map(|(_, about)| {
                    let row = self.row(Metric::Worst, about);
                    let mut curve = row.into_iter().flat_map(|row| &row.percentiles);
                    let found = curve.find(|[own, _]| (own - share).abs() < 1e-9);
                    found.map_or(Entry::Empty, |[_, ns]| Entry::Text(time(*ns)))
                })
                .collect(),
        });
        let worst = TableRow {
            name: "worst of all blocks".into(),
            entries: self
                .stores
                .iter()
                .map(|(_, about)| {
                    let worst = self.worst_of_all(about);
                    worst.map_or(Entry::Empty, |worst| Entry::Text(time(worst)))
                })
                .collect(),
        };
        Table {
            title: "How long an insertion takes".into(),
            note: "What so many of the insertions of a block took at most: the median of the \
                   blocks, but for the last row."
                .into(),
            head: head("insertions", self.stores.iter()),
            rows: rows.chain([worst]).filter(TableRow::is_filled).collect(),
            brief: false,
            intervals: false,
        }
    }

    fn chart(&self) -> BarChart {
        let groups = Metric::ALL.into_iter().map(|metric| BarGroup {
            label: metric.title().into(),
            detail: format!("{} services", thousands(self.services() as u64)),
            bars: self
                .stores
                .iter()
                .filter_map(|(place, about)| {
                    let row = self.row(metric, about)?;
                    Some(Bar {
                        series: about.name.into(),
                        colour: colour(*place, about),
                        value: row.value,
                        low: row.value_low,
                        high: row.value_high,
                        note: String::new(),
                    })
                })
                .collect(),
        });
        BarChart {
            title: "Filling from nothing, and dropping".into(),
            axis: "time, less is better".into(),
            quantity: Quantity::Time,
            line: None,
            limit: None,
            groups: groups.collect(),
        }
    }

    fn table(&self) -> Table {
        let rows = Metric::ALL.into_iter().map(|metric| TableRow {
            name: metric.title().into(),
            entries: self
                .stores
                .iter()
                .map(|(_, about)| {
                    let row = self.row(metric, about);
                    row.map_or(Entry::Empty, SummaryRow::entry)
                })
                .collect(),
        });
        Table {
            title: "Filling from nothing, and dropping".into(),
            note:
                "With the ratio to MemoryStore. A worst insertion near that of the null store is \
                   the machine's, not the store's."
                    .into(),
            head: head("", self.stores.iter()),
            rows: rows.filter(TableRow::is_filled).collect(),
            brief: true,
            intervals: false,
        }
    }

    fn findings(&self) -> Vec<String> {
        let worst = self.stores.iter().filter_map(|(_, about)| {
            let worst = self.worst_of_all(about)?;
            Some(format!("{} on {}", time(worst), about.name))
        });
        let worst: Vec<String> = worst.collect();
        vec![format!(
            "While {} pods register, the one that waits longest in any block waits: {}.",
            thousands(self.services() as u64),
            worst.join(", ")
        )]
    }
}

fn percent(share: f64) -> String {
    // Five digits are enough for what stands in `SHARES`, and hide that a share has
    // no exact percentage.
    let percent = format!("{:.3}", share * 100.0);
    format!("{} %", percent.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_written_out() {
        let shares = [0.5, 0.99, 0.995, 0.999, 0.9995, 0.99999].map(percent);
        let written = ["50 %", "99 %", "99.5 %", "99.9 %", "99.95 %", "99.999 %"];
        assert_eq!(shares, written);
    }

    #[test]
    fn every_contender_is_filled_twice_and_what_took_longest_is_the_worst() {
        for about in FillAndDrop.entrants() {
            let trial = Trial {
                scenario: NAME.into(),
                store: about.id.into(),
                scale: Scale::Smoke,
                seed: 3,
                block: 0,
                threads: Vec::new(),
            };
            let mut record = Recorder::default();
            FillAndDrop.measure(&trial, &mut record).unwrap();
            let results = record.into_results();
            assert_eq!(results.len(), Metric::ALL.len(), "{}", about.name);
            for result in &results {
                assert_eq!((result.operations, result.hits), (1_000, 1_000));
            }
            let value = |metric: Metric| {
                let cell = metric.cell(about.name, 1_000);
                results
                    .iter()
                    .find(|result| result.cell == cell)
                    .unwrap()
                    .value
            };
            assert!(value(Metric::P999) <= value(Metric::Worst));
        }
    }
}
