//! What differs between two snapshots, a few changes apart.

use std::time::Duration;

use service_registry::ServiceStatus;

use super::order;
use crate::fault::Fault;
use crate::fleet::{Dice, Fleet, dice, later, shuffled};
use crate::scenario::Cell;
use crate::stage::{Slice, Stage};
use crate::subject::{Hand, Shared};

/// A subject, of which some pods change again and again.
pub(super) struct Differences<S> {
    subject: S,
    fleet: Fleet,
    many: usize,
    /// Which pods are healthy: each change is one.
    healthy: Vec<bool>,
    rounds: u64,
    dice: Dice,
}

impl<S: Shared> Differences<S> {
    pub(super) fn new(subject: S, cell: &Cell, many: usize, seed: u64) -> Differences<S> {
        let (fleet, dice) = (Fleet(cell.holds), dice(seed, "differences"));
        let healthy = vec![true; cell.holds.services];
        Differences { subject, fleet, many, healthy, rounds: 0, dice }
    }

    fn once(&mut self) -> Result<Vec<f64>, Fault> {
        self.rounds += 1;
        let mut pods = shuffled(self.fleet.0.services, &mut self.dice);
        pods.truncate(self.many);
        let healthy = &mut self.healthy;
        let change = |pod: usize| {
            healthy[pod] = !healthy[pod];
            let status = [ServiceStatus::Unhealthy, ServiceStatus::Healthy];
            (self.fleet.key(pod), status[usize::from(healthy[pod])])
        };
        let changes: Vec<(String, ServiceStatus)> = pods.into_iter().map(change).collect();
        let at = later(self.rounds);
        let mut hand = self.subject.hand();
        let mut wrong = 0;
        let answer = self.subject.differences(&mut || {
            wrong = changes.iter().filter(|(key, status)| !hand.update(key, *status, at)).count();
        });
        let (took, found) = answer.ok_or_else(|| Fault::new("has no snapshots"))?;
        if wrong > 0 || found != changes.len() {
            return Err(Fault(format!("{found} differences found of {}", changes.len())));
        }
        Ok(vec![took.as_nanos() as f64])
    }
}

impl<S: Shared> Stage for Differences<S> {
    fn slice(&mut self, length: Duration) -> Result<Slice, Fault> {
        order::medians(length, || self.once())
    }

    fn finish(self: Box<Self>) -> Result<(), Fault> {
        let held = self.subject.hand().pods();
        (held == self.fleet.0.services).then_some(()).ok_or_else(|| Fault::new("has lost pods"))
    }
}
