//! The smallest store with a log, for the tests of this module.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    Aftermath, Difference, Log, ReadState, Selection, State, Subscription, Watch, record_change,
};
use crate::model::cause::Cause;
use crate::model::error::{Result, StoreError};
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;
use crate::model::registration::ServiceRegistration;
use crate::model::revision::Revision;
use crate::sync::{Mutex, MutexGuard};

/// The contents of a board.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) revision: Revision,
    pub(super) services: BTreeMap<String, ServiceInfo>,
    pub(super) subscriptions: Vec<(ServiceKey, Arc<str>)>,
    pub(super) closed: bool,
}

/// A store whose state can be read outside a turn, as in a lock-free store.
pub(super) struct Board {
    pub(super) log: Log,
    shared: Arc<BoardState>,
    /// Whether watches can read its state. Otherwise it leaves checkpoints in its log.
    readable: bool,
}

struct BoardState {
    turn: Mutex<()>,
    contents: Mutex<Contents>,
    readable: bool,
}

/// One step of a commit.
#[derive(Clone, Copy, Debug)]
pub(super) enum CommitStep {
    /// Registers pod `.1` of service `.0`.
    Register(u8, u8),
    /// Changes the pod.
    Touch(u8, u8),
    /// Removes the pod.
    Remove(u8, u8),
    /// Subscribes the pod to group `.2`.
    Subscribe(u8, u8, u8),
    /// Ends the subscription.
    Unsubscribe(u8, u8, u8),
}

pub(super) fn key(service: u8, pod: u8) -> ServiceKey {
    ServiceKey::new(&format!("s{service}"), &format!("p{pod}")).unwrap()
}

pub(super) fn record(service: u8, pod: u8) -> ServiceInfo {
    ServiceInfo::new(ServiceRegistration {
        service_name: format!("s{service}"),
        pod_name: format!("p{pod}"),
        ..Default::default()
    })
    .unwrap()
}

impl Contents {
    fn step(&mut self, step: CommitStep, next: Revision) -> Option<Difference> {
        match step {
            CommitStep::Register(service, pod) => {
                let fresh = record(service, pod).stamped(next, next);
                match self.services.insert(fresh.key().to_string(), fresh.clone()) {
                    Some(before) => record_change(before, fresh),
                    None => Some(Difference::Added(fresh)),
                }
            }
            CommitStep::Touch(service, pod) => {
                let known = self.services.get_mut(&*key(service, pod))?;
                let before = known.clone();
                *known = before.clone().stamped(next, before.incarnation());
                record_change(before, known.clone())
            }
            CommitStep::Remove(service, pod) => {
                let last = self.services.remove(&*key(service, pod))?;
                let cause = Cause::Deleted;
                Some(Difference::Removed { last, cause })
            }
            CommitStep::Subscribe(service, pod, group) => {
                let (subscriber, group) = (key(service, pod), Arc::from(format!("g{group}")));
                let pair = (subscriber.clone(), Arc::clone(&group));
                (!self.subscriptions.contains(&pair)).then(|| {
                    self.subscriptions.push(pair);
                    Difference::Subscribed { subscriber, group }
                })
            }
            CommitStep::Unsubscribe(service, pod, group) => {
                let (subscriber, group) = (key(service, pod), Arc::from(format!("g{group}")));
                let pair = (subscriber.clone(), Arc::clone(&group));
                let at = self.subscriptions.iter().position(|one| *one == pair)?;
                self.subscriptions.remove(at);
                Some(Difference::Unsubscribed { subscriber, group })
            }
        }
    }

    fn state(&self, selection: &Selection) -> State {
        let services = self.services.values();
        let subscriptions = self.subscriptions.iter();
        State {
            revision: self.revision,
            services: services
                .filter(|one| selection.holds(one))
                .cloned()
                .collect(),
            subscriptions: subscriptions
                .filter(|(_, group)| selection.holds_subscription(group))
                .map(|(subscriber, group)| Subscription::new(subscriber.clone(), group.clone()))
                .collect(),
        }
    }
}

impl ReadState for BoardState {
    fn read_state(&self, selection: &Selection) -> Result<Option<State>> {
        if !self.readable {
            return Ok(None);
        }
        let contents = self.contents.lock().unwrap();
        if contents.closed {
            return Err(StoreError::Closed);
        }
        Ok(Some(contents.state(selection)))
    }
}

impl Board {
    pub(super) fn new(log: Log, readable: bool) -> Board {
        let shared = BoardState {
            turn: Mutex::default(),
            contents: Mutex::default(),
            readable,
        };
        Board {
            log,
            shared: Arc::new(shared),
            readable,
        }
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.shared.turn.lock().unwrap()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.shared.contents.lock().unwrap()
    }

    pub(super) fn reader(&self) -> Arc<dyn ReadState> {
        self.shared.clone()
    }

    pub(super) fn commit(&self, steps: &[CommitStep]) -> Revision {
        let turn = self.turn();
        self.commit_in(turn, self.log.is_recording(), steps)
    }

    /// The same as `commit`, for a caller that has already asked whether the log records.
    #[cfg(loom)]
    pub(super) fn commit_if(&self, recording: bool, steps: &[CommitStep]) -> Revision {
        self.commit_in(self.turn(), recording, steps)
    }

    fn commit_in(
        &self,
        turn: MutexGuard<'_, ()>,
        recording: bool,
        steps: &[CommitStep],
    ) -> Revision {
        let mut contents = self.contents();
        let next = contents.revision.next();
        let changes = steps.iter().filter_map(|step| contents.step(*step, next));
        let changes: Vec<Difference> = changes.collect();
        if changes.is_empty() {
            return contents.revision;
        }
        contents.revision = next;
        drop(contents);
        let mut aftermath = Aftermath::default();
        if recording {
            aftermath = if self.readable {
                self.log.append(next, changes)
            } else {
                let state = || self.contents().state(&Selection::All);
                self.log.append_with(next, changes, state)
            };
        }
        drop(turn);
        drop(aftermath);
        next
    }

    /// Replaces the whole state, like a dump.
    #[cfg(not(loom))]
    pub(super) fn restore(&self, steps: &[CommitStep]) {
        let turn = self.turn();
        let mut contents = self.contents();
        let next = contents.revision.next();
        contents.services.clear();
        contents.subscriptions.clear();
        for step in steps {
            contents.step(*step, next);
        }
        contents.revision = next;
        drop(contents);
        let aftermath = if self.readable {
            self.log.restored(next)
        } else {
            let state = || self.contents().state(&Selection::All);
            self.log.restored_with(next, state)
        };
        drop(turn);
        drop(aftermath);
    }

    pub(super) fn watch(&self, selection: Selection) -> Watch {
        self.watch_from(selection, None)
    }

    pub(super) fn watch_from(&self, selection: Selection, from: Option<super::Cursor>) -> Watch {
        let turn = || {
            let _turn = self.turn();
            let contents = self.contents();
            if !self.readable {
                self.log.checkpoint(|| contents.state(&Selection::All));
            }
            Ok(contents.revision)
        };
        self.log
            .watch(selection, from, self.reader(), turn)
            .unwrap()
    }

    pub(super) fn close(&self) {
        let turn = self.turn();
        self.contents().closed = true;
        let aftermath = self.log.close();
        drop(turn);
        drop(aftermath);
    }

    /// Returns the selected part of the current state in a form that can be compared.
    pub(super) fn shows(&self, selection: &Selection) -> Shown {
        Shown::of(self.contents().state(selection))
    }
}

/// A state that can be compared.
#[derive(Debug, PartialEq, Default, Clone)]
pub(super) struct Shown {
    pub(super) revision: Revision,
    /// Key, revision and incarnation of each record.
    services: Vec<(String, Revision, Revision)>,
    /// By group. Subscribers are in the order of subscription.
    subscriptions: BTreeMap<String, Vec<String>>,
}

impl Shown {
    pub(super) fn of(state: State) -> Shown {
        let services = state.services.iter();
        let mut services: Vec<_> = services
            .map(|one| (one.key().to_string(), one.revision(), one.incarnation()))
            .collect();
        services.sort();
        let mut subscriptions: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for Subscription { subscriber, group } in state.subscriptions {
            let group = subscriptions.entry(group.to_string()).or_default();
            group.push(subscriber.to_string());
        }
        Shown {
            revision: state.revision,
            services,
            subscriptions,
        }
    }
}
