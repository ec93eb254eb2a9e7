//! How long to wait before the next attempt.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Doubles the wait with each attempt up to a maximum, and takes a random part of it, so that many
/// replicas do not reconnect at the same time. Only progress [resets](Backoff::reset) it; a
/// connection that is accepted and then cut is not progress.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    attempts: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Backoff {
        Backoff {
            first,
            most,
            attempts: 0,
        }
    }

    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Returns a random duration between a quarter and the whole of this attempt's wait.
    pub(crate) fn next(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.attempts.min(20));
        self.attempts += 1;
        let due = doubled.min(self.most);
        let random = RandomState::new().hash_one(self.attempts) % 1_024;
        due / 4 + due.mul_f64(0.75) * u32::try_from(random).unwrap_or(0) / 1_024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_its_bound_and_differs_each_time() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut backoff = Backoff::new(first, most);
        for attempt in 0..40 {
            let due = (first * (1 << attempt.min(16))).min(most);
            let wait = backoff.next();
            assert!(wait >= due / 4 && wait <= due, "{attempt}: {wait:?}");
        }
        let some: std::collections::HashSet<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(some.len() > 10);
        backoff.reset();
        assert!(backoff.next() <= first);
    }
}
