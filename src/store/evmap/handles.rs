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

use super::map::{ReadHandle, View};
use crate::model::error::{Result, StoreError};
use crate::sync::{Mutex, ThreadLocal};

pub(super) struct Handles {
    of_threads: ThreadLocal<Own>,
    /// What they are cloned from; never read through.
    seed: Mutex<ReadHandle>,
}

// Of the system's threads, in a model as well: there they are all one, which ends
// after the models. How handles change hands at the end of a thread is not modelled.
// That destructors of thread locals run in the reverse order of their making is
// promised nowhere. Were it otherwise, a read from a destructor would find the handle
// of its thread where that of the next one may be by now, or make the first read of
// its thread after `thread_local` has given up the thread's number, and panic.
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

    /// This thread's handle, unless it has none yet, or has given it back because
    /// it is ending.
    #[inline]
    pub(super) fn of_thread(&self) -> Option<&Own> {
        self.of_threads.get()
    }

    /// Whether this thread is in the destructor of a thread local, where it can
    /// have no handle of its own any more: a read makes one, and drops it.
    pub(super) fn is_thread_ending() -> bool {
        ENDING.get()
    }

    pub(super) fn make(&self) -> Own {
        let seed = self.seed.lock().unwrap_or_else(PoisonError::into_inner);
        Own {
            handle: seed.clone(),
            inside: Cell::new(0),
        }
    }

    pub(super) fn make_for_thread(&self) -> &Own {
        let handle = self.of_threads.get_or(|| self.make());
        // After `get_or` has made its own note of this thread: destructors run
        // from the last to the first, so that `ENDING` is set before the handle
        // is given back.
        END.with(|_| ());
        handle
    }
}

/// The handle of one thread.
pub(super) struct Own {
    handle: ReadHandle,
    /// How many reads this thread is inside of.
    inside: Cell<usize>,
}

impl Own {
    /// Reads the state that is published, for as long as `read` runs.
    #[inline]
    pub(super) fn read<R>(&self, read: impl FnOnce(&View<'_>) -> R) -> Result<R> {
        // Nothing is behind the pointer once the store has been closed.
        let guard = self.handle.enter().ok_or(StoreError::Closed)?;
        let _inside = Inside::enter(&self.inside);
        Ok(read(&View::new(&guard)))
    }

    /// Refuses to go on inside a read.
    pub(super) fn refuse_inside(&self) -> Result<()> {
        match self.inside.get() {
            0 => Ok(()),
            _ => Err(StoreError::Reentrant),
        }
    }
}

/// Inside a read, until this is dropped.
struct Inside<'a>(&'a Cell<usize>);

impl<'a> Inside<'a> {
    #[inline]
    fn enter(depth: &'a Cell<usize>) -> Inside<'a> {
        depth.set(depth.get() + 1);
        Inside(depth)
    }
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::{Arc, Barrier};
    use std::thread;

    use super::super::EvmapStore;
    use crate::store::RegistryStore;

    fn handles(store: &mut Arc<EvmapStore>) -> usize {
        let store = Arc::get_mut(store).expect("all threads have ended");
        store.handles.of_threads.iter_mut().count()
    }

    #[test]
    fn ten_thousand_short_lived_threads_share_a_few_handles() {
        const AT_ONCE: usize = 20;
        let mut store = Arc::new(EvmapStore::new());
        for _ in 0..10_000 / AT_ONCE {
            let all = Barrier::new(AT_ONCE);
            thread::scope(|scope| {
                for _ in 0..AT_ONCE {
                    scope.spawn(|| {
                        // So that they really are there at once.
                        all.wait();
                        store.stats().expect("it is open");
                        all.wait();
                    });
                }
            });
        }
        // A scope ends with the work of its threads, a little before they end
        // themselves: the next ones may find some handles still taken. And other
        // tests run beside this one, whose threads have numbers as well.
        let made = handles(&mut store);
        assert!((AT_ONCE..1_000).contains(&made), "{made} handles");
    }

    #[test]
    fn a_thread_has_one_handle_for_each_store() {
        let mut stores = [(); 3].map(|()| Arc::new(EvmapStore::new()));
        for _ in 0..10 {
            for store in &stores {
                store.stats().expect("it is open");
                store.clear().expect("nothing is read");
            }
        }
        for store in &mut stores {
            assert_eq!(handles(store), 1);
        }
    }
}
