//! What is asked of a store: one definition for the report and the benches.
//!
//! Everything here is made before a clock starts, and made from a seed.
//!
//! - A [`Fleet`] is who registers: ten pods a service, keys of 19 bytes.
//! - [`Texts`] are the keys that an operation is called with, copied out one
//!   behind the other. A caller has its key at hand, because it has just read it
//!   from a request; looking it up in the store's own copy of the text would
//!   warm the store's cache lines on the way.
//! - A [`Deck`] is what one round of the scenario *operations* works through.
//! - A [`Burst`] is what the workers of *burst-30x100* do.
//! - A [`Deal`](laps::Deal) is what threads do that go on until they are told to
//!   stop.

pub mod laps;

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::{
    Batch, Protocol, Provider, RegistryStore, Result, ServiceInfo, ServiceRegistration,
    ServiceStatus,
};

/// The source of all that is random here: small, quick, and the same on every
/// platform.
pub type LabRng = rand::rngs::Xoshiro256PlusPlus;

/// Pods of each service, and subscribers of each group.
pub const PODS_PER_SERVICE: usize = 10;

/// How many random keys a deck holds at least: too many for a branch predictor to
/// learn their order by heart.
pub const PROBES: usize = 1 << 16;

/// How many changes a batch of the scenario *operations* holds, and how many pods a
/// batch that fills a store, at least.
pub const BATCH: usize = 1_000;

/// A generator from a seed.
pub fn seeded(seed: u64) -> LabRng {
    LabRng::seed_from_u64(seed)
}

/// A number for a name, the same on every platform: FNV-1a.
pub(super) fn number_of(name: impl IntoIterator<Item = u8>) -> u64 {
    name.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The numbers from 0 to `n`, in random order.
pub fn shuffled(n: usize, rng: &mut LabRng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(rng);
    order
}

/// The instant in the past at which all pods of a fleet registered.
pub fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// Pods by number, ten to a service: pod 427 is `service-00042:pod-7`.
///
/// Each subscribes to the group of the service that follows its own, so that
/// each group has ten subscribers.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// How many pods are registered.
    pub pods: usize,
}

impl Fleet {
    /// A fleet of so many pods.
    pub const fn new(pods: usize) -> Fleet {
        Fleet { pods }
    }

    /// How many services that makes.
    pub const fn services(self) -> usize {
        self.pods.div_ceil(PODS_PER_SERVICE)
    }

    /// The name of a service.
    pub fn service_name(service: usize) -> String {
        format!("service-{service:05}")
    }

    /// The key of a pod.
    pub fn key(pod: usize) -> String {
        format!(
            "{}:pod-{}",
            Fleet::service_name(pod / PODS_PER_SERVICE),
            pod % PODS_PER_SERVICE
        )
    }

    /// The key of a pod that never registers: as long as the others.
    pub fn absent_key(pod: usize) -> String {
        format!(
            "absent--{:05}:pod-{}",
            pod / PODS_PER_SERVICE,
            pod % PODS_PER_SERVICE
        )
    }

    /// The group that a pod is subscribed to; `further` moves on to others.
    pub fn group(self, pod: usize, further: usize) -> String {
        let next = pod / PODS_PER_SERVICE + 1 + further;
        Fleet::service_name(next % self.services().max(3))
    }

    /// A fresh record of a pod, which shares nothing with another.
    ///
    /// # Panics
    ///
    /// Never: the names of a fleet are good ones.
    pub fn record(self, pod: usize) -> ServiceInfo {
        record(
            pod,
            Fleet::service_name(pod / PODS_PER_SERVICE),
            format!("pod-{}", pod % PODS_PER_SERVICE),
            vec![self.group(pod, 0)],
        )
    }

    /// The record of a pod that registers anew: other times, else the same.
    #[allow(clippy::missing_panics_doc)] // the time is a good one
    pub fn replacement(self, pod: usize, stamp: u64) -> ServiceInfo {
        let at = epoch() + Duration::from_micros(stamp);
        self.record(pod)
            .with_registered_at(at)
            .expect("a good time")
    }

    /// The batches that register the pods and their subscriptions, in `order`.
    pub fn batches(self, order: &[usize]) -> impl Iterator<Item = Batch> {
        // Of a large fleet larger ones: stores that copy what they change then copy it
        // less often. Made one after the other, so that there is no second copy of
        // the fleet.
        let pods = BATCH.max(order.len() / 16);
        order.chunks(pods).map(move |pods| {
            let mut batch = Batch::with_capacity(2 * pods.len());
            for &pod in pods {
                let record = self.record(pod);
                batch.add_subscription(record.key(), &record.subscriptions()[0]);
                batch.save_service(record);
            }
            batch
        })
    }

    /// Registers the whole fleet with a store, in `order`.
    ///
    /// # Errors
    ///
    /// Those of [`commit`](RegistryStore::commit).
    pub fn fill(self, store: &impl RegistryStore, order: &[usize]) -> Result<()> {
        for batch in self.batches(order) {
            store.commit(batch)?;
        }
        Ok(())
    }
}

/// A fresh record of a pod with these names, which shares nothing with another;
/// its address is made from its number.
///
/// # Panics
///
/// Where the names are not those of a service and a pod.
pub fn record(
    number: usize,
    service_name: String,
    pod_name: String,
    subscriptions: Vec<String>,
) -> ServiceInfo {
    let [_, b, c, d] = u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
    let ip = Ipv4Addr::new(10, b, c, d);
    let registration = ServiceRegistration {
        service_name,
        pod_name,
        providers: vec![Provider {
            protocol: Protocol::Http,
            host: ip.into(),
            port: 8080,
        }],
        health_check_url: format!("http://{ip}:8080/health"),
        notification_url: format!("http://{ip}:8080/notify"),
        subscriptions,
        ..ServiceRegistration::default()
    };
    ServiceInfo::new(registration)
        .expect("good names")
        .with_registered_at(epoch())
        .and_then(|record| record.with_health(ServiceStatus::Healthy, epoch()))
        .expect("a good time")
}

/// Many short texts, one behind the other in memory.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Texts {
    text: String,
    ends: Vec<usize>,
}

impl<T: AsRef<str>> FromIterator<T> for Texts {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Texts {
        let mut all = Texts::default();
        for text in texts {
            all.text.push_str(text.as_ref());
            all.ends.push(all.text.len());
        }
        all
    }
}

impl Texts {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text at a place.
    pub fn get(&self, at: usize) -> &str {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.text[start..self.ends[at]]
    }

    /// So many texts from a place on, and from the start again after the last.
    pub fn window(&self, from: usize, count: usize) -> Vec<&str> {
        (from..from + count)
            .map(|at| self.get(at % self.len()))
            .collect()
    }
}

/// A health check that came in.
#[derive(Clone, Copy, Debug)]
pub struct HealthCheck<'a> {
    /// Of which pod.
    pub key: &'a str,
    /// What it said.
    pub status: ServiceStatus,
    /// When it was made.
    pub at: SystemTime,
}

/// What one round of the scenario *operations* works through, at one size. All
/// contenders of a round get the same deck.
#[derive(Debug)]
pub struct Deck {
    /// Who is registered.
    pub fleet: Fleet,
    /// The order in which they registered.
    pub order: Vec<usize>,
    /// All pods, in another order.
    pub sweep: Vec<usize>,
    /// Random pods: [`PROBES`] of them, or twice as many as there are pods.
    pub picks: Vec<usize>,
    /// Their keys.
    pub keys: Texts,
    /// Keys that nobody registers.
    pub absent: Texts,
    /// Names of services, at random.
    pub names: Texts,
    /// Groups, at random.
    pub groups: Texts,
    /// Keys in the order of `sweep`.
    pub sweep_keys: Texts,
    /// The group that each pod of `sweep` newly subscribes to.
    pub sweep_groups: Texts,
    statuses: Vec<ServiceStatus>,
    round: u64,
}

impl Deck {
    /// Shuffles a deck. `round` makes the times in it unlike those of other
    /// rounds, so that every health check changes something.
    pub fn new(fleet: Fleet, round: u64, rng: &mut LabRng) -> Deck {
        let deck = Deck::of_keys(fleet, round, PROBES.max(2 * fleet.pods), fleet.pods, rng);
        let picks = deck.picks.iter();
        Deck {
            names: (0..PROBES)
                .map(|_| Fleet::service_name(rng.random_range(0..fleet.services())))
                .collect(),
            groups: picks.map(|&pod| fleet.group(pod, 0)).collect(),
            sweep_groups: deck.sweep.iter().map(|&pod| fleet.group(pod, 1)).collect(),
            ..deck
        }
    }

    /// A deck for operations with a key only: without names and groups, with
    /// `probes` random pods and the keys of `swept` pods of the sweep, so that it is
    /// made quickly for large fleets and small ones.
    pub fn of_keys(
        fleet: Fleet,
        round: u64,
        probes: usize,
        swept: usize,
        rng: &mut LabRng,
    ) -> Deck {
        let order = shuffled(fleet.pods, rng);
        let sweep = shuffled(fleet.pods, rng);
        let picks: Vec<usize> = (0..probes)
            .map(|_| rng.random_range(0..fleet.pods))
            .collect();
        let statuses = (0..probes)
            .map(|_| match rng.random_range(0..10) {
                0 => ServiceStatus::Unhealthy,
                _ => ServiceStatus::Healthy,
            })
            .collect();
        Deck {
            keys: picks.iter().map(|&pod| Fleet::key(pod)).collect(),
            absent: picks.iter().map(|&pod| Fleet::absent_key(pod)).collect(),
            names: Texts::default(),
            groups: Texts::default(),
            sweep_keys: sweep
                .iter()
                .take(swept)
                .map(|&pod| Fleet::key(pod))
                .collect(),
            sweep_groups: Texts::default(),
            fleet,
            order,
            sweep,
            picks,
            statuses,
            round,
        }
    }

    /// A number that no other deck, and no other place of this one, has.
    pub fn stamp(&self, at: usize) -> u64 {
        (self.round << 32) + at as u64
    }

    fn health_check<'a>(&'a self, key: &'a str, at: usize) -> HealthCheck<'a> {
        HealthCheck {
            key,
            status: self.statuses[at % self.statuses.len()],
            at: epoch() + Duration::from_micros(1 + self.stamp(at)),
        }
    }

    /// So many health checks of random pods.
    pub fn health_checks(&self, from: usize, count: usize) -> Vec<HealthCheck<'_>> {
        (from..from + count)
            .map(|at| self.health_check(self.keys.get(at % self.keys.len()), at))
            .collect()
    }

    /// So many health checks that go round among all pods.
    pub fn sweep_checks(&self, from: usize, count: usize) -> Vec<HealthCheck<'_>> {
        (from..from + count)
            .map(|at| self.health_check(self.sweep_keys.get(at % self.sweep_keys.len()), at))
            .collect()
    }
}

/// How many operations of a hundred are reads, and how many are writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Writes among a hundred operations.
    pub writes: usize,
}

impl Mix {
    /// The mixes of the scenario *burst-30x100*, from reads only to writes only.
    pub const ALL: [Mix; 5] = [
        Mix { writes: 0 },
        Mix { writes: 5 },
        Mix { writes: 20 },
        Mix { writes: 50 },
        Mix { writes: 100 },
    ];

    /// How many of so many operations are writes, where threads took turns of a
    /// hundred that have exactly the writes of the mix, and `threads` of them began
    /// and ended in the midst of one; 0 where all were whole.
    ///
    /// In a part of a hundred the writes that are too many or too few are most where
    /// it has all of them and nothing else, or all the reads: `w (100 - w) / 100`. A
    /// thread has such a part at its start and another one at its end.
    pub fn writes_of(self, operations: u64, threads: usize) -> RangeInclusive<u64> {
        let share = self.writes as u64;
        let off = 2 * threads as u64 * share * (100 - share);
        let low = (share * operations).saturating_sub(off).div_ceil(100);
        low..=(share * operations + off) / 100
    }
}

impl std::fmt::Display for Mix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{}/{}", 100 - self.writes, self.writes))
    }
}

/// Workers of a burst.
pub const WORKERS: usize = 30;

/// Operations of each worker of a burst.
pub const OPERATIONS: usize = 100;

/// Keys that a burst is about, whether they are registered at its start or not.
pub const BURST_PODS: usize = 1_000;

/// One operation of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `get_service` of a pod.
    Get(usize),
    /// `save_service` of a pod: a new registration, or a replacement.
    Save(usize),
    /// `update_health_status` of a pod.
    Check(usize),
}

/// The same, with what it is called with. The text is borrowed and the record is
/// the store's to keep, so that nothing is left to free when it is done.
#[derive(Debug)]
pub enum Action<'a> {
    /// Done, and gone.
    Done,
    /// `get_service`
    Get(&'a str),
    /// `save_service`
    Save(ServiceInfo),
    /// `update_health_status`
    Check(HealthCheck<'a>),
}

/// What all workers of a burst do, and what must come of it.
///
/// Every worker has the same share of reads and writes, in random places. On a
/// registry that is full, every second write is a health check and the others
/// replace a record. On an empty one, a write registers a pod, and a read hits
/// where somebody has registered that pod before.
#[derive(Debug)]
pub struct Burst {
    /// Pods that are registered at the start: none, or [`BURST_PODS`].
    pub services: usize,
    /// Reads and writes.
    pub mix: Mix,
    /// What each worker does.
    pub workers: Vec<Vec<Step>>,
    /// Keys of all pods that the burst is about.
    keys: Texts,
    /// How many reads can hit: at least those that do so whatever the other
    /// workers do, at most those of pods that are ever registered.
    pub read_hits: RangeInclusive<u64>,
    /// Services that are registered at the end.
    pub services_after: usize,
}

impl Burst {
    /// Deals out a burst for a store with `services` pods.
    pub fn new(services: usize, mix: Mix, rng: &mut LabRng) -> Burst {
        let mut writes = 0;
        let workers: Vec<Vec<Step>> = (0..WORKERS)
            .map(|_| {
                let mut is_write = [false; OPERATIONS];
                is_write[..mix.writes * OPERATIONS / 100].fill(true);
                is_write.shuffle(rng);
                is_write
                    .iter()
                    .map(|&is_write| {
                        let pod = rng.random_range(0..BURST_PODS);
                        writes += usize::from(is_write);
                        match is_write {
                            false => Step::Get(pod),
                            true if services > 0 && writes % 2 == 0 => Step::Check(pod),
                            true => Step::Save(pod),
                        }
                    })
                    .collect()
            })
            .collect();
        let (read_hits, services_after) = expected(services, &workers);
        Burst {
            services,
            mix,
            workers,
            keys: (0..BURST_PODS).map(Fleet::key).collect(),
            read_hits,
            services_after,
        }
    }

    /// All operations.
    pub fn operations(&self) -> u64 {
        self.workers.iter().map(|steps| steps.len() as u64).sum()
    }

    /// All writes.
    pub fn writes(&self) -> u64 {
        let is_write = |step: &&Step| !matches!(step, Step::Get(_));
        let steps = self.workers.iter().flatten();
        steps.filter(is_write).count() as u64
    }

    /// What a worker does, ready to be done. The records are fresh ones.
    pub fn actions(&self, worker: usize) -> Vec<Action<'_>> {
        let fleet = Fleet::new(BURST_PODS);
        let steps = self.workers[worker].iter().enumerate();
        steps
            .map(|(place, &step)| {
                let stamp = (worker * OPERATIONS + place + 1) as u64;
                match step {
                    Step::Get(pod) => Action::Get(self.keys.get(pod)),
                    Step::Save(pod) => Action::Save(fleet.replacement(pod, stamp)),
                    Step::Check(pod) => Action::Check(HealthCheck {
                        key: self.keys.get(pod),
                        status: ServiceStatus::Unhealthy,
                        at: epoch() + Duration::from_micros(stamp),
                    }),
                }
            })
            .collect()
    }
}

/// The bounds of the reads that hit, and how many services there are at the end.
fn expected(services: usize, workers: &[Vec<Step>]) -> (RangeInclusive<u64>, usize) {
    let saved: HashSet<usize> = workers
        .iter()
        .flatten()
        .filter_map(|step| match step {
            Step::Save(pod) => Some(*pod),
            _ => None,
        })
        .collect();
    let (mut surely, mut possibly) = (0, 0);
    for steps in workers {
        let mut own = HashSet::new();
        for step in steps {
            match step {
                Step::Save(pod) => {
                    own.insert(pod);
                }
                Step::Get(pod) => {
                    surely += u64::from(*pod < services || own.contains(pod));
                    possibly += u64::from(*pod < services || saved.contains(pod));
                }
                Step::Check(_) => {}
            }
        }
    }
    let newly = saved.iter().filter(|&&pod| pod >= services).count();
    (surely..=possibly, services + newly)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryStore, StoreError};

    #[test]
    fn keys_are_all_19_bytes_long_and_read_back() {
        let fleet = Fleet::new(1_000_000);
        for pod in [0, 9, 10, 427, 99_999, 999_999] {
            let key = Fleet::key(pod);
            assert_eq!((key.len(), Fleet::absent_key(pod).len()), (19, 19));
            assert_eq!(*fleet.record(pod).key(), *key);
        }
        assert_eq!(Fleet::key(427), "service-00042:pod-7");
    }

    #[test]
    fn a_full_store_has_ten_pods_a_service_and_ten_subscribers_a_group() {
        for pods in [10, 1_000] {
            let (fleet, store) = (Fleet::new(pods), MemoryStore::new());
            fleet.fill(&store, &shuffled(pods, &mut seeded(1))).unwrap();
            let stats = store.stats().unwrap();
            assert_eq!((stats.services, stats.subscriptions), (pods, pods));
            for service in 0..fleet.services() {
                let name = Fleet::service_name(service);
                assert_eq!(store.get_services_by_name(&name).unwrap().len(), 10);
                let group = fleet.group(service * PODS_PER_SERVICE, 0);
                assert_eq!(store.get_subscribers(&group).unwrap().len(), 10);
            }
        }
    }

    #[test]
    fn one_seed_deals_one_deck_and_another_seed_another() {
        let deck = |seed| Deck::new(Fleet::new(1_000), 1, &mut seeded(seed));
        let (a, b, other) = (deck(7), deck(7), deck(8));
        assert_eq!((&a.order, &a.keys, &a.names), (&b.order, &b.keys, &b.names));
        assert_ne!(a.keys, other.keys);
        assert_ne!(a.order, a.sweep);
        assert_eq!(a.keys.len(), PROBES);
    }

    #[test]
    fn a_deck_holds_what_it_says() {
        let (store, deck) = (
            MemoryStore::new(),
            Deck::new(Fleet::new(100), 3, &mut seeded(1)),
        );
        deck.fleet.fill(&store, &deck.order).unwrap();
        for at in 0..1_000 {
            assert!(store.get_service(deck.keys.get(at)).is_ok());
            assert!(matches!(
                store.get_service(deck.absent.get(at)),
                Err(StoreError::NotFound(_))
            ));
        }
        let swept: HashSet<&str> = deck
            .sweep_checks(0, 100)
            .into_iter()
            .map(|c| c.key)
            .collect();
        assert_eq!(swept.len(), 100);
        // Every check changes something, in every place and every round.
        let before = store.revision();
        for check in deck.health_checks(PROBES - 50, 100) {
            store
                .update_health_status(check.key, check.status, check.at)
                .unwrap();
        }
        assert_eq!(store.revision().as_u64(), before.as_u64() + 100);
    }

    #[test]
    fn windows_go_round() {
        let texts: Texts = ["a", "bc", "def"].into_iter().collect();
        assert_eq!(texts.window(2, 4), ["def", "a", "bc", "def"]);
    }

    #[test]
    fn mixes_are_exact_for_every_worker() {
        for services in [0, BURST_PODS] {
            for (mix, writes) in Mix::ALL.into_iter().zip([0, 150, 600, 1_500, 3_000]) {
                let burst = Burst::new(services, mix, &mut seeded(1));
                assert_eq!((burst.operations(), burst.writes()), (3_000, writes));
                for steps in &burst.workers {
                    let reads = steps.iter().filter(|s| matches!(s, Step::Get(_)));
                    assert_eq!(reads.count(), OPERATIONS - mix.writes);
                }
                let checks = burst.workers.iter().flatten();
                let checks = checks.filter(|s| matches!(s, Step::Check(_))).count() as u64;
                assert_eq!(checks, if services == 0 { 0 } else { writes / 2 });
            }
        }
    }

    #[test]
    fn no_part_of_two_hands_is_outside_of_the_bounds_of_a_mix_and_some_are_on_them() {
        assert_eq!(Mix { writes: 0 }.writes_of(1_000, 4), 0..=0);
        assert_eq!(Mix { writes: 100 }.writes_of(1_000, 4), 1_000..=1_000);
        assert_eq!(Mix { writes: 5 }.writes_of(1_000, 0), 50..=50);
        for writes in [5, 50, 90] {
            let mix = Mix { writes };
            // The writes of a hand are its last ones and those of the next its first,
            // so that they meet; or the reads are.
            for writes_meet in [true, false] {
                let is_write = |at: &usize| {
                    if (*at < 100) == writes_meet {
                        at % 100 >= 100 - writes
                    } else {
                        at % 100 < writes
                    }
                };
                let mut on_the_bound = false;
                for (from, to) in (0..200).flat_map(|from| (from..=200).map(move |to| (from, to))) {
                    let found = (from..to).filter(is_write).count() as u64;
                    let bounds = mix.writes_of((to - from) as u64, 1);
                    assert!(bounds.contains(&found), "{from}..{to}: {found}, {bounds:?}");
                    on_the_bound |= if writes_meet {
                        found == *bounds.end()
                    } else {
                        // Not where it is 0 for any part that is so short.
                        found == *bounds.start() && to - from >= 2 * (100 - writes)
                    };
                }
                assert!(on_the_bound, "{mix}, {writes_meet}");
            }
        }
    }

    #[test]
    fn a_burst_on_a_full_store_hits_with_every_read() {
        let burst = Burst::new(BURST_PODS, Mix { writes: 0 }, &mut seeded(1));
        assert_eq!(burst.read_hits, 3_000..=3_000);
        assert_eq!(burst.services_after, BURST_PODS);
        let empty = Burst::new(0, Mix { writes: 0 }, &mut seeded(1));
        assert_eq!((empty.read_hits, empty.services_after), (0..=0, 0));
    }

    #[test]
    fn the_bounds_hold_for_one_worker_after_the_other() {
        let burst = Burst::new(0, Mix { writes: 50 }, &mut seeded(5));
        assert!(burst.read_hits.start() < burst.read_hits.end());
        let store = MemoryStore::new();
        let mut hits = 0;
        for action in (0..WORKERS).flat_map(|worker| burst.actions(worker)) {
            match action {
                Action::Get(key) => hits += u64::from(store.get_service(key).is_ok()),
                Action::Save(record) => store.save_service(record).unwrap(),
                Action::Check(check) => store
                    .update_health_status(check.key, check.status, check.at)
                    .map(drop)
                    .unwrap(),
                Action::Done => unreachable!(),
            }
        }
        assert!(burst.read_hits.contains(&hits));
        assert_eq!(store.stats().unwrap().services, burst.services_after);
    }
}
