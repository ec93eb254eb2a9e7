//! What belongs to one key, and stays where it is for as long as the key has versions.

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

/// What belongs to a key. That follows it in memory, so that comparing keys and putting a version
/// in front touch one place.
#[repr(C)]
pub struct Cell {
    pub(super) hash: u64,
    /// What its owner notes.
    note: AtomicU32,
    /// The length of a key that is a text.
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

/// How a key lies in its cell: any sized type as it is, a `str` as the bytes of its text.
///
/// # Safety
///
/// `of` finds the key that the cell was made of, and `free` frees the cell and the key.
pub unsafe trait Key: 'static {
    /// What a key is made of.
    type New<'a>;

    /// How a copy of a key would lie in memory, where one can be made bit by bit.
    const COPY: Option<Layout>;

    /// Whether each version has a copy of the key. Readers compare it, and come to no cell.
    ///
    /// That a type is small and needs no `Drop` is not enough: a lock, or whoever holds the only reference
    /// to something, must not be there twice. Nothing says of any type that it is `Copy`, so that it is known
    /// of some.
    fn is_copied() -> bool;

    /// A cell with that key; to be freed.
    fn cell(new: Self::New<'_>, hash: u64) -> NonNull<Cell>;

    /// The key of a cell.
    ///
    /// # Safety
    ///
    /// The cell comes from `cell`, and has not been freed, and is not for as long as `'a`.
    unsafe fn of<'a>(cell: NonNull<Cell>) -> &'a Self;

    /// The key that a copy was made of.
    ///
    /// # Safety
    ///
    /// Keys are [copied](Self::is_copied), and it is one, for as long as `'a`.
    unsafe fn copied<'a>(copy: NonNull<u8>) -> &'a Self;

    /// Frees a cell.
    ///
    /// # Safety
    ///
    /// It comes from `cell`, and nobody can come to it any more.
    unsafe fn free(cell: NonNull<Cell>);
}

#[repr(C)]
struct Keyed<K> {
    cell: Cell,
    key: K,
}

/// Of cells that readers come to, which are so large that no allocator has to round up to align.
const ALIGN: usize = 32;

/// Keys of up to so many bytes are copied.
const SMALL: usize = 16;

impl<K: 'static> Keyed<K> {
    const ALIGNED: Layout = match Layout::new::<Keyed<K>>().align_to(ALIGN) {
        Ok(layout) => layout.pad_to_align(),
        Err(_) => panic!("memory holds it"),
    };

    #[inline]
    fn layout() -> Layout {
        if <K as Key>::is_copied() {
            // Only writers come there.
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

// SAFETY: all see a `Keyed<K>`, allocated with that layout.
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
        // SAFETY: it is memory for this, which nobody else knows of.
        unsafe { at.cast().write(Keyed { cell, key }) };
        at.cast()
    }

    #[inline]
    unsafe fn of<'a>(cell: NonNull<Cell>) -> &'a K {
        let keyed = cell.cast::<Keyed<K>>();
        // SAFETY: the caller's.
        unsafe { &(*keyed.as_ptr()).key }
    }

    #[inline]
    unsafe fn copied<'a>(copy: NonNull<u8>) -> &'a K {
        // SAFETY: the caller's.
        unsafe { copy.cast::<K>().as_ref() }
    }

    unsafe fn free(cell: NonNull<Cell>) {
        // SAFETY: the caller's: it was made in `cell`. What is in it is dropped before.
        let _memory = unsafe { Memory::of(cell.cast(), Keyed::<K>::layout()) };
        // SAFETY: as above.
        unsafe { cell.cast::<Keyed<K>>().drop_in_place() };
    }
}

/// Whether a type is one of some that are `Copy`. The compiler knows the answer.
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

// SAFETY: all see a `Keyed<()>`, and behind it as many bytes of a text as the cell says.
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
        // SAFETY: it is memory for this, which nobody else knows of: the cell, and behind it the bytes
        // of the key.
        unsafe {
            at.add(size_of::<Keyed<()>>())
                .copy_from_nonoverlapping(NonNull::from(key.as_bytes()).cast(), key.len());
            at.cast().write(Keyed { cell, key: () });
            at.cast()
        }
    }

    #[inline]
    unsafe fn of<'a>(cell: NonNull<Cell>) -> &'a str {
        // SAFETY: the caller's; so many bytes stand behind it, which are a text.
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
        // SAFETY: the caller's. Nothing in it wants to be dropped.
        unsafe {
            let length = cell.as_ref().length as usize;
            drop(Memory::of(cell.cast(), layout_of_text(length)));
        }
    }
}

/// A cell whose map has values of this type: a place that can be written into another map's
/// values, and read there without asking for the key.
///
/// It is an address: who follows it says why it may.
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

// SAFETY: see there.
unsafe impl<V> Send for At<V> {}
// SAFETY: see there.
unsafe impl<V> Sync for At<V> {}

impl<V> At<V> {
    pub(super) fn new(cell: NonNull<Cell>) -> At<V> {
        At {
            cell,
            _of: PhantomData,
        }
    }

    /// The cell.
    ///
    /// # Safety
    ///
    /// It has not been freed, and is not for as long as `'a`.
    #[inline]
    pub(super) unsafe fn cell<'a>(self) -> &'a Cell {
        // SAFETY: the caller's.
        unsafe { self.cell.as_ref() }
    }

    /// What its owner has noted there; at first 0.
    ///
    /// # Safety
    ///
    /// The caller has the turn, and the key is there in the newest state, or was taken out in
    /// this turn.
    pub unsafe fn note(self) -> u32 {
        // SAFETY: the caller's: a cell is freed with its last version.
        unsafe { self.cell() }.note.load(Relaxed)
    }

    /// Notes something.
    ///
    /// # Safety
    ///
    /// As for [`note`](Self::note).
    pub unsafe fn set_note(self, note: u32) {
        // SAFETY: as in `note`.
        unsafe { self.cell() }.note.store(note, Relaxed);
    }
}
