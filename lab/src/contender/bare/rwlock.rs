//! A hash map behind a reader-writer lock.

use std::sync::Arc;
use std::time::SystemTime;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashMap;
use service_registry::ServiceStatus;

use super::Hasher;
use crate::subject::{Hand, Newcomer, Pod};

type Map = HashMap<Arc<str>, Pod, Hasher>;

/// The map.
pub struct Locked(RwLock<Map>);

super::by_reference!(Locked, |hasher| Locked(RwLock::new(Map::with_hasher(hasher))));

impl Locked {
    #[inline]
    fn read(&self) -> RwLockReadGuard<'_, Map> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn write(&self) -> RwLockWriteGuard<'_, Map> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hand for &Locked {
    #[inline]
    fn with(&mut self, key: &str) -> Option<ServiceStatus> {
        self.read().get(key).map(|pod| pod.status)
    }

    #[inline]
    fn get(&mut self, key: &str) -> bool {
        self.read().get(key).cloned().is_some()
    }

    fn checked_at(&mut self, key: &str) -> Option<SystemTime> {
        self.read().get(key).map(|pod| pod.checked_at)
    }

    #[inline]
    fn update(&mut self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        let mut map = self.write();
        let pod = map.get_mut(key);
        pod.map(|pod| pod.set_health(status, at)).is_some()
    }

    #[inline]
    fn insert(&mut self, new: &Newcomer) -> bool {
        let known = self.write().insert(new.key.clone(), new.pod.clone());
        known.is_none()
    }

    #[inline]
    fn remove(&mut self, key: &str) -> bool {
        self.write().remove(key).is_some()
    }

    fn len(&mut self) -> usize {
        self.read().len()
    }
}
