//! [`Batch`]: several changes that become visible at once.

use std::time::SystemTime;

use super::cause::Cause;
use super::change::Change;
use super::condition::{Expected, OnForeign};
use super::record::ServiceInfo;
use super::revision::Revision;
use super::status::ServiceStatus;
use super::subscription::Subscription;

/// Changes that [`commit`](crate::RegistryStore::commit) applies in order, all
/// or nothing.
///
/// Collecting a change checks nothing and cannot fail; `commit` checks them all.
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
/// [`require`](Self::require) and
/// [`require_unchanged_since`](Self::require_unchanged_since) reject the batch where they
/// do not hold; [`remove_if`](Self::remove_if) and
/// [`update_health_if`](Self::update_health_if) are left out. All of them are judged
/// against the state *before* the batch, wherever they stand in it, and in the same step
/// in which the batch is applied: nobody comes between.
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
/// // Only the pod that was looked at is removed, not the one that came in its place.
/// let gone = |pod: u64| Batch::new()
///     .remove_if("web:pod-1", Expected::Incarnation(pod.into()), Cause::Expired)
///     .take();
/// registry.commit(gone(first.incarnation().into()))?;
/// assert!(registry.get_service("web:pod-1").is_ok());
/// registry.commit(gone(second.incarnation().into()))?;
/// assert!(registry.get_service("web:pod-1").is_err());
/// # Ok::<(), StoreError>(())
/// ```
///
/// # Building
///
/// Methods answer with the batch, so that calls can be chained; [`take`](Self::take) ends
/// a chain with the batch itself. A list of [`Change`]s is made one with `into` or
/// `collect`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    changes: Vec<Change>,
}

impl Batch {
    /// An empty batch.
    pub const fn new() -> Batch {
        Batch {
            changes: Vec::new(),
        }
    }

    /// An empty batch with room for `capacity` changes.
    pub fn with_capacity(capacity: usize) -> Batch {
        Batch {
            changes: Vec::with_capacity(capacity),
        }
    }

    /// Inserts or replaces a record; one that is there keeps its incarnation. One of
    /// another source is a [`Conflict`](crate::StoreError::Conflict).
    pub fn save_service(&mut self, service: ServiceInfo) -> &mut Batch {
        self.push(Change::SaveService(service))
    }

    /// Inserts or replaces a record as a new incarnation, which is a change even where
    /// an equal record is there. One of another source is a
    /// [`Conflict`](crate::StoreError::Conflict).
    pub fn register_service(&mut self, service: ServiceInfo) -> &mut Batch {
        self.push(Change::RegisterService(service))
    }

    /// Removes a record, which must be there when its turn comes.
    pub fn delete_service(&mut self, key: &str) -> &mut Batch {
        self.push(Change::DeleteService { key: key.into() })
    }

    /// Removes a record together with its subscriptions, if `expected` holds and it is
    /// still there when its turn comes. Otherwise it changes nothing, and rejects
    /// nothing.
    pub fn remove_if(&mut self, key: &str, expected: Expected, cause: Cause) -> &mut Batch {
        self.push(Change::RemoveIf {
            key: key.into(),
            expected,
            cause,
        })
    }

    /// Sets the health of a record, which must be there when its turn comes. Where that
    /// is of a later check, it stays as it is, and the batch goes on.
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

    /// The same, if `expected` holds and the record is still there when its turn comes.
    /// Otherwise it changes nothing, and rejects nothing.
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

    /// Makes the records of `source` these and no others. Records of other sources, and
    /// of none, are left alone; a key that is theirs rejects the batch or is skipped, as
    /// `on_foreign` says.
    ///
    /// Each of `services` becomes a record of `source`, if it is not one already. One
    /// that says the same as the record that is there is not touched; one that says
    /// something else keeps the incarnation, and the health of the later check of the
    /// two. One with the registration that is there keeps the time at which that was made,
    /// so that a list can be made anew each time. What goes takes its subscriptions along;
    /// otherwise subscriptions stay as they are, and nobody is subscribed. O(*n*) for all
    /// records of the store.
    ///
    /// The store does not know which of two lists of a source is the newer one. Where
    /// several threads or processes bring them, let the list have a record that tells its
    /// version, and [`require`](Self::require) in the same batch that this is still the one
    /// that was looked at.
    ///
    /// [`Invalid`](crate::StoreError::Invalid) where `source` is no name, a key is there
    /// twice, or a record is of another source.
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

    /// Makes the records and the subscriptions of the whole store these and no others,
    /// whatever their sources are. Every record is a new incarnation, with the health that it
    /// comes with; the subscriptions of a group stand in the order of the list. A watch is told
    /// the state, with [`Reason::Restored`](crate::changes::Reason::Restored). O(*n*), for what
    /// was there and what comes.
    ///
    /// This is what restoring a dump does (feature `dump`).
    ///
    /// [`Invalid`](crate::StoreError::Invalid) where a key is there twice, or a group cannot be
    /// the name of a service.
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

    /// Rejects the batch with [`Conflict`](crate::StoreError::Conflict) unless `expected`
    /// held before it.
    pub fn require(&mut self, key: &str, expected: Expected) -> &mut Batch {
        self.push(Change::Require {
            key: key.into(),
            expected,
        })
    }

    /// Rejects the batch with [`Conflict`](crate::StoreError::Conflict) unless the store
    /// was at `revision` before it: nothing has changed since. A newer time of a health
    /// check is a change here.
    pub fn require_unchanged_since(&mut self, revision: Revision) -> &mut Batch {
        self.push(Change::RequireUnchangedSince { revision })
    }

    /// Appends a change.
    pub fn push(&mut self, change: Change) -> &mut Batch {
        self.changes.push(change);
        self
    }

    /// Takes what was collected, and leaves an empty batch: the end of a chain.
    ///
    /// ```
    /// # use service_registry::Batch;
    /// let batch = Batch::new().add_subscription("web:1", "db").delete_service("web:2").take();
    /// assert_eq!(batch.len(), 2);
    /// ```
    pub fn take(&mut self) -> Batch {
        std::mem::take(self)
    }

    /// Runs over the changes, in the order in which they will be applied.
    pub fn iter(&self) -> std::slice::Iter<'_, Change> {
        self.changes.iter()
    }

    /// The changes, in the order in which they will be applied.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there are none.
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
