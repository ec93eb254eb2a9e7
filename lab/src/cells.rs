//! The rows of a report as its file has them: what is the same for all contenders of a
//! metric stands there once.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{CellId, Interval, Row, Unit};

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
    rows: Vec<Line>,
}

/// One contender.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Line {
    /// Its id.
    contender: String,
    /// The median over the rounds, with its interval.
    value: Interval,
    /// Cost next to the reference of the scenario; not that of the reference itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ratio: Option<Interval>,
    /// What was measured, by life and round, in the unit, with four significant digits;
    /// `null` where the slice was dropped or the contender rested.
    samples: Vec<Vec<Option<f64>>>,
    /// The same of the second process of the reference; of no one else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    again: Vec<Vec<Option<f64>>>,
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
        Cell {
            id: group[0].id.clone(),
            metric: group[0].metric.clone(),
            unit: group[0].unit,
            rows: group
                .iter()
                .map(|row| Line {
                    contender: row.contender.clone(),
                    value: row.value,
                    ratio: row.ratio,
                    samples: row.samples.clone(),
                    again: row.again.clone(),
                })
                .collect(),
        }
    }))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Row>, D::Error> {
    let cells = Vec::<Cell>::deserialize(deserializer)?;
    let rows = cells.into_iter().flat_map(|cell| {
        let Cell { id, metric, unit, rows } = cell;
        rows.into_iter().map(move |line| Row {
            id: id.clone(),
            metric: metric.clone(),
            contender: line.contender,
            unit,
            value: line.value,
            ratio: line.ratio,
            samples: line.samples,
            again: line.again,
        })
    });
    Ok(rows.collect())
}
