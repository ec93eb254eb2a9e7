//! Answers the questions from the rows of a report.

use std::collections::{BTreeMap, BTreeSet};

use super::questions::{self, Candidates, Question, Trial};
use super::ratios::{BUSY, EQUAL, LogRatios, estimate, pairs};
use crate::model::{
    Answer, CellId, CellMetric, Comparison, ContenderInfo, ContenderKind, Interval, Report, Row,
};
use crate::stats::Estimate;
use crate::words::{self, plural};

/// A question that is not decided yet: the contenders that need more rounds, and the cells.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenQuestion {
    /// The cells that decide it.
    pub cells: Vec<CellId>,
    /// The best store so far, and those that cannot be told from it.
    pub contenders: Vec<String>,
}

/// Returns the questions that further rounds may still decide.
pub fn open_questions(report: &Report) -> Vec<OpenQuestion> {
    let of = |question: &Question| {
        let ranking = Ranking::of(report, question)?;
        let mut contenders = vec![ranking.best.to_owned()];
        let unclear = ranking.others.iter().filter(|own| !is_clear(own.ratio));
        contenders.extend(unclear.map(|own| own.contender.clone()));
        let cells: BTreeSet<CellId> = ranking.cell_metrics.into_iter().map(|own| own.id).collect();
        (contenders.len() > 1)
            .then(|| OpenQuestion { cells: cells.into_iter().collect(), contenders })
    };
    let all = questions::ALL.iter().filter(|own| !own.who.by_promise());
    all.filter_map(of).collect()
}

/// Returns all questions with the answers of a report.
pub(super) fn answers(report: &Report) -> Vec<Answer> {
    questions::ALL
        .iter()
        .map(|question| {
            let mut answer = Answer {
                question: question.need.clone(),
                group: question.group.clone(),
                by_promise: question.who.by_promise(),
                ..Answer::default()
            };
            if answer.by_promise {
                by_promise(report, question, &mut answer);
            } else {
                by_figures(report, question, &mut answer);
            }
            answer.decided = !answer.stores.is_empty();
            if answer.decided {
                caveats(report, question, &mut answer);
            }
            answer
        })
        .collect()
}

/// Returns whether an interval lies wholly within 3 % of 1.
fn is_equal(ratio: Interval) -> bool {
    ratio.low >= 1.0 / EQUAL && ratio.high <= EQUAL
}

/// Returns whether a ratio to the best decides: the two are equal, or the best is better.
fn is_clear(ratio: Interval) -> bool {
    is_equal(ratio) || ratio.low > EQUAL
}

/// The stores of a question, ranked by the first of its trials that was run.
struct Ranking<'a> {
    trial: &'a Trial,
    best: &'a str,
    /// The other candidates, compared with the best, nearest first.
    others: Vec<Comparison>,
    /// The contenders from outside, compared with the best.
    outside: Vec<Comparison>,
    cell_metrics: Vec<CellMetric>,
    rounds: usize,
    lost: Option<f64>,
}

impl<'a> Ranking<'a> {
    fn of(report: &'a Report, question: &'a Question) -> Option<Ranking<'a>> {
        let mut trials = question.trials.iter();
        trials.find_map(|trial| Ranking::by(report, &question.who, trial))
    }

    fn by(report: &'a Report, who: &Candidates, trial: &'a Trial) -> Option<Ranking<'a>> {
        let infos: BTreeMap<&str, &ContenderInfo> =
            report.context.contenders.iter().map(|info| (&*info.id, info)).collect();
        let rows_of_trial = TrialRows::of(report, trial);
        let may = |id: &&str| infos.get(id).is_some_and(|info| who.may(info));
        // A candidate that lacks a cell which others have is not compared.
        let mut able: Vec<&str> = rows_of_trial.contenders().into_iter().filter(may).collect();
        let most = able.iter().map(|id| rows_of_trial.cells_of(id)).max()?;
        able.retain(|id| rows_of_trial.cells_of(id) == most);
        // Starting from any candidate, the cheapest relative to the best so far becomes the best,
        // until none is cheaper. So two that have further rounds together are compared by these.
        let mut best = *able.first()?;
        for _ in 0..=able.len() {
            let others = able.iter().filter(|id| **id != best);
            let others =
                others.filter_map(|id| Some((*id, rows_of_trial.compare(id, best)?.0.log)));
            match others.min_by(|a, b| a.1.total_cmp(&b.1)) {
                Some((better, log)) if log < 0.0 => best = better,
                _ => break,
            }
        }
        let next_to_best = |ids: &mut dyn Iterator<Item = &'a str>| {
            let mut all: Vec<Comparison> = ids
                .filter(|id| *id != best)
                .filter_map(|id| {
                    let (ratio, cells) = rows_of_trial.compare(id, best)?;
                    let ratio = ratio.interval();
                    Some(Comparison {
                        contender: id.into(),
                        to: best.into(),
                        ratio,
                        cells,
                        equal: is_equal(ratio),
                    })
                })
                .collect();
            all.sort_by(|a, b| a.ratio.value.total_cmp(&b.ratio.value));
            all
        };
        let from_outside =
            |id: &&str| infos.get(id).is_some_and(|info| info.kind == ContenderKind::Outside);
        Some(Ranking {
            trial,
            best,
            others: next_to_best(&mut able.iter().copied()),
            outside: next_to_best(&mut rows_of_trial.contenders().into_iter().filter(from_outside)),
            rounds: rows_of_trial.rounds(best),
            cell_metrics: rows_of_trial.cell_metrics(),
            lost: rows_of_trial.lost(),
        })
    }
}

/// The rows of a trial, by cell and contender: one for each metric.
struct TrialRows<'a>(BTreeMap<&'a CellId, BTreeMap<&'a str, Vec<&'a Row>>>);

impl<'a> TrialRows<'a> {
    fn of(report: &'a Report, trial: &Trial) -> TrialRows<'a> {
        let mut rows_of_trial: BTreeMap<_, BTreeMap<_, Vec<_>>> = BTreeMap::new();
        for row in &report.rows {
            if trial.wants(row) {
                let cell = rows_of_trial.entry(&row.id).or_default();
                cell.entry(&*row.contender).or_default().push(row);
            }
        }
        TrialRows(rows_of_trial)
    }

    fn contenders(&self) -> BTreeSet<&'a str> {
        self.0.values().flat_map(BTreeMap::keys).copied().collect()
    }

    fn cells_of(&self, id: &str) -> usize {
        self.0.values().filter(|cell| cell.contains_key(id)).count()
    }

    fn cell_metrics(&self) -> Vec<CellMetric> {
        let rows = self.0.values().flat_map(BTreeMap::values).flatten();
        let cell_metrics: BTreeSet<CellMetric> = rows.map(|row| row.cell_metric()).collect();
        cell_metrics.into_iter().collect()
    }

    fn rounds(&self, id: &str) -> usize {
        let rows = self.0.values().filter_map(|cell| cell.get(id)?.first());
        rows.map(|row| row.samples.iter().flatten().flatten().count()).sum()
    }

    /// Returns the part that other programs took of the time of several threads, in the cell where
    /// they took most.
    fn lost(&self) -> Option<f64> {
        let rows = self.0.values().flat_map(BTreeMap::values).flatten();
        rows.filter_map(|row| row.lost).reduce(f64::max)
    }

    /// Returns the geometric mean of the ratios of all cells that both have, and the number of
    /// these cells. The metrics of one cell are not independent, so their mean is taken within each
    /// round.
    fn compare(&self, id: &str, to: &str) -> Option<(Estimate, usize)> {
        let mut cells = Vec::new();
        for cell in self.0.values() {
            let (Some(own), Some(other)) = (cell.get(id), cell.get(to)) else {
                continue;
            };
            let both = own.iter().filter_map(|own| {
                let other = other.iter().find(|other| other.metric == own.metric)?;
                Some((own.unit, pairs(&own.samples, &other.samples)))
            });
            let (units, logs): (Vec<_>, Vec<_>) = both.unzip();
            cells.push(estimate(*units.first()?, &mean(&logs))?);
        }
        Some((Estimate::mean(&cells)?, cells.len()))
    }
}

/// Returns the mean of several metrics in each round.
fn mean(of: &[LogRatios]) -> LogRatios {
    let round = |life: usize, round: usize| {
        let all: Option<Vec<f64>> = of.iter().map(|logs| *logs.get(life)?.get(round)?).collect();
        all.map(|all| all.iter().sum::<f64>() / of.len() as f64)
    };
    let lives = of.first().into_iter().flatten().enumerate();
    lives.map(|(life, own)| (0..own.len()).map(|at| round(life, at)).collect()).collect()
}

fn by_figures(report: &Report, question: &Question, answer: &mut Answer) {
    let Some(ranking) = Ranking::of(report, question) else {
        let mut names: Vec<_> = question.trials.iter().map(|own| own.scenario.clone()).collect();
        names.dedup();
        let names = words::list(&names, "or");
        answer.evidence.push(format!("This run has no figures for it: that takes {names}."));
        return;
    };
    let Ranking { trial, best, .. } = ranking;
    let best_name = name(report, best);
    let extent = format!(
        "{}, {} ({}, {})",
        trial.scenario,
        trial.part,
        plural(ranking.cell_metrics.len(), "figure"),
        plural(ranking.rounds, "round")
    );
    if ranking.others.is_empty() {
        answer.evidence.push(format!("{extent}: no other store of this crate took part."));
    } else {
        let others: Vec<String> =
            ranking.others.iter().map(|own| named_ratio(report, own)).collect();
        answer.evidence.push(format!("{extent}: next to {best_name}: {}.", others.join(", ")));
        let unclear = |own: &&Comparison| !is_clear(own.ratio);
        let unclear: Vec<String> = ranking
            .others
            .iter()
            .filter(unclear)
            .map(|own| name(report, &own.contender).to_owned())
            .collect();
        if unclear.is_empty() {
            answer.stores.push(best.into());
            let equal = ranking.others.iter().filter(|own| own.equal);
            answer.stores.extend(equal.map(|own| own.contender.clone()));
        } else {
            answer.evidence.push(format!(
                "Whether {best_name} is better than {} or equal to within 3 %, this run does not \
                 decide.",
                words::list(&unclear, "and")
            ));
        }
        better_outside(report, &ranking.outside, answer);
        if trial.scenario != question.trials[0].scenario {
            answer.caveats.push(format!(
                "judged by {}, because this run has no figures of {} for it",
                trial.scenario, question.trials[0].scenario
            ));
        }
    }
    answer.busy = ranking.lost.filter(|lost| *lost > BUSY);
    answer.cells = ranking.cell_metrics;
    answer.comparisons = ranking.others;
}

/// Adds a caveat with the contenders from outside that were faster, and with what they promise.
fn better_outside(report: &Report, outside: &[Comparison], answer: &mut Answer) {
    let better = outside.iter().filter(|own| own.ratio.high < 1.0 / EQUAL);
    let better: Vec<String> = better
        .map(|own| {
            let info = info(report, &own.contender);
            match info.and_then(|info| info.promises.as_ref()) {
                Some(promises) => format!(
                    "{} ({}, {}{})",
                    named_ratio(report, own),
                    promises.scan,
                    if promises.indexes_agree { "indexes agree" } else { "indexes may disagree" },
                    match &*promises.caveat {
                        "" => String::new(),
                        caveat => format!("; mind: {caveat}"),
                    }
                ),
                None => format!("{} (a bare map)", named_ratio(report, own)),
            }
        })
        .collect();
    if !better.is_empty() {
        answer
            .caveats
            .push(format!("faster here, though not of this crate: {}", better.join("; ")));
    }
}

fn by_promise(report: &Report, question: &Question, answer: &mut Answer) {
    let measured = |info: &&ContenderInfo| report.rows.iter().any(|row| row.contender == info.id);
    let contenders = report.context.contenders.iter();
    let fits: Vec<&ContenderInfo> =
        contenders.filter(|info| question.who.may(info)).filter(measured).collect();
    if fits.is_empty() {
        answer.evidence.push("No store that would fit was measured in this run.".into());
        return;
    }
    answer.stores = fits.iter().map(|info| info.id.clone()).collect();
    answer.evidence.push(if question.who == Candidates::Views {
        let costs = |info: &&ContenderInfo| {
            let snapshot = info.promises.as_ref().map_or("", |own| &own.snapshot);
            format!("{}, {snapshot}", info.name)
        };
        let views: Vec<String> = fits.iter().map(costs).collect();
        format!(
            "By promise, not by speed: of this crate these stores hand out views: {}.",
            views.join("; ")
        )
    } else {
        "By promise, not by speed: one thread owns the data, the others send messages.".into()
    });
    let Some(ranking) = Ranking::of(report, question) else {
        return;
    };
    for row in &report.rows {
        if ranking.cell_metrics.contains(&row.cell_metric())
            && answer.stores.contains(&row.contender)
        {
            answer.evidence.push(format!(
                "{}, {}, {} services: {} takes {}.",
                row.id.scenario,
                row.id.cell,
                words::thousands(row.id.services as u64),
                name(report, &row.contender),
                row.with_interval(),
            ));
        }
    }
    answer.cells = ranking.cell_metrics;
    answer.comparisons = ranking.others;
}

fn caveats(report: &Report, question: &Question, answer: &mut Answer) {
    if question.who.by_promise() || answer.stores.len() <= 2 {
        for id in &answer.stores {
            let promises = info(report, id).and_then(|info| info.promises.as_ref());
            if let Some(promises) = promises.filter(|own| !own.caveat.is_empty()) {
                let name = name(report, id);
                answer.caveats.push(format!("{name}: {}", promises.caveat));
            }
        }
    }
    if !question.caveat.is_empty() {
        answer.caveats.push(question.caveat.clone());
    }
}

fn named_ratio(report: &Report, own: &Comparison) -> String {
    let name = name(report, &own.contender);
    format!("{name} {}", words::ratio(own.ratio))
}

fn info<'a>(report: &'a Report, id: &str) -> Option<&'a ContenderInfo> {
    report.context.contenders.iter().find(|info| info.id == id)
}

fn name<'a>(report: &'a Report, id: &'a str) -> &'a str {
    info(report, id).map_or(id, |info| &info.name)
}
