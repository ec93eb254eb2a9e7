//! Calls of several threads to a shared store, and the state that they leave.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use service_registry::{
    Batch, HealthUpdate, MemoryStore, Registry, RegistryStore, Result, ServiceInfo, ServiceStatus,
    StoreError, StoreStats,
};

use crate::support::race::together;
use crate::support::thread_exit::EXIT_HOOKS;
use crate::support::{CALLS, at, fill_store, key, keys, observe, pod, registration, version};

const THREADS: usize = 30;
const OPERATIONS: usize = 100;

// --- 30 threads x 100 operations

/// Does operation `n` of a thread. Each operation changes something, whatever the other threads do.
fn operation(store: &(impl RegistryStore + ?Sized), thread: usize, n: usize) -> Result<()> {
    let service = format!("service-{thread}");
    let key = |n: usize| format!("{service}:{n}");
    let record = |n: usize| pod(&service, &n.to_string());
    match n {
        0..40 => store.save_service(record(n)),
        40..60 => store
            .update_health_status(&key(n - 40), ServiceStatus::Healthy, at(n as u64))
            .map(drop),
        60..75 => store.add_subscription(&key(n - 60), "shared"),
        75..80 => store.remove_subscription(&key(n - 75), "shared"),
        80..85 => store.delete_service(&key(n - 50)),
        85..90 => store.take_service(&key(n - 50)).map(drop),
        90..95 => store.save_service(version(&service, &(n - 90).to_string(), n as u64)),
        _ => {
            let mut batch = Batch::new();
            batch
                .save_service(record(n))
                .add_subscription(&key(n), "shared")
                .add_subscription(&key(n), &service)
                .update_health_status(&key(n - 90), ServiceStatus::Unhealthy, at(n as u64));
            store.commit(batch).map(drop)
        }
    }
}

pub fn three_thousand_operations_end_in_the_exact_state<S: RegistryStore + Sync>(store: &S) {
    together(THREADS, |thread| {
        for n in 0..OPERATIONS {
            operation(store, thread, n).unwrap();
        }
    });
    let expected = MemoryStore::new();
    for thread in 0..THREADS {
        for n in 0..OPERATIONS {
            operation(&expected, thread, n).unwrap();
        }
    }
    let names: Vec<String> = (0..THREADS)
        .map(|thread| format!("service-{thread}"))
        .collect();
    let mut groups: Vec<&str> = names.iter().map(String::as_str).collect();
    groups.push("shared");
    let (mut seen, mut expected) = (observe(store, &groups), observe(&expected, &groups));
    assert_eq!(seen.revision, (THREADS * OPERATIONS) as u64);

    // The subscriptions of each thread are in its own order; those of several threads interleave.
    let shared = seen.groups.remove("shared").unwrap();
    for name in &names {
        let own = |all: &[String]| -> Vec<String> {
            let prefix = format!("{name}:");
            let own = all.iter().filter(|key| key.starts_with(&prefix));
            own.cloned().collect()
        };
        assert_eq!(own(&shared), own(&expected.groups["shared"]));
    }
    assert_eq!(
        shared.len(),
        expected.groups.remove("shared").unwrap().len()
    );
    assert_eq!(seen, expected);
}

pub fn three_thousand_writes_of_one_pod_lose_none<S: RegistryStore + Sync>(store: &S) {
    store.save_service(pod("db", "1")).unwrap();
    let status = |n: usize| match n % 3 {
        0 => ServiceStatus::Healthy,
        1 => ServiceStatus::Unhealthy,
        _ => ServiceStatus::Unknown,
    };
    let updates = together(THREADS, |thread| {
        (0..OPERATIONS)
            .map(|n| {
                let moment = at((thread * OPERATIONS + n) as u64);
                let update = store.update_health_status("db:1", status(n), moment);
                (status(n), update.unwrap())
            })
            .collect::<Vec<_>>()
    });
    // Each written status was replaced once, except the last; so was the initial one. A late check
    // was not written.
    let last = store.get_service("db:1").unwrap();
    let mut written: BTreeMap<ServiceStatus, usize> = BTreeMap::new();
    *written.entry(ServiceStatus::Unknown).or_default() += 1;
    let mut seen: BTreeMap<ServiceStatus, usize> = BTreeMap::new();
    *seen.entry(last.status()).or_default() += 1;
    let mut applied = 0;
    for (status, update) in updates.into_iter().flatten() {
        if let HealthUpdate::Applied { before } = update {
            applied += 1;
            *written.entry(status).or_default() += 1;
            *seen.entry(before).or_default() += 1;
        }
    }
    assert_eq!(seen, written);
    assert_eq!(store.revision().as_u64(), 1 + applied);
    // The check with the latest time was never late.
    let latest = THREADS * OPERATIONS - 1;
    assert_eq!(last.last_health_check(), Some(at(latest as u64)));
    assert_eq!(last.status(), status(OPERATIONS - 1));
}

pub fn every_commit_has_a_revision_of_its_own<S: RegistryStore + Sync>(store: &S) {
    store.save_service(pod("db", "1")).unwrap();
    let revisions = together(THREADS, |thread| {
        let mut own = Vec::new();
        for n in 0..OPERATIONS {
            let mark = (thread * OPERATIONS + n) as u64;
            let mut batch = Batch::new();
            batch
                .save_service(version("db", "1", mark))
                .add_subscription(&format!("web:{mark}"), "db");
            own.push((store.commit(batch).unwrap().as_u64(), mark));
        }
        assert!(own.is_sorted(), "a thread's commits went backwards");
        own
    });
    let marks: BTreeMap<u64, u64> = revisions.into_iter().flatten().collect();
    let all: Vec<u64> = marks.keys().copied().collect();
    assert_eq!(all, (2..=3001).collect::<Vec<_>>());
    assert_eq!(store.revision().as_u64(), 3001);
    // The revisions give the order of the commits.
    let last = store.get_service("db:1").unwrap();
    assert_eq!(last, version("db", "1", marks[&3001]));
    assert_eq!(last.revision().as_u64(), 3001);
    assert_eq!(last.incarnation().as_u64(), 1);
    let order: Vec<_> = marks
        .values()
        .map(|mark| key(&format!("web:{mark}")))
        .collect();
    assert_eq!(store.get_subscribers("db"), Ok(order));
}

// --- exactly one

pub fn one_thread_of_thirty_is_told_that_the_status_changed<S: RegistryStore + Sync>(store: &S) {
    let registry = Registry::new(store);
    registry.register(registration("db", "1", &[])).unwrap();
    for round in 0..30 {
        let status = [ServiceStatus::Healthy, ServiceStatus::Unhealthy][round % 2];
        let told = together(THREADS, |_| {
            registry.update_health_status("db:1", status).unwrap()
        });
        let changed = told.iter().filter(|changed| **changed).count();
        assert_eq!(changed, 1, "{changed} threads were told of one change");
    }
}

pub fn one_thread_of_thirty_takes_a_pod_away<S: RegistryStore + Sync>(store: &S) {
    let registry = Registry::new(store);
    for _ in 0..20 {
        let pod = registry
            .register(registration("db", "1", &["g", "h"]))
            .unwrap();
        let taken = together(THREADS, |_| registry.unregister("db", "1").unwrap());
        assert_eq!(taken.into_iter().flatten().collect::<Vec<_>>(), [pod]);
        assert_eq!(registry.stats(), Ok(StoreStats::default()));
    }
}

pub fn a_pod_registered_by_thirty_threads_is_of_one_piece<S: RegistryStore + Sync>(store: &S) {
    let registry = Registry::new(store);
    let names: Vec<String> = (0..THREADS)
        .map(|thread| format!("group-{thread}"))
        .collect();
    let groups: Vec<&str> = names.iter().map(String::as_str).collect();
    for _ in 0..10 {
        together(THREADS, |thread| {
            let own = [groups[thread], groups[(thread + 1) % THREADS]];
            registry.register(registration("db", "1", &own)).unwrap();
        });
        let seen = observe(store, &groups);
        let subscribed: BTreeSet<_> = seen.groups.keys().collect();
        let asked: BTreeSet<_> = seen.services["db:1"].subscriptions().iter().collect();
        assert_eq!(subscribed, asked);
    }
}

// --- subscriptions

pub fn adding_races_with_removing_all<S: RegistryStore + Sync>(store: &S) {
    let groups: Vec<String> = (0..16).map(|n| format!("group-{n}")).collect();
    let names: Vec<&str> = groups.iter().map(String::as_str).collect();
    for round in 0..150 {
        let subscriber = format!("web:{round}");
        let (one, other) = names.split_at(8);
        together(3, |thread| match thread {
            0 => one
                .iter()
                .for_each(|group| store.add_subscription(&subscriber, group).unwrap()),
            1 => other
                .iter()
                .for_each(|group| store.add_subscription(&subscriber, group).unwrap()),
            _ => {
                for _ in 0..=round % 3 {
                    store.remove_all_subscriptions(&subscriber).unwrap();
                }
            }
        });
        // Both indexes agree: `observe` compares the groups with the count.
        let seen = observe(store, &names);
        // `remove_all` is atomic: of the subscriptions of a thread, those before it are gone, and
        // those after it are there.
        for added in [one, other] {
            let there: Vec<bool> = added
                .iter()
                .map(|group| seen.groups.contains_key(*group))
                .collect();
            assert!(there.is_sorted(), "an update was lost: {there:?}");
        }
        // A subscription in the group is also in the index of its subscriber, ...
        store.remove_all_subscriptions(&subscriber).unwrap();
        let seen = observe(store, &names);
        assert!(seen.groups.is_empty(), "an orphan: {:?}", seen.groups);
        // ... and vice versa.
        for group in &names {
            store.add_subscription(&subscriber, group).unwrap();
            assert_eq!(
                store.get_subscribers(group).unwrap(),
                [subscriber.as_str()],
                "an orphan was taken for a subscription"
            );
        }
        store.remove_all_subscriptions(&subscriber).unwrap();
    }
}

pub fn adding_races_with_removing<S: RegistryStore + Sync>(store: &S) {
    let groups = ["g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7"];
    for round in 0..150 {
        together(3, |thread| {
            for group in groups {
                match (thread, round % 2) {
                    (0, _) => store.add_subscription("web:1", group).unwrap(),
                    (1, 0) => store.remove_all_subscriptions("web:1").unwrap(),
                    _ => store.remove_subscription("web:1", group).unwrap(),
                }
            }
        });
        // `observe` compares the groups with the count.
        let there = observe(store, &groups).groups;
        for group in groups {
            store.remove_subscription("web:1", group).unwrap();
        }
        assert!(observe(store, &groups).groups.is_empty(), "{there:?}");
        for group in groups {
            store.add_subscription("web:1", group).unwrap();
        }
        let all = observe(store, &groups).groups;
        assert_eq!(
            all.len(),
            groups.len(),
            "an orphan was taken for a subscription"
        );
        store.remove_all_subscriptions("web:1").unwrap();
    }
}

pub fn adding_races_with_unregistering<S: RegistryStore + Sync>(store: &S) {
    let registry = Registry::new(store);
    let names = ["g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7"];
    for _ in 0..150 {
        registry.register(registration("web", "1", &[])).unwrap();
        together(2, |thread| {
            if thread == 0 {
                for group in names {
                    store.add_subscription("web:1", group).unwrap();
                }
            } else {
                assert!(registry.unregister("web", "1").unwrap().is_some());
            }
        });
        let seen = observe(store, &names);
        let there = names.map(|group| seen.groups.contains_key(group));
        assert!(there.is_sorted(), "an update was lost: {there:?}");
        store.remove_all_subscriptions("web:1").unwrap();
        assert_eq!(store.stats(), Ok(StoreStats::default()), "an orphan");
    }
}

pub fn thirty_threads_fill_one_group<S: RegistryStore + Sync>(store: &S) {
    together(THREADS, |thread| {
        for n in 0..OPERATIONS {
            store
                .add_subscription(&format!("t{thread}:{n}"), "g")
                .unwrap();
        }
    });
    let group = observe(store, &["g"]).groups["g"].clone();
    assert_eq!(group.len(), THREADS * OPERATIONS, "an update was lost");
    for thread in 0..THREADS {
        let prefix = format!("t{thread}:");
        let own: Vec<_> = group
            .iter()
            .filter_map(|key| key.strip_prefix(&*prefix))
            .collect();
        let expected: Vec<String> = (0..OPERATIONS).map(|n| n.to_string()).collect();
        assert_eq!(own, expected, "the order of subscription");
    }
}

pub fn the_last_to_leave_meets_the_first_to_come<S: RegistryStore + Sync>(store: &S) {
    // A group and a name that repeatedly become empty are dropped and created again by different
    // threads.
    together(4, |thread| {
        let name = thread.to_string();
        let key = format!("web:{thread}");
        for _ in 0..300 {
            store.add_subscription(&key, "g").unwrap();
            let there = store.get_subscribers("g").unwrap();
            assert!(there.iter().any(|k| **k == *key), "an update was lost");
            store.save_service(pod("web", &name)).unwrap();
            let there = store.get_services_by_name("web").unwrap();
            assert!(keys(&there).contains(&&*key), "an update was lost");

            store.remove_subscription(&key, "g").unwrap();
            let there = store.get_subscribers("g").unwrap();
            assert!(!there.iter().any(|k| **k == *key), "a ghost");
            store.delete_service(&key).unwrap();
            let there = store.get_services_by_name("web").unwrap();
            assert!(!keys(&there).contains(&&*key), "a ghost");
        }
    });
    let left = observe(store, &["g"]);
    assert!(left.services.is_empty() && left.groups.is_empty());
}

// --- closing

pub fn closing_among_thirty_threads_hangs_nobody<S: RegistryStore + Sync>(make: impl Fn() -> S) {
    for round in 0..20_u64 {
        let store = make();
        store.save_service(pod("db", "1")).unwrap();
        let accepted = AtomicU64::new(1);
        let start = Barrier::new(THREADS + 1);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (store, accepted, start) = (&store, &accepted, &start);
                scope.spawn(move || {
                    start.wait();
                    let mut closed = false;
                    for n in 0_u64.. {
                        let writes = n % 2 == 0;
                        let answer = match n % 6 {
                            0 => store.save_service(pod(&format!("s{thread}"), &n.to_string())),
                            1 => store.get_service("db:1").map(drop),
                            2 => store.add_subscription(&format!("s{thread}:{n}"), "g"),
                            3 => store.get_all_services().map(drop),
                            4 => {
                                let mut batch = Batch::new();
                                batch.save_service(pod(&format!("b{thread}"), &n.to_string()));
                                store.commit(batch).map(drop)
                            }
                            _ => store.with_service("db:1", |_| ()),
                        };
                        match answer {
                            Ok(()) => {
                                assert!(!closed, "a closed store came back");
                                accepted.fetch_add(u64::from(writes), SeqCst);
                            }
                            // A closed store stays closed.
                            Err(StoreError::Closed) if closed => break,
                            Err(StoreError::Closed) => closed = true,
                            Err(other) => panic!("neither done nor closed: {other}"),
                        }
                    }
                });
            }
            start.wait();
            thread::sleep(Duration::from_micros(200 * (round % 5)));
            assert_eq!(store.close(), Ok(()));
            assert_eq!(store.ping(), Err(StoreError::Closed));
        });
        // Each write that returned `Ok` has happened, and no refused write has: each write is a
        // commit that changes something.
        assert_eq!(
            store.revision().as_u64(),
            accepted.into_inner(),
            "writes that were done, and writes that were accepted"
        );
    }
}

pub fn thirty_threads_may_close_at_once<S: RegistryStore + Sync>(make: impl Fn() -> S) {
    for _ in 0..10 {
        let store = make();
        fill_store(&store);
        let last = store.revision();
        together(THREADS, |_| {
            assert_eq!(store.close(), Ok(()));
            for (name, call) in CALLS {
                assert_eq!(call(&store), Err(StoreError::Closed), "{name}");
            }
            assert_eq!(store.revision(), last);
        });
    }
}

// --- closures

pub fn panics_in_many_threads_leave_the_store_usable<S: RegistryStore + Sync>(store: &S) {
    store.save_service(pod("db", "1")).unwrap();
    together(8, |thread| {
        for n in 0..50 {
            if thread % 2 == 0 {
                let panicked = catch_unwind(AssertUnwindSafe(|| {
                    store.with_service("db:1", |_| resume_unwind(Box::new("on purpose")))
                }));
                assert!(panicked.is_err());
            }
            store
                .save_service(pod("x", &format!("{thread}-{n}")))
                .unwrap();
        }
    });
    assert_eq!(observe(store, &[]).services.len(), 1 + 8 * 50);
    assert_eq!(store.revision().as_u64(), 1 + 8 * 50);
}

pub fn a_call_from_inside_passes_a_waiting_writer<S: RegistryStore + Sync>(store: &S) {
    // A reader-writer lock that blocks readers behind a waiting writer deadlocks here, unless the
    // store prevents it.
    fill_store(store);
    for (name, call) in CALLS {
        let barrier = Barrier::new(2);
        let saved = pod("writer", name);
        thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                store.save_service(saved).unwrap();
            });
            let answer = store.with_service("db:pod-2", |_| {
                barrier.wait();
                // Gives the writer time to start waiting.
                thread::sleep(Duration::from_millis(2));
                let first = call(store);
                let _second = store.get_service("db:pod-2");
                first
            });
            // A `clear` from inside may have succeeded: then `db:pod-2` is gone.
            match answer {
                Ok(Ok(()) | Err(StoreError::Reentrant | StoreError::NotFound(_))) => {}
                other => panic!("{name}: {other:?}"),
            }
        });
        store.clear().unwrap();
        fill_store(store);
    }
}

pub fn every_thread_has_closures_of_its_own<S: RegistryStore + Sync>(store: &S) {
    // This thread being inside a closure must not affect the other thread.
    store.save_service(pod("db", "1")).unwrap();
    store
        .with_service("db:1", |_| {
            thread::scope(|scope| {
                let other = scope.spawn(|| {
                    let found = store.with_service("db:1", ServiceInfo::clone);
                    assert_eq!(found, Ok(pod("db", "1")));
                    store.get_service("db:1").unwrap();
                    store.stats().unwrap();
                });
                other.join().unwrap();
            });
        })
        .unwrap();
}

// --- the end of a thread

pub fn a_store_works_while_a_thread_ends<S: RegistryStore + Send + Sync + 'static>(
    make: impl Fn() -> S,
) {
    let store = Arc::new(make());
    store.save_service(pod("db", "1")).unwrap();
    let said = Arc::new(AtomicU64::new(0));
    for warm in [false, true] {
        let (store, said) = (store.clone(), said.clone());
        thread::spawn(move || {
            // Destructors of thread locals run before or after those that the store has created on
            // this thread.
            if warm {
                store.get_service("db:1").unwrap();
            }
            let last_words = {
                let store = store.clone();
                move || {
                    let key = format!("db:late-{warm}");
                    store.get_service("db:1").unwrap();
                    store.with_service("db:1", |_| ()).unwrap();
                    store
                        .save_service(pod("db", &format!("late-{warm}")))
                        .unwrap();
                    store.delete_service(&key).unwrap();
                    said.fetch_add(1, SeqCst);
                }
            };
            EXIT_HOOKS.with(|hooks| hooks.push(last_words));
            store.get_service("db:1").unwrap();
        })
        .join()
        .unwrap();
    }
    assert_eq!(said.load(SeqCst), 2);
    assert_eq!(store.stats(), Ok(StoreStats::new(1, 0)));
}

pub fn a_store_may_move_between_threads<S: RegistryStore + Send + 'static>(make: impl Fn() -> S) {
    let store = make();
    store.save_service(pod("db", "1")).unwrap();
    let store = thread::spawn(move || {
        store.save_service(pod("db", "2")).unwrap();
        store
    })
    .join()
    .unwrap();
    assert_eq!(store.stats(), Ok(StoreStats::new(2, 0)));
    drop(store);
}
