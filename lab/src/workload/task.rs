//! The task of a thread in a slice.

use std::time::Instant;

use super::churn::Churn;
use super::open_loop::Caller;
use super::step_sequence::{SequenceOptions, StepSequence};
use super::timing::{Tally, Window};
use super::verify::Checks;
use super::visibility;
use super::worker::Worker;
use crate::fleet::{Fleet, rng, shuffled};
use crate::scenario::{Background, Cell, Op, Orchestration};
use crate::subject::Handle;

/// The task of a thread.
#[derive(Debug)]
pub(super) enum Task {
    /// Does one operation after the other, at full speed or at a fixed rate.
    Steps(Worker),
    /// Inserts and removes pods or subscriptions.
    Churn(Churn),
    /// Does its operations at scheduled times.
    OpenLoop(Caller),
    /// Writes, and waits until the reader has seen it.
    VisibilityWriter(visibility::Writer),
    /// Reads until it sees the latest write.
    VisibilityReader(visibility::Reader),
}

/// The steps of a run in which instructions or allocations are counted.
pub(super) const COUNTED: u32 = 1_000;

impl Task {
    pub(super) fn slice(&mut self, handle: &mut impl Handle, window: &Window) -> Tally {
        match self {
            Task::Steps(worker) => worker.slice(handle, window),
            Task::Churn(churn) => churn.slice(handle, window),
            Task::OpenLoop(caller) => caller.slice(handle, window),
            Task::VisibilityWriter(writer) => writer.slice(handle, window),
            Task::VisibilityReader(reader) => reader.slice(handle, window),
        }
    }

    /// Runs some operations, and nothing else, within a call of `around`. Returns their number, and
    /// the number of wrong answers.
    pub(super) fn run_within(
        &mut self,
        handle: &mut impl Handle,
        around: impl FnOnce(&mut dyn FnMut()),
    ) -> (u64, u64) {
        let mut wrong = 0;
        let operations = match self {
            Task::Steps(worker) => {
                around(&mut || wrong += worker.step(handle, COUNTED, Instant::now()));
                u64::from(COUNTED) * worker.weight()
            }
            Task::Churn(churn) => churn.once(handle, |run| around(run), &mut wrong),
            // These are only timed.
            Task::OpenLoop(_) | Task::VisibilityWriter(_) | Task::VisibilityReader(_) => 0,
        };
        (operations, wrong)
    }

    /// Returns the time of the last health check that it set on each pod.
    pub(super) fn last_checks(&self) -> Checks {
        match self {
            Task::Steps(worker) => worker.last_checks(),
            Task::OpenLoop(caller) => caller.worker.last_checks(),
            Task::VisibilityWriter(writer) => writer.last_checks(),
            Task::Churn(_) | Task::VisibilityReader(_) => Checks::new(),
        }
    }
}

/// Creates the tasks of the threads of a cell: the measured ones first, then the background.
pub(super) fn tasks(cell: &Cell, seed: u64) -> Vec<Task> {
    let fleet = Fleet(cell.holds);
    let mut rng = rng(seed, "tasks");
    if cell.orchestration == Orchestration::Visibility {
        let (reader, writer) = visibility::pair(fleet, &mut rng);
        return vec![Task::VisibilityReader(reader), Task::VisibilityWriter(writer)];
    }
    let none = Background { mix: Vec::new(), threads: 0, rate: Some(0) };
    let beside = cell.background.as_ref().unwrap_or(&none);
    let popular = shuffled(fleet.0.services, &mut rng);
    let beside_threads = if beside.rate == Some(0) { 0 } else { beside.threads };
    let all = cell.threads + beside_threads;
    let mut task = |thread: usize, mix: &[(Op, u32)], rate| {
        if let Some(churn) = Churn::new(fleet, mix, thread, &mut rng) {
            return Task::Churn(churn);
        }
        let options = SequenceOptions {
            mix,
            keys: cell.keys,
            popular: &popular,
            burst: match cell.orchestration {
                Orchestration::Burst { operations } => Some(operations),
                _ => None,
            },
        };
        Task::Steps(Worker::new(StepSequence::new(fleet, &options, all, &mut rng), rate))
    };
    let measured = (0..cell.threads).map(|thread| task(thread, &cell.mix, None));
    let mut tasks: Vec<Task> = measured.collect();
    tasks.extend((cell.threads..all).map(|thread| task(thread, &beside.mix, beside.rate)));
    if let Orchestration::OpenLoop { rate } = cell.orchestration {
        let rate = f64::from(rate) / cell.threads as f64;
        let timed = |(at, task)| match task {
            Task::Steps(worker) if at < cell.threads => {
                Task::OpenLoop(Caller::new(worker, rate, &mut rng))
            }
            task => task,
        };
        tasks = tasks.into_iter().enumerate().map(timed).collect();
    }
    tasks
}
