//! Of what scenarios are put together.

use crate::model::Unit;
use crate::scenario::{Background, Cell, Effort, Holds, Keys, Op, Orchestration};

/// The stores of this crate that threads can share, and what a user would write instead.
pub(super) const REGISTRIES: [&str; 7] =
    ["thread-safe", "evmap", "snapshot", "versioned", "worker", "go", "dashmap-registry"];

/// The only metric of most cells: the time of an operation.
pub(super) const TIME: (&str, Unit) = ("time", Unit::NsPerOp);

/// So many services, ten pods a name, ten subscribers a group.
pub(super) const fn holds(services: usize) -> Holds {
    Holds { services, pods_per_name: 10, subscribers_per_group: 10 }
}

/// One operation on one thread, on 1,000 services and uniform keys; the others are made of
/// it.
pub(super) fn cell(name: impl Into<String>, op: Op, from: Effort) -> Cell {
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
pub(super) fn mix(writes: u32) -> Vec<(Op, u32)> {
    let mix = [(Op::Get, 200 - 2 * writes), (Op::Update, writes), (Op::Replace, writes)];
    mix.into_iter().filter(|(_, weight)| *weight > 0).collect()
}

/// `95/5`: reads and writes of a hundred operations.
pub(super) fn share(writes: u32) -> String {
    format!("{}/{writes}", 100 - writes)
}

/// One thread that updates health statuses, so often a second.
pub(super) fn writer(rate: Option<u32>) -> Background {
    Background { mix: vec![(Op::Update, 1)], threads: 1, rate }
}
