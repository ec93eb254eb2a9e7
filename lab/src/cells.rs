//! The rows of a report as its file has them: what is the same for all contenders of a
//! metric stands there once.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{CellId, Row, Unit};

/// A metric of a cell, with everybody who was measured in it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cell {
    /// Which cell.
    #[serde(flatten)]
    id: CellId,
    /// What of it: `time`, `p99`, `bytes`, ...
    metric: String,
    /// What the figures count.
    unit: Unit,
    /// The contenders.
    rows: Vec<Row>,
}

/// Rows that stand next to each other and are of the same metric and unit.
fn groups(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    rows.chunk_by(|a, b| (&a.id, &a.metric, a.unit) == (&b.id, &b.metric, b.unit))
}

/// Where each row stands in the file: `cells[3].rows[0]`.
pub(crate) fn places(rows: &[Row]) -> Vec<String> {
    let in_group = |(at, group): (usize, &[Row])| {
        (0..group.len()).map(move |row| format!("cells[{at}].rows[{row}]")).collect::<Vec<_>>()
    };
    groups(rows).enumerate().flat_map(in_group).collect()
}

pub(crate) fn serialize<S: Serializer>(rows: &[Row], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(groups(rows).map(|group| {
        let Row { id, metric, unit, .. } = group[0].clone();
        Cell { id, metric, unit, rows: group.to_vec() }
    }))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Row>, D::Error> {
    let cells = Vec::<Cell>::deserialize(deserializer)?;
    let rows = cells.into_iter().flat_map(|Cell { id, metric, unit, rows }| {
        rows.into_iter().map(move |row| Row { id: id.clone(), metric: metric.clone(), unit, ..row })
    });
    Ok(rows.collect())
}
