//! A store from elsewhere that has a log of its own, and tells of its changes with a fault.

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
    /// Nothing to notice.
    None,
    /// A commit is told before it can be read.
    TellsTooSoon,
    /// A commit is told when its turn has been given back: perhaps behind a later one.
    TellsAfterItsTurn,
    /// A commit is told when the next one is made.
    TellsLate,
    /// A commit asks before its turn whether anybody watches.
    AsksBeforeItsTurn,
    /// A sleeper is not told that the store has ended.
    LeavesSleepers,
}

pub(crate) struct Teller {
    fault: Fault,
    turn: Mutex<Turn>,
    /// What readers see.
    shown: Arc<Mutex<MemoryStore>>,
    log: Log,
}

/// What a writer needs its turn for.
struct Turn {
    /// The state that `shown` will have, and what leads there.
    ahead: MemoryStore,
    watch: Watch,
    untold: Option<(Revision, Told)>,
}

/// What a commit did, as far as the log is told.
enum Told {
    Changes(Vec<Difference>),
    Restored,
}

pub(crate) fn teller(fault: Fault) -> Teller {
    let ahead = MemoryStore::new();
    let mut watch = ahead.watch(Selection::All).unwrap();
    drop(watch.try_recv().unwrap());
    Teller {
        fault,
        turn: Mutex::new(Turn {
            ahead,
            watch,
            untold: None,
        }),
        shown: Arc::default(),
        log: Log::new(LogOptions::default()),
    }
}

/// Long enough for another thread to look.
fn pause() {
    #[cfg(not(shuttle))]
    std::thread::sleep(std::time::Duration::from_micros(100));
    #[cfg(shuttle)]
    shuttle::thread::yield_now();
}

/// What is selected of a view.
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

struct OfTeller(Arc<Mutex<MemoryStore>>);

impl ReadState for OfTeller {
    fn read_state(&self, selection: &Selection) -> Result<Option<State>> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.with_view(|view| Some(state_of(view, selection)))
    }
}

impl Teller {
    fn shown(&self) -> MutexGuard<'_, MemoryStore> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes poisoning over, so that a panic that ends a test stays the only one.
    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, revision: Revision, told: Told) -> Aftermath {
        match told {
            Told::Changes(changes) => self.log.append(revision, changes),
            Told::Restored => self.log.restored(revision),
        }
    }

    fn write<R>(&self, write: impl Fn(&MemoryStore) -> Result<R>) -> Result<R> {
        let is_heard = self.fault != Fault::AsksBeforeItsTurn || {
            let is_recording = self.log.is_recording();
            pause();
            is_recording
        };
        let mut turn = self.turn();
        write(&turn.ahead)?;
        let told = match turn.watch.try_recv_commit()? {
            None => Told::Changes(Vec::new()),
            Some(Event::Changes { changes, .. }) => Told::Changes(changes),
            Some(Event::State {
                reason: Reason::Restored,
                ..
            }) => Told::Restored,
            Some(event) => panic!("nobody waits so long: {event:?}"),
        };
        let revision = turn.ahead.revision();
        if self.fault == Fault::TellsTooSoon {
            let left = self.tell(revision, told);
            pause();
            let answer = write(&self.shown());
            drop((turn, left));
            return answer;
        }
        let answer = write(&self.shown());
        let left = match self.fault {
            Fault::TellsAfterItsTurn => {
                drop(turn);
                pause();
                return answer.inspect(|_| drop(self.tell(revision, told)));
            }
            Fault::TellsLate => {
                let before = turn.untold.replace((revision, told));
                before.map(|(revision, told)| self.tell(revision, told))
            }
            _ => is_heard.then(|| self.tell(revision, told)),
        };
        drop((turn, left));
        answer
    }

    fn begin_watch(&self, selection: Selection, from: Option<Cursor>) -> Result<Watch> {
        let read = Arc::new(OfTeller(self.shown.clone()));
        self.log.watch(selection, from, read, || {
            let turn = self.turn();
            turn.ahead.ping()?;
            Ok(turn.ahead.revision())
        })
    }
}

impl RegistryStore for Teller {
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
        let turn = self.turn();
        turn.ahead.close()?;
        self.shown().close()?;
        if self.fault != Fault::LeavesSleepers {
            let left = self.log.close();
            drop((turn, left));
        }
        Ok(())
    }
    forward_required!(reads self => *self.shown());
}
