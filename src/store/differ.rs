//! What differs between two states that know nothing of the way from one to the other.

use std::sync::Arc;

use hashbrown::HashMap;

use super::RegistryView;
use crate::changes::{Difference, changed};
use crate::hash::RandomState;
use crate::model::cause::Cause;
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;

/// The subscribers of a group with the numbers of their subscriptions, which grow in the order
/// of subscription.
pub(crate) type Numbers = Vec<(u64, ServiceKey)>;

/// What differs, by a look at everything in both. O(*n*).
///
/// A subscription that ended and began again in the same place of its group is not seen.
pub(crate) fn differences<V: RegistryView>(older: &V, newer: &V) -> Vec<Difference> {
    differences_by(older, newer, |group| {
        number(older.subscribers(group), newer.subscribers(group))
    })
}

/// The same for views whose subscriptions have numbers: `numbered` answers with those of a
/// group in `older` and in `newer`. What began again has another number, and is seen.
pub(crate) fn differences_by<V: RegistryView>(
    older: &V,
    newer: &V,
    numbered: impl Fn(&str) -> [Numbers; 2],
) -> Vec<Difference> {
    let mut changes = Vec::new();
    for after in newer.services() {
        changes.extend(record(older.get(after.key()), Some(after)));
    }
    for before in older.services() {
        if newer.get(before.key()).is_none() {
            changes.extend(record(Some(before), None));
        }
    }
    let ended = older.groups();
    let ended = ended.filter(|group| newer.subscribers(group).next().is_none());
    let mut begun = Vec::new();
    for group in newer.groups().chain(ended) {
        let [before, after] = numbered(group);
        subscriptions(group, &before, &after, &mut changes, &mut begun);
    }
    changes.append(&mut begun);
    changes
}

/// The difference between what stood under a key and what stands there.
pub(crate) fn record(
    before: Option<&ServiceInfo>,
    after: Option<&ServiceInfo>,
) -> Option<Difference> {
    match (before.cloned(), after.cloned()) {
        (None, None) => None,
        (None, Some(after)) => Some(Difference::Added(after)),
        (Some(last), None) => {
            let cause = Cause::Unknown;
            Some(Difference::Removed { last, cause })
        }
        (Some(before), Some(after)) => changed(before, after),
    }
}

/// Adds what differs in a group to those that have ended and those that have begun, by the
/// numbers of the subscriptions: a new one has a number that was not there.
pub(crate) fn subscriptions(
    group: &str,
    before: &[(u64, ServiceKey)],
    after: &[(u64, ServiceKey)],
    ended: &mut Vec<Difference>,
    begun: &mut Vec<Difference>,
) {
    let group: Arc<str> = group.into();
    let mut old: HashMap<u64, &ServiceKey, RandomState> =
        before.iter().map(|(number, key)| (*number, key)).collect();
    for (number, subscriber) in after {
        let was_there = old.get(number).is_some_and(|key| *key == subscriber);
        if was_there {
            old.remove(number);
        } else {
            begun.push(Difference::Subscribed {
                subscriber: subscriber.clone(),
                group: group.clone(),
            });
        }
    }
    ended.extend(
        old.into_values()
            .map(|subscriber| Difference::Unsubscribed {
                subscriber: subscriber.clone(),
                group: group.clone(),
            }),
    );
}

/// Numbers for subscriptions that have none. Those that stay are in their old order, in front
/// of those that have begun since; so where that order ends, new ones begin.
fn number<'a>(
    before: impl Iterator<Item = &'a ServiceKey>,
    after: impl Iterator<Item = &'a ServiceKey>,
) -> [Numbers; 2] {
    let old: Numbers = (0..).zip(before.cloned()).collect();
    let mut left = old.iter();
    let fresh = old.len() as u64..;
    let new = fresh.zip(after).map(|(fresh, key)| {
        let known = left.find(|(_, known)| known == key);
        (known.map_or(fresh, |(number, _)| *number), key.clone())
    });
    let new = new.collect();
    [old, new]
}
