//! The writer's side: what is put, published, kept, unlinked and retired.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

use versioned_map::reclaim::{Domain, Reclaimer};

use super::chain::{Cell, Version, succeed, succeed_with_health};
use super::engine::{DEBT, Engine, Indexes, LARGE, OFTEN, PERIOD, SHARE, Tables, Twin, has_failed};
use super::lists::{Members, Pod, Subscribers, Subscriptions};
use super::old::{
    CHUNK, Garbage, LISTS, Links, Old, OldVersion, Queue, SPARES, STOCK, Spare, Stash, shrink,
};
use super::registrations::Held;
use super::table::{Table, Taken};
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;
use crate::model::revision::Revision;
use crate::model::status::ServiceStatus;
use crate::model::time::Moment;
use crate::store::StoreStats;
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering::{Relaxed, Release};

/// What only the writer has.
pub(super) struct Writer {
    /// The revision that is published.
    pub(super) revision: u64,
    /// Whether something has been written that is not published yet.
    dirty: bool,
    pub(super) closed: bool,
    stats: StoreStats,
    /// Whether these are others than the published ones.
    counted: bool,
    services: Usage,
    names: Usage,
    groups: Usage,
    /// Versions that have been replaced, in that order.
    pub(super) replaced: Queue,
    /// Cells that have been removed, by their last versions, and the period in which that was.
    removed: VecDeque<(u64, Old)>,
    /// Versions that snapshots need, by the oldest such revision.
    pub(super) kept: BTreeMap<u64, Vec<Old>>,
    links: Links,
    /// How many have been replaced since it was last looked what can go,
    since_tidy: usize,
    /// and before that, since the period began.
    in_period: usize,
    /// How many services and subscriptions there were when it began.
    held_before: usize,
    /// What has been unlinked.
    pub(super) reclaimer: Reclaimer<Garbage>,
    /// The revision at which somebody wanted to get rid of everything.
    emptied_at: Option<u64>,
    /// The revision at which somebody came by.
    visited_at: Option<u64>,
    spares: Vec<Spare>,
    subscriptions: Subscriptions,
}

impl Writer {
    pub(super) fn new(domain: Domain) -> Writer {
        Writer {
            revision: 0,
            dirty: false,
            closed: false,
            stats: StoreStats::default(),
            counted: false,
            services: Usage::default(),
            names: Usage::default(),
            groups: Usage::default(),
            replaced: Queue::default(),
            removed: VecDeque::new(),
            kept: BTreeMap::new(),
            links: Links::default(),
            since_tidy: 0,
            in_period: 0,
            held_before: 0,
            reclaimer: Reclaimer::new(domain),
            emptied_at: None,
            visited_at: None,
            spares: Vec::new(),
            subscriptions: Subscriptions::default(),
        }
    }

    /// How many services and subscriptions there are.
    fn held(&self) -> usize {
        self.stats.services + self.stats.subscriptions
    }

    /// Forgets all versions that have been replaced; answers with those that no chain has
    /// any more.
    pub(super) fn forget_old(&mut self) -> Vec<Old> {
        self.links = Links::default();
        self.replaced.clear();
        let kept = std::mem::take(&mut self.kept).into_values().flatten();
        let removed = self.removed.drain(..).map(|(_, old)| old);
        removed.chain(kept.filter(Old::is_removed)).collect()
    }
}

/// How full a table is.
#[derive(Clone, Copy, Default)]
pub(super) struct Usage {
    /// Slots that are taken or dead.
    used: usize,
    /// Slots that are taken.
    live: usize,
}

/// An index, as the writer knows it.
pub(super) trait Index<V> {
    fn table(indexes: &Indexes) -> &Table<V>;
    fn table_mut(indexes: &mut Indexes) -> &mut Table<V>;
    fn usage(writer: &mut Writer) -> &mut Usage;
    fn old(version: OldVersion<V>) -> Old;
    /// A spare version.
    fn spare(writer: &mut Writer) -> Option<Box<Version<V>>>;
}

/// The three of them.
pub(super) struct Services;
pub(super) struct Names;
pub(super) struct Groups;

macro_rules! index {
    ($index:ident, $value:ty, $field:ident, $old:ident, $spare:expr) => {
        impl Index<$value> for $index {
            fn table(indexes: &Indexes) -> &Table<$value> {
                &indexes.$field
            }
            fn table_mut(indexes: &mut Indexes) -> &mut Table<$value> {
                &mut indexes.$field
            }
            fn usage(writer: &mut Writer) -> &mut Usage {
                &mut writer.$field
            }
            fn old(version: OldVersion<$value>) -> Old {
                Old::$old(version)
            }
            #[inline]
            fn spare(writer: &mut Writer) -> Option<Box<Version<$value>>> {
                let spare: fn(&mut Writer) -> Option<Box<Version<$value>>> = $spare;
                spare(writer)
            }
        }
    };
}

index!(Services, ServiceInfo, services, Service, |writer| writer
    .spares
    .pop());
index!(Names, Members, names, Name, |_| None);
index!(Groups, Subscribers, groups, Group, |_| None);

/// The right to write, and what is written until it is published.
pub(super) struct Commit<'e> {
    engine: &'e Arc<Engine>,
    writer: MutexGuard<'e, Writer>,
    /// How many versions this commit has replaced.
    own: usize,
    /// Whether somebody is to look again, because a snapshot has gone that something was to be
    /// kept for.
    is_missed: bool,
    /// Freed after the lock.
    left: Leftovers<'e>,
}

/// Where a key stands, or would stand, until something is put into that index.
pub(super) struct Spot<V> {
    hash: u64,
    taken: Option<Taken<V>>,
}

impl<'e> Commit<'e> {
    #[inline]
    pub(super) fn new(engine: &'e Arc<Engine>, writer: MutexGuard<'e, Writer>) -> Commit<'e> {
        Commit {
            engine,
            writer,
            own: 0,
            is_missed: false,
            left: Leftovers {
                engine,
                garbage: Vec::new(),
            },
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.writer.closed
    }

    pub(super) fn stats(&self) -> StoreStats {
        self.writer.stats
    }

    /// Counts services and subscriptions that have come, or gone.
    pub(super) fn count(&mut self, services: isize, subscriptions: isize) {
        let stats = &mut self.writer.stats;
        stats.services = stats.services.wrapping_add_signed(services);
        stats.subscriptions = stats.subscriptions.wrapping_add_signed(subscriptions);
        self.writer.counted = true;
    }

    /// Where a pod of the newest lists stands among those of its name.
    #[allow(clippy::unused_self)] // whoever has a commit is the writer
    pub(super) fn place(&self, pod: Pod) -> usize {
        // SAFETY: this is the writer, and the pod stands in a newest list, or has just been
        // taken out.
        unsafe { pod.cell() }.place.load(Relaxed) as usize
    }

    /// Notes where a pod stands.
    #[allow(clippy::unused_self)] // as above
    pub(super) fn set_place(&mut self, pod: Pod, place: usize) {
        let place = u32::try_from(place).expect("fewer pods than bytes of memory");
        // SAFETY: as in `place`.
        unsafe { pod.cell() }.place.store(place, Relaxed);
    }

    pub(super) fn subscriptions(&mut self) -> &mut Subscriptions {
        &mut self.writer.subscriptions
    }

    /// Looks at every subscription, in no particular order.
    pub(super) fn subscribed(&self, look: impl FnMut(&ServiceKey, &Arc<str>)) {
        self.writer.subscriptions.each(look);
    }

    /// The revision that is published.
    #[inline]
    pub(super) fn published(&self) -> u64 {
        self.writer.revision
    }

    fn next(&self) -> u64 {
        Revision::from(self.writer.revision).next().as_u64()
    }

    /// Notes that there is something to publish; answers with its revision.
    #[inline]
    fn begin(&mut self) -> u64 {
        let revision = self.next();
        self.writer.dirty = true;
        if self.engine.is(Twin::PublishedFirst) {
            self.engine.published.store(revision, Release);
        }
        revision
    }

    fn tables(&self) -> &Tables {
        // Relaxed: a writer put them there, before this one took the lock.
        // SAFETY: they are replaced by the writer only, who keeps the old ones until the
        // lock is given back.
        unsafe { &*self.engine.tables.load(Relaxed) }
    }

    pub(super) fn spot<I: Index<V>, V>(&self, key: &str) -> Spot<V> {
        let tables = self.tables();
        let hash = tables.hash(key);
        // SAFETY: this is the writer, and the newest table.
        let taken = unsafe { I::table(&tables.indexes).find(hash, key) };
        Spot { hash, taken }
    }

    /// The newest value there, which may not be published yet.
    #[allow(clippy::unused_self)] // as above
    pub(super) fn newest<V>(&self, spot: &Spot<V>) -> Option<&V> {
        let Taken { newest, .. } = spot.taken.as_ref()?;
        // SAFETY: this is the writer, and nothing has been put there since.
        unsafe { newest.as_ref() }.value()
    }

    /// Looks at every newest value of an index, which may not be published yet.
    pub(super) fn each_newest<I: Index<V>, V>(&self, mut look: impl FnMut(&V)) {
        for (_, slot, _) in I::table(&self.tables().indexes).slots() {
            if let Some(newest) = NonNull::new(slot.newest()) {
                // SAFETY: this is the writer, and the newest table.
                unsafe { newest.as_ref() }.value().map(&mut look);
            }
        }
    }

    /// Puts a value there, or that there is none; answers with its cell.
    pub(super) fn put<I: Index<V>, V>(
        &mut self,
        spot: &Spot<V>,
        key: &str,
        value: Option<V>,
    ) -> NonNull<Cell<V>> {
        let revision = self.begin();
        if let Some(taken) = &spot.taken {
            let is_last = value.is_none();
            let spare = I::spare(&mut self.writer);
            let fresh = succeed(spare, taken.newest, value, revision);
            self.push::<I, V>(spot.hash, taken, fresh);
            if self.engine.is(Twin::KilledAtOnce) && is_last {
                I::table(&self.tables().indexes).slot(taken.at).kill();
            }
            return taken.cell;
        }
        self.make_room::<I, V>();
        let cell = Cell::new(key, spot.hash);
        let first = Box::into_raw(Version::new(revision, value));
        // SAFETY: it was made just now.
        unsafe { cell.as_ref() }.head().push(first, revision);
        let table = I::table(&self.tables().indexes);
        table.take(spot.hash, cell, first, revision);
        let usage = I::usage(&mut self.writer);
        usage.used += 1;
        usage.live += 1;
        cell
    }

    /// Puts a record with another health in the place of one.
    #[inline]
    pub(super) fn put_health(&mut self, spot: &Spot<ServiceInfo>, health: (ServiceStatus, Moment)) {
        let Some(taken) = &spot.taken else {
            return;
        };
        let revision = self.begin();
        let spare = Services::spare(&mut self.writer);
        // SAFETY: this is the writer; nothing has been put there since the spot was found; and
        // it is put in front at once.
        let fresh = unsafe { succeed_with_health(spare, taken.newest, health, revision) };
        self.push::<Services, _>(spot.hash, taken, fresh);
    }

    /// Puts a version in front of the newest one, which becomes old.
    #[inline]
    fn push<I: Index<V>, V>(&mut self, hash: u64, taken: &Taken<V>, fresh: NonNull<Version<V>>) {
        let old = push(taken.cell, taken.newest, fresh, self.next());
        let table = I::table(&self.tables().indexes);
        table.push(taken.at, hash, fresh.as_ptr(), old.until);
        self.replaced(I::old(old));
    }

    fn replaced(&mut self, old: Old) {
        self.writer.replaced.push(old);
        self.writer.since_tidy += 1;
        self.own += 1;
    }

    fn make_room<I: Index<V>, V>(&mut self) {
        let room = I::table(&self.tables().indexes).room();
        let Usage { used, live } = *I::usage(&mut self.writer);
        if used == room {
            self.lay_out_anew::<I, V>(live + 1);
        }
    }

    /// Gives an index another table, with room for so many keys. O(keys).
    #[cold]
    fn lay_out_anew<I: Index<V>, V>(&mut self, keys: usize) {
        let tables = self.tables();
        let mut indexes = tables.indexes.clone();
        *I::table_mut(&mut indexes) = I::table(&tables.indexes).laid_out_anew(keys);
        let layout = Arc::into_raw(Arc::new(indexes.clone())).cast_mut();
        // Release: pairs with the Acquire in `Generation::newest`.
        let old = tables.generation.newest.swap(layout, Release);
        let fresh = Tables {
            indexes,
            hasher: tables.hasher.clone(),
            since: tables.since,
            closed: tables.closed,
            generation: tables.generation.clone(),
        };
        // SAFETY: it was made by `Arc::into_raw`, and its share goes from the generation to
        // the reclaimer, which keeps it for a grace period.
        let old = Garbage::Layout(ManuallyDrop::new(unsafe { Arc::from_raw(old) }));
        self.writer.reclaimer.retire(old);
        self.set_tables(fresh);
        let usage = I::usage(&mut self.writer);
        usage.used = usage.live;
        self.stock_up();
    }

    /// Makes spares while the store grows, so that writers on many threads, most of whom
    /// have asked the allocator for nothing yet, need not begin to.
    fn stock_up(&mut self) {
        let Writer {
            spares, services, ..
        } = &mut *self.writer;
        let stock = (services.live / 2).min(STOCK);
        spares.truncate(stock.max(SPARES));
        let missing = stock.saturating_sub(spares.len());
        spares.extend((0..missing).map(|_| Version::spare()));
    }

    fn set_tables(&mut self, fresh: Tables) {
        let fresh = Arc::into_raw(Arc::new(fresh)).cast_mut();
        // Release: pairs with the Acquire in `Engine::pin`.
        let old = self.engine.tables.swap(fresh, Release);
        // SAFETY: it was made by `Arc::into_raw`, and its share goes from the engine to the
        // reclaimer, which keeps it for a grace period.
        let old = Garbage::Tables(ManuallyDrop::new(unsafe { Arc::from_raw(old) }));
        self.writer.reclaimer.retire(old);
    }

    /// Publishes what was written, if anything was; answers with the newest revision.
    #[inline]
    pub(super) fn publish(&mut self) -> u64 {
        if std::mem::take(&mut self.writer.dirty) {
            let revision = self.next();
            if self.writer.counted {
                self.put_stats();
            }
            self.writer.revision = revision;
            // Release: pairs with the Acquire loads of `published`. All that was written
            // comes before.
            self.engine.published.store(revision, Release);
            if self.writer.since_tidy >= OFTEN {
                self.tidy(0, false);
            }
        }
        self.writer.revision
    }

    fn put_stats(&mut self) {
        self.writer.counted = false;
        let cell = self.tables().generation.stats;
        // SAFETY: it is freed with the generation.
        let newest = unsafe { cell.as_ref() }.head().newest();
        if let Some(newest) = NonNull::new(newest) {
            let revision = self.next();
            let fresh = succeed(None, newest, Some(self.writer.stats), revision);
            self.replaced(Old::Stats(push(cell, newest, fresh, revision)));
        }
    }

    /// Lets go of everything. What is answered frees it when it is dropped, which is to be
    /// done when the lock has been given back. O(what there is).
    pub(super) fn empty(&mut self) -> Cleared {
        self.begin();
        self.start_anew(None)
    }

    /// Lets go of everything, for good.
    pub(super) fn close(&mut self) -> Cleared {
        let last = self.writer.revision;
        self.writer.closed = true;
        self.begin();
        let cleared = self.start_anew(Some(last));
        self.publish();
        cleared
    }

    fn start_anew(&mut self, closed: Option<u64>) -> Cleared {
        let since = self.next();
        if self.engine.registrations.held().is_empty() {
            self.bury();
            self.writer.counted = false;
            self.writer.services = Usage::default();
            self.writer.names = Usage::default();
            self.writer.groups = Usage::default();
            self.set_tables(Tables::new(since, closed));
        } else {
            // Snapshots keep what they show of this generation, and nothing else.
            self.put_nothing_everywhere::<Services, _>();
            self.put_nothing_everywhere::<Names, _>();
            self.put_nothing_everywhere::<Groups, _>();
            self.writer.stats = StoreStats::default();
            self.put_stats();
            if closed.is_some() {
                // Whoever finds that it is closed finds it empty.
                let tables = self.tables();
                let fresh = Tables {
                    indexes: tables.indexes.clone(),
                    hasher: tables.hasher.clone(),
                    since,
                    closed,
                    generation: tables.generation.clone(),
                };
                self.set_tables(fresh);
            }
        }
        self.writer.stats = StoreStats::default();
        self.writer.spares = Vec::new();
        Cleared {
            engine: self.engine.clone(),
            _subscriptions: self.writer.subscriptions.empty(),
        }
    }

    fn put_nothing_everywhere<I: Index<V>, V>(&mut self) {
        let table = I::table(&self.tables().indexes).clone();
        for (at, slot, cell) in table.slots() {
            let (Some(newest), Some(cell)) = (NonNull::new(slot.newest()), cell) else {
                continue;
            };
            // SAFETY: this is the writer, and the newest table.
            if unsafe { newest.as_ref() }.value().is_some() {
                // SAFETY: a cell has not been freed while it stands in the table.
                let hash = unsafe { cell.as_ref() }.hash;
                let taken = Some(Taken { at, newest, cell });
                self.put::<I, V>(&Spot { hash, taken }, "", None);
            }
        }
    }

    /// Forgets the old versions of the present generation, which owns them.
    fn bury(&mut self) {
        let removed = self.writer.forget_old();
        self.tables().generation.adopt(removed);
    }

    /// Closes the store after a panic in the middle of a commit, which has left the writer's
    /// books in any state: whoever has a view goes on seeing what it shows, and nothing of
    /// what was half written is ever seen. What the generation does not own is leaked.
    #[cold]
    pub(super) fn give_up(&mut self) {
        self.bury();
        let last = self.writer.revision;
        *self.writer = Writer {
            revision: last + 1,
            closed: true,
            ..Writer::new(self.engine.domain)
        };
        self.set_tables(Tables::new(last + 1, Some(last)));
        // Release: as in `publish`.
        self.engine.published.store(last + 1, Release);
    }

    /// Whether so much has been replaced that whoever did it should see to it.
    pub(super) fn is_large(&self) -> bool {
        self.own >= LARGE
    }

    /// Whether nothing is left that could be freed.
    pub(super) fn is_tidy(&self) -> bool {
        let Writer {
            replaced,
            removed,
            reclaimer,
            ..
        } = &*self.writer;
        replaced.is_empty() && removed.is_empty() && reclaimer.is_empty()
    }

    /// Notes that somebody has come by. Where no commit has followed the last one who did, none
    /// is to be expected.
    pub(super) fn note_visit(&mut self) {
        let revision = self.writer.revision;
        if self.writer.visited_at.replace(revision) == Some(revision) {
            self.empty_out();
        }
    }

    /// Notes that nothing is to be left that can be freed, unless other commits follow.
    pub(super) fn empty_out(&mut self) {
        self.writer.emptied_at = Some(self.writer.revision);
    }

    /// About how many versions have not been freed.
    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) fn left(&self) -> usize {
        let Writer {
            replaced,
            reclaimer,
            ..
        } = &*self.writer;
        (replaced.len() + reclaimer.len()) * CHUNK
    }

    /// Whether nothing is kept for a snapshot.
    #[cfg(test)]
    pub(super) fn keeps_nothing(&self) -> bool {
        self.writer.kept.is_empty()
    }

    /// Looks which of the versions that have been replaced can go, at most so many of them,
    /// and which of those that were kept. Ends the period when enough have been replaced in it, or
    /// where this may be the last look for a while.
    #[cold]
    pub(super) fn tidy(&mut self, most: usize, is_last: bool) {
        // Before it is looked for anything.
        self.engine.awaited.take();
        // As many as have come, and more: what waits does not grow with what is written.
        let since = std::mem::take(&mut self.writer.since_tidy);
        let most = most.max(SHARE * since);
        self.writer.in_period += since;
        let early = self.engine.is(Twin::ScannedFirst);
        let early = early.then(|| self.engine.registrations.held());
        let held = self.writer.held();
        // A store that shrinks is not left with more that waits than it holds.
        let period = if held < self.writer.held_before {
            held.clamp(OFTEN, PERIOD)
        } else {
            PERIOD
        };
        let ends = self.writer.in_period >= period || is_last && !self.is_tidy();
        let Writer {
            reclaimer,
            in_period,
            held_before,
            revision,
            ..
        } = &mut *self.writer;
        if !ends {
            reclaimer.settle();
        } else if reclaimer.advance(*revision) {
            *in_period = 0;
            *held_before = held;
        }
        self.restock();
        self.look(most, early);
        let is_full = is_last || self.writer.reclaimer.ready() > 2 * period / CHUNK;
        let lists = if is_full { most } else { since } / CHUNK + 1;
        self.left.garbage.extend(self.writer.reclaimer.take(lists));
        self.call();
    }

    /// Takes memory that can be used again.
    fn restock(&mut self) {
        if let Some(mut stash) = self.engine.stash() {
            let Writer {
                spares, replaced, ..
            } = &mut *self.writer;
            refill(spares, &mut stash.spares, SPARES);
            refill(&mut replaced.spares, &mut stash.lists, LISTS);
        }
    }

    /// Lets go of what nobody needs, by a scan that is made here, unless it was made too early.
    fn look(&mut self, mut most: usize, early: Option<Vec<Held>>) {
        let Writer {
            reclaimer,
            replaced,
            removed,
            kept,
            revision,
            ..
        } = &*self.writer;
        // Before the places are read: whoever is older has taken one.
        let passed = if self.engine.is(Twin::UnlinkedAtOnce) {
            *revision
        } else {
            reclaimer.passed()
        };
        // What may still be seen by a pinned reader waits.
        let is_over = |old: &Old| old.until() <= passed;
        let is_past = |(period, _): &(u64, Old)| reclaimer.has_passed(*period);
        let past = removed
            .iter()
            .take_while(|removed| is_past(removed))
            .count();
        if kept.is_empty() && past == 0 && !replaced.is_first(is_over) {
            return;
        }
        let mut held = early.unwrap_or_else(|| self.engine.registrations.held());
        if self.engine.is(Twin::Overlooked) {
            held.clear();
        }
        let past = self.writer.removed.drain(..past).map(|(_, old)| old);
        let past: Vec<Old> = past.collect();
        self.keep_or_let_go(past, &held);
        let (mut gone, mut unmarked) = (Vec::new(), Vec::new());
        for revision in self.writer.kept.keys() {
            match held.binary_search_by_key(revision, |held| held.revision) {
                Err(_) => gone.push(*revision),
                // The marked one of several that hold on to it has gone.
                Ok(at) if !held[at].is_marked => unmarked.push(held[at]),
                Ok(_) => {}
            }
        }
        for held in unmarked {
            self.mark(held);
        }
        for revision in gone {
            if let Some(kept) = self.writer.kept.remove(&revision) {
                self.keep_or_let_go(kept, &held);
            }
        }
        while most > 0
            && let Some(list) = self.writer.replaced.pop_if(is_over)
        {
            most = most.saturating_sub(list.len());
            self.keep_or_let_go(list, &held);
        }
        self.writer.replaced.tidy();
        self.writer.links.tidy();
        shrink(&mut self.writer.removed);
    }

    /// Calls for whoever comes by, where much waits, and this may have been the last commit for a
    /// while.
    fn call(&mut self) {
        let Writer {
            replaced,
            reclaimer,
            emptied_at,
            revision,
            ..
        } = &*self.writer;
        let is_idle = *emptied_at == Some(*revision);
        let is_left = is_idle && !self.is_tidy();
        if is_left || replaced.has(DEBT) || reclaimer.len() > DEBT / CHUNK {
            reclaimer.call(&self.engine.awaited);
        }
        if std::mem::take(&mut self.is_missed) {
            self.engine.awaited.call();
        }
    }

    /// Has whoever gives the place back look at what is kept for it. Where it has been given
    /// back already, whoever comes by is to look again.
    fn mark(&mut self, held: Held) {
        if !self.engine.registrations.mark(held) && !self.engine.is(Twin::Unmarked) {
            self.is_missed = true;
        }
    }

    fn keep_or_let_go(&mut self, mut list: Vec<Old>, held: &[Held]) {
        if !held.is_empty() {
            list = self.keep(list, held);
        }
        for old in &mut list {
            match old {
                Old::Service(old) => self.unlink::<Services, _>(old),
                Old::Name(old) => self.unlink::<Names, _>(old),
                Old::Group(old) => self.unlink::<Groups, _>(old),
                // SAFETY: this is the writer, and it has been replaced.
                Old::Stats(old) => unsafe { self.writer.links.unlink(old) },
            }
        }
        if list.is_empty() {
            return;
        }
        let list = Garbage::Versions(list);
        if self.engine.is(Twin::FreedAtOnce) {
            self.left.garbage.push(list);
        } else {
            self.writer.reclaimer.retire(list);
        }
    }

    /// Keeps what somebody needs; answers with the others.
    fn keep(&mut self, list: Vec<Old>, held: &[Held]) -> Vec<Old> {
        let needs = |old: &Old| {
            let oldest = held.get(held.partition_point(|held| held.revision < old.since()));
            oldest.copied().filter(|held| held.revision < old.until())
        };
        // Readers are at the newest revision, as a rule.
        if !list.iter().any(|old| needs(old).is_some()) {
            return list;
        }
        let mut others = Vec::with_capacity(list.len());
        for old in list {
            let Some(held) = needs(&old) else {
                others.push(old);
                continue;
            };
            let Writer { kept, links, .. } = &mut *self.writer;
            old.note_in(links);
            match kept.entry(held.revision) {
                Entry::Occupied(mut kept) => kept.get_mut().push(old),
                Entry::Vacant(first) => {
                    first.insert(vec![old]);
                    if !held.is_marked {
                        self.mark(held);
                    }
                }
            }
        }
        others
    }

    #[inline]
    fn unlink<I: Index<V>, V>(&mut self, old: &mut OldVersion<V>) {
        if old.removed {
            return;
        }
        // SAFETY: this is the writer, and it has been replaced.
        unsafe { self.writer.links.unlink(old) };
        // SAFETY: what has been replaced has a newer one, which is linked.
        let newer = unsafe { old.newer.as_ref() };
        if self.engine.is(Twin::NotGivenBack) && old.version().lends() && !newer.lends() {
            old.is_lent = false;
        }
        // SAFETY: its cell is freed with its last version.
        let newest = unsafe { old.cell.as_ref() }.head().newest();
        if newer.value().is_none() && newer.is_alone() && newest == old.newer.as_ptr() {
            self.remove::<I, V>(old.cell, old.newer);
        }
    }

    /// Removes a key of which nothing is left but a version that says so.
    #[cold]
    fn remove<I: Index<V>, V>(&mut self, cell: NonNull<Cell<V>>, last: NonNull<Version<V>>) {
        if self.engine.is(Twin::KilledAtOnce) {
            return;
        }
        let table = I::table(&self.tables().indexes);
        // SAFETY: this is the writer, and the newest table.
        let Some(slot) = (unsafe { table.slot_of(cell) }) else {
            unreachable!("a cell stands in its table until it is removed");
        };
        slot.kill();
        let usage = I::usage(&mut self.writer);
        usage.live -= 1;
        let live = usage.live;
        // A snapshot of the present revision may have found it still, and keeps it. Who is pinned
        // from now on finds the slot dead, in these tables or in others.
        let until = self.next();
        let period = self.writer.reclaimer.period();
        let old = I::old(OldVersion {
            version: last,
            cell,
            newer: last,
            until,
            removed: true,
            is_lent: false,
        });
        self.writer.removed.push_back((period, old));
        self.own += 1;
        if I::table(&self.tables().indexes).is_wide(live) {
            self.lay_out_anew::<I, V>(live);
        }
    }
}

/// Takes from `others` what there is room for.
fn refill<T>(own: &mut Vec<T>, others: &mut Vec<T>, most: usize) {
    let room = most.saturating_sub(own.len());
    let from = others.len().saturating_sub(room);
    own.extend(others.drain(from..));
    // Whoever leaves something there may be a reader, who asks for no memory.
    others.reserve(most.saturating_sub(others.len()));
}

/// Puts a version in front of the newest one of a cell, which becomes old.
#[inline]
fn push<V>(
    cell: NonNull<Cell<V>>,
    newest: NonNull<Version<V>>,
    fresh: NonNull<Version<V>>,
    revision: u64,
) -> OldVersion<V> {
    // SAFETY: the writer calls this, with the newest version of the cell, and a cell is freed
    // with its last version.
    unsafe { cell.as_ref() }
        .head()
        .push(fresh.as_ptr(), revision);
    OldVersion {
        version: newest,
        cell,
        newer: fresh,
        until: revision,
        removed: false,
        is_lent: false,
    }
}

/// What is freed once the lock has been given back.
struct Leftovers<'e> {
    engine: &'e Engine,
    /// Nobody can come to it any more.
    garbage: Vec<Garbage>,
}

impl Leftovers<'_> {
    #[cold]
    fn free(&mut self) {
        let mut stash = self.engine.stash();
        for garbage in self.garbage.drain(..) {
            let stash: Option<&mut Stash> = stash.as_deref_mut();
            // SAFETY: the reclaimer has handed it out.
            unsafe { garbage.free(stash) };
        }
    }
}

impl Drop for Leftovers<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.garbage.is_empty() && !has_failed() {
            self.free();
        }
    }
}

/// What was cleared. Dropping it frees it at once, unless somebody is still reading it.
pub(super) struct Cleared {
    engine: Arc<Engine>,
    _subscriptions: Subscriptions,
}

impl Drop for Cleared {
    fn drop(&mut self) {
        self.engine.tidy_up();
    }
}
