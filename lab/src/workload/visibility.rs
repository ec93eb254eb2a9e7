//! From the start of a write to the first read that sees it.
//!
//! A writer sets the time of one pod's health check. A reader reads that pod without a pause and
//! records when it first sees the new time. Then the writer waits for a random moment, so that
//! writes do not always meet reads at the same point, and continues. By the contract every read
//! that *starts* after a write has returned sees it. The measured time covers the write, the read
//! in progress, and the transfer of a cache line.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use service_registry::ServiceStatus;

use super::timing::{Tally, Window};
use super::verify::Checks;
use super::worker::wait_until;
use crate::fleet::{Fleet, Rng, epoch, later};
use crate::subject::Handle;

/// The longest wait before a write, in nanoseconds.
const PAUSE: u64 = 20_000;

/// After this many reads without a new value, the reader yields its processor: if there is only
/// one, the writer waits for it.
const PATIENCE: u32 = 4_096;

/// The state that the reader and the writer share, besides the store.
#[derive(Debug, Default)]
struct Sightings {
    /// The number of the last write that the reader has seen.
    seen: AtomicU64,
    /// The begin of the last write, in nanoseconds from the start.
    began: AtomicU64,
}

/// Creates a reader and a writer of one pod of a fleet.
pub(super) fn pair(fleet: Fleet, rng: &mut Rng) -> (Reader, Writer) {
    let pod = rng.random_range(0..fleet.0.services);
    let key = fleet.key(pod);
    let sightings = Arc::new(Sightings::default());
    let start = Instant::now();
    let reader = Reader { key: key.clone(), sightings: sightings.clone(), start };
    let writer = Writer { pod, key, sightings, start, written: 0, rng: Rng::from_rng(rng) };
    (reader, writer)
}

/// Writes, and waits after each write until the reader has seen it.
#[derive(Debug)]
pub(super) struct Writer {
    pod: usize,
    key: String,
    sightings: Arc<Sightings>,
    start: Instant,
    written: u64,
    rng: Rng,
}

impl Writer {
    pub(super) fn last_checks(&self) -> Checks {
        let written = (self.written > 0).then_some((self.pod, later(self.written)));
        written.into_iter().collect()
    }

    pub(super) fn slice(&mut self, handle: &mut impl Handle, window: &Window) -> Tally {
        let mut tally = Tally::default();
        while Instant::now() < window.until {
            let pause = Duration::from_nanos(self.rng.random_range(0..PAUSE));
            wait_until(Instant::now() + pause, || false);
            let began = Instant::now();
            let nanoseconds = u64::try_from((began - self.start).as_nanos()).unwrap_or(u64::MAX);
            // Relaxed: a reader that sees the write sees this earlier store; the store's own
            // orderings ensure that.
            self.sightings.began.store(nanoseconds, Relaxed);
            self.written += 1;
            let at = later(self.written);
            tally.wrong += u64::from(!handle.update(&self.key, ServiceStatus::Healthy, at));
            // Acquire: pairs with the Release store of the reader.
            let seen = || self.sightings.seen.load(Acquire) >= self.written;
            wait_until(window.until, seen);
            if !seen() {
                break;
            }
        }
        tally
    }
}

/// Reads without a pause, and records when it first sees each write.
#[derive(Debug)]
pub(super) struct Reader {
    key: String,
    sightings: Arc<Sightings>,
    start: Instant,
}

impl Reader {
    pub(super) fn slice(&mut self, handle: &mut impl Handle, window: &Window) -> Tally {
        let mut tally = Tally::default();
        let mut known = self.sightings.seen.load(Relaxed);
        let mut patience = PATIENCE;
        // Reads a little longer than the writer writes, so that it sees the last write.
        let until = window.until + window.length() / 8;
        loop {
            let seen = handle.checked_at(&self.key);
            let now = Instant::now();
            let Some(seen) = seen.and_then(|seen| seen.duration_since(epoch()).ok()) else {
                tally.wrong += 1;
                return tally;
            };
            if seen.as_secs() > known {
                known = seen.as_secs();
                let began = Duration::from_nanos(self.sightings.began.load(Relaxed));
                let took = now.saturating_duration_since(self.start + began);
                if now >= window.from {
                    let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
                    tally.latencies.push(took);
                }
                // Release: pairs with the Acquire load of the writer.
                self.sightings.seen.store(known, Release);
                patience = PATIENCE;
            }
            patience -= 1;
            if patience == 0 {
                std::thread::yield_now();
                patience = PATIENCE;
            }
            if now >= until {
                return tally;
            }
        }
    }
}
