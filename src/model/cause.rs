//! [`Cause`]: why a record went.

use std::fmt;

/// Why a record was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Somebody deleted it, or unregistered the pod.
    Deleted,
    /// Its lease ended.
    Expired,
    /// Its source does not have it any more, or what the whole store was
    /// [replaced](crate::Batch::replace_all) by.
    Replaced,
    /// The whole store was cleared.
    Cleared,
    /// It is there, and what a watch [selects](crate::changes::Selection::with_labels) does not
    /// hold of it any more.
    Deselected,
    /// It cannot be told.
    Unknown,
}

impl Cause {
    /// Its name: `deleted`, `expired`, `replaced`, `cleared`, `deselected` or
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
