//! [`LeaseOptions`].

use std::time::Duration;

/// How leases end where many do.
///
/// Where more pods of a name, or of all names, expire within [`window`](Self::window) than
/// the stated part of those that were there, it may be the network that has failed, and not
/// they. Then those that have not gone yet are withheld: see [`Leases`](super::Leases).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseOptions {
    /// How many pods of a name may expire within the window, in per cent of those that are
    /// registered or have expired in it. 100: all.
    pub percent_of_name: u8,
    /// How many of all.
    pub percent_of_all: u8,
    /// How long an expired pod is counted. Pods that fall silent together expire one after
    /// the other, within a time to live: let this be no shorter. Zero: each sweep is judged
    /// by itself.
    pub window: Duration,
    /// How long a pod is withheld at most. Zero: none is.
    pub hold: Duration,
}

impl Default for LeaseOptions {
    /// Half of a name, and half of all; a minute; a minute.
    fn default() -> LeaseOptions {
        LeaseOptions {
            percent_of_name: 50,
            percent_of_all: 50,
            window: Duration::from_secs(60),
            hold: Duration::from_secs(60),
        }
    }
}
