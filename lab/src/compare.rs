//! What changed from one report to the next.
//!
//! Two runs are from different minutes of a machine, or from different machines, and share no
//! round. So a contender is compared by its ratio to the reference of its scenario, with which both
//! runs paired it. The reference itself, and scenarios without a reference, are compared by value,
//! and only on the same machine. The two runs are independent, so the logarithms of their intervals
//! add up as squares do. A change is a ratio whose interval lies wholly outside 3 %, or outside the
//! noise floor of the scenario in either run if that is wider; for counted figures, a difference of
//! more than half a per cent.

use std::collections::HashMap;

use crate::model::{CellMetric, Interval, Report, Row};
use crate::words::{self, plural};

/// What changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReportDiff {
    /// Why the two should not be compared, or only with care.
    pub(crate) warnings: Vec<String>,
    /// The entries of both reports, in the order of the new one.
    pub(crate) rows: Vec<RowChange>,
    /// The entries of the old report only.
    pub(crate) gone: Vec<String>,
    /// The entries of the new report only.
    pub(crate) added: Vec<String>,
    /// Questions whose answer has changed: the question, the old answer, the new one.
    pub(crate) answers: Vec<[String; 3]>,
}

/// A contender in a metric of a cell, in both reports.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RowChange {
    /// The cell and metric.
    pub(crate) cell_metric: CellMetric,
    /// The contender.
    pub(crate) contender: String,
    /// The new cost over the old one; more than 1 is slower.
    pub(crate) ratio: Interval,
    /// Whether that is a change rather than noise.
    pub(crate) changed: bool,
}

impl RowChange {
    /// Returns its description in words.
    pub(crate) fn name(&self) -> String {
        format!("{}, {}", self.contender, name(&self.cell_metric))
    }
}

fn name(cell_metric: &CellMetric) -> String {
    format!("{}: {}, {}", cell_metric.id.scenario, cell_metric.label(), cell_metric.circumstances())
}

/// Compares two reports; see above for how.
pub(crate) fn compare(old: &Report, new: &Report) -> ReportDiff {
    let same_machine = machine(old) == machine(new);
    let key = |row: &Row| (row.cell_metric(), row.contender.clone());
    let before: HashMap<_, &Row> = old.rows.iter().map(|row| (key(row), row)).collect();
    let after: HashMap<_, &Row> = new.rows.iter().map(|row| (key(row), row)).collect();
    let floors = [old, new].map(|report| -> HashMap<&str, f64> {
        let noise = report.noise.iter();
        noise.map(|noise| (noise.scenario.as_str(), noise.floor)).collect()
    });
    let mut rows = Vec::new();
    for row in &new.rows {
        let Some(was) = before.get(&key(row)).filter(|was| was.unit == row.unit) else {
            continue;
        };
        let ratio = match (was.ratio, row.ratio) {
            (Some(was), Some(is)) if !row.unit.is_counted() => over(was, is),
            _ if same_machine || row.unit.is_counted() => over(was.value, row.value),
            _ => continue,
        };
        let floor = floors.iter().filter_map(|floors| floors.get(row.id.scenario.as_str()));
        let margin =
            if row.unit.is_counted() { 1.005 } else { floor.copied().fold(1.03, f64::max) };
        rows.push(RowChange {
            cell_metric: row.cell_metric(),
            contender: row.contender.clone(),
            changed: ratio.low > margin || ratio.high < margin.recip(),
            ratio,
        });
    }
    let only = |rows: &[Row], other: &HashMap<(CellMetric, String), &Row>| {
        let rows = rows.iter().filter(|row| !other.contains_key(&key(row)));
        rows.map(|row| format!("{}, {}", row.contender, name(&row.cell_metric()))).collect()
    };
    ReportDiff {
        warnings: warnings(old, new),
        rows,
        gone: only(&old.rows, &after),
        added: only(&new.rows, &before),
        answers: answers(old, new),
    }
}

fn machine(report: &Report) -> (&str, usize, &str) {
    let machine = &report.context.machine;
    (&machine.cpu, machine.cores, &report.context.toolchain.target)
}

/// Returns the ratio of two independent figures.
fn over(old: Interval, new: Interval) -> Interval {
    let positive = |own: Interval| own.low > 0.0 && own.value > 0.0 && own.high.is_finite();
    if !positive(old) || !positive(new) {
        // A ratio to zero does not exist: equal, or infinitely more or less.
        let value = match (old.value > 0.0, new.value > 0.0) {
            (false, true) => f64::INFINITY,
            (true, false) => 0.0,
            _ => 1.0,
        };
        let apart = old.low > new.high || new.low > old.high;
        let [low, high] = if apart { [value; 2] } else { [0.0, f64::INFINITY] };
        return Interval { value, low, high };
    }
    let value = new.value / old.value;
    let below = (new.value / new.low).ln().hypot((old.high / old.value).ln());
    let above = (new.high / new.value).ln().hypot((old.value / old.low).ln());
    Interval { value, low: value * (-below).exp(), high: value * above.exp() }
}

/// The parts of a context that a run of other code should share with this one.
const FACTS: [&str; 13] = [
    "/machine/cpu",
    "/machine/cores",
    "/machine/os",
    "/machine/kernel",
    "/toolchain/rustc",
    "/toolchain/target",
    "/toolchain/profile",
    "/allocator",
    "/hasher",
    "/keys",
    "/lock_file",
    "/effort",
    "/seed",
];

/// Lists the differences of the two runs other than the code.
fn warnings(old: &Report, new: &Report) -> Vec<String> {
    let [was, is] = [&old.context, &new.context];
    let values = [was, is].map(|context| serde_json::to_value(context).unwrap_or_default());
    let mut warnings: Vec<String> = Vec::new();
    for fact in FACTS {
        let [was, is] = [0, 1].map(|at: usize| values[at].pointer(fact));
        if let (true, Some(was), Some(is)) = (was != is, was, is) {
            let name = fact.rsplit('/').next().unwrap_or(fact).replace('_', " ");
            let [was, is] = [was, is].map(|own| words::short(&own.to_string(), 200));
            warnings.push(format!("The {name} differs: {was}, then {is}."));
        }
    }
    for (which, context) in [("old", was), ("new", is)] {
        if let Some(why) = &context.ended_early {
            let why = words::stopped(why);
            warnings.push(format!("The {which} run ended before its plan: {why}"));
        }
    }
    if machine(old) != machine(new) {
        warnings.push(
            "The machines differ: only ratios to the reference of a scenario, and what is counted, are compared."
                .into(),
        );
    }
    warnings
}

fn answers(old: &Report, new: &Report) -> Vec<[String; 3]> {
    let verdict = |answer: &crate::model::Answer| {
        if answer.decided { answer.stores.join(" = ") } else { "not decided".into() }
    };
    let both = new.answers.iter().filter_map(|is| {
        let was = old.answers.iter().find(|was| was.question == is.question)?;
        Some([is.question.clone(), verdict(was), verdict(is)])
    });
    both.filter(|[_, was, is]| was != is).collect()
}

impl ReportDiff {
    /// Lists the changes, the largest first.
    pub(crate) fn changed(&self) -> impl Iterator<Item = &RowChange> {
        let mut changed: Vec<&RowChange> = self.rows.iter().filter(|row| row.changed).collect();
        let extent = |row: &RowChange| row.ratio.value.ln().abs();
        changed.sort_by(|a, b| extent(b).total_cmp(&extent(a)));
        changed.into_iter()
    }

    /// Summarizes the changes in sentences.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let (less, more): (Vec<_>, Vec<_>) = self.changed().partition(|row| row.ratio.value < 1.0);
        let mut said = vec![format!(
            "Of {} that both reports have, {} less now and {} more; the rest cannot be told from noise.",
            plural(self.rows.len(), "figure"),
            cost(less.len()),
            cost(more.len()),
        )];
        // Even if nothing has changed, some intervals miss the truth.
        if self.rows.len() >= 40 && !(less.is_empty() && more.is_empty()) {
            said.push(
                "Of many figures a few look changed by chance: believe a pattern, not a single row.".into(),
            );
        }
        for [question, was, is] in &self.answers {
            said.push(format!("{question}: {was}, now {is}."));
        }
        for (names, which) in [(&self.gone, "old"), (&self.added, "new")] {
            if let Some(first) = names.first() {
                let count = plural(names.len(), "figure");
                said.push(format!(
                    "Only the {which} report has {count}, the first of them {first}."
                ));
            }
        }
        said
    }
}

fn cost(number: usize) -> String {
    match number {
        0 => "none costs".into(),
        1 => "1 costs".into(),
        number => format!("{} cost", words::thousands(number as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;

    /// Scales the costs of one contender in one scenario.
    fn scaled(report: &Report, contender: &str, by: f64) -> Report {
        let mut report = report.clone();
        let rows = report.rows.iter_mut();
        for row in rows.filter(|row| row.contender == contender && row.id.scenario == "sustained") {
            synthetic::scale(&mut row.value, by);
            row.ratio.iter_mut().for_each(|ratio| synthetic::scale(ratio, by));
        }
        report
    }

    #[test]
    fn a_change_is_found_and_what_lies_within_the_noise_is_none() {
        let old = synthetic::quick();
        let same = compare(&old, &old);
        assert_eq!((same.warnings.len(), same.changed().count()), (0, 0));
        assert_eq!(same.rows.len(), old.rows.len());
        assert!(same.gone.is_empty() && same.added.is_empty() && same.answers.is_empty());
        let changes = compare(&old, &scaled(&old, "snapshot", 1.5));
        let found: Vec<&RowChange> = changes.changed().collect();
        assert!(!found.is_empty());
        for change in found {
            assert_eq!(change.contender, "snapshot");
            assert!((change.ratio.value - 1.5).abs() < 1e-9, "{change:?}");
        }
        let said = changes.sentences();
        assert!(said[0].contains("none costs less now"), "{said:?}");
        let near = compare(&old, &scaled(&old, "snapshot", 1.02));
        assert_eq!(near.changed().count(), 0);
    }

    /// A machine that is twice as slow in everything is not a change.
    #[test]
    fn of_another_machine_only_ratios_are_compared() {
        let old = synthetic::quick();
        let mut new = old.clone();
        new.context.machine.cpu = "abacus".into();
        for row in new.rows.iter_mut().filter(|row| !row.unit.is_counted()) {
            synthetic::scale(&mut row.value, 2.0);
        }
        let changes = compare(&old, &new);
        assert!(changes.warnings.iter().any(|said| said.contains("abacus")));
        assert_eq!(changes.changed().count(), 0, "{:?}", changes.changed().next());
        assert!(!changes.rows.is_empty());
    }

    #[test]
    fn every_difference_of_the_machines_is_warned_of() {
        let old = synthetic::quick();
        let warned = |what: &str, change: fn(&mut Report)| {
            let mut new = old.clone();
            change(&mut new);
            let warnings = compare(&old, &new).warnings;
            assert!(warnings.iter().any(|warning| warning.contains(what)), "{what}: {warnings:?}");
        };
        warned("cores", |new| new.context.machine.cores += 1);
        warned("kernel", |new| new.context.machine.kernel = "0.1".into());
        warned("rustc", |new| new.context.toolchain.rustc = "rustc 2".into());
        warned("allocator", |new| new.context.allocator = "bump".into());
        warned("lock file", |new| new.context.lock_file = "0".into());
        warned("ended before", |new| new.context.ended_early = Some("interrupted".into()));
    }
}
