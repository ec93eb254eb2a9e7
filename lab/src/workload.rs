//! How a described scenario is run: the one runner for every contender.
//!
//! [`shared`] and [`alone`] make a [`Stage`] of a cell for one type of subject; each is
//! compiled once for each contender, and all that happens within a slice is dispatched
//! statically. [`crate::contender`] holds them by name.

mod deck;
mod order;
mod seat;
mod sustained;
mod swing;
mod verify;
mod worker;

use crate::fault::Fault;
use crate::fleet::{Fleet, dice, shuffled};
use crate::scenario::{Cell, Orchestration};
use crate::stage::Stage;
use crate::subject::{Shared, Subject};

/// A subject that holds what a cell says.
fn filled<S: Subject>(cell: &Cell, seed: u64) -> S {
    let fleet = Fleet(cell.holds);
    let mut subject = S::create(seed);
    let order = shuffled(fleet.0.services, &mut dice(seed, "order"));
    subject.fill(&mut order.into_iter().map(|pod| fleet.record(pod)));
    subject
}

fn unfit(cell: &Cell, what: &str) -> Fault {
    Fault(format!("{}: {what}", cell.name))
}

/// A stage for a subject that threads can share.
///
/// # Errors
///
/// Where the system has no threads to give, or the cell describes what cannot be run.
pub fn shared<S: Shared>(cell: &Cell, seed: u64) -> Result<Box<dyn Stage>, Fault> {
    match cell.orchestration {
        Orchestration::Sustained if cell.threads > 1 || cell.background.is_some() => {
            let crew = sustained::Crew::new(filled::<S>(cell, seed), cell, seed)?;
            sustained::settled(Box::new(crew))
        }
        _ => alone::<S>(cell, seed),
    }
}

/// A stage for a subject of one thread.
///
/// # Errors
///
/// Where the cell describes what cannot be run, or not on one thread.
pub fn alone<S: Subject>(cell: &Cell, seed: u64) -> Result<Box<dyn Stage>, Fault> {
    match cell.orchestration {
        Orchestration::Sustained if cell.threads == 1 && cell.background.is_none() => {
            let stage = sustained::Alone::new(filled::<S>(cell, seed), cell, seed);
            sustained::settled(Box::new(stage))
        }
        _ => Err(unfit(
            cell,
            "this contender cannot be shared between threads",
        )),
    }
}
