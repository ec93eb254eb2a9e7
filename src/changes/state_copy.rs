//! A copy of the selected state that differences keep up to date.

use hashbrown::HashMap;

use super::{Difference, Selection, State, Subscription};
use crate::hash::RandomState;
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;
use crate::model::revision::Revision;

/// A copy of a part of a registry. It defines how to apply a [`Difference`].
#[derive(Default)]
pub(crate) struct StateCopy {
    services: HashMap<ServiceKey, ServiceInfo, RandomState>,
    /// In the order of subscription. `None` for an ended subscription.
    subscriptions: Vec<Option<Subscription>>,
    at: HashMap<Subscription, usize, RandomState>,
}

impl StateCopy {
    /// Copies the selected part of a state.
    pub(crate) fn new(state: &State, selection: &Selection) -> StateCopy {
        let mut copy = StateCopy::default();
        for service in &state.services {
            if selection.holds(service) {
                copy.put(service);
            }
        }
        for subscription in &state.subscriptions {
            if selection.holds_subscription(&subscription.group) {
                copy.subscribe(subscription.clone());
            }
        }
        copy
    }

    /// Applies a difference. O(1).
    pub(crate) fn apply(&mut self, difference: &Difference) {
        match difference {
            Difference::Added(service) | Difference::Changed { after: service, .. } => {
                self.put(service);
            }
            Difference::Removed { last, .. } => {
                self.services.remove(&**last.key());
            }
            Difference::Subscribed { subscriber, group } => {
                self.subscribe(Subscription::new(subscriber.clone(), group.clone()));
            }
            Difference::Unsubscribed { subscriber, group } => {
                let subscription = Subscription::new(subscriber.clone(), group.clone());
                if let Some(at) = self.at.remove(&subscription) {
                    self.subscriptions[at] = None;
                }
            }
            Difference::Skipped { .. } => {}
        }
    }

    /// Converts the copy into a state with this revision.
    pub(crate) fn into_state(self, revision: Revision) -> State {
        State {
            revision,
            services: self.services.into_values().collect(),
            subscriptions: self.subscriptions.into_iter().flatten().collect(),
        }
    }

    /// Clones the copy into a state with this revision.
    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(crate) fn to_state(&self, revision: Revision) -> State {
        State {
            revision,
            services: self.services.values().cloned().collect(),
            subscriptions: self.subscriptions.iter().flatten().cloned().collect(),
        }
    }

    fn put(&mut self, service: &ServiceInfo) {
        self.services.insert(service.key().clone(), service.clone());
    }

    fn subscribe(&mut self, subscription: Subscription) {
        self.at
            .insert(subscription.clone(), self.subscriptions.len());
        self.subscriptions.push(Some(subscription));
    }
}
