//! What a report looks like.

mod chart;
mod csv;
mod html;
mod json;
mod markdown;
mod terminal;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::model::Report;
use super::scenarios;
use super::section::{Entry, Ratio, Section, Table, TableRow, thousands};

pub use terminal::print as terminal;

/// Writes `report.json`, `report.csv`, `report.md` and `report.html` to a
/// folder, and answers with where they are.
///
/// # Errors
///
/// Those of the file system.
pub fn write(report: &Report, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let sections = sections(report);
    let files = [
        ("report.html", html::page(report, &sections)),
        ("report.md", markdown::page(report, &sections)),
        ("report.csv", csv::table(report)),
        ("report.json", json::text(report)?),
    ];
    files
        .into_iter()
        .map(|(name, text)| {
            let path = folder.join(name);
            fs::write(&path, text)?;
            Ok(path)
        })
        .collect()
}

/// Reads a report back.
///
/// # Errors
///
/// Those of the file system, and where it is not a report.
pub fn read(path: &Path) -> io::Result<Report> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}

/// What the scenarios of a report have to show.
pub fn sections(report: &Report) -> Vec<Section> {
    let run = scenarios::ALL
        .iter()
        .filter(|scenario| report.run_of(scenario.name()).is_some());
    run.map(|scenario| scenario.section(report)).collect()
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
            _ => Entry::Text(super::section::time(value)),
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
            "What the stores are meant to reach, judged by the median: {met} of {} met.",
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
    let revision = match (&context.git_revision, context.git_modified) {
        (None, _) => "unknown".into(),
        (Some(revision), Some(true)) => format!("{revision}, with changes"),
        (Some(revision), _) => revision.clone(),
    };
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
        ("Revision", revision),
        ("Seed", context.seed.to_string()),
        (
            "Started",
            format!("{}, took {:.0} s", context.started_at, context.seconds),
        ),
        ("Blocks", blocks.join("; ")),
    ]
}

/// What has to be known before any figure is believed.
fn warnings(report: &Report) -> Vec<String> {
    let context = &report.context;
    let mut warnings = Vec::new();
    if context.toolchain.profile == "debug" {
        warnings.push("This is a debug build: no figure means anything.".into());
    }
    if context.partial {
        warnings.push(
            "The run was broken off: what follows is only what had been measured by then.".into(),
        );
    }
    if context.effort == "smoke" {
        warnings.push("This is a smoke run: it shows that the report works, no more.".into());
    }
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
