//! What a store must hold after all that was done.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use crate::fault::Fault;
use crate::fleet::{Fleet, epoch, first_check, rng, shuffled};
use crate::subject::{Handle, Subject};

/// What a thread set last, by number of the pod.
pub(super) type Checks = BTreeMap<usize, SystemTime>;

/// How long somebody looks. Beside a busy program an answer that comes by message takes some
/// milliseconds, and a second life tells more than the last pods of the first.
const PATIENCE: Duration = Duration::from_millis(200);

/// Looks at every pod, in random order, as long as there is time. Each health that is there
/// must be the last one that some thread has set, or the first one where none has: a store
/// that loses a change, or does it twice, or late, holds another.
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
    // Others in each life, whatever the seed of the run.
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
