//! [`Leases`], the handle with which a program registers pods with a time to live.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::guard::MassExpiryGuard;
use super::inner::LeasesInner;
use super::lease::Lease;
use super::options::LeaseOptions;
use super::slot::LeaseLost;
use super::sweep::Sweep;
use super::sweeper::Sweeper;
use super::table::Table;
use crate::changes::{Difference, Selection};
use crate::model::batch::Batch;
use crate::model::cause::Cause;
use crate::model::condition::Expected;
use crate::model::error::Result;
use crate::model::record::ServiceInfo;
use crate::model::registration::ServiceRegistration;
use crate::observe::report_sweep;
use crate::registry::Registry;
use crate::store::RegistryStore;
use crate::sync::Mutex;

/// Registers pods with a time to live, and removes those that do not renew their lease.
///
/// ```
/// use std::time::{Duration, Instant};
/// use service_registry::leases::{LeaseOptions, Leases};
/// use service_registry::{MemoryStore, Registry, ServiceRegistration};
///
/// // A clock that the program controls, as in a test. `Leases::new` uses the system clock.
/// let start = Instant::now();
/// let leases = Leases::with_clock(
///     Registry::new(MemoryStore::new()),
///     LeaseOptions::default(),
///     move || start,
/// )?;
/// let ttl = Duration::from_secs(30);
/// let one = leases.register(ServiceRegistration::new("web", "pod-1"), ttl)?;
/// let two = leases.register(ServiceRegistration::new("web", "pod-2"), 2 * ttl)?;
/// leases.renew(&one)?;
///
/// let sweep = leases.sweep(start + ttl)?;
/// assert_eq!(sweep.expired[0].key(), "web:pod-1");
/// assert!(leases.renew(&one).is_err());
/// assert_eq!(leases.registry().get_services_by_name("web")?.len(), 1);
/// leases.revoke(two)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Guarantees
///
/// - A lease ends one time to live after its last renewal or its registration, not before. The
///   next sweep after that removes the pod. With a sweep in each tick, a pod is removed within
///   its time to live plus one tick.
/// - A sweep only removes the incarnation that the lease belongs to. A renewal never brings a
///   pod back. A lease of an earlier incarnation has no effect on the one that replaced it.
/// - If a renewal and a sweep meet, one of them is first: either the renewal counts, or it
///   returns [`LeaseLost`].
/// - If a pod is removed or registered again without its `Leases`, its lease is lost after the
///   next sweep.
/// - All times are those of a monotonic clock. Changes to the system time have no effect.
///
/// # Costs
///
/// [`renew`](Self::renew) reads the clock and performs one atomic operation: no commit, no
/// lock, no allocation. [`register`](Self::register) takes one commit and O(log leases). A
/// [`sweep`](Self::sweep) takes O(log leases) for each lease whose time to live has passed
/// since it was last examined, O(log leases) for each change of the store since the last sweep,
/// and one commit for all expired pods.
///
/// It [watches](RegistryStore::watch) the whole store, and every commit pays for that watch. If
/// there were more commits since the last sweep than the log of the store holds, the sweep
/// examines the whole store, in O(*n*).
///
/// # When many pods fall silent at once
///
/// If many pods of a name, or of all names, expire within a short time, the network has
/// probably failed. A list with pods that may be down is then better than an empty list.
/// [`LeaseOptions`] defines how many are too many. The overdue pods are then *withheld*: they
/// stay registered, their status becomes [`Unknown`](crate::ServiceStatus::Unknown) (a
/// [`Draining`](crate::ServiceStatus::Draining) pod keeps its status), and [`Sweep::withheld`]
/// lists them. A pod that renews its lease continues as before, and the next health check sets
/// its status. The other pods are removed as soon as they are not too many any more, or after
/// [`hold`](LeaseOptions::hold). The last pod of a name is all of that name, so it is withheld
/// too. [`revoke`](Self::revoke) and the registry always remove a pod at once.
///
/// # Clones
///
/// Clones share the same leases.
pub struct Leases<S> {
    pub(super) inner: Arc<LeasesInner<S>>,
}

/// The number of leases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseStats {
    /// The number of leases that have not ended.
    pub leases: usize,
    /// The number of leases whose pods the last sweep withheld.
    pub withheld: usize,
    /// The total number of pods that sweeps have removed.
    pub expired: u64,
}

impl<S: RegistryStore> Leases<S> {
    /// Creates leases for pods of `registry`.
    ///
    /// # Errors
    ///
    /// The errors of [`RegistryStore::watch`].
    pub fn new(registry: Registry<S>, options: LeaseOptions) -> Result<Leases<S>> {
        Leases::with_clock(registry, options, Instant::now)
    }

    /// Creates leases with a clock of the caller, which must not go backwards.
    ///
    /// # Errors
    ///
    /// The errors of [`RegistryStore::watch`].
    pub fn with_clock(
        registry: Registry<S>,
        options: LeaseOptions,
        clock: impl Fn() -> Instant + Send + Sync + 'static,
    ) -> Result<Leases<S>> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let watch = registry.watch(Selection::All)?;
        let origin = clock();
        let inner = LeasesInner {
            registry,
            id: NEXT_ID.fetch_add(1, Relaxed),
            clock: Box::new(clock),
            origin,
            table: Mutex::new(Table::default()),
            sweeper: Mutex::new(Sweeper::new(watch, MassExpiryGuard::new(options))),
        };
        Ok(Leases {
            inner: Arc::new(inner),
        })
    }

    /// Returns the registry that contains the pods.
    pub fn registry(&self) -> &Registry<S> {
        &self.inner.registry
    }

    /// Registers a pod like [`Registry::register`], until `ttl` passes without a renewal. If
    /// `ttl` is zero, the next sweep finds the lease ended. If it is 500 years or more, the
    /// lease never ends. One commit.
    ///
    /// # Errors
    ///
    /// The errors of [`Registry::register`].
    pub fn register(&self, registration: ServiceRegistration, ttl: Duration) -> Result<Lease> {
        let service = self.registry().register(registration)?;
        self.inner.add_lease(&service, ttl)
    }

    /// Gives a lease to a registered pod, for example to one that was restored from a dump. If
    /// the pod already has a lease, that lease is lost. If `service` is no longer registered,
    /// or was registered again, the returned lease is lost. No commit.
    ///
    /// # Errors
    ///
    /// The errors of [`RegistryStore::with_service`], except that of an absent pod.
    pub fn grant(&self, service: &ServiceInfo, ttl: Duration) -> Result<Lease> {
        let (key, incarnation) = (service.key(), service.incarnation());
        if !self.inner.is_registered(key, incarnation)? {
            // Not inserted: a record of another store, for example from before a restart, may
            // have a later incarnation than the pod that has the lease.
            let lost = Arc::new(self.inner.slot(service, ttl));
            lost.mark_lost();
            self.inner.table().remove_incarnation(key, incarnation);
            return Ok(Lease(lost));
        }
        // `add_lease` or the next sweep detects a removal from here on.
        self.inner.add_lease(service, ttl)
    }

    /// Renews a lease: it ends one time to live from now. O(1): one atomic operation, no lock,
    /// no allocation, and no access to the store.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`] if the pod has expired, was removed or was registered again, or if the
    /// lease belongs to other `Leases`. A removal without these `Leases` is detected by the
    /// next sweep.
    pub fn renew(&self, lease: &Lease) -> Result<(), LeaseLost> {
        if lease.0.owner != self.inner.id {
            return Err(LeaseLost);
        }
        lease.0.renew(self.inner.now())
    }

    /// Removes the pod of a lease and its subscriptions, if it is still the incarnation of the
    /// lease, and returns the removed record. Never withholds it. One commit.
    ///
    /// # Errors
    ///
    /// The errors of [`RegistryStore::commit_changes`]. The lease then continues.
    pub fn revoke(&self, lease: Lease) -> Result<Option<ServiceInfo>> {
        let slot = lease.0;
        if slot.owner != self.inner.id {
            return Ok(None);
        }
        let expected = Expected::Incarnation(slot.incarnation);
        let mut batch = Batch::with_capacity(1);
        batch.remove_if(&slot.key, expected, Cause::Deleted);
        let (_, changes) = self.registry().commit_changes(batch)?;
        self.inner.table().remove(&slot);
        Ok(changes.into_iter().find_map(|change| match change {
            Difference::Removed { last, .. } => Some(last),
            _ => None,
        }))
    }

    /// Returns the lease of the pod under `key`, for a caller that knows its pods by name, such
    /// as a server whose clients send heartbeats. Compare the
    /// [`incarnation`](Lease::incarnation), so that a late heartbeat of a pod does not renew
    /// the lease of the pod that replaced it. O(1).
    pub fn find(&self, key: &str) -> Option<Lease> {
        self.inner.table().get(key).cloned().map(Lease)
    }

    /// Removes the pods whose leases have ended at `now`, a time of the
    /// [clock](Self::with_clock), except those that are withheld. One commit if there is
    /// anything to do. Only one sweep runs at a time; a second one waits.
    ///
    /// If a removal fails, the pod has lost its lease, and the next sweep tries again. Do not
    /// call this inside a read closure of the store: it may wait for a sweep that waits for the
    /// closure.
    ///
    /// # Errors
    ///
    /// The errors of [`RegistryStore::commit_changes`] and
    /// [`Watch::try_recv`](crate::changes::Watch::try_recv).
    pub fn sweep(&self, now: Instant) -> Result<Sweep> {
        let sweep = {
            let sweeper = self.inner.sweeper.lock();
            let mut sweeper = sweeper.unwrap_or_else(PoisonError::into_inner);
            self.inner.sweep(&mut sweeper, self.inner.nanos(now))?
        };
        report_sweep(sweep.expired.len(), sweep.withheld.len());
        Ok(sweep)
    }

    pub(super) fn sweep_now(&self) -> Result<Sweep> {
        self.sweep((self.inner.clock)())
    }

    /// Returns the number of leases. O(1).
    pub fn stats(&self) -> LeaseStats {
        let table = self.inner.table();
        LeaseStats {
            leases: table.len(),
            withheld: table.withheld,
            expired: table.expired,
        }
    }
}

impl<S> Clone for Leases<S> {
    fn clone(&self) -> Leases<S> {
        Leases {
            inner: self.inner.clone(),
        }
    }
}

impl<S: RegistryStore> fmt::Debug for Leases<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Leases").field(&self.stats()).finish()
    }
}
