//! Who comes into question, and one of them.
//!
//! Each way to pick is one pass over the pods with a state of a few words: a weighted reservoir of one
//! (random), a reservoir of two (two choices), the best hash so far (rendezvous), the place whose turn
//! it is (round robin). That place is the turn modulo the number of pods, which is known at the end
//! only: so the number of the last time is assumed, and where it was another one, there is a second
//! pass. The same for what is rare: panic mode, and more pods ejected than may be. Weights and zones
//! lie behind the pointer of a record; a pick that asks for neither zone nor labels reads the weight
//! only.

use std::time::Instant;

use super::balancer::Balancer;
use super::choice::{Chosen, Offer, Policy, Random, Rendezvous, RoundRobin, Side, TwoChoices};
use super::ejections::{Ejections, Out};
use super::hash;
use super::pods::Pods;
use super::subset::BestOf;
use crate::model::labels::is_same;
use crate::model::record::ServiceInfo;
use crate::model::status::ServiceStatus;

impl Balancer {
    /// Looks at the pods of a name: of a view, `(&view, "checkout")`, or of a list. O(1): what
    /// costs is to pick one.
    pub fn among<'p, P: Pods<'p>>(&self, pods: P) -> Candidates<'_, P> {
        Candidates {
            balancer: self,
            pods,
            spared: None,
        }
    }
}

/// Pods, of which one is picked by what a [`Balancer`] says. Each way to pick answers with `None`
/// where none comes into question, and costs O(*p*) for *p* pods of the name; it allocates nothing up
/// to a [subset](Balancer::with_subset) of 64.
#[derive(Clone, Copy, Debug)]
#[must_use = "nobody has been picked yet"]
pub struct Candidates<'b, P> {
    balancer: &'b Balancer,
    pods: P,
    spared: Option<(&'b Ejections, Instant)>,
}

/// Which pods a pass offers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Healthy ones that are not left out.
    Usual,
    /// Healthy ones.
    All,
    /// Those that are not draining.
    Panic,
}

/// What a pass has seen: weights, of the own zone and of others, and counts of healthy pods.
#[derive(Default)]
struct Seen {
    possible: [u64; 2],
    healthy: [u64; 2],
    pods: usize,
    ejected: usize,
}

impl<'b, 'p, P: Pods<'p>> Candidates<'b, P> {
    /// Leaves out those that are ejected at the time `now`.
    pub fn sparing(self, ejections: &'b Ejections, now: Instant) -> Candidates<'b, P> {
        Candidates {
            spared: Some((ejections, now)),
            ..self
        }
    }

    /// Each in turn, whatever its weight (but 0). As long as the pods stay the same, of so many
    /// picks in a row as there are pods each gets one, by whichever threads; where some
    /// [spill](Balancer::with_zone), as many in the long run.
    pub fn round_robin(self, turns: &RoundRobin) -> Option<&'p ServiceInfo> {
        self.pick(turns.turn())
    }

    /// One at random, each with the probability of its part of the weight.
    pub fn random(self, random: u64) -> Option<&'p ServiceInfo> {
        self.pick(Random(random))
    }

    /// The less loaded of two different ones at random (Mitzenmacher: *The power of two choices in
    /// randomized load balancing*, 2001); of two that are equal, either. `load` is asked for both.
    /// Weights (but 0) count as the caller has them count, who may divide by them.
    pub fn two_choices<L: PartialOrd>(
        self,
        random: u64,
        load: impl FnMut(&ServiceInfo) -> L,
    ) -> Option<&'p ServiceInfo> {
        self.pick(TwoChoices { random, load })
    }

    /// The one that belongs to a key, for every client that sees the same pods: rendezvous hashing
    /// (Thaler, Ravishankar: *A name-based mapping scheme for rendezvous*, 1996), with weights. Of
    /// the keys of a pod that goes, each meets another one, and no other key moves; a pod that
    /// comes takes its part of the keys from all. The hash is the same in every process and in every
    /// version of this crate.
    pub fn rendezvous(self, key: &str) -> Option<&'p ServiceInfo> {
        self.pick(Rendezvous(hash::text(key)))
    }

    fn pick(self, mut policy: impl Policy<'p>) -> Option<&'p ServiceInfo> {
        let mut mode = Mode::Usual;
        loop {
            let (mut own, mut others) = (policy.begin(Side::Own), policy.begin(Side::Others));
            let seen = self.offer(mode, &mut own, &mut others);
            if self.leaves_out_too_many(&seen) {
                mode = Mode::All;
                continue;
            }
            if mode != Mode::Panic && self.panics(&seen) {
                mode = Mode::Panic;
                continue;
            }
            let chosen = match self.side(&seen, policy.toss()) {
                Side::Own => policy.end(own, Side::Own),
                Side::Others => policy.end(others, Side::Others),
            };
            match chosen {
                Chosen::Pod(pod) => return Some(pod),
                Chosen::Nobody => return None,
                Chosen::Again => {}
            }
        }
    }

    /// Offers the pods that come into question, or this client's of them.
    #[inline]
    fn offer<O: Offer<'p>>(&self, mode: Mode, own: &mut O, others: &mut O) -> Seen {
        // Given back before the caller is asked for loads: who calls `eject` waits for it.
        let spared = self.spared.filter(|_| mode == Mode::Usual);
        let guard = spared.and_then(|(ejections, now)| Some((ejections.read()?, now)));
        let out = guard.as_ref().map(|(guard, now)| Out::new(guard, *now));
        let Some(subset) = self.balancer.subset else {
            return self.pass(mode, out, own, others);
        };
        let (mut of_own, mut of_others) = (BestOf::new(subset), BestOf::new(subset));
        let seen = self.pass(mode, out, &mut of_own, &mut of_others);
        of_own.offer_to(own);
        of_others.offer_to(others);
        seen
    }

    /// Offers each pod that comes into question to the side that it is of.
    #[inline]
    fn pass<O: Offer<'p>>(
        &self,
        mode: Mode,
        out: Option<Out<'_>>,
        own: &mut O,
        others: &mut O,
    ) -> Seen {
        let Balancer { labels, zone, .. } = self.balancer;
        let panic_below = self.balancer.panic_below;
        if zone.is_none() && panic_below.is_none() && out.is_none() && labels.is_empty() {
            return self.pass_plainly(others);
        }
        // Who is not healthy counts only where somebody asks how many there are.
        let counts = zone.is_some() || panic_below.is_some();
        let mut seen = Seen::default();
        for pod in self.pods.pods() {
            let is_healthy = match pod.status() {
                ServiceStatus::Draining => continue,
                ServiceStatus::Healthy => true,
                _ if counts => false,
                _ => continue,
            };
            let weight = pod.weight();
            if weight == 0 || !(labels.is_empty() || labels.hold(pod)) {
                continue;
            }
            let is_own = (zone.as_ref()).is_some_and(|zone| is_same(&zone.name, pod.zone()));
            let side = if is_own { Side::Own } else { Side::Others };
            seen.possible[side as usize] += u64::from(weight);
            let mut is_good = is_healthy;
            if let Some(out) = out.filter(|_| is_healthy) {
                is_good = !out.has(pod);
                seen.pods += 1;
                seen.ejected += usize::from(!is_good);
            }
            if is_good {
                seen.healthy[side as usize] += u64::from(weight);
            }
            if mode == Mode::Panic {
                others.offer(pod, weight);
            } else if is_good {
                match side {
                    Side::Own => own.offer(pod, weight),
                    Side::Others => others.offer(pod, weight),
                }
            }
        }
        if mode == Mode::Panic {
            // Of whatever zone.
            seen.healthy = [0, 1];
        }
        seen
    }

    /// The same where nothing is asked but health and a weight: there is nothing to count.
    #[inline]
    fn pass_plainly(&self, others: &mut impl Offer<'p>) -> Seen {
        for pod in self.pods.pods() {
            if pod.status() == ServiceStatus::Healthy {
                let weight = pod.weight();
                if weight > 0 {
                    others.offer(pod, weight);
                }
            }
        }
        Seen::default()
    }

    fn leaves_out_too_many(&self, seen: &Seen) -> bool {
        let spared = self.spared.filter(|_| seen.ejected > 0);
        spared.is_some_and(|(ejections, _)| seen.ejected > ejections.most_of(seen.pods))
    }

    #[allow(clippy::cast_precision_loss)] // a part is near enough
    fn panics(&self, seen: &Seen) -> bool {
        let [healthy, possible] = [seen.healthy, seen.possible].map(|of| of[0] + of[1]);
        let part = healthy as f64 / possible as f64;
        let below = self.balancer.panic_below;
        possible > 0 && below.is_some_and(|below| part < below)
    }

    /// Whether this pick stays in the own zone.
    #[allow(clippy::cast_precision_loss)] // a part is near enough
    fn side(&self, seen: &Seen, toss: u64) -> Side {
        let [own, others] = seen.healthy;
        let Some(zone) = self.balancer.zone.as_ref().filter(|_| own > 0) else {
            return Side::Others;
        };
        let part = own as f64 / seen.possible[Side::Own as usize] as f64;
        // As a part of all numbers.
        let stays = toss as f64 / 2_f64.powi(64) * zone.enough < part;
        if others == 0 || part >= zone.enough || stays {
            Side::Own
        } else {
            Side::Others
        }
    }
}
