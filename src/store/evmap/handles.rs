//! A read handle for each thread.
//!
//! A handle can be used by one thread at a time. Each thread takes one at its first
//! read of a store and keeps it. When the thread ends, it puts the handle into the
//! store's pool, where the next thread finds it. So there are never more handles than
//! there were threads at once. The pool drops its handles with the store; a thread
//! drops those of stores that have gone when it takes new ones, or ends.
//!
//! Making a handle and dropping one takes a lock of the map's, which a writer
//! holds while it waits for readers. A thread that did so inside a read could
//! wait for a writer that waits for it, so a thread takes its handle before its
//! first read, and only the handles of a store that has gone are dropped.
//! (`models_twin_a_handle_made_inside_a_read_is_rejected`, in [`super`], is that
//! deadlock.)
//!
//! # When a thread ends
//!
//! Destructors of thread locals run in an order that nobody promises, and may read a
//! store. Those that run before that of [`OWN`] find the handles in their place. Those
//! that run after it keep a handle in [`LATE`], which has no destructor, for as long as
//! one read takes. So a read means the same in both, and no order of destructors matters.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::{Arc, PoisonError, Weak};

use super::map::{ReadHandle, View};
use crate::changes::{ReadState, Selection, State};
use crate::model::error::{Result, StoreError};
use crate::store::view::state_of;
use crate::sync::{Mutex, MutexGuard, thread_local};

/// From how many handles on a thread looks for those of stores that have gone.
const FEW: usize = 8;

thread_local! {
    static OWN: Kept = const { Kept::new() };
    static LATE: ManuallyDrop<Kept> = const { ManuallyDrop::new(Kept::new()) };
}

/// The handles of a thread, sorted by the address of their pool: it stays taken for as
/// long as a handle knows it.
struct Kept {
    handles: RefCell<Vec<(usize, Rc<Own>)>>,
    /// Where the handle stood that was asked for last.
    last: Cell<usize>,
    /// How many there may be before it looks for those of stores that have gone.
    room: Cell<usize>,
}

impl Kept {
    const fn new() -> Kept {
        Kept {
            handles: RefCell::new(Vec::new()),
            last: Cell::new(0),
            room: Cell::new(FEW),
        }
    }

    #[inline]
    fn find(&self, pool: usize) -> Option<Rc<Own>> {
        let handles = self.handles.borrow();
        match handles.get(self.last.get()) {
            Some((of, own)) if *of == pool => Some(own.clone()),
            _ => self.search(&handles, pool),
        }
    }

    #[cold]
    fn search(&self, handles: &[(usize, Rc<Own>)], pool: usize) -> Option<Rc<Own>> {
        let place = handles.binary_search_by_key(&pool, |(of, _)| *of).ok()?;
        self.last.set(place);
        Some(handles[place].1.clone())
    }

    fn keep(&self, pool: usize, own: Rc<Own>) {
        let mut handles = self.handles.borrow_mut();
        if handles.len() >= self.room.get() {
            handles.retain(|(_, own)| own.pool.strong_count() > 0);
            self.room.set(FEW.max(2 * handles.len()));
        }
        let place = handles.partition_point(|(of, _)| *of < pool);
        handles.insert(place, (pool, own));
    }

    fn forget(&self, pool: usize) {
        let mut handles = self.handles.borrow_mut();
        let place = handles.binary_search_by_key(&pool, |(of, _)| *of);
        let own = place.map(|place| handles.remove(place));
        if handles.is_empty() {
            // What lies in `LATE` is never dropped.
            *handles = Vec::new();
        }
        drop(handles);
        drop(own);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for (pool, own) in self.handles.take() {
            // A thread that ends the process from inside a read is still inside of it.
            if own.inside.get() > 0 {
                LATE.with(|late| late.keep(pool, own));
            }
        }
    }
}

/// Runs `look` over the handles of this thread.
#[inline]
fn kept<R>(look: impl Fn(&Kept) -> R) -> R {
    OWN.try_with(&look)
        .unwrap_or_else(|_| LATE.with(|late| look(late)))
}

/// Where threads get the handles of a store from, and leave them.
pub(super) struct Handles {
    pool: Arc<Pool>,
}

pub(super) struct Pool {
    /// Of threads that have ended.
    free: Mutex<Vec<ReadHandle>>,
    /// What new ones are cloned from; never read through. A lock of its own: whoever has it
    /// may wait for a writer, and threads that end shall not.
    seed: Mutex<ReadHandle>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Handles {
    pub(super) fn new(seed: ReadHandle) -> Handles {
        let (free, seed) = (Mutex::default(), Mutex::new(seed));
        Handles {
            pool: Arc::new(Pool { free, seed }),
        }
    }

    /// This thread's handle, if it has one.
    #[inline]
    pub(super) fn of_thread(&self) -> Option<Rc<Own>> {
        self.pool.of_thread()
    }

    /// Reads the state that is published, for as long as `read` runs.
    #[inline]
    pub(super) fn read<R>(&self, read: impl FnOnce(&View<'_>) -> R) -> Result<R> {
        self.pool.read(read)
    }

    /// How watches read the state.
    pub(super) fn of_store(&self) -> OfStore {
        OfStore(Arc::downgrade(&self.pool))
    }

    #[cfg(all(test, loom))]
    pub(super) fn take(&self) -> Own {
        self.pool.take()
    }
}

/// How watches read the state of a store that may have gone.
pub(super) struct OfStore(Weak<Pool>);

impl ReadState for OfStore {
    fn read_state(&self, selection: &Selection) -> Result<Option<State>> {
        let pool = self.0.upgrade().ok_or(StoreError::Closed)?;
        pool.read(|view| Some(state_of(view, selection)))
    }
}

impl Pool {
    #[inline]
    fn address(self: &Arc<Pool>) -> usize {
        Arc::as_ptr(self).addr()
    }

    #[inline]
    fn of_thread(self: &Arc<Pool>) -> Option<Rc<Own>> {
        kept(|kept| kept.find(self.address()))
    }

    #[inline]
    fn read<R>(self: &Arc<Pool>, read: impl FnOnce(&View<'_>) -> R) -> Result<R> {
        match self.of_thread() {
            Some(own) => own.read(read),
            None => self.first(|own| own.read(read)),
        }
    }

    /// A handle that another thread has left, or a new one. This thread must have none,
    /// since making one waits for a writer that waits for readers.
    fn take(self: &Arc<Pool>) -> Own {
        let left = lock(&self.free).pop();
        Own {
            handle: Some(left.unwrap_or_else(|| lock(&self.seed).clone())),
            inside: Cell::new(0),
            pool: Arc::downgrade(self),
        }
    }

    /// Runs `read` with a handle that this thread, which has none, then keeps. A thread
    /// that is ending keeps it until `read` returns.
    #[cold]
    fn first<R>(self: &Arc<Pool>, read: impl FnOnce(&Own) -> R) -> R {
        let (pool, own) = (self.address(), Rc::new(self.take()));
        let ending = OWN.try_with(|kept| kept.keep(pool, own.clone())).is_err();
        let _late = ending.then(|| Late::keep(pool, own.clone()));
        read(&own)
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        kept(|kept| kept.forget(self.pool.address()));
    }
}

/// A handle in [`LATE`], until this is dropped.
struct Late(usize);

impl Late {
    fn keep(pool: usize, own: Rc<Own>) -> Late {
        LATE.with(|late| late.keep(pool, own));
        Late(pool)
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        LATE.with(|late| late.forget(self.0));
    }
}

/// The handle of one thread, which goes to the pool when it is dropped.
pub(super) struct Own {
    /// `None` only while this is dropped.
    handle: Option<ReadHandle>,
    /// How many reads this thread is inside of.
    inside: Cell<usize>,
    pool: Weak<Pool>,
}

impl Own {
    /// Reads the state that is published, for as long as `read` runs.
    #[inline]
    pub(super) fn read<R>(&self, read: impl FnOnce(&View<'_>) -> R) -> Result<R> {
        // Nothing is behind the pointer once the store has been closed.
        let guard = self.handle.as_ref().and_then(ReadHandle::enter);
        let guard = guard.ok_or(StoreError::Closed)?;
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

impl Drop for Own {
    fn drop(&mut self) {
        #[cfg(any(loom, shuttle))]
        if std::thread::panicking() {
            // A model has failed, and what the handle is made of has gone.
            std::mem::forget(self.handle.take());
            return;
        }
        // Where the store has gone, the handle goes as well: nobody holds its lock.
        if let (Some(pool), Some(handle)) = (self.pool.upgrade(), self.handle.take()) {
            lock(&pool.free).push(handle);
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
    use super::{FEW, OWN, lock};
    use crate::store::RegistryStore;

    /// How many handles threads that have ended have left.
    fn left(store: &EvmapStore) -> usize {
        lock(&store.handles.pool.free).len()
    }

    #[test]
    fn ten_thousand_short_lived_threads_share_a_few_handles() {
        const AT_ONCE: usize = 20;
        let store = EvmapStore::new();
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
        // themselves: the next ones may find some handles still taken.
        let left = left(&store);
        assert!((1..500).contains(&left), "{left} handles");
    }

    #[test]
    fn the_next_thread_takes_over_the_handle_of_one_that_has_ended() {
        let store = Arc::new(EvmapStore::new());
        for _ in 0..100 {
            let store = store.clone();
            // `join` waits for destructors of thread locals, unlike a scope.
            let reader = thread::spawn(move || store.stats().expect("it is open"));
            reader.join().expect("it reads");
        }
        assert_eq!(left(&store), 1);
    }

    #[test]
    fn a_thread_has_one_handle_for_each_store() {
        let stores = [(); 3].map(|()| EvmapStore::new());
        for _ in 0..10 {
            for store in &stores {
                store.stats().expect("it is open");
                store.clear().expect("nothing is read");
            }
        }
        assert_eq!(OWN.with(|kept| kept.handles.borrow().len()), 3);
        drop(stores);
        assert_eq!(OWN.with(|kept| kept.handles.borrow().len()), 0);
    }

    #[test]
    fn a_thread_keeps_few_handles_of_stores_that_others_have_dropped() {
        for _ in 0..1_000 {
            let store = Arc::new(EvmapStore::new());
            store.stats().expect("it is open");
            thread::spawn(move || drop(store)).join().expect("it drops");
            assert!(OWN.with(|kept| kept.handles.borrow().len()) <= FEW);
        }
    }
}
