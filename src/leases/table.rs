//! [`Table`], the leases and the times at which a sweep examines them.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use super::slot::{Nanos, Slot};
use crate::hash::RandomState;
use crate::model::key::ServiceKey;
use crate::model::revision::Revision;

/// The number of leases that a sweep processes each time it holds the lock of the table.
/// Registrations get the lock in between.
pub(super) const LEASES_PER_LOCK: usize = 1024;

/// The leases by key, and a queue of the times at which to examine them.
///
/// A renewal changes only the slot. When the old end of a lease has come, the queue reads the
/// new end and moves the lease there. Each lease is therefore examined once in its time to
/// live, no matter how often it is renewed, and a sweep examines nothing else.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<ServiceKey, LeaseEntry, RandomState>,
    /// Ordered by the time of the examination. The key separates leases with the same time.
    queue: BTreeMap<(Nanos, ServiceKey), Arc<Slot>>,
    /// The revision up to which the table knows all changes of the store.
    pub(super) seen: Revision,
    pub(super) expired: u64,
    pub(super) withheld: usize,
    /// The total number of slots that sweeps have examined.
    #[cfg(test)]
    pub(super) examined: usize,
}

#[derive(Debug)]
struct LeaseEntry {
    slot: Arc<Slot>,
    /// Its time in the queue, unless it is overdue.
    place: Nanos,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) fn queue_len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Arc<Slot>> {
        self.entries.get(key).map(|entry| &entry.slot)
    }

    /// Inserts a lease, which replaces an older one of the same key. If the existing lease
    /// belongs to a later registration, the new one is lost.
    pub(super) fn insert(&mut self, slot: Arc<Slot>) {
        let known = self.get(&slot.key);
        if known.is_some_and(|known| known.incarnation > slot.incarnation) {
            slot.mark_lost();
            return;
        }
        let place = slot.ends();
        let key = slot.key.clone();
        self.queue.insert((place, key.clone()), slot.clone());
        if let Some(old) = self.entries.insert(key, LeaseEntry { slot, place }) {
            self.drop_from_queue(&old);
            old.slot.mark_lost();
        }
    }

    fn drop_from_queue(&mut self, entry: &LeaseEntry) {
        let place = (entry.place, entry.slot.key.clone());
        // Another lease of the key may have the same time.
        if self
            .queue
            .get(&place)
            .is_some_and(|slot| Arc::ptr_eq(slot, &entry.slot))
        {
            self.queue.remove(&place);
        }
    }

    /// Removes a lease, which is lost from then on.
    pub(super) fn remove(&mut self, slot: &Arc<Slot>) {
        slot.mark_lost();
        let is_known = (self.get(&slot.key)).is_some_and(|known| Arc::ptr_eq(known, slot));
        let entry = is_known.then(|| self.entries.remove(&slot.key)).flatten();
        if let Some(entry) = entry {
            self.drop_from_queue(&entry);
        }
    }

    /// Removes the lease of a pod that is no longer registered.
    pub(super) fn remove_incarnation(&mut self, key: &str, incarnation: Revision) {
        let known = self.get(key);
        let matching = known.filter(|known| known.incarnation == incarnation);
        if let Some(slot) = matching.cloned() {
            self.remove(&slot);
        }
    }

    /// Removes the lease under `key` if its pod is gone: at `revision` the store had the
    /// incarnation `found` under this key, or no record.
    pub(super) fn remove_if_gone(
        &mut self,
        key: &str,
        found: Option<Revision>,
        revision: Revision,
    ) {
        let gone = self.get(key).filter(|slot| {
            // A sweep has not read a later registration yet. One of this revision itself has
            // been found, so `<` would be enough.
            slot.incarnation <= revision && found != Some(slot.incarnation)
        });
        if let Some(gone) = gone.cloned() {
            self.remove(&gone);
        }
    }

    pub(super) fn keys(&self) -> Vec<ServiceKey> {
        self.entries.keys().cloned().collect()
    }

    /// Moves due leases with their ends from the queue to `due`, and moves renewed leases
    /// within the queue. Returns whether there may be more. O(log leases) for each.
    pub(super) fn take_due(&mut self, now: Nanos, due: &mut Vec<(Arc<Slot>, Nanos)>) -> bool {
        for _ in 0..LEASES_PER_LOCK {
            let Some(first) = self.queue.first_entry() else {
                return false;
            };
            if first.key().0 > now {
                return false;
            }
            let slot = first.remove();
            #[cfg(test)]
            {
                self.examined += 1;
            }
            // Read once: a later renewal has another end than this.
            let ends = slot.ends();
            if ends <= now {
                due.push((slot, ends));
            } else {
                self.put_back(slot);
            }
        }
        true
    }

    /// Puts an overdue lease that was renewed back into the queue, if the table still has it.
    pub(super) fn put_back(&mut self, slot: Arc<Slot>) {
        let Some(entry) = self.entries.get_mut(&slot.key) else {
            return;
        };
        if Arc::ptr_eq(&entry.slot, &slot) {
            entry.place = slot.ends();
            self.queue.insert((entry.place, slot.key.clone()), slot);
        }
    }

    /// Returns when the next lease may be due, or `None` if there is none. Leases without an end
    /// are due at [`NEVER`](super::slot::NEVER).
    pub(super) fn next(&self) -> Option<Nanos> {
        self.queue.first_key_value().map(|(first, _)| first.0)
    }
}
