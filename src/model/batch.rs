//! [`Batch`]: several changes that become visible at once.

use std::time::SystemTime;

use super::cause::Cause;
use super::change::Change;
use super::condition::{Expected, OnForeign};
use super::record::ServiceInfo;
use super::revision::Revision;
use super::status::ServiceStatus;
use super::subscription::Subscription;

/// A list of changes that [`commit`](crate::RegistryStore::commit) applies in order, all or
/// nothing.
///
/// Adding a change checks nothing and cannot fail; `commit` checks all of them.
///
/// ```
/// use service_registry::{Batch, MemoryStore, RegistryStore, StoreError};
///
/// let store = MemoryStore::new();
/// let mut batch = Batch::new();
/// batch.add_subscription("web:pod-1", "user-service");
/// batch.delete_service("user-service:pod-9");
///
/// let refused = store.commit(batch).unwrap_err();
/// assert!(matches!(refused, StoreError::BatchRejected { index: 1, .. }));
/// assert!(store.get_subscribers("user-service")?.is_empty());
/// # Ok::<(), StoreError>(())
/// ```
///
/// # Conditions
///
/// [`require`](Self::require) and [`require_unchanged_since`](Self::require_unchanged_since) reject
/// the batch if they do not hold. [`remove_if`](Self::remove_if) and
/// [`update_health_if`](Self::update_health_if) have no effect instead. All of them are evaluated
/// against the state *before* the batch, wherever they stand in it, and atomically with applying
/// it: no other commit comes between.
///
/// ```
/// use service_registry::{
///     Batch, Cause, Expected, MemoryStore, Registry, RegistryStore, ServiceRegistration, StoreError,
/// };
///
/// let registry = Registry::new(MemoryStore::new());
/// let first = registry.register(ServiceRegistration::new("web", "pod-1"))?;
/// let second = registry.register(ServiceRegistration::new("web", "pod-1"))?;
///
/// // Removes only the incarnation that was read, not the one that replaced it.
/// let removal = |incarnation: u64| Batch::new()
///     .remove_if("web:pod-1", Expected::Incarnation(incarnation.into()), Cause::Expired)
///     .take();
/// registry.commit(removal(first.incarnation().into()))?;
/// assert!(registry.get_service("web:pod-1").is_ok());
/// registry.commit(removal(second.incarnation().into()))?;
/// assert!(registry.get_service("web:pod-1").is_err());
/// # Ok::<(), StoreError>(())
/// ```
///
/// # Building
///
/// The methods return the batch, so that calls can be chained; [`take`](Self::take) ends a chain
/// with an owned batch. `into` and `collect` turn a list of [`Change`]s into a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    changes: Vec<Change>,
}

impl Batch {
    /// Creates an empty batch.
    pub const fn new() -> Batch {
        Batch {
            changes: Vec::new(),
        }
    }

    /// Creates an empty batch with room for `capacity` changes.
    pub fn with_capacity(capacity: usize) -> Batch {
        Batch {
            changes: Vec::with_capacity(capacity),
        }
    }

    /// Inserts or replaces a record. An existing record keeps its incarnation. If that record
    /// belongs to another source, the batch is rejected with a
    /// [`Conflict`](crate::StoreError::Conflict).
    pub fn save_service(&mut self, service: ServiceInfo) -> &mut Batch {
        self.push(Change::SaveService(service))
    }

    /// Inserts or replaces a record as a new incarnation. This is a change even if the existing
    /// record is equal. If that record belongs to another source, the batch is rejected with a
    /// [`Conflict`](crate::StoreError::Conflict).
    pub fn register_service(&mut self, service: ServiceInfo) -> &mut Batch {
        self.push(Change::RegisterService(service))
    }

    /// Removes a record. The record must exist when this change is applied.
    pub fn delete_service(&mut self, key: &str) -> &mut Batch {
        self.push(Change::DeleteService { key: key.into() })
    }

    /// Removes a record together with its subscriptions, if `expected` holds and the record still
    /// exists when this change is applied. Otherwise the change has no effect; it does not reject
    /// the batch.
    pub fn remove_if(&mut self, key: &str, expected: Expected, cause: Cause) -> &mut Batch {
        self.push(Change::RemoveIf {
            key: key.into(),
            expected,
            cause,
        })
    }

    /// Sets the health of a record. The record must exist when this change is applied. If its last
    /// check is later than `checked_at`, the record stays as it is, and the batch goes on.
    pub fn update_health_status(
        &mut self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> &mut Batch {
        self.push(Change::UpdateHealthStatus {
            key: key.into(),
            status,
            checked_at,
        })
    }

    /// Sets the health of a record, if `expected` holds and the record still exists when this
    /// change is applied. Otherwise the change has no effect; it does not reject the batch.
    pub fn update_health_if(
        &mut self,
        key: &str,
        expected: Expected,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> &mut Batch {
        self.push(Change::UpdateHealthIf {
            key: key.into(),
            expected,
            status,
            checked_at,
        })
    }

    /// Replaces all records of `source` by `services`. Records of other sources, and records
    /// without a source, are left alone. If one of them has the key of a new record, `on_foreign`
    /// decides whether the batch is rejected or the new record is skipped.
    ///
    /// Each record in `services` becomes a record of `source`, if it is not one already. If
    /// there is a record under its key, then:
    ///
    /// - The incarnation is kept, and the health of the later check of the two.
    /// - If the registrations are equal, the time of registration is kept as well, so that a
    ///   list can be built anew each time.
    /// - A record that says the same as before is not touched.
    ///
    /// A record that is removed takes its subscriptions with it. Other subscriptions stay as they
    /// are, and none are added. O(*n*) in the records of the store.
    ///
    /// The store does not know which of two lists of a source is newer. If several threads or
    /// processes submit lists, keep the version of the list in a record of its own, and
    /// [`require`](Self::require) in the same batch that this record has not changed since it was
    /// read.
    ///
    /// The batch is rejected with [`Invalid`](crate::StoreError::Invalid) if `source` is not a
    /// valid name, a key occurs twice, or a record belongs to another source.
    pub fn replace_source(
        &mut self,
        source: &str,
        services: Vec<ServiceInfo>,
        on_foreign: OnForeign,
    ) -> &mut Batch {
        self.push(Change::ReplaceSource {
            source: source.into(),
            services,
            on_foreign,
        })
    }

    /// Replaces all records and subscriptions of the store, whatever their sources.
    ///
    /// Every record becomes a new incarnation, with the health that it brings along. The
    /// subscriptions of a group take the order of the list. Watches receive the new state with
    /// [`Reason::Restored`](crate::changes::Reason::Restored). O(*n*) in the old and the new
    /// contents.
    ///
    /// Restoring a dump does this (feature `dump`).
    ///
    /// The batch is rejected with [`Invalid`](crate::StoreError::Invalid) if a key occurs twice,
    /// or a group is not a valid service name.
    pub fn replace_all(
        &mut self,
        services: Vec<ServiceInfo>,
        subscriptions: Vec<Subscription>,
    ) -> &mut Batch {
        self.push(Change::ReplaceAll {
            services,
            subscriptions,
        })
    }

    /// Subscribes `subscriber_key` to `service_group`.
    pub fn add_subscription(&mut self, subscriber_key: &str, service_group: &str) -> &mut Batch {
        self.push(Change::AddSubscription {
            subscriber_key: subscriber_key.into(),
            service_group: service_group.into(),
        })
    }

    /// Ends a subscription, if there is one.
    pub fn remove_subscription(&mut self, subscriber_key: &str, service_group: &str) -> &mut Batch {
        self.push(Change::RemoveSubscription {
            subscriber_key: subscriber_key.into(),
            service_group: service_group.into(),
        })
    }

    /// Ends all subscriptions of `subscriber_key`.
    pub fn remove_all_subscriptions(&mut self, subscriber_key: &str) -> &mut Batch {
        self.push(Change::RemoveAllSubscriptions {
            subscriber_key: subscriber_key.into(),
        })
    }

    /// Rejects the batch with a [`Conflict`](crate::StoreError::Conflict) unless `expected` held
    /// before it.
    pub fn require(&mut self, key: &str, expected: Expected) -> &mut Batch {
        self.push(Change::Require {
            key: key.into(),
            expected,
        })
    }

    /// Rejects the batch with a [`Conflict`](crate::StoreError::Conflict) unless the store was at
    /// `revision` before it. Every commit counts, also one that only changes the time of a health
    /// check.
    pub fn require_unchanged_since(&mut self, revision: Revision) -> &mut Batch {
        self.push(Change::RequireUnchangedSince { revision })
    }

    /// Appends a change.
    pub fn push(&mut self, change: Change) -> &mut Batch {
        self.changes.push(change);
        self
    }

    /// Takes the collected changes, and leaves an empty batch. Ends a chain of calls.
    ///
    /// ```
    /// # use service_registry::Batch;
    /// let batch = Batch::new().add_subscription("web:1", "db").delete_service("web:2").take();
    /// assert_eq!(batch.len(), 2);
    /// ```
    pub fn take(&mut self) -> Batch {
        std::mem::take(self)
    }

    /// Returns an iterator over the changes, in the order in which they will be applied.
    pub fn iter(&self) -> std::slice::Iter<'_, Change> {
        self.changes.iter()
    }

    /// Returns the changes, in the order in which they will be applied.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Returns the number of changes.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Returns whether the batch has no changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl IntoIterator for Batch {
    type Item = Change;
    type IntoIter = std::vec::IntoIter<Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.changes.into_iter()
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = &'a Change;
    type IntoIter = std::slice::Iter<'a, Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.changes.iter()
    }
}

impl FromIterator<Change> for Batch {
    fn from_iter<I: IntoIterator<Item = Change>>(changes: I) -> Batch {
        Batch {
            changes: changes.into_iter().collect(),
        }
    }
}

impl From<Vec<Change>> for Batch {
    fn from(changes: Vec<Change>) -> Batch {
        Batch { changes }
    }
}

impl<const N: usize> From<[Change; N]> for Batch {
    fn from(changes: [Change; N]) -> Batch {
        Vec::from(changes).into()
    }
}

impl From<Change> for Batch {
    fn from(change: Change) -> Batch {
        [change].into()
    }
}

impl Extend<Change> for Batch {
    fn extend<I: IntoIterator<Item = Change>>(&mut self, changes: I) {
        self.changes.extend(changes);
    }
}
