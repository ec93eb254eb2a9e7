//! Memory of freed versions, kept for reuse: a writer that freed scattered memory, and allocated as
//! much, would touch cold memory each time.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// A cache line, in bytes.
pub(super) const LINE: usize = 64;
pub(super) const HALF: usize = LINE / 2;

/// Uninitialized memory that no other code knows of. Dropping it frees it.
pub(super) struct Memory {
    at: NonNull<u8>,
    layout: Layout,
}

// SAFETY: no other thread knows of the memory.
unsafe impl Send for Memory {}

impl Memory {
    /// Allocates memory. Panics if the layout is empty.
    pub(super) fn new(layout: Layout) -> Memory {
        assert!(layout.size() > 0);
        // SAFETY: the layout is not empty.
        match NonNull::new(unsafe { alloc(layout) }) {
            Some(at) => Memory { at, layout },
            None => handle_alloc_error(layout),
        }
    }

    /// Takes back the memory that [`into_raw`](Self::into_raw) returned.
    ///
    /// # Safety
    ///
    /// The memory has this layout, and is accessed only through the result from now on.
    pub(super) unsafe fn of(at: NonNull<u8>, layout: Layout) -> Memory {
        Memory { at, layout }
    }

    #[inline]
    pub(super) fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).at
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the memory was allocated with this layout.
        unsafe { dealloc(self.at.as_ptr(), self.layout) };
    }
}

/// A size of memory that is kept: half a cache line, or a whole one.
#[derive(Clone, Copy)]
pub(super) struct Block(usize);

impl Block {
    /// Returns the size of a layout, if such memory is kept.
    pub(super) const fn of(layout: Layout) -> Option<Block> {
        match (layout.size(), layout.align()) {
            (HALF, HALF) => Some(Block(0)),
            (LINE, LINE) => Some(Block(1)),
            _ => None,
        }
    }

    #[inline]
    const fn layout(self) -> Layout {
        let size = HALF << self.0;
        match Layout::from_size_align(size, size) {
            Ok(layout) => layout,
            Err(_) => panic!("a power of two"),
        }
    }
}

/// Kept memory, by its size.
#[derive(Default)]
pub(super) struct Spares([Vec<Kept>; 2]);

/// Memory of the size of its list.
struct Kept(NonNull<u8>);

// SAFETY: no other thread knows of the memory.
unsafe impl Send for Kept {}

impl Spares {
    /// Takes memory of a size.
    #[inline]
    pub(super) fn take(&mut self, block: Block) -> Option<Memory> {
        let Kept(at) = self.0[block.0].pop()?;
        // SAFETY: the memory was kept with this layout.
        Some(unsafe { Memory::of(at, block.layout()) })
    }

    /// Returns whether `more` of a size can be added without exceeding `most`.
    #[inline]
    pub(super) fn has_room(&self, block: Block, more: usize, most: usize) -> bool {
        self.0[block.0].len() + more <= most
    }

    /// Keeps memory of a size.
    ///
    /// # Safety
    ///
    /// The memory has this size and was allocated with its layout, and no thread accesses it any
    /// more.
    #[cfg(not(loom))]
    #[inline]
    pub(super) unsafe fn keep_block(&mut self, at: NonNull<u8>, block: Block) {
        self.0[block.0].push(Kept(at));
    }

    /// Keeps memory, unless `most` of its size are kept already; then frees it.
    #[inline]
    pub(super) fn keep(&mut self, memory: Memory, most: usize) {
        if let Some(Block(size)) = Block::of(memory.layout)
            && self.0[size].len() < most
        {
            self.0[size].push(Kept(memory.into_raw()));
        }
    }

    /// Allocates more of a size until there are `stock`. Frees what exceeds both `stock` and
    /// `most`.
    pub(super) fn stock_up(&mut self, block: Block, stock: usize, most: usize) {
        while self.0[block.0].len() > stock.max(most) {
            self.take(block);
        }
        let all = &mut self.0[block.0];
        let missing = stock.saturating_sub(all.len());
        all.extend((0..missing).map(|_| Kept(Memory::new(block.layout()).into_raw())));
    }

    /// Moves items from `others` until there are `most`.
    pub(super) fn refill(&mut self, others: &mut Spares, most: usize) {
        for (own, others) in self.0.iter_mut().zip(&mut others.0) {
            refill(own, others, most);
        }
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        for block in [Block(0), Block(1)] {
            while self.take(block).is_some() {}
        }
    }
}

/// Moves items from `others` until there are `most`.
pub(super) fn refill<T>(own: &mut Vec<T>, others: &mut Vec<T>, most: usize) {
    let room = most.saturating_sub(own.len());
    let from = others.len().saturating_sub(room);
    own.extend(others.drain(from..));
    // A reader may append to `others`, and is not to allocate.
    others.reserve(most.saturating_sub(others.len()));
}
