//! The state that the follower of a watch builds from its events, and random batches to follow.

use std::collections::{BTreeMap, BTreeSet};

use service_registry::changes::{Difference, Event, Selection, Subscription};
use service_registry::{
    Batch, Cause, DynView, Expected, OnForeign, RegistryView, ServiceInfo, ServiceStatus,
};

use super::dice::Dice;
use super::model::Model;
use super::{at, key, registration};

/// The selected state, as the follower of a watch has it: records with their stamps, but without
/// the times of checks, and the subscribers of each group in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FollowedState {
    pub records: BTreeMap<String, RecordSummary>,
    pub groups: BTreeMap<String, Vec<String>>,
}

/// A record without the time of its last check: its other content as text, its status, its
/// revision and its incarnation.
pub type RecordSummary = (String, ServiceStatus, u64, u64);

fn with_stamps(info: &ServiceInfo, (revision, incarnation): (u64, u64)) -> RecordSummary {
    let said = (info.registration(), info.registered_at(), info.source());
    (format!("{said:?}"), info.status(), revision, incarnation)
}

fn stamped(info: &ServiceInfo) -> RecordSummary {
    let stamps = (info.revision().as_u64(), info.incarnation().as_u64());
    with_stamps(info, stamps)
}

impl FollowedState {
    pub fn of(view: &dyn DynView, selection: &Selection) -> FollowedState {
        let mut followed = FollowedState::default();
        for info in view.services().filter(|info| selection.holds(info)) {
            followed
                .records
                .insert(info.key().to_string(), stamped(info));
        }
        for group in view
            .groups()
            .filter(|group| selection.holds_subscription(group))
        {
            let held = view.subscribers(group).map(ToString::to_string).collect();
            followed.groups.insert(group.into(), held);
        }
        followed
    }

    /// Returns the whole state of a model.
    pub fn of_model(model: &Model) -> FollowedState {
        let mut followed = FollowedState::default();
        for (name, info) in &model.services {
            let said = with_stamps(info, model.stamps[name]);
            followed.records.insert(name.clone(), said);
        }
        for (subscriber, group) in &model.subscriptions {
            let group = followed.groups.entry(group.clone());
            group.or_default().push(subscriber.clone());
        }
        followed
    }

    /// Returns the selected part of the whole state.
    pub fn part(mut self, selection: &Selection) -> FollowedState {
        match selection {
            Selection::All => {}
            Selection::Service(service) => {
                self.records
                    .retain(|name, _| key(name).service_name() == &**service);
                self.groups.clear();
            }
            Selection::Pod(pod) => {
                self.records.retain(|name, _| *name == **pod);
                self.groups.clear();
            }
            Selection::Group(group) => {
                self.groups.retain(|name, _| *name == **group);
                self.records.clear();
            }
            // By the zone.
            Selection::Labelled(labelled) => {
                self = self.part(labelled.of());
                let zone = format!("zone: {OF_LABELS:?}");
                self.records.retain(|_, (said, ..)| said.contains(&zone));
                self.groups.clear();
            }
            other => panic!("unknown: {other:?}"),
        }
        self
    }

    /// Applies differences, in order.
    ///
    /// # Errors
    ///
    /// Fails if a difference does not start from the present state, or if they are no
    /// [net effect](net).
    pub fn apply_all(&mut self, changes: &[Difference]) -> Result<(), String> {
        net(changes)?;
        changes.iter().try_for_each(|change| {
            let applies = self.apply(change);
            applies.ok_or_else(|| format!("{change:?} of {self:?}"))
        })
    }

    /// Applies one difference; `None` if it does not start from the present state.
    fn apply(&mut self, difference: &Difference) -> Option<()> {
        match difference {
            Difference::Added(info) => {
                let before = self.records.insert(info.key().to_string(), stamped(info));
                before.is_none().then_some(())
            }
            Difference::Changed { before, after, .. } => {
                let known = self.records.insert(after.key().to_string(), stamped(after));
                (known == Some(stamped(before))).then_some(())
            }
            Difference::Removed { last, .. } => {
                let known = self.records.remove(&**last.key());
                (known == Some(stamped(last))).then_some(())
            }
            Difference::Subscribed {
                subscriber, group, ..
            } => {
                let group = self.groups.entry(group.to_string()).or_default();
                let subscriber = subscriber.to_string();
                let is_new = !group.contains(&subscriber);
                group.push(subscriber);
                is_new.then_some(())
            }
            Difference::Unsubscribed {
                subscriber, group, ..
            } => {
                let of = self.groups.get_mut(&**group)?;
                let at = of.iter().position(|key| **subscriber == **key)?;
                of.remove(at);
                if of.is_empty() {
                    self.groups.remove(&**group);
                }
                Some(())
            }
            Difference::Skipped { .. } => None,
            other => panic!("unknown: {other:?}"),
        }
    }

    /// Applies an event.
    ///
    /// # Errors
    ///
    /// Fails as [`apply_all`](Self::apply_all) does, and if an event is empty or a state has a
    /// record twice.
    pub fn follow(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::State {
                services,
                subscriptions,
                ..
            } => {
                *self = FollowedState::default();
                for info in services {
                    let twice = self.records.insert(info.key().to_string(), stamped(info));
                    if twice.is_some() {
                        return Err(format!("{info:?} is told twice in {event:?}"));
                    }
                }
                for subscription in subscriptions {
                    let group = self.groups.entry(subscription.group.to_string());
                    group.or_default().push(subscription.subscriber.to_string());
                }
                Ok(())
            }
            Event::Changes { changes, .. } if changes.is_empty() => {
                Err(String::from("an event of nothing"))
            }
            Event::Changes { changes, .. } => self.apply_all(changes),
            other => panic!("unknown: {other:?}"),
        }
    }
}

/// Removes and returns the skipped records, which are the last differences of a commit.
pub fn split_skipped(changes: &mut Vec<Difference>) -> Vec<RecordSummary> {
    let is_skipped = |change: &Difference| matches!(change, Difference::Skipped { .. });
    let first = changes.iter().rposition(|change| !is_skipped(change));
    let skipped = changes.split_off(first.map_or(0, |last| last + 1));
    let kept = skipped.iter().filter_map(|change| match change {
        Difference::Skipped { kept, .. } => Some(stamped(kept)),
        _ => None,
    });
    kept.collect()
}

/// Checks that differences are a net effect: at most one per record; for a subscription at most
/// one end, and then one begin; none without an effect; and none of a skipped record.
///
/// # Errors
///
/// Returns the first difference that breaks this.
fn net(changes: &[Difference]) -> Result<(), String> {
    let (mut records, mut ended, mut begun) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    changes.iter().try_for_each(|change| {
        let is_net = match change {
            Difference::Added(info) => records.insert(info.key()),
            Difference::Changed { before, after, .. } => {
                records.insert(after.key()) && stamped(before) != stamped(after)
            }
            Difference::Removed { last, .. } => records.insert(last.key()),
            Difference::Unsubscribed {
                subscriber, group, ..
            } => !begun.contains(&(subscriber, group)) && ended.insert((subscriber, group)),
            Difference::Subscribed {
                subscriber, group, ..
            } => begun.insert((subscriber, group)),
            Difference::Skipped { .. } => false,
            other => panic!("unknown: {other:?}"),
        };
        let told = || format!("{change:?} is no net effect in {changes:?}");
        is_net.then_some(()).ok_or_else(told)
    })
}

// --- batches at random

pub const KEYS: [&str; 5] = ["a:1", "a:2", "b:1", "b:2", "c:1"];
pub const GROUPS: [&str; 3] = ["a", "b", "x"];
/// The zone of labelled selections.
pub const OF_LABELS: &str = "eu-1b";
/// The keys of the source `file`: it owns all records under them.
const OF_FILE: [&str; 2] = ["a:2", "b:1"];

fn some(dice: &mut Dice, texts: &[&'static str]) -> &'static str {
    texts[dice.roll(texts.len())]
}

/// Returns one of several records of a key.
fn any_record(dice: &mut Dice, name: &str) -> ServiceInfo {
    let named = key(name);
    let mut info = registration(named.service_name(), named.pod_name(), &[]);
    info.weight = u32::try_from(dice.roll(3)).unwrap();
    if info.weight == 2 {
        info.zone = OF_LABELS.into();
    }
    let info = ServiceInfo::new(info).unwrap().with_registered_at(at(1));
    let info = info.unwrap();
    if OF_FILE.contains(&name) {
        info.with_source("file").unwrap()
    } else {
        info
    }
}

/// Adds a change that no state refuses.
fn change(dice: &mut Dice, batch: &mut Batch) {
    let (name, group) = (some(dice, &KEYS), some(dice, &GROUPS));
    let info = any_record(dice, name);
    let status = [ServiceStatus::Healthy, ServiceStatus::Unhealthy][dice.roll(2)];
    match dice.roll(13) {
        0 | 1 => batch.save_service(info),
        2 | 3 => batch.register_service(info),
        4 => batch.remove_if(name, Expected::Present, Cause::Expired),
        5 | 6 => batch.update_health_if(name, Expected::Present, status, at(dice.roll(99) as u64)),
        7 => {
            let listed = OF_FILE.iter().filter(|_| dice.roll(2) == 0);
            let listed: Vec<&str> = listed.copied().collect();
            let list = listed.into_iter().map(|name| any_record(dice, name));
            batch.replace_source("file", list.collect(), OnForeign::Reject)
        }
        8 if dice.roll(2) == 0 => {
            let listed = KEYS.iter().filter(|_| dice.roll(2) == 0);
            let listed: Vec<&str> = listed.copied().collect();
            let list = listed.into_iter().map(|name| any_record(dice, name));
            let list = list.collect();
            let sides = (0..dice.roll(4)).map(|_| {
                let (name, group) = (some(dice, &KEYS), some(dice, &GROUPS));
                Subscription::new(key(name), group)
            });
            batch.replace_all(list, sides.collect())
        }
        8 | 9 | 12 => batch.add_subscription(name, group),
        10 => batch.remove_subscription(name, group),
        _ => batch.remove_all_subscriptions(name),
    };
}

pub fn batch(dice: &mut Dice) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..=dice.roll(4) {
        change(dice, &mut batch);
    }
    batch
}

/// Returns a random batch for the state `now`, and the records that it will skip, in order. One
/// batch in three begins with a list of the source `file` that has keys of others as well, whose
/// records are skipped.
pub fn batch_that_skips(dice: &mut Dice, now: &FollowedState) -> (Batch, Vec<RecordSummary>) {
    let mut skipped = Vec::new();
    if dice.roll(3) > 0 {
        return (batch(dice), skipped);
    }
    let mut list = Vec::new();
    for name in KEYS {
        let record = any_record(dice, name);
        if OF_FILE.contains(&name) && dice.roll(2) == 0 {
            list.push(record);
        } else if !OF_FILE.contains(&name)
            && dice.roll(2) == 0
            && let Some(kept) = now.records.get(name)
        {
            list.push(record);
            skipped.push(kept.clone());
        }
    }
    let mut batch = Batch::new();
    batch.replace_source("file", list, OnForeign::Skip);
    for _ in 0..dice.roll(4) {
        change(dice, &mut batch);
    }
    (batch, skipped)
}
