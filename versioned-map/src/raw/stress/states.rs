//! The state at a revision, in plain values that share nothing with the store. A shared item would
//! stay alive here.

use std::collections::BTreeMap;

use super::super::sample::{Item, Pod, Step, key, list_of};
use crate::sync::delayed::dice::Dice;

pub(super) const PODS: usize = 48;
pub(super) const GROUPS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// A new number each time that the pod is saved.
    pub(super) stamp: u64,
    pub(super) checked: Option<u64>,
}

/// Returns whether a store's item equals this record in all its data.
pub(super) fn is(item: &Item, pod: Pod, record: Record) -> bool {
    item.shared.key == key(pod)
        && item.shared.stamp == record.stamp
        && item.checked == record.checked
}

/// The state at a revision.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) items: BTreeMap<Pod, Record>,
    /// The pods of each group, in the order in which they joined. No group is empty.
    pub(super) groups: BTreeMap<usize, Vec<Pod>>,
}

impl State {
    pub(super) fn all(&self) -> impl Iterator<Item = (Pod, Record)> {
        self.items.iter().map(|(pod, record)| (*pod, *record))
    }

    pub(super) fn of_list(&self, list: usize) -> impl Iterator<Item = (Pod, Record)> {
        self.all().filter(move |(pod, _)| list_of(*pod) == list)
    }

    pub(super) fn group(&self, of: usize) -> &[Pod] {
        self.groups.get(&of).map_or(&[], |pods| &**pods)
    }

    /// Makes a change, and returns whether it has an effect.
    pub(super) fn apply(&mut self, step: Step) -> bool {
        match step {
            Step::Save(pod, stamp) => {
                let checked = None;
                let record = Record { stamp, checked };
                self.items.insert(pod, record) != Some(record)
            }
            Step::Delete(pod) => self.items.remove(&pod).is_some(),
            Step::Check(pod, checked) => {
                let known = self.items.get_mut(&pod).expect("a step is possible");
                known.checked.replace(checked) != Some(checked)
            }
            Step::Join(pod, of) => {
                let pods = self.groups.entry(of).or_default();
                let is_new = !pods.contains(&pod);
                if is_new {
                    pods.push(pod);
                }
                is_new
            }
            Step::Leave(pod, of) => {
                let pods = self.groups.entry(of).or_default();
                let before = pods.len();
                pods.retain(|other| *other != pod);
                let has_left = pods.len() < before;
                if pods.is_empty() {
                    self.groups.remove(&of);
                }
                has_left
            }
            Step::Nudge => true,
        }
    }

    /// Returns a possible change. On average such changes move the number of pods towards `target`.
    pub(super) fn next(&self, dice: &mut Dice, target: usize, stamp: u64) -> Step {
        let any = dice.roll(PODS);
        let count = self.items.len();
        // A pod that is present, if there is any.
        let there = self.items.keys().nth(dice.roll(count.max(1)));
        match (dice.roll(20), there.copied()) {
            (0..8, Some(pod)) => Step::Check(pod, stamp),
            (8, Some(pod)) => Step::Save(pod, stamp),
            (9, Some(pod)) => Step::Delete(pod),
            (10 | 11, _) => Step::Join(any, dice.roll(GROUPS)),
            (12 | 13, _) => Step::Leave(any, dice.roll(GROUPS)),
            (_, Some(pod)) if count > target => Step::Delete(pod),
            _ => Step::Save(any, stamp),
        }
    }
}
