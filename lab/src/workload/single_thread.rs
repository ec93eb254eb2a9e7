//! One thread, the one that receives the requests for slices: times or counts its operations.

use std::time::Duration;

use super::callgrind;
use super::task::{Task, tasks};
use super::timing::{self, Window};
use super::verify::verify;
use crate::counting::AllocationCount;
use crate::fault::Fault;
use crate::fleet::Fleet;
use crate::scenario::Cell;
use crate::stage::{Slice, Stage};
use crate::subject::Subject;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measured {
    Time,
    Allocations,
    Instructions,
}

/// A subject and its only thread.
pub(super) struct SingleThread<S> {
    subject: S,
    fleet: Fleet,
    task: Task,
    what: Measured,
}

impl<S: Subject> SingleThread<S> {
    pub(super) fn new(subject: S, cell: &Cell, what: Measured, seed: u64) -> SingleThread<S> {
        SingleThread { subject, fleet: Fleet(cell.holds), task: tasks(cell, seed).remove(0), what }
    }

    /// Runs some operations, and nothing else, within a call of `around`. Returns their number.
    fn run_within(&mut self, around: impl FnOnce(&mut dyn FnMut())) -> Result<u64, Fault> {
        match self.task.run_within(&mut self.subject.alone(), around) {
            (operations, 0) => Ok(operations),
            (_, wrong) => Err(Fault(format!("{wrong} wrong answers"))),
        }
    }

    fn timed(&mut self, length: Duration) -> Result<Slice, Fault> {
        let mut handle = self.subject.alone();
        timing::measure_until_positive(length, |length| {
            let window = Window::now(length);
            let tallies = [self.task.slice(&mut handle, &window)];
            timing::check_answers(&tallies)?;
            Ok(vec![timing::time_per_operation(&tallies)])
        })
    }
}

impl<S: Subject> Stage for SingleThread<S> {
    fn slice(&mut self, length: Duration) -> Result<Slice, Fault> {
        if self.what == Measured::Time {
            return self.timed(length);
        }
        // A first run lets tables and lists grow.
        self.run_within(|run| run())?;
        let mut counted = 0;
        let operations = if self.what == Measured::Allocations {
            self.run_within(|run| {
                let count = AllocationCount::begin();
                run();
                counted = count.allocations();
            })?
        } else {
            let operations = self.run_within(|run| callgrind::counted_by_callgrind(run))?;
            counted = callgrind::count()?;
            operations
        };
        Ok(vec![counted as f64 / operations as f64])
    }

    fn finish(mut self: Box<Self>) -> Result<(), Fault> {
        verify::<S>(&mut self.subject.alone(), self.fleet, &[self.task.last_checks()])
    }
}
