//! What ends a run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a run, or a part of it, ended: a sentence that says who did what, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault(pub String);

impl Fault {
    /// A fault of these words.
    pub fn new(what: impl Into<String>) -> Fault {
        Fault(what.into())
    }

    /// The same fault, with where it happened in front: `burst-30x100, dashmap: ...`.
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

/// So that a task can fail by what it does, or by what it writes to.
impl From<Fault> for std::io::Error {
    fn from(fault: Fault) -> std::io::Error {
        std::io::Error::other(fault)
    }
}
