//! The store inside of a broken one, and what it tells of its changes.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use service_registry::changes::{
    Difference, Event, Log, ReadState, Reason, Selection, State, Watch,
};
use service_registry::{MemoryStore, RegistryStore, Result, Revision, StoreError};

use super::Fault;
use crate::support::faulty_log::state_of;

/// The store inside, and what it has told of its changes.
pub(super) struct LoggedStore {
    pub(super) store: MemoryStore,
    watch: Watch,
    /// What was last told.
    last: Vec<Difference>,
    /// Up to where it has told.
    revision: Revision,
    commits: u64,
}

impl LoggedStore {
    pub(super) fn new() -> LoggedStore {
        let store = MemoryStore::new();
        let mut watch = store.watch(Selection::All).unwrap();
        drop(watch.recv().unwrap());
        LoggedStore {
            store,
            watch,
            last: Vec::new(),
            revision: Revision::ZERO,
            commits: 0,
        }
    }
}

/// Long enough for another thread to look.
pub(super) fn pause() {
    thread::sleep(Duration::from_micros(100));
}

/// The store inside. When it goes, what was changed goes to the log, and then the lock back.
pub(super) struct Inner<'a> {
    pub(super) fault: Fault,
    pub(super) log: &'a Log,
    /// The revision that reads show, with [`Fault::TellsTooSoon`].
    pub(super) shown: &'a AtomicU64,
    pub(super) logged: Option<MutexGuard<'a, LoggedStore>>,
}

impl Deref for Inner<'_> {
    type Target = MemoryStore;

    fn deref(&self) -> &MemoryStore {
        &self.logged.as_ref().expect("there until the end").store
    }
}

impl DerefMut for Inner<'_> {
    fn deref_mut(&mut self) -> &mut MemoryStore {
        &mut self.logged.as_mut().expect("there until the end").store
    }
}

impl Drop for Inner<'_> {
    fn drop(&mut self) {
        let Inner {
            fault, log, shown, ..
        } = *self;
        let mut logged = self.logged.take().expect("there until the end");
        let mut left = Vec::new();
        while let Ok(Some(event)) = logged.watch.try_recv_commit() {
            let (revision, changes) = match event {
                Event::Changes {
                    revision, changes, ..
                } => (revision, changes),
                Event::State {
                    revision,
                    reason: Reason::Restored,
                    ..
                } => {
                    if fault != Fault::RestoresInSilence {
                        left.push(log.restored(revision));
                    }
                    continue;
                }
                event => panic!("nobody waits so long: {event:?}"),
            };
            logged.commits += 1;
            let changes = match fault {
                Fault::LosesChanges if logged.commits.is_multiple_of(5) => Vec::new(),
                Fault::TellsTwice => {
                    let last = std::mem::replace(&mut logged.last, changes.clone());
                    last.into_iter().chain(changes).collect()
                }
                _ => changes,
            };
            left.push(log.append(revision, changes));
        }
        let revision = logged.store.revision();
        // Where there are no differences, it brought newer times only.
        let is_time = left.is_empty() && revision > logged.revision;
        logged.revision = revision;
        let same = (is_time && fault == Fault::TellsOfTimes)
            .then(|| logged.store.get_all_services().unwrap().pop())
            .flatten();
        let same = same.map(|info| Difference::changed(info.clone(), info));
        left.push(log.append(revision, same));
        drop(logged);
        drop(left);
        if fault == Fault::TellsTooSoon {
            pause();
            shown.fetch_max(revision.as_u64(), SeqCst);
        }
    }
}

/// How a watch reads the state of a store that may have gone.
pub(super) struct BrokenStateReader(pub(super) Weak<Mutex<LoggedStore>>);

impl ReadState for BrokenStateReader {
    fn read_state(&self, selection: &Selection) -> Result<Option<State>> {
        let inner = self.0.upgrade().ok_or(StoreError::Closed)?;
        let logged = inner.lock().unwrap_or_else(PoisonError::into_inner);
        logged
            .store
            .with_view(|view| Some(state_of(view, selection)))
    }
}
