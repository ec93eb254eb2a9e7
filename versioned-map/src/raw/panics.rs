//! Values whose `Drop` panics.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::panicking;

/// Calls `work` with all items, even if some calls panic. Resumes the first panic after the last
/// item. Costs nothing unless a call panics.
pub(super) fn all<T>(items: impl Iterator<Item = T>, mut work: impl FnMut(T)) {
    let mut items = items;
    let mut first = None;
    let mut call_all = || {
        // Not `for_each`: if that unwinds, adaptors may be left in an inconsistent state.
        for item in items.by_ref() {
            work(item);
        }
    };
    while let Err(payload) = catch_unwind(AssertUnwindSafe(&mut call_all)) {
        if first.is_none() {
            first = Some(payload);
        } else {
            // The payload may panic when dropped, too.
            std::mem::forget(payload);
        }
    }
    if let Some(payload) = first {
        if panicking() {
            // The thread is already panicking, and a second panic would abort the process.
            std::mem::forget(payload);
        } else {
            resume_unwind(payload);
        }
    }
}

/// Calls `first`, and then `second`, even if `first` panics.
pub(super) fn both(first: impl FnOnce(), second: impl FnOnce()) {
    let (mut first, mut second) = (Some(first), Some(second));
    all(0..2, |step| {
        if step == 0 {
            first.take().into_iter().for_each(|first| first());
        } else {
            second.take().into_iter().for_each(|second| second());
        }
    });
}
