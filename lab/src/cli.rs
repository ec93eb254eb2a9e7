//! `cargo lab`: what is typed, and what becomes of it.

use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, Parser, Subcommand};

use crate::fault::Fault;
use crate::model::{ContenderInfo, Kind, Report};
use crate::output::progress::Progress;
use crate::output::terminal;
use crate::plan::Plan;
use crate::run::Run;
use crate::save::{self, Saved};
use crate::scenario::{Effort, Scenario};
use crate::{check, child, compare, contender, context, judge, output, scenarios, workload};

/// Measures the stores of service-registry on this machine: prints tables and answers, and
/// writes report.html, report.md, report.csv and report.json.
///
/// Without options it measures everything, in at most ten minutes. Ctrl-C ends the run and
/// keeps what was measured.
#[derive(Debug, Parser)]
#[command(
    name = "cargo lab",
    bin_name = "cargo lab",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    task: Option<Subtask>,

    #[command(flatten)]
    options: Options,
}

/// What can be done besides measuring.
#[derive(Debug, Subcommand)]
enum Subtask {
    /// Draw the pages again from a report.json, without a new run
    Render {
        /// The report [default: that of the last run]
        json: Option<PathBuf>,
        /// Write the files to this folder [default: that of the report]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Say what changed from an older report.json to a newer one
    Compare {
        /// The older report
        old: PathBuf,
        /// The newer one [default: that of the last run]
        new: Option<PathBuf>,
        /// Print every change, however many there are
        #[arg(long)]
        verbose: bool,
    },
    /// Check whether a report.json is whole and agrees with itself
    Check {
        /// The report [default: that of the last run]
        json: Option<PathBuf>,
    },
    /// Write the pages of the repository that are made from docs/report.json
    Docs {
        /// Write nothing, and fail where a page is not what it would be
        #[arg(long)]
        check: bool,
    },
    /// List the scenarios and who takes part
    List,
}

#[derive(Args, Debug)]
struct Options {
    /// End within a minute: fewer cells, shorter slices, wider intervals
    #[arg(long)]
    quick: bool,

    /// Take up to an hour: more cells and sizes, narrow intervals
    #[arg(long, conflicts_with = "quick")]
    full: bool,

    /// Only see whether everything works, in some seconds; no figure means anything
    #[arg(long, conflicts_with_all = ["quick", "full"])]
    smoke: bool,

    /// Run this scenario; may be given several times [default: all]
    #[arg(long = "scenario", value_name = "NAME", value_parser = scenario_names())]
    scenarios: Vec<String>,

    /// Measure this store of the crate; may be given several times. What stores are
    /// compared with takes part in any case [default: all]
    #[arg(long = "store", value_name = "ID", value_parser = store_names(), ignore_case = true)]
    stores: Vec<String>,

    /// Make keys, operations and the order of the slices from this number
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Write the files to this folder; made if it is not there
    /// [default: report in the target folder of this build]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Print all tables
    #[arg(long)]
    verbose: bool,
}

fn scenario_names() -> PossibleValuesParser {
    let all = scenarios::all().into_iter();
    PossibleValuesParser::new(all.map(|own| PossibleValue::new(own.name).help(own.about)))
}

fn contenders() -> Vec<ContenderInfo> {
    contender::all().into_iter().map(|own| own.info).collect()
}

fn store_names() -> PossibleValuesParser {
    let stores = contenders().into_iter().filter(|info| info.kind == Kind::Ours);
    PossibleValuesParser::new(stores.map(|info| {
        let value = PossibleValue::new(&*info.id.leak()).alias(&*info.name.leak());
        value.help(info.about)
    }))
}

/// Set when the user wants to stop.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Does what was typed.
pub fn main() -> ExitCode {
    // A process that measures is called by this program itself.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == child::ARGUMENT) {
        let task = arguments.next().map(OsString::into_string);
        return child::serve(&task.and_then(Result::ok).unwrap_or_default(), open);
    }
    let cli = Cli::parse();
    let done = match &cli.task {
        None => measure(&cli.options),
        Some(task) => perform(task),
    };
    done.unwrap_or_else(|failure| match failure {
        // A reader that has seen enough, `head` say, is no reason to fail.
        Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Failure::Output(error) => {
            complain(&format!("cannot write to standard output: {error}"));
            ExitCode::from(2)
        }
        Failure::Other(fault) => {
            complain(&fault.0);
            ExitCode::from(2)
        }
    })
}

/// Why a task failed.
enum Failure {
    /// What it says, nobody could read.
    Output(io::Error),
    Other(Fault),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::Other(fault)
    }
}

/// Says it on standard error, which may be closed or full.
fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "error: {what}");
}

fn open(task: &child::Task) -> Result<Box<dyn crate::stage::Stage>, Fault> {
    let all = scenarios::all();
    let scenario = all.iter().find(|own| own.name == task.scenario);
    let cell = scenario.and_then(|own| own.cells.get(task.cell));
    let cell = cell.ok_or_else(|| Fault::new(format!("there is no such cell: {task:?}")))?;
    if !task.seats.is_empty() {
        workload::seat::prefer(task.seats.clone());
    }
    contender::find(&contender::all(), &task.contender)?.open(cell, task.seed)
}

impl Options {
    fn effort(&self) -> Effort {
        match (self.smoke, self.quick, self.full) {
            (true, ..) => Effort::Smoke,
            (_, true, _) => Effort::Quick,
            (.., true) => Effort::Full,
            _ => Effort::Default,
        }
    }

    /// The stores that were named, by their ids.
    fn ids(&self, contenders: &[ContenderInfo]) -> Vec<String> {
        let id = |given: &String| {
            let named = |own: &&ContenderInfo| {
                given.eq_ignore_ascii_case(&own.id) || given.eq_ignore_ascii_case(&own.name)
            };
            contenders.iter().find(named).map_or_else(|| given.clone(), |own| own.id.clone())
        };
        self.stores.iter().map(id).collect()
    }

    /// What to type to run the same again.
    fn command(&self) -> String {
        let mut words = vec![String::from("cargo lab")];
        if self.effort() != Effort::Default {
            words.push(format!("--{}", name(self.effort())));
        }
        let named = |option: &str, all: &[String]| -> Vec<String> {
            all.iter().map(|own| format!("--{option} {own}")).collect()
        };
        words.extend(named("scenario", &self.scenarios));
        words.extend(named("store", &self.ids(&contenders())));
        words.push(format!("--seed {}", self.seed));
        words.join(" ")
    }

    /// The scenarios that were asked for, with those who take part, and the cells.
    fn chosen(
        &self,
        contenders: &[ContenderInfo],
    ) -> Result<(Vec<Scenario>, Vec<(usize, usize)>), Fault> {
        let stores = self.ids(contenders);
        let mut chosen = scenarios::all();
        chosen.retain(|own| {
            self.scenarios.is_empty() || self.scenarios.iter().any(|name| name == own.name)
        });
        for store in &stores {
            if !chosen.iter().any(|own| own.contenders.contains(&&**store)) {
                return Err(Fault::new(format!(
                    "{store} takes part in none of these scenarios: {}; see `cargo lab list`",
                    self.scenarios.join(", ")
                )));
            }
        }
        let is_ours =
            |id: &str| contenders.iter().any(|own| own.id == id && own.kind == Kind::Ours);
        for scenario in &mut chosen {
            let reference = scenario.reference;
            scenario.contenders.retain(|id| {
                stores.is_empty()
                    || *id == reference
                    || !is_ours(id)
                    || stores.iter().any(|own| own == id)
            });
        }
        // What a quick run measures, a smoke run tries.
        let effort = self.effort().max(Effort::Quick);
        let mut cells = Vec::new();
        for (at, scenario) in chosen.iter().enumerate() {
            let own = scenario.cells.iter().enumerate();
            let own = own.filter(|(_, cell)| cell.from <= effort).map(|(cell, _)| (at, cell));
            cells.extend(own);
        }
        if cells.is_empty() {
            return Err(Fault::new(format!(
                "{} is measured with more effort only: without --{}, or with --full",
                self.scenarios.join(", "),
                name(self.effort())
            )));
        }
        Ok((chosen, cells))
    }
}

fn name(effort: Effort) -> &'static str {
    match effort {
        Effort::Smoke => "smoke",
        Effort::Quick => "quick",
        Effort::Default => "default",
        Effort::Full => "full",
    }
}

/// The folder of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The target folder that this program was built in.
fn target() -> PathBuf {
    // Cargo marks it, and puts programs some folders below.
    let program = std::env::current_exe().unwrap_or_default();
    let marked = |folder: &&Path| folder.join("CACHEDIR.TAG").is_file();
    let found = program.ancestors().skip(1).find(marked);
    found.map_or_else(|| "target".into(), Path::to_path_buf)
}

/// The report of the last run, unless another one was named.
fn named(json: Option<&PathBuf>) -> PathBuf {
    json.cloned().unwrap_or_else(|| target().join("report/report.json"))
}

fn bytes(path: &Path) -> Result<Vec<u8>, Fault> {
    fs::read(path).map_err(|error| Fault::new(format!("{}: {error}", path.display())))
}

fn read(path: &Path) -> Result<Report, Fault> {
    check::read(&bytes(path)?).map_err(|fault| Fault::new(fault).at(path.display()))
}

/// How the terminal wants it.
fn looks(verbose: bool) -> terminal::Options {
    let own = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    terminal::Options {
        verbose,
        width: own.or(columns).unwrap_or(80),
        colour: io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|own| own.is_empty()),
    }
}

/// Says what was written and what was not.
fn tell(saved: &Saved) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    let said = saved.written.iter().try_for_each(|path| writeln!(out, "wrote {}", path.display()));
    for (path, error) in &saved.failed {
        complain(&format!("{} was not written: {error}", path.display()));
    }
    if !saved.failed.is_empty() {
        return Ok(ExitCode::from(2));
    }
    said?;
    Ok(ExitCode::SUCCESS)
}

fn perform(task: &Subtask) -> Result<ExitCode, Failure> {
    match task {
        Subtask::Render { json, out } => {
            let json = named(json.as_ref());
            let mut report = read(&json)?;
            judge::complete(&mut report);
            let folder = out.as_deref().or(json.parent()).unwrap_or(Path::new("."));
            tell(&save::save(folder, output::rendered(&report)?))
        }
        Subtask::Compare { old, new, verbose } => {
            let new = named(new.as_ref());
            let changes = compare::compare(&read(old)?, &read(&new)?);
            let names = [old, &new].map(|path| path.display().to_string());
            let names = [&*names[0], &*names[1]];
            terminal::changes(&changes, names, &mut io::stdout().lock(), looks(*verbose))?;
            Ok(ExitCode::SUCCESS)
        }
        Subtask::Check { json } => {
            let json = named(json.as_ref());
            if let Err(faults) = check::check(&bytes(&json)?, judge::complete) {
                complain(&format!("{} is not whole:\n  {}", json.display(), faults.join("\n  ")));
                return Ok(ExitCode::FAILURE);
            }
            writeln!(io::stdout(), "{} is whole, and agrees with itself", json.display())?;
            Ok(ExitCode::SUCCESS)
        }
        Subtask::Docs { check } => docs(*check),
        Subtask::List => Ok(list(&mut io::stdout().lock())?),
    }
}

fn docs(only_check: bool) -> Result<ExitCode, Failure> {
    let json = root().join("docs/report.json");
    let report = check::check(&bytes(&json)?, judge::complete).map_err(|faults| {
        Fault::new(format!("{} is not whole: {}", json.display(), faults.join("; ")))
    })?;
    let context = &report.context;
    if !["default", "full"].contains(&&*context.effort) || context.ended_early.is_some() {
        return Err(Fault::new(format!(
            "{} is of {}; the pages want a whole run of `cargo lab` or `cargo lab --full`",
            json.display(),
            context.command
        ))
        .into());
    }
    let readme = String::from_utf8_lossy(&bytes(&root().join("README.md"))?).into_owned();
    let files = output::docs(&report, &readme)?;
    if !only_check {
        return tell(&save::save(root(), files));
    }
    let stale = |(path, text): &(PathBuf, Vec<u8>)| {
        let there = fs::read(root().join(path)).unwrap_or_default();
        (there != *text).then(|| path.display().to_string())
    };
    let stale: Vec<String> = files.iter().filter_map(stale).collect();
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
    for info in contenders() {
        writeln!(out, "  {}: {}, {}", info.id, info.name, info.about)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(options: &Options) -> Result<ExitCode, Failure> {
    let contenders = contenders();
    let (scenarios, mut cells) = options.chosen(&contenders)?;
    let folder = options.out.clone().unwrap_or_else(|| target().join("report"));
    save::prepare(&folder).map_err(|error| {
        let folder = folder.display();
        Fault::new(format!(
            "cannot write to {folder}: {error}; choose another folder with --out DIR"
        ))
    })?;
    let handler = || {
        if INTERRUPTED.swap(true, Relaxed) {
            // Asked a second time: leave at once. The measuring processes go with this one.
            std::process::exit(130);
        }
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        complain(&format!("Ctrl-C will lose what has been measured: {error}"));
    }
    let plan = Plan::of(options.effort());
    let rules = plan.rules().into_iter().chain(judge::rules()).collect();
    let effort = name(options.effort());
    let taking_part =
        |info: &ContenderInfo| scenarios.iter().any(|own| own.contenders.contains(&&*info.id));
    let contenders = contenders.into_iter().filter(taking_part).collect();
    let mut context = context::context(options.command(), effort, options.seed, rules, contenders);
    cells.retain(|&(scenario, cell)| {
        let lack = workload::lacks(&scenarios[scenario].cells[cell]);
        let new = lack.clone().filter(|own| !context.lacks.contains(own));
        context.lacks.extend(new);
        lack.is_none()
    });
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
fn finish(report: &Report, folder: &Path, verbose: bool) -> Result<ExitCode, Failure> {
    let interrupted = INTERRUPTED.load(Relaxed);
    if report.rows.is_empty() {
        let why = report.context.ended_early.as_deref().unwrap_or("no life fits into the time");
        complain(&format!("nothing was measured, and nothing written: {why}"));
        return Ok(ExitCode::from(if interrupted { 130 } else { 1 }));
    }
    let saved = save::save(folder, output::files(report)?);
    let printed = terminal::print(report, &mut io::stdout().lock(), looks(verbose));
    let told = tell(&saved);
    printed?;
    let code = told?;
    match &report.context.ended_early {
        Some(_) if interrupted => Ok(ExitCode::from(130)),
        Some(fault) => {
            complain(&format!(
                "the run ended, and the report holds what was measured before: {fault}"
            ));
            Ok(ExitCode::FAILURE)
        }
        None => Ok(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_options_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_store_goes_by_either_name() {
        let given = ["lab", "--store", "SnapshotStore", "--store", "memory"];
        let options = Cli::parse_from(given).options;
        assert_eq!(options.command(), "cargo lab --store snapshot --store memory --seed 1");
    }

    #[test]
    fn a_bad_option_is_refused_before_anything_runs() {
        for bad in ["rendre", "--fast", "--scenario=burst", "--store=floor", "--seed=x"] {
            let error = Cli::try_parse_from(["lab", bad]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{bad}");
        }
        for bad in [["--quick", "--full"], ["--smoke", "--quick"], ["--quick", "list"]] {
            Cli::try_parse_from(["lab", bad[0], bad[1]]).unwrap_err();
        }
    }

    #[test]
    fn a_store_that_takes_no_part_is_refused() {
        let options =
            Cli::parse_from(["lab", "--scenario", "sustained", "--store", "memory"]).options;
        let fault = options.chosen(&contenders()).unwrap_err();
        assert!(fault.0.contains("memory takes part in none"), "{fault}");
    }
}
