//! What can go wrong.

use std::fmt;

/// A prefix is not empty, and no longer than 1,024 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPrefix;

impl fmt::Display for InvalidPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a prefix has 1 to 1,024 bytes")
    }
}

impl std::error::Error for InvalidPrefix {}
