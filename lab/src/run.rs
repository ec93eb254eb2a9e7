//! A run: requests slices from the processes, and collects the results.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::repeat_n;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::child::MeasureTask;
use crate::fault::Fault;
use crate::judge;
use crate::machine::{self, CpuUsage, ProcessorRanking};
use crate::model::{CellId, Context, Interval, Report, Row, SCHEMA_VERSION, Unit, rounded};
use crate::output::progress::Progress;
use crate::plan::{DROP, FEW, FLOORS, Plan, TABLES, USUAL};
use crate::process::{Process, Stop, WaitOptions};
use crate::scenario::{Cell, Orchestration, Scenario};
use crate::stage::Slice;
use crate::stats::{SplitMix64, middle};

/// An operation that takes less time than this, in nanoseconds, was not done.
const IMPOSSIBLE: f64 = 0.1;

/// The waiting times of a process with more threads than this are not read: that would take longer
/// than a slice.
const MANY_THREADS: usize = 100;

/// The options of a run.
#[derive(Debug)]
pub struct Run<'a> {
    /// The scenarios, each with all its cells; a process finds them by name and place.
    pub scenarios: Vec<Scenario>,
    /// The cells that are measured: scenario and cell, by index.
    pub cells: Vec<(usize, usize)>,
    /// How long to measure.
    pub plan: Plan,
    /// The seed of all randomness.
    pub seed: u64,
    /// Set when the user wants to stop.
    pub interrupted: &'a AtomicBool,
    /// How long a process may give no answer before it counts as hung.
    pub patience: Duration,
}

impl Run<'_> {
    /// Runs the measurements. Keeps the results from before a fault or an interruption; then
    /// [`Context::ended_early`] has the reason.
    pub fn measure(&self, context: Context, progress: &Progress) -> Report {
        let mut coordinator = Coordinator::new(self, context);
        let end = coordinator.passes(progress);
        progress.finish();
        let mut report = coordinator.report;
        report.context.ended_early = match end {
            Ok(()) => None,
            Err(Stop::Interrupted) => Some("interrupted".into()),
            Err(Stop::Fault(fault)) => Some(fault.0),
        };
        report.rows.retain(|row| row.samples.iter().flatten().flatten().next().is_some());
        report.drop_empty();
        report.context.seconds = (coordinator.begun.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        judge::complete(&mut report);
        report
    }
}

/// One cell of a run.
#[derive(Debug)]
struct CellRun {
    scenario: usize,
    cell: usize,
    id: CellId,
    /// The index of its first row: there is one row per metric and contender.
    rows: usize,
    lives: usize,
    /// The time per contender of its last life.
    each: Duration,
    /// What other programs took of the slices of each contender, twice for the reference.
    lost: BTreeMap<(String, bool), Vec<f64>>,
    /// How much others ran in each slice at most.
    others: Vec<f64>,
}

/// A contender in a life of a cell.
struct Participant {
    contender: String,
    /// Whether it is the second process of the reference.
    again: bool,
    /// `None` after it has ended successfully.
    process: Option<Process>,
    /// The figures of each round, with what others took, if the system reports it.
    slices: Vec<(Slice, Option<f64>)>,
}

/// The state of a run.
struct Coordinator<'a> {
    run: &'a Run<'a>,
    report: Report,
    cells: Vec<CellRun>,
    begun: Instant,
    rng: SplitMix64,
    waiting: WaitOptions<'a>,
    processors: usize,
    ranking: ProcessorRanking,
}

impl<'a> Coordinator<'a> {
    fn new(run: &'a Run<'a>, context: Context) -> Coordinator<'a> {
        let mut report = Report { schema_version: SCHEMA_VERSION, context, ..Report::default() };
        let mut cells = Vec::new();
        for (at, scenario) in run.scenarios.iter().enumerate() {
            report.scenarios.push(scenario.begun());
            for &(_, cell) in run.cells.iter().filter(|(own, _)| *own == at) {
                let own = &scenario.cells[cell];
                let id = scenario.id(own);
                cells.push(CellRun {
                    scenario: at,
                    cell,
                    id: id.clone(),
                    rows: report.rows.len(),
                    lives: 0,
                    each: Duration::ZERO,
                    lost: BTreeMap::new(),
                    others: Vec::new(),
                });
                report.rows.extend(scenario.rows(own));
            }
        }
        Coordinator {
            run,
            report,
            cells,
            begun: Instant::now(),
            rng: SplitMix64(run.seed),
            waiting: WaitOptions { interrupted: run.interrupted, patience: run.patience },
            processors: machine::processors(),
            ranking: ProcessorRanking::new(),
        }
    }

    fn passes(&mut self, progress: &Progress) -> Result<(), Stop> {
        let plan = &self.run.plan;
        for pass in 0..plan.most {
            let mut turns: Vec<(usize, BTreeSet<String>)> = if pass < plan.lives {
                let all = |at: usize| (at, self.all_contenders(at));
                let counted = |at: &usize| pass > 0 && self.is_counted(*at);
                (0..self.cells.len()).filter(|at| !counted(at)).map(all).collect()
            } else {
                judge::complete(&mut self.report);
                let turn = pass - plan.lives;
                let mut turns = self.needed(turn % TABLES == TABLES - 1);
                if turns.is_empty() {
                    turns = self.needed(true);
                }
                let times = |all: &BTreeSet<_>| if all.len() == 1 { FLOORS } else { 1 };
                turns.into_iter().flat_map(|own| repeat_n(own.clone(), times(&own.1))).collect()
            };
            self.rng.shuffle(&mut turns);
            let mut measured = false;
            for (at, contenders) in turns {
                let takes = self.cells[at].each.mul_f64(contenders.len() as f64);
                if self.begun.elapsed() + takes > plan.budget {
                    continue;
                }
                let id = &self.cells[at].id;
                let what = format!("{}, {}, life {}", id.scenario, id.cell, pass + 1);
                progress.at(&what);
                self.life(at, &contenders)?;
                measured = true;
            }
            if !measured {
                break;
            }
        }
        Ok(())
    }

    fn scenario(&self, at: usize) -> &'a Scenario {
        &self.run.scenarios[self.cells[at].scenario]
    }

    fn all_contenders(&self, at: usize) -> BTreeSet<String> {
        let contenders = self.scenario(at).contenders.iter();
        contenders.map(|id| (*id).to_owned()).collect()
    }

    fn is_counted(&self, at: usize) -> bool {
        let metrics = &self.scenario(at).cells[self.cells[at].cell].metrics;
        metrics.iter().all(|(_, unit)| unit.is_counted())
    }

    /// Returns which contenders need more rounds in which cells: for the questions, for the noise
    /// floors, and, if requested, for the tables.
    fn needed(&self, tables: bool) -> BTreeMap<usize, BTreeSet<String>> {
        let open = judge::open_questions(&self.report);
        let mut needed: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        for (at, cell_run) in self.cells.iter().enumerate().filter(|(at, _)| !self.is_counted(*at))
        {
            let scenario = self.scenario(at);
            let mut all = BTreeSet::new();
            let asked = open.iter().filter(|own| own.cells.contains(&cell_run.id));
            all.extend(asked.flat_map(|own| &own.contenders).cloned());
            for row in self.rows_of(cell_run) {
                let is_wide = |own: Interval| own.high / own.value > self.run.plan.narrow;
                if judge::floor(row).is_some_and(|floor| floor > scenario.quiet) {
                    all.insert(row.contender.clone());
                }
                if tables && row.ratio.is_some_and(is_wide) {
                    all.extend([row.contender.clone(), scenario.reference.to_owned()]);
                }
            }
            if !all.is_empty() {
                needed.insert(at, all);
            }
        }
        needed
    }

    fn rows_of(&self, cell_run: &CellRun) -> impl Iterator<Item = &Row> {
        let scenario = &self.run.scenarios[cell_run.scenario];
        let count = scenario.contenders.len() * scenario.cells[cell_run.cell].metrics.len();
        self.report.rows[cell_run.rows..cell_run.rows + count].iter()
    }

    /// Runs a life of a cell: opens its contenders, warms them, lets them do rounds, and ends them.
    /// The finished rounds of an interrupted life count.
    fn life(&mut self, at: usize, contenders: &BTreeSet<String>) -> Result<(), Stop> {
        let begun = Instant::now();
        let mut participants = Vec::new();
        let end = self.rounds(at, contenders, &mut participants);
        let end = end.map_err(|end| match end {
            Stop::Interrupted => Stop::Interrupted,
            Stop::Fault(fault) => {
                Stop::Fault(fault.at(&self.cells[at].id.cell).at(&self.cells[at].id.scenario))
            }
        });
        if !matches!(end, Err(Stop::Fault(_))) {
            self.keep(at, &participants);
        }
        let took = begun.elapsed();
        self.cells[at].each = took.div_f64(contenders.len().max(1) as f64);
        let run = &mut self.report.scenarios[self.cells[at].scenario];
        run.seconds = ((run.seconds + took.as_secs_f64()) * 1e3).round() / 1e3;
        end
    }

    fn rounds(
        &mut self,
        at: usize,
        contenders: &BTreeSet<String>,
        participants: &mut Vec<Participant>,
    ) -> Result<(), Stop> {
        let scenario = self.scenario(at);
        let cell = &scenario.cells[self.cells[at].cell];
        let counted = self.is_counted(at);
        if !counted {
            self.ranking.probe();
        }
        let processors = self.ranking.order();
        let begun = Instant::now();
        let seed = SplitMix64(self.run.seed ^ (self.cells[at].lives as u64) << 32).draw();
        for contender in contenders {
            let task = MeasureTask {
                scenario: scenario.name.into(),
                cell: self.cells[at].cell,
                contender: contender.clone(),
                seed,
                processors: processors.clone(),
            };
            let twice = *contender == scenario.reference && !counted;
            for again in [false, true].into_iter().take(1 + usize::from(twice)) {
                participants.push(Participant {
                    contender: contender.clone(),
                    again,
                    process: Some(Process::start(&task).map_err(Stop::Fault)?),
                    slices: Vec::new(),
                });
            }
        }
        let waiting = self.waiting;
        for process in participants.iter_mut().filter_map(|own| own.process.as_mut()) {
            process.ready(waiting)?;
        }
        let length = self.run.plan.slice(cell);
        let rounds = if counted {
            1
        } else {
            // The first slice of a process warms it.
            self.rng.shuffle(participants);
            let warming = Instant::now();
            for process in participants.iter_mut().filter_map(|own| own.process.as_mut()) {
                process.slice(length / 2, waiting)?;
            }
            let lives = self.cells.iter().map(|own| own.lives).sum();
            let late = self.run.plan.is_behind(self.begun.elapsed(), lives, self.cells.len());
            let round = warming.elapsed() * 2;
            let is_cheap = participants.len() <= FEW && !is_pooled(cell);
            self.run.plan.rounds(is_cheap, warming - begun, round, late)
        };
        let threads = cell.threads + cell.background.as_ref().map_or(0, |own| own.threads);
        let looked_at = !counted && threads <= MANY_THREADS;
        for _ in 0..rounds {
            self.rng.shuffle(participants);
            for participant in participants.iter_mut() {
                let Some(process) = &mut participant.process else {
                    continue;
                };
                let before = looked_at.then(|| CpuUsage::by(process.id())).flatten();
                let slice = process.slice(length, waiting)?;
                let after = looked_at.then(|| CpuUsage::by(process.id())).flatten();
                possible(&slice, &cell.metrics)
                    .map_err(|fault| Stop::Fault(fault.at(&participant.contender)))?;
                let lost = before.zip(after).map(|(before, after)| {
                    let threads = cell.working();
                    let [lost, others] = before.lost_until(&after, threads, self.processors);
                    self.cells[at].others.push(others);
                    lost
                });
                participant.slices.push((slice, lost));
            }
        }
        for process in participants.iter_mut().filter_map(|own| own.process.take()) {
            process.finish(waiting)?;
        }
        Ok(())
    }

    /// Adds the slices of a life to the rows, except those that are dropped.
    fn keep(&mut self, at: usize, participants: &[Participant]) {
        let scenario = self.scenario(at);
        let cell = &scenario.cells[self.cells[at].cell];
        let pooled = is_pooled(cell);
        let counted = self.is_counted(at);
        let rounds = participants.iter().map(|own| own.slices.len()).max().unwrap_or(0);
        if rounds == 0 {
            return;
        }
        let cell_run = &mut self.cells[at];
        cell_run.lives += 1;
        let run = &mut self.report.scenarios[cell_run.scenario];
        let mut values: BTreeMap<(&str, bool), Vec<Option<&Slice>>> = BTreeMap::new();
        for participant in participants {
            let key = (participant.contender.clone(), participant.again);
            let known = cell_run.lost.entry(key).or_default();
            known.extend(participant.slices.iter().filter_map(|(_, lost)| *lost));
            // A few slices do not show what is usual.
            let usual = middle(known.iter().copied()).filter(|_| known.len() >= USUAL);
            let most = usual.unwrap_or(1.0) + DROP;
            let keeps = |lost: Option<f64>| pooled || counted || lost.is_none_or(|own| own <= most);
            let kept = participant.slices.iter().map(|(slice, lost)| keeps(*lost).then_some(slice));
            let mut kept: Vec<Option<&Slice>> = kept.collect();
            run.slices += kept.len() as u64;
            run.dropped += kept.iter().filter(|own| own.is_none()).count() as u64;
            if pooled {
                kept = kept.pop().into_iter().collect();
            } else {
                kept.resize(rounds, None);
            }
            values.insert((&participant.contender, participant.again), kept);
        }
        let contenders = scenario.contenders.len();
        // A single thread runs beside no other.
        let usual =
            middle(cell_run.lost.values().flatten().copied()).filter(|_| cell.working() > 1);
        let others = cell_run.others.iter().sum::<f64>() / cell_run.others.len() as f64;
        let lost = usual.map(|own| own.min(others.max(0.0)));
        for row in &mut self.report.rows[cell_run.rows..][..contenders * cell.metrics.len()] {
            row.lost = lost.map(rounded);
        }
        for (metric, _) in cell.metrics.iter().enumerate() {
            let of = |kept: Option<&Vec<Option<&Slice>>>| -> Vec<Option<f64>> {
                let kept = kept.into_iter().flatten();
                kept.map(|slice| slice.map(|own| rounded(own[metric]))).collect()
            };
            for (place, contender) in scenario.contenders.iter().enumerate() {
                let row = &mut self.report.rows[cell_run.rows + metric * contenders + place];
                row.samples.push(of(values.get(&(*contender, false))));
                if *contender == scenario.reference && !counted {
                    row.again.push(of(values.get(&(*contender, true))));
                }
            }
        }
    }
}

/// Returns whether a cell has one figure per life.
fn is_pooled(cell: &Cell) -> bool {
    matches!(cell.orchestration, Orchestration::OpenLoop { .. })
}

/// Checks whether the figures of a slice are possible.
fn possible(slice: &[f64], metrics: &[(&'static str, Unit)]) -> Result<(), Fault> {
    if slice.len() != metrics.len() {
        let (own, all) = (slice.len(), metrics.len());
        return Err(Fault::new(format!("a slice yielded {own} figures for {all} metrics")));
    }
    for (value, (metric, unit)) in slice.iter().zip(metrics) {
        if !value.is_finite() || *value < 0.0 {
            return Err(Fault::new(format!("{metric} is {value}, which is no figure")));
        }
        if *unit == Unit::NsPerOp && *value < IMPOSSIBLE {
            return Err(Fault::new(format!(
                "{metric}: an operation in {value:.4} ns is less than a tenth of a nanosecond: the \
                 compiler has most likely removed the work, as nothing uses its result (see \
                 std::hint::black_box)"
            )));
        }
    }
    Ok(())
}
