//! The only place that switches between the standard library and loom.
//!
//! Models run with `RUSTFLAGS="--cfg loom" cargo test --lib --release models`.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic;

#[cfg(loom)]
pub(crate) use loom::sync::atomic;

#[cfg(all(feature = "snapshot", not(loom)))]
pub(crate) use arc_swap::ArcSwap;

#[cfg(all(feature = "snapshot", loom))]
pub(crate) use stand_in::ArcSwap;

#[cfg(all(feature = "snapshot", loom))]
mod stand_in {
    //! What stands in for [`arc_swap::ArcSwap`] under loom, which cannot see the
    //! real one's inside.
    //!
    //! It promises what the real one documents and no more: a load is an Acquire
    //! and a swap an Acquire and Release of one pointer. The pointer is an index
    //! that loom knows; what it points at lies in a list that loom does not see,
    //! so that reading it orders nothing.

    use super::atomic::AtomicUsize;
    use super::atomic::Ordering::{AcqRel, Acquire};
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

        fn value(&self, index: usize) -> Arc<T> {
            self.values.lock().unwrap()[index].clone()
        }

        pub(crate) fn load_full(&self) -> Arc<T> {
            self.value(self.newest.load(Acquire))
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
            self.value(self.newest.swap(index, AcqRel))
        }
    }
}
