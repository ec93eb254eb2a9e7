//! A read handle for each thread.
//!
//! Only one thread at a time can use a handle. Each thread takes one at its first read of a
//! store and keeps it. When the thread ends, it puts the handle into the pool of the store,
//! where the next thread finds it. There are therefore never more handles than there were
//! threads at once. The pool drops its handles with the store. A thread drops its handles of
//! dropped stores when it takes new ones, or when it ends.
//!
//! Creating or dropping a handle takes a lock of the map, which a writer holds while it waits
//! for readers. A thread that did so inside a read could wait for a writer that waits for it. A
//! thread therefore takes its handle before its first read, and only handles of dropped stores
//! are dropped. (`models_twin_a_handle_made_inside_a_read_is_rejected` in [`super`] shows this
//! deadlock.)
//!
//! # When a thread ends
//!
//! The order in which destructors of thread locals run is not specified, and they may read a
//! store. Destructors that run before that of [`HANDLES`] find the handles in it. Those that run
//! after it keep a handle in [`LATE_HANDLES`], which has no destructor, during one read. A read
//! therefore works the same in both, and the order of destructors does not matter.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::{Arc, PoisonError, Weak};

use super::map::{ReadHandle, View};
use crate::changes::{ReadState, Selection, State};
use crate::model::error::{Result, StoreError};
use crate::store::view::state_of;
use crate::sync::{Mutex, MutexGuard, thread_local};

/// The number of handles from which on a thread looks for those of dropped stores.
const PRUNE_AT: usize = 8;

thread_local! {
    static HANDLES: ThreadHandles = const { ThreadHandles::new() };
    static LATE_HANDLES: ManuallyDrop<ThreadHandles> =
        const { ManuallyDrop::new(ThreadHandles::new()) };
}

/// The handles of a thread, sorted by the address of their pool. The address is not reused as
/// long as a handle refers to the pool.
struct ThreadHandles {
    handles: RefCell<Vec<(usize, Rc<ThreadHandle>)>>,
    /// The position of the handle that was used last.
    last: Cell<usize>,
    /// The number of handles at which the thread next looks for those of dropped stores.
    room: Cell<usize>,
}

impl ThreadHandles {
    const fn new() -> ThreadHandles {
        ThreadHandles {
            handles: RefCell::new(Vec::new()),
            last: Cell::new(0),
            room: Cell::new(PRUNE_AT),
        }
    }

    #[inline]
    fn find(&self, pool: usize) -> Option<Rc<ThreadHandle>> {
        let handles = self.handles.borrow();
        match handles.get(self.last.get()) {
            Some((of, handle)) if *of == pool => Some(handle.clone()),
            _ => self.search(&handles, pool),
        }
    }

    #[cold]
    fn search(
        &self,
        handles: &[(usize, Rc<ThreadHandle>)],
        pool: usize,
    ) -> Option<Rc<ThreadHandle>> {
        let place = handles.binary_search_by_key(&pool, |(of, _)| *of).ok()?;
        self.last.set(place);
        Some(handles[place].1.clone())
    }

    fn insert(&self, pool: usize, handle: Rc<ThreadHandle>) {
        let mut handles = self.handles.borrow_mut();
        if handles.len() >= self.room.get() {
            handles.retain(|(_, handle)| handle.pool.strong_count() > 0);
            self.room.set(PRUNE_AT.max(2 * handles.len()));
        }
        let place = handles.partition_point(|(of, _)| *of < pool);
        handles.insert(place, (pool, handle));
    }

    fn remove(&self, pool: usize) {
        let mut handles = self.handles.borrow_mut();
        let place = handles.binary_search_by_key(&pool, |(of, _)| *of);
        let handle = place.map(|place| handles.remove(place));
        if handles.is_empty() {
            // The contents of `LATE_HANDLES` are never dropped.
            *handles = Vec::new();
        }
        drop(handles);
        drop(handle);
    }
}

impl Drop for ThreadHandles {
    fn drop(&mut self) {
        for (pool, handle) in self.handles.take() {
            // A thread that ends the process inside a read is still inside it.
            if handle.depth.get() > 0 {
                LATE_HANDLES.with(|late| late.insert(pool, handle));
            }
        }
    }
}

/// Calls `visit` with the handles of this thread.
#[inline]
fn with_thread_handles<R>(visit: impl Fn(&ThreadHandles) -> R) -> R {
    HANDLES
        .try_with(&visit)
        .unwrap_or_else(|_| LATE_HANDLES.with(|late| visit(late)))
}

/// The handles of a store that no thread uses, and the source of new ones.
pub(super) struct Handles {
    pool: Arc<Pool>,
}

pub(super) struct Pool {
    /// Handles of threads that have ended.
    free: Mutex<Vec<ReadHandle>>,
    /// The handle from which new ones are cloned. Nobody reads through it. It has its own lock,
    /// because a thread that holds this lock may wait for a writer, and a thread that ends must
    /// not wait.
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

    /// Returns the handle of this thread, if it has one.
    #[inline]
    pub(super) fn thread_handle(&self) -> Option<Rc<ThreadHandle>> {
        self.pool.thread_handle()
    }

    /// Calls `read` with the published state.
    #[inline]
    pub(super) fn read<R>(&self, read: impl FnOnce(&View<'_>) -> Result<R>) -> Result<R> {
        self.pool.read(read)
    }

    /// Returns a reader of the state for watches.
    pub(super) fn state_reader(&self) -> WeakPool {
        WeakPool(Arc::downgrade(&self.pool))
    }

    #[cfg(all(test, loom))]
    pub(super) fn take(&self) -> ThreadHandle {
        self.pool.take()
    }
}

/// Reads the state of a store, which may have been dropped, for watches.
pub(super) struct WeakPool(Weak<Pool>);

impl ReadState for WeakPool {
    fn read_state(&self, selection: &Selection) -> Result<Option<State>> {
        let pool = self.0.upgrade().ok_or(StoreError::Closed)?;
        pool.read(|view| Ok(Some(state_of(view, selection))))
    }
}

impl Pool {
    #[inline]
    fn address(self: &Arc<Pool>) -> usize {
        Arc::as_ptr(self).addr()
    }

    #[inline]
    fn thread_handle(self: &Arc<Pool>) -> Option<Rc<ThreadHandle>> {
        with_thread_handles(|handles| handles.find(self.address()))
    }

    #[inline]
    fn read<R>(self: &Arc<Pool>, read: impl FnOnce(&View<'_>) -> Result<R>) -> Result<R> {
        match self.thread_handle() {
            Some(handle) => handle.read(read),
            None => self.read_first(|handle| handle.read(read)),
        }
    }

    /// Returns a free handle, or a new one. This thread must have none,
    /// since creating one waits for a writer that waits for readers.
    fn take(self: &Arc<Pool>) -> ThreadHandle {
        let free = lock(&self.free).pop();
        ThreadHandle {
            handle: Some(free.unwrap_or_else(|| lock(&self.seed).clone())),
            depth: Cell::new(0),
            pool: Arc::downgrade(self),
        }
    }

    /// Calls `read` with a handle for this thread, which has none. The thread keeps the handle
    /// afterwards. A thread that is ending keeps it only until `read` returns.
    #[cold]
    fn read_first<R>(self: &Arc<Pool>, read: impl FnOnce(&ThreadHandle) -> R) -> R {
        let (pool, handle) = (self.address(), Rc::new(self.take()));
        let ending = HANDLES
            .try_with(|handles| handles.insert(pool, handle.clone()))
            .is_err();
        let _late = ending.then(|| LateHandle::insert(pool, handle.clone()));
        read(&handle)
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        with_thread_handles(|handles| handles.remove(self.pool.address()));
    }
}

/// Keeps a handle in [`LATE_HANDLES`] until this is dropped.
struct LateHandle(usize);

impl LateHandle {
    fn insert(pool: usize, handle: Rc<ThreadHandle>) -> LateHandle {
        LATE_HANDLES.with(|late| late.insert(pool, handle));
        LateHandle(pool)
    }
}

impl Drop for LateHandle {
    fn drop(&mut self) {
        LATE_HANDLES.with(|late| late.remove(self.0));
    }
}

/// The handle of one thread. It returns to the pool when it is dropped.
pub(super) struct ThreadHandle {
    /// `None` only during the drop.
    handle: Option<ReadHandle>,
    /// The number of nested reads that this thread is in.
    depth: Cell<usize>,
    pool: Weak<Pool>,
}

impl ThreadHandle {
    /// Calls `read` with the published state.
    #[inline]
    pub(super) fn read<R>(&self, read: impl FnOnce(&View<'_>) -> Result<R>) -> Result<R> {
        // The pointer is null once the store has been closed.
        let guard = self.handle.as_ref().and_then(ReadHandle::enter);
        let guard = guard.ok_or(StoreError::Closed)?;
        let _guard = ReadDepthGuard::enter(&self.depth);
        read(&View::new(&guard))
    }

    /// Returns an error inside a read.
    pub(super) fn check_not_reentrant(&self) -> Result<()> {
        match self.depth.get() {
            0 => Ok(()),
            _ => Err(StoreError::Reentrant),
        }
    }
}

impl Drop for ThreadHandle {
    fn drop(&mut self) {
        #[cfg(any(loom, shuttle))]
        if std::thread::panicking() {
            // A model has failed, and the parts of the handle no longer exist.
            std::mem::forget(self.handle.take());
            return;
        }
        // If the store has been dropped, the handle is dropped too: nobody holds its lock.
        if let (Some(pool), Some(handle)) = (self.pool.upgrade(), self.handle.take()) {
            lock(&pool.free).push(handle);
        }
    }
}

/// Counts as inside a read until this is dropped.
struct ReadDepthGuard<'a>(&'a Cell<usize>);

impl<'a> ReadDepthGuard<'a> {
    #[inline]
    fn enter(depth: &'a Cell<usize>) -> ReadDepthGuard<'a> {
        depth.set(depth.get() + 1);
        ReadDepthGuard(depth)
    }
}

impl Drop for ReadDepthGuard<'_> {
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
    use super::{HANDLES, PRUNE_AT, lock};
    use crate::store::RegistryStore;

    /// Returns the number of free handles.
    fn free_handles(store: &EvmapStore) -> usize {
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
                        // Makes all threads run at the same time.
                        all.wait();
                        store.stats().expect("it is open");
                        all.wait();
                    });
                }
            });
        }
        // A scope ends with the work of its threads, slightly before the threads end. The next
        // threads may find some handles still in use.
        let free = free_handles(&store);
        assert!((1..500).contains(&free), "{free} handles");
    }

    #[test]
    fn the_next_thread_takes_over_the_handle_of_one_that_has_ended() {
        let store = Arc::new(EvmapStore::new());
        for _ in 0..100 {
            let store = store.clone();
            // Unlike a scope, `join` waits for the destructors of thread locals.
            let reader = thread::spawn(move || store.stats().expect("it is open"));
            reader.join().expect("it reads");
        }
        assert_eq!(free_handles(&store), 1);
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
        assert_eq!(HANDLES.with(|handles| handles.handles.borrow().len()), 3);
        drop(stores);
        assert_eq!(HANDLES.with(|handles| handles.handles.borrow().len()), 0);
    }

    #[test]
    fn a_thread_keeps_few_handles_of_stores_that_others_have_dropped() {
        for _ in 0..1_000 {
            let store = Arc::new(EvmapStore::new());
            store.stats().expect("it is open");
            thread::spawn(move || drop(store)).join().expect("it drops");
            assert!(HANDLES.with(|handles| handles.handles.borrow().len()) <= PRUNE_AT);
        }
    }
}
