//! [`CheckOptions`].

use std::time::Duration;

/// How often pods are probed, and what is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckOptions {
    /// From the begin of one probe of a pod to that of the next, give or take the
    /// [jitter](Self::jitter_percent). At least a millisecond.
    pub interval: Duration,
    /// How much shorter or longer an interval may be, at random, so that pods that were
    /// registered together are not probed together for ever. At most 100.
    pub jitter_percent: u8,
    /// How long a probe may take.
    pub timeout: Duration,
    /// How many probes in a row must have succeeded before a pod is
    /// [`Healthy`](crate::ServiceStatus::Healthy). At least 1.
    pub rise: u32,
    /// How many in a row must have failed before it is
    /// [`Unhealthy`](crate::ServiceStatus::Unhealthy). At least 1.
    pub fall: u32,
    /// How many probes are under way at once. Others wait for their turn: let there be room for
    /// those that hang. At least 1.
    pub at_once: usize,
}

impl Default for CheckOptions {
    /// Every ten seconds, give or take a tenth; two seconds; twice up, three times down; 1,024
    /// at once.
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
