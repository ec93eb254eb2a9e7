//! The cell with which writers make a new value visible.
//!
//! One pointer leads to the newest value, and readers use nothing else: `load` and `load_full`
//! read through it, and a [`Reader`] compares it with the pointer of the value that it keeps. A
//! value that a thread has seen through one of them cannot be missed through another, because
//! all loads of one atomic pointer agree on the order of its values.
//!
//! (A counter next to the pointer, which signals a newer value, looks as good but is wrong.
//! Between the two stores of a writer, `load` returns the new value and a reader still the old
//! one. The twin `models_twin_a_counter_beside_the_pointer_is_rejected` below is that
//! protocol.)
//!
//! Writers take turns with a [`WriteLock`], which readers never take. In its turn a writer
//! reads the newest value, makes a new one from it, and publishes that.
//!
//! loom cannot see into `arc-swap`, so loom models use the replacement in [`crate::sync`].

use std::ops::Deref;
use std::sync::{Arc, PoisonError, Weak};

use crate::sync::{ArcSwap, Cache, Mutex, MutexGuard};

pub(super) struct Published<T> {
    pointer: Arc<ArcSwap<T>>,
    write_lock: Mutex<()>,
}

/// A handle that keeps the newest value and reloads it when the pointer has moved.
pub(super) type Reader<T> = Cache<Arc<ArcSwap<T>>, Arc<T>>;

/// The pointer of a store that may have been dropped.
pub(super) type WeakPointer<T> = Weak<ArcSwap<T>>;

/// The right to publish. Only one writer has it at a time.
pub(super) struct WriteLock<'a, T> {
    pointer: &'a ArcSwap<T>,
    _guard: MutexGuard<'a, ()>,
}

impl<T> Published<T> {
    pub(super) fn new(first: T) -> Published<T> {
        Published {
            pointer: Arc::new(ArcSwap::from_pointee(first)),
            write_lock: Mutex::new(()),
        }
    }

    /// Borrows the newest value briefly. Cheaper than taking a reference count.
    #[inline]
    pub(super) fn load(&self) -> impl Deref<Target = Arc<T>> {
        self.pointer.load()
    }

    /// Returns the newest value with a reference count of its own.
    #[inline]
    pub(super) fn load_full(&self) -> Arc<T> {
        self.pointer.load_full()
    }

    pub(super) fn downgrade(&self) -> WeakPointer<T> {
        Arc::downgrade(&self.pointer)
    }

    /// Creates a reader for one thread.
    pub(super) fn reader(&self) -> Reader<T> {
        Cache::new(self.pointer.clone())
    }

    /// Waits for the lock of the writers and takes it.
    pub(super) fn lock(&self) -> WriteLock<'_, T> {
        WriteLock {
            pointer: &self.pointer,
            // A writer that panicked has published nothing.
            _guard: self
                .write_lock
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        }
    }
}

impl<T> WriteLock<'_, T> {
    /// Publishes `value` and returns the previous one. Dropping that may take long, so drop it
    /// after the turn.
    #[must_use]
    pub(super) fn publish(&self, value: T) -> Arc<T> {
        self.pointer.swap(Arc::new(value))
    }
}

#[cfg(all(test, loom))]
mod models {
    //! Each property is checked on the real protocol and on twins with one broken step, which
    //! loom must reject.
    //!
    //! Orderings: the Release store to `returned` pairs with its Acquire load in
    //! `a_commit_that_has_returned_is_seen`. The Release stores to `counter`, which writers
    //! read relaxed in their turn, pair with the Acquire loads in `handle` and
    //! `read_if_counted`. The halves of a [`AtomicPair`] are relaxed: only the pointer orders them.

    use super::*;
    use loom::sync::Arc as LoomArc;
    use loom::sync::atomic::Ordering::{Acquire, Relaxed, Release};
    use loom::sync::atomic::{AtomicBool, AtomicU64};
    use loom::thread;

    const UNSEEN: &str = "a commit that has returned was not seen";
    const WENT_BACK: &str = "a reader went back";
    const LOST: &str = "an update was lost";
    const CHANGED: &str = "what was loaded has changed";

    /// The cell, and additional state for the twins.
    struct TestCell {
        published: Published<u64>,
        counter: AtomicU64,
    }

    struct TestHandle {
        reader: Reader<u64>,
        cached: Arc<u64>,
        counter: u64,
    }

    impl TestCell {
        fn new() -> LoomArc<TestCell> {
            LoomArc::new(TestCell {
                published: Published::new(0),
                counter: AtomicU64::new(0),
            })
        }

        fn handle(&self) -> TestHandle {
            let counter = self.counter.load(Acquire);
            TestHandle {
                reader: self.published.reader(),
                cached: self.published.load_full(),
                counter,
            }
        }
    }

    /// How writers publish and handles read.
    #[derive(Clone, Copy)]
    struct CellProtocol {
        publish: fn(&TestCell, u64),
        read: fn(&mut TestHandle, &TestCell) -> u64,
    }

    const REAL: CellProtocol = CellProtocol {
        publish: |cell, value| drop(cell.published.lock().publish(value)),
        read: |handle, _| **handle.reader.load(),
    };

    /// Broken twin: a counter signals a new value after it is published.
    fn count_after(cell: &TestCell, value: u64) {
        let turn = cell.published.lock();
        drop(turn.publish(value));
        cell.counter.store(cell.counter.load(Relaxed) + 1, Release);
    }

    /// Broken twin: a counter signals a new value before it is published.
    fn count_before(cell: &TestCell, value: u64) {
        let turn = cell.published.lock();
        cell.counter.store(cell.counter.load(Relaxed) + 1, Release);
        drop(turn.publish(value));
    }

    fn read_if_counted(handle: &mut TestHandle, cell: &TestCell) -> u64 {
        let counter = cell.counter.load(Acquire);
        if counter != handle.counter {
            handle.cached = cell.published.load_full();
            handle.counter = counter;
        }
        *handle.cached
    }

    /// Broken twin: a handle that is never renewed.
    fn read_cached(handle: &mut TestHandle, _: &TestCell) -> u64 {
        *handle.cached
    }

    /// Broken twin: a handle that alternates between the newest value and its first one.
    fn read_by_turns(handle: &mut TestHandle, _: &TestCell) -> u64 {
        handle.counter += 1;
        if handle.counter % 2 == 1 {
            **handle.reader.load()
        } else {
            *handle.cached
        }
    }

    fn a_commit_that_has_returned_is_seen(protocol: CellProtocol) {
        loom::model(move || {
            let cell = TestCell::new();
            let returned = LoomArc::new(AtomicBool::new(false));
            let writer = thread::spawn({
                let (cell, returned) = (cell.clone(), returned.clone());
                move || {
                    (protocol.publish)(&cell, 1);
                    returned.store(true, Release);
                }
            });
            let mut handle = cell.handle();
            (protocol.read)(&mut handle, &cell);
            if returned.load(Acquire) {
                assert_eq!((protocol.read)(&mut handle, &cell), 1, "{UNSEEN}");
            }
            writer.join().unwrap();
            assert_eq!((protocol.read)(&mut handle, &cell), 1, "{UNSEEN}");
        });
    }

    /// Reads through a handle, the store, and the handle again.
    fn a_reader_never_goes_back(protocol: CellProtocol) {
        loom::model(move || {
            let cell = TestCell::new();
            let writer = thread::spawn({
                let cell = cell.clone();
                move || {
                    (protocol.publish)(&cell, 1);
                    (protocol.publish)(&cell, 2);
                }
            });
            let mut handle = cell.handle();
            let first = (protocol.read)(&mut handle, &cell);
            let second = *cell.published.load_full();
            let third = (protocol.read)(&mut handle, &cell);
            assert!(first <= second && second <= third, "{WENT_BACK}");
            writer.join().unwrap();
        });
    }

    fn no_update_is_lost_between_two_writers(add: fn(&Published<u64>)) {
        loom::model(move || {
            let cell = LoomArc::new(Published::new(0));
            let writer = thread::spawn({
                let cell = cell.clone();
                move || add(&cell)
            });
            add(&cell);
            writer.join().unwrap();
            assert_eq!(*cell.load_full(), 2, "{LOST}");
        });
    }

    /// A value that a writer could overwrite.
    type AtomicPair = [AtomicU64; 2];

    fn pair(value: u64) -> AtomicPair {
        [AtomicU64::new(value), AtomicU64::new(value)]
    }

    fn what_was_loaded_never_changes(publish: fn(&Published<AtomicPair>, u64)) {
        loom::model(move || {
            let cell = LoomArc::new(Published::new(pair(0)));
            let writer = thread::spawn({
                let cell = cell.clone();
                move || {
                    publish(&cell, 1);
                    publish(&cell, 2);
                }
            });
            let loaded = cell.load_full();
            let read = || loaded.each_ref().map(|half| half.load(Relaxed));
            let first = read();
            assert_eq!(first[0], first[1], "{CHANGED}");
            assert_eq!(read(), first, "{CHANGED}");
            writer.join().unwrap();
            assert_eq!(read(), first, "{CHANGED}");
        });
    }

    #[test]
    fn models_what_was_loaded_never_changes() {
        what_was_loaded_never_changes(|cell, value| drop(cell.lock().publish(pair(value))));
    }

    #[test]
    #[should_panic(expected = "what was loaded has changed")]
    fn models_twin_a_value_that_is_overwritten_in_place_is_rejected() {
        what_was_loaded_never_changes(|cell, value| {
            let turn = cell.lock();
            for half in &*cell.load_full() {
                half.store(value, Relaxed);
            }
            drop(turn);
        });
    }

    #[test]
    fn models_a_commit_that_has_returned_is_seen() {
        a_commit_that_has_returned_is_seen(REAL);
    }

    #[test]
    #[should_panic(expected = "a commit that has returned was not seen")]
    fn models_twin_a_counter_before_the_pointer_is_rejected() {
        a_commit_that_has_returned_is_seen(CellProtocol {
            publish: count_before,
            read: read_if_counted,
        });
    }

    #[test]
    #[should_panic(expected = "a commit that has returned was not seen")]
    fn models_twin_a_handle_that_is_never_renewed_is_rejected() {
        a_commit_that_has_returned_is_seen(CellProtocol {
            read: read_cached,
            ..REAL
        });
    }

    #[test]
    fn models_a_reader_never_goes_back() {
        a_reader_never_goes_back(REAL);
    }

    #[test]
    #[should_panic(expected = "a reader went back")]
    fn models_twin_a_counter_beside_the_pointer_is_rejected() {
        a_reader_never_goes_back(CellProtocol {
            publish: count_after,
            read: read_if_counted,
        });
    }

    #[test]
    #[should_panic(expected = "a reader went back")]
    fn models_twin_a_handle_that_forgets_is_rejected() {
        a_reader_never_goes_back(CellProtocol {
            read: read_by_turns,
            ..REAL
        });
    }

    #[test]
    fn models_no_update_is_lost_between_two_writers() {
        no_update_is_lost_between_two_writers(|cell| {
            let turn = cell.lock();
            let next = *cell.load_full() + 1;
            drop(turn.publish(next));
        });
    }

    #[test]
    #[should_panic(expected = "an update was lost")]
    fn models_twin_reading_before_the_turn_is_rejected() {
        no_update_is_lost_between_two_writers(|cell| {
            let next = *cell.load_full() + 1;
            drop(cell.lock().publish(next));
        });
    }
}
