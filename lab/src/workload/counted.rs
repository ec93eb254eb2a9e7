//! What an operation takes, counted instead of timed: allocations and instructions.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::task::{Task, tasks};
use super::verify::verify;
use crate::counting::Count;
use crate::fault::Fault;
use crate::fleet::Fleet;
use crate::scenario::Cell;
use crate::stage::{Slice, Stage};
use crate::subject::Subject;

/// Tells a process that valgrind runs it.
const UNDER_VALGRIND: &str = "SERVICE_REGISTRY_LAB_UNDER_VALGRIND";

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Allocations,
    Instructions,
}

/// A subject and its only thread, whose work is counted.
pub(super) struct Counted<S> {
    subject: S,
    fleet: Fleet,
    task: Task,
    what: What,
}

impl<S: Subject> Counted<S> {
    pub(super) fn new(subject: S, cell: &Cell, what: What, seed: u64) -> Counted<S> {
        Counted { subject, fleet: Fleet(cell.holds), task: tasks(cell, seed).remove(0), what }
    }

    fn some(&mut self, around: impl FnOnce(&mut dyn FnMut())) -> Result<u64, Fault> {
        let mut hand = self.subject.alone();
        match self.task.some(&mut hand, around) {
            (operations, 0) => Ok(operations),
            (_, wrong) => Err(Fault(format!("{wrong} wrong answers"))),
        }
    }
}

impl<S: Subject> Stage for Counted<S> {
    fn slice(&mut self, _: Duration) -> Result<Slice, Fault> {
        // The first ones let tables and lists grow.
        self.some(|run| run())?;
        let mut counted = 0;
        let operations = match self.what {
            What::Allocations => self.some(|run| {
                let count = Count::begin();
                run();
                counted = count.allocations();
            })?,
            What::Instructions => {
                let operations = self.some(|run| counted_by_callgrind(run))?;
                if std::env::var_os(UNDER_VALGRIND).is_none() {
                    counted = callgrind()?;
                }
                operations
            }
        };
        Ok(Slice { values: vec![counted as f64 / operations as f64], operations, nanoseconds: 0 })
    }

    fn finish(mut self: Box<Self>) -> Result<(), Fault> {
        verify::<S>(&mut self.subject.alone(), self.fleet, &[self.task.last_checks()])
    }
}

/// Valgrind counts what happens within calls of this, by its name.
#[inline(never)]
fn counted_by_callgrind(run: &mut dyn FnMut()) {
    run();
}

/// Whether there is a valgrind.
pub(super) fn has_valgrind() -> bool {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// Runs this very process once more, under valgrind: the instructions that it counted.
fn callgrind() -> Result<i64, Fault> {
    let failed = |what: &str| Fault(format!("valgrind {what}"));
    let out =
        std::env::temp_dir().join(format!("service-registry-lab-{}.callgrind", std::process::id()));
    let program =
        std::env::current_exe().map_err(|error| failed(&format!("has no program: {error}")))?;
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
        // Where it has ended already, its status says so.
        let _ = orders.write_all(b"slice 1\nfinish\n");
    }
    let status = child.wait();
    let text = fs::read_to_string(&out).unwrap_or_default();
    let _ = fs::remove_file(&out);
    if !status.is_ok_and(|status| status.success()) {
        return Err(failed("could not run this program"));
    }
    total(&text).ok_or_else(|| failed("counted nothing: the program has no symbols"))
}

/// The count of a file of callgrind.
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
