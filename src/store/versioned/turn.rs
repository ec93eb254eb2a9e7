//! The changes of a registry.

use std::hash::BuildHasher;
use std::mem::{swap, take};
use std::sync::Arc;

use super::lists::{Members, Pod, Subscribers, Subscriptions};
use super::tables::{Cleared, GROUPS, NAMES, OF_STATS, SERVICES, STATS, Turn};
use crate::model::record::Effect;
use crate::store::StoreStats;
use crate::store::methods::prelude::*;
use crate::store::write::{Before, ClearTables};

#[inline]
fn hash(turn: &Turn<'_>, key: &str) -> u64 {
    turn.hasher().hash_one(key)
}

/// Adds to the counts of services and subscriptions.
fn count(turn: &mut Turn<'_>, services: isize, subscriptions: isize) {
    let writer = turn.writer_state_mut();
    let stats = &mut writer.stats;
    stats.services = stats.services.wrapping_add_signed(services);
    stats.subscriptions = stats.subscriptions.wrapping_add_signed(subscriptions);
    writer.counted = true;
}

/// Puts the counts into their map.
#[inline(never)]
fn put_counts(turn: &mut Turn<'_>) {
    let stats = turn.writer_state_mut().stats;
    turn.entry(STATS, OF_STATS, &()).insert((), stats);
}

/// Records the position of a pod in the list of its name.
fn set_place(pod: Pod, place: usize) {
    let place = u32::try_from(place).expect("fewer pods than bytes of memory");
    // SAFETY: the caller holds the turn, and the pod is in a newest list.
    unsafe { pod.set_note(place) };
}

/// Removes a subscription from its group.
fn leave(turn: &mut Turn<'_>, service_group: &str, number: u64) {
    let hash = hash(turn, service_group);
    let entry = turn.entry(GROUPS, hash, service_group);
    let Some(subscribers) = entry.value() else {
        unreachable!("a subscription stands in its group");
    };
    let subscribers = subscribers.without(number);
    if subscribers.is_empty() {
        entry.remove();
    } else {
        entry.replace(subscribers);
    }
    count(turn, 0, -1);
}

impl WriteTables for Turn<'_> {
    fn record(&self, key: &str) -> Option<&ServiceInfo> {
        self.newest(SERVICES, hash(self, key), key)
    }

    fn each_record(&self, look: impl FnMut(&ServiceInfo)) {
        self.each_newest(SERVICES, look);
    }

    fn each_subscription(&self, look: impl FnMut(&ServiceKey, &Arc<str>)) {
        self.writer_state().subscriptions.each(look);
    }

    fn current(&self) -> Revision {
        self.published().into()
    }

    fn put_record(&mut self, mut service: ServiceInfo, how: Put) -> Result<Before> {
        let key_hash = hash(self, service.key());
        let entry = self.entry(SERVICES, key_hash, &**service.key());
        let revision = entry.next_revision().into();
        let known = entry.value();
        if !how.stamp(&mut service, known, revision)? {
            return Ok(Before::Same);
        }
        if let Some(known) = known {
            if service.shares_registration(known) {
                // SAFETY: apart from equal pointers to the registration, each of which holds a
                // reference to it, this exchanges plain data.
                unsafe { entry.lend(|own| swap(own, &mut service)) };
                return Ok(Before::Other(service));
            }
            let before = Before::Other(known.clone());
            entry.replace(service);
            return Ok(before);
        }
        let (key, name) = (service.key().clone(), service.clone());
        let pod = entry.insert(&key, service);
        let name = name.service_name();
        let name_hash = hash(self, name);
        let entry = self.entry(NAMES, name_hash, name);
        let first = Members::default();
        let members = entry.value().unwrap_or(&first);
        let (place, members) = (members.len(), members.with(pod));
        set_place(pod, place);
        entry.insert(name, members);
        count(self, 1, 0);
        Ok(Before::Absent)
    }

    fn delete(&mut self, key: &str) -> Option<ServiceInfo> {
        let key_hash = hash(self, key);
        let entry = self.entry(SERVICES, key_hash, key);
        let removed = entry.value()?.clone();
        let pod = entry.remove()?;
        let name = removed.service_name();
        let name_hash = hash(self, name);
        let entry = self.entry(NAMES, name_hash, name);
        let Some(members) = entry.value() else {
            unreachable!("a registered pod stands under its name");
        };
        // SAFETY: this turn has removed the pod.
        let place = unsafe { pod.note() } as usize;
        let (members, moved) = members.without(place);
        if let Some(moved) = moved {
            set_place(moved, place);
        }
        if members.len() > 0 {
            entry.replace(members);
        } else {
            entry.remove();
        }
        count(self, -1, 0);
        Some(removed)
    }

    #[inline]
    fn set_health(
        &mut self,
        key: &str,
        status: ServiceStatus,
        checked_at: Moment,
        see: impl FnOnce(&ServiceInfo),
    ) -> Option<HealthUpdate> {
        let key_hash = hash(self, key);
        let entry = self.entry(SERVICES, key_hash, key);
        let known = entry.value()?;
        let effect = known.effect(status, checked_at);
        let answer = known.answer(effect);
        if effect == Effect::Some {
            see(known);
            let revision = entry.next_revision().into();
            // SAFETY: a health is plain data. The rest of a record is behind a shared pointer,
            // which does not change.
            unsafe { entry.lend(|service| service.set_health(status, checked_at, revision)) };
        }
        Some(answer)
    }

    fn subscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool {
        let subscriptions = &mut self.writer_state_mut().subscriptions;
        let Some((number, subscriber)) = subscriptions.add(subscriber_key, service_group) else {
            return false;
        };
        let group_hash = hash(self, service_group);
        let entry = self.entry(GROUPS, group_hash, service_group);
        let first = Subscribers::default();
        let subscribers = entry.value().unwrap_or(&first);
        let subscribers = subscribers.with(number, subscriber);
        entry.insert(service_group, subscribers);
        count(self, 0, 1);
        true
    }

    fn unsubscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool {
        let subscriptions = &mut self.writer_state_mut().subscriptions;
        let removed = subscriptions.remove(subscriber_key, service_group);
        if let Some(number) = removed {
            leave(self, service_group, number);
        }
        removed.is_some()
    }

    fn unsubscribe_all(&mut self, subscriber_key: &str) -> Vec<Arc<str>> {
        let removed = self
            .writer_state_mut()
            .subscriptions
            .remove_all(subscriber_key);
        let leave = |(group, number): (Arc<str>, u64)| {
            leave(self, &group, number);
            group
        };
        removed.into_iter().map(leave).collect()
    }

    #[inline]
    fn settle(&mut self) -> Revision {
        if take(&mut self.writer_state_mut().counted) {
            put_counts(self);
        }
        self.publish().into()
    }
}

impl ClearTables for Turn<'_> {
    #[allow(refining_impl_trait_internal)] // the old contents outlive the turn
    fn clear(&mut self) -> impl Sized + use<> {
        let state = self.writer_state_mut();
        (state.stats != StoreStats::default()).then(|| empty(self))
    }
}

/// Removes everything and returns it.
fn empty(turn: &mut Turn<'_>) -> (Cleared, Subscriptions) {
    let state = turn.writer_state_mut();
    state.stats = StoreStats::default();
    state.counted = false;
    let subscriptions = state.subscriptions.empty();
    (turn.clear(), subscriptions)
}
