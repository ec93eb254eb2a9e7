//! *operations*: what each operation costs, on one thread.
//!
//! Every store at every size does the same work as the [`Floor`] and as the
//! other stores of its round. A sample is one operation, many times over: as
//! many times as fill a millisecond (found out in the rehearsal, noted in the
//! results), so that reading the clock costs nothing that counts.
//!
//! The caches are as they are where a process works with one store: before the
//! clock starts, every pod is read once, in random order, to bring back what the
//! contender before has pushed out. (Not every pod of a store that answers so
//! slowly that this would take longer than [`Rounds::sweep_time`]; there a cache
//! miss counts for nothing.)
//!
//! Stores are built anew in every round: where their memory lies, and what
//! their hashers are seeded with, is luck, and is drawn again each time.
//!
//! [`Floor`]: crate::lab::contender::Floor

mod clock;
mod floor;
mod layout;
mod subject;

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use rand::RngExt;

use super::{Effort, Experiment, Scenario};
use crate::lab::contender::{
    self, About, Contender, Floor, SnapshotContender, Visitor, all as all_contenders,
};
use crate::lab::gang::Gang;
use crate::lab::model::{Cell, Report};
use crate::lab::run::{Fault, Recorder, Scale, Settings, Unit};
use crate::lab::section::Section;
use crate::lab::workload::{Deck, Fleet, LabRng, PROBES, Texts, shuffled};

use floor::FloorSubject;
pub use subject::Subject;
use subject::{Shared, Single, Snapshots};

/// The name of the scenario.
pub(crate) const NAME: &str = "operations";

/// How many services are registered.
pub const SIZES: [usize; 3] = [10, 1_000, 100_000];

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `with_service`: reads the status of a record in place. Each read begins
    /// when the one before has answered, as in all reads but the next.
    WithService,
    /// The same back to back: reads that do not wait for each other.
    WithServiceBackToBack,
    /// `with_service` through a reader handle.
    Reader,
    /// The same back to back.
    ReaderBackToBack,
    /// The same in a snapshot that was taken before.
    SnapshotGet,
    /// `get_service`: a clone.
    GetService,
    /// `get_service` of a pod that is not registered; back to back, because
    /// there is nothing to wait for.
    Miss,
    /// `get_services_by_name`, of ten pods.
    ByName,
    /// `get_all_services`
    All,
    /// `get_subscribers`, of ten.
    Subscribers,
    /// `update_health_status`
    UpdateHealth,
    /// `save_service` of a pod that is registered already.
    SaveReplace,
    /// `save_service` of a new pod; the registry grows to twice its size, or by
    /// 4,096.
    SaveNew,
    /// `delete_service`, and `save_service` of the same pod.
    DeleteSave,
    /// `add_subscription` to a group with ten subscribers.
    AddSubscription,
    /// `remove_subscription` of those.
    RemoveSubscription,
    /// 1,000 health updates one by one.
    UpdatesSingly,
    /// 1,000 health updates in one batch.
    UpdatesInBatch,
    /// `snapshot()`; dropped outside the clock.
    Snapshot,
    /// `snapshot()`, dropped at once.
    SnapshotAndDrop,
    /// `with_service` on one thread, as many as go in a second.
    Throughput1,
    /// The same on two threads.
    Throughput2,
    /// Reads through a handle on one thread, as many as go in a second.
    ReaderThroughput1,
    /// The same on two threads.
    ReaderThroughput2,
    /// `clear()` of the whole store.
    Clear,
    /// Drop of the whole store.
    Drop,
}

use Operation as Op;

/// The operations in the order in which a round goes through them: from those
/// that leave no trace to those that leave nothing else. Contenders take turns
/// within a group, so that what is compared is measured close together.
const GROUPS: &[&[Operation]] = &[
    &[Op::WithService, Op::Reader, Op::SnapshotGet],
    &[Op::WithServiceBackToBack, Op::ReaderBackToBack],
    &[Op::GetService],
    &[Op::Miss],
    &[Op::ByName],
    &[Op::All],
    &[Op::Subscribers],
    &[Op::UpdateHealth],
    &[Op::UpdatesSingly, Op::UpdatesInBatch],
    &[Op::Snapshot, Op::SnapshotAndDrop],
    &[
        Op::Throughput1,
        Op::Throughput2,
        Op::ReaderThroughput1,
        Op::ReaderThroughput2,
    ],
    &[Op::SaveReplace],
    &[Op::DeleteSave],
    &[Op::AddSubscription, Op::RemoveSubscription],
    &[Op::SaveNew],
    &[Op::Clear],
    &[Op::Drop],
];

impl Operation {
    /// All of them, in the order of the tables.
    pub fn all() -> impl Iterator<Item = Operation> {
        GROUPS.iter().copied().flatten().copied()
    }

    /// The name in the rows.
    pub const fn metric(self) -> &'static str {
        match self {
            Op::WithService => "with_service",
            Op::WithServiceBackToBack => "with_service_back_to_back",
            Op::Reader => "reader.with_service",
            Op::ReaderBackToBack => "reader.with_service_back_to_back",
            Op::SnapshotGet => "snapshot.get",
            Op::GetService => "get_service",
            Op::Miss => "get_service_miss",
            Op::ByName => "get_services_by_name",
            Op::All => "get_all_services",
            Op::Subscribers => "get_subscribers",
            Op::UpdateHealth => "update_health_status",
            Op::SaveReplace => "save_service_replace",
            Op::SaveNew => "save_service_new",
            Op::DeleteSave => "delete_and_save",
            Op::AddSubscription => "add_subscription",
            Op::RemoveSubscription => "remove_subscription",
            Op::UpdatesSingly => "updates_1000_singly",
            Op::UpdatesInBatch => "updates_1000_in_batch",
            Op::Snapshot => "snapshot",
            Op::SnapshotAndDrop => "snapshot_and_drop",
            Op::Throughput1 | Op::Throughput2 => "throughput.with_service",
            Op::ReaderThroughput1 | Op::ReaderThroughput2 => "throughput.reader",
            Op::Clear => "clear",
            Op::Drop => "drop",
        }
    }

    const fn threads(self) -> usize {
        match self {
            Op::Throughput2 | Op::ReaderThroughput2 => 2,
            _ => 1,
        }
    }

    const fn unit(self) -> Unit {
        if self.is_throughput() {
            return Unit::MillionsPerSecond;
        }
        Unit::NanosecondsPerOperation
    }

    const fn is_throughput(self) -> bool {
        matches!(
            self,
            Op::Throughput1 | Op::Throughput2 | Op::ReaderThroughput1 | Op::ReaderThroughput2
        )
    }

    /// Whether only a store with snapshots has it.
    const fn is_of_snapshots(self) -> bool {
        matches!(
            self,
            Op::Reader
                | Op::ReaderBackToBack
                | Op::SnapshotGet
                | Op::Snapshot
                | Op::SnapshotAndDrop
                | Op::ReaderThroughput1
                | Op::ReaderThroughput2
        )
    }

    /// Whether it writes records.
    const fn is_write(self) -> bool {
        matches!(
            self,
            Op::UpdateHealth
                | Op::UpdatesSingly
                | Op::UpdatesInBatch
                | Op::SaveReplace
                | Op::SaveNew
                | Op::DeleteSave
        )
    }

    /// Whether there is something to learn at this size.
    const fn applies(self, services: usize) -> bool {
        services >= 1_000 || !self.is_throughput()
    }

    /// What the floor does in its place.
    fn on_the_floor(self) -> Option<Operation> {
        match self {
            Op::WithService | Op::Reader | Op::SnapshotGet => Some(Op::WithService),
            Op::WithServiceBackToBack | Op::ReaderBackToBack => Some(Op::WithServiceBackToBack),
            Op::GetService
            | Op::Miss
            | Op::All
            | Op::UpdateHealth
            | Op::SaveReplace
            | Op::SaveNew
            | Op::DeleteSave
            | Op::Clear
            | Op::Drop => Some(self),
            _ => None,
        }
    }

    /// The most operations of a sample; `None` where the state of the store
    /// leaves no choice. One of the "1,000 updates" counts as one.
    const fn limit(self) -> Option<usize> {
        match self {
            Op::SaveNew | Op::AddSubscription | Op::RemoveSubscription | Op::Clear | Op::Drop => {
                None
            }
            Op::SaveReplace | Op::DeleteSave => Some(4_096),
            Op::UpdatesSingly | Op::UpdatesInBatch => Some(16),
            Op::Throughput1 | Op::Throughput2 | Op::ReaderThroughput1 | Op::ReaderThroughput2 => {
                Some(1 << 22)
            }
            _ => Some(PROBES),
        }
    }

    fn cell(self, store: &str, services: usize) -> Cell {
        Cell {
            scenario: NAME.into(),
            store: store.into(),
            threads: self.threads(),
            services,
            metric: self.metric().into(),
        }
    }

    fn of(cell: &Cell) -> Option<Operation> {
        Operation::all().find(|op| op.metric() == cell.metric && op.threads() == cell.threads)
    }
}

/// The gangs that measure throughput.
#[derive(Debug)]
pub(crate) struct Gangs {
    one: Gang,
    two: Gang,
}

/// The floor and the contenders that `wanted` names, ready to be measured.
///
/// # Errors
///
/// Where the system has no threads to give.
pub fn subjects(wanted: impl Fn(&str) -> bool) -> Result<Vec<Box<dyn Subject>>, Fault> {
    struct Roster<W> {
        wanted: W,
        gangs: Rc<Gangs>,
        subjects: Vec<Box<dyn Subject>>,
    }
    impl<W: Fn(&str) -> bool> Roster<W> {
        fn add(&mut self, about: &About, subject: impl Subject + 'static) {
            if (self.wanted)(about.id) {
                self.subjects.push(Box::new(subject));
            }
        }
    }
    impl<W: Fn(&str) -> bool> Visitor for Roster<W> {
        fn local<C: Contender>(&mut self) {
            self.add(&C::ABOUT, Single::<C>::default());
        }
        fn shared<C: Contender + Send + Sync>(&mut self) {
            let gangs = self.gangs.clone();
            self.add(&C::ABOUT, Shared::<C>::new(gangs));
        }
        fn snapshots<C: SnapshotContender>(&mut self) {
            let gangs = self.gangs.clone();
            self.add(&C::ABOUT, Snapshots::<C>::new(gangs));
        }
    }
    let (one, two) = (Gang::new(1)?, Gang::new(2)?);
    let mut roster = Roster {
        wanted,
        gangs: Rc::new(Gangs { one, two }),
        subjects: vec![Box::new(FloorSubject::default())],
    };
    contender::visit(&mut roster);
    Ok(roster.subjects)
}

/// The scenario.
#[derive(Debug)]
pub struct Operations;

impl Operations {
    fn sizes(settings: &Settings) -> &'static [usize] {
        match settings.scale {
            Scale::Smoke => &SIZES[..2],
            Scale::Quick | Scale::Default => &SIZES,
        }
    }
}

impl Scenario for Operations {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "what each operation costs on one thread, next to a bare hash map"
    }

    fn reference(&self) -> &'static About {
        &Floor::ABOUT
    }

    fn prepare(&self, settings: &Settings) -> Result<Box<dyn Experiment>, Fault> {
        Ok(Box::new(Rounds {
            scale: settings.scale,
            sizes: Operations::sizes(settings),
            subjects: subjects(|id| settings.wants(id))?,
            counts: HashMap::new(),
            sweeps: HashMap::new(),
            round: 0,
        }))
    }

    fn cells(&self, settings: &Settings) -> Vec<Cell> {
        let Ok(subjects) = subjects(|id| settings.wants(id)) else {
            return Vec::new();
        };
        let sizes = Operations::sizes(settings).iter();
        sizes
            .flat_map(|&services| Operation::all().map(move |op| (services, op)))
            .filter(|(services, op)| op.applies(*services))
            .flat_map(|(services, op)| {
                let able = subjects.iter().filter(move |subject| subject.can(op));
                able.map(move |subject| op.cell(subject.about().name, services))
            })
            .collect()
    }

    fn compared_with(&self, cell: &Cell) -> Option<Cell> {
        let store = cell.store.as_str();
        let op = Operation::of(cell)?;
        match op {
            Op::UpdatesInBatch => Some(Op::UpdatesSingly.cell(store, cell.services)),
            Op::Throughput2 => Some(Op::Throughput1.cell(store, cell.services)),
            Op::ReaderThroughput2 => Some(Op::ReaderThroughput1.cell(store, cell.services)),
            Op::ByName if cell.services > 1_000 => Some(op.cell(store, 1_000)),
            Op::Snapshot | Op::SnapshotAndDrop if cell.services > SIZES[0] => {
                Some(op.cell(store, SIZES[0]))
            }
            _ if store == Floor::ABOUT.name => None,
            _ => Some(op.on_the_floor()?.cell(Floor::ABOUT.name, cell.services)),
        }
    }

    fn section(&self, report: &Report) -> Section {
        layout::section(report, &all_contenders())
    }
}

/// How much of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Dose {
    /// From which place of the deck on.
    pub from: usize,
    /// How often, while the clock runs. One of the "1,000 updates" counts as one.
    pub count: usize,
    /// How many pods are read before the clock starts.
    pub sweep: usize,
}

impl Dose {
    /// How many operations that are none of these reads come before the clock
    /// starts.
    fn warm_up(self) -> usize {
        (self.count / 4).max(1)
    }

    /// The keys of the sweep, and then random ones.
    fn keys(self, deck: &Deck) -> Vec<&str> {
        let mut keys = deck.sweep_keys.window(0, self.sweep);
        keys.extend(deck.keys.window(self.from, self.count));
        keys
    }

    /// So many texts before the clock starts, and then those that count.
    fn window(self, texts: &Texts, warm: usize) -> Vec<&str> {
        texts.window(self.from, warm + self.count)
    }
}

/// The scenario at work.
struct Rounds {
    scale: Scale,
    sizes: &'static [usize],
    subjects: Vec<Box<dyn Subject>>,
    /// How many operations make a sample long enough: by subject, operation and
    /// size.
    counts: HashMap<(usize, Operation, usize), usize>,
    /// How many pods a sweep reads: by subject and size.
    sweeps: HashMap<(usize, usize), usize>,
    round: u64,
}

impl Rounds {
    /// How long a sample should take.
    fn target(&self, op: Operation) -> Duration {
        let target = match self.scale {
            Scale::Smoke => Duration::from_micros(100),
            Scale::Quick => Duration::from_micros(500),
            Scale::Default => Duration::from_millis(1),
        };
        // Two threads do not start at quite the same moment.
        if op.is_throughput() {
            target * 5
        } else {
            target
        }
    }

    /// The longest time that a sweep may take.
    fn sweep_time(&self) -> Duration {
        match self.scale {
            Scale::Smoke => Duration::from_millis(1),
            Scale::Quick | Scale::Default => Duration::from_millis(25),
        }
    }

    /// Finds out how many pods a sweep can read in its time.
    fn sweep(&mut self, at: usize, deck: &Deck, from: usize) -> Result<usize, Fault> {
        let dose = Dose {
            from,
            count: deck.fleet.pods.min(512),
            sweep: 0,
        };
        let trial = self.subjects[at].sample(Op::GetService, deck, dose)?;
        let possible = share(dose.count, trial.elapsed, self.sweep_time());
        Ok(deck.fleet.pods.min(possible))
    }

    /// Finds out how many operations make a sample long enough.
    fn count(&mut self, at: usize, op: Operation, deck: &Deck, dose: Dose) -> Result<usize, Fault> {
        let limit = op.limit().unwrap_or(1);
        let target = self.target(op);
        // A short sweep will do to find out.
        let mut dose = Dose {
            count: limit.min(16),
            sweep: dose.sweep.min(1_000),
            ..dose
        };
        for _ in 0..6 {
            dose.from += STRIDE;
            let trial = self.subjects[at].sample(op, deck, dose)?;
            let most = limit.min(dose.count * 64);
            dose.count = share(dose.count, trial.elapsed, target).clamp(1, most);
            if trial.elapsed > target / 2 {
                break;
            }
        }
        Ok(dose.count)
    }
}

/// How many fit in `target` where `count` took `elapsed`.
fn share(count: usize, elapsed: Duration, target: Duration) -> usize {
    let all = count as u128 * target.as_nanos();
    usize::try_from(all / elapsed.as_nanos().max(1)).unwrap_or(usize::MAX)
}

/// How often a round goes through the smaller sizes: a pass through the largest
/// takes far longer than one through them.
const PASSES: usize = 3;

fn passes(services: usize) -> usize {
    if services < 10_000 { PASSES } else { 1 }
}

/// Between two samples that must not ask for the same health check.
const STRIDE: usize = 1 << 23;

impl Experiment for Rounds {
    fn effort(&self) -> Effort {
        let (rounds, at_least, seconds) = match self.scale {
            Scale::Smoke => (1, 1, 2),
            Scale::Quick => (25, 3, 26),
            Scale::Default => (61, 11, 240),
        };
        Effort {
            rounds,
            at_least,
            budget: Duration::from_secs(seconds),
        }
    }

    fn round(&mut self, rng: &mut LabRng, record: &mut Recorder<'_>) -> Result<(), Fault> {
        let round = self.round;
        self.round += 1;
        let passes: Vec<(usize, usize)> = self
            .sizes
            .iter()
            .flat_map(|&services| (0..passes(services)).map(move |pass| (services, pass)))
            .filter(|(_, pass)| *pass == 0 || !record.is_rehearsal())
            .collect();
        for place in shuffled(passes.len(), rng) {
            let (services, pass) = passes[place];
            record.pass(pass, PASSES);
            let number = round * PASSES as u64 + pass as u64;
            let deck = Deck::new(Fleet::new(services), number, rng);
            let mut from = rng.random_range(0..PROBES);
            for at in shuffled(self.subjects.len(), rng) {
                self.subjects[at].fill(&deck)?;
                if record.is_rehearsal() {
                    let sweep = self.sweep(at, &deck, from)?;
                    self.sweeps.insert((at, services), sweep);
                }
            }
            for &group in GROUPS {
                for at in shuffled(self.subjects.len(), rng) {
                    for &op in group {
                        from += STRIDE;
                        if !op.applies(services) || !self.subjects[at].can(op) {
                            continue;
                        }
                        let key = (at, op, services);
                        let mut dose = Dose {
                            from,
                            count: 1,
                            sweep: self.sweeps.get(&(at, services)).copied().unwrap_or(0),
                        };
                        if record.is_rehearsal() && op.limit().is_some() {
                            let count = self.count(at, op, &deck, dose)?;
                            self.counts.insert(key, count);
                            from += 8 * STRIDE;
                        }
                        dose.count = self.counts.get(&key).copied().unwrap_or(1);
                        let sample = self.subjects[at].sample(op, &deck, dose)?;
                        let cell = op.cell(self.subjects[at].about().name, services);
                        record.sample(&cell, op.unit(), &sample)?;
                    }
                }
            }
            for subject in &mut self.subjects {
                subject.empty();
            }
        }
        Ok(())
    }
}
