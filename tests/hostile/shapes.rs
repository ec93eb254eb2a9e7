//! What operations cost in stores of odd shapes: prints a table.

use std::time::Instant;

use service_registry::{Change, RegistryStore};

use super::AT_ONCE;
use super::support::pod;

/// Something of `n` in a store, and an operation whose documented cost does not
/// depend on `n`, or only by its logarithm.
struct Shape {
    name: &'static str,
    /// The `n`th change that makes the shape.
    make: fn(usize) -> Change,
    /// Whether all but the first of `n` are taken away again.
    drain: Option<fn(usize) -> Change>,
    probe: fn(&dyn RegistryStore, usize),
}

fn save(n: usize) -> Change {
    Change::SaveService(pod("a", &n.to_string()))
}

fn subscribe(subscriber: usize, group: usize) -> Change {
    Change::AddSubscription {
        subscriber_key: format!("s:{subscriber}").into(),
        service_group: format!("g{group}").into(),
    }
}

fn unsubscribe(subscriber: usize) -> Change {
    Change::RemoveAllSubscriptions {
        subscriber_key: format!("s:{subscriber}").into(),
    }
}

const SHAPES: &[Shape] = &[
    Shape {
        name: "one name, many pods: delete one, save it again",
        make: |n| save(n),
        drain: None,
        probe: |store, n| {
            let pod = store.get_service(&format!("a:{}", n / 2)).unwrap();
            store.delete_service(pod.key()).unwrap();
            store.save_service(pod).unwrap();
        },
    },
    Shape {
        name: "one group, many subscribers: one leaves and comes back",
        make: |n| subscribe(n, 0),
        drain: None,
        probe: |store, n| {
            let subscriber = format!("s:{}", n / 2);
            store.remove_subscription(&subscriber, "g0").unwrap();
            store.add_subscription(&subscriber, "g0").unwrap();
        },
    },
    Shape {
        name: "one subscriber, many groups: it leaves one and comes back",
        make: |n| subscribe(0, n),
        drain: None,
        probe: |store, n| {
            let group = format!("g{}", n / 2);
            store.remove_subscription("s:0", &group).unwrap();
            store.add_subscription("s:0", &group).unwrap();
        },
    },
    Shape {
        name: "a name that has lost its pods but one: by name",
        make: |n| save(n),
        drain: Some(|n| Change::DeleteService {
            key: format!("a:{n}").into(),
        }),
        probe: |store, _| assert_eq!(store.get_services_by_name("a").unwrap().len(), 1),
    },
    Shape {
        name: "a group that has lost its subscribers but one: subscribers",
        make: |n| subscribe(n, 0),
        drain: Some(unsubscribe),
        probe: |store, _| assert_eq!(store.get_subscribers("g0").unwrap().len(), 1),
    },
    Shape {
        name: "a registry that has lost its services but one: all services",
        make: |n| Change::SaveService(pod(&format!("a{n}"), "0")),
        drain: Some(|n| Change::DeleteService {
            key: format!("a{n}:0").into(),
        }),
        probe: |store, _| assert_eq!(store.get_all_services().unwrap().len(), 1),
    },
    Shape {
        name: "one service, many subscriptions: all services",
        make: |n| if n == 0 { save(0) } else { subscribe(n, n) },
        drain: None,
        probe: |store, _| assert_eq!(store.get_all_services().unwrap().len(), 1),
    },
    Shape {
        name: "many groups, none asked for: subscribers of no group",
        make: |n| subscribe(n, n),
        drain: None,
        probe: |store, _| assert!(store.get_subscribers("none").unwrap().is_empty()),
    },
];

/// The median time of a probe, in nanoseconds.
fn probe(store: &impl RegistryStore, shape: &Shape, n: usize) -> u128 {
    let all = (0..n).map(|number| (shape.make)(number));
    let drained = shape.drain.map(|drain| (1..n).map(drain));
    let changes: Vec<Change> = all.chain(drained.into_iter().flatten()).collect();
    for changes in changes.chunks(AT_ONCE) {
        store.commit(changes.iter().cloned().collect()).unwrap();
    }
    let mut times: Vec<u128> = (0..101)
        .map(|_| {
            let started = Instant::now();
            (shape.probe)(store, n);
            started.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    times[50]
}

/// A table of what the shapes cost; nothing is compared, because one store is
/// known to fall short: see "Limits" in `docs/design.md`.
pub(super) fn what_the_shapes_cost<S: RegistryStore>(name: &str, make: impl Fn() -> S) {
    let _turn = super::turn();
    let (few, many) = (2_000, 200_000);
    for shape in SHAPES {
        let [small, large] = [few, many].map(|n| probe(&make(), shape, n));
        let ratio = large / small.max(1);
        println!(
            "| {name} | {} | {small} ns | {large} ns | {ratio} |",
            shape.name
        );
    }
}
