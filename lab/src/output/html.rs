//! `report.html`: one file that needs nothing else, no script and no
//! font from elsewhere.

use minijinja::context;
use minijinja::value::Serde;

use super::chart;
use super::page::Page;
use super::templates;
use crate::fault::Fault;

/// `report.html`
pub(crate) fn page(page: &Page) -> Result<String, Fault> {
    templates::render(
        "page.html",
        context! { page => Serde(page), marks => chart::MARKS, chart_style => chart::STYLE },
    )
}
