//! One store, and threads that do with it whatever can be done.
//!
//! Writers take turns, and know before each commit which revision it will have, and what
//! will be there then. So every view can be held against the state of its revision, on
//! any thread, whenever it is looked at.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use super::super::sample::Store;
use super::shared::Round;
use super::worker::{Worker, is_registering};
use crate::sync::delayed::dice::nth;
use crate::twin::Twin;

/// Threads at a time.
const SEATS: u64 = 4;
/// Threads one after the other in each seat.
const SHIFTS: u64 = 6;

/// Runs one round; panics, or worse, where the engine is broken.
pub(super) fn run(twin: Twin, seed: u64) {
    let round = Round::default();
    let store = Store::new();
    // In every other round one of the last threads closes it.
    let closing = SEATS * (SHIFTS - 1) + nth(seed, 1) % (2 * SEATS);
    let over = AtomicBool::new(false);
    // Where somebody tidies up all the time, grace periods are short; in other rounds they are long.
    let is_driven = is_registering(seed) || seed.is_multiple_of(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            while is_driven && !over.load(Relaxed) {
                store.engine.reclaim_now();
                thread::sleep(Duration::from_micros(500));
            }
        });
        let _over = Set(&over);
        work(twin, seed, &round, &store, closing);
    });
    // What is left outlives the store, which goes at the same time.
    thread::scope(|scope| {
        for heir in 0..2 {
            let round = &round;
            let worker = Worker::new(round, seed, SEATS * SHIFTS + heir);
            scope.spawn(move || worker.inherit());
        }
        scope.spawn(move || drop(store));
    });
}

/// Sets a flag in the end, whatever the end is.
struct Set<'f>(&'f AtomicBool);

impl Drop for Set<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn work(twin: Twin, seed: u64, round: &Round, store: &Store, closing: u64) {
    thread::scope(|scope| {
        for seat in 0..SEATS {
            scope.spawn(move || {
                for shift in 0..SHIFTS {
                    let number = shift * SEATS + seat;
                    let worker = Worker::new(round, seed, number);
                    let shift = || worker.work(store, seat, number == closing);
                    // A thread of its own for each, which ends with what it holds.
                    if thread::scope(|scope| scope.spawn(shift).join()).is_err() {
                        round.failed.store(true, Relaxed);
                        panic!("{}", failure(twin, seed));
                    }
                }
            });
        }
    });
}

fn failure(twin: Twin, seed: u64) -> String {
    format!("the round of seed {seed} fails with Twin::{twin:?}")
}
