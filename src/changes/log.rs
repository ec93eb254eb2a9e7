//! A bounded log of recent changes. A store writes it, and watches read it.
//!
//! # No gap
//!
//! A commit checks [`Log::is_recording`] in its turn, and appends if it is set. The first watch
//! sets this flag and then takes a turn of the store. Every commit with a later turn has seen
//! the flag. Every commit with an earlier turn is part of the state that the watch reads. The
//! flag is set and cleared under the lock of the log, and commits append under the same lock.
//! What a commit appends after the flag was cleared is ignored.
//!
//! `complete_after` is the revision up to which the log may lack commits: first that of the
//! first turn, later that of the newest entry that the log has dropped.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError};
use std::time::{Instant, SystemTime};
use std::{mem, process};

use super::aftermath::Aftermath;
use super::topic::{LogEntry, Topics};
use super::{CommitEffect, Cursor, Difference, LogOptions, Reason, Selection, State, net};
use crate::model::revision::Revision;
use crate::model::upkeep::Upkeep;
use crate::sync::atomic::Ordering::{self, Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicBool, AtomicU64};
use crate::sync::{Mutex, MutexGuard};

/// The log of a store: the changes of its commits, for its watches.
///
/// Every store of this crate has a log. The type is public for third-party stores:
///
/// - In the turn of each commit, call [`is_recording`](Self::is_recording). If it returns true,
///   call [`append`](Self::append) after the commit is visible to readers and before the next
///   one begins.
/// - Drop the [`Aftermath`] after the turn has ended.
/// - Implement `watch` and `watch_from` with [`watch`](Self::watch), and call
///   [`close`](Self::close) in `close`.
///
/// [Stamp](crate::ServiceInfo::stamped) every record: watches use the stamp to distinguish the
/// records of one key. Use [`fold`](super::fold) in `commit_changes` to get the net effect of a
/// batch.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::{Arc, Mutex, Weak};
///
/// use service_registry::changes::{
///     Difference, Event, Log, LogOptions, ReadState, Selection, State, Watch,
/// };
/// use service_registry::{
///     Result, Revision, ServiceInfo, ServiceKey, ServiceRegistration, StoreError,
/// };
///
/// #[derive(Default)]
/// struct Tables {
///     revision: Revision,
///     services: BTreeMap<ServiceKey, ServiceInfo>,
/// }
///
/// /// The part of a store that concerns watches.
/// struct Store {
///     tables: Arc<Mutex<Tables>>,
///     log: Log,
/// }
///
/// impl Store {
///     fn register(&self, service: ServiceInfo) {
///         let mut tables = self.tables.lock().unwrap();
///         let revision = tables.revision.next();
///         let after = service.stamped(revision, revision);
///         let before = tables.services.insert(after.key().clone(), after.clone());
///         tables.revision = revision;
///         let change = match before {
///             None => Difference::Added(after),
///             Some(before) => Difference::changed(before, after),
///         };
///         let is_recording = self.log.is_recording();
///         let aftermath = is_recording.then(|| self.log.append(revision, [change]));
///         // End the turn first: woken code may call the store.
///         drop(tables);
///         drop(aftermath);
///     }
///
///     fn watch(&self, selection: Selection) -> Result<Watch> {
///         let read = Arc::new(Reading(Arc::downgrade(&self.tables)));
///         let turn = || Ok(self.tables.lock().unwrap().revision);
///         self.log.watch(selection, None, read, turn)
///     }
/// }
///
/// impl Drop for Store {
///     fn drop(&mut self) {
///         drop(self.log.close());
///     }
/// }
///
/// /// Reads the state of a store that may have been dropped.
/// struct Reading(Weak<Mutex<Tables>>);
///
/// impl ReadState for Reading {
///     fn read_state(&self, selection: &Selection) -> Result<Option<State>> {
///         let tables = self.0.upgrade().ok_or(StoreError::Closed)?;
///         let tables = tables.lock().unwrap();
///         let services = tables.services.values();
///         Ok(Some(State {
///             revision: tables.revision,
///             services: services.filter(|pod| selection.holds(pod)).cloned().collect(),
///             ..State::default()
///         }))
///     }
/// }
///
/// let log = Log::new(LogOptions::default());
/// let store = Store { tables: Arc::default(), log };
/// let mut watch = store.watch(Selection::service("web"))?;
/// assert!(matches!(watch.recv()?, Event::State { .. }));
///
/// let pod = ServiceInfo::new(ServiceRegistration::new("web", "pod-1"))?;
/// store.register(pod.clone());
/// store.register(pod);
/// let Event::Changes { changes, .. } = watch.recv_commit()? else { unreachable!() };
/// assert!(matches!(changes[..], [Difference::Added(_)]));
/// let Event::Changes { changes, .. } = watch.recv_commit()? else { unreachable!() };
/// assert!(matches!(changes[..], [Difference::Changed { .. }]));
///
/// drop(store);
/// assert_eq!(watch.recv(), Err(StoreError::Closed));
/// # Ok::<(), StoreError>(())
/// ```
///
/// `tests/contract/elsewhere.rs` in the repository contains a complete store of this kind.
///
/// Clones share one log.
#[derive(Clone, Debug)]
pub struct Log {
    shared: Arc<LogState>,
}

struct LogState {
    store: u64,
    options: LogOptions,
    recording: AtomicBool,
    /// Whether the log records without a watch.
    idle: AtomicBool,
    /// The newest revision that the log knows. Under the lock, every recorded change up to here
    /// has been appended.
    head: AtomicU64,
    inner: Mutex<LockedLog>,
}

/// The part of the log that its lock protects.
#[derive(Default)]
pub(super) struct LockedLog {
    /// The same value as `LogState::recording`.
    recording: bool,
    pub(super) closed: bool,
    /// The log is complete after this revision. `None` before the first turn.
    complete_after: Option<Revision>,
    /// The revision of the last commit that replaced the whole state.
    pub(super) restored: Revision,
    entries: VecDeque<Arc<LogEntry>>,
    bytes: usize,
    pub(super) topics: Topics,
    watches: usize,
    /// When the last watch ended, if there is none now.
    idle_since: Option<Instant>,
    /// The number of the newest watch.
    next: u64,
    /// The state at a revision not older than `complete_after`, for stores whose state a watch
    /// cannot read.
    checkpoint: Option<Arc<State>>,
}

impl Log {
    /// Creates an empty log for a new store.
    pub fn new(options: LogOptions) -> Log {
        Log {
            shared: Arc::new(LogState {
                // Two stores get the same number with a probability of 2^-64. The process and
                // the time distinguish a forked child from its parent, which has the same hash
                // keys.
                store: RandomState::new().hash_one((process::id(), SystemTime::now())),
                options,
                recording: AtomicBool::new(false),
                idle: AtomicBool::new(false),
                head: AtomicU64::new(0),
                inner: Mutex::new(LockedLog::default()),
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, LockedLog> {
        // No foreign code runs under this lock, except the `state` closure of a checkpoint,
        // which runs last.
        let inner = self.shared.inner.lock();
        inner.unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a commit has to [`append`](Self::append) its changes. Call it in the
    /// turn of the commit. One load.
    #[inline]
    pub fn is_recording(&self) -> bool {
        // Relaxed: ordered by the turn of the store, see the module.
        self.shared.recording.load(Relaxed)
    }

    /// Returns whether the log records without a watch, for clients that come back. A commit
    /// that sees this in its turn appends even if it changed only the times of checks. This
    /// lets the log notice that its retention time is over.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        // Relaxed: if this commit misses it, a later one sees it.
        self.shared.idle.load(Relaxed)
    }

    /// Appends the changes of the commit with this revision, in order. Appends nothing if the
    /// commit changed only the times of checks. Call it in the turn of the commit, after the
    /// commit is visible to readers. O(differences), plus one waker for each watch that sleeps
    /// for these changes.
    pub fn append(
        &self,
        revision: Revision,
        changes: impl IntoIterator<Item = Difference>,
    ) -> Aftermath {
        self.append_net(revision, &mut effect_of(changes))
    }

    /// Appends like [`append`](Self::append), but takes a net effect.
    pub(crate) fn append_net(&self, revision: Revision, effect: &mut CommitEffect) -> Aftermath {
        if effect.is_restored {
            return self.restored(revision);
        }
        self.append_to(&mut self.lock(), revision, effect)
    }

    /// Records that the commit with this revision changed only the times of checks.
    #[inline]
    pub(crate) fn advance(&self, revision: Revision) {
        // Release: pairs with the Acquire in `head`. A watch that gets this revision can read it.
        self.advance_with(revision, Release);
    }

    /// The same as [`advance`](Self::advance), with an ordering that a model chooses.
    #[inline]
    pub(super) fn advance_with(&self, revision: Revision, order: Ordering) {
        self.shared.head.store(revision.as_u64(), order);
    }

    /// Returns the newest revision that the log knows.
    ///
    /// A caller that holds the lock also knows that everything up to this revision has been
    /// appended. A commit that appends moves the head under the same lock. A commit that does
    /// not append comes after the turns of all that did.
    pub(super) fn head(&self) -> Revision {
        // Acquire: pairs with the Release in `advance` and in `begin`.
        self.shared.head.load(Acquire).into()
    }

    /// Appends like [`append`](Self::append), for a store whose state a watch cannot read. If
    /// the log is about to drop entries that a watch needs, it keeps the result of `state`
    /// instead. It calls `state` at most once each time the log fills up.
    pub fn append_with(
        &self,
        revision: Revision,
        changes: impl IntoIterator<Item = Difference>,
        state: impl FnOnce() -> State,
    ) -> Aftermath {
        self.append_net_with(revision, &mut effect_of(changes), state)
    }

    /// Appends like [`append_with`](Self::append_with), but takes a net effect.
    pub(crate) fn append_net_with(
        &self,
        revision: Revision,
        effect: &mut CommitEffect,
        state: impl FnOnce() -> State,
    ) -> Aftermath {
        if effect.is_restored {
            return self.restored_with(revision, state);
        }
        let mut inner = self.lock();
        let mut aftermath = self.append_to(&mut inner, revision, effect);
        if inner.recording && !inner.checkpoint_reaches() {
            aftermath.checkpoint = inner.checkpoint.replace(Arc::new(state()));
        }
        drop(inner);
        aftermath
    }

    fn append_to(
        &self,
        inner: &mut LockedLog,
        revision: Revision,
        effect: &mut CommitEffect,
    ) -> Aftermath {
        let changes = &mut effect.differences;
        let mut aftermath = Aftermath::default();
        if !inner.recording || inner.closed {
            return aftermath;
        }
        let idle = inner.idle_since.map(|since| since.elapsed());
        if inner.watches == 0 && idle.is_some_and(|idle| idle >= self.shared.options.retain) {
            self.stop(inner, &mut aftermath);
            return aftermath;
        }
        let before = Revision::from(revision.as_u64().saturating_sub(1));
        inner.complete_after.get_or_insert(before);
        self.advance(revision);
        // Skipped changes are only for the caller of the commit. They come last in a net
        // effect.
        while changes.last().is_some_and(Difference::is_skipped) {
            changes.pop();
        }
        if changes.is_empty() {
            return aftermath;
        }
        let entry = Arc::new(LogEntry::new(revision, mem::take(changes)));
        inner.bytes += entry.bytes;
        inner.topics.add(&entry, &mut aftermath.wake);
        inner.entries.push_back(entry);
        while inner.bytes + inner.topics.bytes > self.shared.options.bytes
            && let Some(oldest) = inner.entries.pop_front()
        {
            inner.bytes -= oldest.bytes;
            inner.complete_after = Some(oldest.revision);
            inner.topics.remove_oldest(&oldest);
            aftermath.removed.push(oldest);
        }
        aftermath
    }

    /// Makes every watch start again with a state, because the commit with this revision
    /// replaced the whole state. Call it instead of [`append`](Self::append), even if the log
    /// [is not recording](Self::is_recording): older cursors need it.
    pub fn restored(&self, revision: Revision) -> Aftermath {
        self.restore(&mut self.lock(), revision)
    }

    /// The same as [`restored`](Self::restored), for a store whose state a watch cannot read.
    /// The log keeps the result of `state` if it is recording.
    pub fn restored_with(&self, revision: Revision, state: impl FnOnce() -> State) -> Aftermath {
        let mut inner = self.lock();
        let aftermath = self.restore(&mut inner, revision);
        if inner.recording {
            inner.checkpoint = Some(Arc::new(state()));
        }
        aftermath
    }

    fn restore(&self, inner: &mut LockedLog, revision: Revision) -> Aftermath {
        let mut aftermath = Aftermath::default();
        inner.restored = revision;
        if inner.recording {
            self.advance(revision);
            inner.complete_after = Some(revision);
            inner.remove_all_entries(&mut aftermath);
            for topic in inner.topics.iter_mut() {
                topic.complete_after = revision;
                topic.wake_all(&mut aftermath.wake);
            }
        }
        aftermath
    }

    /// Closes the log. Watches deliver what is pending and then report that the store is
    /// closed. Call it after the last commit has been appended. The log at once drops what no
    /// watch can use any more, and the rest when the last watch ends.
    pub fn close(&self) -> Aftermath {
        let mut aftermath = Aftermath::default();
        let inner = &mut *self.lock();
        inner.closed = true;
        self.shared.recording.store(false, Relaxed);
        aftermath.checkpoint = inner.checkpoint.take();
        if inner.watches == 0 {
            self.stop(inner, &mut aftermath);
        }
        for topic in inner.topics.iter_mut() {
            topic.wake_all(&mut aftermath.wake);
        }
        aftermath
    }

    /// Returns where a watch that has [been added](Self::add_watch) begins: after the revision of
    /// its cursor, or with a state for the returned reason. `present` is the revision in a turn
    /// after it was added. If the topic of the watch is newer than its cursor, this scans the
    /// whole log under its lock, in O(log length).
    pub(super) fn begin(
        &self,
        selection: &Selection,
        from: Option<Cursor>,
        present: Revision,
    ) -> std::result::Result<Revision, Reason> {
        let inner = &mut *self.lock();
        let complete_after = *inner.complete_after.get_or_insert(present);
        // Release: pairs with the Acquire in `head`. A commit with a later turn may already
        // have moved the head.
        self.shared.head.fetch_max(present.as_u64(), Release);
        let is_known =
            |from: &Cursor| from.store == self.shared.store && from.revision <= self.head();
        let from = from.filter(is_known).ok_or(Reason::Begin)?.revision;
        if from < inner.restored {
            return Err(Reason::Restored);
        }
        if from < complete_after {
            return Err(Reason::Lagged);
        }
        inner.backfill(selection, from);
        Ok(from)
    }

    /// Keeps the result of `state` for watches, if they have no checkpoint. For a store whose
    /// state a watch cannot read. Call it in the turn in which a watch begins.
    pub fn checkpoint(&self, state: impl FnOnce() -> State) {
        let mut inner = self.lock();
        if inner.complete_after.is_none() || !inner.checkpoint_reaches() {
            inner.checkpoint = Some(Arc::new(state()));
        }
    }

    /// Returns the checkpoint, the entries since then, and the revision up to which they reach.
    pub(super) fn last_checkpoint(&self) -> Option<(Arc<State>, Vec<Arc<LogEntry>>, Revision)> {
        let inner = self.lock();
        if inner.closed {
            return None;
        }
        let state = inner.checkpoint.clone()?;
        let since = inner.entries.iter();
        let since = since.filter(|entry| entry.revision > state.revision);
        let revision = self.head().max(state.revision);
        Some((state.clone(), since.cloned().collect(), revision))
    }

    /// Counts a watch, makes the commits of later turns record, and returns the number of the
    /// watch.
    pub(super) fn add_watch(&self, selection: &Selection) -> u64 {
        let inner = &mut *self.lock();
        inner.watches += 1;
        self.set_idle(inner, None);
        if !inner.recording && !inner.closed {
            inner.recording = true;
            // Relaxed: ordered by the turn that follows.
            self.shared.recording.store(true, Relaxed);
        }
        inner.topics.add_watch(selection, self.head());
        inner.next += 1;
        inner.next
    }

    /// Removes a watch that has [been added](Self::add_watch).
    pub(super) fn remove_watch(&self, selection: &Selection, number: u64) {
        let mut aftermath = Aftermath::default();
        let mut inner = self.lock();
        let left = inner.topics.remove_watch(selection, number);
        inner.watches -= 1;
        if inner.watches == 0 {
            if inner.closed || self.shared.options.retain.is_zero() {
                self.stop(&mut inner, &mut aftermath);
            } else {
                self.set_idle(&mut inner, Some(Instant::now()));
            }
        }
        drop(inner);
        drop((left, aftermath));
    }

    fn set_idle(&self, inner: &mut LockedLog, since: Option<Instant>) {
        inner.idle_since = since;
        // Relaxed: see `is_idle`.
        self.shared.idle.store(since.is_some(), Relaxed);
    }

    /// Stops recording and drops all entries.
    fn stop(&self, inner: &mut LockedLog, aftermath: &mut Aftermath) {
        inner.recording = false;
        self.shared.recording.store(false, Relaxed);
        inner.complete_after = None;
        self.set_idle(inner, None);
        inner.remove_all_entries(aftermath);
    }

    /// Returns the number of watches and the size of what the log keeps for them. O(1), under
    /// the lock that a recording commit takes.
    pub fn upkeep(&self) -> Upkeep {
        let inner = self.lock();
        Upkeep {
            watches: inner.watches,
            log_bytes: inner.bytes + inner.topics.bytes,
            ..Upkeep::default()
        }
    }

    /// Returns the number of the store.
    #[cfg(feature = "snapshot")]
    pub(crate) fn store(&self) -> u64 {
        self.shared.store
    }

    pub(super) fn cursor_at(&self, revision: Revision) -> Cursor {
        Cursor {
            store: self.shared.store,
            revision,
        }
    }

    /// Returns the folded differences from one revision to a later one, if the log has them
    /// all. O(differences since `from`).
    #[cfg(feature = "versioned")]
    pub(crate) fn between(&self, from: Revision, to: Revision) -> Option<Vec<Difference>> {
        let inner = self.lock();
        if !inner.recording || from < inner.complete_after? || to > self.head() {
            return None;
        }
        let first = inner
            .entries
            .partition_point(|entry| entry.revision <= from);
        let entries: Vec<Arc<LogEntry>> = inner.entries.range(first..).cloned().collect();
        drop(inner);
        let entries = entries.iter().take_while(|entry| entry.revision <= to);
        Some(super::fold(entries.flat_map(|entry| &entry.changes)))
    }
}

#[cfg(all(test, loom))]
impl Log {
    /// Stops recording even if there are watches.
    pub(super) fn stop_with_watches(&self) {
        let mut aftermath = Aftermath::default();
        self.stop(&mut self.lock(), &mut aftermath);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
impl Log {
    /// Returns the number of watched topics.
    pub(super) fn topics(&self) -> usize {
        self.lock().topics.len()
    }

    /// Returns the number of sleeping watches.
    pub(super) fn waiting_watches(&self) -> usize {
        let mut inner = self.lock();
        inner.topics.iter_mut().map(|topic| topic.wakers()).sum()
    }

    /// Returns the memory in use, as the log counts it.
    pub(super) fn bytes(&self) -> usize {
        let inner = self.lock();
        inner.bytes + inner.topics.bytes
    }
}

impl LockedLog {
    /// Returns whether the log has every change since the checkpoint. Also true if there is
    /// neither a log nor a checkpoint.
    fn checkpoint_reaches(&self) -> bool {
        self.checkpoint.as_ref().map(|state| state.revision) >= self.complete_after
    }

    fn remove_all_entries(&mut self, aftermath: &mut Aftermath) {
        for entry in mem::take(&mut self.entries) {
            self.topics.remove_oldest(&entry);
            aftermath.removed.push(entry);
        }
        self.bytes = 0;
        if let Some(checkpoint) = self.checkpoint.take() {
            aftermath.checkpoint = Some(checkpoint);
        }
    }

    /// Fills the topic of a watch that continues after `from` with the changes since then.
    fn backfill(&mut self, selection: &Selection, from: Revision) {
        let after = self.complete_after.unwrap_or_default();
        let Some(topic) = self.topics.get_mut(selection) else {
            return;
        };
        if topic.complete_after > from {
            self.topics.backfill(selection, self.entries.iter(), after);
        }
    }
}

/// Computes the net effect of `changes`.
fn effect_of(changes: impl IntoIterator<Item = Difference>) -> CommitEffect {
    let mut differences = changes.into_iter().collect();
    net(&mut differences);
    CommitEffect {
        differences,
        is_restored: false,
    }
}

impl std::fmt::Debug for LogState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogState")
            .field("options", &self.options)
            .field("recording", &self.recording.load(Relaxed))
            .finish_non_exhaustive()
    }
}
