//! The error that ends a run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a run, or a part of it, ended: a sentence that names the contender, the operation and the
/// place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault(pub String);

impl Fault {
    /// Creates a fault with this text.
    pub fn new(what: impl Into<String>) -> Fault {
        Fault(what.into())
    }

    /// Returns the fault with its place in front: `burst-30x100, dashmap: ...`.
    #[must_use]
    pub fn at(self, place: impl fmt::Display) -> Fault {
        Fault(format!("{place}: {}", self.0))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

/// Lets a task fail with its own faults or with I/O errors.
impl From<Fault> for std::io::Error {
    fn from(fault: Fault) -> std::io::Error {
        std::io::Error::other(fault)
    }
}
