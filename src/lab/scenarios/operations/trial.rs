//! One contender goes through all operations at all sizes.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;

use super::operation::Operation;
use super::subject::{Dose, Subject};
use crate::lab::contender::About;
use crate::lab::fault::Fault;
use crate::lab::process::Trial;
use crate::lab::record::{Recorder, Sample};
use crate::lab::run::Scale;
use crate::lab::workload::{Deck, Fleet, PROBES};

/// Between two samples that must not ask for the same health check.
const STRIDE: usize = 1 << 23;

/// Measures everything that the subject can, at each size.
pub(super) fn measure(
    subject: &mut dyn Subject,
    sizes: &[usize],
    trial: &Trial,
    record: &mut Recorder,
) -> Result<(), Fault> {
    let ops: Vec<Operation> = Operation::all().collect();
    for &services in sizes {
        let mut rng = trial.rng(&format!("deck of {services}"));
        let deck = Deck::new(Fleet::new(services), trial.block as u64, &mut rng);
        let from = rng.random_range(0..PROBES);
        subject.fill(&deck)?;
        samples(
            subject,
            &ops,
            trial.scale,
            &deck,
            from,
            |about, op, sample| record.sample(&op.cell(about.name, services), op.unit(), sample),
        )?;
        subject.empty();
    }
    Ok(())
}

/// Takes a sample of each operation that a subject, which has been filled, can do
/// and that tells something at this size, beginning at a place of the deck.
pub(in crate::lab::scenarios) fn samples(
    subject: &mut dyn Subject,
    ops: &[Operation],
    scale: Scale,
    deck: &Deck,
    mut from: usize,
    mut take: impl FnMut(&About, Operation, &Sample) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let sweep = sweep(subject, scale, deck, from)?;
    for &op in ops {
        from += STRIDE;
        if !op.applies(deck.fleet.pods) || !subject.can(op) {
            continue;
        }
        let mut dose = Dose {
            from,
            count: 1,
            sweep,
        };
        if op.limit().is_some() {
            dose.count = count(subject, scale, op, deck, dose)?;
            from += 8 * STRIDE;
            dose.from = from;
        }
        let mut sample = subject.sample(op, deck, dose)?;
        sample.kinds = BTreeMap::from([(op.metric(), sample.operations)]);
        // Every operation leaves as many behind as it found, but for a drop, after
        // which nobody can be asked.
        let after = subject.services()?;
        sample.services = after.map(|services| (services, deck.fleet.pods));
        take(subject.about(), op, &sample)?;
    }
    Ok(())
}

/// How long a sample should take.
fn target(scale: Scale, op: Operation) -> Duration {
    let target = match scale {
        Scale::Smoke => Duration::from_micros(100),
        Scale::Quick => Duration::from_micros(500),
        Scale::Default => Duration::from_millis(2),
        Scale::Full => Duration::from_millis(5),
    };
    // Two threads do not start at quite the same moment.
    if op.is_throughput() {
        target * 5
    } else {
        target
    }
}

/// Finds out how many pods a sweep can read in its time.
fn sweep(
    subject: &mut dyn Subject,
    scale: Scale,
    deck: &Deck,
    from: usize,
) -> Result<usize, Fault> {
    let time = match scale {
        Scale::Smoke => Duration::from_millis(1),
        _ => Duration::from_millis(25),
    };
    let dose = Dose {
        from,
        count: deck.fleet.pods.min(512),
        sweep: 0,
    };
    let trial = subject.sample(Operation::GetService, deck, dose)?;
    let possible = share(dose.count, trial.elapsed, time);
    Ok(deck.fleet.pods.min(possible))
}

/// Finds out how many operations make a sample long enough.
fn count(
    subject: &mut dyn Subject,
    scale: Scale,
    op: Operation,
    deck: &Deck,
    dose: Dose,
) -> Result<usize, Fault> {
    let limit = op.limit().unwrap_or(1);
    let target = target(scale, op);
    // A short sweep will do to find out.
    let mut dose = Dose {
        count: limit.min(16),
        sweep: dose.sweep.min(1_000),
        ..dose
    };
    for _ in 0..6 {
        dose.from += STRIDE;
        let trial = subject.sample(op, deck, dose)?;
        let most = limit.min(dose.count * 64);
        dose.count = share(dose.count, trial.elapsed, target).clamp(1, most);
        if trial.elapsed > target / 2 {
            break;
        }
    }
    Ok(dose.count)
}

/// How many fit in `target` where `count` took `elapsed`.
fn share(count: usize, elapsed: Duration, target: Duration) -> usize {
    let all = count as u128 * target.as_nanos();
    usize::try_from(all / elapsed.as_nanos().max(1)).unwrap_or(usize::MAX)
}
