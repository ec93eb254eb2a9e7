//! [`LeaseOptions`].

use std::time::Duration;

/// Defines when a sweep withholds pods instead of removing them.
///
/// If more than the given percentage of the pods of a name, or of all pods, expires within
/// [`window`](Self::window), the network may have failed and not the pods. The remaining
/// overdue pods are then withheld: see [`Leases`](super::Leases).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseOptions {
    /// The percentage of the pods of a name that may expire within the window, out of those
    /// that are registered or have expired in it. 100 allows all.
    pub percent_of_name: u8,
    /// The percentage of all pods that may expire within the window.
    pub percent_of_all: u8,
    /// How long an expired pod counts. Pods that fall silent together expire one after the
    /// other, within one time to live, so this should be at least as long. If it is zero, each
    /// sweep is judged by itself.
    pub window: Duration,
    /// The longest time for which a pod is withheld. Zero withholds none.
    pub hold: Duration,
}

impl Default for LeaseOptions {
    /// Half of a name, half of all pods, a window of one minute, and a hold of one minute.
    fn default() -> LeaseOptions {
        LeaseOptions {
            percent_of_name: 50,
            percent_of_all: 50,
            window: Duration::from_secs(60),
            hold: Duration::from_secs(60),
        }
    }
}
