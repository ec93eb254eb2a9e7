//! Pods that come and go, or subscriptions: one half of it is timed.
//!
//! Who registers pods would soon have a larger store than the next one. So pods come and
//! go in turns of a few hundred, and only the coming counts, or only the going.

use std::time::Instant;

use super::order::{Order, Share};
use crate::fleet::{Dice, Fleet, shuffled};
use crate::scenario::Op;
use crate::subject::{Hand, Newcomer};

/// The most that come in one turn.
const MOST: usize = 512;

/// What comes and goes, for one thread.
#[derive(Debug)]
pub(super) struct Swing {
    what: What,
    /// Whether the coming counts, or the going.
    coming: bool,
}

#[derive(Debug)]
enum What {
    /// Pods, and their keys in the order in which they go.
    Pods(Vec<Newcomer>, Vec<String>),
    /// Subscribers and groups.
    Subscriptions(Vec<(String, String)>),
}

impl Swing {
    /// What comes and goes for the thread with this number, where the mix is that.
    pub(super) fn new(
        fleet: Fleet,
        mix: &[(Op, u32)],
        thread: usize,
        dice: &mut Dice,
    ) -> Option<Swing> {
        let [(op, _)] = mix else { return None };
        let count = (fleet.0.services / 4).clamp(1, MOST);
        let first = fleet.0.services + thread * count;
        let what = match op {
            Op::Insert | Op::Remove => {
                let pods = shuffled(count, dice).into_iter();
                let pods = pods.map(|pod| Newcomer::new(fleet.record(first + pod)));
                let keys = shuffled(count, dice).into_iter();
                What::Pods(pods.collect(), keys.map(|pod| fleet.key(first + pod)).collect())
            }
            Op::Subscribe | Op::Unsubscribe => {
                let order = shuffled(count, dice).into_iter();
                // Subscribers that nobody else is, so that each is a new one.
                let pair = |at: usize| (fleet.key(first + at), fleet.name(at));
                What::Subscriptions(order.map(pair).collect())
            }
            _ => return None,
        };
        let coming = matches!(op, Op::Insert | Op::Subscribe);
        Some(Swing { what, coming })
    }

    /// Lets all come, or all go; how many could not.
    fn turn(&self, hand: &mut impl Hand, coming: bool) -> u64 {
        let wrong = match (&self.what, coming) {
            (What::Pods(pods, _), true) => pods.iter().filter(|pod| !hand.insert(pod)).count(),
            (What::Pods(_, keys), false) => keys.iter().filter(|key| !hand.remove(key)).count(),
            (What::Subscriptions(pairs), true) => {
                pairs.iter().filter(|(who, of)| !hand.subscribe(who, of)).count()
            }
            (What::Subscriptions(pairs), false) => {
                pairs.iter().filter(|(who, of)| !hand.unsubscribe(who, of)).count()
            }
        };
        wrong as u64
    }

    fn len(&self) -> usize {
        match &self.what {
            What::Pods(pods, _) => pods.len(),
            What::Subscriptions(pairs) => pairs.len(),
        }
    }

    /// Lets them come and go once, the half that counts within `around`. How many there are.
    pub(super) fn once(
        &self,
        hand: &mut impl Hand,
        around: impl FnOnce(&mut dyn FnMut()),
        wrong: &mut u64,
    ) -> u64 {
        let mut around = Some(around);
        for coming in [true, false] {
            match around.take_if(|_| coming == self.coming) {
                Some(around) => around(&mut || *wrong += self.turn(hand, coming)),
                None => *wrong += self.turn(hand, coming),
            }
        }
        self.len() as u64
    }

    /// Lets them come and go until the slice is over, and at least once within it.
    pub(super) fn slice(&self, hand: &mut impl Hand, order: &Order) -> Share {
        let mut share = Share::default();
        loop {
            let mut timed = |coming: bool| {
                let before = Instant::now();
                share.wrong += self.turn(hand, coming);
                let after = Instant::now();
                if coming == self.coming && before >= order.from {
                    share.operations += self.len() as f64;
                    share.nanoseconds += (after - before).as_nanos() as f64;
                }
                after
            };
            timed(true);
            if timed(false) >= order.until && share.operations > 0.0 {
                return share;
            }
        }
    }
}
