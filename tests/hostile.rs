//! Keys that an attacker has chosen.
//!
//! Whoever knows the seed of a hash table can make all keys collide, and each
//! operation cost O(*n*). Here are a million such keys, for a seed that is fixed,
//! and what they do to a table with that seed; a store, which is seeded at random,
//! they must not slow down. `docs/verification.md` has the commands.

// A build with fewer stores uses less of this file.
#![cfg_attr(
    not(all(
        feature = "thread-safe",
        feature = "worker",
        feature = "evmap",
        feature = "snapshot",
        feature = "versioned"
    )),
    allow(dead_code, unused_macros)
)]

#[macro_use]
mod support;

use std::cell::{Cell, RefCell};
use std::collections::HashSet as StdSet;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::{FixedState, RandomState};
use hashbrown::HashSet;
use service_registry::{
    Batch, Change, MAX_NAME_LEN, MemoryStore, RegistryStore, Result, Revision, ServiceInfo,
    ServiceKey, StoreStats, delegate_store,
};
use support::dice;

#[path = "hostile/shapes.rs"]
mod shapes;

// --- the keys

/// How many keys there are in the suite.
const COUNT: u64 = if cfg!(debug_assertions) {
    10_000
} else {
    100_000
};

/// How many there are where a store is compared with the limit.
const MILLION: u64 = 1_000_000;

/// What each hostile text begins with.
///
/// foldhash turns its seed to the right by the length of the text and combines it
/// with the first eight bytes (exclusive or); what comes of that it multiplies with
/// what comes of the last eight. So a text of 8 to 16 bytes hashes to 0, whatever
/// the rest of it, where its first eight bytes are the seed, turned. `U` is 0x55:
/// turning eight of them by an even number of bits changes nothing, and so one
/// seed is enough for names and for keys, which are longer.
const PREFIX: &str = "UUUUUUUU";

/// The hasher of this crate, with the seed that the hostile keys are for.
fn fixed() -> FixedState {
    /// `with_seed` combines what it is given with this.
    const FOLDHASH_ARBITRARY3: u64 = 0x082e_fa98_ec4e_6c89;
    let prefix = PREFIX.as_bytes().try_into().expect("eight bytes");
    FixedState::with_seed(u64::from_ne_bytes(prefix) ^ FOLDHASH_ARBITRARY3)
}

/// The number as a word of as many digits, letters among them.
fn word(mut number: u64, digits: usize) -> String {
    let mut word = vec![b'0'; digits];
    for digit in word.iter_mut().rev() {
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[usize::try_from(number % 36).unwrap()];
        number /= 36;
    }
    String::from_utf8(word).unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Hostile,
    /// Of the same lengths, and as like each other at the end.
    Random,
}

impl Kind {
    /// A service name, or a group, of 14 bytes; each number has one of its own.
    fn name(self, number: u64) -> String {
        let tail = word(number, 6);
        match self {
            Kind::Hostile => format!("{PREFIX}{tail}"),
            Kind::Random => {
                format!("{}{tail}", word(dice::nth(0, number), 8))
            }
        }
    }

    /// A key of 16 bytes.
    fn key(self, number: u64) -> String {
        format!("{}:0", self.name(number))
    }
}

#[test]
fn hostile_names_and_keys_collide_in_all_bits_and_are_legal() {
    let _turn = turn();
    let fixed = fixed();
    let mut distinct = StdSet::new();
    let count = if cfg!(debug_assertions) {
        COUNT
    } else {
        MILLION
    };
    for number in 0..count {
        let (name, key) = (Kind::Hostile.name(number), Kind::Hostile.key(number));
        assert_eq!(fixed.hash_one(&*name), fixed.hash_one(PREFIX));
        let legal = ServiceKey::new(&name, "0").unwrap();
        assert_eq!(legal, *key);
        assert_eq!(fixed.hash_one(&legal), fixed.hash_one(PREFIX));
        assert!(key.len() <= MAX_NAME_LEN);
        assert_eq!(Kind::Random.key(number).len(), key.len());
        distinct.insert(key);
        if number < 1_000 {
            let random = Kind::Random.key(number);
            assert_ne!(fixed.hash_one(&*random), fixed.hash_one(PREFIX));
        }
    }
    assert_eq!(distinct.len() as u64, count);
}

// --- what they do to a table

thread_local! {
    static COMPARISONS: Cell<u64> = const { Cell::new(0) };
}

/// A text that counts how often it is compared.
struct Counted(String);

impl PartialEq for Counted {
    fn eq(&self, other: &Counted) -> bool {
        COMPARISONS.set(COMPARISONS.get() + 1);
        self.0 == other.0
    }
}

impl Eq for Counted {}

impl Hash for Counted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// How many comparisons it takes to fill a table and to find everything in it.
fn comparisons(hasher: impl BuildHasher, texts: impl Iterator<Item = String>) -> u64 {
    let mut table = HashSet::with_hasher(hasher);
    let before = COMPARISONS.get();
    for text in texts {
        assert!(table.insert(Counted(text)));
    }
    assert!(table.iter().all(|text| table.contains(text)));
    COMPARISONS.get() - before
}

#[test]
fn hostile_keys_ruin_a_table_of_the_seed_that_they_are_for() {
    let _turn = turn();
    let few = 0..2_000;
    for text in [Kind::key, Kind::name] {
        let hostile = comparisons(fixed(), few.clone().map(|n| text(Kind::Hostile, n)));
        let random = comparisons(fixed(), few.clone().map(|n| text(Kind::Random, n)));
        println!("comparisons with a fixed seed: hostile {hostile}, random {random}");
        assert!(hostile >= 10 * random, "{hostile} to {random}");
    }
}

#[test]
fn hostile_keys_take_no_more_comparisons_where_the_seed_is_random() {
    let _turn = turn();
    let count = if cfg!(debug_assertions) {
        COUNT
    } else {
        MILLION
    };
    for text in [Kind::key, Kind::name] {
        let hasher = RandomState::default();
        let hostile = comparisons(hasher.clone(), (0..count).map(|n| text(Kind::Hostile, n)));
        let random = comparisons(hasher, (0..count).map(|n| text(Kind::Random, n)));
        println!("comparisons with a random seed: hostile {hostile}, random {random}");
        assert!(hostile <= 2 * random, "{hostile} to {random}");
    }
}

// --- what they do to a store

/// The texts and the records of one kind, made before the clock runs.
struct Fleet {
    records: Vec<ServiceInfo>,
    groups: Vec<String>,
}

impl Fleet {
    fn new(kind: Kind, count: u64) -> Fleet {
        let record = |number| support::pod(&kind.name(number), "0");
        Fleet {
            records: (0..count).map(record).collect(),
            // None is the name of the pod that subscribes.
            groups: (0..count).map(|n| kind.name(count + n)).collect(),
        }
    }

    fn keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.records.iter().map(ServiceInfo::key)
    }
}

/// How many changes are made at once, and between two looks at the clock.
const AT_ONCE: usize = 1_000;

/// Every how many keys one is read, so that the round trips of `WorkerStore` do
/// not outweigh its tables.
const READ_EVERY: usize = 16;

/// The processor time that this process has taken: what other programs do to the
/// clock on the wall does not reach it. In steps of 10 ms; where the system does
/// not tell, the clock has to do.
fn processor_time() -> Duration {
    static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
    let told = || {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The name of the program stands in brackets, and may hold anything.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        Some(Duration::from_millis(10 * (user + system)))
    };
    told().unwrap_or_else(|| STARTED.elapsed())
}

/// Fills a store, reads from each of its indexes, and empties it again: services,
/// names, groups and subscribers. Answers with the processor time that it took, or `None`
/// once that is more than `limit`.
fn burden(store: &impl RegistryStore, fleet: &Fleet, limit: Duration) -> Option<Duration> {
    let started = processor_time();
    let in_time = || (processor_time() <= started + limit).then_some(());
    let commit = |changes: Vec<Change>| {
        let batch: Batch = changes.into_iter().collect();
        store.commit(batch).unwrap();
        in_time()
    };
    let count = fleet.records.len();
    let subscribe = |(key, group): (&ServiceKey, &String)| Change::AddSubscription {
        subscriber_key: key.as_str().into(),
        service_group: group.as_str().into(),
    };
    let pairs: Vec<_> = fleet.keys().zip(&fleet.groups).collect();
    for records in fleet.records.chunks(AT_ONCE) {
        commit(records.iter().cloned().map(Change::SaveService).collect())?;
    }
    for pairs in pairs.chunks(AT_ONCE) {
        commit(pairs.iter().copied().map(subscribe).collect())?;
    }
    assert_eq!(store.stats(), Ok(StoreStats::new(count, count)));
    for (n, (key, group)) in pairs.iter().copied().step_by(READ_EVERY).enumerate() {
        assert_eq!(store.with_service(key, |info| info.key() == key), Ok(true));
        let of_name = store.get_services_by_name(key.service_name()).unwrap();
        assert_eq!(of_name.len(), 1);
        assert_eq!(
            store.get_subscribers(group).unwrap(),
            std::slice::from_ref(key)
        );
        if n % AT_ONCE == 0 {
            in_time()?;
        }
    }
    for pairs in pairs.chunks(AT_ONCE) {
        let ended = pairs.iter().enumerate().map(|(n, (key, group))| {
            let (subscriber_key, service_group) = (key.as_str().into(), group.as_str().into());
            if n % 2 == 0 {
                Change::RemoveAllSubscriptions { subscriber_key }
            } else {
                Change::RemoveSubscription {
                    subscriber_key,
                    service_group,
                }
            }
        });
        commit(ended.collect())?;
    }
    for records in fleet.records.chunks(AT_ONCE) {
        let deleted = records.iter().map(|info| Change::DeleteService {
            key: info.key().as_str().into(),
        });
        commit(deleted.collect())?;
    }
    assert_eq!(store.stats(), Ok(StoreStats::default()));
    Some(processor_time().saturating_sub(started))
}

/// An hour.
const FOREVER: Duration = Duration::from_secs(3_600);

/// How much slower a store is with hostile keys than with random ones; `None` for
/// so much that it counts as ruined: the limit is far beyond what noise does to
/// processor time, and far below what collisions do.
fn slowdown<S: RegistryStore>(make: impl Fn() -> S, fleets: &Fleets) -> Option<f64> {
    // The first time warms up the allocator.
    burden(&make(), &fleets.random, FOREVER)?;
    let usual = burden(&make(), &fleets.random, FOREVER)?;
    let limit = (usual * 20).max(Duration::from_secs(2));
    let theirs = burden(&make(), &fleets.hostile, limit)?;
    let step = Duration::from_millis(10);
    Some(theirs.max(step).as_secs_f64() / usual.max(step).as_secs_f64())
}

struct Fleets {
    hostile: Fleet,
    random: Fleet,
}

impl Fleets {
    fn new(count: u64) -> Fleets {
        Fleets {
            hostile: Fleet::new(Kind::Hostile, count),
            random: Fleet::new(Kind::Random, count),
        }
    }
}

/// Processor time is of the whole process: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hostile_keys_do_not_ruin_a_store<S: RegistryStore>(name: &str, make: impl Fn() -> S) {
    static FLEETS: LazyLock<Fleets> = LazyLock::new(|| Fleets::new(COUNT));
    let _turn = turn();
    let ratio = slowdown(make, &FLEETS).expect("more than 20 times slower with hostile keys");
    println!("{name}: {COUNT} hostile keys take {ratio:.2} times what random ones take");
}

/// The comparison with the limit, for which the machine should be quiet.
fn a_million_hostile_keys_take_at_most_twice_as_long<S: RegistryStore>(
    name: &str,
    make: impl Fn() -> S,
) {
    static FLEETS: LazyLock<Fleets> = LazyLock::new(|| Fleets::new(MILLION));
    let _turn = turn();
    let rounds = (0..3).map(|_| slowdown(&make, &FLEETS).expect("it is not ruined"));
    let mut ratios: Vec<f64> = rounds.collect();
    ratios.sort_by(f64::total_cmp);
    println!("{name}: {MILLION} hostile keys to random ones: {ratios:.2?}");
    assert!(ratios[1] <= 2.0, "the median of {ratios:?}");
}

macro_rules! hostile {
    ($name:expr, $make:path) => {
        const NAME: &str = $name;
        #[test]
        fn hostile_keys_do_not_ruin_a_store() {
            crate::hostile_keys_do_not_ruin_a_store(NAME, $make);
        }
        #[test]
        #[ignore = "prints times: for a quiet machine, in a release build"]
        fn what_the_shapes_cost() {
            crate::shapes::what_the_shapes_cost(NAME, $make);
        }
        #[test]
        #[ignore = "compares times: for a quiet machine, in a release build"]
        fn a_million_hostile_keys_take_at_most_twice_as_long() {
            crate::a_million_hostile_keys_take_at_most_twice_as_long(NAME, $make);
        }
    };
}

mod memory {
    use service_registry::MemoryStore;
    hostile!("MemoryStore", MemoryStore::new);
}

macro_rules! shared {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            use service_registry::$store;
            hostile!(stringify!($store), $store::new);
        }
    };
}

shared_stores!(shared);

/// A store with one more index, whose seed is fixed: of keys, or of names, or of
/// groups, or of subscribers.
struct Fixed {
    inner: MemoryStore,
    index: RefCell<HashSet<Box<str>, FixedState>>,
    of: fn(&Change) -> Option<&str>,
}

impl Fixed {
    fn new(of: fn(&Change) -> Option<&str>) -> Fixed {
        Fixed {
            inner: MemoryStore::new(),
            index: RefCell::new(HashSet::with_hasher(fixed())),
            of,
        }
    }
}

impl RegistryStore for Fixed {
    fn commit(&self, batch: Batch) -> Result<Revision> {
        let indexed = batch.changes().iter().filter_map(self.of);
        self.index.borrow_mut().extend(indexed.map(Box::from));
        self.inner.commit(batch)
    }

    delegate_store!(self => self.inner; except commit, commit_changes);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes too long without optimisations")]
fn a_store_with_a_fixed_seed_in_any_index_is_ruined() {
    let _turn = turn();
    let fleets = Fleets::new(60_000);
    let indexes: [fn(&Change) -> Option<&str>; 4] = [
        |change| match change {
            Change::SaveService(info) => Some(info.key()),
            _ => None,
        },
        |change| match change {
            Change::SaveService(info) => Some(info.service_name()),
            _ => None,
        },
        |change| match change {
            Change::AddSubscription { service_group, .. } => Some(service_group),
            _ => None,
        },
        |change| match change {
            Change::AddSubscription { subscriber_key, .. } => Some(subscriber_key),
            _ => None,
        },
    ];
    for of in indexes {
        assert_eq!(slowdown(|| Fixed::new(of), &fleets), None);
    }
}

// --- seeds

/// The order in which a table of `records` is iterated depends on its seed.
fn orders<S: RegistryStore>(make: fn() -> S) -> [Vec<Vec<ServiceKey>>; 2] {
    [make(), make()].map(|store| {
        let mut orders = Vec::new();
        for again in 0..2 {
            for number in 0..200 {
                store
                    .save_service(support::pod("a", &number.to_string()))
                    .unwrap();
            }
            for records in [
                store.get_all_services().unwrap(),
                store.get_services_by_name("a").unwrap(),
            ] {
                orders.push(records.iter().map(|info| info.key().clone()).collect());
            }
            if again == 0 {
                store.clear().unwrap();
            }
        }
        orders
    })
}

#[test]
#[cfg(feature = "evmap")]
fn two_evmaps_are_not_seeded_alike() {
    let [one, other] = orders(service_registry::EvmapStore::new);
    for (one, other) in one.iter().zip(&other) {
        assert_ne!(one, other);
    }
}

#[test]
#[cfg(feature = "versioned")]
fn two_tables_of_versions_are_not_seeded_alike() {
    let [one, other] = orders(service_registry::VersionedStore::new);
    // The pods of a name are a list, in which no hash has a part.
    assert_ne!(one[0], other[0]);
    assert_ne!(one[2], other[2]);
    // Clearing makes new tables, with a new seed, where nobody looks at the old ones.
    assert_ne!(one[0], one[2]);
}

#[test]
#[cfg(feature = "snapshot")]
fn two_persistent_tables_are_not_seeded_alike() {
    let [one, other] = orders(service_registry::SnapshotStore::new);
    for (one, other) in one.iter().zip(&other) {
        assert_ne!(one, other);
    }
    // Clearing makes new tables, with a new seed.
    assert_ne!(one[0], one[2]);
    assert_ne!(one[1], one[3]);
}
