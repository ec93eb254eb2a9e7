//! [`Papaya`]: `papaya`, a hash map without locks.

use std::sync::Mutex;

use ::papaya::{Compute, HashMap, Operation};

use super::outside::prelude::*;

type Map<K, V> = HashMap<K, V, RandomState>;
/// A name and its pods, or a group and its subscribers, in their order.
/// What is in it never changes; it is replaced.
type Lists = Map<Arc<str>, Vec<(u64, ServiceKey)>>;

/// Readers take no lock. A record is replaced by one atomic operation on its
/// key; whoever adds or removes a key takes the lock, because two maps change.
///
/// A pod is in the list of its name before it is registered and until it no
/// longer is, and readers by name skip who is not registered: so a name finds
/// exactly the pods whose keys do.
#[derive(Default)]
pub struct Papaya {
    services: Map<ServiceKey, ServiceInfo>,
    names: Lists,
    groups: Lists,
    counters: Counters,
    subscribers: Mutex<Subscribers>,
}

impl Contender for Papaya {
    const ABOUT: About = About {
        name: "papaya",
        id: "papaya",
        about: "papaya::HashMap: no locks, replaces values atomically; a lock for new keys",
        own_thread: false,
        kind: Kind::Outside,
        crate_name: Some("papaya"),
        promises: Promises {
            readers: "lock-free",
            writers: "lock-free to update, one at a time to add and remove",
            batch: Batching::OneByOne,
            scan: Scans::Weak,
            indexes_agree: true,
            never_missing: true,
            snapshot: "no",
            linearizable: true,
            caveat: "stats and revision follow a change; scanning everything waits for a resize; \
                     adding to a name or a group copies its list; a call from the destructor of a \
                     thread local can panic",
        },
    };
}

impl Outside for Papaya {
    type View = Papaya;
    type Turn<'a> = Turn<'a, Papaya, Subscribers>;

    #[inline]
    fn read<R>(&self, read: impl FnOnce(&Papaya) -> R) -> Result<R> {
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

impl_outside!(Papaya);

impl Papaya {
    /// The records of a list.
    fn records(&self, lists: &Lists, name: &str) -> Vec<ServiceInfo> {
        let (services, lists) = (self.services.pin(), lists.pin());
        let keys = lists.get(name).into_iter().flatten();
        keys.filter_map(|(_, key)| services.get(key).cloned())
            .collect()
    }

    /// Replaces a record that is there: whether that changed it.
    fn replace(&self, service: &ServiceInfo) -> Option<bool> {
        let services = self.services.pin();
        let replaced = services.compute(service.key().clone(), |known| match known {
            None => Operation::Abort(None),
            Some((_, known)) if known == service => Operation::Abort(Some(false)),
            Some(_) => Operation::Insert(service.clone()),
        });
        match replaced {
            Compute::Aborted(answer) => answer,
            _ => Some(true),
        }
    }
}

/// Appends to a list. Only whoever holds the lock does.
fn append(lists: &Lists, name: Arc<str>, number: u64, key: ServiceKey) {
    let lists = lists.pin();
    let known = lists.get(&name).map_or(&[][..], Vec::as_slice);
    let mut list = Vec::with_capacity(known.len() + 1);
    list.extend_from_slice(known);
    list.push((number, key));
    lists.insert(name, list);
}

/// Takes what `gone` names out of a list. Only whoever holds the lock does.
fn take_out(lists: &Lists, name: &str, gone: impl Fn(&(u64, ServiceKey)) -> bool) {
    let lists = lists.pin();
    let Some((name, list)) = lists.get_key_value(name) else {
        return;
    };
    if list.iter().all(&gone) {
        lists.remove(name);
    } else {
        let left = list.iter().filter(|entry| !gone(entry));
        lists.insert(name.clone(), left.cloned().collect());
    }
}

/// The name of a list as the map has it.
fn known(lists: &Lists, name: &str) -> Option<Arc<str>> {
    lists
        .pin()
        .get_key_value(name)
        .map(|(name, _)| name.clone())
}

impl Reads for Papaya {
    #[inline]
    fn visit<R>(&self, key: &str, read: impl FnOnce(&ServiceInfo) -> R) -> Option<R> {
        self.services.pin().get(key).map(read)
    }

    fn named(&self, service_name: &str) -> Vec<ServiceInfo> {
        self.records(&self.names, service_name)
    }

    fn all(&self) -> Vec<ServiceInfo> {
        let mut all = Vec::with_capacity(self.services.len());
        all.extend(self.services.pin().values().cloned());
        all
    }

    fn subscribers(&self, service_group: &str) -> Vec<ServiceKey> {
        let groups = self.groups.pin();
        let group = groups.get(service_group).into_iter().flatten();
        group.map(|(_, key)| key.clone()).collect()
    }

    fn subscriber_services(&self, service_group: &str) -> Vec<ServiceInfo> {
        self.records(&self.groups, service_group)
    }

    fn stats(&self) -> StoreStats {
        self.counters.stats()
    }
}

impl Writes for Turn<'_, Papaya, Subscribers> {
    fn begin_batch(&mut self) {
        self.alone();
    }

    fn is_registered(&self, key: &str) -> bool {
        self.store.services.pin().contains_key(key)
    }

    fn save(&mut self, service: ServiceInfo) -> bool {
        let mut replaced = self.store.replace(&service);
        if replaced.is_none() && !self.is_alone() {
            self.alone();
            // It may have come before the lock did.
            replaced = self.store.replace(&service);
        }
        replaced.unwrap_or_else(|| {
            let (key, name) = (service.key().clone(), service.service_name());
            let name = known(&self.store.names, name).unwrap_or_else(|| name.into());
            append(&self.store.names, name, 0, key.clone());
            self.store.services.pin().insert(key, service);
            self.store.counters.service_added();
            true
        })
    }

    fn delete(&mut self, key: &str) -> Option<ServiceInfo> {
        self.alone();
        let removed = self.store.services.pin().remove(key)?.clone();
        let is_it = |(_, key): &(u64, ServiceKey)| key == removed.key();
        take_out(&self.store.names, removed.service_name(), is_it);
        self.store.counters.services_removed(1);
        Some(removed)
    }

    #[inline]
    fn set_health(
        &mut self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Option<(ServiceStatus, bool)> {
        let services = self.store.services.pin();
        let (key, _) = services.get_key_value(key)?;
        let updated = services.compute(key.clone(), |known| {
            let Some((_, known)) = known else {
                return Operation::Abort(None);
            };
            let mut after = known.clone();
            if super::outside::set_health(&mut after, status, checked_at) {
                Operation::Insert(after)
            } else {
                Operation::Abort(Some(known.status()))
            }
        });
        match updated {
            Compute::Updated { old: (_, old), .. } => Some((old.status(), true)),
            Compute::Aborted(Some(status)) => Some((status, false)),
            _ => None,
        }
    }

    fn subscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool {
        let groups = &self.store.groups;
        let known = || known(groups, service_group);
        let Some((group, number, key)) = self.alone().add(subscriber_key, service_group, known)
        else {
            return false;
        };
        append(groups, group, number, key);
        self.store.counters.subscriptions_added(1);
        true
    }

    fn unsubscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool {
        let Some(number) = self.alone().remove(subscriber_key, service_group) else {
            return false;
        };
        take_out(&self.store.groups, service_group, |(n, _)| *n == number);
        self.store.counters.subscriptions_removed(1);
        true
    }

    fn unsubscribe_all(&mut self, subscriber_key: &str) -> bool {
        let left = self.alone().remove_all(subscriber_key);
        for (group, number) in &left {
            take_out(&self.store.groups, group, |(n, _)| n == number);
        }
        self.store.counters.subscriptions_removed(left.len());
        !left.is_empty()
    }

    fn clear(&mut self) -> bool {
        self.alone().clear();
        let held = self.store.counters.stats();
        self.store.services.pin().clear();
        self.store.names.pin().clear();
        self.store.groups.pin().clear();
        self.store.counters.services_removed(held.services);
        self.store
            .counters
            .subscriptions_removed(held.subscriptions);
        held != StoreStats::default()
    }
}
