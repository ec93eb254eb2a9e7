//! What is kept for snapshots, and for which of them.
//!
//! A [scan](Kept::find) of all places is dear where there are many snapshots, so that what it has found
//! is remembered: whoever is older than the periods that had passed then had registered, and so the
//! snapshots of that age are known, but for those that have gone since. They are found out when something is
//! to be kept for them, because then they cannot be marked. Another scan is needed when another period
//! has passed, and it is made when so much has been done since that its cost does not count.
//!
//! What one snapshot keeps passes to the next one that needs it when it goes, all of it at once but for
//! what ends before that one: so many snapshots go in O(what they kept, and a logarithm of it), whatever
//! their order.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::limits::PLACES_PER_PASS;
use super::old::{Links, Old};
use super::registrations::Registrations;
use crate::twin::{self, Twin};

/// A snapshot: its revision and its place.
type Snapshot = (u64, usize);

#[derive(Default)]
pub(super) struct Kept {
    /// By the oldest revision that needs them. A place of that revision has a mark, or who has given
    /// it back has told so.
    lists: BTreeMap<u64, BinaryHeap<Ending>>,
    /// As the last scan has found them. Some have gone.
    snapshots: BTreeSet<Snapshot>,
    /// Which revision, and how many periods, had passed then.
    scanned: (u64, u64),
    /// How many places may be looked at.
    looks: usize,
    /// How much was done, in places and versions.
    #[cfg(test)]
    pub(super) work: usize,
}

/// The one that ends first is the greatest.
struct Ending(Old);

impl Ord for Ending {
    fn cmp(&self, other: &Ending) -> Ordering {
        other.0.until.cmp(&self.0.until)
    }
}

impl PartialOrd for Ending {
    fn partial_cmp(&self, other: &Ending) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ending {
    fn eq(&self, other: &Ending) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ending {}

impl Kept {
    /// Whether nothing is kept.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// How many versions are kept. O(snapshots).
    pub(super) fn len(&self) -> usize {
        self.lists.values().map(BinaryHeap::len).sum()
    }

    /// Whether there are snapshots.
    pub(super) fn has_snapshots(&self) -> bool {
        !self.snapshots.is_empty()
    }

    /// For which revisions something is kept.
    pub(super) fn revisions(&self) -> impl Iterator<Item = u64> {
        self.lists.keys().copied()
    }

    /// Allows for some more work, or for as much as there may be.
    pub(super) fn allow(&mut self, all: bool) {
        let more = if all { usize::MAX } else { PLACES_PER_PASS };
        self.looks = self.looks.saturating_add(more);
    }

    /// Up to which revision, and how many periods, all snapshots are known that may need what ended before: all that
    /// have `passed`, if another scan is not needed, or allowed. Otherwise what the last one has found goes on to hold.
    pub(super) fn find(&mut self, passed: (u64, u64), registrations: &Registrations) -> (u64, u64) {
        let is_known = self.scanned == passed || twin::is(Twin::ScannedFirst);
        if is_known || twin::is(Twin::ScannedOnce) && self.scanned.1 > 0 {
            return passed;
        }
        let places = registrations.places();
        if places <= self.looks {
            self.looks = 0;
            self.scan(registrations);
            self.scanned = passed;
        }
        self.scanned
    }

    pub(super) fn scan(&mut self, registrations: &Registrations) {
        self.count(registrations.places());
        self.snapshots = registrations.held().collect();
        if twin::is(Twin::Overlooked) {
            self.snapshots.clear();
        }
    }

    /// Keeps a version, if somebody needs it, and gives it back otherwise.
    pub(super) fn keep(
        &mut self,
        old: Old,
        links: &mut Links,
        registrations: &Registrations,
    ) -> Option<Old> {
        let range = (old.since(), 0)..(old.until, 0);
        while let Some(oldest) = self.snapshots.range(range.clone()).next() {
            let oldest = *oldest;
            if self.mark(oldest, registrations) {
                old.note_in(links);
                self.lists.entry(oldest.0).or_default().push(Ending(old));
                return None;
            }
        }
        Some(old)
    }

    /// Has whoever gives the place back tell of it. Where it has been given back already, the snapshot
    /// is forgotten.
    fn mark(&mut self, snapshot: Snapshot, registrations: &Registrations) -> bool {
        let (revision, place) = snapshot;
        let is_marked = self.lists.contains_key(&revision)
            || registrations.mark(revision, place)
            || twin::is(Twin::Unmarked);
        if !is_marked {
            self.count(1);
            self.snapshots.remove(&snapshot);
        }
        is_marked
    }

    /// What was kept for a revision passes to others who need it, because one of its places has been given
    /// back. Answers what nobody needs.
    pub(super) fn pass_on(&mut self, revision: u64, registrations: &Registrations) -> Vec<Old> {
        let mut over = Vec::new();
        let mut list = self.lists.remove(&revision).unwrap_or_default();
        while !list.is_empty() {
            // Another one of the same revision, or a later one: none of the list is newer.
            let Some(next) = self.snapshots.range((revision, 0)..).next().copied() else {
                self.count(list.len());
                over.extend(list.drain().map(|ending| ending.0));
                break;
            };
            while list.peek().is_some_and(|first| first.0.until <= next.0) {
                self.count(1);
                over.extend(list.pop().map(|ending| ending.0));
            }
            if !list.is_empty() && self.mark(next, registrations) {
                let others = self.lists.entry(next.0).or_default();
                let moved = others.len().min(list.len());
                // The shorter one is put into the longer one.
                others.append(&mut list);
                self.count(1 + moved);
            }
        }
        // As many looks cost no more than that.
        self.looks = self.looks.saturating_add(over.len());
        over
    }

    /// Forgets what is kept of a map; answers with those versions that no chain has any more.
    /// O(what is kept).
    pub(super) fn forget(&mut self, map: u32, links: &mut Links) -> Vec<Old> {
        let mut orphans = Vec::new();
        for list in self.lists.values_mut() {
            let mut all = std::mem::take(list).into_vec();
            for Ending(old) in all.extract_if(.., |ending| ending.0.map == map) {
                links.forget(&old);
                if old.removed {
                    orphans.push(old);
                }
            }
            *list = all.into();
        }
        self.lists.retain(|_, list| !list.is_empty());
        orphans
    }

    #[cfg(test)]
    fn count(&mut self, work: usize) {
        self.work += work;
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self)]
    fn count(&mut self, _: usize) {}
}
