//! The pods that are registered: by number, in names of equal size.
//!
//! Pod 427 of a fleet with ten pods per name is `service-00042:pod-7`. It subscribes to the names
//! before its own, so that all groups have equally many subscribers.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use service_registry::{
    Batch, Protocol, Provider, ServiceInfo, ServiceRegistration, ServiceStatus,
};

use crate::scenario::FleetSize;

/// The source of randomness of the workload: the same on every platform.
pub type Rng = rand::rngs::Xoshiro256PlusPlus;

/// Creates a random number generator from a seed and its purpose.
pub fn rng(seed: u64, purpose: &str) -> Rng {
    // FNV-1a
    let purpose = purpose.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Rng::seed_from_u64(seed ^ purpose)
}

/// Returns the numbers below `n` in random order.
pub fn shuffled(n: usize, rng: &mut Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(rng);
    order
}

/// The instant in the past at which all pods of a fleet registered.
pub fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// Returns the instant `seconds` after [`epoch`].
pub fn later(seconds: u64) -> SystemTime {
    epoch() + Duration::from_secs(seconds)
}

/// Returns the time of a pod's first check; each pod has another one.
pub fn first_check(pod: usize) -> SystemTime {
    epoch() + Duration::from_nanos(pod as u64)
}

/// Pods by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fleet(pub FleetSize);

impl Fleet {
    /// Returns the number of names.
    pub fn names(self) -> usize {
        self.0.services.div_ceil(self.0.pods_per_name).max(1)
    }

    /// Returns the name of a pod's service.
    pub fn name(self, pod: usize) -> String {
        format!("service-{:05}", pod / self.0.pods_per_name)
    }

    /// Returns the key of a pod.
    pub fn key(self, pod: usize) -> String {
        format!("{}:pod-{}", self.name(pod), pod % self.0.pods_per_name)
    }

    /// Returns the key of a pod that never registers, of the same length as the others.
    pub fn absent_key(self, pod: usize) -> String {
        self.key(pod).replacen("service-", "absent--", 1)
    }

    /// Returns the groups to which a pod is subscribed.
    pub fn groups(self, pod: usize) -> Vec<String> {
        let FleetSize { pods_per_name: pods, subscribers_per_group: subscribers, .. } = self.0;
        let before = (0..).take_while(|before| pod % pods + before * pods < subscribers);
        let names = self.names();
        let group = |before| (pod / pods + 2 * names - (before + 1) % names) % names;
        before.map(|before| self.name(group(before) * pods)).collect()
    }

    /// Creates a new record of a pod, which shares nothing with another.
    ///
    /// # Panics
    ///
    /// Never panics: the names of a fleet are valid.
    pub fn record(self, pod: usize) -> ServiceInfo {
        let [_, b, c, d] = u32::try_from(pod).unwrap_or(u32::MAX).to_be_bytes();
        let ip = Ipv4Addr::new(10, b, c, d);
        let registration = ServiceRegistration {
            service_name: self.name(pod),
            pod_name: format!("pod-{}", pod % self.0.pods_per_name),
            providers: vec![Provider {
                protocol: Protocol::Http,
                host: IpAddr::V4(ip).into(),
                port: 8080,
            }],
            health_check_url: format!("http://{ip}:8080/health"),
            notification_url: format!("http://{ip}:8080/notify"),
            subscriptions: self.groups(pod),
            ..ServiceRegistration::default()
        };
        ServiceInfo::new(registration)
            .and_then(|info| info.with_registered_at(epoch()))
            .and_then(|info| info.with_health(ServiceStatus::Healthy, first_check(pod)))
            .expect("good names and times")
    }
}

/// Adds a pod to a batch, and subscribes it to its groups.
pub(crate) fn register(batch: &mut Batch, info: ServiceInfo) {
    for group in info.subscriptions() {
        batch.add_subscription(info.key(), group);
    }
    batch.save_service(info);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn holds(services: usize, pods_per_name: usize, subscribers_per_group: usize) -> FleetSize {
        FleetSize { services, pods_per_name, subscribers_per_group }
    }

    #[test]
    fn keys_are_19_bytes_long_and_those_of_the_records() {
        let fleet = Fleet(holds(1_000_000, 10, 10));
        for pod in [0, 9, 10, 427, 999_999] {
            assert_eq!((fleet.key(pod).len(), fleet.absent_key(pod).len()), (19, 19));
            assert_eq!(*fleet.record(pod).key(), *fleet.key(pod));
        }
        assert_eq!(fleet.key(427), "service-00042:pod-7");
    }

    #[test]
    fn each_group_has_as_many_subscribers_as_it_should() {
        for (pods, subscribers) in [(10, 10), (10, 1), (10, 35), (100, 10), (1, 3), (10, 0)] {
            let fleet = Fleet(holds(1_000, pods, subscribers));
            let mut groups: BTreeMap<String, usize> = BTreeMap::new();
            for group in (0..1_000).flat_map(|pod| fleet.groups(pod)) {
                *groups.entry(group).or_default() += 1;
            }
            assert!(groups.values().all(|count| *count == subscribers), "{pods}, {subscribers}");
            assert_eq!(groups.len(), if subscribers == 0 { 0 } else { fleet.names() });
        }
    }
}
