//! Arrays that are shared, and written a part at a time before they are.

use std::alloc::Layout;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

use super::spares::Memory;

/// Memory for an array of which a part has been written. Its items have nothing to drop.
pub(super) struct Blank<T> {
    memory: Memory,
    count: usize,
    written: usize,
    _items: PhantomData<T>,
}

impl<T: Default> Blank<T> {
    /// For so many, and not for none.
    pub(super) fn new(count: usize) -> Blank<T> {
        let layout = Layout::array::<T>(count).expect("memory holds it");
        Blank {
            memory: Memory::new(layout),
            count,
            written: 0,
            _items: PhantomData,
        }
    }

    /// Writes up to so many more; answers whether all have been.
    pub(super) fn write(&mut self, most: usize) -> bool {
        let end = self.count.min(self.written.saturating_add(most));
        let first = self.memory.at().cast::<T>();
        for at in self.written..end {
            // SAFETY: it is memory for so many, which nobody else knows of.
            unsafe { first.add(at).write(T::default()) };
        }
        self.written = end;
        end == self.count
    }

    /// The array.
    pub(super) fn finish(mut self) -> Array<T> {
        self.write(usize::MAX);
        Array {
            items: NonNull::slice_from_raw_parts(self.memory.at().cast(), self.count),
            memory: Arc::new(self.memory),
        }
    }
}

/// An array. Clones share it.
pub(super) struct Array<T> {
    items: NonNull<[T]>,
    memory: Arc<Memory>,
}

// SAFETY: it is shared as a slice is, and what it owns is memory.
unsafe impl<T: Sync> Send for Array<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Array<T> {}

impl<T> Array<T> {
    /// A share in its memory.
    pub(super) fn memory(&self) -> Arc<Memory> {
        self.memory.clone()
    }
}

impl<T> Clone for Array<T> {
    fn clone(&self) -> Array<T> {
        Array {
            items: self.items,
            memory: self.memory.clone(),
        }
    }
}

impl<T> Deref for Array<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the memory is owned, and all items have been written.
        unsafe { self.items.as_ref() }
    }
}
