//! [`OwnLog`], a log that its store owns.

use std::ops::Deref;

use super::{Log, LogOptions};

/// The log of a store. It closes when the store is dropped.
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
        // After a loom model has failed, its locks are unusable.
        if !(cfg!(loom) && std::thread::panicking()) {
            drop(self.0.close());
        }
    }
}
