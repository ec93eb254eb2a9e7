//! `scc::HashIndex`: readers take no lock, writers one of a bucket.
//!
//! A value is replaced in its entry, without a look at the key again.

use std::sync::Arc;
use std::time::SystemTime;

use scc::HashIndex;
use service_registry::ServiceStatus;

use super::Hasher;
use crate::subject::{Hand, Newcomer, Pod};

/// The map.
pub(super) struct SccIndex(HashIndex<Arc<str>, Pod, Hasher>);

super::by_reference!(SccIndex, |hasher| SccIndex(HashIndex::with_hasher(hasher)));

impl Hand for &SccIndex {
    #[inline]
    fn with(&mut self, key: &str) -> Option<ServiceStatus> {
        self.0.peek_with(key, |_, pod| pod.status)
    }

    #[inline]
    fn get(&mut self, key: &str) -> bool {
        self.0.peek_with(key, |_, pod| pod.clone()).is_some()
    }

    fn checked_at(&mut self, key: &str) -> Option<SystemTime> {
        self.0.peek_with(key, |_, pod| pod.checked_at)
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
