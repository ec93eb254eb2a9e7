//! Which revisions snapshots hold on to.
//!
//! A snapshot announces its revision in a place of its own; whoever prunes reads
//! all places. Neither waits for the other. What keeps the pruner from overlooking
//! a snapshot is a handshake, of the kind that Dekker's algorithm has:
//!
//! ```text
//!  snapshot                          writer
//!  --------                          ------
//!  place <- r                        published <- p
//!  fence                             fence
//!  is published <= r?                read all places
//!  else with r <- published again    prune what ends at p or before
//! ```
//!
//! The two fences are ordered, one way or the other. Where the snapshot's is the
//! first, the writer finds `r`. Where the writer's is the first, the snapshot finds
//! `p` published, and does not stay below it; what is visible at `p` or later does
//! not end at `p` or before. So a scan made at `p` tells of *all* snapshots, present
//! and future, that are older than `p`, and it stays true for as long as it is used.

use std::sync::OnceLock;

use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::sync::atomic::{AtomicU64, AtomicUsize, fence};

/// How many places the first segment has; each later one has twice as many as the
/// one before.
#[cfg(not(any(test, loom)))]
const FIRST: usize = 16;
#[cfg(any(test, loom))]
const FIRST: usize = 2;

/// Enough for more places than there is memory for.
const SEGMENTS: usize = 32;

/// Nobody's.
const FREE: u64 = 0;

/// A place, alone in its cache line: those of two threads do not disturb each other.
#[repr(align(64))]
struct Place {
    /// One more than the revision, or [`FREE`].
    revision: AtomicU64,
    /// How many others than the first one share it.
    others: AtomicUsize,
}

/// The places of all snapshots.
pub(super) struct Registrations {
    segments: [OnceLock<Box<[Place]>>; SEGMENTS],
}

/// The place of one snapshot. Whoever has it gives it back.
#[derive(Clone, Copy)]
pub(super) struct Registration {
    segment: usize,
    place: usize,
}

impl Registrations {
    pub(super) fn new() -> Registrations {
        let registrations = Registrations {
            segments: [const { OnceLock::new() }; SEGMENTS],
        };
        if cfg!(loom) {
            // The model checker does not see that whoever finds a segment finds it made.
            registrations.segment(0);
        }
        registrations
    }

    fn segment(&self, segment: usize) -> &[Place] {
        self.segments[segment].get_or_init(|| {
            let places = FIRST << segment;
            let free = |_| Place {
                revision: AtomicU64::new(FREE),
                others: AtomicUsize::new(0),
            };
            (0..places).map(free).collect()
        })
    }

    fn place(&self, at: Registration) -> &Place {
        &self.segment(at.segment)[at.place]
    }

    /// Takes a free place for a snapshot of `revision`, which has to be
    /// [confirmed](Self::confirm). As a rule O(1): a thread begins to look behind the
    /// place that it took last, or at the one that it gave back last.
    pub(super) fn claim(&self, revision: u64) -> Registration {
        let hint = Registration::near(hint());
        let hint = Some(hint).filter(|at| self.segments[at.segment].get().is_some());
        // Then from the first one on, until one is free.
        let all = (0..SEGMENTS).map(|segment| Registration { segment, place: 0 });
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

    /// Takes a free place of a segment, from a place on.
    fn claim_in(&self, from: Registration, revision: u64) -> Option<Registration> {
        let places = self.segment(from.segment);
        (from.place..places.len()).find_map(|place| {
            let free = &places[place].revision;
            // Acquire: pairs with the Release of `release`: what the last one to have this
            // place did with it is over. A place that is claimed is announced by the fence
            // of `confirm`.
            let claimed = free.load(Relaxed) == FREE
                && free
                    .compare_exchange(FREE, revision + 1, Acquire, Relaxed)
                    .is_ok();
            claimed.then_some(Registration { place, ..from })
        })
    }

    /// Moves a registration to another revision, to be confirmed. What it has
    /// protected so far may go.
    pub(super) fn renew(&self, at: Registration, revision: u64) {
        // Release: pairs with the Acquire of `held`: reads of what the old revision
        // protected come before it is freed.
        self.place(at).revision.store(revision + 1, Release);
    }

    /// Whether nobody can have overlooked the registration of `revision`: the
    /// snapshot's side of the handshake.
    pub(super) fn confirm(revision: u64, published: &AtomicU64) -> bool {
        // SeqCst: pairs with the fence in `held`.
        fence(SeqCst);
        // Acquire: pairs with the Release store of `published` by the writer.
        published.load(Acquire) <= revision
    }

    /// Shares a place: it has to be given back once more. (A second place for the same
    /// revision would not do: whoever scans may look at it before it is taken, and at the
    /// first one when that has been given back.)
    pub(super) fn share(&self, at: Registration) {
        // Relaxed: as for a reference count, whoever shares has a share.
        self.place(at).others.fetch_add(1, Relaxed);
    }

    /// Whether a place is shared.
    pub(super) fn is_shared(&self, at: Registration) -> bool {
        // Acquire: pairs with the Release in `release`, of those who have left.
        self.place(at).others.load(Acquire) > 0
    }

    /// Gives a place back, or a share of it.
    pub(super) fn release(&self, at: Registration) {
        let place = self.place(at);
        // Who is alone stays alone: nobody else is left to share the place.
        if self.is_shared(at) {
            // Release and Acquire: pairs with itself, and with `is_shared`: what all others
            // have done with the place comes before it is given back.
            let others = place
                .others
                .fetch_update(AcqRel, Acquire, |others| others.checked_sub(1));
            if others.is_ok() {
                return;
            }
        }
        // Release: pairs with the Acquire of `held`, and of `claim`.
        place.revision.store(FREE, Release);
        set_hint(at.number());
    }

    /// The revisions of all snapshots, in order; of those that are older than what is
    /// published, none is missing. The writer's side of the handshake. O(places that were ever needed at
    /// once).
    pub(super) fn held(&self) -> Vec<u64> {
        // SeqCst: pairs with the fence in `confirm`.
        fence(SeqCst);
        let mut held = Vec::new();
        for segment in &self.segments {
            let Some(places) = segment.get() else {
                break;
            };
            for place in places {
                // Acquire: pairs with the Release of `renew` and `release`.
                let revision = place.revision.load(Acquire);
                if revision != FREE {
                    held.push(revision - 1);
                }
            }
        }
        held.sort_unstable();
        held.dedup();
        held
    }
}

#[cfg(not(any(loom, shuttle)))]
thread_local! {
    /// The number of the place where this thread begins to look.
    static HINT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(not(any(loom, shuttle)))]
fn hint() -> usize {
    HINT.try_with(std::cell::Cell::get).unwrap_or(0)
}

#[cfg(not(any(loom, shuttle)))]
fn set_hint(number: usize) {
    // A thread that is ending has none any more, and needs none.
    let _ = HINT.try_with(|hint| hint.set(number));
}

/// In a model, whose threads are one thread of the system.
#[cfg(any(loom, shuttle))]
fn hint() -> usize {
    0
}

#[cfg(any(loom, shuttle))]
fn set_hint(_: usize) {}

impl Registration {
    /// Counted from the first place of the first segment.
    fn number(self) -> usize {
        (FIRST << self.segment) - FIRST + self.place
    }

    fn near(number: usize) -> Registration {
        let segment = (number / FIRST + 1).ilog2() as usize;
        Registration {
            segment,
            place: number + FIRST - (FIRST << segment),
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_given_back_and_taken_again() {
        let registrations = Registrations::new();
        let many: Vec<Registration> = (0..100).map(|r| registrations.claim(r)).collect();
        assert_eq!(registrations.held(), (0..100).collect::<Vec<u64>>());
        for at in &many[10..] {
            registrations.release(*at);
        }
        assert_eq!(registrations.held(), (0..10).collect::<Vec<u64>>());
        registrations.renew(many[0], 50);
        assert_eq!(registrations.held(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 50]);
        // The places that are free are the next ones to be taken.
        for r in 0..90 {
            registrations.claim(r);
        }
        assert!(registrations.segments[6].get().is_none());
    }

    #[test]
    fn places_are_numbered_through_all_segments() {
        for number in 0..1_000 {
            assert_eq!(Registration::near(number).number(), number);
        }
    }

    #[test]
    fn a_place_that_is_shared_is_given_back_by_the_last() {
        let registrations = Registrations::new();
        let place = registrations.claim(5);
        registrations.share(place);
        assert!(registrations.is_shared(place));
        registrations.release(place);
        assert_eq!(registrations.held(), [5]);
        assert!(!registrations.is_shared(place));
        registrations.release(place);
        assert!(registrations.held().is_empty());
    }

    #[test]
    fn only_what_is_not_behind_is_confirmed() {
        let published = AtomicU64::new(7);
        assert!(!Registrations::confirm(6, &published));
        assert!(Registrations::confirm(7, &published));
        assert!(Registrations::confirm(8, &published));
    }
}
