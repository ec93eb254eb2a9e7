//! The conditions of a batch, and the conflict that is returned if one does not hold.

use std::fmt;

use super::excerpt::Excerpt;
use super::revision::Revision;

/// The state that a condition expects under a key. A health check that brings only a newer time
/// does not change a record; only
/// [`require_unchanged_since`](crate::Batch::require_unchanged_since) notices it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expected {
    /// There is no record.
    Absent,
    /// There is a record.
    Present,
    /// There is a record that was last changed at this revision: its
    /// [`revision`](crate::ServiceInfo::revision).
    Revision(Revision),
    /// There is a record that was registered at this revision: its
    /// [`incarnation`](crate::ServiceInfo::incarnation).
    Incarnation(Revision),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expected::Absent => f.write_str("no record"),
            Expected::Present => f.write_str("a record"),
            Expected::Revision(revision) => write!(f, "a record of revision {revision}"),
            Expected::Incarnation(revision) => write!(f, "a record of incarnation {revision}"),
        }
    }
}

/// What [`replace_source`](crate::Batch::replace_source) does if a key belongs to another
/// source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnForeign {
    /// Rejects the batch with a [`Conflict`].
    Reject,
    /// Leaves that record alone, and goes on. The commit reports one
    /// [`Skipped`](crate::changes::Difference::Skipped) for each such record.
    Skip,
}

/// A condition that can fail with a [`Conflict`]. `Debug` shows at most 64 characters of each
/// text.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// [`require`](crate::Batch::require).
    Expected {
        /// `service:pod`
        key: Box<str>,
        /// What was expected under the key.
        expected: Expected,
    },
    /// [`require_unchanged_since`](crate::Batch::require_unchanged_since).
    UnchangedSince(Revision),
    /// No record replaces one of another source.
    Source {
        /// `service:pod`
        key: Box<str>,
        /// The source of the record that was to be saved; `None` for no source.
        source: Option<Box<str>>,
    },
}

/// What was found instead. `Debug` shows at most 64 characters of each text.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// No record.
    Absent,
    /// A record.
    Record {
        /// When the record was last changed; [`Revision::ZERO`] if an earlier change of the
        /// same batch saved it.
        revision: Revision,
        /// When the record was registered; [`Revision::ZERO`] as above.
        incarnation: Revision,
        /// The source of the record; `None` for no source.
        source: Option<Box<str>>,
    },
    /// A store at this revision.
    Revision(Revision),
}

/// A condition that did not hold, and what was found instead. The store is unchanged.
#[derive(Clone, PartialEq, Eq)]
pub struct Conflict {
    condition: Condition,
    found: Found,
}

impl Conflict {
    /// Creates a conflict. For stores outside this crate that evaluate conditions themselves.
    pub fn new(condition: Condition, found: Found) -> Conflict {
        Conflict { condition, found }
    }

    /// Returns the condition that did not hold.
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Returns what was found.
    pub fn found(&self) -> &Found {
        &self.found
    }
}

/// The name of a source, as a message shows it.
struct Source<'a>(&'a Option<Box<str>>);

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(source) => write!(f, "source {}", Excerpt::new(source)),
            None => f.write_str("no source"),
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.condition {
            Condition::Expected { key, expected } => {
                write!(f, "expected {expected} under {}", Excerpt::new(key))?;
            }
            Condition::UnchangedSince(revision) => {
                write!(
                    f,
                    "expected nothing to have changed since revision {revision}"
                )?;
            }
            Condition::Source { key, source } => {
                let (key, source) = (Excerpt::new(key), Source(source));
                write!(
                    f,
                    "a record of {source} may not replace that of another under {key}"
                )?;
            }
        }
        match &self.found {
            Found::Absent => f.write_str("; there is none"),
            Found::Revision(revision) => write!(f, "; the store is at revision {revision}"),
            Found::Record {
                revision,
                incarnation,
                source,
            } => write!(
                f,
                "; there is one of revision {revision}, incarnation {incarnation} and {}",
                Source(source)
            ),
        }
    }
}

fn excerpt(text: Option<&str>) -> Option<Excerpt<'_>> {
    text.map(Excerpt::new)
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Expected { key, expected } => f
                .debug_struct("Expected")
                .field("key", &Excerpt::new(key))
                .field("expected", expected)
                .finish(),
            Condition::UnchangedSince(revision) => {
                f.debug_tuple("UnchangedSince").field(revision).finish()
            }
            Condition::Source { key, source } => f
                .debug_struct("Source")
                .field("key", &Excerpt::new(key))
                .field("source", &excerpt(source.as_deref()))
                .finish(),
        }
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Absent => f.write_str("Absent"),
            Found::Record {
                revision,
                incarnation,
                source,
            } => f
                .debug_struct("Record")
                .field("revision", revision)
                .field("incarnation", incarnation)
                .field("source", &excerpt(source.as_deref()))
                .finish(),
            Found::Revision(revision) => f.debug_tuple("Revision").field(revision).finish(),
        }
    }
}

/// Shows what `Display` does, and no more of what came from outside.
impl fmt::Debug for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Conflict")
            .field(&format_args!("{self}"))
            .finish()
    }
}
