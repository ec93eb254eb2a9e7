//! Garbage that is freed after the turn has ended: here callers' `Drop`s run.

use std::cell::Cell;
use std::iter;
use std::mem::{ManuallyDrop, take};

use super::engine::{Engine, Owner, has_failed};
use super::garbage::Garbage;
use super::panics;
use crate::sync::thread_local;

/// What a thread has to free in addition to what it is freeing; `None` unless it is freeing.
type Others = ManuallyDrop<Option<Vec<Garbage>>>;

thread_local! {
    /// It has no destructor, so that it exists for as long as the thread runs. It owns memory only
    /// while the thread is freeing.
    static OTHERS: Cell<Others> = const { Cell::new(ManuallyDrop::new(None)) };
}

/// Garbage that is freed when this is dropped, after the lock has been released.
///
/// A caller's `Drop` may write and read, and so obtain more garbage. It leaves that to the outer
/// call on the same thread, which is already freeing: otherwise values would be dropped within one
/// another, to any depth, and the stack would overflow.
pub(super) struct Leftovers<'e, O: Owner> {
    engine: &'e Engine<O>,
    /// No thread can reach it any more.
    pub(super) garbage: Vec<Garbage>,
}

/// Marks the end of the freeing, also when that unwinds.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        OTHERS.with(|others| others.set(ManuallyDrop::new(None)));
    }
}

fn take_others() -> Option<Vec<Garbage>> {
    OTHERS.with(|others| ManuallyDrop::into_inner(others.take()))
}

fn set_others(garbage: Vec<Garbage>) {
    OTHERS.with(|others| others.set(ManuallyDrop::new(Some(garbage))));
}

impl<O: Owner> Leftovers<'_, O> {
    #[inline]
    pub(super) fn new(engine: &Engine<O>) -> Leftovers<'_, O> {
        Leftovers {
            engine,
            garbage: Vec::new(),
        }
    }

    #[cold]
    fn free(&mut self) {
        let garbage = take(&mut self.garbage);
        if let Some(mut others) = take_others() {
            others.extend(garbage);
            set_others(others);
            return;
        }
        set_others(Vec::new());
        let _end = End;
        let mut stash = self.engine.stash();
        let mut own = garbage.into_iter();
        let all = iter::from_fn(|| {
            own.next().or_else(|| {
                own = take_others()?.into_iter();
                set_others(Vec::new());
                own.next()
            })
        });
        panics::all(all, |garbage| {
            // SAFETY: the reclaimer has handed it out, so no thread can reach it.
            unsafe { garbage.free(stash.as_deref_mut()) };
        });
    }
}

impl<O: Owner> Drop for Leftovers<'_, O> {
    #[inline]
    fn drop(&mut self) {
        if !self.garbage.is_empty() && !has_failed() {
            self.free();
        }
    }
}
