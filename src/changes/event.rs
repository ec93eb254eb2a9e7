//! [`Event`], what a watch delivers, and [`Cursor`], the position of a watch.

use std::fmt;
use std::str::FromStr;

use crate::model::error::{InvalidInput, Problem, Result, StoreError};
use crate::model::record::ServiceInfo;
use crate::model::revision::Revision;

use super::{Difference, Subscription};

/// An event that a [`Watch`](super::Watch) delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The whole selected state at one revision. It replaces everything before.
    #[non_exhaustive]
    State {
        /// The revision.
        revision: Revision,
        /// The records, in no particular order.
        services: Vec<ServiceInfo>,
        /// The subscriptions. Those of one group are in the order of subscription.
        subscriptions: Vec<Subscription>,
        /// Why this is a state and not a list of differences.
        reason: Reason,
    },
    /// The changes since the previous event.
    #[non_exhaustive]
    Changes {
        /// The revision after these changes.
        revision: Revision,
        /// The differences, in order. Never empty.
        changes: Vec<Difference>,
    },
}

impl Event {
    /// Returns the revision of a copy to which this event has been applied.
    pub fn revision(&self) -> Revision {
        match self {
            Event::State { revision, .. } | Event::Changes { revision, .. } => *revision,
        }
    }
}

/// Why a [`Watch`](super::Watch) delivers a whole state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The watch has just started, or its cursor belongs to another store or has a later
    /// revision than the store.
    Begin,
    /// The log does not reach back to the position of the watch.
    Lagged,
    /// The whole state was [replaced](crate::Batch::replace_all), for example by a dump. A
    /// watch from an older cursor gets this reason if the log was recording at that moment (see
    /// [`LogOptions`](super::LogOptions)), and [`Lagged`](Self::Lagged) otherwise.
    Restored,
}

/// A position in the history of one store, from which
/// [`watch_from`](crate::RegistryStore::watch_from) continues.
///
/// A client can keep a cursor as text. The text consists of letters, digits and a hyphen, so
/// it fits into a URL, a header or a file. A cursor that a client sends may belong to a store
/// that no longer exists, or may be made up. A watch from such a cursor starts with the state.
/// With the feature `serde` a cursor is serialized as this text.
///
/// ```
/// use service_registry::changes::{Cursor, Event, Selection};
/// use service_registry::{MemoryStore, RegistryStore};
///
/// let store = MemoryStore::new();
/// let mut watch = store.watch(Selection::All)?;
/// watch.recv()?;
/// let sent = watch.cursor().to_string();
///
/// store.add_subscription("web:pod-1", "user-service")?;
/// let mut again = store.watch_from(Selection::All, sent.parse()?)?;
/// assert!(matches!(again.recv()?, Event::Changes { .. }));
///
/// let refused = "00ff00ff00ff00ff-x".parse::<Cursor>().unwrap_err().to_string();
/// assert!(refused.starts_with(r#"cursor.revision "x" is not known; expected a number"#));
/// # Ok::<(), service_registry::StoreError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    pub(crate) store: u64,
    pub(crate) revision: Revision,
}

impl Cursor {
    /// Returns the revision.
    pub fn revision(self) -> Revision {
        self.revision
    }
}

/// Writes `store-revision`: 16 hexadecimal digits and a decimal number.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.store, self.revision)
    }
}

impl FromStr for Cursor {
    type Err = StoreError;

    /// # Errors
    ///
    /// [`Invalid`](StoreError::Invalid) if the text is not the text of a cursor. The field is
    /// `cursor.store` or `cursor.revision`, whichever is wrong, or `cursor` if the text does
    /// not have two parts.
    fn from_str(text: &str) -> Result<Cursor> {
        let refuse = |field: &'static str, value: &str, expected| {
            InvalidInput::new(field, value, Problem::Unknown { expected })
        };
        let (store, revision) = text
            .split_once('-')
            .ok_or_else(|| refuse("cursor", text, "`store-revision`"))?;
        // The parsers accept signs, capital letters and leading zeros. A cursor has only one text.
        let number = u64::from_str_radix(store, 16).ok();
        let number = number.filter(|number| format!("{number:016x}") == store);
        let expected = "16 digits from `0` to `9` and `a` to `f`";
        let number = number.ok_or_else(|| refuse("cursor.store", store, expected))?;
        let at: Option<u64> = revision.parse().ok();
        let at = at.filter(|at| at.to_string() == revision);
        let expected = "a number below 2^64, of digits and without zeros in front";
        let at = at.ok_or_else(|| refuse("cursor.revision", revision, expected))?;
        Ok(Cursor {
            store: number,
            revision: at.into(),
        })
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::Cursor;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    impl Serialize for Cursor {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    impl<'de> Deserialize<'de> for Cursor {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(D::Error::custom)
        }
    }
}

/// The selected part of a store at one revision.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The revision.
    pub revision: Revision,
    /// The records, in no particular order.
    pub services: Vec<ServiceInfo>,
    /// The subscriptions. Those of one group are in the order of subscription.
    pub subscriptions: Vec<Subscription>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for store in [0, 1, 0xfedc_ba98_7654_3210, u64::MAX] {
            for revision in [0, 1, 10, u64::MAX] {
                let revision = Revision::from(revision);
                let cursor = Cursor { store, revision };
                assert_eq!(cursor.to_string().parse(), Ok(cursor), "{cursor}");
            }
        }
        let cursor = Cursor {
            store: 255,
            revision: 7.into(),
        };
        assert_eq!(cursor.to_string(), "00000000000000ff-7");
    }

    #[test]
    fn an_invalid_cursor_is_refused_with_its_invalid_part() {
        let long = "0".repeat(10_000_000);
        let hexadecimal = "00000000000000ff";
        let bad_stores = [
            "",
            "ff",
            "00000000000000FF",
            "+0000000000000ff",
            "00000000000000fg",
        ];
        let bad_stores = bad_stores
            .into_iter()
            .chain(["0000000000000ü", "\n", &long]);
        let bad_revisions = [
            "", "+7", "-7", "07", "00", "7 ", " 7", "7\0", "0x7", "7-7", "٧",
        ];
        let bad_revisions = bad_revisions
            .into_iter()
            .chain(["18446744073709551616", &long]);
        let no_parts = ["", "7", hexadecimal, "00000000000000ff:7", &long];
        let cases = (no_parts
            .map(|text| ("cursor", text.into(), text))
            .into_iter())
        .chain(bad_stores.map(|text| ("cursor.store", format!("{text}-7"), text)))
        .chain(
            bad_revisions.map(|text| ("cursor.revision", format!("{hexadecimal}-{text}"), text)),
        );
        for (field, text, part) in cases {
            let error = text.parse::<Cursor>().unwrap_err();
            let StoreError::Invalid(invalid) = &error else {
                panic!("{error}");
            };
            let shown: String = part.chars().take(64).collect();
            assert_eq!((invalid.field(), invalid.value()), (field, &*shown));
            assert!(error.to_string().contains("expected"), "{error}");
            assert!(error.to_string().len() < 300, "{error}");
        }
    }
}
