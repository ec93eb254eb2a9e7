//! One key of one table: our stores by their public interface, and bare maps.

use super::parts::{TIME, cell, holds, writer};
use crate::model::{Level, Unit};
use crate::scenario::{Background, Cell, Effort, Keys, Op, Scenario};

/// Whose reads can keep up with a bare map's.
const QUICK: [&str; 9] = [
    "thread-safe",
    "evmap",
    "snapshot",
    "versioned",
    "rwlock",
    "dashmap",
    "papaya",
    "scc-index",
    "scc-map",
];

/// The others that threads can share while somebody writes.
const SLOW: [&str; 4] = ["bare-evmap", "skiplist", "imbl", "concread"];

const METHOD: &str = "A bare map holds under the same keys what a user would lay out: the registration \
                      behind a pointer, status, and time. All have the same hasher and allocator, and \
                      each is used in the way that is the best for it, with a guard for each operation. \
                      ";

/// Both sizes of some cells, the large one from an effort on.
fn both(cells: Vec<Cell>, from: Effort) -> Vec<Cell> {
    let large = |cell: &Cell| Cell { holds: holds(100_000), from, ..cell.clone() };
    let large: Vec<Cell> = cells.iter().map(large).collect();
    cells.into_iter().chain(large).collect()
}

/// *map*: one thread.
pub(super) fn one_thread() -> Scenario {
    use Effort::{Default, Full};
    let chained = Cell {
        keys: Keys::Chained,
        ..cell("with_service, each after the other", Op::With, Default)
    };
    let mut cells = both(
        vec![
            cell("with_service", Op::With, Default),
            chained,
            cell("update", Op::Update, Default),
            cell("miss", Op::Miss, Default),
            cell("insert", Op::Insert, Default),
            cell("remove", Op::Remove, Default),
        ],
        Full,
    );
    let is_read = |cell: &Cell| cell.mix[0].0 == Op::With && cell.keys == Keys::Uniform;
    for cell in cells.iter_mut().filter(|cell| is_read(cell)) {
        cell.from = Default;
    }
    Scenario {
        name: "map",
        about: "one key of one table, beside bare maps",
        method: METHOD,
        level: Level::Map,
        contenders: ["floor", "memory"].into_iter().chain(QUICK).chain(SLOW).collect(),
        reference: "floor",
        cells,
    }
}

/// *map-two-threads*: reads that two threads make at once.
pub(super) fn two_threads() -> Scenario {
    Scenario {
        name: "map-two-threads",
        about: "reads of two threads at once, beside bare maps",
        method: "Two threads read. Next to the same cells of the scenario map it shows what readers cost \
                 each other; the floor, which needs no lock as long as nobody writes, what they cost the \
                 machine.",
        level: Level::Map,
        contenders: ["floor"].into_iter().chain(QUICK).collect(),
        reference: "floor",
        cells: both(
            vec![Cell { threads: 2, ..cell("with_service", Op::With, Effort::Default) }],
            Effort::Full,
        ),
    }
}

/// *map-beside-a-writer*: reads beside a writer that never sleeps.
pub(super) fn beside_a_writer() -> Scenario {
    Scenario {
        name: "map-beside-a-writer",
        about: "reads beside an unthrottled writer, beside bare maps",
        method: "One thread reads while another one updates as fast as it can, each on a processor of its \
                 own where there are two. The writer's time is a figure of its own: a map whose writer \
                 starves has quick readers.",
        level: Level::Map,
        contenders: QUICK.into(),
        reference: "papaya",
        cells: both(
            vec![Cell {
                background: Some(writer(None)),
                metrics: vec![TIME, ("writer", Unit::NsPerOp)],
                ..cell("with_service", Op::With, Effort::Default)
            }],
            Effort::Full,
        ),
    }
}

/// *idle-threads*: whether threads that once read cost those that do.
pub(super) fn idle_threads() -> Scenario {
    let beside = |threads: usize, name: &str, from| Cell {
        background: Some(Background { mix: vec![(Op::With, 1)], threads, rate: Some(0) }),
        ..cell(name, Op::With, from)
    };
    Scenario {
        name: "idle-threads",
        about: "reads beside threads that have read once and sleep",
        method: "One thread reads beside 100, 1,000 or 10,000 others that have each read once and sleep. \
                 The floor knows nothing of threads: what becomes of the ratio to it is the store's \
                 doing.",
        level: Level::Map,
        contenders: vec!["floor", "versioned"],
        reference: "floor",
        cells: vec![
            cell("alone", Op::With, Effort::Default),
            beside(100, "beside 100", Effort::Default),
            beside(1_000, "beside 1,000", Effort::Default),
            beside(10_000, "beside 10,000", Effort::Full),
        ],
    }
}
