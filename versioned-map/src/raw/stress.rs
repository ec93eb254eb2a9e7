//! A stress test of the engine: real threads, small constants, and random delays between any two
//! accesses to shared memory.
//!
//! loom runs every schedule of a few steps, and frees nothing. The stress test does the opposite:
//! it runs some schedules of all operations of an engine, and really frees memory. It finds most
//! under `AddressSanitizer`.
//!
//! Rounds run in a process of their own, because a broken engine may do anything. A [`Twin`] is the
//! engine with one step left out, or done too early. The test must notice it.
//!
//! In unit tests the engine runs a pass after 3 replaced versions and begins with tables of 4
//! slots, so that rare steps are common. It also overwrites a version before it frees it, because
//! the sanitizer does not consider reused memory as free. A failure prints its seed and round. A
//! seed repeats the choices, but not the schedule. To run one twin by hand, from any seed:
//!
//! ```console
//! STRESS_TWIN=RegisteredUnpinned STRESS_SEED=1000 STRESS_SECONDS=200 <the test program> \
//!     --exact raw::stress::child --ignored --nocapture
//! ```

use std::env;
use std::fs::{File, read, remove_file};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::twin::{self, Twin};

mod checks;
mod round;
mod shared;
mod states;
mod worker;

/// The duration of the test of the intact engine, in seconds.
const SECONDS: &str = "STRESS_SECONDS";
/// The seed of the first round. Each later round has the next seed.
const SEED: &str = "STRESS_SEED";
/// The twin that a child runs.
const TWIN: &str = "STRESS_TWIN";
/// The number of rounds that a child runs.
const ROUNDS: &str = "STRESS_ROUNDS";

/// The time in which a twin must be noticed. Far more than necessary, so that the test does not
/// fail on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);
/// The longest time that a single round may take.
const LONGEST: Duration = Duration::from_secs(60);

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| {
        let number = text.parse();
        number.unwrap_or_else(|_| panic!("{variable} is a number, not `{text}`"))
    })
}

/// Runs rounds in the child process.
#[test]
#[ignore = "the other tests run it, in a process of its own"]
fn child() {
    let name = env::var(TWIN).unwrap_or_default();
    let none = [Twin::None];
    let mut known = TWINS.iter().chain(&none);
    let twin =
        known.find(|twin| format!("{twin:?}") == name || **twin == Twin::None && name.is_empty());
    let twin = *twin.unwrap_or_else(|| panic!("{TWIN} is one of {TWINS:?}, not `{name}`"));
    twin::set(twin);
    let limit = Duration::from_secs(number(SECONDS, 3));
    let rounds = number(ROUNDS, u64::MAX);
    let started = Instant::now();
    let mut count = 0;
    while count < rounds && started.elapsed() < limit {
        println!("\nround {count}");
        round::run(twin, number(SEED, 1) + count);
        count += 1;
    }
}

/// The result of a child process.
struct Outcome {
    status: ExitStatus,
    rounds: u64,
    output: String,
}

/// Runs rounds in a child process, until the time or the number of rounds is over.
fn run(twin: Twin, limit: Duration, rounds: u64) -> Outcome {
    // Tests run in parallel, and two of them may run the same rounds.
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let count = RUNS.fetch_add(1, Relaxed);
    let path = env::temp_dir().join(format!("stress-{}-{count}", std::process::id()));
    let file = File::create(&path).expect("a file for the output");
    let mut child = Command::new(env::current_exe().expect("a test has a program"));
    child
        .args(["--exact", "raw::stress::child"])
        .args(["--ignored", "--nocapture", "--test-threads=1"])
        .env(TWIN, format!("{twin:?}"))
        .env(SECONDS, limit.as_secs().to_string())
        .env(ROUNDS, rounds.to_string())
        .stdout(file.try_clone().expect("a second handle"))
        .stderr(file);
    if twin != Twin::None {
        // A twin may leak. That is not the fault to notice.
        let options = env::var("ASAN_OPTIONS").unwrap_or_default();
        child.env("ASAN_OPTIONS", format!("{options}:detect_leaks=0"));
    }
    let mut child = child.spawn().expect("a child");
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if started.elapsed() > limit + LONGEST {
            // A round that does not end is a failure as well.
            child.kill().expect("a child can be stopped");
        }
        sleep(Duration::from_millis(10));
    };
    let output = read(&path).map(|output| String::from_utf8_lossy(&output).into_owned());
    let output = output.expect("the output of the child");
    let _ = remove_file(&path);
    let begun = output.lines().filter(|line| line.starts_with("round "));
    Outcome {
        status,
        rounds: begun.count() as u64,
        output,
    }
}

/// Runs the intact engine, which must pass. Returns the number of rounds.
fn passes(limit: Duration, rounds: u64) -> u64 {
    let outcome = run(Twin::None, limit, rounds);
    assert!(
        outcome.status.success(),
        "{SEED}={}, {}, round {}:\n{}",
        number(SEED, 1),
        outcome.status,
        outcome.rounds,
        outcome.output
    );
    outcome.rounds
}

#[test]
fn every_view_shows_its_revision() {
    let limit = Duration::from_secs(number(SECONDS, 3));
    let rounds = passes(limit, u64::MAX);
    println!("{rounds} rounds in {limit:?}");
}

fn is_noticed(twin: Twin) {
    let started = Instant::now();
    let outcome = run(twin, PATIENCE, u64::MAX);
    assert!(!outcome.status.success(), "{twin:?} was not noticed");
    assert!(outcome.rounds > 0, "no round was run:\n{}", outcome.output);
    println!(
        "{twin:?}: round {}, {:?}, {}",
        outcome.rounds,
        started.elapsed(),
        outcome.status
    );
    // The intact engine passes the same rounds.
    let passed = passes(2 * PATIENCE, outcome.rounds);
    assert_eq!(passed, outcome.rounds, "not all of them were run");
}

macro_rules! twins {
    ($($name:ident $twin:ident,)*) => {
        const TWINS: &[Twin] = &[Twin::None, $(Twin::$twin,)*];

        $(#[test]
        fn $name() {
            is_noticed(Twin::$twin);
        })*
    };
}

twins! {
    a_lent_value_that_is_dropped_is_noticed LentValueDropped,
    freeing_without_a_period_is_noticed FreedWithoutPeriod,
    unlinking_without_a_period_is_noticed UnlinkedWithoutPeriod,
    a_snapshot_that_registers_after_its_pin_is_noticed RegisteredUnpinned,
    a_revision_that_is_published_first_is_noticed PublishedBeforeWritten,
    a_scan_that_finds_no_snapshot_is_noticed SnapshotsNotFound,
    a_scan_that_waits_for_no_reader_is_noticed ScannedBeforeWaiting,
    a_slot_that_dies_with_its_key_is_noticed SlotKilledAtDeletion,
}
