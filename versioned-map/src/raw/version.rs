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
//! Chains know nothing of the types of values: a [`Version`] is what stands in front of one,
//! and [`Valued`] is both.
//!
//! # Who owns a value
//!
//! A change of a part of a value may leave alone what that shares with others (behind an `Arc`,
//! say). Counting how many share it would cost the writer two atomic operations on memory that
//! it does not need otherwise. So the newer version can [take the value over](succeed_lending),
//! and has it *lent* to the older one, which is noted in the link between them. A lender is
//! not freed while whoever it has lent to is in the chain: where a snapshot keeps the
//! older one for longer, [`unlink`] gives it the value back.

use std::alloc::{Layout, alloc, handle_alloc_error};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicPtr, AtomicU64};

/// One version of a value: that from `revision` on it was this, or was not there. The value
/// follows it in memory.
#[repr(C)]
pub(super) struct Version {
    pub(super) revision: u64,
    /// The version before this one, or null where nobody can ask for it any more; with
    /// [`LENT`], and with [`ABSENT`], which is about this version and stays.
    link: AtomicPtr<Version>,
    /// In a model: whether it has been freed.
    #[cfg(loom)]
    freed: std::sync::atomic::AtomicBool,
}

/// A version and its value.
///
/// One with a value of up to 48 bytes fills a cache line.
#[repr(C, align(64))]
struct Valued<V> {
    version: Version,
    /// Written where the version is not [`ABSENT`].
    value: MaybeUninit<V>,
}

/// The memory of a version with a small value, to be used again: a writer that frees scattered
/// memory, and asks the allocator for as much, would touch cold memory each time.
#[repr(C, align(64))]
pub(super) struct Block(MaybeUninit<[u8; 64]>);

/// In a link: that the value of the older version is owned by the newer one.
const LENT: usize = 1;

/// In a link: that the version which has it says that there is no value.
const ABSENT: usize = 2;

/// The alignment of a version leaves so many bits of a pointer to it free.
pub(super) const TAG: usize = 63;

impl Version {
    /// Whether it has a value.
    #[inline]
    pub(super) fn has_value(&self) -> bool {
        // Relaxed: it was written before the version could be found, and this bit stays.
        self.link.load(Relaxed).addr() & ABSENT == 0
    }

    /// Whether there is a version before this one.
    pub(super) fn is_alone(&self) -> bool {
        // Relaxed: asked by the writer, who puts it there.
        untagged(self.link.load(Relaxed)).is_null()
    }

    /// Whether it owns the value of the version before, which has it lent.
    pub(super) fn lends(&self) -> bool {
        is_lent(self.link.load(Relaxed))
    }

    /// Marks it, where a model is to see who comes to it.
    #[cfg(loom)]
    pub(super) fn free_in_model(&self) {
        self.freed.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Block {
    /// The memory of one.
    #[allow(clippy::unnecessary_box_returns)] // it is about the memory
    pub(super) fn spare() -> Box<Block> {
        Box::new(Block(MaybeUninit::uninit()))
    }
}

/// Whether a version with such a value fits into a [`Block`], and fills it.
pub(super) const fn fills_block<V>() -> bool {
    size_of::<Valued<V>>() == size_of::<Block>() && align_of::<Valued<V>>() == align_of::<Block>()
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

/// Makes a version of its own, or one that is newer than `last`, in `memory`.
#[inline]
pub(super) fn make<V>(
    memory: Option<Box<Block>>,
    last: Option<NonNull<Version>>,
    value: Option<V>,
    revision: u64,
) -> NonNull<Version> {
    let last = last.map_or(std::ptr::null_mut(), NonNull::as_ptr);
    match value {
        Some(value) => write(memory, MaybeUninit::new(value), revision, last),
        None => write::<V>(
            memory,
            MaybeUninit::uninit(),
            revision,
            tagged(last, ABSENT),
        ),
    }
}

/// Makes a version that takes over the value of `last`, and has it changed.
///
/// # Safety
///
/// `last` is the newest version of its chain, with a value of this type and of its own, and the
/// writer puts what is answered in front of it. `change` drops nothing of the value, and moves
/// nothing out of it.
#[inline]
pub(super) unsafe fn succeed_lending<V>(
    memory: Option<Box<Block>>,
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
    write(memory, value, revision, tagged(last.as_ptr(), LENT))
}

#[inline]
fn write<V>(
    memory: Option<Box<Block>>,
    value: MaybeUninit<V>,
    revision: u64,
    link: *mut Version,
) -> NonNull<Version> {
    let at = match memory {
        Some(block) if fills_block::<V>() => NonNull::from(Box::leak(block)).cast(),
        _ => allocate::<V>(),
    };
    // SAFETY: it is memory for such a version, which nobody else knows of.
    unsafe {
        at.write(Valued {
            version: Version {
                revision,
                link: AtomicPtr::new(link),
                #[cfg(loom)]
                freed: std::sync::atomic::AtomicBool::new(false),
            },
            value,
        });
    }
    at.cast()
}

fn allocate<V>() -> NonNull<Valued<V>> {
    let layout = Layout::new::<Valued<V>>();
    // SAFETY: the layout is not empty.
    match NonNull::new(unsafe { alloc(layout) }) {
        Some(at) => at.cast(),
        None => handle_alloc_error(layout),
    }
}

/// Frees a version, and drops its value where that is its own; the memory may be used again.
/// Where the value panics, all the same is freed.
///
/// # Safety
///
/// It comes from here, with a value of this type, and nobody can come to it any more.
pub(super) unsafe fn free<V>(version: NonNull<Version>, is_lent: bool) -> Option<Box<Block>> {
    // SAFETY: the caller's: it was allocated with the layout that this box has. What the box
    // has for a value is never dropped, and so it frees the memory and nothing else.
    let mut memory = unsafe { Box::from_raw(version.as_ptr().cast::<MaybeUninit<Valued<V>>>()) };
    // SAFETY: the caller's: it was written in `write`.
    let valued = unsafe { memory.assume_init_mut() };
    let has_value = valued.version.has_value();
    if cfg!(test) {
        // Whoever comes here all the same finds nothing, and sees that it is wrong.
        valued.version.revision = 0;
        valued.version.link = AtomicPtr::new(tagged(std::ptr::null_mut(), ABSENT));
    }
    if has_value && !is_lent {
        // SAFETY: the version has a value, which is its own, and is dropped here only.
        unsafe { valued.value.assume_init_drop() };
    }
    fills_block::<V>().then(|| {
        let at = Box::into_raw(memory).cast();
        // SAFETY: a block has the same size and alignment.
        unsafe { Box::from_raw(at) }
    })
}

/// A version that was pointed to.
///
/// # Safety
///
/// Where it is not null, it has not been freed.
#[inline]
unsafe fn version(at: *mut Version) -> Option<NonNull<Version>> {
    let version = NonNull::new(at);
    #[cfg(loom)]
    if let Some(version) = version {
        // SAFETY: in a model nothing is freed.
        let freed = unsafe { version.as_ref() }
            .freed
            .load(std::sync::atomic::Ordering::Relaxed);
        assert!(!freed, "a reader stood on what had been freed");
    }
    version
}

/// The beginning of a chain: the newest version, and its revision, which can be read
/// without touching the version.
pub(super) struct Head<'a> {
    /// With a tag in its lowest bits.
    pub(super) newest: &'a AtomicPtr<Version>,
    /// That of `newest`, or a later one.
    pub(super) revision: &'a AtomicU64,
}

/// A pointer with a tag.
#[inline]
fn tagged(version: *mut Version, tag: usize) -> *mut Version {
    version.map_addr(|address| address | tag)
}

/// A pointer without its tag.
#[inline]
fn untagged(version: *mut Version) -> *mut Version {
    version.map_addr(|address| address & !TAG)
}

/// Whether a link says that the value it leads to is owned by the newer version.
#[inline]
fn is_lent(link: *mut Version) -> bool {
    link.addr() & LENT == LENT
}

/// The first word of a head.
#[derive(Clone, Copy)]
pub(super) struct Word(*mut Version);

impl Word {
    #[inline]
    pub(super) fn load(newest: &AtomicPtr<Version>) -> Word {
        // Acquire: pairs with the Release in `push_with`.
        Word(newest.load(Acquire))
    }

    /// Whether there is nothing, and never was.
    #[inline]
    pub(super) fn is_free(self) -> bool {
        self.0.is_null()
    }

    /// Whether it has this tag. One that is dead may have it as well.
    #[inline]
    pub(super) fn has(self, tag: usize) -> bool {
        self.0.addr() & TAG == tag
    }

    /// The pointer to the newest version.
    #[inline]
    pub(super) fn pointer(self) -> Option<NonNull<Version>> {
        NonNull::new(untagged(self.0))
    }

    /// The newest version.
    ///
    /// # Safety
    ///
    /// As for [`Head::first`].
    #[inline]
    pub(super) unsafe fn version(self) -> Option<NonNull<Version>> {
        // SAFETY: the caller's.
        unsafe { version(untagged(self.0)) }
    }
}

/// What a registered reader finds at the head of a chain.
pub(super) enum Glance {
    /// The version that it is to see.
    Seen(NonNull<Version>),
    /// None any more, under this head.
    Gone,
    /// A version that is newer, and may be freed under it.
    Newer,
}

impl Head<'_> {
    /// Both parts, for the writer, who put them there.
    pub(super) fn parts(&self) -> (*mut Version, u64) {
        (self.newest(), self.revision.load(Relaxed))
    }

    /// The pointer, for the writer, who put it there.
    #[inline]
    pub(super) fn newest(&self) -> *mut Version {
        untagged(self.newest.load(Relaxed))
    }

    /// Puts a version in front.
    #[inline]
    pub(super) fn push(&self, newest: NonNull<Version>, revision: u64) {
        self.push_with(newest.as_ptr(), revision, 0);
    }

    /// Puts a version in front, with a tag.
    #[inline]
    pub(super) fn push_with(&self, newest: *mut Version, revision: u64, tag: usize) {
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
    pub(super) fn load(&self) -> Word {
        Word::load(self.newest)
    }

    /// The newest version.
    ///
    /// # Safety
    ///
    /// What has the head has not been freed, and the thread is pinned; or it is the writer.
    #[inline]
    pub(super) unsafe fn first(&self) -> Option<NonNull<Version>> {
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
    /// `revision` is registered, for as long as what is found is used, and the head lies in
    /// tables that were loaded under the same pin, or in a cell that is visible at it.
    #[inline]
    pub(super) unsafe fn glance(&self, word: Word, revision: u64) -> Glance {
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
pub(super) unsafe fn seek(first: NonNull<Version>, revision: u64) -> Option<NonNull<Version>> {
    let mut at = first;
    loop {
        // SAFETY: links lead to what is freed no earlier than a grace period after it
        // was unlinked.
        let seen = unsafe { at.as_ref() };
        if seen.revision <= revision {
            return Some(at);
        }
        // Acquire: pairs with the Release of `unlink`, and of `push_with` for a link that was
        // made before the version was seen.
        let before = untagged(seen.link.load(Acquire));
        // SAFETY: as above.
        at = unsafe { version(before) }?;
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
pub(super) unsafe fn unlink(
    newer: NonNull<Version>,
    old: NonNull<Version>,
) -> (Option<NonNull<Version>>, bool) {
    // SAFETY: whoever is linked is not freed.
    let (newer, old) = unsafe { (newer.as_ref(), old.as_ref()) };
    // Relaxed: the writer put both there.
    let (above, below) = (newer.link.load(Relaxed), old.link.load(Relaxed));
    let (is_lent, lends) = (is_lent(above), is_lent(below));
    // Where this one has lent its value, and it is its own, the one before gets it back.
    let lent = if is_lent && lends { LENT } else { 0 };
    let below = untagged(below);
    let link = tagged(below, lent | above.addr() & ABSENT);
    // Release: pairs with the Acquire in `seek`.
    newer.link.store(link, Release);
    (NonNull::new(below), is_lent || lends)
}

/// Takes a chain apart that nobody can come to any more: each version with whether its value is
/// another one's.
///
/// # Safety
///
/// That is so, and nothing was freed; what is answered is freed as it comes.
pub(super) unsafe fn take_apart(head: &Head<'_>) -> impl Iterator<Item = (NonNull<Version>, bool)> {
    let mut link = head.newest();
    std::iter::from_fn(move || {
        let at = NonNull::new(untagged(link))?;
        let is_lent = is_lent(link);
        // SAFETY: the caller's; it is freed after this.
        link = unsafe { at.as_ref() }.link.load(Relaxed);
        Some((at, is_lent))
    })
}
