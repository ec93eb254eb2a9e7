//! Read-only views of a state: [`RegistryView`], its `dyn` form [`DynView`], and
//! [`Snapshots`], the stores that hand out snapshots.

use std::rc::Rc;
use std::sync::Arc;

use super::collect::clone_all;
use super::differ::{NumberedSubscribers, record, subscriptions};
use super::{RegistryStore, StoreStats};
use crate::changes::{Difference, Selection, State, Subscription};
use crate::model::error::{InvalidInput, Problem, Result};
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;
use crate::model::revision::Revision;

/// An immutable state of a whole registry: the services, names, groups and
/// subscribers of one [`Revision`], which are always consistent with each other.
///
/// All results borrow from the view; nothing is copied. The costs use the notation
/// of [`RegistryStore`].
pub trait RegistryView {
    /// Returns the revision of this state. Two views of one store with the same
    /// revision have the same contents. The empty view of a closed store is the only
    /// exception.
    fn revision(&self) -> Revision;

    /// Returns the record under `key`. O(1); in a persistent store O(log *n*).
    fn get(&self, key: &str) -> Option<&ServiceInfo>;

    /// Iterates over every record in no particular order. O(*n*) in total.
    fn services(&self) -> impl Iterator<Item = &ServiceInfo>;

    /// Iterates over the pods of a service in no particular order. O(*p*) in total.
    fn services_by_name<'a>(
        &'a self,
        service_name: &str,
    ) -> impl Iterator<Item = &'a ServiceInfo> + use<'a, Self>;

    /// Iterates over the subscribers of a group in the order of subscription. O(*s*) in
    /// total.
    fn subscribers<'a>(
        &'a self,
        service_group: &str,
    ) -> impl Iterator<Item = &'a ServiceKey> + use<'a, Self>;

    /// Iterates over the records of those subscribers of a group that are registered, in
    /// the order of subscription. O(*s*) in total.
    fn subscriber_services<'a>(
        &'a self,
        service_group: &str,
    ) -> impl Iterator<Item = &'a ServiceInfo> + use<'a, Self> {
        self.subscribers(service_group)
            .filter_map(|subscriber| self.get(subscriber))
    }

    /// Iterates over the names under which pods are registered. Yields each name once, in
    /// no particular order. O(names) in total; in `EvmapStore` O(*n* + groups).
    fn names(&self) -> impl Iterator<Item = &str>;

    /// Iterates over the groups that have subscribers. Yields each group once, in no
    /// particular order. O(groups) in total; in `EvmapStore` O(*n* + groups).
    fn groups(&self) -> impl Iterator<Item = &str>;

    /// Returns the number of services and subscriptions in this state. O(1).
    fn stats(&self) -> StoreStats;

    /// Returns the differences from `older` to this view. Applied to `older` in order, they
    /// produce this view, except for the times of health checks.
    ///
    /// The cost depends on the view:
    ///
    /// - `Snapshot`s share what has not changed. They take O(differences · log *n*), plus
    ///   O(groups) if a subscription has changed. If the tree was rebuilt in between, for
    ///   example because the store was cleared, they take O(*n*).
    /// - `VersionedSnapshot`s and `VersionedView`s use the log of their store, in O(changes since
    ///   `older`), if it reaches back that far. The log records while somebody watches, and keeps
    ///   as much as its [`LogOptions`](crate::changes::LogOptions) allow. Otherwise they take
    ///   O(*n*).
    /// - All other views take O(*n*).
    ///
    /// Only the log records causes. Without it every cause is
    /// [`Unknown`](crate::Cause::Unknown).
    ///
    /// The default implementation compares groups by the order of their subscribers. It does
    /// not report a subscription that ended and began again in the same position of its group.
    /// `dyn DynView` does not have this method: a closure borrows it for a moment, so there
    /// are never two of them to compare. Stores without snapshots report changes through
    /// [`watch`](RegistryStore::watch) and
    /// [`commit_changes`](RegistryStore::commit_changes).
    ///
    /// ```
    /// # #[cfg(feature = "snapshot")] {
    /// use service_registry::changes::Difference;
    /// use service_registry::{RegistryStore, RegistryView, SnapshotStore};
    ///
    /// let store = SnapshotStore::new();
    /// let older = store.snapshot();
    /// store.add_subscription("web:pod-1", "user-service")?;
    /// let changes = store.snapshot().changes_since(&older)?;
    /// assert!(matches!(changes[..], [Difference::Subscribed { .. }]));
    /// # }
    /// # Ok::<(), service_registry::StoreError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid) if `older` is the later view, or if the two
    /// views belong to different stores and can detect this.
    fn changes_since(&self, older: &Self) -> Result<Vec<Difference>>
    where
        Self: Sized,
    {
        check_order(older.revision(), self.revision())?;
        Ok(differences(older, self))
    }
}

/// The `dyn`-compatible form of [`RegistryView`], which
/// [`with_view`](RegistryStore::with_view) and
/// [`visit_view`](RegistryStore::visit_view) pass to their closures.
///
/// `dyn DynView` implements `RegistryView` and has its methods. Each method that returns an
/// iterator allocates it. Every `RegistryView` is a `DynView`. The methods of this trait
/// convert between the two and are not meant to be called.
pub trait DynView {
    #[doc(hidden)]
    fn dyn_revision(&self) -> Revision;
    #[doc(hidden)]
    fn dyn_get(&self, key: &str) -> Option<&ServiceInfo>;
    #[doc(hidden)]
    fn dyn_services(&self) -> Box<dyn Iterator<Item = &ServiceInfo> + '_>;
    #[doc(hidden)]
    fn dyn_services_by_name<'a>(
        &'a self,
        service_name: &str,
    ) -> Box<dyn Iterator<Item = &'a ServiceInfo> + 'a>;
    #[doc(hidden)]
    fn dyn_subscribers<'a>(
        &'a self,
        service_group: &str,
    ) -> Box<dyn Iterator<Item = &'a ServiceKey> + 'a>;
    #[doc(hidden)]
    fn dyn_names(&self) -> Box<dyn Iterator<Item = &str> + '_>;
    #[doc(hidden)]
    fn dyn_groups(&self) -> Box<dyn Iterator<Item = &str> + '_>;
    #[doc(hidden)]
    fn dyn_stats(&self) -> StoreStats;
}

impl<V: RegistryView> DynView for V {
    fn dyn_revision(&self) -> Revision {
        self.revision()
    }

    fn dyn_get(&self, key: &str) -> Option<&ServiceInfo> {
        self.get(key)
    }

    fn dyn_services(&self) -> Box<dyn Iterator<Item = &ServiceInfo> + '_> {
        Box::new(self.services())
    }

    fn dyn_services_by_name<'a>(
        &'a self,
        service_name: &str,
    ) -> Box<dyn Iterator<Item = &'a ServiceInfo> + 'a> {
        Box::new(self.services_by_name(service_name))
    }

    fn dyn_subscribers<'a>(
        &'a self,
        service_group: &str,
    ) -> Box<dyn Iterator<Item = &'a ServiceKey> + 'a> {
        Box::new(self.subscribers(service_group))
    }

    fn dyn_names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.names())
    }

    fn dyn_groups(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.groups())
    }

    fn dyn_stats(&self) -> StoreStats {
        self.stats()
    }
}

impl<'view> RegistryView for dyn DynView + 'view {
    fn revision(&self) -> Revision {
        self.dyn_revision()
    }

    fn get(&self, key: &str) -> Option<&ServiceInfo> {
        self.dyn_get(key)
    }

    fn services(&self) -> impl Iterator<Item = &ServiceInfo> {
        self.dyn_services()
    }

    fn services_by_name<'a>(
        &'a self,
        service_name: &str,
    ) -> impl Iterator<Item = &'a ServiceInfo> + use<'a, 'view> {
        self.dyn_services_by_name(service_name)
    }

    fn subscribers<'a>(
        &'a self,
        service_group: &str,
    ) -> impl Iterator<Item = &'a ServiceKey> + use<'a, 'view> {
        self.dyn_subscribers(service_group)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.dyn_names()
    }

    fn groups(&self) -> impl Iterator<Item = &str> {
        self.dyn_groups()
    }

    fn stats(&self) -> StoreStats {
        self.dyn_stats()
    }
}

/// A store that hands out snapshots, for generic code: `SnapshotStore` and
/// `VersionedStore`, and pointers to them.
///
/// ```
/// # #[cfg(all(feature = "snapshot", feature = "versioned"))] {
/// use std::sync::Arc;
/// use service_registry::{RegistryView, ServiceStatus, SnapshotStore, Snapshots, VersionedStore};
///
/// /// Counts on another thread while the store changes.
/// fn count_healthy<S: Snapshots>(store: &S) -> usize {
///     let snapshot = store.snapshot();
///     let count = move || snapshot.services().filter(|pod| pod.status() == ServiceStatus::Healthy).count();
///     std::thread::spawn(count).join().unwrap()
/// }
/// assert_eq!(count_healthy(&SnapshotStore::new()), 0);
/// assert_eq!(count_healthy(&Arc::new(VersionedStore::new())), 0);
/// # }
/// ```
pub trait Snapshots: RegistryStore {
    /// An immutable state that the caller owns.
    type Snapshot: RegistryView + Clone + Send + Sync + 'static;

    /// Returns a snapshot of the current state. It may be kept for any length of time. O(1).
    #[must_use]
    fn snapshot(&self) -> Self::Snapshot;
}

macro_rules! through_pointer {
    ($($pointer:ty),+) => {$(
        impl<S: Snapshots + ?Sized> Snapshots for $pointer {
            type Snapshot = S::Snapshot;

            fn snapshot(&self) -> S::Snapshot {
                (**self).snapshot()
            }
        }
    )+};
}

through_pointer!(&S, Box<S>, Rc<S>, Arc<S>);

/// Fails if `older` is later than `newer`.
pub(crate) fn check_order(older: Revision, newer: Revision) -> Result<()> {
    if older > newer {
        return Err(InvalidInput::new("older", &older.to_string(), Problem::LaterView).into());
    }
    Ok(())
}

/// Fails if the older view belongs to another store.
#[cfg(any(feature = "snapshot", feature = "versioned"))]
pub(crate) fn check_store(is_same: bool, older: Revision) -> Result<()> {
    if !is_same {
        return Err(InvalidInput::new("older", &older.to_string(), Problem::OtherStore).into());
    }
    Ok(())
}

/// Returns the differences by comparing all entries of both views. O(*n*).
///
/// Does not detect a subscription that ended and began again in the same position of its
/// group.
pub(crate) fn differences<V: RegistryView>(older: &V, newer: &V) -> Vec<Difference> {
    differences_by(older, newer, |group| {
        number_subscribers(older.subscribers(group), newer.subscribers(group))
    })
}

/// Like [`differences`], for views whose subscriptions have numbers. `numbered` returns the
/// numbered subscribers of a group in `older` and in `newer`. A subscription that began again
/// has a different number, so it is detected.
pub(crate) fn differences_by<V: RegistryView>(
    older: &V,
    newer: &V,
    numbered: impl Fn(&str) -> [NumberedSubscribers; 2],
) -> Vec<Difference> {
    let mut changes = Vec::new();
    for after in newer.services() {
        changes.extend(record(older.get(after.key()), Some(after)));
    }
    for before in older.services() {
        if newer.get(before.key()).is_none() {
            changes.extend(record(Some(before), None));
        }
    }
    let ended = older.groups();
    let ended = ended.filter(|group| newer.subscribers(group).next().is_none());
    let mut begun = Vec::new();
    for group in newer.groups().chain(ended) {
        let [before, after] = numbered(group);
        subscriptions(group, &before, &after, &mut changes, &mut begun);
    }
    changes.append(&mut begun);
    changes
}

/// Numbers subscriptions that have no numbers. Remaining subscriptions keep their order and
/// come before those that have begun since. So the new ones start where the old order ends.
fn number_subscribers<'a>(
    before: impl Iterator<Item = &'a ServiceKey>,
    after: impl Iterator<Item = &'a ServiceKey>,
) -> [NumberedSubscribers; 2] {
    let old: NumberedSubscribers = (0..).zip(before.cloned()).collect();
    let mut left = old.iter();
    let fresh = old.len() as u64..;
    let new = fresh.zip(after).map(|(fresh, key)| {
        let known = left.find(|(_, known)| known == key);
        (known.map_or(fresh, |(number, _)| *number), key.clone())
    });
    let new = new.collect();
    [old, new]
}

/// Returns the selected part of a state.
pub(crate) fn state_of<V: RegistryView>(view: &V, selection: &Selection) -> State {
    let mut state = State {
        revision: view.revision(),
        ..State::default()
    };
    let subscriptions = |group: &str| {
        let text: Arc<str> = group.into();
        let subscribers = view.subscribers(group).cloned();
        subscribers.map(move |subscriber| Subscription::new(subscriber, text.clone()))
    };
    match selection {
        Selection::All => {
            state.services = clone_all(view.services());
            state.subscriptions = view.groups().flat_map(subscriptions).collect();
        }
        Selection::Service(name) => state.services = clone_all(view.services_by_name(name)),
        Selection::Pod(key) => state.services = view.get(key).cloned().into_iter().collect(),
        Selection::Group(group) => state.subscriptions = subscriptions(group).collect(),
        Selection::Labelled(labelled) => {
            state = selection.of(state_of(view, labelled.of()));
        }
    }
    state
}
