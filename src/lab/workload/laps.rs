//! Operations that threads make over and over until they are told to stop.

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Zipf};

use super::{Fleet, LabRng, Mix, PROBES, Texts, epoch, shuffled};
use crate::hash::RandomState;
use crate::{ServiceInfo, ServiceStatus};

/// Operations among which a mix is exact.
const HAND: usize = 100;

/// Hands in a deal: as many operations as a deck has keys, and a few more.
const HANDS: usize = PROBES.div_ceil(HAND);

/// To how many threads a deal can be dealt out: a hand for each.
pub const MOST_THREADS: usize = HANDS;

/// Which pods are asked for.
#[derive(Debug)]
pub enum Popularity {
    /// Each of these as often as the others.
    Uniform(Vec<usize>),
    /// The first of these most, the n-th by a power of n less.
    Zipf(Zipf<f64>, Vec<usize>),
}

impl Popularity {
    /// All pods of a fleet, each as often as the others.
    pub fn uniform(fleet: Fleet) -> Popularity {
        Popularity::Uniform((0..fleet.pods).collect())
    }

    /// So many pods of a fleet, drawn at random, each as often as the others.
    pub fn hot(fleet: Fleet, keys: usize, rng: &mut LabRng) -> Popularity {
        let mut pods = shuffled(fleet.pods, rng);
        pods.truncate(keys);
        Popularity::Uniform(pods)
    }

    /// All pods of a fleet in random order: the n-th is asked for in proportion to
    /// n to the power of `-exponent`.
    ///
    /// # Panics
    ///
    /// Where the fleet is empty, or the exponent negative.
    #[allow(clippy::cast_precision_loss)] // far fewer pods than 2^52
    pub fn zipf(fleet: Fleet, exponent: f64, rng: &mut LabRng) -> Popularity {
        let zipf = Zipf::new(fleet.pods as f64, exponent).expect("pods, and an exponent");
        Popularity::Zipf(zipf, shuffled(fleet.pods, rng))
    }

    fn pick(&self, rng: &mut impl Rng) -> usize {
        match self {
            Popularity::Uniform(pods) => pods[rng.random_range(0..pods.len())],
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 1 to pods
            Popularity::Zipf(zipf, pods) => pods[zipf.sample(rng) as usize - 1],
        }
    }
}

/// What is done to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Read,
    Save,
    Check(ServiceStatus),
}

/// Operations of all threads together, of which each gets a part.
///
/// Of a hundred that follow each other exactly as many are writes as the mix says;
/// half of those replace a record, half are health checks. Every pod in it is
/// registered, so that each operation hits.
#[derive(Debug)]
pub struct Deal {
    fleet: Fleet,
    mix: Mix,
    acts: Vec<(usize, Act)>,
    keys: Texts,
}

impl Deal {
    /// Deals out.
    pub fn new(fleet: Fleet, mix: Mix, pods: &Popularity, rng: &mut LabRng) -> Deal {
        let mut acts = Vec::with_capacity(HANDS * HAND);
        let mut writes = 0_usize;
        for _ in 0..HANDS {
            let mut is_write = [false; HAND];
            is_write[..mix.writes * HAND / 100].fill(true);
            is_write.shuffle(rng);
            for is_write in is_write {
                writes += usize::from(is_write);
                let act = match is_write {
                    false => Act::Read,
                    true if writes.is_multiple_of(2) => Act::Save,
                    true => Act::Check(match rng.random_range(0..10) {
                        0 => ServiceStatus::Unhealthy,
                        _ => ServiceStatus::Healthy,
                    }),
                };
                acts.push((pods.pick(rng), act));
            }
        }
        // Most pods occur often, and writing a key out takes long.
        let mut known: HashMap<usize, String, RandomState> = HashMap::default();
        for &(pod, _) in &acts {
            known.entry(pod).or_insert_with(|| Fleet::key(pod));
        }
        let keys = acts.iter().map(|(pod, _)| &known[pod]).collect();
        Deal {
            fleet,
            mix,
            acts,
            keys,
        }
    }

    /// How many of its operations are writes.
    pub fn mix(&self) -> Mix {
        self.mix
    }

    /// Who is registered.
    pub fn fleet(&self) -> Fleet {
        self.fleet
    }

    /// The part of each of so many threads, in whole hands.
    ///
    /// # Panics
    ///
    /// Where there are no threads, or more than [`MOST_THREADS`].
    pub fn laps<'a>(&'a self, threads: usize, wardrobe: &mut Wardrobe) -> Vec<Lap<'a>> {
        let each = HANDS / threads * HAND;
        assert!(each > 0, "a hand for each of {threads} threads");
        (0..threads)
            .map(|thread| self.lap(thread, thread * each..(thread + 1) * each, wardrobe))
            .collect()
    }

    fn lap(&self, thread: usize, places: Range<usize>, wardrobe: &mut Wardrobe) -> Lap<'_> {
        let mut lap = Lap {
            turns: Vec::with_capacity(places.len()),
            records: Vec::new(),
            at: 0,
            now: epoch() + LIFETIME * u32::try_from(thread + 1).unwrap_or(u32::MAX),
        };
        let mut worn: HashMap<usize, u32, RandomState> = HashMap::default();
        for place in places {
            let (pod, act) = self.acts[place];
            let what = match act {
                Act::Read => What::Read,
                Act::Save => What::Save(*worn.entry(pod).or_insert_with(|| {
                    lap.records.push(wardrobe.record(self.fleet, thread, pod));
                    u32::try_from(lap.records.len() - 1).expect("no more than operations")
                })),
                Act::Check(status) => What::Check(status),
            };
            let key = self.keys.get(place);
            lap.turns.push(Turn { key, what });
        }
        lap
    }
}

/// How long a thread can go on before its times meet those of the next.
const LIFETIME: Duration = Duration::from_secs(1_000_000);

/// Records that threads register anew, kept from one deal to the next because
/// they take long to make. Each thread has its own: where a record was made does
/// not tie threads together that have nothing else to do with each other.
#[derive(Debug, Default)]
pub struct Wardrobe(HashMap<(usize, usize), ServiceInfo, RandomState>);

impl Wardrobe {
    fn record(&mut self, fleet: Fleet, thread: usize, pod: usize) -> ServiceInfo {
        let record = self.0.entry((thread, pod));
        record.or_insert_with(|| fleet.record(pod)).clone()
    }
}

/// How many operations of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Reads.
    pub reads: u64,
    /// `save_service`
    pub saves: u64,
    /// `update_health_status`
    pub checks: u64,
}

impl Kinds {
    /// All of them.
    pub fn operations(self) -> u64 {
        self.reads + self.writes()
    }

    /// Those that write.
    pub fn writes(self) -> u64 {
        self.saves + self.checks
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Kinds) -> Kinds {
        self.join(other, |a, b| a + b)
    }

    fn join(self, other: Kinds, each: impl Fn(u64, u64) -> u64) -> Kinds {
        Kinds {
            reads: each(self.reads, other.reads),
            saves: each(self.saves, other.saves),
            checks: each(self.checks, other.checks),
        }
    }
}

/// One operation of a lap.
#[derive(Clone, Copy, Debug)]
struct Turn<'a> {
    key: &'a str,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Read,
    /// Of the lap's records, by number.
    Save(u32),
    Check(ServiceStatus),
}

/// One operation, with what it is called with.
#[derive(Debug)]
pub enum Call<'a> {
    /// A read.
    Read(&'a str),
    /// `save_service`
    Save(ServiceInfo),
    /// `update_health_status`
    Check(&'a str, ServiceStatus, SystemTime),
}

/// What one thread does: its operations in turn, and from the first again after
/// the last.
#[derive(Debug)]
pub struct Lap<'a> {
    turns: Vec<Turn<'a>>,
    records: Vec<ServiceInfo>,
    at: usize,
    /// Moves on with every write, so that each of them changes something: what
    /// changes nothing would cost less.
    now: SystemTime,
}

impl<'a> Lap<'a> {
    /// The next operation. A record that is registered anew shares its texts with
    /// one that is kept here, so that neither is it made nor does it end while the
    /// clock runs.
    #[inline]
    #[allow(clippy::missing_panics_doc)] // the times are good ones
    pub fn next_call(&mut self) -> Call<'a> {
        let turn = self.turns[self.at];
        self.at += 1;
        if self.at == self.turns.len() {
            self.at = 0;
        }
        match turn.what {
            What::Read => Call::Read(turn.key),
            What::Save(record) => {
                self.now += Duration::from_micros(1);
                let record = self.records[record as usize].clone();
                Call::Save(record.with_registered_at(self.now).expect("a good time"))
            }
            What::Check(status) => {
                self.now += Duration::from_micros(1);
                Call::Check(turn.key, status, self.now)
            }
        }
    }

    /// The keys of its operations, from the first to the last.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.turns.iter().map(|turn| turn.key)
    }

    /// What the operations of such numbers were, counted from the first ever.
    pub fn kinds(&self, operations: &Range<u64>) -> Kinds {
        let length = self.turns.len() as u64;
        let until = |end: u64| {
            #[allow(clippy::cast_possible_truncation)] // less than the length of a vector
            let (laps, rest) = (end / length, (end % length) as usize);
            let (lap, rest) = (count(&self.turns), count(&self.turns[..rest]));
            lap.join(rest, |lap, rest| lap * laps + rest)
        };
        until(operations.end).join(until(operations.start), |end, start| end - start)
    }
}

fn count(turns: &[Turn<'_>]) -> Kinds {
    let mut kinds = Kinds::default();
    for turn in turns {
        match turn.what {
            What::Read => kinds.reads += 1,
            What::Save(_) => kinds.saves += 1,
            What::Check(_) => kinds.checks += 1,
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::super::seeded;
    use super::*;
    use crate::{MemoryStore, RegistryStore};

    const FLEET: Fleet = Fleet::new(1_000);

    fn deal(writes: usize, seed: u64) -> Deal {
        let pods = Popularity::uniform(FLEET);
        Deal::new(FLEET, Mix { writes }, &pods, &mut seeded(seed))
    }

    #[test]
    fn one_seed_deals_one_deal_and_another_seed_another() {
        let (a, b, other) = (deal(20, 7), deal(20, 7), deal(20, 8));
        assert_eq!((&a.acts, &a.keys), (&b.acts, &b.keys));
        assert_ne!(a.acts, other.acts);
    }

    #[test]
    fn mixes_are_exact_in_every_hand_and_half_of_the_writes_are_checks() {
        for mix in Mix::ALL {
            let deal = deal(mix.writes, 1);
            assert!(deal.acts.len() >= PROBES);
            for hand in deal.acts.chunks(HAND) {
                let writes = hand.iter().filter(|(_, act)| *act != Act::Read);
                assert_eq!(writes.count(), mix.writes);
            }
            let saves = deal.acts.iter().filter(|(_, act)| *act == Act::Save);
            assert_eq!(saves.count(), HANDS * mix.writes / 2);
        }
    }

    #[test]
    fn every_operation_hits_and_every_write_changes_something_lap_after_lap() {
        let store = MemoryStore::new();
        FLEET
            .fill(&store, &shuffled(FLEET.pods, &mut seeded(1)))
            .unwrap();
        let deal = deal(50, 1);
        // So many threads that each has two hands and comes round several times.
        let mut laps = deal.laps(300, &mut Wardrobe::default());
        let before = store.revision().as_u64();
        let mut kinds = Kinds::default();
        for (thread, lap) in laps.iter_mut().take(4).enumerate() {
            for _ in 0..700 + thread {
                match lap.next_call() {
                    Call::Read(key) => {
                        assert_eq!(*store.get_service(key).unwrap().key(), *key);
                    }
                    Call::Save(record) => store.save_service(record).unwrap(),
                    Call::Check(key, status, at) => {
                        store.update_health_status(key, status, at).unwrap();
                    }
                }
            }
            kinds = kinds.and(lap.kinds(&(0..700 + thread as u64)));
        }
        assert_eq!(store.revision().as_u64(), before + kinds.writes());
        assert_eq!(kinds.operations(), 2_806);
        assert_eq!(store.stats().unwrap().services, FLEET.pods);
    }

    #[test]
    fn the_kinds_of_a_range_are_those_that_were_called() {
        let deal = deal(20, 3);
        let mut laps = deal.laps(300, &mut Wardrobe::default());
        let lap = &mut laps[0];
        let mut counted = Kinds::default();
        for number in 0..1_000 {
            let call = lap.next_call();
            if (130..777).contains(&number) {
                match call {
                    Call::Read(_) => counted.reads += 1,
                    Call::Save(_) => counted.saves += 1,
                    Call::Check(..) => counted.checks += 1,
                }
            }
        }
        assert_eq!(lap.kinds(&(130..777)), counted);
        assert_eq!(lap.kinds(&(5..5)), Kinds::default());
    }

    #[test]
    fn threads_share_keys_and_not_records() {
        let deal = deal(100, 1);
        let laps = deal.laps(2, &mut Wardrobe::default());
        let pods = |lap: &Lap<'_>| -> std::collections::HashSet<String> {
            lap.turns.iter().map(|turn| turn.key.to_owned()).collect()
        };
        assert_eq!(pods(&laps[0]), pods(&laps[1]));
        let addresses = |lap: &Lap<'_>| -> std::collections::HashSet<*const u8> {
            let keys = lap.records.iter();
            keys.map(|record| record.key().as_ptr()).collect()
        };
        assert!(addresses(&laps[0]).is_disjoint(&addresses(&laps[1])));
    }

    #[test]
    fn hot_keys_are_as_many_as_was_asked_for() {
        for keys in [1, 8] {
            let mut rng = seeded(1);
            let pods = Popularity::hot(FLEET, keys, &mut rng);
            let deal = Deal::new(FLEET, Mix { writes: 10 }, &pods, &mut rng);
            let asked: std::collections::HashSet<usize> =
                deal.acts.iter().map(|(pod, _)| *pod).collect();
            assert_eq!(asked.len(), keys);
        }
    }

    #[test]
    #[allow(clippy::cast_precision_loss)]
    fn shares_fall_by_the_power_that_was_asked_for() {
        let fleet = Fleet::new(10_000);
        let pods = Popularity::zipf(fleet, 0.99, &mut seeded(1));
        let Popularity::Zipf(_, order) = &pods else {
            panic!("not zipf");
        };
        let deal = Deal::new(fleet, Mix { writes: 5 }, &pods, &mut seeded(2));
        let mut asked = vec![0_u32; fleet.pods];
        for (pod, _) in &deal.acts {
            asked[*pod] += 1;
        }
        let weight = |rank: usize| (rank as f64 + 1.0).powf(-0.99);
        let all: f64 = (0..fleet.pods).map(weight).sum();
        for ranks in [0..1, 1..2, 2..10, 10..100, 100..1_000, 1_000..10_000] {
            let expected = ranks.clone().map(weight).sum::<f64>() / all;
            let found = order[ranks].iter().map(|&pod| asked[pod]).sum::<u32>();
            let found = f64::from(found) / deal.acts.len() as f64;
            // Ten standard deviations.
            let slack = 10.0 * (expected / deal.acts.len() as f64).sqrt();
            assert!((found - expected).abs() < slack, "{found} {expected}");
        }
    }
}
