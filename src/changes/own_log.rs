//! The log that a store has.

use std::ops::Deref;

use super::{Log, LogOptions};

/// The log of a store, which ends with it.
pub(crate) struct OwnLog(Log);

impl OwnLog {
    pub(crate) fn new(options: LogOptions) -> OwnLog {
        OwnLog(Log::new(options))
    }
}

impl From<Log> for OwnLog {
    fn from(log: Log) -> OwnLog {
        OwnLog(log)
    }
}

impl Deref for OwnLog {
    type Target = Log;

    #[inline]
    fn deref(&self) -> &Log {
        &self.0
    }
}

impl Drop for OwnLog {
    fn drop(&mut self) {
        // A model that has failed: its locks cannot be used any more.
        if !(cfg!(loom) && std::thread::panicking()) {
            drop(self.0.close());
        }
    }
}
