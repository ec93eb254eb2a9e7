//! Checks a batch against the state of the store before anything is applied.

use std::borrow::Borrow;

use hashbrown::{HashMap, HashSet};

use super::batch::Batch;
use super::change::Change;
use super::condition::{Condition, Conflict, Expected, Found, OnForeign};
use super::error::{InvalidInput, Problem, Result, StoreError};
use super::key::{check_key, check_subscriber, check_subscription, missing};
use super::limits::{check_name, check_service_name};
use super::record::ServiceInfo;
use super::revision::Revision;
use super::subscription::Subscription;
use super::time::Moment;
use crate::hash::RandomState;

impl Expected {
    /// Returns whether the condition holds if `found` is the record under the key.
    pub fn holds(self, found: Option<&ServiceInfo>) -> bool {
        match (self, found) {
            (Expected::Absent, found) => found.is_none(),
            (_, None) => false,
            (Expected::Present, Some(_)) => true,
            (Expected::Revision(revision), Some(found)) => found.revision() == revision,
            (Expected::Incarnation(revision), Some(found)) => found.incarnation() == revision,
        }
    }
}

/// Checks that `service` does not replace a record of another source.
#[inline]
pub(crate) fn check_source(service: &ServiceInfo, known: &ServiceInfo) -> Result<()> {
    if service.source() == known.source() {
        return Ok(());
    }
    let found = describe(known, known.source());
    Err(conflict_of_source(service.key(), service.source(), found))
}

#[cold]
fn conflict_of_source(key: &str, source: Option<&str>, found: Found) -> StoreError {
    let condition = Condition::Source {
        key: key.into(),
        source: source.map(Box::from),
    };
    conflict(condition, found)
}

fn conflict(condition: Condition, found: Found) -> StoreError {
    StoreError::Conflict(Box::new(Conflict::new(condition, found)))
}

fn describe(found: &ServiceInfo, owner: Option<&str>) -> Found {
    Found::Record {
        revision: found.revision(),
        incarnation: found.incarnation(),
        source: owner.map(Box::from),
    }
}

/// The state that the changes of a batch see: the state before the batch, and what the
/// batch itself has saved and removed so far.
struct BatchCheck<'b, F> {
    find: F,
    /// By key: the record that the batch saved, and its source; `None` if the batch
    /// removed it.
    own: HashMap<&'b str, Option<(&'b ServiceInfo, Option<&'b str>)>, RandomState>,
    /// Sources that the batch replaced: only their records in `own` exist.
    replaced: Vec<&'b str>,
    /// Whether the batch replaced everything: only the records in `own` exist.
    is_replaced: bool,
}

impl<'b, R: Borrow<ServiceInfo>, F: Fn(&str) -> Option<R>> BatchCheck<'b, F> {
    /// Calls `read` with the record that the current change sees under `key`, and its
    /// source.
    fn with_record<T>(
        &self,
        key: &str,
        read: impl FnOnce(Option<(&ServiceInfo, Option<&str>)>) -> T,
    ) -> T {
        if let Some(own) = self.own.get(key) {
            return read(*own);
        }
        if self.is_replaced {
            return read(None);
        }
        let found = (self.find)(key);
        let found = found.as_ref().map(Borrow::borrow);
        let found = found.map(|found| (found, found.source()));
        let is_left = |source: Option<&str>| source.is_none_or(|own| !self.replaced.contains(&own));
        read(found.filter(|(_, source)| is_left(*source)))
    }

    fn is_present(&self, key: &str) -> bool {
        self.with_record(key, |found| found.is_some())
    }

    /// Checks that no other source owns `key`.
    fn check_owner(&self, key: &str, source: Option<&str>) -> Result<()> {
        self.with_record(key, |found| match found {
            Some((found, owner)) if owner != source => {
                let found = if self.own.contains_key(key) {
                    // The stamps of a record from the batch are those of an earlier
                    // store, if any.
                    Found::Record {
                        revision: Revision::ZERO,
                        incarnation: Revision::ZERO,
                        source: owner.map(Box::from),
                    }
                } else {
                    describe(found, owner)
                };
                Err(conflict_of_source(key, source, found))
            }
            _ => Ok(()),
        })
    }

    /// Returns whether a condition held before the batch.
    fn held_before_batch(&self, key: &str, expected: Expected) -> Result<bool> {
        check_key("key", key)?;
        let found = (self.find)(key);
        Ok(expected.holds(found.as_ref().map(Borrow::borrow)))
    }

    /// Returns whether to apply a change.
    fn check_change(&mut self, change: &'b Change, revision: Revision) -> Result<bool> {
        match change {
            Change::SaveService(service) | Change::RegisterService(service) => {
                self.check_owner(service.key(), service.source())?;
                self.own
                    .insert(service.key(), Some((service, service.source())));
            }
            Change::DeleteService { key } => {
                if !self.is_present(key) {
                    return Err(missing(key));
                }
                self.own.insert(key, None);
            }
            Change::RemoveIf { key, expected, .. } => {
                if !self.held_before_batch(key, *expected)? {
                    return Ok(false);
                }
                self.own.insert(key, None);
            }
            Change::UpdateHealthStatus {
                key, checked_at, ..
            } => {
                Moment::new("checked_at", *checked_at)?;
                if !self.is_present(key) {
                    return Err(missing(key));
                }
            }
            Change::UpdateHealthIf {
                key,
                expected,
                checked_at,
                ..
            } => {
                Moment::new("checked_at", *checked_at)?;
                return self.held_before_batch(key, *expected);
            }
            Change::ReplaceSource {
                source,
                services,
                on_foreign,
            } => self.replace_source(source, services, *on_foreign)?,
            Change::ReplaceAll {
                services,
                subscriptions,
            } => self.replace_all(services, subscriptions)?,
            Change::AddSubscription {
                subscriber_key,
                service_group,
            }
            | Change::RemoveSubscription {
                subscriber_key,
                service_group,
            } => check_subscription(subscriber_key, service_group)?,
            Change::RemoveAllSubscriptions { subscriber_key } => check_subscriber(subscriber_key)?,
            Change::Require { key, expected } => {
                if !self.held_before_batch(key, *expected)? {
                    let condition = Condition::Expected {
                        key: key.clone(),
                        expected: *expected,
                    };
                    let found = (self.find)(key);
                    let found = found.as_ref().map(Borrow::borrow);
                    let found =
                        found.map_or(Found::Absent, |found| describe(found, found.source()));
                    return Err(conflict(condition, found));
                }
            }
            Change::RequireUnchangedSince { revision: expected } => {
                if revision != *expected {
                    let condition = Condition::UnchangedSince(*expected);
                    return Err(conflict(condition, Found::Revision(revision)));
                }
            }
        }
        Ok(true)
    }

    fn replace_source(
        &mut self,
        source: &'b str,
        services: &'b [ServiceInfo],
        on_foreign: OnForeign,
    ) -> Result<()> {
        check_name("source", source)?;
        let mut seen: HashSet<&str, RandomState> = HashSet::default();
        seen.reserve(services.len());
        for (at, service) in services.iter().enumerate() {
            if !seen.insert(service.key()) {
                let field = format!("services[{at}]");
                return Err(InvalidInput::new(field, service.key(), Problem::Repeated).into());
            }
            if let Some(other) = service.source().filter(|own| *own != source) {
                let field = format!("services[{at}].source");
                return Err(InvalidInput::new(field, other, Problem::OtherSource).into());
            }
        }
        let mut kept = Vec::with_capacity(services.len());
        for service in services {
            match (self.check_owner(service.key(), Some(source)), on_foreign) {
                (Ok(()), _) => kept.push(service),
                (Err(conflict), OnForeign::Reject) => return Err(conflict),
                (Err(_), OnForeign::Skip) => {}
            }
        }
        // Records that the batch itself has saved for this source are replaced, too.
        for own in self.own.values_mut() {
            own.take_if(|(_, owner)| *owner == Some(source));
        }
        self.replaced.push(source);
        self.own.reserve(kept.len());
        for service in kept {
            self.own
                .insert(service.key(), Some((service, Some(source))));
        }
        Ok(())
    }
}

impl<'b, F> BatchCheck<'b, F> {
    fn replace_all(
        &mut self,
        services: &'b [ServiceInfo],
        subscriptions: &[Subscription],
    ) -> Result<()> {
        self.own.clear();
        self.own.reserve(services.len());
        self.is_replaced = true;
        for (at, service) in services.iter().enumerate() {
            let own = Some((service, service.source()));
            if self.own.insert(service.key(), own).is_some() {
                let field = format!("services[{at}]");
                return Err(InvalidInput::new(field, service.key(), Problem::Repeated).into());
            }
        }
        for (at, subscription) in subscriptions.iter().enumerate() {
            check_service_name("group", &subscription.group)
                .map_err(|invalid| invalid.inside(&format!("subscriptions[{at}]")))?;
        }
        Ok(())
    }
}

impl Batch {
    /// Checks every change against the ones before it and against the store, which is at
    /// `revision`. `find` returns the store's record under a key. If the check succeeds,
    /// the store can apply the batch without failing. O(changes).
    ///
    /// Returns the indices, in order, of the changes to leave out: those whose condition
    /// ([`remove_if`](Self::remove_if), [`update_health_if`](Self::update_health_if))
    /// does not hold.
    ///
    /// # Errors
    ///
    /// [`BatchRejected`](StoreError::BatchRejected) with the first change that would
    /// fail.
    pub fn check<R: Borrow<ServiceInfo>>(
        &self,
        revision: Revision,
        find: impl Fn(&str) -> Option<R>,
    ) -> Result<Vec<usize>> {
        let mut check = BatchCheck {
            find,
            own: HashMap::default(),
            replaced: Vec::new(),
            is_replaced: false,
        };
        let mut left_out = Vec::new();
        for (index, change) in self.into_iter().enumerate() {
            match check.check_change(change, revision) {
                Ok(true) => {}
                Ok(false) => left_out.push(index),
                Err(source) => {
                    return Err(StoreError::BatchRejected {
                        index,
                        operation: change.operation(),
                        source: Box::new(source),
                    });
                }
            }
        }
        Ok(left_out)
    }
}
