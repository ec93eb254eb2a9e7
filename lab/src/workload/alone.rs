//! One thread, which is the one that asks for slices.

use std::time::Duration;

use super::order::{self, Order};
use super::task::{Task, tasks};
use super::verify::verify;
use crate::fault::Fault;
use crate::fleet::Fleet;
use crate::scenario::Cell;
use crate::stage::{Slice, Stage};
use crate::subject::Subject;

/// A subject and its only thread.
pub(super) struct Alone<S> {
    subject: S,
    fleet: Fleet,
    task: Task,
}

impl<S: Subject> Alone<S> {
    pub(super) fn new(subject: S, cell: &Cell, seed: u64) -> Alone<S> {
        Alone { subject, fleet: Fleet(cell.holds), task: tasks(cell, seed).remove(0) }
    }
}

impl<S: Subject> Stage for Alone<S> {
    fn slice(&mut self, length: Duration) -> Result<Slice, Fault> {
        let mut hand = self.subject.alone();
        order::patiently(length, |length| {
            let order = Order::now(length);
            let shares = [self.task.slice(&mut hand, &order)];
            order::slice(&order, vec![order::together(&shares)], &shares)
        })
    }

    fn finish(mut self: Box<Self>) -> Result<(), Fault> {
        verify::<S>(&mut self.subject.alone(), self.fleet, &[self.task.last_checks()])
    }
}
