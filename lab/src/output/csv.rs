//! `report.csv`: a line for each row of the report, for people who draw their own charts.

use std::fmt::Display;

use serde_json::Value;

use super::json;
use crate::fault::Fault;
use crate::model::Report;

/// The names of the columns, each with its JSON pointer in a row of the file or in its cell.
const COLUMNS: [(&str, &str); 14] = [
    ("scenario", "/scenario"),
    ("cell", "/cell"),
    ("threads", "/threads"),
    ("services", "/services"),
    ("metric", "/metric"),
    ("contender", "/contender"),
    ("unit", "/unit"),
    ("value", "/value/value"),
    ("low", "/value/low"),
    ("high", "/value/high"),
    ("ratio", "/ratio/value"),
    ("ratio_low", "/ratio/low"),
    ("ratio_high", "/ratio/high"),
    ("lost", "/lost"),
];

/// Returns the rows as a CSV table.
pub(crate) fn table(report: &Report) -> Result<Vec<u8>, Fault> {
    let failed = |error: &dyn Display| Fault::new(format!("report.csv: {error}"));
    let mut table = csv::Writer::from_writer(Vec::new());
    let head = COLUMNS.iter().map(|(name, _)| *name).chain(["slices"]);
    table.write_record(head).map_err(|error| failed(&error))?;
    let file = json::value(report)?;
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let mut slices = report.rows.iter().map(|row| row.slices().to_string());
    for cell in list(&file["cells"]) {
        for row in list(&cell["rows"]) {
            let found = COLUMNS.iter().map(|(_, at)| row.pointer(at).or_else(|| cell.pointer(at)));
            let line = found.map(|value| value.map_or(String::new(), entry)).chain(slices.next());
            table.write_record(line).map_err(|error| failed(&error))?;
        }
    }
    table.into_inner().map_err(|error| failed(&error))
}

/// Formats a value. A quote before a text keeps spreadsheets from taking it for a formula.
fn entry(value: &Value) -> String {
    match value.as_str() {
        Some(text) if text.starts_with(['=', '+', '-', '@']) => format!("'{text}"),
        Some(text) => text.into(),
        None => value.to_string(),
    }
}
