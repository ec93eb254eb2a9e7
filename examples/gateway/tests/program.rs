//! The program: its arguments, how it stops, and what it leaves.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn gateway(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = gateway(arguments).output().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    (status.code().unwrap(), stdout, stderr)
}

/// Where a test keeps its dump, which is not there yet.
fn file(test: &str) -> PathBuf {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}.dump"));
    let _ = fs::remove_file(&file);
    file
}

#[test]
fn it_explains_itself() {
    let (code, stdout, _) = run(&["--help"]);
    assert_eq!(code, 0);
    for said in [
        "no authentication",
        "--listen",
        "--dump",
        "--limit",
        "--no-fleet",
        "--for",
        "--host",
    ] {
        assert!(stdout.contains(said), "{said}: {stdout}");
    }
}

#[test]
fn arguments_that_are_none_are_told() {
    for (arguments, says) in [
        (&["--listen", "nowhere"][..], "--listen"),
        (&["--limit=-1"], "--limit"),
        (&["--limit", "many"], "--limit"),
        (&["--for", "3"], "such as 500ms, 3s or 1m"),
        (&["--dump-every", "0s"], "longer than zero"),
        (&["--fleet"], "--fleet"),
        (&["--dump"], "--dump"),
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, &*stdout), (2, ""), "{arguments:?}");
        assert!(stderr.contains(says), "{arguments:?}: {stderr}");
    }
}

#[test]
fn an_address_that_is_taken_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, stdout, stderr) = run(&["--listen", &address]);
    assert_eq!((code, &*stdout), (1, ""));
    assert!(
        stderr.starts_with(&format!("cannot listen on {address}: ")),
        "{stderr}"
    );
}

#[test]
fn a_dump_that_cannot_be_had_is_told() {
    let folder = env!("CARGO_TARGET_TMPDIR");
    let (code, _, stderr) = run(&["--listen", "127.0.0.1:0", "--dump", folder]);
    assert_eq!(code, 1);
    assert!(stderr.starts_with(folder), "{stderr}");
}

#[test]
fn it_stops_by_itself_where_that_is_asked_for() {
    let file = file("by_itself");
    let path = file.to_str().unwrap();
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--no-fleet",
        "--for",
        "100ms",
        "--dump",
        path,
    ];
    let (code, stdout, stderr) = run(&arguments);
    assert_eq!((code, &*stderr), (0, ""));
    assert!(
        stdout.starts_with("http://127.0.0.1:") && stdout.ends_with("/\n"),
        "{stdout}"
    );
    let dump = fs::read_to_string(&file).unwrap();
    assert!(dump.starts_with("{\"format\":\"service-registry\""));
}

/// Of both signals; with a fleet, whose registrations are in the file then.
#[cfg(unix)]
#[test]
fn it_writes_the_dump_when_it_is_told_to_stop() {
    for signal in ["-INT", "-TERM"] {
        let file = file(signal);
        let path = file.to_str().unwrap();
        let arguments = [
            "--listen",
            "127.0.0.1:0",
            "--dump-every",
            "1m",
            "--dump",
            path,
        ];
        let mut child = gateway(&arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut address).unwrap();
        assert!(address.starts_with("http://"), "{address}");
        let told = Command::new("kill")
            .arg(signal)
            .arg(child.id().to_string())
            .status()
            .unwrap();
        assert!(told.success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
        let dump = fs::read_to_string(&file).unwrap();
        assert!(
            dump.lines().last().unwrap().starts_with("{\"lines\":"),
            "{dump}"
        );
    }
}
