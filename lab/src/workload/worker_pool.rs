//! Several threads that work on one subject, and sleep between slices.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::percentiles::Percentiles;
use super::step_sequence::{SequenceOptions, StepSequence};
use super::task::{Task, tasks};
use super::timing::{self, Tally, Window};
use super::verify::verify;
use crate::affinity;
use crate::fault::Fault;
use crate::fleet::{Fleet, epoch, rng, shuffled};
use crate::scenario::{Background, Cell, Orchestration};
use crate::stage::{Slice, Stage};
use crate::subject::SharedSubject;

/// The stack of a thread that only sleeps.
const SMALL_STACK: usize = 64 << 10;

/// A thread, and the channel through which it receives its slices.
type PoolThread<O, T> = (Sender<O>, JoinHandle<T>);

/// A subject and its threads.
pub(super) struct WorkerPool<S> {
    subject: Arc<S>,
    fleet: Fleet,
    /// How many of the threads are measured.
    measured: usize,
    threads: Vec<PoolThread<Window, Task>>,
    tallies: Receiver<(usize, Result<Tally, Fault>)>,
    /// Threads that have used the store once, and sleep until this is dropped.
    idle: Vec<PoolThread<(), ()>>,
    /// Collects the latencies; `None` in cells without latencies.
    percentiles: Option<Percentiles>,
    /// Whether the background threads yield a figure of their own.
    background_counts: bool,
}

impl<S: SharedSubject> WorkerPool<S> {
    pub(super) fn new(subject: S, cell: &Cell, seed: u64) -> Result<WorkerPool<S>, Fault> {
        let subject = Arc::new(subject);
        let (sender, tallies) = channel();
        let tasks = tasks(cell, seed);
        let is_timed = matches!(
            cell.orchestration,
            Orchestration::OpenLoop { .. } | Orchestration::Visibility
        );
        // Without this, two threads that never pause sometimes share a processor.
        let processors = affinity::processor_order();
        let apart = (2..=processors.len()).contains(&tasks.len());
        let mut threads = Vec::new();
        for (at, mut task) in tasks.into_iter().enumerate() {
            let (command, orders) = channel::<Window>();
            let (subject, sender) = (subject.clone(), sender.clone());
            let processor = apart.then(|| processors[at]);
            let work = move || {
                processor.into_iter().for_each(affinity::pin);
                let mut handle = subject.handle();
                while let Ok(window) = orders.recv() {
                    let tally = AssertUnwindSafe(|| task.slice(&mut handle, &window));
                    let tally = catch_unwind(tally)
                        .map_err(|panic| Fault(format!("a thread panicked: {}", words(&*panic))));
                    if sender.send((at, tally)).is_err() {
                        break;
                    }
                }
                task
            };
            threads.push((command, spawn(Builder::new(), work)?));
        }
        let idle = match &cell.background {
            Some(beside) if beside.rate == Some(0) => idlers(&subject, cell, beside, seed)?,
            _ => Vec::new(),
        };
        let whole_life = matches!(cell.orchestration, Orchestration::OpenLoop { .. });
        Ok(WorkerPool {
            subject,
            fleet: Fleet(cell.holds),
            measured: cell.threads,
            threads,
            tallies,
            idle,
            percentiles: is_timed.then(|| Percentiles::new(cell, whole_life)),
            background_counts: !is_timed && cell.metrics.len() > 1,
        })
    }

    fn tallies(&self, window: &Window) -> Result<Vec<Tally>, Fault> {
        let gone = || Fault::new("a thread has ended");
        for (thread, _) in &self.threads {
            thread.send(*window).map_err(|_| gone())?;
        }
        let mut tallies = vec![Tally::default(); self.threads.len()];
        for _ in 0..self.threads.len() {
            let (at, tally) = self.tallies.recv().map_err(|_| gone())?;
            tallies[at] = tally?;
        }
        Ok(tallies)
    }

    fn once(&mut self, length: Duration) -> Result<Slice, Fault> {
        let window = Window::now(length);
        let tallies = self.tallies(&window)?;
        let (measured, beside) = tallies.split_at(self.measured);
        timing::check_answers(beside).map_err(|fault| fault.at("beside"))?;
        timing::check_answers(measured)?;
        if let Some(percentiles) = &mut self.percentiles {
            return Ok(percentiles.values(measured));
        }
        let mut values = vec![timing::time_per_operation(measured)];
        values.extend(self.background_counts.then(|| timing::time_per_operation(beside)));
        Ok(values)
    }
}

impl<S: SharedSubject> Stage for WorkerPool<S> {
    fn slice(&mut self, length: Duration) -> Result<Slice, Fault> {
        timing::measure_until_positive(length, |length| self.once(length))
    }

    fn finish(self: Box<Self>) -> Result<(), Fault> {
        let WorkerPool { subject, fleet, threads, idle, .. } = *self;
        end(idle)?;
        let checks: Vec<_> = end(threads)?.iter().map(Task::last_checks).collect();
        verify::<S>(&mut subject.handle(), fleet, &checks)
    }
}

/// Starts a thread.
pub(super) fn spawn<T: Send + 'static>(
    builder: Builder,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Fault> {
    let thread = builder.spawn(work);
    thread.map_err(|error| Fault(format!("the system has no thread to give: {error}")))
}

/// Ends threads, and returns their results.
fn end<O, T>(members: Vec<PoolThread<O, T>>) -> Result<Vec<T>, Fault> {
    let (orders, threads): (Vec<_>, Vec<_>) = members.into_iter().unzip();
    drop(orders);
    let ended = threads.into_iter().map(JoinHandle::join);
    ended.collect::<Result<_, _>>().map_err(|_| Fault::new("a thread panicked at its end"))
}

/// Returns the message of a panic.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}

/// Starts threads that do one step each, and then sleep until their channel is dropped.
fn idlers<S: SharedSubject>(
    subject: &Arc<S>,
    cell: &Cell,
    beside: &Background,
    seed: u64,
) -> Result<Vec<PoolThread<(), ()>>, Fault> {
    let fleet = Fleet(cell.holds);
    let mut rng = rng(seed, "idle");
    let options = SequenceOptions {
        mix: &beside.mix,
        keys: cell.keys,
        popular: &shuffled(fleet.0.services, &mut rng),
        burst: None,
    };
    let sequence = Arc::new(StepSequence::new(fleet, &options, beside.threads, &mut rng));
    let (sender, receiver) = channel();
    let mut idle = Vec::with_capacity(beside.threads);
    for at in 0..beside.threads as u64 {
        let (subject, sequence, sender) = (subject.clone(), sequence.clone(), sender.clone());
        let (keep, ended) = channel::<()>();
        let work = move || {
            let mut handle = subject.handle();
            let _ = sender.send(sequence.run(&mut handle, at, 1, epoch()));
            drop(sender);
            // Returns when the other side is dropped.
            let _ = ended.recv();
        };
        idle.push((keep, spawn(Builder::new().stack_size(SMALL_STACK), work)?));
    }
    drop(sender);
    match receiver.iter().sum::<u64>() {
        0 => Ok(idle),
        wrong => Err(Fault(format!("{wrong} wrong answers to threads that then slept"))),
    }
}
