//! Checks the content of a store after a life.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use crate::fault::Fault;
use crate::fleet::{Fleet, epoch, first_check, rng, shuffled};
use crate::subject::{Handle, Subject};

/// The time of the last health check that a thread set on each pod, by number.
pub(super) type Checks = BTreeMap<usize, SystemTime>;

/// The time limit of the check. Beside a busy program, an answer by message takes some
/// milliseconds, and another life finds more than the last pods of this one.
const PATIENCE: Duration = Duration::from_millis(200);

/// Checks the pods in random order, until the time is up. The health of each must be the last one
/// that some thread has set, or the initial one if no thread has: a store that loses a change, or
/// applies it twice or late, holds another.
pub(super) fn verify<S: Subject>(
    handle: &mut impl Handle,
    fleet: Fleet,
    checks: &[Checks],
) -> Result<(), Fault> {
    if !S::REMEMBERS {
        return Ok(());
    }
    let pods = handle.pods();
    if pods != fleet.0.services {
        let services = fleet.0.services;
        return Err(Fault(format!("{pods} pods are there, and not {services}")));
    }
    let begun = Instant::now();
    // Another order in each life, whatever the seed of the run.
    let since = SystemTime::now().duration_since(epoch()).unwrap_or_default();
    let seed = u64::from(since.subsec_nanos());
    for pod in shuffled(fleet.0.services, &mut rng(seed, "verify")) {
        if begun.elapsed() > PATIENCE {
            break;
        }
        let key = fleet.key(pod);
        let found = handle.checked_at(&key);
        let mut expected = checks.iter().filter_map(|checks| checks.get(&pod).copied()).peekable();
        let first = expected.peek().is_none().then(|| first_check(pod));
        if !expected.chain(first).any(|expected| Some(expected) == found) {
            let what = found.map_or("is missing", |_| "is not what was put there last");
            return Err(Fault(format!("{key} {what}")));
        }
    }
    Ok(())
}
