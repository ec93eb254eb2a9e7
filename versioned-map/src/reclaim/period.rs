//! The items that a writer has retired, until it may free them.

use std::collections::VecDeque;
use std::process;

use super::barrier;
use super::pin::Domain;
use super::threads::{Awaited, Seen, find_pinned};
use crate::twin::{self, Twin};

/// Empty vectors keep room for this many items at most.
const ROOM: usize = 256;

/// Owns what has been unlinked in a domain, until no reader can be looking at it.
///
/// It has no lock of its own: the writer's lock guards it. Dropping it leaks the items that are
/// still in it, because a reader may be looking at them.
pub struct Reclaimer<T> {
    domain: Domain,
    /// The process that made it. A forked process has records of threads that it does not have.
    process: u32,
    /// The number of the present period.
    period: u64,
    /// Items that were retired in this period.
    fresh: Vec<T>,
    /// Items that were retired in the period before, whose readers may still be there.
    waiting: Vec<T>,
    /// The readers of the period before that may not have left.
    readers: Vec<Seen>,
    /// The argument of the `advance` that ended that period.
    mark: u64,
    /// The mark of the last period whose readers have left.
    passed: u64,
    /// Items that no reader can be looking at.
    ready: VecDeque<T>,
}

impl<T> Reclaimer<T> {
    /// Creates one for what is unlinked in this domain.
    pub fn new(domain: Domain) -> Reclaimer<T> {
        Reclaimer {
            domain,
            process: process::id(),
            period: 0,
            fresh: Vec::new(),
            waiting: Vec::new(),
            readers: Vec::new(),
            mark: 0,
            passed: 0,
            ready: VecDeque::new(),
        }
    }

    /// Takes over an item that a reader who pins from now on cannot find.
    #[inline]
    pub fn retire(&mut self, item: T) {
        self.fresh.push(item);
    }

    /// Returns the number of items that have been retired since the period began.
    pub fn retired(&self) -> usize {
        self.fresh.len()
    }

    /// Returns the number of items that have not been taken yet.
    pub fn len(&self) -> usize {
        self.fresh.len() + self.waiting.len() + self.ready.len()
    }

    /// Returns whether all items have been taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the newest mark that no reader is left from: every reader that is pinned now was
    /// pinned after the call of [`advance`](Self::advance) with this mark.
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// Returns the number of the present period, which [`advance`](Self::advance) ends.
    pub fn period(&self) -> u64 {
        self.period
    }

    /// Returns how many periods have passed: no reader is left from them, as far as is known.
    pub fn passed_periods(&self) -> u64 {
        self.period - u64::from(!self.readers.is_empty())
    }

    /// Checks whether the readers of the period before the present one have left, and returns
    /// whether it waits for none any more. Looks only at those readers.
    pub fn settle(&mut self) -> bool {
        self.readers
            .retain(|reader| !reader.has_left() && !twin::is(Twin::ReadersNotAwaited));
        if !self.readers.is_empty() {
            return false;
        }
        if self.waiting.is_empty() && self.passed == self.mark {
            return true;
        }
        if self.is_forked() {
            return false;
        }
        self.passed = self.mark;
        self.ready.extend(self.waiting.drain(..));
        if self.waiting.capacity() > ROOM {
            self.waiting = Vec::new();
        }
        true
    }

    /// Ends the present period and begins the next one, unless the period before still waits for a
    /// reader. Returns whether it did. `mark` is the caller's name for this moment, and must not
    /// fall.
    ///
    /// Costs the heavy fence (microseconds beside threads that run) and a look at each thread of
    /// the process that has ever been pinned.
    ///
    /// If all readers have left already, the ended period has passed when this returns.
    pub fn advance(&mut self, mark: u64) -> bool {
        if !self.settle() || self.is_forked() || !barrier::heavy() {
            return false;
        }
        // A pinned reader that is not found was pinned after the fence, and finds none of these
        // items.
        std::mem::swap(&mut self.fresh, &mut self.waiting);
        self.mark = mark;
        self.period += 1;
        find_pinned(self.domain.first_pin(), &mut self.readers);
        self.settle();
        true
    }

    /// Sets the call: due when one of the readers has left that the period before the present one
    /// waits for, or at once if it waits for none.
    pub fn call(&self, awaited: &Awaited) {
        match self.readers.first() {
            Some(reader) => awaited.call_after(reader),
            None => awaited.call(),
        }
    }

    /// Hands out up to `most` items that no reader can be looking at, the oldest first. The caller
    /// drops them after it has released its lock. In a forked process there are none.
    pub fn take(&mut self, most: usize) -> impl Iterator<Item = T> {
        let most = if self.ready.is_empty() || self.is_forked() {
            0
        } else {
            most.min(self.ready.len())
        };
        let gives_room_back = most == self.ready.len() && self.ready.capacity() > ROOM;
        let all = gives_room_back.then(|| std::mem::take(&mut self.ready));
        let some = ..if gives_room_back { 0 } else { most };
        all.into_iter().flatten().chain(self.ready.drain(some))
    }

    /// Returns how many of the next `most` items there are up to the first one that `is_last`, or
    /// `most` if there is no such item.
    pub fn up_to(&self, most: usize, is_last: impl Fn(&T) -> bool) -> usize {
        let last = self.ready.iter().take(most).position(is_last);
        last.map_or(most, |last| last + 1)
    }

    /// Returns how many items [`take`](Self::take) can hand out.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Hands out everything, the oldest first. For an owner who knows that no reader can be
    /// looking.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        self.readers.clear();
        let ready = std::mem::take(&mut self.ready).into_iter();
        let waiting = std::mem::take(&mut self.waiting);
        ready.chain(waiting).chain(std::mem::take(&mut self.fresh))
    }

    /// Returns whether this is a forked process, not the one that made the reclaimer. Readers go on
    /// there, and nothing is freed: the threads that were writing or reading do not exist any more.
    pub fn is_forked(&self) -> bool {
        self.process != process::id()
    }
}

impl<T> Drop for Reclaimer<T> {
    fn drop(&mut self) {
        self.drain().for_each(std::mem::forget);
    }
}
