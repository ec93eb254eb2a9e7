//! A subset of the pods that stays the same for a client.

use smallvec::SmallVec;

use super::balancer::Subset;
use super::choice::Offer;
use super::hash::with;
use crate::model::record::ServiceInfo;

/// The number of pods that are kept without an allocation.
const SIZE: usize = 64;

/// The best pods of those that were offered.
pub(super) struct SubsetReservoir<'p> {
    subset: Subset,
    best: SmallVec<[(u64, u32, &'p ServiceInfo); SIZE]>,
    /// The lowest hash and its index, once the subset is full. A better pod replaces
    /// that one.
    least: Option<(u64, usize)>,
}

impl<'p> SubsetReservoir<'p> {
    pub(super) fn new(subset: Subset) -> SubsetReservoir<'p> {
        SubsetReservoir {
            subset,
            best: SmallVec::new(),
            least: None,
        }
    }

    /// Offers the pods of the subset to `choice`.
    pub(super) fn offer_to(&self, choice: &mut impl Offer<'p>) {
        for (_, weight, pod) in &self.best {
            choice.offer(pod, *weight);
        }
    }

    #[inline(never)]
    fn take(&mut self, one: (u64, u32, &'p ServiceInfo)) {
        match self.least {
            Some((_, place)) => self.best[place] = one,
            None => self.best.push(one),
        }
        if self.best.len() == self.subset.size {
            let places = self.best.iter().zip(0..);
            self.least = places.map(|(&(hash, ..), place)| (hash, place)).min();
        }
    }
}

impl<'p> Offer<'p> for SubsetReservoir<'p> {
    #[inline]
    fn offer(&mut self, pod: &'p ServiceInfo, weight: u32) {
        let hash = with(self.subset.client, pod.key());
        if self.least.is_none_or(|(least, _)| hash > least) {
            self.take((hash, weight, pod));
        }
    }
}
