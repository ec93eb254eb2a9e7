//! [`Change`]: what a batch is made of.

use std::time::SystemTime;

use super::cause::Cause;
use super::condition::{Expected, OnForeign};
use super::record::ServiceInfo;
use super::revision::Revision;
use super::status::ServiceStatus;
use super::subscription::Subscription;

/// One change of a registry, or one condition: what a [`Batch`](crate::Batch) is made
/// of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Insert or replace the whole record. One that is there keeps its incarnation.
    SaveService(ServiceInfo),
    /// The same as a new incarnation, even of an equal record.
    RegisterService(ServiceInfo),
    /// Remove the record under this key, which must be there.
    DeleteService {
        /// `service:pod`
        key: Box<str>,
    },
    /// Remove the record under this key together with its subscriptions, if the
    /// condition holds.
    RemoveIf {
        /// `service:pod`
        key: Box<str>,
        /// What must have been there before the batch.
        expected: Expected,
        /// Why it is removed.
        cause: Cause,
    },
    /// Set the health of the record under this key, which must be there. One of a later
    /// check stays as it is.
    UpdateHealthStatus {
        /// `service:pod`
        key: Box<str>,
        /// What the check said.
        status: ServiceStatus,
        /// When it was made.
        checked_at: SystemTime,
    },
    /// The same, if the condition holds.
    UpdateHealthIf {
        /// `service:pod`
        key: Box<str>,
        /// What must have been there before the batch.
        expected: Expected,
        /// What the check said.
        status: ServiceStatus,
        /// When it was made.
        checked_at: SystemTime,
    },
    /// Make the records of a source these and no others.
    ReplaceSource {
        /// Whose records.
        source: Box<str>,
        /// All that it has.
        services: Vec<ServiceInfo>,
        /// What to do where a key belongs to another source.
        on_foreign: OnForeign,
    },
    /// Make the records and the subscriptions of the whole store these and no others.
    ReplaceAll {
        /// The records, each as a new incarnation.
        services: Vec<ServiceInfo>,
        /// The subscriptions; those of one group in the order of subscription.
        subscriptions: Vec<Subscription>,
    },
    /// Subscribe a subscriber to a group.
    AddSubscription {
        /// `service:pod` of the subscriber
        subscriber_key: Box<str>,
        /// The group that it wants to hear of.
        service_group: Box<str>,
    },
    /// End a subscription, if there is one.
    RemoveSubscription {
        /// `service:pod` of the subscriber
        subscriber_key: Box<str>,
        /// The group that it no longer wants to hear of.
        service_group: Box<str>,
    },
    /// End all subscriptions of a subscriber.
    RemoveAllSubscriptions {
        /// `service:pod` of the subscriber
        subscriber_key: Box<str>,
    },
    /// Reject the batch unless this was there before it.
    Require {
        /// `service:pod`
        key: Box<str>,
        /// What must have been there before the batch.
        expected: Expected,
    },
    /// Reject the batch unless the store was at this revision before it.
    RequireUnchangedSince {
        /// The revision.
        revision: Revision,
    },
}

impl Change {
    /// The name of the [`Batch`](crate::Batch) method that makes such a change.
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
