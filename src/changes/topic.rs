//! Topics: for each selection that is watched, the entries that concern it and the wakers of
//! the watches that wait for one.

use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::Arc;
use std::task::Waker;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::selection::Named;
use super::{Difference, Differences, Selection};
use crate::hash::RandomState;
use crate::model::revision::Revision;

/// The differences of one commit.
pub(super) struct Entry {
    pub(super) revision: Revision,
    pub(super) changes: Differences,
    /// The most memory that it keeps, in bytes.
    pub(super) bytes: usize,
}

impl Entry {
    pub(super) fn new(revision: Revision, changes: Differences) -> Entry {
        // The reference counters, the slot in the log, which may be half empty, and the overhead
        // of the allocator.
        const BESIDE: usize = 80;
        let own = size_of::<Entry>() + BESIDE;
        let spilled = if changes.spilled() {
            changes.capacity() * size_of::<Difference>()
        } else {
            0
        };
        let held: usize = changes.iter().map(Difference::bytes).sum();
        Entry {
            revision,
            changes,
            bytes: own + spilled + held,
        }
    }
}

/// An entry and the indices of those of its differences that concern a topic, in order.
#[derive(Clone)]
pub(super) struct Pending {
    pub(super) entry: Arc<Entry>,
    which: Which,
}

#[derive(Clone)]
enum Which {
    All,
    One(u32),
    Some(Vec<u32>),
}

impl Pending {
    /// Iterates over the differences that concern the topic.
    pub(super) fn changes(&self) -> impl Iterator<Item = &Difference> {
        let changes = &self.entry.changes;
        let (all, some) = match &self.which {
            Which::All => (&changes[..], &[][..]),
            Which::One(at) => (&[][..], std::slice::from_ref(at)),
            Which::Some(at) => (&[][..], &at[..]),
        };
        all.iter()
            .chain(some.iter().map(|at| &changes[*at as usize]))
    }

    /// Returns how many bytes it keeps in memory, without the entry.
    fn bytes(&self) -> usize {
        // A buffer that grows by doubling has at most twice the needed capacity.
        2 * size_of::<Pending>()
            + match &self.which {
                Which::All | Which::One(_) => 0,
                Which::Some(at) => 2 * size_of_val(&**at),
            }
    }
}

/// The wakers to call, usually one or none.
pub(super) type Wakers = SmallVec<[Waker; 1]>;

/// One watched selection.
#[derive(Default)]
pub(super) struct Topic {
    /// The number of its watches.
    watches: usize,
    /// The entries that concern it, in the order of revisions.
    pub(super) pending: VecDeque<Pending>,
    /// `pending` may lack entries up to this revision.
    pub(super) lost: Revision,
    /// The wakers of waiting watches, by the number of the watch.
    sleepers: HashMap<u64, Waker, RandomState>,
}

impl Topic {
    /// Registers the waker of the watch `number` for the next entry. Returns its previous
    /// waker, which the caller must drop outside the lock.
    pub(super) fn sleep(&mut self, number: u64, waker: Waker) -> Option<Waker> {
        self.sleepers.insert(number, waker)
    }

    /// Unregisters the waker of the watch `number`. Returns it, like [`sleep`](Self::sleep).
    pub(super) fn rise(&mut self, number: u64) -> Option<Waker> {
        self.sleepers.remove(&number)
    }

    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) fn sleepers(&self) -> usize {
        self.sleepers.len()
    }

    /// Shrinks the buffer if it has room for more than 16 entries, and for more than twice as many
    /// as it holds: [`Pending::bytes`] counts each entry twice.
    fn give_back(&mut self) {
        let (wanted, room) = (self.pending.len(), self.pending.capacity());
        if room > 16 && room > 2 * wanted {
            // Leave room for a few entries before it has to grow again.
            self.pending.shrink_to(wanted + wanted / 4);
        }
    }

    /// Moves all registered wakers to `wake`.
    pub(super) fn wake_all(&mut self, wake: &mut Wakers) {
        // Draining a map takes O(capacity), even if the map is empty.
        if self.sleepers.is_empty() {
            return;
        }
        wake.extend(self.sleepers.drain().map(|(_, waker)| waker));
    }

    /// Adds a difference of `entry`. Returns by how many bytes the topic grew.
    fn note(&mut self, entry: &Arc<Entry>, at: Option<u32>, wake: &mut Wakers) -> isize {
        self.wake_all(wake);
        let before = match self.pending.back_mut() {
            Some(last) if Arc::ptr_eq(&last.entry, entry) => {
                let before = last.bytes();
                match (&mut last.which, at) {
                    (Which::Some(all), Some(at)) => all.push(at),
                    (Which::One(first), Some(at)) => last.which = Which::Some(vec![*first, at]),
                    (Which::All, _) | (_, None) => {}
                }
                before
            }
            _ => {
                self.pending.push_back(Pending {
                    entry: entry.clone(),
                    which: at.map_or(Which::All, Which::One),
                });
                0
            }
        };
        self.pending.back().map_or(0, Pending::bytes).cast_signed() - before.cast_signed()
    }
}

/// All topics.
#[derive(Default)]
pub(super) struct Topics {
    all: HashMap<Selection, Topic, RandomState>,
    /// The number of topics of each [`Kind`](super::selection::Kind).
    of_kind: [usize; 4],
    /// The memory that their pending entries keep, in bytes.
    pub(super) bytes: usize,
}

/// Shrinks a map whose capacity is much larger than `wanted` requires.
fn shrink<K: Eq + Hash, V>(map: &mut HashMap<K, V, RandomState>, wanted: usize) {
    if map.capacity() > 64 && wanted < map.capacity() / 8 {
        map.shrink_to(2 * wanted);
    }
}

impl Topics {
    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get_mut(&mut self, selection: &Selection) -> Option<&mut Topic> {
        self.all.get_mut(selection)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Topic> {
        self.all.values_mut()
    }

    /// Adds a watch to a selection. A new topic has no entries up to `head`.
    pub(super) fn enter(&mut self, selection: &Selection, head: Revision) {
        let of_kind = &mut self.of_kind[Named::from(selection).kind() as usize];
        let topic = self.all.entry(selection.clone()).or_insert_with(|| {
            *of_kind += 1;
            Topic {
                lost: head,
                ..Topic::default()
            }
        });
        topic.watches += 1;
    }

    /// Removes a watch. Returns what the caller must drop outside the lock.
    pub(super) fn leave(&mut self, selection: &Selection, number: u64) -> impl Sized + use<> {
        let topic = self.all.get_mut(selection)?;
        let waker = topic.sleepers.remove(&number);
        topic.watches -= 1;
        if topic.watches > 0 {
            shrink(&mut topic.sleepers, topic.watches);
            return Some((waker, None));
        }
        let topic = self.all.remove(selection)?;
        self.of_kind[Named::from(selection).kind() as usize] -= 1;
        self.bytes -= topic.pending.iter().map(Pending::bytes).sum::<usize>();
        let left = self.all.len();
        shrink(&mut self.all, left);
        Some((waker, Some(topic)))
    }

    /// Adds an entry to all topics that it concerns, and moves their wakers to `wake`.
    /// O(differences), no matter how many other topics there are.
    pub(super) fn note(&mut self, entry: &Arc<Entry>, wake: &mut Wakers) {
        let mut bytes = 0;
        self.concerned(entry, |topic, at| bytes += topic.note(entry, at, wake));
        self.bytes = self.bytes.wrapping_add_signed(bytes);
    }

    /// Rebuilds the pending entries of a topic that is newer than `entries`, the contents of
    /// the log. Entries up to `lost` are missing.
    pub(super) fn look_back<'a>(
        &mut self,
        selection: &Selection,
        entries: impl Iterator<Item = &'a Arc<Entry>>,
        lost: Revision,
    ) {
        let Some(topic) = self.all.get_mut(selection) else {
            return;
        };
        let before: usize = topic.pending.iter().map(Pending::bytes).sum();
        topic.pending.clear();
        topic.lost = lost;
        for entry in entries {
            let changes = entry.changes.iter().enumerate();
            let concern = changes.filter(|(_, change)| selection.concerns(change));
            let mut at: Vec<u32> = concern
                .filter_map(|(at, _)| u32::try_from(at).ok())
                .collect();
            let which = match (&selection, at.len()) {
                (Selection::All, _) => Which::All,
                (_, 0) => continue,
                (_, 1) => Which::One(at.remove(0)),
                _ => Which::Some(at),
            };
            topic.pending.push_back(Pending {
                entry: entry.clone(),
                which,
            });
        }
        let after: usize = topic.pending.iter().map(Pending::bytes).sum();
        self.bytes = self.bytes + after - before;
    }

    /// Removes the oldest entry from all topics.
    pub(super) fn forget(&mut self, entry: &Arc<Entry>) {
        let mut bytes = 0;
        // Every topic that has the entry pending holds a reference to it.
        if Arc::strong_count(entry) == 1 {
            return;
        }
        self.concerned(entry, |topic, _| {
            topic.lost = topic.lost.max(entry.revision);
            let first = topic.pending.front();
            if first.is_some_and(|first| Arc::ptr_eq(&first.entry, entry)) {
                bytes += topic.pending.pop_front().map_or(0, |first| first.bytes());
                topic.give_back();
            }
        });
        self.bytes -= bytes;
    }

    /// Calls `show` with each topic that an entry concerns and the index of the difference that
    /// concerns it, or `None` for all differences. O(differences), no matter how many other
    /// topics there are.
    fn concerned(&mut self, entry: &Entry, mut show: impl FnMut(&mut Topic, Option<u32>)) {
        let mut show_at = |name: Named<'_>, at| {
            if self.of_kind[name.kind() as usize] > 0
                && let Some(topic) = self.all.get_mut(&name)
            {
                show(topic, at);
            }
        };
        show_at(Named::All, None);
        for (at, change) in entry.changes.iter().enumerate() {
            // No commit has more than 2^32 changes.
            let at = u32::try_from(at).ok();
            match change {
                Difference::Added(service)
                | Difference::Removed { last: service, .. }
                | Difference::Changed { after: service, .. }
                | Difference::Skipped { kept: service } => {
                    show_at(Named::Service(service.service_name()), at);
                    show_at(Named::Pod(service.key()), at);
                }
                Difference::Subscribed { group, .. } | Difference::Unsubscribed { group, .. } => {
                    show_at(Named::Group(group), at);
                }
            }
        }
    }
}
