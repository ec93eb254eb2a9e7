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

use super::order::{Order, Share};
use super::verify::Checks;
use super::worker::wait_until;
use crate::fleet::{Dice, Fleet, epoch, later};
use crate::subject::Hand;

/// The longest that the writer waits before a write, in nanoseconds.
const PAUSE: u64 = 20_000;

/// After so many reads that saw nothing new the reader offers its processor to others: where
/// there is only one, the writer waits for it.
const PATIENCE: u32 = 4_096;

/// What the two share, beside the store.
#[derive(Debug, Default)]
struct Board {
    /// How many writes were seen.
    seen: AtomicU64,
    /// When the last write began, in nanoseconds from the start.
    began: AtomicU64,
}

/// The two, for one pod of a fleet.
pub(super) fn pair(fleet: Fleet, dice: &mut Dice) -> (Reader, Writer) {
    let pod = dice.random_range(0..fleet.0.services);
    let key = fleet.key(pod);
    let board = Arc::new(Board::default());
    let start = Instant::now();
    let reader = Reader { key: key.clone(), board: board.clone(), start };
    let writer = Writer { pod, key, board, start, written: 0, dice: Dice::from_rng(dice) };
    (reader, writer)
}

/// The writer.
#[derive(Debug)]
pub(super) struct Writer {
    pod: usize,
    key: String,
    board: Arc<Board>,
    start: Instant,
    written: u64,
    dice: Dice,
}

impl Writer {
    pub(super) fn last_checks(&self) -> Checks {
        let written = (self.written > 0).then_some((self.pod, later(self.written)));
        written.into_iter().collect()
    }

    pub(super) fn slice(&mut self, hand: &mut impl Hand, order: &Order) -> Share {
        let mut share = Share::default();
        while Instant::now() < order.until {
            let pause = Duration::from_nanos(self.dice.random_range(0..PAUSE));
            wait_until(Instant::now() + pause, || false);
            let began = Instant::now();
            let nanoseconds = u64::try_from((began - self.start).as_nanos()).unwrap_or(u64::MAX);
            // Relaxed: a reader that sees the write sees this earlier store; the store's own
            // orderings ensure that.
            self.board.began.store(nanoseconds, Relaxed);
            self.written += 1;
            let at = later(self.written);
            share.wrong += u64::from(!hand.update(&self.key, ServiceStatus::Healthy, at));
            // Acquire: pairs with the Release store of the reader.
            let seen = || self.board.seen.load(Acquire) >= self.written;
            wait_until(order.until, seen);
            if !seen() {
                break;
            }
        }
        share
    }
}

/// The reader.
#[derive(Debug)]
pub(super) struct Reader {
    key: String,
    board: Arc<Board>,
    start: Instant,
}

impl Reader {
    pub(super) fn slice(&mut self, hand: &mut impl Hand, order: &Order) -> Share {
        let mut share = Share::default();
        let mut known = self.board.seen.load(Relaxed);
        let mut patience = PATIENCE;
        // A little longer than the writer, so that it is not left alone with a write.
        let until = order.until + order.window() / 8;
        loop {
            let seen = hand.checked_at(&self.key);
            let now = Instant::now();
            let Some(seen) = seen.and_then(|seen| seen.duration_since(epoch()).ok()) else {
                share.wrong += 1;
                return share;
            };
            if seen.as_secs() > known {
                known = seen.as_secs();
                let began = Duration::from_nanos(self.board.began.load(Relaxed));
                let took = now.saturating_duration_since(self.start + began);
                if now >= order.from {
                    let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
                    share.latencies.push(took);
                }
                // Release: pairs with the Acquire load of the writer.
                self.board.seen.store(known, Release);
                patience = PATIENCE;
            }
            patience -= 1;
            if patience == 0 {
                std::thread::yield_now();
                patience = PATIENCE;
            }
            if now >= until {
                return share;
            }
        }
    }
}
