//! Sentences about the figures of a report. A sentence names the intervals, and claims nothing that
//! they leave open.

use std::fmt::Write as _;
use std::time::Duration;

use indicatif::HumanDuration;
use itertools::Itertools as _;

use super::report_index::ReportIndex;
use crate::model::{Answer, CellMetric, Comparison, Interval, Report, Row};
use crate::words::{self, list, plural, stopped};

/// Returns the answer to a question in one sentence, and a second one if the machine was busy.
pub(crate) fn answer(index: &ReportIndex<'_>, answer: &Answer) -> String {
    let sentence = sentence(index, answer);
    answer.busy.map_or(sentence.clone(), |lost| format!("{sentence} {}", busy(lost)))
}

/// Explains what it means that other programs took this part of the time of several threads.
fn busy(lost: f64) -> String {
    format!(
        "Other programs took up to {:.0} % of the time of its threads, so that these often did not \
         run at once: an answer for a machine that is as busy.",
        lost * 100.0
    )
}

fn sentence(index: &ReportIndex<'_>, answer: &Answer) -> String {
    let names: Vec<String> = answer.stores.iter().map(|id| index.name(id).to_owned()).collect();
    let next = answer.comparisons.iter().find(|next| !next.equal);
    if !answer.decided {
        return match answer.comparisons.first() {
            Some(nearest) => format!(
                "This run does not decide it: {} costs {} what {} does.",
                index.name(&nearest.contender),
                ratio(nearest.ratio),
                index.name(&nearest.to)
            ),
            None => stopped(
                answer.evidence.first().map_or("This run has no figures for it", String::as_str),
            ),
        };
    }
    if answer.by_promise {
        let how = match names.len() {
            1 => "fits by what it promises, not by its speed",
            _ => "fit by what they promise, not by their speed",
        };
        return format!("{} {how}.", list(&names, "or"));
    }
    let first = match names.len() {
        0 => return "This run names no store.".into(),
        1 => format!("{} costs least of this crate's stores", names[0]),
        _ => format!("{} cost the same within 3 %", list(&names, "and")),
    };
    match next {
        Some(next) => format!(
            "{first}; {}, the next, costs {} as much.",
            index.name(&next.contender),
            ratio(next.ratio)
        ),
        None => format!("{first}."),
    }
}

/// Formats a ratio: `1.12 times (1.08 to 1.16)`.
fn ratio(interval: Interval) -> String {
    let [value, low, high] = interval.map(words::significant);
    format!("{value} times ({low} to {high})")
}

/// Returns the answer in a few words: `VersionedStore = SnapshotStore`.
pub(crate) fn verdict<'a>(answer: &'a Answer, name: impl Fn(&'a str) -> &'a str) -> String {
    if !answer.decided || answer.stores.is_empty() {
        return "not decided".into();
    }
    // More than two names do not fit beside the question, but ids do.
    let few = answer.stores.len() <= 2;
    let names = answer.stores.iter().map(|id| if few { name(id) } else { id });
    names.collect::<Vec<_>>().join(if answer.by_promise { " or " } else { " = " })
}

/// Returns the mark behind a verdict that holds only for a busy machine.
pub(crate) fn mark(answer: &Answer) -> &'static str {
    if answer.busy.is_some() { " *" } else { "" }
}

/// Returns how near the next store is, in a few words.
pub(crate) fn margin(answer: &Answer) -> String {
    if answer.by_promise && answer.decided {
        return "by promise".into();
    }
    let mut comparisons = answer.comparisons.iter();
    let next: Option<&Comparison> =
        if answer.decided { comparisons.find(|next| !next.equal) } else { comparisons.next() };
    match next {
        Some(next) if answer.decided => {
            format!("{} {}", next.contender, words::times(next.ratio.value))
        }
        Some(next) => format!("{} or {}: {}×", next.to, next.contender, words::ends(next.ratio)),
        None => String::new(),
    }
}

/// Says which store leads most often in a scenario, and how far the stores are apart.
pub(crate) fn scenario(index: &ReportIndex<'_>, cell_metrics: &[CellMetric]) -> String {
    let compared = cell_metrics.iter().filter_map(|cell_metric| {
        let ours = index.rows(cell_metric).iter().filter(|row| index.is_ours(&row.contender));
        let mut ours: Vec<&Row> = ours.copied().collect();
        ours.sort_by(|a, b| a.value.value.total_cmp(&b.value.value));
        let [best, .., last] = ours[..] else { return None };
        let apart = last.value.value / best.value.value;
        Some((&*best.contender, if best.value.value > 0.0 { apart } else { 1.0 }, cell_metric))
    });
    let compared: Vec<(&str, f64, &CellMetric)> = compared.collect();
    let leads = compared.iter().map(|(best, ..)| *best).unique().collect::<Vec<_>>();
    let times = |id: &str| compared.iter().filter(|(best, ..)| *best == id).count();
    // If several lead equally often, takes the first.
    let Some(best) = leads.iter().rev().max_by_key(|id| times(id)) else {
        return "No two stores of this crate were measured here.".into();
    };
    let mut said = if leads.len() == 1 {
        format!(
            "Of the stores of this crate, {} has the lowest median everywhere",
            index.name(best)
        )
    } else {
        format!(
            "Of the stores of this crate, {} has the lowest median most often, in {} of {}",
            index.name(best),
            times(best),
            plural(compared.len(), "figure")
        )
    };
    let far = compared.iter().rev().max_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((_, ratio, cell_metric)) = far.filter(|(_, ratio, _)| *ratio >= 1.05) {
        let _ = write!(
            said,
            "; the lowest and the highest lie up to a factor of {} apart ({}, {})",
            words::significant(*ratio),
            cell_metric.label(),
            cell_metric.circumstances()
        );
    }
    said + "."
}

/// Describes the run in one sentence.
pub(crate) fn run(report: &Report) -> String {
    let context = &report.context;
    let decided = report.answers.iter().filter(|answer| answer.decided).count();
    format!(
        "A {} run of {} on {} of {} ({}) decided {decided} of {}.",
        match context.effort.as_str() {
            "default" => "usual",
            effort => effort,
        },
        duration(context.seconds),
        plural(context.machine.cores, "processor"),
        context.machine.cpu,
        context.started_at.split('T').next().unwrap_or_default(),
        plural(report.answers.len(), "question"),
    )
}

/// Formats a duration: `58 seconds`, `9 minutes`; at least one second.
pub(crate) fn duration(seconds: f64) -> String {
    let time = Duration::try_from_secs_f64(seconds.max(1.0)).unwrap_or_default();
    HumanDuration(time).to_string()
}

/// Returns five sentences: a description of the run, and the first decided answer of each of four
/// groups.
pub(crate) fn five(index: &ReportIndex<'_>) -> Vec<[String; 2]> {
    let report = index.report;
    let mut said = vec![[String::new(), run(report)]];
    for group in groups(report).into_iter().take(4) {
        let mut of_group = report.answers.iter().filter(|answer| answer.group == group);
        let decided = of_group.clone().find(|answer| answer.decided && !answer.by_promise);
        said.push(match decided.or_else(|| of_group.find(|answer| answer.decided)) {
            Some(own) => [own.question.clone(), answer(index, own)],
            None => [group.into(), "This run decides nothing about it.".into()],
        });
    }
    said
}

/// Returns the groups of the questions, in their order.
pub(crate) fn groups(report: &Report) -> Vec<&str> {
    report.answers.iter().map(|answer| answer.group.as_str()).unique().collect()
}

/// Returns what a reader must know before believing a figure.
pub(crate) fn warnings(report: &Report) -> Vec<String> {
    let context = &report.context;
    let mut warnings = Vec::new();
    if let Some(why) = &context.ended_early {
        warnings.push(format!("The run ended before its plan: {}", stopped(why)));
    }
    if context.toolchain.profile == "debug" {
        warnings.push("This is a debug build: no figure of it means anything.".into());
    }
    if context.effort == "smoke" {
        warnings.push(
            "A smoke run shows that everything works: no figure of it means anything.".into(),
        );
    }
    let cores = context.machine.cores as f64;
    let load = context.machine.load_before;
    if load > 0.5 * cores {
        warnings.push(format!(
            "Other programs were at work: a load of {load:.1} on {} before the start. \
             Times suffer more than ratios.",
            plural(context.machine.cores, "processor")
        ));
    }
    if let Some(lost) = report.answers.iter().filter_map(|own| own.busy).reduce(f64::max) {
        warnings.push(format!("* {}", busy(lost)));
    }
    warnings.extend(context.lacks.iter().map(|lack| stopped(lack)));
    warnings
}
