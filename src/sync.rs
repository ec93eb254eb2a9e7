//! The only place that switches between the standard library and loom.
//!
//! Models run with
//! `RUSTFLAGS="--cfg loom" cargo test --release --lib --features snapshot models`.

#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic};

#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic};

#[cfg(all(feature = "snapshot", not(loom)))]
pub(crate) use arc_swap::{ArcSwap, Cache};

#[cfg(all(feature = "snapshot", loom))]
pub(crate) use stand_in::{ArcSwap, Cache};

#[cfg(all(feature = "snapshot", loom))]
mod stand_in {
    //! What stands in for [`arc_swap::ArcSwap`] and its `Cache` under loom, which
    //! cannot see the real ones' inside.
    //!
    //! They do with one pointer what the real ones do: a load acquires, a store
    //! releases, and a cache compares with a relaxed load. The pointer is an
    //! index that loom knows; what it leads to lies in a list that loom does not
    //! see, so that reading it orders nothing.

    use super::atomic::AtomicUsize;
    use super::atomic::Ordering::{Acquire, Relaxed, Release};
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
            let index = self.newest.load(Acquire);
            (index, self.values.lock().unwrap()[index].clone())
        }

        pub(crate) fn load_full(&self) -> Arc<T> {
            self.load_index().1
        }

        pub(crate) fn load(&self) -> Box<Arc<T>> {
            Box::new(self.load_full())
        }

        pub(crate) fn store(&self, value: Arc<T>) {
            let index = {
                let mut values = self.values.lock().unwrap();
                values.push(value);
                values.len() - 1
            };
            self.newest.store(index, Release);
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
