//! Topics: for each selection that is watched, the entries that concern it and the wakers of
//! the watches that wait for one.

use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::Arc;
use std::task::Waker;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::selection::TopicName;
use super::{Difference, Differences, Selection};
use crate::hash::RandomState;
use crate::model::revision::Revision;

/// The differences of one commit.
pub(super) struct LogEntry {
    pub(super) revision: Revision,
    pub(super) changes: Differences,
    /// The most memory that it keeps, in bytes.
    pub(super) bytes: usize,
}

impl LogEntry {
    pub(super) fn new(revision: Revision, changes: Differences) -> LogEntry {
        // The reference counters, the slot in the log, which may be half empty, and the overhead
        // of the allocator.
        const BESIDE: usize = 80;
        let own = size_of::<LogEntry>() + BESIDE;
        let spilled = if changes.spilled() {
            changes.capacity() * size_of::<Difference>()
        } else {
            0
        };
        let held: usize = changes.iter().map(Difference::bytes).sum();
        LogEntry {
            revision,
            changes,
            bytes: own + spilled + held,
        }
    }
}

/// An entry and the indices of those of its differences that concern a topic, in order.
#[derive(Clone)]
pub(super) struct Pending {
    pub(super) entry: Arc<LogEntry>,
    indices: Indices,
}

#[derive(Clone)]
enum Indices {
    All,
    One(u32),
    Some(Vec<u32>),
}

impl Pending {
    /// Iterates over the differences that concern the topic.
    pub(super) fn changes(&self) -> impl Iterator<Item = &Difference> {
        let changes = &self.entry.changes;
        let (all, some) = match &self.indices {
            Indices::All => (&changes[..], &[][..]),
            Indices::One(at) => (&[][..], std::slice::from_ref(at)),
            Indices::Some(at) => (&[][..], &at[..]),
        };
        all.iter()
            .chain(some.iter().map(|at| &changes[*at as usize]))
    }

    /// Returns how many bytes it keeps in memory, without the entry.
    fn bytes(&self) -> usize {
        // A buffer that grows by doubling has at most twice the needed capacity.
        2 * size_of::<Pending>()
            + match &self.indices {
                Indices::All | Indices::One(_) => 0,
                Indices::Some(at) => 2 * size_of_val(&**at),
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
    pub(super) complete_after: Revision,
    /// The wakers of waiting watches, by the number of the watch.
    wakers: HashMap<u64, Waker, RandomState>,
}

impl Topic {
    /// Registers the waker of the watch `number` for the next entry. Returns its previous
    /// waker, which the caller must drop outside the lock.
    pub(super) fn set_waker(&mut self, number: u64, waker: Waker) -> Option<Waker> {
        self.wakers.insert(number, waker)
    }

    /// Unregisters the waker of the watch `number`. Returns it, like
    /// [`set_waker`](Self::set_waker).
    pub(super) fn take_waker(&mut self, number: u64) -> Option<Waker> {
        self.wakers.remove(&number)
    }

    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) fn wakers(&self) -> usize {
        self.wakers.len()
    }

    /// Shrinks the buffer if it has room for more than 16 entries, and for more than twice as many
    /// as it holds: [`Pending::bytes`] counts each entry twice.
    fn shrink_pending(&mut self) {
        let (wanted, room) = (self.pending.len(), self.pending.capacity());
        if room > 16 && room > 2 * wanted {
            // Leave room for a few entries before it has to grow again.
            self.pending.shrink_to(wanted + wanted / 4);
        }
    }

    /// Moves all registered wakers to `wake`.
    pub(super) fn wake_all(&mut self, wake: &mut Wakers) {
        // Draining a map takes O(capacity), even if the map is empty.
        if self.wakers.is_empty() {
            return;
        }
        wake.extend(self.wakers.drain().map(|(_, waker)| waker));
    }

    /// Adds a difference of `entry`. Returns by how many bytes the topic grew.
    fn add(&mut self, entry: &Arc<LogEntry>, at: Option<u32>, wake: &mut Wakers) -> isize {
        self.wake_all(wake);
        let before = match self.pending.back_mut() {
            Some(last) if Arc::ptr_eq(&last.entry, entry) => {
                let before = last.bytes();
                match (&mut last.indices, at) {
                    (Indices::Some(all), Some(at)) => all.push(at),
                    (Indices::One(first), Some(at)) => {
                        last.indices = Indices::Some(vec![*first, at]);
                    }
                    (Indices::All, _) | (_, None) => {}
                }
                before
            }
            _ => {
                self.pending.push_back(Pending {
                    entry: entry.clone(),
                    indices: at.map_or(Indices::All, Indices::One),
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
    /// The number of topics of each [`SelectionKind`](super::selection::Kind).
    count_by_kind: [usize; 4],
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
    pub(super) fn add_watch(&mut self, selection: &Selection, head: Revision) {
        let count_by_kind = &mut self.count_by_kind[TopicName::from(selection).kind() as usize];
        let topic = self.all.entry(selection.clone()).or_insert_with(|| {
            *count_by_kind += 1;
            Topic {
                complete_after: head,
                ..Topic::default()
            }
        });
        topic.watches += 1;
    }

    /// Removes a watch. Returns what the caller must drop outside the lock.
    pub(super) fn remove_watch(
        &mut self,
        selection: &Selection,
        number: u64,
    ) -> impl Sized + use<> {
        let topic = self.all.get_mut(selection)?;
        let waker = topic.wakers.remove(&number);
        topic.watches -= 1;
        if topic.watches > 0 {
            shrink(&mut topic.wakers, topic.watches);
            return Some((waker, None));
        }
        let topic = self.all.remove(selection)?;
        self.count_by_kind[TopicName::from(selection).kind() as usize] -= 1;
        self.bytes -= topic.pending.iter().map(Pending::bytes).sum::<usize>();
        let left = self.all.len();
        shrink(&mut self.all, left);
        Some((waker, Some(topic)))
    }

    /// Adds an entry to all topics that it concerns, and moves their wakers to `wake`.
    /// O(differences), no matter how many other topics there are.
    pub(super) fn add(&mut self, entry: &Arc<LogEntry>, wake: &mut Wakers) {
        let mut bytes = 0;
        self.each_concerned(entry, |topic, at| bytes += topic.add(entry, at, wake));
        self.bytes = self.bytes.wrapping_add_signed(bytes);
    }

    /// Rebuilds the pending entries of a topic that is newer than `entries`, the contents of
    /// the log. Entries up to `complete_after` are missing.
    pub(super) fn backfill<'a>(
        &mut self,
        selection: &Selection,
        entries: impl Iterator<Item = &'a Arc<LogEntry>>,
        complete_after: Revision,
    ) {
        let Some(topic) = self.all.get_mut(selection) else {
            return;
        };
        let before: usize = topic.pending.iter().map(Pending::bytes).sum();
        topic.pending.clear();
        topic.complete_after = complete_after;
        for entry in entries {
            let changes = entry.changes.iter().enumerate();
            let concern = changes.filter(|(_, change)| selection.concerns(change));
            let mut at: Vec<u32> = concern
                .filter_map(|(at, _)| u32::try_from(at).ok())
                .collect();
            let indices = match (&selection, at.len()) {
                (Selection::All, _) => Indices::All,
                (_, 0) => continue,
                (_, 1) => Indices::One(at.remove(0)),
                _ => Indices::Some(at),
            };
            topic.pending.push_back(Pending {
                entry: entry.clone(),
                indices,
            });
        }
        let after: usize = topic.pending.iter().map(Pending::bytes).sum();
        self.bytes = self.bytes + after - before;
    }

    /// Removes the oldest entry from all topics.
    pub(super) fn remove_oldest(&mut self, entry: &Arc<LogEntry>) {
        let mut bytes = 0;
        // Every topic that has the entry pending holds a reference to it.
        if Arc::strong_count(entry) == 1 {
            return;
        }
        self.each_concerned(entry, |topic, _| {
            topic.complete_after = topic.complete_after.max(entry.revision);
            let first = topic.pending.front();
            if first.is_some_and(|first| Arc::ptr_eq(&first.entry, entry)) {
                bytes += topic.pending.pop_front().map_or(0, |first| first.bytes());
                topic.shrink_pending();
            }
        });
        self.bytes -= bytes;
    }

    /// Calls `visit` with each topic that an entry concerns and the index of the difference that
    /// concerns it, or `None` for all differences. O(differences), no matter how many other
    /// topics there are.
    fn each_concerned(&mut self, entry: &LogEntry, mut visit: impl FnMut(&mut Topic, Option<u32>)) {
        let mut visit_at = |name: TopicName<'_>, at| {
            if self.count_by_kind[name.kind() as usize] > 0
                && let Some(topic) = self.all.get_mut(&name)
            {
                visit(topic, at);
            }
        };
        visit_at(TopicName::All, None);
        for (at, change) in entry.changes.iter().enumerate() {
            // No commit has more than 2^32 changes.
            let at = u32::try_from(at).ok();
            match change {
                Difference::Added(service)
                | Difference::Removed { last: service, .. }
                | Difference::Changed { after: service, .. }
                | Difference::Skipped { kept: service } => {
                    visit_at(TopicName::Service(service.service_name()), at);
                    visit_at(TopicName::Pod(service.key()), at);
                }
                Difference::Subscribed { group, .. } | Difference::Unsubscribed { group, .. } => {
                    visit_at(TopicName::Group(group), at);
                }
            }
        }
    }
}
