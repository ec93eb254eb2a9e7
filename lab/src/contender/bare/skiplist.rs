//! `crossbeam-skiplist`: an ordered map without locks.
//!
//! A value is replaced by inserting it again. A reader can miss it at that moment, so this is
//! measured on one thread only.

use std::sync::Arc;
use std::time::SystemTime;

use crossbeam_skiplist::SkipMap;
use service_registry::ServiceStatus;

use super::Hasher;
use crate::subject::{Hand, Newcomer, Pod};

/// The map.
pub struct Skip(SkipMap<Arc<str>, Pod>);

super::by_reference!(Skip, |_| Skip(SkipMap::new()));

impl Hand for &Skip {
    #[inline]
    fn with(&mut self, key: &str) -> Option<ServiceStatus> {
        self.0.get(key).map(|entry| entry.value().status)
    }

    #[inline]
    fn get(&mut self, key: &str) -> bool {
        self.0.get(key).map(|entry| entry.value().clone()).is_some()
    }

    fn checked_at(&mut self, key: &str) -> Option<SystemTime> {
        self.0.get(key).map(|entry| entry.value().checked_at)
    }

    #[inline]
    fn update(&mut self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        let known = self.0.get(key);
        let known = known.map(|known| (known.key().clone(), known.value().with_health(status, at)));
        known.map(|(key, pod)| self.0.insert(key, pod)).is_some()
    }

    #[inline]
    fn insert(&mut self, new: &Newcomer) -> bool {
        let known = self.0.contains_key(&*new.key);
        self.0.insert(new.key.clone(), new.pod.clone());
        !known
    }

    #[inline]
    fn remove(&mut self, key: &str) -> bool {
        self.0.remove(key).is_some()
    }

    fn len(&mut self) -> usize {
        self.0.len()
    }
}
