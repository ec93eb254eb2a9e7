//! What a store must hold after all that was done.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::worker::Worker;
use crate::fault::Fault;
use crate::fleet::{Fleet, epoch};
use crate::subject::Hand;

/// Looks at every pod. Each health that is there must be the last one that some thread has
/// set, or the first one where none has: a store that loses a change, or does it twice, or
/// late, holds another.
///
/// # Errors
///
/// Where something else is there, or a pod is missing.
pub(super) fn verify<'w>(
    hand: &mut impl Hand,
    fleet: Fleet,
    workers: impl Iterator<Item = &'w Worker>,
) -> Result<(), Fault> {
    let mut checks: BTreeMap<usize, Vec<SystemTime>> = BTreeMap::new();
    for worker in workers {
        let mut last = BTreeMap::new();
        worker.last_checks(|pod, at| {
            last.insert(pod, at);
        });
        for (pod, at) in last {
            checks.entry(pod).or_default().push(at);
        }
    }
    let pods = hand.len();
    if pods != fleet.0.services {
        let services = fleet.0.services;
        return Err(Fault(format!("{pods} pods are there, and not {services}")));
    }
    let never = [epoch()];
    for pod in 0..fleet.0.services {
        let key = fleet.key(pod);
        let found = hand.checked_at(&key);
        let expected = checks.get(&pod).map_or(&never[..], Vec::as_slice);
        if !found.is_some_and(|found| expected.contains(&found)) {
            let what = found.map_or(
                "is missing",
                |_| "lacks the last change that was made to it",
            );
            return Err(Fault(format!("{key} {what}")));
        }
    }
    Ok(())
}
