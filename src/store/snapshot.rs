//! [`SnapshotStore`]: persistent maps behind an atomic pointer.
//!
//! A state of the store is a [`Root`]; an [`ArcSwap`] points at the newest one.
//! A reader loads the pointer and reads. A writer takes its turn at a lock that
//! no reader ever touches, clones the root (which shares everything), changes
//! the clone (which copies the paths to what it changes) and swings the pointer.
//!
//! # Reader handles
//!
//! A [`SnapshotReader`] keeps the root that it read last. To learn whether there
//! is a newer one it reads a counter, the *generation*, which each writer stores
//! after it has swung the pointer:
//!
//! ```text
//! writer  1. root.store(r)                    reader  3. generation.load(Acquire)
//!         2. generation.store(g, Release)             4. root.load_full()
//! ```
//!
//! A reader that sees *g* at 3 loads at 4 the root that came with *g*, or a
//! newer one: 2 pairs with 3. One that finds its own generation at 3 keeps its
//! root; then the write that would have replaced it has not returned yet, or
//! nothing orders the reader after its return. A reader that comes
//! between 1 and 2 and loads the newer root keeps the generation that it found
//! at 3 beside it, sees the counter change at its next read, and loads once more
//! than it had to.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::tables::prelude::*;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use root::Root;

mod root;
mod trie;

/// The store of immutable states: lock-free readers, consistent snapshots.
///
/// Readers take no lock and never wait. A writer waits for other writers only,
/// and copies the path to what it changes, some hundred nanoseconds to a few
/// microseconds; a batch pays for it once. A reader that keeps a
/// [`Snapshot`] holds nobody up: it keeps that state alive, which shares all
/// that has not changed since with the newer ones.
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
#[derive(Default)]
pub struct SnapshotStore {
    shared: Arc<Shared>,
}

struct Shared {
    root: ArcSwap<Root>,
    generation: AtomicU64,
    turn: Mutex<()>,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared {
            root: ArcSwap::from_pointee(Root::default()),
            generation: AtomicU64::new(0),
            turn: Mutex::new(()),
        }
    }
}

impl Shared {
    /// Makes `root` the newest. Only the writer whose turn it is may call this.
    fn publish(&self, root: Root, _turn: &MutexGuard<'_, ()>) {
        let replaced = self.root.swap(Arc::new(root));
        // Relaxed: only writers store it, and they take turns.
        let generation = self.generation.load(Relaxed) + 1;
        // Release: pairs with the Acquire load in `SnapshotReader::view`, so
        // that whoever sees this generation finds its root, or a newer one.
        self.generation.store(generation, Release);
        drop(replaced);
    }

    /// Waits for this writer's turn.
    fn turn(&self) -> MutexGuard<'_, ()> {
        // A writer that panicked has published nothing.
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SnapshotStore {
    /// An empty store.
    pub fn new() -> SnapshotStore {
        SnapshotStore::default()
    }

    /// The present state. O(1), allocates nothing, and costs the store nothing
    /// while it is kept, but for the memory of what has been replaced since.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            root: self.shared.root.load_full(),
        }
    }

    /// A handle for a thread that reads a lot: it keeps the newest state at hand,
    /// so that a read costs little more than the look-up. O(1).
    pub fn reader(&self) -> SnapshotReader {
        let generation = self.shared.generation.load(Acquire);
        SnapshotReader {
            newest: self.snapshot(),
            generation,
            shared: self.shared.clone(),
        }
    }

    #[inline]
    fn read<R>(&self, read: impl FnOnce(&Root) -> R) -> Result<R> {
        let root = self.shared.root.load();
        if root.is_closed() {
            return Err(StoreError::Closed);
        }
        Ok(read(&root))
    }

    fn write<R>(&self, write: impl FnOnce(&mut Root) -> Result<R>) -> Result<R> {
        self.write_root(write).map(|(answer, _)| answer)
    }

    fn commit_write(&self, write: impl FnOnce(&mut Root) -> Result<()>) -> Result<Revision> {
        self.write_root(write).map(|((), revision)| revision)
    }

    fn write_root<R>(&self, write: impl FnOnce(&mut Root) -> Result<R>) -> Result<(R, Revision)> {
        let turn = self.shared.turn();
        let mut root = Root::clone(&self.shared.root.load());
        if root.is_closed() {
            return Err(StoreError::Closed);
        }
        let answer = write(&mut root)?;
        let changed = root.is_dirty();
        let revision = root.settle();
        if changed {
            self.shared.publish(root, &turn);
        }
        Ok((answer, revision))
    }

    fn current_revision(&self) -> Revision {
        self.shared.root.load().revision()
    }

    #[allow(clippy::unnecessary_wraps)] // the form that the methods ask for
    fn close_tables(&self) -> Result<()> {
        let turn = self.shared.turn();
        let last = self.current_revision();
        self.shared.publish(Root::closed(last), &turn);
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
/// It keeps the newest state that it has seen, and before each read asks one
/// counter whether there is a newer one. What it keeps stays in memory until its
/// next read or its end: a thread that stops reading should drop its reader.
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
    shared: Arc<Shared>,
    newest: Snapshot,
    /// A generation that `newest` is not older than.
    generation: u64,
}

impl SnapshotReader {
    /// The newest state, borrowed until the next read. O(1). After the store is
    /// closed it is empty.
    #[inline]
    pub fn view(&mut self) -> &Snapshot {
        // Acquire: pairs with the Release store in `Shared::publish`.
        let generation = self.shared.generation.load(Acquire);
        if generation != self.generation {
            self.renew(generation);
        }
        &self.newest
    }

    /// Calls `read` with the newest record under `key`, as
    /// [`with_service`](RegistryStore::with_service) does. O(log *n*), no copy,
    /// no allocation.
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

    #[cold]
    fn renew(&mut self, generation: u64) {
        self.newest.root = self.shared.root.load_full();
        self.generation = generation;
    }
}

impl fmt::Debug for SnapshotReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotReader")
            .field("newest", &self.newest)
            .finish_non_exhaustive()
    }
}
