//! [`Leases`]: the handle with which a program registers pods for a time.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::guard::Guard;
use super::inner::Inner;
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
use crate::observe::note_sweep;
use crate::registry::Registry;
use crate::store::RegistryStore;
use crate::sync::Mutex;

/// Registers pods for a time, and removes those that did not renew it.
///
/// ```
/// use std::time::{Duration, Instant};
/// use service_registry::leases::{LeaseOptions, Leases};
/// use service_registry::{MemoryStore, Registry, ServiceRegistration};
///
/// // A clock that the program sets, as in a test; `Leases::new` takes the system's.
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
/// # What it promises
///
/// - A lease ends its time to live after it was last renewed, or registered: not before, and the
///   next sweep from then on removes the pod. So with a sweep in each tick a pod goes within a
///   time to live and a tick.
/// - Only the incarnation that the lease is of is ever removed. A renewal brings no pod back, and
///   a lease of an incarnation before does nothing to the one that came in its place.
/// - Of a renewal and a sweep that meet, one is first: the renewal counts, or it answers
///   [`LeaseLost`].
/// - A pod that was removed or registered anew by others, past its `Leases`, has lost its lease
///   after the next sweep.
/// - All times are of a monotonic clock. Whoever sets the time of the system changes nothing.
///
/// # Costs
///
/// [`renew`](Self::renew) is one atomic operation beside a look at the clock: no commit, no lock,
/// no allocation. [`register`](Self::register) is one commit, and O(log leases). A
/// [`sweep`](Self::sweep) is O(log leases) for each lease whose time to live has passed since it
/// was last looked at, and for each change of the store since the last sweep; one commit for all
/// that expired.
///
/// It [watches](RegistryStore::watch) the whole store, and commits pay for that watch. Where
/// more was committed since the last sweep than the log of the store holds, the sweep looks at
/// everything, in O(*n*).
///
/// # When everything falls silent at once
///
/// Where many pods of a name, or of all, expire within a short time, it is rather the network
/// that has failed, and a list of pods that may be wrong is better than none.
/// [`LeaseOptions`] says what is too many. Those that are overdue then are *withheld*: they stay,
/// their status becomes [`Unknown`](crate::ServiceStatus::Unknown) (one that is
/// [`Draining`](crate::ServiceStatus::Draining) stays so), and [`Sweep::withheld`] names them.
/// Whoever renews goes on as before, and its status is what the next health check says. Others go
/// as soon as they are not too many any more, or when they were withheld for
/// [`hold`](LeaseOptions::hold). The last pod of a name is all of it, so it is withheld, too. A pod
/// that is removed by [`revoke`](Self::revoke) or by the registry goes at once, always.
///
/// # Clones
///
/// A clone is a handle of the same leases.
pub struct Leases<S> {
    pub(super) inner: Arc<Inner<S>>,
}

/// How many leases there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseStats {
    /// Leases that have not ended.
    pub leases: usize,
    /// Those of them whose pods the last sweep withheld.
    pub withheld: usize,
    /// Pods that sweeps have removed, ever.
    pub expired: u64,
}

impl<S: RegistryStore> Leases<S> {
    /// Leases for pods of `registry`.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::watch`] does.
    pub fn new(registry: Registry<S>, options: LeaseOptions) -> Result<Leases<S>> {
        Leases::with_clock(registry, options, Instant::now)
    }

    /// The same with a clock of the caller's, which must not go back.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::watch`] does.
    pub fn with_clock(
        registry: Registry<S>,
        options: LeaseOptions,
        clock: impl Fn() -> Instant + Send + Sync + 'static,
    ) -> Result<Leases<S>> {
        static HOMES: AtomicU64 = AtomicU64::new(0);
        let watch = registry.watch(Selection::All)?;
        let origin = clock();
        let inner = Inner {
            registry,
            home: HOMES.fetch_add(1, Relaxed),
            clock: Box::new(clock),
            origin,
            table: Mutex::new(Table::default()),
            sweeper: Mutex::new(Sweeper::new(watch, Guard::new(options))),
        };
        Ok(Leases {
            inner: Arc::new(inner),
        })
    }

    /// The registry whose pods these are.
    pub fn registry(&self) -> &Registry<S> {
        &self.inner.registry
    }

    /// Registers a pod, as [`Registry::register`] does, until `ttl` has passed without a
    /// renewal. With a `ttl` of zero the next sweep finds it ended; one of 500 years or more
    /// does not end. One commit.
    ///
    /// # Errors
    ///
    /// Fails as [`Registry::register`] does.
    pub fn register(&self, registration: ServiceRegistration, ttl: Duration) -> Result<Lease> {
        let service = self.registry().register(registration)?;
        self.inner.enter(&service, ttl)
    }

    /// Gives a lease to a pod that is registered, such as one that was restored from a dump;
    /// a lease that it has is lost. No commit. Where `service` is not registered any more, or
    /// anew, the answer is a lost lease.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::with_service`] does, but for a pod that is not there.
    pub fn grant(&self, service: &ServiceInfo, ttl: Duration) -> Result<Lease> {
        let (key, incarnation) = (service.key(), service.incarnation());
        if !self.inner.is_registered(key, incarnation)? {
            // Not entered: a record of another store, such as that before a restart, may have a
            // later incarnation than the pod that has the lease.
            let lost = Arc::new(self.inner.slot(service, ttl));
            lost.lose();
            self.inner.table().forget(key, incarnation);
            return Ok(Lease(lost));
        }
        // What removes it from here on is found by `enter`, or heard by the next sweep.
        self.inner.enter(service, ttl)
    }

    /// Puts off the end of a lease: from now on it has its whole time to live again. O(1): one
    /// atomic operation, no lock, no allocation, and nothing that the store notices.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`] where the pod has expired, was removed or was registered anew; and for a
    /// lease of other `Leases`. A removal that went past these `Leases` is known after the next
    /// sweep.
    pub fn renew(&self, lease: &Lease) -> Result<(), LeaseLost> {
        if lease.0.home != self.inner.home {
            return Err(LeaseLost);
        }
        lease.0.renew(self.inner.now())
    }

    /// Removes the pod of a lease together with its subscriptions, if it is still the one that
    /// the lease is of, and answers with what was removed. The guard has no say. One commit.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::commit_changes`] does; then the lease goes on.
    pub fn revoke(&self, lease: Lease) -> Result<Option<ServiceInfo>> {
        let slot = lease.0;
        if slot.home != self.inner.home {
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

    /// The lease of the pod that is registered under `key`, for a caller that knows its pods by
    /// their names: a server whose clients send heartbeats. Let it compare the
    /// [`incarnation`](Lease::incarnation), so that a late heartbeat of a pod does not renew the
    /// lease of the one that came in its place. O(1).
    pub fn find(&self, key: &str) -> Option<Lease> {
        self.inner.table().get(key).cloned().map(Lease)
    }

    /// Removes the pods whose leases have ended at `now`, a time of the
    /// [clock](Self::with_clock), but for those that are withheld. One commit, if there is
    /// anything to do. One sweep at a time: a second one waits.
    ///
    /// A pod whose removal fails has lost its lease, and the next sweep tries again. Do not call
    /// it inside a read closure of the store: it may wait for a sweep that waits for the closure.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::commit_changes`] and [`Watch::try_recv`](
    /// crate::changes::Watch::try_recv) do.
    pub fn sweep(&self, now: Instant) -> Result<Sweep> {
        let sweep = {
            let sweeper = self.inner.sweeper.lock();
            let mut sweeper = sweeper.unwrap_or_else(PoisonError::into_inner);
            self.inner.sweep(&mut sweeper, self.inner.nanos(now))?
        };
        note_sweep(sweep.expired.len(), sweep.withheld.len());
        Ok(sweep)
    }

    pub(super) fn sweep_now(&self) -> Result<Sweep> {
        self.sweep((self.inner.clock)())
    }

    /// How many leases there are. O(1).
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
