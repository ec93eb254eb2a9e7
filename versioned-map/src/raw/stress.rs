//! The engine under stress: real threads, small constants, and delays at random between
//! any two accesses of memory that they share.
//!
//! loom checks at every schedule of a few steps, and frees nothing. Here it is the other way round:
//! some schedules of whatever can be done with an engine, with memory that is freed. It is
//! worth most under `AddressSanitizer`.
//!
//! Rounds run in a process of their own, since what is broken may do anything. A [`Twin`]
//! is the engine with one step left out, or done too early, which has to be noticed.
//!
//! In unit tests the engine prunes after 3 replaced versions and begins with tables of 4 slots, so
//! that rare steps are common, and it overwrites a version before it frees it: memory that is used
//! again is never free to the sanitizer. A failure prints its seed and round. A seed repeats the
//! choices, and not the schedule. One twin by hand, from any seed:
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

/// How long to look for a fault where there is none to be found, in seconds.
const SECONDS: &str = "STRESS_SECONDS";
/// The seed of the first round; each later one has the next.
const SEED: &str = "STRESS_SEED";
/// What a child is told.
const TWIN: &str = "STRESS_TWIN";
const ROUNDS: &str = "STRESS_ROUNDS";

/// How long a twin may go unnoticed. Far more than it needs, so that a busy machine does not
/// fail it.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long a single round may take.
const LONGEST: Duration = Duration::from_secs(60);

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| {
        let number = text.parse();
        number.unwrap_or_else(|_| panic!("{variable} is a number, not `{text}`"))
    })
}

/// In the child.
#[test]
#[ignore = "run by the others, in a process of its own"]
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

/// What became of a child.
struct Outcome {
    status: ExitStatus,
    rounds: u64,
    output: String,
}

/// Runs rounds in a child, for so long, or so many.
fn run(twin: Twin, limit: Duration, rounds: u64) -> Outcome {
    // Tests run side by side, and two of them may run the same rounds.
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
        // What a twin leaks is not what is to be noticed.
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
    let output = output.expect("what the child has written");
    let _ = remove_file(&path);
    let begun = output.lines().filter(|line| line.starts_with("round "));
    Outcome {
        status,
        rounds: begun.count() as u64,
        output,
    }
}

/// The engine as it is; answers how many rounds there were.
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
    // The engine as it is passes the very same rounds.
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
    what_was_lent_and_not_given_back_is_noticed LentValueDropped,
    freeing_at_once_is_noticed FreedWithoutPeriod,
    unlinking_at_once_is_noticed UnlinkedWithoutPeriod,
    a_snapshot_that_begins_late_is_noticed RegisteredUnpinned,
    a_revision_that_is_published_first_is_noticed PublishedBeforeWritten,
    a_pruner_that_asks_nobody_is_noticed SnapshotsNotFound,
    a_scan_that_is_made_too_early_is_noticed ScannedBeforeWaiting,
    a_slot_that_dies_with_its_key_is_noticed SlotKilledAtDeletion,
}
