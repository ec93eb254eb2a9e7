//! The changes to the tables of a store, written once for all of them.
//!
//! [`WriteTables`] lists the changes that tables support. Its provided methods implement
//! batches with their conditions and the replacement of sources. [`Put`] implements saving and
//! registering, with the revisions and incarnations that records get.

use std::sync::Arc;

use hashbrown::HashSet;

use crate::hash::RandomState;
use crate::model::batch::Batch;
use crate::model::cause::Cause;
use crate::model::change::Change;
use crate::model::check::check_source;
use crate::model::error::Result;
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;
use crate::model::revision::Revision;
use crate::model::status::{HealthUpdate, ServiceStatus};
use crate::model::subscription::Subscription;
use crate::model::time::Moment;

/// How a record replaces another one, or is added.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// Replaces the record if its contents differ, and keeps its incarnation.
    Save,
    /// The same, but keeps the later health of the two. If the registrations are equal, it also
    /// keeps the time at which the existing one was registered.
    Refresh,
    /// Starts a new incarnation.
    Register,
}

/// The record that was there before a record was put.
pub(crate) enum Before {
    /// A record with the same contents, which is left alone.
    Same,
    /// No record.
    Absent,
    /// Another record.
    Other(ServiceInfo),
}

impl Put {
    /// Gives `service` the revision and the incarnation that it has in the store from
    /// `revision` on. Returns whether it changes anything.
    ///
    /// # Errors
    ///
    /// `Conflict` if the record `known` belongs to another source.
    #[inline]
    pub(crate) fn stamp(
        self,
        service: &mut ServiceInfo,
        known: Option<&ServiceInfo>,
        revision: Revision,
    ) -> Result<bool> {
        let Some(known) = known else {
            service.stamp(revision, revision);
            return Ok(true);
        };
        check_source(service, known)?;
        match self {
            Put::Register => {
                service.stamp(revision, revision);
                return Ok(true);
            }
            Put::Refresh => service.merge_known(known),
            Put::Save => {}
        }
        if service.has_same_content(known) {
            service.copy_except_check_time(known);
            return Ok(service.last_health_check() != known.last_health_check());
        }
        service.stamp(revision, known.incarnation());
        Ok(true)
    }
}

/// Tables that can be changed. They remember that something has changed until
/// [`settle`](WriteTables::settle) ends the commit.
///
/// The caller has already checked keys, groups and times.
pub(crate) trait WriteTables {
    /// Returns the newest record under a key, which may not be published yet.
    fn record(&self, key: &str) -> Option<&ServiceInfo>;
    /// Calls `visit` with every newest record. O(*n*).
    fn each_record(&self, visit: impl FnMut(&ServiceInfo));
    /// Calls `visit` with every subscription, in no particular order. O(subscriptions).
    fn each_subscription(&self, visit: impl FnMut(&ServiceKey, &Arc<str>));
    /// Returns the published revision.
    fn current(&self) -> Revision;

    /// Puts a record, which [`Put::stamp`] stamps, and returns what was there before.
    ///
    /// # Errors
    ///
    /// `Conflict` if the existing record belongs to another source.
    fn put_record(&mut self, service: ServiceInfo, how: Put) -> Result<Before>;
    fn delete(&mut self, key: &str) -> Option<ServiceInfo>;
    /// Returns `None` if there is no such record. Calls `see` with the record before a
    /// replacement.
    fn set_health(
        &mut self,
        key: &str,
        status: ServiceStatus,
        checked_at: Moment,
        see: impl FnOnce(&ServiceInfo),
    ) -> Option<HealthUpdate>;
    /// Returns whether the subscription is new.
    fn subscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool;
    /// Returns whether there was a subscription.
    fn unsubscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool;
    /// Returns the groups that the subscriber has left, in their order.
    fn unsubscribe_all(&mut self, subscriber_key: &str) -> Vec<Arc<str>>;
    /// Ends a commit, and increases the revision if something has changed.
    fn settle(&mut self) -> Revision;

    /// Returns the revision of this commit if it changes something.
    #[inline]
    fn next_revision(&self) -> Revision {
        self.current().next()
    }

    /// Removes a record and its subscriptions. Implementations that record changes use `cause`.
    fn take(&mut self, key: &str, _cause: Cause) -> Option<ServiceInfo> {
        let taken = self.delete(key)?;
        self.unsubscribe_all(key);
        Some(taken)
    }

    /// Skips a record whose key belongs to another source. Implementations that record changes
    /// note this.
    fn skip(&mut self, _key: &str) {}

    /// Replaces the records of a source. Skips records whose keys belong to another source.
    fn replace_source(&mut self, source: &str, services: Vec<ServiceInfo>) {
        let mut gone: Vec<ServiceKey> = Vec::new();
        let kept = services.iter().map(|service| &**service.key());
        let kept: HashSet<&str, RandomState> = kept.collect();
        self.each_record(|known| {
            if known.source() == Some(source) && !kept.contains(&**known.key()) {
                gone.push(known.key().clone());
            }
        });
        drop(kept);
        for key in gone {
            self.take(&key, Cause::Replaced);
        }
        let source: Arc<str> = source.into();
        for service in services {
            let service = match service.source() {
                Some(_) => service,
                None => service.into_source(source.clone()),
            };
            let key = service.key().clone();
            // On a conflict the record is skipped, as the batch has specified.
            if self.put_record(service, Put::Refresh).is_err() {
                self.skip(&key);
            }
        }
    }

    /// Replaces all records and subscriptions.
    fn replace_all(&mut self, services: Vec<ServiceInfo>, subscriptions: Vec<Subscription>) {
        replace_all(self, services, subscriptions);
    }

    /// Applies one change of a checked batch.
    fn apply(&mut self, change: Change) -> Result<()> {
        match change {
            Change::SaveService(service) => {
                self.put_record(service, Put::Save)?;
            }
            Change::RegisterService(service) => {
                self.put_record(service, Put::Register)?;
            }
            Change::DeleteService { key } => {
                self.delete(&key);
            }
            Change::RemoveIf { key, cause, .. } => {
                self.take(&key, cause);
            }
            Change::UpdateHealthStatus {
                key,
                status,
                checked_at,
            }
            | Change::UpdateHealthIf {
                key,
                status,
                checked_at,
                ..
            } => {
                let checked_at = Moment::new("checked_at", checked_at)?;
                self.set_health(&key, status, checked_at, |_| ());
            }
            Change::ReplaceSource {
                source, services, ..
            } => {
                self.replace_source(&source, services);
            }
            Change::ReplaceAll {
                services,
                subscriptions,
            } => self.replace_all(services, subscriptions),
            Change::AddSubscription {
                subscriber_key,
                service_group,
            } => {
                self.subscribe(&subscriber_key, &service_group);
            }
            Change::RemoveSubscription {
                subscriber_key,
                service_group,
            } => {
                self.unsubscribe(&subscriber_key, &service_group);
            }
            Change::RemoveAllSubscriptions { subscriber_key } => {
                self.unsubscribe_all(&subscriber_key);
            }
            // These were checked before anything was applied.
            Change::Require { .. } | Change::RequireUnchangedSince { .. } => {}
        }
        Ok(())
    }

    /// Applies a batch completely, or not at all.
    fn apply_batch(&mut self, batch: Batch) -> Result<()> {
        let left_out = batch.check(self.current(), |key| self.record(key))?;
        let mut left_out = left_out.into_iter().peekable();
        for (at, change) in batch.into_iter().enumerate() {
            if left_out.next_if_eq(&at).is_none() {
                let applied = self.apply(change);
                debug_assert!(applied.is_ok(), "the batch has been checked");
            }
        }
        Ok(())
    }
}

/// Replaces all records and subscriptions of `tables` one by one, because not all tables can be
/// cleared and filled in one commit.
pub(crate) fn replace_all<T: WriteTables + ?Sized>(
    tables: &mut T,
    services: Vec<ServiceInfo>,
    subscriptions: Vec<Subscription>,
) {
    let mut subscribers: HashSet<ServiceKey, RandomState> = HashSet::default();
    tables.each_subscription(|subscriber, _| {
        if !subscribers.contains(&**subscriber) {
            subscribers.insert(subscriber.clone());
        }
    });
    for subscriber in subscribers {
        tables.unsubscribe_all(&subscriber);
    }
    let coming = services.iter().map(|service| &**service.key());
    let coming: HashSet<&str, RandomState> = coming.collect();
    let mut gone: Vec<ServiceKey> = Vec::new();
    tables.each_record(|known| {
        if !coming.contains(&**known.key()) {
            gone.push(known.key().clone());
        }
    });
    drop(coming);
    for key in gone {
        tables.take(&key, Cause::Replaced);
    }
    for service in services {
        // The source does not matter, since all records are replaced.
        let known = tables.record(service.key());
        if known.is_some_and(|known| known.source() != service.source()) {
            tables.take(service.key(), Cause::Replaced);
        }
        let put = tables.put_record(service, Put::Register);
        debug_assert!(put.is_ok(), "nobody else owns it");
    }
    for Subscription { subscriber, group } in subscriptions {
        tables.subscribe(&subscriber, &group);
    }
}

/// Tables that can be cleared.
pub(crate) trait ClearTables: WriteTables {
    /// Removes everything, and returns it so that it can be dropped outside a lock.
    fn clear(&mut self) -> impl Sized + use<Self>;
}
