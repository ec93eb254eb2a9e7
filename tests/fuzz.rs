//! Arbitrary bytes into everything that parses, and arbitrary programs of
//! operations into every store.
//!
//! One harness, two ways to run it. `cargo test --test fuzz` replays the files of
//! `tests/fuzz/__fuzz__` and then draws random bytes, for a few seconds; a failure is
//! printed with the `BOLERO_RANDOM_SEED` that repeats it. `.ci/fuzz` runs the same
//! targets under libFuzzer, which follows the coverage, for as long as one likes, and
//! says why it is not `cargo bolero` that does. `docs/verification.md` has the commands.
//!
//! `bolero`, because a target has to run as a test with a stable toolchain and also under a fuzzer
//! that follows the coverage; targets of `cargo-fuzz` need a nightly and are no tests. Version
//! 0.13.4 is locked: later ones pin another version of `indexmap` than `proptest` asks for. It
//! shrinks random input less well than later ones. `WorkerStore` has targets of its own, whose
//! whole state is compared at the end only, since each question is a round trip to its thread.

// A build with fewer stores uses less of this file.
#![cfg_attr(
    not(all(
        feature = "thread-safe",
        feature = "worker",
        feature = "evmap",
        feature = "snapshot",
        feature = "versioned"
    )),
    allow(dead_code, unused_imports, unused_macros)
)]

#[macro_use]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};

/// How long a target draws random input under `cargo test`, and how often at
/// most. `BOLERO_RANDOM_TEST_TIME_MS` and `BOLERO_RANDOM_ITERATIONS` go further.
const SHORT: Duration = Duration::from_millis(2_500);
const MOST: usize = 100_000;

/// Defines a fuzz target: a test that feeds a property with input of a type.
macro_rules! target {
    ($name:ident, $input:ty, $property:expr) => {
        #[test]
        fn $name() {
            crate::watched(|| {
                bolero::check!(name = stringify!($name))
                    .with_iterations(crate::MOST)
                    .with_test_time(crate::SHORT)
                    .with_max_len(1_024)
                    .with_arbitrary::<$input>()
                    .for_each($property);
            });
        }
    };
}

/// Runs a target under the watchdog, unless a fuzzer watches it.
fn watched(target: impl FnOnce() + Send + 'static) {
    if cfg!(fuzzing) || std::env::var_os("CARGO_BOLERO_SELECT").is_some() {
        return target();
    }
    let asked = std::env::var("BOLERO_RANDOM_TEST_TIME_MS").ok();
    let longer = asked.and_then(|time| time.parse().ok()).unwrap_or(0);
    support::within(support::PATIENCE + Duration::from_millis(longer), target);
}

/// Input as a target draws it, from a seed.
fn drawn<T: for<'a> Arbitrary<'a>>(tries: usize) -> impl Iterator<Item = T> {
    use proptest::prelude::Rng;
    use proptest::test_runner::{RngAlgorithm, TestRng};
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    (0..tries).map(move |_| {
        let mut bytes = vec![0; random.next_u32() as usize % 1_024];
        random.fill_bytes(&mut bytes);
        T::arbitrary(&mut Unstructured::new(&bytes)).unwrap()
    })
}

/// Feeds a property with such input until it fails, which it must; answers after how many
/// tries, and with what it says.
#[track_caller]
fn found<T: for<'a> Arbitrary<'a>>(tries: usize, property: impl Fn(&T)) -> (usize, String) {
    for (n, input) in drawn(tries).enumerate() {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| property(&input))) {
            return (n, support::failing::panic_message(panic));
        }
    }
    panic!("the fault was not found in {tries} inputs");
}

#[path = "fuzz/against_each_other.rs"]
mod against_each_other;
#[path = "fuzz/against_model.rs"]
mod against_model;
#[cfg(feature = "serde")]
#[path = "fuzz/documents.rs"]
mod documents;
#[path = "fuzz/faults.rs"]
mod faults;
#[path = "fuzz/programs.rs"]
mod programs;
#[path = "fuzz/text.rs"]
mod text;
#[path = "fuzz/watching.rs"]
mod watching;
#[path = "fuzz/words.rs"]
mod words;
