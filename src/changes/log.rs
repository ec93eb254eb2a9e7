//! What has changed of late: a bounded log, which a store writes and watches read.
//!
//! # No gap
//!
//! A commit asks [`Log::is_recording`] in its turn, and appends if so. A watch that is the
//! first one sets that flag, and then passes through a turn of the store: every commit whose
//! turn comes after has seen the flag, and every one before is part of the state that the
//! watch reads. Setting and clearing the flag happen under the lock of the log, and so does
//! appending; what a commit appends after the last watch has gone is ignored.
//!
//! `lost` is the revision up to which the log may lack commits: the revision of that first
//! turn, and later that of the newest entry that has been forgotten.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError};
use std::time::{Instant, SystemTime};
use std::{mem, process};

use super::aftermath::Aftermath;
use super::topic::{Entry, Topics};
use super::{CommitEffect, Cursor, Difference, LogOptions, Reason, Selection, State, net};
use crate::model::revision::Revision;
use crate::model::upkeep::Upkeep;
use crate::sync::atomic::Ordering::{self, Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicBool, AtomicU64};
use crate::sync::{Mutex, MutexGuard};

/// The log of one store: what its commits changed, for its watches.
///
/// Every store of this crate has one. It is public so that a store from elsewhere can have
/// one as well:
///
/// - in the turn of each commit it asks [`is_recording`](Self::is_recording), and if so calls
///   [`append`](Self::append), after the commit can be read and before the next one begins;
/// - it drops the [`Aftermath`] when its turn has been given back;
/// - its `watch` and `watch_from` call [`watch`](Self::watch), its `close` calls
///   [`close`](Self::close).
///
/// Its records are [stamped](crate::ServiceInfo::stamped), since watches tell records of one
/// key apart by that; its `commit_changes` [folds](super::fold) what a batch changed.
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
/// /// What of a store has to do with watches.
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
///         // The turn first: what is woken may call the store.
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
/// /// How a watch reads the state of a store that may have gone.
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
/// `tests/contract/elsewhere.rs` in the repository is a whole store of this kind.
///
/// Clones are handles of one log.
#[derive(Clone, Debug)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    store: u64,
    options: LogOptions,
    recording: AtomicBool,
    /// Whether it records without a watch.
    idle: AtomicBool,
    /// The newest revision that the log was told of. Nothing that concerns a watch up to
    /// here is still to come: what a commit changes is appended before.
    head: AtomicU64,
    inner: Mutex<Inner>,
}

/// What the lock of the log protects.
#[derive(Default)]
pub(super) struct Inner {
    /// As `Shared::recording`.
    recording: bool,
    pub(super) closed: bool,
    /// Nothing is missing behind this revision; `None` before the first turn.
    lost: Option<Revision>,
    /// The revision at which the store was last filled anew.
    pub(super) restored: Revision,
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    pub(super) topics: Topics,
    watches: usize,
    /// Since when there has been no watch.
    idle_since: Option<Instant>,
    /// The number of the next watch.
    next: u64,
    /// For stores whose state a watch cannot read: their state at some revision that is not
    /// older than `lost`.
    checkpoint: Option<Arc<State>>,
}

impl Log {
    /// An empty log for a store that has just begun its life.
    pub fn new(options: LogOptions) -> Log {
        Log {
            shared: Arc::new(Shared {
                // Two stores have the same number in one of 2^64 cases. What is hashed tells
                // a forked child from its parent, which has the same keys.
                store: RandomState::new().hash_one((process::id(), SystemTime::now())),
                options,
                recording: AtomicBool::new(false),
                idle: AtomicBool::new(false),
                head: AtomicU64::new(0),
                inner: Mutex::new(Inner::default()),
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code of others runs under this lock, but for the `state` of a checkpoint, which
        // comes last.
        let inner = self.shared.inner.lock();
        inner.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a commit has to [`append`](Self::append) what it changes. To be asked in its
    /// turn. One load.
    #[inline]
    pub fn is_recording(&self) -> bool {
        // Relaxed: the turn of the store orders it, see above.
        self.shared.recording.load(Relaxed)
    }

    /// Whether nobody watches, and the log goes on for those who come back. A commit asks in
    /// its turn, and then appends even where it has changed nothing but times of checks: so
    /// the log finds out that it is no longer wanted.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        // Relaxed: who finds it out late is followed by others.
        self.shared.idle.load(Relaxed)
    }

    /// Appends what the commit that led to `revision` changed, in order; nothing where it
    /// changed only times of checks. To be called in its turn, when it can be read.
    /// O(differences), and one waker for each watch that sleeps for them.
    pub fn append(
        &self,
        revision: Revision,
        changes: impl IntoIterator<Item = Difference>,
    ) -> Aftermath {
        self.append_net(revision, &mut effect_of(changes))
    }

    /// As [`append`](Self::append), of a net effect, which it takes.
    pub(crate) fn append_net(&self, revision: Revision, effect: &mut CommitEffect) -> Aftermath {
        if effect.is_restored {
            return self.restored(revision);
        }
        self.append_to(&mut self.lock(), revision, effect)
    }

    /// Notes that a commit has led to `revision`, and changed nothing but times of checks.
    #[inline]
    pub(crate) fn pass(&self, revision: Revision) {
        // Release: pairs with the Acquire in `head`, so that whoever is told this revision
        // can read it.
        self.pass_in(revision, Release);
    }

    /// As [`pass`](Self::pass), in an order that a model chooses.
    #[inline]
    pub(super) fn pass_in(&self, revision: Revision, order: Ordering) {
        self.shared.head.store(revision.as_u64(), order);
    }

    /// The newest revision that the log was told of.
    ///
    /// Under the lock it tells as well that whatever was appended up to it is there: a
    /// commit that appends moves the head on under the same lock, and one that does not comes
    /// after the turns of all that did.
    pub(super) fn head(&self) -> Revision {
        // Acquire: pairs with the Release in `pass` and in `watch`.
        self.shared.head.load(Acquire).into()
    }

    /// As [`append`](Self::append), for a store whose state a watch cannot read: where the
    /// log is about to forget what a watch would need, it keeps what `state` answers, which
    /// is called at most once for each time that the log is filled.
    pub fn append_with(
        &self,
        revision: Revision,
        changes: impl IntoIterator<Item = Difference>,
        state: impl FnOnce() -> State,
    ) -> Aftermath {
        self.append_net_with(revision, &mut effect_of(changes), state)
    }

    /// As [`append_with`](Self::append_with), of a net effect, which it takes.
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
        inner: &mut Inner,
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
        inner.lost.get_or_insert(before);
        self.pass(revision);
        // Only who commits is told of these, which are the last of a net effect.
        while changes.last().is_some_and(Difference::is_skipped) {
            changes.pop();
        }
        if changes.is_empty() {
            return aftermath;
        }
        let entry = Arc::new(Entry::new(revision, mem::take(changes)));
        inner.bytes += entry.bytes;
        inner.topics.note(&entry, &mut aftermath.wake);
        inner.entries.push_back(entry);
        while inner.bytes + inner.topics.bytes > self.shared.options.bytes
            && let Some(oldest) = inner.entries.pop_front()
        {
            inner.bytes -= oldest.bytes;
            inner.lost = Some(oldest.revision);
            inner.topics.forget(&oldest);
            aftermath.forgotten.push(oldest);
        }
        aftermath
    }

    /// Tells every watch to begin anew: the store has been filled from a dump, by the commit
    /// that led to `revision`. In place of [`append`](Self::append), and to be called whether
    /// or not it [is recording](Self::is_recording), for cursors from before.
    pub fn restored(&self, revision: Revision) -> Aftermath {
        self.restore(&mut self.lock(), revision)
    }

    /// As [`restored`](Self::restored), for a store whose state a watch cannot read: the log
    /// keeps what `state` answers, if it is recording.
    pub fn restored_with(&self, revision: Revision, state: impl FnOnce() -> State) -> Aftermath {
        let mut inner = self.lock();
        let aftermath = self.restore(&mut inner, revision);
        if inner.recording {
            inner.checkpoint = Some(Arc::new(state()));
        }
        aftermath
    }

    fn restore(&self, inner: &mut Inner, revision: Revision) -> Aftermath {
        let mut aftermath = Aftermath::default();
        inner.restored = revision;
        if inner.recording {
            self.pass(revision);
            inner.lost = Some(revision);
            inner.forget_all(&mut aftermath);
            for topic in inner.topics.iter_mut() {
                topic.lost = revision;
                topic.wake_all(&mut aftermath.wake);
            }
        }
        aftermath
    }

    /// Ends the log with its store: watches show what is there, and then that the store is
    /// closed. To be called when the last commit has been appended. What no watch can ask for is
    /// forgotten at once, and the rest when the last watch goes.
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

    /// Where a watch that has [entered](Self::enter) begins: behind the revision of its cursor,
    /// or with a state, and why. `present` is the revision in a turn since it entered.
    ///
    /// From a cursor it looks at the whole log, under its lock: O(log).
    pub(super) fn begin(
        &self,
        selection: &Selection,
        from: Option<Cursor>,
        present: Revision,
    ) -> std::result::Result<Revision, Reason> {
        let inner = &mut *self.lock();
        let lost = *inner.lost.get_or_insert(present);
        // Release: as in `pass`. A commit whose turn came later may have moved it on.
        self.shared.head.fetch_max(present.as_u64(), Release);
        let is_of_here =
            |from: &Cursor| from.store == self.shared.store && from.revision <= self.head();
        let from = from.filter(is_of_here).ok_or(Reason::Begin)?.revision;
        if from < inner.restored {
            return Err(Reason::Restored);
        }
        if from < lost {
            return Err(Reason::Lagged);
        }
        inner.look_back(selection, from);
        Ok(from)
    }

    /// Keeps `state` for the watches of a store whose state they cannot read, if they have
    /// none. To be called in the turn in which a watch begins.
    pub fn checkpoint(&self, state: impl FnOnce() -> State) {
        let mut inner = self.lock();
        if inner.lost.is_none() || !inner.checkpoint_reaches() {
            inner.checkpoint = Some(Arc::new(state()));
        }
    }

    /// The state that was kept, and what has changed since.
    pub(super) fn last_checkpoint(&self) -> Option<(Arc<State>, Vec<Arc<Entry>>, Revision)> {
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

    /// Counts a watch, and has the commits of later turns record; answers with its number.
    pub(super) fn enter(&self, selection: &Selection) -> u64 {
        let inner = &mut *self.lock();
        inner.watches += 1;
        self.set_idle(inner, None);
        if !inner.recording && !inner.closed {
            inner.recording = true;
            // Relaxed: the turn that follows orders it.
            self.shared.recording.store(true, Relaxed);
        }
        inner.topics.enter(selection, self.head());
        inner.next += 1;
        inner.next
    }

    /// Counts a watch that [entered](Self::enter) no more.
    pub(super) fn leave(&self, selection: &Selection, number: u64) {
        let mut aftermath = Aftermath::default();
        let mut inner = self.lock();
        let left = inner.topics.leave(selection, number);
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

    fn set_idle(&self, inner: &mut Inner, since: Option<Instant>) {
        inner.idle_since = since;
        // Relaxed: see `is_idle`.
        self.shared.idle.store(since.is_some(), Relaxed);
    }

    /// Ends the recording: there is nobody to record for.
    fn stop(&self, inner: &mut Inner, aftermath: &mut Aftermath) {
        inner.recording = false;
        self.shared.recording.store(false, Relaxed);
        inner.lost = None;
        self.set_idle(inner, None);
        inner.forget_all(aftermath);
    }

    /// How many watches there are, and what is kept for them. O(1), under the lock that a commit
    /// takes which somebody watches.
    pub fn upkeep(&self) -> Upkeep {
        let inner = self.lock();
        Upkeep {
            watches: inner.watches,
            log_bytes: inner.bytes + inner.topics.bytes,
            ..Upkeep::default()
        }
    }

    /// The number of the store.
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

    /// The differences from one revision to a later one, folded, if the log has them all.
    /// O(differences since the first).
    #[cfg(feature = "versioned")]
    pub(crate) fn between(&self, from: Revision, to: Revision) -> Option<Vec<Difference>> {
        let inner = self.lock();
        if !inner.recording || from < inner.lost? || to > self.head() {
            return None;
        }
        let first = inner
            .entries
            .partition_point(|entry| entry.revision <= from);
        let entries: Vec<Arc<Entry>> = inner.entries.range(first..).cloned().collect();
        drop(inner);
        let entries = entries.iter().take_while(|entry| entry.revision <= to);
        Some(super::fold(entries.flat_map(|entry| &entry.changes)))
    }
}

#[cfg(all(test, loom))]
impl Log {
    /// Ends the recording without a look at who watches.
    pub(super) fn stop_unasked(&self) {
        let mut aftermath = Aftermath::default();
        self.stop(&mut self.lock(), &mut aftermath);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
impl Log {
    /// How many topics somebody watches.
    pub(super) fn topics(&self) -> usize {
        self.lock().topics.len()
    }

    /// How many watches are to be woken.
    pub(super) fn sleepers(&self) -> usize {
        let mut inner = self.lock();
        inner.topics.iter_mut().map(|topic| topic.sleepers()).sum()
    }

    /// What it keeps in memory, as it counts.
    pub(super) fn bytes(&self) -> usize {
        let inner = self.lock();
        inner.bytes + inner.topics.bytes
    }
}

impl Inner {
    /// Whether the log has every change since the checkpoint; true as well where there is neither.
    fn checkpoint_reaches(&self) -> bool {
        self.checkpoint.as_ref().map(|state| state.revision) >= self.lost
    }

    fn forget_all(&mut self, aftermath: &mut Aftermath) {
        for entry in mem::take(&mut self.entries) {
            self.topics.forget(&entry);
            aftermath.forgotten.push(entry);
        }
        self.bytes = 0;
        if let Some(checkpoint) = self.checkpoint.take() {
            aftermath.checkpoint = Some(checkpoint);
        }
    }

    /// Has the topic of a watch that goes on from `from` know what happened since.
    fn look_back(&mut self, selection: &Selection, from: Revision) {
        let lost = self.lost.unwrap_or_default();
        let Some(topic) = self.topics.get_mut(selection) else {
            return;
        };
        if topic.lost > from {
            self.topics.look_back(selection, self.entries.iter(), lost);
        }
    }
}

/// The net effect of `changes`, for the log.
fn effect_of(changes: impl IntoIterator<Item = Difference>) -> CommitEffect {
    let mut differences = changes.into_iter().collect();
    net(&mut differences);
    CommitEffect {
        differences,
        is_restored: false,
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("options", &self.options)
            .field("recording", &self.recording.load(Relaxed))
            .finish_non_exhaustive()
    }
}
