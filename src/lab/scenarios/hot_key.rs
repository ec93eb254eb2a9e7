//! *hot-key*: everybody asks for the same pod, or for the same eight.
//!
//! Where a store lets readers of different keys past each other, here it cannot:
//! all of them meet in one record, its lock, its shard, its version chain. A clone
//! makes them meet once more, in the count of those who share the record; reading
//! in place does not. So the two are different questions, with a table each.

use std::marker::PhantomData;

use super::steady::{self, Borrowed, ByReader, Cloned, Panel, Stage};
use super::{Effort, Scenario};
use crate::lab::contender::{self, About, Contender, Null, SnapshotContender, Visitor};
use crate::lab::fault::Fault;
use crate::lab::model::{Cell, Report};
use crate::lab::process::Trial;
use crate::lab::record::{Recorder, Sample, Unit};
use crate::lab::run::Scale;
use crate::lab::section::{Section, took_part};
use crate::lab::workload::laps::{Deal, Popularity};
use crate::lab::workload::{Fleet, LabRng, Mix, shuffled};

/// The name of the scenario.
pub(crate) const NAME: &str = "hot-key";

/// Who is registered.
pub const FLEET: Fleet = Fleet::new(1_000);

/// How many of them are asked for.
pub const KEYS: [usize; 2] = [1, 8];

/// Reads and writes.
pub const MIXES: [Mix; 2] = [Mix { writes: 0 }, Mix { writes: 10 }];

/// How a read is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `get_service`
    Cloned,
    /// `with_service`
    Borrowed,
    /// The same through a reader handle of the thread, where a store has them.
    ByReader,
}

impl Way {
    /// All of them.
    pub const ALL: [Way; 3] = [Way::Cloned, Way::Borrowed, Way::ByReader];

    /// The name in the rows.
    pub const fn metric(self) -> &'static str {
        match self {
            Way::Cloned => "get_service",
            Way::Borrowed => "with_service",
            Way::ByReader => "reader.with_service",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Way::Cloned => "Cloned (get_service)",
            Way::Borrowed => "Borrowed (with_service)",
            Way::ByReader => "Borrowed by a reader handle",
        }
    }
}

/// The scenario.
#[derive(Debug)]
pub struct HotKey;

/// Threads, and the milliseconds of a window.
fn extent(scale: Scale) -> (&'static [usize], u64) {
    match scale {
        Scale::Smoke => (&[2], 1),
        Scale::Quick => (&[2], 3),
        Scale::Default => (&[1, 2, 8], 5),
        Scale::Full => (&[1, 2, 4, 8, 16, 30], 20),
    }
}

/// What is measured of a store.
fn cell(store: &str, threads: usize, way: Way, keys: usize, mix: Mix) -> Cell {
    let words = if keys == 1 { "key" } else { "keys" };
    Cell {
        scenario: NAME.into(),
        store: store.into(),
        threads,
        services: FLEET.pods,
        metric: format!("{}_{keys}_{words}_{mix}", way.metric()),
    }
}

/// Operations on so many keys of the fleet.
pub fn deal(keys: usize, mix: Mix, rng: &mut LabRng) -> Deal {
    let pods = Popularity::hot(FLEET, keys, rng);
    Deal::new(FLEET, mix, &pods, rng)
}

/// A contender that many threads ask for few keys.
pub trait Target {
    /// Who it is.
    fn about(&self) -> &'static About;

    /// How it can be read.
    fn ways(&self) -> &'static [Way];

    /// Builds it anew, registers the fleet in `order`, has so many threads work
    /// through a deal, and answers with what they did in a window of so many
    /// milliseconds.
    ///
    /// # Errors
    ///
    /// Those of the store, and where the system has no threads to give.
    fn window(
        &mut self,
        way: Way,
        deal: &Deal,
        order: &[usize],
        how: (usize, u64),
    ) -> Result<Sample, Fault>;
}

/// A store that threads share.
struct Shared<C> {
    stage: Stage,
    store: PhantomData<C>,
}

impl<C: Contender + Send + Sync> Target for Shared<C> {
    fn about(&self) -> &'static About {
        &C::ABOUT
    }

    fn ways(&self) -> &'static [Way] {
        &[Way::Cloned, Way::Borrowed]
    }

    fn window(
        &mut self,
        way: Way,
        deal: &Deal,
        order: &[usize],
        (threads, milliseconds): (usize, u64),
    ) -> Result<Sample, Fault> {
        let store = C::default();
        FLEET.fill(&store, order)?;
        let how = (threads, steady::span(milliseconds));
        let stage = &mut self.stage;
        if way == Way::Cloned {
            return stage.perform::<_, Cloned>(&store, deal, how);
        }
        stage.perform::<_, Borrowed>(&store, deal, how)
    }
}

/// A store that hands out reader handles as well.
struct Handles<C>(Shared<C>);

impl<C: SnapshotContender> Target for Handles<C> {
    fn about(&self) -> &'static About {
        &C::ABOUT
    }

    fn ways(&self) -> &'static [Way] {
        &Way::ALL
    }

    fn window(
        &mut self,
        way: Way,
        deal: &Deal,
        order: &[usize],
        (threads, milliseconds): (usize, u64),
    ) -> Result<Sample, Fault> {
        if way != Way::ByReader {
            return self.0.window(way, deal, order, (threads, milliseconds));
        }
        let store = C::default();
        FLEET.fill(&store, order)?;
        let how = (threads, steady::span(milliseconds));
        self.0.stage.perform::<_, ByReader>(&store, deal, how)
    }
}

/// The null store and the contenders that threads share, where `wanted` names them.
pub fn targets(wanted: impl Fn(&str) -> bool) -> Vec<Box<dyn Target>> {
    struct Roster<W>(W, Vec<Box<dyn Target>>);
    impl<W: Fn(&str) -> bool> Roster<W> {
        fn add<C: Contender>(&mut self, make: impl FnOnce(Shared<C>) -> Box<dyn Target>) {
            if self.0(C::ABOUT.id) {
                self.1.push(make(Shared {
                    stage: Stage::default(),
                    store: PhantomData,
                }));
            }
        }
    }
    impl<W: Fn(&str) -> bool> Visitor for Roster<W> {
        fn local<C: Contender>(&mut self) {}
        fn shared<C: Contender + Send + Sync>(&mut self) {
            self.add::<C>(|target| Box::new(target));
        }
        fn snapshots<C: SnapshotContender>(&mut self) {
            self.add::<C>(|target| Box::new(Handles(target)));
        }
    }
    let mut roster = Roster(wanted, Vec::new());
    roster.shared::<Null>();
    contender::visit(&mut roster);
    roster.1
}

impl Scenario for HotKey {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "all threads ask for the same key, or for the same eight; cloned and borrowed"
    }

    fn method(&self) -> &'static str {
        "1,000 services, of which all threads ask for the same one, or the same eight, drawn at \
         random in every block; reads only, and one write in ten operations. Threads, windows and \
         writes as in the scenario sustained. get_service answers with a clone, whose drop is timed as well, because a caller pays for \
         it, too, and on the same count; with_service \
         shows the record in its place: they promise different things, and are never in one \
         column."
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
            Scale::Default => Effort::new(15, 7, 30),
            Scale::Full => Effort::new(15, 7, 100),
        }
    }

    fn measure(&self, trial: &Trial, record: &mut Recorder) -> Result<(), Fault> {
        let mut targets = targets(|id| id == trial.store).into_iter();
        let mut target = targets.next().ok_or_else(|| trial.unknown_store())?;
        let (own, milliseconds) = extent(trial.scale);
        let all = steady::threads(trial, own)?;
        for &way in target.ways() {
            for keys in KEYS {
                for mix in MIXES {
                    // The same for every way of reading.
                    let mut rng = trial.rng(&format!("deal {keys} {mix}"));
                    let deal = deal(keys, mix, &mut rng);
                    for &threads in &all {
                        let order = shuffled(FLEET.pods, &mut rng);
                        let sample = target.window(way, &deal, &order, (threads, milliseconds))?;
                        let cell = cell(target.about().name, threads, way, keys, mix);
                        record.sample(&cell, Unit::MillionsPerSecond, &sample)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The same way of reading of the reference; a reader handle, which that has
    /// not, with its own reading in place.
    fn compared_with(&self, cell: &Cell) -> Option<Cell> {
        let reference = steady::compared_with(cell)?;
        let metric = reference.metric.replace("reader.", "");
        Some(Cell {
            metric,
            ..reference
        })
    }

    fn section(&self, report: &Report) -> Section {
        let stores = took_part(report, NAME, &contender::all());
        let threads = steady::measured_threads(report, NAME);
        let mut blocks = Vec::new();
        let mut findings = Vec::new();
        let few = steady::at_cores(&threads, report.context.machine.cores);
        for way in Way::ALL {
            for keys in KEYS {
                for mix in MIXES {
                    let on = if keys == 1 {
                        "one key".into()
                    } else {
                        format!("{keys} keys")
                    };
                    let title = format!("{}, {on}, {mix} reads/writes", way.words());
                    let cell = |threads| cell("", threads, way, keys, mix);
                    let panel = Panel::by_threads(report, title.clone(), &threads, cell);
                    if !panel.is_measured(report, &stores) {
                        continue;
                    }
                    let note = match way {
                        Way::ByReader => format!(
                            "{} {} has no reader handles: its with_service stands for them.",
                            panel.note,
                            steady::REFERENCE.name
                        ),
                        Way::Cloned | Way::Borrowed => panel.note,
                    };
                    let panel = Panel {
                        brief: keys == 1 && mix.writes == 10,
                        note,
                        ..panel
                    };
                    blocks.extend(panel.blocks(report, &stores));
                    if let Some(threads) = few.filter(|_| keys == 1) {
                        let situation = format!("{title}, at {threads} threads");
                        let cell = cell(threads);
                        findings.extend(steady::comparison(report, &cell, &stores, &situation));
                    }
                }
            }
        }
        Section {
            title: "Hot key".into(),
            intro: self.method().into(),
            findings,
            blocks,
        }
    }
}
