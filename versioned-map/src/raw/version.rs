//! The chain of versions of one key, newest first, and its head.
//!
//! ```text
//!  slot of the table           version          version          version
//!  [newest+tag | cell]-------->[ 52 | value ]-->[ 47 | value ]-->[ 12 | value ]
//!                 v             ^
//!  cell of the key              |
//!  [newest | revision | key]----'
//! ```
//!
//! Once a version is in its chain, only its link changes. Chains are sorted by revision; a reader
//! takes the first version that is not newer than its own revision.
//!
//! Chains do not know the types of values: a [`Version`] is the header in front of a value.
//!
//! # Who owns a value
//!
//! When the writer changes a part of a value, the old and the new value may share the rest (behind
//! an `Arc`, say). Reference counts would cost the writer two atomic operations on memory that it
//! does not need otherwise. So the newer version may take the value over. It then owns the value
//! and *lends* it to the older version; the link between them says so. As a rule the older version
//! is unlinked first. Where a snapshot keeps it for longer, [`unlink`] gives the value back to it.

use std::ptr::NonNull;

use super::spares::HALF;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicPtr, AtomicU64};
use crate::twin::{self, Twin};

/// One version of a value: from `revision` on, the key had this value, or none. The value follows
/// the version in memory: see `kind`.
#[repr(C)]
pub(super) struct Version {
    pub(super) revision: u64,
    /// The next older version, or null if no reader can need one any more. Tagged with [`LENT`],
    /// and with [`ABSENT`], which describes this version and never changes.
    link: AtomicPtr<Version>,
    /// In a model: whether this version has been freed.
    #[cfg(loom)]
    freed: std::sync::atomic::AtomicBool,
}

/// Tag of a link: the newer version owns the value of the older one.
const LENT: usize = 1;

/// Tag of a link: the version that contains the link has no value.
const ABSENT: usize = 2;

/// The bits of a pointer to a version that its alignment leaves free.
pub(super) const TAG: usize = HALF - 1;

/// Whether a version has a value, and which values it owns.
#[derive(Clone, Copy)]
pub(super) enum Contents {
    Owned,
    /// It owns its value and that of the next older version, to which it lends.
    OwnedWithOlder,
    Absent,
}

impl Version {
    /// Returns a version in front of `last`.
    #[inline]
    pub(super) fn new(revision: u64, last: *mut Version, contents: Contents) -> Version {
        let tag = match contents {
            Contents::Owned => 0,
            Contents::OwnedWithOlder => LENT,
            Contents::Absent => ABSENT,
        };
        Version {
            revision,
            link: AtomicPtr::new(tagged(last, tag)),
            #[cfg(loom)]
            freed: std::sync::atomic::AtomicBool::new(false),
        }
    }

    /// Returns whether the version has a value.
    #[inline]
    pub(super) fn has_value(&self) -> bool {
        // Relaxed: the bit was written before the version was published, and never changes.
        self.link.load(Relaxed).addr() & ABSENT == 0
    }

    /// Returns whether there is no older version.
    pub(super) fn is_alone(&self) -> bool {
        // Relaxed: only the writer asks, and only the writer stores links.
        untagged(self.link.load(Relaxed)).is_null()
    }

    /// Returns whether the version owns the value of the next older one.
    pub(super) fn lends(&self) -> bool {
        is_lent(self.link.load(Relaxed))
    }

    /// Marks the version as freed, so that a model detects later accesses.
    #[cfg(loom)]
    pub(super) fn free_in_model(&self) {
        self.freed.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Turns a pointer into a version; a model checks that the version has not been freed.
///
/// # Safety
///
/// If the pointer is not null, its version has not been freed.
#[inline]
unsafe fn version(at: *mut Version) -> Option<NonNull<Version>> {
    let version = NonNull::new(at);
    #[cfg(loom)]
    if let Some(version) = version {
        // SAFETY: a model never frees memory.
        let freed = unsafe { version.as_ref() }
            .freed
            .load(std::sync::atomic::Ordering::Relaxed);
        assert!(!freed, "a reader stood on what had been freed");
    }
    version
}

/// The head of a chain: the newest version, and its revision, which a reader can load without
/// touching the version.
pub(super) struct Head<'a> {
    /// The newest version, with a tag in the lowest bits.
    pub(super) newest: &'a AtomicPtr<Version>,
    /// The revision of `newest`, or a later one.
    pub(super) revision: &'a AtomicU64,
}

/// Adds a tag to a pointer.
#[inline]
fn tagged(version: *mut Version, tag: usize) -> *mut Version {
    version.map_addr(|address| address | tag)
}

/// Removes the tag of a pointer.
#[inline]
fn untagged(version: *mut Version) -> *mut Version {
    version.map_addr(|address| address & !TAG)
}

/// Returns whether the version that contains the link owns the value of the one that it leads to.
#[inline]
fn is_lent(link: *mut Version) -> bool {
    link.addr() & LENT == LENT
}

/// The first word of a head: a tagged pointer to the newest version.
#[derive(Clone, Copy)]
pub(super) struct Word(*mut Version);

impl Word {
    #[inline]
    pub(super) fn load(newest: &AtomicPtr<Version>) -> Word {
        // Acquire: pairs with the Release in `push_tagged`.
        Word(newest.load(Acquire))
    }

    /// Returns whether the slot has never been taken.
    #[inline]
    pub(super) fn is_free(self) -> bool {
        self.0.is_null()
    }

    /// Returns whether the word has this tag. The word of a dead slot may have it, too.
    #[inline]
    pub(super) fn has(self, tag: usize) -> bool {
        self.0.addr() & TAG == tag
    }

    /// Returns the pointer to the newest version.
    #[inline]
    pub(super) fn pointer(self) -> Option<NonNull<Version>> {
        NonNull::new(untagged(self.0))
    }

    /// Returns the newest version.
    ///
    /// # Safety
    ///
    /// As for [`Head::first`].
    #[inline]
    pub(super) unsafe fn version(self) -> Option<NonNull<Version>> {
        // SAFETY: the caller guarantees it.
        unsafe { version(untagged(self.0)) }
    }
}

/// The version that a registered reader, which is not pinned, finds at the head of a chain.
pub(super) enum Visible {
    /// The version that is visible at the reader's revision.
    Version(NonNull<Version>),
    /// The slot or cell has no version any more.
    Gone,
    /// The newest version is newer than the reader's revision, and may be freed at any time.
    Newer,
}

impl Head<'_> {
    /// Returns both parts. For the writer, which is the only one to store them.
    pub(super) fn parts(&self) -> (*mut Version, u64) {
        (self.newest(), self.revision.load(Relaxed))
    }

    /// Returns the newest version. For the writer, which is the only one to store it.
    #[inline]
    pub(super) fn newest(&self) -> *mut Version {
        untagged(self.newest.load(Relaxed))
    }

    /// Puts a version in front of the chain.
    #[inline]
    pub(super) fn push(&self, newest: NonNull<Version>, revision: u64) {
        self.push_tagged(newest.as_ptr(), revision, 0);
    }

    /// Puts a version in front of the chain, with a tag.
    #[inline]
    pub(super) fn push_tagged(&self, newest: *mut Version, revision: u64, tag: usize) {
        self.revision.store(revision, Relaxed);
        // Release: pairs with the Acquire in `Word::load`. A reader that loads this pointer sees
        // the whole version, and this revision or a later one.
        self.newest.store(tagged(newest, tag), Release);
    }

    /// Marks the slot as dead: it has no version, but is not free.
    pub(super) fn kill(&self) {
        let tag = usize::from(!twin::is(Twin::DeadSlotFree));
        self.push_tagged(std::ptr::null_mut(), u64::MAX, tag);
    }

    /// Loads the first word.
    #[inline]
    pub(super) fn load(&self) -> Word {
        Word::load(self.newest)
    }

    /// Returns the newest version.
    ///
    /// # Safety
    ///
    /// The table or cell that contains the head has not been freed, and the thread is pinned, or
    /// has the turn.
    #[inline]
    pub(super) unsafe fn first(&self) -> Option<NonNull<Version>> {
        // SAFETY: a version that a pinned reader can reach is freed no earlier than a period after
        // the writer unlinked it. The caller is pinned, or is the writer, which does not unlink
        // meanwhile.
        unsafe { self.load().version() }
    }

    /// Returns what a registered reader of `revision`, which is not pinned, sees behind the `word`
    /// that it has loaded from this head.
    ///
    /// The order of the two loads matters: the word first, the revision of the head second. The
    /// writer stores them the other way round. So if the second load finds a revision that is not
    /// newer than the reader's, the version found by the first is not newer either. That version is
    /// the visible one: every load since the registration finds what was published before it.
    ///
    /// # Safety
    ///
    /// `revision` stays registered for as long as the result is used. The head lies in tables that
    /// were loaded under the same pin as `revision`, or in a cell that is visible at `revision`.
    #[inline]
    pub(super) unsafe fn visible_at(&self, word: Word, revision: u64) -> Visible {
        let at = untagged(word.0);
        if at.is_null() {
            return Visible::Gone;
        }
        if self.revision.load(Relaxed) > revision {
            return Visible::Newer;
        }
        // SAFETY: the version is visible at `revision`, which is registered.
        match unsafe { version(at) } {
            Some(version) => Visible::Version(version),
            None => Visible::Gone,
        }
    }
}

/// Returns the first version, from `first` on, that is not newer than `revision`.
///
/// # Safety
///
/// The thread has been pinned since before it loaded `first`. `revision` is registered, or was
/// published when the thread pinned itself, or later.
#[inline]
pub(super) unsafe fn seek(first: NonNull<Version>, revision: u64) -> Option<NonNull<Version>> {
    let mut at = first;
    loop {
        // SAFETY: the writer frees a version a period after it has unlinked it, or at once if no
        // reader traverses to it (see `may_be_traversed` in `passes`).
        let seen = unsafe { at.as_ref() };
        if seen.revision <= revision {
            return Some(at);
        }
        // Acquire: pairs with the Release in `unlink`. For a link that the version was made with,
        // the Release in `push_tagged` suffices, which published this version.
        let before = untagged(seen.link.load(Acquire));
        // SAFETY: as above.
        at = unsafe { version(before) }?;
    }
}

/// Unlinks a version from the middle or the end of its chain. A reader that has reached it can
/// continue from it. Returns the next older version, and whether another version owns the value of
/// `old` from now on.
///
/// # Safety
///
/// Only the writer calls this. `old` is linked, and `newer` is the version that links to it.
#[inline]
pub(super) unsafe fn unlink(
    newer: NonNull<Version>,
    old: NonNull<Version>,
) -> (Option<NonNull<Version>>, bool) {
    // SAFETY: linked versions have not been freed.
    let (newer, old) = unsafe { (newer.as_ref(), old.as_ref()) };
    // Relaxed: the writer stored both.
    let (above, below) = (newer.link.load(Relaxed), old.link.load(Relaxed));
    let (is_lent, lends) = (is_lent(above), is_lent(below));
    // If `old` owns the value of the version below, and its own, it gives the former back. If
    // `newer` owns the value of `old`, then from now on it owns that of the version below.
    let lent = if is_lent && lends { LENT } else { 0 };
    let below = untagged(below);
    let link = tagged(below, lent | above.addr() & ABSENT);
    // Release: pairs with the Acquire in `seek`.
    newer.link.store(link, Release);
    (NonNull::new(below), is_lent || lends)
}

/// Iterates over a chain that no reader can reach any more. Yields each version, and whether
/// another version owns its value.
///
/// # Safety
///
/// No reader can reach the chain, and none of its versions has been freed. The caller may free each
/// version as soon as it is yielded.
pub(super) unsafe fn drain_chain(
    head: &Head<'_>,
) -> impl Iterator<Item = (NonNull<Version>, bool)> {
    let mut link = head.newest();
    std::iter::from_fn(move || {
        let at = NonNull::new(untagged(link))?;
        let is_lent = is_lent(link);
        // SAFETY: the caller guarantees it; it frees the version only after this.
        link = unsafe { at.as_ref() }.link.load(Relaxed);
        Some((at, is_lent))
    })
}
