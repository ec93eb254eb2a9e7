//! [`fold`], which computes the net effect of a sequence of differences.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{Difference, Differences};
use crate::hash::RandomState;
use crate::model::cause::Cause;
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;

/// The records of a key before the first difference about it and after the last.
struct NetRecord {
    before: Option<ServiceInfo>,
    after: Option<ServiceInfo>,
    /// The cause of the last removal.
    cause: Cause,
}

/// Whether a subscription existed before the first difference about it and exists after the
/// last.
struct NetSubscription {
    subscriber: ServiceKey,
    group: Arc<str>,
    before: bool,
    after: bool,
    /// Its position among the begun subscriptions, which gives their order in the group.
    turn: usize,
}

/// Returns the net effect of `differences`, which must be in the order in which they happened.
/// The result has at most one difference for a record. For a subscription it has at most its
/// end and its new beginning. A pod that was added and then removed does not appear.
/// O(differences).
///
/// Records come first, in the order of the first difference about each. Then come ended
/// subscriptions, then begun subscriptions in the order in which they began, then all
/// [skipped](Difference::Skipped) records.
///
/// Records of one key are distinguished by their revisions and incarnations. Third-party stores
/// must therefore [stamp](ServiceInfo::stamped) their records.
///
/// ```
/// use service_registry::changes::{Difference, fold};
/// use service_registry::{Cause, ServiceInfo, ServiceRegistration};
///
/// let pod = ServiceInfo::new(ServiceRegistration::new("web", "pod-1"))?.stamped(1.into(), 1.into());
/// let came = Difference::Added(pod.clone());
/// let went = Difference::removed(pod, Cause::Deleted);
/// assert_eq!(fold([&came]), [came.clone()]);
/// assert_eq!(fold([&came, &went]), []);
/// # Ok::<(), service_registry::StoreError>(())
/// ```
pub fn fold<'a>(differences: impl IntoIterator<Item = &'a Difference>) -> Vec<Difference> {
    let mut differences = differences.into_iter();
    let first = match (differences.next(), differences.next()) {
        (None, _) => return Vec::new(),
        (Some(only), None) => return vec![only.clone()],
        (Some(first), Some(second)) => [first, second],
    };
    let mut folding = Fold::default();
    for difference in first.into_iter().chain(differences) {
        folding.add(difference);
    }
    folding.finish()
}

/// Replaces the changes of one commit by their net effect.
#[inline]
pub(crate) fn net(changes: &mut Differences) {
    if changes.len() > 1 {
        *changes = fold(&*changes).into();
    }
}

#[derive(Default)]
struct Fold {
    at_key: HashMap<ServiceKey, usize, RandomState>,
    records: Vec<NetRecord>,
    at_subscription: HashMap<(ServiceKey, Arc<str>), usize, RandomState>,
    subscriptions: Vec<NetSubscription>,
    turns: usize,
    skipped: Vec<Difference>,
}

impl Fold {
    fn add(&mut self, difference: &Difference) {
        match difference {
            Difference::Added(service) => {
                self.record(service, None).after = Some(service.clone());
            }
            Difference::Changed { before, after } => {
                self.record(before, Some(before)).after = Some(after.clone());
            }
            Difference::Removed { last, cause } => {
                let record = self.record(last, Some(last));
                record.after = None;
                record.cause = *cause;
            }
            Difference::Subscribed { subscriber, group } => {
                let turn = self.turns;
                self.turns += 1;
                let subscription = self.subscription(subscriber, group, false);
                subscription.after = true;
                subscription.turn = turn;
            }
            Difference::Unsubscribed { subscriber, group } => {
                self.subscription(subscriber, group, true).after = false;
            }
            Difference::Skipped { .. } => self.skipped.push(difference.clone()),
        }
    }

    /// Returns the entry for the key of `service`. `before` is the record before the first
    /// difference about it.
    fn record(&mut self, service: &ServiceInfo, before: Option<&ServiceInfo>) -> &mut NetRecord {
        let records = &mut self.records;
        let at = *self.at_key.entry_ref(service.key()).or_insert_with(|| {
            records.push(NetRecord {
                before: before.cloned(),
                after: None,
                cause: Cause::Unknown,
            });
            records.len() - 1
        });
        &mut self.records[at]
    }

    fn subscription(
        &mut self,
        subscriber: &ServiceKey,
        group: &Arc<str>,
        before: bool,
    ) -> &mut NetSubscription {
        let subscriptions = &mut self.subscriptions;
        let key = (subscriber.clone(), group.clone());
        let at = *self.at_subscription.entry(key).or_insert_with(|| {
            subscriptions.push(NetSubscription {
                subscriber: subscriber.clone(),
                group: group.clone(),
                before,
                after: before,
                turn: 0,
            });
            subscriptions.len() - 1
        });
        &mut self.subscriptions[at]
    }

    fn finish(self) -> Vec<Difference> {
        let Fold {
            records,
            mut subscriptions,
            skipped,
            ..
        } = self;
        let mut net: Vec<Difference> = records.into_iter().filter_map(NetRecord::net).collect();
        let ended = subscriptions
            .iter()
            .filter(|subscription| subscription.before);
        // A subscription that existed before and has a difference ended at least once.
        net.extend(ended.map(|subscription| Difference::Unsubscribed {
            subscriber: subscription.subscriber.clone(),
            group: subscription.group.clone(),
        }));
        subscriptions.retain(|subscription| subscription.after);
        subscriptions.sort_unstable_by_key(|subscription| subscription.turn);
        net.extend(
            subscriptions
                .into_iter()
                .map(|subscription| Difference::Subscribed {
                    subscriber: subscription.subscriber,
                    group: subscription.group,
                }),
        );
        net.extend(skipped);
        net
    }
}

impl NetRecord {
    fn net(self) -> Option<Difference> {
        match (self.before, self.after) {
            (None, None) => None,
            (None, Some(after)) => Some(Difference::Added(after)),
            (Some(last), None) => Some(Difference::Removed {
                last,
                cause: self.cause,
            }),
            (Some(before), Some(after)) => record_change(before, after),
        }
    }
}

/// Returns the difference between two records of one key, or `None` if they are the same.
///
/// Every change except a new check time increases the revision of a record. Two records with
/// the same incarnation and revision therefore differ at most in that time. A record that was
/// changed and changed back is still different: it has a new revision, which a condition may
/// name.
pub(crate) fn record_change(before: ServiceInfo, after: ServiceInfo) -> Option<Difference> {
    let same = before.incarnation() == after.incarnation() && before.revision() == after.revision();
    (!same).then_some(Difference::Changed { before, after })
}
