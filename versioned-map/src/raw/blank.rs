//! Arrays that are written a part at a time, before anybody shares them.

use std::mem::MaybeUninit;
use std::sync::Arc;

/// An array of which a part has been written. Its items have nothing to drop.
pub(super) struct Blank<T> {
    items: Arc<[MaybeUninit<T>]>,
    written: usize,
}

impl<T: Default> Blank<T> {
    /// One of so many. Its memory is not come to.
    pub(super) fn new(count: usize) -> Blank<T> {
        Blank {
            items: Arc::new_uninit_slice(count),
            written: 0,
        }
    }

    /// Writes up to so many more; answers whether all have been.
    pub(super) fn write(&mut self, most: usize) -> bool {
        let items = Arc::get_mut(&mut self.items).expect("it is not shared");
        let end = items.len().min(self.written.saturating_add(most));
        for item in &mut items[self.written..end] {
            item.write(T::default());
        }
        self.written = end;
        end == items.len()
    }

    /// How many have been written.
    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// All of it.
    pub(super) fn finish(mut self) -> Arc<[T]> {
        self.write(usize::MAX);
        // SAFETY: all have been written.
        unsafe { self.items.assume_init() }
    }
}
