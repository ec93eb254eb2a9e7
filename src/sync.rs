//! The only place that switches between the standard library and loom.
//!
//! Models run with
//! `RUSTFLAGS="--cfg loom" cargo test --release --lib --features snapshot models`.

#[cfg(all(any(feature = "thread-safe", feature = "worker"), not(loom)))]
pub(crate) use std::sync::atomic;

#[cfg(all(
    any(feature = "thread-safe", feature = "worker", feature = "snapshot"),
    loom
))]
pub(crate) use loom::sync::atomic;

#[cfg(all(feature = "snapshot", not(loom)))]
pub(crate) use {
    arc_swap::{ArcSwap, Cache},
    std::sync::{Mutex, MutexGuard},
};

#[cfg(all(feature = "snapshot", loom))]
pub(crate) use {
    loom::sync::{Mutex, MutexGuard},
    stand_in::{ArcSwap, Cache},
};

#[cfg(all(feature = "snapshot", loom))]
mod stand_in {
    //! What stands in for [`arc_swap::ArcSwap`] and its `Cache` under loom, which
    //! cannot see the real ones' inside.
    //!
    //! They do with one pointer what the real ones do: a load acquires, a swap
    //! releases and acquires, and a cache compares with a relaxed load. The pointer is an
    //! index that loom knows; what it leads to lies in a list that loom does not
    //! see, so that reading it orders nothing.

    use super::atomic::AtomicUsize;
    use super::atomic::Ordering::{AcqRel, Acquire, Relaxed};
    use std::ops::Deref;
    use std::sync::{Arc, Mutex};

    pub(crate) struct ArcSwap<T> {
        newest: AtomicUsize,
        values: Mutex<Vec<Arc<T>>>,
    }

    impl<T> ArcSwap<T> {
        pub(crate) fn from_pointee(value: T) -> ArcSwap<T> {
            ArcSwap {
                newest: AtomicUsize::new(0),
                values: Mutex::new(vec![Arc::new(value)]),
            }
        }

        fn load_index(&self) -> (usize, Arc<T>) {
            // Acquire: pairs with the Release of `swap`.
            let index = self.newest.load(Acquire);
            (index, self.values.lock().unwrap()[index].clone())
        }

        pub(crate) fn load_full(&self) -> Arc<T> {
            self.load_index().1
        }

        pub(crate) fn load(&self) -> Box<Arc<T>> {
            Box::new(self.load_full())
        }

        pub(crate) fn swap(&self, value: Arc<T>) -> Arc<T> {
            let index = {
                let mut values = self.values.lock().unwrap();
                values.push(value);
                values.len() - 1
            };
            // Release and Acquire: pairs with the load in `load_index` and with
            // the swap before.
            let old = self.newest.swap(index, AcqRel);
            self.values.lock().unwrap()[old].clone()
        }
    }

    #[derive(Clone)]
    pub(crate) struct Cache<A, T> {
        pointer: A,
        index: usize,
        value: T,
    }

    impl<A: Deref<Target = ArcSwap<T>>, T> Cache<A, Arc<T>> {
        pub(crate) fn new(pointer: A) -> Self {
            let (index, value) = pointer.load_index();
            Cache {
                pointer,
                index,
                value,
            }
        }

        pub(crate) fn load(&mut self) -> &Arc<T> {
            if self.pointer.newest.load(Relaxed) != self.index {
                (self.index, self.value) = self.pointer.load_index();
            }
            &self.value
        }
    }
}
