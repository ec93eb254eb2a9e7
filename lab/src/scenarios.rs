//! What is measured: every scenario, as data.
//!
//! A scenario is a function in a folder's file that answers with a [`Scenario`]; it is named
//! in [`all`], and the one runner in [`crate::workload`] does the rest.

mod growth;
mod latency;
mod map;
mod one_thread;
mod threads;

use crate::contender;
use crate::model::Unit;
use crate::scenario::{Background, Cell, Effort, Holds, Keys, Op, Orchestration, Scenario};

/// All scenarios, in the order in which they are run and shown.
pub fn all() -> Vec<Scenario> {
    let mut all = vec![
        one_thread::operations(),
        threads::sustained(),
        threads::burst(),
        threads::hot_key(),
        threads::zipf(),
        latency::writer_storm(),
        latency::health_sweep(),
        latency::visibility(),
        one_thread::views(),
        threads::snapshot_scan(),
        one_thread::by_name(),
        one_thread::subscriptions(),
        growth::fill_and_drop(),
        growth::memory(),
        growth::size(),
        map::one_thread(),
        map::two_threads(),
        map::beside_a_writer(),
        map::idle_threads(),
        growth::allocations(),
        growth::instructions(),
    ];
    for (level, guest) in contender::guests() {
        let with =
            |own: &&mut Scenario| own.level == *level && own.contenders.contains(&"thread-safe");
        for scenario in all.iter_mut().filter(with) {
            scenario.contenders.push(&guest.info.id);
        }
    }
    all
}

/// The stores of this crate that threads can share, and what a user would write instead.
const REGISTRIES: [&str; 7] =
    ["thread-safe", "evmap", "snapshot", "versioned", "worker", "go", "dashmap-registry"];

/// The only metric of most cells: the time of an operation.
const TIME: (&str, Unit) = ("time", Unit::NsPerOp);

/// So many services, ten pods a name, ten subscribers a group.
const fn holds(services: usize) -> Holds {
    Holds { services, pods_per_name: 10, subscribers_per_group: 10 }
}

/// One operation on one thread, on 1,000 services and uniform keys; the others are made of
/// it.
fn cell(name: impl Into<String>, op: Op, from: Effort) -> Cell {
    Cell {
        name: name.into(),
        from,
        holds: holds(1_000),
        mix: vec![(op, 1)],
        keys: Keys::Uniform,
        threads: 1,
        orchestration: Orchestration::Sustained,
        background: None,
        metrics: vec![TIME],
    }
}

/// Reads (`get_service`) and writes: half of these update a health status, half replace a
/// record.
fn mix(writes: u32) -> Vec<(Op, u32)> {
    let mix = [(Op::Get, 200 - 2 * writes), (Op::Update, writes), (Op::Replace, writes)];
    mix.into_iter().filter(|(_, weight)| *weight > 0).collect()
}

/// `95/5`: reads and writes of a hundred operations.
fn share(writes: u32) -> String {
    format!("{}/{writes}", 100 - writes)
}

/// One thread that updates health statuses, so often a second.
fn writer(rate: Option<u32>) -> Background {
    Background { mix: vec![(Op::Update, 1)], threads: 1, rate }
}
