//! `report.json`: readable at the top, one row a line below.

use serde::Serialize;

use crate::lab::model::Report;

pub(super) fn text(report: &Report) -> serde_json::Result<String> {
    let context = serde_json::to_string_pretty(&report.context)?.replace('\n', "\n  ");
    Ok(format!(
        "{{\n  \"schema_version\": {},\n  \"context\": {context},\n  \"targets\": {},\n  \
         \"summary\": {},\n  \"noise\": {},\n  \"processes\": {},\n  \"results\": {}\n}}\n",
        report.schema_version,
        rows(&report.targets)?,
        rows(&report.summary)?,
        rows(&report.noise)?,
        rows(&report.processes)?,
        rows(&report.results)?,
    ))
}

fn rows(rows: &[impl Serialize]) -> serde_json::Result<String> {
    let lines: Result<Vec<String>, _> = rows.iter().map(serde_json::to_string).collect();
    Ok(format!("[\n    {}\n  ]", lines?.join(",\n    ")))
}
