//! `imbl::HashMap` behind an `ArcSwap`: readers load a pointer, a writer changes a clone.

use std::sync::Arc;
use std::time::SystemTime;

use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwap;
use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;
use service_registry::ServiceStatus;

use super::Hasher;
use crate::subject::{Hand, Newcomer, Pod};

type Map = GenericHashMap<Arc<str>, Pod, Hasher, DefaultSharedPtr>;

/// The map, and the lock of its writers.
pub struct Persistent(ArcSwap<Map>, Mutex<()>);

super::by_reference!(Persistent, |hasher| {
    let map = Map::with_hasher(hasher);
    Persistent(ArcSwap::from_pointee(map), Mutex::new(()))
});

impl Persistent {
    #[inline]
    fn change<R>(&self, change: impl FnOnce(&mut Map) -> R) -> R {
        let _turn = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let mut map = Map::clone(&self.0.load());
        let answer = change(&mut map);
        self.0.store(Arc::new(map));
        answer
    }
}

impl Hand for &Persistent {
    #[inline]
    fn with(&mut self, key: &str) -> Option<ServiceStatus> {
        self.0.load().get(key).map(|pod| pod.status)
    }

    #[inline]
    fn get(&mut self, key: &str) -> bool {
        self.0.load().get(key).cloned().is_some()
    }

    fn checked_at(&mut self, key: &str) -> Option<SystemTime> {
        self.0.load().get(key).map(|pod| pod.checked_at)
    }

    #[inline]
    fn update(&mut self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        self.change(|map| {
            let pod = map.get_mut(key);
            pod.map(|pod| pod.set_health(status, at)).is_some()
        })
    }

    #[inline]
    fn insert(&mut self, new: &Newcomer) -> bool {
        self.change(|map| map.insert(new.key.clone(), new.pod.clone()).is_none())
    }

    #[inline]
    fn remove(&mut self, key: &str) -> bool {
        self.change(|map| map.remove(key).is_some())
    }

    fn len(&mut self) -> usize {
        self.0.load().len()
    }
}
