//! The records of the threads that have ever been pinned.
//!
//! There is one list for the process. A list for each domain would spare those who free a look at
//! threads that read other domains only, and cost every reader the search for the record that it
//! has in this one. Who frees looks at all of them once for thousands of values; a reader finds
//! its own behind one thread local, and never looks at the others.
//!
//! A record is taken with its thread's first pin, and given back when the thread ends, for the
//! next one to come. It is never freed: who frees may go through the list at any time, and so may
//! a process that was forked.

use std::cell::Cell;
use std::ptr;

use super::barrier;
use super::word::{self, LAST};
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicBool, AtomicIsize, AtomicPtr, AtomicU64};
use crate::sync::{global, thread_local};
use crate::twin::{self, Twin};

/// What a thread says of itself. It has a line of its own, and the one beside it, which processors
/// fetch together: nobody but its thread writes there, and only who frees looks.
#[repr(align(128))]
pub(super) struct Record {
    /// See [`word`].
    word: AtomicU64,
    is_taken: AtomicBool,
    next: Option<&'static Record>,
}

// Models have larger atomics.
#[cfg(not(any(loom, shuttle)))]
const _: () = assert!(size_of::<Record>() == 128 && align_of::<Record>() == 128);

/// All of them.
struct Threads {
    newest: AtomicPtr<Record>,
    /// About how many have been given back.
    free: AtomicIsize,
}

global! {
    static THREADS: Threads = Threads {
        newest: AtomicPtr::new(ptr::null_mut()),
        free: AtomicIsize::new(0),
    };
}

thread_local! {
    /// This thread's. It has no destructor, so that it can be asked for as long as the thread runs.
    static OWN: Cell<Option<&'static Record>> = const { Cell::new(None) };
}

thread_local! {
    static END: End = const { End(Cell::new(None)) };
}

/// Gives the record back when the thread ends.
struct End(Cell<Option<(&'static Threads, &'static Record)>>);

impl Threads {
    /// In a model, that of its present run.
    fn of_now(&'static self) -> &'static Threads {
        self
    }

    fn newest(&self) -> Option<&'static Record> {
        // Acquire: pairs with the Release in `add`.
        // SAFETY: records are never freed, and nothing else is ever stored there.
        unsafe { self.newest.load(Acquire).as_ref() }
    }

    fn all(&self) -> impl Iterator<Item = &'static Record> {
        let skipped = usize::from(twin::is(Twin::SkippedRecord));
        std::iter::successors(self.newest(), |record| record.next).skip(skipped)
    }

    /// Takes a record that was given back, or makes one.
    fn take(&self) -> &'static Record {
        // Relaxed: who misses one here makes another one. That can happen only while others take
        // and give back, so that there are never many more than threads at once.
        if self.free.fetch_sub(1, Relaxed) > 0
            && let Some(record) = self.all().find(|record| record.take())
        {
            return record;
        }
        self.free.fetch_add(1, Relaxed);
        self.add()
    }

    fn add(&self) -> &'static Record {
        let mut next = self.newest();
        let record = Box::into_raw(Box::new(Record {
            word: AtomicU64::new(0),
            is_taken: AtomicBool::new(true),
            next,
        }));
        loop {
            let before = next.map_or(ptr::null_mut(), |next| ptr::from_ref(next).cast_mut());
            // Release: pairs with the Acquire in `newest`.
            let is_added = self
                .newest
                .compare_exchange(before, record, Release, Relaxed)
                .is_ok();
            if is_added {
                // SAFETY: it was made by `Box::into_raw`, and is never freed.
                return unsafe { &*record };
            }
            next = self.newest();
            // SAFETY: as above, and nobody else knows of it yet.
            unsafe {
                (*record).next = next;
            }
        }
    }
}

impl Record {
    /// That of this thread.
    #[inline]
    pub(super) fn own() -> &'static Record {
        match OWN.with(Cell::get) {
            Some(own) => own,
            None => Record::first_own(),
        }
    }

    #[cold]
    fn first_own() -> &'static Record {
        barrier::ask();
        let threads = THREADS.of_now();
        let record = threads.take();
        let end = END.try_with(|end| end.0.set(Some((threads, record))));
        if end.is_err() {
            // The thread is about to end, and nobody will be asked when it does.
            let word = record.word.load(Relaxed);
            // Release: as in `enter`.
            record.word.store(word | LAST, Release);
        }
        OWN.with(|own| own.set(Some(record)));
        record
    }

    /// Notes one more pin.
    #[inline]
    pub(super) fn enter(&self, first_pin: u64) {
        // Relaxed: this thread's own, or seen by `take`. A signal handler that comes between this
        // and the store leaves as many pins as it has found.
        let word = self.word.load(Relaxed);
        let word = if word::is_pinned(word) {
            word::deeper(word, first_pin)
        } else {
            word + first_pin
        };
        let order = if twin::is(Twin::EnteredRelaxed) {
            Relaxed
        } else {
            // Release: pairs with the Acquire in `find_pinned` and `Seen::has_left`: who sees this
            // pin sees that the ones before have ended, and that comes behind all their reading.
            Release
        };
        self.word.store(word, order);
        barrier::light();
    }

    /// Notes one pin less.
    #[inline]
    pub(super) fn leave(&self) {
        // Relaxed: as in `enter`.
        let word = self.word.load(Relaxed);
        if word::is_simple(word) || twin::is(Twin::LeftFirst) {
            self.store_left(word);
        } else {
            self.leave_others(word);
        }
    }

    #[inline]
    fn store_left(&self, word: u64) {
        let order = if twin::is(Twin::LeftRelaxed) {
            Relaxed
        } else {
            // Release: pairs with the Acquire in `find_pinned` and `Seen::has_left`: what was
            // read comes before it is freed.
            Release
        };
        self.word.store(word::left(word), order);
    }

    #[cold]
    fn leave_others(&self, word: u64) {
        let inside = word::shallower(word);
        if word::is_pinned(inside) {
            // Release: as in `enter`.
            self.word.store(inside, Release);
        } else {
            // The thread has no destructor any more that would give it back.
            let _ = OWN.try_with(|own| own.set(None));
            self.store_left(word);
            self.give_back(THREADS.of_now());
        }
    }

    fn take(&self) -> bool {
        let order = if twin::is(Twin::TakenRelaxed) {
            Relaxed
        } else {
            // Acquire: pairs with the Release in `give_back`: the word is as it was left.
            Acquire
        };
        !self.is_taken.load(Relaxed)
            && self
                .is_taken
                .compare_exchange(false, true, order, Relaxed)
                .is_ok()
    }

    fn give_back(&self, threads: &Threads) {
        // Release: pairs with the Acquire in `take`.
        self.is_taken.store(false, Release);
        // Relaxed: see `Threads::take`.
        threads.free.fetch_add(1, Relaxed);
    }
}

impl End {
    fn come(&self) {
        let Some((threads, record)) = self.0.take() else {
            return;
        };
        // Relaxed: this thread's own.
        let word = record.word.load(Relaxed);
        if word::is_pinned(word) && !twin::is(Twin::GivenBackPinned) {
            // By a destructor that has yet to run, or for good. It stays this thread's.
            // Release: as in `Record::enter`.
            record.word.store(word | LAST, Release);
        } else {
            let _ = OWN.try_with(|own| own.set(None));
            record.give_back(threads);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if cfg!(loom) && std::thread::panicking() {
            // The model has failed: its atomics cannot be used any more.
            return;
        }
        self.come();
    }
}

/// Does what happens at the end of a thread before its other destructors run.
#[cfg(all(test, loom))]
pub(crate) fn begin_to_end() {
    END.with(End::come);
}

/// A reader who was found to be pinned.
pub(super) struct Seen {
    record: &'static Record,
    word: u64,
}

impl Seen {
    /// Whether it has left since.
    pub(super) fn has_left(&self) -> bool {
        // Acquire: pairs with the Release in `Record::store_left` and `enter`.
        word::has_left(self.word, self.record.word.load(Acquire))
    }
}

/// Something is left to do for whoever comes by, as soon as a reader has left.
///
/// Whoever lets go looks here, at a line that it has read from anyway and that changes rarely, so
/// that a domain whose owner does nothing for a while is not left with what waited for a reader.
/// Nobody has to come: what is said here is a hint, and stays until somebody does.
pub struct Awaited {
    /// Null where there is nothing to do.
    record: AtomicPtr<Record>,
    word: AtomicU64,
}

impl Default for Awaited {
    fn default() -> Awaited {
        Awaited {
            record: AtomicPtr::new(ptr::null_mut()),
            word: AtomicU64::new(0),
        }
    }
}

impl Awaited {
    /// Takes the call, if there is one. Who has called has done so before whatever comes next here:
    /// what is left to do can be looked for afterwards, and none of it is missed.
    pub fn take(&self) {
        if !self.record.load(Relaxed).is_null() {
            // Acquire: pairs with the Release in `set`.
            self.record.swap(ptr::null_mut(), Acquire);
        }
    }

    /// Something is left to do at once.
    pub fn call(&self) {
        // Any record will do. One that is taken by a thread which is about to end goes with its last pin.
        let known = OWN.with(Cell::get).or_else(|| THREADS.of_now().newest());
        let record = known.unwrap_or_else(Record::own);
        // A word in which nobody is pinned.
        self.set(record, 0);
    }

    pub(super) fn call_after(&self, reader: &Seen) {
        self.set(reader.record, reader.word);
    }

    fn set(&self, record: &'static Record, word: u64) {
        // Relaxed: of two calls at once the word of one may meet the record of the other, which
        // makes for a look in vain, or for one that comes later.
        self.word.store(word, Relaxed);
        // Release: pairs with the Acquire in `is_due` and `take`. Acquire: pairs with the Release of
        // another call, which this one takes the place of: whoever takes this has taken both.
        self.record.swap(ptr::from_ref(record).cast_mut(), AcqRel);
    }

    /// Whether there is something to do, and the reader has left.
    #[inline]
    pub fn is_due(&self) -> bool {
        // Acquire: pairs with the Release in `set`.
        let record = self.record.load(Acquire);
        !record.is_null() && self.has_left(record)
    }

    #[cold]
    fn has_left(&self, record: *const Record) -> bool {
        // Relaxed: see `set`.
        let word = self.word.load(Relaxed);
        // SAFETY: `set` has stored it, and records are never freed.
        let record = unsafe { &*record };
        !word::is_pinned(word) || word::has_left(word, record.word.load(Relaxed))
    }
}

/// Finds who is pinned, and may read values of the domain. To be asked after the heavy fence.
pub(super) fn find_pinned(first_pin: u64, found: &mut Vec<Seen>) {
    for record in THREADS.all() {
        // Acquire: pairs with the Release in `Record::store_left` and `enter`.
        let word = record.word.load(Acquire);
        if word::may_read(word, first_pin) != twin::is(Twin::WrongDomain) {
            found.push(Seen { record, word });
        }
    }
}

/// How many records there are.
#[cfg(test)]
pub(crate) fn count() -> usize {
    THREADS.all().count()
}
