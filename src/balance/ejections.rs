//! Pods that the caller found failing.
//!
//! An ejected pod is known by the address of its registration, which no health report changes. A clone
//! is kept, so that no other record gets that address. It costs one comparison for each pod, and none
//! while nobody is ejected. How many may be is checked twice: when one is ejected, and in each pick,
//! since pods may have gone since; then nobody is left out, rather than an arbitrary part of them.

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

/// Pods that are left out for a time, because whoever called them found them failing, whatever
/// their health checks say.
///
/// At most a part of the healthy pods of a name is left out, so that a caller whose own network
/// fails does not leave out everybody. Where pods have gone since, and more than that part would
/// be left out, nobody is, until there are enough again.
///
/// A pod that has registered anew is another one, and is not left out. Threads may share one of
/// these for all names: a pick takes no lock while nobody is ejected, and a shared one otherwise.
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
    /// How many are in the list.
    count: AtomicUsize,
    list: RwLock<Vec<Ejected>>,
}

/// In the order of the addresses of registrations. While a record is here, no other one has that
/// address.
struct Ejected {
    pod: ServiceInfo,
    /// `None` for a time that no clock reaches.
    until: Option<Instant>,
}

/// A registration has one address for its life, whatever health is reported.
fn address(pod: &ServiceInfo) -> usize {
    std::ptr::from_ref(pod.registration()).addr()
}

impl Ejections {
    /// Nobody yet, and at most the part `most` of the healthy pods of a name: between 0, for nobody,
    /// and 1.
    #[must_use]
    pub fn new(most: f64) -> Ejections {
        Ejections {
            most: part(most),
            count: AtomicUsize::new(0),
            list: RwLock::new(Vec::new()),
        }
    }

    /// How many of so many healthy pods may be left out.
    #[allow(clippy::cast_precision_loss)] // far fewer than 2^53
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most `healthy`
    pub(super) fn most_of(&self, healthy: usize) -> usize {
        // Ten pods and 0.3 are three, though the float is a little less.
        (healthy as f64 * self.most + 1e-9) as usize
    }

    /// Leaves out `pod`, which is one of `pods`, for a time; answers whether it does. It does not
    /// where too many would be left out. One that is left out already stays so for the longer of the
    /// two times. O(*p*), and O(all that are left out): those are forgotten whose time is over, or of
    /// whom nobody else has a record any more.
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

    /// Leaves out `pod` no more, before its time. O(all that are left out).
    pub fn readmit(&self, pod: &ServiceInfo) {
        let mut list = self.write();
        list.retain(|ejected| address(&ejected.pod) != address(pod));
        self.count.store(list.len(), Relaxed);
    }

    /// Whether `pod` is left out at that time, unless too many are. O(log all that are left out).
    pub fn is_ejected(&self, pod: &ServiceInfo, now: Instant) -> bool {
        self.read()
            .is_some_and(|guard| Out::new(&guard, now).has(pod))
    }

    /// The list, if there is anybody in it.
    pub(super) fn read(&self) -> Option<Guard<'_>> {
        // Relaxed: who finds out late picks as a moment before. The lock orders the list.
        (self.count.load(Relaxed) > 0)
            .then(|| Guard(self.list.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Ejected>> {
        // A caller's `pods` may have panicked; then nothing was changed.
        self.list.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ejected {
    fn is_out(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// Those who are in the list.
pub(super) struct Guard<'e>(RwLockReadGuard<'e, Vec<Ejected>>);

/// Those who are out at a time.
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
