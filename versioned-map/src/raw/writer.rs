//! What only the writer has.

use std::collections::{BTreeMap, VecDeque};

use super::garbage::Garbage;
use super::kept::Kept;
use super::old::{Links, Old, Queue};
use super::spares::Spares;
use super::successor::Successor;
use crate::reclaim::{Domain, Reclaimer};

pub(super) struct Writer<B> {
    /// The revision that is published.
    pub(super) revision: u64,
    /// Whether something has been written that is not published yet.
    pub(super) dirty: bool,
    pub(super) closed: bool,
    /// Whether code of a caller is running, before anything has been written.
    pub(super) asks_caller: bool,
    /// By the numbers of the maps.
    pub(super) usages: Vec<Usage>,
    /// The tables to come, by the numbers of the maps.
    pub(super) successors: BTreeMap<u32, Successor>,
    /// Versions that have been replaced, in that order.
    pub(super) replaced: Queue,
    /// Cells that have been removed, by their last versions, and the period in which that was.
    pub(super) removed: VecDeque<(u64, Old)>,
    /// Versions that snapshots need.
    pub(super) kept: Kept,
    pub(super) links: Links,
    /// How many have been replaced since it was last looked what can go,
    pub(super) since_tidy: usize,
    /// and before that, since the period began.
    pub(super) in_period: usize,
    /// How much there was when it began.
    pub(super) held_before: usize,
    /// What has been unlinked.
    pub(super) reclaimer: Reclaimer<Garbage>,
    /// The revision at which somebody wanted to get rid of everything.
    pub(super) emptied_at: Option<u64>,
    /// The revision at which somebody came by.
    pub(super) visited_at: Option<u64>,
    pub(super) spares: Spares,
    /// The owner's.
    pub(super) books: B,
}

/// How full a table is.
#[derive(Clone, Copy, Default)]
pub(super) struct Usage {
    /// Slots that are taken or dead.
    pub(super) used: usize,
    /// Slots that are taken.
    pub(super) live: usize,
    /// Keys that have a value, with what is not published yet.
    pub(super) present: usize,
}

impl<B: Default> Writer<B> {
    pub(super) fn new(domain: Domain) -> Writer<B> {
        Writer {
            revision: 0,
            dirty: false,
            closed: false,
            asks_caller: false,
            usages: Vec::new(),
            successors: BTreeMap::new(),
            replaced: Queue::default(),
            removed: VecDeque::new(),
            kept: Kept::default(),
            links: Links::default(),
            since_tidy: 0,
            in_period: 0,
            held_before: 0,
            reclaimer: Reclaimer::new(domain),
            emptied_at: None,
            visited_at: None,
            spares: Spares::default(),
            books: B::default(),
        }
    }
}

impl<B> Writer<B> {
    /// Answers with the number of another map.
    pub(super) fn add_map(&mut self) -> u32 {
        let number = u32::try_from(self.usages.len()).expect("fewer maps");
        self.usages.push(Usage::default());
        number
    }

    /// How many keys there are, in all maps.
    pub(super) fn keys(&self) -> usize {
        self.usages.iter().map(|usage| usage.present).sum()
    }

    /// Forgets all versions of a map that have been replaced, and how full its table is; answers
    /// with those versions that no chain has any more. O(what waits).
    pub(super) fn forget(&mut self, map: u32) -> Vec<Old> {
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
