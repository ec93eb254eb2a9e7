//! Memory of versions, to be used again: a writer that frees scattered memory, and asks the
//! allocator for as much, would touch cold memory each time.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// What a processor fetches at once.
pub(super) const LINE: usize = 64;
pub(super) const HALF: usize = LINE / 2;

/// Memory that nobody else knows of; freed when it is dropped.
pub(super) struct Memory {
    at: NonNull<u8>,
    layout: Layout,
}

// SAFETY: nobody else knows of it.
unsafe impl Send for Memory {}

impl Memory {
    /// Some more. The layout is not empty.
    pub(super) fn new(layout: Layout) -> Memory {
        assert!(layout.size() > 0);
        // SAFETY: the layout is not empty.
        match NonNull::new(unsafe { alloc(layout) }) {
            Some(at) => Memory { at, layout },
            None => handle_alloc_error(layout),
        }
    }

    /// What [`into_raw`](Self::into_raw) has answered.
    ///
    /// # Safety
    ///
    /// It had this layout, and nobody comes to it any more, but by way of what is answered.
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
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(self.at.as_ptr(), self.layout) };
    }
}

/// A size of memory that is kept: half a line, or a line.
#[derive(Clone, Copy)]
pub(super) struct Block(usize);

impl Block {
    /// That of a layout, if it is kept.
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

/// Memory that is kept, by its size.
#[derive(Default)]
pub(super) struct Spares([Vec<Kept>; 2]);

/// Memory whose list says how large it is.
struct Kept(NonNull<u8>);

// SAFETY: nobody else knows of it.
unsafe impl Send for Kept {}

impl Spares {
    /// Takes some.
    #[inline]
    pub(super) fn take(&mut self, block: Block) -> Option<Memory> {
        let Kept(at) = self.0[block.0].pop()?;
        // SAFETY: it was kept with this layout.
        Some(unsafe { Memory::of(at, block.layout()) })
    }

    /// Whether there is room for so many of a size.
    #[inline]
    pub(super) fn has_room(&self, block: Block, more: usize, most: usize) -> bool {
        self.0[block.0].len() + more <= most
    }

    /// Keeps some.
    ///
    /// # Safety
    ///
    /// It has this size and was allocated with its layout, and nobody comes to it any more.
    #[cfg(not(loom))]
    #[inline]
    pub(super) unsafe fn keep_block(&mut self, at: NonNull<u8>, block: Block) {
        self.0[block.0].push(Kept(at));
    }

    /// Keeps some, unless there is so much of its size.
    #[inline]
    pub(super) fn keep(&mut self, memory: Memory, most: usize) {
        if let Some(Block(size)) = Block::of(memory.layout)
            && self.0[size].len() < most
        {
            self.0[size].push(Kept(memory.into_raw()));
        }
    }

    /// Makes more of a size, until there is so much; gives back what is more than `most`.
    pub(super) fn stock_up(&mut self, block: Block, stock: usize, most: usize) {
        while self.0[block.0].len() > stock.max(most) {
            self.take(block);
        }
        let all = &mut self.0[block.0];
        let missing = stock.saturating_sub(all.len());
        all.extend((0..missing).map(|_| Kept(Memory::new(block.layout()).into_raw())));
    }

    /// Takes from `others` what there is room for.
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

/// Takes from `others` what there is room for.
pub(super) fn refill<T>(own: &mut Vec<T>, others: &mut Vec<T>, most: usize) {
    let room = most.saturating_sub(own.len());
    let from = others.len().saturating_sub(room);
    own.extend(others.drain(from..));
    // Whoever leaves something there may be a reader, who asks for no memory.
    others.reserve(most.saturating_sub(others.len()));
}
