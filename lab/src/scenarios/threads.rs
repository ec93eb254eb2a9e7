//! Several threads that work on one store.

use crate::model::{Level, Unit};
use crate::scenario::{Cell, Effort, Holds, Keys, Op, Orchestration, Scenario};

const THOUSAND: Holds = Holds {
    services: 1_000,
    pods_per_name: 10,
    subscribers_per_group: 10,
};

fn mix(writes: u32) -> Vec<(Op, u32)> {
    let mix = [
        (Op::Get, 200 - 2 * writes),
        (Op::Update, writes),
        (Op::Replace, writes),
    ];
    mix.into_iter().filter(|(_, weight)| *weight > 0).collect()
}

/// *sustained*
pub(super) fn sustained() -> Scenario {
    let mut cells = Vec::new();
    for threads in [1, 2, 4, 8, 16, 30] {
        for writes in [0, 5, 20, 50, 100] {
            let from = match (threads, writes) {
                (2 | 8, 0 | 5 | 50) | (2, 100) => Effort::Quick,
                (1 | 2 | 8 | 30, _) => Effort::Default,
                _ => Effort::Full,
            };
            cells.push(Cell {
                name: format!("{}/{writes}", 100 - writes),
                from,
                holds: THOUSAND,
                mix: mix(writes),
                keys: Keys::Uniform,
                threads,
                orchestration: Orchestration::Sustained,
                background: None,
                metrics: vec![("time", Unit::NsPerOp)],
            });
        }
    }
    Scenario {
        name: "sustained",
        about: "threads that read and write without a pause",
        method: "",
        level: Level::Registry,
        contenders: vec!["thread-safe", "evmap", "snapshot", "versioned", "worker"],
        reference: "thread-safe",
        cells,
    }
}

/// *operations*
pub(super) fn operations() -> Scenario {
    let cell = |name: &str, op, keys, from| Cell {
        name: name.into(),
        from,
        holds: THOUSAND,
        mix: vec![(op, 1)],
        keys,
        threads: 1,
        orchestration: Orchestration::Sustained,
        background: None,
        metrics: vec![("time", Unit::NsPerOp)],
    };
    Scenario {
        name: "operations",
        about: "one operation after the other on one thread",
        method: "",
        level: Level::Map,
        contenders: vec![
            "floor",
            "memory",
            "thread-safe",
            "evmap",
            "snapshot",
            "versioned",
            "worker",
            "dashmap",
            "papaya",
        ],
        reference: "floor",
        cells: vec![
            cell("with_service", Op::With, Keys::Uniform, Effort::Quick),
            cell(
                "with_service, chained",
                Op::With,
                Keys::Chained,
                Effort::Default,
            ),
            cell("miss", Op::Miss, Keys::Uniform, Effort::Default),
            cell("update", Op::Update, Keys::Uniform, Effort::Quick),
            cell("insert", Op::Insert, Keys::Uniform, Effort::Quick),
            cell("remove", Op::Remove, Keys::Uniform, Effort::Default),
        ],
    }
}
