//! [`LeaseIds`]: leases by the texts under which their pods know them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use service_registry::Revision;
use service_registry::leases::{Lease, Leases};

use crate::store::Store;

/// An id is `incarnation-tag`. The tag is a hash under keys that only this process has, so that
/// who holds one id cannot guess another.
pub(crate) struct LeaseIds {
    keys: RandomState,
    leases: Mutex<HashMap<u64, Lease>>,
}

/// The leases, locked while a pod is registered, so that pods are counted one by one.
pub(crate) struct LockedLeaseIds<'a>(&'a LeaseIds, MutexGuard<'a, HashMap<u64, Lease>>);

impl LeaseIds {
    pub(crate) fn new() -> LeaseIds {
        LeaseIds {
            keys: RandomState::new(),
            leases: Mutex::default(),
        }
    }

    pub(crate) fn lock(&self) -> LockedLeaseIds<'_> {
        // Each change of the map is whole.
        let leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        LockedLeaseIds(self, leases)
    }

    /// The lease of an id; `None` where it was never given, or was forgotten.
    pub(crate) fn find(&self, id: &str) -> Option<Lease> {
        let (incarnation, _) = id.split_once('-')?;
        let incarnation: u64 = incarnation.parse().ok()?;
        let locked = self.lock();
        let lease = locked.1.get(&incarnation)?;
        (self.write(incarnation.into()) == id).then(|| lease.clone())
    }

    fn write(&self, incarnation: Revision) -> String {
        let incarnation = incarnation.as_u64();
        format!("{incarnation}-{:016x}", self.keys.hash_one(incarnation))
    }
}

impl LockedLeaseIds<'_> {
    /// Takes in a lease that was just given, and answers with its id.
    ///
    /// Those that have ended are forgotten when there are twice as many as there may be, which is
    /// O(1) for each that was taken in.
    pub(crate) fn insert(&mut self, lease: Lease, leases: &Leases<Store>) -> String {
        if self.1.len() >= 2 * leases.stats().leases + 64 {
            self.1.retain(|_, known| {
                let now = leases.find(known.key());
                now.is_some_and(|now| now.incarnation() == known.incarnation())
            });
        }
        let id = self.0.write(lease.incarnation());
        self.1.insert(lease.incarnation().as_u64(), lease);
        id
    }
}
