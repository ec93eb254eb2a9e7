//! [`Plain`]: a hash map behind a reader-writer lock.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use hashbrown::HashMap;

use super::outside::prelude::*;

/// What a Go program writes, line by line: one lock, a map of records, and for
/// each group a list of its subscribers. There is no index of names, and none
/// of the groups of a subscriber: to find either, everything is looked through.
///
/// It copies less than the Go design does: a record that is handed out is a
/// clone of a [`ServiceInfo`], which shares its registration.
#[derive(Default)]
pub struct Plain(RwLock<Tables>);

/// What lies behind the lock.
#[derive(Default)]
pub(super) struct Tables {
    services: HashMap<ServiceKey, ServiceInfo, RandomState>,
    groups: HashMap<String, Vec<ServiceKey>, RandomState>,
    revision: Revision,
    closed: bool,
}

impl Contender for Plain {
    const ABOUT: About = About {
        name: "RwLock<HashMap>",
        id: "plain",
        about: "one lock, one map, no index: the Go design, which scans by name",
        own_thread: false,
        kind: Kind::Outside,
        crate_name: Some("hashbrown"),
        promises: Promises {
            readers: "shared lock",
            writers: "exclusive lock",
            batch: Batching::Atomic,
            scan: Scans::Consistent,
            indexes_agree: true,
            never_missing: true,
            snapshot: "no",
            linearizable: true,
            caveat: "by name and to remove a subscriber it looks through everything, under the \
                     lock; a call from inside a read closure can deadlock",
        },
    };
}

impl Plain {
    fn shared(&self) -> RwLockReadGuard<'_, Tables> {
        // No code of a caller runs under the exclusive lock.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outside for Plain {
    type View = Tables;
    type Turn<'a> = Tables;

    #[inline]
    fn read<R>(&self, read: impl FnOnce(&Tables) -> R) -> Result<R> {
        let tables = self.shared();
        if tables.closed {
            return Err(StoreError::Closed);
        }
        Ok(read(&tables))
    }

    #[inline]
    fn write<R>(
        &self,
        write: impl FnOnce(&mut Tables) -> Result<(R, bool)>,
    ) -> Result<(R, Revision)> {
        let mut tables = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if tables.closed {
            return Err(StoreError::Closed);
        }
        let (answer, changed) = write(&mut tables)?;
        if changed {
            tables.revision = tables.revision.next();
        }
        Ok((answer, tables.revision))
    }

    fn current_revision(&self) -> Revision {
        self.shared().revision
    }

    fn shut(&self) {
        let mut tables = self.0.write().unwrap_or_else(PoisonError::into_inner);
        tables.clear();
        tables.closed = true;
    }
}

impl_outside!(Plain);

impl Reads for Tables {
    #[inline]
    fn visit<R>(&self, key: &str, read: impl FnOnce(&ServiceInfo) -> R) -> Option<R> {
        self.services.get(key).map(read)
    }

    fn named(&self, service_name: &str) -> Vec<ServiceInfo> {
        let named = |info: &&ServiceInfo| info.service_name() == service_name;
        self.services.values().filter(named).cloned().collect()
    }

    fn all(&self) -> Vec<ServiceInfo> {
        self.services.values().cloned().collect()
    }

    fn subscribers(&self, service_group: &str) -> Vec<ServiceKey> {
        self.groups.get(service_group).cloned().unwrap_or_default()
    }

    fn subscriber_services(&self, service_group: &str) -> Vec<ServiceInfo> {
        let subscribers = self.groups.get(service_group).into_iter().flatten();
        let found = subscribers.filter_map(|key| self.services.get(key));
        found.cloned().collect()
    }

    fn stats(&self) -> StoreStats {
        let subscriptions = self.groups.values().map(Vec::len).sum();
        StoreStats::new(self.services.len(), subscriptions)
    }
}

impl Writes for Tables {
    fn is_registered(&self, key: &str) -> bool {
        self.services.contains_key(key)
    }

    fn save(&mut self, service: ServiceInfo) -> bool {
        match self.services.get_mut(&**service.key()) {
            Some(known) if *known == service => return false,
            Some(known) => *known = service,
            None => {
                self.services.insert(service.key().clone(), service);
            }
        }
        true
    }

    fn delete(&mut self, key: &str) -> Option<ServiceInfo> {
        self.services.remove(key)
    }

    fn set_health(
        &mut self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Option<(ServiceStatus, bool)> {
        let known = self.services.get_mut(key)?;
        let before = known.status();
        Some((
            before,
            super::outside::set_health(known, status, checked_at),
        ))
    }

    fn subscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool {
        let group = self.groups.entry_ref(service_group).or_default();
        let new = !group.iter().any(|key| *key == *subscriber_key);
        if new {
            group.push(super::outside::checked(subscriber_key));
        }
        new
    }

    fn unsubscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool {
        let Some(group) = self.groups.get_mut(service_group) else {
            return false;
        };
        let before = group.len();
        group.retain(|key| *key != *subscriber_key);
        let changed = group.len() < before;
        if group.is_empty() {
            self.groups.remove(service_group);
        }
        changed
    }

    fn unsubscribe_all(&mut self, subscriber_key: &str) -> bool {
        let mut changed = false;
        self.groups.retain(|_, group| {
            let before = group.len();
            group.retain(|key| *key != *subscriber_key);
            changed |= group.len() < before;
            !group.is_empty()
        });
        changed
    }

    fn clear(&mut self) -> bool {
        let held = !self.services.is_empty() || !self.groups.is_empty();
        self.services = HashMap::default();
        self.groups = HashMap::default();
        held
    }
}
