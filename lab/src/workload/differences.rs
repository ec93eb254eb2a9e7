//! Measures how long it takes to find the differences between two snapshots.

use std::time::Duration;

use service_registry::ServiceStatus;

use super::timing;
use crate::fault::Fault;
use crate::fleet::{Fleet, Rng, later, rng, shuffled};
use crate::scenario::Cell;
use crate::stage::{Slice, Stage};
use crate::subject::{Handle, SharedSubject};

/// A subject some of whose pods change in each round.
pub(super) struct Differences<S> {
    subject: S,
    fleet: Fleet,
    many: usize,
    /// Whether each pod is healthy. A round toggles some of them, so each update is a change.
    healthy: Vec<bool>,
    rounds: u64,
    rng: Rng,
}

impl<S: SharedSubject> Differences<S> {
    pub(super) fn new(subject: S, cell: &Cell, many: usize, seed: u64) -> Differences<S> {
        let (fleet, rng) = (Fleet(cell.holds), rng(seed, "differences"));
        let healthy = vec![true; cell.holds.services];
        Differences { subject, fleet, many, healthy, rounds: 0, rng }
    }

    fn once(&mut self) -> Result<Vec<f64>, Fault> {
        self.rounds += 1;
        let mut pods = shuffled(self.fleet.0.services, &mut self.rng);
        pods.truncate(self.many);
        let healthy = &mut self.healthy;
        let change = |pod: usize| {
            healthy[pod] = !healthy[pod];
            let status = [ServiceStatus::Unhealthy, ServiceStatus::Healthy];
            (self.fleet.key(pod), status[usize::from(healthy[pod])])
        };
        let changes: Vec<(String, ServiceStatus)> = pods.into_iter().map(change).collect();
        let at = later(self.rounds);
        let mut handle = self.subject.handle();
        let mut wrong = 0;
        let answer = self.subject.differences(&mut || {
            wrong = changes.iter().filter(|(key, status)| !handle.update(key, *status, at)).count();
        });
        let (took, found) = answer.ok_or_else(|| Fault::new("has no snapshots"))?;
        if wrong > 0 || found != changes.len() {
            return Err(Fault(format!("{found} differences found of {}", changes.len())));
        }
        Ok(vec![took.as_nanos() as f64])
    }
}

impl<S: SharedSubject> Stage for Differences<S> {
    fn slice(&mut self, length: Duration) -> Result<Slice, Fault> {
        timing::medians(length, || self.once())
    }

    fn finish(self: Box<Self>) -> Result<(), Fault> {
        let held = self.subject.handle().pods();
        (held == self.fleet.0.services).then_some(()).ok_or_else(|| Fault::new("has lost pods"))
    }
}
