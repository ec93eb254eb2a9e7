//! [`Aftermath`].

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use smallvec::SmallVec;

use super::State;
use super::topic::{LogEntry, Wakers};

/// The work that remains after a commit has released its turn: to wake watches, and to drop
/// the entries that the log has removed. Dropping the `Aftermath` does this work.
///
/// A panic of a waker is caught. A waker may call the store, because the turn is free.
#[derive(Default)]
#[must_use = "drop it when the turn has been given back"]
pub struct Aftermath {
    pub(super) wake: Wakers,
    pub(super) removed: SmallVec<[Arc<LogEntry>; 1]>,
    pub(super) checkpoint: Option<Arc<State>>,
}

impl Drop for Aftermath {
    fn drop(&mut self) {
        for waker in self.wake.drain(..) {
            // A panic of one waker must not keep the others from being called.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                // Dropping the payload may panic as well. The second payload is leaked.
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
