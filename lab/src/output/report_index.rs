//! A report with an index of its rows and contenders.

use std::collections::{BTreeMap, HashMap};

use super::chart::Style;
use crate::model::{CellMetric, ContenderInfo, ContenderKind, Report, Row, ScenarioRun};
use crate::words;

/// A report with an index.
#[derive(Debug)]
pub(crate) struct ReportIndex<'a> {
    pub(crate) report: &'a Report,
    infos: HashMap<&'a str, (&'a ContenderInfo, Style)>,
    rows: HashMap<CellMetric, Vec<&'a Row>>,
    /// The cell metrics of each scenario, in the order of the rows.
    cell_metrics: BTreeMap<&'a str, Vec<CellMetric>>,
}

impl<'a> ReportIndex<'a> {
    pub(crate) fn of(report: &'a Report) -> ReportIndex<'a> {
        let mut index = ReportIndex {
            report,
            infos: HashMap::new(),
            rows: HashMap::new(),
            cell_metrics: BTreeMap::new(),
        };
        let (mut ours, mut others) = (0, 0);
        for info in &report.context.contenders {
            let (style, next): (fn(usize) -> Style, _) = match info.kind {
                ContenderKind::Ours => (Style::Ours, &mut ours),
                ContenderKind::Outside | ContenderKind::Measure => (Style::Outside, &mut others),
            };
            index.infos.insert(&info.id, (info, style(*next)));
            *next += 1;
        }
        for row in &report.rows {
            let cell_metric = row.cell_metric();
            let rows = index.rows.entry(cell_metric.clone()).or_default();
            if rows.is_empty() {
                let cell_metrics = index.cell_metrics.entry(&row.id.scenario).or_default();
                cell_metrics.push(cell_metric);
            }
            rows.push(row);
        }
        index
    }

    /// Returns the name of a contender in tables and answers.
    pub(crate) fn name<'b>(&'b self, id: &'b str) -> &'b str {
        self.infos.get(id).map_or(id, |(info, _)| &info.name)
    }

    pub(crate) fn style(&self, id: &str) -> Style {
        self.infos.get(id).map_or(Style::Outside(0), |(_, style)| *style)
    }

    pub(crate) fn is_ours(&self, id: &str) -> bool {
        self.infos.get(id).is_some_and(|(info, _)| info.kind == ContenderKind::Ours)
    }

    pub(crate) fn rows(&self, cell_metric: &CellMetric) -> &[&'a Row] {
        self.rows.get(cell_metric).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn row(&self, cell_metric: &CellMetric, contender: &str) -> Option<&'a Row> {
        let mut rows = self.rows(cell_metric).iter();
        rows.find(|row| row.contender == contender).copied()
    }

    pub(crate) fn cell_metrics(&self, scenario: &str) -> &[CellMetric] {
        self.cell_metrics.get(scenario).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn run(&self, scenario: &str) -> Option<&'a ScenarioRun> {
        let mut runs = self.report.scenarios.iter();
        runs.find(|run| run.name == scenario)
    }

    /// Returns the contenders of some cell metrics, in the order of the report.
    pub(crate) fn took_part(&self, cell_metrics: &[CellMetric]) -> Vec<&'a str> {
        let infos = self.report.context.contenders.iter();
        infos
            .map(|info| info.id.as_str())
            .filter(|id| cell_metrics.iter().any(|cell_metric| self.row(cell_metric, id).is_some()))
            .collect()
    }
}

impl Row {
    /// Returns the number of slices that its value comes from.
    pub(crate) fn slices(&self) -> usize {
        self.samples.iter().flatten().flatten().count()
    }

    /// Returns the value with its interval: `9.81 ns (9.70 ns–9.92 ns)`.
    pub(crate) fn with_interval(&self) -> String {
        let [value, low, high] = self.value.map(|end| words::value(self.unit, end));
        if low == high {
            return value;
        }
        format!("{value} ({low}–{high})")
    }
}

impl CellMetric {
    /// Returns its name in a chart or a table: `95/5`, `1000 writes/s, p99`.
    pub(crate) fn label(&self) -> String {
        match self.metric.as_str() {
            "time" => self.id.cell.clone(),
            metric if self.id.cell.is_empty() => metric.into(),
            metric => format!("{}, {metric}", self.id.cell),
        }
    }

    /// Returns its circumstances: `2 threads, 1k services`.
    pub(crate) fn circumstances(&self) -> String {
        format!(
            "{}, {} services",
            words::plural(self.id.threads, "thread"),
            words::count(self.id.services)
        )
    }
}
