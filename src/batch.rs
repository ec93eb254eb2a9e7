//! Several changes that become visible at once, and the number of the state
//! that they lead to.

use std::fmt;
use std::time::SystemTime;

use hashbrown::HashMap;

use crate::error::{Result, StoreError};
use crate::hash::RandomState;
use crate::service::{ServiceInfo, ServiceStatus, check_group, check_key};

/// The number of a state of a store: it starts at 0 and grows by one with each
/// commit that changed something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    /// The revision of a store that nothing has been written to.
    pub const ZERO: Revision = Revision(0);

    /// The number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The revision that follows this one.
    ///
    /// # Panics
    ///
    /// At `u64::MAX`, which nothing follows. No store comes that far: with a billion
    /// commits a second it takes 584 years.
    #[must_use]
    pub const fn next(self) -> Revision {
        match self.0.checked_add(1) {
            Some(next) => Revision(next),
            None => panic!("no revision follows the last one, 18446744073709551615"),
        }
    }
}

impl From<u64> for Revision {
    fn from(number: u64) -> Revision {
        Revision(number)
    }
}

impl From<Revision> for u64 {
    fn from(revision: Revision) -> u64 {
        revision.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One change of a registry: what a [`Batch`] is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Insert or replace the whole record.
    SaveService(ServiceInfo),
    /// Remove the record under this key, which must be there.
    DeleteService {
        /// `service:pod`
        key: Box<str>,
    },
    /// Set the health of the record under this key, which must be there.
    UpdateHealthStatus {
        /// `service:pod`
        key: Box<str>,
        /// What the check said.
        status: ServiceStatus,
        /// When it was made.
        checked_at: SystemTime,
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
}

impl Change {
    /// The name of the [`Batch`] method that makes such a change.
    pub fn operation(&self) -> &'static str {
        match self {
            Change::SaveService(_) => "save_service",
            Change::DeleteService { .. } => "delete_service",
            Change::UpdateHealthStatus { .. } => "update_health_status",
            Change::AddSubscription { .. } => "add_subscription",
            Change::RemoveSubscription { .. } => "remove_subscription",
            Change::RemoveAllSubscriptions { .. } => "remove_all_subscriptions",
        }
    }
}

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

    /// Inserts or replaces a record.
    pub fn save_service(&mut self, service: ServiceInfo) -> &mut Batch {
        self.push(Change::SaveService(service))
    }

    /// Removes a record, which must be there when its turn comes.
    pub fn delete_service(&mut self, key: &str) -> &mut Batch {
        self.push(Change::DeleteService { key: key.into() })
    }

    /// Sets the health of a record, which must be there when its turn comes.
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

    /// Appends a change.
    pub fn push(&mut self, change: Change) -> &mut Batch {
        self.changes.push(change);
        self
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

    /// Checks every change against the ones before it and against the store,
    /// of which `registered` tells whether it holds a key. After this a store
    /// can apply the batch without a way to fail. O(changes).
    ///
    /// # Errors
    ///
    /// [`BatchRejected`](StoreError::BatchRejected) with the first change that
    /// would fail.
    pub fn check(&self, registered: impl Fn(&str) -> bool) -> Result<()> {
        // What the batch itself has registered or removed so far.
        let mut overlay: HashMap<&str, bool, RandomState> = HashMap::default();
        for (index, change) in self.changes.iter().enumerate() {
            let present = |key: &str| match overlay.get(key) {
                Some(&present) => present,
                None => registered(key),
            };
            let outcome = match change {
                Change::SaveService(info) => {
                    overlay.insert(info.key(), true);
                    Ok(())
                }
                Change::DeleteService { key } if present(key) => {
                    overlay.insert(key, false);
                    Ok(())
                }
                Change::UpdateHealthStatus { key, .. } if present(key) => Ok(()),
                Change::DeleteService { key } | Change::UpdateHealthStatus { key, .. } => {
                    Err(StoreError::not_found(key))
                }
                Change::AddSubscription {
                    subscriber_key,
                    service_group,
                }
                | Change::RemoveSubscription {
                    subscriber_key,
                    service_group,
                } => check_subscription(subscriber_key, service_group),
                Change::RemoveAllSubscriptions { subscriber_key } => {
                    check_subscriber(subscriber_key)
                }
            };
            outcome.map_err(|source| StoreError::BatchRejected {
                index,
                operation: change.operation(),
                source: Box::new(source),
            })?;
        }
        Ok(())
    }
}

impl IntoIterator for Batch {
    type Item = Change;
    type IntoIter = std::vec::IntoIter<Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.changes.into_iter()
    }
}

impl FromIterator<Change> for Batch {
    fn from_iter<I: IntoIterator<Item = Change>>(changes: I) -> Batch {
        Batch {
            changes: changes.into_iter().collect(),
        }
    }
}

impl Extend<Change> for Batch {
    fn extend<I: IntoIterator<Item = Change>>(&mut self, changes: I) {
        self.changes.extend(changes);
    }
}

/// Checks the two sides of a subscription.
pub(crate) fn check_subscription(subscriber_key: &str, service_group: &str) -> Result<()> {
    check_subscriber(subscriber_key)?;
    check_group("service group", service_group)?;
    Ok(())
}

/// Checks the key of a subscriber.
pub(crate) fn check_subscriber(subscriber_key: &str) -> Result<()> {
    check_key("subscriber key", subscriber_key)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_count_up_to_the_last() {
        assert_eq!(Revision::ZERO.next(), Revision(1));
        assert_eq!(Revision(u64::MAX - 1).next(), Revision(u64::MAX));
    }

    /// Without overflow checks it began again at 0.
    #[test]
    #[should_panic(expected = "no revision follows the last one")]
    fn no_revision_follows_the_last_one() {
        let _ = Revision(u64::MAX).next();
    }
}
