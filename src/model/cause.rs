//! [`Cause`]: why a record was removed.

use std::fmt;

/// Why a record was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// It was deleted, or its pod was unregistered.
    Deleted,
    /// Its lease ended.
    Expired,
    /// Its source no longer lists it, or the contents of the whole store were
    /// [replaced](crate::Batch::replace_all).
    Replaced,
    /// The whole store was cleared.
    Cleared,
    /// It still exists, but no longer matches the
    /// [labels](crate::changes::Selection::with_labels) of the watch.
    Deselected,
    /// The cause is not known.
    Unknown,
}

impl Cause {
    /// Returns its name: `deleted`, `expired`, `replaced`, `cleared`, `deselected` or
    /// `unknown`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::Deleted => "deleted",
            Cause::Expired => "expired",
            Cause::Replaced => "replaced",
            Cause::Cleared => "cleared",
            Cause::Deselected => "deselected",
            Cause::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
