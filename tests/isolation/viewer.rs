//! How the tests look at a store: views that are held until it has moved on.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;

use service_registry::{Registry, RegistryStore, RegistryView, ServiceInfo};

use crate::support::race::{Round, race};
use crate::support::views::Views;
use crate::support::{ObservedState, number, observe_view, registration};

/// Commits of each writer, at the least.
pub(crate) const ROUNDS: usize = 200;

/// A reader: every other view is a snapshot, the rest those of its handle.
pub(crate) struct Viewer<'a, S: Views> {
    store: &'a S,
    reader: Mutex<S::Reader>,
}

impl<'a, S: Views> Viewer<'a, S> {
    pub(crate) fn of(store: &'a S) -> Viewer<'a, S> {
        Viewer {
            store,
            reader: Mutex::new(store.reader()),
        }
    }

    pub(crate) fn view(&self, round: usize) -> S::Snapshot {
        match round % 2 {
            0 => self.store.snapshot(),
            _ => S::view(&mut self.reader.lock().unwrap()).clone(),
        }
    }

    /// Waits until the store has moved on, so that the view is of the past. Not
    /// for ever: the writers may have ended.
    pub(crate) fn hold(&self, view: &S::Snapshot) {
        for _ in 0..200 {
            if self.store.revision() > view.revision() {
                return;
            }
            thread::yield_now();
        }
    }
}

/// What a record holds here: a number.
pub(crate) fn value(info: &ServiceInfo) -> u64 {
    number(info.registered_at())
}

pub(crate) fn value_of(view: &impl RegistryView, key: &str) -> Option<u64> {
    view.get(key).map(value)
}

/// Everything that a view shows, asked in every way.
pub(crate) fn all_of(view: &impl RegistryView) -> ObservedState {
    let state = observe_view(view, GROUPS);
    for name in NAMES {
        let expected = state.services.values();
        let expected = expected.filter(|info| info.service_name() == *name).count();
        let found = view.services_by_name(name).count();
        assert_eq!(found, expected, "the index of names, {name:?}");
    }
    state
}

pub(crate) const NAMES: &[&str] = &["a", "b", "token", "oncall", "ghost"];
pub(crate) const GROUPS: &[&str] = &["g", "h", "all", "poison"];

/// Pods of two services come and go while `read` looks.
pub(crate) fn race_with_comings_and_goings(store: &(impl RegistryStore + Sync), read: Round<'_>) {
    let one = |round| come_and_go(store, "a", round);
    let other = |round| come_and_go(store, "b", round);
    race(ROUNDS, &[&one, &other], &[read]);
}

pub(crate) fn come_and_go(store: &impl RegistryStore, service: &str, round: usize) {
    let registry = Registry::new(store);
    let pod = (round % 4).to_string();
    let groups: &[&str] = if round.is_multiple_of(2) {
        &["g", "all"]
    } else {
        &["all"]
    };
    registry
        .register(registration(service, &pod, groups))
        .unwrap();
    let other = ((round + 2) % 4).to_string();
    registry.unregister(service, &other).unwrap();
}

pub(crate) fn texts<'a, T: AsRef<str> + ?Sized + 'a>(
    texts: impl Iterator<Item = &'a T>,
) -> Vec<String> {
    texts.map(|text| text.as_ref().to_string()).collect()
}

pub(crate) fn sorted<'a>(records: impl Iterator<Item = &'a ServiceInfo>) -> BTreeMap<String, u64> {
    let keyed = records.map(|info| (info.key().to_string(), value(info)));
    keyed.collect()
}
