//! What a thread does in a slice.

use std::time::Instant;

use super::open_loop::Caller;
use super::order::{Order, Share};
use super::step_sequence::{SequenceOptions, StepSequence};
use super::swing::Swing;
use super::verify::Checks;
use super::visibility;
use super::worker::Worker;
use crate::fleet::{Fleet, dice, shuffled};
use crate::scenario::{Background, Cell, Op, Orchestration};
use crate::subject::Hand;

/// One of the things that a thread can do.
#[derive(Debug)]
pub(super) enum Task {
    /// One operation after the other, or at a pace.
    Steps(Worker),
    /// Lets pods come and go.
    Swing(Swing),
    /// Calls when a call is due.
    Calls(Caller),
    /// Writes, and waits until that is seen.
    Shows(visibility::Writer),
    /// Waits for what is written.
    Sees(visibility::Reader),
}

/// About how many operations are counted, where operations are counted.
pub(super) const COUNTED: u32 = 1_000;

impl Task {
    pub(super) fn slice(&mut self, hand: &mut impl Hand, order: &Order) -> Share {
        match self {
            Task::Steps(worker) => worker.slice(hand, order),
            Task::Swing(swing) => swing.slice(hand, order),
            Task::Calls(caller) => caller.slice(hand, order),
            Task::Shows(writer) => writer.slice(hand, order),
            Task::Sees(reader) => reader.slice(hand, order),
        }
    }

    /// Does some operations, and nothing else, within a call of `around`. How many there
    /// were, and how many wrong answers.
    pub(super) fn some(
        &mut self,
        hand: &mut impl Hand,
        around: impl FnOnce(&mut dyn FnMut()),
    ) -> (u64, u64) {
        let mut wrong = 0;
        let operations = match self {
            Task::Steps(worker) => {
                around(&mut || wrong += worker.step(hand, COUNTED, Instant::now()));
                u64::from(COUNTED) * worker.weight()
            }
            Task::Swing(swing) => swing.once(hand, |run| around(run), &mut wrong),
            // These are nothing but timed.
            Task::Calls(_) | Task::Shows(_) | Task::Sees(_) => 0,
        };
        (operations, wrong)
    }

    /// Which health it set last on each pod.
    pub(super) fn last_checks(&self) -> Checks {
        match self {
            Task::Steps(worker) => worker.last_checks(),
            Task::Calls(caller) => caller.worker.last_checks(),
            Task::Shows(writer) => writer.last_checks(),
            Task::Swing(_) | Task::Sees(_) => Checks::new(),
        }
    }
}

/// What the threads of a cell do: first those that are measured, then those beside them.
pub(super) fn tasks(cell: &Cell, seed: u64) -> Vec<Task> {
    let fleet = Fleet(cell.holds);
    let mut dice = dice(seed, "tasks");
    if cell.orchestration == Orchestration::Visibility {
        let (reader, writer) = visibility::pair(fleet, &mut dice);
        return vec![Task::Sees(reader), Task::Shows(writer)];
    }
    let none = Background { mix: Vec::new(), threads: 0, rate: Some(0) };
    let beside = cell.background.as_ref().unwrap_or(&none);
    let popular = shuffled(fleet.0.services, &mut dice);
    let beside_threads = if beside.rate == Some(0) { 0 } else { beside.threads };
    let all = cell.threads + beside_threads;
    let mut task = |thread: usize, mix: &[(Op, u32)], rate| {
        if let Some(swing) = Swing::new(fleet, mix, thread, &mut dice) {
            return Task::Swing(swing);
        }
        let options = SequenceOptions {
            mix,
            keys: cell.keys,
            popular: &popular,
            hand: match cell.orchestration {
                Orchestration::Burst { operations } => Some(operations),
                _ => None,
            },
        };
        Task::Steps(Worker::new(StepSequence::new(fleet, &options, all, &mut dice), rate))
    };
    let measured = (0..cell.threads).map(|thread| task(thread, &cell.mix, None));
    let mut tasks: Vec<Task> = measured.collect();
    tasks.extend((cell.threads..all).map(|thread| task(thread, &beside.mix, beside.rate)));
    if let Orchestration::OpenLoop { rate } = cell.orchestration {
        let rate = f64::from(rate) / cell.threads as f64;
        let timed = |(at, task)| match task {
            Task::Steps(worker) if at < cell.threads => {
                Task::Calls(Caller::new(worker, rate, &mut dice))
            }
            task => task,
        };
        tasks = tasks.into_iter().enumerate().map(timed).collect();
    }
    tasks
}
