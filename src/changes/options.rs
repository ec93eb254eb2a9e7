//! [`LogOptions`].

use std::time::Duration;

/// Limits how much a [`Log`](super::Log) keeps.
///
/// The logs of `MemoryStore` and `WorkerStore` also keep a
/// [checkpoint](super::Log::append_with), which does not count towards `bytes`. It takes 40
/// bytes for each record of the store, some more for each subscription, and the memory of
/// those of its records that the store has replaced since. When the log has forgotten an entry
/// after the checkpoint, the store makes a new one in O(*n*). For these stores set `bytes` to
/// many times the size of one commit: if a single commit does not fit, every commit makes a
/// checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The most memory that all entries together keep, in bytes, besides the contents of the
    /// store itself.
    pub bytes: usize,
    /// How long the log keeps recording without any watch, so that a client that returns need
    /// not start with the state again. Commits check this time, so the log of a store
    /// without commits stays longer.
    pub retain: Duration,
}

impl Default for LogOptions {
    /// Returns limits of 4 MiB and ten seconds.
    fn default() -> LogOptions {
        LogOptions {
            bytes: 4 << 20,
            retain: Duration::from_secs(10),
        }
    }
}
