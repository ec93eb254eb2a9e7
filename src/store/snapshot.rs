//! [`SnapshotStore`]: persistent maps behind an atomic pointer.
//!
//! A state of the store is a [`Root`]; a pointer leads to the newest one.
//! A reader loads the pointer and reads. A writer takes its turn at a lock that
//! no reader ever touches, clones the root (which shares everything), changes
//! the clone (which copies the paths to what it changes) and swings the pointer.
//!
//! How a reader handle learns of a newer state stands in [`published`]. The `models`
//! there run that cell under loom, those below the store.

use std::fmt;
use std::sync::Arc;

use super::Snapshots;
use super::methods::prelude::*;
use super::view::{check_order, check_store};
use crate::changes::{OwnLog, ReadState};
use crate::observe::Observed;
use published::{Published, Reader, Unpublished};
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
    log: OwnLog,
    newest: Published<Root>,
}

/// How watches read the state of a store that may have gone.
struct OfStore(Unpublished<Root>);

impl ReadState for OfStore {
    fn read_state(&self, selection: &Selection) -> Result<Option<Selected>> {
        let root = self.0.upgrade().ok_or(StoreError::Closed)?.load_full();
        if root.is_closed() {
            return Err(StoreError::Closed);
        }
        Ok(Some(state_of(&*root, selection)))
    }
}

impl Default for SnapshotStore {
    fn default() -> SnapshotStore {
        SnapshotStore::with_log(LogOptions::default())
    }
}

impl SnapshotStore {
    /// An empty store.
    pub fn new() -> SnapshotStore {
        SnapshotStore::default()
    }

    /// An empty store with a log of its own kind.
    pub fn with_log(options: LogOptions) -> SnapshotStore {
        let log = OwnLog::new(options);
        SnapshotStore {
            newest: Published::new(Root::of(log.store())),
            log,
        }
    }

    /// The present state. O(1), allocates nothing, and costs the store nothing
    /// while it is kept, but for the memory of what has been replaced since.
    ///
    /// After `close`, returns an empty view at the last revision.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            root: self.newest.load_full(),
        }
    }

    /// A handle for a thread that reads a lot: it keeps the newest state at hand,
    /// so that a read costs little more than the look-up. O(1).
    #[must_use]
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

    fn write<R, A>(
        &self,
        is_asked: bool,
        write: impl FnOnce(&mut Noted<'_, Root>) -> Result<R>,
        finish: impl FnOnce(Written<R>) -> A,
    ) -> Result<A> {
        let mut observed = Observed::ask(Some("snapshot"));
        let turn = self.newest.lock();
        observed.begin();
        match Telling::new(&*self.log, is_asked) {
            None => self
                .write_in(observed, turn, &mut Nobody, write)
                .map(finish),
            Some(mut telling) => aside(move || {
                self.write_in(observed, turn, &mut telling, write)
                    .map(finish)
            }),
        }
    }

    // For nobody it is another function, of which nothing is left that tells.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn write_in<R>(
        &self,
        mut observed: Observed,
        turn: published::WriteLock<'_, Root>,
        telling: &mut impl Tell,
        write: impl FnOnce(&mut Noted<'_, Root>) -> Result<R>,
    ) -> Result<Written<R>> {
        let mut root = Root::clone(&self.newest.load());
        if root.is_closed() {
            return Err(StoreError::Closed);
        }
        let before = root.current();
        let answer = telling.note(&mut root, write)?;
        let revision = root.settle();
        let replaced = (revision != before).then(|| turn.publish(root));
        let revisions = (before, revision);
        let left = telling.tell(revisions, |log, changes| log.append_net(revision, changes));
        drop(turn);
        observed.made(before, revision);
        drop((replaced, left));
        Ok(Written {
            answer,
            revision,
            changes: telling.asked(),
        })
    }

    fn begin_watch(&self, selection: Selection, from: Option<Cursor>) -> Result<Watch> {
        let read = OfStore(self.newest.downgrade());
        self.log.watch(selection, from, Arc::new(read), || {
            let _turn = self.newest.lock();
            match self.newest.load() {
                root if root.is_closed() => Err(StoreError::Closed),
                root => Ok(root.current()),
            }
        })
    }

    #[allow(clippy::unnecessary_wraps)] // the form that the methods ask for
    fn own_upkeep(&self) -> Result<Upkeep> {
        Ok(self.log.upkeep())
    }

    fn current_revision(&self) -> Revision {
        self.newest.load().revision()
    }

    #[allow(clippy::unnecessary_wraps)] // the form that the methods ask for
    fn close_tables(&self) -> Result<()> {
        let turn = self.newest.lock();
        let last = self.current_revision();
        let replaced = turn.publish(Root::closed(last, self.log.store()));
        drop(turn);
        drop((replaced, self.log.close()));
        Ok(())
    }
}

impl_registry_store!(SnapshotStore);

impl Snapshots for SnapshotStore {
    type Snapshot = Snapshot;

    fn snapshot(&self) -> Snapshot {
        self.snapshot()
    }
}

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

    fn names(&self) -> impl Iterator<Item = &str> {
        self.root.names()
    }

    fn groups(&self) -> impl Iterator<Item = &str> {
        self.root.groups()
    }

    fn stats(&self) -> StoreStats {
        self.root.stats()
    }

    fn changes_since(&self, older: &Snapshot) -> Result<Vec<Difference>> {
        check_store(self.root.is_of_the_store_of(&older.root), older.revision())?;
        check_order(older.revision(), self.revision())?;
        Ok(self.root.changes_since(&older.root))
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
/// or its end: a thread that stops reading should drop its reader. Of a store that
/// has been dropped, but not closed, it can still show the last state, and keeps that
/// one as well.
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
        answer.ok_or_else(|| missing(key))
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
    //! What all stores promise, and what snapshots and reader handles do. The cell
    //! beneath has models of its own, in [`published`](super::published), with the twin
    //! that overwrites a value in place.

    use super::*;
    use crate::store::models::watched::tell_and_publish;
    use crate::store::models::{Calls, Subject, everything, subscription};
    use loom::thread;

    const CHANGED: &str = "a snapshot has changed";
    const OLDER: &str = "a reader handle showed an older state";

    fn real() -> Calls<SnapshotStore> {
        Calls {
            preemptions: Some(3),
            ..Calls::real(SnapshotStore::new)
        }
    }

    store_models!(real());

    fn swap_on_a_clone_from_before_the_turn(
        subject: &Subject<SnapshotStore>,
        key: &str,
        status: ServiceStatus,
    ) -> Result<ServiceStatus> {
        let cell = &subject.store.newest;
        let mut root = Root::clone(&cell.load());
        let turn = cell.lock();
        let moment = Moment::new("checked_at", SystemTime::UNIX_EPOCH)?;
        let update = root.set_health(key, status, moment, |_| ());
        root.settle();
        drop(turn.publish(root));
        match update {
            Some(HealthUpdate::Applied { before }) => Ok(before),
            _ => Err(missing(key)),
        }
    }

    #[test]
    #[should_panic(expected = "an update was lost")]
    fn models_twin_a_clone_from_before_the_turn_is_rejected() {
        Calls {
            swap: swap_on_a_clone_from_before_the_turn,
            ..real()
        }
        .no_update_is_lost_between_two_writers();
    }

    fn tell_before_the_turn_publishes(
        subject: &Subject<SnapshotStore>,
        batch: Batch,
    ) -> Result<Revision> {
        let SnapshotStore { log, newest, .. } = &*subject.store;
        let turn = newest.lock();
        let mut root = Root::clone(&newest.load());
        let revision = tell_and_publish(log, &mut root, batch, Root::settle)?;
        drop(turn.publish(root));
        Ok(revision)
    }

    #[test]
    #[should_panic(expected = "a watch told of a commit before it could be read")]
    fn models_twin_a_log_that_is_told_before_the_root_is_published_is_rejected() {
        Calls {
            commit: tell_before_the_turn_publishes,
            ..real()
        }
        .whoever_is_told_of_a_commit_can_read_it();
    }

    fn close_with_a_revision_from_before_the_turn(subject: &Subject<SnapshotStore>) {
        let last = subject.store.current_revision();
        let turn = subject.store.newest.lock();
        drop(turn.publish(Root::closed(last, 0)));
    }

    #[test]
    #[should_panic(expected = "an accepted operation was not done exactly once")]
    fn models_twin_a_last_revision_from_before_the_turn_is_rejected() {
        Calls {
            close: close_with_a_revision_from_before_the_turn,
            ..real()
        }
        .a_closed_store_has_done_what_it_accepted_exactly_once();
    }

    /// How the writer of a model commits.
    type Commit = fn(&SnapshotStore, Batch);

    fn commit(store: &SnapshotStore, batch: Batch) {
        store.commit(batch).unwrap();
    }

    /// Twin: the changes are published, and then the revision that they make.
    fn publish_before_it_is_settled(store: &SnapshotStore, batch: Batch) {
        let turn = store.newest.lock();
        let mut root = Root::clone(&store.newest.load());
        root.apply_batch(batch).unwrap();
        drop(turn.publish(root.clone()));
        root.settle();
        drop(turn.publish(root));
    }

    /// Twin: a commit is published to see whether it can be, taken back, and made.
    fn publish_and_take_back(store: &SnapshotStore, batch: Batch) {
        let turn = store.newest.lock();
        let mut root = Root::clone(&store.newest.load());
        root.apply_batch(batch).unwrap();
        root.settle();
        let before = turn.publish(root.clone());
        drop(turn.publish(Root::clone(&before)));
        drop(turn.publish(root));
    }

    /// Runs `read` beside a writer that commits twice.
    fn beside_a_writer(commit: Commit, read: impl Fn(&Arc<SnapshotStore>) + Send + Sync + 'static) {
        loom::model(move || {
            let store = Arc::new(SnapshotStore::new());
            let writer = thread::spawn({
                let store = store.clone();
                move || {
                    commit(&store, everything());
                    commit(&store, subscription("later"));
                }
            });
            read(&store);
            writer.join().unwrap();
        });
    }

    type Look = fn(&Snapshot, &SnapshotStore) -> (Revision, StoreStats, usize);

    /// Nor is it anything but one of the states that commits have made.
    fn a_snapshot_never_changes(commit: Commit, look: Look) {
        beside_a_writer(commit, move |store| {
            let snapshot = store.snapshot();
            let first = look(&snapshot, store);
            assert_eq!(look(&snapshot, store), first, "{CHANGED}");
            let consistent = match first.0.as_u64() {
                0 => (StoreStats::new(0, 0), 0),
                1 => (StoreStats::new(2, 1), 2),
                _ => (StoreStats::new(2, 2), 2),
            };
            assert_eq!((first.1, first.2), consistent, "{CHANGED}");
        });
    }

    const LOOK: Look = |snapshot, _| {
        let pods = snapshot.services_by_name("a").count();
        (snapshot.revision(), snapshot.stats(), pods)
    };

    #[test]
    fn models_a_snapshot_never_changes() {
        a_snapshot_never_changes(commit, LOOK);
    }

    #[test]
    #[should_panic(expected = "a snapshot has changed")]
    fn models_twin_a_root_that_is_published_before_it_is_settled_is_rejected() {
        a_snapshot_never_changes(publish_before_it_is_settled, LOOK);
    }

    #[test]
    #[should_panic(expected = "a snapshot has changed")]
    fn models_twin_a_snapshot_that_asks_the_store_is_rejected() {
        a_snapshot_never_changes(commit, |_, store| {
            let snapshot = store.snapshot();
            let pods = snapshot.services_by_name("a").count();
            (snapshot.revision(), snapshot.stats(), pods)
        });
    }

    #[test]
    #[should_panic(expected = "a snapshot has changed")]
    fn models_twin_a_snapshot_with_the_revision_of_the_store_is_rejected() {
        a_snapshot_never_changes(commit, |snapshot, store| {
            let pods = snapshot.services_by_name("a").count();
            (store.revision(), snapshot.stats(), pods)
        });
    }

    /// Through the handle, through the store, and through the handle again.
    fn a_reader_handle_never_shows_an_older_state(
        commit: Commit,
        show: fn(&mut SnapshotReader) -> Revision,
    ) {
        beside_a_writer(commit, move |store| {
            let mut reader = store.reader();
            let first = show(&mut reader);
            let second = store.revision();
            let third = show(&mut reader);
            assert!(first <= second && second <= third, "{OLDER}");
        });
    }

    #[test]
    fn models_a_reader_handle_never_shows_an_older_state() {
        a_reader_handle_never_shows_an_older_state(commit, |reader| reader.view().revision());
    }

    #[test]
    #[should_panic(expected = "a reader handle showed an older state")]
    fn models_twin_a_commit_that_is_taken_back_is_rejected() {
        a_reader_handle_never_shows_an_older_state(publish_and_take_back, |reader| {
            reader.view().revision()
        });
    }

    #[test]
    #[should_panic(expected = "a reader handle showed an older state")]
    fn models_twin_a_handle_that_is_renewed_after_it_has_shown_is_rejected() {
        a_reader_handle_never_shows_an_older_state(commit, |reader| {
            let shown = reader.viewed.revision();
            reader.view();
            shown
        });
    }
}
