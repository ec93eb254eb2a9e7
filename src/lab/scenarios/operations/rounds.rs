//! The rounds of the scenario.

use std::collections::HashMap;
use std::time::Duration;

use rand::RngExt;

use super::operation::{GROUPS, Operation};
use super::subject::{Dose, Subject};
use crate::lab::run::{Fault, Recorder, Scale};
use crate::lab::scenarios::{Effort, Experiment};
use crate::lab::workload::{Deck, Fleet, LabRng, PROBES, shuffled};

/// The scenario at work.
pub(super) struct Rounds {
    scale: Scale,
    sizes: &'static [usize],
    subjects: Vec<Box<dyn Subject>>,
    /// How many operations make a sample long enough: by subject, operation and
    /// size.
    counts: HashMap<(usize, Operation, usize), usize>,
    /// How many pods a sweep reads: by subject and size.
    sweeps: HashMap<(usize, usize), usize>,
    round: u64,
}

impl Rounds {
    pub(super) fn new(
        scale: Scale,
        sizes: &'static [usize],
        subjects: Vec<Box<dyn Subject>>,
    ) -> Rounds {
        Rounds {
            scale,
            sizes,
            subjects,
            counts: HashMap::new(),
            sweeps: HashMap::new(),
            round: 0,
        }
    }

    /// How long a sample should take.
    fn target(&self, op: Operation) -> Duration {
        let target = match self.scale {
            Scale::Smoke => Duration::from_micros(100),
            Scale::Quick => Duration::from_micros(500),
            Scale::Default => Duration::from_millis(1),
        };
        // Two threads do not start at quite the same moment.
        if op.is_throughput() {
            target * 5
        } else {
            target
        }
    }

    /// The longest time that a sweep may take.
    fn sweep_time(&self) -> Duration {
        match self.scale {
            Scale::Smoke => Duration::from_millis(1),
            Scale::Quick | Scale::Default => Duration::from_millis(25),
        }
    }

    /// Finds out how many pods a sweep can read in its time.
    fn sweep(&mut self, at: usize, deck: &Deck, from: usize) -> Result<usize, Fault> {
        let dose = Dose {
            from,
            count: deck.fleet.pods.min(512),
            sweep: 0,
        };
        let trial = self.subjects[at].sample(Operation::GetService, deck, dose)?;
        let possible = share(dose.count, trial.elapsed, self.sweep_time());
        Ok(deck.fleet.pods.min(possible))
    }

    /// Finds out how many operations make a sample long enough.
    fn count(&mut self, at: usize, op: Operation, deck: &Deck, dose: Dose) -> Result<usize, Fault> {
        let limit = op.limit().unwrap_or(1);
        let target = self.target(op);
        // A short sweep will do to find out.
        let mut dose = Dose {
            count: limit.min(16),
            sweep: dose.sweep.min(1_000),
            ..dose
        };
        for _ in 0..6 {
            dose.from += STRIDE;
            let trial = self.subjects[at].sample(op, deck, dose)?;
            let most = limit.min(dose.count * 64);
            dose.count = share(dose.count, trial.elapsed, target).clamp(1, most);
            if trial.elapsed > target / 2 {
                break;
            }
        }
        Ok(dose.count)
    }
}

/// How many fit in `target` where `count` took `elapsed`.
fn share(count: usize, elapsed: Duration, target: Duration) -> usize {
    let all = count as u128 * target.as_nanos();
    usize::try_from(all / elapsed.as_nanos().max(1)).unwrap_or(usize::MAX)
}

/// How often a round goes through the smaller sizes: a pass through the largest
/// takes far longer than one through them.
const PASSES: usize = 3;

fn passes(services: usize) -> usize {
    if services < 10_000 { PASSES } else { 1 }
}

/// Between two samples that must not ask for the same health check.
const STRIDE: usize = 1 << 23;

impl Experiment for Rounds {
    fn effort(&self) -> Effort {
        let (rounds, at_least, seconds) = match self.scale {
            Scale::Smoke => (1, 1, 2),
            Scale::Quick => (25, 3, 26),
            Scale::Default => (61, 11, 240),
        };
        Effort {
            rounds,
            at_least,
            budget: Duration::from_secs(seconds),
        }
    }

    fn round(&mut self, rng: &mut LabRng, record: &mut Recorder<'_>) -> Result<(), Fault> {
        let round = self.round;
        self.round += 1;
        let passes: Vec<(usize, usize)> = self
            .sizes
            .iter()
            .flat_map(|&services| (0..passes(services)).map(move |pass| (services, pass)))
            .filter(|(_, pass)| *pass == 0 || !record.is_rehearsal())
            .collect();
        for place in shuffled(passes.len(), rng) {
            let (services, pass) = passes[place];
            record.pass(pass, PASSES);
            let number = round * PASSES as u64 + pass as u64;
            let deck = Deck::new(Fleet::new(services), number, rng);
            let mut from = rng.random_range(0..PROBES);
            for at in shuffled(self.subjects.len(), rng) {
                self.subjects[at].fill(&deck)?;
                if record.is_rehearsal() {
                    let sweep = self.sweep(at, &deck, from)?;
                    self.sweeps.insert((at, services), sweep);
                }
            }
            for &group in GROUPS {
                for at in shuffled(self.subjects.len(), rng) {
                    for &op in group {
                        from += STRIDE;
                        if !op.applies(services) || !self.subjects[at].can(op) {
                            continue;
                        }
                        let key = (at, op, services);
                        let mut dose = Dose {
                            from,
                            count: 1,
                            sweep: self.sweeps.get(&(at, services)).copied().unwrap_or(0),
                        };
                        if record.is_rehearsal() && op.limit().is_some() {
                            let count = self.count(at, op, &deck, dose)?;
                            self.counts.insert(key, count);
                            from += 8 * STRIDE;
                        }
                        dose.count = self.counts.get(&key).copied().unwrap_or(1);
                        let sample = self.subjects[at].sample(op, &deck, dose)?;
                        let cell = op.cell(self.subjects[at].about().name, services);
                        record.sample(&cell, op.unit(), &sample)?;
                    }
                }
            }
            for subject in &mut self.subjects {
                subject.empty();
            }
        }
        Ok(())
    }
}
