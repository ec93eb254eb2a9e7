//! [`CheckOptions`]: intervals and thresholds.

use std::time::Duration;

/// How often pods are probed, and how results change their status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckOptions {
    /// The time from the start of one probe of a pod to the start of the next, plus or minus
    /// the [jitter](Self::jitter_percent). At least a millisecond.
    pub interval: Duration,
    /// The maximum random change of an interval, in percent, so that pods that were registered
    /// together are not always probed together. At most 100.
    pub jitter_percent: u8,
    /// The maximum duration of a probe.
    pub timeout: Duration,
    /// The number of consecutive successes after which a pod is
    /// [`Healthy`](crate::ServiceStatus::Healthy). At least 1.
    pub rise: u32,
    /// The number of consecutive failures after which a pod is
    /// [`Unhealthy`](crate::ServiceStatus::Unhealthy). At least 1.
    pub fall: u32,
    /// The maximum number of running probes. Other probes wait: leave room for probes that
    /// hang. At least 1.
    pub at_once: usize,
}

impl Default for CheckOptions {
    /// An interval of 10 s with 10 % jitter, a timeout of 2 s, 2 successes or 3 failures to
    /// change a status, and 1,024 probes at once.
    fn default() -> CheckOptions {
        CheckOptions {
            interval: Duration::from_secs(10),
            jitter_percent: 10,
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
            at_once: 1024,
        }
    }
}
