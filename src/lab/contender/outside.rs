//! What the contenders from outside share: what is done to their tables, and
//! the interface around it.
//!
//! Each of them says how a record is found, saved and removed, and how it keeps
//! its indexes. [`Outside`] says how threads get at that, and
//! [`impl_outside!`] writes the interface, so that no contender wins or loses by
//! how it checks a name or words an error.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use hashbrown::HashMap;
use std::collections::BTreeMap;

use crate::hash::RandomState;
use crate::{Batch, Change, Result, Revision, ServiceInfo, ServiceKey, ServiceStatus, StoreStats};

/// The read side of a contender's tables.
pub(super) trait Reads {
    fn visit<R>(&self, key: &str, read: impl FnOnce(&ServiceInfo) -> R) -> Option<R>;
    fn named(&self, service_name: &str) -> Vec<ServiceInfo>;
    fn all(&self) -> Vec<ServiceInfo>;
    /// The subscribers of a group, in the order of subscription.
    fn subscribers(&self, service_group: &str) -> Vec<ServiceKey>;
    fn subscriber_services(&self, service_group: &str) -> Vec<ServiceInfo>;
    fn stats(&self) -> StoreStats;
}

/// The write side. Names have been checked; each change tells whether it
/// changed anything.
pub(super) trait Writes {
    fn is_registered(&self, key: &str) -> bool;
    fn save(&mut self, service: ServiceInfo) -> bool;
    fn delete(&mut self, key: &str) -> Option<ServiceInfo>;
    /// Answers with the status before as well.
    fn set_health(
        &mut self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Option<(ServiceStatus, bool)>;
    fn subscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool;
    fn unsubscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool;
    fn unsubscribe_all(&mut self, subscriber_key: &str) -> bool;
    fn clear(&mut self) -> bool;

    /// Keeps others from adding and removing, so that a batch that has been
    /// checked can be applied.
    fn begin_batch(&mut self) {}

    /// Applies a batch, or nothing of it.
    fn apply(&mut self, batch: Batch) -> Result<bool> {
        self.begin_batch();
        // Nobody asks contenders to judge a condition: it is there or it is not.
        let placeholder = crate::ServiceInfo::new(crate::ServiceRegistration::new("any", "pod"))?;
        batch.check(Revision::ZERO, |key| {
            self.is_registered(key).then_some(&placeholder)
        })?;
        let mut changed = false;
        for change in batch {
            changed |= self.apply_one(change);
        }
        Ok(changed)
    }

    fn apply_one(&mut self, change: Change) -> bool {
        match change {
            Change::SaveService(service) | Change::RegisterService(service) => self.save(service),
            Change::DeleteService { key } => self.delete(&key).is_some(),
            Change::UpdateHealthStatus {
                key,
                status,
                checked_at,
            } => self
                .set_health(&key, status, checked_at)
                .is_some_and(|(_, changed)| changed),
            Change::AddSubscription {
                subscriber_key,
                service_group,
            } => self.subscribe(&subscriber_key, &service_group),
            Change::RemoveSubscription {
                subscriber_key,
                service_group,
            } => self.unsubscribe(&subscriber_key, &service_group),
            Change::RemoveAllSubscriptions { subscriber_key } => {
                self.unsubscribe_all(&subscriber_key)
            }
            _ => unreachable!("the laboratory makes no such change"),
        }
    }
}

/// Sets the health of a record in place; tells whether that changed anything.
pub(in crate::lab) fn set_health(
    info: &mut ServiceInfo,
    status: ServiceStatus,
    checked_at: SystemTime,
) -> bool {
    use crate::model::record::Effect;
    let checked_at = crate::model::time::Moment::new("checked_at", checked_at);
    let checked_at = checked_at.expect("the laboratory's own times");
    let changes = info.effect(status, checked_at) == Effect::Some;
    if changes {
        info.set_health(status, checked_at, Revision::ZERO);
    }
    changes
}

/// How threads get at the tables.
pub(super) trait Outside {
    type View: Reads;
    type Turn<'a>: Writes
    where
        Self: 'a;

    /// Reads, unless the store is closed.
    fn read<R>(&self, read: impl FnOnce(&Self::View) -> R) -> Result<R>;

    /// Makes one commit of what `write` does, which says whether that changed
    /// anything; or none, where it fails having changed nothing.
    fn write<R>(
        &self,
        write: impl FnOnce(&mut Self::Turn<'_>) -> Result<(R, bool)>,
    ) -> Result<(R, Revision)>;

    fn current_revision(&self) -> Revision;

    fn shut(&self);
}

/// Writes `impl RegistryStore` for an [`Outside`].
macro_rules! impl_outside {
    ($store:ty) => {
        impl crate::RegistryStore for $store {
            fn save_service(&self, service: ServiceInfo) -> Result<()> {
                self.write(|turn| Ok(((), turn.save(service)))).map(drop)
            }

            #[inline]
            fn get_service(&self, key: &str) -> Result<ServiceInfo> {
                self.with_service(key, ServiceInfo::clone)
            }

            fn get_services_by_name(&self, service_name: &str) -> Result<Vec<ServiceInfo>> {
                self.read(|view| view.named(service_name))
            }

            fn get_all_services(&self) -> Result<Vec<ServiceInfo>> {
                self.read(Reads::all)
            }

            fn delete_service(&self, key: &str) -> Result<()> {
                let deleted = self.write(|turn| match turn.delete(key) {
                    Some(deleted) => Ok((deleted, true)),
                    None => Err(missing(key)),
                });
                deleted.map(drop)
            }

            fn update_health_status(
                &self,
                key: &str,
                status: ServiceStatus,
                checked_at: SystemTime,
            ) -> Result<HealthUpdate> {
                let late = self.with_service(key, |known| {
                    let last = known.last_health_check();
                    last.is_some_and(|last| checked_at < last)
                        .then(|| known.status())
                });
                if let Some(current) = late? {
                    return Ok(HealthUpdate::Late { current });
                }
                self.write(|turn| {
                    turn.set_health(key, status, checked_at)
                        .ok_or_else(|| missing(key))
                })
                .map(|(before, _)| HealthUpdate::Applied { before })
            }

            fn add_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
                self.write(|turn| {
                    check_subscription(subscriber_key, service_group)?;
                    Ok(((), turn.subscribe(subscriber_key, service_group)))
                })
                .map(drop)
            }

            fn remove_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
                self.write(|turn| {
                    check_subscription(subscriber_key, service_group)?;
                    Ok(((), turn.unsubscribe(subscriber_key, service_group)))
                })
                .map(drop)
            }

            fn remove_all_subscriptions(&self, subscriber_key: &str) -> Result<()> {
                self.write(|turn| {
                    check_subscriber(subscriber_key)?;
                    Ok(((), turn.unsubscribe_all(subscriber_key)))
                })
                .map(drop)
            }

            fn get_subscribers(&self, service_group: &str) -> Result<Vec<ServiceKey>> {
                self.read(|view| view.subscribers(service_group))
            }

            fn get_subscriber_services(&self, service_group: &str) -> Result<Vec<ServiceInfo>> {
                self.read(|view| view.subscriber_services(service_group))
            }

            fn commit(&self, batch: Batch) -> Result<Revision> {
                self.write(|turn| Ok(((), turn.apply(batch)?)))
                    .map(|((), revision)| revision)
            }

            fn revision(&self) -> Revision {
                self.current_revision()
            }

            fn take_service(&self, key: &str) -> Result<ServiceInfo> {
                self.write(|turn| match turn.delete(key) {
                    Some(taken) => {
                        turn.unsubscribe_all(key);
                        Ok((taken, true))
                    }
                    None => Err(missing(key)),
                })
                .map(|(taken, _)| taken)
            }

            fn clear(&self) -> Result<()> {
                self.write(|turn| Ok(((), turn.clear()))).map(drop)
            }

            fn stats(&self) -> Result<StoreStats> {
                self.read(Reads::stats)
            }

            fn ping(&self) -> Result<()> {
                self.read(|_| ())
            }

            fn close(&self) -> Result<()> {
                self.shut();
                Ok(())
            }

            #[inline]
            fn with_service<R>(
                &self,
                key: &str,
                read: impl FnOnce(&ServiceInfo) -> R,
            ) -> Result<R> {
                self.read(|view| view.visit(key, read))?
                    .ok_or_else(|| missing(key))
            }

            fn visit_service(&self, key: &str, visit: &mut dyn FnMut(&ServiceInfo)) -> Result<()> {
                self.with_service(key, visit)
            }
        }
    };
}

/// What a contender's file needs.
pub(super) mod prelude {
    pub(in super::super) use super::{Counters, Outside, Reads, Subscribers, Turn, Writes};
    pub(in super::super) use crate::hash::RandomState;
    pub(in super::super) use crate::lab::contender::{
        About, Batching, Contender, Kind, Promises, Scans,
    };
    pub(in super::super) use crate::model::key::{check_subscriber, check_subscription, missing};
    pub(in super::super) use crate::{
        Batch, HealthUpdate, Result, Revision, ServiceInfo, ServiceKey, ServiceStatus, StoreError,
        StoreStats,
    };
    pub(in super::super) use std::sync::Arc;
    pub(in super::super) use std::time::SystemTime;
}

// --- for tables that change record by record

/// What a store whose tables know nothing of each other keeps beside them.
#[derive(Default)]
pub(super) struct Counters {
    closed: Apart<AtomicBool>,
    revision: Apart<AtomicU64>,
    services: Apart<AtomicUsize>,
    subscriptions: AtomicUsize,
}

/// On cache lines of its own: every read looks at `closed`, and every write
/// changes `revision`.
#[derive(Default)]
#[repr(align(128))]
struct Apart<T>(T);

impl Counters {
    #[inline]
    pub(super) fn check_open(&self) -> Result<()> {
        // Acquire: pairs with the Release store in `close`, so that whoever is
        // refused learns the last revision of what came before.
        if self.closed.0.load(Acquire) {
            return Err(crate::StoreError::Closed);
        }
        Ok(())
    }

    pub(super) fn close(&self) {
        // Release: pairs with the Acquire load in `check_open`.
        self.closed.0.store(true, Release);
    }

    /// Ends a commit.
    #[inline]
    pub(super) fn settle(&self, changed: bool) -> Revision {
        if changed {
            // AcqRel: the Release half pairs with the Acquire load in
            // `revision`, the Acquire half with the Release halves of the
            // commits before, so that a revision vouches for all before it.
            return Revision::from(self.revision.0.fetch_add(1, AcqRel)).next();
        }
        self.revision()
    }

    pub(super) fn revision(&self) -> Revision {
        // Acquire: pairs with the Release half in `settle`.
        self.revision.0.load(Acquire).into()
    }

    // Relaxed, all four: a count is a number, and leads to nothing else.

    pub(super) fn service_added(&self) {
        self.services.0.fetch_add(1, Relaxed);
    }

    pub(super) fn services_removed(&self, count: usize) {
        self.services.0.fetch_sub(count, Relaxed);
    }

    pub(super) fn subscriptions_added(&self, count: usize) {
        self.subscriptions.fetch_add(count, Relaxed);
    }

    pub(super) fn subscriptions_removed(&self, count: usize) {
        self.subscriptions.fetch_sub(count, Relaxed);
    }

    pub(super) fn stats(&self) -> StoreStats {
        let subscriptions = self.subscriptions.load(Relaxed);
        StoreStats::new(self.services.0.load(Relaxed), subscriptions)
    }
}

/// A turn of a writer. It takes the lock of a store when it needs it, and then
/// keeps it to its end.
pub(super) struct Turn<'a, S, T> {
    pub(super) store: &'a S,
    lock: &'a Mutex<T>,
    held: Option<MutexGuard<'a, T>>,
}

impl<'a, S, T> Turn<'a, S, T> {
    pub(super) fn new(store: &'a S, lock: &'a Mutex<T>) -> Turn<'a, S, T> {
        Turn {
            store,
            lock,
            held: None,
        }
    }

    /// Whether the lock is held.
    pub(super) fn is_alone(&self) -> bool {
        self.held.is_some()
    }

    /// Takes the lock, unless it is held.
    pub(super) fn alone(&mut self) -> &mut T {
        self.held.get_or_insert_with(|| {
            // A writer that panicked has run none of a caller's code.
            self.lock.lock().unwrap_or_else(PoisonError::into_inner)
        })
    }
}

/// Which groups each subscriber is in, under which number: the side of the
/// subscriptions that only writers read, in a map behind their lock.
///
/// Numbers only grow, so that a group sorted by them is in the order of
/// subscription.
#[derive(Default)]
pub(super) struct Subscribers {
    groups_of: HashMap<ServiceKey, BTreeMap<Arc<str>, u64>, RandomState>,
    next: u64,
}

impl Subscribers {
    /// Adds a subscription, unless it is there: its group, number and
    /// subscriber. `known` is the group's name as the store has it.
    pub(super) fn add(
        &mut self,
        subscriber_key: &str,
        service_group: &str,
        known: impl FnOnce() -> Option<Arc<str>>,
    ) -> Option<(Arc<str>, u64, ServiceKey)> {
        let key = match self.groups_of.get_key_value(subscriber_key) {
            Some((_, groups)) if groups.contains_key(service_group) => return None,
            Some((key, _)) => key.clone(),
            None => checked(subscriber_key),
        };
        let group = known().unwrap_or_else(|| service_group.into());
        let number = self.next;
        self.next += 1;
        let groups = self.groups_of.entry(key.clone()).or_default();
        groups.insert(group.clone(), number);
        Some((group, number, key))
    }

    /// Removes a subscription: its number.
    pub(super) fn remove(&mut self, subscriber_key: &str, service_group: &str) -> Option<u64> {
        let groups = self.groups_of.get_mut(subscriber_key)?;
        let number = groups.remove(service_group)?;
        if groups.is_empty() {
            self.groups_of.remove(subscriber_key);
        }
        Some(number)
    }

    /// Removes all subscriptions of a subscriber: its groups, and its numbers
    /// there.
    pub(super) fn remove_all(&mut self, subscriber_key: &str) -> BTreeMap<Arc<str>, u64> {
        self.groups_of.remove(subscriber_key).unwrap_or_default()
    }

    /// Forgets everything but the numbers that have been given.
    pub(super) fn clear(&mut self) {
        self.groups_of = HashMap::default();
    }
}

/// The key of a subscriber, which has been checked.
pub(super) fn checked(subscriber_key: &str) -> ServiceKey {
    subscriber_key
        .parse()
        .expect("the interface checks a subscriber key before it passes it on")
}
