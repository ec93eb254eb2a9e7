//! Threads that do one operation after the other for as long as a slice lasts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::deck::Deck;
use super::order::{self, Order, Share};
use super::seat;
use super::swing::Swing;
use super::verify::verify;
use super::worker::{Pace, Worker};
use crate::fault::Fault;
use crate::fleet::{Fleet, dice};
use crate::scenario::{Background, Cell, Op};
use crate::stage::{Slice, Stage};
use crate::subject::{Hand, Shared, Subject};

/// What a thread does in a slice.
enum Task {
    Steps(Worker),
    Swing(Swing),
}

impl Task {
    fn slice(&mut self, hand: &mut impl Hand, order: &Order) -> Share {
        match self {
            Task::Steps(worker) => worker.slice(hand, order),
            Task::Swing(swing) => swing.slice(hand, order),
        }
    }

    fn worker(&self) -> Option<&Worker> {
        match self {
            Task::Steps(worker) => Some(worker),
            Task::Swing(_) => None,
        }
    }
}

/// What the threads of a cell do: first those that are measured, then those beside them.
fn tasks(cell: &Cell, seed: u64) -> Vec<Task> {
    let fleet = Fleet(cell.holds);
    let mut dice = dice(seed, "tasks");
    let popular = Deck::popularity(fleet, &mut dice);
    let none = Background {
        mix: Vec::new(),
        threads: 0,
        rate: None,
    };
    let beside = cell.background.as_ref().unwrap_or(&none);
    let all = cell.threads + beside.threads;
    let mut task = |thread: usize, mix: &[(Op, u32)], pace| {
        Swing::new(fleet, mix, thread, &mut dice).map_or_else(
            || {
                let deck = Deck::new(fleet, mix, cell.keys, &popular, all, &mut dice);
                Task::Steps(Worker::new(deck, pace))
            },
            Task::Swing,
        )
    };
    let mut tasks: Vec<Task> = (0..cell.threads)
        .map(|thread| task(thread, &cell.mix, Pace::Unthrottled))
        .collect();
    if beside.rate != Some(0) {
        let pace = beside.rate.map_or(Pace::Unthrottled, Pace::PerSecond);
        tasks.extend((cell.threads..all).map(|thread| task(thread, &beside.mix, pace)));
    }
    tasks
}

/// One thread, which is the one that asks for slices.
pub(super) struct Alone<S> {
    subject: S,
    fleet: Fleet,
    task: Task,
}

impl<S: Subject> Alone<S> {
    pub(super) fn new(subject: S, cell: &Cell, seed: u64) -> Alone<S> {
        Alone {
            subject,
            fleet: Fleet(cell.holds),
            task: tasks(cell, seed).remove(0),
        }
    }
}

impl<S: Subject> Stage for Alone<S> {
    fn slice(&mut self, length: Duration) -> Result<Slice, Fault> {
        let mut hand = self.subject.alone();
        let order = Order::now(length);
        let shares = [self.task.slice(&mut hand, &order)];
        order::slice(&order, vec![order::together(&shares)], &shares)
    }

    fn finish(mut self: Box<Self>) -> Result<(), Fault> {
        verify(
            &mut self.subject.alone(),
            self.fleet,
            self.task.worker().into_iter(),
        )
    }
}

/// Several threads, which sleep between the slices.
pub(super) struct Crew<S> {
    subject: Arc<S>,
    fleet: Fleet,
    /// How many of the threads are measured.
    measured: usize,
    threads: Vec<(Sender<Order>, JoinHandle<Task>)>,
    shares: Receiver<(usize, Result<Share, Fault>)>,
    /// Threads that have used the store once, and sleep until this is dropped.
    idle: Vec<(Sender<()>, JoinHandle<()>)>,
    /// Whether what goes on beside is a figure of its own.
    with_background: bool,
}

/// The stack of a thread that sleeps.
const SMALL_STACK: usize = 64 << 10;

impl<S: Shared> Crew<S> {
    pub(super) fn new(subject: S, cell: &Cell, seed: u64) -> Result<Crew<S>, Fault> {
        let subject = Arc::new(subject);
        let (tell, shares) = channel();
        let tasks = tasks(cell, seed);
        // Those that work without a pause beside others would else share a processor with
        // them now and then.
        let seats = seat::usable();
        let seats = (cell.background.is_some() && tasks.len() > 1 && tasks.len() <= seats.len())
            .then_some(seats);
        let mut threads = Vec::new();
        for (at, mut task) in tasks.into_iter().enumerate() {
            let (send, orders) = channel::<Order>();
            let (subject, tell) = (subject.clone(), tell.clone());
            let seat = seats.as_ref().map(|seats| seats[at]);
            let work = move || {
                seat.map(seat::take);
                let mut hand = subject.hand();
                while let Ok(order) = orders.recv() {
                    let share = AssertUnwindSafe(|| task.slice(&mut hand, &order));
                    let share = catch_unwind(share)
                        .map_err(|panic| Fault(format!("a thread panicked: {}", words(&*panic))));
                    if tell.send((at, share)).is_err() {
                        break;
                    }
                }
                task
            };
            threads.push((send, spawn(thread::Builder::new(), work)?));
        }
        let idle = match &cell.background {
            Some(beside) if beside.rate == Some(0) => idlers(&subject, cell, beside, seed)?,
            _ => Vec::new(),
        };
        Ok(Crew {
            subject,
            fleet: Fleet(cell.holds),
            measured: cell.threads,
            threads,
            shares,
            idle,
            with_background: cell.metrics.len() > 1,
        })
    }
}

/// Starts a thread.
fn spawn<T: Send + 'static>(
    builder: thread::Builder,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Fault> {
    let thread = builder.spawn(work);
    thread.map_err(|error| Fault(format!("the system has no thread to give: {error}")))
}

/// What a panic said.
fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

/// Threads that each do one step and go to sleep.
fn idlers<S: Shared>(
    subject: &Arc<S>,
    cell: &Cell,
    beside: &Background,
    seed: u64,
) -> Result<Vec<(Sender<()>, JoinHandle<()>)>, Fault> {
    let fleet = Fleet(cell.holds);
    let mut dice = dice(seed, "idle");
    let popular = Deck::popularity(fleet, &mut dice);
    let deck = Deck::new(
        fleet,
        &beside.mix,
        cell.keys,
        &popular,
        usize::MAX,
        &mut dice,
    );
    let deck = Arc::new(deck);
    let (tell, told) = channel();
    let mut idle = Vec::with_capacity(beside.threads);
    for at in 0..beside.threads {
        let (subject, deck, tell) = (subject.clone(), deck.clone(), tell.clone());
        let (send, end) = channel::<()>();
        let work = move || {
            let mut hand = subject.hand();
            let wrong = deck.run(&mut hand, at as u64, 1, crate::fleet::epoch());
            let _ = tell.send(wrong);
            drop(tell);
            // Ends when the other side is dropped.
            let _ = end.recv();
        };
        idle.push((
            send,
            spawn(thread::Builder::new().stack_size(SMALL_STACK), work)?,
        ));
    }
    drop(tell);
    match told.iter().sum::<u64>() {
        0 => Ok(idle),
        wrong => Err(Fault(format!(
            "{wrong} wrong answers to threads that then slept"
        ))),
    }
}

impl<S: Shared> Stage for Crew<S> {
    fn slice(&mut self, length: Duration) -> Result<Slice, Fault> {
        let gone = || Fault::new("a thread has ended");
        let order = Order::now(length);
        for (thread, _) in &self.threads {
            thread.send(order).map_err(|_| gone())?;
        }
        let mut shares = vec![Share::default(); self.threads.len()];
        for _ in 0..self.threads.len() {
            let (at, share) = self.shares.recv().map_err(|_| gone())?;
            shares[at] = share?;
        }
        let (measured, beside) = shares.split_at(self.measured);
        let mut values = vec![order::together(measured)];
        if self.with_background {
            values.push(order::together(beside));
        }
        let slice = order::slice(&order, values, measured)?;
        order::slice(&order, Vec::new(), beside).map_err(|fault| fault.at("beside"))?;
        if slice.values.iter().all(|value| value.is_finite()) {
            return Ok(slice);
        }
        // No thread came to its first operation in time: the machine is busy.
        if length > Duration::from_secs(10) {
            return Err(Fault(format!("nothing was done within {length:?}")));
        }
        self.slice(length * 2)
    }

    fn finish(self: Box<Self>) -> Result<(), Fault> {
        let Crew {
            subject,
            fleet,
            threads,
            idle,
            ..
        } = *self;
        let (orders, handles): (Vec<_>, Vec<_>) = threads.into_iter().unzip();
        drop(orders);
        let (sleep, sleepers): (Vec<_>, Vec<_>) = idle.into_iter().unzip();
        drop(sleep);
        let panicked = |_| Fault::new("a thread panicked at its end");
        for sleeper in sleepers {
            sleeper.join().map_err(panicked)?;
        }
        let tasks: Result<Vec<Task>, Fault> = handles
            .into_iter()
            .map(|thread| thread.join().map_err(panicked))
            .collect();
        verify(
            &mut subject.hand(),
            fleet,
            tasks?.iter().filter_map(Task::worker),
        )
    }
}

/// How long the first of several slices are, which a stage does before it is measured:
/// enough for tables and batches to settle.
pub(super) const SETTLE: Duration = Duration::from_millis(5);

/// Lets a stage settle.
pub(super) fn settled(mut stage: Box<dyn Stage>) -> Result<Box<dyn Stage>, Fault> {
    let begin = Instant::now();
    while begin.elapsed() < SETTLE {
        stage.slice(SETTLE)?;
    }
    Ok(stage)
}
