//! The cell through which a writer makes a new value visible, and the readers
//! that keep the newest one at hand.
//!
//! An [`ArcSwap`] points at the newest value. To learn whether there is one that
//! is newer than its own, a [`Reader`] reads a counter, the *generation*, which
//! the writer stores after it has swung the pointer:
//!
//! ```text
//! writer  1. pointer.swap(new)               reader  3. generation.load(Acquire)
//!         2. generation.store(g, Release)            4. pointer.load_full()
//! ```
//!
//! - The reader finds *g* at 3: then 2, which pairs with 3, and so 1 happened
//!   before 4, which loads the value that came with *g* or a newer one.
//! - It finds its own generation at 3: it keeps its value. The write that would
//!   have replaced it has not returned, or nothing orders the reader after it.
//! - It comes between 1 and 2, because another generation made it load: it has
//!   the newer value already, beside the older generation that it found at 3.
//!   At its next read it loads once more than it had to.
//!
//! Loading a pointer that only moves forward, a reader never shows an older
//! value than it showed before. The models below prove both under loom; there
//! `ArcSwap`, whose inside loom cannot see, is the stand-in of [`crate::sync`].

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sync::ArcSwap;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};

pub(super) struct Published<T> {
    pointer: ArcSwap<T>,
    generation: AtomicU64,
    turn: Mutex<()>,
}

/// The right to publish, which one writer has at a time. No reader asks for it.
pub(super) struct Turn<'a, T> {
    cell: &'a Published<T>,
    _guard: MutexGuard<'a, ()>,
}

impl<T> Published<T> {
    pub(super) fn new(first: T) -> Published<T> {
        Published {
            pointer: ArcSwap::from_pointee(first),
            generation: AtomicU64::new(0),
            turn: Mutex::new(()),
        }
    }

    /// The newest value, for a moment: cheaper than a reference of one's own.
    #[inline]
    pub(super) fn load(&self) -> impl Deref<Target = Arc<T>> {
        self.pointer.load()
    }

    /// The newest value, to keep.
    #[inline]
    pub(super) fn load_full(&self) -> Arc<T> {
        self.pointer.load_full()
    }

    /// Waits for this writer's turn.
    pub(super) fn turn(&self) -> Turn<'_, T> {
        Turn {
            cell: self,
            // A writer that panicked has published nothing.
            _guard: self.turn.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

impl<T> Turn<'_, T> {
    /// Makes `value` the newest one.
    pub(super) fn publish(&self, value: T) {
        let cell = self.cell;
        let replaced = cell.pointer.swap(Arc::new(value));
        // Relaxed: only writers store it, and they take turns.
        let generation = cell.generation.load(Relaxed) + 1;
        // Release: pairs with the Acquire load in `Reader::newest`, so that
        // whoever sees this generation finds its value, or a newer one.
        cell.generation.store(generation, Release);
        drop(replaced);
    }
}

/// What a reader keeps of the cell's newest value.
pub(super) trait Keep<T> {
    fn keep(value: Arc<T>) -> Self;
}

/// A value that is renewed when there is a newer one.
#[derive(Clone)]
pub(super) struct Reader<V> {
    newest: V,
    /// A generation that `newest` is not older than.
    generation: u64,
}

impl<V> Reader<V> {
    pub(super) fn new<T>(cell: &Published<T>) -> Reader<V>
    where
        V: Keep<T>,
    {
        // Acquire: as in `newest`.
        let generation = cell.generation.load(Acquire);
        Reader {
            newest: V::keep(cell.load_full()),
            generation,
        }
    }

    /// The value that was read last.
    pub(super) fn last(&self) -> &V {
        &self.newest
    }

    /// The newest value of `cell`, which is the one that this reader was made of.
    #[inline]
    pub(super) fn newest<T>(&mut self, cell: &Published<T>) -> &V
    where
        V: Keep<T>,
    {
        // Acquire: pairs with the Release store in `publish`. It is read before
        // the pointer, so that it is not newer than what is then loaded.
        let generation = cell.generation.load(Acquire);
        if generation != self.generation {
            self.renew(cell, generation);
        }
        &self.newest
    }

    #[cold]
    fn renew<T>(&mut self, cell: &Published<T>, generation: u64)
    where
        V: Keep<T>,
    {
        self.newest = V::keep(cell.load_full());
        self.generation = generation;
    }
}

#[cfg(all(test, loom))]
mod models {
    //! Each property has twins that break one step, which loom must reject.

    use super::*;
    use loom::sync::Arc as Shared;
    use loom::sync::atomic::AtomicBool;
    use loom::thread;

    impl Keep<u64> for Arc<u64> {
        fn keep(value: Arc<u64>) -> Arc<u64> {
            value
        }
    }

    type Reader = super::Reader<Arc<u64>>;

    const UNSEEN: &str = "a commit that has returned was not seen";
    const WENT_BACK: &str = "a reader went back";

    /// How the writer publishes and how the reader renews.
    #[derive(Clone, Copy)]
    struct Protocol {
        publish: fn(&Turn<'_, u64>, u64),
        newest: fn(&mut Reader, &Published<u64>) -> u64,
    }

    const REAL: Protocol = Protocol {
        publish: |turn, value| turn.publish(value),
        newest: |reader, cell| **reader.newest(cell),
    };

    /// Twin: the generation is announced before its value is there.
    fn announce_first(turn: &Turn<'_, u64>, value: u64) {
        let generation = turn.cell.generation.load(Relaxed) + 1;
        turn.cell.generation.store(generation, Release);
        turn.cell.pointer.swap(Arc::new(value));
    }

    /// Twin: the generation does not carry its value along.
    fn announce_relaxed(turn: &Turn<'_, u64>, value: u64) {
        turn.cell.pointer.swap(Arc::new(value));
        let generation = turn.cell.generation.load(Relaxed) + 1;
        turn.cell.generation.store(generation, Relaxed);
    }

    /// Twin: the pointer is loaded before the generation that is kept with it.
    fn load_first(reader: &mut Reader, cell: &Published<u64>) -> u64 {
        let value = cell.load_full();
        let generation = cell.generation.load(Acquire);
        if generation != reader.generation {
            reader.newest = value;
            reader.generation = generation;
        }
        *reader.newest
    }

    /// Twin: a reader that loads anew each time, from the past.
    fn forget(reader: &mut Reader, cell: &Published<u64>) -> u64 {
        let seen = **reader.newest(cell);
        reader.newest = Arc::new(0);
        seen
    }

    /// A reader that is told of a commit sees it.
    fn a_commit_that_has_returned_is_seen(protocol: Protocol) {
        loom::model(move || {
            let cell = Shared::new(Published::new(0));
            let returned = Shared::new(AtomicBool::new(false));
            let writer = thread::spawn({
                let (cell, returned) = (cell.clone(), returned.clone());
                move || {
                    (protocol.publish)(&cell.turn(), 1);
                    returned.store(true, Release);
                }
            });
            let mut reader = Reader::new(&cell);
            (protocol.newest)(&mut reader, &cell);
            if returned.load(Acquire) {
                assert_eq!((protocol.newest)(&mut reader, &cell), 1, "{UNSEEN}");
            }
            writer.join().unwrap();
            assert_eq!((protocol.newest)(&mut reader, &cell), 1, "{UNSEEN}");
        });
    }

    /// What a reader shows is never older than what it showed before.
    fn a_reader_never_goes_back(protocol: Protocol) {
        loom::model(move || {
            let cell = Shared::new(Published::new(0));
            let writer = thread::spawn({
                let cell = cell.clone();
                move || {
                    (protocol.publish)(&cell.turn(), 1);
                    (protocol.publish)(&cell.turn(), 2);
                }
            });
            let mut reader = Reader::new(&cell);
            let mut before = 0;
            for _ in 0..3 {
                let now = (protocol.newest)(&mut reader, &cell);
                assert!(now >= before, "{WENT_BACK}");
                before = now;
            }
            writer.join().unwrap();
        });
    }

    #[test]
    fn models_a_commit_that_has_returned_is_seen() {
        a_commit_that_has_returned_is_seen(REAL);
    }

    #[test]
    #[should_panic(expected = "a commit that has returned was not seen")]
    fn models_twin_announcing_before_the_value_is_there_is_rejected() {
        a_commit_that_has_returned_is_seen(Protocol {
            publish: announce_first,
            ..REAL
        });
    }

    #[test]
    #[should_panic(expected = "a commit that has returned was not seen")]
    fn models_twin_announcing_without_release_is_rejected() {
        a_commit_that_has_returned_is_seen(Protocol {
            publish: announce_relaxed,
            ..REAL
        });
    }

    #[test]
    #[should_panic(expected = "a commit that has returned was not seen")]
    fn models_twin_loading_before_the_generation_is_rejected() {
        a_commit_that_has_returned_is_seen(Protocol {
            newest: load_first,
            ..REAL
        });
    }

    #[test]
    fn models_a_reader_never_goes_back() {
        a_reader_never_goes_back(REAL);
    }

    #[test]
    #[should_panic(expected = "a reader went back")]
    fn models_twin_a_reader_that_forgets_is_rejected() {
        a_reader_never_goes_back(Protocol {
            newest: forget,
            ..REAL
        });
    }
}
