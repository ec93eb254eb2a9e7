//! States that are looked at: what every view answers, views behind `dyn`, and stores that
//! hand out snapshots.

use std::rc::Rc;
use std::sync::Arc;

use super::collect::clone_all;
use super::differ::{Numbers, record, subscriptions};
use super::{RegistryStore, StoreStats};
use crate::changes::{Difference, Selection, State, Subscription};
use crate::model::error::{InvalidInput, Problem, Result};
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;
use crate::model::revision::Revision;

/// An immutable state of a whole registry: services, names, groups and
/// subscribers of one [`Revision`], which always agree with each other.
///
/// Answers borrow from the view; nothing is copied. Costs as in
/// [`RegistryStore`].
pub trait RegistryView {
    /// The number of the state that this is. Two views of one store with the same
    /// revision show the same, but for the empty one of a store that has been
    /// closed.
    fn revision(&self) -> Revision;

    /// The record under `key`. O(1); a persistent store O(log *n*).
    fn get(&self, key: &str) -> Option<&ServiceInfo>;

    /// Every record, in no particular order. O(*n*) for all.
    fn services(&self) -> impl Iterator<Item = &ServiceInfo>;

    /// The pods of a service, in no particular order. O(*p*) for all.
    fn services_by_name<'a>(
        &'a self,
        service_name: &str,
    ) -> impl Iterator<Item = &'a ServiceInfo> + use<'a, Self>;

    /// Who is subscribed to a group, in the order of subscription. O(*s*) for
    /// all.
    fn subscribers<'a>(
        &'a self,
        service_group: &str,
    ) -> impl Iterator<Item = &'a ServiceKey> + use<'a, Self>;

    /// The records of those subscribers of a group that are registered, in the
    /// order of subscription. O(*s*) for all.
    fn subscriber_services<'a>(
        &'a self,
        service_group: &str,
    ) -> impl Iterator<Item = &'a ServiceInfo> + use<'a, Self> {
        self.subscribers(service_group)
            .filter_map(|subscriber| self.get(subscriber))
    }

    /// The names under which pods are registered, each once, in no particular order.
    /// O(names) for all; in `EvmapStore` O(*n* + groups).
    fn names(&self) -> impl Iterator<Item = &str>;

    /// The groups that somebody is subscribed to, each once, in no particular order.
    /// O(groups) for all; in `EvmapStore` O(*n* + groups).
    fn groups(&self) -> impl Iterator<Item = &str>;

    /// How much this state holds. O(1).
    fn stats(&self) -> StoreStats;

    /// What has changed from `older` to this: differences that, applied to `older` in their
    /// order, give this view, but for times of health checks.
    ///
    /// `Snapshot`s share what has not changed, and this costs what has: O(differences ·
    /// log *n*), and O(groups) where a subscription has changed; O(*n*) where the tree was laid out
    /// anew in between, as it is for a store that is cleared. `VersionedSnapshot`s ask
    /// the log of their store, O(changes since `older`), where it reaches back so far, as it
    /// does while somebody watches; otherwise, and in all other views, it is O(*n*). Only
    /// the log knows causes; otherwise they are [`Unknown`](crate::Cause::Unknown).
    ///
    /// A view from elsewhere that has this method as it stands here compares groups by the
    /// order of their subscribers: a subscription that ended and began again in the same place
    /// of its group is not told. `dyn DynView` does not have the method: it is lent for a
    /// moment, and two of them are never there to be compared. Stores without snapshots tell
    /// what changed through [`watch`](RegistryStore::watch) and
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
    /// [`Invalid`](crate::StoreError::Invalid) where `older` is the later one; and for views
    /// of two stores, where they can tell.
    fn changes_since(&self, older: &Self) -> Result<Vec<Difference>>
    where
        Self: Sized,
    {
        check_order(older.revision(), self.revision())?;
        Ok(differences(older, self))
    }
}

/// A [`RegistryView`] behind `dyn`: what [`with_view`](RegistryStore::with_view) and
/// [`visit_view`](RegistryStore::visit_view) hand out.
///
/// `dyn DynView` is a `RegistryView`, and has its methods; each that answers with an
/// iterator allocates one. Every `RegistryView` is a `DynView`. The methods of this trait
/// are how one becomes the other, and are not meant to be called.
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
/// /// Counts on a thread of its own, while the store goes on.
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
    /// A state that stays.
    type Snapshot: RegistryView + Clone + Send + Sync + 'static;

    /// The present state, for as long as one likes. O(1).
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

/// Refuses a view that is later than the one that is asked.
pub(crate) fn check_order(older: Revision, newer: Revision) -> Result<()> {
    if older > newer {
        return Err(InvalidInput::new("older", &older.to_string(), Problem::LaterView).into());
    }
    Ok(())
}

/// Refuses a view of another store.
#[cfg(any(feature = "snapshot", feature = "versioned"))]
pub(crate) fn check_store(is_same: bool, older: Revision) -> Result<()> {
    if !is_same {
        return Err(InvalidInput::new("older", &older.to_string(), Problem::OtherStore).into());
    }
    Ok(())
}

/// What differs, by a look at everything in both. O(*n*).
///
/// A subscription that ended and began again in the same place of its group is not seen.
pub(crate) fn differences<V: RegistryView>(older: &V, newer: &V) -> Vec<Difference> {
    differences_by(older, newer, |group| {
        number(older.subscribers(group), newer.subscribers(group))
    })
}

/// The same for views whose subscriptions have numbers: `numbered` answers with those of a
/// group in `older` and in `newer`. What began again has another number, and is seen.
pub(crate) fn differences_by<V: RegistryView>(
    older: &V,
    newer: &V,
    numbered: impl Fn(&str) -> [Numbers; 2],
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

/// Numbers for subscriptions that have none. Those that stay are in their old order, in front
/// of those that have begun since; so where that order ends, new ones begin.
fn number<'a>(
    before: impl Iterator<Item = &'a ServiceKey>,
    after: impl Iterator<Item = &'a ServiceKey>,
) -> [Numbers; 2] {
    let old: Numbers = (0..).zip(before.cloned()).collect();
    let mut left = old.iter();
    let fresh = old.len() as u64..;
    let new = fresh.zip(after).map(|(fresh, key)| {
        let known = left.find(|(_, known)| known == key);
        (known.map_or(fresh, |(number, _)| *number), key.clone())
    });
    let new = new.collect();
    [old, new]
}

/// What is selected of a state.
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
