//! `evmap`: two maps, one of which is read while the other is written.
//!
//! Each thread has its own reader handle. Every change is published before its call returns, as
//! with the other contenders.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ::evmap::handles::{ReadHandle, WriteHandle};
use service_registry::ServiceStatus;

use super::bare::{Hasher, Key};
use crate::subject::{Handle, NewPod, Pod, Subject};

type Reader = ReadHandle<Key, Pod, (), Hasher>;
type Writer = WriteHandle<Key, Pod, (), Hasher>;

/// The map.
pub struct Evmap {
    writer: Mutex<Writer>,
    /// The reader handle from which those of the threads are cloned.
    reader: Mutex<Reader>,
}

/// The handle of one thread.
pub struct EvmapHandle<'a> {
    writer: &'a Mutex<Writer>,
    reader: Reader,
}

impl<'a> EvmapHandle<'a> {
    fn write(&self) -> MutexGuard<'a, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subject for Evmap {
    type Handle<'a> = EvmapHandle<'a>;

    #[allow(unsafe_code)]
    fn create(seed: u64) -> Evmap {
        // SAFETY: `with_hasher` and `assert_stable` ask that keys, values and the hasher
        // yield the same for the same input. The hasher is a seed; keys and values are
        // texts, numbers and times, none of which changes in its place.
        let (mut writer, reader) = unsafe {
            let options = ::evmap::Options::default();
            options.with_hasher(Hasher::with_seed(seed)).assert_stable()
        };
        writer.publish();
        Evmap { reader: Mutex::new(reader), writer: Mutex::new(writer) }
    }

    fn handle(&self) -> EvmapHandle<'_> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        EvmapHandle { writer: &self.writer, reader: reader.clone() }
    }
}

impl Handle for EvmapHandle<'_> {
    #[inline]
    fn with(&mut self, key: &str) -> Option<ServiceStatus> {
        self.reader.get_one(key).map(|pod| pod.status)
    }

    #[inline]
    fn get(&mut self, key: &str) -> bool {
        self.reader.get_one(key).map(|pod| pod.clone()).is_some()
    }

    fn checked_at(&mut self, key: &str) -> Option<SystemTime> {
        self.reader.get_one(key).map(|pod| pod.checked_at)
    }

    #[inline]
    fn update(&mut self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        let mut writer = self.write();
        let pod = self.reader.get_one(key);
        // The guard must be dropped before the writer publishes, which waits for readers.
        let pod = pod.map(|pod| pod.with_health(status, at));
        pod.map(|pod| writer.update(key.into(), pod).publish()).is_some()
    }

    #[inline]
    fn insert(&mut self, new: &NewPod) -> bool {
        let mut writer = self.write();
        let known = self.reader.contains_key(&*new.key);
        writer.update(new.key.clone(), new.pod.clone()).publish();
        !known
    }

    #[inline]
    fn remove(&mut self, key: &str) -> bool {
        let mut writer = self.write();
        let known = self.reader.contains_key(key);
        writer.remove_entry(key.into()).publish();
        known
    }

    fn pods(&mut self) -> usize {
        self.reader.len()
    }
}
