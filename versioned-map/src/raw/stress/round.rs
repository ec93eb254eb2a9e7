//! One round: a store, and threads that use all its operations.
//!
//! Writers take turns, and know the revision and the state of each commit before they make it. So
//! every thread can compare every view with the state of its revision at any time.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use super::super::sample::Store;
use super::shared::Round;
use super::worker::{Worker, is_registering};
use crate::sync::delayed::dice::nth;
use crate::twin::Twin;

/// The number of threads that run at the same time.
const SEATS: u64 = 4;
/// The number of threads that run in each seat, one after the other.
const SHIFTS: u64 = 6;

/// Runs one round. Panics, or fails in a worse way, if the engine is broken.
pub(super) fn run(twin: Twin, seed: u64) {
    let round = Round::default();
    let store = Store::new();
    // In every other round one of the last threads closes the store.
    let closing = SEATS * (SHIFTS - 1) + nth(seed, 1) % (2 * SEATS);
    let over = AtomicBool::new(false);
    // In some rounds another thread reclaims all the time, so that grace periods are short. In the
    // others they are long.
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
    // Other threads inherit the rest of the views, while the store is dropped.
    thread::scope(|scope| {
        for heir in 0..2 {
            let round = &round;
            let worker = Worker::new(round, seed, SEATS * SHIFTS + heir);
            scope.spawn(move || worker.inherit());
        }
        scope.spawn(move || drop(store));
    });
}

/// Sets a flag when it is dropped, also by unwinding.
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
                    // Each shift has a thread of its own, which drops the views that it still
                    // holds.
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
