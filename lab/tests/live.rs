//! Tests the method on this machine, with contenders whose true ratios are known. The contenders
//! are this program, called by itself, so it has no test harness.
//!
//!     cargo test -p service-registry-lab --test live              what timing cannot fail
//!     cargo test -p service-registry-lab --release --test live -- --ignored    the intervals

#![allow(clippy::cast_precision_loss)] // nanoseconds far below 2^52

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use service_registry_lab::child::{self, MeasureTask};
use service_registry_lab::contender::info;
use service_registry_lab::context::context;
use service_registry_lab::fault::Fault;
use service_registry_lab::model::{ContenderKind, Interval, Level, Report, Row};
use service_registry_lab::output::progress::Progress;
use service_registry_lab::plan::Plan;
use service_registry_lab::run::Run;
use service_registry_lab::scenario::{Cell, Effort, Scenario};
use service_registry_lab::stage::{Slice, Stage};

/// How a contender behaves.
struct TestContender {
    name: String,
    /// Multiplications of an operation.
    work: u32,
    /// Slices so far; the first warms.
    slices: u32,
    /// Whether this is a second life, in which some fail.
    again: bool,
}

const WORK: u32 = 2_000;

#[allow(clippy::unnecessary_wraps)] // what a child wants
fn open(task: &MeasureTask) -> Result<Box<dyn Stage>, Fault> {
    let opened = memory(std::os::unix::process::parent_id()).join(&task.contender);
    let again = opened.exists();
    let _ = fs::write(opened, "");
    Ok(Box::new(TestContender {
        work: if task.contender == "slower" { WORK * 21 / 20 } else { WORK },
        name: task.contender.clone(),
        slices: 0,
        again,
    }))
}

impl Stage for TestContender {
    fn slice(&mut self, length: Duration) -> Result<Slice, Fault> {
        self.slices += 1;
        if self.again && self.slices > 1 {
            match &*self.name {
                "crashes" => panic!("on purpose"),
                "hangs" => sleep(Duration::from_secs(3_600)),
                "lies" => return Err(Fault::new("found 1 of 2 pods")),
                "empty" => return Ok(vec![0.01]),
                _ => {}
            }
        }
        let begun = Instant::now();
        let (mut operations, mut state) = (0_u64, 1_u64);
        while begun.elapsed() < length {
            for _ in 0..self.work {
                state = black_box(state.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 1);
            }
            operations += 1;
        }
        let nanoseconds = begun.elapsed().as_nanos() as f64;
        Ok(vec![nanoseconds / operations as f64])
    }

    fn finish(self: Box<Self>) -> Result<(), Fault> {
        Ok(())
    }
}

/// The folder in which each contender of a run leaves a file, to know its second life.
fn memory(run: u32) -> PathBuf {
    std::env::temp_dir().join(format!("lab-live-{run}"))
}

fn cell(at: usize) -> Cell {
    Cell { name: format!("cell {at}"), ..Cell::default() }
}

fn scenario(name: &'static str, contenders: &[&'static str], cells: Vec<Cell>) -> Scenario {
    Scenario {
        name,
        about: "",
        method: "",
        level: Level::Map,
        contenders: contenders.into(),
        reference: "base",
        quiet: 1.0,
        cells,
    }
}

fn run(scenarios: Vec<Scenario>, lives: usize) -> Report {
    static NOT_INTERRUPTED: AtomicBool = AtomicBool::new(false);
    let folder = memory(std::process::id());
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let plan = Plan {
        lives,
        most: lives,
        rounds: 4,
        slice: Duration::from_millis(4),
        ..Plan::of(Effort::Default)
    };
    let cells = scenarios.iter().enumerate();
    let cells = cells.flat_map(|(at, own)| (0..own.cells.len()).map(move |cell| (at, cell)));
    let infos = scenarios[0].contenders.iter().map(|id| info(id, id, "", ContenderKind::Outside));
    let context = context(String::new(), "default", 1, Vec::new(), infos.collect());
    let run = Run {
        cells: cells.collect(),
        scenarios,
        seed: 1,
        interrupted: &NOT_INTERRUPTED,
        patience: Duration::from_secs(5),
        plan,
    };
    let report = run.measure(context, &Progress::new(Duration::from_secs(1)));
    let _ = fs::remove_dir_all(&folder);
    report
}

fn rows<'a>(report: &'a Report, scenario: &str, contender: &str) -> Vec<&'a Row> {
    let own = |row: &&Row| row.id.scenario == scenario && row.contender == contender;
    report.rows.iter().filter(own).collect()
}

/// Returns how many intervals miss the truth: those of the slower contender, and of the equal one.
fn misses(asked: usize) -> [usize; 2] {
    let cells = (0..asked).map(cell).collect();
    let report = run(vec![scenario("work", &["base", "slower", "same"], cells)], 6);
    assert_eq!(report.context.ended_early, None);
    [("slower", 1.05), ("same", 1.0)].map(|(contender, truth)| {
        let ratios = rows(&report, "work", contender).into_iter().filter_map(|row| row.ratio);
        let misses = |own: &Interval| !(own.low..=own.high).contains(&truth);
        let ratios: Vec<Interval> = ratios.collect();
        let whole = |own: &Interval| 0.0 < own.low && own.low <= own.value && own.value <= own.high;
        assert!(ratios.iter().all(whole) && ratios.len() == asked, "{ratios:?}");
        ratios.iter().filter(|own| misses(own)).count()
    })
}

fn intervals_are_found() {
    misses(2);
}

fn five_percent_and_nothing() {
    let missed = misses(40);
    println!("    missed: {missed:?} of 40 each");
    assert!(missed.iter().all(|own| *own <= 6), "{missed:?} of 40 each");
}

fn who_fails_is_named() {
    for (name, says) in [
        ("crashes", "on purpose"),
        ("hangs", "hangs: it has given no answer for"),
        ("lies", "found 1 of 2 pods"),
        ("empty", "compiler has most likely removed the work"),
    ] {
        let cells = vec![cell(0)];
        let report = run(vec![scenario("work", &["base", name], cells)], 3);
        let why = report.context.ended_early.clone().unwrap();
        assert!(why.starts_with(&format!("work: cell 0: {name}: ")) && why.contains(says), "{why}");
        let kept = rows(&report, "work", name);
        // The rounds of its first life: more if opening took long.
        assert!(kept[0].samples.iter().flatten().count() >= 2, "{name}");
        assert!(kept[0].ratio.is_some());
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().is_some_and(|first| first == child::ARGUMENT) {
        return child::serve(&arguments.next().unwrap_or_default(), open);
    }
    let test = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let tests = vec![
        test("intervals_are_found", intervals_are_found),
        test("five_percent_and_nothing_are_missed_in_at_most_6_of_40", five_percent_and_nothing)
            .with_ignored_flag(true),
        test("who_fails_is_named_and_what_was_measured_is_kept", who_fails_is_named),
    ];
    // One after the other: each needs the machine for itself.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, tests).exit_code()
}
