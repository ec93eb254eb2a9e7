//! What belongs to one key, and stays where it is for as long as the key has versions; and what
//! is done with cells and versions according to their types.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::version::{self, Block, Head, Version};
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};

/// What belongs to a key. That follows it in memory, so that comparing keys and putting a version
/// in front touch one place.
#[repr(C)]
pub struct Cell {
    newest: AtomicPtr<Version>,
    revision: AtomicU64,
    pub(super) hash: u64,
    /// What its owner notes.
    note: AtomicU32,
    /// The length of a key that is a text.
    length: u32,
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

    /// A cell with that key; to be freed.
    fn cell(new: Self::New<'_>, hash: u64) -> NonNull<Cell>;

    /// The key of a cell.
    ///
    /// # Safety
    ///
    /// The cell comes from `cell`, and has not been freed, and is not for as long as `'a`.
    unsafe fn of<'a>(cell: NonNull<Cell>) -> &'a Self;

    /// Frees a cell.
    ///
    /// # Safety
    ///
    /// It comes from `cell`, and nobody can come to it any more.
    unsafe fn free(cell: NonNull<Cell>);
}

#[repr(C, align(32))]
struct Keyed<K> {
    cell: Cell,
    key: K,
}

// SAFETY: all three see a `Keyed<K>` in a box.
unsafe impl<K: 'static> Key for K {
    type New<'a> = K;

    fn cell(key: K, hash: u64) -> NonNull<Cell> {
        let cell = Cell::new(hash, 0);
        let keyed = Box::new(Keyed { cell, key });
        NonNull::from(Box::leak(keyed)).cast()
    }

    #[inline]
    unsafe fn of<'a>(cell: NonNull<Cell>) -> &'a K {
        let keyed = cell.cast::<Keyed<K>>();
        // SAFETY: the caller's.
        unsafe { &(*keyed.as_ptr()).key }
    }

    unsafe fn free(cell: NonNull<Cell>) {
        // SAFETY: the caller's.
        drop(unsafe { Box::from_raw(cell.cast::<Keyed<K>>().as_ptr()) });
    }
}

fn layout_of_text(length: usize) -> Layout {
    let whole = size_of::<Keyed<()>>() + length;
    let layout = Layout::from_size_align(whole, align_of::<Keyed<()>>());
    // Sizes that no allocator has to round up to align.
    layout.expect("memory holds it").pad_to_align()
}

// SAFETY: all three see a `Keyed<()>`, and behind it as many bytes of a text as the cell says.
unsafe impl Key for str {
    type New<'a> = &'a str;

    fn cell(key: &str, hash: u64) -> NonNull<Cell> {
        let length = u32::try_from(key.len()).expect("a text of less than 4 GB");
        let cell = Cell::new(hash, length);
        let layout = layout_of_text(key.len());
        // SAFETY: the layout is not empty; what it is asked for is written before it is used:
        // the cell, and behind it the bytes of the key.
        unsafe {
            let Some(at) = NonNull::new(alloc(layout)) else {
                handle_alloc_error(layout);
            };
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

    unsafe fn free(cell: NonNull<Cell>) {
        // SAFETY: the caller's. Nothing in it wants to be dropped.
        unsafe {
            let length = cell.as_ref().length as usize;
            dealloc(cell.cast().as_ptr(), layout_of_text(length));
        }
    }
}

type MakeAbsent = fn(Option<Box<Block>>, NonNull<Version>, u64) -> NonNull<Version>;

/// How the versions and cells of a map are made and freed, where their types are not known.
pub(super) struct Kind {
    make_absent: MakeAbsent,
    free_version: unsafe fn(NonNull<Version>, bool) -> Option<Box<Block>>,
    free_cell: unsafe fn(NonNull<Cell>),
}

struct Of<K: ?Sized, V>(PhantomData<V>, PhantomData<K>);

impl<K: Key + ?Sized, V: 'static> Of<K, V> {
    const KIND: Kind = Kind {
        make_absent: |memory, last, revision| {
            version::make::<V>(memory, Some(last), None, revision)
        },
        free_version: version::free::<V>,
        free_cell: K::free,
    };
}

impl Kind {
    /// That of a map with such keys and values.
    pub(super) fn of<K: Key + ?Sized, V: 'static>() -> &'static Kind {
        &Of::<K, V>::KIND
    }

    /// A version that is newer than `last`, and says that there is no value.
    pub(super) fn make_absent(
        &self,
        memory: Option<Box<Block>>,
        last: NonNull<Version>,
        revision: u64,
    ) -> NonNull<Version> {
        (self.make_absent)(memory, last, revision)
    }

    /// See [`version::free`].
    ///
    /// # Safety
    ///
    /// As there; the version is one of a map of this kind.
    pub(super) unsafe fn free_version(
        &self,
        version: NonNull<Version>,
        is_lent: bool,
    ) -> Option<Box<Block>> {
        // SAFETY: the caller's.
        unsafe { (self.free_version)(version, is_lent) }
    }

    /// See [`Key::free`].
    ///
    /// # Safety
    ///
    /// As there; the cell is one of a map of this kind.
    pub(super) unsafe fn free_cell(&self, cell: NonNull<Cell>) {
        // SAFETY: the caller's.
        unsafe { (self.free_cell)(cell) };
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
