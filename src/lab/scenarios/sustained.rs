//! *sustained*: what threads do in the long run.
//!
//! A burst is over before a scheduler has noticed it. Here 1 to 30 threads work
//! on one store of 1,000 services until they are told to stop, and what they do
//! in the middle of that counts. They share all keys.

use super::steady::{self, Cloned, Panel, Place, Plan, Stage};
use super::{Effort, Scenario};
use crate::lab::contender::{self, About, Contender};
use crate::lab::fault::Fault;
use crate::lab::model::{Cell, Report};
use crate::lab::process::Trial;
use crate::lab::record::{Recorder, Unit};
use crate::lab::run::Scale;
use crate::lab::section::{Axis, Quantity, Section, took_part};
use crate::lab::workload::laps::{Deal, Popularity};
use crate::lab::workload::{Fleet, Mix, shuffled};

/// The name of the scenario.
pub(crate) const NAME: &str = "sustained";

/// Who is registered.
const FLEET: Fleet = Fleet::new(1_000);

/// The scenario.
#[derive(Debug)]
pub struct Sustained;

/// Threads, mixes, and the milliseconds of a window.
fn extent(scale: Scale) -> (&'static [usize], &'static [Mix], u64) {
    const SOME: &[Mix] = &[Mix { writes: 0 }, Mix { writes: 5 }, Mix { writes: 50 }];
    match scale {
        Scale::Smoke => (&[1, 2], SOME, 1),
        Scale::Quick => (&[1, 2, 8], SOME, 3),
        Scale::Default => (&[1, 2, 4, 8, 16, 30], &Mix::ALL, 6),
        Scale::Full => (&[1, 2, 4, 8, 16, 30], &Mix::ALL, 40),
    }
}

/// What is measured of a store.
fn cell(store: &str, threads: usize, mix: Mix) -> Cell {
    Cell {
        scenario: NAME.into(),
        store: store.into(),
        threads,
        services: FLEET.pods,
        metric: format!("throughput_{mix}"),
    }
}

struct Measuring<'a> {
    trial: &'a Trial,
    record: &'a mut Recorder,
}

impl Plan for Measuring<'_> {
    fn shared<C: Contender + Send + Sync>(&mut self) -> Result<(), Fault> {
        let (own, mixes, milliseconds) = extent(self.trial.scale);
        let all = steady::threads(self.trial, own)?;
        let pods = Popularity::uniform(FLEET);
        let mut stage = Stage::default();
        for &mix in mixes {
            let mut rng = self.trial.rng(&format!("deal {mix}"));
            let deal = Deal::new(FLEET, mix, &pods, &mut rng);
            for &threads in &all {
                let store = C::default();
                FLEET.fill(&store, &shuffled(FLEET.pods, &mut rng))?;
                let how = (threads, steady::span(milliseconds));
                let sample = stage.perform::<_, Cloned>(&store, &deal, how)?;
                let cell = cell(C::ABOUT.name, threads, mix);
                self.record
                    .sample(&cell, Unit::MillionsPerSecond, &sample)?;
            }
        }
        Ok(())
    }
}

impl Scenario for Sustained {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "1 to 30 threads that go on and on, from reads only to writes only"
    }

    fn method(&self) -> &'static str {
        "1,000 services and 1 to 30 threads, all of which ask for all keys, each as often as the \
         others. Every thread makes its prepared operations in turn, and from the first again \
         after the last, until it is told to stop. A thread that only sleeps reads the clock and \
         all counters twice: what happens in between counts, while every thread is at it; start \
         and end are cut off. A read is get_service, a clone, and the drop of the clone: a caller \
         pays for both, and both touch the count of those who share the record. Half of the writes replace a record \
         and half update a health status, each with a time of its own, so that it changes \
         something. When the window is over, each thread's first keys are looked up once more, and \
         must lead to their own pods. The null store does nothing: it shows what the loop itself \
         costs."
    }

    fn entrants(&self) -> Vec<About> {
        steady::entrants()
    }

    fn reference(&self) -> &'static About {
        steady::REFERENCE
    }

    fn effort(&self, scale: Scale) -> Effort {
        match scale {
            Scale::Smoke => Effort::new(2, 2, 2),
            Scale::Quick => Effort::new(5, 3, 5),
            Scale::Default => Effort::new(15, 7, 50),
            Scale::Full => Effort::new(15, 7, 180),
        }
    }

    fn measure(&self, trial: &Trial, record: &mut Recorder) -> Result<(), Fault> {
        steady::carry_out(trial, &mut Measuring { trial, record })
    }

    fn compared_with(&self, cell: &Cell) -> Option<Cell> {
        steady::compared_with(cell)
    }

    fn section(&self, report: &Report) -> Section {
        let stores = took_part(report, NAME, &contender::all());
        let threads = steady::measured_threads(report, NAME);
        let mixes: Vec<Mix> = Mix::ALL
            .into_iter()
            .filter(|mix| {
                let metric = cell("", 1, *mix).metric;
                let mut rows = report.summary.iter();
                rows.any(|row| row.cell.scenario == NAME && row.cell.metric == metric)
            })
            .collect();
        let mut blocks = Vec::new();
        for &mix in &mixes {
            let title = format!("Throughput by threads, {mix} reads/writes");
            let panel =
                Panel::by_threads(report, title, &threads, |threads| cell("", threads, mix));
            let panel = Panel {
                brief: mix.writes == 5,
                ..panel
            };
            blocks.extend(panel.blocks(report, &stores));
        }
        let few = steady::at_cores(&threads, report.context.machine.cores);
        let many = threads.last().copied();
        let mut findings = Vec::new();
        for (place, threads) in few
            .into_iter()
            .chain(many.filter(|_| many != few))
            .enumerate()
        {
            let panel = by_share(threads, &mixes, place == 0);
            blocks.extend(panel.blocks(report, &stores));
            for &mix in &mixes {
                let situation = format!("{} at {mix}", on(threads));
                let cell = cell("", threads, mix);
                findings.extend(steady::comparison(report, &cell, &stores, &situation));
            }
        }
        Section {
            title: "Sustained".into(),
            intro: self.method().into(),
            findings,
            blocks,
        }
    }
}

/// Throughput by the share of writes, on so many threads.
#[allow(clippy::cast_precision_loss)] // small numbers
fn by_share(threads: usize, mixes: &[Mix], brief: bool) -> Panel {
    let places = mixes.iter().map(|&mix| Place {
        x: mix.writes as f64 / 100.0,
        name: mix.to_string(),
        cell: cell("", threads, mix),
    });
    let places: Vec<Place> = places.collect();
    Panel {
        title: format!("Throughput by the share of writes, {}", on(threads)),
        note: steady::NOTE.into(),
        axis: Axis {
            label: "writes among all operations".into(),
            quantity: Quantity::Share,
            logarithmic: false,
            ticks: Vec::new(),
        },
        marks: Vec::new(),
        head: "reads/writes",
        places,
        brief,
    }
}

fn on(threads: usize) -> String {
    match threads {
        1 => "on one thread".into(),
        threads => format!("on {threads} threads"),
    }
}
