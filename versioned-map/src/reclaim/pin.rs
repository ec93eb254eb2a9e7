//! Domains, and the pins of their readers.

use std::marker::PhantomData;

use super::threads::Record;
use super::word;

/// What is read and freed together: a pin holds up what is freed in its own domain only.
#[derive(Clone, Copy, Debug)]
pub struct Domain {
    first_pin: u64,
}

/// Holds up the freeing of whatever its thread may read. Stays with its thread.
#[must_use = "a pin ends when it is dropped"]
pub struct Guard {
    record: &'static Record,
    _of_this_thread: PhantomData<*mut ()>,
}

impl Default for Domain {
    fn default() -> Domain {
        Domain::new()
    }
}

impl Domain {
    /// Another one.
    pub fn new() -> Domain {
        // No model has to look at this one.
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Domain {
            first_pin: word::first_pin(number),
        }
    }

    /// Pins the thread: whatever it comes to from now on by way of what is shared, and that the
    /// domain's owner hands to a [`Reclaimer`](super::Reclaimer), stays until the guard is
    /// dropped.
    ///
    /// A store to a line that no other thread writes to, and nothing that waits: no lock, no fence
    /// where the kernel has `membarrier(2)`, no read-modify-write. The first pin of a thread
    /// takes a record for it, and the first one in a process asks the kernel.
    ///
    /// A signal handler may pin after its thread's first pin, until the thread ends.
    ///
    /// # Panics
    ///
    /// If the thread holds 8,388,607 guards already.
    #[inline]
    pub fn pin(self) -> Guard {
        let record = Record::own();
        record.enter(self.first_pin);
        Guard {
            record,
            _of_this_thread: PhantomData,
        }
    }

    pub(super) const fn first_pin(self) -> u64 {
        self.first_pin
    }
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        if cfg!(loom) && std::thread::panicking() {
            // The model has failed: its atomics cannot be used any more.
            return;
        }
        self.record.leave();
    }
}
