//! Keys that cannot be read, and are set aside.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::values::Unreadable;

/// A key under the prefix that does not name a pod, or whose value is not a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetAside {
    /// The key, as stored in etcd.
    pub key: Vec<u8>,
    /// Why it cannot be read.
    pub reason: Unreadable,
}

/// The keys that are set aside now. Clones share the same map.
#[derive(Clone, Debug, Default)]
pub(crate) struct SetAsideKeys(Arc<Mutex<BTreeMap<Vec<u8>, Unreadable>>>);

impl SetAsideKeys {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Unreadable>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn put(&self, key: Vec<u8>, reason: Unreadable) {
        self.lock().insert(key, reason);
    }

    pub(crate) fn remove(&self, key: &[u8]) {
        self.lock().remove(key);
    }

    pub(crate) fn replace(&self, all: BTreeMap<Vec<u8>, Unreadable>) {
        *self.lock() = all;
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.lock().contains_key(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Returns at most `limit` entries, ordered by key.
    pub(crate) fn list(&self, limit: usize) -> Vec<SetAside> {
        let all = self.lock();
        let some = all.iter().take(limit);
        some.map(|(key, reason)| SetAside {
            key: key.clone(),
            reason: reason.clone(),
        })
        .collect()
    }
}
