//! An allocator that is watched, for the test files that name this module:
//!
//! - [`counts`]: how much is asked for and given back;
//! - [`ledger`]: whether each marked payload dies exactly once;
//! - [`standstill`]: a thread that is stopped in the middle of its work.
//!
//! Everything is passed on to the system's allocator, so that the sanitizer, which
//! takes the place of that one, sees every allocation as well.

// Each test file uses a part of this.
#![allow(dead_code)]
// For the one impl of `GlobalAlloc`, which is an unsafe trait.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) mod counts;
pub(crate) mod ledger;
pub(crate) mod standstill;

struct Watched;

#[global_allocator]
static HEAP: Watched = Watched;

// SAFETY: every method passes its arguments on to `System`, which keeps the
// contract of `GlobalAlloc`, and answers with what `System` answers; a `realloc`
// that a payload takes part in is an `alloc`, a copy and a `dealloc`, as the
// provided method is. What watches does not allocate, and its one panic needs a
// layout larger than `Layout` allows.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        standstill::pass();
        counts::count(layout.size(), 0);
        if ledger::has_the_size(layout) {
            // `dealloc` reads it, whether or not its owner has filled it.
            // SAFETY: the caller keeps the contract of `alloc`, which is the same.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: the caller keeps the contract of `alloc` for this layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        standstill::pass();
        counts::count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `alloc_zeroed` for this layout.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `new_size`, rounded up to the alignment,
        // does not overflow.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        if ledger::has_the_size(layout) || ledger::has_the_size(new) {
            // SAFETY: the caller promises a `new_size` greater than zero.
            let moved = unsafe { self.alloc(new) };
            if !moved.is_null() {
                let kept = layout.size().min(new_size);
                // SAFETY: both places hold `kept` bytes, and the new one, which has
                // just been handed out, does not overlap with the one in use. The
                // caller promises that `place` came from here with `layout`.
                unsafe {
                    std::ptr::copy_nonoverlapping(place, moved, kept);
                    self.dealloc(place, layout);
                }
            }
            return moved;
        }
        standstill::pass();
        counts::count(new_size, layout.size());
        // SAFETY: the caller keeps the contract of `realloc`, and `place` came
        // from `System` by way of this allocator.
        unsafe { System.realloc(place, layout, new_size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        standstill::pass();
        counts::count(0, layout.size());
        if ledger::has_the_size(layout) {
            // SAFETY: `place` is `layout.size()` bytes that its owner gives back, so
            // that nobody else uses them, and `alloc` has made them zero at first.
            let content = unsafe { std::slice::from_raw_parts(place, layout.size()) };
            ledger::LEDGER.freed(content);
        }
        // SAFETY: the caller keeps the contract of `dealloc`, and `place` came
        // from `System` by way of this allocator.
        unsafe { System.dealloc(place, layout) }
    }
}

/// Tests run one at a time, for the sake of what is counted of the whole process.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}
