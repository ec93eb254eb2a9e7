//! [`Change`]: one element of a batch.

use std::time::SystemTime;

use super::cause::Cause;
use super::condition::{Expected, OnForeign};
use super::record::ServiceInfo;
use super::revision::Revision;
use super::status::ServiceStatus;
use super::subscription::Subscription;

/// One change of a registry, or one condition. A [`Batch`](crate::Batch) is a list of
/// these.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Inserts or replaces a record. An existing record keeps its incarnation.
    SaveService(ServiceInfo),
    /// Inserts or replaces a record as a new incarnation, even if the existing record
    /// is equal.
    RegisterService(ServiceInfo),
    /// Removes the record under this key, which must exist.
    DeleteService {
        /// `service:pod`
        key: Box<str>,
    },
    /// Removes the record under this key together with its subscriptions, if the
    /// condition holds.
    RemoveIf {
        /// `service:pod`
        key: Box<str>,
        /// What must have been there before the batch.
        expected: Expected,
        /// Why it is removed.
        cause: Cause,
    },
    /// Sets the health of the record under this key, which must exist. A record whose
    /// last check is later stays as it is.
    UpdateHealthStatus {
        /// `service:pod`
        key: Box<str>,
        /// The result of the check.
        status: ServiceStatus,
        /// When the check was made.
        checked_at: SystemTime,
    },
    /// Sets the health of the record under this key, if the condition holds.
    UpdateHealthIf {
        /// `service:pod`
        key: Box<str>,
        /// What must have been there before the batch.
        expected: Expected,
        /// The result of the check.
        status: ServiceStatus,
        /// When the check was made.
        checked_at: SystemTime,
    },
    /// Replaces all records of a source.
    ReplaceSource {
        /// The source.
        source: Box<str>,
        /// The new records of the source: the whole list.
        services: Vec<ServiceInfo>,
        /// What to do if a key belongs to another source.
        on_foreign: OnForeign,
    },
    /// Replaces all records and subscriptions of the store.
    ReplaceAll {
        /// The records, each as a new incarnation.
        services: Vec<ServiceInfo>,
        /// The subscriptions. Those of one group are in the order of subscription.
        subscriptions: Vec<Subscription>,
    },
    /// Subscribes a subscriber to a group.
    AddSubscription {
        /// `service:pod` of the subscriber
        subscriber_key: Box<str>,
        /// The group to subscribe to.
        service_group: Box<str>,
    },
    /// Ends a subscription, if there is one.
    RemoveSubscription {
        /// `service:pod` of the subscriber
        subscriber_key: Box<str>,
        /// The group to unsubscribe from.
        service_group: Box<str>,
    },
    /// Ends all subscriptions of a subscriber.
    RemoveAllSubscriptions {
        /// `service:pod` of the subscriber
        subscriber_key: Box<str>,
    },
    /// Rejects the batch unless the condition held before it.
    Require {
        /// `service:pod`
        key: Box<str>,
        /// What must have been there before the batch.
        expected: Expected,
    },
    /// Rejects the batch unless the store was at this revision before it.
    RequireUnchangedSince {
        /// The revision.
        revision: Revision,
    },
}

impl Change {
    /// Returns the name of the [`Batch`](crate::Batch) method that adds such a change.
    pub fn operation(&self) -> &'static str {
        match self {
            Change::SaveService(_) => "save_service",
            Change::RegisterService(_) => "register_service",
            Change::DeleteService { .. } => "delete_service",
            Change::RemoveIf { .. } => "remove_if",
            Change::UpdateHealthStatus { .. } => "update_health_status",
            Change::UpdateHealthIf { .. } => "update_health_if",
            Change::ReplaceSource { .. } => "replace_source",
            Change::ReplaceAll { .. } => "replace_all",
            Change::AddSubscription { .. } => "add_subscription",
            Change::RemoveSubscription { .. } => "remove_subscription",
            Change::RemoveAllSubscriptions { .. } => "remove_all_subscriptions",
            Change::Require { .. } => "require",
            Change::RequireUnchangedSince { .. } => "require_unchanged_since",
        }
    }
}
