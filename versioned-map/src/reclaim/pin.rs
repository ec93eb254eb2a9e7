//! Domains, and the pins of their readers.

use std::marker::PhantomData;

use super::threads::Record;
use super::word;

/// A group of data: a pin holds up the freeing in its own domain only.
#[derive(Clone, Copy, Debug)]
pub struct Domain {
    first_pin: u64,
}

/// Holds up the freeing of everything that its thread may read. Stays with its thread.
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
    /// Creates a domain.
    pub fn new() -> Domain {
        // An atomic of the standard library: no model has to look at it.
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Domain {
            first_pin: word::first_pin(number),
        }
    }

    /// Pins the thread: what it reaches through shared memory from now on stays until the guard is
    /// dropped, if the domain's owner hands it to a [`Reclaimer`](super::Reclaimer) to free it.
    ///
    /// Costs a store to a line that no other thread writes to. Never waits: there is no lock, no
    /// read-modify-write, and no fence where the kernel has `membarrier(2)`. The first pin of a
    /// thread takes a record for it, and the first one in a process asks the kernel.
    ///
    /// A signal handler may pin after its thread's first pin, until the thread ends.
    ///
    /// # Panics
    ///
    /// Panics if the thread holds 8,388,607 guards already.
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
            // The model has failed: its atomics are not usable any more.
            return;
        }
        self.record.leave();
    }
}
