//! Chooses the charts of a report.

use std::collections::BTreeSet;

use minijinja::Value;

use super::chart::{self, DotChart, DotRow, Series};
use super::report_index::ReportIndex;
use crate::model::{Answer, CellMetric, Interval, Row, Unit};
use crate::words::{self, plural};

/// The maximum number of charts of a scenario; the tables hold the rest.
const PANELS: usize = 4;
/// The minimum height of a chart of lines.
const HEIGHT: f64 = 200.0;
/// The maximum length of a contender's id in a chart.
const NAME: usize = 16;
/// The distance between two rows of a chart of figures.
const STEP: f64 = 23.0;

/// The horizontal axis of a chart of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    /// The percentage of writes: a cell has `95/5` in its name.
    Writes,
    /// The number of registered services.
    Services,
    /// The number of threads.
    Threads,
}

impl Axis {
    const ALL: [Axis; 3] = [Axis::Writes, Axis::Services, Axis::Threads];

    /// Splits a cell metric into its value on this axis, and the rest, which is the same along a
    /// line.
    fn split(self, cell_metric: &CellMetric) -> Option<(usize, CellMetric)> {
        let mut rest = cell_metric.clone();
        let at = match self {
            Axis::Writes => {
                let (writes, cell) = mix(&cell_metric.id.cell)?;
                rest.id.cell = cell;
                writes
            }
            Axis::Services => std::mem::take(&mut rest.id.services),
            Axis::Threads => std::mem::take(&mut rest.id.threads),
        };
        Some((at, rest))
    }

    fn at(self, cell_metric: &CellMetric) -> Option<usize> {
        self.split(cell_metric).map(|(at, _)| at)
    }

    fn name(self) -> &'static str {
        match self {
            Axis::Writes => "share of writes",
            Axis::Services => "services",
            Axis::Threads => "threads",
        }
    }

    fn label(self, value: usize) -> String {
        match self {
            Axis::Writes => format!("{value} %"),
            _ => words::count(value),
        }
    }
}

/// Returns the percentage of writes, from the word `95/5` in a cell's name, and the rest of the
/// name.
fn mix(cell: &str) -> Option<(usize, String)> {
    const BETWEEN: [char; 3] = [' ', '_', ','];
    cell.split(BETWEEN).find_map(|word| {
        let (reads, writes) = word.split_once('/')?;
        let (reads, writes) = (reads.parse::<usize>().ok()?, writes.parse().ok()?);
        let rest = || cell.replacen(word, "", 1).trim_matches(BETWEEN).to_owned();
        (reads + writes == 100).then(|| (writes, rest()))
    })
}

/// A chart of a scenario, and the cell metrics that it shows.
struct Panel {
    axis: Option<Axis>,
    rest: CellMetric,
    cell_metrics: Vec<CellMetric>,
}

/// Returns the chart of a question: the cost of each store relative to the best, or its first
/// figure if nothing was compared.
pub(crate) fn question(index: &ReportIndex<'_>, answer: &Answer) -> Option<(String, Value)> {
    let title = answer.question.clone();
    let Some(first) = answer.comparisons.first() else {
        let cell_metric =
            answer.cells.iter().find(|cell_metric| !index.rows(cell_metric).is_empty())?;
        let title = format!("{title}: {}", cell_metric.label());
        return Some((name_of(answer), dots(index, cell_metric, title, STEP)));
    };
    let others = answer.comparisons.iter().filter(|other| other.to == first.to);
    let others = others.map(|other| dot(index, &other.contender, other.ratio));
    let chart = DotChart {
        title,
        unit: None,
        axis: format!("cost next to {}", words::short(&first.to, NAME)),
        rows: std::iter::once(dot(index, &first.to, Interval::exact(1.0))).chain(others).collect(),
        step: STEP,
    };
    Some((name_of(answer), chart.draw()))
}

/// Returns the id of a question in a page, which is also the file name of its chart.
pub(crate) fn name_of(answer: &Answer) -> String {
    format!("q-{}", words::slug(&answer.question))
}

/// Returns all charts of the pages, with their file names.
pub(crate) fn all(index: &ReportIndex<'_>) -> Vec<(String, Value)> {
    let questions = index.report.answers.iter().filter_map(|own| question(index, own));
    let scenarios = index.report.scenarios.iter().flat_map(|run| scenario(index, &run.name));
    first(index).into_iter().chain(questions).chain(scenarios).collect()
}

/// Returns the charts of a scenario, with their file names.
pub(crate) fn scenario(index: &ReportIndex<'_>, scenario: &str) -> Vec<(String, Value)> {
    let mut panels = panels(index, scenario);
    panels.sort_by_key(|panel| std::cmp::Reverse(panel.cell_metrics.len()));
    panels.truncate(PANELS);
    let draw = |panel: &Panel| {
        let title = panel.title(scenario);
        let drawing = match panel.axis {
            Some(axis) => {
                let unit = index.rows(&panel.cell_metrics[0])[0].unit;
                lines(index, panel, axis, &title, HEIGHT, unit)
            }
            None => dots(index, &panel.cell_metrics[0], title.clone(), STEP),
        };
        (words::slug(&title), drawing)
    };
    panels.iter().map(draw).collect()
}

/// Returns the two charts of the first screen: throughput over the share of writes, and the cost
/// of a read.
pub(crate) fn first(index: &ReportIndex<'_>) -> Vec<(String, Value)> {
    let writes = || {
        let names = ["sustained", "burst-30x100"].into_iter();
        let all = names.chain(index.report.scenarios.iter().map(|run| run.name.as_str()));
        let cores = index.report.context.machine.cores.max(2);
        let found = all.map(|name| panels(index, name)).find_map(|panels| {
            let mixed = panels.into_iter().filter(|panel| panel.axis == Some(Axis::Writes));
            // Prefers several threads, as near as possible to the number of processors.
            mixed.min_by_key(|panel| {
                let threads = panel.rest.id.threads;
                (threads < 2, threads.abs_diff(cores), threads)
            })
        });
        let panel = found?;
        let title = format!(
            "Operations a second of {}, over the share of writes",
            plural(panel.rest.id.threads, "thread")
        );
        Some(lines(index, &panel, Axis::Writes, &title, 190.0, Unit::OpsPerSecond))
    };
    let read = || {
        let is_read = |cell_metric: &&CellMetric| {
            cell_metric.id.cell == "with_service"
                && cell_metric.metric == "time"
                && cell_metric.id.threads == 1
        };
        let names = ["operations", "size", "map"].into_iter();
        let all = names.chain(index.report.scenarios.iter().map(|run| run.name.as_str()));
        let mut cell_metrics = all.filter_map(|name| {
            let reads = index.cell_metrics(name).iter().filter(is_read);
            reads.min_by_key(|cell_metric| cell_metric.id.services.abs_diff(1_000))
        });
        let cell_metric = cell_metrics.next()?;
        let title = format!(
            "A read among {} services, one thread",
            words::thousands(cell_metric.id.services as u64)
        );
        Some(dots(index, cell_metric, title, 19.0))
    };
    let charts = [("first-writes", writes()), ("first-read", read())];
    charts.into_iter().filter_map(|(name, drawing)| Some((name.into(), drawing?))).collect()
}

fn panels(index: &ReportIndex<'_>, scenario: &str) -> Vec<Panel> {
    let cell_metrics = index.cell_metrics(scenario);
    let along = |axis: Axis| -> BTreeSet<usize> {
        cell_metrics.iter().filter_map(|cell_metric| axis.at(cell_metric)).collect()
    };
    let axis = Axis::ALL.into_iter().find(|axis| along(*axis).len() >= 3);
    let mut panels: Vec<Panel> = Vec::new();
    for cell_metric in cell_metrics {
        let split = axis.and_then(|axis| Some((Some(axis), axis.split(cell_metric)?.1)));
        let (own, rest) = split.unwrap_or_else(|| (None, cell_metric.clone()));
        let known = panels.iter_mut().find(|panel| panel.axis == own && panel.rest == rest);
        match known {
            Some(panel) => panel.cell_metrics.push(cell_metric.clone()),
            None => panels.push(Panel { axis: own, rest, cell_metrics: vec![cell_metric.clone()] }),
        }
    }
    for panel in &mut panels {
        match panel.axis {
            Some(axis) if panel.cell_metrics.len() > 1 => {
                panel.cell_metrics.sort_by_key(|own| axis.at(own));
            }
            _ => panel.axis = None,
        }
    }
    panels
}

impl Panel {
    fn title(&self, scenario: &str) -> String {
        let rest = match self.axis {
            Some(_) => &self.rest,
            None => &self.cell_metrics[0],
        };
        let mut parts = vec![scenario.to_owned()];
        parts.extend(Some(rest.label()).filter(|what| !what.is_empty() && what != "time"));
        if self.axis != Some(Axis::Threads) {
            parts.push(plural(rest.id.threads, "thread"));
        }
        if self.axis != Some(Axis::Services) {
            parts.push(format!("{} services", words::thousands(rest.id.services as u64)));
        }
        parts.join(", ")
    }
}

fn dot(index: &ReportIndex<'_>, id: &str, figure: Interval) -> DotRow {
    DotRow { name: words::short(id, NAME), style: index.style(id), figure }
}

fn dots(index: &ReportIndex<'_>, cell_metric: &CellMetric, title: String, step: f64) -> Value {
    let mut rows: Vec<&Row> = index.rows(cell_metric).to_vec();
    rows.sort_by(|a, b| a.value.value.total_cmp(&b.value.value));
    let unit = rows.first().map(|row| row.unit);
    let chart = DotChart {
        title,
        unit,
        axis: unit.map_or("", words::measures).into(),
        rows: rows.iter().map(|row| dot(index, &row.contender, row.value)).collect(),
        step,
    };
    chart.draw()
}

/// Draws a line for each contender, of the figures or of the throughput that follows from them.
fn lines(
    index: &ReportIndex<'_>,
    panel: &Panel,
    axis: Axis,
    title: &str,
    height: f64,
    unit: Unit,
) -> Value {
    let figure = |cell_metric: &CellMetric, id: &str| {
        let Interval { value, low, high } = index.row(cell_metric, id)?.value;
        let rate = |time: f64| cell_metric.id.threads as f64 * 1e9 / time;
        Some(match unit {
            Unit::OpsPerSecond => Interval { value: rate(value), low: rate(high), high: rate(low) },
            _ => Interval { value, low, high },
        })
    };
    let mut series: Vec<Series> = index
        .took_part(&panel.cell_metrics)
        .into_iter()
        .map(|id| Series {
            name: words::short(id, NAME),
            style: index.style(id),
            points: panel.cell_metrics.iter().map(|cell_metric| figure(cell_metric, id)).collect(),
        })
        .collect();
    series.sort_by_key(|series| series.style.is_ours());
    let labels = panel.cell_metrics.iter().filter_map(|cell_metric| axis.at(cell_metric));
    let labels: Vec<String> = labels.map(|value| axis.label(value)).collect();
    chart::lines(title, axis.name(), &labels, unit, &series, height)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_found_in_the_name_of_a_cell() {
        assert_eq!(mix("95/5"), Some((5, String::new())));
        assert_eq!(mix("1 key, 90/10"), Some((10, "1 key".into())));
        assert_eq!([mix("with_service"), mix("3/4")], [None, None]);
    }
}
