//! A read handle for each thread.
//!
//! A handle can be used by one thread at a time. Each thread that reads gets one
//! at its first read, which is kept in the store; when the thread ends, the next
//! thread that comes takes it over. So there are never more handles than there
//! were threads at once, and they go with the store.
//!
//! Making a handle and dropping one takes a lock of the map's, which a writer
//! holds while it waits for readers. A thread that did so inside a read could
//! wait for a writer that waits for it, so a handle is made before its thread's
//! first read, and dropped with the store, which nobody then reads.
//! (`models_twin_a_handle_made_inside_a_read_is_rejected`, in [`super`], is that
//! deadlock.)

use std::cell::Cell;
use std::sync::PoisonError;

use super::map::ReadHandle;
use crate::sync::{Mutex, ThreadLocal};

pub(super) struct Handles {
    of_threads: ThreadLocal<ReadHandle>,
    /// What they are cloned from; never read through.
    seed: Mutex<ReadHandle>,
}

// Of the system's threads, in a model as well: there they are all one, which ends
// after the models. How handles change hands at the end of a thread is not modelled.
thread_local! {
    /// Whether this thread is ending, and has given its handles back.
    static ENDING: Cell<bool> = const { Cell::new(false) };
    static END: End = const { End };
}

/// Notes that its thread is ending.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        ENDING.set(true);
    }
}

impl Handles {
    pub(super) fn new(seed: ReadHandle) -> Handles {
        Handles {
            of_threads: ThreadLocal::new(),
            seed: Mutex::new(seed),
        }
    }

    /// Whether a read makes a handle of its own, because its thread is ending.
    #[inline]
    pub(super) fn are_short_lived() -> bool {
        ENDING.get()
    }

    /// Calls `read` with this thread's handle.
    #[inline]
    pub(super) fn with<R>(&self, read: impl FnOnce(&ReadHandle) -> R) -> R {
        if Handles::are_short_lived() {
            // In the destructor of a thread local: this thread's handle may
            // serve another one by now.
            return read(&self.make());
        }
        match self.of_threads.get() {
            Some(handle) => read(handle),
            None => read(self.make_for_thread()),
        }
    }

    #[cold]
    pub(super) fn make(&self) -> ReadHandle {
        let seed = self.seed.lock().unwrap_or_else(PoisonError::into_inner);
        seed.clone()
    }

    #[cold]
    fn make_for_thread(&self) -> &ReadHandle {
        let handle = self.of_threads.get_or(|| self.make());
        // After `get_or` has made its own note of this thread: destructors run
        // from the last to the first, so that `ENDING` is set before the handle
        // is given back.
        END.with(|_| ());
        handle
    }
}
