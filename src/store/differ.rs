//! The differences between the entries of two states in the same place.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::changes::{Difference, record_change};
use crate::hash::RandomState;
use crate::model::cause::Cause;
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;

/// The subscribers of a group with the numbers of their subscriptions, which grow in the order
/// of subscription.
pub(crate) type NumberedSubscribers = Vec<(u64, ServiceKey)>;

/// Returns the difference between the older and the newer record of a key.
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
        (Some(before), Some(after)) => record_change(before, after),
    }
}

/// Adds the differences of a group to `ended` and `begun`, based on the numbers of the
/// subscriptions: a new subscription has a new number.
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
