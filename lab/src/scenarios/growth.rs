//! How costs grow with the registry, and what is counted instead of timed.

use super::parts::{REGISTRIES, cell, holds};
use crate::model::{Level, Unit};
use crate::scenario::{Cell, Effort, Op, Orchestration, Scenario};

/// The floor and the stores that keep to the caller's thread, beside some others.
fn beside(others: &[&'static str]) -> Vec<&'static str> {
    let stores = ["floor", "memory", "thread-safe", "evmap", "snapshot", "versioned"];
    stores.iter().chain(others).copied().collect()
}

/// *fill-and-drop*: a registry from nothing, one registration after the other.
pub(super) fn fill_and_drop() -> Scenario {
    let fill = |services, from| Cell {
        holds: holds(services),
        orchestration: Orchestration::FillAndDrop,
        metrics: vec![("fill", Unit::NsPerOp), ("drop", Unit::NsPerOp), ("worst", Unit::Ns)],
        ..cell("one by one", Op::Insert, from)
    };
    Scenario {
        name: "fill-and-drop",
        about: "a store is filled from nothing, and dropped",
        method: "One thread registers all pods with an empty store, in random order, one save_service each; \
                 the records are made before, and outlive the store. One store is filled with one clock \
                 around all, which gives the time of a pod, and is dropped; another one with a clock \
                 around each registration, which gives the worst: what one caller had to wait while a \
                 table grew.",
        level: Level::Registry,
        contenders: ["memory"].into_iter().chain(REGISTRIES).collect(),
        reference: "memory",
        cells: vec![fill(10_000, Effort::Quick), fill(100_000, Effort::Full)],
    }
}

/// *memory*: what a registry holds on to.
pub(super) fn memory() -> Scenario {
    let bytes = |services, from| Cell {
        holds: holds(services),
        orchestration: Orchestration::Memory,
        metrics: ["live", "peak", "after_churn", "held"]
            .map(|metric| (metric, Unit::BytesPerService))
            .into(),
        ..cell("registry", Op::Insert, from)
    };
    Scenario {
        name: "memory",
        about: "bytes that a registry holds on to",
        method: "Bytes that are asked for from the allocator and not given back, over the services: records \
                 with their texts, tables, indexes, a subscription a pod, what is kept back for readers. \
                 peak is the most while the pods registered one by one. For after_churn every pod was \
                 replaced by another one four times, so that in the end the same ones are there. held \
                 is what one snapshot, or a list of all records where there are no snapshots, costs that \
                 is kept while every record is replaced.",
        level: Level::Registry,
        contenders: ["memory"].into_iter().chain(REGISTRIES).collect(),
        reference: "thread-safe",
        cells: vec![
            bytes(1_000, Effort::Quick),
            bytes(10_000, Effort::Default),
            bytes(100_000, Effort::Full),
        ],
    }
}

/// *size*: how the cost of an operation grows with the registry.
pub(super) fn size() -> Scenario {
    let mut cells = Vec::new();
    for services in [10, 100, 1_000, 10_000, 100_000] {
        for (name, op) in
            [("with_service", Op::With), ("update", Op::Update), ("insert", Op::Insert)]
        {
            let from = match (services, op) {
                (1_000, _) | (_, Op::Insert) | (100_000, Op::Update) => Effort::Full,
                _ => Effort::Default,
            };
            cells.push(Cell { holds: holds(services), ..cell(name, op, from) });
        }
    }
    Scenario {
        name: "size",
        about: "how costs grow with the number of services",
        method: "Operations on one thread as in the scenario operations, at every size. Tables that no longer \
                 fit in the caches cost more as well; the floor, a bare hash map, shows how much of it that is.",
        level: Level::Map,
        contenders: beside(&["dashmap"]),
        reference: "floor",
        cells,
    }
}

const COUNTED: [(&str, Op); 6] = [
    ("with_service", Op::With),
    ("get_service", Op::Get),
    ("miss", Op::Miss),
    ("update", Op::Update),
    ("insert", Op::Insert),
    ("remove", Op::Remove),
];

/// *allocations*: calls that get memory.
pub(super) fn allocations() -> Scenario {
    let cells = COUNTED.map(|(name, op)| Cell {
        orchestration: Orchestration::Allocations,
        metrics: vec![("allocations", Unit::AllocationsPerOp)],
        ..cell(name, op, Effort::Default)
    });
    Scenario {
        name: "allocations",
        about: "allocations of an operation, which no noise can touch",
        method: "A thousand calls of each operation on 1,000 services, after as many that do not count; the \
                 allocator counts, for all threads of the process. Inserted is a clone of a record that was \
                 made before. A miss answers with an error that names its key.",
        level: Level::Map,
        contenders: beside(&["worker", "dashmap", "papaya", "scc-index"]),
        reference: "floor",
        cells: cells.into(),
    }
}

/// *instructions*: what no other program can disturb.
pub(super) fn instructions() -> Scenario {
    let cells = COUNTED.map(|(name, op)| Cell {
        orchestration: Orchestration::Instructions,
        metrics: vec![("instructions", Unit::InstructionsPerOp)],
        from: match op {
            Op::With | Op::Update => Effort::Default,
            _ => Effort::Full,
        },
        ..cell(name, op, Effort::Full)
    });
    Scenario {
        name: "instructions",
        about: "instructions of an operation, which no noise can touch",
        method: "The calls of the scenario allocations, counted by valgrind (callgrind); the loop around them, \
                 a dozen instructions, is in it. An instruction is not a nanosecond: what waits for memory, \
                 or for another thread, takes few of them and long. A store with a thread of its own is left \
                 out, because its waiting would be counted.",
        level: Level::Map,
        contenders: beside(&["dashmap", "papaya", "scc-index"]),
        reference: "floor",
        cells: cells.into(),
    }
}
