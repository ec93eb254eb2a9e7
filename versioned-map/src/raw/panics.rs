//! Values that panic when they are dropped.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::panicking;

/// Does something with all items, also where that panics: then the first panic goes on when all
/// has been done. Costs nothing where none does.
pub(super) fn all<T>(items: impl Iterator<Item = T>, mut work: impl FnMut(T)) {
    let mut items = items;
    let mut first = None;
    let mut go_on = || {
        // Not `for_each`: adaptors may be out of step where that unwinds.
        for item in items.by_ref() {
            work(item);
        }
    };
    while let Err(payload) = catch_unwind(AssertUnwindSafe(&mut go_on)) {
        if first.is_none() {
            first = Some(payload);
        } else {
            // It may panic when it is dropped, too.
            std::mem::forget(payload);
        }
    }
    if let Some(payload) = first {
        if panicking() {
            // One panic is under way already, and two of them end the process.
            std::mem::forget(payload);
        } else {
            resume_unwind(payload);
        }
    }
}

/// Does two things, the second also where the first one panics.
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
