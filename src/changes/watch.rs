//! [`Watch`], which delivers a state and then every difference after it.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::state_copy::StateCopy;
use super::topic::Pending;
use super::{Cursor, Difference, Event, Log, Reason, Selection, State, fold};
use crate::model::error::{Result, StoreError};
use crate::model::revision::Revision;
use crate::observe::{report_event, report_lag};
use crate::sync::thread::{self, Thread};

/// Reads the state of a store for a watch, from any thread.
pub trait ReadState: Send + Sync {
    /// Returns the selected state at one revision. The watch drops what is not selected, so the
    /// result may contain more. Returns `None` if the state cannot be read from another thread.
    /// The store then keeps [checkpoints](Log::append_with) in its log.
    ///
    /// # Errors
    ///
    /// [`Closed`](StoreError::Closed) if the store is closed or has been dropped.
    fn read_state(&self, selection: &Selection) -> Result<Option<State>>;
}

/// Delivers a state and then every difference after it, in the order of commits, without gaps
/// or duplicates.
///
/// The first event is an [`Event::State`]. A copy to which every later [`Event::Changes`] is
/// applied equals the selected part of a snapshot of [`Event::revision`], except for the times
/// of health checks.
///
/// A watch needs no runtime, spawns nothing, and can be moved to any thread. Cancelling a call,
/// for example by dropping its future, loses nothing: the next call delivers the same changes.
///
/// No commit waits for a watch. A watch that falls behind the log of the store (see
/// [`LogOptions`](super::LogOptions)) gets the whole state again, with [`Reason::Lagged`].
///
/// ```
/// use service_registry::changes::{Event, Selection};
/// use service_registry::{MemoryStore, Registry, ServiceRegistration};
///
/// let registry = Registry::new(MemoryStore::new());
/// let mut watch = registry.watch(Selection::service("checkout"))?;
/// assert!(matches!(watch.recv()?, Event::State { .. }));
///
/// registry.register(ServiceRegistration::new("checkout", "pod-1"))?;
/// registry.register(ServiceRegistration::new("payment", "pod-1"))?;
/// let Event::Changes { changes, .. } = watch.recv()? else { unreachable!() };
/// assert_eq!(changes.len(), 1);
/// assert_eq!(watch.try_recv()?, None);
/// # Ok::<(), service_registry::StoreError>(())
/// ```
pub struct Watch {
    log: Log,
    selection: Selection,
    number: u64,
    read: Arc<dyn ReadState>,
    /// The watch has delivered everything up to this revision.
    delivered: Revision,
    /// The reason of the next event if that is a state.
    state_reason: Option<Reason>,
}

impl Log {
    /// Starts a watch.
    ///
    /// `turn` waits for a turn among the writers of the store and returns the revision in that
    /// turn. It is called without the lock of the log, since every commit appends under that
    /// lock. `read` reads the state when the watch needs it.
    ///
    /// If the topic of the watch is newer than its cursor, this scans the whole log under its
    /// lock, in O(log length).
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid), with the field `selection`, if no store can
    /// contain the selected name or key, and the errors of `turn`.
    pub fn watch(
        &self,
        selection: Selection,
        from: Option<Cursor>,
        read: Arc<dyn ReadState>,
        turn: impl FnOnce() -> Result<Revision>,
    ) -> Result<Watch> {
        selection.check()?;
        let number = self.add_watch(selection.topic());
        // From here on the watch is removed from the log when it is dropped, even if `turn`
        // fails.
        let mut watch = Watch {
            log: self.clone(),
            selection,
            number,
            read,
            delivered: Revision::ZERO,
            state_reason: Some(Reason::Begin),
        };
        match self.begin(watch.selection.topic(), from, turn()?) {
            Ok(revision) => watch.continue_from(revision),
            Err(reason) => watch.state_reason = Some(reason),
        }
        Ok(watch)
    }
}

/// The number of pending commits that a watch takes each time it holds the lock of the log.
const COMMITS_PER_LOCK: usize = 256;

/// How many of the pending commits an event contains.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Portion {
    All,
    Commit,
}

impl Watch {
    /// Continues with the changes after `revision`.
    pub(super) fn continue_from(&mut self, revision: Revision) {
        self.delivered = revision;
        self.state_reason = None;
    }

    /// Returns the selection.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Returns the revision up to which the watch has delivered everything. A call that finds
    /// no event advances it past commits outside the selection.
    pub fn revision(&self) -> Revision {
        self.delivered
    }

    /// Returns the position of the watch. Another watch can continue there with
    /// [`watch_from`](crate::RegistryStore::watch_from).
    pub fn cursor(&self) -> Cursor {
        self.log.cursor_at(self.delivered)
    }

    /// Returns the net effect of everything pending: at most one difference for each record. A
    /// pod that was added and removed in between does not appear. Blocks until there is an
    /// event.
    ///
    /// It blocks forever if nobody else can write in the meantime: on the only thread that has
    /// access to the store, as with a `MemoryStore`, and inside a read closure
    /// ([`with_service`](crate::RegistryStore::with_service),
    /// [`with_view`](crate::RegistryStore::with_view)) of a store whose writers wait for the
    /// closure. Use [`try_recv`](Self::try_recv) in these places.
    ///
    /// # Errors
    ///
    /// - [`Closed`](StoreError::Closed) after the last event of a closed store, or if the store
    ///   was closed before the watch read a state that it needs: the first state, or the one
    ///   after it fell behind or the store was restored.
    /// - [`Reentrant`](StoreError::Reentrant) inside a read closure of a store that refuses
    ///   reads there.
    pub fn recv(&mut self) -> Result<Event> {
        self.wait(Portion::All, None).map(|event| {
            // A wait without a deadline only ends with an event.
            event.unwrap_or_else(|| unreachable!())
        })
    }

    /// Returns all changes of the next commit in the selection, and of no later commit. Blocks
    /// until there is one.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv).
    pub fn recv_commit(&mut self) -> Result<Event> {
        self.wait(Portion::Commit, None).map(|event| {
            // As in `recv`.
            event.unwrap_or_else(|| unreachable!())
        })
    }

    /// Waits for an event like [`recv`](Self::recv), but returns `None` if there is none within
    /// `timeout`.
    ///
    /// Like every call that blocks, it replaces the waker of an earlier
    /// [`poll_recv`](Self::poll_recv).
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Event>> {
        self.wait(Portion::All, Instant::now().checked_add(timeout))
    }

    /// Returns what [`recv`](Self::recv) returns, or `None` if there is no event now.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Result<Option<Event>> {
        self.next(Portion::All, None)
    }

    /// Returns what [`recv_commit`](Self::recv_commit) returns, or `None` if there is no event
    /// now.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv).
    pub fn try_recv_commit(&mut self) -> Result<Option<Event>> {
        self.next(Portion::Commit, None)
    }

    /// Polls for the event that [`recv`](Self::recv) returns. If there is none, the task is
    /// woken when there may be one. Only the waker of the last call is woken.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv).
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<Event>> {
        let next = self.next(Portion::All, Some(context.waker()));
        next.transpose().map_or(Poll::Pending, Poll::Ready)
    }

    /// Polls for the event that [`recv_commit`](Self::recv_commit) returns.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv).
    pub fn poll_recv_commit(&mut self, context: &mut Context<'_>) -> Poll<Result<Event>> {
        let next = self.next(Portion::Commit, Some(context.waker()));
        next.transpose().map_or(Poll::Pending, Poll::Ready)
    }

    /// Blocks until there is an event or the deadline passes.
    fn wait(&mut self, portion: Portion, deadline: Option<Instant>) -> Result<Option<Event>> {
        if let Some(event) = self.next(portion, None)? {
            return Ok(Some(event));
        }
        let waker = Waker::from(Arc::new(ThreadWaker(thread::current())));
        loop {
            if let Some(event) = self.next(portion, Some(&waker))? {
                return Ok(Some(event));
            }
            match deadline {
                None => thread::park(),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        self.remove_waker();
                        return Ok(None);
                    }
                    thread::park_timeout(left);
                }
            }
        }
    }

    /// Removes the waker of this watch.
    fn remove_waker(&self) {
        let mut inner = self.log.lock();
        let topic = inner.topics.get_mut(self.selection.topic());
        let waker = topic.and_then(|topic| topic.take_waker(self.number));
        drop(inner);
        drop(waker);
    }

    /// Returns the next event. If there is none, registers `waker`, which is woken when there
    /// may be one.
    fn next(&mut self, portion: Portion, waker: Option<&Waker>) -> Result<Option<Event>> {
        // Cloned and dropped without the lock, because a waker runs foreign code.
        let mut waker = waker.cloned();
        let mut pending: SmallVec<[Pending; 1]> = SmallVec::new();
        // Commits that arrive during this call go into the next event.
        let mut until = None;
        loop {
            if let Some(reason) = self.state_reason {
                return self.state(reason).map(Some);
            }
            let mut guard = self.log.lock();
            let inner = &mut *guard;
            if self.delivered < inner.restored {
                self.state_reason = Some(Reason::Restored);
                continue;
            }
            let Some(topic) = inner.topics.get_mut(self.selection.topic()) else {
                unreachable!("a topic stays while it has a watch");
            };
            let found = pending.last().map(|last| last.entry.revision);
            let found = found.unwrap_or(self.delivered);
            if found < topic.complete_after {
                self.state_reason = Some(Reason::Lagged);
                continue;
            }
            let first = topic
                .pending
                .partition_point(|pending| pending.entry.revision <= found);
            let most = match portion {
                Portion::All => COMMITS_PER_LOCK,
                Portion::Commit => 1,
            };
            let head = *until.get_or_insert_with(|| self.log.head());
            let before = pending.len();
            let wanted = topic.pending.range(first..);
            let wanted = wanted.take_while(|pending| pending.entry.revision <= head);
            pending.extend(wanted.take(most).cloned());
            if portion == Portion::All && pending.len() - before == most {
                // There may be more. Other commits get the lock in between.
                continue;
            }
            if let Some(next) = pending.first() {
                // Commits do not wait for the folding.
                drop(guard);
                let (changes, delivered) = match portion {
                    Portion::All => (fold(pending.iter().flat_map(Pending::changes)), head),
                    // `append` has already folded each commit.
                    Portion::Commit => (next.changes().cloned().collect(), next.entry.revision),
                };
                let changes = self.select(changes);
                if changes.is_empty() {
                    // The changes cancelled out, or the records have other labels.
                    self.delivered = delivered;
                    pending.clear();
                    until = None;
                    continue;
                }
                // Before `delivered` moves on, so that a recorder that panics leaves no gap.
                report_event(self.delivered, head);
                self.delivered = delivered;
                return Ok(Some(Event::Changes {
                    revision: delivered,
                    changes,
                }));
            }
            self.delivered = self.delivered.max(head);
            if inner.closed {
                return Err(StoreError::Closed);
            }
            let before = waker
                .take()
                .and_then(|waker| topic.set_waker(self.number, waker));
            // Dropped without the lock: the drop of a waker is foreign code, which may take the
            // lock.
            drop(guard);
            drop(before);
            return Ok(None);
        }
    }

    /// Keeps the selected changes.
    fn select(&self, changes: Vec<Difference>) -> Vec<Difference> {
        match &self.selection {
            Selection::Labelled(labelled) => {
                let changes = changes.into_iter();
                changes
                    .filter_map(|change| labelled.select(change))
                    .collect()
            }
            _ => changes,
        }
    }

    /// Reads the state from the store, or from the checkpoint in the log.
    fn state(&mut self, reason: Reason) -> Result<Event> {
        let state = match self.read.read_state(&self.selection)? {
            Some(state) => self.selection.of(state),
            None => self.replay()?,
        };
        if reason == Reason::Lagged {
            report_lag(&self.selection, self.delivered, state.revision);
        }
        self.delivered = state.revision;
        self.state_reason = None;
        Ok(Event::State {
            revision: state.revision,
            services: state.services,
            subscriptions: state.subscriptions,
            reason,
        })
    }

    fn replay(&self) -> Result<State> {
        // A store with watches has a checkpoint until it is closed.
        let checkpoint = self.log.last_checkpoint().ok_or(StoreError::Closed)?;
        let (state, since, revision) = checkpoint;
        // The labels are filtered at the end.
        let topic = self.selection.topic();
        let mut copy = StateCopy::new(&state, topic);
        for change in since.iter().flat_map(|entry| &entry.changes) {
            if topic.concerns(change) {
                copy.apply(change);
            }
        }
        Ok(self.selection.of(copy.into_state(revision)))
    }
}

#[cfg(all(test, loom))]
impl Watch {
    /// Registers `waker` without a look at what is pending.
    pub(super) fn register_waker(&self, waker: Waker) {
        let mut inner = self.log.lock();
        let topic = inner.topics.get_mut(self.selection.topic());
        drop(topic.and_then(|topic| topic.set_waker(self.number, waker)));
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // A loom model that has failed. Its locks can no longer be used.
        if cfg!(loom) && std::thread::panicking() {
            return;
        }
        self.log.remove_watch(self.selection.topic(), self.number);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("selection", &self.selection)
            .field("revision", &self.delivered)
            .finish_non_exhaustive()
    }
}

/// A thread that is parked in [`Watch::recv`].
struct ThreadWaker(Thread);

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
