//! The commands of the command line.

use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use clap::Parser;

use crate::cli::{self, Cli, LabCommand, Options};
use crate::contender::{self, Contender};
use crate::fault::Fault;
use crate::model::{ContenderInfo, Report};
use crate::output::progress::Progress;
use crate::output::terminal;
use crate::plan::Plan;
use crate::run::Run;
use crate::save::{self, Saved};
use crate::scenario::Effort;
use crate::{affinity, check, child, compare, context, judge, output, scenarios, words, workload};

/// Set when the user wants to stop.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Set while files are written, when the program must not exit.
static SAVING: AtomicBool = AtomicBool::new(false);

/// After this time, a second Ctrl-C means to exit at once.
const TWICE: Duration = Duration::from_millis(500);

/// Runs the command.
pub fn main() -> ExitCode {
    // This program itself starts the measuring processes.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == child::ARGUMENT) {
        let task = arguments.next().map(OsString::into_string);
        return child::serve(&task.and_then(Result::ok).unwrap_or_default(), open);
    }
    let cli = Cli::parse();
    let done = match &cli.command {
        None => measure(&cli.options),
        Some(command) => perform(command),
    };
    done.unwrap_or_else(|error| {
        // A closed pipe, for example to `head`, is not a failure.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return ExitCode::SUCCESS;
        }
        match error.get_ref() {
            Some(fault) if fault.is::<Fault>() => complain(&fault.to_string()),
            _ => complain(&format!("cannot write to standard output: {error}")),
        }
        ExitCode::from(2)
    })
}

/// Writes an error to standard error, which may be closed or full.
pub(crate) fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "error: {what}");
}

fn open(task: &child::MeasureTask) -> Result<Box<dyn crate::stage::Stage>, Fault> {
    let scenario = scenarios::all().iter().find(|own| own.name == task.scenario);
    let cell = scenario.and_then(|own| own.cells.get(task.cell));
    let cell = cell.ok_or_else(|| Fault::new(format!("there is no such cell: {task:?}")))?;
    if !task.processors.is_empty() {
        affinity::set_order(task.processors.clone());
    }
    contender::find(&task.contender)?.open(cell, task.seed)
}

/// Returns the folder of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Returns the target folder of this build.
fn target() -> PathBuf {
    // Cargo marks this folder, and puts programs some levels below it.
    let program = std::env::current_exe().unwrap_or_default();
    let marked = |folder: &&Path| folder.join("CACHEDIR.TAG").is_file();
    let found = program.ancestors().skip(1).find(marked);
    found.map_or_else(|| "target".into(), Path::to_path_buf)
}

/// Returns the given report, or that of the last run.
fn named(json: Option<&PathBuf>) -> PathBuf {
    json.cloned().unwrap_or_else(|| target().join("report/report.json"))
}

/// Returns a path that is safe to print to a terminal.
fn shown(path: &Path) -> String {
    words::clean(&path.display().to_string())
}

/// The size limit of a report, in bytes.
const LARGEST: u64 = 32 << 20;

fn bytes(path: &Path) -> Result<Vec<u8>, Fault> {
    let known = fs::metadata(path);
    if known.as_ref().is_ok_and(|own| !own.is_file()) {
        return Err(Fault::new(format!("{}: not a file", shown(path))));
    }
    if known.is_ok_and(|own| own.len() > LARGEST) {
        return Err(Fault::new(format!("{}: larger than any report", shown(path))));
    }
    fs::read(path).map_err(|error| Fault::new(format!("{}: {error}", shown(path))))
}

fn read(path: &Path) -> Result<Report, Fault> {
    let bytes = bytes(path)?;
    check::check(&bytes, judge::complete).or_else(|faults| {
        let path = shown(path);
        let report = check::read(&bytes).map_err(|fault| Fault::new(fault).at(&path))?;
        let _ = writeln!(io::stderr(), "warning: {path} is not whole, see `check`: {}", faults[0]);
        Ok(report)
    })
}

/// Returns the style for the terminal.
fn looks(verbose: bool) -> terminal::TerminalOptions {
    let own = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    terminal::TerminalOptions {
        verbose,
        width: own.or(columns).unwrap_or(80),
        colour: io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|own| own.is_empty()),
    }
}

/// Reports which files were written and which were not.
fn tell(saved: &Saved) -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    // Names the folder once, so that the answers stay on the screen.
    let mut said = Ok(());
    for own in saved.written.chunk_by(|a, b| a.parent() == b.parent()) {
        let names = own.iter().filter_map(|path| path.file_name());
        let names: Vec<_> = names.map(|name| shown(Path::new(name))).collect();
        let folder = own[0].parent().unwrap_or(Path::new("."));
        let wrote = format!("wrote {} to {}", names.join(", "), shown(folder));
        let lines = terminal::paragraph(&wrote, looks(false)).join("\n");
        said = said.and_then(|()| writeln!(out, "{lines}"));
    }
    for (path, error) in &saved.failed {
        complain(&format!("{} was not written: {error}", shown(path)));
    }
    if !saved.failed.is_empty() {
        return Ok(ExitCode::from(2));
    }
    said.map(|()| ExitCode::SUCCESS)
}

fn perform(command: &LabCommand) -> io::Result<ExitCode> {
    match command {
        LabCommand::Render { json, out } => {
            let json = named(json.as_ref());
            let mut report = read(&json)?;
            judge::complete(&mut report);
            let folder = out.as_deref().or(json.parent()).unwrap_or(Path::new("."));
            tell(&save::save(folder, output::rendered(&report)?))
        }
        LabCommand::Compare { old, new, verbose } => {
            let new = named(new.as_ref());
            let changes = compare::compare(&read(old)?, &read(&new)?);
            let names = [old, &new].map(|path| shown(path));
            let names = [&*names[0], &*names[1]];
            terminal::changes(&changes, names, &mut io::stdout().lock(), looks(*verbose))?;
            Ok(ExitCode::SUCCESS)
        }
        LabCommand::Check { json } => {
            let json = named(json.as_ref());
            if let Err(faults) = check::check(&bytes(&json)?, judge::complete) {
                complain(&format!("{} is not whole:\n  {}", shown(&json), faults.join("\n  ")));
                return Ok(ExitCode::FAILURE);
            }
            writeln!(io::stdout(), "{} is whole, and agrees with itself", shown(&json))?;
            Ok(ExitCode::SUCCESS)
        }
        LabCommand::Docs { check } => docs(*check),
        LabCommand::List => list(&mut io::stdout().lock()),
    }
}

fn docs(only_check: bool) -> io::Result<ExitCode> {
    let json = root().join("docs/report.json");
    let report = check::check(&bytes(&json)?, judge::complete).map_err(|faults| {
        Fault::new(format!("{} is not whole: {}", shown(&json), faults.join("; ")))
    })?;
    let context = &report.context;
    if !["default", "full"].contains(&&*context.effort) || context.ended_early.is_some() {
        return Err(Fault::new(format!(
            "{} is of {}; the pages want a whole run of `cargo lab` or `cargo lab --full`",
            shown(&json),
            context.command
        ))
        .into());
    }
    let readme = String::from_utf8_lossy(&bytes(&root().join("README.md"))?).into_owned();
    let files = output::docs(&report, &readme)?;
    // Removes the charts of an older report that no page shows any more.
    let charts = fs::read_dir(root().join("docs/img")).into_iter().flatten().flatten();
    let charts = charts.map(|own| Path::new("docs/img").join(own.file_name()));
    let old: Vec<_> = charts.filter(|own| !files.iter().any(|(known, _)| known == own)).collect();
    if !only_check {
        for path in &old {
            fs::remove_file(root().join(path)).map_err(|error| Fault::new(error.to_string()))?;
        }
        return tell(&save::save(root(), files));
    }
    let stale = |(path, text): &(PathBuf, Vec<u8>)| {
        let there = fs::read(root().join(path)).unwrap_or_default();
        (there != *text).then(|| shown(path))
    };
    let stale: Vec<String> =
        files.iter().filter_map(stale).chain(old.iter().map(|path| shown(path))).collect();
    if stale.is_empty() {
        writeln!(io::stdout(), "the pages are what docs/report.json says")?;
        return Ok(ExitCode::SUCCESS);
    }
    complain(&format!(
        "{}: not what docs/report.json says; `cargo lab docs` writes it",
        stale.join(", ")
    ));
    Ok(ExitCode::FAILURE)
}

fn list(out: &mut impl Write) -> io::Result<ExitCode> {
    writeln!(out, "Scenarios, with their cells in a quick, a default and a full run:")?;
    for scenario in scenarios::all() {
        let cells = |effort| scenario.cells.iter().filter(|cell| cell.from <= effort).count();
        let cells = [Effort::Quick, Effort::Default, Effort::Full].map(cells);
        writeln!(
            out,
            "  {}: {} ({}, {}, {})",
            scenario.name, scenario.about, cells[0], cells[1], cells[2]
        )?;
        writeln!(out, "      {}", scenario.contenders.join(", "))?;
    }
    writeln!(out, "Contenders:")?;
    for Contender { info, .. } in contender::all() {
        writeln!(out, "  {}: {}, {}", info.id, info.name, info.about)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(options: &Options) -> io::Result<ExitCode> {
    let (scenarios, mut cells) = options.chosen()?;
    let folder = options.out.clone().unwrap_or_else(|| target().join("report"));
    save::prepare(&folder, &output::NAMES).map_err(|error| {
        let folder = shown(&folder);
        Fault::new(format!(
            "cannot write to {folder}: {error}; choose another folder with --out DIR"
        ))
    })?;
    let handler = || {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        INTERRUPTED.store(true, Relaxed);
        // The second Ctrl-C: exit at once. The measuring processes end with this one. A signal that
        // comes together with the first one, for example to the group, does not count as a second.
        if FIRST.get_or_init(Instant::now).elapsed() > TWICE && !SAVING.load(Relaxed) {
            std::process::exit(130);
        }
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        complain(&format!("Ctrl-C will lose what has been measured: {error}"));
    }
    let plan = Plan::of(options.effort());
    let rules = plan.rules(&scenarios)?;
    let effort = cli::name(options.effort());
    let taking_part =
        |info: &&ContenderInfo| scenarios.iter().any(|own| own.contenders.contains(&&*info.id));
    let contenders = contender::all().iter().map(|own| &own.info);
    let contenders = contenders.filter(taking_part).cloned().collect();
    let mut context = context::context(options.command(), &effort, options.seed, rules, contenders);
    cells.retain(|&(scenario, cell)| {
        let lack = workload::lacks(&scenarios[scenario].cells[cell]);
        let new = lack.clone().filter(|own| !context.lacks.contains(own));
        context.lacks.extend(new);
        lack.is_none()
    });
    if cells.is_empty() {
        return Err(Fault(context.lacks.join("; ")).into());
    }
    let run = Run {
        scenarios,
        cells,
        plan,
        seed: options.seed,
        interrupted: &INTERRUPTED,
        patience: Duration::from_secs(60),
    };
    let progress = Progress::new(run.plan.budget);
    let mut report = run.measure(context, &progress);
    report.context.machine.load_after = context::load();
    finish(&report, &folder, options.verbose)
}

/// Writes and prints what was measured.
fn finish(report: &Report, folder: &Path, verbose: bool) -> io::Result<ExitCode> {
    let interrupted = INTERRUPTED.load(Relaxed);
    if report.rows.is_empty() {
        let why = report.context.ended_early.as_deref().unwrap_or("no life fits into the time");
        complain(&format!("nothing was measured, and nothing written: {why}"));
        return Ok(ExitCode::from(if interrupted { 130 } else { 1 }));
    }
    let files = output::files(report)?;
    SAVING.store(true, Relaxed);
    let saved = save::save(folder, files);
    SAVING.store(false, Relaxed);
    let printed = terminal::print(report, &mut io::stdout().lock(), looks(verbose));
    let saving = tell(&saved);
    let code = match &report.context.ended_early {
        Some(_) if interrupted => ExitCode::from(130),
        Some(fault) => {
            complain(&format!(
                "the run ended, and the report holds what was measured before: {fault}"
            ));
            ExitCode::FAILURE
        }
        None if saved.failed.is_empty() => ExitCode::SUCCESS,
        None => ExitCode::from(2),
    };
    match printed.and(saving) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(code),
    }
}
