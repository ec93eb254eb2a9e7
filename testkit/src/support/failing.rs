//! Tests of tests: checks that a test fails.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::{PATIENCE, within};

/// How long a test that must fail is repeated: a fault between two threads shows only when they
/// overlap, which is rare on a busy machine.
const RETRY_LIMIT: Duration = Duration::from_secs(120);

/// Returns the message of a panic.
pub fn panic_message(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => (*panic.downcast::<&str>().expect("a panic with a text")).to_owned(),
    }
}

/// Repeats a test that must fail until it does. Returns its panic message.
#[track_caller]
pub fn failure(limit: Duration, test: impl Fn() + Send + Clone + 'static) -> String {
    let began = Instant::now();
    while began.elapsed() < RETRY_LIMIT {
        let ended = catch_unwind(AssertUnwindSafe(|| within(limit, test.clone())));
        if let Err(panic) = ended {
            return panic_message(panic);
        }
    }
    panic!("nobody noticed");
}

#[track_caller]
pub fn must_fail(test: impl Fn() + Send + Clone + 'static) {
    let failure = failure(PATIENCE, test);
    assert!(!failure.starts_with("a deadlock"), "{failure}");
}

#[track_caller]
pub fn must_hang(test: impl Fn() + Send + Clone + 'static) {
    let failure = failure(Duration::from_secs(2), test);
    assert!(failure.starts_with("a deadlock"), "{failure}");
}
