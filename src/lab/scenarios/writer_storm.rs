//! *writer-storm*: what readers wait for while one writer does its worst.
//!
//! One reader has 10,000 reads a second to make, in an [open
//! loop](crate::lab::open_loop); beside it one writer updates health statuses at
//! a pace: not at all, 1,000, 10,000 or 100,000 times a second, and as fast as it
//! can. Each read clones one record of 1,000, whether through the store or
//! through a reader handle, so that all of them do the same.
//!
//! The null store answers at once and takes every write. What its reader waits
//! for is the machine: the clock, the other thread's share of it, the scheduler.

mod layout;

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rand::RngExt;

use super::latency::{self, Figure, Measure, Way, of_reference, record_reads};
use super::{Effort, Scenario};
use crate::lab::contender::{About, Contender, SnapshotContender};
use crate::lab::fault::Fault;
use crate::lab::model::{Cell, Report};
use crate::lab::open_loop::{Pace, Reads, Schedule, Written, beside, read_on_schedule, write_at};
use crate::lab::process::Trial;
use crate::lab::record::{Recorder, Sample, Unit};
use crate::lab::run::Scale;
use crate::lab::section::Section;
use crate::lab::workload::{Fleet, LabRng, PROBES, Texts, epoch, shuffled};
use crate::{RegistryStore, Result, ServiceInfo, ServiceStatus, ThreadSafeMemoryStore};

/// The name of the scenario.
pub(crate) const NAME: &str = "writer-storm";

/// How many services are registered.
const SERVICES: usize = 1_000;

/// A reader and a writer.
const THREADS: usize = 2;

/// Reads a second.
const READS: u32 = 10_000;

/// What the others are compared with.
const REFERENCE: &About = &ThreadSafeMemoryStore::ABOUT;

/// How fast the writer goes.
const PACES: [Pace; 5] = [
    Pace::Never,
    Pace::PerSecond(1_000),
    Pace::PerSecond(10_000),
    Pace::PerSecond(100_000),
    Pace::Unthrottled,
];

/// The paces of a run that has little time.
const FEW_PACES: [Pace; 3] = [PACES[0], PACES[2], PACES[4]];

/// The name of a pace in metrics.
fn situation(pace: Pace) -> String {
    match pace {
        Pace::Never => "w0".into(),
        Pace::PerSecond(rate) => format!("w{rate}"),
        Pace::Unthrottled => "wmax".into(),
    }
}

/// The name of the rate that the writer reached.
fn reached(way: Way, pace: Pace) -> String {
    format!("{}writer_rate_{}", way.prefix(), situation(pace))
}

/// What is asked and written, made before anything starts.
#[derive(Debug)]
struct Plan {
    schedule: Schedule,
    /// A key a read.
    reads: Texts,
    /// The keys of the writes, from the start again after the last.
    writes: Texts,
}

impl Plan {
    fn new(window: Duration, rng: &mut LabRng) -> Plan {
        let schedule = Schedule::random(READS, window, rng);
        let mut keys = |count: usize| -> Texts {
            let pods = (0..count).map(|_| rng.random_range(0..SERVICES));
            pods.map(Fleet::key).collect()
        };
        Plan {
            reads: keys(schedule.len()),
            writes: keys(PROBES),
            schedule,
        }
    }

    /// The write with a number: each one changes something, because no two of one
    /// store have the same time.
    fn write(&self, store: &impl RegistryStore, number: u64) -> bool {
        #[allow(clippy::cast_possible_truncation)] // the rest of a small number
        let at = (number % PROBES as u64) as usize;
        let status = match number % 10 {
            0 => ServiceStatus::Unhealthy,
            _ => ServiceStatus::Healthy,
        };
        let checked = epoch() + Duration::from_micros(1 + number);
        let done = store.update_health_status(self.writes.get(at), status, checked);
        done.is_ok()
    }

    /// Lets reader and writer loose. `first` is the number of the first write.
    fn run<S: RegistryStore + Sync>(
        &self,
        store: &S,
        pace: Pace,
        first: u64,
        mut ask: impl FnMut(&str) -> Result<ServiceInfo>,
    ) -> Result<(Reads, Written), Fault> {
        /// Writes before the clock starts.
        const WARM_UP: u64 = 64;
        let stop = AtomicBool::new(false);
        let (written, reads) = beside(
            |start| {
                if pace != Pace::Never {
                    for number in 0..WARM_UP {
                        self.write(store, first + number);
                    }
                }
                let begin = start.wait();
                write_at(pace, begin, &stop, |number| {
                    self.write(store, first + WARM_UP + number)
                })
            },
            |start| {
                for at in 0..self.reads.len().min(latency::WARM_UP) {
                    drop(ask(self.reads.get(at)));
                }
                let begin = start.wait();
                let reads = read_on_schedule(
                    &self.schedule,
                    begin,
                    |at| ask(self.reads.get(at)),
                    |at, answer| answer.is_ok_and(|info| *info.key() == *self.reads.get(at)),
                );
                stop.store(true, Relaxed);
                reads
            },
        )?;
        Ok((reads, written))
    }
}

/// The scenario.
#[derive(Debug)]
pub struct WriterStorm;

impl Scenario for WriterStorm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "what a reader waits for beside a writer, from no writes to as many as it can"
    }

    fn method(&self) -> &'static str {
        "One reader and one writer on a store of 1,000 services, each on a processor of its own where \
         the system has two and lets a thread choose (Linux). Reads are due at random moments \
         that are fixed beforehand, 10,000 a second on average, and their latency counts from the \
         moment at which they were due, so that a stall is felt by every read that was due \
         meanwhile; how long the reader itself came too late is in it. A read is a clone of one \
         record, also through a reader handle. The writer updates health statuses at 0, 1,000, \
         10,000 and 100,000 writes a second (in a quick run 0 and 10,000) and as fast as it can; \
         the rate that it really reached stands below. A 99.9th percentile is told where a \
         block has 1,000 reads, in a quick run only the 99th. Reads that are still waiting after four \
         times the window (and a quarter of a second) are given up and count with the time that they waited. The null store \
         does nothing: what its reader waits for is the machine. Where other programs are at work, \
         the scheduler lets a thread that has slept in between, as the callers of WorkerStore do, \
         run before one that has not."
    }

    fn entrants(&self) -> Vec<About> {
        latency::null_and_shared()
    }

    fn reference(&self) -> &'static About {
        REFERENCE
    }

    fn effort(&self, scale: Scale) -> Effort {
        match scale {
            Scale::Smoke => Effort::new(1, 1, 2),
            Scale::Quick => Effort::new(5, 3, 5),
            Scale::Default => Effort::new(15, 7, 60),
            Scale::Full => Effort::new(15, 7, 170),
        }
    }

    fn measure(&self, trial: &Trial, record: &mut Recorder) -> Result<(), Fault> {
        latency::measure_one(trial, &mut Measuring { trial, record })
    }

    fn compared_with(&self, cell: &Cell) -> Option<Cell> {
        // Ratios leave out zeros: of stalls, which some blocks have and others
        // have not, they would say what is not so.
        let stalls = [Figure::Stalls100us, Figure::Stalls1ms];
        let is_stalls = |way: Way, pace| {
            stalls.map(|figure| way.metric(figure, &situation(pace)) == cell.metric)
        };
        let mut known = PACES.into_iter().flat_map(|pace| {
            let ways = [Way::Store, Way::Handle];
            ways.into_iter().flat_map(move |way| is_stalls(way, pace))
        });
        if known.any(|is_it| is_it) {
            return None;
        }
        of_reference(cell, REFERENCE)
    }

    fn section(&self, report: &Report) -> Section {
        layout::section(report)
    }
}

/// The paces and the window of a run. In the longer ones all blocks have a thousand
/// reads, by six standard deviations.
fn extent(scale: Scale) -> (&'static [Pace], Duration) {
    match scale {
        Scale::Smoke => (&PACES, Duration::from_millis(3)),
        Scale::Quick => (&FEW_PACES, Duration::from_millis(30)),
        Scale::Default => (&PACES, Duration::from_millis(120)),
        Scale::Full => (&PACES, Duration::from_millis(500)),
    }
}

struct Measuring<'a> {
    trial: &'a Trial,
    record: &'a mut Recorder,
}

impl Measuring<'_> {
    fn storm<C: Contender + Send + Sync>(
        &mut self,
        store: &C,
        way: Way,
        mut ask: impl FnMut(&str) -> Result<ServiceInfo>,
    ) -> Result<(), Fault> {
        let (paces, window) = extent(self.trial.scale);
        let mut rng = self.trial.rng("reads and writes");
        for (number, &pace) in paces.iter().enumerate() {
            let plan = Plan::new(window, &mut rng);
            let (reads, written) = plan.run(store, pace, (number as u64) << 40, &mut ask)?;
            let mut sample = latency::sample(&C::ABOUT, &reads, &written);
            if written.writes > 0 {
                sample.kinds.insert("update_health_status", written.writes);
            }
            if C::ABOUT.is_store() {
                sample.services = Some((store.stats()?.services, SERVICES));
            }
            let cell = |metric| cell(C::ABOUT.name, metric);
            record_reads(self.record, cell, way, &situation(pace), &reads, &sample)?;
            if written.writes > 0 {
                let sample = Sample {
                    elapsed: written.elapsed,
                    ..sample
                };
                let cell = cell(reached(way, pace));
                self.record
                    .value(&cell, Unit::PerSecond, written.rate(), &sample)?;
            }
        }
        Ok(())
    }

    fn filled<C: Contender>(&self) -> Result<C> {
        let store = C::default();
        let order = shuffled(SERVICES, &mut self.trial.rng("order of registration"));
        Fleet::new(SERVICES).fill(&store, &order)?;
        Ok(store)
    }
}

impl Measure for Measuring<'_> {
    fn store<C: Contender + Send + Sync>(&mut self) -> Result<(), Fault> {
        let store = self.filled::<C>()?;
        self.storm(&store, Way::Store, |key| store.get_service(key))
    }

    fn handles<C: SnapshotContender>(&mut self) -> Result<(), Fault> {
        let store = self.filled::<C>()?;
        let mut reader = store.open_reader();
        self.storm(&store, Way::Handle, |key| {
            C::read(&mut reader, key, ServiceInfo::clone)
        })
    }
}

fn cell(store: &str, metric: String) -> Cell {
    Cell {
        scenario: NAME.into(),
        store: store.into(),
        threads: THREADS,
        services: SERVICES,
        metric,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;
    use crate::lab::workload::seeded;

    const WINDOW: Duration = Duration::from_millis(3);

    #[test]
    fn one_seed_makes_one_plan() {
        let plan = |seed| Plan::new(WINDOW, &mut seeded(seed));
        let (a, b, other) = (plan(1), plan(1), plan(2));
        assert_eq!(
            (&a.reads, &a.writes, &a.schedule),
            (&b.reads, &b.writes, &b.schedule)
        );
        assert_ne!(a.writes, other.writes);
        assert_eq!((a.reads.len(), a.writes.len()), (a.schedule.len(), PROBES));
    }

    #[test]
    fn every_write_changes_something_however_often_the_keys_go_round() {
        let (store, plan) = (MemoryStore::new(), Plan::new(WINDOW, &mut seeded(1)));
        let order = shuffled(SERVICES, &mut seeded(1));
        Fleet::new(SERVICES).fill(&store, &order).unwrap();
        let before = store.revision().as_u64();
        let laps = [0, 1, 2].map(|lap| lap * PROBES as u64);
        for number in laps.into_iter().flat_map(|from| from..from + 100) {
            assert!(plan.write(&store, number));
        }
        assert_eq!(store.revision().as_u64(), before + 300);
    }

    #[test]
    fn every_read_hits_and_a_store_that_answers_wrongly_is_noticed() {
        let (store, plan) = (
            ThreadSafeMemoryStore::new(),
            Plan::new(WINDOW, &mut seeded(1)),
        );
        let order = shuffled(SERVICES, &mut seeded(1));
        Fleet::new(SERVICES).fill(&store, &order).unwrap();
        let run = |ask: &dyn Fn(&str) -> Result<ServiceInfo>| {
            plan.run(&store, Pace::Unthrottled, 0, ask).unwrap()
        };
        let (reads, written) = run(&|key| store.get_service(key));
        assert_eq!(reads.hits, reads.asked);
        assert_eq!(written.accepted, written.writes);
        let (wrong, _) = run(&|_| store.get_service("service-00000:pod-0"));
        assert!(wrong.hits < wrong.asked || wrong.asked < 5);
    }

    #[test]
    fn stalls_are_not_compared_and_all_else_is() {
        for pace in PACES {
            for figure in Figure::ALL {
                let metric = Way::Handle.metric(figure, &situation(pace));
                let compared = WriterStorm.compared_with(&cell("SnapshotStore", metric));
                let is_stalls = matches!(figure, Figure::Stalls100us | Figure::Stalls1ms);
                assert_eq!(compared.is_none(), is_stalls);
            }
            let rate = cell("SnapshotStore", reached(Way::Store, pace));
            assert!(WriterStorm.compared_with(&rate).is_some());
        }
    }
}
