//! A report with what is looked up in it.

use std::collections::{BTreeMap, HashMap};

use super::chart::Style;
use crate::model::{ContenderInfo, Kind, Place, Report, Row, ScenarioRun};
use crate::words;

/// A report with an index.
#[derive(Debug)]
pub(crate) struct ReportIndex<'a> {
    pub(crate) report: &'a Report,
    infos: HashMap<&'a str, (&'a ContenderInfo, Style)>,
    rows: HashMap<Place, Vec<&'a Row>>,
    /// The places of each scenario in the order of the rows.
    places: BTreeMap<&'a str, Vec<Place>>,
}

impl<'a> ReportIndex<'a> {
    pub(crate) fn of(report: &'a Report) -> ReportIndex<'a> {
        let mut index = ReportIndex {
            report,
            infos: HashMap::new(),
            rows: HashMap::new(),
            places: BTreeMap::new(),
        };
        let (mut ours, mut others) = (0, 0);
        for info in &report.context.contenders {
            let (style, place): (fn(usize) -> Style, _) = match info.kind {
                Kind::Ours => (Style::Ours, &mut ours),
                Kind::Outside | Kind::Measure => (Style::Outside, &mut others),
            };
            index.infos.insert(&info.id, (info, style(*place)));
            *place += 1;
        }
        for row in &report.rows {
            let place = row.place();
            let rows = index.rows.entry(place.clone()).or_default();
            if rows.is_empty() {
                let places = index.places.entry(&row.id.scenario).or_default();
                places.push(place);
            }
            rows.push(row);
        }
        index
    }

    /// The name of a contender in tables and answers.
    pub(crate) fn name<'b>(&'b self, id: &'b str) -> &'b str {
        self.infos.get(id).map_or(id, |(info, _)| &info.name)
    }

    pub(crate) fn style(&self, id: &str) -> Style {
        self.infos.get(id).map_or(Style::Outside(0), |(_, style)| *style)
    }

    pub(crate) fn is_ours(&self, id: &str) -> bool {
        self.infos.get(id).is_some_and(|(info, _)| info.kind == Kind::Ours)
    }

    pub(crate) fn rows(&self, place: &Place) -> &[&'a Row] {
        self.rows.get(place).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn row(&self, place: &Place, contender: &str) -> Option<&'a Row> {
        let mut rows = self.rows(place).iter();
        rows.find(|row| row.contender == contender).copied()
    }

    pub(crate) fn places(&self, scenario: &str) -> &[Place] {
        self.places.get(scenario).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn run(&self, scenario: &str) -> Option<&'a ScenarioRun> {
        let mut runs = self.report.scenarios.iter();
        runs.find(|run| run.name == scenario)
    }

    /// The contenders of some rows, in the order of the report.
    pub(crate) fn took_part(&self, places: &[Place]) -> Vec<&'a str> {
        let infos = self.report.context.contenders.iter();
        infos
            .map(|info| info.id.as_str())
            .filter(|id| places.iter().any(|place| self.row(place, id).is_some()))
            .collect()
    }
}

impl Row {
    /// How many slices its value comes from.
    pub(crate) fn slices(&self) -> usize {
        self.samples.iter().flatten().flatten().count()
    }

    /// The value with its interval: `9.81 ns (9.70 ns–9.92 ns)`.
    pub(crate) fn said(&self) -> String {
        let [value, low, high] = self.value.map(|end| words::value(self.unit, end));
        if low == high {
            return value;
        }
        format!("{value} ({low}–{high})")
    }
}

impl Place {
    /// What is done, as a chart or a table names it: `95/5`, `p99 of 1000 writes/s`.
    pub(crate) fn what(&self) -> String {
        match self.metric.as_str() {
            "time" => self.id.cell.clone(),
            metric if self.id.cell.is_empty() => metric.into(),
            metric => format!("{}, {metric}", self.id.cell),
        }
    }

    /// The circumstances: `2 threads, 1k services`.
    pub(crate) fn where_(&self) -> String {
        format!(
            "{}, {} services",
            words::plural(self.id.threads, "thread"),
            words::count(self.id.services)
        )
    }
}
