//! *operations*: what each operation costs, on one thread.
//!
//! Every store at every size does the same work as the [`Floor`] and as the
//! other stores of its block. A sample is one operation, many times over: as
//! many times as fill two milliseconds (found out in the rehearsal, noted in the
//! results), so that reading the clock costs nothing that counts.
//!
//! The caches are as they are where a process works with one store: before the
//! clock starts, every pod is read once, in random order. (Not every pod of a store that answers so
//! slowly that this would take longer than 25 milliseconds; there a cache miss
//! counts for nothing.)
//!
//! Stores are built anew in every process: where their memory lies, and what
//! their hashers are seeded with, is luck, and is drawn again each time.
//!
//! [`Floor`]: crate::lab::contender::Floor

pub(super) mod clock;
mod floor;
mod layout;
mod operation;
mod subject;
pub(super) mod trial;

use std::rc::Rc;

use super::{Effort, Scenario};
use crate::lab::contender::{self, About, Contender, Floor, SnapshotContender, Visitor};
use crate::lab::fault::Fault;
use crate::lab::model::{Cell, Report};
use crate::lab::process::Trial;
use crate::lab::record::Recorder;
use crate::lab::run::Scale;
use crate::lab::section::Section;

use floor::FloorSubject;
pub use operation::Operation;
use operation::Operation as Op;
pub use subject::{Dose, Subject};
use subject::{Gangs, Shared, Single, Snapshots};

/// The name of the scenario.
pub(crate) const NAME: &str = "operations";

/// How many services are registered.
pub const SIZES: [usize; 3] = [10, 1_000, 100_000];

/// The floor and the contenders that `wanted` names, ready to be measured.
pub fn subjects(wanted: impl Fn(&str) -> bool) -> Vec<Box<dyn Subject>> {
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
    let mut roster = Roster {
        wanted,
        gangs: Rc::default(),
        subjects: vec![Box::new(FloorSubject::default())],
    };
    contender::visit(&mut roster);
    roster.subjects
}

/// Whether a run at full length fills this cell for some contender.
#[cfg(test)]
pub(crate) fn is_measured(cell: &Cell) -> bool {
    let op = Operation::of(cell);
    SIZES.contains(&cell.services) && op.is_some_and(|op| op.applies(cell.services))
}

/// The scenario.
#[derive(Debug)]
pub struct Operations;

impl Scenario for Operations {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "what each operation costs on one thread, next to a bare hash map"
    }

    fn method(&self) -> &'static str {
        "What each operation costs when nobody else is there. The floor is one bare hash map with \
         the same hasher, keys and values; a ratio to it is the price of what a store adds: other \
         indexes, revisions, locks, snapshots. A read begins when the one before has answered, \
         because a caller waits for its answer; \"back to back\" are reads that do not wait, of \
         which a processor does several at once. Before the clock starts every pod is read once, \
         so that the caches are as they are where a process works with one store. A sample is as \
         many operations as take about two milliseconds (half of one in a quick run, five in a \
         full one); their number is in report.json."
    }

    fn entrants(&self) -> Vec<About> {
        let subjects = subjects(|_| true);
        subjects.iter().map(|subject| *subject.about()).collect()
    }

    fn reference(&self) -> &'static About {
        &Floor::ABOUT
    }

    fn effort(&self, scale: Scale) -> Effort {
        match scale {
            Scale::Smoke => Effort::new(1, 1, 5),
            Scale::Quick => Effort::new(5, 3, 8),
            Scale::Default => Effort::new(21, 7, 110),
            Scale::Full => Effort::new(15, 9, 240),
        }
    }

    fn measure(&self, trial: &Trial, record: &mut Recorder) -> Result<(), Fault> {
        let sizes = match trial.scale {
            Scale::Smoke | Scale::Quick => &SIZES[..2],
            Scale::Default | Scale::Full => &SIZES,
        };
        let subjects = subjects(|id| id == trial.store);
        let mut chosen = subjects.into_iter();
        let chosen = chosen.find(|subject| subject.about().id == trial.store);
        let mut subject = chosen.ok_or_else(|| trial.unknown_store())?;
        trial::measure(&mut *subject, sizes, trial, record)
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
        layout::section(report, &contender::all())
    }
}
