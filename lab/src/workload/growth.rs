//! Fills an empty store: how long that takes, and how much memory it occupies.

use std::time::{Duration, Instant};

use service_registry::Batch;

use super::timing::medians;
use crate::counting::AllocationCount;
use crate::fault::Fault;
use crate::fleet::{Fleet, later, register, rng, shuffled};
use crate::scenario::Cell;
use crate::stage::Stage;
use crate::subject::{Handle, NewPod, Subject};

/// How often all pods are replaced by others: an even number, so that the original pods are there
/// in the end.
const CHURN_ROUNDS: usize = 4;

/// Fills stores and drops them.
///
/// Fills a first store with one clock around all insertions, for the mean time per pod, and drops
/// it. Fills a second one with a clock around each insertion, for the longest: the time that one
/// caller waits while a table grows.
pub(super) fn fill_and_drop<S: Subject>(cell: &Cell, seed: u64) -> Box<dyn Stage> {
    let fleet = Fleet(cell.holds);
    let order = shuffled(fleet.0.services, &mut rng(seed, "order"));
    let pods = order.into_iter().map(|pod| NewPod::new(fleet.record(pod)));
    let pods: Vec<NewPod> = pods.collect();
    Box::new(move |length| medians(length, || times::<S>(&pods, seed)))
}

fn times<S: Subject>(pods: &[NewPod], seed: u64) -> Result<Vec<f64>, Fault> {
    let each = pods.len() as f64;
    let mut store = S::create(seed);
    let start = Instant::now();
    let mut handle = store.alone();
    let new = pods.iter().filter(|pod| handle.insert(pod)).count();
    let filled = start.elapsed();
    let held = handle.pods();
    drop(handle);
    if S::REMEMBERS && (new, held) != (pods.len(), pods.len()) {
        return Err(Fault(format!("{held} of {} pods are there", pods.len())));
    }
    let start = Instant::now();
    drop(store);
    let dropped = start.elapsed();

    let mut store = S::create(seed);
    let mut handle = store.alone();
    let mut before = Instant::now();
    let mut worst = Duration::ZERO;
    for pod in pods {
        handle.insert(pod);
        let after = Instant::now();
        worst = worst.max(after - before);
        before = after;
    }
    let nanoseconds = |time: Duration| time.as_nanos() as f64;
    Ok(vec![nanoseconds(filled) / each, nanoseconds(dropped) / each, nanoseconds(worst)])
}

/// Counts the bytes that a store requests and does not free, including the records, which are
/// created one by one and moved into the store.
pub(super) fn memory<S: Subject>(cell: &Cell, seed: u64) -> Box<dyn Stage> {
    let fleet = Fleet(cell.holds);
    Box::new(move |_| bytes::<S>(fleet, seed))
}

fn bytes<S: Subject>(fleet: Fleet, seed: u64) -> Result<Vec<f64>, Fault> {
    let services = fleet.0.services;
    let order = shuffled(services, &mut rng(seed, "order"));
    let refused = |key: &str| Fault(format!("{key} could not be registered"));
    let count = AllocationCount::begin();
    let each = |bytes: i64| bytes as f64 / services as f64;

    let mut store = S::create(seed);
    let mut handle = store.alone();
    for pod in &order {
        let mut batch = Batch::new();
        register(&mut batch, fleet.record(*pod));
        handle.commit(batch).then_some(()).ok_or_else(|| refused(&fleet.key(*pod)))?;
    }
    let (live, peak) = (count.live(), count.peak());

    // Replaces every pod by another one.
    for turn in 0..CHURN_ROUNDS {
        for pod in &order {
            let (gone, come) =
                if turn % 2 == 0 { (*pod, pod + services) } else { (pod + services, *pod) };
            let key = fleet.key(gone);
            let mut batch = Batch::new();
            batch.delete_service(&key);
            for group in fleet.groups(gone) {
                batch.remove_subscription(&key, &group);
            }
            register(&mut batch, fleet.record(come));
            handle.commit(batch).then_some(()).ok_or_else(|| refused(&key))?;
        }
    }
    let after_churn = count.live();

    // Holds the present state while all records are replaced; then drops it and replaces all
    // again, since a store may free what was held only at later writes.
    let replace_all = |handle: &mut S::Handle<'_>, turn| {
        let record = |pod: &usize| {
            let fresh = fleet.record(*pod).with_registered_at(later(turn));
            fresh.expect("a good time")
        };
        let replaced = order.iter().all(|pod| handle.replace(record(pod)));
        replaced.then_some(()).ok_or_else(|| refused("a replacement"))
    };
    let held = handle.hold();
    replace_all(&mut handle, 1)?;
    let with = count.live();
    drop(held);
    replace_all(&mut handle, 2)?;
    // Negative if a store keeps more by itself than for a holder.
    let held = (with - count.live()).max(0);

    let found = handle.pods();
    if found != services {
        return Err(Fault(format!("{found} pods are there, and not {services}")));
    }
    Ok(vec![each(live), each(peak), each(after_churn), each(held)])
}
