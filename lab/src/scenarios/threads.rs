//! Several threads that work on one store.

use super::parts::{REGISTRIES, cell, holds, mix, share, writer};
use crate::model::Level;
use crate::scenario::{Cell, Effort, Keys, Op, Orchestration, Scenario};

/// Writes among a hundred operations.
const WRITES: [u32; 5] = [0, 5, 20, 50, 100];

/// *sustained*: what threads do in the long run.
pub(super) fn sustained() -> Scenario {
    let mut cells = Vec::new();
    for threads in [1, 2, 4, 8, 16, 30] {
        for writes in WRITES {
            cells.push(Cell {
                mix: mix(writes),
                threads,
                from: match (threads, writes) {
                    (2, _) => Effort::Quick,
                    (30, _) | (1 | 8, 5 | 50) => Effort::Default,
                    _ => Effort::Full,
                },
                ..cell(share(writes), Op::Get, Effort::Full)
            });
        }
    }
    Scenario {
        name: "sustained",
        about: "threads that read and write without a pause",
        method: "1,000 services and 1 to 30 threads, all of which ask for all keys. Every thread \
                 makes its prepared operations in turn until the slice is over; the figure is the \
                 time that passed for each operation of all threads together. As many threads as there \
                 are processors stay on one each. A read is \
                 get_service and the drop of the clone. Half of the writes replace a record and \
                 half update a health status, each with a time of its own, so that it changes \
                 something.",
        level: Level::Registry,
        contenders: REGISTRIES.into(),
        reference: "thread-safe",
        cells,
    }
}

/// *burst-30x100*: 30 workers, 100 operations each.
pub(super) fn burst() -> Scenario {
    let cells = WRITES.into_iter().map(|writes| Cell {
        mix: mix(writes),
        threads: 30,
        orchestration: Orchestration::Burst { operations: 100 },
        from: if writes == 5 { Effort::Quick } else { Effort::Default },
        ..cell(share(writes), Op::Get, Effort::Full)
    });
    Scenario {
        name: "burst-30x100",
        about: "30 workers that start together, 100 operations each",
        method: "30 workers on a rayon pool of 30 threads, 100 operations each, 3,000 in all, held \
                 back by a barrier and let go together, on a warm store of 1,000 services. A burst \
                 ends with its last worker; of the bursts of a slice the one counts that a quarter of \
                 them does not exceed, over 3,000. Reads and writes as in sustained, exactly so many for each worker. The null \
                 contender does nothing: what it takes is the waking of 30 threads.",
        level: Level::Registry,
        contenders: ["null"].into_iter().chain(REGISTRIES).collect(),
        reference: "thread-safe",
        cells: cells.collect(),
    }
}

/// *hot-key*: everybody asks for the same pod, or for the same eight.
pub(super) fn hot_key() -> Scenario {
    let mut cells = Vec::new();
    for threads in [2, 8] {
        for (keys, some) in [(1, "one key"), (8, "eight keys")] {
            for (what, mix) in [
                ("get_service", vec![(Op::Get, 1)]),
                ("with_service", vec![(Op::With, 1)]),
                ("get_service 90/10", mix(10)),
            ] {
                cells.push(Cell {
                    mix,
                    keys: Keys::Hot(keys),
                    threads,
                    from: match (threads, keys, what) {
                        (2, 1, "get_service") => Effort::Quick,
                        (2, ..) => Effort::Default,
                        _ => Effort::Full,
                    },
                    ..cell(format!("{what}, {some}"), Op::Get, Effort::Full)
                });
            }
        }
    }
    Scenario {
        name: "hot-key",
        about: "all threads ask for the same pod, or for the same eight",
        method: "1,000 services, of which all threads ask for the same one or the same eight, drawn \
                 anew in every life; reads only, and one write in ten operations. Where a store lets \
                 readers of different keys past each other, here it cannot. get_service answers \
                 with a clone, whose count all readers share; with_service shows the record in its \
                 place. Otherwise as in sustained.",
        level: Level::Registry,
        contenders: REGISTRIES.into(),
        reference: "thread-safe",
        cells,
    }
}

/// *zipf*: some keys are asked for much more than others.
pub(super) fn zipf() -> Scenario {
    let mut cells = Vec::new();
    for services in [10_000, 100_000] {
        for threads in [1, 2, 8, 30] {
            cells.push(Cell {
                mix: mix(5),
                keys: Keys::Zipf(0.99),
                threads,
                holds: holds(services),
                from: match (services, threads) {
                    (10_000, 2 | 8) => Effort::Default,
                    _ => Effort::Full,
                },
                ..cell(share(5), Op::Get, Effort::Full)
            });
        }
    }
    Scenario {
        name: "zipf",
        about: "some pods are asked for much more than others",
        method: "10,000 and 100,000 services, 95 % reads and 5 % writes. The n-th pod is asked for in \
                 proportion to n to the power of -0.99 (Zipf, as in YCSB); which pod is the n-th is \
                 drawn anew in every life. Otherwise as in sustained.",
        level: Level::Registry,
        contenders: REGISTRIES.into(),
        reference: "thread-safe",
        cells,
    }
}

/// *snapshot-scan*: answers with everything, while it changes.
pub(super) fn snapshot_scan() -> Scenario {
    let scan = |services: usize, rate, what: &str, from| Cell {
        holds: holds(services),
        background: Some(writer(rate)),
        ..cell(format!("get_all_services beside {what}"), Op::Scan, from)
    };
    Scenario {
        name: "snapshot-scan",
        about: "answers with every record while a writer works",
        method: "One thread asks for all records, again and again, and drops them; another one updates \
                 health statuses, so often a second or as fast as it can. Both stay on processors of \
                 their own where there are two.",
        level: Level::Registry,
        contenders: REGISTRIES.into(),
        reference: "thread-safe",
        cells: vec![
            scan(1_000, Some(10_000), "10,000 writes a second", Effort::Quick),
            scan(1_000, None, "an unthrottled writer", Effort::Default),
            scan(10_000, Some(10_000), "10,000 writes a second", Effort::Default),
            scan(10_000, None, "an unthrottled writer", Effort::Full),
        ],
    }
}
