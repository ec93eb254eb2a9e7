//! [`Table`]: which leases there are, and when to look at each.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use super::slot::{Nanos, Slot};
use crate::hash::RandomState;
use crate::model::key::ServiceKey;
use crate::model::revision::Revision;

/// How many leases a sweep deals with in one turn at the lock of the table. Registrations come
/// in between.
pub(super) const AT_ONCE: usize = 1024;

/// The leases by key, and a queue of when to look at each of them.
///
/// A renewal changes the slot only. The queue finds out when the old end of the lease has
/// come, and then puts it where its new end is. So each lease is looked at once in its time
/// to live, however often it is renewed, and a sweep looks at nothing else.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<ServiceKey, Entry, RandomState>,
    /// By the time at which to look; the key tells apart what is due at the same time.
    queue: BTreeMap<(Nanos, ServiceKey), Arc<Slot>>,
    /// The revision up to which everything that happened in the store is known here.
    pub(super) seen: Revision,
    pub(super) expired: u64,
    pub(super) withheld: usize,
    /// How many slots sweeps have looked at, ever.
    #[cfg(test)]
    pub(super) looks: usize,
}

#[derive(Debug)]
struct Entry {
    slot: Arc<Slot>,
    /// Where it stands in the queue, unless it is overdue.
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

    /// Takes in a lease in place of an older one of the same key. Where the one that is
    /// there is of a later registration, the new one is lost.
    pub(super) fn insert(&mut self, slot: Arc<Slot>) {
        let known = self.get(&slot.key);
        if known.is_some_and(|known| known.incarnation > slot.incarnation) {
            slot.lose();
            return;
        }
        let place = slot.ends();
        let key = slot.key.clone();
        self.queue.insert((place, key.clone()), slot.clone());
        if let Some(old) = self.entries.insert(key, Entry { slot, place }) {
            self.drop_from_queue(&old);
            old.slot.lose();
        }
    }

    fn drop_from_queue(&mut self, entry: &Entry) {
        let place = (entry.place, entry.slot.key.clone());
        // Another lease of the key may stand in the same place.
        if self
            .queue
            .get(&place)
            .is_some_and(|slot| Arc::ptr_eq(slot, &entry.slot))
        {
            self.queue.remove(&place);
        }
    }

    /// Forgets a lease, which is lost from then on.
    pub(super) fn remove(&mut self, slot: &Arc<Slot>) {
        slot.lose();
        let is_known = (self.get(&slot.key)).is_some_and(|known| Arc::ptr_eq(known, slot));
        let entry = is_known.then(|| self.entries.remove(&slot.key)).flatten();
        if let Some(entry) = entry {
            self.drop_from_queue(&entry);
        }
    }

    /// Forgets the lease of a pod that is not registered any more.
    pub(super) fn forget(&mut self, key: &str, incarnation: Revision) {
        let known = self.get(key);
        let of_it = known.filter(|known| known.incarnation == incarnation);
        if let Some(slot) = of_it.cloned() {
            self.remove(&slot);
        }
    }

    /// Learns that under `key` the store has had, at `revision`, the record of this
    /// incarnation, or none.
    pub(super) fn compare(&mut self, key: &str, found: Option<Revision>, revision: Revision) {
        let gone = self.get(key).filter(|slot| {
            // A later registration has not been looked at yet. (One of this revision itself is what
            // was found, so that `<` would do.)
            slot.incarnation <= revision && found != Some(slot.incarnation)
        });
        if let Some(gone) = gone.cloned() {
            self.remove(&gone);
        }
    }

    pub(super) fn keys(&self) -> Vec<ServiceKey> {
        self.entries.keys().cloned().collect()
    }

    /// Takes out of the queue what is due, with its end, and moves what was renewed. Answers
    /// whether there is more of it. O(log leases) for each place that has come.
    pub(super) fn take_due(&mut self, now: Nanos, due: &mut Vec<(Arc<Slot>, Nanos)>) -> bool {
        for _ in 0..AT_ONCE {
            let Some(first) = self.queue.first_entry() else {
                return false;
            };
            if first.key().0 > now {
                return false;
            }
            let slot = first.remove();
            #[cfg(test)]
            {
                self.looks += 1;
            }
            // Looked at once: a renewal that comes next has another end than this.
            let ends = slot.ends();
            if ends <= now {
                due.push((slot, ends));
            } else {
                self.put_back(slot);
            }
        }
        true
    }

    /// Puts an overdue lease that was renewed into the queue again, if it is still there.
    pub(super) fn put_back(&mut self, slot: Arc<Slot>) {
        let Some(entry) = self.entries.get_mut(&slot.key) else {
            return;
        };
        if Arc::ptr_eq(&entry.slot, &slot) {
            entry.place = slot.ends();
            self.queue.insert((entry.place, slot.key.clone()), slot);
        }
    }

    /// When something may be due, which may be never.
    pub(super) fn next(&self) -> Option<Nanos> {
        self.queue.first_key_value().map(|(first, _)| first.0)
    }
}
