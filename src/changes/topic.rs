//! What watches are about: for each such selection, the entries that concern it, and who
//! sleeps until there is one.

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
    /// What it keeps in memory, at most.
    pub(super) bytes: usize,
}

impl Entry {
    pub(super) fn new(revision: Revision, changes: Differences) -> Entry {
        // Its counters, its place in the log, which may be half empty, and what an allocator
        // adds.
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

/// An entry, and which of its differences concern a topic, in order.
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
    /// The differences that concern the topic.
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

    /// What it keeps in memory beside the entry.
    fn bytes(&self) -> usize {
        // What grows by doubling has at most twice the room.
        2 * size_of::<Pending>()
            + match &self.which {
                Which::All | Which::One(_) => 0,
                Which::Some(at) => 2 * size_of_val(&**at),
            }
    }
}

/// Those who are to be woken: mostly one, or nobody.
pub(super) type Wakers = SmallVec<[Waker; 1]>;

/// One selection that somebody watches.
#[derive(Default)]
pub(super) struct Topic {
    /// How many watches it has.
    watches: usize,
    /// What concerns it, in the order of revisions.
    pub(super) pending: VecDeque<Pending>,
    /// Up to this revision, something that concerns it may be missing above.
    pub(super) lost: Revision,
    /// Whom to wake, by the number of the watch.
    sleepers: HashMap<u64, Waker, RandomState>,
}

impl Topic {
    /// Has the watch `number` woken when there is something; answers with the waker that it
    /// had, to be dropped outside of the lock.
    pub(super) fn sleep(&mut self, number: u64, waker: Waker) -> Option<Waker> {
        self.sleepers.insert(number, waker)
    }

    /// Has the watch `number` not woken any more; answers as [`sleep`](Self::sleep).
    pub(super) fn rise(&mut self, number: u64) -> Option<Waker> {
        self.sleepers.remove(&number)
    }

    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) fn sleepers(&self) -> usize {
        self.sleepers.len()
    }

    /// Gives back room, of which there is at most twice as much as is counted.
    fn give_back(&mut self) {
        let (wanted, room) = (self.pending.len(), self.pending.capacity());
        if room > 16 && room > 2 * wanted {
            // A few may come before it grows again.
            self.pending.shrink_to(wanted + wanted / 4);
        }
    }

    /// Takes all who sleep.
    pub(super) fn wake_all(&mut self, wake: &mut Wakers) {
        // Emptying a map costs its capacity.
        if self.sleepers.is_empty() {
            return;
        }
        wake.extend(self.sleepers.drain().map(|(_, waker)| waker));
    }

    /// Notes a difference of `entry`; answers with the bytes that this takes.
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
    /// How many there are of each [`Kind`].
    of_kind: [usize; 4],
    /// What their pending entries keep in memory.
    pub(super) bytes: usize,
}

/// Gives back the room of a map that has much more than `wanted` would take.
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

    /// Has one more watch of a selection. A topic that is new has nothing up to `head`.
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

    /// Has one watch less. Answers with what is to be dropped outside of the lock.
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

    /// Notes an entry with all topics that it concerns; takes those who sleep for it.
    /// O(differences), whatever else is watched.
    pub(super) fn note(&mut self, entry: &Arc<Entry>, wake: &mut Wakers) {
        let mut bytes = 0;
        self.concerned(entry, |topic, at| bytes += topic.note(entry, at, wake));
        self.bytes = self.bytes.wrapping_add_signed(bytes);
    }

    /// Notes what of the log concerns a topic that came later than `entries` did.
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

    /// Forgets the oldest entry.
    pub(super) fn forget(&mut self, entry: &Arc<Entry>) {
        let mut bytes = 0;
        // A topic that has it pending holds on to it.
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

    /// Shows each topic that an entry concerns, with the number of the difference that
    /// does, or none for all of them. O(differences), whatever else is watched.
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
            // No commit has so many changes that their number takes more.
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
