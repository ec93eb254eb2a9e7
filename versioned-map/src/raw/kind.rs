//! How versions lie in memory, and what is done with cells and versions, according to the types
//! of a map.

use std::alloc::Layout;
use std::marker::PhantomData;
use std::mem::{MaybeUninit, needs_drop};
use std::ptr::NonNull;

use super::cell::{Cell, Key};
use super::spares::{Block, HALF, LINE, Memory};
use super::version::{Says, Version};

/// A version and its value. Where keys are [copied](Key::is_copied), a copy of the key follows.
#[repr(C)]
struct Valued<V> {
    version: Version,
    /// Written where the version is not [absent](Says::Absent).
    value: MaybeUninit<V>,
}

/// How the versions of a map lie in memory: those of up to 32 bytes two on a cache line, others on
/// lines of their own.
pub(super) struct Shape<K: ?Sized, V>(PhantomData<V>, PhantomData<K>);

impl<K: Key + ?Sized, V> Shape<K, V> {
    /// Where the copy of the key is, if there is one.
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

    /// Which memory may be used again for it.
    #[inline]
    pub(super) fn block() -> Option<Block> {
        if K::is_copied() {
            const { Block::of(Self::WITH_KEY) }
        } else {
            const { Block::of(Self::WITHOUT) }
        }
    }

    /// The copy of the key in a version.
    ///
    /// # Safety
    ///
    /// Keys are [copied](Key::is_copied), the version is of this shape, and not freed for as long as `'a`.
    #[inline]
    pub(super) unsafe fn key<'a>(version: NonNull<Version>) -> &'a K {
        // SAFETY: the caller's: it stands there.
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

/// On half a line, or on lines of its own.
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

/// The value of a version, if it has one.
///
/// # Safety
///
/// The version has not been freed, and is not for as long as `'a`; its values are of this type.
#[inline]
pub(super) unsafe fn value<'a, V>(version: NonNull<Version>) -> Option<&'a V> {
    // SAFETY: the caller's.
    if !unsafe { version.as_ref() }.has_value() {
        return None;
    }
    let valued = version.cast::<Valued<V>>().as_ptr();
    // SAFETY: as above; the value was written before the version was put into its chain.
    Some(unsafe { (*valued).value.assume_init_ref() })
}

/// Makes the first version of a cell, or one that is newer than `last`, in `memory`.
///
/// # Safety
///
/// The cell has been made with this type of keys, and is not freed. The memory was [kept](Shape::block)
/// for such versions.
#[inline]
pub(super) unsafe fn make<K: Key + ?Sized, V>(
    memory: Option<Memory>,
    cell: NonNull<Cell>,
    last: Option<NonNull<Version>>,
    value: Option<V>,
    revision: u64,
) -> NonNull<Version> {
    let last = last.map_or(std::ptr::null_mut(), NonNull::as_ptr);
    let (value, says) = match value {
        Some(value) => (MaybeUninit::new(value), Says::Own),
        None => (MaybeUninit::uninit(), Says::Absent),
    };
    let version = Version::new(revision, last, says);
    // SAFETY: the caller's.
    unsafe { write::<K, V>(memory, cell, Valued { version, value }) }
}

/// Makes a version that takes over the value of `last`, and has it changed.
///
/// # Safety
///
/// `last` is the newest version of the cell's chain, with a value of this type and of its own, and the
/// writer puts what is answered in front of it. `change` drops nothing of the value, and moves
/// nothing out of it. The cell and the memory are as for [`make`].
#[inline]
pub(super) unsafe fn succeed_lending<K: Key + ?Sized, V>(
    memory: Option<Memory>,
    cell: NonNull<Cell>,
    last: NonNull<Version>,
    revision: u64,
    change: impl FnOnce(&mut V),
) -> NonNull<Version> {
    // SAFETY: the copy stands for the value from now on; what it was copied from is marked as
    // lent, and is not dropped.
    let mut value =
        unsafe { std::ptr::read(&raw const (*last.cast::<Valued<V>>().as_ptr()).value) };
    // SAFETY: the caller's: `last` has a value.
    change(unsafe { value.assume_init_mut() });
    let version = Version::new(revision, last.as_ptr(), Says::TakenOver);
    // SAFETY: the caller's.
    unsafe { write::<K, V>(memory, cell, Valued { version, value }) }
}

/// Writes a version.
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
    // SAFETY: it is memory for such a version, which nobody else knows of. Where keys are copied, they
    // are `Copy`.
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

/// Frees a version, and drops its value where that is its own; the memory may be used again.
/// Where the value panics, all the same is freed.
///
/// # Safety
///
/// It comes from here, with a value of this type, and nobody can come to it any more.
pub(super) unsafe fn free<K: Key + ?Sized, V>(
    version: NonNull<Version>,
    is_lent: bool,
) -> Option<Memory> {
    // SAFETY: the caller's: it was made in `write`. What is in it is dropped before.
    let memory = unsafe { Memory::of(version.cast(), Shape::<K, V>::layout()) };
    // SAFETY: as above.
    let valued = unsafe { version.cast::<Valued<V>>().as_mut() };
    let has_value = valued.version.has_value();
    if cfg!(test) {
        // Whoever comes here all the same finds nothing, and sees that it is wrong.
        valued.version = Version::new(0, std::ptr::null_mut(), Says::Absent);
    }
    if has_value && !is_lent {
        // SAFETY: the version has a value, which is its own, and is dropped here only.
        unsafe { valued.value.assume_init_drop() };
    }
    Shape::<K, V>::block().is_some().then_some(memory)
}

type MakeAbsent = unsafe fn(NonNull<Cell>, NonNull<Version>, u64) -> NonNull<Version>;

/// How the versions and cells of a map are made and freed, where their types are not known.
pub(super) struct Kind {
    make_absent: MakeAbsent,
    free_version: unsafe fn(NonNull<Version>, bool) -> Option<Memory>,
    free_cell: unsafe fn(NonNull<Cell>),
    /// Which memory may be used again for its versions.
    pub(super) block: fn() -> Option<Block>,
    /// Whether its values want to be dropped.
    pub(super) is_dropped: bool,
    /// Whether its keys are [copied](Key::is_copied).
    pub(super) is_copied: fn() -> bool,
}

impl<K: Key + ?Sized, V: 'static> Shape<K, V> {
    const KIND: Kind = Kind {
        make_absent: |cell, last, revision| {
            // SAFETY: whoever calls it says so.
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
    /// That of a map with such keys and values.
    pub(super) fn of<K: Key + ?Sized, V: 'static>() -> &'static Kind {
        &Shape::<K, V>::KIND
    }

    /// A version that is newer than `last`, and says that there is no value.
    ///
    /// # Safety
    ///
    /// The cell is one of a map of this kind, and is not freed.
    pub(super) unsafe fn make_absent(
        &self,
        cell: NonNull<Cell>,
        last: NonNull<Version>,
        revision: u64,
    ) -> NonNull<Version> {
        // SAFETY: the caller's.
        unsafe { (self.make_absent)(cell, last, revision) }
    }

    /// See [`free`].
    ///
    /// # Safety
    ///
    /// As there; the version is one of a map of this kind.
    pub(super) unsafe fn free_version(
        &self,
        version: NonNull<Version>,
        is_lent: bool,
    ) -> Option<Memory> {
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
