//! Thirty threads that do everything there is, for as long as one likes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use service_registry::{
    Batch, Change, Registry, ServiceInfo, ServiceKey, ServiceStatus, StoreError, StoreStats,
};

use crate::heap::counts;
use crate::level::{self, ALLOWANCE, ALLOWANCE_OF_THE_PROCESS, Sample};
use crate::support::dice::Dice;
use crate::support::model::{Answer, Model, Operation, ask, expect};
use crate::support::{ObservedState, PATIENCE, at, observe, pod, registration, version};
use crate::waits::{Waits, can_be_counted};
use crate::{READS, Soaked, read_one};

/// Do every operation, to keys of their own, and know what comes of it.
const WRITERS: usize = 6;
/// Register and unregister as fast as they can.
const FLOODERS: usize = 4;
/// Read single records, and are counted.
const READERS: usize = 16;
/// Read everything.
const SCANNERS: usize = 3;
/// Holds what it has read for seconds.
const SLOW: usize = 1;

const THREADS: usize = WRITERS + FLOODERS + READERS + SCANNERS + SLOW;
const _: () = assert!(THREADS == 30);

/// The records that readers read; flooders update their health.
const READ: usize = 16;
/// How many pods of a flooder are registered at a time.
const WINDOW: usize = 32;
/// How many rounds of `read_one` a block has.
const BLOCK: usize = 20;

pub(crate) const UNCOUNTED: &str = "no block of reads could be looked at";

pub(crate) struct Plan {
    whole: Duration,
    /// At the end of each the state is compared, and the store cleared.
    rounds: u32,
    /// How long the slow reader holds what it has.
    hold: Duration,
    /// Whether memory is to level off; that takes a while.
    is_judged: bool,
}

impl Plan {
    pub(crate) fn of(seconds: u64) -> Plan {
        let whole = Duration::from_secs(seconds);
        Plan {
            whole,
            rounds: 6,
            hold: Duration::from_secs(3).min(whole / 12),
            is_judged: true,
        }
    }

    /// How long it may take before it counts as a deadlock.
    pub(crate) fn patience(&self) -> Duration {
        self.whole * 3 + 2 * PATIENCE
    }

    pub(crate) fn moment() -> Plan {
        Plan {
            whole: Duration::from_millis(400),
            rounds: 2,
            hold: Duration::from_millis(100),
            is_judged: false,
        }
    }
}

/// What all threads share.
struct Soak<'a, S> {
    store: &'a S,
    /// The round that is under way; it ends when the number changes.
    round: AtomicUsize,
    rounds: usize,
    /// How many writing threads have come to a meeting, of all that there were.
    met: AtomicUsize,
    over: AtomicBool,
    failed: AtomicBool,
    expected: Mutex<ObservedState>,
    writes: AtomicU64,
    hold: Duration,
}

/// Tells the others when this thread panics.
struct StopOnPanic<'a>(&'a AtomicBool);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, SeqCst);
        }
    }
}

fn empty() -> ObservedState {
    ObservedState {
        services: BTreeMap::new(),
        groups: BTreeMap::new(),
        revision: 0,
    }
}

fn writers_groups(writer: usize) -> [String; 3] {
    ["g", "h", "a"].map(|group| format!("w{writer}-{group}"))
}

fn flooders_group(flooder: usize) -> String {
    format!("flood-{flooder}-group")
}

/// All that may have subscribers.
pub(crate) fn groups() -> Vec<String> {
    let of_writers = (0..WRITERS).flat_map(writers_groups);
    of_writers
        .chain((0..FLOODERS).map(flooders_group))
        .collect()
}

fn key_to_read(n: usize) -> String {
    format!("read:{}", n % READ)
}

impl<S: Soaked> Soak<'_, S> {
    /// Tells the others when `work` panics.
    fn watched<R>(&self, work: impl FnOnce() -> R) -> R {
        let _stop_on_panic = StopOnPanic(&self.failed);
        work()
    }

    fn goes_on(&self) -> bool {
        !self.over.load(SeqCst) && !self.failed.load(SeqCst)
    }

    /// Waits for the other writing threads. Answers whether this is the last.
    fn meet(&self) -> bool {
        let number = self.met.fetch_add(1, SeqCst) + 1;
        let all = number.next_multiple_of(WRITERS + FLOODERS);
        while self.met.load(SeqCst) < all {
            assert!(!self.failed.load(SeqCst), "another thread has failed");
            thread::sleep(Duration::from_millis(1));
        }
        number == all
    }

    /// The rounds of a writing thread, which does `step` over and over, and tells
    /// at the end of each what it expects to be there.
    fn rounds<W>(
        &self,
        mut begin: impl FnMut(&mut W),
        mut step: impl FnMut(&mut W),
        mut end: impl FnMut(&mut W, &mut ObservedState),
        mut writer: W,
    ) {
        for round in 0..self.rounds {
            begin(&mut writer);
            loop {
                step(&mut writer);
                self.writes.fetch_add(1, SeqCst);
                if self.round.load(SeqCst) != round || self.failed.load(SeqCst) {
                    break;
                }
            }
            {
                let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
                end(&mut writer, &mut expected);
            }
            if self.meet() {
                self.compare_and_clear();
            }
            self.meet();
        }
    }

    /// Nobody writes meanwhile.
    fn compare_and_clear(&self) {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let groups = groups();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let state = observe(self.store, &groups);
        assert!(state.revision > expected.revision);
        expected.revision = state.revision;
        assert_eq!(state.services.len(), expected.services.len());
        assert!(state == *expected, "the state is not the one of the models");
        self.store.clear().unwrap();
        *expected = ObservedState {
            revision: state.revision + 1,
            ..empty()
        };
        assert_eq!(observe(self.store, &groups), *expected);
    }

    /// Every operation that concerns the writer's own keys, and its exact answer.
    fn write(&self, number: usize) {
        let store = self.store;
        self.rounds(
            |(_, model): &mut (Dice, Model)| *model = Model::default(),
            |(dice, model)| {
                let operation = operation(dice, number);
                let answer = ask(&store, &operation);
                let mut expected = expect(model, &operation, &answer, |key| {
                    store.get_service(key).ok()?.last_health_check()
                });
                if let (Ok(Answer::Revision(_)), Ok(expected)) = (&answer, &mut expected)
                    && matches!(expected, Answer::Revision(_))
                {
                    // The others count as well.
                    return;
                }
                assert_eq!(answer, expected, "{operation:?}");
            },
            |(_, model), expected| {
                let ObservedState {
                    services, groups, ..
                } = model.state();
                expected.services.extend(services);
                expected.groups.extend(groups);
            },
            (Dice::new(number as u64), Model::default()),
        );
    }

    fn flood(&self, number: usize) {
        struct Flood {
            next: usize,
            registered: VecDeque<ServiceInfo>,
            read: BTreeMap<String, ServiceInfo>,
        }
        let store = self.store;
        let registry = Registry::new(store);
        let service = format!("flood-{number}");
        let group = flooders_group(number);
        self.rounds(
            |flood: &mut Flood| {
                flood.registered.clear();
                for n in (number..READ).step_by(FLOODERS) {
                    let record = pod("read", &n.to_string());
                    store.save_service(record.clone()).unwrap();
                    flood.read.insert(key_to_read(n), record);
                }
            },
            |flood| {
                let n = flood.next;
                flood.next += 1;
                let wanted = registration(&service, &n.to_string(), &[&group]);
                flood
                    .registered
                    .push_back(registry.register(wanted).unwrap());
                if flood.registered.len() > WINDOW {
                    let oldest = flood.registered.pop_front();
                    let pod = oldest.as_ref().expect("a window of them").pod_name();
                    assert_eq!(registry.unregister(&service, pod).unwrap(), oldest);
                }
                let (key, record) = flood
                    .read
                    .iter_mut()
                    .nth(n % (READ / FLOODERS))
                    .expect("these are not removed");
                let status = [ServiceStatus::Healthy, ServiceStatus::Unhealthy][n % 2];
                let last = record.last_health_check();
                let moment = last.map_or(at(0), |last| last + Duration::from_secs(1));
                let before = crate::support::report_health(store, key, status, moment);
                assert_eq!(before, record.status());
                *record = record.with_health(status, moment).unwrap();
                if n.is_multiple_of(16) {
                    let mut rejected = Batch::new();
                    rejected
                        .save_service(pod("rejected", &number.to_string()))
                        .delete_service("nobody:1");
                    store.commit(rejected).unwrap_err();
                }
            },
            |flood, expected| {
                let records = flood.registered.iter();
                let keys: Vec<_> = records.clone().map(|info| info.key().to_string()).collect();
                let by_key = keys.iter().cloned().zip(records.cloned());
                expected.services.extend(by_key);
                expected.services.append(&mut flood.read);
                if !keys.is_empty() {
                    expected.groups.insert(group.clone(), keys);
                }
            },
            Flood {
                next: 0,
                registered: VecDeque::new(),
                read: BTreeMap::new(),
            },
        );
    }

    fn read(&self, number: usize) -> Waits {
        let keys: Vec<String> = (0..READ).map(key_to_read).collect();
        let mut reading = self.store.reading();
        // A handle that finds a newer state lets go of the older one, and calls the
        // allocator; so that the others are there to be looked at.
        let has_a_handle = number.is_multiple_of(4);
        let mut waits = Waits::default();
        // The first reads of a thread may make something that it keeps.
        for key in &keys {
            read_one(self.store, key);
            reading(key);
        }
        loop {
            let mut found = true;
            waits.block(BLOCK as u64 * READS, || {
                for n in number..number + BLOCK {
                    let key = &keys[n % READ];
                    found &= read_one(self.store, key);
                    if has_a_handle {
                        reading(key);
                    }
                }
            });
            if !self.goes_on() {
                return waits;
            }
            if !found {
                // The store has just been cleared; let it be filled again.
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Each of these answers is of one moment, so that the pods of a flooder are as
    /// many as it keeps, one after the other, and all of them subscribed.
    fn scan(&self, number: usize) {
        let mut dice = Dice::new(1000 + number as u64);
        let mut last_revision = self.store.revision();
        while self.goes_on() {
            let flooder = dice.roll(FLOODERS);
            let service = format!("flood-{flooder}");
            let group = flooders_group(flooder);
            let all = self.store.get_all_services().unwrap();
            let of_all = all.iter().filter(|info| info.service_name() == service);
            check_window(of_all.map(ServiceInfo::pod_name).collect());
            let named = self.store.get_services_by_name(&service).unwrap();
            check_window(named.iter().map(ServiceInfo::pod_name).collect());
            let subscribed = self.store.get_subscriber_services(&group).unwrap();
            let pods: Vec<_> = subscribed.iter().map(ServiceInfo::pod_name).collect();
            check_window(pods.clone());
            let numbers: Vec<usize> = pods.iter().map(|pod| pod.parse().unwrap()).collect();
            assert!(numbers.is_sorted(), "out of order: {numbers:?}");
            let subscribers = self.store.get_subscribers(&group).unwrap();
            check_window(subscribers.iter().map(ServiceKey::pod_name).collect());
            assert!(!all.iter().any(|info| info.service_name() == "rejected"));
            let StoreStats { services, .. } = self.store.stats().unwrap();
            assert!(services <= READ + FLOODERS * (WINDOW + 1) + WRITERS * 6);
            let revision = self.store.revision();
            assert!(revision >= last_revision, "a revision went back");
            last_revision = revision;
        }
    }

    fn hold(&self) {
        while self.goes_on() {
            self.store.hold(self.hold);
        }
    }
}

/// The pods of a flooder, in one state.
fn check_window(pods: Vec<&str>) {
    let mut numbers: Vec<usize> = pods.into_iter().map(|pod| pod.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.len() <= WINDOW + 1, "too many: {numbers:?}");
    let has_a_gap = numbers.windows(2).any(|pair| pair[1] != pair[0] + 1);
    assert!(!has_a_gap, "not of one moment: {numbers:?}");
}

/// One of the operations of the interface, on the keys of one writer.
fn operation(dice: &mut Dice, writer: usize) -> Operation {
    const PODS: [&str; 3] = ["1", "2", "2:x"];
    let service = format!("w{writer}-{}", ["a", "b"][dice.roll(2)]);
    let pod = PODS[dice.roll(3)];
    let group = writers_groups(writer)[dice.roll(3)].clone();
    let key = format!("{service}:{pod}");
    let moment = dice.roll(3) as u64;
    let status = [
        ServiceStatus::Healthy,
        ServiceStatus::Unhealthy,
        ServiceStatus::Unknown,
    ][dice.roll(3)];
    match dice.roll(16) {
        0..=5 => Operation::Change(change(dice, &service, pod, &group)),
        6 => {
            let length = dice.roll(6);
            let changes = (0..length).map(|_| change(dice, &service, pod, &group));
            Operation::Commit(changes.collect())
        }
        7 => Operation::Swap(key, status, moment),
        8 => Operation::Take(key),
        9 => match dice.roll(3) {
            0 => Operation::Get(key),
            1 => Operation::With(key),
            _ => Operation::Visit(key),
        },
        10 => Operation::ByName(service),
        11 => Operation::Subscribers(group),
        12 => Operation::SubscriberServices(group),
        13 => Operation::Register(service, pod.into(), vec![group]),
        14 => Operation::Unregister(service, pod.into()),
        _ => Operation::Report(key, status),
    }
}

fn change(dice: &mut Dice, service: &str, pod: &str, group: &str) -> Change {
    let key: Box<str> = format!("{service}:{pod}").into();
    let service_group: Box<str> = group.into();
    match dice.roll(10) {
        0..=3 => Change::SaveService(version(service, pod, dice.roll(2) as u64)),
        4 => Change::DeleteService { key },
        5 => Change::UpdateHealthStatus {
            key,
            status: ServiceStatus::Healthy,
            checked_at: at(dice.roll(3) as u64),
        },
        6 | 7 => Change::AddSubscription {
            subscriber_key: key,
            service_group,
        },
        8 => Change::RemoveSubscription {
            subscriber_key: key,
            service_group,
        },
        _ => Change::RemoveAllSubscriptions {
            subscriber_key: key,
        },
    }
}

/// Runs the plan, and checks everything that is promised.
pub(crate) fn run<S: Soaked>(make: fn() -> S, plan: &Plan) {
    // What threads once need, the process keeps.
    if plan.is_judged {
        under_way(&make(), &Plan::moment());
    }
    let before = counts::live();
    let store = make();
    let (waits, writes, samples) = under_way(&store, plan);
    assert_eq!(store.stats(), Ok(StoreStats::default()));
    store.close().unwrap();
    assert_eq!(store.ping(), Err(StoreError::Closed));
    drop(store);
    let series = |of: fn(&Sample) -> u64| samples.iter().map(of).collect::<Vec<_>>();
    let (live, resident) = (series(|s| s.live), series(|s| s.resident));
    drop(samples);
    report::<S>(plan, waits, writes, &live, &resident);

    assert!(waits.reads > 0 && writes > 0, "nothing was done");
    if S::READERS_NEVER_WAIT {
        // Where a read calls the allocator, nobody knows whether it waited.
        let was_looked_at = waits.looked_at > 0 || !can_be_counted();
        assert!(was_looked_at, "{UNCOUNTED}: {waits:?}");
        assert_eq!(waits.slept, 0, "readers waited: {waits:?}");
    }
    if plan.is_judged {
        let (middle, last, levels) = level::levels_off(&live, ALLOWANCE);
        assert!(levels, "{middle} bytes were allocated, then {last}");
        let (middle, last, levels) = level::levels_off(&resident, ALLOWANCE_OF_THE_PROCESS);
        assert!(levels, "the process had {middle} bytes, then {last}");
        drop((live, resident));
        let left = counts::live() - before;
        assert!(left < counts::NOISE, "{left} bytes outlive the store");
    }
}

fn under_way<S: Soaked>(store: &S, plan: &Plan) -> (Waits, u64, Vec<Sample>) {
    let soak = &Soak {
        store,
        round: AtomicUsize::new(0),
        rounds: plan.rounds as usize,
        met: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        failed: AtomicBool::new(false),
        expected: Mutex::new(empty()),
        writes: AtomicU64::new(0),
        hold: plan.hold,
    };
    let interval = level::interval(plan.whole);
    let mut samples = Vec::with_capacity(1024);
    let mut waits = Waits::default();
    thread::scope(|scope| {
        let mut writing = Vec::new();
        for n in 0..WRITERS {
            writing.push(scope.spawn(move || soak.watched(|| soak.write(n))));
        }
        for n in 0..FLOODERS {
            writing.push(scope.spawn(move || soak.watched(|| soak.flood(n))));
        }
        let readers: Vec<_> = (0..READERS)
            .map(|n| scope.spawn(move || soak.watched(|| soak.read(n))))
            .collect();
        let mut others: Vec<_> = (0..SCANNERS)
            .map(|n| scope.spawn(move || soak.watched(|| soak.scan(n))))
            .collect();
        others.push(scope.spawn(|| soak.watched(|| soak.hold())));
        let begin = Instant::now();
        for round in 1..=plan.rounds {
            while begin.elapsed() < plan.whole * round / plan.rounds && soak.goes_on() {
                thread::sleep(interval);
                samples.push(Sample::take());
            }
            soak.round.fetch_add(1, SeqCst);
        }
        // Readers read until the last comparison is done.
        while !writing.iter().all(thread::ScopedJoinHandle::is_finished) {
            thread::sleep(Duration::from_millis(1));
        }
        soak.over.store(true, SeqCst);
        for reader in readers {
            waits.add(reader.join().expect("a reader has panicked"));
        }
        // A scope by itself ends before the destructors of its threads do.
        for thread in writing.into_iter().chain(others) {
            thread.join().expect("a thread has panicked");
        }
    });
    (waits, soak.writes.load(SeqCst), samples)
}

fn report<S>(plan: &Plan, waits: Waits, writes: u64, live: &[u64], resident: &[u64]) {
    let name = std::any::type_name::<S>().rsplit("::").next().unwrap_or("");
    let Waits {
        reads,
        blocks,
        looked_at,
        allocated,
        slept,
        preempted,
    } = waits;
    println!("{name}, {} threads for {:?}:", THREADS, plan.whole);
    println!("  {reads} counted reads in {blocks} blocks, {writes} writing steps");
    println!("  waits: {slept} in {looked_at} blocks that were looked at");
    let faults = blocks - looked_at - allocated;
    println!("  left out: {allocated} for a call of the allocator, {faults} for a page fault");
    println!("  preempted: {preempted}");
    if plan.is_judged {
        let kib = |(middle, last, _): (u64, u64, bool)| (middle >> 10, last >> 10);
        let (middle, last) = kib(level::levels_off(live, ALLOWANCE));
        println!("  allocated, at most: {middle} KiB in the middle third, {last} in the last");
        let (middle, last) = kib(level::levels_off(resident, ALLOWANCE_OF_THE_PROCESS));
        println!("  resident, at most: {middle} KiB in the middle third, {last} in the last");
    }
}
