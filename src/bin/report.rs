//! `cargo lab`: compares the stores on this machine.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, Parser, Subcommand};
use service_registry::lab::counting::Counting;
use service_registry::lab::output::Document;
use service_registry::lab::process::Processes;
use service_registry::lab::{self, Report, Scale, Settings, contender, output, scenarios, schema};

// Stores allocate on many threads at once; an allocator that takes a lock there
// would be measured in their place. It counts where a scenario asks for that.
#[global_allocator]
static ALLOCATOR: Counting<mimalloc::MiMalloc> = Counting(mimalloc::MiMalloc);

/// Measures the stores of service-registry on this machine: prints a table, and
/// writes report.html, report.md, report.csv and report.json.
///
/// Without options it runs everything, in under ten minutes. Close other
/// programs first; the report notes how busy the machine was. Ctrl-C ends the
/// run and keeps what was measured.
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
    task: Option<Task>,

    #[command(flatten)]
    options: Options,
}

/// What can be done besides measuring.
#[derive(Debug, Subcommand)]
enum Task {
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
        /// Write compare.html and compare.md to this folder as well
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Check a report.json: its form, by docs/report.schema.json, and whether it
    /// is whole and agrees with itself
    Check {
        /// The report [default: that of the last run]
        json: Option<PathBuf>,
    },
    /// Write docs/benchmarks.md from docs/report.json
    Docs {
        /// Write nothing, and fail where docs/benchmarks.md is not what it would be
        #[arg(long)]
        check: bool,
    },
    /// Write docs/report.schema.json
    Schema,
}

#[derive(Args, Debug)]
struct Options {
    /// End in under a minute: fewer blocks, shorter samples, wider intervals
    /// [default: off, under ten minutes]
    #[arg(long)]
    quick: bool,

    /// Take up to an hour: larger sizes, longer samples, narrow intervals
    /// [default: off, under ten minutes]
    #[arg(long, conflicts_with = "quick")]
    full: bool,

    /// Run for a few seconds with tiny counts, read the JSON back and check it;
    /// for CI, measures nothing worth citing [default: off]
    #[arg(long, conflicts_with_all = ["quick", "full"])]
    smoke: bool,

    /// Run this scenario; may be given several times [default: all]
    #[arg(long = "scenario", value_name = "NAME", value_parser = scenario_names())]
    scenarios: Vec<String>,

    /// Measure this store; may be given several times. What stores are compared
    /// with takes part in any case [default: all]
    #[arg(long = "store", value_name = "NAME", value_parser = store_names(), ignore_case = true)]
    stores: Vec<String>,

    /// Measure with these numbers of threads, in the scenarios that compare several,
    /// say `1,2,8` [default: those of the scenario]
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Vec<u16>,

    /// Make keys, operations and the order of the stores from this number
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Write the files to this folder; made if it is not there
    /// [default: report in the target folder of this build]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn scenario_names() -> PossibleValuesParser {
    let scenarios = scenarios::ALL.iter();
    PossibleValuesParser::new(
        scenarios.map(|scenario| PossibleValue::new(scenario.name()).help(scenario.about())),
    )
}

fn store_names() -> PossibleValuesParser {
    let stores = contender::all()
        .into_iter()
        .filter(contender::About::is_store);
    PossibleValuesParser::new(stores.map(|about| {
        PossibleValue::new(about.id)
            .alias(about.name)
            .help(about.about)
    }))
}

impl Options {
    fn settings(&self) -> Settings {
        let id = |given: &String| {
            let named = |about: &contender::About| {
                given.eq_ignore_ascii_case(about.id) || given.eq_ignore_ascii_case(about.name)
            };
            let about = contender::all().into_iter().find(named);
            about.map_or_else(|| given.clone(), |about| about.id.into())
        };
        let scale = match (self.smoke, self.quick, self.full) {
            (true, ..) => Scale::Smoke,
            (_, true, _) => Scale::Quick,
            (.., true) => Scale::Full,
            _ => Scale::Default,
        };
        let mut settings = Settings {
            scale,
            seed: self.seed,
            scenarios: self.scenarios.clone(),
            stores: self.stores.iter().map(id).collect(),
            threads: self.threads.iter().map(|&n| n.into()).collect(),
            allocator: "mimalloc",
            command: String::new(),
        };
        settings.command = command(&settings);
        settings
    }

    fn folder(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| target().join("report"))
    }
}

/// What to type to run the same again.
fn command(settings: &Settings) -> String {
    let mut command = String::from("cargo lab");
    if settings.scale != Scale::Default {
        command.push_str(" --");
        command.push_str(settings.scale.name());
    }
    for scenario in &settings.scenarios {
        command.push_str(" --scenario ");
        command.push_str(scenario);
    }
    for store in &settings.stores {
        command.push_str(" --store ");
        command.push_str(store);
    }
    if !settings.threads.is_empty() {
        let threads: Vec<String> = settings.threads.iter().map(usize::to_string).collect();
        command.push_str(" --threads ");
        command.push_str(&threads.join(","));
    }
    command + &format!(" --seed {}", settings.seed)
}

/// The target folder that this program was built in.
fn target() -> PathBuf {
    // Cargo marks it, and puts programs some folders below.
    let program = std::env::current_exe().unwrap_or_default();
    let marked = |folder: &&Path| folder.join("CACHEDIR.TAG").is_file();
    let found = program.ancestors().skip(1).find(marked);
    found.map_or_else(|| "target".into(), Path::to_path_buf)
}

/// Makes sure, before anything is measured, that what is measured can be kept.
fn prepare(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let probe = folder.join(format!(".writable-{}", std::process::id()));
    fs::write(&probe, "")?;
    fs::remove_file(&probe)
}

/// Whether the user wants to stop.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    // A process that measures is called by this program itself, and asked nothing
    // but the trial.
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(Processes::ARGUMENT) {
        return measure_one(&arguments.next().unwrap_or_default());
    }
    let cli = Cli::parse();
    match cli.task {
        None => measure(&cli.options),
        Some(task) => match perform(&task) {
            Ok(code) => code,
            // A reader that has seen enough, `head` say, is no reason to fail.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(2)
            }
        },
    }
}

/// The report of the last run, unless another one was named.
fn named(json: Option<&PathBuf>) -> PathBuf {
    json.cloned()
        .unwrap_or_else(|| target().join("report/report.json"))
}

/// A file of the documentation, in the folder that this was built from.
fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name)
}

/// Names the file in an error of the file system.
fn at(path: &Path) -> impl FnOnce(io::Error) -> io::Error + '_ {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn perform(task: &Task) -> io::Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    let list = |stdout: &mut io::StdoutLock<'_>, files: Vec<PathBuf>| -> io::Result<()> {
        files
            .iter()
            .try_for_each(|file| writeln!(stdout, "wrote {}", file.display()))
    };
    match task {
        Task::Render { json, out } => {
            let json = named(json.as_ref());
            let report = output::read(&json)?;
            let beside = || json.parent().unwrap_or(Path::new(".")).to_owned();
            let folder = out.clone().unwrap_or_else(beside);
            let files = Document::of(&report).render(&folder).map_err(at(&folder))?;
            list(&mut stdout, files)?;
        }
        Task::Compare { old, new, out } => {
            let new = named(new.as_ref());
            let changes = lab::compare::compare(&output::read(old)?, &output::read(&new)?);
            let names = [old, &new].map(|path| path.display().to_string());
            let names = [names[0].as_str(), names[1].as_str()];
            stdout.write_all(output::changes_for_terminal(&changes, names).as_bytes())?;
            if let Some(folder) = out {
                let files = output::write_changes(&changes, names, folder).map_err(at(folder))?;
                list(&mut stdout, files)?;
            }
        }
        Task::Check { json } => {
            let json = named(json.as_ref());
            let faults = faults(&json)?;
            if !faults.is_empty() {
                eprintln!("error: {} is not whole:", json.display());
                for fault in faults {
                    eprintln!("  {fault}");
                }
                return Ok(ExitCode::FAILURE);
            }
            writeln!(
                stdout,
                "{} is whole, and of the form that docs/report.schema.json asks for",
                json.display()
            )?;
        }
        Task::Docs { check } => {
            let json = docs("report.json");
            let page = docs("benchmarks.md");
            let report = output::read(&json).map_err(|error| {
                let hint =
                    "; it is the report.json of a full run: `cargo lab --full`, then copy it there";
                io::Error::new(error.kind(), format!("{error}{hint}"))
            })?;
            if let Some(reason) = lab::output::unfit_for_docs(&report) {
                eprintln!("error: {} is {reason}", json.display());
                return Ok(ExitCode::FAILURE);
            }
            let text = Document::of(&report).benchmarks();
            if *check {
                let there = fs::read_to_string(&page).map_err(at(&page))?;
                if there != text {
                    let line = there
                        .lines()
                        .zip(text.lines())
                        .take_while(|(a, b)| a == b)
                        .count()
                        + 1;
                    eprintln!(
                        "error: {}:{line} is not what docs/report.json says; `cargo lab docs` writes it",
                        page.display()
                    );
                    return Ok(ExitCode::FAILURE);
                }
                writeln!(stdout, "{} is what docs/report.json says", page.display())?;
            } else {
                fs::write(&page, text).map_err(at(&page))?;
                list(&mut stdout, vec![page])?;
            }
        }
        Task::Schema => {
            let path = docs("report.schema.json");
            fs::write(&path, schema::text()).map_err(at(&path))?;
            list(&mut stdout, vec![path])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything that is wrong with a file that should be a report.
fn faults(path: &Path) -> io::Result<Vec<String>> {
    let text = fs::read_to_string(path).map_err(at(path))?;
    let invalid = |error: String| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{}: {error}", path.display()),
        )
    };
    let document =
        serde_json::from_str(&text).map_err(|error| invalid(format!("not JSON: {error}")))?;
    let faults = schema::faults(&document);
    if !faults.is_empty() {
        return Ok(faults);
    }
    Ok(lab::check(&output::parse(&text).map_err(invalid)?))
}

fn measure(options: &Options) -> ExitCode {
    let folder = options.folder();
    if let Err(error) = prepare(&folder) {
        eprintln!("error: cannot write to {}: {error}", folder.display());
        eprintln!("Choose another folder with --out DIR.");
        return ExitCode::from(2);
    }
    let settings = options.settings();
    let handler = || {
        if INTERRUPTED.swap(true, Relaxed) {
            // Asked a second time: leave at once.
            std::process::exit(130);
        }
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        eprintln!("warning: Ctrl-C will lose what has been measured: {error}");
    }
    let processes = Processes {
        interrupted: &INTERRUPTED,
    };
    let (report, fault) = lab::run::run_to_fault(&settings, &processes);
    if let Some(fault) = fault {
        return keep_part(&report, &fault, &settings, &folder);
    }
    if report.results.is_empty() {
        eprintln!("error: nothing was written: the run was broken off before its first block");
        return ExitCode::from(130);
    }
    match finish(&report, &settings, &folder) {
        Ok(faults) if faults.is_empty() && report.context.partial && INTERRUPTED.load(Relaxed) => {
            ExitCode::from(130)
        }
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            eprintln!("error: the report is not whole:");
            for fault in faults {
                eprintln!("  {fault}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!(
                "error: cannot write the report to {}: {error}",
                folder.display()
            );
            ExitCode::FAILURE
        }
    }
}

/// Writes what had been measured when a run failed, and says why it did.
fn keep_part(report: &Report, fault: &lab::Fault, settings: &Settings, folder: &Path) -> ExitCode {
    if report.results.is_empty() {
        eprintln!("error: nothing was written, because the run failed: {fault}");
        return ExitCode::FAILURE;
    }
    match finish(report, settings, folder) {
        Ok(_) => eprintln!(
            "error: the run failed, and the report holds only what was measured before: {fault}"
        ),
        Err(error) => {
            eprintln!("error: the run failed: {fault}");
            eprintln!(
                "error: cannot write the report to {}: {error}",
                folder.display()
            );
        }
    }
    ExitCode::FAILURE
}

/// Measures one contender in one scenario, and prints what came out.
fn measure_one(trial: &str) -> ExitCode {
    match lab::process::answer(trial) {
        Ok(answer) => match io::stdout().write_all(answer.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

/// Writes and prints; of a smoke run, answers with what is wrong with it.
fn finish(report: &Report, settings: &Settings, folder: &Path) -> io::Result<Vec<String>> {
    let document = Document::of(report);
    let files = document.write(folder)?;
    let text = document.terminal(&files);
    // A reader that has seen enough, `head` say, is no reason to fail.
    let _ = io::stdout().write_all(text.as_bytes());
    if settings.scale != Scale::Smoke {
        return Ok(Vec::new());
    }
    faults(&folder.join("report.json"))
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
        let options = ["report", "--store", "SnapshotStore", "--store", "memory"];
        let settings = Cli::parse_from(options).options.settings();
        assert_eq!(settings.stores, ["snapshot", "memory"]);
        assert_eq!(
            settings.command,
            "cargo lab --store snapshot --store memory --seed 1"
        );
    }

    #[test]
    fn a_bad_option_is_refused_before_anything_runs() {
        for bad in [
            "rendre",
            "--fast",
            "--scenario=burst",
            "--store=floor",
            "--seed=x",
        ] {
            let error = Cli::try_parse_from(["report", bad]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{bad}");
        }
    }
}
