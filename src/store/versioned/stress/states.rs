//! What is registered at a revision, in plain values that share nothing with the store: a
//! record that both had would be kept alive by this.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use im::{OrdMap, Vector};

use crate::model::batch::Batch;
use crate::model::change::Change;
use crate::model::record::ServiceInfo;
use crate::model::registration::ServiceRegistration;
use crate::model::status::ServiceStatus;
use crate::store::StoreStats;
use crate::sync::delayed::dice::Dice;

pub(super) const NAMES: usize = 4;
pub(super) const PODS: usize = 48;
pub(super) const GROUPS: usize = 3;

/// A pod by its number; in turn those of all names.
pub(super) type Pod = usize;

pub(super) fn name(number: usize) -> String {
    format!("s{number}")
}

pub(super) fn group(number: usize) -> String {
    format!("g{number}")
}

pub(super) fn name_of(pod: Pod) -> usize {
    pod % NAMES
}

pub(super) fn key(pod: Pod) -> &'static str {
    static KEYS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let keys = (0..PODS).map(|pod| format!("s{}:p{pod}", name_of(pod)));
        keys.collect()
    });
    &KEYS[pod]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Another one for each registration.
    pub(super) stamp: u64,
    pub(super) status: ServiceStatus,
    pub(super) checked: Option<u64>,
}

impl Record {
    fn new(stamp: u64) -> Record {
        Record {
            stamp,
            status: ServiceStatus::Unknown,
            checked: None,
        }
    }
}

fn moment(number: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(number)
}

fn info(pod: Pod, stamp: u64) -> ServiceInfo {
    let registration = ServiceRegistration {
        service_name: name(name_of(pod)),
        pod_name: format!("p{pod}"),
        notification_url: stamp.to_string(),
        ..ServiceRegistration::default()
    };
    let info = ServiceInfo::new(registration).expect("good names");
    let info = info.with_registered_at(SystemTime::UNIX_EPOCH);
    info.expect("a good time")
}

/// Whether a store's record is this one, in all that it says.
pub(super) fn is(info: &ServiceInfo, pod: Pod, record: Record) -> bool {
    let registration = info.registration();
    let whole = [&registration.service_name, ":", &registration.pod_name];
    info.key() == key(pod)
        && whole.concat() == key(pod)
        && info.notification_url().parse() == Ok(record.stamp)
        && info.status() == record.status
        && info.last_health_check() == record.checked.map(moment)
        && info.registered_at() == SystemTime::UNIX_EPOCH
}

/// A change that has an effect, or none; never one that is refused.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Save(Pod, u64),
    Delete(Pod),
    Check(Pod, ServiceStatus, u64),
    Subscribe(Pod, usize),
    Unsubscribe(Pod, usize),
    UnsubscribeAll(Pod),
}

impl Step {
    fn change(self) -> Change {
        let boxed = |pod| key(pod).into();
        let group = |number| group(number).into_boxed_str();
        match self {
            Step::Save(pod, stamp) => Change::SaveService(info(pod, stamp)),
            Step::Delete(pod) => Change::DeleteService { key: boxed(pod) },
            Step::Check(pod, status, checked) => Change::UpdateHealthStatus {
                key: boxed(pod),
                status,
                checked_at: moment(checked),
            },
            Step::Subscribe(pod, of) => Change::AddSubscription {
                subscriber_key: boxed(pod),
                service_group: group(of),
            },
            Step::Unsubscribe(pod, of) => Change::RemoveSubscription {
                subscriber_key: boxed(pod),
                service_group: group(of),
            },
            Step::UnsubscribeAll(pod) => Change::RemoveAllSubscriptions {
                subscriber_key: boxed(pod),
            },
        }
    }
}

pub(super) fn batch(steps: &[Step]) -> Batch {
    steps.iter().map(|step| step.change()).collect()
}

/// The state at a revision. A clone shares what has not changed.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) services: OrdMap<Pod, Record>,
    /// In the order of subscription; none is empty.
    pub(super) groups: OrdMap<usize, Vector<Pod>>,
}

impl State {
    pub(super) fn all(&self) -> impl Iterator<Item = (Pod, Record)> {
        self.services.iter().map(|(pod, record)| (*pod, *record))
    }

    pub(super) fn of_name(&self, number: usize) -> impl Iterator<Item = (Pod, Record)> {
        self.all().filter(move |(pod, _)| name_of(*pod) == number)
    }

    pub(super) fn subscribers(&self, of: usize) -> Vector<Pod> {
        self.groups.get(&of).cloned().unwrap_or_default()
    }

    pub(super) fn stats(&self) -> StoreStats {
        let subscriptions = self.groups.values().map(Vector::len).sum();
        StoreStats::new(self.services.len(), subscriptions)
    }

    /// Makes a change; answers whether it has an effect.
    pub(super) fn apply(&mut self, step: Step) -> bool {
        match step {
            Step::Save(pod, stamp) => {
                let record = Record::new(stamp);
                self.services.insert(pod, record) != Some(record)
            }
            Step::Delete(pod) => self.services.remove(&pod).is_some(),
            Step::Check(pod, status, checked) => {
                let known = self.services.get_mut(&pod).expect("a step is possible");
                let checked = Some(checked);
                let next = Record {
                    status,
                    checked,
                    ..*known
                };
                std::mem::replace(known, next) != next
            }
            Step::Subscribe(pod, of) => {
                let subscribers = self.groups.entry(of).or_default();
                let is_new = !subscribers.contains(&pod);
                if is_new {
                    subscribers.push_back(pod);
                }
                is_new
            }
            Step::Unsubscribe(pod, of) => self.leave(pod, of),
            Step::UnsubscribeAll(pod) => {
                let left = (0..GROUPS).filter(|of| self.leave(pod, *of));
                left.count() > 0
            }
        }
    }

    fn leave(&mut self, pod: Pod, of: usize) -> bool {
        let mut subscribers = self.subscribers(of);
        let before = subscribers.len();
        subscribers.retain(|other| *other != pod);
        let left = subscribers.len() < before;
        if subscribers.is_empty() {
            self.groups.remove(&of);
        } else {
            self.groups.insert(of, subscribers);
        }
        left
    }

    /// A change that may be made now, and on the whole brings the number of pods nearer to
    /// `target`.
    pub(super) fn next(&self, dice: &mut Dice, target: usize, stamp: u64) -> Step {
        let any = dice.roll(PODS);
        let registered = self.services.len();
        // One that is there, if any is.
        let there = self.services.keys().nth(dice.roll(registered.max(1)));
        let status = [ServiceStatus::Healthy, ServiceStatus::Unhealthy][dice.roll(2)];
        match (dice.roll(20), there.copied()) {
            (0..8, Some(pod)) => Step::Check(pod, status, stamp),
            (8, Some(pod)) => Step::Save(pod, stamp),
            (9, Some(pod)) => Step::Delete(pod),
            (10 | 11, _) => Step::Subscribe(any, dice.roll(GROUPS)),
            (12, _) => Step::Unsubscribe(any, dice.roll(GROUPS)),
            (13, _) => Step::UnsubscribeAll(any),
            (_, Some(pod)) if registered > target => Step::Delete(pod),
            _ => Step::Save(any, stamp),
        }
    }
}
