//! Contenders do their operations and keep their promises, and wrong contenders are found.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use service_registry::{
    Batch, EvmapStore, MemoryStore, ServiceStatus, SnapshotStore, ThreadSafeMemoryStore,
    VersionedStore, WorkerStore,
};
use service_registry_lab::contender::bare::{
    Concread, Dash, Hasher, Key, LockedMap, Map, Papaya, PersistentMap, SccIndex, SccMap,
    SkipListMap,
};
use service_registry_lab::contender::dash_registry::DashRegistry;
use service_registry_lab::contender::{
    Contender, StoreSubject, evmap::Evmap, floor::Floor, go::GoRegistry, info,
};
use service_registry_lab::fleet::{Fleet, first_check, later};
use service_registry_lab::model::{ContenderKind, Unit};
use service_registry_lab::scenario::{Cell, FleetSize, Op, Orchestration};
use service_registry_lab::subject::{Handle, NewPod, Pod, SharedSubject, Subject};

const FLEET: Fleet =
    Fleet(FleetSize { services: 100, pods_per_name: 10, subscribers_per_group: 20 });

fn filled<S: Subject>() -> S {
    let mut subject = S::create(7);
    subject.fill(&mut (0..FLEET.0.services).map(|pod| FLEET.record(pod)));
    subject
}

/// Checks the operations of a map.
fn is_a_map<S: Subject>() {
    let mut subject = filled::<S>();
    let mut handle = subject.alone();
    assert_eq!(handle.pods(), 100);
    for pod in 0..100 {
        let key = FLEET.key(pod);
        assert_eq!(handle.with(&key), Some(ServiceStatus::Healthy));
        assert!(handle.get(&key) && handle.checked_at(&key) == Some(first_check(pod)));
        let absent = FLEET.absent_key(pod);
        assert_eq!(handle.with(&absent), None);
        assert!(!handle.get(&absent));
        assert!(!handle.update(&absent, ServiceStatus::Healthy, later(1)));
        assert!(!handle.remove(&absent));
    }
    let (one, other) = (FLEET.key(3), FLEET.key(4));
    assert!(handle.update(&one, ServiceStatus::Unhealthy, later(9)));
    assert_eq!(handle.with(&one), Some(ServiceStatus::Unhealthy));
    assert_eq!(handle.checked_at(&one), Some(later(9)));
    assert_eq!(handle.checked_at(&other), Some(first_check(4)));
    let new = NewPod::new(FLEET.record(500));
    assert!(handle.insert(&new) && handle.pods() == 101 && handle.get(&new.key));
    assert!(handle.remove(&new.key) && handle.pods() == 100 && !handle.get(&new.key));
}

/// Checks the further operations of a registry.
fn is_a_registry<S: Subject>() {
    is_a_map::<S>();
    let mut subject = filled::<S>();
    let mut handle = subject.alone();
    let (name, group) = (FLEET.name(0), FLEET.name(10));
    assert_eq!((handle.scan(), handle.by_name(&name)), (100, 10));
    assert_eq!((handle.by_name("nobody"), handle.subscribers("nobody")), (0, 0));
    assert_eq!(handle.subscribers(&group), 20);
    assert!(handle.subscribe("someone:else", &group) && handle.subscribers(&group) == 21);
    assert!(handle.unsubscribe("someone:else", &group) && handle.subscribers(&group) == 20);
    let checked = FLEET.record(1).with_health(ServiceStatus::Healthy, later(3));
    assert!(handle.replace(checked.unwrap()));
    assert_eq!((handle.checked_at(&FLEET.key(1)), handle.pods()), (Some(later(3)), 100));
    let new = NewPod::new(FLEET.record(5).with_registered_at(later(1)).unwrap());
    assert!(handle.remove(&new.key) && handle.by_name(&name) == 9 && handle.scan() == 99);
    assert!(handle.insert(&new) && handle.by_name(&name) == 10);
    let mut batch = Batch::new();
    batch.update_health_status(&FLEET.key(2), ServiceStatus::Healthy, later(4));
    batch.delete_service(&FLEET.key(6)).save_service(FLEET.record(100));
    batch.add_subscription("someone:else", &group);
    batch.remove_subscription(&FLEET.key(0), &FLEET.groups(0)[0]);
    assert!(handle.commit(batch));
    assert_eq!(handle.checked_at(&FLEET.key(2)), Some(later(4)));
    assert_eq!((handle.by_name(&name), handle.pods()), (9, 100));
    assert!(handle.get(&FLEET.key(100)));
}

/// Checks the promises to readers while others write: a pod is never missing while it is changed,
/// whether by key, by name or in a scan; no update is lost; and no reader sees a part of an atomic
/// batch.
fn keeps_its_promises<S: SharedSubject>(registry: bool, atomic: bool) {
    let subject = filled::<S>();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let write = |thread: usize| {
            let mut handle = subject.handle();
            for round in 1..=200 {
                let pods = (thread..100).step_by(2);
                if atomic && round % 2 == 0 {
                    let mut batch = Batch::new();
                    for key in pods.map(|pod| FLEET.key(pod)) {
                        batch.update_health_status(&key, ServiceStatus::Healthy, later(round));
                    }
                    assert!(handle.commit(batch));
                } else {
                    // Updates the last pod first. So the first pod is newer than the last only if a
                    // reader sees part of a batch.
                    for key in pods.rev().map(|pod| FLEET.key(pod)) {
                        assert!(handle.update(&key, ServiceStatus::Healthy, later(round)), "{key}");
                    }
                }
                // A pod that comes and goes disturbs no reader.
                let new = NewPod::new(FLEET.record(1_000 + thread));
                assert!(handle.insert(&new) && handle.remove(&new.key));
            }
        };
        let writers = [0, 1].map(|thread| scope.spawn(move || write(thread)));
        scope.spawn(|| {
            let mut handle = subject.handle();
            let name = FLEET.name(50);
            while !done.load(Relaxed) {
                for pod in 0..100 {
                    let store = std::any::type_name::<S>();
                    assert!(handle.with(&FLEET.key(pod)).is_some(), "pod {pod} of {store} is gone");
                }
                if atomic {
                    let [first, last] = [0, 98].map(|pod| handle.checked_at(&FLEET.key(pod)));
                    assert!(first <= last, "half of a batch was seen");
                }
                if registry {
                    assert_eq!(handle.by_name(&name), 10);
                    assert!((100..=102).contains(&handle.scan()));
                }
            }
        });
        let writers = writers.map(thread::ScopedJoinHandle::join);
        done.store(true, Relaxed);
        assert!(writers.into_iter().all(|writer| writer.is_ok()));
    });
    let mut handle = subject.handle();
    assert_eq!(handle.pods(), 100);
    for pod in 0..100 {
        assert_eq!(handle.checked_at(&FLEET.key(pod)), Some(later(200)), "pod {pod}");
    }
}

#[test]
fn maps_are_maps() {
    fn check<S: SharedSubject>() {
        is_a_map::<S>();
        keeps_its_promises::<S>(false, false);
    }
    is_a_map::<Floor>();
    // Replacing a value makes it vanish for a moment.
    is_a_map::<SkipListMap>();
    check::<LockedMap>();
    check::<Dash>();
    check::<Papaya>();
    check::<SccIndex>();
    check::<SccMap>();
    check::<Evmap>();
    check::<PersistentMap>();
    check::<Concread>();
}

#[test]
fn registries_are_registries() {
    fn check<S: SharedSubject>(atomic: bool) {
        is_a_registry::<S>();
        keeps_its_promises::<S>(true, atomic);
    }
    is_a_registry::<StoreSubject<MemoryStore>>();
    check::<StoreSubject<ThreadSafeMemoryStore>>(true);
    check::<StoreSubject<EvmapStore>>(true);
    check::<StoreSubject<SnapshotStore>>(true);
    check::<StoreSubject<VersionedStore>>(true);
    check::<StoreSubject<WorkerStore>>(true);
    check::<GoRegistry>(true);
    check::<DashRegistry>(false);
}

/// A map with a fault; a counter, and the time of its creation.
struct Wrong<const WHAT: u8>(Dash, AtomicU32, Instant);

const LOSES: u8 = 0;
const FINDS_NOTHING: u8 = 1;
const INVENTS: u8 = 2;
const PANICS: u8 = 3;
const STALLS: u8 = 4;

impl<const WHAT: u8> Map for Wrong<WHAT> {
    fn empty(hasher: Hasher) -> Self {
        Wrong(Map::empty(hasher), AtomicU32::new(0), Instant::now())
    }
    fn read<R>(&self, key: &str, read: impl Fn(&Pod) -> R) -> Option<R> {
        match WHAT {
            FINDS_NOTHING => None,
            INVENTS => Map::read(&self.0, &FLEET.key(0), read),
            PANICS => panic!("as it was told"),
            // Now and then, for 50 ms.
            STALLS if self.2.elapsed().as_millis() / 400 > self.1.load(Relaxed).into() => {
                self.1.fetch_add(1, Relaxed);
                thread::sleep(Duration::from_millis(50));
                Map::read(&self.0, key, read)
            }
            _ => Map::read(&self.0, key, read),
        }
    }
    fn update(&self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        // Silently loses every tenth update.
        (WHAT == LOSES && self.1.fetch_add(1, Relaxed) % 10 == 9)
            || Map::update(&self.0, key, status, at)
    }
    fn put(&self, key: Key, pod: Pod) -> bool {
        self.0.put(key, pod)
    }
    fn take(&self, key: &str) -> bool {
        self.0.take(key)
    }
    fn count(&self) -> usize {
        self.0.count()
    }
}

/// Runs an operation on a subject for ten slices. Returns the result.
fn outcome<S: SharedSubject>(op: Op, threads: usize) -> Result<(), String> {
    let contender = Contender::shared::<S>(info("wrong", "wrong", "", ContenderKind::Outside));
    let cell = Cell { holds: FLEET.0, mix: vec![(op, 1)], threads, ..Cell::default() };
    let run = || {
        let mut stage = contender.open(&cell, 1)?;
        for _ in 0..10 {
            stage.slice(Duration::from_millis(5))?;
        }
        stage.finish()
    };
    run().map_err(|fault| fault.to_string())
}

#[test]
fn wrong_answers_are_found() {
    for threads in [1, 2] {
        for op in [Op::With, Op::Get, Op::Miss, Op::Update] {
            assert_eq!(outcome::<StoreSubject<ThreadSafeMemoryStore>>(op, threads), Ok(()));
        }
        for (found, words) in [
            (outcome::<Wrong<LOSES>>(Op::Update, threads), "is not what was put there last"),
            (outcome::<Wrong<FINDS_NOTHING>>(Op::With, threads), "wrong answers"),
            (outcome::<Wrong<INVENTS>>(Op::Miss, threads), "wrong answers"),
            (outcome::<Wrong<INVENTS>>(Op::With, threads), "is not what was put there last"),
            (outcome::<Wrong<PANICS>>(Op::With, 2), "a thread panicked: as it was told"),
        ] {
            assert!(found.clone().is_err_and(|fault| fault.contains(words)), "{found:?}: {words}");
        }
    }
}

#[test]
fn a_stall_shows_in_the_latency_and_not_in_the_median() {
    let figures = |orchestration, metric| {
        let contender =
            Contender::shared::<Wrong<STALLS>>(info("stalls", "", "", ContenderKind::Outside));
        let metrics = vec![(metric, Unit::Ns)];
        let mix = vec![(Op::With, 1)];
        let cell = Cell { holds: FLEET.0, mix, orchestration, metrics, ..Cell::default() };
        let mut stage = contender.open(&cell, 1).unwrap();
        let slices = (0..20).map(|_| stage.slice(Duration::from_millis(60)).unwrap()[0]);
        slices.collect::<Vec<f64>>()
    };
    let mut times = figures(Orchestration::Sustained, "time");
    times.sort_unstable_by(f64::total_cmp);
    let tail = figures(Orchestration::OpenLoop { rate: 20_000 }, "p99");
    assert!(times[10] < 1e6 && tail[19] > 1e7, "time {}, tail {}", times[10], tail[19]);
}

#[test]
fn what_cannot_be_shared_is_refused() {
    let alone =
        Contender::alone::<StoreSubject<MemoryStore>>(info("m", "m", "", ContenderKind::Ours));
    let cell = |threads| Cell { threads, ..Cell::default() };
    assert!(alone.open(&cell(1), 1).is_ok());
    let refused = alone.open(&cell(2), 1).err().expect("two threads");
    assert_eq!(refused.0, "m: cannot be shared between threads");
}
