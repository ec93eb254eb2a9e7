//! What a report looks like.

mod axis;
mod chart;
mod csv;
mod forest;
mod html;
mod json;
mod lines;
mod markdown;
mod overview;
mod style;
mod terminal;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::compare::Changes;
use super::model::Report;
use super::overall::Overview;
use super::scenarios;
use super::section::{Block, Entry, Ratio, Section, Table, TableRow, thousands};
use super::stability::{self, Stability};
use super::summary;
use super::verdict::{Verdict, verdicts};

/// A report, laid out.
#[derive(Debug)]
pub struct Document<'a> {
    report: &'a Report,
    verdicts: Vec<Verdict>,
    /// Why the run cannot be believed.
    unstable: Stability,
    noise: Table,
    who: Section,
    glance: Section,
    scenarios: Vec<Section>,
    strip: Section,
    semantics: Option<Section>,
}

impl<'a> Document<'a> {
    /// Lays a report out. Everything comes from the report itself, so that an old
    /// one can be shown again.
    pub fn of(report: &'a Report) -> Document<'a> {
        let overview = Overview::new(report);
        let unstable = stability::of(report);
        let glance = overview::Glance::of(report, &overview, &unstable);
        let run = scenarios::ALL
            .iter()
            .filter(|scenario| report.run_of(scenario.name()).is_some());
        let section = |scenario: &&dyn scenarios::Scenario| {
            let mut section = scenario.section(report);
            // How it was measured is told by the run, not by this program.
            if let Some(run) = report.run_of(scenario.name()) {
                section.intro.clone_from(&run.method);
            }
            if unstable
                .scenarios
                .iter()
                .any(|name| name == scenario.name())
            {
                let first = "Unstable: cite nothing of this section.".into();
                section.findings.insert(0, first);
            }
            // One that draws its own ratios needs no others.
            let draws = |block: &Block| matches!(block, Block::Forest(_));
            if !section.blocks.iter().any(draws) {
                section.blocks.splice(0..0, glance.forests(scenario.name()));
            }
            section
        };
        Document {
            verdicts: verdicts(report, &overview),
            noise: overview::noise(report),
            who: overview::who(report),
            glance: glance.section(),
            scenarios: run.map(section).collect(),
            unstable,
            strip: overview::strip(report),
            semantics: overview::semantics(report),
            report,
        }
    }

    /// Writes `report.html`, `report.md`, `report.csv` and `report.json` to a
    /// folder, and answers with where they are.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn write(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        // What cannot be made again goes first.
        let mut files = write_all(folder, [("report.json", json::text(self.report)?)])?;
        files.splice(0..0, self.render(folder)?);
        Ok(files)
    }

    /// Writes what can be made again: all but `report.json`.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn render(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let files = [
            ("report.html", html::page(self)),
            ("report.md", markdown::page(self)),
            ("report.csv", csv::table(self.report)),
        ];
        write_all(folder, files)
    }

    /// The end of a run: verdict, tables, and where the files are.
    pub fn terminal(&self, files: &[PathBuf]) -> String {
        terminal::print(self, files)
    }

    /// `docs/benchmarks.md`.
    pub fn benchmarks(&self) -> String {
        markdown::benchmarks(self)
    }
}

/// Writes a report to a folder: see [`Document::write`].
///
/// # Errors
///
/// Those of the file system.
pub fn write(report: &Report, folder: &Path) -> io::Result<Vec<PathBuf>> {
    Document::of(report).write(folder)
}

/// What changed, for a terminal.
pub fn changes_for_terminal(changes: &Changes, names: [&str; 2]) -> String {
    terminal::changes(changes, names)
}

/// Writes `compare.html` and `compare.md` to a folder, and answers with where they
/// are.
///
/// # Errors
///
/// Those of the file system.
pub fn write_changes(
    changes: &Changes,
    names: [&str; 2],
    folder: &Path,
) -> io::Result<Vec<PathBuf>> {
    let files = [
        ("compare.html", html::changes(changes, names)),
        ("compare.md", markdown::changes(changes, names)),
    ];
    write_all(folder, files)
}

fn write_all<const N: usize>(
    folder: &Path,
    files: [(&str, String); N],
) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(folder)?;
    let write = |(name, text): (&str, String)| {
        let path = folder.join(name);
        fs::write(&path, text)?;
        Ok(path)
    };
    files.into_iter().map(write).collect()
}

/// Reads a report back, and sums its samples up anew: what is shown is judged by
/// the rules of this program, whichever wrote the file. [`parse`] leaves a report as
/// it was written.
///
/// # Errors
///
/// Those of the file system, and where it is not a report of this form; the error
/// names the file, and the place in it.
pub fn read(path: &Path) -> io::Result<Report> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text =
        fs::read_to_string(path).map_err(|error| io::Error::new(error.kind(), named(&error)))?;
    let mut report =
        parse(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, named(&error)))?;
    summary::sum_up(&mut report);
    Ok(report)
}

/// Why a report is not the one to be committed, if it is not: that is one of a whole
/// full run, of a revision that can be had.
pub fn unfit_for_docs(report: &Report) -> Option<&'static str> {
    let context = &report.context;
    if context.effort != "full" {
        return Some("not the report of a full run: `cargo lab --full`");
    }
    if context.partial {
        return Some("a partial report: the run was broken off");
    }
    (context.git_revision.is_none() || context.git_modified != Some(false)).then_some(
        "not the report of a commit: the sources were changed when it was made, or nobody knows",
    )
}

/// Reads a report from a text.
///
/// # Errors
///
/// Where it is not a report of this form, and what is wrong where.
pub fn parse(text: &str) -> Result<Report, String> {
    // A report of another form is told apart from what is no report at all.
    let version = serde_json::from_str::<serde_json::Value>(text)
        .map_err(|error| format!("not JSON: {error}"))?
        .get("schema_version")
        .and_then(serde_json::Value::as_u64);
    let known = u64::from(super::model::SCHEMA_VERSION);
    match version {
        None => Err("no report: it has no `schema_version` at its top".into()),
        Some(version) if version != known => Err(format!(
            "a report of form {version}; this program reads form {known}"
        )),
        Some(_) => serde_json::from_str(text).map_err(|error| format!("no report: {error}")),
    }
}

/// The targets, as a table.
fn targets(report: &Report) -> Table {
    let met = report.targets.iter().filter(|target| target.met).count();
    let rows = report.targets.iter().map(|target| {
        let [value, low, high] = [target.value, target.low, target.high];
        let value = match target.unit.as_str() {
            "x" => Entry::Measured(Ratio {
                ratio: value,
                low,
                high,
                equal: false,
            }),
            _ => Entry::Text(format!(
                "{} ({}–{})",
                super::section::time(value),
                super::section::time(low),
                super::section::time(high)
            )),
        };
        TableRow {
            name: target.name.clone(),
            entries: vec![
                Entry::Text(thousands(target.services as u64)),
                value,
                Entry::Text(target.limit.clone()),
                Entry::Verdict(target.met),
            ],
        }
    });
    Table {
        title: "Targets".into(),
        note: format!(
            "What the stores are meant to reach, judged by the measured value, whatever its interval: a \
             ratio is the geometric mean of those of the blocks, a time their median. {met} of {} met.",
            report.targets.len()
        ),
        head: ["target", "services", "measured", "limit", ""]
            .map(String::from)
            .into(),
        rows: rows.collect(),
        brief: true,
        intervals: true,
    }
}

/// Pairs of what and how: machine, toolchain, run.
fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let context = &report.context;
    let machine = &context.machine;
    let memory = machine.memory_bytes / (1 << 20);
    let blocks: Vec<String> = context
        .scenarios
        .iter()
        .map(|run| format!("{}: {} in {:.0} s", run.name, run.blocks, run.seconds))
        .collect();
    let crates = context.crates.iter();
    let crates: Vec<String> = crates
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    vec![
        (
            "Processor",
            format!("{}, {} threads at once", machine.cpu, machine.cores),
        ),
        ("Memory", format!("{} MiB", thousands(memory))),
        (
            "System",
            format!("{}, kernel {}", machine.os, machine.kernel),
        ),
        (
            "Load",
            format!(
                "{:.2} before, {:.2} after",
                machine.load_before, machine.load_after
            ),
        ),
        (
            "Toolchain",
            format!(
                "{}, {}, {} build",
                context.toolchain.rustc, context.toolchain.target, context.toolchain.profile
            ),
        ),
        ("Features", context.features.join(", ")),
        ("Allocator", context.allocator.clone()),
        ("Hasher", context.hasher.clone()),
        ("Keys", context.keys.clone()),
        ("Copies", context.copies.clone()),
        ("Crates", crates.join(", ")),
        (
            "Started",
            format!("{}, took {:.0} s", context.started_at, context.seconds),
        ),
        ("Blocks", blocks.join("; ")),
    ]
}

/// What else has to be known before a figure is believed.
fn warnings(report: &Report) -> Vec<String> {
    let context = &report.context;
    let mut warnings = Vec::new();
    #[allow(clippy::cast_precision_loss)] // a count of cores
    let cores = context.machine.cores as f64;
    let load = context.machine.load_before;
    if load > 0.5 * cores {
        warnings.push(format!(
            "Other programs were at work: load {load:.1} on {cores} cores before the start. Ratios \
             suffer less than times."
        ));
    }
    warnings
}

/// Pairs of what and how, to run the same again.
fn origin(report: &Report) -> Vec<(&'static str, String)> {
    let context = &report.context;
    let revision = match (&context.git_revision, context.git_modified) {
        (None, _) => "unknown".into(),
        (Some(revision), Some(true)) => format!("{revision}, with changes that no commit holds"),
        (Some(revision), _) => revision.clone(),
    };
    vec![
        ("Command", context.command.clone()),
        ("Seed", context.seed.to_string()),
        ("Revision", revision),
        ("SHA-256 of Cargo.lock", context.lock_file.clone()),
        ("Version", context.version.clone()),
    ]
}

/// What to type to run the same again.
fn commands(report: &Report) -> String {
    let revision = report.context.git_revision.as_deref();
    let checkout = revision.map_or(String::new(), |r| format!("git checkout {r}\n"));
    format!(
        "{checkout}sha256sum Cargo.lock   # {}\n{}",
        report.context.lock_file, report.context.command
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::synthetic;

    #[test]
    fn what_is_no_report_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "not JSON"),
            ("{", "line 1"),
            ("[1, 2]", "schema_version"),
            ("{\"schema_version\": 1}", "form 1"),
            ("{\"schema_version\": 2}", "missing field"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(reason), "{text}: {said}");
        }
        let said = read(Path::new("no/such/report.json"))
            .unwrap_err()
            .to_string();
        assert!(said.starts_with("no/such/report.json: "), "{said}");
    }

    #[test]
    fn methods_are_those_of_the_run() {
        let mut report = synthetic::report();
        let run = &mut report.context.scenarios[0];
        run.method = "As it was then.".into();
        let document = Document::of(&report);
        assert_eq!(document.scenarios[0].intro, "As it was then.");
    }

    #[test]
    fn only_a_whole_full_run_of_a_commit_is_for_the_docs() {
        let mut report = synthetic::report();
        report.context.effort = "full".into();
        report.context.git_revision = Some("abc".into());
        report.context.git_modified = Some(false);
        assert_eq!(unfit_for_docs(&report), None);
        let refused = |change: fn(&mut Report)| {
            let mut report = report.clone();
            change(&mut report);
            unfit_for_docs(&report).is_some()
        };
        assert!(refused(|report| report.context.effort = "quick".into()));
        assert!(refused(|report| report.context.partial = true));
        assert!(refused(|report| report.context.git_modified = Some(true)));
        assert!(refused(|report| report.context.git_modified = None));
        assert!(refused(|report| report.context.git_revision = None));
    }

    /// Everything that is shown comes from the file alone.
    #[test]
    fn a_report_that_was_read_back_looks_the_same() {
        let report = synthetic::report();
        let read = parse(&json::text(&report).unwrap()).unwrap();
        assert_eq!(
            html::page(&Document::of(&report)),
            html::page(&Document::of(&read))
        );
        assert_eq!(
            markdown::page(&Document::of(&report)),
            markdown::page(&Document::of(&read))
        );
    }

    #[test]
    fn the_page_has_its_parts_in_order_and_needs_nothing_else() {
        let mut report = synthetic::report();
        report.context.partial = true;
        let page = html::page(&Document::of(&report));
        let parts = [
            "id=\"verdict\"",
            "id=\"machine\"",
            "id=\"noise-floor\"",
            "id=\"who-is-measured\"",
            "id=\"at-a-glance\"",
            "id=\"burst-30x100\"",
            "id=\"blocks-in-time\"",
            "id=\"what-the-stores-promise\"",
            "id=\"once-more\"",
        ];
        let places: Vec<usize> = parts
            .iter()
            .map(|part| page.find(part).expect(part))
            .collect();
        assert!(places.is_sorted(), "{places:?}");
        assert!(page.contains("class=\"unstable\"") && page.contains("partial report"));
        for foreign in ["http://", "https://", "<script", "url(", "@import"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.contains("&lt;&amp;&gt;") && !page.contains("<&>"));
    }

    #[test]
    fn a_quiet_run_has_no_banner() {
        let report = synthetic::report();
        assert!(!html::page(&Document::of(&report)).contains("class=\"unstable\""));
    }

    #[test]
    fn every_chart_is_followed_by_its_table() {
        let report = synthetic::report();
        let document = Document::of(&report);
        let sections = document
            .scenarios
            .iter()
            .chain([&document.glance, &document.strip]);
        for section in sections {
            let mut blocks = section.blocks.iter().peekable();
            while let Some(block) = blocks.next() {
                let table = matches!(blocks.peek(), Some(Block::Table(_)));
                assert!(
                    matches!(block, Block::Table(_)) || table,
                    "{}",
                    section.title
                );
            }
        }
    }
}
