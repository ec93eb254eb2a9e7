//! Reclamation passes: which old versions the writer keeps, unlinks and retires.

use std::ptr::NonNull;
use std::sync::Arc;

use super::cell::Cell;
use super::engine::{Engine, Owner, has_failed};
use super::garbage::Garbage;
use super::limits::{
    BACKLOG_THRESHOLD, LARGE_COMMIT, MOST_PASSES, PASS_INTERVAL, PERIOD_LENGTH, SCAN_RATIO,
};
use super::replaced::{CHUNK, MOST_EMPTY_LISTS, MOST_SPARES, Replaced, shrink};
use super::spares::refill;
use super::turn::Turn;
use super::version::{Version, unlink};
use super::writer::Writer;
use crate::twin::{self, Twin};

/// When dropped, reclaims the whole backlog in steps if reclamation is due. A view holds this behind
/// its pin.
pub struct ReclaimAfterView<'e, O: Owner>(&'e Arc<Engine<O>>);

impl<'e, O: Owner> ReclaimAfterView<'e, O> {
    /// Makes the guard of a view.
    #[inline]
    pub fn new(engine: &'e Arc<Engine<O>>) -> ReclaimAfterView<'e, O> {
        ReclaimAfterView(engine)
    }
}

impl<O: Owner> Drop for ReclaimAfterView<'_, O> {
    #[inline]
    fn drop(&mut self) {
        self.0.reclaim_after_view();
    }
}

impl<O: Owner> Engine<O> {
    /// Frees what can be freed now, because no commit may follow that would do it. Some versions
    /// may still be needed by a reader: the next thread that reads after that reader has left
    /// reclaims them. Unlinks in O(old versions) under the turn, and frees after it.
    #[cold]
    pub fn reclaim_now(self: &Arc<Engine<O>>) {
        for _ in 0..MOST_PASSES {
            let Some(mut turn) = self.try_turn_or_call() else {
                break;
            };
            turn.request_full_reclaim();
            turn.run_pass(usize::MAX, true);
            if turn.has_no_backlog() {
                break;
            }
        }
    }

    /// Reclaims a part of the backlog if reclamation is due. For a thread that has read.
    #[inline]
    pub fn reclaim_some(self: &Arc<Engine<O>>) {
        if self.awaited.is_due() && !has_failed() {
            self.reclaim_step();
        }
    }

    /// Reclaims the whole backlog in steps if reclamation is due. For a thread that has dropped a
    /// view. Stops if another thread commits or reclaims: that thread continues.
    #[inline]
    pub(super) fn reclaim_after_view(self: &Arc<Engine<O>>) {
        if self.awaited.is_due() && !has_failed() {
            self.reclaim_while_idle();
        }
    }

    #[cold]
    fn reclaim_while_idle(self: &Arc<Engine<O>>) {
        let mut first = None;
        // One step unlinks a version and another step frees it, so this many steps are enough.
        while let Some((revision, left)) = self.reclaim_step() {
            let (began_at, steps) =
                first.get_or_insert((revision, 2 * left / LARGE_COMMIT + MOST_PASSES));
            if *began_at != revision || *steps == 0 || !self.awaited.is_due() {
                break;
            }
            *steps -= 1;
        }
    }

    /// Returns whether a reading thread should reclaim.
    pub fn is_reclamation_due(&self) -> bool {
        self.awaited.is_due()
    }

    /// Runs one pass, and returns the revision and the size of the backlog. Does nothing if another
    /// thread has the lock: that thread or a later one reclaims.
    #[cold]
    fn reclaim_step(self: &Arc<Engine<O>>) -> Option<(u64, usize)> {
        let mut turn = self.try_turn()?;
        turn.note_help();
        turn.run_pass(LARGE_COMMIT, true);
        Some((turn.published(), turn.backlog()))
    }

    /// Takes the turn, if no thread has it. Otherwise asks the next reading thread to reclaim.
    fn try_turn_or_call(self: &Arc<Engine<O>>) -> Option<Turn<'_, O>> {
        let turn = self.try_turn();
        if turn.is_none() {
            self.awaited.call();
        }
        turn
    }

    /// Releases the versions that were kept only for a snapshot of `revision`, which is no longer
    /// registered. Frees them at once if `is_last`, because this may be the last pass for a while.
    /// Otherwise a later pass frees them when the period has ended.
    #[cold]
    pub(super) fn release_kept(self: &Arc<Engine<O>>, revision: u64, is_last: bool) {
        if !twin::is(Twin::DepartureNotReported) {
            self.departed.note(revision);
        }
        if let Some(mut turn) = self.try_turn_or_call() {
            turn.run_pass(0, false);
            if is_last {
                turn.run_pass(LARGE_COMMIT, true);
            }
        }
    }
}

impl<O: Owner> Turn<'_, O> {
    /// Returns whether nothing waits to be freed, apart from what snapshots need.
    pub(crate) fn has_no_backlog(&self) -> bool {
        let Writer {
            replaced,
            removed,
            reclaimer,
            ..
        } = &*self.writer;
        replaced.is_empty() && removed.is_empty() && reclaimer.is_empty()
    }

    /// Records that a reading thread reclaims. If no commit has been made since the last such
    /// record, the writer expects none.
    pub(super) fn note_help(&mut self) {
        let revision = self.writer.revision;
        if self.writer.helped_at.replace(revision) == Some(revision) {
            self.request_full_reclaim();
        }
    }

    /// Requests that passes free everything they can, unless another commit follows.
    pub(super) fn request_full_reclaim(&mut self) {
        self.writer.full_reclaim_at = Some(self.writer.revision);
    }

    /// Returns about how many versions wait to be freed, without those kept for snapshots.
    pub fn backlog(&self) -> usize {
        let Writer {
            replaced,
            reclaimer,
            ..
        } = &*self.writer;
        (replaced.len() + reclaimer.len()) * CHUNK
    }

    /// Returns about how many versions have been replaced or removed and are not freed yet: the
    /// [`backlog`](Self::backlog), and those kept for snapshots. O(snapshots).
    pub fn old_versions(&self) -> usize {
        self.backlog() + self.writer.kept.len()
    }

    /// Returns the revision of the oldest snapshot. O(reader slots).
    pub fn oldest_snapshot(&self) -> Option<u64> {
        let snapshots = self.engine.registrations.snapshots();
        snapshots.map(|(revision, _)| revision).min()
    }

    /// Returns whether nothing is kept for a snapshot.
    #[cfg(test)]
    pub(crate) fn keeps_nothing(&self) -> bool {
        self.writer.kept.is_empty()
    }

    /// Returns how much work snapshots have caused: scanned reader slots, and kept versions that
    /// were assigned to another snapshot.
    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) fn snapshot_work(&self) -> usize {
        self.writer.kept.work
    }

    /// Runs a reclamation pass. Examines up to `most` replaced versions, or a multiple of the newly
    /// replaced ones if that is more. Also releases the versions of departed snapshots. Ends the
    /// period if enough versions have been replaced in it, or if `is_last`, because this may be the
    /// last pass for a while.
    #[cold]
    pub(super) fn run_pass(&mut self, most: usize, is_last: bool) {
        // First, so that this pass covers every earlier call for reclamation.
        self.engine.awaited.take();
        // More than were replaced since the last pass, so that the backlog does not grow with the
        // writes.
        let since = std::mem::take(&mut self.writer.since_pass);
        let most = most.max(SCAN_RATIO * since);
        self.writer.in_period += since;
        self.writer.kept.allow_scan(most == usize::MAX);
        if twin::is(Twin::ScannedBeforeWaiting) {
            self.writer.kept.scan(&self.engine.registrations);
        }
        self.release_departed();
        let held = self.writer.keys() + O::other_items(&self.writer.owner_state);
        // Periods get shorter while the maps shrink, so that the backlog is no larger than the
        // maps.
        let period = if held < self.writer.held_before {
            held.clamp(PASS_INTERVAL, PERIOD_LENGTH)
        } else {
            PERIOD_LENGTH
        };
        let ends = self.writer.in_period >= period || is_last && !self.has_no_backlog();
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
        self.refill_spares();
        let may_wait = !is_last && !self.writer.replaced.has_at_least(2 * period);
        self.retire_unneeded(most, may_wait);
        let is_full = is_last || self.writer.reclaimer.ready() > 2 * period / CHUNK;
        let lists = if is_full { most } else { since } / CHUNK + 1;
        let reclaimer = &mut self.writer.reclaimer;
        let lists = if is_last {
            lists
        } else {
            reclaimer.up_to(lists, Garbage::is_heavy)
        };
        self.leftovers.garbage.extend(reclaimer.take(lists));
        self.call_readers();
    }

    /// Takes the memory and lists that freeing threads have left for reuse.
    fn refill_spares(&mut self) {
        if let Some(mut stash) = self.engine.stash() {
            let Writer {
                spares, replaced, ..
            } = &mut *self.writer;
            spares.refill(&mut stash.spares, MOST_SPARES);
            refill(
                &mut replaced.empty_lists,
                &mut stash.empty_lists,
                MOST_EMPTY_LISTS,
            );
        }
    }

    /// Retires what only departed snapshots needed, all of it in this turn.
    fn release_departed(&mut self) {
        let registrations = &self.engine.registrations;
        let kept = &mut self.writer.kept;
        let departed = self.engine.departed.take();
        for revision in departed.unwrap_or_else(|| kept.revisions().collect()) {
            let list = self.writer.kept.reassign(revision, registrations);
            self.unlink_and_retire(list);
        }
    }

    /// Retires removed keys, and about `most` replaced versions at most, that no reader needs. A
    /// version waits if a snapshot may need it that no scan has found yet. If `may_wait`, and no
    /// chain [may be traversed](Self::may_be_traversed), a version also waits if the spares have no
    /// room for it.
    fn retire_unneeded(&mut self, mut most: usize, may_wait: bool) {
        let Writer {
            reclaimer,
            replaced,
            removed,
            kept,
            revision,
            ..
        } = &mut *self.writer;
        let passed = if twin::is(Twin::UnlinkedWithoutPeriod) {
            *revision
        } else {
            reclaimer.passed()
        };
        let passed = (passed, reclaimer.passed_periods());
        // A version that a pinned reader may still see waits.
        let is_over = |(passed, _): (u64, u64)| move |old: &Replaced| old.until <= passed;
        let is_past = |(_, periods)| move |(period, _): &(u64, Replaced)| *period < periods;
        if !removed.front().is_some_and(is_past(passed))
            && !replaced.is_first_list_ready(is_over(passed))
        {
            return;
        }
        let known = kept.scan_if_allowed(passed, &self.engine.registrations);
        let past = removed
            .iter()
            .take_while(|removed| is_past(known)(removed))
            .count();
        let past = removed.drain(..past).map(|(_, old)| old);
        let past: Vec<Replaced> = past.collect();
        self.keep_or_retire(past);
        let may_be_traversed = self.may_be_traversed();
        while most > 0 && (may_be_traversed || !may_wait || self.has_room()) {
            let Some(list) = self.writer.replaced.pop_if(is_over(known)) else {
                break;
            };
            most = most.saturating_sub(list.len());
            if may_be_traversed {
                self.keep_or_retire(list);
            } else {
                self.reuse_or_retire(list);
            }
        }
        let Writer {
            replaced,
            removed,
            links,
            ..
        } = &mut *self.writer;
        // True if the rest needs another scan, which is not allowed yet.
        self.is_deferred = known != passed
            && !replaced.is_first_list_ready(is_over(known))
            && (replaced.is_first_list_ready(is_over(passed))
                || removed.front().is_some_and(is_past(passed)));
        replaced.shrink();
        links.shrink();
        shrink(removed);
    }

    /// Returns whether a thread may traverse a chain beyond the version that was visible when the
    /// last passed period ended. A pinned reader does not: its revision is later, and it stops at
    /// that version or before. An older snapshot does. So does the writer, when it releases a
    /// version that was kept for one.
    fn may_be_traversed(&self) -> bool {
        let Writer { kept, links, .. } = &*self.writer;
        (kept.has_snapshots() || !links.is_empty()) && !twin::is(Twin::ReusedTooEarly)
    }

    /// Returns whether the spares have room for the versions of the next list.
    fn has_room(&self) -> bool {
        let Writer {
            replaced, spares, ..
        } = &*self.writer;
        let block = replaced.first().and_then(|first| (first.kind.block)());
        block.is_none_or(|block| spares.has_room(block, CHUNK, MOST_SPARES))
    }

    /// Unlinks versions whose chains are not [traversed](Self::may_be_traversed). No reader can
    /// reach them even before they are unlinked. So memory in which nothing needs a drop is reused
    /// at once, and the rest is retired.
    fn reuse_or_retire(&mut self, mut list: Vec<Replaced>) {
        let spares = &self.writer.spares;
        let kind = list.first().map(|first| first.kind);
        if let Some(kind) = kind
            && let Some(block) = (kind.block)()
            && spares.has_room(block, list.len(), MOST_SPARES)
        {
            for old in &mut list {
                // SAFETY: this thread is the writer. The version has been replaced, and versions
                // are unlinked in the order of revisions. None is kept, so `newer` is the version
                // that links to it.
                let (before, is_lent) = unsafe { unlink(old.newer, old.version) };
                debug_assert!(before.is_none(), "older versions have been unlinked");
                old.is_lent = is_lent;
            }
            // `remove_key_if_last` reads newer versions, which may also be in this list. So it runs
            // before any memory is reused.
            for old in &list {
                self.remove_key_if_last(old);
            }
            let Writer {
                spares, replaced, ..
            } = &mut *self.writer;
            list.retain(|old| {
                if !std::ptr::eq(kind, old.kind) || kind.is_dropped && !old.is_lent {
                    return true;
                }
                // SAFETY: the version has been unlinked. Another version owns its value, or the
                // value needs no drop. Its memory has the size of its kind. No reader can reach it:
                // see `may_be_traversed`. Nothing below accesses it.
                unsafe { old.reuse(block, spares) };
                false
            });
            if list.is_empty() {
                replaced.keep_empty_list(list);
            } else {
                self.retire(list);
            }
        } else {
            self.unlink_and_retire(list);
        }
    }

    /// Asks reading threads to reclaim if the backlog is large, or if there is any backlog and no
    /// commit is expected.
    fn call_readers(&mut self) {
        let Writer {
            replaced,
            reclaimer,
            full_reclaim_at,
            revision,
            ..
        } = &*self.writer;
        let is_idle = *full_reclaim_at == Some(*revision);
        // The thread that drops the next snapshot reclaims what is deferred.
        let is_left = is_idle && !self.has_no_backlog() && !self.is_deferred;
        if is_left
            || replaced.has_at_least(BACKLOG_THRESHOLD)
            || reclaimer.len() > BACKLOG_THRESHOLD / CHUNK
        {
            reclaimer.call(&self.engine.awaited);
        }
    }

    /// Keeps the versions that snapshots need, and unlinks and retires the others.
    fn keep_or_retire(&mut self, mut list: Vec<Replaced>) {
        let Writer { kept, links, .. } = &mut *self.writer;
        if kept.has_snapshots() {
            let registrations = &self.engine.registrations;
            let keep = |old| kept.keep(old, links, registrations);
            list = list.into_iter().filter_map(keep).collect();
        }
        self.unlink_and_retire(list);
    }

    fn unlink_and_retire(&mut self, mut list: Vec<Replaced>) {
        for old in &mut list {
            self.unlink(old);
        }
        if !list.is_empty() {
            self.retire(list);
        }
    }

    /// Retires unlinked versions, or removed cells: the reclaimer hands them out when no reader can
    /// reach them.
    fn retire(&mut self, list: Vec<Replaced>) {
        let list = Garbage::Versions(list);
        if twin::is(Twin::FreedWithoutPeriod) {
            self.leftovers.garbage.push(list);
        } else {
            self.writer.reclaimer.retire(list);
        }
    }

    #[inline]
    fn unlink(&mut self, old: &mut Replaced) {
        if old.removed {
            return;
        }
        // SAFETY: this thread is the writer. The version has been replaced and not removed.
        // Versions come in the order of revisions, except those that were kept.
        unsafe { self.writer.links.unlink(old) };
        // SAFETY: a replaced version has a newer one, which is linked, and so not freed.
        let newer = unsafe { old.newer.as_ref() };
        if twin::is(Twin::LentValueDropped) && old.version().lends() && !newer.lends() {
            old.is_lent = false;
        }
        self.remove_key_if_last(old);
    }

    /// Removes the key of a version if only a newer tombstone is left of it.
    #[inline]
    fn remove_key_if_last(&mut self, old: &Replaced) {
        // SAFETY: as in `unlink`.
        let newer = unsafe { old.newer.as_ref() };
        if newer.has_value() || !newer.is_alone() {
            return;
        }
        // SAFETY: the cell is freed with its last version.
        let newest = unsafe { old.cell.as_ref() }.head().newest();
        if newest == old.newer.as_ptr() {
            self.remove_key(old, old.cell, old.newer);
        }
    }

    /// Removes a key of which only a tombstone is left: kills its slot, and queues the cell to be
    /// freed.
    #[cold]
    fn remove_key(&mut self, old: &Replaced, cell: NonNull<Cell>, last: NonNull<Version>) {
        if twin::is(Twin::SlotKilledAtDeletion) {
            return;
        }
        let Replaced { kind, map, .. } = *old;
        let table = self.table(map);
        // SAFETY: this thread is the writer, and the table is the newest.
        let Some(at) = (unsafe { table.slot_of(cell) }) else {
            unreachable!("a cell stands in its table until it is removed");
        };
        table.slot(at).kill();
        let usage = &mut self.writer.usages[map as usize];
        usage.live -= 1;
        let live = usage.live;
        // A snapshot of the current revision may have found the cell, and keeps it. A reader that
        // is pinned from now on finds the slot dead, in these tables or in newer ones.
        let until = self.next();
        let period = self.writer.reclaimer.period();
        let old = Replaced {
            kind,
            map,
            removed: true,
            is_lent: false,
            version: last,
            cell,
            newer: last,
            until,
        };
        self.writer.removed.push_back((period, old));
        self.size += 1;
        if self.table(map).is_wide(live) {
            self.begin_to_move(map, live);
        }
        self.slot_changed(map, at);
    }
}
