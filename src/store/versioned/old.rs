//! Versions that have been replaced, until their memory is used again.

use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

#[cfg(not(loom))]
use super::chain::Cell;
use super::chain::Version;
use super::engine::OFTEN;
use super::lists::{Members, Subscribers};
use crate::service::ServiceInfo;
use crate::store::StoreStats;

/// A version that has been replaced, or a cell that has been removed.
pub(super) enum Old {
    Service(OldVersion<ServiceInfo>),
    Name(OldVersion<Members>),
    Group(OldVersion<Subscribers>),
    Stats(OldVersion<StoreStats>),
}

pub(super) struct OldVersion<V> {
    pub(super) version: NonNull<Version<V>>,
    /// Visible up to this revision, exclusively.
    pub(super) until: u64,
    /// Whether it is the last one of a cell that has left its table.
    pub(super) removed: bool,
}

// SAFETY: it stands for the version, and the cell, that it will free.
unsafe impl<V: Send + Sync> Send for OldVersion<V> {}

impl<V> OldVersion<V> {
    pub(super) fn version(&self) -> &Version<V> {
        // SAFETY: while there is an `OldVersion` of it, it has not been freed: that is what
        // frees it, or else the end of its generation, before which all are forgotten.
        unsafe { self.version.as_ref() }
    }
}

impl Old {
    /// The revisions at which it is visible.
    pub(super) fn visible(&self) -> std::ops::Range<u64> {
        match self {
            Old::Service(old) => old.version().revision..old.until,
            Old::Name(old) => old.version().revision..old.until,
            Old::Group(old) => old.version().revision..old.until,
            Old::Stats(old) => old.version().revision..old.until,
        }
    }

    pub(super) fn is_removed(&self) -> bool {
        match self {
            Old::Service(old) => old.removed,
            Old::Name(old) => old.removed,
            Old::Group(old) => old.removed,
            Old::Stats(old) => old.removed,
        }
    }

    /// Frees it, or leaves the memory of a service's version to be used again.
    ///
    /// # Safety
    ///
    /// It has been unlinked, or removed, and nobody can come to it any more.
    #[cfg(not(loom))]
    unsafe fn free(self, spares: &mut Vec<Spare>) {
        #[allow(clippy::unnecessary_box_returns)] // its memory is used again
        unsafe fn take<V>(old: &OldVersion<V>) -> Spare<V> {
            // SAFETY: the caller's; versions are boxes.
            let mut version = unsafe { Box::from_raw(old.version.as_ptr()) };
            version.value = None;
            if old.removed {
                // SAFETY: as above, and this was its last version.
                unsafe { Cell::free(version.cell) };
            }
            version
        }
        match &self {
            // SAFETY: the caller's, in all four.
            Old::Service(old) => spares.push(unsafe { take(old) }),
            // SAFETY: as above.
            Old::Name(old) => drop(unsafe { take(old) }),
            // SAFETY: as above.
            Old::Group(old) => drop(unsafe { take(old) }),
            // SAFETY: as above.
            Old::Stats(old) => drop(unsafe { take(old) }),
        }
    }

    /// Leaves it where it is, so that the model sees who comes to it.
    #[cfg(loom)]
    unsafe fn free(self, _: &mut Vec<Spare>) {
        let freed = match &self {
            Old::Service(old) => &old.version().freed,
            Old::Name(old) => &old.version().freed,
            Old::Group(old) => &old.version().freed,
            Old::Stats(old) => &old.version().freed,
        };
        freed.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// The memory of a version, to be used again: a writer that frees scattered memory, and
/// asks the allocator for as much, would touch cold memory each time.
pub(super) type Spare<V = ServiceInfo> = Box<Version<V>>;

/// How many spares are kept of what is freed.
pub(super) const SPARES: usize = 2 * OFTEN;

/// How many spares are made while the store grows.
pub(super) const STOCK: usize = 8 * OFTEN;

/// Spares that come from whoever frees, until the writer takes them.
pub(super) type Spares = Mutex<Vec<Spare>>;

/// What nobody can come to once a grace period has passed.
#[derive(Default)]
pub(super) struct Garbage {
    pub(super) old: Vec<Old>,
    /// Where spares go.
    pub(super) spares: Option<Arc<Spares>>,
}

impl Drop for Garbage {
    fn drop(&mut self) {
        let mut freed = Vec::new();
        for old in self.old.drain(..) {
            // SAFETY: who makes a `Garbage` of it hands it to the epoch, or is the last.
            unsafe { old.free(&mut freed) };
        }
        // Whoever frees may be a reader, who waits for nobody: what cannot be left is freed.
        let spares = self.spares.as_ref().map(|spares| spares.try_lock());
        if let Some(Ok(mut spares)) = spares {
            let room = SPARES.saturating_sub(spares.len());
            spares.extend(freed.drain(..room.min(freed.len())));
        }
    }
}
