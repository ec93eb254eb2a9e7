//! The layout of versions in memory, and how cells and versions of a map's types are made and
//! freed.

use std::alloc::Layout;
use std::marker::PhantomData;
use std::mem::{MaybeUninit, needs_drop};
use std::ptr::NonNull;

use super::cell::{Cell, Key};
use super::spares::{Block, HALF, LINE, Memory};
use super::version::{Contents, Version};

/// A version and its value. Where keys are [copied](Key::is_copied), a copy of the key follows.
#[repr(C)]
struct Valued<V> {
    version: Version,
    /// Initialized unless the version is [absent](Contents::Absent).
    value: MaybeUninit<V>,
}

/// The layout of a map's versions: two of up to 32 bytes share a cache line, larger ones have lines
/// of their own.
pub(super) struct Shape<K: ?Sized, V>(PhantomData<V>, PhantomData<K>);

impl<K: Key + ?Sized, V> Shape<K, V> {
    /// The offset of the key's copy, if there is one.
    const KEY_AT: usize = match K::COPY {
        Some(key) => size_of::<Valued<V>>().next_multiple_of(key.align()),
        None => size_of::<Valued<V>>(),
    };
    const WITH_KEY: Layout = match K::COPY {
        Some(key) => in_lines(
            Self::KEY_AT + key.size(),
            most(key.align(), align_of::<Valued<V>>()),
        ),
        None => Self::WITHOUT,
    };
    const WITHOUT: Layout = in_lines(size_of::<Valued<V>>(), align_of::<Valued<V>>());

    #[inline]
    fn layout() -> Layout {
        if K::is_copied() {
            Self::WITH_KEY
        } else {
            Self::WITHOUT
        }
    }

    /// Returns the block size under which freed versions are kept for reuse, if they are.
    #[inline]
    pub(super) fn block() -> Option<Block> {
        if K::is_copied() {
            const { Block::of(Self::WITH_KEY) }
        } else {
            const { Block::of(Self::WITHOUT) }
        }
    }

    /// Returns the copy of the key in a version.
    ///
    /// # Safety
    ///
    /// Keys are [copied](Key::is_copied). The version has this shape, and is not freed during `'a`.
    #[inline]
    pub(super) unsafe fn key<'a>(version: NonNull<Version>) -> &'a K {
        // SAFETY: the caller guarantees that the version contains the copy.
        unsafe { K::copied(version.cast::<u8>().add(Self::KEY_AT)) }
    }
}

// Models have larger atomics.
#[cfg(not(any(loom, shuttle)))]
const _: () = {
    let small = Shape::<u64, u64>::WITH_KEY;
    assert!(small.size() == HALF && small.align() == HALF);
    assert!(Shape::<str, [u64; 6]>::WITHOUT.size() == LINE);
    assert!(Shape::<u64, [u64; 5]>::WITH_KEY.size() == LINE);
};

/// Returns a layout of half a cache line, or of whole lines.
const fn in_lines(size: usize, align: usize) -> Layout {
    let line = if size <= HALF { HALF } else { LINE };
    match Layout::from_size_align(size, most(align, line)) {
        Ok(layout) => layout.pad_to_align(),
        Err(_) => panic!("memory holds it"),
    }
}

const fn most(one: usize, other: usize) -> usize {
    if one > other { one } else { other }
}

/// Returns the value of a version, if it has one.
///
/// # Safety
///
/// The version is not freed during `'a`, and its values are of this type.
#[inline]
pub(super) unsafe fn value<'a, V>(version: NonNull<Version>) -> Option<&'a V> {
    // SAFETY: the caller guarantees it.
    if !unsafe { version.as_ref() }.has_value() {
        return None;
    }
    let valued = version.cast::<Valued<V>>().as_ptr();
    // SAFETY: as above; the value was written before the writer published the version.
    Some(unsafe { (*valued).value.assume_init_ref() })
}

/// Makes the first version of a cell, or one in front of `last`, in `memory`.
///
/// # Safety
///
/// The cell was made with this type of keys, and has not been freed. The memory was
/// [kept](Shape::block) for such versions.
#[inline]
pub(super) unsafe fn make<K: Key + ?Sized, V>(
    memory: Option<Memory>,
    cell: NonNull<Cell>,
    last: Option<NonNull<Version>>,
    value: Option<V>,
    revision: u64,
) -> NonNull<Version> {
    let last = last.map_or(std::ptr::null_mut(), NonNull::as_ptr);
    let (value, contents) = match value {
        Some(value) => (MaybeUninit::new(value), Contents::Owned),
        None => (MaybeUninit::uninit(), Contents::Absent),
    };
    let version = Version::new(revision, last, contents);
    // SAFETY: the caller guarantees it.
    unsafe { write::<K, V>(memory, cell, Valued { version, value }) }
}

/// Makes a version that takes over the value of `last`, and changes it.
///
/// # Safety
///
/// `last` is the newest version of the cell's chain. It has a value of this type, and owns it. The
/// writer pushes the returned version in front of it. `change` drops nothing of the value, and
/// moves nothing out of it. The cell and the memory are as for [`make`].
#[inline]
pub(super) unsafe fn make_lending<K: Key + ?Sized, V>(
    memory: Option<Memory>,
    cell: NonNull<Cell>,
    last: NonNull<Version>,
    revision: u64,
    change: impl FnOnce(&mut V),
) -> NonNull<Version> {
    // SAFETY: from now on the copy is the value; the original is marked as lent, and is never
    // dropped.
    let mut value =
        unsafe { std::ptr::read(&raw const (*last.cast::<Valued<V>>().as_ptr()).value) };
    // SAFETY: the caller guarantees that `last` has a value.
    change(unsafe { value.assume_init_mut() });
    let version = Version::new(revision, last.as_ptr(), Contents::OwnedWithOlder);
    // SAFETY: the caller guarantees it.
    unsafe { write::<K, V>(memory, cell, Valued { version, value }) }
}

/// Writes a version, and the copy of the key.
///
/// # Safety
///
/// The cell is as for [`make`]; the memory was [kept](Shape::block) for such versions.
#[inline]
unsafe fn write<K: Key + ?Sized, V>(
    memory: Option<Memory>,
    cell: NonNull<Cell>,
    valued: Valued<V>,
) -> NonNull<Version> {
    let memory = memory.unwrap_or_else(|| Memory::new(Shape::<K, V>::layout()));
    let at = memory.into_raw();
    // SAFETY: the memory has the layout of such a version, and no other thread knows of it. Keys
    // that are copied are `Copy`.
    unsafe {
        at.cast().write(valued);
        if let Some(key) = K::COPY.filter(|_| K::is_copied()) {
            let from = NonNull::from(K::of(cell)).cast();
            at.add(Shape::<K, V>::KEY_AT)
                .copy_from_nonoverlapping(from, key.size());
        }
    }
    at.cast()
}

/// Frees a version, and drops its value unless another version owns it. Returns the memory if it
/// may be used again. If the value's `Drop` panics, the memory is freed all the same.
///
/// # Safety
///
/// The version was made here, with a value of this type, and no thread can reach it any more.
pub(super) unsafe fn free<K: Key + ?Sized, V>(
    version: NonNull<Version>,
    is_lent: bool,
) -> Option<Memory> {
    // SAFETY: the caller guarantees that `write` made it. The contents are dropped before the
    // memory.
    let memory = unsafe { Memory::of(version.cast(), Shape::<K, V>::layout()) };
    // SAFETY: as above.
    let valued = unsafe { version.cast::<Valued<V>>().as_mut() };
    let has_value = valued.version.has_value();
    if cfg!(test) {
        // A reader that stands on it in error finds no value, so that the test fails.
        valued.version = Version::new(0, std::ptr::null_mut(), Contents::Absent);
    }
    if has_value && !is_lent {
        // SAFETY: the version has a value and owns it. Nothing else drops it.
        unsafe { valued.value.assume_init_drop() };
    }
    Shape::<K, V>::block().is_some().then_some(memory)
}

type MakeAbsent = unsafe fn(NonNull<Cell>, NonNull<Version>, u64) -> NonNull<Version>;

/// The functions that make and free the versions and cells of a map whose types are erased.
pub(super) struct Kind {
    make_absent: MakeAbsent,
    free_version: unsafe fn(NonNull<Version>, bool) -> Option<Memory>,
    free_cell: unsafe fn(NonNull<Cell>),
    /// Returns the block size under which its freed versions are kept, if they are.
    pub(super) block: fn() -> Option<Block>,
    /// Whether its values need to be dropped.
    pub(super) is_dropped: bool,
    /// Returns whether its keys are [copied](Key::is_copied).
    pub(super) is_copied: fn() -> bool,
}

impl<K: Key + ?Sized, V: 'static> Shape<K, V> {
    const KIND: Kind = Kind {
        make_absent: |cell, last, revision| {
            // SAFETY: the caller of `make_absent` guarantees it.
            unsafe { make::<K, V>(None, cell, Some(last), None, revision) }
        },
        free_version: free::<K, V>,
        free_cell: K::free,
        block: Shape::<K, V>::block,
        is_dropped: needs_drop::<V>(),
        is_copied: K::is_copied,
    };
}

impl Kind {
    /// Returns the kind of a map with these keys and values.
    pub(super) fn of<K: Key + ?Sized, V: 'static>() -> &'static Kind {
        &Shape::<K, V>::KIND
    }

    /// Makes a version in front of `last` that says that there is no value.
    ///
    /// # Safety
    ///
    /// The cell belongs to a map of this kind, and has not been freed.
    pub(super) unsafe fn make_absent(
        &self,
        cell: NonNull<Cell>,
        last: NonNull<Version>,
        revision: u64,
    ) -> NonNull<Version> {
        // SAFETY: the caller guarantees it.
        unsafe { (self.make_absent)(cell, last, revision) }
    }

    /// See [`free`].
    ///
    /// # Safety
    ///
    /// As there; the version belongs to a map of this kind.
    pub(super) unsafe fn free_version(
        &self,
        version: NonNull<Version>,
        is_lent: bool,
    ) -> Option<Memory> {
        // SAFETY: the caller guarantees it.
        unsafe { (self.free_version)(version, is_lent) }
    }

    /// See [`Key::free`].
    ///
    /// # Safety
    ///
    /// As there; the cell belongs to a map of this kind.
    pub(super) unsafe fn free_cell(&self, cell: NonNull<Cell>) {
        // SAFETY: the caller guarantees it.
        unsafe { (self.free_cell)(cell) };
    }
}
