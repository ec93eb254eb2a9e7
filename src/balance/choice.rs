//! Policies that pick one of the pods in a single pass, without building a list.

use std::cmp::Ordering::{Greater, Less};

use super::hash::{RandomNumbers, below, mix, with};
use crate::model::record::ServiceInfo;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::Relaxed;

/// Receives the pods of a pass, one after the other.
pub(super) trait Offer<'p> {
    fn offer(&mut self, pod: &'p ServiceInfo, weight: u32);
}

/// The result of a pass.
pub(super) enum PassResult<'p> {
    Pod(&'p ServiceInfo),
    /// No pod was offered.
    Empty,
    /// The pass has to be repeated, because the policy has learned the number of pods.
    Repeat,
}

/// The side of the zone that a choice is made from.
#[derive(Clone, Copy)]
pub(super) enum ZoneSide {
    Own = 0,
    Others = 1,
}

/// A way to pick, for a single pick.
pub(super) trait Policy<'p> {
    type Choice: Offer<'p>;

    /// The number that decides whether this pick spills over to other zones. The same for every
    /// pass of a pick.
    fn spill_number(&self) -> u64;
    fn begin(&self, side: ZoneSide) -> Self::Choice;
    fn end(&mut self, choice: Self::Choice, side: ZoneSide) -> PassResult<'p>;
}

fn chosen(pod: Option<&ServiceInfo>) -> PassResult<'_> {
    pod.map_or(PassResult::Empty, PassResult::Pod)
}

// --- random

/// Picks a pod with a probability proportional to its weight.
pub(super) struct Random(pub(super) u64);

/// Each pod replaces the previous choice with probability weight / total weight so far (Chao: *A
/// general purpose unequal probability sampling plan*, 1982).
pub(super) struct RandomChoice<'p> {
    numbers: RandomNumbers,
    total: u64,
    chosen: Option<&'p ServiceInfo>,
}

impl<'p> Offer<'p> for RandomChoice<'p> {
    #[inline]
    fn offer(&mut self, pod: &'p ServiceInfo, weight: u32) {
        let weight = u64::from(weight);
        self.total += weight;
        if below(self.numbers.next(), self.total) < weight {
            self.chosen = Some(pod);
        }
    }
}

impl<'p> Policy<'p> for Random {
    type Choice = RandomChoice<'p>;

    fn spill_number(&self) -> u64 {
        mix(!self.0)
    }

    fn begin(&self, _: ZoneSide) -> RandomChoice<'p> {
        RandomChoice {
            numbers: RandomNumbers::new(self.0),
            total: 0,
            chosen: None,
        }
    }

    fn end(&mut self, choice: RandomChoice<'p>, _: ZoneSide) -> PassResult<'p> {
        chosen(choice.chosen)
    }
}

// --- two choices

/// Picks the less loaded of two different random pods.
pub(super) struct TwoChoices<F> {
    pub(super) random: u64,
    pub(super) load: F,
}

/// A random pair of the pods so far, each pair equally likely (Vitter: *Random sampling with a
/// reservoir*, 1985).
pub(super) struct RandomPair<'p> {
    numbers: RandomNumbers,
    seen: u64,
    two: [Option<&'p ServiceInfo>; 2],
}

impl<'p> Offer<'p> for RandomPair<'p> {
    #[inline]
    fn offer(&mut self, pod: &'p ServiceInfo, _: u32) {
        self.seen += 1;
        let place = match self.seen {
            1 => 0,
            2 => 1,
            seen => below(self.numbers.next(), seen),
        };
        // The place is unpredictable: two moves are faster than a branch.
        for (at, one) in (0..).zip(&mut self.two) {
            *one = if place == at { Some(pod) } else { *one };
        }
    }
}

impl<'p, L: PartialOrd, F: FnMut(&ServiceInfo) -> L> Policy<'p> for TwoChoices<F> {
    type Choice = RandomPair<'p>;

    fn spill_number(&self) -> u64 {
        mix(!self.random)
    }

    fn begin(&self, _: ZoneSide) -> RandomPair<'p> {
        RandomPair {
            numbers: RandomNumbers::new(self.random),
            seen: 0,
            two: [None; 2],
        }
    }

    fn end(&mut self, mut choice: RandomPair<'p>, _: ZoneSide) -> PassResult<'p> {
        let [Some(one), Some(two)] = choice.two else {
            return chosen(choice.two[0]);
        };
        let order = (self.load)(two).partial_cmp(&(self.load)(one));
        // Without a coin toss, the pod that comes first would win all ties.
        let coin = choice.numbers.next() >> 63 == 1;
        let takes_two = order == Some(Less) || coin && order != Some(Greater);
        PassResult::Pod([one, two][usize::from(takes_two)])
    }
}

// --- round robin

/// The state of [`round_robin`](super::Candidates::round_robin): the number of the next turn.
/// Threads may share one; each service should have its own.
#[derive(Debug, Default)]
pub struct RoundRobin {
    next: AtomicU64,
    /// The number of pods in the previous pick, on either side of the zone.
    counts: [AtomicU64; 2],
}

impl RoundRobin {
    /// Creates a state that begins with the first pod.
    #[must_use]
    pub fn new() -> RoundRobin {
        RoundRobin::default()
    }

    // Relaxed: the counter orders nothing else, and the counts are only guesses.

    pub(super) fn turn(&self) -> RoundRobinTurn<'_> {
        let counts = [0, 1].map(|side| self.counts[side].load(Relaxed).max(1));
        RoundRobinTurn {
            of: self,
            number: self.next.fetch_add(1, Relaxed),
            counts,
        }
    }
}

/// One pick by [`RoundRobin`], with its number.
pub(super) struct RoundRobinTurn<'r> {
    of: &'r RoundRobin,
    number: u64,
    /// The expected numbers of pods.
    counts: [u64; 2],
}

/// The pod at an index.
pub(super) struct PodAtIndex<'p> {
    at: u64,
    seen: u64,
    chosen: Option<&'p ServiceInfo>,
}

impl<'p> Offer<'p> for PodAtIndex<'p> {
    #[inline]
    fn offer(&mut self, pod: &'p ServiceInfo, _: u32) {
        if self.seen == self.at {
            self.chosen = Some(pod);
        }
        self.seen += 1;
    }
}

impl<'p> Policy<'p> for RoundRobinTurn<'_> {
    type Choice = PodAtIndex<'p>;

    fn spill_number(&self) -> u64 {
        // Multiplying by the golden ratio puts successive turns far apart, and spreads any run of
        // them evenly.
        self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn begin(&self, side: ZoneSide) -> PodAtIndex<'p> {
        PodAtIndex {
            at: self.number % self.counts[side as usize],
            seen: 0,
            chosen: None,
        }
    }

    fn end(&mut self, choice: PodAtIndex<'p>, side: ZoneSide) -> PassResult<'p> {
        let (count, seen) = (&mut self.counts[side as usize], choice.seen);
        if seen != *count && seen > 0 {
            self.of.counts[side as usize].store(seen, Relaxed);
            *count = seen;
            return PassResult::Repeat;
        }
        chosen(choice.chosen)
    }
}

// --- rendezvous

/// Picks the pod whose key hashes highest together with the given key.
pub(super) struct Rendezvous(pub(super) u64);

/// The best pod so far.
pub(super) struct HighestHash<'p> {
    key: u64,
    hash: u64,
    weight: u32,
    chosen: Option<&'p ServiceInfo>,
}

/// Returns the score of a hash with a weight, so that each pod wins in proportion to its weight
/// (Schindelhauer, Schomaker: *Weighted distributed hash tables*, 2005).
#[allow(clippy::cast_precision_loss)] // a float has 53 bits
fn score(hash: u64, weight: u32) -> f64 {
    let uniform = ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    f64::from(weight) / -uniform.ln()
}

/// Kept out of line, because fleets with equal weights never call it.
#[cold]
#[inline(never)]
fn scores_higher(one: (u64, u32), than: (u64, u32)) -> bool {
    score(one.0, one.1) > score(than.0, than.1)
}

impl<'p> Offer<'p> for HighestHash<'p> {
    #[inline]
    fn offer(&mut self, pod: &'p ServiceInfo, weight: u32) {
        let hash = with(self.key, pod.key());
        let is_better = match self.chosen {
            None => true,
            // With equal weights, the score grows with the hash.
            Some(_) if weight == self.weight => hash > self.hash,
            Some(_) => scores_higher((hash, weight), (self.hash, self.weight)),
        };
        if is_better {
            *self = HighestHash {
                key: self.key,
                hash,
                weight,
                chosen: Some(pod),
            };
        }
    }
}

impl<'p> Policy<'p> for Rendezvous {
    type Choice = HighestHash<'p>;

    fn spill_number(&self) -> u64 {
        mix(self.0)
    }

    fn begin(&self, _: ZoneSide) -> HighestHash<'p> {
        HighestHash {
            key: self.0,
            hash: 0,
            weight: 0,
            chosen: None,
        }
    }

    fn end(&mut self, choice: HighestHash<'p>, _: ZoneSide) -> PassResult<'p> {
        chosen(choice.chosen)
    }
}
