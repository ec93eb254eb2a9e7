//! What can go wrong.

use std::error::Error as StdError;
use std::fmt;

use service_registry::StoreError;

use crate::state::Why;

/// A prefix is not empty, and no longer than 1,024 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPrefix;

impl fmt::Display for InvalidPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a prefix has 1 to 1,024 bytes")
    }
}

impl StdError for InvalidPrefix {}

/// What can go wrong. It shows neither passwords nor values.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// See [`InvalidPrefix`].
    Prefix(InvalidPrefix),
    /// A name, a registration or a time that no store takes.
    Store(StoreError),
    /// etcd refused: permission, authentication, an argument.
    Etcd(Box<etcd_client::Error>),
    /// The replica has ended, and why.
    Ended(Why),
    /// Meanwhile it became another etcd, or one that went back in time: the revision that was
    /// waited for means nothing there.
    OtherEtcd,
    /// Another process has registered under this key since, or the registration was ended.
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
