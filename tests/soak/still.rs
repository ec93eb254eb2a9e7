//! What readers can do while a writer stands still in the middle of its work.
//!
//! The writer is stopped at its first call of the allocator, at its second, and so
//! on until it gets through (`support/heap/standstill.rs`), with whatever locks it
//! holds there. If readers can read meanwhile, at every one of these points, they
//! do not wait for a writer. Nothing here depends on time: readers that can go on
//! have all of `PATIENCE` for it, and readers that cannot, never will.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use service_registry::{Batch, Registry, RegistryStore, ServiceStatus};

use crate::heap::standstill;
use crate::support::{KEY, PATIENCE, at, fill_store, pod, registration, version};
use crate::{Soaked, read_one};

const READERS: usize = 2;
/// How many times each reader shall read everything before the writer goes on.
const ROUNDS: u64 = 2;

type Write<S> = (&'static str, fn(&S));

/// Writes of every kind, on a store as `fill_store` leaves it.
fn writes<S: RegistryStore>() -> [Write<S>; 9] {
    [
        ("save a new record", |s| {
            s.save_service(pod("db", "pod-3")).unwrap();
        }),
        ("replace a record", |s| {
            s.save_service(version("db", "pod-1", 2)).unwrap();
        }),
        ("update a health status", |s| {
            s.update_health_status(KEY, ServiceStatus::Healthy, at(3))
                .unwrap();
        }),
        ("delete a record", |s| s.delete_service("db:pod-2").unwrap()),
        ("register", |s| {
            let pod = registration("db", "pod-1", &["g", "new"]);
            Registry::new(s).register(pod).unwrap();
        }),
        ("unregister", |s| {
            let gone = Registry::new(s).unregister("db", "pod-1").unwrap();
            assert!(gone.is_some());
        }),
        ("commit a batch", |s| {
            let mut batch = Batch::new();
            batch
                .save_service(pod("db", "pod-4"))
                .delete_service("db:pod-2")
                .update_health_status(KEY, ServiceStatus::Unhealthy, at(4))
                .add_subscription("db:pod-4", "g")
                .remove_all_subscriptions(KEY);
            s.commit(batch).unwrap();
        }),
        ("commit a batch that is rejected", |s| {
            let mut batch = Batch::new();
            batch
                .save_service(pod("db", "pod-4"))
                .delete_service("nobody:1");
            s.commit(batch).unwrap_err();
        }),
        ("clear", |s| s.clear().unwrap()),
    ]
}

/// Threads that read everything, over and over, and count.
struct Readers {
    counts: [AtomicU64; READERS],
    end: AtomicBool,
}

impl Readers {
    fn new() -> Readers {
        Readers {
            counts: [const { AtomicU64::new(0) }; READERS],
            end: AtomicBool::new(false),
        }
    }

    fn read<S: Soaked>(&self, store: &S, number: usize) {
        let mut reading = store.reading();
        while !self.end.load(SeqCst) {
            read_one(store, KEY);
            reading(KEY);
            store.get_services_by_name("db").unwrap();
            store.get_all_services().unwrap();
            store.get_subscribers("g").unwrap();
            store.get_subscriber_services("g").unwrap();
            self.counts[number].fetch_add(1, SeqCst);
            // Rather than in the middle of a read, for which an evmap's writer waits.
            thread::sleep(Duration::from_micros(50));
        }
    }

    /// Waits until each of them has read so many times more. Answers how often the
    /// slowest has.
    fn go_on(&self, rounds: u64, patience: Duration) -> u64 {
        let counts = || self.counts.each_ref().map(|count| count.load(SeqCst));
        let (before, end) = (counts(), Instant::now() + patience);
        loop {
            let now = counts();
            let done = before.iter().zip(now).map(|(before, now)| now - before);
            let slowest = done.min().expect("there are readers");
            if slowest >= rounds || Instant::now() > end {
                return slowest;
            }
            thread::sleep(Duration::from_micros(100));
        }
    }
}

/// Ends the readers and lets a stopped writer go, also when a check fails.
struct StopOnDrop<'a>(&'a Readers);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        standstill::let_go();
        self.0.end.store(true, SeqCst);
    }
}

/// Stops a writer everywhere. Answers how many places that were, or at which the
/// readers did not go on, and how often the slowest had read.
pub(crate) fn stop_everywhere<S: Soaked>(
    store: &S,
    patience: Duration,
) -> Result<u64, (&'static str, u64, u64)> {
    let readers = Readers::new();
    let mut places = 0;
    fill_store(store);
    thread::scope(|scope| {
        let _at_last = StopOnDrop(&readers);
        for number in 0..READERS {
            let readers = &readers;
            scope.spawn(move || readers.read(store, number));
        }
        // A thread's first read may wait; here they have all read.
        assert!(readers.go_on(1, PATIENCE) > 0, "no reader reads at all");
        for (name, write) in writes::<S>() {
            for calls in 0.. {
                store.clear().unwrap();
                fill_store(store);
                let writer = scope.spawn(move || standstill::stop_after(calls, || write(store)).1);
                while !standstill::is_reached() && !writer.is_finished() {
                    thread::yield_now();
                }
                if standstill::is_reached() {
                    places += 1;
                    let rounds = readers.go_on(ROUNDS, patience);
                    if rounds < ROUNDS {
                        return Err((name, calls, rounds));
                    }
                }
                standstill::let_go();
                if !writer.join().expect("the write is done") {
                    break;
                }
            }
        }
        Ok(places)
    })
}

fn short_name<S>() -> &'static str {
    let name = std::any::type_name::<S>();
    name.rsplit("::").next().unwrap_or(name)
}

pub(crate) fn beside_a_writer<S: Soaked>(make: fn() -> S) {
    let store = make();
    let name = short_name::<S>();
    if !S::READERS_NEVER_WAIT {
        return;
    }
    match stop_everywhere(&store, PATIENCE) {
        Ok(places) => {
            println!("{name}: readers go on at each of {places} places of a writer");
            assert!(places > 50, "a commit is more than {places} steps");
        }
        Err((write, call, rounds)) => {
            panic!("{name}: {rounds} rounds of reads while `{write}` stands at call {call}")
        }
    }
}

/// A reader stands still inside a read closure, and writers come. What writers can
/// do then, stores differ in; the other readers go on, in those that promise it.
pub(crate) fn beside_a_reader<S: Soaked>(make: fn() -> S) {
    let store = &make();
    if !S::READERS_NEVER_WAIT {
        return;
    }
    fill_store(store);
    let readers = &Readers::new();
    let (committed, commits) = channel();
    let (entered, inside) = channel();
    let (leave, left) = channel::<()>();
    let through = thread::scope(|scope| {
        let _at_last = StopOnDrop(readers);
        for number in 0..READERS {
            scope.spawn(move || readers.read(store, number));
        }
        assert!(readers.go_on(1, PATIENCE) > 0, "no reader reads at all");
        // Moved in, so that the closure ends when this thread is unwound.
        let leave = leave;
        scope.spawn(move || {
            store
                .with_service(KEY, |info| {
                    entered.send(()).unwrap();
                    left.recv().unwrap_err();
                    info.status()
                })
                .unwrap()
        });
        inside.recv().unwrap();
        let writer = scope.spawn(move || {
            for n in 0..20 {
                store.save_service(version("db", "pod-2", n)).unwrap();
                committed.send(n).unwrap();
            }
        });
        // At least this one goes through; the next may be waiting.
        commits
            .recv_timeout(PATIENCE)
            .expect("a commit goes through");
        for _ in 0..5 {
            let rounds = readers.go_on(ROUNDS, PATIENCE);
            assert!(rounds >= ROUNDS, "{rounds} rounds of reads");
        }
        let through = 1 + commits.try_iter().count();
        drop(leave);
        writer.join().unwrap();
        through
    });
    let name = short_name::<S>();
    println!("{name}: readers go on beside one that stands still; {through} commits of 20 did");
}
