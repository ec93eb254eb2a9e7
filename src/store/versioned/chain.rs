//! The versions of one thing, newest first, and the places where they are found.
//!
//! ```text
//!  slot of the table           version          version          version
//!  [newest+tag | cell]-------->[ 52 | value ]-->[ 47 | value ]-->[ 12 | value ]
//!                 v             ^
//!  cell of the key              |
//!  [newest | revision | key]----'
//! ```
//!
//! A version is never changed once it is in its chain, but for its link. The list is in
//! the order of revisions; a reader takes the first version that is not newer than its
//! own revision.
//!
//! # Who owns a value
//!
//! A change of a record's health leaves the registration what it is, which both versions
//! then share. Counting how many do would cost the writer two atomic operations on memory
//! that it does not need otherwise. So the newer version takes the registration over, and
//! has it *lent* to the older one, which is noted in the link between them. A lender is
//! not freed while whoever it has lent to is in the chain: where a snapshot keeps the
//! older one for longer, [`unlink`] gives it the registration back.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use crate::model::record::ServiceInfo;
use crate::model::status::ServiceStatus;
use crate::model::time::Moment;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};

/// One version of a value: that from `revision` on it was this, or was not there.
///
/// One of a service fills a cache line.
#[repr(C, align(64))]
pub(super) struct Version<V> {
    pub(super) revision: u64,
    /// Dropped by [`Version::release`], unless it is lent.
    value: ManuallyDrop<Option<V>>,
    /// The version before this one, or null where nobody can ask for it any more; with
    /// [`LENT`].
    previous: AtomicPtr<Version<V>>,
    /// In a model: whether it has been freed.
    #[cfg(loom)]
    pub(super) freed: std::sync::atomic::AtomicBool,
}

// Models have larger atomics.
#[cfg(not(any(loom, shuttle)))]
const _: () = assert!(size_of::<Version<ServiceInfo>>() <= 64);

/// In a link: that the value of the older version is owned by the newer one.
const LENT: usize = 1;

/// The alignment of a version leaves so many bits of a pointer to it free.
pub(super) const TAG: usize = 63;

// SAFETY: a version is shared by reference between threads, and freed on any of them,
// as a value of `V` would be; its pointers are followed only as the engine says.
unsafe impl<V: Send + Sync> Send for Version<V> {}
// SAFETY: as above.
unsafe impl<V: Send + Sync> Sync for Version<V> {}

#[allow(clippy::unnecessary_box_returns)] // in a chain there are boxes only
impl<V> Version<V> {
    /// The first one of its chain.
    pub(super) fn new(revision: u64, value: Option<V>) -> Box<Version<V>> {
        Box::new(Version {
            revision,
            value: ManuallyDrop::new(value),
            previous: AtomicPtr::default(),
            #[cfg(loom)]
            freed: std::sync::atomic::AtomicBool::new(false),
        })
    }

    /// The memory of one.
    pub(super) fn spare() -> Box<Version<V>> {
        Version::new(0, None)
    }

    #[inline]
    pub(super) fn value(&self) -> Option<&V> {
        self.value.as_ref()
    }

    /// Whether there is a version before this one.
    pub(super) fn is_alone(&self) -> bool {
        // Relaxed: asked by the writer, who puts it there.
        self.previous.load(Relaxed).is_null()
    }

    /// Whether it owns the value of the version before, which has it lent.
    pub(super) fn lends(&self) -> bool {
        is_lent(self.previous.load(Relaxed))
    }

    /// Drops the value, where it is its own.
    pub(super) fn release(&mut self, is_lent: bool) {
        let value = std::mem::replace(&mut self.value, ManuallyDrop::new(None));
        if !is_lent {
            drop(ManuallyDrop::into_inner(value));
        }
        if cfg!(test) {
            // Whoever comes here all the same finds nothing, and sees that it is wrong.
            self.revision = 0;
            self.previous = AtomicPtr::default();
        }
    }
}

/// Makes a version that is newer than `last`, in `memory` that nobody can come to.
#[inline]
pub(super) fn succeed<V>(
    memory: Option<Box<Version<V>>>,
    last: NonNull<Version<V>>,
    value: Option<V>,
    revision: u64,
) -> NonNull<Version<V>> {
    let link = last.as_ptr();
    write(memory, ManuallyDrop::new(value), revision, link)
}

/// The same for a record with another health, which takes over the registration.
///
/// # Safety
///
/// `last` is the newest version of its chain, with a value of its own, and the writer puts
/// what is answered in front of it.
#[inline]
pub(super) unsafe fn succeed_with_health(
    memory: Option<Box<Version<ServiceInfo>>>,
    last: NonNull<Version<ServiceInfo>>,
    (status, checked_at): (ServiceStatus, Moment),
    revision: u64,
) -> NonNull<Version<ServiceInfo>> {
    // SAFETY: the copy stands for the value from now on; what it was copied from is marked as
    // lent, and is not dropped.
    let mut value = unsafe { std::ptr::read(&raw const (*last.as_ptr()).value) };
    if let Some(service) = &mut *value {
        // Changes what is copied, and leaves alone what is shared.
        service.set_health(status, checked_at, revision.into());
    }
    let link = tagged(last.as_ptr(), LENT);
    write(memory, value, revision, link)
}

#[inline]
fn write<V>(
    memory: Option<Box<Version<V>>>,
    value: ManuallyDrop<Option<V>>,
    revision: u64,
    link: *mut Version<V>,
) -> NonNull<Version<V>> {
    let mut fresh = memory.unwrap_or_else(Version::spare);
    fresh.revision = revision;
    fresh.value = value;
    fresh.previous = AtomicPtr::new(link);
    NonNull::from(Box::leak(fresh))
}

/// A version that was pointed to.
///
/// # Safety
///
/// Where it is not null, it has not been freed, and will not be for as long as `'a`.
#[inline]
pub(super) unsafe fn version<'a, V>(at: *mut Version<V>) -> Option<&'a Version<V>> {
    // SAFETY: the caller's.
    let version = unsafe { at.as_ref() };
    #[cfg(loom)]
    if let Some(version) = version {
        let freed = version.freed.load(std::sync::atomic::Ordering::Relaxed);
        assert!(!freed, "a reader stood on what had been freed");
    }
    version
}

/// The beginning of a chain: the newest version, and its revision, which can be read
/// without touching the version.
pub(super) struct Head<'a, V> {
    /// With a tag in its lowest bits.
    pub(super) newest: &'a AtomicPtr<Version<V>>,
    /// That of `newest`, or a later one.
    pub(super) revision: &'a AtomicU64,
}

/// A pointer with a tag.
#[inline]
fn tagged<V>(version: *mut Version<V>, tag: usize) -> *mut Version<V> {
    version.map_addr(|address| address | tag)
}

/// A pointer without its tag.
#[inline]
fn untagged<V>(version: *mut Version<V>) -> *mut Version<V> {
    version.map_addr(|address| address & !TAG)
}

/// Whether a link says that the value it leads to is owned by the newer version.
#[inline]
fn is_lent<V>(link: *mut Version<V>) -> bool {
    link.addr() & LENT == LENT
}

/// The first word of a head.
#[derive(Clone, Copy)]
pub(super) struct Word<V>(*mut Version<V>);

impl<V> Word<V> {
    #[inline]
    pub(super) fn load(newest: &AtomicPtr<Version<V>>) -> Word<V> {
        // Acquire: pairs with the Release in `push_with`.
        Word(newest.load(Acquire))
    }

    /// Whether there is nothing, and never was.
    #[inline]
    pub(super) fn is_free(&self) -> bool {
        self.0.is_null()
    }

    /// Whether it has this tag. One that is dead may have it as well.
    #[inline]
    pub(super) fn has(&self, tag: usize) -> bool {
        self.0.addr() & TAG == tag
    }

    /// The pointer to the newest version.
    #[inline]
    pub(super) fn pointer(&self) -> Option<NonNull<Version<V>>> {
        NonNull::new(untagged(self.0))
    }

    /// The newest version.
    ///
    /// # Safety
    ///
    /// As for [`Head::first`].
    #[inline]
    pub(super) unsafe fn version<'a>(&self) -> Option<&'a Version<V>> {
        // SAFETY: the caller's.
        unsafe { version(untagged(self.0)) }
    }
}

/// What a registered reader finds at the head of a chain.
pub(super) enum Glance<'a, V> {
    /// The version that it is to see.
    Seen(&'a Version<V>),
    /// None any more, under this head.
    Gone,
    /// A version that is newer, and may be freed under it.
    Newer,
}

impl<V> Head<'_, V> {
    /// Both parts, for the writer, who put them there.
    pub(super) fn parts(&self) -> (*mut Version<V>, u64) {
        (self.newest(), self.revision.load(Relaxed))
    }

    /// The pointer, for the writer, who put it there.
    #[inline]
    pub(super) fn newest(&self) -> *mut Version<V> {
        untagged(self.newest.load(Relaxed))
    }

    /// Puts a version in front.
    #[inline]
    pub(super) fn push(&self, newest: *mut Version<V>, revision: u64) {
        self.push_with(newest, revision, 0);
    }

    /// Puts a version in front, with a tag.
    #[inline]
    pub(super) fn push_with(&self, newest: *mut Version<V>, revision: u64, tag: usize) {
        self.revision.store(revision, Relaxed);
        // Release: pairs with the Acquire in `Word::load`, which then finds the version whole,
        // and at least its revision.
        self.newest.store(tagged(newest, tag), Release);
    }

    /// Leaves nothing but that there was something.
    pub(super) fn kill(&self) {
        self.push_with(std::ptr::null_mut(), u64::MAX, 1);
    }

    /// The first word.
    #[inline]
    pub(super) fn load(&self) -> Word<V> {
        Word::load(self.newest)
    }

    /// The newest version.
    ///
    /// # Safety
    ///
    /// What has the head has not been freed, and the thread is pinned; or it is the writer.
    #[inline]
    pub(super) unsafe fn first<'a>(&self) -> Option<&'a Version<V>> {
        // SAFETY: what a head leads to is freed no earlier than a grace period after it
        // was unlinked, and the caller is pinned, or does not unlink meanwhile.
        unsafe { self.load().version() }
    }

    /// What a reader sees who has registered `revision` and is not pinned, and has loaded
    /// the first word.
    ///
    /// The order of the two loads matters. Where the second finds a revision that is not
    /// newer than the reader's, the version found before is not newer either, because
    /// its own revision was stored before it; and it is the one to see, because what was
    /// published when the reader registered is found by every load since.
    ///
    /// # Safety
    ///
    /// `revision` is registered, for as long as `'a`, and the head lies in
    /// tables that were loaded under the same pin, or in a cell that is visible at it.
    #[inline]
    pub(super) unsafe fn glance<'a>(&self, word: &Word<V>, revision: u64) -> Glance<'a, V> {
        let at = untagged(word.0);
        if at.is_null() {
            return Glance::Gone;
        }
        if self.revision.load(Relaxed) > revision {
            return Glance::Newer;
        }
        // SAFETY: it is visible at `revision`, which is registered.
        match unsafe { version(at) } {
            Some(version) => Glance::Seen(version),
            None => Glance::Gone,
        }
    }
}

/// The first version from `first` on that is not newer than `revision`.
///
/// # Safety
///
/// The thread is pinned since before it came to `first`; and `revision` is registered,
/// or was published when it was pinned, or later.
#[inline]
pub(super) unsafe fn seek<V>(first: &Version<V>, revision: u64) -> Option<&Version<V>> {
    let mut at = first;
    while at.revision > revision {
        // Acquire: pairs with the Release of `unlink`, and of `push` for a link that was
        // made before the version was seen.
        let previous = untagged(at.previous.load(Acquire));
        // SAFETY: links lead to what is freed no earlier than a grace period after it
        // was unlinked.
        at = unsafe { version(previous) }?;
    }
    Some(at)
}

/// What belongs to one key, and stays where it is for as long as the key has versions. The
/// text of the key follows it in memory, so that comparing keys and putting a version in
/// front touch one place.
#[repr(C, align(32))]
pub(super) struct Cell<V> {
    newest: AtomicPtr<Version<V>>,
    revision: AtomicU64,
    pub(super) hash: u64,
    /// Where the pod stands among those of its name. Asked by the writer only.
    pub(super) place: AtomicU32,
    /// The length of the key.
    length: u32,
}

impl<V> Cell<V> {
    /// Makes one, which is to be [freed](Self::free).
    pub(super) fn new(key: &str, hash: u64) -> NonNull<Cell<V>> {
        let cell = Cell {
            newest: AtomicPtr::new(std::ptr::null_mut()),
            revision: AtomicU64::new(0),
            hash,
            place: AtomicU32::new(0),
            length: u32::try_from(key.len()).expect("names have a limit"),
        };
        let layout = Cell::<V>::layout(key.len());
        // SAFETY: the layout is not empty; what it is asked for is written before it is used:
        // the cell, and behind it the bytes of the key.
        unsafe {
            let Some(at) = NonNull::new(alloc(layout)) else {
                handle_alloc_error(layout);
            };
            at.add(size_of::<Cell<V>>())
                .copy_from_nonoverlapping(NonNull::from(key.as_bytes()).cast(), key.len());
            let at = at.cast::<Cell<V>>();
            at.write(cell);
            at
        }
    }

    fn layout(length: usize) -> Layout {
        let whole = size_of::<Cell<V>>() + length;
        let layout = Layout::from_size_align(whole, align_of::<Cell<V>>());
        // Sizes that no allocator has to round up to align.
        layout.expect("names have a limit").pad_to_align()
    }

    /// The bytes of the key.
    ///
    /// # Safety
    ///
    /// The cell comes from `new`, and has not been freed, and is not for as long as `'a`.
    #[inline]
    pub(super) unsafe fn key<'a>(cell: NonNull<Cell<V>>) -> &'a [u8] {
        // SAFETY: the caller's; so many bytes stand behind it.
        unsafe {
            let length = cell.as_ref().length as usize;
            std::slice::from_raw_parts(cell.add(1).cast().as_ptr(), length)
        }
    }

    /// Frees it.
    ///
    /// # Safety
    ///
    /// It comes from `new`, and nobody can come to it any more.
    pub(super) unsafe fn free(cell: NonNull<Cell<V>>) {
        // SAFETY: the caller's. Nothing in a cell wants to be dropped.
        unsafe {
            let length = cell.as_ref().length as usize;
            dealloc(cell.cast().as_ptr(), Cell::<V>::layout(length));
        }
    }

    #[inline]
    pub(super) fn head(&self) -> Head<'_, V> {
        Head {
            newest: &self.newest,
            revision: &self.revision,
        }
    }
}

/// Takes a version out of the middle of its chain, or from its end. A reader who is on
/// it goes on as before. Answers with the version before it, and whether its value is not
/// its own (any more).
///
/// # Safety
///
/// Only the writer does, with a version that is linked, and the one that is linked to it.
#[inline]
pub(super) unsafe fn unlink<V>(
    newer: NonNull<Version<V>>,
    old: &Version<V>,
) -> (Option<NonNull<Version<V>>>, bool) {
    // SAFETY: whoever is linked is not freed.
    let newer = unsafe { newer.as_ref() };
    // Relaxed: the writer put both there.
    let (above, below) = (newer.previous.load(Relaxed), old.previous.load(Relaxed));
    let (is_lent, lends) = (is_lent(above), is_lent(below));
    // Where this one has lent its value, and it is its own, the one before gets it back.
    let below = untagged(below);
    let link = if is_lent && lends {
        tagged(below, LENT)
    } else {
        below
    };
    // Release: pairs with the Acquire in `seek`.
    newer.previous.store(link, Release);
    (NonNull::new(below), is_lent || lends)
}

/// Frees all versions of a chain.
///
/// # Safety
///
/// Nobody can come to them any more.
pub(super) unsafe fn free_chain<V>(head: &Head<'_, V>) {
    let mut link = head.newest();
    while !untagged(link).is_null() {
        let is_lent = is_lent(link);
        // SAFETY: the caller's; the versions of a chain are boxes.
        let mut version = unsafe { Box::from_raw(untagged(link)) };
        link = version.previous.load(Relaxed);
        version.release(is_lent);
    }
}
