//! The measuring process, and its protocol.
//!
//! The program calls itself with [`ARGUMENT`] and a [`MeasureTask`]. The child opens a [`Stage`],
//! and reports that it is ready. Then it does a slice for each line `slice NANOSECONDS` on its
//! standard input, and answers with a line. At `finish` it checks the content of the store, and
//! ends. It also ends when its input ends, since its parent is gone then.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::stage::{Slice, Stage};

/// The first argument of a measuring process.
pub const ARGUMENT: &str = "measure-one";

/// The task of a measuring process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasureTask {
    /// The scenario.
    pub scenario: String,
    /// The index of the cell in the scenario.
    pub cell: usize,
    /// The contender, by its id.
    pub contender: String,
    /// The seed of all randomness in this life: the same for all contenders of a cell.
    pub seed: u64,
    /// The processors, the one that other programs use least first.
    pub processors: Vec<usize>,
}

/// A reply to the parent, on one line: the figures of a slice, no figures when the stage has opened
/// or finished, or the fault of the store.
pub(crate) type Reply = Result<Slice, Fault>;

/// Serves the requests of the parent until there are no more.
pub fn serve(
    task: &str,
    open: impl FnOnce(&MeasureTask) -> Result<Box<dyn Stage>, Fault>,
) -> ExitCode {
    end_with_parent();
    let task = serde_json::from_str(task).map_err(|error| Fault::new(format!("no task: {error}")));
    let mut stage = match task.and_then(|task| open(&task)) {
        Ok(stage) => stage,
        Err(fault) => return say(&Err(fault)),
    };
    say(&Ok(Slice::new()));
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let reply = match line.strip_prefix("slice ").map(str::parse) {
            Some(Ok(length)) => stage.slice(Duration::from_nanos(length)),
            _ if line == "finish" => return say(&stage.finish().map(|()| Slice::new())),
            _ => Err(Fault::new(format!("{line:?} is nothing that a parent says"))),
        };
        let said = say(&reply);
        if reply.is_err() {
            return said;
        }
    }
    // Does not return: threads of the stage may still wait at a barrier.
    std::process::exit(0);
}

/// If the parent no longer listens, it has ended.
fn say(reply: &Reply) -> ExitCode {
    let mut line = serde_json::to_string(reply).expect("a reply is made of texts and numbers");
    line.push('\n');
    let mut out = io::stdout().lock();
    if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
    ExitCode::SUCCESS
}

/// Makes the kernel kill this process when its parent ends for any reason: a store that hangs does
/// not notice the end of its input.
pub fn end_with_parent() {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::{prctl, signal::Signal};
        // Fails only for a signal that does not exist.
        let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    }
}
