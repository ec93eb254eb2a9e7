//! The cell of a key: its hash, its note, its head. It does not move while the key has versions.

use std::alloc::Layout;
use std::any::TypeId;
use std::marker::PhantomData;
use std::mem::needs_drop;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::num::NonZero;
use std::ptr::NonNull;
use std::thread::ThreadId;
use std::time::Duration;

use super::spares::Memory;
use super::version::{Head, Version};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};

/// The cell of a key. The key follows it in memory, so that comparing keys and pushing a version
/// touch one place.
#[repr(C)]
pub struct Cell {
    pub(super) hash: u64,
    /// A note of the engine's owner.
    note: AtomicU32,
    /// The length of the key in bytes, if it is a `str`.
    length: u32,
    newest: AtomicPtr<Version>,
    revision: AtomicU64,
}

impl Cell {
    fn new(hash: u64, length: u32) -> Cell {
        Cell {
            newest: AtomicPtr::new(std::ptr::null_mut()),
            revision: AtomicU64::new(0),
            hash,
            note: AtomicU32::new(0),
            length,
        }
    }

    #[inline]
    pub(super) fn head(&self) -> Head<'_> {
        Head {
            newest: &self.newest,
            revision: &self.revision,
        }
    }
}

/// How a key is stored in its cell: a sized type as it is, a `str` as its bytes.
///
/// # Safety
///
/// `of` returns the key that the cell was made with, and `free` frees the cell and the key.
pub unsafe trait Key: 'static {
    /// The argument from which a key is made.
    type New<'a>;

    /// The layout of a bitwise copy of a key, if the type may have one.
    const COPY: Option<Layout>;

    /// Returns whether each version contains a copy of the key. Then readers compare the copy, and
    /// access no cell.
    ///
    /// A small type without `Drop` does not suffice: a lock, or a type that holds the only
    /// reference to something, must not exist twice. Generic code cannot ask whether a type is
    /// `Copy`, so there is a list of some that are.
    fn is_copied() -> bool;

    /// Allocates a cell with this key. The caller frees it.
    fn cell(new: Self::New<'_>, hash: u64) -> NonNull<Cell>;

    /// Returns the key of a cell.
    ///
    /// # Safety
    ///
    /// The cell comes from `cell`, and is not freed during `'a`.
    unsafe fn of<'a>(cell: NonNull<Cell>) -> &'a Self;

    /// Returns the key of which a version contains this copy.
    ///
    /// # Safety
    ///
    /// Keys are [copied](Self::is_copied), and `copy` points to such a copy during `'a`.
    unsafe fn copied<'a>(copy: NonNull<u8>) -> &'a Self;

    /// Frees a cell and its key.
    ///
    /// # Safety
    ///
    /// The cell comes from `cell`, and no thread can reach it any more.
    unsafe fn free(cell: NonNull<Cell>);
}

#[repr(C)]
struct Keyed<K> {
    cell: Cell,
    key: K,
}

/// Alignment of the cells that readers access. Their size is a multiple of it, so that no allocator
/// has to round up.
const ALIGN: usize = 32;

/// The largest key that is copied, in bytes.
const SMALL: usize = 16;

impl<K: 'static> Keyed<K> {
    const ALIGNED: Layout = match Layout::new::<Keyed<K>>().align_to(ALIGN) {
        Ok(layout) => layout.pad_to_align(),
        Err(_) => panic!("memory holds it"),
    };

    #[inline]
    fn layout() -> Layout {
        if <K as Key>::is_copied() {
            // Only writers access these cells.
            Layout::new::<Keyed<K>>()
        } else {
            Self::ALIGNED
        }
    }
}

// Models have larger atomics.
#[cfg(not(any(loom, shuttle)))]
const _: () = {
    assert!(size_of::<Keyed<u64>>() == 40);
    assert!(Keyed::<String>::ALIGNED.size() == 64);
};

// SAFETY: all functions treat a cell as a `Keyed<K>`, allocated with the layout of `Keyed::layout`.
unsafe impl<K: 'static> Key for K {
    type New<'a> = K;

    const COPY: Option<Layout> = {
        let is_small = size_of::<K>() <= SMALL && align_of::<K>() <= SMALL;
        if is_small && !needs_drop::<K>() {
            Some(Layout::new::<K>())
        } else {
            None
        }
    };

    #[inline]
    fn is_copied() -> bool {
        Self::COPY.is_some() && is_known_to_be_copy::<K>()
    }

    fn cell(key: K, hash: u64) -> NonNull<Cell> {
        let cell = Cell::new(hash, 0);
        let at = Memory::new(Keyed::<K>::layout()).into_raw();
        // SAFETY: the memory has this layout, and no other thread knows of it.
        unsafe { at.cast().write(Keyed { cell, key }) };
        at.cast()
    }

    #[inline]
    unsafe fn of<'a>(cell: NonNull<Cell>) -> &'a K {
        let keyed = cell.cast::<Keyed<K>>();
        // SAFETY: the caller guarantees it.
        unsafe { &(*keyed.as_ptr()).key }
    }

    #[inline]
    unsafe fn copied<'a>(copy: NonNull<u8>) -> &'a K {
        // SAFETY: the caller guarantees it.
        unsafe { copy.cast::<K>().as_ref() }
    }

    unsafe fn free(cell: NonNull<Cell>) {
        // SAFETY: the caller guarantees that `cell` allocated it. The contents are dropped before
        // the memory.
        let _memory = unsafe { Memory::of(cell.cast(), Keyed::<K>::layout()) };
        // SAFETY: as above.
        unsafe { cell.cast::<Keyed<K>>().drop_in_place() };
    }
}

/// Returns whether a type is in a list of types that are `Copy`. The compiler evaluates it.
#[inline]
fn is_known_to_be_copy<K: 'static>() -> bool {
    fn is<K: 'static, T: Copy + 'static>() -> bool {
        TypeId::of::<K>() == TypeId::of::<T>()
    }
    macro_rules! is_one_of {
        ($($known:ty),+ $(,)?) => { false $(|| is::<K, $known>())+ };
    }
    is_one_of! {
        u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, bool, char, (),
        NonZero<u8>, NonZero<u16>, NonZero<u32>, NonZero<u64>, NonZero<u128>, NonZero<usize>,
        NonZero<i8>, NonZero<i16>, NonZero<i32>, NonZero<i64>, NonZero<i128>, NonZero<isize>,
        (u8, u8), (u16, u16), (u32, u32), (u64, u64), (usize, usize),
        (i8, i8), (i16, i16), (i32, i32), (i64, i64), (isize, isize),
        (u32, u32, u32), (u32, u32, u32, u32), &'static str, &'static [u8],
        [u8; 1], [u8; 2], [u8; 3], [u8; 4], [u8; 5], [u8; 6], [u8; 7], [u8; 8],
        [u8; 9], [u8; 10], [u8; 11], [u8; 12], [u8; 13], [u8; 14], [u8; 15], [u8; 16],
        [u16; 2], [u16; 4], [u16; 8], [u32; 2], [u32; 3], [u32; 4], [u64; 1], [u64; 2],
        Duration, Ipv4Addr, Ipv6Addr, SocketAddrV4, TypeId, ThreadId,
    }
}

fn layout_of_text(length: usize) -> Layout {
    let whole = size_of::<Keyed<()>>() + length;
    let layout = Layout::from_size_align(whole, ALIGN);
    layout.expect("memory holds it").pad_to_align()
}

// SAFETY: all functions treat a cell as a `Keyed<()>`, followed by the bytes of a text, as many as
// the cell's `length`.
unsafe impl Key for str {
    type New<'a> = &'a str;

    const COPY: Option<Layout> = None;

    #[inline]
    fn is_copied() -> bool {
        false
    }

    fn cell(key: &str, hash: u64) -> NonNull<Cell> {
        let length = u32::try_from(key.len()).expect("a text of less than 4 GB");
        let cell = Cell::new(hash, length);
        let at = Memory::new(layout_of_text(key.len())).into_raw();
        // SAFETY: the memory has the layout of the cell and the key's bytes behind it, and no other
        // thread knows of it.
        unsafe {
            at.add(size_of::<Keyed<()>>())
                .copy_from_nonoverlapping(NonNull::from(key.as_bytes()).cast(), key.len());
            at.cast().write(Keyed { cell, key: () });
            at.cast()
        }
    }

    #[inline]
    unsafe fn of<'a>(cell: NonNull<Cell>) -> &'a str {
        // SAFETY: the caller guarantees it; `length` bytes follow the cell, and are a text.
        unsafe {
            let length = cell.as_ref().length as usize;
            let bytes = cell.cast::<Keyed<()>>().add(1).cast().as_ptr();
            std::str::from_utf8_unchecked(std::slice::from_raw_parts(bytes, length))
        }
    }

    unsafe fn copied<'a>(_: NonNull<u8>) -> &'a str {
        unreachable!("a text is not copied")
    }

    unsafe fn free(cell: NonNull<Cell>) {
        // SAFETY: the caller guarantees it. A text needs no drop.
        unsafe {
            let length = cell.as_ref().length as usize;
            drop(Memory::of(cell.cast(), layout_of_text(length)));
        }
    }
}

/// The address of a cell of a map with values of this type. A value of another map may contain it,
/// so that a reader of that value reads the cell without looking up its key.
///
/// Code that dereferences the address argues why it may.
pub struct At<V> {
    cell: NonNull<Cell>,
    _of: PhantomData<fn() -> V>,
}

impl<V> Clone for At<V> {
    fn clone(&self) -> At<V> {
        *self
    }
}

impl<V> Copy for At<V> {}

impl<V> PartialEq for At<V> {
    fn eq(&self, other: &At<V>) -> bool {
        self.cell == other.cell
    }
}

impl<V> Eq for At<V> {}

// SAFETY: it is an address; code that dereferences it argues why it may.
unsafe impl<V> Send for At<V> {}
// SAFETY: it is an address; code that dereferences it argues why it may.
unsafe impl<V> Sync for At<V> {}

impl<V> At<V> {
    pub(super) fn new(cell: NonNull<Cell>) -> At<V> {
        At {
            cell,
            _of: PhantomData,
        }
    }

    /// Returns the cell.
    ///
    /// # Safety
    ///
    /// The cell is not freed during `'a`.
    #[inline]
    pub(super) unsafe fn cell<'a>(self) -> &'a Cell {
        // SAFETY: the caller guarantees it.
        unsafe { self.cell.as_ref() }
    }

    /// Returns the note of the engine's owner; initially 0.
    ///
    /// # Safety
    ///
    /// The caller has the turn. The key is there in the newest state, or was removed in this turn.
    pub unsafe fn note(self) -> u32 {
        // SAFETY: the caller guarantees that the key is there, or was until this turn: a cell is
        // freed with its last version.
        unsafe { self.cell() }.note.load(Relaxed)
    }

    /// Stores a note.
    ///
    /// # Safety
    ///
    /// As for [`note`](Self::note).
    pub unsafe fn set_note(self, note: u32) {
        // SAFETY: as in `note`.
        unsafe { self.cell() }.note.store(note, Relaxed);
    }
}
