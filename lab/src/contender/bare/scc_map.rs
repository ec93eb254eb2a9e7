//! `scc::HashMap`: readers and writers lock a bucket.

use std::sync::Arc;
use std::time::SystemTime;

use scc::HashMap;
use service_registry::ServiceStatus;

use super::Hasher;
use crate::subject::{Hand, Newcomer, Pod};

/// The map.
pub struct SccMap(HashMap<Arc<str>, Pod, Hasher>);

super::by_reference!(SccMap, |hasher| SccMap(HashMap::with_hasher(hasher)));

impl Hand for &SccMap {
    #[inline]
    fn with(&mut self, key: &str) -> Option<ServiceStatus> {
        self.0.read_sync(key, |_, pod| pod.status)
    }

    #[inline]
    fn get(&mut self, key: &str) -> bool {
        self.0.read_sync(key, |_, pod| pod.clone()).is_some()
    }

    fn checked_at(&mut self, key: &str) -> Option<SystemTime> {
        self.0.read_sync(key, |_, pod| pod.checked_at)
    }

    #[inline]
    fn update(&mut self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        let set = |_: &Arc<str>, pod: &mut Pod| pod.set_health(status, at);
        self.0.update_sync(key, set).is_some()
    }

    #[inline]
    fn insert(&mut self, new: &Newcomer) -> bool {
        self.0.insert_sync(new.key.clone(), new.pod.clone()).is_ok()
    }

    #[inline]
    fn remove(&mut self, key: &str) -> bool {
        self.0.remove_sync(key).is_some()
    }

    fn len(&mut self) -> usize {
        self.0.len()
    }
}
