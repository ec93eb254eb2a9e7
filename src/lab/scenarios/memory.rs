//! *memory*: what a registry holds on to.
//!
//! Bytes are counted by the allocator of the program (see
//! [`counting`](crate::lab::counting)), in a process that does nothing else and
//! times nothing. Counted is everything that is asked for from the moment at which
//! the store does not exist yet: its tables, its indexes, its records. The texts
//! that it is called with are there before, and the records are made one by one and
//! given away.
//!
//! *Churn* is what shows a leak, a table that never shrinks, or garbage that waits
//! for its turn: pods leave and others register, as many as the registry holds,
//! ten times over. After an even number of such turns exactly the same pods are
//! registered as before, so that whatever is more is kept for nothing.
//!
//! What somebody *holds* on to keeps what it shows: an answer of `get_all_services`,
//! or a snapshot, is kept while every record is replaced, and then let go of. What is
//! given back at that moment is what it had cost.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::growth::{colour, head};
use super::{Effort, Scenario};
use crate::lab::contender::{self, About, Contender, Floor, SnapshotContender, Visitor};
use crate::lab::counting::Count;
use crate::lab::fault::Fault;
use crate::lab::model::{Cell, Report, SummaryRow};
use crate::lab::process::Trial;
use crate::lab::record::{Recorder, Sample, Unit};
use crate::lab::run::Scale;
use crate::lab::section::{
    Bar, BarChart, BarGroup, Block, Entry, Quantity, Section, Table, TableRow, bytes, thousands,
    took_part,
};
use crate::lab::workload::{Fleet, LabRng, Texts, shuffled};
use crate::{Result, ServiceInfo, StoreError};

/// The name of the scenario.
pub(crate) const NAME: &str = "memory";

/// How many services are registered, in the full run.
pub const SIZES: [usize; 5] = [10, 1_000, 10_000, 100_000, 1_000_000];

/// Up to this size there is churn, and somebody holds on to something: beyond, it
/// would take minutes.
const CHURNED_TO: usize = 100_000;

/// How often all pods are replaced by others: an even number.
const TURNS: usize = 10;

fn sizes(scale: Scale) -> &'static [usize] {
    match scale {
        Scale::Smoke => &[100],
        Scale::Quick => &SIZES[..2],
        Scale::Default => &SIZES[..3],
        Scale::Full => &SIZES,
    }
}

/// At which moment is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// When all pods are registered.
    Live,
    /// The most that was held while they registered.
    Peak,
    /// When all of them have been replaced by others and back, again and again.
    AfterChurn,
}

impl Moment {
    const ALL: [Moment; 3] = [Moment::Live, Moment::Peak, Moment::AfterChurn];

    const fn metric(self) -> &'static str {
        match self {
            Moment::Live => "live",
            Moment::Peak => "peak",
            Moment::AfterChurn => "after_churn",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Moment::Live => "live",
            Moment::Peak => "peak while filling",
            Moment::AfterChurn => "after churn",
        }
    }

    fn cell(self, store: &str, services: usize) -> Cell {
        Cell {
            scenario: NAME.into(),
            store: store.into(),
            threads: 1,
            services,
            metric: self.metric().into(),
        }
    }
}

/// What somebody holds on to while all records are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// What `get_all_services` answered.
    Answer,
    /// A snapshot.
    View,
}

impl Held {
    const ALL: [Held; 2] = [Held::Answer, Held::View];

    const fn metric(self) -> &'static str {
        match self {
            Held::Answer => "held_by_answer",
            Held::View => "held_by_view",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Held::Answer => "an answer of get_all_services",
            Held::View => "a view",
        }
    }

    fn cell(self, store: &str, services: usize) -> Cell {
        Cell {
            metric: self.metric().into(),
            ..Moment::Live.cell(store, services)
        }
    }
}

/// What holds pods and their subscriptions.
trait Holder: Sized {
    fn about() -> &'static About;
    fn empty() -> Self;
    fn register(&self, record: ServiceInfo, key: &str, group: &str) -> Result<()>;
    fn unregister(&self, key: &str, group: &str) -> Result<()>;
    fn services(&self) -> Result<usize>;
}

struct Store<C>(C);

impl<C: Contender> Holder for Store<C> {
    fn about() -> &'static About {
        &C::ABOUT
    }
    fn empty() -> Self {
        Store(C::default())
    }
    fn register(&self, record: ServiceInfo, key: &str, group: &str) -> Result<()> {
        self.0.save_service(record)?;
        self.0.add_subscription(key, group)
    }
    fn unregister(&self, key: &str, group: &str) -> Result<()> {
        self.0.delete_service(key)?;
        self.0.remove_subscription(key, group)
    }
    fn services(&self) -> Result<usize> {
        Ok(self.0.stats()?.services)
    }
}

/// The floor knows no subscriptions.
impl Holder for RefCell<Floor> {
    fn about() -> &'static About {
        &Floor::ABOUT
    }
    fn empty() -> Self {
        RefCell::default()
    }
    fn register(&self, record: ServiceInfo, _: &str, _: &str) -> Result<()> {
        let services = &mut self.borrow_mut().services;
        services.insert(record.key().clone(), record);
        Ok(())
    }
    fn unregister(&self, key: &str, _: &str) -> Result<()> {
        self.borrow_mut().services.remove(key);
        Ok(())
    }
    fn services(&self) -> Result<usize> {
        Ok(self.borrow().services.len())
    }
}

/// Two crews of pods, one of which is registered at a time, and in which order
/// they come and go.
struct Shifts {
    fleet: Fleet,
    pods: usize,
    keys: Texts,
    groups: Texts,
    orders: Vec<Vec<usize>>,
}

impl Shifts {
    fn new(pods: usize, rng: &mut LabRng) -> Shifts {
        // Groups and names of twice as many pods, as many at a time.
        let fleet = Fleet::new(2 * pods);
        Shifts {
            fleet,
            pods,
            keys: (0..2 * pods).map(Fleet::key).collect(),
            groups: (0..2 * pods).map(|pod| fleet.group(pod, 0)).collect(),
            orders: (0..=TURNS).map(|_| shuffled(pods, rng)).collect(),
        }
    }

    fn register(&self, store: &impl Holder, pod: usize) -> Result<()> {
        let (key, group) = (self.keys.get(pod), self.groups.get(pod));
        store.register(self.fleet.record(pod), key, group)
    }

    fn fill(&self, store: &impl Holder) -> Result<()> {
        let mut order = self.orders[TURNS].iter();
        order.try_for_each(|&pod| self.register(store, pod))
    }

    /// Replaces every pod by one of the other crew, [`TURNS`] times.
    fn churn(&self, store: &impl Holder) -> Result<()> {
        for turn in 0..TURNS {
            let (old, new) = match turn % 2 {
                0 => (0, self.pods),
                _ => (self.pods, 0),
            };
            for &pod in &self.orders[turn] {
                let (key, group) = (self.keys.get(old + pod), self.groups.get(old + pod));
                store.unregister(key, group)?;
                self.register(store, new + pod)?;
            }
        }
        Ok(())
    }

    /// Replaces every record by one that shares nothing with it; answers how many of
    /// them changed something.
    fn replace<C: Contender>(&self, store: &C) -> Result<u64> {
        let before = store.revision().as_u64();
        for (at, &pod) in self.orders[0].iter().enumerate() {
            store.save_service(self.fleet.replacement(pod, 1 + at as u64))?;
        }
        Ok(store.revision().as_u64() - before)
    }

    /// The operations until a moment, by kind.
    fn kinds(&self, moment: Moment) -> BTreeMap<&'static str, u64> {
        let pods = self.pods as u64;
        let churned = match moment {
            Moment::AfterChurn => pods * TURNS as u64,
            Moment::Live | Moment::Peak => 0,
        };
        BTreeMap::from([("register", pods + churned), ("unregister", churned)])
    }
}

fn measure<H: Holder>(trial: &Trial, record: &mut Recorder) -> std::result::Result<(), Fault> {
    for &pods in sizes(trial.scale) {
        let shifts = Shifts::new(pods, &mut trial.rng(&format!("shifts of {pods}")));
        let count = Count::begin().ok_or_else(nobody_counts)?;
        let store = H::empty();
        shifts.fill(&store)?;
        let mut counted = vec![(Moment::Live, count.live()), (Moment::Peak, count.peak())];
        if pods <= CHURNED_TO {
            shifts.churn(&store)?;
            counted.push((Moment::AfterChurn, count.live()));
        }
        drop(count);
        let found = store.services()?;
        for (moment, counted) in counted {
            let kinds = shifts.kinds(moment);
            let operations = kinds.values().sum();
            let sample = Sample {
                writes: operations,
                kinds,
                services: Some((found, pods)),
                ..Sample::of(Duration::ZERO, operations)
            };
            let cell = moment.cell(H::about().name, pods);
            record.value(&cell, Unit::BytesPerService, each(counted, pods), &sample)?;
        }
    }
    Ok(())
}

/// Has somebody hold on to what `take` answers while all records are replaced, and
/// asks what that had kept.
fn measure_held<C: Contender, V>(
    trial: &Trial,
    record: &mut Recorder,
    held: Held,
    take: impl Fn(&C) -> Result<V>,
) -> std::result::Result<(), Fault> {
    let sizes = sizes(trial.scale).iter();
    for &pods in sizes.filter(|pods| **pods <= CHURNED_TO) {
        let shifts = Shifts::new(pods, &mut trial.rng(&format!("shifts of {pods}")));
        let count = Count::begin().ok_or_else(nobody_counts)?;
        let store = Store(C::default());
        shifts.fill(&store)?;
        let kept = take(&store.0)?;
        let replaced = shifts.replace(&store.0)?;
        // Whoever is asked has done all that he was asked for before.
        let found = store.services()?;
        let with = count.live();
        drop(kept);
        let without = count.live();
        drop(count);
        let pods_once = pods as u64;
        let sample = Sample {
            writes: 2 * pods_once,
            kinds: BTreeMap::from([("register", pods_once), ("replace", pods_once)]),
            hits: pods_once + replaced,
            services: Some((found, pods)),
            ..Sample::of(Duration::ZERO, 2 * pods_once)
        };
        let cell = held.cell(C::ABOUT.name, pods);
        // A thread of the store itself may free a record or two meanwhile.
        let value = each(with - without, pods).max(0.0);
        record.value(&cell, Unit::BytesPerService, value, &sample)?;
    }
    Ok(())
}

fn nobody_counts() -> Fault {
    Fault::Measuring("this program has no allocator that counts: run `cargo lab`".into())
}

#[allow(clippy::cast_precision_loss)] // far below 2^52
fn each(bytes: i64, pods: usize) -> f64 {
    bytes as f64 / pods as f64
}

struct Weighing<'a> {
    trial: &'a Trial,
    record: &'a mut Recorder,
    outcome: std::result::Result<(), Fault>,
}

impl Visitor for Weighing<'_> {
    fn local<C: Contender>(&mut self) {
        self.outcome = measure::<Store<C>>(self.trial, self.record).and_then(|()| {
            measure_held(self.trial, self.record, Held::Answer, C::get_all_services)
        });
    }

    fn snapshots<C: SnapshotContender>(&mut self) {
        self.shared::<C>();
        if self.outcome.is_ok() {
            let take = |store: &C| Ok::<_, StoreError>(store.take());
            self.outcome = measure_held(self.trial, self.record, Held::View, take);
        }
    }
}

/// The scenario.
#[derive(Debug)]
pub struct Memory;

impl Scenario for Memory {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "bytes a service, when filled, at the peak, after churn, and what a kept view keeps"
    }

    fn method(&self) -> &'static str {
        "Bytes that are asked for from the allocator and not given back, over the registered \
         services; counted in a process of its own, which times nothing. Everything counts: \
         records with their texts, tables, indexes, subscriptions (one a pod), what is kept back \
         for readers. \"Peak\" is the most while the pods registered one by one. For \"after churn\" \
         every pod was unregistered, and another one registered in its place, ten times over, so \
         that in the end the same pods are there as before: what is more than \"live\" is kept for \
         nothing, or is garbage that still waits. The floor holds the same records, and no \
         subscriptions and no other index. What somebody holds on to, an answer of \
         get_all_services or a snapshot, is kept while every record is replaced by one that shares \
         nothing with it: counted is what is given back when it is let go of. At 1,000,000 services, \
         which only a full run has, nothing is replaced and nothing held: it would take minutes a \
         store. What a store needs once, however little is in it (a channel and a thread of its own, \
         tables of a least size, what it keeps for each thread), is shared out among its services as \
         well: with 10 of them a large part of the figure may be that, so that it must not be \
         multiplied; from 10,000 on it no longer shows. What the allocator rounds up is not in it. The counts \
         hardly differ from one block to the next, so few blocks are enough."
    }

    fn entrants(&self) -> Vec<About> {
        let stores = contender::all().into_iter().filter(About::is_store);
        std::iter::once(Floor::ABOUT).chain(stores).collect()
    }

    fn reference(&self) -> &'static About {
        &Floor::ABOUT
    }

    fn effort(&self, scale: Scale) -> Effort {
        match scale {
            Scale::Smoke => Effort::new(1, 1, 2),
            Scale::Quick => Effort::new(2, 2, 2),
            Scale::Default => Effort::new(3, 2, 15),
            Scale::Full => Effort::new(2, 2, 700),
        }
    }

    fn measure(&self, trial: &Trial, record: &mut Recorder) -> std::result::Result<(), Fault> {
        if trial.store == Floor::ABOUT.id {
            return measure::<RefCell<Floor>>(trial, record);
        }
        let mut weighing = Weighing {
            trial,
            record,
            outcome: Ok(()),
        };
        if !contender::visit_one(&trial.store, &mut weighing) {
            return Err(trial.unknown_store());
        }
        weighing.outcome
    }

    fn compared_with(&self, cell: &Cell) -> Option<Cell> {
        let is_of_floor = Moment::ALL.iter().any(|own| own.metric() == cell.metric);
        (is_of_floor && cell.store != Floor::ABOUT.name).then(|| Cell {
            store: Floor::ABOUT.name.into(),
            ..cell.clone()
        })
    }

    fn section(&self, report: &Report) -> Section {
        let layout = Layout {
            report,
            stores: took_part(report, NAME, &contender::all()),
        };
        Section {
            title: "Memory".into(),
            intro: self.method().into(),
            findings: layout.findings(),
            blocks: layout.blocks(),
        }
    }
}

struct Layout<'a> {
    report: &'a Report,
    stores: Vec<(usize, About)>,
}

impl Layout<'_> {
    fn row(&self, moment: Moment, about: &About, services: usize) -> Option<&SummaryRow> {
        self.report.row(&moment.cell(about.name, services))
    }

    fn sizes(&self) -> Vec<usize> {
        let rows = self.report.summary.iter();
        let own = rows.filter(|row| row.cell.scenario == NAME);
        let mut sizes: Vec<usize> = own.map(|row| row.cell.services).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// The largest size of which a moment is known.
    fn largest(&self, moment: Moment) -> Option<usize> {
        let known = |services: &usize| {
            let mut stores = self.stores.iter();
            stores.any(|(_, about)| self.row(moment, about, *services).is_some())
        };
        self.sizes().into_iter().rev().find(known)
    }

    fn blocks(&self) -> Vec<Block> {
        let sizes = self.sizes();
        // Of the largest size that was churned, all moments are known.
        let Some(largest) = self.largest(Moment::AfterChurn) else {
            return Vec::new();
        };
        let groups = Moment::ALL.into_iter().map(|moment| BarGroup {
            label: moment.title().into(),
            detail: format!("{} services", thousands(largest as u64)),
            bars: self
                .stores
                .iter()
                .filter_map(|(place, about)| {
                    let row = self.row(moment, about, largest)?;
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
        let chart = BarChart {
            title: "Bytes a service".into(),
            axis: "bytes a service, less is better".into(),
            quantity: Quantity::Bytes,
            line: None,
            limit: None,
            groups: groups.collect(),
        };
        let mut rows = Vec::new();
        for &services in &sizes {
            for moment in Moment::ALL {
                let entries = self.stores.iter().map(|(_, about)| {
                    let row = self.row(moment, about, services);
                    row.map_or(Entry::Empty, SummaryRow::entry)
                });
                rows.push(TableRow {
                    name: format!("{}, {}", thousands(services as u64), moment.title()),
                    entries: entries.collect(),
                });
            }
        }
        let table = Table {
            title: "Bytes a service".into(),
            note: "With the ratio to the floor, which holds the records alone.".into(),
            head: head("services", self.stores.iter()),
            rows: rows.into_iter().filter(TableRow::is_filled).collect(),
            brief: true,
            intervals: false,
        };
        vec![
            Block::Chart(chart),
            Block::Table(table),
            Block::Table(self.held(&sizes)),
        ]
    }

    fn held(&self, sizes: &[usize]) -> Table {
        let places = sizes
            .iter()
            .flat_map(|&services| Held::ALL.map(|held| (services, held)));
        let rows = places.map(|(services, held)| TableRow {
            name: format!("{}, {}", thousands(services as u64), held.title()),
            entries: self
                .stores
                .iter()
                .map(|(_, about)| {
                    let row = self.report.row(&held.cell(about.name, services));
                    row.map_or(Entry::Empty, SummaryRow::entry)
                })
                .collect(),
        });
        Table {
            title: "Bytes a service that a kept answer or view keeps".into(),
            note:
                "When every record has been replaced since: what is given back at once when it is \
                   let go of. A store that frees late, as scc does, holds the replaced records \
                   itself for a while, so that letting go gives back less."
                    .into(),
            head: head("services", self.stores.iter()),
            rows: rows.filter(TableRow::is_filled).collect(),
            brief: false,
            intervals: false,
        }
    }

    fn findings(&self) -> Vec<String> {
        let (Some(largest), Some(churned)) =
            (self.largest(Moment::Live), self.largest(Moment::AfterChurn))
        else {
            return Vec::new();
        };
        let live = self.stores.iter().filter_map(|(_, about)| {
            let row = self.row(Moment::Live, about, largest)?;
            Some(format!("{} on {}", bytes(row.value), about.name))
        });
        let live: Vec<String> = live.collect();
        let kept = self.stores.iter().filter_map(|(_, about)| {
            let before = self.row(Moment::Live, about, churned)?.value;
            let after = self.row(Moment::AfterChurn, about, churned)?.value;
            (after > before * 1.05).then(|| {
                let more = (after / before - 1.0) * 100.0;
                format!("{more:.0} % more on {}", about.name)
            })
        });
        let kept: Vec<String> = kept.collect();
        let mut findings = vec![format!(
            "Of {} services, each holds on to {}.",
            thousands(largest as u64),
            live.join(", ")
        )];
        findings.push(if kept.is_empty() {
            format!(
                "After churn of {} services no store holds 5 % more than before.",
                thousands(churned as u64)
            )
        } else {
            format!(
                "After churn the same {} services hold on to {}; the others stay within 5 %.",
                thousands(churned as u64),
                kept.join(", ")
            )
        });
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::workload::seeded;
    use crate::{MemoryStore, RegistryStore};

    #[test]
    fn after_all_turns_the_same_pods_are_there_as_before() {
        let shifts = Shifts::new(100, &mut seeded(1));
        let store = Store(MemoryStore::new());
        let keys = |store: &Store<MemoryStore>| {
            let all = store.0.get_all_services().unwrap();
            let mut keys: Vec<String> = all.iter().map(|info| info.key().to_string()).collect();
            keys.sort();
            (keys, store.0.stats().unwrap())
        };
        shifts.fill(&store).unwrap();
        let before = keys(&store);
        assert_eq!((before.1.services, before.1.subscriptions), (100, 100));
        let revision = store.0.revision().as_u64();
        shifts.churn(&store).unwrap();
        assert_eq!(keys(&store), before);
        // Each of a thousand replacements is four changes.
        assert_eq!(store.0.revision().as_u64() - revision, 4_000);
    }

    #[test]
    fn replaced_is_every_record_and_by_another_one() {
        let shifts = Shifts::new(100, &mut seeded(1));
        let store = Store(MemoryStore::new());
        shifts.fill(&store).unwrap();
        let kept = store.0.get_all_services().unwrap();
        assert_eq!(shifts.replace(&store.0), Ok(100));
        for old in kept {
            let new = store.0.get_service(old.key()).unwrap();
            assert_ne!(new.key().as_ptr(), old.key().as_ptr());
        }
        assert_eq!(store.services(), Ok(100));
    }

    #[test]
    fn the_largest_size_is_filled_and_not_churned() {
        let churned = |scale| {
            let own = sizes(scale).iter();
            own.filter(|pods| **pods <= CHURNED_TO).count()
        };
        assert_eq!(
            (churned(Scale::Default), sizes(Scale::Default).len()),
            (3, 3)
        );
        assert_eq!((churned(Scale::Full), sizes(Scale::Full).len()), (4, 5));
        assert_eq!(sizes(Scale::Full).last(), Some(&1_000_000));
    }

    #[test]
    fn it_says_so_where_nobody_counts() {
        let trial = Trial {
            scenario: NAME.into(),
            store: "memory".into(),
            scale: Scale::Smoke,
            seed: 1,
            block: 0,
            threads: Vec::new(),
        };
        let said = Memory.measure(&trial, &mut Recorder::default());
        let said = said.unwrap_err().to_string();
        assert!(said.contains("no allocator that counts"), "{said}");
    }
}
