//! What can go wrong, said so that the caller can mend it.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// The result of every operation on a store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why a store refused an operation. Whatever it refuses, it has left untouched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// No service is registered under this key.
    NotFound(Box<str>),
    /// A name, a key or a group is not well formed; nothing was stored.
    Invalid(Box<InvalidInput>),
    /// A change of a batch failed, and so nothing of the batch was applied.
    BatchRejected {
        /// Position of the first change that failed, counted from 0.
        index: usize,
        /// What that change was: the name of the [`Batch`](crate::Batch) method.
        operation: &'static str,
        /// Why it failed.
        source: Box<StoreError>,
    },
    /// The store has been closed. Or this is a child process, made by `fork`, and the store
    /// is a `WorkerStore`, whose worker is in the parent.
    Closed,
    /// The operation was called from inside a read closure of the same store
    /// ([`with_service`](crate::RegistryStore::with_service)), where it would
    /// wait for itself. Return what you need from the closure, then call again.
    Reentrant,
}

impl StoreError {
    pub(crate) fn not_found(key: &str) -> Self {
        StoreError::NotFound(key.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::NotFound(key) => {
                write!(f, "no service is registered under {}", Excerpt(key))
            }
            StoreError::Invalid(input) => input.fmt(f),
            StoreError::BatchRejected {
                index,
                operation,
                source,
            } => write!(
                f,
                "the batch was rejected, nothing of it was applied: \
                 change {index} (counted from 0), `{operation}`: {source}"
            ),
            StoreError::Closed => f.write_str("the store is closed"),
            StoreError::Reentrant => f.write_str(
                "called from inside a read closure of the same store, where it would wait \
                 for itself; return from the closure first",
            ),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StoreError::BatchRejected { source, .. } => Some(&**source),
            _ => None,
        }
    }
}

impl From<InvalidInput> for StoreError {
    fn from(input: InvalidInput) -> Self {
        StoreError::Invalid(Box::new(input))
    }
}

/// Which input was refused, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidInput {
    field: Cow<'static, str>,
    value: Box<str>,
    problem: Problem,
}

impl InvalidInput {
    pub(crate) fn new(
        field: impl Into<Cow<'static, str>>,
        value: &str,
        problem: Problem,
    ) -> InvalidInput {
        InvalidInput {
            field: field.into(),
            value: value.into(),
            problem,
        }
    }

    /// The input that was refused: `service_name`, `subscriptions[2]`, `subscriber key`, ...
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What was given.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl fmt::Display for InvalidInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem {
            Problem::Empty => write!(f, "{} is empty", self.field),
            _ => write!(
                f,
                "{} {} {}",
                self.field,
                Excerpt(&self.value),
                self.problem
            ),
        }
    }
}

impl Error for InvalidInput {}

/// What is wrong with an input.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// It has no characters.
    Empty,
    /// It is, or holds, a name of more bytes than
    /// [`MAX_NAME_LEN`](crate::MAX_NAME_LEN).
    TooLong {
        /// The length of the name in bytes.
        len: usize,
        /// The longest that is accepted, in bytes.
        max: usize,
    },
    /// A service name holds a `:`, which would end it inside a key.
    Colon {
        /// Where, in bytes from the start.
        at: usize,
    },
    /// A key has no `:` between service and pod.
    NoColon,
    /// A key has nothing before its first `:`.
    NoService,
    /// A key has nothing after its first `:`.
    NoPod,
    /// Not one of the names that are known here.
    Unknown {
        /// Those that are.
        expected: &'static str,
    },
    /// Known, and not to be had here.
    Unavailable {
        /// Why, and what to do instead.
        because: &'static str,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Empty => f.write_str("is empty"),
            Problem::TooLong { len, max } => {
                write!(f, "holds a name of {len} bytes; at most {max} are accepted")
            }
            Problem::Colon { at } => write!(
                f,
                "holds `:` at byte {at}; a service name may not, because the first `:` of a key ends it"
            ),
            Problem::NoColon => f.write_str("has no `:`; a key reads `service:pod`"),
            Problem::NoService => {
                f.write_str("names no service before its `:`; a key reads `service:pod`")
            }
            Problem::NoPod => f.write_str("names no pod after its `:`; a key reads `service:pod`"),
            Problem::Unknown { expected } => write!(f, "is not known; expected {expected}"),
            Problem::Unavailable { because } => write!(f, "is not available: {because}"),
        }
    }
}

/// At most 64 characters of an input, escaped: it may come from the network
/// and end in a log.
struct Excerpt<'a>(&'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(64) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}...", &self.0[..end]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_escape_and_shorten_what_came_from_outside() {
        let error = StoreError::not_found("a\nb:\u{1b}[31m");
        assert_eq!(
            error.to_string(),
            r#"no service is registered under "a\nb:\u{1b}[31m""#
        );
        let long = StoreError::not_found(&"ü".repeat(500)).to_string();
        assert!(long.ends_with("ü\"..."), "{long}");
        assert!(long.chars().count() < 110, "{long}");
    }

    #[test]
    fn an_error_takes_no_more_room_than_a_service() {
        assert!(size_of::<StoreError>() <= size_of::<crate::ServiceInfo>());
    }
}
