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
//! Chains know nothing of the types of values: a [`Version`] is what stands in front of one.
//!
//! # Who owns a value
//!
//! A change of a part of a value may leave alone what that shares with others (behind an `Arc`,
//! say). Counting how many share it would cost the writer two atomic operations on memory that
//! it does not need otherwise. So the newer version can take the value over,
//! and has it *lent* to the older one, which is noted in the link between them. A lender is
//! not freed while whoever it has lent to is in the chain: where a snapshot keeps the
//! older one for longer, [`unlink`] gives it the value back.

use std::ptr::NonNull;

use super::spares::HALF;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicPtr, AtomicU64};
use crate::twin::{self, Twin};

/// One version of a value: that from `revision` on it was this, or was not there. The value
/// follows it in memory: see `kind`.
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

/// In a link: that the value of the older version is owned by the newer one.
const LENT: usize = 1;

/// In a link: that the version which has it says that there is no value.
const ABSENT: usize = 2;

/// The alignment of a version leaves so many bits of a pointer to it free.
pub(super) const TAG: usize = HALF - 1;

/// What a version says of its value.
#[derive(Clone, Copy)]
pub(super) enum Says {
    Own,
    /// That it is owned, and that of the version before as well, which has it lent.
    TakenOver,
    Absent,
}

impl Version {
    /// One in front of `last`.
    #[inline]
    pub(super) fn new(revision: u64, last: *mut Version, says: Says) -> Version {
        let tag = match says {
            Says::Own => 0,
            Says::TakenOver => LENT,
            Says::Absent => ABSENT,
        };
        Version {
            revision,
            link: AtomicPtr::new(tagged(last, tag)),
            #[cfg(loom)]
            freed: std::sync::atomic::AtomicBool::new(false),
        }
    }

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
        let tag = usize::from(!twin::is(Twin::KilledFree));
        self.push_with(std::ptr::null_mut(), u64::MAX, tag);
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
