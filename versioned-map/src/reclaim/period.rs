//! What a writer has replaced, until it may be freed.

use std::collections::VecDeque;
use std::process;

use super::barrier;
use super::pin::Domain;
use super::threads::{Awaited, Seen, find_pinned};
use crate::twin::{self, Twin};

/// For how many items room is kept when they have gone.
const ROOM: usize = 256;

/// Owns what has been unlinked in a domain, until no reader can be looking at it.
///
/// A plain value without a lock of its own, which lies behind that of the writer. Whatever is
/// still in it when it is dropped is leaked: nobody knows then whether it is being read.
pub struct Reclaimer<T> {
    domain: Domain,
    /// A process that was forked off has records of threads that it has not got.
    process: u32,
    /// The number of the present period.
    period: u64,
    /// Unlinked in it.
    fresh: Vec<T>,
    /// Unlinked in the period before, whose readers may still be there.
    waiting: Vec<T>,
    /// Those readers.
    readers: Vec<Seen>,
    /// What `advance` was told when that period ended.
    mark: u64,
    /// The same of the last period whose readers have left.
    passed: u64,
    /// Nobody can be looking at these.
    ready: VecDeque<T>,
}

impl<T> Reclaimer<T> {
    /// One for what is unlinked in that domain.
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

    /// Takes over what cannot be found any more by who is pinned from now on.
    #[inline]
    pub fn retire(&mut self, item: T) {
        self.fresh.push(item);
    }

    /// How many have been retired since the period began.
    pub fn retired(&self) -> usize {
        self.fresh.len()
    }

    /// How many have not been taken yet.
    pub fn len(&self) -> usize {
        self.fresh.len() + self.waiting.len() + self.ready.len()
    }

    /// Whether all have been taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The newest mark that no reader is left from: whoever is pinned was so after
    /// [`advance`](Self::advance) had been called with it.
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// The number of the present period, which [`advance`](Self::advance) ends.
    pub fn period(&self) -> u64 {
        self.period
    }

    /// How many periods have passed: no reader is left from them, as far as is known.
    pub fn passed_periods(&self) -> u64 {
        self.period - u64::from(!self.readers.is_empty())
    }

    /// Looks whether the readers have left for whom the period before the present one waits, and
    /// answers whether it waits for nobody any more. Looks at those readers, and at nothing else.
    pub fn settle(&mut self) -> bool {
        self.readers
            .retain(|reader| !reader.has_left() && !twin::is(Twin::FreedTooEarly));
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

    /// Ends the present period, and begins the next one, unless the one before still waits for a
    /// reader. Answers whether it has. `mark` is the caller's name for this moment; it does not
    /// fall.
    ///
    /// Costs the heavy fence (microseconds beside threads that run) and a look at each thread of
    /// the process that has ever been pinned.
    ///
    /// A period whose readers have all left already has passed when this returns.
    pub fn advance(&mut self, mark: u64) -> bool {
        if !self.settle() || self.is_forked() || !barrier::heavy() {
            return false;
        }
        // Whoever is pinned and not found was pinned after the fence, and finds nothing of this.
        std::mem::swap(&mut self.fresh, &mut self.waiting);
        self.mark = mark;
        self.period += 1;
        find_pinned(self.domain.first_pin(), &mut self.readers);
        self.settle();
        true
    }

    /// Calls for whoever comes by: when one of the readers has left whom the period before the
    /// present one waits for, or at once where it waits for nobody.
    pub fn call(&self, awaited: &Awaited) {
        match self.readers.first() {
            Some(reader) => awaited.call_after(reader),
            None => awaited.call(),
        }
    }

    /// Hands out what nobody can be looking at, the oldest first, and at most so many. The caller
    /// drops it, when it has given back its lock. In a process that was forked off there is none.
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

    /// How many, of so many that are handed out next, there are up to the first one that `is_last`.
    pub fn up_to(&self, most: usize, is_last: impl Fn(&T) -> bool) -> usize {
        let last = self.ready.iter().take(most).position(is_last);
        last.map_or(most, |last| last + 1)
    }

    /// How many [`take`](Self::take) would hand out.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Hands out everything, the oldest first. For an owner who knows that there is no reader who
    /// could be looking.
    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        self.readers.clear();
        let ready = std::mem::take(&mut self.ready).into_iter();
        let waiting = std::mem::take(&mut self.waiting);
        ready.chain(waiting).chain(std::mem::take(&mut self.fresh))
    }

    /// Whether this is another process than the one that it was made in. Readers go on there, and
    /// nothing is freed: the threads that were writing or reading do not exist any more.
    pub fn is_forked(&self) -> bool {
        self.process != process::id()
    }
}

impl<T> Drop for Reclaimer<T> {
    fn drop(&mut self) {
        self.drain().for_each(std::mem::forget);
    }
}
