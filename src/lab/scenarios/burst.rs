//! *burst-30x100*: 30 workers, 100 operations each, started together.
//!
//! A rayon pool of 30 threads is built once. For each burst the store is fresh,
//! every worker has its keys and records ready, and a barrier holds the workers
//! until the last has arrived. A burst ends with its last worker.
//!
//! Two things are read from it. `burst` is the whole time over all operations:
//! what a caller waits for, with the waking of 30 threads in it, which [`Null`]
//! shows alone. `in_worker` is the time that the workers themselves were at it,
//! added up, over all operations: what one operation costs the one who makes
//! it, with the contention in it and the waking left out.
//!
//! `tasks` and `threads` are the whole time of the same bursts where another
//! [`Crew`] does the work: 30 tasks on a pool with a thread a core, and 30 plain
//! threads.
//!
//! [`Null`]: crate::lab::contender::Null

mod layout;

use std::time::Duration;

use super::{Effort, Scenario};
use crate::lab::contender::{self, About, Contender, Null, Visitor};
use crate::lab::crew::Crew;
use crate::lab::fault::Fault;
use crate::lab::model::{Cell, Report};
use crate::lab::process::Trial;
use crate::lab::record::{Recorder, Sample, Unit};
use crate::lab::run::Scale;
use crate::lab::section::Section;
use crate::lab::workload::{
    Action, BURST_PODS, Burst, Fleet, LabRng, Mix, OPERATIONS, Step, WORKERS, shuffled,
};
use crate::{Result, ServiceInfo, StoreError, ThreadSafeMemoryStore};

/// The name of the scenario.
pub(crate) const NAME: &str = "burst-30x100";

/// How many services are registered at the start.
pub const FILLS: [usize; 2] = [0, BURST_PODS];

/// What the others are compared with.
pub(crate) const REFERENCE: &About = &ThreadSafeMemoryStore::ABOUT;

/// What one burst came to.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// From the first worker's start to the last one's end.
    pub elapsed: Duration,
    /// The workers' own times, added up.
    pub busy: Duration,
    /// Reads that found their pod.
    pub read_hits: u64,
    /// Writes that were accepted.
    pub written: u64,
    /// Services that are registered at the end.
    pub services: usize,
}

/// A contender that bursts are let loose on.
pub trait Target {
    /// Who it is.
    fn about(&self) -> &'static About;

    /// Builds it anew, registers who is there at the start in `order`, and lets
    /// the burst loose.
    ///
    /// # Errors
    ///
    /// Those of the store, outside of what is timed, and where the system has no
    /// threads to give.
    fn burst(&self, crew: &Crew, burst: &Burst, order: &[usize]) -> Result<Outcome, Fault>;
}

/// A store that threads share.
struct Shared<S>(std::marker::PhantomData<S>);

/// What a worker has before it, and what came of it.
struct Desk<'a> {
    actions: Vec<Action<'a>>,
    /// What each read answered; written over in place, so that no page of it is
    /// touched for the first time while the clock runs.
    answers: Vec<Result<ServiceInfo>>,
    written: u64,
}

impl<S: Contender + Send + Sync> Target for Shared<S> {
    fn about(&self) -> &'static About {
        &S::ABOUT
    }

    fn burst(&self, crew: &Crew, burst: &Burst, order: &[usize]) -> Result<Outcome, Fault> {
        let store = S::default();
        Fleet::new(BURST_PODS).fill(&store, &order[..burst.services])?;
        let desks = (0..WORKERS)
            .map(|worker| Desk {
                actions: burst.actions(worker),
                answers: vec![Err(StoreError::Closed); OPERATIONS],
                written: 0,
            })
            .collect();
        let together = crew.run(desks, |desk| work(&store, desk))?;
        let desks = &together.work;
        let right = |worker: usize| {
            let asked = burst.actions(worker);
            let pairs = desks[worker].answers.iter().zip(asked);
            pairs
                .filter(|(answer, action)| match (answer, action) {
                    (Ok(info), Action::Get(key)) => *info.key() == *key,
                    _ => false,
                })
                .count() as u64
        };
        Ok(Outcome {
            elapsed: together.elapsed,
            busy: together.busy,
            read_hits: (0..desks.len()).map(right).sum(),
            written: desks.iter().map(|desk| desk.written).sum(),
            services: crate::RegistryStore::stats(&store)?.services,
        })
    }
}

/// What a worker does while the clock runs.
fn work<S: Contender>(store: &S, desk: &mut Desk<'_>) {
    let mut written = 0;
    for (action, answer) in desk.actions.iter_mut().zip(&mut desk.answers) {
        match std::mem::replace(action, Action::Done) {
            Action::Get(key) => *answer = store.get_service(key),
            Action::Save(record) => written += u64::from(store.save_service(record).is_ok()),
            Action::Check(check) => {
                let done = store.update_health_status(check.key, check.status, check.at);
                written += u64::from(done.is_ok());
            }
            Action::Done => {}
        }
    }
    desk.written = written;
}

/// The null store and those of the contenders that threads share and that
/// `wanted` names.
pub fn targets(wanted: impl Fn(&str) -> bool) -> Vec<Box<dyn Target>> {
    struct Roster<W>(W, Vec<Box<dyn Target>>);
    impl<W: Fn(&str) -> bool> Visitor for Roster<W> {
        fn local<C: Contender>(&mut self) {}
        fn shared<C: Contender + Send + Sync>(&mut self) {
            if self.0(C::ABOUT.id) {
                self.1.push(Box::new(Shared::<C>(std::marker::PhantomData)));
            }
        }
    }
    let mut roster = Roster(wanted, Vec::new());
    roster.shared::<Null>();
    contender::visit(&mut roster);
    roster.1
}

/// Who does the work, and how the clock is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Burst,
    InWorker,
    Tasks,
    Threads,
}

impl Reading {
    pub(crate) const ALL: [Reading; 4] = [
        Reading::Burst,
        Reading::InWorker,
        Reading::Tasks,
        Reading::Threads,
    ];

    fn of(self, outcome: &Outcome) -> Duration {
        match self {
            Reading::InWorker => outcome.busy,
            Reading::Burst | Reading::Tasks | Reading::Threads => outcome.elapsed,
        }
    }

    pub(crate) fn metric(self, mix: Mix) -> String {
        let reading = match self {
            Reading::Burst => "burst",
            Reading::InWorker => "in_worker",
            Reading::Tasks => "tasks",
            Reading::Threads => "threads",
        };
        format!("{reading}_{mix}")
    }

    fn cell(self, store: &str, threads: usize, services: usize, mix: Mix) -> Cell {
        Cell {
            scenario: NAME.into(),
            store: store.into(),
            threads,
            services,
            metric: self.metric(mix),
        }
    }
}

/// Who does the work, what is read from it, and for how many bursts.
struct Turn {
    crew: Crew,
    readings: &'static [Reading],
    bursts: usize,
}

/// All crews; in a short run those that stand beside the pool have fewer bursts.
fn turns(scale: Scale) -> Result<[Turn; 3], Fault> {
    let (bursts, beside) = match scale {
        Scale::Smoke => (1, 1),
        Scale::Quick => (3, 1),
        Scale::Default => (5, 3),
        Scale::Full => (7, 5),
    };
    let turn = |crew, readings, bursts| Turn {
        crew,
        readings,
        bursts,
    };
    Ok([
        turn(Crew::pool()?, &[Reading::Burst, Reading::InWorker], bursts),
        turn(Crew::tasks()?, &[Reading::Tasks], beside),
        turn(Crew::Threads, &[Reading::Threads], beside),
    ])
}

/// The scenario.
#[derive(Debug)]
pub struct Burst30x100;

impl Scenario for Burst30x100 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "30 workers started together, 100 operations each, from reads only to writes only"
    }

    fn method(&self) -> &'static str {
        "30 workers on a rayon pool of 30 threads, 100 operations each, 3,000 in all, held back by \
         a barrier and let go together; every store fresh for every burst, keys and records \
         prepared before; of several bursts in a process the middle one counts. The same bursts \
         are done by 30 tasks on rayon's default pool, from the first fork to the last join, and by \
         30 plain threads, which are started before the clock and held back by a barrier. A read is get_service, a clone. On 1,000 services half of the writes \
         replace a record and half update a health status; on an empty store every write registers \
         a pod. The null store does nothing: what it takes is the waking of 30 threads, or the fork \
         and join of 30 tasks, and no store can be faster."
    }

    fn entrants(&self) -> Vec<About> {
        let targets = targets(|_| true);
        targets.iter().map(|target| *target.about()).collect()
    }

    fn reference(&self) -> &'static About {
        REFERENCE
    }

    fn effort(&self, scale: Scale) -> Effort {
        match scale {
            Scale::Smoke => Effort::new(2, 2, 2),
            Scale::Quick => Effort::new(5, 3, 5),
            Scale::Default => Effort::new(21, 7, 50),
            Scale::Full => Effort::new(21, 11, 120),
        }
    }

    fn measure(&self, trial: &Trial, record: &mut Recorder) -> Result<(), Fault> {
        let mut targets = targets(|id| id == trial.store).into_iter();
        let target = targets.find(|target| target.about().id == trial.store);
        let target = target.ok_or_else(|| trial.unknown_store())?;
        let mut rng = trial.rng("bursts");
        for turn in turns(trial.scale)? {
            for services in FILLS {
                for mix in Mix::ALL {
                    self::measure(&*target, &turn, services, mix, &mut rng, record)?;
                }
            }
        }
        Ok(())
    }

    fn compared_with(&self, cell: &Cell) -> Option<Cell> {
        let store = cell.store.as_str();
        (store != REFERENCE.name && store != Null::ABOUT.name).then(|| Cell {
            store: REFERENCE.name.into(),
            ..cell.clone()
        })
    }

    fn section(&self, report: &Report) -> Section {
        layout::section(report, &contender::all())
    }
}

/// Measures bursts of one kind; the middle one counts.
fn measure(
    target: &dyn Target,
    turn: &Turn,
    services: usize,
    mix: Mix,
    rng: &mut LabRng,
    record: &mut Recorder,
) -> Result<(), Fault> {
    let about = target.about();
    let mut outcomes = Vec::new();
    for _ in 0..turn.bursts {
        let burst = Burst::new(services, mix, rng);
        let order = shuffled(BURST_PODS, rng);
        let outcome = target.burst(&turn.crew, &burst, &order)?;
        outcomes.push((outcome, burst));
    }
    for &reading in turn.readings {
        let cell = reading.cell(about.name, turn.crew.threads(), services, mix);
        outcomes.sort_by_key(|(outcome, _)| reading.of(outcome));
        for (outcome, burst) in &outcomes {
            if about.is_store() {
                check(&cell, outcome, burst)?;
            }
        }
        let (outcome, burst) = &outcomes[turn.bursts / 2];
        let sample = sample(about, reading, outcome, burst);
        record.sample(&cell, Unit::NanosecondsPerOperation, &sample)?;
    }
    Ok(())
}

fn sample(about: &About, reading: Reading, outcome: &Outcome, burst: &Burst) -> Sample {
    let expected = if about.is_store() {
        burst.read_hits.clone()
    } else {
        0..=0
    };
    let count = |is_it: fn(&Step) -> bool| {
        let steps = burst.workers.iter().flatten();
        steps.filter(|step| is_it(step)).count() as u64
    };
    Sample {
        writes: burst.writes(),
        kinds: [
            ("get_service", count(|step| matches!(step, Step::Get(_)))),
            ("save_service", count(|step| matches!(step, Step::Save(_)))),
            (
                "update_health_status",
                count(|step| matches!(step, Step::Check(_))),
            ),
        ]
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .collect(),
        hits: outcome.read_hits + outcome.written,
        expected: expected.start() + burst.writes()..=expected.end() + burst.writes(),
        // Every worker has whole hundreds.
        mix: Some(burst.mix.writes_of(burst.operations(), 0)),
        services: about
            .is_store()
            .then_some((outcome.services, burst.services_after)),
        ..Sample::of(reading.of(outcome), burst.operations())
    }
}

/// Checks what the number of hits alone does not tell.
fn check(cell: &Cell, outcome: &Outcome, burst: &Burst) -> Result<(), Fault> {
    if outcome.written != burst.writes() {
        return Err(Fault::Hits {
            cell: Box::new(cell.clone()),
            hits: outcome.written,
            operations: burst.writes(),
            expected: burst.writes()..=burst.writes(),
        });
    }
    Ok(())
}
