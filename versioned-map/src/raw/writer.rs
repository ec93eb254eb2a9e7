//! The state that only the writer uses.

use std::collections::{BTreeMap, VecDeque};

use super::garbage::Garbage;
use super::kept::Kept;
use super::replaced::{Links, Queue, Replaced};
use super::spares::Spares;
use super::successor::Successor;
use crate::reclaim::{Domain, Reclaimer};

pub(super) struct Writer<B> {
    /// The published revision.
    pub(super) revision: u64,
    /// Whether some pushed versions are not published yet.
    pub(super) dirty: bool,
    pub(super) closed: bool,
    /// Whether the writer runs a caller's `Eq`, before it has written anything.
    pub(super) is_comparing: bool,
    /// Indexed by the number of the map.
    pub(super) usages: Vec<Usage>,
    /// The successors of tables, by the number of the map.
    pub(super) successors: BTreeMap<u32, Successor>,
    /// Replaced versions, in the order of replacement.
    pub(super) replaced: Queue,
    /// Removed cells, as their last versions, each with the period in which it was removed.
    pub(super) removed: VecDeque<(u64, Replaced)>,
    /// Replaced versions that snapshots need.
    pub(super) kept: Kept,
    pub(super) links: Links,
    /// Versions replaced since the last reclamation pass.
    pub(super) since_pass: usize,
    /// Versions replaced in this period, before that pass.
    pub(super) in_period: usize,
    /// Keys and other items of the owner when the period began.
    pub(super) held_before: usize,
    /// Holds retired versions and tables until they can be freed.
    pub(super) reclaimer: Reclaimer<Garbage>,
    /// The revision at which a caller requested that everything be freed.
    pub(super) full_reclaim_at: Option<u64>,
    /// The revision at which a reading thread last ran a pass.
    pub(super) helped_at: Option<u64>,
    pub(super) spares: Spares,
    /// The owner's data that only the writer uses.
    pub(super) owner_state: B,
}

/// The use of a table.
#[derive(Clone, Copy, Default)]
pub(super) struct Usage {
    /// Slots that are taken or dead.
    pub(super) used: usize,
    /// Slots that are taken.
    pub(super) live: usize,
    /// Keys that have a value, including unpublished changes.
    pub(super) present: usize,
}

impl<B: Default> Writer<B> {
    pub(super) fn new(domain: Domain) -> Writer<B> {
        Writer {
            revision: 0,
            dirty: false,
            closed: false,
            is_comparing: false,
            usages: Vec::new(),
            successors: BTreeMap::new(),
            replaced: Queue::default(),
            removed: VecDeque::new(),
            kept: Kept::default(),
            links: Links::default(),
            since_pass: 0,
            in_period: 0,
            held_before: 0,
            reclaimer: Reclaimer::new(domain),
            full_reclaim_at: None,
            helped_at: None,
            spares: Spares::default(),
            owner_state: B::default(),
        }
    }
}

impl<B> Writer<B> {
    /// Adds a map, and returns its number.
    pub(super) fn add_map(&mut self) -> u32 {
        let number = u32::try_from(self.usages.len()).expect("fewer maps");
        self.usages.push(Usage::default());
        number
    }

    /// Returns the number of keys in all maps.
    pub(super) fn keys(&self) -> usize {
        self.usages.iter().map(|usage| usage.present).sum()
    }

    /// Forgets the replaced versions of a map, and the use of its table. Returns the removed cells,
    /// which no chain contains any more. O(old versions of all maps).
    pub(super) fn forget(&mut self, map: u32) -> Vec<Replaced> {
        self.usages[map as usize] = Usage::default();
        self.replaced.forget(map);
        let mut orphans = self.kept.forget(map, &mut self.links);
        let mut others = VecDeque::with_capacity(self.removed.len());
        for (period, old) in self.removed.drain(..) {
            if old.map == map {
                orphans.push(old);
            } else {
                others.push_back((period, old));
            }
        }
        self.removed = others;
        orphans
    }
}
