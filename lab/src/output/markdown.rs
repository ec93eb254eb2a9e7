//! `report.md`, `docs/benchmarks.md`, and what the README says of a report.

use minijinja::context;
use minijinja::value::Serde;

use super::page::Page;
use super::templates;
use crate::fault::Fault;

/// Between these two lines of the README stand the figures.
const MARKS: [&str; 2] = ["<!-- figures:begin -->", "<!-- figures:end -->"];

/// `report.md`, with every table; where `brief`, `docs/benchmarks.md`, with charts instead.
pub(crate) fn page(page: &Page, brief: bool) -> Result<String, Fault> {
    let text = templates::render("report.md", context! { page => Serde(page), brief })?;
    Ok(tidy(&text))
}

/// The README with one chart and five sentences of the report.
pub(crate) fn readme(page: &Page, readme: &str) -> Result<String, Fault> {
    let [begin, end] = MARKS;
    let parts = readme.split_once(begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(end)?;
        Some((before, after))
    });
    let Some((before, after)) = parts else {
        return Err(Fault::new(format!("README.md has no lines {begin} and {end}, in this order")));
    };
    let chart = page.first.first();
    let figures =
        templates::render("readme.md", context! { page => Serde(page), chart => Serde(chart) })?;
    Ok(format!("{before}{begin}\n{}{end}{after}", tidy(&figures)))
}

/// Without empty lines beside empty lines.
fn tidy(text: &str) -> String {
    let mut tidy = String::new();
    let mut empty = true;
    for line in text.lines().map(str::trim_end) {
        if line.is_empty() && empty {
            continue;
        }
        empty = line.is_empty();
        tidy.push_str(line);
        tidy.push('\n');
    }
    tidy.truncate(tidy.trim_end().len());
    tidy + "\n"
}
