//! The parent's side of a measuring process.
//!
//! Everything that one contender leaves behind (a warm allocator, a grown heap, a trained branch
//! predictor) would help or hinder the next one. So each is measured in its own process.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::child::{ARGUMENT, MeasureTask, Reply};
use crate::fault::Fault;
use crate::stage::Slice;

/// Why a process gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The user wants to stop.
    Interrupted,
    /// The contender failed.
    Fault(Fault),
}

/// How long to wait for a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitOptions<'a> {
    /// Set when the user wants to stop.
    pub(crate) interrupted: &'a AtomicBool,
    /// How long a process may give no answer before it counts as hung.
    pub(crate) patience: Duration,
}

/// A measuring process. Dropping it kills it, with all processes that it has started.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    replies: Receiver<String>,
}

impl Process {
    /// Starts a process, which opens its stage concurrently.
    pub(crate) fn start(task: &MeasureTask) -> Result<Process, Fault> {
        let name = task.contender.clone();
        let failed =
            |error: io::Error| Fault::new(format!("cannot start a process: {error}")).at(&name);
        let task = serde_json::to_string(task).map_err(|error| failed(error.into()))?;
        let mut command = Command::new(program().map_err(failed)?);
        command.arg(ARGUMENT).arg(task);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Its own process group: Ctrl-C is for the parent, which decides.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(failed)?;
        let (send, replies) = channel();
        let output = child.stdout.take().map(BufReader::new);
        let listen = move || {
            let lines = output.into_iter().flat_map(BufRead::lines);
            // The receiver may be gone.
            lines.map_while(Result::ok).try_for_each(|line| send.send(line).ok())
        };
        let listening = std::thread::Builder::new().spawn(listen).map(drop);
        let process = Process { child, name: name.clone(), replies };
        // If no thread can be started, dropping the process ends it.
        listening.map(|()| process).map_err(failed)
    }

    /// Returns its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the stage is open.
    pub(crate) fn ready(&mut self, waiting: WaitOptions<'_>) -> Result<(), Stop> {
        self.reply(waiting, Duration::ZERO).map(drop)
    }

    /// Makes it work for a slice.
    pub(crate) fn slice(
        &mut self,
        length: Duration,
        waiting: WaitOptions<'_>,
    ) -> Result<Slice, Stop> {
        self.tell(&format!("slice {}\n", length.as_nanos()));
        self.reply(waiting, length)
    }

    /// Makes it check the content of its store, and end.
    pub(crate) fn finish(mut self, waiting: WaitOptions<'_>) -> Result<(), Stop> {
        self.tell("finish\n");
        self.reply(waiting, Duration::ZERO).map(drop)
    }

    /// If the process has ended, waiting for its reply reports how.
    fn tell(&mut self, line: &str) {
        if let Some(input) = &mut self.child.stdin {
            let _ = input.write_all(line.as_bytes());
        }
    }

    fn reply(&mut self, waiting: WaitOptions<'_>, length: Duration) -> Result<Slice, Stop> {
        const LOOK: Duration = Duration::from_millis(100);
        let patience = waiting.patience + 20 * length;
        let begun = Instant::now();
        loop {
            if waiting.interrupted.load(Relaxed) {
                return Err(Stop::Interrupted);
            }
            match self.replies.recv_timeout(LOOK) {
                Ok(line) => {
                    let strange = |_| Fault(format!("said {line:?} on its standard output"));
                    let reply = serde_json::from_str::<Reply>(&line).map_err(strange);
                    return reply.and_then(|reply| reply).map_err(|fault| self.fault(fault.0));
                }
                Err(RecvTimeoutError::Timeout) if begun.elapsed() < patience => {}
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = begun.elapsed().as_secs();
                    return Err(
                        self.fault(format!("hangs: it has given no answer for {seconds} s"))
                    );
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
            }
        }
    }

    /// Returns the error for a process that ended by itself, with its last output.
    fn ended(&mut self) -> Stop {
        let status = match self.child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let mut said = Vec::new();
        if let Some(errors) = self.child.stderr.take() {
            let _ = errors.take(8_192).read_to_end(&mut said);
        }
        let said = String::from_utf8_lossy(&said);
        let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let said = said.join("; ");
        self.fault(match &*said {
            "" => format!("the measuring process ended with {status}"),
            said => format!("the measuring process ended with {status}: {said}"),
        })
    }

    fn fault(&self, what: String) -> Stop {
        Stop::Fault(Fault::new(what).at(&self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        #[cfg(unix)]
        {
            use nix::sys::signal::{Signal, killpg};
            use nix::unistd::Pid;
            // It leads its own group. If the group is gone, so is the process.
            if let Ok(group) = i32::try_from(self.child.id()) {
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
        }
        // For systems without groups; an error means that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the path of this program: on Linux even if its file was replaced or removed since.
fn program() -> io::Result<PathBuf> {
    let own = PathBuf::from("/proc/self/exe");
    if own.exists() {
        return Ok(own);
    }
    // Without /proc, uses the name with which it was called.
    let called = || std::env::args_os().next().map(PathBuf::from);
    std::env::current_exe().or_else(|error| called().ok_or(error))
}
