//! Tests of the program on the command line, also in bad circumstances.
#![cfg(target_os = "linux")]

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

fn lab() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.stdin(Stdio::null());
    command
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("lab-cli-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

const SMOKE: [&str; 5] = ["--smoke", "--scenario", "operations", "--store", "memory"];

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the child processes of `parent`.
fn children(parent: u32) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let is_child = |path: &PathBuf| {
        let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        fields.split(' ').nth(1) == Some(&parent.to_string())
    };
    processes.map(|own| own.path()).filter(is_child).collect()
}

/// Returns whether a process is gone, or a zombie that waits for its parent.
fn is_gone(process: &Path) -> bool {
    let stat = fs::read_to_string(process.join("stat"));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        sleep(Duration::from_millis(20));
    }
}

fn kill(process: u32, signal: &str) {
    let killed = Command::new("kill").args([signal, &process.to_string()]).status();
    assert!(killed.unwrap().success());
}

#[test]
fn signals_keep_what_was_measured_and_leave_no_process() {
    for signal in ["-INT", "-TERM", "-HUP"] {
        let out = folder(signal);
        let mut run = lab();
        run.args(["--scenario", "operations", "--store", "memory", "--out"]).arg(&out);
        let run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until("it measures", || !children(run.id()).is_empty());
        sleep(Duration::from_secs(3));
        let measuring = children(run.id());
        kill(run.id(), signal);
        let output = run.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{signal}: {}", said(&output));
        until("they are gone", || measuring.iter().all(|own| is_gone(own)));
        let json = fs::read_to_string(out.join("report.json")).unwrap();
        assert!(json.contains("\"interrupted\""), "{signal}");
        let checked = lab().arg("check").arg(out.join("report.json")).output().unwrap();
        assert!(checked.status.success(), "{}", said(&checked));
        fs::remove_dir_all(out).unwrap();
    }
}

#[test]
fn no_process_outlives_a_parent_that_is_killed() {
    let out = folder("killed");
    let mut run = lab();
    run.args(["--scenario", "operations", "--store", "memory", "--out"]).arg(&out);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("it measures", || !children(run.id()).is_empty());
    let measuring = children(run.id());
    run.kill().unwrap();
    run.wait().unwrap();
    until("they are gone", || measuring.iter().all(|own| is_gone(own)));
    fs::remove_dir_all(out).unwrap();
}

#[test]
fn a_name_that_is_not_utf_8_is_a_name() {
    let parent = folder("name");
    let out = parent.join(OsStr::from_bytes(b"M\xfcller"));
    let output = lab().args(SMOKE).arg("--out").arg(&out).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let mut first = OsStr::from_bytes(b"--out=").to_owned();
    first.push(&out);
    let output = lab().arg(first).args(SMOKE).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(out.join("report.json").exists());
    fs::remove_dir_all(parent).unwrap();
}

#[test]
fn what_cannot_be_written_or_said_is_an_error_and_no_panic() {
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let status = lab().args(["check", "/nowhere"]).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(2));
    let status = lab().arg("list").stdout(full()).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(2));
    let output = lab().args(SMOKE).args(["--out", "/dev/null/x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("cannot write to /dev/null/x"), "{}", said(&output));

    // A folder is in the way before the run.
    let out = folder("in-the-way");
    fs::create_dir_all(out.join("report.html/x")).unwrap();
    let output = lab().args(SMOKE).arg("--out").arg(&out).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("report.html is a folder there"), "{}", said(&output));
    fs::remove_dir_all(&out).unwrap();

    // A folder appears during the run: the page cannot be written, and the rest is written and
    // listed.
    let mut run = lab();
    run.args(SMOKE).arg("--out").arg(&out).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = run.spawn().unwrap();
    until("a process measures", || !children(run.id()).is_empty());
    fs::create_dir_all(out.join("report.html/x")).unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("report.json") && !text.contains("wrote no"), "{text}");
    assert!(said(&output).contains("report.html was not written"), "{}", said(&output));
    // The temporary files are gone.
    assert_eq!(fs::read_dir(&out).unwrap().count(), 5);
    fs::remove_dir_all(out).unwrap();
}

#[test]
fn a_reader_that_has_seen_enough_is_no_reason_to_fail() {
    let mut run = lab();
    let mut run = run.arg("list").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(run.stdout.take());
    let mut errors = String::new();
    run.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(run.wait().unwrap().success());
    assert_eq!(errors, "");
}

#[test]
fn a_program_that_is_replaced_meanwhile_measures_on() {
    let folder = folder("replaced");
    let program = folder.join("lab");
    fs::copy(env!("CARGO_BIN_EXE_lab"), &program).unwrap();
    let mut run = Command::new(&program);
    run.args(SMOKE).args(["--scenario", "instructions", "--out"]).arg(&folder);
    let run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    fs::remove_file(&program).unwrap();
    fs::write(&program, "no program").unwrap();
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    fs::remove_dir_all(folder).unwrap();
}
