//! Renders a report: files, pages, terminal. Everything comes from the report itself, so that an
//! old one can be rendered again.

mod chart;
mod csv;
mod figures;
pub(crate) mod json;
mod page;
pub mod progress;
mod report_index;
mod sentences;
pub(crate) mod templates;
pub(crate) mod terminal;

use std::path::{Path, PathBuf};

use crate::fault::Fault;
use crate::model::Report;
use report_index::ReportIndex;

/// The names of the files of a run. `report.json` is the first, as it cannot be made again.
pub(crate) const NAMES: [&str; 5] =
    ["report.json", "report.schema.json", "report.html", "report.md", "report.csv"];

/// Returns the files of a run, with their [`NAMES`].
pub(crate) fn files(report: &Report) -> Result<Vec<(&'static str, Vec<u8>)>, Fault> {
    let [text, schema, ..] = NAMES;
    let mut files = vec![(text, json::text(report)?), (schema, json::schema()?)];
    files.extend(rendered(report)?);
    Ok(files)
}

/// Renders what can be made again from `report.json`: `report.html`, `report.md` and
/// `report.csv`.
pub(crate) fn rendered(report: &Report) -> Result<Vec<(&'static str, Vec<u8>)>, Fault> {
    let [.., html, markdown, table] = NAMES;
    let page = page::page(&ReportIndex::of(report));
    Ok(vec![
        (html, templates::html(&page)?.into_bytes()),
        (markdown, templates::markdown(&page, false)?.into_bytes()),
        (table, csv::table(report)?),
    ])
}

/// Renders the files of the repository that are made from `docs/report.json`, with their paths in
/// it: `docs/benchmarks.md`, `docs/img/*.svg`, `docs/report.schema.json`, and `README.md`, whose
/// present text is `readme`. Fails if that lacks the two marks around the figures.
pub(crate) fn docs(report: &Report, readme: &str) -> Result<Vec<(PathBuf, Vec<u8>)>, Fault> {
    let index = ReportIndex::of(report);
    let page = page::page(&index);
    let benchmarks = templates::markdown(&page, true)?;
    let docs = Path::new("docs");
    let mut files = vec![
        (PathBuf::from("README.md"), templates::readme(&page, readme)?.into_bytes()),
        (docs.join("report.schema.json"), json::schema()?),
    ];
    for (name, drawing) in figures::all(&index) {
        let path = docs.join(format!("img/{name}.svg"));
        // The page shows one chart of a scenario; the others are left out.
        let shown = benchmarks.contains(&format!("(img/{name}.svg)"));
        if shown && !files.iter().any(|(known, _)| *known == path) {
            files.push((path, templates::svg(&drawing)?.into_bytes()));
        }
    }
    files.push((docs.join("benchmarks.md"), benchmarks.into_bytes()));
    Ok(files)
}

#[cfg(test)]
mod browser;
#[cfg(test)]
mod tests;
