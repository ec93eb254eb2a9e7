//! [`SnapshotStore`]: persistent maps behind an atomic pointer.
//!
//! A state of the store is a [`Root`]; a pointer leads to the newest one.
//! A reader loads the pointer and reads. A writer takes its turn at a lock that
//! no reader ever touches, clones the root (which shares everything), changes
//! the clone (which copies the paths to what it changes) and swings the pointer.
//!
//! How a reader handle learns of a newer state stands in [`published`].

use std::fmt;
use std::sync::Arc;

use super::tables::prelude::*;
use published::{Published, Reader};
use root::Root;

mod published;
mod root;
mod trie;

/// The store of immutable states: lock-free readers, consistent snapshots.
///
/// Readers take no lock and never wait. A writer waits for other writers only,
/// and copies the path to what it changes; a batch pays for it once. A reader that
/// keeps a [`Snapshot`] holds nobody up: it keeps that state alive, which shares
/// all that has not changed since with the newer ones. Whoever lets go of a state
/// last frees what it alone held: a path after a small commit, everything after
/// `clear`.
///
/// # Consistency
///
/// Linearizable. A commit becomes visible when the pointer is swung, in all
/// indexes at once; every read answers from one state.
///
/// # Inside a read closure
///
/// Every call of the same store is fine. The closure goes on reading the state
/// that it was given.
///
/// ```
/// use service_registry::{RegistryStore, RegistryView, SnapshotStore};
///
/// let store = SnapshotStore::new();
/// store.add_subscription("web:pod-1", "user-service")?;
/// let before = store.snapshot();
/// store.clear()?;
/// assert_eq!(before.subscribers("user-service").count(), 1);
/// assert_eq!(store.snapshot().subscribers("user-service").count(), 0);
/// assert!(before.revision() < store.revision());
/// # Ok::<(), service_registry::StoreError>(())
/// ```
pub struct SnapshotStore {
    newest: Published<Root>,
}

impl Default for SnapshotStore {
    fn default() -> SnapshotStore {
        SnapshotStore {
            newest: Published::new(Root::default()),
        }
    }
}

impl SnapshotStore {
    /// An empty store.
    pub fn new() -> SnapshotStore {
        SnapshotStore::default()
    }

    /// The present state. O(1), allocates nothing, and costs the store nothing
    /// while it is kept, but for the memory of what has been replaced since.
    ///
    /// Of a closed store it is empty, under the last revision.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            root: self.newest.load_full(),
        }
    }

    /// A handle for a thread that reads a lot: it keeps the newest state at hand,
    /// so that a read costs little more than the look-up. O(1).
    pub fn reader(&self) -> SnapshotReader {
        SnapshotReader {
            reader: self.newest.reader(),
            viewed: self.snapshot(),
        }
    }

    #[inline]
    fn read<R>(&self, read: impl FnOnce(&Root) -> R) -> Result<R> {
        let root = self.newest.load();
        if root.is_closed() {
            return Err(StoreError::Closed);
        }
        Ok(read(&root))
    }

    /// A read that runs a closure of the caller.
    #[inline]
    fn read_foreign<R>(&self, read: impl FnOnce(&Root) -> R) -> Result<R> {
        self.read(read)
    }

    fn write<R>(&self, write: impl FnOnce(&mut Root) -> Result<R>) -> Result<R> {
        self.write_root(write).map(|(answer, _)| answer)
    }

    fn commit_write(&self, write: impl FnOnce(&mut Root) -> Result<()>) -> Result<Revision> {
        self.write_root(write).map(|((), revision)| revision)
    }

    fn write_root<R>(&self, write: impl FnOnce(&mut Root) -> Result<R>) -> Result<(R, Revision)> {
        let turn = self.newest.turn();
        let mut root = Root::clone(&self.newest.load());
        if root.is_closed() {
            return Err(StoreError::Closed);
        }
        let answer = write(&mut root)?;
        let changed = root.is_dirty();
        let revision = root.settle();
        let replaced = changed.then(|| turn.publish(root));
        drop(turn);
        drop(replaced);
        Ok((answer, revision))
    }

    fn current_revision(&self) -> Revision {
        self.newest.load().revision()
    }

    #[allow(clippy::unnecessary_wraps)] // the form that the methods ask for
    fn close_tables(&self) -> Result<()> {
        let turn = self.newest.turn();
        let last = self.current_revision();
        let replaced = turn.publish(Root::closed(last));
        drop(turn);
        drop(replaced);
        Ok(())
    }
}

impl_registry_store!(SnapshotStore);

impl fmt::Debug for SnapshotStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::debug_store("SnapshotStore", self, f)
    }
}

/// An immutable state of a [`SnapshotStore`].
///
/// Cloning one bumps a reference count. It can be sent to and shared by threads,
/// kept for as long as one likes, and outlives its store.
///
/// ```
/// fn shared_by_threads<T: Send + Sync + 'static>() {}
/// shared_by_threads::<service_registry::Snapshot>();
/// ```
#[derive(Clone)]
pub struct Snapshot {
    root: Arc<Root>,
}

impl RegistryView for Snapshot {
    fn revision(&self) -> Revision {
        self.root.revision()
    }

    #[inline]
    fn get(&self, key: &str) -> Option<&ServiceInfo> {
        self.root.get(key)
    }

    fn services(&self) -> impl Iterator<Item = &ServiceInfo> {
        self.root.services()
    }

    fn services_by_name<'a>(
        &'a self,
        service_name: &str,
    ) -> impl Iterator<Item = &'a ServiceInfo> + use<'a> {
        self.root.services_by_name(service_name)
    }

    fn subscribers<'a>(
        &'a self,
        service_group: &str,
    ) -> impl Iterator<Item = &'a ServiceKey> + use<'a> {
        self.root.subscribers(service_group)
    }

    fn stats(&self) -> StoreStats {
        self.root.stats()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        f.debug_struct("Snapshot")
            .field("revision", &self.revision())
            .field("services", &stats.services)
            .field("subscriptions", &stats.subscriptions)
            .finish()
    }
}

/// A handle of one thread for reading a [`SnapshotStore`] often.
///
/// It keeps the newest state that it has seen, and before each read looks whether
/// the store still points at it. What it keeps stays in memory until its next read
/// or its end: a thread that stops reading should drop its reader.
///
/// A reader never shows an older state than it showed before.
///
/// ```
/// use service_registry::{RegistryStore, RegistryView, SnapshotStore};
///
/// let store = SnapshotStore::new();
/// let mut reader = store.reader();
/// store.add_subscription("web:pod-1", "user-service")?;
/// assert_eq!(reader.view().subscribers("user-service").count(), 1);
/// # Ok::<(), service_registry::StoreError>(())
/// ```
#[derive(Clone)]
pub struct SnapshotReader {
    reader: Reader<Root>,
    /// What the last view was of.
    viewed: Snapshot,
}

impl SnapshotReader {
    /// The newest state, borrowed until the next read. O(1), and where this reader
    /// was the last to hold an older state, the cost of freeing what only that one
    /// held. After the store is closed the state is empty, under the last revision.
    #[inline]
    pub fn view(&mut self) -> &Snapshot {
        let root = self.reader.load();
        if !Arc::ptr_eq(root, &self.viewed.root) {
            self.viewed.root = root.clone();
        }
        &self.viewed
    }

    /// Calls `read` with the newest record under `key`, as
    /// [`with_service`](RegistryStore::with_service) does. O(log *n*), and as for
    /// [`view`](Self::view); no copy, no allocation where the pod is there.
    ///
    /// # Errors
    ///
    /// [`NotFound`](StoreError::NotFound) where no pod has that key;
    /// [`Closed`](StoreError::Closed).
    #[inline]
    pub fn with_service<R>(
        &mut self,
        key: &str,
        read: impl FnOnce(&ServiceInfo) -> R,
    ) -> Result<R> {
        let root = &self.view().root;
        if root.is_closed() {
            return Err(StoreError::Closed);
        }
        let answer = root.get(key).map(read);
        answer.ok_or_else(|| StoreError::not_found(key))
    }
}

impl fmt::Debug for SnapshotReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotReader")
            .field("viewed", &self.viewed)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::store::models::{Calls, Subject};

    fn real() -> Calls<SnapshotStore> {
        Calls::real(SnapshotStore::new)
    }

    store_models!(real());
}
