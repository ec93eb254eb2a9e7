//! Ejected pods, which the caller found failing.
//!
//! An ejected pod is identified by the address of its registration, which health reports do not
//! change. A clone of the record is kept, so that no other record gets that address. This costs one
//! search for each pod, and nothing while no pod is ejected. The limit is checked twice: when a pod
//! is ejected, and in each pick, since pods may have been removed in between. If the limit is
//! exceeded then, no pod is left out, rather than an arbitrary choice of them.

use std::fmt;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::balancer::part;
use super::pods::Pods;
use crate::model::record::ServiceInfo;
use crate::model::status::ServiceStatus;
use crate::sync::atomic::AtomicUsize;
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Pods that are left out for a time because a caller found them failing, whatever their health
/// checks say.
///
/// At most a fraction of the healthy pods of a service is left out, so that a caller whose own
/// network fails does not leave out everything. If pods have been removed since, and more than that
/// fraction would be left out, none is, until there are enough pods again.
///
/// A pod that registers again counts as a new pod, and is not left out. Threads may share one value
/// for all services: a pick takes no lock while no pod is ejected, and a shared lock otherwise.
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
    list: RwLock<Vec<Ejected>>,
}

/// An entry of the list, which is sorted by the addresses of registrations. While the entry keeps
/// its record, no other record has that address.
struct Ejected {
    pod: ServiceInfo,
    /// `None` if the end is beyond the range of the clock.
    until: Option<Instant>,
}

/// Returns the address of the registration, which stays the same whatever health is reported.
fn address(pod: &ServiceInfo) -> usize {
    std::ptr::from_ref(pod.registration()).addr()
}

impl Ejections {
    /// Creates an empty list that leaves out at most the fraction `most` of the healthy pods of a
    /// service: between 0, for none, and 1.
    #[must_use]
    pub fn new(most: f64) -> Ejections {
        Ejections {
            most: part(most),
            count: AtomicUsize::new(0),
            list: RwLock::new(Vec::new()),
        }
    }

    /// Returns how many of `healthy` pods may be left out.
    #[allow(clippy::cast_precision_loss)] // far fewer than 2^53
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most `healthy`
    pub(super) fn most_of(&self, healthy: usize) -> usize {
        // The product may be slightly too small: 10 pods and 0.3 must give 3.
        (healthy as f64 * self.most + 1e-9) as usize
    }

    /// Leaves out `pod`, which is one of `pods`, for `time`. Returns whether it is left out, which
    /// it is not if that would exceed the limit. A pod that is left out already stays so until the
    /// later of the two ends.
    ///
    /// O(*p*), and O(number of ejected pods): entries that have ended, or whose record has no other
    /// clones, are removed.
    pub fn eject<'p>(
        &self,
        pod: &ServiceInfo,
        pods: impl Pods<'p>,
        now: Instant,
        time: Duration,
    ) -> bool {
        let until = now.checked_add(time);
        let mut list = self.write();
        list.retain(|ejected| ejected.is_out(now) && !ejected.pod.is_of_nobody_else());
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
                        out += usize::from(Out(&list, now).has(pod));
                    }
                }
                let may = out < self.most_of(healthy);
                if may {
                    let pod = pod.clone();
                    list.insert(place, Ejected { pod, until });
                }
                may
            }
        };
        self.count.store(list.len(), Relaxed);
        is_out
    }

    /// Ends the ejection of `pod`. O(number of ejected pods).
    pub fn readmit(&self, pod: &ServiceInfo) {
        let mut list = self.write();
        list.retain(|ejected| address(&ejected.pod) != address(pod));
        self.count.store(list.len(), Relaxed);
    }

    /// Returns whether `pod` is ejected at the time `now`; a pick ignores that if the limit is
    /// exceeded. O(log(number of ejected pods)).
    pub fn is_ejected(&self, pod: &ServiceInfo, now: Instant) -> bool {
        self.read()
            .is_some_and(|guard| Out::new(&guard, now).has(pod))
    }

    /// Locks the list for reading, unless it is empty.
    pub(super) fn read(&self) -> Option<Guard<'_>> {
        // Relaxed: a late reader picks as it would have a moment before. The lock orders the list.
        (self.count.load(Relaxed) > 0)
            .then(|| Guard(self.list.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Ejected>> {
        // The caller's `pods` may have panicked. The list is still consistent then.
        self.list.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ejected {
    fn is_out(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// The list, locked for reading.
pub(super) struct Guard<'e>(RwLockReadGuard<'e, Vec<Ejected>>);

/// The pods that are ejected at a given time.
#[derive(Clone, Copy)]
pub(super) struct Out<'e>(&'e [Ejected], Instant);

impl<'e> Out<'e> {
    pub(super) fn new(guard: &'e Guard<'_>, now: Instant) -> Out<'e> {
        Out(&guard.0, now)
    }

    pub(super) fn has(self, pod: &ServiceInfo) -> bool {
        let Out(list, now) = self;
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
