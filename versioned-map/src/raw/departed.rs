//! Departed snapshots for which versions were kept.

use std::sync::{Mutex as PlainMutex, TryLockError};

use crate::sync::atomic::AtomicBool;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The revisions of such snapshots, until the writer takes them. No thread waits for the lock: in a
/// forked process, the thread that held it may not exist.
pub(super) struct Departed {
    revisions: PlainMutex<Vec<u64>>,
    /// Whether a revision could not be noted.
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
            // A panic leaves the list valid.
            Err(TryLockError::Poisoned(revisions)) => Some(change(&mut revisions.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Notes a revision. The next holder of the turn takes it.
    pub(super) fn note(&self, revision: u64) {
        if self.with(|revisions| revisions.push(revision)).is_none() {
            // Release: pairs with the Acquire in `take`, after which the writer sees that the
            // reader slot was released.
            self.is_lost.store(true, Release);
        }
    }

    /// Takes the revisions; returns `None` if some may be missing. A thread that notes one at the
    /// same time takes the turn afterwards, or asks another thread to do so.
    pub(super) fn take(&self) -> Option<Vec<u64>> {
        // Acquire: pairs with the Release in `note`.
        if self.is_lost.load(Relaxed) && self.is_lost.swap(false, Acquire) {
            return None;
        }
        Some(self.with(std::mem::take).unwrap_or_default())
    }

    /// Makes `note` and `take` find the lock taken.
    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) fn keep_busy(&self) -> impl Drop {
        self.revisions.lock().unwrap()
    }
}
