//! *by-name*: what it costs to ask for all pods of a name, by how many there are.
//!
//! One registry holds names with one pod, with ten, with a hundred and with a
//! thousand, as many pods of each kind, so that everybody answers the same
//! questions from the same tables, and who looks through everything pays for
//! everything.
//!
//! `get_services_by_name` answers with clones. A store with snapshots is also
//! asked to go through the same pods in a view, in place. These are two metrics,
//! and never stand in one column.

use std::collections::BTreeMap;

use rand::RngExt;

use super::growth::{Growth, long_enough, sample_time};
use super::operations::clock::{keep, slice, wait};
use super::{Effort, Scenario};
use crate::lab::contender::{self, About, Contender, SnapshotContender, Visitor};
use crate::lab::fault::Fault;
use crate::lab::model::{Cell, Report};
use crate::lab::process::Trial;
use crate::lab::record::{Recorder, Sample, Unit};
use crate::lab::run::Scale;
use crate::lab::section::{Section, thousands, time, took_part};
use crate::lab::workload::{LabRng, Texts, record as pod, shuffled};
use crate::{Batch, MemoryStore, RegistryView, Result};

/// The name of the scenario.
pub(crate) const NAME: &str = "by-name";

/// How many pods a name has.
pub const PODS: [usize; 4] = [1, 10, 100, 1_000];

/// How many pods there are of each kind of name.
const OF_EACH: usize = 2_000;

/// How many services the registry holds.
pub(crate) const SERVICES: usize = OF_EACH * PODS.len();

/// How many random names are ready for each kind: too many to be learnt.
const NAMES: usize = 1 << 13;

/// What the others are compared with.
const REFERENCE: &About = &MemoryStore::ABOUT;

/// How the pods are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Clone,
    View,
}

impl Way {
    const fn call(self) -> &'static str {
        match self {
            Way::Clone => "get_services_by_name",
            Way::View => "view.services_by_name",
        }
    }

    fn cell(self, store: &str, pods: usize) -> Cell {
        let call = self.call();
        Cell {
            scenario: NAME.into(),
            store: store.into(),
            threads: 1,
            services: SERVICES,
            metric: format!("{call}_{pods}"),
        }
    }
}

fn name(pods: usize, number: usize) -> String {
    format!("group-{pods:04}-{number:04}")
}

/// Who registers, in which order, and which names are asked for.
struct Names {
    /// The pods: how many their names have, and their numbers among these.
    order: Vec<(usize, usize)>,
    /// For each of [`PODS`], names at random.
    asked: Vec<Texts>,
}

impl Names {
    fn new(rng: &mut LabRng) -> Names {
        let order = shuffled(SERVICES, rng).into_iter();
        Names {
            order: order.map(|at| (PODS[at / OF_EACH], at % OF_EACH)).collect(),
            asked: PODS
                .iter()
                .map(|&pods| {
                    let names = OF_EACH / pods;
                    let random = (0..NAMES).map(|_| name(pods, rng.random_range(0..names)));
                    random.collect()
                })
                .collect(),
        }
    }

    fn fill(&self, store: &impl Contender) -> Result<()> {
        let mut batch = Batch::with_capacity(self.order.len());
        for (at, &(pods, number)) in self.order.iter().enumerate() {
            let name = name(pods, number / pods);
            batch.save_service(pod(at, name, format!("pod-{}", number % pods), Vec::new()));
        }
        store.commit(batch)?;
        Ok(())
    }
}

/// Measures a contender that has been filled.
struct Asking<'a> {
    trial: &'a Trial,
    record: &'a mut Recorder,
    outcome: std::result::Result<(), Fault>,
}

impl Asking<'_> {
    fn start<C: Contender>(&self) -> std::result::Result<(C, Names), Fault> {
        let names = Names::new(&mut self.trial.rng("names"));
        let store = C::default();
        names.fill(&store)?;
        let found = store.stats()?.services;
        if found != SERVICES {
            let said = format!("{found} pods registered, not {SERVICES}");
            return Err(Fault::Measuring(said));
        }
        Ok((store, names))
    }

    fn clones<C: Contender>(&mut self, store: &C, names: &Names) -> std::result::Result<(), Fault> {
        for (asked, pods) in names.asked.iter().zip(PODS) {
            let sample = self.sample(asked, |keys, warm| {
                keep(
                    keys,
                    warm,
                    slice(pods),
                    |name| store.get_services_by_name(name),
                    |answer| answer.as_ref().map_or(0, Vec::len),
                    |at, answer| {
                        let all = answer.as_ref().is_ok_and(|all| all.len() == pods);
                        let of_it = |info: &crate::ServiceInfo| info.service_name() == keys[at];
                        all && answer.iter().flatten().all(of_it)
                    },
                )
                .reads()
            })?;
            self.take(Way::Clone, store, pods, &sample)?;
        }
        Ok(())
    }

    fn views<C: SnapshotContender>(
        &mut self,
        store: &C,
        names: &Names,
    ) -> std::result::Result<(), Fault> {
        let view = store.take();
        for (asked, pods) in names.asked.iter().zip(PODS) {
            let sample = self.sample(asked, |keys, warm| {
                wait(keys, warm, |name| {
                    // What is taken from each depends on the record itself.
                    let statuses = view.services_by_name(name);
                    let (count, sum) = statuses.fold((0, 0), |(count, sum), info| {
                        (count + 1, sum + info.status() as usize)
                    });
                    (count == pods).then_some(sum)
                })
                .reads()
            })?;
            self.take(Way::View, store, pods, &sample)?;
        }
        Ok(())
    }

    /// A sample that is long enough; a quarter of its names are asked for before
    /// the clock starts, or at least every name once.
    fn sample(
        &self,
        asked: &Texts,
        read: impl Fn(&[&str], usize) -> Sample,
    ) -> std::result::Result<Sample, Fault> {
        let mut from = 0;
        long_enough(sample_time(self.trial.scale), NAMES, |count| {
            let warm = (count / 4).max(1);
            let keys = asked.window(from, warm + count);
            from += warm + count;
            Ok(read(&keys, warm))
        })
    }

    fn take<C: Contender>(
        &mut self,
        way: Way,
        store: &C,
        pods: usize,
        sample: &Sample,
    ) -> std::result::Result<(), Fault> {
        let sample = Sample {
            kinds: BTreeMap::from([
                (way.call(), sample.operations),
                ("pods", sample.operations * pods as u64),
            ]),
            services: Some((store.stats()?.services, SERVICES)),
            ..sample.clone()
        };
        let cell = way.cell(C::ABOUT.name, pods);
        self.record
            .sample(&cell, Unit::NanosecondsPerOperation, &sample)
    }
}

impl Visitor for Asking<'_> {
    fn local<C: Contender>(&mut self) {
        let started = self.start::<C>();
        self.outcome = started.and_then(|(store, names)| self.clones(&store, &names));
    }

    fn snapshots<C: SnapshotContender>(&mut self) {
        self.outcome = self.start::<C>().and_then(|(store, names)| {
            self.clones(&store, &names)?;
            self.views(&store, &names)
        });
    }
}

/// The scenario.
#[derive(Debug)]
pub struct ByName;

impl Scenario for ByName {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "asking for all pods of a name that has 1, 10, 100 or 1,000"
    }

    fn method(&self) -> &'static str {
        "One thread asks for all pods of a name, in a registry of 8,000: 2,000 names with one pod, \
         200 with ten, 20 with a hundred and 2 with a thousand, registered in random order. \
         get_services_by_name answers with clones, and is compared with MemoryStore, which has the \
         same tables and no synchronisation; answers are dropped while the clock stands still. A \
         view of a snapshot goes through the same pods in place: another call, and another table. \
         Every answer is checked for its number of pods, and the clones for their name."
    }

    fn entrants(&self) -> Vec<About> {
        let all = contender::all().into_iter();
        all.filter(About::is_store).collect()
    }

    fn reference(&self) -> &'static About {
        REFERENCE
    }

    fn effort(&self, scale: Scale) -> Effort {
        match scale {
            Scale::Smoke => Effort::new(1, 1, 2),
            Scale::Quick => Effort::new(5, 3, 2),
            Scale::Default => Effort::new(15, 7, 15),
            Scale::Full => Effort::new(15, 7, 60),
        }
    }

    fn measure(&self, trial: &Trial, record: &mut Recorder) -> std::result::Result<(), Fault> {
        let mut asking = Asking {
            trial,
            record,
            outcome: Ok(()),
        };
        if !contender::visit_one(&trial.store, &mut asking) {
            return Err(trial.unknown_store());
        }
        asking.outcome
    }

    fn compared_with(&self, cell: &Cell) -> Option<Cell> {
        let cloned = PODS
            .iter()
            .any(|&pods| Way::Clone.cell(&cell.store, pods) == *cell);
        (cloned && cell.store != REFERENCE.name).then(|| Cell {
            store: REFERENCE.name.into(),
            ..cell.clone()
        })
    }

    fn section(&self, report: &Report) -> Section {
        let stores = took_part(report, NAME, &contender::all());
        let growth = Growth {
            report,
            stores: &stores,
            over: "pods of the name",
            places: &PODS,
        };
        let mut blocks = growth.blocks(
            "All pods of a name, cloned",
            "Time of one get_services_by_name, and its ratio to MemoryStore.",
            true,
            |store, pods| Way::Clone.cell(store, pods),
        );
        blocks.extend(growth.blocks(
            "All pods of a name, in a view",
            "Time of going through them in a snapshot that was taken before; nothing is cloned, so \
             that this compares with no other table.",
            true,
            |store, pods| Way::View.cell(store, pods),
        ));
        Section {
            title: "By name".into(),
            intro: self.method().into(),
            findings: findings(report, &stores),
            blocks,
        }
    }
}

fn findings(report: &Report, stores: &[(usize, About)]) -> Vec<String> {
    let each = |pods: usize| {
        let costs = stores.iter().filter_map(|(_, about)| {
            let row = report.row(&Way::Clone.cell(about.name, pods))?;
            Some(format!("{} on {}", time(row.value), about.name))
        });
        costs.collect::<Vec<String>>().join(", ")
    };
    let say = |pods: usize| {
        format!(
            "To be given {} of {} registered pods by name takes {}.",
            thousands(pods as u64),
            thousands(SERVICES as u64),
            each(pods)
        )
    };
    [10, 1_000].map(say).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RegistryStore;
    use crate::lab::workload::seeded;
    use std::collections::HashSet;

    #[test]
    fn every_name_has_as_many_pods_as_it_says() {
        let (store, names) = (MemoryStore::new(), Names::new(&mut seeded(1)));
        names.fill(&store).unwrap();
        assert_eq!(store.stats().unwrap().services, SERVICES);
        for (asked, pods) in names.asked.iter().zip(PODS) {
            let distinct: HashSet<&str> = asked.window(0, NAMES).into_iter().collect();
            assert!(distinct.len() * pods > OF_EACH * 9 / 10, "{pods}");
            for name in distinct {
                assert_eq!(store.get_services_by_name(name).unwrap().len(), pods);
            }
        }
    }

    #[test]
    fn one_seed_asks_for_one_order_of_names() {
        let names = |seed| Names::new(&mut seeded(seed));
        assert_eq!(names(1).asked, names(1).asked);
        assert_eq!(names(1).order, names(1).order);
        assert_ne!(names(1).asked, names(2).asked);
    }

    #[test]
    fn every_contender_finds_all_pods_of_every_name() {
        for about in ByName.entrants() {
            let trial = Trial {
                scenario: NAME.into(),
                store: about.id.into(),
                scale: Scale::Smoke,
                seed: 3,
                block: 0,
                threads: Vec::new(),
            };
            let mut record = Recorder::default();
            ByName.measure(&trial, &mut record).unwrap();
            let results = record.into_results();
            let ways = if matches!(about.id, "snapshot" | "versioned") {
                2
            } else {
                1
            };
            assert_eq!(results.len(), ways * PODS.len(), "{}", about.name);
            assert!(
                results
                    .iter()
                    .all(|result| result.hits == result.operations)
            );
        }
    }
}
