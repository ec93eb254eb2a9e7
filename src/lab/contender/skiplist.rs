//! [`Skip`]: `crossbeam-skiplist`, an ordered map without locks.

use std::ops::Bound::{Included, Unbounded};
use std::sync::Mutex;

use arc_swap::ArcSwapOption;
use crossbeam_skiplist::SkipMap;

use super::outside::prelude::*;

/// The map is in the order of its keys, so that the pods of a name lie side by
/// side: it is its own index of names, and cannot disagree with itself. A group
/// is a map from a number that grows to its subscriber.
///
/// `SkipMap` replaces a value by taking the whole entry out and putting another
/// in, and a reader finds neither in between. So a record lies in a cell, which
/// is replaced in place. Readers take no lock; whoever adds or removes a key
/// takes it, because what a cell says and whether it is there must not come
/// apart. An empty cell is that of a pod that has been deleted.
#[derive(Default)]
pub struct Skip {
    services: SkipMap<ServiceKey, ArcSwapOption<ServiceInfo>>,
    groups: SkipMap<Arc<str>, SkipMap<u64, ServiceKey>>,
    counters: Counters,
    subscribers: Mutex<Subscribers>,
}

impl Contender for Skip {
    const ABOUT: About = About {
        name: "SkipMap",
        id: "skiplist",
        about: "crossbeam-skiplist: an ordered map without locks, over ArcSwap cells",
        own_thread: false,
        kind: Kind::Outside,
        crate_name: Some("crossbeam-skiplist"),
        promises: Promises {
            readers: "lock-free",
            writers: "lock-free to update, one at a time to add and remove",
            batch: Batching::OneByOne,
            scan: Scans::Weak,
            indexes_agree: true,
            never_missing: true,
            snapshot: "no",
            linearizable: true,
            caveat: "never missing thanks to ArcSwap cells: SkipMap::insert alone leaves a gap; \
                     look-ups take O(log n); stats and revision follow a change",
        },
    };
}

impl Outside for Skip {
    type View = Skip;
    type Turn<'a> = Turn<'a, Skip, Subscribers>;

    #[inline]
    fn read<R>(&self, read: impl FnOnce(&Skip) -> R) -> Result<R> {
        self.counters.check_open()?;
        Ok(read(self))
    }

    #[inline]
    fn write<R>(
        &self,
        write: impl FnOnce(&mut Self::Turn<'_>) -> Result<(R, bool)>,
    ) -> Result<(R, Revision)> {
        self.counters.check_open()?;
        let (answer, changed) = write(&mut Turn::new(self, &self.subscribers))?;
        Ok((answer, self.counters.settle(changed)))
    }

    fn current_revision(&self) -> Revision {
        self.counters.revision()
    }

    fn shut(&self) {
        self.counters.close();
        Turn::new(self, &self.subscribers).clear();
    }
}

impl_outside!(Skip);

impl Skip {
    /// Replaces a record that is there by what `change` makes of it, if
    /// anything: the status before, and whether it was replaced.
    fn replace(
        &self,
        key: &str,
        change: impl Fn(&ServiceInfo) -> Option<ServiceInfo>,
    ) -> Option<(ServiceStatus, bool)> {
        let entry = self.services.get(key)?;
        let cell = entry.value();
        let mut known = cell.load();
        loop {
            let before = known.as_ref()?;
            let Some(after) = change(before) else {
                return Some((before.status(), false));
            };
            let newer = cell.compare_and_swap(before, Some(Arc::new(after)));
            let swapped = newer
                .as_ref()
                .is_some_and(|newer| Arc::ptr_eq(newer, before));
            if swapped {
                return Some((before.status(), true));
            }
            known = newer;
        }
    }

    fn replace_record(&self, service: &ServiceInfo) -> Option<bool> {
        let other = |known: &ServiceInfo| (known != service).then(|| service.clone());
        let replaced = self.replace(service.key(), other);
        replaced.map(|(_, changed)| changed)
    }

    /// Takes a subscription out of its group. Under the lock.
    fn leave(&self, service_group: &str, number: u64) {
        if let Some(group) = self.groups.get(service_group) {
            group.value().remove(&number);
            if group.value().is_empty() {
                group.remove();
            }
        }
        self.counters.subscriptions_removed(1);
    }
}

fn record(cell: &ArcSwapOption<ServiceInfo>) -> Option<ServiceInfo> {
    cell.load().as_deref().cloned()
}

impl Reads for Skip {
    #[inline]
    fn visit<R>(&self, key: &str, read: impl FnOnce(&ServiceInfo) -> R) -> Option<R> {
        self.services.get(key)?.value().load().as_deref().map(read)
    }

    fn named(&self, service_name: &str) -> Vec<ServiceInfo> {
        if service_name.contains(':') {
            // No service is called so, but the beginning of a key may be.
            return Vec::new();
        }
        let prefix = format!("{service_name}:");
        let from = (Included(prefix.as_str()), Unbounded);
        let pods = self.services.range::<str, _>(from);
        pods.take_while(|entry| entry.key().starts_with(&prefix))
            .filter_map(|entry| record(entry.value()))
            .collect()
    }

    fn all(&self) -> Vec<ServiceInfo> {
        let mut all = Vec::with_capacity(self.services.len());
        all.extend(
            self.services
                .iter()
                .filter_map(|entry| record(entry.value())),
        );
        all
    }

    fn subscribers(&self, service_group: &str) -> Vec<ServiceKey> {
        self.groups
            .get(service_group)
            .map_or_else(Vec::new, |group| {
                let subscribers = group.value().iter();
                subscribers.map(|entry| entry.value().clone()).collect()
            })
    }

    fn subscriber_services(&self, service_group: &str) -> Vec<ServiceInfo> {
        self.groups
            .get(service_group)
            .map_or_else(Vec::new, |group| {
                let subscribers = group.value().iter();
                subscribers
                    .filter_map(|entry| self.visit(entry.value(), ServiceInfo::clone))
                    .collect()
            })
    }

    fn stats(&self) -> StoreStats {
        self.counters.stats()
    }
}

impl Writes for Turn<'_, Skip, Subscribers> {
    fn begin_batch(&mut self) {
        self.alone();
    }

    fn is_registered(&self, key: &str) -> bool {
        self.store.visit(key, |_| ()).is_some()
    }

    fn save(&mut self, service: ServiceInfo) -> bool {
        let mut replaced = self.store.replace_record(&service);
        if replaced.is_none() && !self.is_alone() {
            self.alone();
            // It may have come before the lock did.
            replaced = self.store.replace_record(&service);
        }
        replaced.unwrap_or_else(|| {
            let cell = ArcSwapOption::from_pointee(service.clone());
            self.store.services.insert(service.key().clone(), cell);
            self.store.counters.service_added();
            true
        })
    }

    fn delete(&mut self, key: &str) -> Option<ServiceInfo> {
        self.alone();
        let entry = self.store.services.get(key)?;
        // From here on it is deleted, for everybody who has the cell in hand.
        let removed = entry.value().swap(None)?;
        entry.remove();
        self.store.counters.services_removed(1);
        Some((*removed).clone())
    }

    #[inline]
    fn set_health(
        &mut self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Option<(ServiceStatus, bool)> {
        self.store.replace(key, |known| {
            let mut after = known.clone();
            super::outside::set_health(&mut after, status, checked_at).then_some(after)
        })
    }

    fn subscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool {
        let groups = &self.store.groups;
        let known = || groups.get(service_group).map(|group| group.key().clone());
        let Some((group, number, key)) = self.alone().add(subscriber_key, service_group, known)
        else {
            return false;
        };
        groups
            .get_or_insert_with(group, SkipMap::new)
            .value()
            .insert(number, key);
        self.store.counters.subscriptions_added(1);
        true
    }

    fn unsubscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool {
        let Some(number) = self.alone().remove(subscriber_key, service_group) else {
            return false;
        };
        self.store.leave(service_group, number);
        true
    }

    fn unsubscribe_all(&mut self, subscriber_key: &str) -> bool {
        let left = self.alone().remove_all(subscriber_key);
        for (group, number) in &left {
            self.store.leave(group, *number);
        }
        !left.is_empty()
    }

    fn clear(&mut self) -> bool {
        self.alone().clear();
        let held = self.store.counters.stats();
        while let Some(entry) = self.store.services.pop_front() {
            entry.value().store(None);
        }
        self.store.groups.clear();
        self.store.counters.services_removed(held.services);
        self.store
            .counters
            .subscriptions_removed(held.subscriptions);
        held != StoreStats::default()
    }
}
