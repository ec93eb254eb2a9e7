//! The records of the threads that have ever been pinned.
//!
//! The process has one list of records. A list for each domain would spare a thread that frees the
//! look at threads that read other domains only, but would cost every reader the search for the
//! record that it has in this domain. A thread that frees looks at all records once for thousands
//! of values; a reader finds its own record behind one thread local, and never looks at the others.
//!
//! A thread takes a record with its first pin, and gives it back for another thread when it ends. A
//! record is never freed, because a thread that frees may go through the list at any time, and so
//! may a forked process.

use std::cell::Cell;
use std::ptr;

use super::barrier;
use super::word::{self, LAST};
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicBool, AtomicIsize, AtomicPtr, AtomicU64};
use crate::sync::{global, thread_local};
use crate::twin::{self, Twin};

/// The state that a thread publishes. It fills a cache line and the adjacent one, which processors
/// fetch together: only its thread writes there, and only a thread that frees looks.
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

/// All records.
struct Threads {
    newest: AtomicPtr<Record>,
    /// About how many records have been given back.
    free: AtomicIsize,
}

global! {
    static THREADS: Threads = Threads {
        newest: AtomicPtr::new(ptr::null_mut()),
        free: AtomicIsize::new(0),
    };
}

thread_local! {
    /// This thread's record. It has no destructor, so that it is accessible as long as the thread
    /// runs.
    static OWN: Cell<Option<&'static Record>> = const { Cell::new(None) };
}

thread_local! {
    static END: End = const { End(Cell::new(None)) };
}

/// Gives the record back when the thread ends.
struct End(Cell<Option<(&'static Threads, &'static Record)>>);

impl Threads {
    /// Returns the list of records; in a model, the list of its present run.
    fn of_now(&'static self) -> &'static Threads {
        self
    }

    fn newest(&self) -> Option<&'static Record> {
        // Acquire: pairs with the Release in `add`.
        // SAFETY: records are never freed, and `newest` stores nothing but null and records.
        unsafe { self.newest.load(Acquire).as_ref() }
    }

    fn all(&self) -> impl Iterator<Item = &'static Record> {
        let skipped = usize::from(twin::is(Twin::SkippedRecord));
        std::iter::successors(self.newest(), |record| record.next).skip(skipped)
    }

    /// Takes a record that was given back, or makes one.
    fn take(&self) -> &'static Record {
        // Relaxed: a thread that misses a free record here makes another one. That happens only
        // while other threads take records and give them back, so that there are never many more
        // records than there are threads at once.
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
                // SAFETY: `Box::into_raw` made it, and it is never freed.
                return unsafe { &*record };
            }
            next = self.newest();
            // SAFETY: as above, and no other thread knows of it yet.
            unsafe {
                (*record).next = next;
            }
        }
    }
}

impl Record {
    /// Returns the record of this thread.
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
            // The thread is about to end, and no destructor gives the record back.
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
        // Relaxed: this thread wrote the word, or `take` has acquired it. A signal handler that
        // comes between this load and the store leaves as many pins as it found.
        let word = self.word.load(Relaxed);
        let word = if word::is_pinned(word) {
            word::deeper(word, first_pin)
        } else {
            word + first_pin
        };
        let order = if twin::is(Twin::RepinnedRelaxed) {
            Relaxed
        } else {
            // Release: pairs with the Acquire in `find_pinned` and `Seen::has_left`: a thread that
            // sees this pin sees that the earlier ones have ended, and so comes after their reads.
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
        if word::is_simple(word) || twin::is(Twin::UnpinnedByFirstGuard) {
            self.store_left(word);
        } else {
            self.leave_others(word);
        }
    }

    #[inline]
    fn store_left(&self, word: u64) {
        let order = if twin::is(Twin::UnpinnedRelaxed) {
            Relaxed
        } else {
            // Release: pairs with the Acquire in `find_pinned` and `Seen::has_left`: the thread's
            // reads come before the freeing.
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
            // The thread has no destructor left that would give the record back.
            let _ = OWN.try_with(|own| own.set(None));
            self.store_left(word);
            self.give_back(THREADS.of_now());
        }
    }

    fn take(&self) -> bool {
        let order = if twin::is(Twin::RecordTakenRelaxed) {
            Relaxed
        } else {
            // Acquire: pairs with the Release in `give_back`: this thread sees the word that the
            // last owner left.
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
        if word::is_pinned(word) && !twin::is(Twin::RecordReleasedPinned) {
            // The pin belongs to a destructor that has yet to run, or to a forgotten guard. The
            // record stays this thread's.
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
            // The model has failed: its atomics are not usable any more.
            return;
        }
        self.come();
    }
}

/// Does early what the end of a thread does, before the thread's other destructors run.
#[cfg(all(test, loom))]
pub(crate) fn begin_to_end() {
    END.with(End::come);
}

/// A reader that was found pinned.
pub(super) struct Seen {
    record: &'static Record,
    word: u64,
}

impl Seen {
    /// Returns whether the reader has left since.
    pub(super) fn has_left(&self) -> bool {
        // Acquire: pairs with the Release in `Record::store_left` and `enter`.
        word::has_left(self.word, self.record.word.load(Acquire))
    }
}

/// A call for work that can be done as soon as a reader has left.
///
/// A thread that ends a read checks it, on a line that it has read from anyway and that changes
/// rarely. So a domain whose owner does nothing for a while still frees what waited for a reader.
/// The call is a hint: it stays until a thread takes it, and no thread has to.
pub struct Awaited {
    /// Null if there is nothing to do.
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
    /// Takes the call, if there is one. The caller's earlier writes happen before whatever follows
    /// here: the thread that takes the call can look for the work afterwards, and misses none of
    /// it.
    pub fn take(&self) {
        if !self.record.load(Relaxed).is_null() {
            // Acquire: pairs with the Release in `set`.
            self.record.swap(ptr::null_mut(), Acquire);
        }
    }

    /// Calls for work that can be done at once.
    pub fn call(&self) {
        // Any record will do. If an ending thread takes a record here, its last pin gives it back.
        let known = OWN.with(Cell::get).or_else(|| THREADS.of_now().newest());
        let record = known.unwrap_or_else(Record::own);
        // In this word no thread is pinned.
        self.set(record, 0);
    }

    pub(super) fn call_after(&self, reader: &Seen) {
        self.set(reader.record, reader.word);
    }

    fn set(&self, record: &'static Record, word: u64) {
        // Relaxed: of two concurrent calls, the word of one may meet the record of the other. Then
        // a thread looks in vain, or later than it could.
        self.word.store(word, Relaxed);
        // Release: pairs with the Acquire in `is_due` and `take`. Acquire: pairs with the Release
        // of another call, which this one replaces: a thread that takes this call has taken both.
        self.record.swap(ptr::from_ref(record).cast_mut(), AcqRel);
    }

    /// Returns whether there is something to do, and the reader has left.
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
        // SAFETY: `set` stored it, and records are never freed.
        let record = unsafe { &*record };
        !word::is_pinned(word) || word::has_left(word, record.word.load(Relaxed))
    }
}

/// Finds the readers that are pinned and may read values of the domain. Call it after the heavy
/// fence.
pub(super) fn find_pinned(first_pin: u64, found: &mut Vec<Seen>) {
    for record in THREADS.all() {
        // Acquire: pairs with the Release in `Record::store_left` and `enter`.
        let word = record.word.load(Acquire);
        if word::may_read(word, first_pin) != twin::is(Twin::WrongDomain) {
            found.push(Seen { record, word });
        }
    }
}

/// Returns the number of records.
#[cfg(test)]
pub(crate) fn count() -> usize {
    THREADS.all().count()
}
