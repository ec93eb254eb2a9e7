//! The revisions that snapshots protect.
//!
//! A snapshot stores its revision in a *reader slot* of its own. The writer scans all reader slots
//! before it frees old versions. Neither waits for the other. The writer misses no snapshot,
//! because a snapshot registers under a pin:
//!
//! ```text
//!  snapshot                          writer
//!  --------                          ------
//!  pin                               published <- p
//!  r <- published                    end the period
//!  slot <- r                         wait until the pinned readers have left
//!  unpin                             read all slots
//!                                    unlink what ends at p or before
//! ```
//!
//! A reader that was pinned when the period ended, and loaded a revision older than `p`, stored it
//! before it unpinned, and the writer finds it. A reader that was pinned later has loaded `p` or a
//! later revision, and a version visible at `p` or later does not end at `p` or before. So a scan
//! after that period finds *all* snapshots, present and future, that are older than `p`.
//!
//! When the writer keeps versions for a snapshot, it [marks](Registrations::mark) the snapshot's
//! reader slot, in the word that contains the revision. The thread that releases the slot swaps the
//! whole word, and so finds the mark. If it released the slot first, the writer's mark fails. So no
//! mark is lost. A thread that releases a slot without a mark, or a share of a slot, has nothing
//! else to do.

use std::ptr;

use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize};

/// The number of reader slots in the first segment. Each later segment has twice as many as the one
/// before.
#[cfg(not(any(test, loom)))]
const FIRST: usize = 16;
#[cfg(any(test, loom))]
const FIRST: usize = 2;

/// The number of segments: enough for more slots than fit in memory.
const SEGMENTS: usize = 32;

/// The word of a free slot.
const FREE: u64 = 0;

/// Tag in the word of a slot: versions are kept for its snapshot.
const MARK: u64 = 1 << 63;

/// A reader slot, on a cache line of its own, so that two threads do not write to the same line.
#[repr(align(64))]
struct ReaderSlot {
    /// One more than the revision, perhaps with [`MARK`]; or [`FREE`].
    word: AtomicU64,
    /// The number of snapshots that share the slot, not counting the first one.
    others: AtomicUsize,
}

/// The reader slots of all snapshots.
pub(super) struct Registrations {
    /// The first slot of each segment, or null. The thread that first needs a segment allocates it.
    segments: [AtomicPtr<ReaderSlot>; SEGMENTS],
}

/// The reader slot of one snapshot. Its holder releases it.
#[derive(Clone, Copy)]
pub(super) struct Registration {
    segment: usize,
    slot: usize,
}

impl Registrations {
    pub(super) fn new() -> Registrations {
        Registrations {
            segments: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
        }
    }

    /// Returns the slots of a segment, if it has been allocated.
    fn allocated(&self, segment: usize) -> Option<&[ReaderSlot]> {
        // Acquire: pairs with the Release in `segment`, after which the slots are initialized.
        let first = self.segments[segment].load(Acquire);
        // SAFETY: `segment` allocated it, with this many slots, and it is freed with `self`.
        (!first.is_null()).then(|| unsafe { std::slice::from_raw_parts(first, FIRST << segment) })
    }

    /// Returns the slots of a segment. Allocates it if necessary. Lock-free: if several threads
    /// allocate it, one is first, and the others use its slots.
    fn segment(&self, segment: usize) -> &[ReaderSlot] {
        if let Some(slots) = self.allocated(segment) {
            return slots;
        }
        let free = |_| ReaderSlot {
            word: AtomicU64::new(FREE),
            others: AtomicUsize::new(0),
        };
        let slots: Box<[ReaderSlot]> = (0..FIRST << segment).map(free).collect();
        let own = Box::into_raw(slots);
        // Release and Acquire: pairs with itself, and with the Acquire in `allocated`.
        let first = &self.segments[segment];
        let set = first.compare_exchange(ptr::null_mut(), own.cast(), AcqRel, Acquire);
        if set.is_err() {
            // SAFETY: it was allocated above, and no other thread has seen it.
            drop(unsafe { Box::from_raw(own) });
        }
        self.allocated(segment)
            .expect("the segment has been allocated")
    }

    fn slot(&self, at: Registration) -> &ReaderSlot {
        &self.segment(at.segment)[at.slot]
    }

    /// Claims a free reader slot for a snapshot of `revision`. The thread was pinned before it
    /// loaded `revision`, and still is. Usually O(1): a thread begins its search behind the slot
    /// that it claimed last, or at the slot that it released last.
    pub(super) fn claim(&self, revision: u64) -> Registration {
        let hint = Registration::numbered(hint());
        let hint = Some(hint).filter(|at| self.allocated(at.segment).is_some());
        // The search continues at the first slot, until one is free.
        let all = (0..SEGMENTS).map(|segment| Registration { segment, slot: 0 });
        let claimed = hint
            .into_iter()
            .chain(all)
            .find_map(|from| self.claim_in(from, revision));
        let Some(at) = claimed else {
            unreachable!("memory holds fewer slots");
        };
        set_hint(at.number() + 1);
        at
    }

    /// Claims a free reader slot of a segment, at `from` or behind it.
    fn claim_in(&self, from: Registration, revision: u64) -> Option<Registration> {
        let slots = self.segment(from.segment);
        (from.slot..slots.len()).find_map(|slot| {
            let free = &slots[slot].word;
            // Acquire: pairs with the Release in `release`: the previous snapshot no longer uses
            // the slot. The writer sees the claimed slot, because it waits for the end of the pin.
            let claimed = free.load(Relaxed) == FREE
                && free
                    .compare_exchange(FREE, revision + 1, Acquire, Relaxed)
                    .is_ok();
            claimed.then_some(Registration { slot, ..from })
        })
    }

    /// Moves a registration to another revision, under the conditions of [`claim`](Self::claim).
    /// The old revision is no longer protected. Returns whether versions were kept for it.
    pub(super) fn renew(&self, at: Registration, revision: u64) -> bool {
        // Release: pairs with the Acquire in `snapshots`: the reads of versions that the old
        // revision protected happen before these versions are freed. Acquire: pairs with the
        // Release in `mark`.
        self.slot(at).word.swap(revision + 1, AcqRel) & MARK != 0
    }

    /// Marks the reader slot of a snapshot that a scan has found: versions are kept for it. Returns
    /// `false` if the snapshot has departed since, or has moved to another revision.
    pub(super) fn mark(&self, revision: u64, slot: usize) -> bool {
        let word = &self.slot(Registration::numbered(slot)).word;
        let found = revision + 1;
        // Release: pairs with the Acquire in `renew` and `release`. Acquire on failure: pairs with
        // their Release: the reads of that snapshot happen before the versions are freed.
        let marked = word.compare_exchange(found, found | MARK, Release, Acquire);
        marked.is_ok() || marked == Err(found | MARK)
    }

    /// Shares a reader slot, which then has to be released once more. (A second slot for the same
    /// revision is not enough: a scan might read it before it is claimed, and read the first slot
    /// after it has been released.)
    pub(super) fn share(&self, at: Registration) {
        // Relaxed: as for a reference count, the caller holds a share.
        self.slot(at).others.fetch_add(1, Relaxed);
    }

    /// Returns whether a reader slot is shared.
    pub(super) fn is_shared(&self, at: Registration) -> bool {
        // Acquire: pairs with the Release in `release`, by the sharers that have released the slot.
        self.slot(at).others.load(Acquire) > 0
    }

    /// Releases a reader slot, or a share of it. Returns `true` if this was the last share, and
    /// versions were kept for the slot.
    pub(super) fn release(&self, at: Registration) -> bool {
        let slot = self.slot(at);
        // A sole owner stays the sole owner: no other thread has a share to clone.
        if self.is_shared(at) {
            // Release and Acquire: pairs with itself, and with `is_shared`: everything that the
            // other sharers did with the slot happens before it is released.
            let others = slot
                .others
                .fetch_update(AcqRel, Acquire, |others| others.checked_sub(1));
            if others.is_ok() {
                return false;
            }
        }
        // Release: pairs with the Acquire in `snapshots` and in `claim`. Acquire: pairs with the
        // Release in `mark`.
        let word = slot.word.swap(FREE, AcqRel);
        set_hint(at.number());
        word & MARK != 0
    }

    /// Returns the allocated segments, each with the number of its first slot. Stops at the first
    /// segment that is not allocated: a thread that claims a slot has seen all earlier segments.
    fn segments(&self) -> impl Iterator<Item = (usize, &[ReaderSlot])> {
        let made = (0..SEGMENTS).map_while(|segment| Some((segment, self.allocated(segment)?)));
        made.map(|(segment, slots)| (Registration { segment, slot: 0 }.number(), slots))
    }

    /// Returns the number of reader slots: at least as many as were ever claimed at once.
    pub(super) fn slot_count(&self) -> usize {
        self.segments().map(|(_, slots)| slots.len()).sum()
    }

    /// Returns the revisions of all snapshots, and the numbers of their reader slots. Includes
    /// every snapshot that was pinned in a period that has passed. O(reader slots).
    pub(super) fn snapshots(&self) -> impl Iterator<Item = (u64, usize)> {
        let all = self
            .segments()
            .flat_map(|(first, slots)| (first..).zip(slots));
        all.filter_map(|(number, slot)| {
            // Acquire: pairs with the Release in `renew` and `release`.
            let word = slot.word.load(Acquire);
            (word != FREE).then(|| ((word & !MARK) - 1, number))
        })
    }
}

impl Drop for Registrations {
    fn drop(&mut self) {
        if cfg!(loom) {
            // As in `Engine::drop`: a model leaks its contents.
            return;
        }
        for (segment, first) in self.segments.iter().enumerate() {
            let first = first.load(Relaxed);
            if !first.is_null() {
                let slots = ptr::slice_from_raw_parts_mut(first, FIRST << segment);
                // SAFETY: `segment` allocated it, and no other thread has access any more.
                drop(unsafe { Box::from_raw(slots) });
            }
        }
    }
}

#[cfg(not(any(loom, shuttle)))]
thread_local! {
    /// The number of the reader slot at which this thread begins its search.
    static HINT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(not(any(loom, shuttle)))]
fn hint() -> usize {
    HINT.try_with(std::cell::Cell::get).unwrap_or(0)
}

#[cfg(not(any(loom, shuttle)))]
fn set_hint(number: usize) {
    // A thread that is ending has no hint any more, and needs none.
    let _ = HINT.try_with(|hint| hint.set(number));
}

/// In a model, all threads are one thread of the system.
#[cfg(any(loom, shuttle))]
fn hint() -> usize {
    0
}

#[cfg(any(loom, shuttle))]
fn set_hint(_: usize) {}

impl Registration {
    /// Returns the number of the reader slot, counted from the first slot of the first segment.
    fn number(self) -> usize {
        (FIRST << self.segment) - FIRST + self.slot
    }

    fn numbered(number: usize) -> Registration {
        let segment = (number / FIRST + 1).ilog2() as usize;
        Registration {
            segment,
            slot: number + FIRST - (FIRST << segment),
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    fn revisions(registrations: &Registrations) -> Vec<u64> {
        let mut revisions: Vec<u64> = registrations
            .snapshots()
            .map(|(revision, _)| revision)
            .collect();
        revisions.sort_unstable();
        revisions
    }

    /// A snapshot may depart while the writer marks its reader slot. Then either the mark fails, or
    /// the snapshot finds the mark.
    #[test]
    fn a_thread_that_releases_a_slot_finds_its_mark() {
        let registrations = Registrations::new();
        let slot = registrations.claim(5);
        registrations.share(slot);
        let found = slot.number();
        assert!(registrations.mark(5, found));
        assert!(registrations.mark(5, found), "the slot has a mark");
        assert!(!registrations.release(slot), "the slot stays shared");
        assert!(registrations.release(slot));
        let slot = registrations.claim(6);
        assert_eq!(slot.number(), found);
        assert!(!registrations.renew(slot, 7));
        assert!(!registrations.mark(6, found), "the snapshot has moved");
        assert!(!registrations.release(slot));
        assert!(!registrations.mark(7, found), "the snapshot has departed");
    }

    #[test]
    fn threads_that_need_a_segment_at_once_share_one() {
        let registrations = Registrations::new();
        std::thread::scope(|threads| {
            for r in 0..8 {
                let registrations = &registrations;
                threads.spawn(move || (0..40).for_each(|_| _ = registrations.claim(r)));
            }
        });
        let slots = (0..SEGMENTS).filter_map(|segment| registrations.allocated(segment));
        let taken = slots.flatten().filter(|at| at.word.load(Relaxed) != FREE);
        assert_eq!(taken.count(), 320);
    }

    #[test]
    fn slots_are_claimed_released_and_claimed_again() {
        let registrations = Registrations::new();
        let many: Vec<Registration> = (0..100).map(|r| registrations.claim(r)).collect();
        assert_eq!(revisions(&registrations), (0..100).collect::<Vec<u64>>());
        for at in &many[10..] {
            registrations.release(*at);
        }
        assert_eq!(revisions(&registrations), (0..10).collect::<Vec<u64>>());
        registrations.renew(many[0], 50);
        assert_eq!(revisions(&registrations), [1, 2, 3, 4, 5, 6, 7, 8, 9, 50]);
        // Free slots are claimed before another segment is allocated.
        for r in 0..90 {
            registrations.claim(r);
        }
        assert!(registrations.allocated(6).is_none());
    }

    #[test]
    fn slots_are_numbered_through_all_segments() {
        for number in 0..1_000 {
            assert_eq!(Registration::numbered(number).number(), number);
        }
    }

    #[test]
    fn the_last_sharer_releases_a_shared_slot() {
        let registrations = Registrations::new();
        let slot = registrations.claim(5);
        registrations.share(slot);
        assert!(registrations.is_shared(slot));
        assert!(!registrations.release(slot));
        assert_eq!(revisions(&registrations), [5]);
        assert!(!registrations.is_shared(slot));
        registrations.release(slot);
        assert!(revisions(&registrations).is_empty());
    }
}

#[cfg(all(test, loom))]
mod models {
    //! Models of the reader slots alone: two threads allocate a segment at the same time, and two
    //! threads share a slot. Each model has a twin.
    //!
    //! The twins use the orderings of the functions that they replace.

    use std::sync::Arc;

    use loom::thread;

    use super::*;

    fn two_claim(claim: fn(&Registrations, u64) -> Registration) {
        loom::model(move || {
            let all = Arc::new(Registrations::new());
            let other = thread::spawn({
                let all = all.clone();
                move || claim(&all, 1)
            });
            let own = claim(&all, 2);
            other.join().unwrap();
            let mut held: Vec<u64> = all.snapshots().map(|(revision, _)| revision).collect();
            held.sort_unstable();
            assert_eq!(held, [1, 2], "a slot was lost");
            all.release(own);
        });
    }

    #[test]
    fn models_two_threads_that_make_a_segment_find_each_other() {
        two_claim(Registrations::claim);
    }

    #[test]
    #[should_panic(expected = "a slot was lost")]
    fn models_twin_a_segment_that_is_stored_over_another_is_rejected() {
        two_claim(|all, revision| {
            if all.allocated(0).is_none() {
                let free = |_| ReaderSlot {
                    word: AtomicU64::new(FREE),
                    others: AtomicUsize::new(0),
                };
                let slots: Box<[ReaderSlot]> = (0..FIRST).map(free).collect();
                all.segments[0].store(Box::into_raw(slots).cast(), Release);
            }
            all.claim(revision)
        });
    }

    fn two_release(release: fn(&Registrations, Registration) -> bool) {
        loom::model(move || {
            let all = Arc::new(Registrations::new());
            let slot = all.claim(5);
            all.share(slot);
            assert!(all.mark(5, slot.number()));
            let other = thread::spawn({
                let all = all.clone();
                move || release(&all, slot)
            });
            let own = release(&all, slot);
            let finders = usize::from(own) + usize::from(other.join().unwrap());
            assert_eq!(finders, 1, "not exactly one thread found the mark");
            assert!(
                all.snapshots().next().is_none(),
                "no thread released the slot"
            );
        });
    }

    #[test]
    fn models_the_last_of_two_clones_finds_the_mark() {
        two_release(Registrations::release);
    }

    #[test]
    #[should_panic(expected = "not exactly one thread found the mark")]
    fn models_twin_a_share_that_is_released_in_two_steps_is_rejected() {
        two_release(|all, at| {
            let others = &all.slot(at).others;
            match others.load(Acquire) {
                0 => all.release(at),
                left => {
                    others.store(left - 1, Release);
                    false
                }
            }
        });
    }
}
