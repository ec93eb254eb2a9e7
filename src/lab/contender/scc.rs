//! [`Scc`]: `scc::HashIndex`, a hash table for readers, over version cells.

use std::sync::Mutex;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};

use ::scc::{AtomicShared, Guard, HashIndex, Shared, Tag};

use super::outside::prelude::*;

/// A value that is replaced in place, while those who read it go on reading.
///
/// `HashIndex` itself replaces a value by removing it and adding another, and a
/// reader finds neither in between. And it moves values bit by bit when it
/// grows, so that what changes has to lie behind a pointer.
type Cell<T> = Arc<AtomicShared<T>>;
type Index<K, T> = HashIndex<K, Cell<T>, RandomState>;
/// A name and its pods, or a group and its subscribers, in their order.
type Lists = Index<Arc<str>, Vec<(u64, ServiceKey)>>;

/// Readers take no lock. A record is replaced by one atomic operation on its
/// cell; whoever adds or removes a key takes the lock, because two tables
/// change. An empty cell is that of a pod that has been deleted: whoever still
/// has it in hand can neither read nor write there.
///
/// As in `papaya.rs`, a pod is in the list of its name before it is registered
/// and until it no longer is.
#[derive(Default)]
pub struct Scc {
    services: Index<ServiceKey, ServiceInfo>,
    names: Lists,
    groups: Lists,
    counters: Counters,
    /// Grows before and after keys are added or removed: a scan beside that may
    /// meet a record twice, where it has been moved.
    moves: AtomicU64,
    subscribers: Mutex<Subscribers>,
}

impl Contender for Scc {
    const ABOUT: About = About {
        name: "scc::HashIndex",
        id: "scc",
        about: "a hash table with lock-free readers, over version cells; a lock for new keys",
        own_thread: false,
        kind: Kind::Outside,
        crate_name: Some("scc"),
        promises: Promises {
            readers: "lock-free",
            writers: "lock-free to update, one at a time to add and remove",
            batch: Batching::OneByOne,
            scan: Scans::Weak,
            indexes_agree: true,
            never_missing: true,
            snapshot: "no",
            linearizable: true,
            caveat: "never missing thanks to cells of ours: HashIndex::update alone leaves a gap; \
                     stats and revision follow a change; adding to a name or a group copies its \
                     list; a call from the destructor of a thread local can panic",
        },
    };
}

impl Outside for Scc {
    type View = Scc;
    type Turn<'a> = Turn<'a, Scc, Subscribers>;

    #[inline]
    fn read<R>(&self, read: impl FnOnce(&Scc) -> R) -> Result<R> {
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

impl_outside!(Scc);

impl Scc {
    /// The records of a list.
    fn records(&self, lists: &Lists, name: &str) -> Vec<ServiceInfo> {
        let guard = Guard::new();
        let keys = list(lists, name, &guard).iter();
        keys.filter_map(|(_, key)| self.record(key, &guard).cloned())
            .collect()
    }

    #[inline]
    fn record<'g>(&'g self, key: &str, guard: &'g Guard) -> Option<&'g ServiceInfo> {
        let cell = self.services.peek(key, guard)?;
        // Acquire: pairs with the Release half where the cell was written, in
        // `replace` and `swap`.
        cell.load(Acquire, guard).as_ref()
    }

    /// Replaces a record that is there by what `change` makes of it, if
    /// anything: the record before, and whether it was replaced.
    #[inline]
    fn replace<'g>(
        &'g self,
        key: &str,
        guard: &'g Guard,
        change: impl Fn(&ServiceInfo) -> Option<ServiceInfo>,
    ) -> Option<(&'g ServiceInfo, bool)> {
        let cell = self.services.peek(key, guard)?;
        // Acquire, here and on failure: as in `record`.
        let mut known = cell.load(Acquire, guard);
        loop {
            let before = known.as_ref()?;
            let Some(after) = change(before) else {
                return Some((before, false));
            };
            let after = (Some(Shared::new(after)), Tag::None);
            // Release half: pairs with the Acquire load in `record`.
            match cell.compare_exchange(known, after, AcqRel, Acquire, guard) {
                Ok(_) => return Some((before, true)),
                Err((_, newer)) => known = newer,
            }
        }
    }

    /// Adds or removes a key, which may move others. Under the lock.
    fn moving<R>(&self, change: impl FnOnce() -> R) -> R {
        self.moves.fetch_add(1, Relaxed);
        // Release: pairs with the Acquire fence in `all`.
        fence(Release);
        let answer = change();
        // Release: pairs with the Acquire load in `all`.
        self.moves.fetch_add(1, Release);
        answer
    }

    fn replace_record(&self, service: &ServiceInfo) -> Option<bool> {
        let guard = Guard::new();
        let other = |known: &ServiceInfo| (known != service).then(|| service.clone());
        let replaced = self.replace(service.key(), &guard, other);
        replaced.map(|(_, changed)| changed)
    }
}

fn cell<T: 'static>(value: T) -> Cell<T> {
    Arc::new(AtomicShared::new(value))
}

/// Puts another value into a cell, or none, and answers with what was there.
fn swap<T>(cell: &AtomicShared<T>, value: Option<Shared<T>>) -> Option<Shared<T>> {
    // Release half: pairs with the Acquire loads of readers. Acquire half:
    // pairs with the Release half of whoever wrote what is taken out.
    cell.swap((value, Tag::None), AcqRel).0
}

/// What is in a list.
fn list<'g>(lists: &'g Lists, name: &str, guard: &'g Guard) -> &'g [(u64, ServiceKey)] {
    let cell = lists.peek(name, guard);
    // Acquire: pairs with the Release half in `swap`.
    let list = cell.and_then(|cell| cell.load(Acquire, guard).as_ref());
    list.map_or(&[], Vec::as_slice)
}

/// Appends to a list. Only whoever holds the lock does.
fn append(lists: &Lists, name: impl AsRef<str> + Into<Arc<str>>, number: u64, key: ServiceKey) {
    let guard = Guard::new();
    let Some(known) = lists.peek(name.as_ref(), &guard) else {
        // There is none: this is the only thread that adds one.
        let _ = lists.insert_sync(name.into(), cell(vec![(number, key)]));
        return;
    };
    let entries = list(lists, name.as_ref(), &guard);
    let mut longer = Vec::with_capacity(entries.len() + 1);
    longer.extend_from_slice(entries);
    longer.push((number, key));
    swap(known, Some(Shared::new(longer)));
}

/// Takes what `gone` names out of a list. Only whoever holds the lock does.
fn take_out(lists: &Lists, name: &str, gone: impl Fn(&(u64, ServiceKey)) -> bool) {
    let guard = Guard::new();
    let Some(known) = lists.peek(name, &guard) else {
        return;
    };
    let entries = list(lists, name, &guard);
    if entries.iter().all(&gone) {
        lists.remove_sync(name);
    } else {
        let left = entries.iter().filter(|entry| !gone(entry)).cloned();
        swap(known, Some(Shared::new(left.collect())));
    }
}

impl Reads for Scc {
    #[inline]
    fn visit<R>(&self, key: &str, read: impl FnOnce(&ServiceInfo) -> R) -> Option<R> {
        self.record(key, &Guard::new()).map(read)
    }

    fn named(&self, service_name: &str) -> Vec<ServiceInfo> {
        self.records(&self.names, service_name)
    }

    fn all(&self) -> Vec<ServiceInfo> {
        let guard = Guard::new();
        let mut all = Vec::with_capacity(self.counters.stats().services);
        // Acquire: pairs with the Release addition at the end of `moving`, so
        // that an even number means that what was moved before has arrived.
        let before = self.moves.load(Acquire);
        let cells = self.services.iter(&guard).map(|(_, cell)| cell);
        all.extend(cells.filter_map(|cell| cell.load(Acquire, &guard).as_ref().cloned()));
        // Acquire: pairs with the Release fence in `moving`. Whoever has met
        // something that was moved reads the number that went before it.
        fence(Acquire);
        let moved = !before.is_multiple_of(2) || self.moves.load(Relaxed) != before;
        // A reader moves entries of a table that has grown as well, and counts nothing.
        if moved || all.len() != self.counters.stats().services {
            all.sort_unstable_by(|a, b| a.key().cmp(b.key()));
            all.dedup_by(|a, b| a.key() == b.key());
        }
        all
    }

    fn subscribers(&self, service_group: &str) -> Vec<ServiceKey> {
        let guard = Guard::new();
        let group = list(&self.groups, service_group, &guard).iter();
        group.map(|(_, key)| key.clone()).collect()
    }

    fn subscriber_services(&self, service_group: &str) -> Vec<ServiceInfo> {
        self.records(&self.groups, service_group)
    }

    fn stats(&self) -> StoreStats {
        self.counters.stats()
    }
}

impl Writes for Turn<'_, Scc, Subscribers> {
    fn begin_batch(&mut self) {
        self.alone();
    }

    fn is_registered(&self, key: &str) -> bool {
        self.store.record(key, &Guard::new()).is_some()
    }

    fn save(&mut self, service: ServiceInfo) -> bool {
        let mut replaced = self.store.replace_record(&service);
        if replaced.is_none() && !self.is_alone() {
            self.alone();
            // It may have come before the lock did.
            replaced = self.store.replace_record(&service);
        }
        replaced.unwrap_or_else(|| {
            let Scc {
                services, names, ..
            } = self.store;
            let key = service.key().clone();
            append(names, service.service_name(), 0, key.clone());
            // It is not there: this is the only thread that adds one.
            let add = || services.insert_sync(key, cell(service)).is_ok();
            self.store.counters.service_added();
            self.store.moving(add)
        })
    }

    fn delete(&mut self, key: &str) -> Option<ServiceInfo> {
        self.alone();
        let guard = Guard::new();
        let cell = self.store.services.peek(key, &guard)?;
        // From here on it is deleted, for everybody who has the cell in hand.
        let removed = swap(cell, None)?;
        self.store.moving(|| self.store.services.remove_sync(key));
        let is_it = |(_, listed): &(u64, ServiceKey)| listed == removed.key();
        take_out(&self.store.names, removed.service_name(), is_it);
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
        let guard = Guard::new();
        let replaced = self.store.replace(key, &guard, |known| {
            let mut after = known.clone();
            super::outside::set_health(&mut after, status, checked_at).then_some(after)
        });
        replaced.map(|(before, changed)| (before.status(), changed))
    }

    fn subscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool {
        let groups = &self.store.groups;
        let known = || groups.peek_with(service_group, |name, _| name.clone());
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
        let Scc {
            services,
            names,
            groups,
            counters,
            ..
        } = self.store;
        let held = counters.stats();
        self.store.moving(|| {
            services.retain_sync(|_, cell| {
                swap(cell, None);
                false
            });
        });
        names.clear_sync();
        groups.clear_sync();
        counters.services_removed(held.services);
        counters.subscriptions_removed(held.subscriptions);
        held != StoreStats::default()
    }
}
