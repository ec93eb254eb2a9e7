//! What a single read has to wait for.

use super::parts::{REGISTRIES, cell, holds, writer};
use crate::model::{Level, Unit};
use crate::scenario::{Background, Cell, Effort, Op, Orchestration, Scenario};

/// Reads a second.
const READS: u32 = 20_000;

const TAIL: [(&str, Unit); 3] = [("p50", Unit::Ns), ("p99", Unit::Ns), ("p99.9", Unit::Ns)];

fn open_loop(name: &str, beside: Option<Background>, from: Effort) -> Cell {
    Cell {
        orchestration: Orchestration::OpenLoop { rate: READS },
        background: beside,
        metrics: TAIL.into(),
        ..cell(name, Op::Get, from)
    }
}

/// *writer-storm*: reads beside a writer, timed from when they were due.
pub(super) fn writer_storm() -> Scenario {
    let beside = |what: &str, rate, from| open_loop(what, Some(writer(rate)), from);
    Scenario {
        name: "writer-storm",
        about: "how long reads wait beside a writer",
        method: "1,000 services. One reader takes clones of random records, 20,000 a second at random \
                 moments that are drawn beforehand; each latency counts from the moment at which the \
                 read was due, so that a stall is felt by all reads that it keeps waiting. A writer \
                 updates health statuses. Both stay on processors of their own where there are two.",
        level: Level::Registry,
        contenders: REGISTRIES.into(),
        reference: "thread-safe",
        cells: vec![
            open_loop("alone", None, Effort::Full),
            beside("1,000 writes a second", Some(1_000), Effort::Full),
            beside("10,000 writes a second", Some(10_000), Effort::Default),
            beside("unthrottled writer", None, Effort::Quick),
        ],
    }
}

/// *health-sweep*: reads while the results of health checks come in.
pub(super) fn health_sweep() -> Scenario {
    let sweep = |what: &str, op, rate, from| Cell {
        holds: holds(10_000),
        ..open_loop(
            what,
            Some(Background { mix: vec![(op, 1)], threads: 1, rate: Some(rate) }),
            from,
        )
    };
    Scenario {
        name: "health-sweep",
        about: "how long reads wait while every pod is checked once a second",
        method: "10,000 services, each of which gets the result of a health check once a second: singly, \
                 or 200 in a commit, 50 times a second. Reads and their latencies as in writer-storm.",
        level: Level::Registry,
        contenders: REGISTRIES.into(),
        reference: "thread-safe",
        cells: vec![
            sweep("singly", Op::Update, 10_000, Effort::Default),
            sweep("200 in a commit", Op::Batch(200), 50, Effort::Default),
        ],
    }
}

/// *visibility*: how soon a change is seen.
pub(super) fn visibility() -> Scenario {
    Scenario {
        name: "visibility",
        about: "how long it takes until a change is seen",
        method: "One writer updates the health of one pod of 1,000; one reader reads that pod in place \
                 without a pause. The time goes from the start of the write to the end of the first \
                 read that shows it; then the writer waits for up to 20 microseconds and goes on. \
                 Both stay on processors of their own where there are two.",
        level: Level::Registry,
        contenders: REGISTRIES.into(),
        reference: "thread-safe",
        cells: vec![Cell {
            orchestration: Orchestration::Visibility,
            metrics: TAIL[..2].into(),
            ..cell("update", Op::Update, Effort::Quick)
        }],
    }
}
