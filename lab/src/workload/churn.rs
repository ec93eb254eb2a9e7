//! Inserts and removes pods, or subscriptions, and times one of the two.
//!
//! A thread that only registered pods would let the store grow. So it inserts a few hundred pods
//! and removes them again, and only the insertions count, or only the removals.

use std::time::Instant;

use super::timing::{Tally, Window};
use crate::fleet::{Fleet, Rng, shuffled};
use crate::scenario::Op;
use crate::subject::{Handle, NewPod};

/// The maximum number of items that are inserted before they are removed.
const MOST: usize = 512;

/// The items that one thread inserts and removes.
#[derive(Debug)]
pub(super) struct Churn {
    what: Items,
    /// Whether insertions count, rather than removals.
    coming: bool,
}

#[derive(Debug)]
enum Items {
    /// Pods, and their keys in the order of removal.
    Pods(Vec<NewPod>, Vec<String>),
    /// Subscribers and groups.
    Subscriptions(Vec<(String, String)>),
}

impl Churn {
    /// Creates the items of the thread with this number; `None` if the mix is of other operations.
    pub(super) fn new(
        fleet: Fleet,
        mix: &[(Op, u32)],
        thread: usize,
        rng: &mut Rng,
    ) -> Option<Churn> {
        let [(op, _)] = mix else { return None };
        let count = (fleet.0.services / 4).clamp(1, MOST);
        let first = fleet.0.services + thread * count;
        let what = match op {
            Op::Insert | Op::Remove => {
                let pods = shuffled(count, rng).into_iter();
                let pods = pods.map(|pod| NewPod::new(fleet.record(first + pod)));
                let keys = shuffled(count, rng).into_iter();
                Items::Pods(pods.collect(), keys.map(|pod| fleet.key(first + pod)).collect())
            }
            Op::Subscribe | Op::Unsubscribe => {
                let order = shuffled(count, rng).into_iter();
                // These subscribers do not exist otherwise, so each subscription is new.
                let pair = |at: usize| (fleet.key(first + at), fleet.name(at));
                Items::Subscriptions(order.map(pair).collect())
            }
            _ => return None,
        };
        let coming = matches!(op, Op::Insert | Op::Subscribe);
        Some(Churn { what, coming })
    }

    /// Inserts or removes all items. Returns how many operations failed.
    fn apply(&self, handle: &mut impl Handle, coming: bool) -> u64 {
        let wrong = match (&self.what, coming) {
            (Items::Pods(pods, _), true) => pods.iter().filter(|pod| !handle.insert(pod)).count(),
            (Items::Pods(_, keys), false) => keys.iter().filter(|key| !handle.remove(key)).count(),
            (Items::Subscriptions(pairs), true) => {
                pairs.iter().filter(|(who, of)| !handle.subscribe(who, of)).count()
            }
            (Items::Subscriptions(pairs), false) => {
                pairs.iter().filter(|(who, of)| !handle.unsubscribe(who, of)).count()
            }
        };
        wrong as u64
    }

    fn len(&self) -> usize {
        match &self.what {
            Items::Pods(pods, _) => pods.len(),
            Items::Subscriptions(pairs) => pairs.len(),
        }
    }

    /// Inserts and removes all items once, the half that counts within `around`. Returns the number
    /// of items.
    pub(super) fn once(
        &self,
        handle: &mut impl Handle,
        around: impl FnOnce(&mut dyn FnMut()),
        wrong: &mut u64,
    ) -> u64 {
        let mut around = Some(around);
        for coming in [true, false] {
            match around.take_if(|_| coming == self.coming) {
                Some(around) => around(&mut || *wrong += self.apply(handle, coming)),
                None => *wrong += self.apply(handle, coming),
            }
        }
        self.len() as u64
    }

    /// Inserts and removes all items until the slice is over, and at least once within the window.
    pub(super) fn slice(&self, handle: &mut impl Handle, window: &Window) -> Tally {
        let mut tally = Tally::default();
        loop {
            let mut timed = |coming: bool| {
                let before = Instant::now();
                tally.wrong += self.apply(handle, coming);
                let after = Instant::now();
                if coming == self.coming && before >= window.from {
                    tally.operations += self.len() as f64;
                    tally.nanoseconds += (after - before).as_nanos() as f64;
                }
                after
            };
            timed(true);
            if timed(false) >= window.until && tally.operations > 0.0 {
                return tally;
            }
        }
    }
}
