//! `concread`: a tree of buckets with a transaction for each reader and writer.
//!
//! It hashes with the same hasher, but chooses the seed itself. To replace a value it takes
//! an owned key, which has to be made.

use std::sync::Arc;
use std::time::SystemTime;

use ::concread::hashmap::HashMap;
use service_registry::ServiceStatus;

use super::Hasher;
use crate::subject::{Hand, Newcomer, Pod};

/// The map.
pub struct Concread(HashMap<Arc<str>, Pod>);

super::by_reference!(Concread, |_| Concread(HashMap::new()));

impl Hand for &Concread {
    #[inline]
    fn with(&mut self, key: &str) -> Option<ServiceStatus> {
        self.0.read().get(key).map(|pod| pod.status)
    }

    #[inline]
    fn get(&mut self, key: &str) -> bool {
        self.0.read().get(key).cloned().is_some()
    }

    fn checked_at(&mut self, key: &str) -> Option<SystemTime> {
        self.0.read().get(key).map(|pod| pod.checked_at)
    }

    #[inline]
    fn update(&mut self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        let mut turn = self.0.write();
        let pod = turn.get_mut(&key.into());
        let known = pod.map(|pod| pod.set_health(status, at)).is_some();
        turn.commit();
        known
    }

    #[inline]
    fn insert(&mut self, new: &Newcomer) -> bool {
        let mut turn = self.0.write();
        let known = turn.insert(new.key.clone(), new.pod.clone()).is_some();
        turn.commit();
        !known
    }

    #[inline]
    fn remove(&mut self, key: &str) -> bool {
        let mut turn = self.0.write();
        let known = turn.remove(&key.into()).is_some();
        turn.commit();
        known
    }

    fn len(&mut self) -> usize {
        self.0.read().len()
    }
}
