//! *subscriptions*: what it costs to ask who is subscribed to a group, and to
//! change that, by how many there are.
//!
//! One registry holds 2,000 pods. Each is subscribed to one group of every size:
//! to one that it has for itself, to one of ten, of a hundred and of a thousand.

use rand::RngExt;
use std::collections::BTreeMap;

use super::growth::{Growth, long_enough, sample_time};
use super::operations::clock::{keep, slice, tally, wait};
use super::{Effort, Scenario};
use crate::lab::contender::{self, About, Contender, SnapshotContender, Visitor};
use crate::lab::fault::Fault;
use crate::lab::model::{Cell, Report};
use crate::lab::process::Trial;
use crate::lab::record::{Recorder, Sample, Unit};
use crate::lab::run::Scale;
use crate::lab::section::{Section, thousands, time, took_part};
use crate::lab::workload::{Fleet, LabRng, Texts, shuffled};
use crate::{Batch, MemoryStore, RegistryView, Result};

/// The name of the scenario.
pub(crate) const NAME: &str = "subscriptions";

/// How many subscribers a group has.
pub const SUBSCRIBERS: [usize; 4] = [1, 10, 100, 1_000];

/// How many pods are registered; each is in one group of every size.
pub(crate) const PODS: usize = 2_000;

/// How many random groups are ready for each size: too many to be learnt.
const GROUPS: usize = 1 << 13;

/// What the others are compared with.
const REFERENCE: &About = &MemoryStore::ABOUT;

/// What is asked, or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Subscribers,
    SubscriberServices,
    /// One subscription ends, and begins anew.
    RemoveAndAdd,
    ViewSubscribers,
    ViewSubscriberServices,
}

impl Call {
    const ALL: [Call; 5] = [
        Call::Subscribers,
        Call::SubscriberServices,
        Call::RemoveAndAdd,
        Call::ViewSubscribers,
        Call::ViewSubscriberServices,
    ];

    const fn is_of_views(self) -> bool {
        matches!(self, Call::ViewSubscribers | Call::ViewSubscriberServices)
    }

    const fn name(self) -> &'static str {
        match self {
            Call::Subscribers => "get_subscribers",
            Call::SubscriberServices => "get_subscriber_services",
            Call::RemoveAndAdd => "remove_and_add_subscription",
            Call::ViewSubscribers => "view.subscribers",
            Call::ViewSubscriberServices => "view.subscriber_services",
        }
    }

    fn cell(self, store: &str, subscribers: usize) -> Cell {
        let call = self.name();
        Cell {
            scenario: NAME.into(),
            store: store.into(),
            threads: 1,
            services: PODS,
            metric: format!("{call}_{subscribers}"),
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Call::Subscribers => "Keys of the subscribers (get_subscribers)",
            Call::SubscriberServices => "Records of the subscribers (get_subscriber_services)",
            Call::RemoveAndAdd => "A subscription ends and begins anew",
            Call::ViewSubscribers => "Keys of the subscribers, in a view",
            Call::ViewSubscriberServices => "Records of the subscribers, in a view",
        }
    }

    const fn note(self) -> &'static str {
        match self {
            Call::Subscribers | Call::SubscriberServices => {
                "Time of one call, which clones what it answers, and its ratio to MemoryStore."
            }
            Call::RemoveAndAdd => {
                "Time of remove_subscription and add_subscription of a random subscriber of the \
                 group, both together, and its ratio to MemoryStore."
            }
            Call::ViewSubscribers | Call::ViewSubscriberServices => {
                "Time of going through them in a snapshot that was taken before; nothing is \
                 cloned, so that this compares with no other table."
            }
        }
    }
}

fn group(subscribers: usize, number: usize) -> String {
    format!("group-{subscribers:04}-{number:04}")
}

/// Which group a pod is in.
fn group_of(subscribers: usize, pod: usize) -> String {
    group(subscribers, pod / subscribers)
}

/// Who is subscribed to what, and what is asked for.
struct Groups {
    /// The order in which the pods register and subscribe.
    order: Vec<usize>,
    /// For each of [`SUBSCRIBERS`], groups at random, each with one of its
    /// subscribers.
    asked: Vec<(Texts, Texts)>,
}

impl Groups {
    fn new(rng: &mut LabRng) -> Groups {
        let asked = SUBSCRIBERS.iter().map(|&subscribers| {
            let pods: Vec<usize> = (0..GROUPS).map(|_| rng.random_range(0..PODS)).collect();
            let groups = pods.iter().map(|&pod| group_of(subscribers, pod));
            let keys = pods.iter().map(|&pod| Fleet::key(pod));
            (groups.collect(), keys.collect())
        });
        let asked = asked.collect();
        Groups {
            order: shuffled(PODS, rng),
            asked,
        }
    }

    fn fill(&self, store: &impl Contender) -> Result<()> {
        let fleet = Fleet::new(PODS);
        let mut batch = Batch::with_capacity(PODS * (1 + SUBSCRIBERS.len()));
        for &pod in &self.order {
            batch.save_service(fleet.record(pod));
            for subscribers in SUBSCRIBERS {
                batch.add_subscription(&Fleet::key(pod), &group_of(subscribers, pod));
            }
        }
        store.commit(batch)?;
        Ok(())
    }
}

struct Asking<'a> {
    trial: &'a Trial,
    record: &'a mut Recorder,
    outcome: std::result::Result<(), Fault>,
}

impl Asking<'_> {
    fn start<C: Contender>(&self) -> std::result::Result<(C, Groups), Fault> {
        let groups = Groups::new(&mut self.trial.rng("groups"));
        let store = C::default();
        groups.fill(&store)?;
        let stats = store.stats()?;
        let found = (stats.services, stats.subscriptions);
        let expected = (PODS, PODS * SUBSCRIBERS.len());
        if found != expected {
            let said = format!("{found:?} pods and subscriptions, not {expected:?}");
            return Err(Fault::Measuring(said));
        }
        Ok((store, groups))
    }

    fn calls<C: Contender>(
        &mut self,
        store: &C,
        groups: &Groups,
    ) -> std::result::Result<(), Fault> {
        for ((asked, keys), n) in groups.asked.iter().zip(SUBSCRIBERS) {
            let sample = self.sample(asked, |groups, _, warm| {
                keep(
                    groups,
                    warm,
                    slice(n),
                    |group| store.get_subscribers(group),
                    |answer| answer.as_ref().map_or(0, Vec::len),
                    |_, answer| answer.as_ref().is_ok_and(|all| all.len() == n),
                )
                .reads()
            })?;
            self.take(Call::Subscribers, store, n, &sample)?;
            let sample = self.sample(asked, |groups, _, warm| {
                keep(
                    groups,
                    warm,
                    slice(n),
                    |group| store.get_subscriber_services(group),
                    |answer| answer.as_ref().map_or(0, Vec::len),
                    |_, answer| answer.as_ref().is_ok_and(|all| all.len() == n),
                )
                .reads()
            })?;
            self.take(Call::SubscriberServices, store, n, &sample)?;
            let sample = self.sample(asked, |groups, from, warm| {
                let keys = keys.window(from, groups.len());
                let before = store.revision().as_u64();
                let pairs = keys.into_iter().zip(groups.iter().copied());
                let timed = tally(pairs, warm, |(key, group)| {
                    store.remove_subscription(key, group).is_ok()
                        && store.add_subscription(key, group).is_ok()
                });
                // The revision tells whether each of the two changed something.
                let changes = store.revision().as_u64() - before;
                timed.hit(changes / 2 - warm as u64).writes()
            })?;
            self.take(Call::RemoveAndAdd, store, n, &sample)?;
        }
        Ok(())
    }

    fn views<C: SnapshotContender>(
        &mut self,
        store: &C,
        groups: &Groups,
    ) -> std::result::Result<(), Fault> {
        let view = store.take();
        for ((asked, _), n) in groups.asked.iter().zip(SUBSCRIBERS) {
            let sample = self.sample(asked, |groups, _, warm| {
                wait(groups, warm, |group| {
                    let keys = view.subscribers(group);
                    let (count, sum) =
                        keys.fold((0, 0), |(count, sum), key| (count + 1, sum + key.len()));
                    (count == n).then_some(sum)
                })
                .reads()
            })?;
            self.take(Call::ViewSubscribers, store, n, &sample)?;
            let sample = self.sample(asked, |groups, _, warm| {
                wait(groups, warm, |group| {
                    let infos = view.subscriber_services(group);
                    let (count, sum) = infos.fold((0, 0), |(count, sum), info| {
                        (count + 1, sum + info.status() as usize)
                    });
                    (count == n).then_some(sum)
                })
                .reads()
            })?;
            self.take(Call::ViewSubscriberServices, store, n, &sample)?;
        }
        Ok(())
    }

    /// A sample that is long enough. `call` gets the groups, the place of the first
    /// one, and how many of them come before the clock starts.
    fn sample(
        &self,
        asked: &Texts,
        call: impl Fn(&[&str], usize, usize) -> Sample,
    ) -> std::result::Result<Sample, Fault> {
        let mut from = 0;
        long_enough(sample_time(self.trial.scale), GROUPS, |count| {
            let warm = (count / 4).max(1);
            let groups = asked.window(from, warm + count);
            let sample = call(&groups, from, warm);
            from += warm + count;
            Ok(sample)
        })
    }

    fn take<C: Contender>(
        &mut self,
        call: Call,
        store: &C,
        subscribers: usize,
        sample: &Sample,
    ) -> std::result::Result<(), Fault> {
        let kinds = match call {
            Call::RemoveAndAdd => {
                BTreeMap::from([("remove", sample.operations), ("add", sample.operations)])
            }
            _ => BTreeMap::from([
                (call.name(), sample.operations),
                ("subscribers", sample.operations * subscribers as u64),
            ]),
        };
        let stats = store.stats()?;
        let expected = PODS * SUBSCRIBERS.len();
        if stats.subscriptions != expected {
            return Err(Fault::Measuring(format!(
                "{}: {} subscriptions at the end, not {expected}",
                C::ABOUT.name,
                stats.subscriptions
            )));
        }
        let sample = Sample {
            kinds,
            services: Some((stats.services, PODS)),
            ..sample.clone()
        };
        let unit = Unit::NanosecondsPerOperation;
        self.record
            .sample(&call.cell(C::ABOUT.name, subscribers), unit, &sample)
    }
}

impl Visitor for Asking<'_> {
    fn local<C: Contender>(&mut self) {
        let started = self.start::<C>();
        self.outcome = started.and_then(|(store, groups)| self.calls(&store, &groups));
    }

    fn snapshots<C: SnapshotContender>(&mut self) {
        self.outcome = self.start::<C>().and_then(|(store, groups)| {
            self.calls(&store, &groups)?;
            self.views(&store, &groups)
        });
    }
}

/// The scenario.
#[derive(Debug)]
pub struct Subscriptions;

impl Scenario for Subscriptions {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "asking who is subscribed, and changing it, with 1 to 1,000 subscribers a group"
    }

    fn method(&self) -> &'static str {
        "One thread, 2,000 pods, each of which is subscribed to four groups: to one that nobody \
         else is subscribed to, to one of ten, of a hundred and of a thousand. get_subscribers \
         answers with the keys of a random group, get_subscriber_services with the records; \
         answers are dropped while the clock stands still. To change a group, a random subscriber \
         is removed and added again: two calls, counted as one. MemoryStore, the same tables \
         without synchronisation, is what the others are compared with. Views of a snapshot borrow \
         what the calls clone: other tables."
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
        let clones = Call::ALL.into_iter().filter(|call| !call.is_of_views());
        let mut known = clones.flat_map(|call| SUBSCRIBERS.map(|n| call.cell(&cell.store, n)));
        (cell.store != REFERENCE.name && known.any(|known| known == *cell)).then(|| Cell {
            store: REFERENCE.name.into(),
            ..cell.clone()
        })
    }

    fn section(&self, report: &Report) -> Section {
        let stores = took_part(report, NAME, &contender::all());
        let growth = Growth {
            report,
            stores: &stores,
            over: "subscribers",
            places: &SUBSCRIBERS,
        };
        let blocks = Call::ALL.into_iter().flat_map(|call| {
            let brief = call == Call::Subscribers || call == Call::RemoveAndAdd;
            growth.blocks(call.title(), call.note(), brief, move |store, n| {
                call.cell(store, n)
            })
        });
        Section {
            title: "Subscriptions".into(),
            intro: self.method().into(),
            findings: findings(report, &stores),
            blocks: blocks.collect(),
        }
    }
}

fn findings(report: &Report, stores: &[(usize, About)]) -> Vec<String> {
    let say = |n: usize| {
        let costs = stores.iter().filter_map(|(_, about)| {
            let row = report.row(&Call::RemoveAndAdd.cell(about.name, n))?;
            Some(format!("{} on {}", time(row.value), about.name))
        });
        let costs: Vec<String> = costs.collect();
        format!(
            "To end a subscription and begin it anew, in a group of {}, takes {}.",
            thousands(n as u64),
            costs.join(", ")
        )
    };
    [10, 1_000].map(say).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RegistryStore;
    use crate::lab::workload::seeded;

    #[test]
    fn every_group_has_as_many_subscribers_as_it_says_and_the_key_is_one_of_them() {
        let (store, groups) = (MemoryStore::new(), Groups::new(&mut seeded(1)));
        groups.fill(&store).unwrap();
        for ((asked, keys), n) in groups.asked.iter().zip(SUBSCRIBERS) {
            for at in 0..200 {
                let subscribers = store.get_subscribers(asked.get(at)).unwrap();
                assert_eq!(subscribers.len(), n);
                assert!(subscribers.iter().any(|key| **key == *keys.get(at)));
            }
        }
    }

    #[test]
    fn one_seed_asks_for_one_order_of_groups() {
        let groups = |seed| Groups::new(&mut seeded(seed));
        assert_eq!(groups(1).asked, groups(1).asked);
        assert_ne!(groups(1).order, groups(2).order);
    }

    #[test]
    fn every_contender_finds_all_subscribers_and_changes_every_group() {
        for about in Subscriptions.entrants() {
            let trial = Trial {
                scenario: NAME.into(),
                store: about.id.into(),
                scale: Scale::Smoke,
                seed: 3,
                block: 0,
                threads: Vec::new(),
            };
            let mut record = Recorder::default();
            Subscriptions.measure(&trial, &mut record).unwrap();
            let results = record.into_results();
            let calls = if matches!(about.id, "snapshot" | "versioned") {
                5
            } else {
                3
            };
            assert_eq!(results.len(), calls * SUBSCRIBERS.len(), "{}", about.name);
            assert!(
                results
                    .iter()
                    .all(|result| result.hits == result.operations)
            );
        }
    }
}
