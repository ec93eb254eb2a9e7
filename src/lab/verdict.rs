//! Which store should I use? From a need to a store, by rules that are fixed here
//! and figures that were measured.
//!
//! Only stores of this crate are named as answers: they keep the whole contract.
//! What stands beside them and was faster is named, too, with what it does not
//! promise. What cannot be told apart wins nothing: then several stores are named.

use super::model::{ContenderInfo, Kind as Origin, Report, SummaryRow};
use super::overall::{Kind, Overall, Overview};
use super::section::{Ratio, thousands, time};
use super::stability;

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What is needed.
    pub need: String,
    /// The stores that fit; several where they cannot be told apart, none where
    /// nothing was measured that would decide it.
    pub stores: Vec<String>,
    /// What speaks for them.
    pub evidence: Vec<String>,
    /// What to mind.
    pub caveats: Vec<String>,
    /// Whether promises decide, not figures.
    pub by_promise: bool,
}

/// What decides over a need: a part of a scenario.
struct Trial {
    scenario: &'static str,
    /// What part, in words; empty for all of it.
    part: &'static str,
    wanted: fn(&SummaryRow) -> bool,
}

/// A need and what decides over it: the first of the trials that was run.
struct Rule {
    need: &'static str,
    kind: Kind,
    who: Who,
    trials: &'static [Trial],
    /// What to mind, whichever store it is.
    caveat: &'static str,
}

/// Who can be the answer.
enum Who {
    /// Every store of this crate.
    All,
    /// Those that threads can share.
    Shared,
    /// Those that hand out immutable views: decided by promise, not by speed.
    Views,
    /// These: decided by promise.
    Named(&'static [&'static str]),
}

const MEMORY: &str = "memory";

const ON_ONE_THREAD: &str = "measured on one thread: what threads do to each other is not in it";

#[rustfmt::skip] // one line each, so that it reads as the table that it is
const RULES: &[Rule] = &[
    Rule { need: "One thread", kind: Kind::Time, who: Who::All, caveat: "", trials: &[
        Trial { scenario: "operations", part: "one thread", wanted: |row| row.cell.threads == 1 },
    ] },
    Rule { need: "Many threads, reads on every request, few writes", kind: Kind::Time, who: Who::Shared, caveat: "", trials: &[
        Trial { scenario: "sustained", part: "100/0 and 95/5 on two or more threads", wanted: |row| many(row) && mix(row, &["100/0", "95/5"]) },
        Trial { scenario: "burst-30x100", part: "100/0 and 95/5", wanted: |row| mix(row, &["100/0", "95/5"]) },
    ] },
    Rule { need: "Many threads, reads and writes mixed", kind: Kind::Time, who: Who::Shared, caveat: "", trials: &[
        Trial { scenario: "sustained", part: "80/20 and 50/50 on two or more threads", wanted: |row| many(row) && mix(row, &["80/20", "50/50"]) },
        Trial { scenario: "burst-30x100", part: "80/20 and 50/50", wanted: |row| mix(row, &["80/20", "50/50"]) },
    ] },
    Rule { need: "Many threads, mostly writes", kind: Kind::Time, who: Who::Shared, caveat: "", trials: &[
        Trial { scenario: "sustained", part: "0/100 on two or more threads", wanted: |row| many(row) && mix(row, &["0/100"]) },
        Trial { scenario: "burst-30x100", part: "0/100", wanted: |row| mix(row, &["0/100"]) },
    ] },
    Rule { need: "Many threads ask for the same few pods", kind: Kind::Time, who: Who::Shared, caveat: "", trials: &[
        Trial { scenario: "hot-key", part: "two or more threads", wanted: many },
        Trial { scenario: "zipf", part: "two or more threads", wanted: many },
    ] },
    Rule { need: "Reads that stay quick while others write", kind: Kind::Time, who: Who::Shared,
        caveat: "the tail is the machine's as well: see the null store's row; a store with a thread of its own has one more to wait for, beside a writer that never sleeps", trials: &[
        Trial { scenario: "writer-storm", part: "p99.9 from the intended start, beside a writer", wanted: tail },
        Trial { scenario: "health-sweep", part: "p99.9 from the intended start", wanted: tail },
        // Of a short run, whose blocks have too few reads for that.
        Trial { scenario: "writer-storm", part: "p99 from the intended start, beside a writer", wanted: shorter_tail },
    ] },
    Rule { need: "Several answers that agree: a view of one moment", kind: Kind::Time, who: Who::Views,
        caveat: "", trials: &[
        Trial { scenario: "snapshot-scan", part: "", wanted: |_| true },
        Trial { scenario: "operations", part: "", wanted: |_| true },
    ] },
    Rule { need: "Scans of everything while it changes", kind: Kind::Time, who: Who::Shared, caveat: "", trials: &[
        Trial { scenario: "snapshot-scan", part: "get_all_services beside a writer", wanted: |row| row.cell.metric.starts_with("get_all_services") },
    ] },
    Rule { need: "All pods of a name", kind: Kind::Time, who: Who::Shared, caveat: ON_ONE_THREAD, trials: &[
        Trial { scenario: "by-name", part: "on one thread", wanted: |_| true },
        Trial { scenario: "operations", part: "get_services_by_name on one thread", wanted: |row| row.cell.metric == "get_services_by_name" },
    ] },
    Rule { need: "Who listens to a group", kind: Kind::Time, who: Who::Shared, caveat: ON_ONE_THREAD, trials: &[
        Trial { scenario: "subscriptions", part: "on one thread", wanted: |_| true },
        Trial { scenario: "operations", part: "get_subscribers on one thread", wanted: |row| row.cell.metric == "get_subscribers" },
    ] },
    Rule { need: "A change is seen soon", kind: Kind::Time, who: Who::Shared, caveat: "", trials: &[
        Trial { scenario: "visibility", part: "from the start of the write", wanted: |row| row.cell.metric.contains("from_start") },
    ] },
    Rule { need: "Many pods at the start", kind: Kind::Time, who: Who::Shared, caveat: "", trials: &[
        Trial { scenario: "fill-and-drop", part: "fill", wanted: |row| row.cell.metric == "fill" },
    ] },
    Rule { need: "Little memory", kind: Kind::Memory, who: Who::Shared, caveat: "", trials: &[
        Trial { scenario: "memory", part: "bytes a service, 1,000 services and more", wanted: kept },
    ] },
    Rule { need: "An event loop, one owner of the data", kind: Kind::Time, who: Who::Named(&["worker", MEMORY]),
        caveat: "where the loop is yours already, a MemoryStore inside it costs no round trip", trials: &[
        Trial { scenario: "operations", part: "", wanted: |_| true },
    ] },
];

fn many(row: &SummaryRow) -> bool {
    row.cell.threads > 1
}

/// Whether the metric is about one of these mixes, `95/5` say.
fn mix(row: &SummaryRow, mixes: &[&str]) -> bool {
    let mut words = row
        .cell
        .metric
        .split(|c: char| !c.is_ascii_digit() && c != '/');
    words.any(|word| mixes.contains(&word))
}

/// The slowest reads beside a writer: not those of `w0`, where nobody writes.
fn tail(row: &SummaryRow) -> bool {
    let metric = &row.cell.metric;
    metric.contains("p99.9") && !metric.contains("p99.99") && !metric.ends_with("_w0")
}

/// The memory of a store, not that of an answer or a view: of those, freeing late
/// would look good. Of a few services the tables are mostly empty.
fn kept(row: &SummaryRow) -> bool {
    let cell = &row.cell;
    cell.services >= 1_000 && ["live", "peak", "after_churn"].contains(&cell.metric.as_str())
}

/// From what ratio on something that is counted, and so has no noise, is better by
/// more than its digits.
const COUNTED_LESS: f64 = 0.98;

/// That a need was judged by another trial than the first.
fn stood_in(trial: &Trial, first: &Trial) -> String {
    let (by, lacks) = if trial.scenario == first.scenario {
        (trial.part, first.part)
    } else {
        (trial.scenario, first.scenario)
    };
    format!("judged by {by}, because this run has no figures of {lacks} for it")
}

/// The slowest hundredth of them.
fn shorter_tail(row: &SummaryRow) -> bool {
    let metric = &row.cell.metric;
    metric.contains("p99_") && !metric.ends_with("_w0")
}

/// The verdicts on a report, one for each need.
pub fn verdicts(report: &Report, overview: &Overview<'_>) -> Vec<Verdict> {
    let judge = Judge {
        report,
        overview,
        unstable: stability::of(report).scenarios,
    };
    RULES.iter().map(|rule| judge.judge(rule)).collect()
}

impl Verdict {
    /// What stands between the stores: those that figures could not tell apart are
    /// equal; those that fit by promise are a choice.
    pub fn between(&self) -> &'static str {
        if self.by_promise { " or " } else { " = " }
    }
}

struct Judge<'a> {
    report: &'a Report,
    overview: &'a Overview<'a>,
    /// The scenarios that nothing should be cited of.
    unstable: Vec<String>,
}

impl Judge<'_> {
    fn judge(&self, rule: &Rule) -> Verdict {
        let mut verdict = Verdict {
            need: rule.need.into(),
            stores: Vec::new(),
            evidence: Vec::new(),
            caveats: Vec::new(),
            by_promise: matches!(rule.who, Who::Views | Who::Named(_)),
        };
        if verdict.by_promise {
            self.by_promise(rule, &mut verdict);
        } else {
            self.by_figures(rule, &mut verdict);
        }
        if verdict.stores.is_empty() {
            return verdict;
        }
        // Of several, the table of promises says what each one minds.
        let stores = verdict.stores.iter().filter(|_| verdict.stores.len() <= 2);
        for store in stores {
            let promises = self
                .report
                .contender(store)
                .and_then(|info| info.promises.as_ref());
            if let Some(promises) = promises.filter(|promises| !promises.caveat.is_empty()) {
                verdict.caveats.push(if verdict.stores.len() > 1 {
                    format!("{store}: {}", promises.caveat)
                } else {
                    promises.caveat.clone()
                });
            }
        }
        if !rule.caveat.is_empty() {
            verdict.caveats.push(rule.caveat.into());
        }
        verdict
    }

    fn is_candidate(rule: &Rule, info: &ContenderInfo) -> bool {
        let shared = info.id != MEMORY;
        info.kind == Origin::Ours
            && match rule.who {
                Who::All => true,
                Who::Shared => shared,
                Who::Views => info
                    .promises
                    .as_ref()
                    .is_some_and(|own| own.snapshot != "no"),
                Who::Named(ids) => ids.contains(&info.id.as_str()),
            }
    }

    fn by_figures(&self, rule: &Rule, verdict: &mut Verdict) {
        let decided = rule.trials.iter().enumerate().find_map(|(at, trial)| {
            let compared = self.compare(rule, trial)?;
            Some((at, trial, compared))
        });
        let Some((
            at,
            trial,
            Compared {
                best,
                ours,
                outside,
            },
        )) = decided
        else {
            let mut names: Vec<&str> = Vec::new();
            for trial in rule.trials {
                if !names.contains(&trial.scenario) {
                    names.push(trial.scenario);
                }
            }
            verdict.evidence.push(format!(
                "This run has no figures for it: that takes {}.",
                names.join(" or ")
            ));
            return;
        };
        if self.is_unstable(trial.scenario) && !rule.kind.is_exact() {
            verdict.evidence.push(format!(
                "{} was unstable in this run: it decides nothing.",
                trial.scenario
            ));
            return;
        }
        let enough = ours
            .iter()
            .chain(&outside)
            .all(|(_, overall)| overall.enough);
        if enough {
            verdict.stores.push(best.clone());
        }
        let equal = ours
            .iter()
            .filter(|_| enough)
            .filter(|(_, overall)| overall.ratio.equal);
        verdict.stores.extend(equal.map(|(name, _)| name.clone()));
        let different = ours.is_empty() || ours.iter().any(|(_, overall)| !overall.ratio.equal);
        if !different {
            verdict.stores.clear();
            verdict.evidence.push("No difference found.".into());
        }
        let first = ours.iter().chain(&outside).next();
        let part = match self.part(trial) {
            part if part.is_empty() => part,
            part => format!(", {part}"),
        };
        let part = part + &self.size(trial);
        let extent = first.map_or(String::new(), |(_, overall)| {
            let figures = plural(overall.cells, "figure");
            format!(" ({figures}, {})", plural(overall.blocks, "block"))
        });
        let what = match rule.kind {
            Kind::Time => "time",
            Kind::Memory => "memory",
            Kind::Work => "work",
        };
        let others: Vec<String> = ours
            .iter()
            .map(|(name, overall)| next_to(name, overall.ratio))
            .collect();
        verdict.evidence.push(if others.is_empty() {
            format!(
                "{}{part}{extent}: no other store of this crate took part.",
                trial.scenario
            )
        } else {
            format!(
                "{}{part}{extent}: {what} next to {best}: {}.",
                trial.scenario,
                others.join(", ")
            )
        });
        if !enough {
            verdict.evidence.push("Too few blocks to decide.".into());
            return;
        }
        self.better_outside(rule, &outside, verdict);
        if verdict.stores.len() > 1 {
            verdict
                .caveats
                .push("this run cannot tell these stores apart".into());
        }
        if at > 0 {
            verdict.caveats.push(stood_in(trial, &rule.trials[0]));
        }
    }

    /// What stood beside them and was better, with what it does not promise.
    fn better_outside(&self, rule: &Rule, outside: &[(String, Overall)], verdict: &mut Verdict) {
        let least = if rule.kind.is_exact() {
            COUNTED_LESS
        } else {
            1.0
        };
        let faster = outside
            .iter()
            .filter(|(_, overall)| !overall.ratio.equal && overall.ratio.ratio < least);
        // Those that promise the same less go together.
        let mut alike: Vec<(String, Vec<String>)> = Vec::new();
        for (name, overall) in faster {
            let said = next_to(name, overall.ratio);
            let said = match self.mind(name) {
                "" => said,
                mind => format!("{said} (mind: {mind})"),
            };
            let weaker = self.weaker(name);
            match alike.iter_mut().find(|(other, _)| *other == weaker) {
                Some((_, names)) => names.push(said),
                None => alike.push((weaker, vec![said])),
            }
        }
        for (weaker, names) in alike {
            verdict.evidence.push(format!(
                "Better here, though not of this crate: {}; {weaker}.",
                names.join(", ")
            ));
        }
    }

    fn compare(&self, rule: &Rule, trial: &Trial) -> Option<Compared> {
        let wanted =
            |row: &SummaryRow| Kind::of(&row.unit) == Some(rule.kind) && (trial.wanted)(row);
        let took_part = self.overview.stores(trial.scenario);
        let info = |name: &&str| self.report.contender(name);
        let ours: Vec<&str> = took_part
            .iter()
            .copied()
            .filter(|name| info(name).is_some_and(|info| Self::is_candidate(rule, info)))
            .collect();
        let versus =
            |own: &str, other: &str| self.overview.versus(trial.scenario, own, other, &wanted);
        // All next to one of them, to find the quickest; then all next to that one.
        let anchor = *ours.iter().find(|name| versus(name, name).is_some())?;
        let best = ours
            .iter()
            .filter_map(|name| Some((*name, versus(name, anchor)?.ratio.ratio)))
            .min_by(|a, b| a.1.total_cmp(&b.1))?
            .0;
        let rated = |names: Vec<&str>| {
            let mut rated: Vec<(String, Overall)> = names
                .into_iter()
                .filter(|name| *name != best)
                .filter_map(|name| Some((name.to_owned(), versus(name, best)?)))
                .collect();
            rated.sort_by(|a, b| a.1.ratio.ratio.total_cmp(&b.1.ratio.ratio));
            rated
        };
        let outside = took_part
            .iter()
            .copied()
            .filter(|name| info(name).is_some_and(|info| info.kind == Origin::Outside));
        Some(Compared {
            best: best.to_owned(),
            outside: rated(outside.collect()),
            ours: rated(ours),
        })
    }

    /// What part of a scenario was judged, with those of its mixes that were run.
    fn part(&self, trial: &Trial) -> String {
        let rows = || {
            let rows = self.report.summary.iter();
            rows.filter(|row| row.cell.scenario == trial.scenario && (trial.wanted)(row))
        };
        let words = trial.part.split(' ').filter(|word| word.contains('/'));
        let (ran, not): (Vec<&str>, Vec<&str>) = words
            .clone()
            .partition(|word| rows().any(|row| mix(row, &[*word])));
        if ran.is_empty() || not.is_empty() {
            return trial.part.into();
        }
        let all: Vec<&str> = words.collect();
        trial.part.replace(&all.join(" and "), &ran.join(" and "))
    }

    fn is_unstable(&self, scenario: &str) -> bool {
        self.unstable.iter().any(|name| name == scenario)
    }

    /// With how many services a trial was made, where it was always the same.
    fn size(&self, trial: &Trial) -> String {
        let rows = self.report.summary.iter();
        let mut sizes: Vec<usize> = rows
            .filter(|row| row.cell.scenario == trial.scenario && (trial.wanted)(row))
            .map(|row| row.cell.services)
            .collect();
        sizes.dedup();
        match sizes[..] {
            [services] if services > 0 => format!(", {} services", thousands(services as u64)),
            _ => String::new(),
        }
    }

    fn by_promise(&self, rule: &Rule, verdict: &mut Verdict) {
        let ran = |info: &&ContenderInfo| {
            self.report
                .summary
                .iter()
                .any(|row| row.cell.store == info.name)
        };
        let contenders = self.report.context.contenders.iter();
        let fits: Vec<&ContenderInfo> = contenders
            .filter(|info| Self::is_candidate(rule, info))
            .filter(ran)
            .collect();
        match rule.who {
            Who::Views => {
                let costs = |info: &&ContenderInfo| {
                    let promises = info.promises.as_ref();
                    let costs = promises.map_or("", |promises| &promises.snapshot);
                    format!("{}, {costs}", info.name)
                };
                let views: Vec<String> = fits.iter().map(costs).collect();
                if !views.is_empty() {
                    verdict.evidence.push(format!(
                        "By promise, not by speed: of this crate these stores hand out views: {}.",
                        views.join("; ")
                    ));
                }
                for info in fits {
                    verdict.stores.push(info.name.clone());
                    verdict.evidence.extend(self.figure(
                        &info.name,
                        "snapshot_and_drop",
                        "taking a view and dropping it",
                    ));
                }
                self.views_from_outside(verdict);
            }
            _ => {
                // The one that is called for first.
                if let Some(info) = fits.iter().find(|info| info.id != MEMORY) {
                    verdict.stores.push(info.name.clone());
                    verdict.evidence.push("By promise, not by speed: one thread owns the data, the others send messages.".into());
                    verdict.evidence.extend(self.figure(
                        &info.name,
                        "get_service",
                        "a read from another thread, there and back",
                    ));
                }
            }
        }
        if verdict.stores.is_empty() {
            verdict
                .evidence
                .push("No store that would fit was measured in this run.".into());
        }
    }

    /// Who else hands out views, by promise as well.
    fn views_from_outside(&self, verdict: &mut Verdict) {
        let contenders = self.report.context.contenders.iter();
        let views = contenders.filter_map(|info| {
            let promises = info.promises.as_ref()?;
            let mut rows = self.report.summary.iter();
            let ran = rows.any(|row| row.cell.store == info.name);
            let fits = info.kind == Origin::Outside && promises.snapshot != "no";
            (ran && fits).then(|| {
                let mind = match self.mind(&info.name) {
                    "" => String::new(),
                    mind => format!(" (mind: {mind})"),
                };
                format!(
                    "{}, {}, {}{mind}",
                    info.name,
                    promises.snapshot,
                    self.weaker(&info.name)
                )
            })
        });
        let views: Vec<String> = views.collect();
        if !views.is_empty() {
            verdict.evidence.push(format!(
                "Not of this crate, these could hand out views, which were not measured: {}.",
                views.join("; ")
            ));
        }
    }

    /// A figure of *operations*, at the largest size that was measured.
    fn figure(&self, store: &str, metric: &str, what: &str) -> Option<String> {
        let rows = self.report.summary.iter().filter(|row| {
            let cell = &row.cell;
            cell.scenario == "operations" && cell.store == store && cell.metric == metric
        });
        let row = rows.max_by_key(|row| row.cell.services)?;
        let unstable = if self.is_unstable("operations") {
            " (unstable in this run: not to be cited)"
        } else {
            ""
        };
        Some(format!(
            "operations, {store}: {what} takes {} ({}–{}) at {} services{unstable}.",
            time(row.value),
            time(row.value_low),
            time(row.value_high),
            thousands(row.cell.services as u64)
        ))
    }

    /// What else there is to know of a contender.
    fn mind(&self, name: &str) -> &str {
        let promises = self.report.contender(name);
        let promises = promises.and_then(|info| info.promises.as_ref());
        promises.map_or("", |promises| &promises.caveat)
    }

    /// What a contender promises less than the stores of this crate.
    fn weaker(&self, name: &str) -> String {
        let Some(promises) = self
            .report
            .contender(name)
            .and_then(|info| info.promises.as_ref())
        else {
            return "whose promises this report does not know".into();
        };
        let mut weaker = Vec::new();
        if promises.batch != "atomic" {
            weaker.push("several changes become visible one by one");
        }
        if promises.scan != "consistent" {
            weaker.push("scans are of no one moment");
        }
        if !promises.indexes_agree {
            weaker.push("answers by name and by key can disagree");
        }
        if !promises.never_missing {
            weaker.push("a registered pod can be missing for a moment");
        }
        if !promises.linearizable {
            weaker.push("an operation is not one step");
        }
        if weaker.is_empty() {
            return "with the same promises".into();
        }
        format!("but {}", weaker.join(", "))
    }
}

struct Compared {
    best: String,
    ours: Vec<(String, Overall)>,
    outside: Vec<(String, Overall)>,
}

fn next_to(name: &str, ratio: Ratio) -> String {
    format!("{name} {} ({})", ratio.point(), ratio.interval())
}

fn plural(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::synthetic;

    fn on(report: &Report, need: &str) -> Verdict {
        let overview = Overview::new(report);
        let mut all = verdicts(report, &overview).into_iter();
        all.find(|verdict| verdict.need.starts_with(need)).unwrap()
    }

    const READS: &str = "Many threads, reads on every request";
    const WRITES: &str = "Many threads, mostly writes";

    #[test]
    fn what_is_equal_wins_nothing() {
        let verdict = on(&synthetic::report(), READS);
        assert_eq!(verdict.stores.len(), 2, "{verdict:?}");
        assert!(verdict.stores.contains(&"EvmapStore".into()), "{verdict:?}");
        assert!(
            verdict.stores.contains(&"SnapshotStore".into()),
            "{verdict:?}"
        );
        assert!(
            verdict
                .caveats
                .iter()
                .any(|caveat| caveat.contains("cannot tell"))
        );
    }

    #[test]
    fn what_is_unstable_decides_nothing() {
        let mut report = synthetic::report();
        for noise in &mut report.noise {
            noise.floor = 1.3;
        }
        let verdict = on(&report, READS);
        assert!(verdict.stores.is_empty(), "{verdict:?}");
        assert_eq!(
            verdict.evidence,
            ["sustained was unstable in this run: it decides nothing."]
        );
    }

    #[test]
    fn where_all_are_equal_there_is_no_answer() {
        let mut report = synthetic::report();
        let equals = ["EvmapStore", "SnapshotStore"];
        let takes_part = |store: &str| equals.contains(&store);
        report
            .results
            .retain(|sample| takes_part(&sample.cell.store));
        report.summary.retain(|row| takes_part(&row.cell.store));
        let verdict = on(&report, READS);
        assert!(verdict.stores.is_empty(), "{verdict:?}");
        assert_eq!(verdict.evidence[0], "No difference found.");
    }

    #[test]
    fn the_next_best_scenario_decides_and_is_named() {
        let verdict = on(&synthetic::report(), WRITES);
        assert_eq!(verdict.stores, ["ThreadSafeMemoryStore"], "{verdict:?}");
        let minds = |what: &str| verdict.caveats.iter().any(|caveat| caveat.contains(what));
        assert!(minds(
            "judged by burst-30x100, because this run has no figures of sustained"
        ));
    }

    #[test]
    fn who_is_faster_from_outside_is_named_but_no_answer() {
        let verdict = on(&synthetic::report(), WRITES);
        let said = verdict.evidence.join(" ");
        assert!(said.contains("not of this crate: dashmap 0.80×"), "{said}");
        assert!(said.contains("one by one"), "{said}");
        assert!(!verdict.stores.contains(&"dashmap".into()));
    }

    #[test]
    fn what_was_not_measured_is_not_answered() {
        let verdict = on(&synthetic::report(), "Little memory");
        assert!(verdict.stores.is_empty() && verdict.caveats.is_empty());
        assert!(
            verdict.evidence[0].contains("that takes memory"),
            "{verdict:?}"
        );
    }

    #[test]
    fn of_two_blocks_nobody_comes_out_best() {
        let mut report = synthetic::report();
        report.results.retain(|sample| sample.block < 2);
        let verdict = on(&report, READS);
        assert!(verdict.stores.is_empty(), "{verdict:?}");
        assert!(verdict.evidence.join(" ").contains("Too few blocks"));
    }

    #[test]
    fn views_are_a_matter_of_promises() {
        let verdict = on(&synthetic::report(), "Several answers");
        assert_eq!(verdict.stores, ["SnapshotStore"]);
        assert!(verdict.by_promise);
    }

    fn wants(need: &str, metric: &str) -> bool {
        let mut row = synthetic::report().summary[0].clone();
        row.cell.metric = metric.into();
        let rule = RULES.iter().find(|rule| rule.need == need).unwrap();
        (rule.trials[0].wanted)(&row)
    }

    #[test]
    fn a_tail_beside_nobody_who_writes_says_nothing_of_writers() {
        let need = "Reads that stay quick while others write";
        assert!(wants(need, "p99.9_wmax") && wants(need, "reader.p99.9_w10000"));
        assert!(!wants(need, "p99.9_w0") && !wants(need, "reader.p99.9_w0"));
        assert!(!wants(need, "p99_wmax"));
        let rule = RULES.iter().find(|rule| rule.need == need).unwrap();
        let mut row = synthetic::report().summary[0].clone();
        for (metric, wanted) in [("p99_wmax", true), ("p99_w0", false), ("p99.9_wmax", false)] {
            row.cell.metric = metric.into();
            assert_eq!((rule.trials[2].wanted)(&row), wanted, "{metric}");
        }
    }

    #[test]
    fn each_need_is_judged_by_what_its_scenario_compares() {
        assert!(wants("A change is seen soon", "get_service_from_start_p50"));
        assert!(!wants("A change is seen soon", "get_service_p50"));
        assert!(wants("Many pods at the start", "fill"));
        assert!(!wants("Many pods at the start", "drop"));
        assert!(wants("Little memory", "live") && wants("Little memory", "after_churn"));
        assert!(!wants("Little memory", "held_by_answer"));
        let known: Vec<&str> = crate::lab::scenarios::ALL
            .iter()
            .map(|own| own.name())
            .collect();
        for trial in RULES.iter().flat_map(|rule| rule.trials) {
            assert!(known.contains(&trial.scenario), "{}", trial.scenario);
        }
    }

    #[test]
    fn the_size_that_was_measured_is_said() {
        let verdict = on(&synthetic::report(), READS);
        let said = verdict.evidence.join(" ");
        assert!(said.contains(", 1,000 services"), "{said}");
    }

    #[test]
    fn views_from_outside_are_named_with_what_they_do_not_promise() {
        let mut report = synthetic::report();
        for info in &mut report.context.contenders {
            if let Some(promises) = info.promises.as_mut().filter(|_| info.name == "dashmap") {
                promises.snapshot = "O(1)".into();
            }
        }
        let verdict = on(&report, "Several answers");
        let said = verdict.evidence.join(" ");
        assert!(
            said.contains("dashmap, O(1), but several changes"),
            "{said}"
        );
        assert_eq!(verdict.stores, ["SnapshotStore"]);
    }

    #[test]
    fn a_mix_is_a_word_of_its_own() {
        let report = synthetic::report();
        let mut row = report.summary[0].clone();
        for (metric, expected) in [
            ("burst_95/5", true),
            ("sustained 95/5, cloned", true),
            ("burst_195/5", false),
            ("burst_95/50", false),
        ] {
            row.cell.metric = metric.into();
            assert_eq!(mix(&row, &["95/5"]), expected, "{metric}");
        }
    }
}
