//! The steps of a thread, prepared before a clock starts.
//!
//! A [`StepSequence`] is a long row of steps that a thread repeats: exactly the proportions of a
//! mix, in random order, on random keys. The texts of the keys lie one behind the other in memory
//! of their own. A real caller has its key in its cache, because it has just read it from a
//! request; but a text that the store shares would warm the store's cache lines.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, SystemTime};

use rand::RngExt;
use rand::distr::Distribution;
use rand::seq::SliceRandom;
use rand_distr::Zipf;
use service_registry::{Batch, ServiceInfo, ServiceStatus};

use crate::fleet::{Fleet, Rng};
use crate::scenario::{Keys, Op};
use crate::subject::Handle;

/// The steps of all threads together: too many for a branch predictor to learn their order. A
/// debug build is only tested, and has fewer.
const STEPS: usize = if cfg!(debug_assertions) { 1 << 13 } else { 1 << 16 };

/// The number of prepared records of each pod, which replace it in turns. Creating a record takes
/// longer than saving it, and each differs from the record in the store.
const REPLACEMENTS: usize = 4;

/// The minimum number of steps of a thread.
const FEWEST: usize = 1 << 11;

/// One operation and its argument.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// The start of its text; for a replacement, the index of its record.
    start: u32,
    /// The length of its text.
    len: u16,
    /// Its index in the mix.
    op: u8,
}

/// The options of a [`StepSequence`].
#[derive(Clone, Copy, Debug)]
pub(super) struct SequenceOptions<'a> {
    /// Operations, by weights.
    pub(super) mix: &'a [(Op, u32)],
    /// The distribution of keys.
    pub(super) keys: Keys,
    /// The pods, the most popular first.
    pub(super) popular: &'a [usize],
    /// The steps of a burst, which have exactly the proportions of the mix. `None`: the whole
    /// sequence has them.
    pub(super) burst: Option<usize>,
}

/// The prepared steps of a thread.
#[derive(Debug)]
pub(super) struct StepSequence {
    fleet: Fleet,
    ops: Vec<Op>,
    chained: bool,
    text: String,
    steps: Vec<Step>,
    pods: Vec<u32>,
    records: Vec<ServiceInfo>,
}

/// Returns how many of `steps` each operation of a mix gets: its share, rounded so that the sum is
/// `steps`.
fn shares(mix: &[(Op, u32)], steps: usize) -> Vec<usize> {
    let all: u64 = mix.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut before = 0;
    let mut end = 0;
    let share = |(_, weight): &(Op, u32)| {
        end += u64::from(*weight);
        let upto = usize::try_from(end * steps as u64 / all).expect("a part of the steps");
        upto - std::mem::replace(&mut before, upto)
    };
    mix.iter().map(share).collect()
}

impl StepSequence {
    /// Creates a shuffled sequence for one of `threads`.
    pub(super) fn new(
        fleet: Fleet,
        options: &SequenceOptions<'_>,
        threads: usize,
        rng: &mut Rng,
    ) -> StepSequence {
        let SequenceOptions { mix, keys, popular, burst } = *options;
        let len = (STEPS / threads).next_power_of_two().clamp(FEWEST, STEPS);
        let (burst, room) = burst.map_or((len, len), |burst| (burst, burst.next_power_of_two()));
        let mut order: Vec<u8> = Vec::with_capacity(len);
        while order.len() < len {
            let first = order.len();
            for (op, share) in shares(mix, burst).into_iter().enumerate() {
                let op = u8::try_from(op).expect("a handful of operations");
                order.resize(order.len() + share, op);
            }
            order[first..].shuffle(rng);
            // Padding to a power of two, which is never run.
            order.resize(first + room, 0);
        }
        let zipf = match keys {
            Keys::Zipf(exponent) => Zipf::new(popular.len() as f64, exponent).ok(),
            _ => None,
        };
        let mut sequence = StepSequence {
            fleet,
            ops: mix.iter().map(|(op, _)| *op).collect(),
            chained: keys == Keys::Chained,
            text: String::new(),
            steps: Vec::with_capacity(len),
            pods: Vec::with_capacity(len),
            records: Vec::new(),
        };
        let mut known = HashMap::new();
        for (at, op) in order.into_iter().enumerate() {
            let place = match (keys, &zipf) {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 1 to n
                (_, Some(zipf)) => zipf.sample(rng) as usize - 1,
                (Keys::Hot(few), _) => rng.random_range(0..few.min(popular.len())),
                _ => rng.random_range(0..popular.len()),
            };
            let replaces = sequence.ops[usize::from(op)] == Op::Replace;
            let like = (op, place, if replaces { at % REPLACEMENTS } else { 0 });
            let same = known.get(&like).copied();
            let step = sequence.push(op, popular[place], same);
            known.entry(like).or_insert(step);
        }
        sequence
    }

    /// Appends a step. `known` is a step with the same text, which is faster to copy than to
    /// create.
    fn push(&mut self, op: u8, pod: usize, known: Option<Step>) -> Step {
        let mut start = self.text.len();
        match (self.ops[usize::from(op)], known) {
            (Op::Replace, Some(known)) => start = known.start as usize,
            (Op::Replace, None) => {
                start = self.records.len();
                self.records.push(self.fleet.record(pod));
            }
            (_, Some(known)) => {
                let from = known.start as usize;
                self.text.extend_from_within(from..from + usize::from(known.len));
            }
            (Op::Miss, _) => self.text += &self.fleet.absent_key(pod),
            (Op::ByName | Op::Subscribers, _) => self.text += &self.fleet.name(pod),
            _ => self.text += &self.fleet.key(pod),
        }
        let step = Step {
            len: u16::try_from(self.text.len().saturating_sub(start)).unwrap_or(0),
            start: u32::try_from(start).expect("a few megabytes"),
            op,
        };
        self.steps.push(step);
        self.pods.push(u32::try_from(pod).expect("a few million pods"));
        step
    }

    /// Returns the number of steps, a power of two.
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// Returns the number of operations of a step: each change of a batch is one.
    pub(super) fn weight(&self) -> u64 {
        match self.ops[..] {
            [Op::Batch(changes)] => changes.into(),
            _ => 1,
        }
    }

    #[inline]
    fn at(&self, place: u64) -> (usize, Step) {
        #[allow(clippy::cast_possible_truncation)] // the mask is a usize
        let at = place as usize & (self.steps.len() - 1);
        (at, self.steps[at])
    }

    #[inline]
    fn text(&self, step: Step) -> &str {
        let start = step.start as usize;
        &self.text[start..start + usize::from(step.len)]
    }

    /// Returns the text of the step at a position.
    fn key(&self, place: u64) -> &str {
        self.text(self.at(place).1)
    }

    /// Does `count` steps from a position on. Their health checks have the times `now` and the
    /// nanoseconds after it. Returns the number of wrong answers.
    #[inline(never)]
    pub(super) fn run(
        &self,
        handle: &mut impl Handle,
        from: u64,
        count: u32,
        now: SystemTime,
    ) -> u64 {
        match self.ops[..] {
            // Operations of a few nanoseconds have a loop of their own.
            [Op::With] if self.chained => self.chain(handle, from, count),
            [Op::With] => self.each(from, count, |key, _| with(handle, key)),
            [Op::Get] => self.each(from, count, |key, _| handle.get(key)),
            [Op::Miss] => self.each(from, count, |key, _| handle.miss(key)),
            [Op::Update] => self.each(from, count, |key, at| {
                handle.update(key, status_at(at), now + Duration::new(0, at))
            }),
            _ => self.mixed(handle, from, count, now),
        }
    }

    #[inline]
    fn each(&self, from: u64, count: u32, mut call: impl FnMut(&str, u32) -> bool) -> u64 {
        let mut wrong = 0;
        for at in 0..count {
            let (_, step) = self.at(from + u64::from(at));
            wrong += u64::from(!call(self.text(step), at));
        }
        wrong
    }

    /// The position of each step depends on the answer of the previous one: 1 further if the pod is
    /// healthy, and all pods are.
    #[inline]
    fn chain(&self, handle: &mut impl Handle, from: u64, count: u32) -> u64 {
        let mut wrong = 0;
        let mut place = from;
        for _ in 0..count {
            let (_, step) = self.at(place);
            let answer = black_box(handle.with(self.text(step)));
            let off = answer.map_or(7, |status| status as u64 - ServiceStatus::Healthy as u64);
            wrong += off;
            place += 1 + off;
        }
        wrong
    }

    fn mixed(&self, handle: &mut impl Handle, from: u64, count: u32, now: SystemTime) -> u64 {
        let mut wrong = 0;
        for at in 0..count {
            let place = from + u64::from(at);
            let (_, step) = self.at(place);
            let time = || now + Duration::new(0, at);
            let right = match self.ops[usize::from(step.op)] {
                Op::With => with(handle, self.text(step)),
                Op::Get => handle.get(self.text(step)),
                Op::Miss => handle.miss(self.text(step)),
                Op::Update => handle.update(self.text(step), status_at(at), time()),
                Op::Replace => handle.replace(self.replacement(step, time())),
                Op::ByName => handle.by_name(self.text(step)) == self.fleet.0.pods_per_name,
                Op::Subscribers => {
                    handle.subscribers(self.text(step)) == self.fleet.0.subscribers_per_group
                }
                Op::Scan => handle.scan() == self.fleet.0.services,
                Op::View(many) => {
                    let keys = (place..place + u64::from(many)).map(|place| self.key(place));
                    handle.view(keys) == many as usize
                }
                Op::Batch(many) => {
                    let mut batch = Batch::with_capacity(many as usize);
                    for place in place..place + u64::from(many) {
                        batch.update_health_status(self.key(place), status_at(at), time());
                    }
                    handle.commit(batch)
                }
                // These are done by `Churn`.
                Op::Insert | Op::Remove | Op::Subscribe | Op::Unsubscribe => false,
            };
            wrong += u64::from(!right);
        }
        wrong
    }

    #[inline]
    fn replacement(&self, step: Step, at: SystemTime) -> ServiceInfo {
        self.records[step.start as usize]
            .with_health(ServiceStatus::Healthy, at)
            .expect("a good time")
    }

    /// Returns the pods whose health the step at a position sets.
    pub(super) fn changes(&self, place: u64) -> impl Iterator<Item = usize> {
        let (_, step) = self.at(place);
        let many = match self.ops[usize::from(step.op)] {
            Op::Update | Op::Replace => 1,
            Op::Batch(many) => many.into(),
            _ => 0,
        };
        (place..place + many).map(|place| self.pods[self.at(place).0] as usize)
    }
}

#[inline]
fn with(handle: &mut impl Handle, key: &str) -> bool {
    black_box(handle.with(key)).is_some()
}

/// Returns the status of a check: one of ten is unhealthy.
#[inline]
fn status_at(at: u32) -> ServiceStatus {
    if at % 10 == 3 { ServiceStatus::Unhealthy } else { ServiceStatus::Healthy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{rng, shuffled};
    use crate::scenario::FleetSize;

    #[test]
    fn the_shares_of_a_mix_add_up_and_are_its_proportions() {
        for steps in [1, 100, FEWEST, STEPS] {
            for mix in [
                vec![(Op::Get, 95), (Op::Update, 3), (Op::Replace, 2)],
                vec![(Op::Get, 1), (Op::Update, 1), (Op::Miss, 1)],
                vec![(Op::With, 7)],
            ] {
                let shares = shares(&mix, steps);
                assert_eq!(shares.iter().sum::<usize>(), steps);
                let all: u32 = mix.iter().map(|(_, weight)| weight).sum();
                for ((_, weight), share) in mix.iter().zip(shares) {
                    let exact = *weight as usize * steps / all as usize;
                    assert!(share.abs_diff(exact) <= 1, "{share} of {steps} for {weight}");
                }
            }
        }
    }

    #[test]
    fn some_keys_are_asked_for_more_than_others_only_where_they_should_be() {
        let fleet = Fleet(FleetSize::default());
        let mut rng = rng(1, "test");
        let popular = shuffled(1_000, &mut rng);
        let mut most = |keys| {
            let options =
                SequenceOptions { mix: &[(Op::With, 1)], keys, popular: &popular, burst: None };
            let sequence = StepSequence::new(fleet, &options, 1, &mut rng);
            let mut counts = vec![0; 1_000];
            sequence.pods.iter().for_each(|pod| counts[*pod as usize] += 1);
            let asked = counts.iter().filter(|count| **count > 0).count();
            counts.sort_unstable();
            (asked, counts[999], sequence.len())
        };
        let (asked, count, len) = most(Keys::Uniform);
        assert!(asked > 980 && count < 4 * len / 1_000, "{count}");
        let (asked, count, len) = most(Keys::Hot(8));
        assert!(asked == 8 && count < len / 7, "{count}");
        // The first of 1,000 gets 1 / 7.5 of all at an exponent of 0.99.
        let (asked, count, len) = most(Keys::Zipf(0.99));
        assert!(asked > 500 && (len / 9..len / 6).contains(&count), "{count}");
    }
}
