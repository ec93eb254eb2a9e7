//! Runs the cells of a scenario: a single runner for all contenders.
//!
//! [`shared`] and [`alone`] create the [`Stage`] of a cell for one type of subject. They are
//! compiled once for each contender, and all calls within a slice are dispatched statically.
//! [`crate::contender`] holds them by name.

mod burst;
mod callgrind;
mod churn;
mod differences;
mod growth;
mod notification;
mod open_loop;
mod percentiles;
mod single_thread;
mod step_sequence;
mod task;
mod timing;
mod verify;
mod visibility;
mod worker;
mod worker_pool;

use crate::affinity;
use crate::fault::Fault;
use crate::fleet::{Fleet, rng, shuffled};
use crate::scenario::{Cell, Orchestration};
use crate::stage::Stage;
use crate::subject::{SharedSubject, Subject};

/// A function that creates a stage from a cell and a seed.
pub type OpenStage = fn(&Cell, u64) -> Result<Box<dyn Stage>, Fault>;

/// Creates a subject with the content of a cell.
fn filled<S: Subject>(cell: &Cell, seed: u64) -> S {
    let fleet = Fleet(cell.holds);
    let mut subject = S::create(seed);
    let order = shuffled(fleet.0.services, &mut rng(seed, "order"));
    subject.fill(&mut order.into_iter().map(|pod| fleet.record(pod)));
    subject
}

/// Creates a stage for a subject that threads can share.
///
/// # Errors
///
/// Returns an error if the system can start no more threads, or the cell describes something that
/// cannot run.
pub fn shared<S: SharedSubject>(cell: &Cell, seed: u64) -> Result<Box<dyn Stage>, Fault> {
    let subject = || filled::<S>(cell, seed);
    Ok(match cell.orchestration {
        Orchestration::Burst { operations } => {
            Box::new(burst::Burst::new(subject(), cell, operations, seed)?)
        }
        Orchestration::Notification { watches, by } => {
            Box::new(notification::Notification::new(subject(), cell, (watches, by), seed)?)
        }
        Orchestration::Differences(many) => {
            Box::new(differences::Differences::new(subject(), cell, many, seed))
        }
        Orchestration::OpenLoop { .. } | Orchestration::Visibility => {
            Box::new(worker_pool::WorkerPool::new(subject(), cell, seed)?)
        }
        Orchestration::Sustained if cell.threads > 1 || cell.background.is_some() => {
            Box::new(worker_pool::WorkerPool::new(subject(), cell, seed)?)
        }
        _ => return alone::<S>(cell, seed),
    })
}

/// Creates a stage for a subject of one thread.
///
/// # Errors
///
/// Returns an error if the cell needs more than one thread.
pub fn alone<S: Subject>(cell: &Cell, seed: u64) -> Result<Box<dyn Stage>, Fault> {
    use single_thread::{Measured, SingleThread};
    // Before the subject starts its own threads, which inherit this processor.
    affinity::first_processor().into_iter().for_each(affinity::pin);
    let alone = |what| Box::new(SingleThread::new(filled::<S>(cell, seed), cell, what, seed));
    Ok(match cell.orchestration {
        Orchestration::Sustained if cell.threads == 1 && cell.background.is_none() => {
            alone(Measured::Time)
        }
        Orchestration::FillAndDrop => growth::fill_and_drop::<S>(cell, seed),
        Orchestration::Memory => growth::memory::<S>(cell, seed),
        Orchestration::Allocations => alone(Measured::Allocations),
        Orchestration::Instructions => alone(Measured::Instructions),
        _ => return Err(Fault::new("cannot be shared between threads")),
    })
}

/// Returns why a cell cannot be measured here; `None` if it can.
pub fn lacks(cell: &Cell) -> Option<String> {
    let one_processor = || affinity::usable().len() == 1;
    match (cell.orchestration, &cell.background) {
        (Orchestration::Instructions, _) if !callgrind::is_there() => {
            Some("valgrind is not installed: instructions were not counted".into())
        }
        (Orchestration::OpenLoop { .. } | Orchestration::Visibility, _) if one_processor() => {
            Some("there is one processor only: latencies beside a writer were not measured".into())
        }
        (_, Some(beside)) if beside.rate == Some(0) && !has_room_for(beside.threads) => {
            Some(format!(
                "the system has no room for three times {} threads: nothing was read beside them",
                beside.threads
            ))
        }
        _ => None,
    }
}

/// Returns whether the processes of a cell can have this many threads each, if the system reports
/// its limit.
fn has_room_for(threads: usize) -> bool {
    let most = std::fs::read_to_string("/proc/sys/kernel/pid_max");
    let most = most.ok().and_then(|most| most.trim().parse::<usize>().ok());
    most.is_none_or(|most| 3 * threads + 1_000 < most)
}
