//! A process for each contender, and what others did to the machine meanwhile.
//!
//! Everything that one contender leaves behind, a warm allocator, a grown heap, a
//! branch predictor that knows its loops, thread-local caches, would be a gift or a
//! burden to the next. So each is measured in a process of its own, which is told
//! what to measure on its command line and answers on its standard output.

use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::model::{Disturbance, Measurement};
use super::record::Recorder;
use super::run::Scale;
use super::scenarios;
use super::workload::{LabRng, number_of, seeded};

/// What one process measures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The scenario.
    pub scenario: String,
    /// The contender, by its id.
    pub store: String,
    /// For how long.
    pub scale: Scale,
    /// The seed of the run.
    pub seed: u64,
    /// The block, counted from 0.
    pub block: usize,
    /// The numbers of threads that were asked for; empty where the scenario
    /// chooses.
    pub threads: Vec<usize>,
}

impl Trial {
    /// A generator that is the same for every contender of a block, and another
    /// one for each `purpose`: so all of them get the same keys and operations,
    /// whatever they drew before.
    pub fn rng(&self, purpose: &str) -> LabRng {
        let words = [self.scenario.as_str(), purpose];
        let bytes = words.iter().flat_map(|word| word.bytes().chain([0xff]));
        let name = number_of(bytes);
        let block = (self.block as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        seeded(self.seed ^ name.rotate_left(17) ^ block)
    }

    /// The fault of a contender that does not take part in the scenario.
    pub fn unknown_store(&self) -> Fault {
        let (store, scenario) = (&self.store, &self.scenario);
        Fault::Measuring(format!("`{store}` does not take part in {scenario}"))
    }

    /// The numbers of threads to measure with: those that were asked for, or these.
    pub fn threads_or(&self, own: &[usize]) -> Vec<usize> {
        if self.threads.is_empty() {
            return own.to_vec();
        }
        self.threads.clone()
    }
}

/// What a process answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// What it measured.
    pub results: Vec<Measurement>,
    /// How often its threads gave their processors away, and had to, where the
    /// system tells.
    pub switches: Option<(u64, u64)>,
}

/// Measures in this process.
///
/// # Errors
///
/// Where a store did not do what it was to do, or the scenario is unknown.
pub fn measure(trial: &Trial) -> Result<Answer, Fault> {
    let mut known = scenarios::ALL.iter();
    let scenario = known
        .find(|scenario| scenario.name() == trial.scenario)
        .ok_or_else(|| Fault::Measuring(format!("no scenario is called `{}`", trial.scenario)))?;
    let mut record = Recorder::default();
    scenario.measure(trial, &mut record)?;
    Ok(Answer {
        results: record.into_results(),
        switches: switches(),
    })
}

/// How trials are run.
pub trait Executor {
    /// Measures, and answers with what was measured; `None` where it was broken
    /// off.
    ///
    /// # Errors
    ///
    /// Where a store did not do what it was to do.
    fn run(&self, trial: &Trial) -> Result<Option<Answer>, Fault>;
}

/// Runs every trial in this process: for tests.
#[derive(Debug)]
pub struct InProcess;

impl Executor for InProcess {
    fn run(&self, trial: &Trial) -> Result<Option<Answer>, Fault> {
        measure(trial).map(Some)
    }
}

/// Runs every trial in a process of its own: this program, called with
/// [`Processes::ARGUMENT`] and the trial.
#[derive(Debug)]
pub struct Processes<'a> {
    /// Set when the user wants to stop.
    pub interrupted: &'a AtomicBool,
}

impl Processes<'_> {
    /// The subcommand that calls [`answer`].
    pub const ARGUMENT: &'static str = "measure-one";
}

impl Executor for Processes<'_> {
    fn run(&self, trial: &Trial) -> Result<Option<Answer>, Fault> {
        let trial = serde_json::to_string(trial).map_err(io::Error::from)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(Processes::ARGUMENT).arg(&trial);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A group of its own: Ctrl-C is for the parent, which decides.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn()?;
        let Some(output) = self.wait(child)? else {
            return Ok(None);
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim();
            return Err(Fault::Measuring(match said {
                "" => format!("a measuring process ended with {}: {trial}", output.status),
                said => said.to_owned(),
            }));
        }
        Ok(Some(
            serde_json::from_slice(&output.stdout).map_err(io::Error::from)?,
        ))
    }
}

impl Processes<'_> {
    /// Waits for the end of a process, and ends it when the user wants to stop. Two
    /// threads sleep on its output; this one looks every 20 ms whether it has ended,
    /// which takes some microseconds of a process that measures meanwhile.
    fn wait(&self, mut child: Child) -> Result<Option<std::process::Output>, Fault> {
        let read = |pipe: Option<Box<dyn io::Read + Send>>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let mut pipe = pipe.expect("it was asked for");
                io::Read::read_to_end(&mut pipe, &mut bytes).map(|_| bytes)
            })
        };
        let stdout = read(child.stdout.take().map(|pipe| Box::new(pipe) as _));
        let stderr = read(child.stderr.take().map(|pipe| Box::new(pipe) as _));
        let mut nap = Duration::from_millis(1);
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if self.interrupted.load(Relaxed) {
                end(&mut child)?;
                return Ok(None);
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(20));
        };
        let text = |reader: std::thread::JoinHandle<io::Result<Vec<u8>>>| {
            reader.join().expect("reading a pipe panics nowhere")
        };
        Ok(Some(std::process::Output {
            status,
            stdout: text(stdout)?,
            stderr: text(stderr)?,
        }))
    }
}

/// Ends a process with all that it has started, callgrind say, and what it leaves
/// among the temporary files.
fn end(child: &mut Child) -> io::Result<()> {
    #[cfg(unix)]
    {
        use nix::sys::signal::{Signal, killpg};
        use nix::unistd::Pid;
        // It leads a group of its own. Where the group is gone, so is the process.
        let group = i32::try_from(child.id()).map_err(io::Error::other)?;
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    // Where there are no groups; an error says that it has ended by itself.
    let _ = child.kill();
    child.wait()?;
    let _ = std::fs::remove_dir_all(scratch(child.id()));
    Ok(())
}

/// Where the process with a number may leave files while it runs.
pub(super) fn scratch(process: u32) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("service-registry-lab-{process}"))
}

/// What a measuring process does: measures the trial of its argument and prints
/// the answer.
///
/// # Errors
///
/// As [`measure`], and where the argument is no trial.
pub fn answer(trial: &str) -> Result<String, Fault> {
    let trial: Trial = serde_json::from_str(trial).map_err(io::Error::from)?;
    let answer = measure(&trial)?;
    Ok(serde_json::to_string(&answer).map_err(io::Error::from)?)
}

// --- what others did

/// Watches the machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    begun: Instant,
    machine: Option<MachineTime>,
    children: Option<f64>,
}

/// What the processors did since the machine started, in clock ticks.
#[derive(Clone, Copy, Debug, PartialEq)]
struct MachineTime {
    busy: f64,
    stolen: f64,
    total: f64,
}

impl Watch {
    pub(super) fn begin() -> Watch {
        Watch {
            begun: Instant::now(),
            machine: machine_time(),
            children: own_ticks(),
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What others did since, where the system tells. The clock ticks a hundred
    /// times a second: of less than a tenth of one it says nothing.
    pub(super) fn end(&self) -> Option<Disturbance> {
        let (before, after) = (self.machine?, machine_time()?);
        let own = own_ticks()? - self.children?;
        let total = after.total - before.total;
        if total < 10.0 {
            return None;
        }
        let foreign = (after.busy - before.busy) - own;
        Some(Disturbance {
            stolen: ((after.stolen - before.stolen) / total).clamp(0.0, 1.0),
            foreign: (foreign / total).clamp(0.0, 1.0),
        })
    }
}

fn machine_time() -> Option<MachineTime> {
    parse_machine_time(&std::fs::read_to_string("/proc/stat").ok()?)
}

/// The first line: `cpu user nice system idle iowait irq softirq steal ...`; the
/// times of guests after these stand in `user` already.
fn parse_machine_time(stat: &str) -> Option<MachineTime> {
    let numbers = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = numbers
        .split_whitespace()
        .take(8)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let [user, nice, system, idle, iowait, irq, softirq, stolen] = ticks[..] else {
        return None;
    };
    let busy = user + nice + system + irq + softirq;
    Some(MachineTime {
        busy,
        stolen,
        total: busy + idle + iowait + stolen,
    })
}

/// What this process and those that it has waited for have used, in clock ticks.
fn own_ticks() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // After the name of the program, which may hold anything, come the state and,
    // from the twelfth field on, `utime stime cutime cstime`.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(4);
    let ticks: Vec<f64> = ticks.map(str::parse).collect::<Result<_, _>>().ok()?;
    (ticks.len() == 4).then(|| ticks.iter().sum())
}

/// How often the threads of this process gave their processors away, and had to:
/// those that have ended as well.
#[cfg(unix)]
fn switches() -> Option<(u64, u64)> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let number = |n| u64::try_from(n).ok();
    Some((
        number(usage.voluntary_context_switches())?,
        number(usage.involuntary_context_switches())?,
    ))
}

#[cfg(not(unix))]
fn switches() -> Option<(u64, u64)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    #[test]
    fn the_times_of_the_machine_are_read() {
        let stat = "cpu  100 5 50 800 20 1 4 20 7 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n";
        let expected = MachineTime {
            busy: 160.0,
            stolen: 20.0,
            total: 1_000.0,
        };
        assert_eq!(parse_machine_time(stat), Some(expected));
        assert_eq!(parse_machine_time("cpu 1 2\n"), None);
        assert_eq!(parse_machine_time(""), None);
    }

    fn trial(block: usize) -> Trial {
        Trial {
            scenario: "operations".into(),
            store: "memory".into(),
            scale: Scale::Smoke,
            seed: 1,
            block,
            threads: Vec::new(),
        }
    }

    #[test]
    fn contenders_of_a_block_draw_the_same_and_blocks_differ() {
        let draw = |trial: &Trial, purpose| trial.rng(purpose).random::<u64>();
        let other_store = Trial {
            store: "worker".into(),
            ..trial(3)
        };
        assert_eq!(draw(&trial(3), "deck"), draw(&other_store, "deck"));
        assert_ne!(draw(&trial(3), "deck"), draw(&trial(4), "deck"));
        assert_ne!(draw(&trial(3), "deck"), draw(&trial(3), "order"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn threads_that_have_ended_count_among_the_switches() {
        let before = switches().unwrap().0;
        let sleeper = || (0..50).for_each(|_| std::thread::sleep(Duration::from_micros(100)));
        std::thread::spawn(sleeper).join().unwrap();
        assert!(switches().unwrap().0 >= before + 50);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_process_has_started_ends_with_it() {
        // The shell goes on after its child, which is what is looked for.
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $!; wait"]);
        command.stdout(Stdio::piped());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        io::BufRead::read_line(&mut io::BufReader::new(stdout), &mut line).unwrap();
        let left = scratch(child.id());
        std::fs::create_dir_all(&left).unwrap();
        end(&mut child).unwrap();
        assert!(!left.exists());
        // Killed, it may wait as a zombie for somebody to ask after it.
        let state = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", line.trim()));
            stat.ok()
                .map(|stat| stat[stat.rfind(')').unwrap() + 2..].starts_with('Z'))
        };
        for _ in 0..6_000 {
            if state().unwrap_or(true) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{line} is still there");
    }

    #[test]
    fn a_trial_survives_its_command_line() {
        let text = serde_json::to_string(&trial(7)).unwrap();
        assert_eq!(serde_json::from_str::<Trial>(&text).unwrap(), trial(7));
        assert!(answer("not json").is_err());
        let unknown = text.replace("operations", "nothing");
        let said = answer(&unknown).unwrap_err().to_string();
        assert!(said.contains("`nothing`"), "{said}");
    }
}
