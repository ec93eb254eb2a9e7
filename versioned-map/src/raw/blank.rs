//! Arrays that are initialized a part at a time, before they are shared.

use std::mem::MaybeUninit;
use std::sync::Arc;

/// An array of which a part is initialized. Its items need no `Drop`.
pub(super) struct Blank<T> {
    items: Arc<[MaybeUninit<T>]>,
    written: usize,
}

impl<T: Default> Blank<T> {
    /// Allocates an array, and touches none of its memory.
    pub(super) fn new(count: usize) -> Blank<T> {
        Blank {
            items: Arc::new_uninit_slice(count),
            written: 0,
        }
    }

    /// Initializes up to `most` more items. Returns whether all are initialized.
    pub(super) fn write(&mut self, most: usize) -> bool {
        let items = Arc::get_mut(&mut self.items).expect("it is not shared");
        let end = items.len().min(self.written.saturating_add(most));
        for item in &mut items[self.written..end] {
            item.write(T::default());
        }
        self.written = end;
        end == items.len()
    }

    /// Returns the number of initialized items.
    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// Initializes the rest, and returns the array.
    pub(super) fn finish(mut self) -> Arc<[T]> {
        self.write(usize::MAX);
        // SAFETY: all items are initialized.
        unsafe { self.items.assume_init() }
    }
}
