//! Counts instructions with valgrind.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::fault::Fault;

/// The environment variable that tells a process that valgrind runs it.
const UNDER_VALGRIND: &str = "SERVICE_REGISTRY_LAB_UNDER_VALGRIND";

/// Valgrind counts the instructions within calls of this function, which it finds by name.
#[inline(never)]
pub(super) fn counted_by_callgrind(run: &mut dyn FnMut()) {
    run();
}

/// Returns whether valgrind is installed.
pub(super) fn is_there() -> bool {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// Runs this program once more, under valgrind, and returns the instructions that valgrind counted.
/// Returns 0 if valgrind runs this process already.
pub(super) fn count() -> Result<i64, Fault> {
    if std::env::var_os(UNDER_VALGRIND).is_some() {
        return Ok(0);
    }
    let failed = |what: &str| Fault(format!("valgrind {what}"));
    let out =
        std::env::temp_dir().join(format!("service-registry-lab-{}.callgrind", std::process::id()));
    let mut program = std::env::current_exe().unwrap_or_default();
    let copy = out.with_extension("program");
    if !program.is_file() {
        // The file was replaced since, and valgrind reads function names from a file.
        fs::copy("/proc/self/exe", &copy)
            .map_err(|error| failed(&format!("has no program: {error}")))?;
        program.clone_from(&copy);
    }
    let mut child = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg("--toggle-collect=*counted_by_callgrind*")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(UNDER_VALGRIND, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(&format!("did not start: {error}")))?;
    if let Some(mut orders) = child.stdin.take() {
        // If it has ended already, its status says so.
        let _ = orders.write_all(b"slice 1\nfinish\n");
    }
    let status = child.wait();
    let text = fs::read_to_string(&out).unwrap_or_default();
    for file in [out, copy] {
        let _ = fs::remove_file(file);
    }
    if !status.is_ok_and(|status| status.success()) {
        return Err(failed("could not run this program"));
    }
    total(&text).ok_or_else(|| failed("counted nothing: the program has no symbols"))
}

/// Reads the total from the output file of callgrind.
fn total(text: &str) -> Option<i64> {
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let total = line("totals:").or_else(|| line("summary:"))?.trim().parse().ok()?;
    (total > 0).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn a_file_of_callgrind_is_read() {
        assert_eq!(
            total("events: Ir\nsummary: 12345\n\nfn=(1) f\n0 12345\n\ntotals: 12345\n"),
            Some(12_345)
        );
        assert_eq!(total("events: Ir\n\ntotals: 7\n"), Some(7));
        assert_eq!(total("events: Ir\nsummary: 0\n"), None);
    }
}
