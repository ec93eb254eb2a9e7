//! [`Subscription`]: a subscriber and its group.

use std::sync::Arc;

use super::key::ServiceKey;

/// A subscriber key and the service group that it is subscribed to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Subscription {
    /// `service:pod` of the subscriber.
    pub subscriber: ServiceKey,
    /// The service group.
    pub group: Arc<str>,
}

impl Subscription {
    /// Creates a subscription of `subscriber` to `group`.
    pub fn new(subscriber: ServiceKey, group: impl Into<Arc<str>>) -> Subscription {
        Subscription {
            subscriber,
            group: group.into(),
        }
    }
}
