//! A bare hash map without synchronization: the lower bound of the cost.

use std::time::SystemTime;

use hashbrown::HashMap;
use service_registry::ServiceStatus;

use super::bare::{Hasher, Key};
use crate::subject::{Handle, NewPod, Pod, Subject};

type Map = HashMap<Key, Pod, Hasher>;

/// The map. Threads can share it as long as none writes.
pub struct Floor(Map);

/// The map for one thread, or shared for reading.
pub enum FloorHandle<'a> {
    /// The only handle: reads and writes.
    Own(&'a mut Map),
    /// One of several handles: reads.
    Read(&'a Map),
}

impl FloorHandle<'_> {
    #[inline]
    fn map(&self) -> &Map {
        match self {
            FloorHandle::Own(map) => map,
            FloorHandle::Read(map) => map,
        }
    }

    #[inline]
    fn own(&mut self) -> Option<&mut Map> {
        match self {
            FloorHandle::Own(map) => Some(map),
            FloorHandle::Read(_) => None,
        }
    }
}

impl Subject for Floor {
    type Handle<'a> = FloorHandle<'a>;

    fn create(seed: u64) -> Floor {
        Floor(Map::with_hasher(Hasher::with_seed(seed)))
    }

    fn alone(&mut self) -> FloorHandle<'_> {
        FloorHandle::Own(&mut self.0)
    }

    fn handle(&self) -> FloorHandle<'_> {
        FloorHandle::Read(&self.0)
    }
}

impl Handle for FloorHandle<'_> {
    #[inline]
    fn with(&mut self, key: &str) -> Option<ServiceStatus> {
        self.map().get(key).map(|pod| pod.status)
    }

    #[inline]
    fn get(&mut self, key: &str) -> bool {
        self.map().get(key).cloned().is_some()
    }

    fn checked_at(&mut self, key: &str) -> Option<SystemTime> {
        self.map().get(key).map(|pod| pod.checked_at)
    }

    #[inline]
    fn update(&mut self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        let pod = self.own().and_then(|map| map.get_mut(key));
        pod.map(|pod| pod.set_health(status, at)).is_some()
    }

    #[inline]
    fn insert(&mut self, new: &NewPod) -> bool {
        let map = self.own();
        map.is_some_and(|map| map.insert(new.key.clone(), new.pod.clone()).is_none())
    }

    #[inline]
    fn remove(&mut self, key: &str) -> bool {
        self.own().and_then(|map| map.remove(key)).is_some()
    }

    fn pods(&mut self) -> usize {
        self.map().len()
    }
}
