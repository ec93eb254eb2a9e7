//! The versions kept for snapshots, each under the snapshot that keeps it.
//!
//! A [scan](Kept::scan_if_allowed) of all reader slots is expensive if there are many snapshots, so
//! the writer remembers its result. By the time of a scan, every snapshot older than the passed
//! periods had registered. So the scan finds all snapshots of that age, and the result becomes
//! stale only when snapshots depart. The writer notices a departure when it is about to keep a
//! version for the snapshot: it then cannot mark the reader slot. Another scan is needed when
//! another period has passed. It is made as soon as enough work has been done since the last scan
//! to make up for its cost.
//!
//! When a snapshot departs, the writer retires the versions kept for it that end before the next
//! snapshot. It assigns the others to that snapshot, all at once. So many snapshots can depart in
//! any order, in O(what they kept, and a logarithm of it).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::limits::READER_SLOTS_PER_PASS;
use super::registrations::Registrations;
use super::replaced::{Links, Replaced};
use crate::twin::{self, Twin};

/// A snapshot: its revision, and the number of its reader slot.
type Snapshot = (u64, usize);

#[derive(Default)]
pub(super) struct Kept {
    /// Versions by the oldest revision that needs them. A reader slot of that revision is marked,
    /// or the thread that released it has reported the revision.
    lists: BTreeMap<u64, BinaryHeap<Ending>>,
    /// The snapshots that the last scan has found. Some may have departed.
    snapshots: BTreeSet<Snapshot>,
    /// The revision, and the number of periods, that had passed at the last scan.
    scanned: (u64, u64),
    /// The number of reader slots that may be scanned.
    scan_allowance: usize,
    /// The work done so far, in reader slots and versions.
    #[cfg(test)]
    pub(super) work: usize,
}

/// Ordered so that the version that ends first is the greatest.
struct Ending(Replaced);

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
    /// Returns whether nothing is kept.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// Returns the number of kept versions. O(snapshots).
    pub(super) fn len(&self) -> usize {
        self.lists.values().map(BinaryHeap::len).sum()
    }

    /// Returns whether the last scan has found snapshots, except those known to have departed.
    pub(super) fn has_snapshots(&self) -> bool {
        !self.snapshots.is_empty()
    }

    /// Returns the revisions for which versions are kept.
    pub(super) fn revisions(&self) -> impl Iterator<Item = u64> {
        self.lists.keys().copied()
    }

    /// Allows the scan of a pass's share of the reader slots, or of all.
    pub(super) fn allow_scan(&mut self, all: bool) {
        let more = if all {
            usize::MAX
        } else {
            READER_SLOTS_PER_PASS
        };
        self.scan_allowance = self.scan_allowance.saturating_add(more);
    }

    /// Scans the reader slots if that is necessary and allowed. Returns a revision and a number of
    /// periods: all snapshots are known that may need what ended by then. This is `passed` if the
    /// last scan was made then, or if this call scans. Otherwise it is the value of the last scan.
    pub(super) fn scan_if_allowed(
        &mut self,
        passed: (u64, u64),
        registrations: &Registrations,
    ) -> (u64, u64) {
        let is_known = self.scanned == passed || twin::is(Twin::ScannedBeforeWaiting);
        if is_known || twin::is(Twin::ScannedOnlyOnce) && self.scanned.1 > 0 {
            return passed;
        }
        let slots = registrations.slot_count();
        if slots <= self.scan_allowance {
            self.scan_allowance = 0;
            self.scan(registrations);
            self.scanned = passed;
        }
        self.scanned
    }

    pub(super) fn scan(&mut self, registrations: &Registrations) {
        self.count(registrations.slot_count());
        self.snapshots = registrations.snapshots().collect();
        if twin::is(Twin::SnapshotsNotFound) {
            self.snapshots.clear();
        }
    }

    /// Keeps a version if a snapshot needs it, and returns it otherwise.
    pub(super) fn keep(
        &mut self,
        old: Replaced,
        links: &mut Links,
        registrations: &Registrations,
    ) -> Option<Replaced> {
        let range = (old.since(), 0)..(old.until, 0);
        while let Some(oldest) = self.snapshots.range(range.clone()).next() {
            let oldest = *oldest;
            if self.mark(oldest, registrations) {
                old.record_link(links);
                self.lists.entry(oldest.0).or_default().push(Ending(old));
                return None;
            }
        }
        Some(old)
    }

    /// Marks a snapshot's reader slot, so that the thread that releases it reports that. If the
    /// slot has been released already, forgets the snapshot.
    fn mark(&mut self, snapshot: Snapshot, registrations: &Registrations) -> bool {
        let (revision, slot) = snapshot;
        let is_marked = self.lists.contains_key(&revision)
            || registrations.mark(revision, slot)
            || twin::is(Twin::KeptWithoutMark);
        if !is_marked {
            self.count(1);
            self.snapshots.remove(&snapshot);
        }
        is_marked
    }

    /// Assigns what was kept for a revision to the snapshots that need it, after one of its reader
    /// slots has been released. Returns what no snapshot needs.
    pub(super) fn reassign(
        &mut self,
        revision: u64,
        registrations: &Registrations,
    ) -> Vec<Replaced> {
        let mut over = Vec::new();
        let mut list = self.lists.remove(&revision).unwrap_or_default();
        while !list.is_empty() {
            // The next snapshot has the same revision, or a later one: no version of the list is
            // newer.
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
                // The shorter heap is merged into the longer one.
                others.append(&mut list);
                self.count(1 + moved);
            }
        }
        // A scan of as many reader slots costs no more than this.
        self.scan_allowance = self.scan_allowance.saturating_add(over.len());
        over
    }

    /// Forgets the kept versions of a map. Returns the removed cells, which no chain contains any
    /// more. O(kept versions of all maps).
    pub(super) fn forget(&mut self, map: u32, links: &mut Links) -> Vec<Replaced> {
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
