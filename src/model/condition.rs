//! What a batch may demand of the state before it, and what is found where that does
//! not hold.

use std::fmt;

use super::excerpt::Excerpt;
use super::revision::Revision;

/// What a condition expects of the record under a key. A newer time of its health check is no
/// change of a record: only
/// [`require_unchanged_since`](crate::Batch::require_unchanged_since) sees one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expected {
    /// There is none.
    Absent,
    /// There is one.
    Present,
    /// There is one, last changed at this revision: its
    /// [`revision`](crate::ServiceInfo::revision).
    Revision(Revision),
    /// There is one, registered at this revision: its
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

/// What [`replace_source`](crate::Batch::replace_source) does where a key belongs to
/// another source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnForeign {
    /// Reject the batch with a [`Conflict`].
    Reject,
    /// Leave that record alone, and go on. The answer of the commit counts it: one
    /// [`Skipped`](crate::changes::Difference::Skipped) for each.
    Skip,
}

/// A condition that can fail with a [`Conflict`]. `Debug` shows no more than 64 characters
/// of a text.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// [`require`](crate::Batch::require).
    Expected {
        /// `service:pod`
        key: Box<str>,
        /// What was expected there.
        expected: Expected,
    },
    /// [`require_unchanged_since`](crate::Batch::require_unchanged_since).
    UnchangedSince(Revision),
    /// Nobody saves over a record of another source.
    Source {
        /// `service:pod`
        key: Box<str>,
        /// Whose record was to be saved; `None` for no source.
        source: Option<Box<str>>,
    },
}

/// What was there instead. `Debug` shows no more than 64 characters of a text.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// No record.
    Absent,
    /// A record.
    Record {
        /// When it was last changed; [`Revision::ZERO`] where an earlier change of the same
        /// batch saved it.
        revision: Revision,
        /// When it was registered; [`Revision::ZERO`] as above.
        incarnation: Revision,
        /// Whose it is; `None` for no source.
        source: Option<Box<str>>,
    },
    /// A store at this revision.
    Revision(Revision),
}

/// A condition that did not hold, and what was found. Nothing was changed.
#[derive(Clone, PartialEq, Eq)]
pub struct Conflict {
    condition: Condition,
    found: Found,
}

impl Conflict {
    /// For stores from elsewhere that judge conditions themselves.
    pub fn new(condition: Condition, found: Found) -> Conflict {
        Conflict { condition, found }
    }

    /// Which condition did not hold.
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// What was found.
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
