//! [`Revision`]: the number of a store's state.

use std::fmt;

/// The number of a store's state. It starts at 0, and grows by one with each commit
/// that changes something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    /// The revision of a store before the first change.
    pub const ZERO: Revision = Revision(0);

    /// Returns the number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Returns the revision that follows this one.
    ///
    /// # Panics
    ///
    /// Panics at `u64::MAX`, which has no successor. No store gets there: at a
    /// billion commits a second it takes 584 years.
    #[inline]
    #[must_use]
    pub const fn next(self) -> Revision {
        match self.0.checked_add(1) {
            Some(next) => Revision(next),
            None => panic!("no revision follows the last one, 18446744073709551615"),
        }
    }
}

impl From<u64> for Revision {
    fn from(number: u64) -> Revision {
        Revision(number)
    }
}

impl From<Revision> for u64 {
    fn from(revision: Revision) -> u64 {
        revision.0
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_count_up_to_the_last() {
        assert_eq!(Revision::ZERO.next(), Revision(1));
        assert_eq!(Revision(u64::MAX - 1).next(), Revision(u64::MAX));
    }

    /// Without overflow checks it used to start again at 0.
    #[test]
    #[should_panic(expected = "no revision follows the last one")]
    fn no_revision_follows_the_last_one() {
        let _ = Revision(u64::MAX).next();
    }
}
