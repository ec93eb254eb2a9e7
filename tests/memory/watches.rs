//! Watches that nobody reads cost the bound of the log and no more; watches that have gone
//! leave nothing.
//!
//! At full size (`WATCHED_COMMITS=10000000 WATCHES=1000000`) every store held its bound of 1,048,576
//! bytes beside 1,000 watches and 10,000,000 commits, and not a byte more after 1,000,000 watches than
//! before. The log of `MemoryStore`, and so of `WorkerStore`, keeps a copy of the state, which a watch
//! from a cursor replays.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use service_registry::changes::{Event, LogOptions, Reason, Selection, Watch};
use service_registry::{
    Host, Protocol, Provider, RegistryStore, ServiceInfo, ServiceRegistration, ServiceStatus,
};

use crate::heap::counts;
use crate::support::{at, pod};
use crate::{noise, nudge};

/// Small, so that what goes beyond it shows.
const BYTES: usize = 1 << 20;
const PODS: usize = 100;

fn options(retain: Duration) -> LogOptions {
    LogOptions {
        bytes: BYTES,
        retain,
    }
}

/// So many, or as many as the environment variable `name` asks for.
fn asked(name: &str, otherwise: usize) -> usize {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |given| given.parse().expect(name))
}

fn key(n: usize) -> String {
    format!("s-{}:{n}", n % 10)
}

fn fill(store: &impl RegistryStore) {
    for n in 0..PODS {
        store
            .save_service(pod(&format!("s-{}", n % 10), &n.to_string()))
            .unwrap();
    }
}

/// The `n`th of many commits that each change one record.
fn turn(store: &impl RegistryStore, n: usize) {
    let status = [ServiceStatus::Healthy, ServiceStatus::Unhealthy][n / PODS % 2];
    let moment = at(u64::try_from(n / PODS).unwrap());
    store
        .update_health_status(&key(n % PODS), status, moment)
        .unwrap();
}

/// Watches of everything, of services, of pods and of groups.
fn selection(n: usize) -> Selection {
    match n % 4 {
        0 => Selection::All,
        1 => Selection::service(format!("s-{}", n % 10)),
        2 => Selection::pod(key(n % PODS)),
        _ => Selection::group(format!("g-{n}")),
    }
}

/// Fails unless the process holds less than `most` bytes within a while: a worker drops
/// what it has replaced after it has answered, a period passes with commits.
#[track_caller]
fn settles_below(store: &impl RegistryStore, most: i64, what: &str) {
    for _ in 0..10_000 {
        if counts::live() <= most {
            return;
        }
        nudge(store);
    }
    panic!("{what}: {} bytes more than {most}", counts::live() - most);
}

pub(crate) fn watches_that_are_never_read_cost_the_bound_of_the_log<S: RegistryStore>(
    make: impl Fn(LogOptions) -> S,
) {
    let commits = asked("WATCHED_COMMITS", 20_000);
    let store = make(options(Duration::ZERO));
    fill(&store);
    let empty = counts::live();
    let mut watches: Vec<Watch> = (0..1_000)
        .map(|n| store.watch(selection(n)).unwrap())
        .collect();
    // Half of them have shown their first state, and then nobody asks any more.
    for watch in watches.iter_mut().skip(500) {
        assert!(matches!(watch.recv(), Ok(Event::State { .. })));
    }
    let before = counts::live();
    let bound = i64::try_from(BYTES).unwrap();
    // Records, and then subscriptions, which are the smallest of changes.
    let fills = |what: &str, commit: &dyn Fn(usize)| {
        let mut largest = 0;
        for n in 0..commits / 2 {
            commit(n);
            if n % 100 == 0 {
                largest = largest.max(counts::live() - before);
            }
        }
        println!("{what}: at most {largest} bytes, of {bound}");
        assert!(largest <= bound + noise::<S>(), "{what}: {largest} bytes");
        // There was something to be bounded.
        assert!(largest > bound / 8, "{what}: a log of {largest} bytes");
    };
    fills("records", &|n| turn(&store, n));
    fills("subscriptions", &|_| nudge(&store));
    let behind = watches[999 - 3].recv().unwrap();
    let lagged = Reason::Lagged;
    assert!(matches!(behind, Event::State { reason, .. } if reason == lagged));
    drop(behind);
    drop(watches);
    // Twice, because much has been printed and many threads have run since: a log takes fifty times as much.
    settles_below(&store, empty + 2 * noise::<S>(), "the watches have gone");
}

/// Records that hold more than their texts are long: room that is not used, and the nodes of a
/// map.
pub(crate) fn large_records_cost_the_bound_of_the_log<S: RegistryStore>(
    make: impl Fn(LogOptions) -> S,
) {
    let store = make(options(Duration::ZERO));
    let kinds: [fn(&mut ServiceRegistration, usize); 4] = [
        |own, n| {
            own.metadata = (0..12)
                .map(|at| (format!("k-{at}"), n.to_string()))
                .collect();
        },
        |own, n| {
            own.zone = String::with_capacity(20_000);
            own.zone.push_str(&n.to_string());
        },
        |own, n| {
            own.weight = u32::try_from(n).unwrap();
            own.subscriptions.reserve(1_000);
        },
        |own, n| {
            let host = format!("{}.n{n}", "a".repeat(60));
            let provider = Provider {
                protocol: Protocol::Other("p".repeat(30)),
                host: Host::Name(host),
                port: 1,
            };
            own.providers = vec![provider; 200];
        },
    ];
    for (kind, grow) in kinds.into_iter().enumerate() {
        let save = |n: usize| {
            let mut registration = pod("big", &(n % 10).to_string()).registration().clone();
            grow(&mut registration, n);
            store
                .save_service(ServiceInfo::new(registration).unwrap())
                .unwrap();
        };
        (0..10).for_each(save);
        settled(&store);
        let before = counts::live();
        let watch = store.watch(Selection::All).unwrap();
        let mut largest = 0;
        for n in 10..3_000 {
            save(n);
            if n % 100 == 0 {
                settled(&store);
                largest = largest.max(counts::live() - before);
            }
        }
        let bound = i64::try_from(BYTES).unwrap();
        println!("kind {kind}: at most {largest} bytes, of {bound}");
        assert!(
            largest <= bound + noise::<S>(),
            "kind {kind}: {largest} bytes"
        );
        drop(watch);
        settled(&store);
    }
}

/// The log is that of one topic after the other, each of which is watched to the end.
pub(crate) fn topics_that_were_busy_keep_no_room<S: RegistryStore>(make: impl Fn(LogOptions) -> S) {
    const TOPICS: usize = 24;
    let store = make(options(Duration::ZERO));
    let names: Vec<String> = (0..TOPICS).map(|n| format!("busy-{n}")).collect();
    for name in &names {
        store.save_service(pod(name, "1")).unwrap();
    }
    let watch = |name: &String| store.watch(Selection::service(&**name)).unwrap();
    let watches: Vec<Watch> = names.iter().map(watch).collect();
    settled(&store);
    let before = counts::live();
    for name in &names {
        // Enough to fill the log.
        for n in 0..4_000 {
            let status = [ServiceStatus::Healthy, ServiceStatus::Unhealthy][n % 2];
            let moment = at(u64::try_from(n).unwrap());
            let key = format!("{name}:1");
            store.update_health_status(&key, status, moment).unwrap();
        }
    }
    settled(&store);
    let kept = counts::live() - before;
    let bound = i64::try_from(BYTES).unwrap();
    println!("after {TOPICS} busy topics: {kept} bytes, of {bound}");
    assert!(kept <= bound + noise::<S>(), "{kept} bytes");
    drop(watches);
}

/// A log does not count a record that the store has as well: so the store has to keep that one.
pub(crate) fn a_record_that_says_nothing_new_is_kept_once<S: RegistryStore>(
    make: impl Fn(LogOptions) -> S,
) {
    const RECORDS: usize = 200;
    const SIZE: usize = 2_000;
    let store = make(options(Duration::ZERO));
    let save = |moment| {
        for n in 0..RECORDS {
            let mut registration = pod("big", &n.to_string()).registration().clone();
            registration.zone = "z".repeat(200);
            registration.notification_url = format!("http://{}", "u".repeat(SIZE));
            let big = ServiceInfo::new(registration).unwrap();
            let big = big.with_registered_at(at(0)).unwrap();
            let healthy = ServiceStatus::Healthy;
            store
                .save_service(big.with_health(healthy, at(moment)).unwrap())
                .unwrap();
        }
    };
    let watch = store.watch(Selection::All).unwrap();
    save(1);
    settled(&store);
    let before = counts::live();
    save(2);
    let twice = before + i64::try_from(RECORDS * SIZE / 2).unwrap();
    settles_below(&store, twice, "a newer time");
    drop(watch);
}

pub(crate) fn watches_that_come_and_go_leave_nothing<S: RegistryStore>(
    make: impl Fn(LogOptions) -> S,
) {
    let rounds = asked("WATCHES", 20_000);
    // The log stays between them, and is full before the count begins.
    let store = make(options(Duration::from_secs(3_600)));
    fill(&store);
    let come_and_go = |n: usize| {
        let name = match n % 3 {
            0 => Selection::service(format!("nobody-{n}")),
            1 => Selection::pod(format!("nobody:{n}")),
            _ => selection(n),
        };
        let mut watch = store.watch(name.clone()).unwrap();
        if n.is_multiple_of(2) {
            assert!(matches!(watch.recv(), Ok(Event::State { .. })));
        }
        if n.is_multiple_of(2) {
            turn(&store, n / 2);
            drop(store.watch_from(name, watch.cursor()).unwrap().try_recv());
        }
    };
    let full = 20_000;
    (0..full).for_each(come_and_go);
    let before = counts::live();
    let mut largest = 0;
    for n in full..full + rounds {
        come_and_go(n);
        if n % 100 == 0 {
            largest = largest.max(counts::live() - before);
        }
    }
    // The log is as full as it was.
    println!("{rounds} watches: at most {largest} bytes");
    assert!(largest <= noise::<S>(), "{largest} bytes");
}

pub(crate) fn watches_of_many_threads_leave_nothing<S: RegistryStore + Sync>(
    make: impl Fn(LogOptions) -> S,
) {
    const THREADS: usize = 4;
    let rounds = asked("WATCHES", 20_000) / THREADS;
    let store = make(options(Duration::ZERO));
    fill(&store);
    let run = |rounds: usize| {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let turns = (0..).take_while(|_| !done.load(SeqCst));
                turns.inspect(|n| turn(&store, *n)).count()
            });
            let watchers: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let store = &store;
                    scope.spawn(move || {
                        for n in 0..rounds {
                            let mut watch = store.watch(selection(n + thread)).unwrap();
                            if n % 2 == 0 {
                                drop(watch.recv().unwrap());
                            }
                            if n % 4 == 0 {
                                drop(watch.try_recv().unwrap());
                            }
                        }
                    })
                })
                .collect();
            for watcher in watchers {
                watcher.join().unwrap();
            }
            done.store(true, SeqCst);
            assert!(writer.join().unwrap() > 0);
        });
    };
    run(200);
    settled(&store);
    let before = counts::live();
    run(rounds);
    settles_below(&store, before + noise::<S>(), "the watches have gone");
}

/// Lets go of what waits for its turn to be freed.
fn settled(store: &impl RegistryStore) {
    (0..3_000).for_each(|_| nudge(store));
}

/// Proof that these tests can fail.
#[cfg(feature = "thread-safe")]
mod broken {
    use std::panic::catch_unwind;
    use std::sync::{Mutex, PoisonError};
    use std::time::SystemTime;

    use service_registry::{HealthUpdate, Result, ThreadSafeMemoryStore, delegate_store};

    use super::*;

    /// Keeps a copy of each record that it is asked to save or to update.
    struct Keeps(ThreadSafeMemoryStore, Mutex<Vec<ServiceRegistration>>);

    impl Keeps {
        fn keep(&self, service: &ServiceInfo) {
            let mut kept = self.1.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push(service.registration().clone());
        }
    }

    impl RegistryStore for Keeps {
        delegate_store!(self => self.0; except save_service, update_health_status);

        fn save_service(&self, service: ServiceInfo) -> Result<()> {
            self.keep(&service);
            self.0.save_service(service)
        }
        fn update_health_status(
            &self,
            key: &str,
            status: ServiceStatus,
            checked_at: SystemTime,
        ) -> Result<HealthUpdate> {
            self.keep(&self.0.get_service(key)?);
            self.0.update_health_status(key, status, checked_at)
        }
    }

    type Make = fn(LogOptions) -> Keeps;
    type Test = (&'static str, fn(Make));

    #[test]
    fn a_store_that_keeps_what_it_has_told_is_noticed() {
        let _alone = crate::heap::alone();
        let make: Make =
            |options| Keeps(ThreadSafeMemoryStore::with_log(options), Mutex::default());
        let tests: &[Test] = &[
            (
                "never read",
                watches_that_are_never_read_cost_the_bound_of_the_log,
            ),
            ("nothing new", a_record_that_says_nothing_new_is_kept_once),
            ("large records", large_records_cost_the_bound_of_the_log),
            ("busy topics", topics_that_were_busy_keep_no_room),
            ("come and go", watches_that_come_and_go_leave_nothing),
            ("many threads", watches_of_many_threads_leave_nothing),
        ];
        for (name, test) in tests {
            assert!(catch_unwind(|| test(make)).is_err(), "{name}");
        }
    }
}
