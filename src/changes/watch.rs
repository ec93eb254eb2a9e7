//! [`Watch`]: a state, and then every difference after it.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::replica::Replica;
use super::topic::Pending;
use super::{Cursor, Difference, Event, Log, Reason, Selection, State, fold};
use crate::model::error::{Result, StoreError};
use crate::model::revision::Revision;
use crate::observe::{note_event, note_lagged};
use crate::sync::thread::{self, Thread};

/// How a watch reads the state of its store, on whatever thread it is.
pub trait ReadState: Send + Sync {
    /// The state, at one revision, of what is selected; what else there is, is left out of the
    /// event. `None` where the state cannot be read from another thread: then the store keeps
    /// [checkpoints](Log::append_with) in its log.
    ///
    /// # Errors
    ///
    /// [`Closed`](StoreError::Closed) where the store is closed, or has been dropped.
    fn read_state(&self, selection: &Selection) -> Result<Option<State>>;
}

/// A state, and then every difference after it: in the order of commits, without a gap, none
/// twice.
///
/// The first event is an [`Event::State`]. From then on, whoever applies every
/// [`Event::Changes`] to it has what a snapshot of [`Event::revision`] shows of the
/// selection, but for times of health checks.
///
/// It needs no runtime and spawns nothing; any thread may have it. A call that is given up,
/// as a future is when it is dropped, loses nothing: what it would have told comes next.
///
/// No commit waits until a watch has read. One that falls behind what the log of the store holds
/// (see [`LogOptions`](super::LogOptions)) is told the state anew, with [`Reason::Lagged`].
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
    /// Everything up to this revision has been shown.
    shown: Revision,
    /// Why a state comes next, if it does.
    state_for: Option<Reason>,
}

impl Log {
    /// Begins a watch.
    ///
    /// `turn` waits for a turn of writing of the store, and answers with the revision there.
    /// It is called without a lock of the log, after which every commit appends. `read` reads
    /// the state when the watch needs it.
    ///
    /// From a cursor it looks at the whole log, under its lock: O(log).
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid), with the field `selection`, where that names
    /// what no store can hold; what `turn` answers.
    pub fn watch(
        &self,
        selection: Selection,
        from: Option<Cursor>,
        read: Arc<dyn ReadState>,
        turn: impl FnOnce() -> Result<Revision>,
    ) -> Result<Watch> {
        selection.check()?;
        let number = self.enter(selection.topic());
        // From here on it leaves when it is dropped, also where `turn` fails.
        let mut watch = Watch {
            log: self.clone(),
            selection,
            number,
            read,
            shown: Revision::ZERO,
            state_for: Some(Reason::Begin),
        };
        match self.begin(watch.selection.topic(), from, turn()?) {
            Ok(revision) => watch.go_on_from(revision),
            Err(reason) => watch.state_for = Some(reason),
        }
        Ok(watch)
    }
}

/// How many pending commits a watch takes over in one turn at the lock of the log.
const AT_ONCE: usize = 256;

/// How much of what is pending an event has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Portion {
    All,
    Commit,
}

impl Watch {
    /// Has shown everything up to `revision`.
    pub(super) fn go_on_from(&mut self, revision: Revision) {
        self.shown = revision;
        self.state_for = None;
    }

    /// What it is about.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Up to which revision it has shown everything. It moves on past commits that do not
    /// concern it when a call finds nothing.
    pub fn revision(&self) -> Revision {
        self.shown
    }

    /// The same as a place from which another watch can go on, with
    /// [`watch_from`](crate::RegistryStore::watch_from).
    pub fn cursor(&self) -> Cursor {
        self.log.cursor_at(self.shown)
    }

    /// Everything that is pending, as its net effect: for each record at most one difference.
    /// A pod that came and went unseen shows nothing. Sleeps until there is something.
    ///
    /// So it sleeps for ever where nobody else can write meanwhile: on the only thread that
    /// has the store, as that of a `MemoryStore` is; and inside a read closure
    /// ([`with_service`](crate::RegistryStore::with_service),
    /// [`with_view`](crate::RegistryStore::with_view)) of a store whose writers wait for
    /// that. There, call [`try_recv`](Self::try_recv).
    ///
    /// # Errors
    ///
    /// [`Closed`](StoreError::Closed) after the last event of a closed store, and where the
    /// store was closed before this watch has read a state that it needs: the first one, one
    /// after it has fallen behind, or one after the store has been restored;
    /// [`Reentrant`](StoreError::Reentrant) inside a read closure of a store that refuses
    /// reads there.
    pub fn recv(&mut self) -> Result<Event> {
        self.wait(Portion::All, None).map(|event| {
            // Without a deadline it waits until there is one.
            event.unwrap_or_else(|| unreachable!())
        })
    }

    /// The next commit that concerns it, whole, and nothing behind it. Sleeps until there is
    /// one.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_commit(&mut self) -> Result<Event> {
        self.wait(Portion::Commit, None).map(|event| {
            // As above.
            event.unwrap_or_else(|| unreachable!())
        })
    }

    /// As [`recv`](Self::recv); `None` where there is nothing within `timeout`.
    ///
    /// It takes the place of the waker of an earlier [`poll_recv`](Self::poll_recv), as every
    /// call does that sleeps.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Event>> {
        self.wait(Portion::All, Instant::now().checked_add(timeout))
    }

    /// As [`recv`](Self::recv); `None` where there is nothing now.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Result<Option<Event>> {
        self.next(Portion::All, None)
    }

    /// As [`recv_commit`](Self::recv_commit); `None` where there is nothing now.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn try_recv_commit(&mut self) -> Result<Option<Event>> {
        self.next(Portion::Commit, None)
    }

    /// As [`recv`](Self::recv), for a task: where there is nothing, the task is woken when
    /// there may be something. The waker of the last call counts.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<Event>> {
        let next = self.next(Portion::All, Some(context.waker()));
        next.transpose().map_or(Poll::Pending, Poll::Ready)
    }

    /// As [`recv_commit`](Self::recv_commit), for a task.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv_commit(&mut self, context: &mut Context<'_>) -> Poll<Result<Event>> {
        let next = self.next(Portion::Commit, Some(context.waker()));
        next.transpose().map_or(Poll::Pending, Poll::Ready)
    }

    /// Sleeps until there is an event, or it is time.
    fn wait(&mut self, portion: Portion, deadline: Option<Instant>) -> Result<Option<Event>> {
        if let Some(event) = self.next(portion, None)? {
            return Ok(Some(event));
        }
        let waker = Waker::from(Arc::new(Sleeper(thread::current())));
        loop {
            if let Some(event) = self.next(portion, Some(&waker))? {
                return Ok(Some(event));
            }
            match deadline {
                None => thread::park(),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        self.rise();
                        return Ok(None);
                    }
                    thread::park_timeout(left);
                }
            }
        }
    }

    /// Sleeps no more.
    fn rise(&self) {
        let mut inner = self.log.lock();
        let topic = inner.topics.get_mut(self.selection.topic());
        let waker = topic.and_then(|topic| topic.rise(self.number));
        drop(inner);
        drop(waker);
    }

    /// The next event, if there is one; else `waker` is woken when there may be one.
    fn next(&mut self, portion: Portion, waker: Option<&Waker>) -> Result<Option<Event>> {
        // Cloned and dropped without the lock: a waker is code of others.
        let mut waker = waker.cloned();
        let mut pending: SmallVec<[Pending; 1]> = SmallVec::new();
        // What is committed while it takes over what is pending comes with the next event.
        let mut until = None;
        loop {
            if let Some(reason) = self.state_for {
                return self.state(reason).map(Some);
            }
            let mut guard = self.log.lock();
            let inner = &mut *guard;
            if self.shown < inner.restored {
                self.state_for = Some(Reason::Restored);
                continue;
            }
            let Some(topic) = inner.topics.get_mut(self.selection.topic()) else {
                unreachable!("a topic stays while it has a watch");
            };
            let found = pending.last().map(|last| last.entry.revision);
            let found = found.unwrap_or(self.shown);
            if found < topic.lost {
                self.state_for = Some(Reason::Lagged);
                continue;
            }
            let first = topic
                .pending
                .partition_point(|pending| pending.entry.revision <= found);
            let most = match portion {
                Portion::All => AT_ONCE,
                Portion::Commit => 1,
            };
            let head = *until.get_or_insert_with(|| self.log.head());
            let before = pending.len();
            let wanted = topic.pending.range(first..);
            let wanted = wanted.take_while(|pending| pending.entry.revision <= head);
            pending.extend(wanted.take(most).cloned());
            if portion == Portion::All && pending.len() - before == most {
                // There may be more. Those who commit come in between.
                continue;
            }
            if let Some(next) = pending.first() {
                // Commits do not wait while it is folded.
                drop(guard);
                let (changes, shown) = match portion {
                    Portion::All => (fold(pending.iter().flat_map(Pending::changes)), head),
                    // A commit has been folded when it was appended.
                    Portion::Commit => (next.changes().cloned().collect(), next.entry.revision),
                };
                let changes = self.narrow(changes);
                if changes.is_empty() {
                    // It came and went, or has other labels.
                    self.shown = shown;
                    pending.clear();
                    until = None;
                    continue;
                }
                // While nothing has been shown: a recorder that panics makes no gap.
                note_event(self.shown, head);
                self.shown = shown;
                return Ok(Some(Event::Changes {
                    revision: shown,
                    changes,
                }));
            }
            self.shown = self.shown.max(head);
            if inner.closed {
                return Err(StoreError::Closed);
            }
            let before = waker
                .take()
                .and_then(|waker| topic.sleep(self.number, waker));
            // A waker is code of others: what it drops may ask for the lock.
            drop(guard);
            drop(before);
            return Ok(None);
        }
    }

    /// What of these is selected.
    fn narrow(&self, changes: Vec<Difference>) -> Vec<Difference> {
        match &self.selection {
            Selection::Labelled(labelled) => {
                let changes = changes.into_iter();
                changes
                    .filter_map(|change| labelled.narrow(change))
                    .collect()
            }
            _ => changes,
        }
    }

    /// Reads the state, from the store or from what it has left in the log.
    fn state(&mut self, reason: Reason) -> Result<Event> {
        let state = match self.read.read_state(&self.selection)? {
            Some(state) => self.selection.of(state),
            None => self.replay()?,
        };
        if reason == Reason::Lagged {
            note_lagged(&self.selection, self.shown, state.revision);
        }
        self.shown = state.revision;
        self.state_for = None;
        Ok(Event::State {
            revision: state.revision,
            services: state.services,
            subscriptions: state.subscriptions,
            reason,
        })
    }

    fn replay(&self) -> Result<State> {
        // A store that has watches keeps one, until it is closed.
        let checkpoint = self.log.last_checkpoint().ok_or(StoreError::Closed)?;
        let (state, since, revision) = checkpoint;
        // What has other labels now is left out at the end.
        let topic = self.selection.topic();
        let mut replica = Replica::new(&state, topic);
        for change in since.iter().flat_map(|entry| &entry.changes) {
            if topic.concerns(change) {
                replica.apply(change);
            }
        }
        Ok(self.selection.of(replica.into_state(revision)))
    }
}

#[cfg(all(test, loom))]
impl Watch {
    /// Has `waker` woken, without a look at what is pending.
    pub(super) fn lie_down(&self, waker: Waker) {
        let mut inner = self.log.lock();
        let topic = inner.topics.get_mut(self.selection.topic());
        drop(topic.and_then(|topic| topic.sleep(self.number, waker)));
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // A model that has failed: its locks cannot be used any more.
        if cfg!(loom) && std::thread::panicking() {
            return;
        }
        self.log.leave(self.selection.topic(), self.number);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("selection", &self.selection)
            .field("revision", &self.shown)
            .finish_non_exhaustive()
    }
}

/// A thread that sleeps in [`Watch::recv`].
struct Sleeper(Thread);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
