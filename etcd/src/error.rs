//! What can go wrong.

use std::error::Error as StdError;
use std::fmt;

use service_registry::StoreError;

use crate::state::Why;

/// The error for a prefix that is empty or longer than 1,024 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPrefix;

impl fmt::Display for InvalidPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a prefix has 1 to 1,024 bytes")
    }
}

impl StdError for InvalidPrefix {}

/// The error type of this crate. `Debug` and `Display` show neither passwords nor values.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The prefix is empty or too long. See [`InvalidPrefix`].
    Prefix(InvalidPrefix),
    /// A name, the registration or a time is invalid for every store, or the store is closed.
    Store(StoreError),
    /// etcd refused the request: permission, authentication or an invalid argument.
    Etcd(Box<etcd_client::Error>),
    /// The replica has ended, for this reason.
    Ended(Why),
    /// etcd was replaced by a different one, or went back in time, while the call waited. The
    /// awaited revision means nothing in the new history.
    OtherEtcd,
    /// Another process has since registered under this key, or the registration has ended.
    Superseded,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Prefix(invalid) => invalid.fmt(f),
            Error::Store(error) => error.fmt(f),
            Error::Etcd(error) => write!(f, "etcd: {error}"),
            Error::Ended(why) => write!(f, "the replica has ended: {why}"),
            Error::OtherEtcd => f.write_str("it is another etcd, or one that went back in time"),
            Error::Superseded => f.write_str("the key is registered by another process"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::Prefix(error) => Some(error),
            Error::Store(error) => Some(error),
            Error::Etcd(error) => Some(&**error),
            Error::Ended(_) | Error::OtherEtcd | Error::Superseded => None,
        }
    }
}

impl From<InvalidPrefix> for Error {
    fn from(error: InvalidPrefix) -> Error {
        Error::Prefix(error)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        Error::Store(error)
    }
}

impl From<etcd_client::Error> for Error {
    fn from(error: etcd_client::Error) -> Error {
        Error::Etcd(Box::new(error))
    }
}
