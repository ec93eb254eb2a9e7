//! How much is remembered.

use std::time::Duration;

/// How much a [`Log`](super::Log) remembers.
///
/// The logs of `MemoryStore` and `WorkerStore` keep a [checkpoint](super::Log::append_with)
/// besides, which is not part of `bytes`: 40 bytes for each record of the store and some more for
/// each subscription, and those records of it that the store has replaced since. A new one is made
/// when the log has forgotten what came after the last one, in O(*n*). So give these stores many
/// times what one commit changes: where `bytes` do not hold a single commit, each commit makes a
/// checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The most that all entries together keep in memory beside what the store itself holds,
    /// in bytes.
    pub bytes: usize,
    /// How long the log goes on without any watch, so that a client that comes back need not
    /// begin anew. It is looked at when something is committed: of an idle store the
    /// log stays until then.
    pub retain: Duration,
}

impl Default for LogOptions {
    /// 4 MiB; ten seconds.
    fn default() -> LogOptions {
        LogOptions {
            bytes: 4 << 20,
            retain: Duration::from_secs(10),
        }
    }
}
