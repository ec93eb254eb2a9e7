//! `report.html` and `compare.html`: one file that needs nothing else, no script and no
//! font from elsewhere.

use minijinja::context;
use minijinja::value::Serde;

use super::chart;
use super::page::{self, Page};
use super::templates;
use crate::compare::Changes;
use crate::fault::Fault;

/// `report.html`
pub(crate) fn page(page: &Page) -> Result<String, Fault> {
    templates::render(
        "page.html",
        context! { page => Serde(page), marks => chart::MARKS, chart_style => chart::STYLE },
    )
}

/// `compare.html`
pub(crate) fn changes(changes: &Changes, names: [&str; 2]) -> Result<String, Fault> {
    let table = page::changes(changes);
    let said = changes.sentences();
    let warnings = &changes.warnings;
    templates::render(
        "compare.html",
        context! { names => Serde(names), said, warnings, table => Serde(table), chart_style => chart::STYLE },
    )
}
