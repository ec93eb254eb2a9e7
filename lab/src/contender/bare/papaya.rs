//! `papaya`: a hash map without locks.
//!
//! Entries that `update` made are read twice as slowly as those that `insert` of a clone
//! made, with the same values: this is the quicker way. A guard is taken for each
//! operation, as for each request that comes in.

use std::sync::Arc;
use std::time::SystemTime;

use ::papaya::HashMap;
use service_registry::ServiceStatus;

use super::Hasher;
use crate::subject::{Hand, Newcomer, Pod};

/// The map.
pub struct Papaya(HashMap<Arc<str>, Pod, Hasher>);

super::by_reference!(Papaya, |hasher| Papaya(HashMap::with_hasher(hasher)));

impl Hand for &Papaya {
    #[inline]
    fn with(&mut self, key: &str) -> Option<ServiceStatus> {
        self.0.pin().get(key).map(|pod| pod.status)
    }

    #[inline]
    fn get(&mut self, key: &str) -> bool {
        self.0.pin().get(key).cloned().is_some()
    }

    fn checked_at(&mut self, key: &str) -> Option<SystemTime> {
        self.0.pin().get(key).map(|pod| pod.checked_at)
    }

    #[inline]
    fn update(&mut self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        let map = self.0.pin();
        let known = map.get_key_value(key);
        known.is_some_and(|(key, pod)| {
            map.insert(key.clone(), pod.with_health(status, at)).is_some()
        })
    }

    #[inline]
    fn insert(&mut self, new: &Newcomer) -> bool {
        let known = self.0.pin().insert(new.key.clone(), new.pod.clone()).is_some();
        !known
    }

    #[inline]
    fn remove(&mut self, key: &str) -> bool {
        self.0.pin().remove(key).is_some()
    }

    fn len(&mut self) -> usize {
        self.0.len()
    }
}
