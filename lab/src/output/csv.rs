//! `report.csv`: a line for each row of the report, for whoever wants to draw their own.

use super::json::rounded;
use crate::fault::Fault;
use crate::model::Report;

/// The rows as a table.
pub(crate) fn table(report: &Report) -> Result<Vec<u8>, Fault> {
    let mut table = csv::Writer::from_writer(Vec::new());
    let failed = |error: &dyn std::fmt::Display| Fault::new(format!("report.csv: {error}"));
    table
        .write_record([
            "scenario",
            "cell",
            "threads",
            "services",
            "metric",
            "contender",
            "unit",
            "value",
            "low",
            "high",
            "ratio",
            "ratio_low",
            "ratio_high",
            "slices",
        ])
        .map_err(|error| failed(&error))?;
    for row in &report.rows {
        let unit = serde_json::to_value(row.unit).map_err(|error| failed(&error))?;
        let [ratio, ratio_low, ratio_high] =
            row.ratio.map_or([const { String::new() }; 3], |ratio| {
                [ratio.value, ratio.low, ratio.high].map(|end| rounded(end).to_string())
            });
        table
            .write_record([
                safe(&row.id.scenario),
                safe(&row.id.cell),
                row.id.threads.to_string(),
                row.id.services.to_string(),
                safe(&row.metric),
                safe(&row.contender),
                unit.as_str().unwrap_or_default().into(),
                rounded(row.value.value).to_string(),
                rounded(row.value.low).to_string(),
                rounded(row.value.high).to_string(),
                ratio,
                ratio_low,
                ratio_high,
                row.slices().to_string(),
            ])
            .map_err(|error| failed(&error))?;
    }
    table.into_inner().map_err(|error| failed(&error))
}

/// A name that a spreadsheet does not take for a formula.
fn safe(name: &str) -> String {
    if name.starts_with(['=', '+', '-', '@']) {
        return format!("'{name}");
    }
    name.into()
}
