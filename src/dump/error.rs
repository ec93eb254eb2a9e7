//! Errors of writing and reading dumps.

use std::fmt;
use std::io;

use crate::model::error::{InvalidInput, StoreError};

/// The reason why a dump could not be written, or was refused. A refused dump leaves the store
/// unchanged.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The reader or the writer failed.
    Io(io::Error),
    /// The store refused the operation, for example because it is closed.
    Store(StoreError),
    /// The dump is not one that [`write`](super::write()) has written.
    Refused {
        /// The line where this was detected, counted from 1. For a [`Checksum`](Flaw::Checksum)
        /// it is the last line, and one of the lines above was altered.
        line: u64,
        /// What is wrong there.
        flaw: Flaw,
    },
}

/// What is wrong with a line of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// The dump ends here, before the end of its last line.
    CutShort,
    /// More data follows the last line.
    GoesOn,
    /// The line is longer than any line of a dump.
    TooLong {
        /// The maximum length, in bytes.
        max: usize,
    },
    /// It does not begin like a dump.
    NoDump,
    /// It has another version of the format.
    Version {
        /// The version of the dump.
        found: u64,
        /// The only version that is accepted.
        known: u64,
    },
    /// The line is not of the expected form.
    Malformed {
        /// The byte of the line where this was detected, counted from 1.
        column: usize,
        /// What is wrong, in at most 200 characters.
        message: String,
    },
    /// The line is well formed, but no store can hold its contents.
    Invalid(InvalidInput),
    /// The last line has a wrong number of lines, or a wrong checksum of them.
    Checksum,
}

impl Flaw {
    /// Takes over the parser's message, without its position, which is relative to the line.
    pub(super) fn malformed(error: &serde_json::Error) -> Flaw {
        const SHOWN: usize = 200;
        let message = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = message.strip_suffix(&*place).unwrap_or(&message);
        // The message may contain untrusted input.
        let is_shown = |c: char| if c.is_control() { '?' } else { c };
        let mut shown: String = message.chars().take(SHOWN).map(is_shown).collect();
        if message.chars().nth(SHOWN).is_some() {
            shown.push_str("...");
        }
        Flaw::Malformed {
            column: error.column(),
            message: shown,
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::CutShort => f.write_str("the dump is cut short here"),
            Flaw::GoesOn => f.write_str("there is something behind the end of the dump"),
            Flaw::TooLong { max } => {
                write!(
                    f,
                    "the line is longer than {max} bytes, the most that one has"
                )
            }
            Flaw::NoDump => f.write_str("this is no dump of a service registry"),
            Flaw::Version { found, known } => write!(
                f,
                "the dump is of version {found} of the format; this library reads version {known}"
            ),
            Flaw::Malformed { column, message } => write!(f, "column {column}: {message}"),
            Flaw::Invalid(invalid) => invalid.fmt(f),
            Flaw::Checksum => f.write_str(
                "the number of lines or their checksum is another one: something above was altered",
            ),
        }
    }
}

impl Error {
    pub(super) fn at(line: u64, flaw: Flaw) -> Error {
        Error::Refused { line, flaw }
    }

    /// Returns the line where a dump was refused, counted from 1.
    pub fn line(&self) -> Option<u64> {
        match self {
            Error::Refused { line, .. } => Some(*line),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io(error) => error.fmt(f),
            Error::Store(error) => error.fmt(f),
            Error::Refused { line, flaw } => write!(f, "line {line}: {flaw}"),
        }
    }
}

impl std::error::Error for Error {
    /// Returns the cause below the one that `Display` shows.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io(error) => error.source(),
            Error::Store(error) => error.source(),
            Error::Refused { .. } => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Io(error)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        Error::Store(error)
    }
}

#[cfg(test)]
mod tests {
    use serde::de::Error as _;

    use super::Flaw;

    #[test]
    fn a_message_is_cut_behind_what_is_shown_and_nowhere_else() {
        let long = "ä".repeat(200);
        for (input, expected) in [
            ("\u{85}", "?"),
            (
                &*format!("{}\u{85}", &long[2..]),
                &*format!("{}?", &long[2..]),
            ),
            (&long, &long),
            (&format!("{long}b"), &format!("{long}...")),
        ] {
            let flaw = Flaw::malformed(&serde_json::Error::custom(input));
            let message = expected.to_owned();
            assert_eq!(flaw, Flaw::Malformed { column: 0, message });
        }
    }
}
