//! One operation after the other, on one thread.

use super::parts::{REGISTRIES, cell, holds, writer};
use crate::model::Level;
use crate::scenario::{Cell, Effort, Holds, Op, Scenario};

/// *operations*: what each call of the interface costs.
pub(super) fn operations() -> Scenario {
    use Effort::{Default, Full, Quick};
    let mut cells = vec![
        cell("with_service", Op::With, Quick),
        cell("get_service", Op::Get, Default),
        cell("miss", Op::Miss, Default),
        cell("update_health_status", Op::Update, Quick),
        cell("100 updates in a batch", Op::Batch(100), Default),
        cell("register", Op::Insert, Quick),
        cell("remove", Op::Remove, Default),
        cell("add_subscription", Op::Subscribe, Default),
        cell("remove_subscription", Op::Unsubscribe, Full),
        cell("get_services_by_name", Op::ByName, Default),
        cell("get_subscribers", Op::Subscribers, Default),
        cell("get_all_services", Op::Scan, Full),
    ];
    let large = ["with_service", "update_health_status", "register", "remove"];
    let large: Vec<Cell> = cells
        .iter()
        .filter(|cell| large.contains(&&*cell.name))
        .map(|cell| Cell { holds: holds(100_000), from: Full, ..cell.clone() })
        .collect();
    cells.extend(large);
    Scenario {
        name: "operations",
        about: "one operation after the other on one thread",
        method: "One thread calls one operation again and again, with random keys whose texts are its \
                 own. Every update is a real one. Pods register and leave in turns of a few hundred, of \
                 which only the registrations count, or only the removals; so do subscriptions. What is \
                 registered is a clone of a record that was made before. An update in a batch counts \
                 as one operation, and building the batch is part of it.",
        level: Level::Registry,
        contenders: ["memory"].into_iter().chain(REGISTRIES).collect(),
        reference: "memory",
        cells,
    }
}

/// *views*: several answers of one moment.
pub(super) fn views() -> Scenario {
    let view = |name: &str, pods, services, rate: Option<Option<u32>>, from| Cell {
        holds: holds(services),
        background: rate.map(writer),
        ..cell(name, Op::View(pods), from)
    };
    let beside = Some(Some(10_000));
    Scenario {
        name: "views",
        about: "several answers of one moment, from a snapshot",
        method: "One thread takes a snapshot, looks up a few random pods in it, and drops it; alone, and \
                 beside a thread that updates health statuses 10,000 times a second. A snapshot that is \
                 asked for nothing is what taking and dropping it costs.",
        level: Level::Registry,
        contenders: vec!["snapshot", "versioned"],
        reference: "versioned",
        cells: vec![
            view("view of 8 pods", 8, 1_000, None, Effort::Quick),
            view("view of 8 pods beside a writer", 8, 1_000, beside, Effort::Default),
            view("snapshot and drop", 0, 1_000, None, Effort::Default),
            view("snapshot and drop", 0, 100_000, None, Effort::Full),
        ],
    }
}

/// *by-name*: the pods of a name.
pub(super) fn by_name() -> Scenario {
    let pods = |pods_per_name, services, from| Cell {
        holds: Holds { services, pods_per_name, subscribers_per_group: 0 },
        ..cell(format!("{pods_per_name} pods a name"), Op::ByName, from)
    };
    Scenario {
        name: "by-name",
        about: "all pods of a name",
        method: "One thread asks for the pods of random names, and drops the clones. The Go design looks \
                 through everything each time.",
        level: Level::Registry,
        contenders: REGISTRIES.into(),
        reference: "thread-safe",
        cells: vec![
            pods(1, 1_000, Effort::Default),
            pods(10, 1_000, Effort::Quick),
            pods(100, 1_000, Effort::Default),
            pods(1_000, 10_000, Effort::Full),
        ],
    }
}

/// *subscriptions*: who listens to a group.
pub(super) fn subscriptions() -> Scenario {
    let group = |subscribers_per_group, op, name: &str, from| Cell {
        holds: Holds { subscribers_per_group, ..holds(1_000) },
        ..cell(format!("{name}, {subscribers_per_group} a group"), op, from)
    };
    let subscribers = |count, from| group(count, Op::Subscribers, "get_subscribers", from);
    Scenario {
        name: "subscriptions",
        about: "who listens to a group, and who begins and ends to",
        method: "One thread asks for the subscribers of random groups, and drops the clones of their keys; \
                 or subscribes pods that no group has yet, or ends that, in turns of which one half counts.",
        level: Level::Registry,
        contenders: REGISTRIES.into(),
        reference: "thread-safe",
        cells: vec![
            subscribers(10, Effort::Quick),
            subscribers(100, Effort::Default),
            group(100, Op::Subscribe, "add_subscription", Effort::Default),
            group(100, Op::Unsubscribe, "remove_subscription", Effort::Full),
        ],
    }
}
