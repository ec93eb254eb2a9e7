//! `report.csv`: the summary, a row a cell.

use crate::lab::model::{Report, SummaryRow};

const COLUMNS: &[&str] = &[
    "scenario",
    "store",
    "threads",
    "services",
    "metric",
    "value",
    "unit",
    "reference",
    "ratio",
    "ci_low",
    "ci_high",
    "pairs",
    "reference_threads",
    "reference_services",
    "reference_metric",
    "value_low",
    "value_high",
    "equal",
    "blocks",
    "operations",
    "writes",
    "hits_min",
    "hits_max",
    "hit_rate_min",
    "hit_rate_max",
    "kinds",
    "services_after",
];

pub(super) fn table(report: &Report) -> String {
    let mut lines = vec![COLUMNS.join(",")];
    for row in &report.summary {
        let compared = row.comparison.as_ref();
        let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        let count = |value: Option<usize>| value.map_or(String::new(), |value| value.to_string());
        let fields = [
            row.cell.scenario.clone(),
            row.cell.store.clone(),
            row.cell.threads.to_string(),
            row.cell.services.to_string(),
            row.cell.metric.clone(),
            row.value.to_string(),
            row.unit.clone(),
            compared.map_or(String::new(), |c| c.reference.clone()),
            number(compared.map(|c| c.ratio)),
            number(compared.map(|c| c.ci_low)),
            number(compared.map(|c| c.ci_high)),
            count(compared.map(|c| c.pairs)),
            count(compared.and_then(|c| c.reference_threads)),
            count(compared.and_then(|c| c.reference_services)),
            compared
                .and_then(|c| c.reference_metric.clone())
                .unwrap_or_default(),
            row.value_low.to_string(),
            row.value_high.to_string(),
            compared.map_or(String::new(), |c| c.equal.to_string()),
            row.blocks.to_string(),
            row.operations.to_string(),
            row.writes.to_string(),
            row.hits_min.to_string(),
            row.hits_max.to_string(),
            row.hit_rate_min.to_string(),
            row.hit_rate_max.to_string(),
            kinds(row),
            count(row.services_after),
        ];
        lines.push(fields.map(|text| field(&text)).join(","));
    }
    lines.join("\n") + "\n"
}

/// Operations by kind, over all samples: `read=950 write=50`.
fn kinds(row: &SummaryRow) -> String {
    let kinds = row.kinds.iter().map(|(kind, n)| format!("{kind}={n}"));
    kinds.collect::<Vec<_>>().join(" ")
}

/// A field as RFC 4180 wants it.
fn field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        assert_eq!(field("with_service"), "with_service");
        assert_eq!(field("a,b"), "\"a,b\"");
        assert_eq!(field("say \"so\""), "\"say \"\"so\"\"\"");
    }
}
