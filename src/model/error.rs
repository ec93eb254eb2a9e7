//! The errors of stores, with what a caller needs to correct them.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use super::condition::Conflict;
use super::excerpt::Excerpt;

/// The result of every operation on a store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// The reason why a store refused an operation. A refused operation leaves the store
/// unchanged.
///
/// Neither `Display` nor `Debug` shows more than 64 characters of an input. `Display`
/// includes the cause, so [`source`](Error::source) does not repeat it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// No service is registered under this key.
    NotFound(Box<str>),
    /// A name, a key, a group or another input is malformed. Nothing was stored.
    Invalid(Box<InvalidInput>),
    /// A condition did not hold, or the record belongs to another source.
    Conflict(Box<Conflict>),
    /// A change of a batch failed, so nothing of the batch was applied.
    BatchRejected {
        /// The index of the first change that failed, counted from 0.
        index: usize,
        /// The kind of that change: the name of the [`Batch`](crate::Batch) method.
        operation: &'static str,
        /// Why it failed.
        source: Box<StoreError>,
    },
    /// The store has been closed. Or the store is a `WorkerStore` and this is a child
    /// process made by `fork`: its worker is in the parent.
    Closed,
    /// The operation was called from inside a read closure of the same store
    /// ([`with_service`](crate::RegistryStore::with_service),
    /// [`with_view`](crate::RegistryStore::with_view) and the like), where it would wait for
    /// itself. Return what you need from the closure, then call again.
    Reentrant,
    /// A store outside this crate failed in a way of its own, such as its disk or its
    /// network. No store of this crate returns this.
    Failed(Failure),
}

impl StoreError {
    /// Wraps an error of a store outside this crate.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
        StoreError::Failed(Failure(Arc::from(error.into())))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::NotFound(key) => {
                write!(f, "no service is registered under {}", Excerpt::new(key))
            }
            StoreError::Invalid(input) => input.fmt(f),
            StoreError::Conflict(conflict) => conflict.fmt(f),
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
            StoreError::Failed(failure) => failure.fmt(f),
        }
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::NotFound(key) => {
                f.debug_tuple("NotFound").field(&Excerpt::new(key)).finish()
            }
            StoreError::Invalid(input) => f.debug_tuple("Invalid").field(input).finish(),
            StoreError::Conflict(conflict) => fmt::Debug::fmt(conflict, f),
            StoreError::BatchRejected {
                index,
                operation,
                source,
            } => f
                .debug_struct("BatchRejected")
                .field("index", index)
                .field("operation", operation)
                .field("source", source)
                .finish(),
            StoreError::Closed => f.write_str("Closed"),
            StoreError::Reentrant => f.write_str("Reentrant"),
            StoreError::Failed(failure) => fmt::Debug::fmt(failure, f),
        }
    }
}

impl Error for StoreError {
    /// Returns the cause below the one that `Display` shows: for
    /// [`Failed`](StoreError::Failed), the source of the store's error.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StoreError::BatchRejected { source, .. } => source.source(),
            StoreError::Failed(failure) => failure.0.source(),
            _ => None,
        }
    }
}

/// The error of a store outside this crate. Two are equal if one is a clone of the other.
#[derive(Clone)]
pub struct Failure(Arc<dyn Error + Send + Sync>);

impl Failure {
    /// Returns the underlying error, for example to downcast it.
    pub fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl PartialEq for Failure {
    fn eq(&self, other: &Failure) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Failure {}

// The shared error is only read.
impl UnwindSafe for Failure {}
impl RefUnwindSafe for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Failed").field(&self.0).finish()
    }
}

impl From<InvalidInput> for StoreError {
    fn from(input: InvalidInput) -> Self {
        StoreError::Invalid(Box::new(input))
    }
}

/// The input that was refused, and the reason.
#[derive(Clone, PartialEq, Eq)]
pub struct InvalidInput {
    field: Cow<'static, str>,
    value: Box<str>,
    is_cut: bool,
    problem: Problem,
}

impl InvalidInput {
    /// Refuses `value` for `field`; keeps its first 64 characters. For stores outside this
    /// crate.
    pub fn new(field: impl Into<Cow<'static, str>>, value: &str, problem: Problem) -> InvalidInput {
        let excerpt = Excerpt::new(value);
        InvalidInput {
            field: field.into(),
            value: excerpt.text().into(),
            is_cut: excerpt.is_cut(),
            problem,
        }
    }

    /// Puts the field inside another one, for example `services[3]`.
    pub(crate) fn inside(self, whole: &str) -> InvalidInput {
        InvalidInput {
            field: format!("{whole}.{}", self.field).into(),
            ..self
        }
    }

    /// Returns the name of the input: `service_name`, `subscriptions[2]`, `subscriber key`,
    /// ...
    pub fn field(&self) -> &str {
        &self.field
    }

    /// Returns the value that was given, at most its first 64 characters.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns the reason.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl fmt::Display for InvalidInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = &self.field;
        match &self.problem {
            Problem::Empty => write!(f, "{field} is empty"),
            // The value is only the count that `problem` shows, too.
            problem @ Problem::TooMany { .. } => write!(f, "{field} {problem}"),
            problem => {
                let value = Excerpt::from_parts(&self.value, self.is_cut);
                write!(f, "{field} {value} {problem}")
            }
        }
    }
}

impl fmt::Debug for InvalidInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvalidInput")
            .field("field", &self.field)
            .field("value", &Excerpt::from_parts(&self.value, self.is_cut))
            .field("problem", &self.problem)
            .finish()
    }
}

impl Error for InvalidInput {}

/// The reason why an input was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// It is empty.
    Empty,
    /// It is a text, or contains one, of more bytes than are allowed.
    TooLong {
        /// The length in bytes.
        len: usize,
        /// The maximum length in bytes.
        max: usize,
    },
    /// It has more entries than are allowed.
    TooMany {
        /// The number of entries.
        len: usize,
        /// The maximum number of entries.
        max: usize,
    },
    /// A name contains a control character.
    Control {
        /// Its position, in bytes from the start of the name.
        at: usize,
    },
    /// A name begins or ends with white space.
    Padded,
    /// A service name contains a `:`, which would end it inside a key.
    Colon {
        /// Its position, in bytes from the start.
        at: usize,
    },
    /// A key has no `:` between the service and the pod.
    NoColon,
    /// A key has nothing before its first `:`.
    NoService,
    /// A key has nothing after its first `:`.
    NoPod,
    /// A host is neither an IP address nor a DNS name.
    NoHost,
    /// A host is a name where an address is required.
    NoAddress,
    /// A time is before 1970 or after 9999.
    OutOfTime,
    /// It occurs earlier in the same list.
    Repeated,
    /// A record belongs to another source than the list that contains it.
    OtherSource,
    /// A view belongs to another store than the one that it is compared with.
    OtherStore,
    /// The view that was given as the older one is later than the other.
    LaterView,
    /// It is none of the known names.
    Unknown {
        /// The known names.
        expected: &'static str,
    },
    /// The store is not compiled in (build with the feature `evmap`, for example), or
    /// threads cannot share it.
    Unavailable {
        /// The reason, and what to do instead.
        because: &'static str,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Empty => f.write_str("is empty"),
            Problem::TooLong { len, max } => {
                write!(
                    f,
                    "is too long: {len} bytes, where at most {max} are accepted"
                )
            }
            Problem::TooMany { len, max } => {
                write!(f, "has {len} entries, where at most {max} are accepted")
            }
            Problem::Control { at } => {
                write!(f, "holds a control character at byte {at} of a name")
            }
            Problem::Padded => f.write_str("holds a name that begins or ends with white space"),
            Problem::Colon { at } => write!(
                f,
                "holds `:` at byte {at}; a service name may not, because the first `:` of a key ends it"
            ),
            Problem::NoColon => f.write_str("has no `:`; a key reads `service:pod`"),
            Problem::NoService => {
                f.write_str("names no service before its `:`; a key reads `service:pod`")
            }
            Problem::NoPod => f.write_str("names no pod after its `:`; a key reads `service:pod`"),
            Problem::NoHost => f.write_str("is neither an IP address nor a DNS name"),
            Problem::NoAddress => f.write_str("is a name, which has to be resolved first"),
            Problem::OutOfTime => f.write_str(
                "from 1970 on is not between 1970 and 9999; a time that is not there is left \
                 out, and is no zero time of the year 1",
            ),
            Problem::Repeated => f.write_str("was given before in the same list"),
            Problem::OtherSource => f.write_str("is another source than that of its list"),
            Problem::LaterView => f.write_str("is the revision of a later view"),
            Problem::OtherStore => f.write_str("is a view of another store"),
            Problem::Unknown { expected } => write!(f, "is not known; expected {expected}"),
            Problem::Unavailable { because } => write!(f, "is not available: {because}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_escape_and_shorten_what_came_from_outside() {
        let error = StoreError::NotFound("a\nb:\u{1b}[31m".into());
        let shown = r#""a\nb:\u{1b}[31m""#;
        assert_eq!(
            error.to_string(),
            format!("no service is registered under {shown}")
        );
        assert_eq!(format!("{error:?}"), format!("NotFound({shown})"));
        let long = StoreError::NotFound("ü".repeat(500).into());
        let printed = [long.to_string(), format!("{long:?}"), format!("{long:#?}")];
        for printed in printed {
            assert!(printed.contains("ü\"..."), "{printed}");
            assert!(printed.chars().count() < 110, "{printed}");
        }
        let invalid = InvalidInput::new("zone", &"ü".repeat(500), Problem::Padded);
        assert_eq!(invalid.value().chars().count(), 64);
        let printed = [invalid.to_string(), format!("{invalid:?}")];
        for printed in printed {
            assert!(printed.contains("ü\"..."), "{printed}");
            assert!(
                printed.chars().filter(|c| *c == 'ü').count() == 64,
                "{printed}"
            );
        }
    }

    #[test]
    fn the_failure_of_a_store_from_elsewhere_is_passed_on() {
        let error = StoreError::failed(std::io::Error::other("the disk is full"));
        assert_eq!(error.to_string(), "the disk is full");
        assert_eq!(error, error.clone());
        assert_ne!(error, StoreError::failed("the disk is full"));
        let StoreError::Failed(failure) = error else {
            panic!("made as one");
        };
        assert!(failure.error().is::<std::io::Error>());
    }

    #[test]
    fn an_error_takes_no_more_room_than_a_service() {
        assert!(size_of::<StoreError>() <= size_of::<crate::ServiceInfo>());
    }
}
