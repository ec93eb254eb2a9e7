//! An allocator that counts its calls, while a count is in progress.
//!
//! It forwards every call to another allocator. Times and memory are measured by the same program,
//! so that both measure the same machine code. While nothing counts, an allocation costs one more
//! load of a flag that never changes, and stays in the nearest cache.
//!
//! It counts requested bytes, of all threads together: what an allocator keeps beyond that, to
//! round up or to reuse, is not due to the store.

// For the one impl of `GlobalAlloc`, which is an unsafe trait.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whether a count is in progress. Relaxed, like all counts: the thread that begins the counted
/// work sets it first, and starting a thread synchronises with it.
static ON: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicI64 = AtomicI64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

/// The global allocator.
#[global_allocator]
static ALLOCATOR: CountingAllocator<mimalloc::MiMalloc> = CountingAllocator(mimalloc::MiMalloc);

/// A global allocator that forwards to `A`, and counts while a [`AllocationCount`] exists.
#[derive(Debug, Default)]
struct CountingAllocator<A>(A);

#[inline]
fn count(got: usize, gave_back: usize) {
    if ON.load(Relaxed) {
        count_in_full(got, gave_back);
    }
}

#[cold]
#[inline(never)]
fn count_in_full(got: usize, gave_back: usize) {
    // No allocation is larger than half of the address space.
    let (got, gave_back) = (got.cast_signed(), gave_back.cast_signed());
    let change = got as i64 - gave_back as i64;
    let live = LIVE.fetch_add(change, Relaxed) + change;
    if got > 0 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        PEAK.fetch_max(live, Relaxed);
    }
}

// SAFETY: every method passes its arguments on to the inner allocator, which keeps
// the contract of `GlobalAlloc`, and answers with what that answers. `count` does
// not allocate and does not panic.
unsafe impl<A: GlobalAlloc> GlobalAlloc for CountingAllocator<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc` for this layout.
        unsafe { self.0.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc_zeroed` for this layout.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size, layout.size());
        // SAFETY: the caller keeps the contract of `realloc`, and `place` came from
        // the inner allocator by way of this one.
        unsafe { self.0.realloc(place, layout, new_size) }
    }

    #[inline]
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`, and `place` came from
        // the inner allocator by way of this one.
        unsafe { self.0.dealloc(place, layout) }
    }
}

/// Counts from [`begin`](AllocationCount::begin) until it is dropped. There is one at a time in a process;
/// others wait for it.
#[derive(Debug)]
pub(crate) struct AllocationCount {
    live: i64,
    allocations: i64,
    _alone: MutexGuard<'static, ()>,
}

impl AllocationCount {
    /// Starts counting.
    pub(crate) fn begin() -> AllocationCount {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        ON.store(true, Relaxed);
        let live = LIVE.load(Relaxed);
        PEAK.store(live, Relaxed);
        AllocationCount { live, allocations: ALLOCATIONS.load(Relaxed), _alone: alone }
    }

    /// Returns the number of allocating calls so far.
    pub(crate) fn allocations(&self) -> i64 {
        ALLOCATIONS.load(Relaxed) - self.allocations
    }

    /// Returns the bytes that were requested since the beginning and not given back. Negative if
    /// more was given back.
    pub(crate) fn live(&self) -> i64 {
        LIVE.load(Relaxed) - self.live
    }

    /// Returns the maximum of live bytes since the beginning.
    pub(crate) fn peak(&self) -> i64 {
        PEAK.load(Relaxed) - self.live
    }
}

impl Drop for AllocationCount {
    fn drop(&mut self) {
        ON.store(false, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_counted() {
        let count = AllocationCount::begin();
        let kept = vec![0_u8; 1 << 28];
        drop(std::hint::black_box(vec![0_u8; 1 << 29]));
        // Other tests allocate and free memory meanwhile, but not as much.
        assert!(count.allocations() >= 2);
        assert!((7 << 25..9 << 25).contains(&count.live()), "{}", count.live());
        assert!(count.peak() >= 23 << 25);
        drop(kept);
        assert!(count.live() < 1 << 25);
    }
}
