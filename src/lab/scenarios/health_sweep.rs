//! *health-sweep*: every service is checked once a second, and readers read on.
//!
//! A control plane checks all pods in turn. Hardly anything comes of it: of a
//! hundred checks 99 say what was known, and only the time is new. The results
//! are written as they come in, spread over the second, or gathered and written as
//! one commit. Meanwhile a reader reads on an [open loop](crate::lab::open_loop).
//!
//! The second is a real one in a full run only. Elsewhere it is compressed, so
//! that the writer has as much more to do in a second as it is shorter.

mod layout;

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use rand::RngExt;
use rand::seq::SliceRandom;

use super::latency::{self, Figure, Measure, Way, of_reference, record_reads};
use super::{Effort, Scenario};
use crate::lab::contender::{About, Contender, SnapshotContender};
use crate::lab::fault::Fault;
use crate::lab::model::{Cell, Report};
use crate::lab::open_loop::{Reads, Schedule, beside, patience, read_on_schedule, wait_until};
use crate::lab::process::Trial;
use crate::lab::record::{Recorder, Sample, Unit};
use crate::lab::run::Scale;
use crate::lab::section::Section;
use crate::lab::workload::{Fleet, LabRng, Texts, epoch, shuffled};
use crate::{Batch, RegistryStore, Result, ServiceInfo, ServiceStatus, ThreadSafeMemoryStore};

/// The name of the scenario.
pub(crate) const NAME: &str = "health-sweep";

/// A reader and a writer.
const THREADS: usize = 2;

/// Reads a second.
const READS: u32 = 20_000;

/// One check of so many finds that a status has changed.
const CHANGES_ONE_IN: usize = 100;

/// What the others are compared with.
const REFERENCE: &About = &ThreadSafeMemoryStore::ABOUT;

/// How the results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Each by itself, at even distances over the second.
    Singly,
    /// All of them in one commit, a tenth of the second after its start.
    OneCommit,
}

impl Manner {
    const ALL: [Manner; 2] = [Manner::Singly, Manner::OneCommit];

    const fn name(self) -> &'static str {
        match self {
            Manner::Singly => "singly",
            Manner::OneCommit => "one_commit",
        }
    }

    /// The name of how long the writing took.
    fn sweep(self, way: Way) -> String {
        format!("{}sweep_{}", way.prefix(), self.name())
    }
}

/// How large the sweep is, and how long its second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    services: usize,
    second: Duration,
}

impl Extent {
    const fn of(scale: Scale) -> Extent {
        let (services, milliseconds) = match scale {
            Scale::Smoke => (1_000, 10),
            Scale::Quick => (1_000, 25),
            Scale::Default => (10_000, 100),
            Scale::Full => (10_000, 1_000),
        };
        Extent {
            services,
            second: Duration::from_millis(milliseconds),
        }
    }
}

/// All results of a second, made before it starts, and the reads beside them.
#[derive(Debug)]
struct Sweep {
    extent: Extent,
    /// The order in which the pods are checked.
    keys: Texts,
    /// What is found, in that order.
    found: Vec<ServiceStatus>,
    /// How many of them are news.
    changed: u64,
    /// When the checks were made; another time in each sweep.
    at: SystemTime,
    schedule: Schedule,
    /// A key a read.
    reads: Texts,
}

impl Sweep {
    /// `known` is what was found the last time, by pod, and becomes what is found
    /// this time. `number` counts the sweeps of a store.
    fn new(extent: Extent, known: &mut [ServiceStatus], number: u64, rng: &mut LabRng) -> Sweep {
        let mut order = shuffled(extent.services, rng);
        let changed = extent.services / CHANGES_ONE_IN;
        for &pod in &order[..changed] {
            known[pod] = match known[pod] {
                ServiceStatus::Healthy => ServiceStatus::Unhealthy,
                _ => ServiceStatus::Healthy,
            };
        }
        // The news come among the rest, not first.
        order.shuffle(rng);
        let schedule = Schedule::random(READS, extent.second, rng);
        let reads = (0..schedule.len()).map(|_| rng.random_range(0..extent.services));
        Sweep {
            extent,
            keys: order.iter().map(|&pod| Fleet::key(pod)).collect(),
            found: order.iter().map(|&pod| known[pod]).collect(),
            changed: changed as u64,
            at: epoch() + Duration::from_secs(1 + number),
            reads: reads.map(Fleet::key).collect(),
            schedule,
        }
    }

    fn batch(&self) -> Batch {
        let mut batch = Batch::with_capacity(self.found.len());
        for (at, status) in self.found.iter().enumerate() {
            batch.update_health_status(self.keys.get(at), *status, self.at);
        }
        batch
    }

    /// How many of the first `checked` pods of the sweep a store now knows as they
    /// were found.
    fn right(&self, store: &impl RegistryStore, checked: usize) -> Result<u64> {
        let found: HashMap<&str, ServiceStatus> = (0..checked)
            .map(|at| (self.keys.get(at), self.found[at]))
            .collect();
        let all = store.get_all_services()?;
        let right = all.iter().filter(|info| {
            let status = found.get(info.key().as_str());
            status == Some(&info.status()) && info.last_health_check() == Some(self.at)
        });
        Ok(right.count() as u64)
    }

    /// Writes and reads.
    fn run<S: RegistryStore + Sync>(
        &self,
        store: &S,
        manner: Manner,
        mut ask: impl FnMut(&str) -> Result<ServiceInfo>,
    ) -> Result<(Reads, Swept), Fault> {
        let batch = match manner {
            Manner::Singly => Batch::new(),
            Manner::OneCommit => self.batch(),
        };
        let (swept, reads) = beside(
            |start| {
                let begin = start.wait();
                match manner {
                    Manner::Singly => self.write_singly(store, begin),
                    Manner::OneCommit => {
                        let due = begin + self.extent.second / 10;
                        wait_until(due);
                        store.commit(batch)?;
                        Ok(Swept {
                            elapsed: due.elapsed(),
                            checked: self.extent.services,
                        })
                    }
                }
            },
            |start| {
                for at in 0..self.reads.len().min(latency::WARM_UP) {
                    drop(ask(self.reads.get(at)));
                }
                let begin = start.wait();
                read_on_schedule(
                    &self.schedule,
                    begin,
                    |at| ask(self.reads.get(at)),
                    |at, answer| answer.is_ok_and(|info| *info.key() == *self.reads.get(at)),
                )
            },
        )?;
        Ok((reads, swept?))
    }

    fn write_singly(&self, store: &impl RegistryStore, begin: Instant) -> Result<Swept> {
        let Extent { services, second } = self.extent;
        let parts = u32::try_from(services).unwrap_or(u32::MAX);
        let last = begin + patience(second);
        let mut checked = 0;
        for (part, status) in (0..parts).zip(&self.found) {
            let now = wait_until(begin + second * part / parts);
            // As of the reads: one is made in any case.
            if now > last && checked > 0 {
                break;
            }
            store.update_health_status(self.keys.get(checked), *status, self.at)?;
            checked += 1;
        }
        Ok(Swept {
            elapsed: begin.elapsed(),
            checked,
        })
    }
}

/// What became of a sweep.
#[derive(Clone, Copy, Debug)]
struct Swept {
    /// From when it was due to the end of the last write.
    elapsed: Duration,
    /// How many results were written: all, unless the store fell so far behind
    /// that the others were given up.
    checked: usize,
}

/// The scenario.
#[derive(Debug)]
pub struct HealthSweep;

impl Scenario for HealthSweep {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "what a reader waits for while every service is checked once a second"
    }

    fn method(&self) -> &'static str {
        "Every one of 10,000 services gets the result of a health check once a second: 99 of a \
         hundred say what was known, at a new time, and one changes the status. The results are \
         written singly, spread over the second, or as one commit a tenth of a second after its \
         start. Meanwhile one reader, where it can be on a processor of its own, as in writer-storm, clones single records, 20,000 a second at random moments \
         that are fixed beforehand, and each latency counts from the moment at which the read \
         was due. The second is a real one in a full run. In a default run it lasts a tenth of \
         one, so that the writer has ten times as much to do, and a stall of the one commit takes \
         ten times its share of the reads; in a quick run 1,000 services are checked within a fortieth \
         of a second, at four times the real rate. A sweep that is not done after four times its second (and a \
         quarter of a real one) is given up, and counts with the time that it took. The time of \
         the sweep and the latencies of the reads come from the same run, unlike elsewhere, because \
         the one is what the others have to stand; each is timed by a thread of its own, and the \
         sweep, which is paced, is no throughput. Afterwards \
         every record is looked at: status and time must be those of the last check."
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
            Scale::Quick => Effort::new(5, 3, 3),
            Scale::Default => Effort::new(15, 7, 25),
            Scale::Full => Effort::new(11, 7, 110),
        }
    }

    fn measure(&self, trial: &Trial, record: &mut Recorder) -> Result<(), Fault> {
        latency::measure_one(trial, &mut Measuring { trial, record })
    }

    fn compared_with(&self, cell: &Cell) -> Option<Cell> {
        // As in writer-storm: some blocks have no stall at all.
        let stalls = [Figure::Stalls100us, Figure::Stalls1ms];
        let is_stalls = |way: Way, manner: Manner| {
            stalls.map(|figure| way.metric(figure, manner.name()) == cell.metric)
        };
        let mut known = Manner::ALL.into_iter().flat_map(|manner| {
            let ways = [Way::Store, Way::Handle];
            ways.into_iter().flat_map(move |way| is_stalls(way, manner))
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

struct Measuring<'a> {
    trial: &'a Trial,
    record: &'a mut Recorder,
}

impl Measuring<'_> {
    fn sweeps<C: Contender + Send + Sync>(
        &mut self,
        store: &C,
        way: Way,
        mut ask: impl FnMut(&str) -> Result<ServiceInfo>,
    ) -> Result<(), Fault> {
        let extent = Extent::of(self.trial.scale);
        let mut rng = self.trial.rng("sweeps");
        let mut known = vec![ServiceStatus::Healthy; extent.services];
        for (number, manner) in Manner::ALL.into_iter().enumerate() {
            let sweep = Sweep::new(extent, &mut known, number as u64, &mut rng);
            let (reads, swept) = sweep.run(store, manner, &mut ask)?;
            let updates = swept.checked as u64;
            let (found, right, services) = if C::ABOUT.is_store() {
                let services = (store.stats()?.services, extent.services);
                let right = sweep.right(store, swept.checked)?;
                (reads.asked, right, Some(services))
            } else {
                // It keeps nothing that could be looked at.
                (0, updates, None)
            };
            let expected = found + updates;
            let mut sample = Sample {
                writes: updates,
                hits: reads.hits + right,
                expected: expected..=expected,
                services,
                ..Sample::of(reads.elapsed, reads.asked + updates)
            };
            sample.kinds = [
                ("get_service", reads.asked),
                ("given_up", reads.given_up),
                ("update_health_status", updates),
                ("updates_given_up", extent.services as u64 - updates),
                ("news", sweep.changed),
                ("commit", u64::from(manner == Manner::OneCommit)),
            ]
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .collect();
            let cell = |metric| cell(C::ABOUT.name, extent.services, metric);
            record_reads(self.record, cell, way, manner.name(), &reads, &sample)?;
            let sample = Sample {
                elapsed: swept.elapsed,
                ..sample
            };
            self.record
                .sample(&cell(manner.sweep(way)), Unit::Nanoseconds, &sample)?;
        }
        Ok(())
    }

    fn filled<C: Contender>(&self) -> Result<C> {
        let services = Extent::of(self.trial.scale).services;
        let store = C::default();
        let order = shuffled(services, &mut self.trial.rng("order of registration"));
        Fleet::new(services).fill(&store, &order)?;
        Ok(store)
    }
}

impl Measure for Measuring<'_> {
    fn store<C: Contender + Send + Sync>(&mut self) -> Result<(), Fault> {
        let store = self.filled::<C>()?;
        self.sweeps(&store, Way::Store, |key| store.get_service(key))
    }

    fn handles<C: SnapshotContender>(&mut self) -> Result<(), Fault> {
        let store = self.filled::<C>()?;
        let mut reader = store.open_reader();
        self.sweeps(&store, Way::Handle, |key| {
            C::read(&mut reader, key, ServiceInfo::clone)
        })
    }
}

fn cell(store: &str, services: usize, metric: String) -> Cell {
    Cell {
        scenario: NAME.into(),
        store: store.into(),
        threads: THREADS,
        services,
        metric,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;
    use crate::lab::workload::seeded;

    const SMALL: Extent = Extent::of(Scale::Smoke);

    fn known() -> Vec<ServiceStatus> {
        vec![ServiceStatus::Healthy; SMALL.services]
    }

    fn filled(store: &impl RegistryStore) {
        let order = shuffled(SMALL.services, &mut seeded(1));
        Fleet::new(SMALL.services).fill(store, &order).unwrap();
    }

    #[test]
    fn one_in_a_hundred_changes_and_the_next_sweep_knows_it() {
        let (mut rng, mut known) = (seeded(1), known());
        let unhealthy = |known: &[ServiceStatus]| {
            let unhealthy = known.iter().filter(|s| **s == ServiceStatus::Unhealthy);
            unhealthy.count()
        };
        let first = Sweep::new(SMALL, &mut known, 0, &mut rng);
        assert_eq!((first.changed, unhealthy(&known)), (10, 10));
        assert_eq!(unhealthy(&first.found), 10);
        let before = known.clone();
        let second = Sweep::new(SMALL, &mut known, 1, &mut rng);
        let changed = before.iter().zip(&known).filter(|(a, b)| a != b).count();
        assert_eq!((second.changed, changed), (10, 10));
        assert!(second.at > first.at);
        // Every pod once.
        let keys: std::collections::HashSet<&str> =
            (0..SMALL.services).map(|at| second.keys.get(at)).collect();
        assert_eq!(keys.len(), SMALL.services);
    }

    #[test]
    fn one_seed_makes_one_sweep() {
        let sweep = |seed| Sweep::new(SMALL, &mut known(), 0, &mut seeded(seed));
        let (a, b, other) = (sweep(3), sweep(3), sweep(4));
        assert_eq!((&a.keys, &a.found, &a.reads), (&b.keys, &b.found, &b.reads));
        assert_eq!(a.schedule, b.schedule);
        assert_ne!(a.keys, other.keys);
    }

    #[test]
    fn a_check_that_was_lost_is_noticed() {
        let sweep = Sweep::new(SMALL, &mut known(), 0, &mut seeded(1));
        let store = MemoryStore::new();
        filled(&store);
        assert_eq!(sweep.right(&store, 1_000), Ok(0));
        store.commit(sweep.batch()).unwrap();
        assert_eq!(sweep.right(&store, 1_000), Ok(1_000));
        store
            .update_health_status(sweep.keys.get(3), sweep.found[3], epoch())
            .unwrap();
        assert_eq!(sweep.right(&store, 1_000), Ok(999));
    }

    #[test]
    fn both_manners_lead_to_the_same() {
        for manner in Manner::ALL {
            let sweep = Sweep::new(SMALL, &mut known(), 0, &mut seeded(1));
            let store = ThreadSafeMemoryStore::new();
            filled(&store);
            let (reads, swept) = sweep
                .run(&store, manner, |key| store.get_service(key))
                .unwrap();
            assert_eq!(reads.hits, reads.asked);
            // All of them, unless this machine is very busy.
            assert_eq!(sweep.right(&store, swept.checked), Ok(swept.checked as u64));
            assert!((1..=1_000).contains(&swept.checked));
            // Never before the last check came in.
            let least = SMALL.second * 999 / 1_000;
            assert!(manner == Manner::OneCommit || swept.elapsed >= least);
        }
    }
}
