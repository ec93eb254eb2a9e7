//! Snapshots that have gone, for which something was kept.

use std::sync::{Mutex as PlainMutex, TryLockError};

use crate::sync::atomic::AtomicBool;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Their revisions, until the writer takes them. Nobody waits here: in a process that was forked off,
/// whoever had the lock may not exist.
pub(super) struct Departed {
    revisions: PlainMutex<Vec<u64>>,
    /// Whether some could not be noted.
    is_lost: AtomicBool,
}

impl Departed {
    pub(super) fn new() -> Departed {
        Departed {
            revisions: PlainMutex::default(),
            is_lost: AtomicBool::new(false),
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Vec<u64>) -> T) -> Option<T> {
        match self.revisions.try_lock() {
            Ok(mut revisions) => Some(change(&mut revisions)),
            // What a panic has left there is as good as any.
            Err(TryLockError::Poisoned(revisions)) => Some(change(&mut revisions.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Notes one; then whoever has the turn next is to look.
    pub(super) fn note(&self, revision: u64) {
        if self.with(|revisions| revisions.push(revision)).is_none() {
            // Release: pairs with the Acquire in `take`: the place has been given back.
            self.is_lost.store(true, Release);
        }
    }

    /// Takes them; `None` where that may not be all. Whoever notes one meanwhile takes the turn afterwards,
    /// or calls for somebody.
    pub(super) fn take(&self) -> Option<Vec<u64>> {
        // Acquire: pairs with the Release in `note`.
        if self.is_lost.load(Relaxed) && self.is_lost.swap(false, Acquire) {
            return None;
        }
        Some(self.with(std::mem::take).unwrap_or_default())
    }

    /// Has others find it busy.
    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) fn keep_busy(&self) -> impl Drop {
        self.revisions.lock().unwrap()
    }
}
