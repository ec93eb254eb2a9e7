//! How much is asked for and given back.
//!
//! A thread has counts of its own, which nobody else disturbs; the counts of the
//! process see what the thread of a `WorkerStore` does as well, and whatever the
//! test harness happens to do meanwhile, so that what is asked of them leaves a
//! little room.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::SeqCst;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    /// Calls that got memory.
    pub(crate) allocations: i64,
    /// Bytes that were asked for.
    pub(crate) allocated: i64,
    /// Bytes that were asked for and have not been given back.
    pub(crate) live: i64,
}

impl Counts {
    fn since(self, before: Counts) -> Counts {
        Counts {
            allocations: self.allocations - before.allocations,
            allocated: self.allocated - before.allocated,
            live: self.live - before.live,
        }
    }
}

thread_local! {
    static OWN: Cell<Counts> = const {
        Cell::new(Counts { allocations: 0, allocated: 0, live: 0 })
    };
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

static ALLOCATIONS: AtomicI64 = AtomicI64::new(0);
static ALLOCATED: AtomicI64 = AtomicI64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);
/// The most that `LIVE` has been.
static PEAK: AtomicI64 = AtomicI64::new(0);

pub(super) fn count(got: usize, gave_back: usize) {
    let (got, gave_back) = (signed(got), signed(gave_back));
    // The counts have no destructor, so they are there until the thread is gone.
    OWN.with(|own| {
        let counts = own.get();
        own.set(Counts {
            allocations: counts.allocations + i64::from(got > 0),
            allocated: counts.allocated + got,
            live: counts.live + got - gave_back,
        });
    });
    CALLS.set(CALLS.get() + 1);
    ALLOCATIONS.fetch_add(i64::from(got > 0), SeqCst);
    ALLOCATED.fetch_add(got, SeqCst);
    let change = got - gave_back;
    PEAK.fetch_max(LIVE.fetch_add(change, SeqCst) + change, SeqCst);
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).expect("no allocation is larger than the address space")
}

/// What `work` does on this thread.
pub(crate) fn here<R>(work: impl FnOnce() -> R) -> Counts {
    let before = OWN.get();
    // Dropped before counting ends.
    drop(black_box(work()));
    OWN.get().since(before)
}

/// What happens in the process while `work` runs.
pub(crate) fn everywhere<R>(work: impl FnOnce() -> R) -> Counts {
    let counts = || Counts {
        allocations: ALLOCATIONS.load(SeqCst),
        allocated: ALLOCATED.load(SeqCst),
        live: LIVE.load(SeqCst),
    };
    let before = counts();
    drop(black_box(work()));
    counts().since(before)
}

/// The bytes of the process that were asked for and have not been given back.
pub(crate) fn live() -> i64 {
    LIVE.load(SeqCst)
}

/// By how much the bytes of the process exceeded at most, while `work` ran, those before it;
/// and what it answers.
pub(crate) fn peak<R>(work: impl FnOnce() -> R) -> (i64, R) {
    let before = live();
    PEAK.store(before, SeqCst);
    let answer = work();
    (PEAK.load(SeqCst) - before, answer)
}

/// How often this thread has called the allocator, to get or to give back.
pub(crate) fn calls_of_this_thread() -> u64 {
    CALLS.get()
}

/// What the test harness may do while a test runs, in bytes.
pub(crate) const NOISE: i64 = 16 * 1024;
