//! Some of the pods, the same for a client each time.

use smallvec::SmallVec;

use super::Subset;
use super::choice::Offer;
use super::hash::with;
use crate::model::record::ServiceInfo;

/// How many are kept without an allocation.
const SIZE: usize = 64;

/// The best of what is offered, the best first.
pub(super) struct BestOf<'p> {
    subset: Subset,
    best: SmallVec<[(u64, u32, &'p ServiceInfo); SIZE]>,
}

impl<'p> BestOf<'p> {
    pub(super) fn new(subset: Subset) -> BestOf<'p> {
        BestOf {
            subset,
            best: SmallVec::new(),
        }
    }

    /// Offers them to whoever picks one.
    pub(super) fn offer_to(&self, choice: &mut impl Offer<'p>) {
        for (_, weight, pod) in &self.best {
            choice.offer(pod, *weight);
        }
    }
}

impl<'p> Offer<'p> for BestOf<'p> {
    fn offer(&mut self, pod: &'p ServiceInfo, weight: u32) {
        let hash = with(self.subset.client, pod.key());
        let is_full = self.best.len() == self.subset.size;
        if is_full && self.best.last().is_some_and(|(last, ..)| hash <= *last) {
            return;
        }
        if is_full {
            self.best.pop();
        }
        let place = self.best.partition_point(|(better, ..)| *better > hash);
        self.best.insert(place, (hash, weight, pod));
    }
}
