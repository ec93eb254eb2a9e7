//! [`SnapshotStore`], with persistent maps behind an atomic pointer.
//!
//! A state of the store is a [`Root`], and a pointer leads to the newest one. A reader loads
//! the pointer and reads. A writer takes a lock that readers never touch, clones the root
//! (which shares everything), changes the clone (which copies the paths to the changes), and
//! swaps the pointer.
//!
//! [`published`] describes how a reader handle finds a newer state. The loom `models` there
//! check that cell, and those below check the store.

use std::fmt;
use std::sync::Arc;

use super::Snapshots;
use super::methods::prelude::*;
use super::view::{check_order, check_store};
use crate::changes::{OwnLog, ReadState};
use crate::observe::TurnTimer;
use published::{Published, Reader, WeakPointer};
use root::Root;

mod published;
mod root;
mod trie;

/// A store with immutable states: lock-free readers and consistent snapshots.
///
/// Readers take no lock and never wait. A writer waits only for other writers, and copies the
/// paths to its changes; a batch pays for this once. A reader that keeps a [`Snapshot`] blocks
/// nobody. It keeps that state alive, which shares all unchanged data with the newer states.
/// Dropping the last reference to a state frees the data that only this state has: a path after
/// a small commit, everything after `clear`.
///
/// # Consistency
///
/// Linearizable. A commit becomes visible in all indexes at once, when the pointer is swapped.
/// Every read is answered from one state.
///
/// # Inside a read closure
///
/// Every call of the same store works. The closure continues to read the state that it was
/// given.
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

/// Reads the state of a store, which may have been dropped, for watches.
struct WeakRoot(WeakPointer<Root>);

impl ReadState for WeakRoot {
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
    /// Creates an empty store.
    pub fn new() -> SnapshotStore {
        SnapshotStore::default()
    }

    /// Creates an empty store whose log has these options.
    pub fn with_log(options: LogOptions) -> SnapshotStore {
        let log = OwnLog::new(options);
        SnapshotStore {
            newest: Published::new(Root::of(log.store())),
            log,
        }
    }

    /// Returns the current state. O(1). Allocates nothing. Keeping it costs the store nothing
    /// except the memory of the data that has been replaced since.
    ///
    /// After `close`, returns an empty view at the last revision.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            root: self.newest.load_full(),
        }
    }

    /// Creates a handle for a thread that reads often. The handle keeps the newest state, so a
    /// read costs little more than the look-up. O(1).
    #[must_use]
    pub fn reader(&self) -> SnapshotReader {
        SnapshotReader {
            reader: self.newest.reader(),
            viewed: self.snapshot(),
        }
    }

    fn write<R, A>(
        &self,
        with_changes: bool,
        write: impl FnOnce(&mut RecordingTables<'_, Root>) -> Result<R>,
        finish: impl FnOnce(CommitOutcome<R>) -> A,
    ) -> Result<A> {
        let mut timer = TurnTimer::start(Some("snapshot"));
        let turn = self.newest.lock();
        timer.begin();
        match ChangeRecorder::new(&*self.log, with_changes) {
            None => self
                .write_in(timer, turn, &mut NoRecorder, write)
                .map(finish),
            Some(mut recorder) => {
                out_of_line(move || self.write_in(timer, turn, &mut recorder, write).map(finish))
            }
        }
    }

    // A separate function for `NoRecorder`, from which the compiler removes all reporting.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn write_in<R>(
        &self,
        mut timer: TurnTimer,
        turn: published::WriteLock<'_, Root>,
        recorder: &mut impl RecordChanges,
        write: impl FnOnce(&mut RecordingTables<'_, Root>) -> Result<R>,
    ) -> Result<CommitOutcome<R>> {
        let mut root = Root::clone(&self.newest.load());
        if root.is_closed() {
            return Err(StoreError::Closed);
        }
        let before = root.current();
        let answer = recorder.record_writes(&mut root, write)?;
        let revision = root.settle();
        let replaced = (revision != before).then(|| turn.publish(root));
        let revisions = (before, revision);
        let aftermath =
            recorder.append_to_log(revisions, |log, changes| log.append_net(revision, changes));
        drop(turn);
        timer.finish(before, revision);
        drop((replaced, aftermath));
        Ok(CommitOutcome {
            answer,
            revision,
            changes: recorder.take_changes(),
        })
    }

    fn begin_watch(&self, selection: Selection, from: Option<Cursor>) -> Result<Watch> {
        let read = WeakRoot(self.newest.downgrade());
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

impl ReadTables for SnapshotStore {
    type View<'s> = Root;

    #[inline]
    fn read<R>(&self, read: impl FnOnce(&Self::View<'_>) -> Result<R>) -> Result<R> {
        let root = self.newest.load();
        if root.is_closed() {
            return Err(StoreError::Closed);
        }
        read(&root)
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
/// A clone increments a reference count. A snapshot can be sent to and shared between threads,
/// can be kept for any time, and outlives its store.
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
        check_store(self.root.is_same_store(&older.root), older.revision())?;
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

/// A handle for one thread that reads a [`SnapshotStore`] often.
///
/// It keeps the newest state that it has seen, and before each read checks whether the store
/// still points to it. This state stays in memory until the next read or until the reader is
/// dropped, so a thread that stops reading should drop its reader. If the store has been
/// dropped but not closed, the reader still shows the last state, and keeps that state as well.
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
    /// The state of the last view.
    viewed: Snapshot,
}

impl SnapshotReader {
    /// Returns the newest state, borrowed until the next read. O(1), plus the cost of freeing
    /// an older state if this reader was the last to hold it. After the store is closed, the
    /// state is empty and has the last revision.
    #[inline]
    pub fn view(&mut self) -> &Snapshot {
        let root = self.reader.load();
        if !Arc::ptr_eq(root, &self.viewed.root) {
            self.viewed.root = root.clone();
        }
        &self.viewed
    }

    /// Calls `read` with the newest record under `key`, like
    /// [`with_service`](RegistryStore::with_service). O(log *n*), plus the cost of
    /// [`view`](Self::view). Copies nothing, and allocates nothing if the pod exists.
    ///
    /// # Errors
    ///
    /// [`NotFound`](StoreError::NotFound) if no pod has this key, and
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
    //! The models of all stores, and of snapshots and reader handles. The cell has its own
    //! models in [`published`](super::published), including the twin that overwrites a value in
    //! place.

    use super::*;
    use crate::store::models::watched::log_and_publish;
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

    fn log_before_the_turn_publishes(
        subject: &Subject<SnapshotStore>,
        batch: Batch,
    ) -> Result<Revision> {
        let SnapshotStore { log, newest, .. } = &*subject.store;
        let turn = newest.lock();
        let mut root = Root::clone(&newest.load());
        let revision = log_and_publish(log, &mut root, batch, Root::settle)?;
        drop(turn.publish(root));
        Ok(revision)
    }

    #[test]
    #[should_panic(expected = "a watch delivered a commit before it could be read")]
    fn models_twin_an_append_before_the_root_is_published_is_rejected() {
        Calls {
            commit: log_before_the_turn_publishes,
            ..real()
        }
        .a_delivered_commit_can_be_read();
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

    /// Commits a batch as the writer of a model.
    type CommitFn = fn(&SnapshotStore, Batch);

    fn commit(store: &SnapshotStore, batch: Batch) {
        store.commit(batch).unwrap();
    }

    /// Broken twin: publishes the changes first, and then the revision that they make.
    fn publish_before_it_is_settled(store: &SnapshotStore, batch: Batch) {
        let turn = store.newest.lock();
        let mut root = Root::clone(&store.newest.load());
        root.apply_batch(batch).unwrap();
        drop(turn.publish(root.clone()));
        root.settle();
        drop(turn.publish(root));
    }

    /// Broken twin: publishes a commit to check it, takes it back, and publishes it again.
    fn publish_and_take_back(store: &SnapshotStore, batch: Batch) {
        let turn = store.newest.lock();
        let mut root = Root::clone(&store.newest.load());
        root.apply_batch(batch).unwrap();
        root.settle();
        let before = turn.publish(root.clone());
        drop(turn.publish(Root::clone(&before)));
        drop(turn.publish(root));
    }

    /// Calls `read` beside a writer that commits twice.
    fn beside_a_writer(
        commit: CommitFn,
        read: impl Fn(&Arc<SnapshotStore>) + Send + Sync + 'static,
    ) {
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

    type ReadSnapshot = fn(&Snapshot, &SnapshotStore) -> (Revision, StoreStats, usize);

    /// The snapshot is also one of the states that commits have made.
    fn a_snapshot_never_changes(commit: CommitFn, read: ReadSnapshot) {
        beside_a_writer(commit, move |store| {
            let snapshot = store.snapshot();
            let first = read(&snapshot, store);
            assert_eq!(read(&snapshot, store), first, "{CHANGED}");
            let consistent = match first.0.as_u64() {
                0 => (StoreStats::new(0, 0), 0),
                1 => (StoreStats::new(2, 1), 2),
                _ => (StoreStats::new(2, 2), 2),
            };
            assert_eq!((first.1, first.2), consistent, "{CHANGED}");
        });
    }

    const READ_SNAPSHOT: ReadSnapshot = |snapshot, _| {
        let pods = snapshot.services_by_name("a").count();
        (snapshot.revision(), snapshot.stats(), pods)
    };

    #[test]
    fn models_a_snapshot_never_changes() {
        a_snapshot_never_changes(commit, READ_SNAPSHOT);
    }

    #[test]
    #[should_panic(expected = "a snapshot has changed")]
    fn models_twin_a_root_that_is_published_before_it_is_settled_is_rejected() {
        a_snapshot_never_changes(publish_before_it_is_settled, READ_SNAPSHOT);
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

    /// Reads through the handle, the store, and the handle again.
    fn a_reader_handle_never_shows_an_older_state(
        commit: CommitFn,
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
