//! A thread that is stopped in the middle of its work.
//!
//! A writer cannot be stopped from outside, at a place that a test chooses. But
//! it calls the allocator, to get memory and to give it back, many times in the
//! course of a commit. There it can be held up: at its first call, at its second,
//! and so on through the whole commit, while the test looks at what the others can
//! do. Other threads pass, and so does this one when it is let go.

use std::cell::Cell;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

/// What a thread that is not to be stopped has left.
const FOR_EVER: u64 = u64::MAX;

thread_local! {
    /// How many calls of the allocator this thread has left before it stops.
    static LEFT: Cell<u64> = const { Cell::new(FOR_EVER) };
}

/// How many threads have been stopped, and how many of them let go.
static STOPPED: AtomicU64 = AtomicU64::new(0);
static LET_GO: AtomicU64 = AtomicU64::new(0);

/// Called by the allocator.
pub(super) fn pass() {
    match LEFT.get() {
        FOR_EVER => {}
        0 => {
            LEFT.set(FOR_EVER);
            let number = STOPPED.fetch_add(1, SeqCst) + 1;
            while LET_GO.load(SeqCst) < number {
                // Sleeping does not allocate.
                thread::sleep(Duration::from_micros(200));
            }
        }
        left => LEFT.set(left - 1),
    }
}

/// Does `work`, and stops in it after `calls` calls of the allocator, until
/// [`let_go`]. Answers whether it came to that.
pub(crate) fn stop_after<R>(calls: u64, work: impl FnOnce() -> R) -> (R, bool) {
    LEFT.set(calls);
    let answer = work();
    let stopped = LEFT.replace(FOR_EVER) == FOR_EVER;
    (answer, stopped)
}

/// Whether a thread stands still.
pub(crate) fn is_reached() -> bool {
    STOPPED.load(SeqCst) > LET_GO.load(SeqCst)
}

/// Lets the thread go that stands still, if there is one.
pub(crate) fn let_go() {
    LET_GO.store(STOPPED.load(SeqCst), SeqCst);
}
