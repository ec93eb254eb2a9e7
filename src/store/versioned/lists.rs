//! The values of the indexes with many entries: the pods of a name, and the subscribers of a
//! group. A list never changes. A change creates a new list, which copies a short list, or
//! shares the unchanged parts of a long one.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use imbl::shared_ptr::DefaultSharedPtr;
use imbl::{GenericOrdMap, GenericVector};
use versioned_map::raw::At;

use crate::hash::RandomState;
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;

/// The maximum length of a list that is copied as a whole.
#[cfg(not(all(test, not(loom))))]
const FEW: usize = 32;
#[cfg(all(test, not(loom)))]
const FEW: usize = 4;

const _: () = {
    let words = 2 * size_of::<usize>();
    assert!(size_of::<Members>() == words && size_of::<Subscribers>() == words);
};

/// A pod in the list of its name, as its position among the services.
pub(super) type Pod = At<ServiceInfo>;

/// The pods of a name, in no particular order.
// A version of it is half a cache line, because a long list is boxed.
pub(super) enum Members {
    Few(Box<[Pod]>),
    Many(Box<GenericVector<Pod, DefaultSharedPtr>>),
}

/// Returns a copy of `list` with `item` at its end. (`collect` would cost twice as much.)
fn extended<T: Clone>(list: &[T], item: T) -> Box<[T]> {
    let mut all = Vec::with_capacity(list.len() + 1);
    all.extend_from_slice(list);
    all.push(item);
    all.into_boxed_slice()
}

impl Default for Members {
    fn default() -> Members {
        Members::Few(Box::default())
    }
}

impl Members {
    pub(super) fn len(&self) -> usize {
        match self {
            Members::Few(few) => few.len(),
            Members::Many(many) => many.len(),
        }
    }

    /// Adds a pod. O(pods) for few pods, and O(log pods) for many.
    pub(super) fn with(&self, pod: Pod) -> Members {
        match self {
            Members::Few(few) if few.len() < FEW => Members::Few(extended(few, pod)),
            Members::Few(few) => {
                let many = few.iter().copied().chain([pod]).collect();
                Members::Many(Box::new(many))
            }
            Members::Many(many) => {
                let mut many = many.clone();
                many.push_back(pod);
                Members::Many(many)
            }
        }
    }

    /// Removes the pod at `place` and moves the last pod there. Also returns the moved pod, if
    /// there is one.
    pub(super) fn without(&self, place: usize) -> (Members, Option<Pod>) {
        match self {
            Members::Few(few) => {
                let (last, others) = few.split_last().expect("a pod stands there");
                let mut others: Box<[Pod]> = others.into();
                let moved = others.get_mut(place).map(|place| {
                    *place = *last;
                    *last
                });
                (Members::Few(others), moved)
            }
            Members::Many(many) => {
                let mut many = many.clone();
                let last = many.pop_back();
                let moved = last.filter(|_| place < many.len());
                if let Some(last) = moved {
                    many.set(place, last);
                }
                // Half of the limit, so that a name whose size varies around it is not
                // converted each time.
                if many.len() <= FEW / 2 {
                    return (Members::Few(many.iter().copied().collect()), moved);
                }
                (Members::Many(many), moved)
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Pod> {
        let (few, many) = match self {
            Members::Few(few) => (&**few, None),
            Members::Many(many) => (&[][..], Some(many)),
        };
        // By position, because an iterator of a vector counts references to its nodes, which
        // readers share.
        let many = many.into_iter().flat_map(|many| {
            let places = 0..many.len();
            places.map(|place| many.get(place).expect("it is that long"))
        });
        few.iter().chain(many).copied()
    }
}

/// The subscribers of a group, by the numbers of their subscriptions, which only grow.
// As with `Members`, a version of it is half a cache line.
pub(super) enum Subscribers {
    Few(Box<[(u64, ServiceKey)]>),
    Many(Box<GenericOrdMap<u64, ServiceKey, DefaultSharedPtr>>),
}

impl Default for Subscribers {
    fn default() -> Subscribers {
        Subscribers::Few(Box::default())
    }
}

impl Subscribers {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Subscribers::Few(few) => few.is_empty(),
            Subscribers::Many(many) => many.is_empty(),
        }
    }

    /// Adds a subscriber. O(subscribers) for few subscribers, and O(log subscribers) for many.
    pub(super) fn with(&self, number: u64, subscriber: ServiceKey) -> Subscribers {
        match self {
            Subscribers::Few(few) if few.len() < FEW => {
                Subscribers::Few(extended(few, (number, subscriber)))
            }
            Subscribers::Few(few) => {
                let many = few.iter().cloned().chain([(number, subscriber)]);
                Subscribers::Many(Box::new(many.collect()))
            }
            Subscribers::Many(many) => Subscribers::Many(Box::new(many.update(number, subscriber))),
        }
    }

    /// Removes a subscriber, at the same cost as [`with`](Self::with).
    pub(super) fn without(&self, number: u64) -> Subscribers {
        match self {
            Subscribers::Few(few) => {
                let at = few.binary_search_by_key(&number, |(own, _)| *own);
                let (before, from) = few.split_at(at.expect("the subscription stands there"));
                let mut others = Vec::with_capacity(few.len() - 1);
                others.extend_from_slice(before);
                others.extend_from_slice(&from[1..]);
                Subscribers::Few(others.into_boxed_slice())
            }
            Subscribers::Many(many) => {
                let many = many.without(&number);
                if many.len() <= FEW / 2 {
                    let few = many.iter().map(|(number, key)| (*number, key.clone()));
                    return Subscribers::Few(few.collect());
                }
                Subscribers::Many(Box::new(many))
            }
        }
    }

    /// Iterates in the order of subscription, with the numbers of the subscriptions.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (u64, &ServiceKey)> {
        let (few, many) = match self {
            Subscribers::Few(few) => (&**few, None),
            Subscribers::Many(many) => (&[][..], Some(many.iter())),
        };
        let few = few.iter().map(|(number, key)| (*number, key));
        let many = many.into_iter().flatten();
        few.chain(many.map(|(number, key)| (*number, key)))
    }
}

/// The groups of each subscriber, with the numbers of the subscriptions. Only the writer uses
/// it.
#[derive(Default)]
pub(super) struct Subscriptions {
    subscribers: HashMap<ServiceKey, BTreeMap<Arc<str>, u64>, RandomState>,
    next: u64,
}

impl Subscriptions {
    /// Adds a subscription. Returns its number and its subscriber if it is new.
    pub(super) fn add(&mut self, subscriber: &str, group: &str) -> Option<(u64, ServiceKey)> {
        let number = self.next;
        let key = match self.subscribers.get_key_value_mut(subscriber) {
            Some((_, groups)) if groups.contains_key(group) => return None,
            Some((key, groups)) => {
                groups.insert(group.into(), number);
                key.clone()
            }
            None => {
                let key: ServiceKey = subscriber
                    .parse()
                    .expect("the store checks a subscriber key before it passes it on");
                let groups = BTreeMap::from([(group.into(), number)]);
                self.subscribers.insert(key.clone(), groups);
                key
            }
        };
        self.next += 1;
        Some((number, key))
    }

    /// Calls `look` with every subscription, in no particular order.
    pub(super) fn each(&self, mut look: impl FnMut(&ServiceKey, &Arc<str>)) {
        for (subscriber, groups) in &self.subscribers {
            for group in groups.keys() {
                look(subscriber, group);
            }
        }
    }

    /// Removes and returns everything. Later numbers continue from here.
    pub(super) fn empty(&mut self) -> Subscriptions {
        let empty = Subscriptions {
            next: self.next,
            ..Subscriptions::default()
        };
        std::mem::replace(self, empty)
    }

    /// Removes a subscription. Returns its number if there was one.
    pub(super) fn remove(&mut self, subscriber: &str, group: &str) -> Option<u64> {
        let groups = self.subscribers.get_mut(subscriber)?;
        let number = groups.remove(group)?;
        if groups.is_empty() {
            self.forget(subscriber);
        }
        Some(number)
    }

    /// Removes all subscriptions of a subscriber. Returns their groups and numbers.
    pub(super) fn remove_all(&mut self, subscriber: &str) -> BTreeMap<Arc<str>, u64> {
        self.forget(subscriber).unwrap_or_default()
    }

    fn forget(&mut self, subscriber: &str) -> Option<BTreeMap<Arc<str>, u64>> {
        let removed = self.subscribers.remove(subscriber);
        let subscribers = &mut self.subscribers;
        if subscribers.capacity() > 16 && subscribers.len() < subscribers.capacity() / 8 {
            subscribers.shrink_to(subscribers.len() * 2);
        }
        removed
    }
}
