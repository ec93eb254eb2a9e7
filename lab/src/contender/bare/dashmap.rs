//! `dashmap`: shards, each a hash map behind a lock.

use std::sync::Arc;
use std::time::SystemTime;

use ::dashmap::DashMap;
use service_registry::ServiceStatus;

use super::Hasher;
use crate::subject::{Hand, Newcomer, Pod};

/// The map.
pub struct Dash(DashMap<Arc<str>, Pod, Hasher>);

super::by_reference!(Dash, |hasher| Dash(DashMap::with_hasher(hasher)));

impl Hand for &Dash {
    #[inline]
    fn with(&mut self, key: &str) -> Option<ServiceStatus> {
        self.0.get(key).map(|pod| pod.status)
    }

    #[inline]
    fn get(&mut self, key: &str) -> bool {
        self.0.get(key).map(|pod| pod.clone()).is_some()
    }

    fn checked_at(&mut self, key: &str) -> Option<SystemTime> {
        self.0.get(key).map(|pod| pod.checked_at)
    }

    #[inline]
    fn update(&mut self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        let pod = self.0.get_mut(key);
        pod.map(|mut pod| pod.set_health(status, at)).is_some()
    }

    #[inline]
    fn insert(&mut self, new: &Newcomer) -> bool {
        self.0.insert(new.key.clone(), new.pod.clone()).is_none()
    }

    #[inline]
    fn remove(&mut self, key: &str) -> bool {
        self.0.remove(key).is_some()
    }

    fn len(&mut self) -> usize {
        self.0.len()
    }
}
