//! `scc::HashIndex`: readers take no lock, writers one of a bucket.
//!
//! A value is replaced in its entry, without a look at the key again. A reader that takes no
//! lock can miss it at that moment, so one that finds nothing looks again under the lock.

use std::sync::Arc;
use std::time::SystemTime;

use scc::HashIndex;
use service_registry::ServiceStatus;

use super::Hasher;
use crate::subject::{Hand, Newcomer, Pod};

/// The map.
pub struct SccIndex(HashIndex<Arc<str>, Pod, Hasher>);

super::by_reference!(SccIndex, |hasher| SccIndex(HashIndex::with_hasher(hasher)));

impl SccIndex {
    #[inline]
    fn read<R>(&self, key: &str, read: impl Fn(&Pod) -> R) -> Option<R> {
        let found = self.0.peek_with(key, |_, pod| read(pod));
        found.or_else(|| self.0.read_sync(key, |_, pod| read(pod)))
    }
}

impl Hand for &SccIndex {
    #[inline]
    fn with(&mut self, key: &str) -> Option<ServiceStatus> {
        self.read(key, |pod| pod.status)
    }

    #[inline]
    fn get(&mut self, key: &str) -> bool {
        self.read(key, Pod::clone).is_some()
    }

    fn checked_at(&mut self, key: &str) -> Option<SystemTime> {
        self.read(key, |pod| pod.checked_at)
    }

    #[inline]
    fn update(&mut self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        let entry = self.0.get_sync(key);
        let update = |mut entry: scc::hash_index::OccupiedEntry<'_, _, Pod, _>| {
            let pod = entry.get().with_health(status, at);
            entry.update(pod);
        };
        entry.map(update).is_some()
    }

    #[inline]
    fn insert(&mut self, new: &Newcomer) -> bool {
        self.0.insert_sync(new.key.clone(), new.pod.clone()).is_ok()
    }

    #[inline]
    fn remove(&mut self, key: &str) -> bool {
        self.0.remove_sync(key)
    }

    fn len(&mut self) -> usize {
        self.0.len()
    }
}
