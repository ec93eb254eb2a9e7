//! *zipf*: some keys are asked for much more than others.
//!
//! Requests to a gateway are like this: a few services take most of the traffic.
//! With an exponent of 0.99, that of YCSB, the first of 10,000 pods gets a tenth of
//! all operations, and half of the operations go to the first hundred or so. Which
//! pods these are is drawn anew in every block, and has nothing to do with the order
//! in which they registered.

use std::sync::mpsc;
use std::thread;

use super::steady::{self, Cloned, Panel, Plan, Stage};
use super::{Effort, Scenario};
use crate::lab::contender::{self, About, Contender};
use crate::lab::fault::Fault;
use crate::lab::model::{Cell, Report};
use crate::lab::process::Trial;
use crate::lab::record::{Recorder, Unit};
use crate::lab::run::Scale;
use crate::lab::section::{Section, thousands, took_part};
use crate::lab::workload::laps::{Deal, Popularity};
use crate::lab::workload::{Fleet, Mix, shuffled};
use crate::{Batch, RegistryStore};

/// The name of the scenario.
pub(crate) const NAME: &str = "zipf";

/// The n-th pod is asked for in proportion to n to the power of minus this.
pub const EXPONENT: f64 = 0.99;

/// Reads and writes.
pub const MIX: Mix = Mix { writes: 5 };

const SMALL: usize = 10_000;
const LARGE: usize = 1_000_000;

/// How many services are registered.
pub const SIZES: [usize; 2] = [SMALL, LARGE];

/// The scenario.
#[derive(Debug)]
pub struct Zipf;

/// Threads, and the milliseconds of a window.
fn extent(scale: Scale) -> (&'static [usize], u64) {
    match scale {
        Scale::Smoke => (&[2], 1),
        Scale::Quick => (&[2, 8], 8),
        Scale::Default => (&[1, 2, 8, 30], 15),
        Scale::Full => (&[1, 2, 4, 8, 16, 30], 40),
    }
}

/// What is measured in a block. To fill a store with a million services takes
/// seconds, so that only some blocks do, each for all contenders.
fn sizes(scale: Scale, block: usize) -> &'static [usize] {
    let every = match scale {
        Scale::Smoke | Scale::Quick => return &SIZES[..1],
        Scale::Default => LARGE_EVERY,
        Scale::Full => 1,
    };
    if block % every == every - 1 {
        &SIZES
    } else {
        &SIZES[..1]
    }
}

/// In the default run, one in so many blocks measures a million services.
const LARGE_EVERY: usize = 4;

/// What is measured of a store.
fn cell(store: &str, threads: usize, services: usize) -> Cell {
    Cell {
        scenario: NAME.into(),
        store: store.into(),
        threads,
        services,
        metric: format!("throughput_{MIX}"),
    }
}

/// How many pods register at once.
const BATCH: usize = 20_000;

/// Registers a fleet, in `order`, without its subscriptions: nobody asks for them
/// here, and of a million pods they would be half of the work. One thread makes
/// the records while this one registers those that are made.
fn register(fleet: Fleet, store: &impl RegistryStore, order: &[usize]) -> Result<(), Fault> {
    thread::scope(|scope| {
        let (give, take) = mpsc::sync_channel(2);
        scope.spawn(move || {
            for pods in order.chunks(BATCH) {
                let mut batch = Batch::with_capacity(pods.len());
                for &pod in pods {
                    batch.save_service(fleet.record(pod));
                }
                if give.send(batch).is_err() {
                    break; // the store has refused an earlier one
                }
            }
        });
        for batch in take {
            store.commit(batch)?;
        }
        Ok(())
    })
}

struct Measuring<'a> {
    trial: &'a Trial,
    record: &'a mut Recorder,
}

impl Plan for Measuring<'_> {
    fn shared<C: Contender + Send + Sync>(&mut self) -> Result<(), Fault> {
        let (own, milliseconds) = extent(self.trial.scale);
        let all = steady::threads(self.trial, own)?;
        for &services in sizes(self.trial.scale, self.trial.block) {
            let fleet = Fleet::new(services);
            let mut rng = self.trial.rng(&format!("deal {services}"));
            let store = C::default();
            register(fleet, &store, &shuffled(services, &mut rng))?;
            let pods = Popularity::zipf(fleet, EXPONENT, &mut rng);
            let deal = Deal::new(fleet, MIX, &pods, &mut rng);
            let mut stage = Stage::default();
            for &threads in &all {
                let how = (threads, steady::span(milliseconds));
                let sample = stage.perform::<_, Cloned>(&store, &deal, how)?;
                let cell = cell(C::ABOUT.name, threads, services);
                self.record
                    .sample(&cell, Unit::MillionsPerSecond, &sample)?;
            }
            if services == LARGE {
                // The process is about to end, and nobody waits for a million
                // records to be freed one by one.
                std::mem::forget(store);
            }
        }
        Ok(())
    }
}

impl Scenario for Zipf {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "a few services take most of the traffic, 95/5, up to a million services"
    }

    fn method(&self) -> &'static str {
        "10,000 and 1,000,000 services, 95 % reads (get_service, a clone, and its drop, both of \
         which are timed) and 5 % writes. The n-th \
         pod is asked for in proportion to n to the power of -0.99 (Zipf, as in YCSB); which pod \
         is the n-th is random. Threads, windows and writes as in the scenario sustained; one \
         store serves all numbers of threads. A million services are measured by the default and \
         the full run, in the default run by one block in four."
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
            Scale::Quick => Effort::new(5, 3, 3),
            Scale::Default => Effort::new(8, 8, 40),
            Scale::Full => Effort::new(7, 3, 150),
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
        let few = steady::at_cores(&threads, report.context.machine.cores);
        let mut blocks = Vec::new();
        let mut findings = Vec::new();
        for services in SIZES {
            let size = thousands(services as u64);
            let title = format!("Throughput by threads, {size} services");
            let cell = |threads| cell("", threads, services);
            let panel = Panel::by_threads(report, title, &threads, cell);
            if !panel.is_measured(report, &stores) {
                continue;
            }
            let panel = Panel {
                brief: true,
                ..panel
            };
            blocks.extend(panel.blocks(report, &stores));
            if let Some(threads) = few {
                let situation = format!("With {size} services on {threads} threads");
                findings.extend(steady::comparison(
                    report,
                    &cell(threads),
                    &stores,
                    &situation,
                ));
            }
        }
        Section {
            title: "Zipf".into(),
            intro: self.method().into(),
            findings,
            blocks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_has_the_small_size_and_enough_of_them_the_large() {
        for scale in Scale::ALL {
            let effort = Zipf.effort(scale);
            let mut large = 0;
            for block in 0..effort.at_least {
                let sizes = sizes(scale, block);
                assert_eq!(sizes[0], SMALL);
                large += usize::from(sizes.contains(&LARGE));
            }
            assert_eq!(large >= 2, scale >= Scale::Default, "{scale:?}");
        }
    }
}
