//! An external store with its own change log, which reports its changes with a fault.

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use service_registry::changes::{
    Aftermath, Cursor, Difference, Event, Log, LogOptions, ReadState, Reason, Selection, State,
    Subscription, Watch,
};
use service_registry::{
    Batch, DynView, MemoryStore, RegistryStore, RegistryView, Result, Revision, ServiceInfo,
    ServiceStatus,
};

#[cfg(not(shuttle))]
use std::sync::{Mutex, MutexGuard};

#[cfg(shuttle)]
use shuttle::sync::{Mutex, MutexGuard};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No fault.
    None,
    /// A commit is appended to the log before it can be read.
    TellsTooSoon,
    /// A commit is appended after the writer lock is released: perhaps after a later one.
    TellsAfterItsTurn,
    /// A commit is appended when the next one is made.
    TellsLate,
    /// A commit asks whether the log records before it takes the writer lock.
    AsksBeforeItsTurn,
    /// Closing the store does not wake sleeping watches.
    LeavesSleepers,
}

pub(crate) struct FaultyLogStore {
    fault: Fault,
    writer: Mutex<WriterState>,
    /// The state that readers see.
    shown: Arc<Mutex<MemoryStore>>,
    log: Log,
}

/// The state behind the writer lock.
struct WriterState {
    /// The state that `shown` will have, and the watch that receives its changes.
    ahead: MemoryStore,
    watch: Watch,
    unlogged: Option<(Revision, LogEntry)>,
}

/// The effect of a commit, as the log receives it.
enum LogEntry {
    Changes(Vec<Difference>),
    Restored,
}

pub(crate) fn faulty_log_store(fault: Fault) -> FaultyLogStore {
    let ahead = MemoryStore::new();
    let mut watch = ahead.watch(Selection::All).unwrap();
    drop(watch.try_recv().unwrap());
    FaultyLogStore {
        fault,
        writer: Mutex::new(WriterState {
            ahead,
            watch,
            unlogged: None,
        }),
        shown: Arc::default(),
        log: Log::new(LogOptions::default()),
    }
}

/// Waits long enough for another thread to read.
fn pause() {
    #[cfg(not(shuttle))]
    std::thread::sleep(std::time::Duration::from_micros(100));
    #[cfg(shuttle)]
    shuttle::thread::yield_now();
}

/// Returns the selected part of a view.
pub(crate) fn state_of(view: &dyn DynView, selection: &Selection) -> State {
    let services = view.services().filter(|info| selection.holds(info));
    let mut state = State {
        revision: view.revision(),
        services: services.cloned().collect(),
        ..State::default()
    };
    for group in view
        .groups()
        .filter(|group| selection.holds_subscription(group))
    {
        let held = view.subscribers(group);
        let held = held.map(|key| Subscription::new(key.clone(), group));
        state.subscriptions.extend(held);
    }
    state
}

struct ShownStateReader(Arc<Mutex<MemoryStore>>);

impl ReadState for ShownStateReader {
    fn read_state(&self, selection: &Selection) -> Result<Option<State>> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.with_view(|view| Some(state_of(view, selection)))
    }
}

impl FaultyLogStore {
    fn shown(&self) -> MutexGuard<'_, MemoryStore> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ignores poisoning, so that a test fails with its first panic only.
    fn writer(&self) -> MutexGuard<'_, WriterState> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append_to_log(&self, revision: Revision, entry: LogEntry) -> Aftermath {
        match entry {
            LogEntry::Changes(changes) => self.log.append(revision, changes),
            LogEntry::Restored => self.log.restored(revision),
        }
    }

    fn write<R>(&self, write: impl Fn(&MemoryStore) -> Result<R>) -> Result<R> {
        let is_heard = self.fault != Fault::AsksBeforeItsTurn || {
            let is_recording = self.log.is_recording();
            pause();
            is_recording
        };
        let mut writer = self.writer();
        write(&writer.ahead)?;
        let entry = match writer.watch.try_recv_commit()? {
            None => LogEntry::Changes(Vec::new()),
            Some(Event::Changes { changes, .. }) => LogEntry::Changes(changes),
            Some(Event::State {
                reason: Reason::Restored,
                ..
            }) => LogEntry::Restored,
            Some(event) => panic!("nobody waits so long: {event:?}"),
        };
        let revision = writer.ahead.revision();
        if self.fault == Fault::TellsTooSoon {
            let left = self.append_to_log(revision, entry);
            pause();
            let answer = write(&self.shown());
            drop((writer, left));
            return answer;
        }
        let answer = write(&self.shown());
        let left = match self.fault {
            Fault::TellsAfterItsTurn => {
                drop(writer);
                pause();
                return answer.inspect(|_| drop(self.append_to_log(revision, entry)));
            }
            Fault::TellsLate => {
                let before = writer.unlogged.replace((revision, entry));
                before.map(|(revision, entry)| self.append_to_log(revision, entry))
            }
            _ => is_heard.then(|| self.append_to_log(revision, entry)),
        };
        drop((writer, left));
        answer
    }

    fn begin_watch(&self, selection: Selection, from: Option<Cursor>) -> Result<Watch> {
        let read = Arc::new(ShownStateReader(self.shown.clone()));
        self.log.watch(selection, from, read, || {
            let writer = self.writer();
            writer.ahead.ping()?;
            Ok(writer.ahead.revision())
        })
    }
}

impl RegistryStore for FaultyLogStore {
    fn watch(&self, selection: Selection) -> Result<Watch> {
        self.begin_watch(selection, None)
    }
    fn watch_from(&self, selection: Selection, cursor: Cursor) -> Result<Watch> {
        self.begin_watch(selection, Some(cursor))
    }
    fn revision(&self) -> Revision {
        self.shown().revision()
    }
    fn commit(&self, batch: Batch) -> Result<Revision> {
        self.write(|store| store.commit(batch.clone()))
    }
    fn commit_changes(&self, batch: Batch) -> Result<(Revision, Vec<Difference>)> {
        self.write(|store| store.commit_changes(batch.clone()))
    }
    fn save_service(&self, service: ServiceInfo) -> Result<()> {
        self.write(|store| store.save_service(service.clone()))
    }
    fn delete_service(&self, key: &str) -> Result<()> {
        self.write(|store| store.delete_service(key))
    }
    fn update_health_status(
        &self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Result<service_registry::HealthUpdate> {
        self.write(|store| store.update_health_status(key, status, checked_at))
    }
    fn take_service(&self, key: &str) -> Result<ServiceInfo> {
        self.write(|store| store.take_service(key))
    }
    fn add_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
        self.write(|store| store.add_subscription(subscriber_key, service_group))
    }
    fn remove_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
        self.write(|store| store.remove_subscription(subscriber_key, service_group))
    }
    fn remove_all_subscriptions(&self, subscriber_key: &str) -> Result<()> {
        self.write(|store| store.remove_all_subscriptions(subscriber_key))
    }
    fn clear(&self) -> Result<()> {
        self.write(MemoryStore::clear)
    }
    fn close(&self) -> Result<()> {
        let writer = self.writer();
        writer.ahead.close()?;
        self.shown().close()?;
        if self.fault != Fault::LeavesSleepers {
            let left = self.log.close();
            drop((writer, left));
        }
        Ok(())
    }
    forward_required!(reads self => *self.shown());
}
