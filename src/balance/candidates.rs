//! The eligible pods, and the passes that pick one of them.
//!
//! Each way to pick is one pass over the pods with a state of a few words: a weighted reservoir of
//! one (random), a reservoir of two (two choices), the best hash so far (rendezvous), the index of
//! the next pod (round robin). That index is the turn modulo the number of pods, which is known
//! only at the end of a pass. So a pass assumes the number of the previous pick, and is repeated if
//! the number has changed. Rare cases need a second pass, too: panic mode, and too many ejected
//! pods. Weights and zones are behind the pointer of a record; a pick without zone and labels reads
//! only the weight.

use std::time::Instant;

use super::balancer::Balancer;
use super::choice::{
    Offer, PassResult, Policy, Random, Rendezvous, RoundRobin, TwoChoices, ZoneSide,
};
use super::ejections::{EjectedPods, Ejections};
use super::hash;
use super::pods::Pods;
use super::subset::SubsetReservoir;
use crate::model::labels::is_same;
use crate::model::record::ServiceInfo;
use crate::model::status::ServiceStatus;

impl Balancer {
    /// Returns the candidates among `pods`: the pods of a service in a view, `(&view, "checkout")`,
    /// or a list. O(1): only picking costs.
    pub fn among<'p, P: Pods<'p>>(&self, pods: P) -> Candidates<'_, P> {
        Candidates {
            balancer: self,
            pods,
            spared: None,
        }
    }
}

/// The pods that a [`Balancer`] picks from. Each way to pick returns `None` if no pod is eligible,
/// costs O(*p*) for *p* pods of the service, and allocates nothing up to a
/// [subset](Balancer::with_subset) of 64.
#[derive(Clone, Copy, Debug)]
#[must_use = "nobody has been picked yet"]
pub struct Candidates<'b, P> {
    balancer: &'b Balancer,
    pods: P,
    spared: Option<(&'b Ejections, Instant)>,
}

/// Which pods a pass offers to the policy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Healthy pods that are not ejected.
    Usual,
    /// Healthy pods, ejected or not.
    All,
    /// All pods that are not draining.
    Panic,
}

/// The totals of a pass: weights of the own zone and of the others, and counts of healthy pods.
#[derive(Default)]
struct PassTotals {
    possible: [u64; 2],
    healthy: [u64; 2],
    pods: usize,
    ejected: usize,
}

impl<'b, 'p, P: Pods<'p>> Candidates<'b, P> {
    /// Leaves out pods that are ejected at the time `now`.
    pub fn sparing(self, ejections: &'b Ejections, now: Instant) -> Candidates<'b, P> {
        Candidates {
            spared: Some((ejections, now)),
            ..self
        }
    }

    /// Picks each pod in turn, whatever its weight (except 0). While the *n* eligible pods stay the
    /// same, any *n* consecutive picks, by any threads, visit each pod once. If picks [spill
    /// over](Balancer::with_zone) to other zones, the pods of each side get equal shares in the
    /// long run.
    pub fn round_robin(self, turns: &RoundRobin) -> Option<&'p ServiceInfo> {
        self.pick(turns.turn())
    }

    /// Picks a pod at random, with a probability proportional to its weight.
    pub fn random(self, random: u64) -> Option<&'p ServiceInfo> {
        self.pick(Random(random))
    }

    /// Picks the less loaded of two different random pods (Mitzenmacher: *The power of two choices
    /// in randomized load balancing*, 2001), or either of them if the loads are equal. Calls `load`
    /// for both. Weights (except 0) are ignored; `load` can divide by them.
    pub fn two_choices<L: PartialOrd>(
        self,
        random: u64,
        load: impl FnMut(&ServiceInfo) -> L,
    ) -> Option<&'p ServiceInfo> {
        self.pick(TwoChoices { random, load })
    }

    /// Picks the pod that belongs to a key. Every client that sees the same pods picks the same
    /// one. This is rendezvous hashing (Thaler, Ravishankar: *A name-based mapping scheme for
    /// rendezvous*, 1996), with weights. If a pod is removed, only its keys move, and they spread
    /// over the others; a new pod takes its share of the keys from all others. The hash is the same
    /// in every process and in every version of this crate.
    pub fn rendezvous(self, key: &str) -> Option<&'p ServiceInfo> {
        self.pick(Rendezvous(hash::text(key)))
    }

    fn pick(self, mut policy: impl Policy<'p>) -> Option<&'p ServiceInfo> {
        let mut mode = Mode::Usual;
        loop {
            let (mut own, mut others) =
                (policy.begin(ZoneSide::Own), policy.begin(ZoneSide::Others));
            let seen = self.offer(mode, &mut own, &mut others);
            if self.exceeds_ejection_limit(&seen) {
                mode = Mode::All;
                continue;
            }
            if mode != Mode::Panic && self.is_panic(&seen) {
                mode = Mode::Panic;
                continue;
            }
            let chosen = match self.side(&seen, policy.spill_number()) {
                ZoneSide::Own => policy.end(own, ZoneSide::Own),
                ZoneSide::Others => policy.end(others, ZoneSide::Others),
            };
            match chosen {
                PassResult::Pod(pod) => return Some(pod),
                PassResult::Empty => return None,
                PassResult::Repeat => {}
            }
        }
    }

    /// Offers the eligible pods, or this client's subset of them.
    #[inline]
    fn offer<O: Offer<'p>>(&self, mode: Mode, own: &mut O, others: &mut O) -> PassTotals {
        // The lock is released before the caller's `load` runs: `eject` waits for it.
        let spared = self.spared.filter(|_| mode == Mode::Usual);
        let guard = spared.and_then(|(ejections, now)| Some((ejections.read()?, now)));
        let out = guard
            .as_ref()
            .map(|(guard, now)| EjectedPods::new(guard, *now));
        let Some(subset) = self.balancer.subset else {
            return self.pass(mode, out, own, others);
        };
        let (mut of_own, mut of_others) =
            (SubsetReservoir::new(subset), SubsetReservoir::new(subset));
        let seen = self.pass(mode, out, &mut of_own, &mut of_others);
        of_own.offer_to(own);
        of_others.offer_to(others);
        seen
    }

    /// Offers each eligible pod to its side of the zone.
    #[inline]
    fn pass<O: Offer<'p>>(
        &self,
        mode: Mode,
        out: Option<EjectedPods<'_>>,
        own: &mut O,
        others: &mut O,
    ) -> PassTotals {
        let Balancer { labels, zone, .. } = self.balancer;
        let panic_below = self.balancer.panic_below;
        if zone.is_none() && panic_below.is_none() && out.is_none() && labels.is_empty() {
            return self.simple_pass(others);
        }
        // Unhealthy pods are counted only if a zone or panic mode needs their weight.
        let counts = zone.is_some() || panic_below.is_some();
        let mut seen = PassTotals::default();
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
            let side = if is_own {
                ZoneSide::Own
            } else {
                ZoneSide::Others
            };
            seen.possible[side as usize] += u64::from(weight);
            let mut is_good = is_healthy;
            if let Some(out) = out.filter(|_| is_healthy) {
                is_good = !out.contains(pod);
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
                    ZoneSide::Own => own.offer(pod, weight),
                    ZoneSide::Others => others.offer(pod, weight),
                }
            }
        }
        if mode == Mode::Panic {
            // All zones count as one.
            seen.healthy = [0, 1];
        }
        seen
    }

    /// Does the same as `pass` if only health and weight matter: there is nothing to count.
    #[inline]
    fn simple_pass(&self, others: &mut impl Offer<'p>) -> PassTotals {
        for pod in self.pods.pods() {
            if pod.status() == ServiceStatus::Healthy {
                let weight = pod.weight();
                if weight > 0 {
                    others.offer(pod, weight);
                }
            }
        }
        PassTotals::default()
    }

    fn exceeds_ejection_limit(&self, seen: &PassTotals) -> bool {
        let spared = self.spared.filter(|_| seen.ejected > 0);
        spared.is_some_and(|(ejections, _)| seen.ejected > ejections.limit_for(seen.pods))
    }

    #[allow(clippy::cast_precision_loss)] // a fraction need not be exact
    fn is_panic(&self, seen: &PassTotals) -> bool {
        let [healthy, possible] = [seen.healthy, seen.possible].map(|of| of[0] + of[1]);
        let fraction = healthy as f64 / possible as f64;
        let below = self.balancer.panic_below;
        possible > 0 && below.is_some_and(|below| fraction < below)
    }

    /// Returns the side of the zone that this pick is made from.
    #[allow(clippy::cast_precision_loss)] // a fraction need not be exact
    fn side(&self, seen: &PassTotals, spill_number: u64) -> ZoneSide {
        let [own, others] = seen.healthy;
        let Some(zone) = self.balancer.zone.as_ref().filter(|_| own > 0) else {
            return ZoneSide::Others;
        };
        let fraction = own as f64 / seen.possible[ZoneSide::Own as usize] as f64;
        // `spill_number`, scaled to between 0 and 1, decides.
        let stays = spill_number as f64 / 2_f64.powi(64) * zone.enough < fraction;
        if others == 0 || fraction >= zone.enough || stays {
            ZoneSide::Own
        } else {
            ZoneSide::Others
        }
    }
}
