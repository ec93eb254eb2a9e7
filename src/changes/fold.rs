//! The net effect of differences that follow each other.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{Difference, Differences};
use crate::hash::RandomState;
use crate::model::cause::Cause;
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;

/// What became of a key from the first difference about it to the last.
struct Record {
    before: Option<ServiceInfo>,
    after: Option<ServiceInfo>,
    /// Why it was last removed.
    cause: Cause,
}

/// What became of a subscription.
struct Side {
    subscriber: ServiceKey,
    group: Arc<str>,
    before: bool,
    after: bool,
    /// Its turn among those that have begun, which is their order in the group.
    turn: usize,
}

/// The net effect of `differences`, which are in the order in which they happened: at most
/// one for a record; for a subscription at most its end and its new beginning. A pod that
/// came and went leaves nothing. O(differences).
///
/// Records come first, in the order of the first difference about each; then subscriptions
/// that have ended; then those that have begun, in the order in which they began; then the
/// [skipped](Difference::Skipped) records, all of them.
///
/// Two records of one key are told apart by their revisions and incarnations, so that a store
/// from elsewhere has to [stamp](ServiceInfo::stamped) what it keeps.
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

/// The same of one commit.
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

    /// What became of the key of `service` so far; `before` is what it was before the first
    /// difference about it.
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
        // One that was there before, and has a difference, ended at least once.
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

/// The difference between two records of one key, if there is one.
///
/// The revision of a record grows with everything but the time of a check, so that two of
/// one incarnation and one revision differ in that time at most. One that has become what it
/// was before is a difference: its revision is another, and a condition may name it.
pub(crate) fn changed(before: ServiceInfo, after: ServiceInfo) -> Option<Difference> {
    let same = before.incarnation() == after.incarnation() && before.revision() == after.revision();
    (!same).then_some(Difference::Changed { before, after })
}
