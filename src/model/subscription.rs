//! [`Subscription`]: who wants to hear of what.

use std::sync::Arc;

use super::key::ServiceKey;

/// A subscriber key and the service group that it hears of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Subscription {
    /// `service:pod` of the subscriber.
    pub subscriber: ServiceKey,
    /// The group.
    pub group: Arc<str>,
}

impl Subscription {
    /// `subscriber` hears of `group`.
    pub fn new(subscriber: ServiceKey, group: impl Into<Arc<str>>) -> Subscription {
        Subscription {
            subscriber,
            group: group.into(),
        }
    }
}
