//! Atomics that take their time, for tests which run real threads.
//!
//! Each access is a point at which another thread may come in between. Where a thread has
//! asked for [delays](begin), it sometimes yields or sleeps there: rarely everywhere, and
//! long and often at a few places of the source, other ones in each round. So the narrow
//! windows between two accesses become wide ones, each in its turn, and the code in between
//! knows nothing of it.
//!
//! What is not named here is the standard library's, without delays.

use std::cell::RefCell;
use std::panic::Location;
use std::thread;
use std::time::{Duration, Instant};

#[path = "../../../testkit/src/support/dice.rs"]
#[allow(unreachable_pub)] // it is of a crate for others, too
pub(crate) mod dice;

use dice::{Dice, nth};

struct Delays {
    dice: Dice,
    /// Chooses the slow places.
    round: u64,
    focus: Option<&'static str>,
    /// Does not sleep before: a thread sleeps for half of the time, at most.
    awake: Instant,
}

thread_local! {
    static DELAYS: RefCell<Option<Delays>> = const { RefCell::new(None) };
}

/// Delays this thread from now on. Threads of the same `round` have the same slow places;
/// with a `focus`, those of this file.
pub(crate) fn begin(seed: u64, round: u64, focus: Option<&'static str>) {
    let dice = Dice::new(seed);
    let delays = Delays {
        dice,
        round,
        focus,
        awake: Instant::now(),
    };
    DELAYS.set(Some(delays));
}

/// Lets other threads come in between, if this one has asked for delays.
#[track_caller]
pub(crate) fn pause() {
    let place = Location::caller();
    // A thread that is ending has no delays any more, and a signal handler may come in between.
    let delay = DELAYS.try_with(|delays| {
        let mut delays = delays.try_borrow_mut().ok()?;
        Some(delays.as_mut()?.next(place))
    });
    match delay {
        Ok(Some(Some(Duration::ZERO))) => thread::yield_now(),
        Ok(Some(Some(delay))) => thread::sleep(delay),
        _ => {}
    }
}

impl Delays {
    /// Zero stands for yielding.
    fn next(&mut self, place: &Location<'_>) -> Option<Duration> {
        let (file, line) = (place.file(), u64::from(place.line()));
        let is_slow = if let Some(focus) = self.focus {
            file.ends_with(focus)
        } else {
            // In each file none of the places is slow, or a few are, or many.
            let letter = file.as_bytes()[file.len() - "n.rs".len()];
            let file = nth(self.round, u64::from(letter) << 8 | file.len() as u64);
            nth(file, line) % 8 < [0, 1, 4][(file % 3) as usize]
        };
        let dice = &mut self.dice;
        match dice.roll(if is_slow { 16 } else { 4_096 }) {
            0..2 => Some(Duration::ZERO),
            2..6 => {
                let now = Instant::now();
                if now < self.awake {
                    return None;
                }
                // Each order of magnitude as often as the others, up to some milliseconds.
                let delay = Duration::from_micros(1 << dice.roll(13));
                self.awake = now + 2 * delay;
                Some(delay)
            }
            _ => None,
        }
    }
}

/// In the place of `std::sync::atomic`.
pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::*;

    use std::ops::{Deref, DerefMut};
    use std::sync::atomic;

    use super::pause;

    /// Writes an atomic that pauses before and after each of these accesses, and has the
    /// others by way of `Deref`.
    macro_rules! delayed {
        ($name:ident $(<$t:ident>)?, $value:ty $(, $method:ident)*) => {
            #[repr(transparent)]
            pub(crate) struct $name $(<$t>)? (atomic::$name $(<$t>)?);

            #[allow(dead_code)] // stores use a part of them
            impl $(<$t>)? $name $(<$t>)? {
                pub(crate) const fn new(value: $value) -> Self {
                    Self(atomic::$name::new(value))
                }
                #[track_caller]
                pub(crate) fn load(&self, order: Ordering) -> $value {
                    pause();
                    let value = self.0.load(order);
                    pause();
                    value
                }
                #[track_caller]
                pub(crate) fn store(&self, value: $value, order: Ordering) {
                    pause();
                    self.0.store(value, order);
                    pause();
                }
                #[track_caller]
                pub(crate) fn compare_exchange(
                    &self,
                    current: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    pause();
                    let answer = self.0.compare_exchange(current, new, success, failure);
                    pause();
                    answer
                }
                delayed!(@ $value, swap $(, $method)*);
            }

            impl $(<$t>)? Default for $name $(<$t>)? {
                fn default() -> Self {
                    Self(atomic::$name::default())
                }
            }

            impl $(<$t>)? Deref for $name $(<$t>)? {
                type Target = atomic::$name $(<$t>)?;

                fn deref(&self) -> &Self::Target {
                    &self.0
                }
            }

            impl $(<$t>)? DerefMut for $name $(<$t>)? {
                fn deref_mut(&mut self) -> &mut Self::Target {
                    &mut self.0
                }
            }
        };
        (@ $value:ty $(, $method:ident)*) => {$(
            #[track_caller]
            pub(crate) fn $method(&self, value: $value, order: Ordering) -> $value {
                pause();
                let before = self.0.$method(value, order);
                pause();
                before
            }
        )*};
    }

    delayed!(AtomicBool, bool);
    delayed!(AtomicPtr<T>, *mut T);
    delayed!(AtomicU32, u32, fetch_add, fetch_sub);
    delayed!(AtomicU64, u64, fetch_add, fetch_sub, fetch_max);
    delayed!(AtomicUsize, usize, fetch_add, fetch_sub);
}
