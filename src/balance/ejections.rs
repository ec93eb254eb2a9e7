//! [`Ejections`]: pods that the caller found failing.
//!
//! An ejected pod is identified by the address of its registration, which no health report changes.
//! The list keeps a clone, so that no other record gets that address. The limit is checked twice:
//! when a pod is ejected, and in each pick, because pods may have gone since. If a pick finds too
//! many, it leaves out none of them, rather than an arbitrary part. While no pod is ejected, a pick
//! pays one load for this; otherwise it takes the read lock, and a binary search for each healthy
//! pod.

use std::fmt;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::balancer::clamp_fraction;
use super::pods::Pods;
use crate::model::record::ServiceInfo;
use crate::model::status::ServiceStatus;
use crate::sync::atomic::AtomicUsize;
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A list of pods that picks leave out for a time, because calls to them failed, whatever their
/// health checks say.
///
/// At most a fraction of the healthy pods of a name is left out, so that a caller whose own network
/// fails does not leave out every pod. If pods have gone since, and more than that fraction would
/// be left out, none is, until there are enough pods again.
///
/// A pod that has registered again counts as a new pod, and is not left out. Threads may share one
/// list for all names: a pick takes no lock while no pod is ejected, and a read lock otherwise.
///
/// ```
/// use std::time::{Duration, Instant};
/// use service_registry::balance::{Balancer, Ejections};
/// use service_registry::{ServiceInfo, ServiceRegistration, ServiceStatus};
///
/// let (now, soon) = (Instant::now(), Duration::from_secs(30));
/// let healthy = |name: &str| {
///     let pod = ServiceInfo::new(ServiceRegistration::new("checkout", name))?;
///     pod.with_health(ServiceStatus::Healthy, std::time::SystemTime::now())
/// };
/// let pods = [healthy("pod-1")?, healthy("pod-2")?];
///
/// let ejections = Ejections::new(0.5);
/// assert!(ejections.eject(&pods[0], &pods, now, soon));
/// assert!(!ejections.eject(&pods[1], &pods, now, soon), "that would be all of them");
///
/// let balancer = Balancer::new();
/// let picked = balancer.among(&pods).sparing(&ejections, now).random(7);
/// assert_eq!(picked, Some(&pods[1]));
/// # Ok::<(), service_registry::StoreError>(())
/// ```
pub struct Ejections {
    most: f64,
    /// The length of the list.
    count: AtomicUsize,
    /// In the order of the addresses of registrations.
    list: RwLock<Vec<Ejection>>,
}

/// An ejected pod. While its record is here, no other registration has that address.
struct Ejection {
    pod: ServiceInfo,
    /// `None` if the time is beyond the range of the clock.
    until: Option<Instant>,
}

/// Returns the address of the registration, which stays the same whatever health is reported.
fn address(pod: &ServiceInfo) -> usize {
    std::ptr::from_ref(pod.registration()).addr()
}

impl Ejections {
    /// Creates an empty list. `most` is the largest fraction of the healthy pods of a name that may
    /// be left out, between 0, for none, and 1.
    #[must_use]
    pub fn new(most: f64) -> Ejections {
        Ejections {
            most: clamp_fraction(most),
            count: AtomicUsize::new(0),
            list: RwLock::new(Vec::new()),
        }
    }

    /// Returns how many of `healthy` pods may be left out.
    #[allow(clippy::cast_precision_loss)] // far fewer than 2^53
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most `healthy`
    pub(super) fn limit_for(&self, healthy: usize) -> usize {
        // The product of ten pods and a fraction such as 0.3 may be a little less than 3.
        (healthy as f64 * self.most + 1e-9) as usize
    }

    /// Ejects `pod`, which is one of `pods`, for `time`. Returns whether the pod is now left out;
    /// `false` if too many would be. A pod that is ejected already stays so until the later of the
    /// two ends.
    ///
    /// O(*p* log *e*) for *p* pods and *e* ejected ones, and O(*e*): each call removes the pods
    /// whose time is over, and those of which no other clone exists.
    pub fn eject<'p>(
        &self,
        pod: &ServiceInfo,
        pods: impl Pods<'p>,
        now: Instant,
        time: Duration,
    ) -> bool {
        let until = now.checked_add(time);
        let mut list = self.write();
        list.retain(|ejected| ejected.is_out(now) && !ejected.pod.is_only_clone());
        let place = list.binary_search_by_key(&address(pod), |ejected| address(&ejected.pod));
        let is_out = match place {
            Ok(known) => {
                let known = &mut list[known].until;
                *known = known.zip(until).map(|(one, two)| one.max(two));
                true
            }
            Err(place) => {
                let (mut healthy, mut out) = (0, 0);
                for pod in pods.pods() {
                    if pod.status() == ServiceStatus::Healthy && pod.weight() > 0 {
                        healthy += 1;
                        out += usize::from(EjectedPods(&list, now).contains(pod));
                    }
                }
                let is_allowed = out < self.limit_for(healthy);
                if is_allowed {
                    let pod = pod.clone();
                    list.insert(place, Ejection { pod, until });
                }
                is_allowed
            }
        };
        self.count.store(list.len(), Relaxed);
        is_out
    }

    /// Ends the ejection of `pod` before its time. O(ejected pods).
    pub fn readmit(&self, pod: &ServiceInfo) {
        let mut list = self.write();
        list.retain(|ejected| address(&ejected.pod) != address(pod));
        self.count.store(list.len(), Relaxed);
    }

    /// Returns whether `pod` is ejected at the time `now`. (A pick does not leave it out if too
    /// many are.) O(log ejected pods).
    pub fn is_ejected(&self, pod: &ServiceInfo, now: Instant) -> bool {
        self.read()
            .is_some_and(|guard| EjectedPods::new(&guard, now).contains(pod))
    }

    /// Locks and returns the list, unless it is empty.
    pub(super) fn read(&self) -> Option<EjectionsGuard<'_>> {
        // Relaxed: a pick that reads a stale count behaves as if it had run a moment earlier. The
        // lock orders the list.
        (self.count.load(Relaxed) > 0)
            .then(|| EjectionsGuard(self.list.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Ejection>> {
        // If the lock is poisoned, a caller's `pods` has panicked, before `eject` inserted a pod:
        // the list is whole.
        self.list.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ejection {
    fn is_out(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// The list, locked.
pub(super) struct EjectionsGuard<'e>(RwLockReadGuard<'e, Vec<Ejection>>);

/// The pods that are ejected at a time.
#[derive(Clone, Copy)]
pub(super) struct EjectedPods<'e>(&'e [Ejection], Instant);

impl<'e> EjectedPods<'e> {
    pub(super) fn new(guard: &'e EjectionsGuard<'_>, now: Instant) -> EjectedPods<'e> {
        EjectedPods(&guard.0, now)
    }

    pub(super) fn contains(self, pod: &ServiceInfo) -> bool {
        let EjectedPods(list, now) = self;
        let place = list.binary_search_by_key(&address(pod), |ejected| address(&ejected.pod));
        place.is_ok_and(|place| list[place].is_out(now))
    }
}

impl fmt::Debug for Ejections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ejections")
            .field("most", &self.most)
            .field("count", &self.count.load(Relaxed))
            .finish_non_exhaustive()
    }
}
