//! [`Aftermath`].

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use smallvec::SmallVec;

use super::State;
use super::topic::{Entry, Wakers};

/// What is left to do when a commit has given its turn back: waking watches, and dropping
/// what the log has forgotten. Done when it is dropped.
///
/// A waker that panics is caught; one that calls the store finds its turn free.
#[derive(Default)]
#[must_use = "drop it when the turn has been given back"]
pub struct Aftermath {
    pub(super) wake: Wakers,
    pub(super) forgotten: SmallVec<[Arc<Entry>; 1]>,
    pub(super) checkpoint: Option<Arc<State>>,
}

impl Drop for Aftermath {
    fn drop(&mut self) {
        for waker in self.wake.drain(..) {
            // What a waker does is its own; the others are to be woken.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                // Dropping it may panic as well, with what is left alone then.
                if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                    mem::forget(again);
                }
            }
        }
    }
}

impl std::fmt::Debug for Aftermath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aftermath")
            .field("wake", &self.wake.len())
            .finish_non_exhaustive()
    }
}
