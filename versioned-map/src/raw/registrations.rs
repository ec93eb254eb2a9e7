//! The revisions that snapshots protect.
//!
//! A snapshot announces its revision in a slot of its own; the writer scans all slots before it
//! prunes. Neither waits for the other. The writer overlooks no snapshot, because a snapshot
//! registers under a pin:
//!
//! ```text
//!  snapshot                          writer
//!  --------                          ------
//!  pin                               published <- p
//!  r <- published                    end the period
//!  slot <- r                        wait until who was pinned has left
//!  unpin                             read all slots
//!                                    prune what ends at p or before
//! ```
//!
//! A reader that was pinned when the period ended, and loaded a revision older than `p`, has
//! announced it before it unpinned, and the writer finds it. A reader that was pinned later has
//! loaded `p` or more, and a version visible at `p` or later does not end at `p` or before. So a
//! scan that is made after that period finds *all* snapshots, present and future, that are older
//! than `p`.
//!
//! When the writer keeps versions for a snapshot, it [marks](Registrations::mark) the snapshot's
//! slot, in the word that contains the revision. The thread that gives the slot back swaps the
//! whole word, and so learns of the mark; if it gave the slot back first, the writer's mark fails.
//! So no mark is lost, and a thread that gives back a slot without a mark, or a share of a slot,
//! has nothing else to do.

use std::ptr;

use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize};

/// The number of slots of the first segment; each later one has twice as many as the one before.
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

/// A slot on a cache line of its own, so that the slots of two threads do not disturb each other.
#[repr(align(64))]
struct ReaderSlot {
    /// One more than the revision, perhaps with [`MARK`]; or [`FREE`].
    word: AtomicU64,
    /// The number of registrations that share the slot, without the first one.
    others: AtomicUsize,
}

/// The slots of all snapshots.
pub(super) struct Registrations {
    /// The first slot of each segment, or null. The thread that first needs a segment makes it.
    segments: [AtomicPtr<ReaderSlot>; SEGMENTS],
}

/// The slot of one snapshot. Its holder gives it back.
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

    /// Returns the slots of a segment, if it has been made.
    fn made(&self, segment: usize) -> Option<&[ReaderSlot]> {
        // Acquire: pairs with the Release in `segment`, after which the slots are initialized.
        let first = self.segments[segment].load(Acquire);
        // SAFETY: `segment` made it, with this many slots, and it is freed with `self`.
        (!first.is_null()).then(|| unsafe { std::slice::from_raw_parts(first, FIRST << segment) })
    }

    /// Returns the slots of a segment, which it makes if necessary. Lock-free: if several threads
    /// make it, one is first, and the others use its slots.
    fn segment(&self, segment: usize) -> &[ReaderSlot] {
        if let Some(slots) = self.made(segment) {
            return slots;
        }
        let free = |_| ReaderSlot {
            word: AtomicU64::new(FREE),
            others: AtomicUsize::new(0),
        };
        let slots: Box<[ReaderSlot]> = (0..FIRST << segment).map(free).collect();
        let own = Box::into_raw(slots);
        // Release and Acquire: pairs with itself, and with the Acquire in `made`.
        let first = &self.segments[segment];
        let set = first.compare_exchange(ptr::null_mut(), own.cast(), AcqRel, Acquire);
        if set.is_err() {
            // SAFETY: it was made above, and no other thread has seen it.
            drop(unsafe { Box::from_raw(own) });
        }
        self.made(segment).expect("it has been made")
    }

    fn slot(&self, at: Registration) -> &ReaderSlot {
        &self.segment(at.segment)[at.slot]
    }

    /// Claims a free slot for a snapshot of `revision`. The thread was pinned before it loaded
    /// `revision`, and still is. As a rule O(1): a thread begins its search behind the slot that
    /// it claimed last, or at the one that it gave back last.
    pub(super) fn claim(&self, revision: u64) -> Registration {
        let hint = Registration::numbered(hint());
        let hint = Some(hint).filter(|at| self.made(at.segment).is_some());
        // Then from the first slot on, until one is free.
        let all = (0..SEGMENTS).map(|segment| Registration { segment, slot: 0 });
        let claimed = hint
            .into_iter()
            .chain(all)
            .find_map(|from| self.claim_in(from, revision));
        let Some(at) = claimed else {
            unreachable!("there is not so much memory");
        };
        set_hint(at.number() + 1);
        at
    }

    /// Claims a free slot of a segment, at `from` or behind it.
    fn claim_in(&self, from: Registration, revision: u64) -> Option<Registration> {
        let slots = self.segment(from.segment);
        (from.slot..slots.len()).find_map(|slot| {
            let free = &slots[slot].word;
            // Acquire: pairs with the Release in `release`: the previous snapshot has finished with
            // the slot. The end of the pin tells the writer that the slot is taken.
            let claimed = free.load(Relaxed) == FREE
                && free
                    .compare_exchange(FREE, revision + 1, Acquire, Relaxed)
                    .is_ok();
            claimed.then_some(Registration { slot, ..from })
        })
    }

    /// Moves a registration to another revision; the conditions are those of
    /// [`claim`](Self::claim). The old revision is no longer protected: returns whether versions
    /// were kept for it.
    pub(super) fn renew(&self, at: Registration, revision: u64) -> bool {
        // Release: pairs with the Acquire in `snapshots`: reads of versions that the old revision
        // protected come before these are freed. Acquire: pairs with the Release in `mark`.
        self.slot(at).word.swap(revision + 1, AcqRel) & MARK != 0
    }

    /// Marks the slot of a snapshot that a scan has found: versions are kept for it. Returns
    /// `false` if the snapshot has gone meanwhile, or moved on.
    pub(super) fn mark(&self, revision: u64, slot: usize) -> bool {
        let word = &self.slot(Registration::numbered(slot)).word;
        let found = revision + 1;
        // Release: pairs with the Acquire in `renew` and `release`. Acquire on failure: pairs with
        // their Release: what that snapshot has read comes before it is freed.
        let marked = word.compare_exchange(found, found | MARK, Release, Acquire);
        marked.is_ok() || marked == Err(found | MARK)
    }

    /// Shares a slot, which then has to be given back once more. (A second slot for the same
    /// revision would not do: a scan might read it before it is claimed, and then the first one
    /// after it has been given back.)
    pub(super) fn share(&self, at: Registration) {
        // Relaxed: as for a reference count, the caller holds a share.
        self.slot(at).others.fetch_add(1, Relaxed);
    }

    /// Returns whether a slot is shared.
    pub(super) fn is_shared(&self, at: Registration) -> bool {
        // Acquire: pairs with the Release in `release`, by the sharers that have left.
        self.slot(at).others.load(Acquire) > 0
    }

    /// Gives a slot back, or a share of it. Returns `true` if this was the last share, and
    /// versions were kept for the slot.
    pub(super) fn release(&self, at: Registration) -> bool {
        let slot = self.slot(at);
        // A sole owner stays the sole one: no other thread has a share to clone.
        if self.is_shared(at) {
            // Release and Acquire: pairs with itself, and with `is_shared`: everything that the
            // other sharers did with the slot comes before it is given back.
            let others = slot
                .others
                .fetch_update(AcqRel, Acquire, |others| others.checked_sub(1));
            if others.is_ok() {
                return false;
            }
        }
        // Release: pairs with the Acquire in `snapshots` and in `claim`. Acquire: pairs with the Release
        // in `mark`.
        let word = slot.word.swap(FREE, AcqRel);
        set_hint(at.number());
        word & MARK != 0
    }

    /// Returns the segments that have been made, each with the number of its first slot. Stops at
    /// the first one that has not: a thread that claims a slot has seen all earlier segments made.
    fn segments(&self) -> impl Iterator<Item = (usize, &[ReaderSlot])> {
        let made = (0..SEGMENTS).map_while(|segment| Some((segment, self.made(segment)?)));
        made.map(|(segment, slots)| (Registration { segment, slot: 0 }.number(), slots))
    }

    /// Returns the number of slots: at least as many as were ever claimed at once.
    pub(super) fn slot_count(&self) -> usize {
        self.segments().map(|(_, slots)| slots.len()).sum()
    }

    /// Returns the revisions of all snapshots, and their slots. None is missing of those that were
    /// pinned in a period that has passed. O(slots).
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
            // As the engine: a model ends in the middle of it.
            return;
        }
        for (segment, first) in self.segments.iter().enumerate() {
            let first = first.load(Relaxed);
            if !first.is_null() {
                let slots = ptr::slice_from_raw_parts_mut(first, FIRST << segment);
                // SAFETY: `segment` made it, and no other thread has access any more.
                drop(unsafe { Box::from_raw(slots) });
            }
        }
    }
}

#[cfg(not(any(loom, shuttle)))]
thread_local! {
    /// The number of the slot at which this thread begins its search.
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
    /// Returns the number of the slot, counted from the first slot of the first segment.
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

    /// A scan does not miss a snapshot that goes meanwhile: either the writer learns that it has
    /// gone, or the snapshot learns of the mark.
    #[test]
    fn a_mark_is_found_by_whoever_gives_the_place_back() {
        let registrations = Registrations::new();
        let slot = registrations.claim(5);
        registrations.share(slot);
        let found = slot.number();
        assert!(registrations.mark(5, found));
        assert!(registrations.mark(5, found), "it has a mark");
        assert!(!registrations.release(slot), "its slot stays shared");
        assert!(registrations.release(slot));
        let slot = registrations.claim(6);
        assert_eq!(slot.number(), found);
        assert!(!registrations.renew(slot, 7));
        assert!(!registrations.mark(6, found), "it has moved on");
        assert!(!registrations.release(slot));
        assert!(!registrations.mark(7, found), "it has gone");
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
        let slots = (0..SEGMENTS).filter_map(|segment| registrations.made(segment));
        let taken = slots.flatten().filter(|at| at.word.load(Relaxed) != FREE);
        assert_eq!(taken.count(), 320);
    }

    #[test]
    fn places_are_taken_given_back_and_taken_again() {
        let registrations = Registrations::new();
        let many: Vec<Registration> = (0..100).map(|r| registrations.claim(r)).collect();
        assert_eq!(revisions(&registrations), (0..100).collect::<Vec<u64>>());
        for at in &many[10..] {
            registrations.release(*at);
        }
        assert_eq!(revisions(&registrations), (0..10).collect::<Vec<u64>>());
        registrations.renew(many[0], 50);
        assert_eq!(revisions(&registrations), [1, 2, 3, 4, 5, 6, 7, 8, 9, 50]);
        // Free slots are claimed before new ones are made.
        for r in 0..90 {
            registrations.claim(r);
        }
        assert!(registrations.made(6).is_none());
    }

    #[test]
    fn places_are_numbered_through_all_segments() {
        for number in 0..1_000 {
            assert_eq!(Registration::numbered(number).number(), number);
        }
    }

    #[test]
    fn a_place_that_is_shared_is_given_back_by_the_last() {
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
    //! The slots by themselves: two threads make a segment at once, and two threads share a slot.
    //! Each has a twin.
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
            if all.made(0).is_none() {
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
            let told = usize::from(own) + usize::from(other.join().unwrap());
            assert_eq!(told, 1, "not one was told of the mark");
            assert!(
                all.snapshots().next().is_none(),
                "nobody gave the slot back"
            );
        });
    }

    #[test]
    fn models_the_last_of_two_clones_is_told_of_the_mark() {
        two_release(Registrations::release);
    }

    #[test]
    #[should_panic(expected = "not one was told of the mark")]
    fn models_twin_a_share_that_is_given_back_in_two_steps_is_rejected() {
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
