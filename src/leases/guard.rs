//! [`MassExpiryGuard`], which detects that so many pods fall silent that the network has probably
//! failed.
//!
//! It compares the overdue pods with those that are present. A guard that compares renewals
//! with those expected of all pods that ever registered would stay on forever after a part of
//! the fleet is taken down for good. Here a pod that left long ago counts on neither side, a
//! pod that unregisters never counts, and each pod is withheld for a limited time. Pods that
//! fall silent at once expire over a whole time to live, because each renewed at a different
//! time. The guard therefore counts the pods that expired within a window, not within one
//! sweep.

use std::collections::VecDeque;

use hashbrown::{HashMap, HashSet};

use super::options::LeaseOptions;
use super::slot::{Nanos, nanos};
use crate::changes::Difference;
use crate::hash::RandomState;
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// Registered pods, with a lease or without.
    present: usize,
    /// Pods that have expired within the window.
    gone: usize,
}

impl Count {
    /// Returns whether more than `percent` of the pods have expired or are overdue.
    fn is_exceeded(self, overdue: usize, percent: u8) -> bool {
        let lost = self.gone + overdue;
        lost * 100 > usize::from(percent) * (self.gone + self.present)
    }
}

#[derive(Debug)]
pub(super) struct MassExpiryGuard {
    options: LeaseOptions,
    names: HashMap<String, Count, RandomState>,
    all: Count,
    /// The pods that expired within the window, oldest first.
    gone: VecDeque<(Nanos, ServiceKey)>,
}

/// The pods that are withheld.
#[derive(Debug, Default)]
pub(super) struct Withholding {
    everything: bool,
    names: HashSet<String, RandomState>,
}

impl Withholding {
    pub(super) fn withholds(&self, key: &ServiceKey) -> bool {
        self.everything || self.names.contains(key.service_name())
    }
}

impl MassExpiryGuard {
    pub(super) fn new(options: LeaseOptions) -> MassExpiryGuard {
        MassExpiryGuard {
            options,
            names: HashMap::default(),
            all: Count::default(),
            gone: VecDeque::new(),
        }
    }

    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) fn names(&self) -> usize {
        self.names.len()
    }

    pub(super) fn hold(&self) -> Nanos {
        nanos(self.options.hold)
    }

    /// Changes the count of a name and the total.
    fn change(&mut self, name: &str, change: impl Fn(&mut Count)) {
        change(&mut self.all);
        let count = self.names.entry_ref(name).or_default();
        change(count);
        if count.present == 0 && count.gone == 0 {
            self.names.remove(name);
        }
    }

    /// Counts a change in the store.
    pub(super) fn count(&mut self, difference: &Difference) {
        match difference {
            Difference::Added(service) => {
                self.change(service.service_name(), |count| count.present += 1);
            }
            Difference::Removed { last, .. } => {
                self.change(last.service_name(), |count| count.present -= 1);
            }
            _ => {}
        }
    }

    /// Replaces the counts by those of the whole state.
    pub(super) fn recount(&mut self, services: &[ServiceInfo]) {
        self.all.present = 0;
        self.names.retain(|_, count| {
            count.present = 0;
            count.gone > 0
        });
        for service in services {
            self.change(service.service_name(), |count| count.present += 1);
        }
    }

    /// Counts an expired pod.
    pub(super) fn record_expired(&mut self, now: Nanos, key: &ServiceKey) {
        self.change(key.service_name(), |count| count.gone += 1);
        self.gone.push_back((now, key.clone()));
    }

    /// Forgets the pods that expired before the window.
    pub(super) fn expire_window(&mut self, now: Nanos) {
        let window = nanos(self.options.window);
        while let Some((when, key)) = self.gone.front().cloned() {
            if now.saturating_sub(when) < window {
                break;
            }
            self.change(key.service_name(), |count| count.gone -= 1);
            self.gone.pop_front();
        }
    }

    /// Decides which overdue pods are withheld. O(overdue).
    pub(super) fn decide<'a>(&self, overdue: impl Iterator<Item = &'a ServiceKey>) -> Withholding {
        let LeaseOptions {
            percent_of_name,
            percent_of_all,
            ..
        } = self.options;
        let mut names: HashMap<&str, usize, RandomState> = HashMap::default();
        let mut all = 0;
        for key in overdue {
            *names.entry(key.service_name()).or_default() += 1;
            all += 1;
        }
        let withheld = names.into_iter().filter(|(name, overdue)| {
            let count = self.names.get(*name).copied().unwrap_or_default();
            count.is_exceeded(*overdue, percent_of_name)
        });
        Withholding {
            everything: self.all.is_exceeded(all, percent_of_all),
            names: withheld.map(|(name, _)| name.into()).collect(),
        }
    }
}
