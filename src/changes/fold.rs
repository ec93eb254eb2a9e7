//! [`fold`], the net effect of consecutive differences.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{Difference, Differences};
use crate::hash::RandomState;
use crate::model::cause::Cause;
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;

/// The record under a key before the first difference about it and after the last.
struct Record {
    before: Option<ServiceInfo>,
    after: Option<ServiceInfo>,
    /// Why it was last removed.
    cause: Cause,
}

/// Whether a subscription existed before the first difference about it and after the last.
struct Side {
    subscriber: ServiceKey,
    group: Arc<str>,
    before: bool,
    after: bool,
    /// Its position among the subscriptions that began, which is their order in the group.
    turn: usize,
}

/// Returns the net effect of `differences`, which must be in the order in which they happened.
/// The result has at most one difference for each record, and for each subscription at most
/// its end and its new beginning. A pod that was added and removed leaves nothing.
/// O(differences).
///
/// The records come first, in the order of the first difference about each. Then come the
/// subscriptions that ended, then those that began, in the order in which they began, and
/// then all [skipped](Difference::Skipped) records.
///
/// Two records of one key are distinguished by their revisions and incarnations. Therefore a
/// third-party store has to [stamp](ServiceInfo::stamped) its records.
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
    let mut folding = Folding::default();
    for difference in first.into_iter().chain(differences) {
        folding.add(difference);
    }
    folding.finish()
}

/// Replaces the differences of one commit with their net effect.
#[inline]
pub(crate) fn net(changes: &mut Differences) {
    if changes.len() > 1 {
        *changes = fold(&*changes).into();
    }
}

#[derive(Default)]
struct Folding {
    at_key: HashMap<ServiceKey, usize, RandomState>,
    records: Vec<Record>,
    at_side: HashMap<(ServiceKey, Arc<str>), usize, RandomState>,
    sides: Vec<Side>,
    turns: usize,
    skipped: Vec<Difference>,
}

impl Folding {
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
                let side = self.side(subscriber, group, false);
                side.after = true;
                side.turn = turn;
            }
            Difference::Unsubscribed { subscriber, group } => {
                self.side(subscriber, group, true).after = false;
            }
            Difference::Skipped { .. } => self.skipped.push(difference.clone()),
        }
    }

    /// Returns the entry for the key of `service`. If this is the first difference about the
    /// key, `before` is the record before it.
    fn record(&mut self, service: &ServiceInfo, before: Option<&ServiceInfo>) -> &mut Record {
        let records = &mut self.records;
        let at = *self.at_key.entry_ref(service.key()).or_insert_with(|| {
            records.push(Record {
                before: before.cloned(),
                after: None,
                cause: Cause::Unknown,
            });
            records.len() - 1
        });
        &mut self.records[at]
    }

    fn side(&mut self, subscriber: &ServiceKey, group: &Arc<str>, before: bool) -> &mut Side {
        let sides = &mut self.sides;
        let key = (subscriber.clone(), group.clone());
        let at = *self.at_side.entry(key).or_insert_with(|| {
            sides.push(Side {
                subscriber: subscriber.clone(),
                group: group.clone(),
                before,
                after: before,
                turn: 0,
            });
            sides.len() - 1
        });
        &mut self.sides[at]
    }

    fn finish(self) -> Vec<Difference> {
        let Folding {
            records,
            mut sides,
            skipped,
            ..
        } = self;
        let mut net: Vec<Difference> = records.into_iter().filter_map(Record::net).collect();
        let ended = sides.iter().filter(|side| side.before);
        // A subscription that existed before and has a difference ended at least once.
        net.extend(ended.map(|side| Difference::Unsubscribed {
            subscriber: side.subscriber.clone(),
            group: side.group.clone(),
        }));
        sides.retain(|side| side.after);
        sides.sort_unstable_by_key(|side| side.turn);
        net.extend(sides.into_iter().map(|side| Difference::Subscribed {
            subscriber: side.subscriber,
            group: side.group,
        }));
        net.extend(skipped);
        net
    }
}

impl Record {
    fn net(self) -> Option<Difference> {
        match (self.before, self.after) {
            (None, None) => None,
            (None, Some(after)) => Some(Difference::Added(after)),
            (Some(last), None) => Some(Difference::Removed {
                last,
                cause: self.cause,
            }),
            (Some(before), Some(after)) => changed(before, after),
        }
    }
}

/// Returns the difference between two records of one key, if there is one.
///
/// The revision of a record grows with every change except the time of a check. Therefore two
/// records with equal incarnations and revisions differ at most in that time. A record that
/// was changed and changed back is a difference: it has a new revision, and a condition may
/// name the revision.
pub(crate) fn changed(before: ServiceInfo, after: ServiceInfo) -> Option<Difference> {
    let same = before.incarnation() == after.incarnation() && before.revision() == after.revision();
    (!same).then_some(Difference::Changed { before, after })
}
